// One thread a Philox counter: four words, which are four elements of 32 bits or two of 64. The words, and how an element is
// made of them, are those of kernels/random.hpp, so masks and integers are the Cpu's bit for bit.
#include <gradus/kernels/random.hpp>
#include <gradus/kernels/sort.hpp>

#include "pointwise.cuh"

namespace gradus::kernels {
namespace cu {

/// y[i] = f(words of element i): f takes one word for Each = 1 and two for Each = 2; i is its index.
template <int Each, class F, class T> __global__ void words_reference(F f, T* y, int64_t n, RandomStream s) {
  constexpr int per = 4 / Each;
  const int64_t counter = thread_in_grid();
  if (counter * per >= n) return;
  const Philox p(s.seed, s.stream, static_cast<uint64_t>(counter));
  GRADUS_UNROLL(4)
  for (int k = 0; k < per; ++k) {
    const int64_t i = counter * per + k;
    if (i >= n) return;
    if constexpr (Each == 1) y[i] = f(i, p.w[k]);
    else y[i] = f(i, p.w[2 * k], p.w[2 * k + 1]);
  }
}
template <int Each, class F, class T> void from_words(const char* op, F f, T* y, int64_t n, RandomStream s) {
  constexpr int per = 4 / Each;
  enqueue(op, words_reference<Each, F, T>, {blocks_for(blocks_for(n, per), kThreads)}, f, y, n, s);
}
/// Words an element of T takes.
template <class T> inline constexpr int kWordsOf = sizeof(T) == 4 ? 1 : 2;

struct UniformOf {
  __device__ float operator()(int64_t, uint32_t w) const { return uniform01(w); }
  __device__ double operator()(int64_t, uint32_t hi, uint32_t lo) const { return uniform01(hi, lo); }
};
struct ExponentialOf {
  __device__ float operator()(int64_t, uint32_t w) const { return -m::log(uniform_positive(w)); }
  __device__ double operator()(int64_t, uint32_t hi, uint32_t lo) const { return -m::log(uniform_positive(hi, lo)); }
};
struct GumbelOf {
  __device__ float operator()(int64_t, uint32_t w) const { return -m::log(-m::log(uniform_open(w))); }
  __device__ double operator()(int64_t, uint32_t hi, uint32_t lo) const { return -m::log(-m::log(uniform_open(hi, lo))); }
};
template <class T> struct BernoulliOf {
  uint32_t threshold;
  __device__ T operator()(int64_t, uint32_t w) const { return static_cast<T>((w >> 8) < threshold ? 1.0f : 0.0f); }
};
template <class T> struct BernoulliEachOf {
  const T* p;
  __device__ T operator()(int64_t i, uint32_t w) const { return static_cast<T>(uniform01(w)) < p[i] ? T(1) : T(0); }
};
template <class T> struct TruncatedOf {
  double mean, deviation, a, b;
  __device__ T of(double u) const { return static_cast<T>(mean + deviation * truncated_normal_of(u, a, b)); }
  __device__ T operator()(int64_t, uint32_t w) const { return of(static_cast<double>(uniform_open(w))); }
  __device__ T operator()(int64_t, uint32_t hi, uint32_t lo) const { return of(uniform_open(hi, lo)); }
};
template <class T> struct IntegerOf {
  uint64_t base, range;
  __device__ T operator()(int64_t, uint32_t hi, uint32_t lo) const {
    return static_cast<T>(base + multiply_high((uint64_t{hi} << 32) | lo, range));
  }
};
/// The 64 bits as a signed number of the same order.
struct KeyOf {
  __device__ int64_t operator()(int64_t, uint32_t hi, uint32_t lo) const {
    return static_cast<int64_t>(((uint64_t{hi} << 32) | lo) ^ (uint64_t{1} << 63));
  }
};

/// One thread a counter: two pairs of float, or one of double.
template <class T> __global__ void normal_reference(T* y, int64_t n, RandomStream s) {
  constexpr int pairs = sizeof(T) == 4 ? 2 : 1;
  const int64_t counter = thread_in_grid();
  if (counter * 2 * pairs >= n) return;
  const Philox p(s.seed, s.stream, static_cast<uint64_t>(counter));
  for (int k = 0; k < pairs; ++k) {
    const int64_t i = 2 * (counter * pairs + k);
    NormalPair<T> z;
    if constexpr (pairs == 2) z = normal_pair(p.w[2 * k], p.w[2 * k + 1]);
    else z = normal_pair(p.w[0], p.w[1], p.w[2], p.w[3]);
    if (i < n) y[i] = z.a;
    if (i + 1 < n) y[i + 1] = z.b;
  }
}

template <class T> __global__ void gamma_reference(const T* shape, T* y, int64_t n, RandomStream s) {
  const int64_t i = thread_in_grid();
  if (i < n) y[i] = static_cast<T>(gamma_of(s, static_cast<uint64_t>(i), static_cast<double>(shape[i])));
}

/// Uniform in (0, 1) of element i, 64 bits an element.
__device__ inline double open_uniform_at(RandomStream s, int64_t i) {
  const Philox p(s.seed, s.stream, static_cast<uint64_t>(i) / 2);
  return (i % 2) ? uniform_open(p.w[2], p.w[3]) : uniform_open(p.w[0], p.w[1]);
}
/// Running sums of a row in the order of its classes, as the Cpu adds them, and the last class of positive weight, which takes
/// what rounding leaves. One thread a row.
template <class T> __global__ void cdf_reference(const T* weights, double* cdf, int64_t* last, int64_t N, int64_t C) {
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  double total = 0;
  int64_t positive = 0;
  for (int64_t c = 0; c < C; ++c) {
    const double w = static_cast<double>(weights[n * C + c]);
    total += w;
    cdf[n * C + c] = total;
    if (w > 0) positive = c;
  }
  last[n] = positive;
}
/// The first class whose running sum is beyond u times the total.
__global__ void inverse_cdf_reference(const double* cdf, const int64_t* last, int64_t* y, int64_t N, int64_t C, int64_t k,
                                      RandomStream s) {
  const int64_t i = thread_in_grid();
  if (i >= N * k) return;
  const double* row = cdf + i / k * C;
  const double u = open_uniform_at(s, i) * row[C - 1];
  int64_t lo = 0, hi = C;                          // row[lo - 1] <= u < row[hi]
  while (lo < hi) {
    const int64_t mid = (lo + hi) / 2;
    if (u < row[mid]) hi = mid;
    else lo = mid + 1;
  }
  y[i] = lo < last[i / k] ? lo : last[i / k];
}
/// The arrival time of class c in row n's race: exponential with rate w.
template <class T> __global__ void race_reference(const T* weights, double* time, int64_t size, RandomStream s) {
  const int64_t i = thread_in_grid();
  if (i >= size) return;
  const double v = static_cast<double>(weights[i]);
  time[i] = v > 0 ? -log(open_uniform_at(s, i)) / v : std::numeric_limits<double>::infinity();
}

}  // namespace cu

template <class T> void random_uniform(Cuda, T* y, int64_t n, RandomStream s) {
  cu::from_words<cu::kWordsOf<T>>("random_uniform", cu::UniformOf{}, y, n, s);
}

template <class T> void random_normal(Cuda, T* y, int64_t n, RandomStream s) {
  constexpr int per = sizeof(T) == 4 ? 4 : 2;
  cu::enqueue("random_normal", cu::normal_reference<T>, {cu::blocks_for(cu::blocks_for(n, per), cu::kThreads)}, y, n, s);
}

template <class T> void random_bernoulli(Cuda, T* y, int64_t n, double p, RandomStream s) {
  cu::from_words<1>("random_bernoulli", cu::BernoulliOf<T>{bernoulli_threshold(p)}, y, n, s);
}

template <class T> void random_bernoulli_each(Cuda, const T* p, T* y, int64_t n, RandomStream s) {
  cu::from_words<1>("random_bernoulli_each", cu::BernoulliEachOf<T>{p}, y, n, s);
}

template <class T> void random_exponential(Cuda, T* y, int64_t n, RandomStream s) {
  cu::from_words<cu::kWordsOf<T>>("random_exponential", cu::ExponentialOf{}, y, n, s);
}

template <class T> void random_gumbel(Cuda, T* y, int64_t n, RandomStream s) {
  cu::from_words<cu::kWordsOf<T>>("random_gumbel", cu::GumbelOf{}, y, n, s);
}

template <class T> void random_truncated_normal(Cuda, T* y, int64_t n, double mean, double deviation, double lo, double hi,
                                                RandomStream s) {
  const cu::TruncatedOf<T> f{mean, deviation, (lo - mean) / deviation, (hi - mean) / deviation};
  cu::from_words<cu::kWordsOf<T>>("random_truncated_normal", f, y, n, s);
}

template <class T> void random_gamma(Cuda, const T* shape, T* y, int64_t n, RandomStream s) {
  cu::enqueue("random_gamma", cu::gamma_reference<T>, {cu::blocks_for(n, cu::kThreads)}, shape, y, n, s);
}

template <class T> void random_integers(Cuda, T* y, int64_t n, int64_t lo, int64_t hi, RandomStream s) {
  const uint64_t base = static_cast<uint64_t>(lo);
  cu::from_words<2>("random_integers", cu::IntegerOf<T>{base, static_cast<uint64_t>(hi) - base}, y, n, s);
}

void random_permutation(Cuda, int64_t* y, int64_t n, RandomStream s) {
  if (n == 0) return;
  cu::Scratch<int64_t> keys(n);
  cu::from_words<2>("random_permutation", cu::KeyOf{}, keys.data(), n, s);
  sort<int64_t>(Cuda{}, keys.data(), nullptr, y, 1, n, false);      // equal keys: by index
}

template <class T>
void random_multinomial(Cuda, const T* weights, int64_t* y, int64_t N, int64_t C, int64_t k, bool replacement, RandomStream s) {
  using namespace cu;
  if (N * C == 0 || k == 0) return;
  Scratch<double> table(N * C);
  if (replacement) {
    Scratch<int64_t> last(N);
    enqueue("random_multinomial", cdf_reference<T>, {blocks_for(N, kThreads)}, weights, table.data(), last.data(), N, C);
    enqueue("random_multinomial", inverse_cdf_reference, {blocks_for(N * k, kThreads)}, table.data(), last.data(), y, N, C, k,
            s);
  } else {
    Scratch<double> times(N * k);
    enqueue("random_multinomial", race_reference<T>, {blocks_for(N * C, kThreads)}, weights, table.data(), N * C, s);
    topk<double>(Cuda{}, table.data(), times.data(), y, N, C, k, false);   // of equal times the lower class, as on Cpu
  }
}

namespace {
template <class... T> void* random_precise() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&random_uniform<T>)..., instance<Cuda>(&random_normal<T>)...,
                                instance<Cuda>(&random_bernoulli_each<T>)..., instance<Cuda>(&random_exponential<T>)...,
                                instance<Cuda>(&random_gumbel<T>)..., instance<Cuda>(&random_truncated_normal<T>)...,
                                instance<Cuda>(&random_gamma<T>)..., instance<Cuda>(&random_multinomial<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class... T> void* random_integer() {
  static void* const table[] = {instance<Cuda>(&random_integers<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class... T> void* random_mask() {
  static void* const table[] = {instance<Cuda>(&random_bernoulli<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_cuda_random_instances[] = {random_precise<float, double>(), random_integer<int64_t, int32_t>(),
                                                     random_mask<float, double, bf16, half, int64_t, bool>()};

}  // namespace gradus::kernels
