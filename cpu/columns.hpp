// Work on [O, R, I] that is sequential along R: threads share the O*I columns.
#pragma once
#include <algorithm>
#include <cstdint>

#include <gradus/core/parallel.hpp>

namespace gradus::kernels::detail {

inline constexpr int64_t kColumnBlock = 256;

/// f(o, i, count): columns i ... i + count - 1 of slice o, count <= 256; together they cover [0, O) x [0, I).
template <class F> void for_each_column_block(int64_t O, int64_t R, int64_t I, F f) {
  parallel_for(O * I, 16384 / (R + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end;) {
      const int64_t o = at / I, i = at % I, count = std::min({kColumnBlock, I - i, end - at});
      f(o, i, count);
      at += count;
    }
  });
}

}  // namespace gradus::kernels::detail
