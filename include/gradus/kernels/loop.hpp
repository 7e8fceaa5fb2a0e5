// The contract for element-wise kernels: a loop nest over K operands with strides in elements.
//
// Dimensions are merged where every operand allows it, so that contiguous operands of one shape give one loop of
// stride 1, and a row broadcast over a matrix two. Operand 0 is the output by convention.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/core/shape.hpp>

namespace gradus::kernels {

template <int K> struct Loop {
  int64_t n;                      ///< elements in all
  int rank;                       ///< >= 1; shape[rank-1] is the innermost extent
  int64_t shape[kMaxRank];
  int64_t stride[K][kMaxRank];    ///< 0 where the operand is broadcast

  /// All operands contiguous, n elements.
  static Loop flat(int64_t n) {
    Loop l;
    l.n = n, l.rank = 1, l.shape[0] = n;
    for (int k = 0; k < K; ++k) l.stride[k][0] = 1;
    return l;
  }
  /// `strides[k]` has one entry for each dimension of `shape` (0 for a broadcast dimension).
  static Loop make(const Shape& shape, const Shape (&strides)[K]) {
    Loop l;
    l.n = shape.numel(), l.rank = 0;
    for (int d = 0; d < shape.n; ++d) {
      if (shape[d] == 1) continue;
      bool merge = l.rank > 0;
      for (int k = 0; merge && k < K; ++k) merge = l.stride[k][l.rank - 1] == strides[k][d] * shape[d];
      if (merge) {
        l.shape[l.rank - 1] *= shape[d];
        for (int k = 0; k < K; ++k) l.stride[k][l.rank - 1] = strides[k][d];
      } else {
        l.shape[l.rank] = shape[d];
        for (int k = 0; k < K; ++k) l.stride[k][l.rank] = strides[k][d];
        ++l.rank;
      }
    }
    if (l.rank == 0) {
      l.rank = 1, l.shape[0] = l.n;
      for (int k = 0; k < K; ++k) l.stride[k][0] = 1;
    }
    return l;
  }
  bool unit(int k) const { return stride[k][rank - 1] == 1; }
};

/// Elements below which a loop stays on one thread.
inline constexpr int64_t kGrain = 32768;

/// inner(offsets, count): once for each run along the innermost dimension; offsets[k] is operand k's first element.
template <int K, class F> void for_each_run(const Loop<K>& l, F&& inner) {
  if (l.rank == 1) {
    parallel_for(l.n, kGrain, [&](int64_t b, int64_t e) {
      int64_t offset[K];
      for (int k = 0; k < K; ++k) offset[k] = b * l.stride[k][0];
      inner(offset, e - b);
    });
    return;
  }
  const int last = l.rank - 1;
  const int64_t run = l.shape[last], rows = l.n / (run > 0 ? run : 1);
  const auto row_range = [&](int64_t b, int64_t e) {
    int64_t index[kMaxRank], offset[K] = {};
    int64_t rest = b;
    for (int d = last - 1; d >= 0; --d) {
      index[d] = rest % l.shape[d], rest /= l.shape[d];
      for (int k = 0; k < K; ++k) offset[k] += index[d] * l.stride[k][d];
    }
    for (int64_t r = b; r < e; ++r) {
      inner(offset, run);
      for (int d = last - 1; d >= 0; --d) {
        for (int k = 0; k < K; ++k) offset[k] += l.stride[k][d];
        if (++index[d] < l.shape[d]) break;
        for (int k = 0; k < K; ++k) offset[k] -= l.shape[d] * l.stride[k][d];
        index[d] = 0;
      }
    }
  };
  if (rows == 1 || l.n == 0) return l.n == 0 ? void() : row_range(0, rows);
  parallel_for(rows, kGrain / (run > 0 ? run : 1) + 1, row_range);
}

}  // namespace gradus::kernels
