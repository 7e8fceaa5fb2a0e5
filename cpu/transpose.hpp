// Copies whose source runs along another dimension than their destination: transpositions and permutations.
//
// Element by element such a copy touches a cache line of 64 bytes for each element on one side. Tiles of a line by a line are
// read whole, turned over in registers and written whole instead; rows that are a power of two apart share the sets of the
// cache, and whole lines do not mind.
#ifndef GRADUS_CPU_TRANSPOSE
#define GRADUS_CPU_TRANSPOSE
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <gradus/kernels/loop.hpp>

#include "pragmas.hpp"

namespace gradus::kernels::detail {

/// W x W elements of 4 or 8 bytes in registers, W to a vector of `Bytes`. Eklundh 1972: swap blocks of W/2, W/4, ..., 1.
template <class T, int Bytes>
struct SquareTranspose {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  static constexpr int W = Bytes / static_cast<int>(sizeof(T));
  using I = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  typedef I V __attribute__((vector_size(Bytes), may_alias));
  typedef I U __attribute__((vector_size(Bytes), may_alias, aligned(alignof(T))));

  /// out[i * out_step + j] = in[j * in_step + i]
  static void run(const T* in, int64_t in_step, T* out, int64_t out_step) {
    V r[W];
    GRADUS_UNROLL(16)
    for (int i = 0; i < W; ++i) r[i] = *reinterpret_cast<const U*>(in + i * in_step);
    swap_blocks<W / 2>(r);
    GRADUS_UNROLL(16)
    for (int i = 0; i < W; ++i) *reinterpret_cast<U*>(out + i * out_step) = r[i];
  }

 private:
  // Vectors of elements of a and, from place W on, of b.
#if defined(__clang__)
  template <int S, std::size_t... l>
  static V low(V a, V b, std::index_sequence<l...>) {
    return __builtin_shufflevector(a, b, (l & S ? W + l - S : l)...);
  }
  template <int S, std::size_t... l>
  static V high(V a, V b, std::index_sequence<l...>) {
    return __builtin_shufflevector(a, b, (l & S ? W + l : l + S)...);
  }
#else
  template <int S, std::size_t... l>
  static V low(V a, V b, std::index_sequence<l...>) {
    return __builtin_shuffle(a, b, V{static_cast<I>(l & S ? W + l - S : l)...});
  }
  template <int S, std::size_t... l>
  static V high(V a, V b, std::index_sequence<l...>) {
    return __builtin_shuffle(a, b, V{static_cast<I>(l & S ? W + l : l + S)...});
  }
#endif
  template <int S>
  static void swap_blocks(V* r) {
    if constexpr (S > 0) {
      const auto places = std::make_index_sequence<W>();
      GRADUS_UNROLL(16)
      for (int i = 0; i < W; ++i)
        if (!(i & S)) {
          const V a = r[i], b = r[i + S];
          r[i] = low<S>(a, b, places), r[i + S] = high<S>(a, b, places);
        }
      swap_blocks<S / 2>(r);
    }
  }
};

#if defined(__AVX__)
inline constexpr int kTransposeBytes = 32;
#else
inline constexpr int kTransposeBytes = 16;
#endif

/// y[r * y_step + c] = x[c * x_step + r] for r < R, c < C: some tiles along r, then the next c, so that few pages are in use.
template <class T>
void transpose_tiles(int64_t R, int64_t C, const T* x, int64_t x_step, T* y, int64_t y_step) {
  constexpr int L = 64 / static_cast<int>(sizeof(T));
  const int64_t whole_r = R / L * L, whole_c = C / L * L;
  for (int64_t c = 0; c < whole_c; c += L)
    for (int64_t r = 0; r < whole_r; r += L) {
      alignas(64) T in[L * L], out[L * L];
      for (int i = 0; i < L; ++i) std::memcpy(in + i * L, x + (c + i) * x_step + r, 64);
      if constexpr (sizeof(T) >= 4) {
        using S = SquareTranspose<T, kTransposeBytes>;
        for (int i = 0; i < L; i += S::W)
          for (int j = 0; j < L; j += S::W) S::run(in + i * L + j, L, out + j * L + i, L);
      } else {
        for (int i = 0; i < L; ++i)
          for (int j = 0; j < L; ++j) out[i * L + j] = in[j * L + i];
      }
      for (int i = 0; i < L; ++i) std::memcpy(y + (r + i) * y_step + c, out + i * L, 64);
    }
  for (int64_t r = 0; r < R; ++r)
    for (int64_t c = r < whole_r ? whole_c : 0; c < C; ++c) y[r * y_step + c] = x[c * x_step + r];
}

/// Copies x to y by tiles when y is contiguous along the innermost dimension and x along another; otherwise false.
template <class T>
bool copy_transposed(const T* x, T* y, const Loop<2>& loop) {
  const int last = loop.rank - 1;
  if (loop.rank < 2 || loop.stride[0][last] != 1 || loop.stride[1][last] == 1) return false;
  int along = -1;
  for (int d = 0; d < last; ++d)
    if (loop.stride[1][d] == 1) along = d;
  constexpr int64_t L = 64 / static_cast<int64_t>(sizeof(T));
  if (along < 0 || loop.shape[along] < L || loop.shape[last] < L) return false;
  const int64_t R = loop.shape[along], C = loop.shape[last], band = 4 * L, bands = (R + band - 1) / band;
  const int64_t slices = loop.n / (R * C);
  parallel_for(slices * bands, kGrain / (band * C) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      int64_t rest = at / bands, offset_y = 0, offset_x = 0;
      const int64_t r = at % bands * band;
      for (int d = last - 1; d >= 0; --d) {
        if (d == along) continue;
        const int64_t i = rest % loop.shape[d];
        rest /= loop.shape[d];
        offset_y += i * loop.stride[0][d], offset_x += i * loop.stride[1][d];
      }
      transpose_tiles<T>(R - r < band ? R - r : band, C, x + offset_x + r, loop.stride[1][last],
                         y + offset_y + r * loop.stride[0][along], loop.stride[0][along]);
    }
  });
  return true;
}

}  // namespace gradus::kernels::detail
#endif
