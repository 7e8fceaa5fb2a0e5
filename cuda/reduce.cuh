// What threads of a warp or a block find out together: sums, maxima, prefix sums. No atomics: the order of every sum is a
// function of the sizes alone, so results repeat bit for bit.
//
// Most kernels on rows of x : [N, C] have one text for two teams:
//   Warp    one warp a row: no barriers, eight rows a block; for short rows
//   Block   one block a row: for rows that would keep a warp too long
#pragma once
#include <initializer_list>
#include <limits>

#include <gradus/core/kernel_choice.hpp>
#include <gradus/core/math.hpp>

#include "kernel.cuh"

namespace gradus::kernels::cu {

inline constexpr unsigned kAllLanes = 0xffffffffu;

// ---- values that pass from lane to lane ----
template <class A> __device__ inline A from_lane_xor(A v, int mask) { return static_cast<A>(__shfl_xor_sync(kAllLanes, v, mask)); }
template <class A> __device__ inline A from_lane_below(A v, int distance) { return static_cast<A>(__shfl_up_sync(kAllLanes, v, distance)); }

template <class A> struct Two {
  A a, b;
};
template <class A> __device__ inline Two<A> from_lane_xor(Two<A> v, int mask) { return {from_lane_xor(v.a, mask), from_lane_xor(v.b, mask)}; }

/// A value and where it is.
template <class A> struct At {
  A v;
  int64_t at;
};
template <class A> __device__ inline At<A> from_lane_xor(At<A> v, int mask) { return {from_lane_xor(v.v, mask), from_lane_xor(v.at, mask)}; }
template <class A> __device__ inline At<A> from_lane_below(At<A> v, int d) { return {from_lane_below(v.v, d), from_lane_below(v.at, d)}; }

// ---- what two partial results make ----
struct Add {
  template <class A> __device__ A operator()(A a, A b) const { return static_cast<A>(a + b); }
  template <class A> __device__ Two<A> operator()(Two<A> x, Two<A> y) const { return {x.a + y.a, x.b + y.b}; }
};
/// NaN is passed over.
struct Larger {
  template <class A> __device__ A operator()(A a, A b) const { return a > b || b != b ? a : b; }
};

struct Smaller {
  template <class A> __device__ A operator()(A a, A b) const { return a < b ? a : b; }
};

// ---- teams ----
/// The join of the v of LANES neighbouring lanes, in each of them. All 32 lanes must come here.
template <int LANES = kWarp, class A, class Join> __device__ inline A warp_join(A v, Join join) {
  for (int mask = LANES / 2; mask > 0; mask /= 2) v = join(v, from_lane_xor(v, mask));
  return v;
}
/// The join of the threads' v, in every thread; `start` is its neutral element. All threads must come here; blockDim.x is a
/// multiple of 32.
template <class A, class Join> __device__ inline A block_join(A v, A start, Join join) {
  GRADUS_SHARED(A, of_warp, [kWarp]);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, warps = static_cast<int>(blockDim.x) / kWarp;
  v = warp_join(v, join);
  __syncthreads();                              // of_warp may still be read from the call before
  if (lane() == 0) of_warp[warp] = v;
  __syncthreads();
  return warp_join(lane() < warps ? of_warp[lane()] : start, join);
}

struct Rank {
  int before, all;
};
/// For how many of the block's threads before this one `set` holds, and for how many at all. All threads must come here.
__device__ inline Rank block_rank(bool set) {
  GRADUS_SHARED(int, of_warp, [kWarp]);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, warps = static_cast<int>(blockDim.x) / kWarp;
  const unsigned lanes = __ballot_sync(kAllLanes, set);
  __syncthreads();                              // of_warp may still be read from the call before
  if (lane() == 0) of_warp[warp] = __popc(lanes);
  __syncthreads();
  Rank r{__popc(lanes & ((1u << lane()) - 1u)), 0};
  for (int w = 0; w < warps; ++w) {
    if (w < warp) r.before += of_warp[w];
    r.all += of_warp[w];
  }
  return r;
}

struct Warp {
  static constexpr int rows_per_block = kThreads / kWarp;
  static __device__ int64_t row() { return warp_in_grid(); }
  static __device__ int rank() { return lane(); }
  static __device__ int size() { return kWarp; }
  template <class A, class Join> static __device__ A join(A v, A, Join j) { return warp_join(v, j); }
};
struct Block {
  static constexpr int rows_per_block = 1;
  static __device__ int64_t row() { return blockIdx.x; }
  static __device__ int rank() { return static_cast<int>(threadIdx.x); }
  static __device__ int size() { return static_cast<int>(blockDim.x); }
  template <class A, class Join> static __device__ A join(A v, A start, Join j) { return block_join(v, start, j); }
};
template <class Team, class A> __device__ inline A team_sum(A v) { return Team::join(v, A(0), Add{}); }
template <class Team, class A> __device__ inline Two<A> team_sum(Two<A> v) { return Team::join(v, Two<A>{A(0), A(0)}, Add{}); }

// ---- a team's share of a row ----
/// W neighbouring elements in the type that arithmetic on them happens in.
template <class T, int W> struct Elements {
  compute_t<T> v[W];
};
template <class T, int W> struct alignas(16) Raw {
  T v[W];
};
template <int W, class T> __device__ inline Elements<T, W> load_elements(const T* p) {
  Elements<T, W> e;
  if constexpr (W == 1) {
    e.v[0] = load(*p);
  } else {
    const auto raw = load16<Raw<T, W>>(p);
    GRADUS_UNROLL(16)
    for (int j = 0; j < W; ++j) e.v[j] = load(raw.v[j]);
  }
  return e;
}
template <int W, class T> __device__ inline void store_elements(T* p, const Elements<T, W>& e) {
  if constexpr (W == 1) {
    *p = static_cast<T>(e.v[0]);
  } else {
    Raw<T, W> raw;
    GRADUS_UNROLL(16)
    for (int j = 0; j < W; ++j) raw.v[j] = static_cast<T>(e.v[j]);
    store16(p, raw);
  }
}
/// Whether rows of C elements can be read 16 bytes at a time at all of these places; nullptr is no obstacle.
template <class T, class... P> inline bool rows_aligned(int64_t C, const T* p, const P*... more) {
  const uintptr_t bits = (reinterpret_cast<uintptr_t>(p) | ... | reinterpret_cast<uintptr_t>(more));
  return bits % 16 == 0 && C * static_cast<int64_t>(sizeof(T)) % 16 == 0;
}
template <int W> struct Width {
  static constexpr int value = W;
};
/// f(c, Width<W>) for the columns c ... c+W-1 of [0, C) that are this thread's: 16 bytes of T where `wide`.
template <class Team, class T, class F> __device__ inline void for_columns(int64_t C, bool wide, F f) {
  constexpr int W = 16 / sizeof(T);
  if (wide)
    for (int64_t c = static_cast<int64_t>(Team::rank()) * W; c < C; c += static_cast<int64_t>(Team::size()) * W) f(c, Width<W>{});
  else
    for (int64_t c = Team::rank(); c < C; c += Team::size()) f(c, Width<1>{});
}

// ---- sum of exponentials ----
/// sum_k e^{x_k} as sum * e^top, in one pass over the row (Milakov & Gimelshein 2018). NaN is passed over by `top` and stays in
/// `sum`. An infinite `top` gives NaN where it is subtracted, as in softmax of such a row.
template <class A> struct ExpSum {
  A top, sum;
  static GRADUS_HD ExpSum none() { return {-std::numeric_limits<A>::infinity(), A(0)}; }
};
template <class A> __device__ inline ExpSum<A> from_lane_xor(ExpSum<A> v, int mask) {
  return {from_lane_xor(v.top, mask), from_lane_xor(v.sum, mask)};
}
struct AddExp {
  /// e^{x - top}; 1 where both are the same infinity: such a term only has to survive until the last subtraction.
  template <class A> static __device__ A scale(A x, A top) { return x == top ? A(1) : m::exp(x - top); }
  template <class A> __device__ ExpSum<A> operator()(ExpSum<A> x, ExpSum<A> y) const {
    const A top = x.top > y.top ? x.top : y.top;
    return {top, x.sum * scale(x.top, top) + y.sum * scale(y.top, top)};
  }
  template <class A> static __device__ void add(ExpSum<A>& s, A x) {
    if (x > s.top) s.sum *= scale(s.top, x), s.top = x;
    s.sum += scale(x, s.top);
  }
};
/// Of a row, in every thread of the team.
template <class Team, class T> __device__ inline ExpSum<compute_t<T>> row_exp_sum(const T* x, int64_t C, bool wide) {
  auto s = ExpSum<compute_t<T>>::none();
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    const auto e = load_elements<decltype(width)::value>(x + c);
    for (auto v : e.v) AddExp::add(s, v);
  });
  return Team::join(s, ExpSum<compute_t<T>>::none(), AddExp{});
}

// ---- which kernel ----
/// The kernels of an operation on rows: one thread, one warp or one block a row.
enum class Rows { reference, warp, block };
inline constexpr std::initializer_list<const char*> kRowKernels = {"reference", "warp", "block"};

inline Rows rows_by_length(int64_t C) { return C <= 8 ? Rows::reference : C <= 1024 ? Rows::warp : Rows::block; }
inline Grid rows_grid(Rows by, int64_t N) {
  return {by == Rows::block ? N : blocks_for(N, by == Rows::warp ? Warp::rows_per_block : kThreads)};
}

}  // namespace gradus::kernels::cu
