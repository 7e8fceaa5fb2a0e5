// Reductions of x : [O, R, I] along R. Every kernel reduces pieces of R, y : [O, pieces, I]; one piece is the whole reduction.
//
//   reference   one thread a result: reads as the formula, and neighbouring threads read neighbouring columns where I > 1
//   warp        one warp a result, for rows (I = 1)
//   block       one block a result, for long rows (I = 1)
//   columns     a block holds 32 columns, which its eight warps share (I > 1)
//   two_stage   pieces of R first, with block or columns, then the pieces: for few results of many elements each. Pieces depend on
//               the sizes alone and no atomics take part, so the sum of an array has the same bits every time
#include <gradus/kernels/reduce.hpp>

#include "reduce.cuh"

namespace gradus::kernels {

namespace cu {
enum class ReduceBy { reference, warp, block, columns, two_stage };

template <class Op, class A> struct Reducer;
template <class A> struct Reducer<SumOf, A> {
  static GRADUS_HD A start() { return A(0); }
  __device__ A operator()(A a, A b) const { return static_cast<A>(a + b); }
};
template <class A> struct Reducer<ProductOf, A> {
  static GRADUS_HD A start() { return A(1); }
  __device__ A operator()(A a, A b) const { return static_cast<A>(a * b); }
};
template <class A> struct Reducer<LargestOf, A> {
  static GRADUS_HD A start() {
    if constexpr (std::numeric_limits<A>::has_infinity) return -std::numeric_limits<A>::infinity();
    else return std::numeric_limits<A>::lowest();
  }
  __device__ A operator()(A a, A b) const { return (a > b) | (a != a) ? a : b; }
};
template <class A> struct Reducer<SmallestOf, A> {
  static GRADUS_HD A start() {
    if constexpr (std::numeric_limits<A>::has_infinity) return std::numeric_limits<A>::infinity();
    else return std::numeric_limits<A>::max();
  }
  __device__ A operator()(A a, A b) const { return (a < b) | (a != a) ? a : b; }
};

/// Pieces of `length` rows; the last one may be shorter, and R = 0 has one empty piece.
struct Pieces {
  int64_t count, length;
};
inline Pieces one_piece(int64_t R) { return {1, R}; }
inline Pieces pieces_of(int64_t R, int64_t length) { return R <= length ? one_piece(R) : Pieces{(R + length - 1) / length, length}; }

template <class Op, class T, class Out> __global__ void reduce_reference(const T* x, Out* y, int64_t O, int64_t R, int64_t I, Pieces pieces) {
  using Re = Reducer<Op, compute_t<T>>;
  const int64_t j = thread_in_grid();              // of y : [O, pieces, I]
  if (j >= O * pieces.count * I) return;
  const int64_t i = j % I, p = j / I % pieces.count, o = j / I / pieces.count;
  const int64_t first = p * pieces.length, last = first + pieces.length < R ? first + pieces.length : R;
  auto total = Re::start();
  for (int64_t r = first; r < last; ++r) total = Re()(total, load(x[(o * R + r) * I + i]));
  y[j] = static_cast<Out>(total);
}

/// I = 1.
template <class Team, class Op, class T, class Out> __global__ void reduce_rows(const T* x, Out* y, int64_t O, int64_t R, Pieces pieces, bool wide) {
  using Re = Reducer<Op, compute_t<T>>;
  const int64_t j = Team::row();
  if (j >= O * pieces.count) return;
  const int64_t p = j % pieces.count, o = j / pieces.count, first = p * pieces.length;
  const T* row = x + o * R + first;
  const int64_t length = first + pieces.length < R ? pieces.length : R - first;
  auto total = Re::start();
  for_columns<Team, T>(length, wide && length * static_cast<int64_t>(sizeof(T)) % 16 == 0, [&](int64_t c, auto width) {
    const auto e = load_elements<decltype(width)::value>(row + c);
    for (auto v : e.v) total = Re()(total, v);
  });
  total = Team::join(total, Re::start(), Re());
  if (Team::rank() == 0) y[j] = static_cast<Out>(total);
}

/// Lane k of warp w joins rows w, w + 8, ... of column k; the warps' results meet in shared memory.
template <class Op, class T, class Out> __global__ void reduce_columns(const T* x, Out* y, int64_t R, int64_t I, Pieces pieces) {
  using A = compute_t<T>;
  using Re = Reducer<Op, A>;
  constexpr int kWarps = kThreads / kWarp;
  GRADUS_SHARED(A, part, [kWarps][kWarp]);
  const int64_t blocks = (I + kWarp - 1) / kWarp, i = static_cast<int64_t>(blockIdx.x) % blocks * kWarp + lane();
  const int64_t op = static_cast<int64_t>(blockIdx.x) / blocks, p = op % pieces.count, o = op / pieces.count;
  const int64_t first = p * pieces.length, last = first + pieces.length < R ? first + pieces.length : R;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  A total = Re::start();
  for (int64_t r = first + warp; r < last && i < I;) {       // pieces of 64 bound the error of long sums
    A few = Re::start();
    for (int k = 0; k < 64 && r < last; ++k, r += kWarps) few = Re()(few, load(x[(o * R + r) * I + i]));
    total = Re()(total, few);
  }
  part[warp][lane()] = total;
  __syncthreads();
  if (warp != 0 || i >= I) return;
  for (int w = 1; w < kWarps; ++w) total = Re()(total, part[w][lane()]);
  y[op * I + i] = static_cast<Out>(total);
}

/// One stage: `by` is not two_stage. A kernel that cannot treat the shape gives way to the one that can.
template <class Op, class T, class Out>
void reduce_stage(ReduceBy by, const T* x, Out* y, int64_t O, int64_t R, int64_t I, Pieces pieces) {
  const int64_t results = O * pieces.count * I;
  const bool rows = I == 1 && by != ReduceBy::reference;
  if (by == ReduceBy::reference) {
    enqueue("reduce", reduce_reference<Op, T, Out>, {blocks_for(results, kThreads)}, x, y, O, R, I, pieces);
  } else if (rows) {
    const bool wide = rows_aligned(R, x) && pieces.length * static_cast<int64_t>(sizeof(T)) % 16 == 0;
    if (by == ReduceBy::warp)
      enqueue("reduce", reduce_rows<Warp, Op, T, Out>, rows_grid(Rows::warp, results), x, y, O, R, pieces, wide);
    else
      enqueue("reduce", reduce_rows<Block, Op, T, Out>, rows_grid(Rows::block, results), x, y, O, R, pieces, wide);
  } else {
    enqueue("reduce", reduce_columns<Op, T, Out>, {O * pieces.count * blocks_for(I, kWarp)}, x, y, R, I, pieces);
  }
}
inline ReduceBy one_stage_by_shape(int64_t O, int64_t R, int64_t I) {
  if (I == 1) return R <= 8 ? ReduceBy::reference : R <= 1024 ? ReduceBy::warp : ReduceBy::block;
  return R < 64 ? ReduceBy::reference : ReduceBy::columns;
}
/// Blocks that keep a large device busy.
inline constexpr int64_t kEnoughBlocks = 512;
inline ReduceBy reduce_by_shape(int64_t O, int64_t R, int64_t I) {
  const ReduceBy one = one_stage_by_shape(O, R, I);
  if (one == ReduceBy::block && O < kEnoughBlocks && R > 65536) return ReduceBy::two_stage;
  if (one == ReduceBy::columns && O * ((I + kWarp - 1) / kWarp) < kEnoughBlocks && R > 4096) return ReduceBy::two_stage;
  return one;
}

// ---- positions ----
/// The better of two candidates: NaN, then the more extreme value, then the lower position. A candidate of no element has at < 0.
template <class Op, class A> struct BetterAt {
  __device__ At<A> operator()(At<A> a, At<A> b) const {
    if (a.at < 0 || b.at < 0) return a.at < 0 ? b : a;
    const bool a_nan = a.v != a.v, b_nan = b.v != b.v;
    if (a_nan != b_nan) return a_nan ? a : b;
    if (!a_nan && a.v != b.v) return std::is_same_v<Op, LargestOf> == (a.v > b.v) ? a : b;
    return a.at < b.at ? a : b;
  }
};
template <class Op, class T> __global__ void arg_reduce_reference(const T* x, int64_t* y, int64_t O, int64_t R, int64_t I) {
  using A = compute_t<T>;
  const int64_t j = thread_in_grid();
  if (j >= O * I) return;
  const T* p = x + j / I * R * I + j % I;
  A best = load(*p);
  int64_t where = 0;
  for (int64_t r = 1; r < R && best == best; ++r) {          // a NaN ends the search
    const A v = load(p[r * I]);
    const bool better = std::is_same_v<Op, LargestOf> ? v > best : v < best;
    if (better || v != v) best = v, where = r;
  }
  y[j] = where;
}
template <class Team, class Op, class T> __global__ void arg_reduce_team(const T* x, int64_t* y, int64_t O, int64_t R, int64_t I) {
  using A = compute_t<T>;
  const int64_t j = Team::row();
  if (j >= O * I) return;
  const T* p = x + j / I * R * I + j % I;
  const At<A> none{A(0), -1};
  At<A> best = none;
  for (int64_t r = Team::rank(); r < R; r += Team::size()) best = BetterAt<Op, A>()(best, {load(p[r * I]), r});
  best = Team::join(best, none, BetterAt<Op, A>());
  if (Team::rank() == 0) y[j] = best.at;
}
}  // namespace cu

namespace {
KernelChoice<cu::ReduceBy> reduce_by{"reduce", {"reference", "warp", "block", "columns", "two_stage"}};
KernelChoice<cu::Rows> arg_reduce_by{"arg_reduce", cu::kRowKernels};
}  // namespace

template <class Op, class T> void reduce(Cuda, Op, const T* x, T* y, int64_t O, int64_t R, int64_t I) {
  using namespace cu;
  using A = compute_t<T>;
  const ReduceBy by = reduce_by.or_else(reduce_by_shape(O, R, I));
  if (by != ReduceBy::two_stage) return reduce_stage<Op>(by, x, y, O, R, I, one_piece(R));
  const int64_t groups = I == 1 ? O : O * blocks_for(I, kWarp), wanted = (2 * kEnoughBlocks + groups - 1) / (groups + 1) + 1;
  const int64_t shortest = I == 1 ? 4096 : 512;              // elements that are worth a block
  int64_t length = (R + wanted - 1) / wanted;
  length = length < shortest ? shortest : (length + 15) / 16 * 16;
  const Pieces pieces = pieces_of(R, length);
  if (pieces.count == 1) return reduce_stage<Op>(I == 1 ? ReduceBy::block : ReduceBy::columns, x, y, O, R, I, pieces);
  Scratch<A> part(O * pieces.count * I);
  reduce_stage<Op>(I == 1 ? ReduceBy::block : ReduceBy::columns, x, part.data(), O, R, I, pieces);
  reduce_stage<Op>(one_stage_by_shape(O, pieces.count, I), part.data(), y, O, pieces.count, I, one_piece(pieces.count));
}

template <class Op, class T> void arg_reduce(Cuda, Op, const T* x, int64_t* y, int64_t O, int64_t R, int64_t I) {
  using namespace cu;
  const Rows by = arg_reduce_by.or_else(I > 1 && O * I >= 4096 ? Rows::reference : rows_by_length(R));
  if (by == Rows::reference) return enqueue("arg_reduce", arg_reduce_reference<Op, T>, rows_grid(by, O * I), x, y, O, R, I);
  const auto kernel = by == Rows::warp ? arg_reduce_team<Warp, Op, T> : arg_reduce_team<Block, Op, T>;
  enqueue("arg_reduce", kernel, rows_grid(by, O * I), x, y, O, R, I);
}

namespace {
template <class... T> void* const* reduce_table() {
  static void* const table[] = {instance<Cuda>(&reduce<SumOf, T>)...,         instance<Cuda>(&reduce<ProductOf, T>)...,
                                instance<Cuda>(&reduce<LargestOf, T>)...,     instance<Cuda>(&reduce<SmallestOf, T>)...,
                                instance<Cuda>(&arg_reduce<LargestOf, T>)..., instance<Cuda>(&arg_reduce<SmallestOf, T>)...};
  return table;
}
}  // namespace
extern void* const* const gradus_cuda_reduce_instances = reduce_table<float, double, bf16, half, int64_t, int32_t, uint8_t>();

}  // namespace gradus::kernels
