// Elements become unsigned keys whose order is the order wanted, as in cpu/sort.cpp. Positions break ties, so every kernel is
// stable, and none uses an atomic whose order could show: counts are integers.
//
//   sort         reference: one thread an element, which counts those before it; block: a row in shared memory, bitonic, up to 2048;
//                radix: least significant byte first, tiles of 2048 elements that are counted, then moved
//   topk, kth    reference as above; block (topk): the same bitonic sort; select: the k-th key byte by byte from histograms, most
//                significant first, then what is before it is collected in order and sorted (topk, up to k = 2048);
//                sort (topk): all of the row sorted
#include <type_traits>

#include <gradus/kernels/scan.hpp>
#include <gradus/kernels/sort.hpp>

#include "reduce.cuh"
#include "sort.cuh"

namespace gradus::kernels {

namespace cu {
template <class T> using sort_key_t = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
inline constexpr int kBlockSort = 2048;            // elements of a row that a block sorts in shared memory

/// a < b in the order of this file is sort_key(a) < sort_key(b); the key has as many bytes as T.
template <class T> __device__ inline sort_key_t<T> sort_key(T value) {
  using K = sort_key_t<T>;
  constexpr K all = static_cast<K>(~uint64_t{0} >> (64 - 8 * sizeof(T))), top = all / 2 + 1;
  if constexpr (is_floating<T>) {
    if (load(value) != load(value)) return all;
    if (load(value) == compute_t<T>(0)) return top;              // -0 is 0
    K bits;
    if constexpr (sizeof(T) == 2) bits = value.bits;
    else bits = std::bit_cast<K>(value);
    return bits & top ? ~bits & all : bits | top;
  } else {
    return (static_cast<K>(value) & all) ^ (std::is_signed_v<T> ? top : K(0));
  }
}
/// The key that puts the largest first, where `descending`.
template <class T> struct KeyOf {
  bool descending;
  __device__ sort_key_t<T> operator()(T value) const {
    constexpr auto all = static_cast<sort_key_t<T>>(~uint64_t{0} >> (64 - 8 * sizeof(T)));
    return sort_key(value) ^ (descending ? all : sort_key_t<T>(0));
  }
};
template <class T> struct SortOut {
  T* values;                                       // either may be nullptr
  int64_t* index;
  __device__ void store(int64_t at, const T* row, int64_t c) const {
    if (values) values[at] = row[c];
    if (index) index[at] = c;
  }
};

/// Element c goes to the place that as many elements precede; the first `keep` places are wanted. out : [N, keep]
template <class T> __global__ void sort_reference(const T* x, SortOut<T> out, int64_t N, int64_t C, int64_t keep, KeyOf<T> key_of) {
  const int64_t i = thread_in_grid();
  if (i >= N * C) return;
  const int64_t n = i / C, c = i % C;
  const T* row = x + n * C;
  const auto key = key_of(row[c]);
  int64_t before = 0;
  for (int64_t k = 0; k < C; ++k) {
    const auto other = key_of(row[k]);
    before += other < key || (other == key && k < c);
  }
  if (before < keep) out.store(n * keep + before, row, c);
}

// ---- block: bitonic, in shared memory ----
/// Sorts (key, index) pairs; n is a power of two. All threads of the block come here, after a barrier.
template <class K> __device__ inline void bitonic_sort(K* key, uint32_t* index, int n) {
  for (int size = 2; size <= n; size *= 2)
    for (int stride = size / 2; stride > 0; stride /= 2) {
      for (int t = static_cast<int>(threadIdx.x); t < n / 2; t += static_cast<int>(blockDim.x)) {
        const int i = 2 * t - (t & (stride - 1)), j = i + stride;
        const bool later = key[i] > key[j] || (key[i] == key[j] && index[i] > index[j]);
        if (later == ((i & size) == 0)) {
          const K k = key[i];
          const uint32_t at = index[i];
          key[i] = key[j], index[i] = index[j], key[j] = k, index[j] = at;
        }
      }
      __syncthreads();
    }
}
__device__ inline int power_of_two_from(int64_t n) {
  int p = 1;
  while (p < n) p *= 2;
  return p;
}
template <class T> __global__ void sort_block(const T* x, SortOut<T> out, int64_t C, int64_t keep, KeyOf<T> key_of) {
  using K = sort_key_t<T>;
  GRADUS_SHARED(K, key, [kBlockSort]);
  GRADUS_SHARED(uint32_t, index, [kBlockSort]);
  const int64_t n = blockIdx.x;
  const T* row = x + n * C;
  const int padded = power_of_two_from(C);
  for (int c = static_cast<int>(threadIdx.x); c < padded; c += static_cast<int>(blockDim.x))   // padding comes after everything
    key[c] = c < C ? key_of(row[c]) : ~K(0), index[c] = static_cast<uint32_t>(c);
  __syncthreads();
  bitonic_sort<K>(key, index, padded);
  for (int64_t c = threadIdx.x; c < keep; c += blockDim.x) out.store(n * keep + c, row, index[c]);
}

// ---- radix: for each byte, count every tile's digits, sum the counts over (digit, tile), move ----
inline constexpr int kTile = 2048, kDigits = 256;
static_assert(kThreads == kDigits, "thread d looks after digit d");

template <class T> __global__ void radix_keys(const T* x, sort_key_t<T>* key, uint32_t* index, int64_t N, int64_t C, KeyOf<T> key_of) {
  const int64_t i = thread_in_grid();
  if (i < N * C) key[i] = key_of(x[i]), index[i] = static_cast<uint32_t>(i % C);
}
/// Block (n, tile). count : [N, digit, tiles]
template <class K> __global__ void radix_count(const K* key, int64_t* count, int64_t C, int64_t tiles, int shift) {
  GRADUS_SHARED(int, found, [kDigits]);
  const int64_t n = static_cast<int64_t>(blockIdx.x) / tiles, tile = static_cast<int64_t>(blockIdx.x) % tiles;
  const int64_t first = tile * kTile, last = first + kTile < C ? first + kTile : C;
  found[threadIdx.x] = 0;
  __syncthreads();
  for (int64_t c = first + threadIdx.x; c < last; c += blockDim.x) atomicAdd(&found[(key[n * C + c] >> shift) & 255u], 1);
  __syncthreads();
  count[(n * kDigits + threadIdx.x) * tiles + tile] = found[threadIdx.x];
}
/// upto : inclusive sums of count. 256 elements at a time; lanes with the same digit find each other, warps leave their counts.
template <class K> __global__ void radix_move(const K* key, const uint32_t* index, K* key_out, uint32_t* index_out, const int64_t* count,
                                              const int64_t* upto, int64_t C, int64_t tiles, int shift) {
  constexpr int kWarps = kThreads / kWarp;
  GRADUS_SHARED(int, of_warp, [kWarps][kDigits]);
  GRADUS_SHARED(int64_t, next, [kDigits]);         // where the digit's next element goes
  const int64_t n = static_cast<int64_t>(blockIdx.x) / tiles, tile = static_cast<int64_t>(blockIdx.x) % tiles;
  const int64_t first = tile * kTile, last = first + kTile < C ? first + kTile : C;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, mine = static_cast<int>(threadIdx.x);
  const int64_t cell = (n * kDigits + mine) * tiles + tile;
  next[mine] = upto[cell] - count[cell];
  for (int w = 0; w < kWarps; ++w) of_warp[w][mine] = 0;
  __syncthreads();
  for (int64_t round = first; round < last; round += kThreads) {
    const int64_t c = round + threadIdx.x;
    const bool valid = c < last;
    const K k = valid ? key[n * C + c] : K(0);
    const unsigned digit = valid ? static_cast<unsigned>(k >> shift) & 255u : 256u;
    const unsigned peers = __match_any_sync(kAllLanes, digit);
    const int earlier = __popc(peers & ((1u << lane()) - 1u));
    if (valid && earlier == 0) of_warp[warp][digit] = __popc(peers);
    __syncthreads();
    if (valid) {
      int64_t at = next[digit] + earlier;
      for (int w = 0; w < warp; ++w) at += of_warp[w][digit];
      key_out[n * C + at] = k, index_out[n * C + at] = index[n * C + c];
    }
    __syncthreads();
    for (int w = 0; w < kWarps; ++w) next[mine] += of_warp[w][mine], of_warp[w][mine] = 0;
    __syncthreads();
  }
}
template <class T> __global__ void radix_store(const T* x, const uint32_t* index, SortOut<T> out, int64_t N, int64_t C, int64_t keep) {
  const int64_t i = thread_in_grid();
  if (i >= N * keep) return;
  const int64_t n = i / keep;
  out.store(i, x + n * C, index[n * C + i % keep]);
}
template <class T>
void radix_sort(const char* op, const T* x, SortOut<T> out, int64_t N, int64_t C, int64_t keep, KeyOf<T> key_of, int bytes = sizeof(T)) {
  using K = sort_key_t<T>;
  const int64_t tiles = blocks_for(C, kTile), cells = kDigits * tiles;
  Scratch<K> key_a(N * C), key_b(N * C);
  Scratch<uint32_t> index_a(N * C), index_b(N * C);
  Scratch<int64_t> count(N * cells), upto(N * cells);
  K *from = key_a.data(), *to = key_b.data();
  uint32_t *index_from = index_a.data(), *index_to = index_b.data();
  enqueue(op, radix_keys<T>, {blocks_for(N * C, kThreads)}, x, from, index_from, N, C, key_of);
  for (int byte = 0; byte < bytes; ++byte) {
    enqueue(op, radix_count<K>, {N * tiles}, from, count.data(), C, tiles, 8 * byte);
    cumsum<int64_t>(Cuda{}, count.data(), upto.data(), N, cells, 1, false);
    enqueue(op, radix_move<K>, {N * tiles}, from, index_from, to, index_to, count.data(), upto.data(), C, tiles, 8 * byte);
    std::swap(from, to), std::swap(index_from, index_to);
  }
  enqueue(op, radix_store<T>, {blocks_for(N * keep, kThreads)}, x, static_cast<const uint32_t*>(index_from), out, N, C, keep);
}

// ---- select ----
/// The key at position k of a sorted row, and how many elements up to there have it.
template <class K> struct Pivot {
  K key;
  int64_t equals;
};
/// Histograms of one byte at a time, of the elements whose higher bytes are those of the pivot. All threads of the block come here.
template <class T> __device__ inline Pivot<sort_key_t<T>> find_pivot(const T* row, int64_t C, int64_t k, KeyOf<T> key_of) {
  using K = sort_key_t<T>;
  GRADUS_SHARED(unsigned, found, [kDigits]);       // C < 2^32
  K prefix = 0, mask = 0;
  int64_t left = k;
  for (int shift = 8 * (static_cast<int>(sizeof(T)) - 1); shift >= 0; shift -= 8) {
    found[threadIdx.x] = 0;
    __syncthreads();
    for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
      const K key = key_of(row[c]);
      if ((key & mask) == prefix) atomicAdd(&found[(key >> shift) & 255u], 1u);
    }
    __syncthreads();
    unsigned digit = 0;
    while (left >= found[digit]) left -= found[digit], ++digit;  // every thread finds the same
    prefix |= static_cast<K>(digit) << shift, mask |= static_cast<K>(255u) << shift;
    __syncthreads();
  }
  return {prefix, left + 1};
}
template <class T> __global__ void kth_select(const T* x, T* values, int64_t* index, int64_t C, int64_t k, KeyOf<T> key_of) {
  const int64_t n = blockIdx.x;
  const T* row = x + n * C;
  const auto pivot = find_pivot(row, C, k, key_of);
  int64_t seen = 0;                                // the pivot.equals-th element with this key
  for (int64_t tile = 0; tile < C && seen < pivot.equals; tile += blockDim.x) {
    const int64_t c = tile + threadIdx.x;
    const bool equal = c < C && key_of(row[c]) == pivot.key;
    const auto rank = block_rank(equal);
    if (equal && seen + rank.before == pivot.equals - 1) values[n] = row[c], index[n] = c;
    seen += rank.all;
  }
}
template <class T> __global__ void topk_select(const T* x, SortOut<T> out, int64_t C, int64_t keep, KeyOf<T> key_of) {
  using K = sort_key_t<T>;
  GRADUS_SHARED(K, key, [kBlockSort]);
  GRADUS_SHARED(uint32_t, index, [kBlockSort]);
  const int64_t n = blockIdx.x;
  const T* row = x + n * C;
  const auto pivot = find_pivot(row, C, keep - 1, key_of);
  int slots = 0;
  int64_t seen = 0;                                // elements equal to the pivot
  for (int64_t tile = 0; tile < C && slots < keep; tile += blockDim.x) {
    const int64_t c = tile + threadIdx.x;
    const K k = c < C ? key_of(row[c]) : ~K(0);
    const bool equal = c < C && k == pivot.key;
    const auto equals = block_rank(equal);
    const bool chosen = (c < C && k < pivot.key) || (equal && seen + equals.before < pivot.equals);
    const auto rank = block_rank(chosen);
    if (chosen) key[slots + rank.before] = k, index[slots + rank.before] = static_cast<uint32_t>(c);
    slots += rank.all, seen += equals.all;
  }
  const int padded = power_of_two_from(keep);
  for (int c = static_cast<int>(keep + threadIdx.x); c < padded; c += static_cast<int>(blockDim.x)) key[c] = ~K(0), index[c] = ~uint32_t{0};
  __syncthreads();
  bitonic_sort<K>(key, index, padded);
  for (int64_t c = threadIdx.x; c < keep; c += blockDim.x) out.store(n * keep + c, row, index[c]);
}
template <class T> __global__ void kth_reference(const T* x, T* values, int64_t* index, int64_t N, int64_t C, int64_t k, KeyOf<T> key_of) {
  const int64_t i = thread_in_grid();
  if (i >= N * C) return;
  const int64_t n = i / C, c = i % C;
  const T* row = x + n * C;
  const auto key = key_of(row[c]);
  int64_t before = 0;
  for (int64_t j = 0; j < C; ++j) before += key_of(row[j]) < key || (key_of(row[j]) == key && j < c);
  if (before == k) values[n] = row[c], index[n] = c;
}
/// The first NaN of a row, where there is one.
template <class T> __global__ void median_nan(const T* x, T* values, int64_t* index, int64_t N, int64_t C) {
  const int64_t n = Warp::row();
  if (n >= N) return;
  int64_t first = C;
  for (int64_t c = lane(); c < C && first == C; c += kWarp)
    if (load(x[n * C + c]) != load(x[n * C + c])) first = c;
  first = warp_join(first, Smaller());
  if (lane() == 0 && first < C) values[n] = x[n * C + first], index[n] = first;
}

// ---- unique ----
/// starts[i] = 1 where sorted element i differs from the one before.
template <class T> __global__ void unique_starts(const T* sorted, int64_t* starts, int64_t n) {
  const int64_t i = thread_in_grid();
  if (i < n) starts[i] = i == 0 || sort_key(sorted[i]) != sort_key(sorted[i - 1]);
}
/// number[i] : how many starts up to sorted element i.
template <class T> __global__ void unique_store(const T* sorted, const int64_t* order, const int64_t* starts, const int64_t* number, T* values,
                                                int64_t* inverse, int64_t* counts, int64_t n) {
  const int64_t i = thread_in_grid();
  if (i >= n) return;
  const int64_t v = number[i] - 1;
  if (inverse) inverse[order[i]] = v;
  if (!starts[i]) return;
  values[v] = sorted[i];
  if (!counts) return;
  int64_t lo = i + 1, hi = n;                      // the first element of the next value
  while (lo < hi) {
    const int64_t mid = lo + (hi - lo) / 2;
    if (number[mid] == number[i]) lo = mid + 1;
    else hi = mid;
  }
  counts[v] = lo - i;
}

// ---- on sorted arrays, and counts ----
/// The number of elements of a sorted row before `key`, or, where `right`, up to it.
template <class K, class Key> __device__ inline int64_t position_in(int64_t C, K key, bool right, Key key_at) {
  int64_t lo = 0, hi = C;
  while (lo < hi) {
    const int64_t mid = lo + (hi - lo) / 2;
    const K at = key_at(mid);
    if (at < key || (right && at == key)) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}
template <class T> __global__ void searchsorted_elements(const T* sorted, const T* x, int64_t* y, int64_t N, int64_t C, int64_t M, bool right) {
  const int64_t k = thread_in_grid();
  if (k >= N * M) return;
  const T* row = sorted + k / M * C;
  y[k] = position_in(C, sort_key(x[k]), right, [&](int64_t c) { return sort_key(row[c]); });
}
/// y[b] = number of i whose bin is b; bin(i) < 0 is in none.
template <class Bin> __global__ void count_reference(Bin bin, int64_t* y, int64_t n, int64_t bins) {
  const int64_t b = thread_in_grid();
  if (b >= bins) return;
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += bin(i) == b;
  y[b] = count;
}
template <class Bin> __global__ void count_atomic(Bin bin, int64_t* y, int64_t n) {
  const int64_t i = thread_in_grid();
  const int64_t b = i < n ? bin(i) : -1;
  if (b >= 0) atomicAdd(reinterpret_cast<unsigned long long*>(y + b), 1ull);
}
struct BinOfIndex {
  const int64_t* x;
  __device__ int64_t operator()(int64_t i) const { return x[i]; }
};
template <class T> struct BinOfValue {
  const T* x;
  int64_t bins;
  double lo, hi, scale;
  __device__ int64_t operator()(int64_t i) const {
    const double v = static_cast<double>(load(x[i]));
    if (!(v >= lo && v <= hi)) return -1;
    const auto b = static_cast<int64_t>((v - lo) * scale);
    return b < bins - 1 ? b : bins - 1;
  }
};
template <class T> __global__ void bincount_weighted_reference(const int64_t* x, const T* weights, T* y, int64_t n, int64_t bins) {
  const int64_t b = thread_in_grid();
  if (b >= bins) return;
  double sum = 0;
  for (int64_t i = 0; i < n; ++i)
    if (x[i] == b) sum += static_cast<double>(weights[i]);
  y[b] = static_cast<T>(sum);
}
template <class T>
__global__ void bincount_weighted_sorted(const int64_t* sorted, const int64_t* order, const T* weights, T* y, int64_t n, int64_t bins) {
  const int64_t b = thread_in_grid();
  if (b >= bins) return;
  double sum = 0;
  for (int64_t i = position_in(n, b, false, [&](int64_t k) { return sorted[k]; }); i < n && sorted[i] == b; ++i)
    sum += static_cast<double>(weights[order[i]]);
  y[b] = static_cast<T>(sum);
}

enum class SortBy { reference, block, radix };
enum class TopkBy { reference, block, select, sort };
enum class KthBy { reference, select };
enum class CountBy { reference, atomic };
enum class WeightedBy { reference, sorted };

KernelChoice<SortBy> sort_by{"sort", {"reference", "block", "radix"}};
KernelChoice<TopkBy> topk_by{"topk", {"reference", "block", "select", "sort"}};
KernelChoice<KthBy> kth_value_by{"kth_value", {"reference", "select"}};
KernelChoice<CountBy> bincount_by{"bincount", {"reference", "atomic"}}, histogram_by{"histogram", {"reference", "atomic"}};
KernelChoice<WeightedBy> bincount_weighted_by{"bincount_weighted", {"reference", "sorted"}};

/// A kernel that the row does not fit gives way to the next one.
template <class T> void sort_rows(SortBy by, const T* x, SortOut<T> out, int64_t N, int64_t C, KeyOf<T> key_of, int bytes) {
  if (N == 0 || C == 0) return;
  if (by == SortBy::reference) return enqueue("sort", sort_reference<T>, {blocks_for(N * C, kThreads)}, x, out, N, C, C, key_of);
  if (by == SortBy::block && C <= kBlockSort) return enqueue("sort", sort_block<T>, {N}, x, out, C, C, key_of);
  radix_sort("sort", x, out, N, C, C, key_of, bytes);
}
inline SortBy sort_by_length(int64_t C) { return C <= 32 ? SortBy::reference : C <= kBlockSort ? SortBy::block : SortBy::radix; }

void sort_positions(const int64_t* key, int64_t* sorted, int64_t* order, int64_t n, int64_t bound) {
  int bytes = 1;
  while (bytes < 8 && (bound - 1) >> (8 * bytes) > 0) ++bytes;
  sort_rows(sort_by.or_else(sort_by_length(n)), key, SortOut<int64_t>{sorted, order}, 1, n, KeyOf<int64_t>{false}, bytes);
}
}  // namespace cu

template <class T> void sort(Cuda, const T* x, T* values, int64_t* index, int64_t N, int64_t C, bool descending) {
  using namespace cu;
  sort_rows(sort_by.or_else(sort_by_length(C)), x, SortOut<T>{values, index}, N, C, KeyOf<T>{descending}, static_cast<int>(sizeof(T)));
}

template <class T> void topk(Cuda, const T* x, T* values, int64_t* index, int64_t N, int64_t C, int64_t k, bool largest) {
  using namespace cu;
  if (N == 0 || k == 0) return;
  const SortOut<T> out{values, index};
  const KeyOf<T> key_of{largest};
  const TopkBy by = topk_by.or_else(C <= 32 ? TopkBy::reference : C <= kBlockSort ? TopkBy::block : TopkBy::select);
  if (by == TopkBy::reference) return enqueue("topk", sort_reference<T>, {blocks_for(N * C, kThreads)}, x, out, N, C, k, key_of);
  if (by == TopkBy::block && C <= kBlockSort) return enqueue("topk", sort_block<T>, {N}, x, out, C, k, key_of);
  if (by != TopkBy::sort && k <= kBlockSort) return enqueue("topk", topk_select<T>, {N}, x, out, C, k, key_of);
  radix_sort("topk", x, out, N, C, k, key_of);
}

template <class T> void kth_value(Cuda, const T* x, T* values, int64_t* index, int64_t N, int64_t C, int64_t k) {
  using namespace cu;
  const KeyOf<T> key_of{false};
  if (kth_value_by.or_else(C <= 32 ? KthBy::reference : KthBy::select) == KthBy::reference)
    return enqueue("kth_value", kth_reference<T>, {blocks_for(N * C, kThreads)}, x, values, index, N, C, k, key_of);
  enqueue("kth_value", kth_select<T>, {N}, x, values, index, C, k, key_of);
}

template <class T> void median(Cuda, const T* x, T* values, int64_t* index, int64_t N, int64_t C) {
  kth_value(Cuda{}, x, values, index, N, C, (C - 1) / 2);
  if constexpr (is_floating<T>) cu::enqueue("median", cu::median_nan<T>, cu::rows_grid(cu::Rows::warp, N), x, values, index, N, C);
}

template <class T> int64_t unique(Cuda, const T* x, T* values, int64_t* inverse, int64_t* counts, int64_t n) {
  using namespace cu;
  if (n == 0) return 0;
  Scratch<T> sorted(n);
  Scratch<int64_t> order(n), starts(n), number(n);
  sort(Cuda{}, x, sorted.data(), order.data(), 1, n, false);
  enqueue("unique", unique_starts<T>, {blocks_for(n, kThreads)}, sorted.data(), starts.data(), n);
  cumsum<int64_t>(Cuda{}, starts.data(), number.data(), 1, n, 1, false);
  enqueue("unique", unique_store<T>, {blocks_for(n, kThreads)}, sorted.data(), order.data(),
          starts.data(), number.data(), values, inverse, counts, n);
  return read(number.data() + n - 1);
}

template <class T> void searchsorted(Cuda, const T* sorted, const T* x, int64_t* y, int64_t N, int64_t C, int64_t M, bool right) {
  cu::enqueue("searchsorted", cu::searchsorted_elements<T>, {cu::blocks_for(N * M, cu::kThreads)}, sorted, x, y, N, C, M, right);
}

void bincount(Cuda, const int64_t* x, int64_t* y, int64_t n, int64_t bins) {
  using namespace cu;
  const BinOfIndex bin{x};
  if (bincount_by.or_else(CountBy::atomic) == CountBy::reference)
    return enqueue("bincount", count_reference<BinOfIndex>, {blocks_for(bins, kThreads)}, bin, y, n, bins);
  zero(y, bins);
  enqueue("bincount", count_atomic<BinOfIndex>, {blocks_for(n, kThreads)}, bin, y, n);
}

template <class T> void bincount_weighted(Cuda, const int64_t* x, const T* weights, T* y, int64_t n, int64_t bins) {
  using namespace cu;
  if (bincount_weighted_by.or_else(n <= 1024 ? WeightedBy::reference : WeightedBy::sorted) == WeightedBy::reference)
    return enqueue("bincount_weighted", bincount_weighted_reference<T>, {blocks_for(bins, kThreads)}, x, weights, y, n, bins);
  Scratch<int64_t> sorted(n), order(n);
  sort_positions(x, sorted.data(), order.data(), n, bins);
  enqueue("bincount_weighted", bincount_weighted_sorted<T>, {blocks_for(bins, kThreads)}, sorted.data(),
          order.data(), weights, y, n, bins);
}

template <class T> void histogram(Cuda, const T* x, int64_t* y, int64_t n, int64_t bins, double lo, double hi) {
  using namespace cu;
  const BinOfValue<T> bin{x, bins, lo, hi, static_cast<double>(bins) / (hi - lo)};
  if (histogram_by.or_else(CountBy::atomic) == CountBy::reference)
    return enqueue("histogram", count_reference<BinOfValue<T>>, {blocks_for(bins, kThreads)}, bin, y, n, bins);
  zero(y, bins);
  enqueue("histogram", count_atomic<BinOfValue<T>>, {blocks_for(n, kThreads)}, bin, y, n);
}

namespace {
template <class... T> void* const* sort_table() {
  static void* const table[] = {instance<Cuda>(&sort<T>)...,   instance<Cuda>(&topk<T>)...,   instance<Cuda>(&kth_value<T>)...,
                                instance<Cuda>(&median<T>)..., instance<Cuda>(&unique<T>)..., instance<Cuda>(&searchsorted<T>)...};
  return table;
}
template <class... T> void* const* histogram_table() {
  static void* const table[] = {instance<Cuda>(&histogram<T>)...};
  return table;
}
template <class... T> void* const* weighted_table() {
  static void* const table[] = {instance<Cuda>(&bincount_weighted<T>)...};
  return table;
}
}  // namespace
extern void* const* const gradus_cuda_sort_instances[] = {sort_table<float, double, bf16, half, int64_t, int32_t, uint8_t>(),
                                                          histogram_table<float, double, bf16, half>(), weighted_table<float, double>()};

}  // namespace gradus::kernels
