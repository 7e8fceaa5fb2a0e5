// Elements become unsigned keys whose order is the order wanted, so that NaN, -0 and descending order need no comparison
// of their own, and long rows can be sorted by radix.
#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>
#include <vector>

#include <gradus/core/dtype.hpp>
#include <gradus/core/parallel.hpp>
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
template decltype(sort<float>) sort<float>; template decltype(sort<double>) sort<double>;
template decltype(sort<bf16>) sort<bf16>; template decltype(sort<half>) sort<half>;
template decltype(sort<int64_t>) sort<int64_t>; template decltype(sort<int32_t>) sort<int32_t>;
template decltype(sort<uint8_t>) sort<uint8_t>;
template decltype(topk<float>) topk<float>; template decltype(topk<double>) topk<double>;
template decltype(topk<bf16>) topk<bf16>; template decltype(topk<half>) topk<half>;
template decltype(topk<int64_t>) topk<int64_t>; template decltype(topk<int32_t>) topk<int32_t>;
template decltype(topk<uint8_t>) topk<uint8_t>;
template decltype(kth_value<float>) kth_value<float>; template decltype(kth_value<double>) kth_value<double>;
template decltype(kth_value<bf16>) kth_value<bf16>; template decltype(kth_value<half>) kth_value<half>;
template decltype(kth_value<int64_t>) kth_value<int64_t>; template decltype(kth_value<int32_t>) kth_value<int32_t>;
template decltype(kth_value<uint8_t>) kth_value<uint8_t>;
template decltype(median<float>) median<float>; template decltype(median<double>) median<double>;
template decltype(median<bf16>) median<bf16>; template decltype(median<half>) median<half>;
template decltype(median<int64_t>) median<int64_t>; template decltype(median<int32_t>) median<int32_t>;
template decltype(median<uint8_t>) median<uint8_t>;
template decltype(unique<float>) unique<float>; template decltype(unique<double>) unique<double>;
template decltype(unique<bf16>) unique<bf16>; template decltype(unique<half>) unique<half>;
template decltype(unique<int64_t>) unique<int64_t>; template decltype(unique<int32_t>) unique<int32_t>;
template decltype(unique<uint8_t>) unique<uint8_t>;
template decltype(searchsorted<float>) searchsorted<float>; template decltype(searchsorted<double>) searchsorted<double>;
template decltype(searchsorted<bf16>) searchsorted<bf16>; template decltype(searchsorted<half>) searchsorted<half>;
template decltype(searchsorted<int64_t>) searchsorted<int64_t>; template decltype(searchsorted<int32_t>) searchsorted<int32_t>;
template decltype(searchsorted<uint8_t>) searchsorted<uint8_t>;
template decltype(bincount_weighted<float>) bincount_weighted<float>;
template decltype(bincount_weighted<double>) bincount_weighted<double>;
template decltype(histogram<float>) histogram<float>; template decltype(histogram<double>) histogram<double>;
template decltype(histogram<bf16>) histogram<bf16>; template decltype(histogram<half>) histogram<half>;
#endif

}  // namespace gradus::kernels
