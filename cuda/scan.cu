// Running reductions of x : [O, R, I] along R.
//
//   reference   one thread a column, element after element; neighbouring threads read neighbouring columns where I > 1
//   block       one block a row (I = 1), 1024 elements at a time: four a thread, lanes by shuffles, warps through shared memory
//   two_stage   a long row in pieces: the total of each, the running totals, then every piece from where it starts
//
// The last two add in another order than the loop: partial sums, in a fixed order.
#include <type_traits>

#include <gradus/kernels/scan.hpp>

#include "reduce.cuh"

namespace gradus::kernels {

namespace cu {
enum class ScanBy { reference, block, two_stage };

/// float runs in double.
template <class T> using scan_t = std::conditional_t<std::is_same_v<T, float>, double, compute_t<T>>;

/// Where results go: index only for extremes.
template <class T> struct ScanOut {
  T* y;
  int64_t* index;
};

// A running reduction: none() before the first element, of() one element, join() of an earlier and a later part, store().
template <class T> struct CumSum {
  using State = scan_t<T>;
  static GRADUS_HD State none() { return State(0); }
  static __device__ State of(T x, int64_t) { return static_cast<State>(load(x)); }
  static __device__ State join(State a, State b) { return static_cast<State>(a + b); }
  static __device__ void store(State s, ScanOut<T> out, int64_t at) { out.y[at] = static_cast<T>(s); }
};
template <class T> struct CumProd : CumSum<T> {
  using State = scan_t<T>;
  static GRADUS_HD State none() { return State(1); }
  static __device__ State join(State a, State b) { return static_cast<State>(a * b); }
};
/// log sum e^x as top + log(sum); of equal tops, also infinite ones, the sums are added.
template <class T> struct LogCumSumExp {
  using A = scan_t<T>;
  using State = ExpSum<A>;
  static GRADUS_HD State none() { return State::none(); }
  static __device__ State of(T x, int64_t) {
    const A v = static_cast<A>(load(x));
    return {v, std::isinf(v) && v < 0 ? A(0) : A(1)};
  }
  static __device__ State join(State a, State b) {
    if (a.top == b.top) return {a.top, a.sum + b.sum};
    if (b.top < a.top) return {a.top, a.sum + b.sum * m::exp(b.top - a.top)};
    return {b.top, a.sum * m::exp(a.top - b.top) + b.sum};   // NaN comes here and stays
  }
  static __device__ void store(State s, ScanOut<T> out, int64_t at) { out.y[at] = static_cast<T>(s.top + m::log(s.sum)); }
};
/// The last of equal extremes; NaN wins and stays. Before the first element, at < 0.
template <class T, bool largest> struct CumExtreme {
  using A = compute_t<T>;
  using State = At<A>;
  static GRADUS_HD State none() { return {A(0), -1}; }
  static __device__ State of(T x, int64_t r) { return {load(x), r}; }
  static __device__ State join(State a, State b) {
    if (a.at < 0 || b.at < 0) return a.at < 0 ? b : a;
    if (b.v != b.v) return b;
    if (a.v != a.v) return a;
    return (largest ? b.v >= a.v : b.v <= a.v) ? b : a;
  }
  static __device__ void store(State s, ScanOut<T> out, int64_t at) { out.y[at] = static_cast<T>(s.v), out.index[at] = s.at; }
};

template <class A> __device__ inline ExpSum<A> from_lane_below(ExpSum<A> v, int d) {
  return {from_lane_below(v.top, d), from_lane_below(v.sum, d)};
}

/// Element k of the scan is element r of the row.
__device__ inline int64_t row_position(int64_t k, int64_t R, bool reverse) { return reverse ? R - 1 - k : k; }

template <class Scan, class T> __global__ void scan_reference(const T* x, ScanOut<T> out, int64_t O, int64_t R, int64_t I, bool reverse) {
  const int64_t j = thread_in_grid();
  if (j >= O * I) return;
  const int64_t column = j / I * R * I + j % I;
  auto state = Scan::none();
  for (int64_t k = 0; k < R; ++k) {
    const int64_t r = row_position(k, R, reverse), at = column + r * I;
    state = Scan::join(state, Scan::of(x[at], r));
    Scan::store(state, out, at);
  }
}

/// The join of the threads before this one, and of all.
template <class State> struct Running {
  State before, all;
};
template <class Scan, class State> __device__ inline Running<State> block_scan(State mine) {
  GRADUS_SHARED(State, of_warp, [kWarp]);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, warps = static_cast<int>(blockDim.x) / kWarp;
  State upto = mine;                               // of the lanes up to this one
  for (int d = 1; d < kWarp; d *= 2) {
    const State earlier = from_lane_below(upto, d);
    if (lane() >= d) upto = Scan::join(earlier, upto);
  }
  const State below = from_lane_below(upto, 1);
  __syncthreads();                                 // of_warp may still be read from the call before
  if (lane() == kWarp - 1) of_warp[warp] = upto;
  __syncthreads();
  State before = Scan::none(), all = Scan::none();
  for (int w = 0; w < warps; ++w) {
    if (w == warp) before = all;
    all = Scan::join(all, of_warp[w]);
  }
  return {lane() == 0 ? before : Scan::join(before, below), all};
}

inline constexpr int kScanEach = 4;                // elements of a thread at a time

/// Block b: piece b % pieces of row b / pieces. Starts from starts[b], or from nothing. With `totals`, only the total is written.
template <class Scan, class T>
__global__ void scan_block(const T* x, ScanOut<T> out, int64_t R, int64_t pieces, int64_t length, bool reverse,
                           const typename Scan::State* starts, typename Scan::State* totals) {
  using State = typename Scan::State;
  const int64_t b = blockIdx.x, row = b / pieces * R, first = b % pieces * length, last = first + length < R ? first + length : R;
  State carry = starts ? starts[b] : Scan::none();
  for (int64_t tile = first; tile < last; tile += kThreads * kScanEach) {
    const int64_t k0 = tile + static_cast<int64_t>(threadIdx.x) * kScanEach;
    State part[kScanEach];
    GRADUS_UNROLL(4)
    for (int e = 0; e < kScanEach; ++e) {
      const int64_t r = row_position(k0 + e, R, reverse);
      const State one = k0 + e < last ? Scan::of(x[row + r], r) : Scan::none();
      part[e] = e == 0 ? one : Scan::join(part[e - 1], one);
    }
    const auto [before, all] = block_scan<Scan>(part[kScanEach - 1]);
    if (!totals) {
      const State start = Scan::join(carry, before);
      GRADUS_UNROLL(4)
      for (int e = 0; e < kScanEach; ++e)
        if (k0 + e < last) Scan::store(Scan::join(start, part[e]), out, row + row_position(k0 + e, R, reverse));
    }
    carry = Scan::join(carry, all);
  }
  if (totals && threadIdx.x == 0) totals[b] = carry;
}
/// totals : [O, pieces] become what comes before each piece. One block a row.
template <class Scan> __global__ void scan_totals(typename Scan::State* totals, int64_t pieces) {
  using State = typename Scan::State;
  State carry = Scan::none();
  for (int64_t tile = 0; tile < pieces; tile += blockDim.x) {
    const int64_t p = tile + threadIdx.x, at = static_cast<int64_t>(blockIdx.x) * pieces + p;
    const auto [before, all] = block_scan<Scan>(p < pieces ? totals[at] : Scan::none());
    if (p < pieces) totals[at] = Scan::join(carry, before);
    carry = Scan::join(carry, all);
  }
}

inline ScanBy scan_by_shape(int64_t O, int64_t R, int64_t I) {
  if (I > 1 || R <= 32) return ScanBy::reference;
  return O < 64 && R > 65536 ? ScanBy::two_stage : ScanBy::block;
}
template <class Scan, class T>
void scan(const char* op, ScanBy by, const T* x, ScanOut<T> out, int64_t O, int64_t R, int64_t I, bool reverse) {
  using State = typename Scan::State;
  if (R == 0) return;
  if (by == ScanBy::reference || I > 1)
    return enqueue(op, scan_reference<Scan, T>, {blocks_for(O * I, kThreads)}, x, out, O, R, I, reverse);
  constexpr int64_t kTile = kThreads * kScanEach;
  const int64_t least = (R + 511) / 512, length = by == ScanBy::block ? R : (least + kTile - 1) / kTile * kTile, pieces = (R + length - 1) / length;
  const State* nothing = nullptr;
  State* no_totals = nullptr;
  if (pieces == 1) return enqueue(op, scan_block<Scan, T>, {O}, x, out, R, pieces, length, reverse, nothing, no_totals);
  Scratch<State> totals(O * pieces);
  enqueue(op, scan_block<Scan, T>, {O * pieces}, x, out, R, pieces, length, reverse, nothing, totals.data());
  enqueue(op, scan_totals<Scan>, {O}, totals.data(), pieces);
  enqueue(op, scan_block<Scan, T>, {O * pieces}, x, out, R, pieces, length, reverse, totals.data(), no_totals);
}
}  // namespace cu

namespace {
constexpr std::initializer_list<const char*> kScanKernels = {"reference", "block", "two_stage"};
KernelChoice<cu::ScanBy> cumsum_by{"cumsum", kScanKernels}, cumprod_by{"cumprod", kScanKernels};
KernelChoice<cu::ScanBy> logcumsumexp_by{"logcumsumexp", kScanKernels}, cummax_by{"cummax", kScanKernels}, cummin_by{"cummin", kScanKernels};
}  // namespace

template <class T> void cumsum(Cuda, const T* x, T* y, int64_t O, int64_t R, int64_t I, bool reverse) {
  cu::scan<cu::CumSum<T>>("cumsum", cumsum_by.or_else(cu::scan_by_shape(O, R, I)), x, cu::ScanOut<T>{y, nullptr}, O, R, I, reverse);
}
template <class T> void cumprod(Cuda, const T* x, T* y, int64_t O, int64_t R, int64_t I, bool reverse) {
  // Partial products may overflow where the running product does not; float has the range of double to spare.
  const bool partial = std::is_same_v<T, float> || !is_floating<T>;
  const auto by = partial ? cu::scan_by_shape(O, R, I) : cu::ScanBy::reference;
  cu::scan<cu::CumProd<T>>("cumprod", cumprod_by.or_else(by), x, cu::ScanOut<T>{y, nullptr}, O, R, I, reverse);
}
template <class T> void logcumsumexp(Cuda, const T* x, T* y, int64_t O, int64_t R, int64_t I, bool reverse) {
  cu::scan<cu::LogCumSumExp<T>>("logcumsumexp", logcumsumexp_by.or_else(cu::scan_by_shape(O, R, I)), x, cu::ScanOut<T>{y, nullptr}, O, R, I,
                                reverse);
}

template <class T> void cummax(Cuda, const T* x, T* values, int64_t* index, int64_t O, int64_t R, int64_t I) {
  cu::scan<cu::CumExtreme<T, true>>("cummax", cummax_by.or_else(cu::scan_by_shape(O, R, I)), x, cu::ScanOut<T>{values, index}, O, R, I, false);
}
template <class T> void cummin(Cuda, const T* x, T* values, int64_t* index, int64_t O, int64_t R, int64_t I) {
  cu::scan<cu::CumExtreme<T, false>>("cummin", cummin_by.or_else(cu::scan_by_shape(O, R, I)), x, cu::ScanOut<T>{values, index}, O, R, I, false);
}

namespace {
template <class... T> void* const* scan_table() {
  static void* const table[] = {instance<Cuda>(&cumsum<T>)..., instance<Cuda>(&cumprod<T>)..., instance<Cuda>(&cummax<T>)...,
                                instance<Cuda>(&cummin<T>)...};
  return table;
}
template <class... T> void* const* logcumsumexp_table() {
  static void* const table[] = {instance<Cuda>(&logcumsumexp<T>)...};
  return table;
}
}  // namespace
extern void* const* const gradus_cuda_scan_instances[] = {scan_table<float, double, bf16, half, int64_t, int32_t, uint8_t>(),
                                                          logcumsumexp_table<float, double, bf16, half>()};

}  // namespace gradus::kernels
