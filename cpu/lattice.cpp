#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gradus/core/math.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/lattice.hpp>

namespace gradus::kernels {

namespace detail {
/// log(e^a + e^b) where either may be -infinity.
template <class T>
inline T log_add(T a, T b) {
  const T hi = a > b ? a : b, lo = a > b ? b : a;
  return hi == -std::numeric_limits<T>::infinity() ? hi : hi + m::log1p(m::exp(lo - hi));
}
}  // namespace detail

template <class T>
void ctc_fwd(Cpu, const T* x, const bool* skip, const int64_t* times, const int64_t* labels, T* loss, T* alpha, int64_t Tmax,
             int64_t N, int64_t L) {
  constexpr T none = -std::numeric_limits<T>::infinity();
  parallel_for(N, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t last = 2 * labels[n], time = times[n];  // index of the final blank
      const bool* jump = skip + n * L;
      T* row = alpha + n * Tmax * L;
      for (int64_t t = 0; t < time; ++t) {
        const T* before = row + (t - 1) * L;
        const T* p = x + (t * N + n) * L;
        T* a = row + t * L;
        for (int64_t s = 0; s <= last; ++s) {
          T sum;
          if (t == 0) {
            sum = s <= 1 ? T(0) : none;  // a path starts at the first blank or the first label
          } else {
            sum = before[s];
            if (s >= 1) sum = detail::log_add(sum, before[s - 1]);
            if (s >= 2 && jump[s]) sum = detail::log_add(sum, before[s - 2]);
          }
          a[s] = sum + p[s];
        }
      }
      if (time == 0) {
        loss[n] = last == 0 ? T(0) : -none;
        continue;
      }
      const T* a = row + (time - 1) * L;
      loss[n] = -(last > 0 ? detail::log_add(a[last], a[last - 1]) : a[last]);
    }
  });
}

template <class T>
void ctc_bwd(Cpu, const T* x, const bool* skip, const int64_t* times, const int64_t* labels, const T* loss, const T* alpha,
             const T* g, T* dx, int64_t Tmax, int64_t N, int64_t L) {
  constexpr T none = -std::numeric_limits<T>::infinity();
  parallel_for(N, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> beta(static_cast<std::size_t>(L)), after(static_cast<std::size_t>(L));
    for (int64_t n = begin; n < end; ++n) {
      const int64_t last = 2 * labels[n], time = times[n];
      const bool* jump = skip + n * L;
      const T* row = alpha + n * Tmax * L;
      for (int64_t t = Tmax - 1; t >= 0; --t) {
        T* d = dx + (t * N + n) * L;
        std::fill(d, d + L, T(0));
        if (t >= time || !std::isfinite(loss[n])) continue;
        const T* p = x + (t * N + n) * L;
        for (int64_t s = 0; s <= last; ++s) {  // beta: of what follows t, without x_t
          T sum;
          if (t == time - 1) {
            sum = s >= last - 1 ? T(0) : none;
          } else {
            sum = after[s];
            if (s + 1 <= last) sum = detail::log_add(sum, after[s + 1]);
            if (s + 2 <= last && jump[s + 2]) sum = detail::log_add(sum, after[s + 2]);
          }
          beta[s] = sum + p[s];
          const T a = row[t * L + s];
          if (sum != none && a != none) d[s] = -g[n] * m::exp(a + sum + loss[n]);
        }
        std::swap(beta, after);
      }
    }
  });
}

template <class T>
void transducer_fwd(Cpu, const T* blank, const T* emit, const int64_t* times, const int64_t* labels, T* loss, T* alpha,
                    int64_t N, int64_t Tmax, int64_t U) {
  parallel_for(N, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t time = times[n], last = labels[n];
      const T *b = blank + n * Tmax * U, *e = emit + n * Tmax * U;
      T* a = alpha + n * Tmax * U;
      for (int64_t t = 0; t < time; ++t)
        for (int64_t u = 0; u <= last; ++u) {
          if (t == 0 && u == 0) {
            a[0] = T(0);
            continue;
          }
          constexpr T none = -std::numeric_limits<T>::infinity();
          const T stay = t > 0 ? a[(t - 1) * U + u] + b[(t - 1) * U + u] : none,
                  move = u > 0 ? a[t * U + u - 1] + e[t * U + u - 1] : none;
          a[t * U + u] = detail::log_add(stay, move);
        }
      const int64_t final = (time - 1) * U + last;
      loss[n] = -(a[final] + b[final]);
    }
  });
}

template <class T>
void transducer_bwd(Cpu, const T* blank, const T* emit, const int64_t* times, const int64_t* labels, const T* loss,
                    const T* alpha, const T* g, T* dblank, T* demit, int64_t N, int64_t Tmax, int64_t U) {
  constexpr T none = -std::numeric_limits<T>::infinity();
  parallel_for(N, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> beta(static_cast<std::size_t>(U)), after(static_cast<std::size_t>(U));  // rows t and t + 1
    for (int64_t n = begin; n < end; ++n) {
      const int64_t time = times[n], last = labels[n], at = n * Tmax * U;
      const T *b = blank + at, *e = emit + at, *a = alpha + at;
      std::fill(dblank + at, dblank + at + Tmax * U, T(0));
      std::fill(demit + at, demit + at + Tmax * U, T(0));
      if (!std::isfinite(loss[n])) continue;
      for (int64_t t = time - 1; t >= 0; --t) {
        for (int64_t u = last; u >= 0; --u) {
          const int64_t i = t * U + u;
          const T rest_stay = t + 1 < time ? after[u] : u == last ? T(0) : none;  // the last blank ends the path
          const T rest_move = u < last ? beta[u + 1] : none;
          if (rest_stay != none && a[i] != none) dblank[at + i] = -g[n] * m::exp(a[i] + b[i] + rest_stay + loss[n]);
          if (rest_move != none && a[i] != none) demit[at + i] = -g[n] * m::exp(a[i] + e[i] + rest_move + loss[n]);
          beta[u] = detail::log_add(b[i] + rest_stay, e[i] + rest_move);
        }
        std::swap(beta, after);
      }
    }
  });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T>
void* lattice_floating() {  // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&ctc_fwd<T>)..., instance<Cpu>(&ctc_bwd<T>)...,
                                instance<Cpu>(&transducer_fwd<T>)..., instance<Cpu>(&transducer_bwd<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_lattice_instances[] = {lattice_floating<float, double>()};
#endif

}  // namespace gradus::kernels
