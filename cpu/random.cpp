// Blocks of 64 counters are drawn at once; each loop below turns one block of words into at most 256 elements.
#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include <gradus/core/dtype.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/random.hpp>

#include "philox.hpp"

namespace gradus::kernels {

namespace detail {
/// y[i] = f32(w) for float and f64(hi, lo) for double.
template <class T, class F32, class F64> void fill_from_words(T* y, int64_t n, RandomStream s, F32 f32, F64 f64) {
  constexpr int each = sizeof(T) == 4 ? 1 : 2;
  for_each_word_block(n, each, s, [&](const uint32_t* word, int64_t first, int64_t count) {
    T* __restrict out = y + first;
    if constexpr (each == 1)
      for (int64_t i = 0; i < count; ++i) out[i] = f32(word[i]);
    else
      for (int64_t i = 0; i < count; ++i) out[i] = f64(word[2 * i], word[2 * i + 1]);
  });
}
inline uint64_t join(uint32_t hi, uint32_t lo) { return (uint64_t{hi} << 32) | lo; }
}  // namespace detail

template <class T> void random_uniform(Cpu, T* y, int64_t n, RandomStream s) {
  detail::fill_from_words(
      y, n, s, [](uint32_t w) { return uniform01(w); }, [](uint32_t hi, uint32_t lo) { return uniform01(hi, lo); });
}

template <class T> void random_normal(Cpu, T* y, int64_t n, RandomStream s) {
  constexpr int each = sizeof(T) == 4 ? 1 : 2;
  detail::for_each_word_block(n, each, s, [&](const uint32_t* word, int64_t first, int64_t count) {
    T z[detail::kBlockWords / each];
    for (int j = 0; j < detail::kBlockWords / (2 * each); ++j) {
      NormalPair<T> pair;
      if constexpr (each == 1) pair = normal_pair(word[2 * j], word[2 * j + 1]);
      else pair = normal_pair(word[4 * j], word[4 * j + 1], word[4 * j + 2], word[4 * j + 3]);
      z[2 * j] = pair.a, z[2 * j + 1] = pair.b;
    }
    std::copy(z, z + count, y + first);
  });
}

template <class T> void random_bernoulli(Cpu, T* y, int64_t n, double p, RandomStream s) {
  const uint32_t threshold = bernoulli_threshold(p);
  detail::for_each_word_block(n, 1, s, [&](const uint32_t* word, int64_t first, int64_t count) {
    T* __restrict out = y + first;
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<T>((word[i] >> 8) < threshold ? 1.0f : 0.0f);
  });
}

template <class T> void random_bernoulli_each(Cpu, const T* p, T* y, int64_t n, RandomStream s) {
  detail::for_each_word_block(n, 1, s, [&](const uint32_t* word, int64_t first, int64_t count) {
    const T* in = p + first;
    T* __restrict out = y + first;
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(uniform01(word[i])) < in[i] ? T(1) : T(0);
  });
}

template <class T> void random_exponential(Cpu, T* y, int64_t n, RandomStream s) {
  detail::fill_from_words(
      y, n, s, [](uint32_t w) { return -m::log(uniform_positive(w)); },
      [](uint32_t hi, uint32_t lo) { return -m::log(uniform_positive(hi, lo)); });
}

template <class T> void random_gumbel(Cpu, T* y, int64_t n, RandomStream s) {
  detail::fill_from_words(
      y, n, s, [](uint32_t w) { return -m::log(-m::log(uniform_open(w))); },
      [](uint32_t hi, uint32_t lo) { return -m::log(-m::log(uniform_open(hi, lo))); });
}

template <class T> void random_truncated_normal(Cpu, T* y, int64_t n, double mean, double deviation, double lo, double hi,
                                                RandomStream s) {
  const double a = (lo - mean) / deviation, b = (hi - mean) / deviation;
  const auto of = [=](double u) { return static_cast<T>(mean + deviation * truncated_normal_of(u, a, b)); };
  detail::fill_from_words(
      y, n, s, [=](uint32_t w) { return of(uniform_open(w)); },
      [=](uint32_t hi, uint32_t lo) { return of(uniform_open(hi, lo)); });
}

template <class T> void random_gamma(Cpu, const T* shape, T* y, int64_t n, RandomStream s) {
  parallel_for(n, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      y[i] = static_cast<T>(gamma_of(s, static_cast<uint64_t>(i), static_cast<double>(shape[i])));
  });
}

template <class T> void random_integers(Cpu, T* y, int64_t n, int64_t lo, int64_t hi, RandomStream s) {
  const uint64_t base = static_cast<uint64_t>(lo), range = static_cast<uint64_t>(hi) - base;
  detail::for_each_word_block(n, 2, s, [&](const uint32_t* word, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      y[first + i] = static_cast<T>(base + multiply_high(detail::join(word[2 * i], word[2 * i + 1]), range));
  });
}

GRADUS_FUNC void random_permutation(Cpu, int64_t* y, int64_t n, RandomStream s) {
  std::vector<std::pair<uint64_t, int64_t>> keyed(static_cast<std::size_t>(n));
  detail::for_each_word_block(n, 2, s, [&](const uint32_t* word, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; ++i) keyed[first + i] = {detail::join(word[2 * i], word[2 * i + 1]), first + i};
  });
  std::sort(keyed.begin(), keyed.end());   // equal keys: by index, as a stable sort
  for (int64_t i = 0; i < n; ++i) y[i] = keyed[i].second;
}

template <class T> void random_multinomial(Cpu, const T* weights, int64_t* y, int64_t N, int64_t C, int64_t k, bool replacement,
                                           RandomStream s) {
  const auto bits = [s](int64_t i) {   // uniform in (0, 1) of element i, 64 bits an element
    const Philox p(s.seed, s.stream, static_cast<uint64_t>(i) / 2);
    return uniform_open(p.w[2 * (i % 2)], p.w[2 * (i % 2) + 1]);
  };
  parallel_for(N, 4096 / (C + 1) + 1, [&](int64_t begin, int64_t end) {
    std::vector<double> cdf(static_cast<std::size_t>(C));
    std::vector<std::pair<double, int64_t>> race(replacement ? 0 : static_cast<std::size_t>(C));
    for (int64_t n = begin; n < end; ++n) {
      const T* w = weights + n * C;
      if (replacement) {
        double total = 0;
        int64_t last = 0;   // the last class of positive weight takes what rounding leaves
        for (int64_t c = 0; c < C; ++c) {
          total += static_cast<double>(w[c]), cdf[c] = total;
          if (static_cast<double>(w[c]) > 0) last = c;
        }
        for (int64_t j = 0; j < k; ++j) {
          const auto at = std::upper_bound(cdf.begin(), cdf.end(), bits(n * k + j) * total);
          y[n * k + j] = std::min<int64_t>(at - cdf.begin(), last);
        }
      } else {
        for (int64_t c = 0; c < C; ++c) {
          const double v = static_cast<double>(w[c]);
          race[c] = {v > 0 ? -std::log(bits(n * C + c)) / v : std::numeric_limits<double>::infinity(), c};
        }
        std::partial_sort(race.begin(), race.begin() + k, race.end());
        for (int64_t j = 0; j < k; ++j) y[n * k + j] = race[j].second;
      }
    }
  });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* random_precise() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&random_uniform<T>)..., instance<Cpu>(&random_normal<T>)...,
                                instance<Cpu>(&random_bernoulli_each<T>)..., instance<Cpu>(&random_exponential<T>)...,
                                instance<Cpu>(&random_gumbel<T>)..., instance<Cpu>(&random_truncated_normal<T>)...,
                                instance<Cpu>(&random_gamma<T>)..., instance<Cpu>(&random_multinomial<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class... T> void* random_integer() {
  static void* const table[] = {instance<Cpu>(&random_integers<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class... T> void* random_mixed() {
  static void* const table[] = {instance<Cpu>(&random_bernoulli<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_random_instances[] = {
    random_precise<float, double>(),
    random_integer<int64_t, int32_t>(),
    random_mixed<float, double, bf16, half, int64_t, bool>()};
#endif

}  // namespace gradus::kernels
