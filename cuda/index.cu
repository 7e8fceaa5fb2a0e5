// Indexing. What only moves is one thread an element. Sums and writes of repeated destinations come out as on the Cpu, bit for
// bit: the elements of a destination are taken in the order of the index, never by atomics. For scatter, index_add and put:
//
//   reference   one thread a destination, which looks through the whole index: the formula read backwards
//   columns     one thread a column (o, i), element after element (scatter; where there are many columns)
//   sorted      positions are sorted by destination, stably; the first of each run of equals does the work of the run
#include <gradus/core/shape.hpp>
#include <gradus/kernels/index.hpp>
#include <gradus/kernels/scan.hpp>
#include <gradus/kernels/sort.hpp>

#include "reduce.cuh"
#include "sort.cuh"

namespace gradus::kernels {

namespace cu {
enum class ScatterBy { reference, columns, sorted };
enum class IndexAddBy { reference, sorted };
enum class SelectBy { reference, chunks };

namespace {
/// first[b] = the lowest position that block b finds, n for none.
__global__ void out_of_range_first(const int64_t* index, int64_t n, int64_t lo, int64_t hi, int64_t* first) {
  int64_t found = n;
  for (int64_t i = thread_in_grid(); i < n && found == n; i += threads_in_grid())
    if (index[i] < lo || index[i] >= hi) found = i;
  found = block_join(found, n, Smaller());
  if (threadIdx.x == 0) first[blockIdx.x] = found;
}
__global__ void smallest_of(const int64_t* x, int64_t n, int64_t* y) {
  int64_t least = x[0];
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) least = x[i] < least ? x[i] : least;
  least = block_join(least, least, Smaller());
  if (threadIdx.x == 0) *y = least;
}
}  // namespace

// ---- moves ----
template <class T> __global__ void gather_elements(const T* x, const int64_t* index, T* y, int64_t O, int64_t R, int64_t I, int64_t J) {
  const int64_t k = thread_in_grid();
  if (k >= O * J * I) return;
  y[k] = x[(k / (J * I) * R + index[k]) * I + k % I];
}
template <class T> __global__ void index_select_elements(const T* x, const int64_t* index, T* y, int64_t O, int64_t R, int64_t I, int64_t J) {
  const int64_t k = thread_in_grid();
  if (k >= O * J * I) return;
  y[k] = x[(k / (J * I) * R + index[k / I % J]) * I + k % I];
}
template <class T> __global__ void take_elements(const T* x, const int64_t* index, T* y, int64_t n) {
  const int64_t k = thread_in_grid();
  if (k < n) y[k] = x[index[k]];
}

// ---- what happens to a destination: start from what it holds, take sources in order, write the result ----
template <class T> struct PutLast {
  using State = T;
  static __device__ State start(T d) { return d; }
  static __device__ void take(State& d, T s) { d = s; }
  static __device__ T result(State d) { return d; }
};
template <class T> struct AddUp {
  using State = compute_t<T>;
  static __device__ State start(T d) { return load(d); }
  static __device__ void take(State& d, T s) { d = static_cast<State>(d + load(s)); }
  static __device__ T result(State d) { return static_cast<T>(d); }
};
template <class T, bool largest> struct KeepExtreme : PutLast<T> {   // NaN wins
  static __device__ void take(T& d, T s) {
    const auto a = load(d), b = load(s);
    if ((largest ? b > a : b < a) || b != b) d = s;
  }
};

template <class Into, class T>
__global__ void scatter_reference(T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  const int64_t d = thread_in_grid();              // of y : [O, R, I]
  if (d >= O * R * I) return;
  const int64_t o = d / (R * I), r = d / I % R, i = d % I;
  auto state = Into::start(y[d]);
  bool taken = false;
  for (int64_t j = 0; j < J; ++j) {
    const int64_t k = (o * J + j) * I + i;
    if (index[k] == r) Into::take(state, src[k]), taken = true;
  }
  if (taken) y[d] = Into::result(state);
}
template <class Into, class T>
__global__ void scatter_columns(T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  const int64_t column = thread_in_grid();
  if (column >= O * I) return;
  const int64_t o = column / I, i = column % I;
  for (int64_t j = 0; j < J; ++j) {
    const int64_t k = (o * J + j) * I + i, d = (o * R + index[k]) * I + i;
    auto state = Into::start(y[d]);
    Into::take(state, src[k]);
    y[d] = Into::result(state);
  }
}
namespace {
/// destination of each position, over flat y.
__global__ void scatter_destinations(const int64_t* index, int64_t* destination, int64_t O, int64_t R, int64_t I, int64_t J) {
  const int64_t k = thread_in_grid();
  if (k < O * J * I) destination[k] = (k / (J * I) * R + index[k]) * I + k % I;
}
}  // namespace
/// Sorted destinations; order[k] is the position in src.
template <class Into, class T> __global__ void scatter_sorted(T* y, const int64_t* destination, const int64_t* order, const T* src, int64_t n) {
  int64_t k = thread_in_grid();
  if (k >= n || (k > 0 && destination[k - 1] == destination[k])) return;
  const int64_t d = destination[k];
  auto state = Into::start(y[d]);
  for (; k < n && destination[k] == d; ++k) Into::take(state, src[order[k]]);
  y[d] = Into::result(state);
}

template <class Into, class T>
void scatter_with(const char* op, ScatterBy chosen, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  const int64_t n = O * J * I;
  if (n == 0) return;
  constexpr bool through_y = std::is_same_v<typename Into::State, T>;    // a column would round bf16 and half after each sum
  const ScatterBy by = chosen == ScatterBy::columns && !through_y ? ScatterBy::sorted : chosen;
  if (by == ScatterBy::reference)
    return enqueue(op, scatter_reference<Into, T>, {blocks_for(O * R * I, kThreads)}, y, index, src, O, R, I, J);
  if (by == ScatterBy::columns) return enqueue(op, scatter_columns<Into, T>, {blocks_for(O * I, kThreads)}, y, index, src, O, R, I, J);
  Scratch<int64_t> destination(n), sorted(n), order(n);
  enqueue(op, scatter_destinations, {blocks_for(n, kThreads)}, index, destination.data(), O, R, I, J);
  sort_positions(destination.data(), sorted.data(), order.data(), n, O * R * I);
  enqueue(op, scatter_sorted<Into, T>, {blocks_for(n, kThreads)}, y, sorted.data(),
          order.data(), src, n);
}
inline ScatterBy scatter_by_shape(int64_t O, int64_t R, int64_t I, int64_t J) {
  if (O * I >= 4096) return ScatterBy::columns;
  return R * J <= 4096 ? ScatterBy::reference : ScatterBy::sorted;
}

// ---- index_add ----
template <class T>
__global__ void index_add_reference(T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  const int64_t d = thread_in_grid();
  if (d >= O * R * I) return;
  const int64_t o = d / (R * I), r = d / I % R, i = d % I;
  auto sum = AddUp<T>::start(y[d]);
  for (int64_t j = 0; j < J; ++j)
    if (index[j] == r) AddUp<T>::take(sum, src[(o * J + j) * I + i]);
  y[d] = AddUp<T>::result(sum);
}
/// Thread (k, e): element e of [O, I] for the run of equal destinations that starts at sorted position k; others leave.
template <class T> __global__ void index_add_sorted(T* y, const int64_t* destination, const int64_t* order, const T* src, int64_t O, int64_t R,
                                                    int64_t I, int64_t J) {
  const int64_t t = thread_in_grid();
  if (t >= J * O * I) return;
  int64_t k = t / (O * I);
  const int64_t e = t % (O * I), o = e / I, i = e % I, r = destination[k], d = (o * R + r) * I + i;
  if (k > 0 && destination[k - 1] == r) return;
  auto sum = AddUp<T>::start(y[d]);
  for (; k < J && destination[k] == r; ++k) AddUp<T>::take(sum, src[(o * J + order[k]) * I + i]);
  y[d] = AddUp<T>::result(sum);
}

// ---- put ----
template <class T> __global__ void put_reference(T* y, const int64_t* index, const T* src, int64_t n) {
  if (thread_in_grid() != 0) return;               // the last of equals wins: one thread, in order
  for (int64_t k = 0; k < n; ++k) y[index[k]] = src[k];
}
template <class T> __global__ void put_sorted(T* y, const int64_t* destination, const int64_t* order, const T* src, int64_t n) {
  const int64_t k = thread_in_grid();
  if (k < n && (k == n - 1 || destination[k + 1] != destination[k])) y[destination[k]] = src[order[k]];
}

// ---- elements that are set: f(i, at, set) with `at` the number of those before i ----
inline constexpr int64_t kSelectChunk = 2048;
template <class T> __device__ inline bool is_set(T x) { return load(x) != compute_t<T>(0); }

template <class T> __global__ void count_chunks(const T* x, int64_t n, int64_t* count) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kSelectChunk, last = first + kSelectChunk < n ? first + kSelectChunk : n;
  int64_t found = 0;
  for (int64_t i = first + threadIdx.x; i < last; i += blockDim.x) found += is_set(x[i]);
  found = block_join(found, int64_t{0}, Add());
  if (threadIdx.x == 0) count[blockIdx.x] = found;
}
/// upto[b] : set elements in chunks 0 ... b.
template <class T, class F> __global__ void for_each_set_chunks(const T* x, int64_t n, const int64_t* upto, F f) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kSelectChunk, last = first + kSelectChunk < n ? first + kSelectChunk : n;
  int64_t at = blockIdx.x == 0 ? 0 : upto[blockIdx.x - 1];
  for (int64_t tile = first; tile < last; tile += blockDim.x) {
    const int64_t i = tile + threadIdx.x;
    const bool set = i < last && is_set(x[i]);
    const Rank r = block_rank(set);
    if (i < last) f(i, at + r.before, set);
    at += r.all;
  }
}
template <class T, class F> __global__ void for_each_set_reference(const T* x, int64_t n, F f) {
  if (thread_in_grid() != 0) return;
  int64_t at = 0;
  for (int64_t i = 0; i < n; ++i) {
    const bool set = is_set(x[i]);
    f(i, at, set);
    at += set;
  }
}
/// Number of set elements up to each chunk's end.
template <class T> void set_upto(const char* op, const T* x, int64_t n, int64_t* upto) {
  const int64_t chunks = blocks_for(n, kSelectChunk);
  Scratch<int64_t> count(chunks);
  enqueue(op, count_chunks<T>, {chunks}, x, n, count.data());
  cumsum<int64_t>(Cuda{}, count.data(), upto, 1, chunks, 1, false);
}
template <class T, class F> void for_each_set(const char* op, SelectBy by, const T* x, int64_t n, F f) {
  if (n == 0) return;
  if (by == SelectBy::reference) return enqueue(op, for_each_set_reference<T, F>, {1, kWarp}, x, n, f);
  const int64_t chunks = blocks_for(n, kSelectChunk);
  Scratch<int64_t> upto(chunks);
  set_upto(op, x, n, upto.data());
  enqueue(op, for_each_set_chunks<T, F>, {chunks}, x, n, upto.data(), f);
}
struct StoreCoordinates {
  int64_t* y;
  int64_t shape[kMaxRank];
  int rank;
  __device__ void operator()(int64_t i, int64_t at, bool set) const {
    if (!set) return;
    for (int d = rank - 1; d >= 0; --d) y[at * rank + d] = i % shape[d], i /= shape[d];
  }
};
template <class T> struct StoreSelected {
  const T* x;
  T* y;
  __device__ void operator()(int64_t i, int64_t at, bool set) const {
    if (set) y[at] = x[i];
  }
};
template <class T> struct StoreExpanded {
  const T* src;
  T* y;
  __device__ void operator()(int64_t i, int64_t at, bool set) const { y[i] = set ? src[at] : static_cast<T>(0); }
};
}  // namespace cu

namespace {
constexpr std::initializer_list<const char*> kScatterKernels = {"reference", "columns", "sorted"};
KernelChoice<cu::ScatterBy> scatter_by{"scatter", kScatterKernels}, scatter_add_by{"scatter_add", kScatterKernels};
KernelChoice<cu::ScatterBy> scatter_amax_by{"scatter_amax", kScatterKernels}, scatter_amin_by{"scatter_amin", kScatterKernels};
KernelChoice<cu::IndexAddBy> index_add_by{"index_add", {"reference", "sorted"}}, put_by{"put", {"reference", "sorted"}};
KernelChoice<cu::SelectBy> select_by{"masked_select", {"reference", "chunks"}};
}  // namespace

int64_t find_out_of_range(Cuda, const int64_t* index, int64_t n, int64_t lo, int64_t hi) {
  using namespace cu;
  if (n == 0) return -1;
  const int64_t wanted = blocks_for(n, 4 * kThreads), blocks = wanted < 512 ? wanted : 512;
  Scratch<int64_t> first(blocks), least(1);
  enqueue("find_out_of_range", out_of_range_first, {blocks}, index, n, lo, hi, first.data());
  enqueue("find_out_of_range", smallest_of, {1}, first.data(), blocks, least.data());
  const int64_t found = read(least.data());
  return found == n ? -1 : found;
}

template <class T> void gather(Cuda, const T* x, const int64_t* index, T* y, int64_t O, int64_t R, int64_t I, int64_t J) {
  using namespace cu;
  enqueue("gather", gather_elements<T>, {blocks_for(O * J * I, kThreads)}, x, index, y, O, R, I, J);
}

template <class T> void scatter(Cuda, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  cu::scatter_with<cu::PutLast<T>>("scatter", scatter_by.or_else(cu::scatter_by_shape(O, R, I, J)), y, index, src, O, R, I, J);
}
template <class T> void scatter_amax(Cuda, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  cu::scatter_with<cu::KeepExtreme<T, true>>("scatter_amax", scatter_amax_by.or_else(cu::scatter_by_shape(O, R, I, J)), y, index, src, O, R, I, J);
}
template <class T> void scatter_amin(Cuda, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  cu::scatter_with<cu::KeepExtreme<T, false>>("scatter_amin", scatter_amin_by.or_else(cu::scatter_by_shape(O, R, I, J)), y, index, src, O, R, I, J);
}
template <class T> void scatter_add(Cuda, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  cu::scatter_with<cu::AddUp<T>>("scatter_add", scatter_add_by.or_else(cu::scatter_by_shape(O, R, I, J)), y, index, src, O, R, I, J);
}

template <class T> void index_select(Cuda, const T* x, const int64_t* index, T* y, int64_t O, int64_t R, int64_t I, int64_t J) {
  using namespace cu;
  enqueue("index_select", index_select_elements<T>, {blocks_for(O * J * I, kThreads)}, x, index, y, O, R, I, J);
}

template <class T> void index_add(Cuda, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  using namespace cu;
  if (O * I * J == 0) return;
  if (index_add_by.or_else(R * J <= 1024 ? IndexAddBy::reference : IndexAddBy::sorted) == IndexAddBy::reference)
    return enqueue("index_add", index_add_reference<T>, {blocks_for(O * R * I, kThreads)}, y, index, src, O, R, I, J);
  Scratch<int64_t> sorted(J), order(J);
  sort_positions(index, sorted.data(), order.data(), J, R);
  enqueue("index_add", index_add_sorted<T>, {blocks_for(J * O * I, kThreads)}, y, sorted.data(),
          order.data(), src, O, R, I, J);
}

template <class T> void take(Cuda, const T* x, const int64_t* index, T* y, int64_t n) {
  using namespace cu;
  enqueue("take", take_elements<T>, {blocks_for(n, kThreads)}, x, index, y, n);
}
template <class T> void put(Cuda, T* y, const int64_t* index, const T* src, int64_t n) {
  using namespace cu;
  if (n == 0) return;
  if (put_by.or_else(n <= 64 ? IndexAddBy::reference : IndexAddBy::sorted) == IndexAddBy::reference)
    return enqueue("put", put_reference<T>, {1, kWarp}, y, index, src, n);
  Scratch<int64_t> sorted(n), order(n);
  sort<int64_t>(Cuda{}, index, sorted.data(), order.data(), 1, n, false);
  enqueue("put", put_sorted<T>, {blocks_for(n, kThreads)}, y, sorted.data(),
          order.data(), src, n);
}

template <class T> int64_t count_nonzero(Cuda, const T* x, int64_t n) {
  if (n == 0) return 0;
  const int64_t chunks = cu::blocks_for(n, cu::kSelectChunk);
  cu::Scratch<int64_t> upto(chunks);
  cu::set_upto("count_nonzero", x, n, upto.data());
  return cu::read(upto.data() + chunks - 1);
}

template <class T> void nonzero(Cuda, const T* x, int64_t* y, const int64_t* shape, int rank) {
  cu::StoreCoordinates f{y, {}, rank};
  int64_t n = 1;
  for (int d = 0; d < rank; ++d) f.shape[d] = shape[d], n *= shape[d];
  cu::for_each_set("nonzero", select_by.or_else(cu::SelectBy::chunks), x, n, f);
}

template <class T> void masked_select(Cuda, const T* x, const bool* mask, T* y, int64_t n) {
  cu::for_each_set("masked_select", select_by.or_else(cu::SelectBy::chunks), mask, n, cu::StoreSelected<T>{x, y});
}
template <class T> void masked_expand(Cuda, const T* src, const bool* mask, T* y, int64_t n) {
  cu::for_each_set("masked_expand", select_by.or_else(cu::SelectBy::chunks), mask, n, cu::StoreExpanded<T>{src, y});
}

namespace {
template <class... T> void* const* move_table() {
  static void* const table[] = {instance<Cuda>(&gather<T>)...,        instance<Cuda>(&scatter<T>)...,       instance<Cuda>(&index_select<T>)...,
                                instance<Cuda>(&take<T>)...,          instance<Cuda>(&put<T>)...,           instance<Cuda>(&count_nonzero<T>)...,
                                instance<Cuda>(&nonzero<T>)...,       instance<Cuda>(&masked_select<T>)..., instance<Cuda>(&masked_expand<T>)...};
  return table;
}
template <class... T> void* const* sum_table() {
  static void* const table[] = {instance<Cuda>(&scatter_add<T>)..., instance<Cuda>(&scatter_amax<T>)..., instance<Cuda>(&scatter_amin<T>)...,
                                instance<Cuda>(&index_add<T>)...};
  return table;
}
}  // namespace
extern void* const* const gradus_cuda_index_instances[] = {move_table<float, double, bf16, half, int64_t, int32_t, uint8_t, bool>(),
                                                           sum_table<float, double, bf16, half, int64_t, int32_t, uint8_t>()};

}  // namespace gradus::kernels
