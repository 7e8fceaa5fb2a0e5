// Small dense matrices in double for the loops that matrix optimisers are checked against.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace twin {

struct Matrix {
  int64_t m = 0, n = 0;
  std::vector<double> v;
  Matrix(int64_t m, int64_t n, double diagonal = 0) : m(m), n(n), v(static_cast<std::size_t>(m * n), 0) {
    for (int64_t i = 0; i < std::min(m, n); ++i) (*this)(i, i) = diagonal;
  }
  Matrix(int64_t m, int64_t n, const std::vector<double>& values) : m(m), n(n), v(values) {}
  double& operator()(int64_t i, int64_t j) { return v[static_cast<std::size_t>(i * n + j)]; }
  double operator()(int64_t i, int64_t j) const { return v[static_cast<std::size_t>(i * n + j)]; }
};
inline Matrix operator*(const Matrix& a, const Matrix& b) {
  Matrix c(a.m, b.n);
  for (int64_t i = 0; i < a.m; ++i)
    for (int64_t j = 0; j < b.n; ++j)
      for (int64_t k = 0; k < a.n; ++k) c(i, j) += a(i, k) * b(k, j);
  return c;
}
inline Matrix transposed(const Matrix& a) {
  Matrix c(a.n, a.m);
  for (int64_t i = 0; i < a.m; ++i)
    for (int64_t j = 0; j < a.n; ++j) c(j, i) = a(i, j);
  return c;
}
/// x a + y b
inline Matrix combine(double x, const Matrix& a, double y, const Matrix& b) {
  Matrix c = a;
  for (std::size_t i = 0; i < c.v.size(); ++i) c.v[i] = x * a.v[i] + y * b.v[i];
  return c;
}
inline double norm(const std::vector<double>& v) {
  double s = 0;
  for (const double x : v) s += x * x;
  return std::sqrt(s);
}
/// Eigenvalues (ascending) and eigenvectors (columns) of a symmetric matrix by Jacobi's rotations.
struct Eigen {
  std::vector<double> values;
  Matrix vectors;
};
inline Eigen jacobi(Matrix a) {
  const int64_t n = a.n;
  Matrix q(n, n, 1);
  for (int sweep = 0; sweep < 60; ++sweep)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i + 1; j < n; ++j) {
        if (a(i, j) == 0) continue;
        const double angle = 0.5 * std::atan2(2 * a(i, j), a(j, j) - a(i, i)), c = std::cos(angle), s = std::sin(angle);
        Matrix r(n, n, 1);
        r(i, i) = r(j, j) = c, r(i, j) = s, r(j, i) = -s;
        a = transposed(r) * a * r, q = q * r;
        a(i, j) = a(j, i) = 0;
      }
  std::vector<int64_t> order(static_cast<std::size_t>(n));
  for (int64_t i = 0; i < n; ++i) order[static_cast<std::size_t>(i)] = i;
  std::sort(order.begin(), order.end(), [&](int64_t x, int64_t y) { return a(x, x) < a(y, y); });
  Eigen e{{}, Matrix(n, n)};
  for (int64_t k = 0; k < n; ++k) {
    const int64_t from = order[static_cast<std::size_t>(k)];
    e.values.push_back(a(from, from));
    for (int64_t i = 0; i < n; ++i) e.vectors(i, k) = q(i, from);
  }
  return e;
}
inline Matrix power(const Matrix& a, double p) {
  const Eigen e = jacobi(a);
  Matrix d(a.n, a.n);
  for (int64_t i = 0; i < a.n; ++i) d(i, i) = std::pow(e.values[static_cast<std::size_t>(i)], p);
  return e.vectors * d * transposed(e.vectors);
}
/// The orthogonal factor of a = q r by Gram and Schmidt.
inline Matrix orthonormal(Matrix a) {
  for (int64_t j = 0; j < a.n; ++j) {
    for (int64_t k = 0; k < j; ++k) {
      double s = 0;
      for (int64_t i = 0; i < a.m; ++i) s += a(i, k) * a(i, j);
      for (int64_t i = 0; i < a.m; ++i) a(i, j) -= s * a(i, k);
    }
    double size = 0;
    for (int64_t i = 0; i < a.m; ++i) size += a(i, j) * a(i, j);
    for (int64_t i = 0; i < a.m; ++i) a(i, j) /= std::sqrt(size);
  }
  return a;
}

}  // namespace twin
