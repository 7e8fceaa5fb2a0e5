// cuda/linalg.cu against cpu/linalg.cpp: equal results where they are unique, products and orthogonality where they are not.
#include <gradus/kernels/linalg.hpp>

#include "kernels/on_device.hpp"

using namespace kernel_test;
namespace k = gradus::kernels;

namespace {
template <class T> double tolerance() { return std::is_same_v<T, double> ? 1e-10 : 2e-4; }

/// y = a b or, with turn, a b^T, of [m, n] and [n, p] ([p, n]).
template <class T> Host<T> product(const T* a, const T* b, int64_t m, int64_t n, int64_t p, bool turn = false) {
  Host<T> y(static_cast<std::size_t>(m * p));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < p; ++j) {
      T sum = 0;
      for (int64_t q = 0; q < n; ++q) sum += a[i * n + q] * (turn ? b[j * n + q] : b[q * p + j]);
      y[static_cast<std::size_t>(i * p + j)] = sum;
    }
  return y;
}
template <class T> Host<T> identity(int64_t n) {
  Host<T> y(static_cast<std::size_t>(n * n), T(0));
  for (int64_t i = 0; i < n; ++i) y[static_cast<std::size_t>(i * n + i)] = T(1);
  return y;
}
/// Symmetric, positive definite, B matrices.
template <class T> Host<T> positive(int64_t B, int64_t n) {
  const auto a = values<T>(B * n * n, 3);
  Host<T> y;
  for (int64_t b = 0; b < B; ++b) {
    auto one = product(a.data() + b * n * n, a.data() + b * n * n, n, n, n, true);
    for (int64_t i = 0; i < n; ++i) one[static_cast<std::size_t>(i * n + i)] += T(1);
    y.insert(y.end(), one.begin(), one.end());
  }
  return y;
}
}  // namespace

TEST_CASE("cholesky and triangular_solve") {
  for_types<float, double>([](auto zero) {
    using T = decltype(zero);
    for (const int64_t n : {1, 7, 33}) {
      const int64_t B = 2, columns = 3;
      auto a = positive<T>(B, n);
      const auto b = values<T>(B * n * columns, 4);
      Host<T> l(a.size()), x(b.size());
      const OnDevice<T> dev_a(a), dev_l(B * n * n), dev_b(b), dev_x(B * n * columns);
      REQUIRE(k::cholesky(Cpu{}, a.data(), l.data(), B, n) == -1);
      CHECK(k::cholesky<T>(Cuda{}, dev_a, dev_l, B, n) == -1);
      CHECK(difference(dev_l.host(), l, tolerance<T>()) == "");
      for (const bool upper : {false, true})
        for (const bool transposed : {false, true})
          for (const bool unit : {false, true}) {
            if (unit && n > 7) continue;                     // grows without bounds
            k::triangular_solve(Cpu{}, a.data(), b.data(), x.data(), B, n, columns, upper, transposed, unit);
            k::triangular_solve<T>(Cuda{}, dev_a, dev_b, dev_x, B, n, columns, upper, transposed, unit);
            CHECK(difference(dev_x.host(), x, 10 * tolerance<T>()) == "");
          }
      if (n < 7) continue;
      a[static_cast<std::size_t>(n * n + 4 * n + 4)] = T(-1);
      const OnDevice<T> bad(a);
      CHECK(k::cholesky<T>(Cuda{}, bad, dev_l, B, n) == k::cholesky(Cpu{}, a.data(), l.data(), B, n));
      CHECK(k::cholesky<T>(Cuda{}, bad, dev_l, B, n) == n + 4);
    }
  });
}

TEST_CASE("lu_solve, inverse, det, slogdet; singular matrices are named") {
  for_types<float, double>([](auto zero) {
    using T = decltype(zero);
    for (const int64_t n : {0, 1, 6, 33}) {
      const int64_t B = 3, columns = 2;
      auto a = values<T>(B * n * n, 5, -1, 1);
      for (int64_t i = 0; i < B * n; ++i) a[static_cast<std::size_t>(i * n + (i + 1) % n)] += T(2);   // well conditioned, rows to be swapped
      const auto b = values<T>(B * n * columns, 6);
      Host<T> x(b.size()), inverse(a.size()), det(3), sign(3), logabs(3);
      const OnDevice<T> dev_a(a), dev_b(b), dev_x(B * n * columns), dev_inverse(B * n * n), dev_det(3), dev_sign(3), dev_logabs(3);
      CHECK(k::lu_solve<T>(Cuda{}, dev_a, dev_b, dev_x, B, n, columns) == k::lu_solve(Cpu{}, a.data(), b.data(), x.data(), B, n, columns));
      CHECK(difference(dev_x.host(), x, 10 * tolerance<T>()) == "");
      CHECK(k::inverse<T>(Cuda{}, dev_a, dev_inverse, B, n) == k::inverse(Cpu{}, a.data(), inverse.data(), B, n));
      CHECK(difference(dev_inverse.host(), inverse, 10 * tolerance<T>()) == "");
      k::det(Cpu{}, a.data(), det.data(), B, n), k::det<T>(Cuda{}, dev_a, dev_det, B, n);
      CHECK(difference(dev_det.host(), det, 10 * tolerance<T>()) == "");
      k::slogdet(Cpu{}, a.data(), sign.data(), logabs.data(), B, n), k::slogdet<T>(Cuda{}, dev_a, dev_sign, dev_logabs, B, n);
      CHECK(difference(dev_sign.host(), sign, 0) == "");
      CHECK(difference(dev_logabs.host(), logabs, tolerance<T>()) == "");
      if (n < 6) continue;
      for (int64_t j = 0; j < n; ++j) a[static_cast<std::size_t>(n * n + 2 * n + j)] = T(0);           // matrix 1
      a[static_cast<std::size_t>(2 * n * n)] = std::numeric_limits<T>::quiet_NaN();                     // matrix 2
      const OnDevice<T> bad(a);
      CHECK(k::lu_solve<T>(Cuda{}, bad, dev_b, dev_x, B, n, columns) == 1);
      CHECK(k::inverse<T>(Cuda{}, bad, dev_inverse, B, n) == 1);
      k::slogdet<T>(Cuda{}, bad, dev_sign, dev_logabs, B, n);
      CHECK(dev_sign.host()[1] == T(0));
      CHECK(dev_logabs.host()[1] == -std::numeric_limits<T>::infinity());
      CHECK(std::isnan(dev_sign.host()[2]));
    }
  });
}

TEST_CASE("qr has the Cpu's signs") {
  struct Extents {
    int64_t m, n;
  };
  for_types<float, double>([](auto zero) {
    using T = decltype(zero);
    for (const auto [m, n] : {Extents{1, 1}, {7, 4}, {4, 7}, {33, 33}})
      for (const bool complete : {false, true}) {
        const int64_t B = 2, j = complete ? m : std::min(m, n);
        const auto a = values<T>(B * m * n, 7);
        Host<T> q(static_cast<std::size_t>(B * m * j)), r(static_cast<std::size_t>(B * j * n));
        const OnDevice<T> dev_a(a), dev_q(B * m * j), dev_r(B * j * n);
        k::qr(Cpu{}, a.data(), q.data(), r.data(), B, m, n, complete);
        k::qr<T>(Cuda{}, dev_a, dev_q, dev_r, B, m, n, complete);
        CHECK(difference(dev_q.host(), q, 10 * tolerance<T>()) == "");
        CHECK(difference(dev_r.host(), r, 10 * tolerance<T>()) == "");
      }
  });
}

TEST_CASE("svd: the Cpu's values, orthogonal factors, also of a singular matrix") {
  struct Extents {
    int64_t m, n;
  };
  for_types<float, double>([](auto zero) {
    using T = decltype(zero);
    for (const auto [m, n] : {Extents{1, 1}, {9, 5}, {5, 9}, {12, 12}}) {
      const int64_t j = std::min(m, n), last = m * n - n;
      auto a = values<T>(2 * m * n, 8);
      for (int64_t c = 0; c < n && m > 2; ++c) {             // matrix 0: rank deficient by two
        a[static_cast<std::size_t>(last + c)] = a[static_cast<std::size_t>(c)];
        a[static_cast<std::size_t>(last - n + c)] = T(0);
      }
      Host<T> u(static_cast<std::size_t>(2 * m * j)), s(static_cast<std::size_t>(2 * j)), vt(static_cast<std::size_t>(2 * j * n));
      const OnDevice<T> dev_a(a), dev_u(2 * m * j), dev_s(2 * j), dev_vt(2 * j * n);
      REQUIRE(k::svd(Cpu{}, a.data(), u.data(), s.data(), vt.data(), 2, m, n) == -1);
      CHECK(k::svd<T>(Cuda{}, dev_a, dev_u, dev_s, dev_vt, 2, m, n) == -1);
      CHECK(difference(dev_s.host(), s, tolerance<T>()) == "");
      const auto U = dev_u.host(), S = dev_s.host(), V = dev_vt.host();
      for (int64_t b = 0; b < 2; ++b) {
        Host<T> us(U.begin() + b * m * j, U.begin() + (b + 1) * m * j), ut(us.size());
        for (int64_t i = 0; i < m; ++i)
          for (int64_t c = 0; c < j; ++c) ut[static_cast<std::size_t>(c * m + i)] = us[static_cast<std::size_t>(i * j + c)];
        CHECK(difference(product(ut.data(), ut.data(), j, m, j, true), identity<T>(j), tolerance<T>()) == "");
        CHECK(difference(product(V.data() + b * j * n, V.data() + b * j * n, j, n, j, true), identity<T>(j), tolerance<T>()) == "");
        for (int64_t i = 0; i < m * j; ++i) us[static_cast<std::size_t>(i)] *= S[static_cast<std::size_t>(b * j + i % j)];
        const Host<T> one(a.begin() + b * m * n, a.begin() + (b + 1) * m * n);
        CHECK(difference(product(us.data(), V.data() + b * j * n, m, j, n), one, 10 * tolerance<T>()) == "");
      }
      a[static_cast<std::size_t>(m * n)] = std::numeric_limits<T>::infinity();
      const OnDevice<T> bad(a);
      CHECK(k::svd<T>(Cuda{}, bad, dev_u, dev_s, dev_vt, 2, m, n) == 1);
    }
  });
}

TEST_CASE("eigh: the Cpu's values, a v = v diag(w)") {
  for_types<float, double>([](auto zero) {
    using T = decltype(zero);
    for (const int64_t n : {1, 2, 9, 20}) {
      auto a = values<T>(2 * n * n, 9);
      for (int64_t e = 0; e < n * n; ++e)
        if (e % n < e / n) a[static_cast<std::size_t>(e % n * n + e / n)] = T(77);      // the upper triangle is not read
      Host<T> w(static_cast<std::size_t>(2 * n)), v(a.size());
      const OnDevice<T> dev_a(a), dev_w(2 * n), dev_v(2 * n * n);
      REQUIRE(k::eigh(Cpu{}, a.data(), w.data(), v.data(), 2, n) == -1);
      CHECK(k::eigh<T>(Cuda{}, dev_a, dev_w, dev_v, 2, n) == -1);
      CHECK(difference(dev_w.host(), w, tolerance<T>()) == "");
      const auto W = dev_w.host(), V = dev_v.host();
      for (int64_t b = 0; b < 2; ++b) {
        Host<T> full(a.begin() + b * n * n, a.begin() + (b + 1) * n * n);
        for (int64_t e = 0; e < n * n; ++e)
          if (e % n > e / n) full[static_cast<std::size_t>(e)] = full[static_cast<std::size_t>(e % n * n + e / n)];
        Host<T> scaled(V.begin() + b * n * n, V.begin() + (b + 1) * n * n);
        const auto av = product(full.data(), scaled.data(), n, n, n);
        for (int64_t e = 0; e < n * n; ++e) scaled[static_cast<std::size_t>(e)] *= W[static_cast<std::size_t>(b * n + e % n)];
        CHECK(difference(av, scaled, 10 * tolerance<T>()) == "");
      }
      a[0] = std::numeric_limits<T>::quiet_NaN();
      const OnDevice<T> bad(a);
      CHECK(k::eigh<T>(Cuda{}, bad, dev_w, dev_v, 2, n) == 0);
    }
  });
}
