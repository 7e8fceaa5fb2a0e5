// Reductions. Rows keep 32 partial results that g++ holds in vector registers; columns are walked row by row over a
// block of columns; a whole array is cut into pieces of fixed size, whose results are combined in order.
#ifndef GRADUS_CPU_REDUCE
#define GRADUS_CPU_REDUCE
#include <limits>
#include <vector>

#include <gradus/core/parallel.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/reduce.hpp>

namespace gradus::kernels {
namespace detail {

template <class Op, class A> struct Reducer;
template <class A> struct Reducer<SumOf, A> {
  static constexpr A start() { return A(0); }
  static A join(A a, A b) { return static_cast<A>(a + b); }
};
template <class A> struct Reducer<ProductOf, A> {
  static constexpr A start() { return A(1); }
  static A join(A a, A b) { return static_cast<A>(a * b); }
};
template <class A> struct Reducer<LargestOf, A> {
  static constexpr A start() {
    if constexpr (std::numeric_limits<A>::has_infinity) return -std::numeric_limits<A>::infinity();
    else return std::numeric_limits<A>::lowest();
  }
  static A join(A a, A b) { return ((a > b) | (a != a)) ? a : b; }
};
template <class A> struct Reducer<SmallestOf, A> {
  static constexpr A start() {
    if constexpr (std::numeric_limits<A>::has_infinity) return std::numeric_limits<A>::infinity();
    else return std::numeric_limits<A>::max();
  }
  static A join(A a, A b) { return ((a < b) | (a != a)) ? a : b; }
};

inline constexpr int64_t kReduceLanes = 32, kPiece = 16384;

template <class Op, class T> compute_t<T> reduce_run(const T* x, int64_t n) {
  using A = compute_t<T>;
  using Re = Reducer<Op, A>;
  A lane[kReduceLanes];
  for (A& v : lane) v = Re::start();
  int64_t i = 0;
  for (; i + kReduceLanes <= n; i += kReduceLanes)
    for (int64_t k = 0; k < kReduceLanes; ++k) lane[k] = Re::join(lane[k], static_cast<A>(x[i + k]));
  for (int64_t k = 0; i < n; ++i, ++k) lane[k] = Re::join(lane[k], static_cast<A>(x[i]));
  for (int64_t width = kReduceLanes / 2; width; width /= 2)
    for (int64_t k = 0; k < width; ++k) lane[k] = Re::join(lane[k], lane[k + width]);
  return lane[0];
}

template <class Op, class T> compute_t<T> reduce_row(const T* x, int64_t n) {  // pieces bound the error of long sums
  using Re = Reducer<Op, compute_t<T>>;
  if (n <= kPiece) return reduce_run<Op>(x, n);
  compute_t<T> y = Re::start();
  for (int64_t b = 0; b < n; b += kPiece) y = Re::join(y, reduce_run<Op>(x + b, n - b < kPiece ? n - b : kPiece));
  return y;
}

}  // namespace detail

template <class Op, class T> void reduce(Cpu, Op, const T* x, T* y, int64_t O, int64_t R, int64_t I) {
  using A = compute_t<T>;
  using Re = detail::Reducer<Op, A>;
  if (I == 1 && O == 1) {
    const int64_t pieces = (R + detail::kPiece - 1) / detail::kPiece;
    if (pieces <= 1) {
      *y = static_cast<T>(detail::reduce_run<Op>(x, R));
      return;
    }
    std::vector<A> part(static_cast<std::size_t>(pieces));
    parallel_for(pieces, 4, [&](int64_t b, int64_t e) {
      for (int64_t p = b; p < e; ++p) {
        const int64_t at = p * detail::kPiece;
        part[static_cast<std::size_t>(p)] = detail::reduce_run<Op>(x + at, R - at < detail::kPiece ? R - at : detail::kPiece);
      }
    });
    A total = Re::start();
    for (A v : part) total = Re::join(total, v);
    *y = static_cast<T>(total);
    return;
  }
  if (I == 1) {
    parallel_for(O, 32768 / (R + 1) + 1, [&](int64_t b, int64_t e) {
      for (int64_t o = b; o < e; ++o) y[o] = static_cast<T>(detail::reduce_row<Op>(x + o * R, R));
    });
    return;
  }
  // Columns: blocks of B columns stay in registers and L1 while the rows pass; rows in pieces of fixed length.
  constexpr int64_t B = 256, kRows = 512;
  const int64_t blocks = (I + B - 1) / B;
  const auto column_block = [&](int64_t o, int64_t i0, int64_t r0, int64_t r1, A* out) {
    const int64_t w = I - i0 < B ? I - i0 : B;
    for (int64_t k = 0; k < w; ++k) out[k] = Re::start();
    const T* p = x + (o * R + r0) * I + i0;
    for (int64_t r = r0; r < r1; ++r, p += I)
      for (int64_t k = 0; k < w; ++k) out[k] = Re::join(out[k], static_cast<A>(p[k]));
  };
  const int64_t pieces = (R + kRows - 1) / kRows;
  if (pieces > 1 && O * blocks < 16) {                       // tall: rows are shared among threads too
    std::vector<A> part(static_cast<std::size_t>(pieces * O * blocks * B));
    parallel_for(pieces * O * blocks, 1, [&](int64_t b, int64_t e) {
      for (int64_t j = b; j < e; ++j) {
        const int64_t piece = j % pieces, ob = j / pieces, r0 = piece * kRows;
        column_block(ob / blocks, ob % blocks * B, r0, r0 + kRows < R ? r0 + kRows : R, part.data() + j * B);
      }
    });
    for (int64_t ob = 0; ob < O * blocks; ++ob) {
      const int64_t o = ob / blocks, i0 = ob % blocks * B, w = I - i0 < B ? I - i0 : B;
      for (int64_t k = 0; k < w; ++k) {
        A total = Re::start();
        for (int64_t piece = 0; piece < pieces; ++piece) total = Re::join(total, part[static_cast<std::size_t>((ob * pieces + piece) * B + k)]);
        y[o * I + i0 + k] = static_cast<T>(total);
      }
    }
    return;
  }
  parallel_for(O * blocks, 32768 / (R * B + 1) + 1, [&](int64_t b, int64_t e) {
    for (int64_t ob = b; ob < e; ++ob) {
      const int64_t o = ob / blocks, i0 = ob % blocks * B, w = I - i0 < B ? I - i0 : B;
      A total[B], part[B];
      for (A& v : total) v = Re::start();
      for (int64_t r0 = 0; r0 < R; r0 += kRows) {            // the same pieces as above: the same bits
        column_block(o, i0, r0, r0 + kRows < R ? r0 + kRows : R, part);
        for (int64_t k = 0; k < w; ++k) total[k] = Re::join(total[k], part[k]);
      }
      for (int64_t k = 0; k < w; ++k) y[o * I + i0 + k] = static_cast<T>(total[k]);
    }
  });
}

template <class Op, class T> void arg_reduce(Cpu, Op, const T* x, int64_t* y, int64_t O, int64_t R, int64_t I) {
  using A = compute_t<T>;
  parallel_for(O * I, 32768 / (R + 1) + 1, [&](int64_t b, int64_t e) {
    for (int64_t j = b; j < e; ++j) {
      const T* p = x + j / I * R * I + j % I;
      A best = static_cast<A>(*p);
      int64_t where = 0;
      for (int64_t r = 1; r < R && best == best; ++r) {      // a NaN ends the search
        const A v = static_cast<A>(p[r * I]);
        const bool better = std::is_same_v<Op, LargestOf> ? v > best : v < best;
        if (better || v != v) best = v, where = r;
      }
      y[j] = where;
    }
  });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* reduce_table() {                 // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&reduce<SumOf, T>)...,          instance<Cpu>(&reduce<ProductOf, T>)...,
                                instance<Cpu>(&reduce<LargestOf, T>)...,      instance<Cpu>(&reduce<SmallestOf, T>)...,
                                instance<Cpu>(&arg_reduce<LargestOf, T>)...,  instance<Cpu>(&arg_reduce<SmallestOf, T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_reduce_tables[] = {reduce_table<float, double, bf16, half, int64_t, int32_t, uint8_t>()};
#endif

}  // namespace gradus::kernels
#endif
