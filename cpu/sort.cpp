// Elements become unsigned keys whose order is the order wanted, so that NaN, -0 and descending order need no comparison
// of their own, and long rows can be sorted by radix.
#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>
#include <vector>

#include <gradus/core/dtype.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/sort.hpp>

namespace gradus::kernels {

namespace detail {
template <class T> using sort_key_t = std::conditional_t<sizeof(compute_t<T>) == 8, uint64_t, uint32_t>;

/// a < b in the order of this file is sort_key(a) < sort_key(b).
template <class T> inline sort_key_t<T> sort_key(T value) {
  using K = sort_key_t<T>;
  constexpr K top = K(1) << (8 * sizeof(K) - 1);
  if constexpr (is_floating<T>) {
    const compute_t<T> v = static_cast<compute_t<T>>(value) + compute_t<T>(0);   // -0 + 0 is 0
    const K bits = std::bit_cast<K>(v);
    if (v != v) return ~K(0);
    return bits & top ? ~bits : bits | top;
  } else {
    return static_cast<K>(value) ^ (std::is_signed_v<T> ? top : K(0));
  }
}

template <class K> struct Keyed {
  K key;
  uint32_t index;
  friend bool operator<(const Keyed& a, const Keyed& b) { return a.key != b.key ? a.key < b.key : a.index < b.index; }
};

/// Least significant byte first: each pass is stable, and a pass in which all bytes agree is left out.
template <class K> inline void radix_sort(std::vector<Keyed<K>>& a, std::vector<Keyed<K>>& spare) {
  spare.resize(a.size());
  for (unsigned shift = 0; shift < 8 * sizeof(K); shift += 8) {
    std::size_t start[257] = {};
    for (const auto& e : a) ++start[((e.key >> shift) & 255u) + 1];
    if (std::find(start + 1, start + 257, a.size()) != start + 257) continue;
    for (int d = 0; d < 256; ++d) start[d + 1] += start[d];
    for (const auto& e : a) spare[start[(e.key >> shift) & 255u]++] = e;
    a.swap(spare);
  }
}

template <class T> inline void load_keys(const T* x, int64_t n, bool descending, std::vector<Keyed<sort_key_t<T>>>& keyed) {
  using K = sort_key_t<T>;
  const K flip = descending ? ~K(0) : K(0);
  keyed.resize(static_cast<std::size_t>(n));
  for (int64_t i = 0; i < n; ++i) keyed[i] = {static_cast<K>(sort_key(x[i]) ^ flip), static_cast<uint32_t>(i)};
}

template <class K> inline void sort_keys(std::vector<Keyed<K>>& keyed, std::vector<Keyed<K>>& spare) {
  if (keyed.size() < 512) std::sort(keyed.begin(), keyed.end());
  else radix_sort(keyed, spare);
}

template <class T, class K>
inline void store_sorted(const T* x, const std::vector<Keyed<K>>& keyed, int64_t n, T* values, int64_t* index) {
  for (int64_t i = 0; values && i < n; ++i) values[i] = x[keyed[i].index];
  for (int64_t i = 0; index && i < n; ++i) index[i] = keyed[i].index;
}
inline int64_t sort_grain(int64_t C) { return 2048 / (C + 1) + 1; }
}  // namespace detail

template <class T> void sort(Cpu, const T* x, T* values, int64_t* index, int64_t N, int64_t C, bool descending) {
  parallel_for(N, detail::sort_grain(C), [&](int64_t begin, int64_t end) {
    std::vector<detail::Keyed<detail::sort_key_t<T>>> keyed, spare;
    for (int64_t n = begin; n < end; ++n) {
      detail::load_keys(x + n * C, C, descending, keyed);
      detail::sort_keys(keyed, spare);
      detail::store_sorted(x + n * C, keyed, C, values ? values + n * C : nullptr, index ? index + n * C : nullptr);
    }
  });
}

template <class T> void topk(Cpu, const T* x, T* values, int64_t* index, int64_t N, int64_t C, int64_t k, bool largest) {
  parallel_for(N, detail::sort_grain(C), [&](int64_t begin, int64_t end) {
    std::vector<detail::Keyed<detail::sort_key_t<T>>> keyed;
    for (int64_t n = begin; n < end; ++n) {
      detail::load_keys(x + n * C, C, largest, keyed);
      if (8 * k <= C) {
        std::partial_sort(keyed.begin(), keyed.begin() + k, keyed.end());
      } else {
        if (k < C) std::nth_element(keyed.begin(), keyed.begin() + k, keyed.end());
        std::sort(keyed.begin(), keyed.begin() + k);
      }
      detail::store_sorted(x + n * C, keyed, k, values ? values + n * k : nullptr, index ? index + n * k : nullptr);
    }
  });
}

template <class T> void kth_value(Cpu, const T* x, T* values, int64_t* index, int64_t N, int64_t C, int64_t k) {
  parallel_for(N, detail::sort_grain(C), [&](int64_t begin, int64_t end) {
    std::vector<detail::Keyed<detail::sort_key_t<T>>> keyed;
    for (int64_t n = begin; n < end; ++n) {
      detail::load_keys(x + n * C, C, false, keyed);
      std::nth_element(keyed.begin(), keyed.begin() + k, keyed.end());
      index[n] = keyed[k].index;
      values[n] = x[n * C + index[n]];
    }
  });
}

template <class T> void median(Cpu, const T* x, T* values, int64_t* index, int64_t N, int64_t C) {
  kth_value(Cpu{}, x, values, index, N, C, (C - 1) / 2);
  if constexpr (is_floating<T>) {
    parallel_for(N, detail::sort_grain(C), [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n)
        for (int64_t c = 0; c < C; ++c)
          if (std::isnan(static_cast<compute_t<T>>(x[n * C + c]))) {
            values[n] = x[n * C + c], index[n] = c;
            break;
          }
    });
  }
}

template <class T> int64_t unique(Cpu, const T* x, T* values, int64_t* inverse, int64_t* counts, int64_t n) {
  std::vector<detail::Keyed<detail::sort_key_t<T>>> keyed, spare;
  detail::load_keys(x, n, false, keyed);
  detail::sort_keys(keyed, spare);
  int64_t found = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (i == 0 || keyed[i].key != keyed[i - 1].key) {
      values[found] = x[keyed[i].index];
      if (counts) counts[found] = 0;
      ++found;
    }
    if (counts) ++counts[found - 1];
    if (inverse) inverse[keyed[i].index] = found - 1;
  }
  return found;
}

template <class T>
void searchsorted(Cpu, const T* sorted, const T* x, int64_t* y, int64_t N, int64_t C, int64_t M, bool right) {
  parallel_for(N * M, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const T *first = sorted + k / M * C, *last = first + C;
      const auto key = detail::sort_key(x[k]);
      const T* at = right ? std::upper_bound(first, last, key, [](auto v, const T& e) { return v < detail::sort_key(e); })
                          : std::lower_bound(first, last, key, [](const T& e, auto v) { return detail::sort_key(e) < v; });
      y[k] = at - first;
    }
  });
}

GRADUS_FUNC void bincount(Cpu, const int64_t* x, int64_t* y, int64_t n, int64_t bins) {
  std::fill(y, y + bins, int64_t{0});
  for (int64_t i = 0; i < n; ++i) ++y[x[i]];
}

template <class T> void bincount_weighted(Cpu, const int64_t* x, const T* weights, T* y, int64_t n, int64_t bins) {
  std::vector<double> sum(static_cast<std::size_t>(bins), 0.0);
  for (int64_t i = 0; i < n; ++i) sum[x[i]] += static_cast<double>(weights[i]);
  for (int64_t b = 0; b < bins; ++b) y[b] = static_cast<T>(sum[b]);
}

template <class T> void histogram(Cpu, const T* x, int64_t* y, int64_t n, int64_t bins, double lo, double hi) {
  std::fill(y, y + bins, int64_t{0});
  const double scale = static_cast<double>(bins) / (hi - lo);
  for (int64_t i = 0; i < n; ++i) {
    const double v = static_cast<double>(static_cast<compute_t<T>>(x[i]));
    if (v >= lo && v <= hi) ++y[std::min(bins - 1, static_cast<int64_t>((v - lo) * scale))];
  }
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* sort_numeric() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&sort<T>)..., instance<Cpu>(&topk<T>)..., instance<Cpu>(&kth_value<T>)...,
                                instance<Cpu>(&median<T>)..., instance<Cpu>(&unique<T>)..., instance<Cpu>(&searchsorted<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class... T> void* sort_precise() {
  static void* const table[] = {instance<Cpu>(&bincount_weighted<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class... T> void* sort_floating() {
  static void* const table[] = {instance<Cpu>(&histogram<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_sort_instances[] = {
    sort_numeric<float, double, bf16, half, int64_t, int32_t, uint8_t>(),
    sort_precise<float, double>(),
    sort_floating<float, double, bf16, half>()};
#endif

}  // namespace gradus::kernels
