#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gradus/core/math.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/transport.hpp>

namespace gradus::kernels {

template <class T>
void sinkhorn(Cpu, const T* C, const T* a, const T* b, T* plan, int64_t B, int64_t n, int64_t m, double eps, int64_t iterations,
              double tol) {
  parallel_for(B, 1, [&](int64_t begin, int64_t end) {
    const T e = static_cast<T>(eps), inverse = static_cast<T>(1 / eps);
    std::vector<T> f(static_cast<std::size_t>(n)), g(static_cast<std::size_t>(m)), most(static_cast<std::size_t>(m)),
        total(static_cast<std::size_t>(m));
    for (int64_t k = begin; k < end; ++k) {
      const T *cost = C + k * n * m, *left = a + k * n, *right = b + k * m;
      T* P = plan + k * n * m;
      std::fill(f.begin(), f.end(), T(0)), std::fill(g.begin(), g.end(), T(0));
      for (int64_t i = 0; i < iterations; ++i) {
        double error = 0;
        for (int64_t r = 0; r < n; ++r) {  // f, and by how much the row sums were off before it
          const T* c = cost + r * m;
          T top = -std::numeric_limits<T>::infinity(), s = 0;
          for (int64_t j = 0; j < m; ++j) top = std::max(top, (g[j] - c[j]) * inverse);
          for (int64_t j = 0; j < m; ++j) s += gradus::m::exp((g[j] - c[j]) * inverse - top);
          const T next = e * (gradus::m::log(left[r]) - top - gradus::m::log(s));
          if (left[r] > T(0))
            error += std::fabs(static_cast<double>(left[r]) * (std::exp(static_cast<double>((f[r] - next) * inverse)) - 1));
          f[r] = next;
        }
        if (i > 0 && error <= tol) break;
        std::fill(most.begin(), most.end(), -std::numeric_limits<T>::infinity()), std::fill(total.begin(), total.end(), T(0));
        for (int64_t r = 0; r < n; ++r)  // g, by rows of C so that memory is read in order
          for (int64_t j = 0; j < m; ++j) most[j] = std::max(most[j], (f[r] - cost[r * m + j]) * inverse);
        for (int64_t r = 0; r < n; ++r)
          for (int64_t j = 0; j < m; ++j) total[j] += gradus::m::exp((f[r] - cost[r * m + j]) * inverse - most[j]);
        for (int64_t j = 0; j < m; ++j) g[j] = e * (gradus::m::log(right[j]) - most[j] - gradus::m::log(total[j]));
      }
      for (int64_t r = 0; r < n; ++r)
        for (int64_t j = 0; j < m; ++j) P[r * m + j] = gradus::m::exp((f[r] + g[j] - cost[r * m + j]) * inverse);
    }
  });
}

template <class T>
void assignment(Cpu, const T* C, int64_t* column, int64_t B, int64_t n) {
  parallel_for(B, 1, [&](int64_t begin, int64_t end) {
    const auto size = static_cast<std::size_t>(n + 1);
    constexpr double far = std::numeric_limits<double>::infinity();
    for (int64_t k = begin; k < end; ++k) {
      const T* cost = C + k * n * n;
      std::vector<double> u(size, 0), v(size, 0);        // prices of rows and columns, from 1; 0 is the row to be placed
      std::vector<int64_t> row(size, 0), from(size, 0);  // row[j]: who has column j
      for (int64_t i = 1; i <= n; ++i) {
        std::vector<double> least(size, far);
        std::vector<char> done(size, 0);
        int64_t j = 0;
        row[0] = i;
        do {  // Dijkstra over columns with reduced costs
          done[j] = 1;
          const int64_t r = row[j];
          double step = far;
          int64_t next = 0;
          for (int64_t c = 1; c <= n; ++c) {
            if (done[c]) continue;
            const double reduced = static_cast<double>(cost[(r - 1) * n + c - 1]) - u[r] - v[c];
            if (reduced < least[c]) least[c] = reduced, from[c] = j;
            if (least[c] < step || next == 0) step = least[c], next = c;
          }
          for (int64_t c = 0; c <= n; ++c)
            if (done[c]) u[row[c]] += step, v[c] -= step;
            else least[c] -= step;
          j = next;
        } while (row[j] != 0);
        for (; j != 0; j = from[j]) row[j] = row[from[j]];
      }
      for (int64_t j = 1; j <= n; ++j) column[k * n + row[j] - 1] = j - 1;
    }
  });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T>
void* transport_floating() {  // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&sinkhorn<T>)..., instance<Cpu>(&assignment<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_transport_instances[] = {transport_floating<float, double>()};
#endif

}  // namespace gradus::kernels
