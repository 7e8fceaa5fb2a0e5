#include <cstring>
#include <type_traits>
#include <vector>

#include <gradus/core/dtype.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/index.hpp>

#include "columns.hpp"
#include "lanes.hpp"

namespace gradus::kernels {

GRADUS_FUNC int64_t find_out_of_range(Cpu, const int64_t* index, int64_t n, int64_t lo, int64_t hi) {
  const uint64_t range = static_cast<uint64_t>(hi - lo);
  for (int64_t first = 0; first < n; first += 4096) {   // blocks without a branch, so that they become vector code
    const int64_t last = std::min(n, first + 4096);
    uint64_t bad = 0;
    for (int64_t i = first; i < last; ++i) bad |= static_cast<uint64_t>(static_cast<uint64_t>(index[i] - lo) >= range);
    for (int64_t i = first; bad && i < last; ++i)
      if (index[i] < lo || index[i] >= hi) return i;
  }
  return -1;
}

template <class T> void gather(Cpu, const T* x, const int64_t* index, T* y, int64_t O, int64_t R, int64_t I, int64_t J) {
  parallel_for(O * J, detail::row_grain(I), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const T* slice = x + k / J * R * I;
      for (int64_t i = 0; i < I; ++i) y[k * I + i] = slice[index[k * I + i] * I + i];
    }
  });
}

namespace detail {
/// combine(destination, source) for every element of src, in the order of j.
template <class T, class F>
void scatter_with(T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J, F combine) {
  for_each_column_block(O, J, I, [&](int64_t o, int64_t i, int64_t count) {
    for (int64_t j = 0; j < J; ++j) {
      const int64_t row = (o * J + j) * I;
      for (int64_t c = i; c < i + count; ++c) combine(y[(o * R + index[row + c]) * I + c], src[row + c]);
    }
  });
}
}  // namespace detail

template <class T> void scatter(Cpu, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  detail::scatter_with(y, index, src, O, R, I, J, [](T& d, T s) { d = s; });
}
template <class T>
void scatter_amax(Cpu, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  using A = compute_t<T>;   // NaN wins
  detail::scatter_with(y, index, src, O, R, I, J, [](T& d, T s) {
    const A a = static_cast<A>(d), b = static_cast<A>(s);
    if (b > a || b != b) d = s;
  });
}
template <class T>
void scatter_amin(Cpu, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  using A = compute_t<T>;
  detail::scatter_with(y, index, src, O, R, I, J, [](T& d, T s) {
    const A a = static_cast<A>(d), b = static_cast<A>(s);
    if (b < a || b != b) d = s;
  });
}

template <class T> void scatter_add(Cpu, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  if (O == 1 && I == 1) return index_add(Cpu{}, y, index, src, O, R, I, J);   // one column: share the destinations instead
  if constexpr (detail::is_narrow<T>) {
    detail::for_each_column_block(O, J, I, [&](int64_t o, int64_t i, int64_t count) {
      std::vector<float> sum(static_cast<std::size_t>(R * count));
      for (int64_t r = 0; r < R; ++r)
        for (int64_t c = 0; c < count; ++c) sum[r * count + c] = static_cast<float>(y[(o * R + r) * I + i + c]);
      for (int64_t j = 0; j < J; ++j) {
        const int64_t row = (o * J + j) * I + i;
        for (int64_t c = 0; c < count; ++c) sum[index[row + c] * count + c] += static_cast<float>(src[row + c]);
      }
      for (int64_t r = 0; r < R; ++r)
        for (int64_t c = 0; c < count; ++c) y[(o * R + r) * I + i + c] = static_cast<T>(sum[r * count + c]);
    });
  } else {
    detail::scatter_with(y, index, src, O, R, I, J, [](T& d, T s) { d = static_cast<T>(d + s); });
  }
}

template <class T> void index_select(Cpu, const T* x, const int64_t* index, T* y, int64_t O, int64_t R, int64_t I, int64_t J) {
  parallel_for(O * J, detail::row_grain(I), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const T* from = x + (k / J * R + index[k % J]) * I;
      if (I == 1) y[k] = *from;
      else std::memcpy(static_cast<void*>(y + k * I), from, static_cast<std::size_t>(I) * sizeof(T));
    }
  });
}

template <class T> void index_add(Cpu, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J) {
  using A = compute_t<T>;
  // A stable counting sort of the positions j by destination; then a piece of work is a range of sorted positions, and a
  // destination belongs to the piece in which its first position lies. Frequent destinations do not unbalance the threads
  // unless one of them alone does.
  std::vector<int64_t> next(static_cast<std::size_t>(R + 1), 0), order(static_cast<std::size_t>(J));
  for (int64_t j = 0; j < J; ++j) ++next[index[j] + 1];
  for (int64_t r = 0; r < R; ++r) next[r + 1] += next[r];
  for (int64_t j = 0; j < J; ++j) order[next[index[j]]++] = j;
  parallel_for(J, detail::row_grain(O * I), [&](int64_t begin, int64_t end) {
    detail::RowIn<T> in(I);
    detail::RowOut<T> out(I);
    int64_t k = begin;
    while (k > 0 && k < end && index[order[k]] == index[order[k - 1]]) ++k;
    while (k < end) {
      const int64_t r = index[order[k]];
      int64_t stop = k + 1;
      while (stop < J && index[order[stop]] == r) ++stop;
      for (int64_t o = 0; o < O; ++o) {
        T* row = y + (o * R + r) * I;
        A* __restrict sum = out.at(row);
        if constexpr (detail::is_narrow<T>)
          for (int64_t i = 0; i < I; ++i) sum[i] = static_cast<A>(row[i]);
        for (int64_t q = k; q < stop; ++q) {
          const A* s = in(src + (o * J + order[q]) * I, I);
          for (int64_t i = 0; i < I; ++i) sum[i] = static_cast<A>(sum[i] + s[i]);
        }
        out.store(row, I);
      }
      k = stop;
    }
  });
}

template <class T> void take(Cpu, const T* x, const int64_t* index, T* y, int64_t n) {
  parallel_for(n, 16384, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) y[k] = x[index[k]];
  });
}
template <class T> void put(Cpu, T* y, const int64_t* index, const T* src, int64_t n) {
  for (int64_t k = 0; k < n; ++k) y[index[k]] = src[k];
}

namespace detail {
inline constexpr int64_t kSelectChunk = 8192;

template <class T> inline bool is_set(T x) { return static_cast<compute_t<T>>(x) != compute_t<T>(0); }

/// Number of elements that are set before each chunk of 8192; the last entry is the number of all.
template <class T> std::vector<int64_t> set_before(const T* x, int64_t n) {
  const int64_t chunks = (n + kSelectChunk - 1) / kSelectChunk;
  std::vector<int64_t> before(static_cast<std::size_t>(chunks + 1), 0);
  parallel_for(chunks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      int64_t count = 0;
      for (int64_t i = k * kSelectChunk; i < std::min(n, (k + 1) * kSelectChunk); ++i) count += is_set(x[i]);
      before[k + 1] = count;
    }
  });
  for (int64_t k = 0; k < chunks; ++k) before[k + 1] += before[k];
  return before;
}
/// f(i, at, set): element i, and how many before it are set.
template <class T, class F> void for_each_set(const T* x, int64_t n, F f) {
  const auto before = set_before(x, n);
  parallel_for(static_cast<int64_t>(before.size()) - 1, 4, [&](int64_t begin, int64_t end) {
    int64_t at = before[begin];
    for (int64_t i = begin * kSelectChunk; i < std::min(n, end * kSelectChunk); ++i) {
      const bool set = is_set(x[i]);
      f(i, at, set);
      at += set;
    }
  });
}
}  // namespace detail

template <class T> int64_t count_nonzero(Cpu, const T* x, int64_t n) { return detail::set_before(x, n).back(); }

template <class T> void nonzero(Cpu, const T* x, int64_t* y, const int64_t* shape, int rank) {
  int64_t n = 1;
  for (int d = 0; d < rank; ++d) n *= shape[d];
  detail::for_each_set(x, n, [&](int64_t i, int64_t at, bool set) {
    if (!set) return;
    for (int d = rank - 1; d >= 0; --d) y[at * rank + d] = i % shape[d], i /= shape[d];
  });
}

template <class T> void masked_select(Cpu, const T* x, const bool* mask, T* y, int64_t n) {
  detail::for_each_set(mask, n, [&](int64_t i, int64_t at, bool set) {
    if (set) y[at] = x[i];
  });
}
template <class T> void masked_expand(Cpu, const T* src, const bool* mask, T* y, int64_t n) {
  detail::for_each_set(mask, n, [&](int64_t i, int64_t at, bool set) { y[i] = set ? src[at] : static_cast<T>(0); });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* index_all() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&gather<T>)..., instance<Cpu>(&scatter<T>)..., instance<Cpu>(&index_select<T>)...,
                                instance<Cpu>(&take<T>)..., instance<Cpu>(&put<T>)..., instance<Cpu>(&count_nonzero<T>)...,
                                instance<Cpu>(&nonzero<T>)..., instance<Cpu>(&masked_select<T>)...,
                                instance<Cpu>(&masked_expand<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class... T> void* index_numeric() {
  static void* const table[] = {instance<Cpu>(&scatter_add<T>)..., instance<Cpu>(&scatter_amax<T>)...,
                                instance<Cpu>(&scatter_amin<T>)..., instance<Cpu>(&index_add<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_index_instances[] = {
    index_all<float, double, bf16, half, int64_t, int32_t, uint8_t, bool>(),
    index_numeric<float, double, bf16, half, int64_t, int32_t, uint8_t>()};
#endif

}  // namespace gradus::kernels
