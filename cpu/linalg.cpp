// Eigen's decompositions, one matrix at a time; matrices of a batch are shared among the threads.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <Eigen/Dense>

#include <gradus/core/parallel.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/linalg.hpp>

namespace gradus::kernels {

namespace detail {
template <class T> using Mat = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
template <class T> using RowMat = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T> using MatIn = Eigen::Map<const RowMat<T>>;
template <class T> using MatOut = Eigen::Map<RowMat<T>>;

/// f(b) for each matrix; returns the first result that is not -1, in the order of b.
template <class F> int64_t for_each_matrix(int64_t B, int64_t n, F f) {
  std::vector<int64_t> result(static_cast<std::size_t>(B), -1);
  parallel_for(B, 4096 / (n * n * n + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) result[b] = f(b);
  });
  for (int64_t r : result)
    if (r != -1) return r;
  return -1;
}

template <class T> inline bool is_singular(const Eigen::PartialPivLU<Mat<T>>& lu) {
  const auto& packed = lu.matrixLU();
  for (Eigen::Index i = 0; i < packed.rows(); ++i)
    if (!(std::fabs(packed(i, i)) > T(0))) return true;   // NaN as well
  return false;
}

/// The first pivot of the Cholesky decomposition that is not positive, by the textbook loop; n if there is none.
template <class T> inline int64_t first_bad_pivot(Mat<T> a) {
  const Eigen::Index n = a.rows();
  for (Eigen::Index j = 0; j < n; ++j) {
    for (Eigen::Index k = 0; k < j; ++k)
      for (Eigen::Index i = j; i < n; ++i) a(i, j) -= a(i, k) * a(j, k);
    if (!(a(j, j) > T(0))) return j;
    const T d = std::sqrt(a(j, j));
    for (Eigen::Index i = j; i < n; ++i) a(i, j) /= d;
  }
  return n;
}
}  // namespace detail

template <class T> int64_t cholesky(Cpu, const T* a, T* l, int64_t B, int64_t n) {
  return detail::for_each_matrix(B, n, [&](int64_t b) -> int64_t {
    const detail::Mat<T> in = detail::MatIn<T>(a + b * n * n, n, n);
    const Eigen::LLT<detail::Mat<T>> llt(in);
    detail::MatOut<T>(l + b * n * n, n, n) = detail::Mat<T>(llt.matrixL());
    if (n == 0 || (llt.info() == Eigen::Success && !std::isnan(llt.matrixLLT().diagonal().sum()))) return -1;
    return b * n + std::min(detail::first_bad_pivot(in), n - 1);
  });
}

template <class T> void triangular_solve(Cpu, const T* a, const T* b, T* x, int64_t B, int64_t n, int64_t k, bool upper,
                                         bool transposed, bool unit) {
  detail::for_each_matrix(B, n, [&](int64_t i) -> int64_t {
    const detail::Mat<T> m = transposed ? detail::Mat<T>(detail::MatIn<T>(a + i * n * n, n, n).transpose())
                                        : detail::Mat<T>(detail::MatIn<T>(a + i * n * n, n, n));
    detail::Mat<T> y = detail::MatIn<T>(b + i * n * k, n, k);
    if (upper != transposed) {
      if (unit) m.template triangularView<Eigen::UnitUpper>().solveInPlace(y);
      else m.template triangularView<Eigen::Upper>().solveInPlace(y);
    } else {
      if (unit) m.template triangularView<Eigen::UnitLower>().solveInPlace(y);
      else m.template triangularView<Eigen::Lower>().solveInPlace(y);
    }
    detail::MatOut<T>(x + i * n * k, n, k) = y;
    return -1;
  });
}

template <class T> int64_t lu_solve(Cpu, const T* a, const T* b, T* x, int64_t B, int64_t n, int64_t k) {
  if (n == 0 || k == 0) return -1;
  return detail::for_each_matrix(B, n, [&](int64_t i) -> int64_t {
    const Eigen::PartialPivLU<detail::Mat<T>> lu(detail::Mat<T>(detail::MatIn<T>(a + i * n * n, n, n)));
    if (detail::is_singular<T>(lu)) return i;
    detail::MatOut<T>(x + i * n * k, n, k) = lu.solve(detail::Mat<T>(detail::MatIn<T>(b + i * n * k, n, k)));
    return -1;
  });
}

template <class T> int64_t inverse(Cpu, const T* a, T* y, int64_t B, int64_t n) {
  if (n == 0) return -1;
  return detail::for_each_matrix(B, n, [&](int64_t i) -> int64_t {
    const Eigen::PartialPivLU<detail::Mat<T>> lu(detail::Mat<T>(detail::MatIn<T>(a + i * n * n, n, n)));
    if (detail::is_singular<T>(lu)) return i;
    detail::MatOut<T>(y + i * n * n, n, n) = lu.inverse();
    return -1;
  });
}

template <class T> void det(Cpu, const T* a, T* y, int64_t B, int64_t n) {
  detail::for_each_matrix(B, n, [&](int64_t i) -> int64_t {
    y[i] = n == 0 ? T(1) : detail::Mat<T>(detail::MatIn<T>(a + i * n * n, n, n)).partialPivLu().determinant();
    return -1;
  });
}

template <class T> void slogdet(Cpu, const T* a, T* sign, T* logabs, int64_t B, int64_t n) {
  detail::for_each_matrix(B, n, [&](int64_t i) -> int64_t {
    sign[i] = T(1), logabs[i] = T(0);
    if (n == 0) return -1;
    const Eigen::PartialPivLU<detail::Mat<T>> lu(detail::Mat<T>(detail::MatIn<T>(a + i * n * n, n, n)));
    sign[i] = static_cast<T>(lu.permutationP().determinant());
    for (int64_t k = 0; k < n; ++k) {
      const T d = lu.matrixLU()(k, k);
      sign[i] *= d > T(0) ? T(1) : d < T(0) ? T(-1) : d == T(0) ? T(0) : d;   // NaN stays
      logabs[i] += std::log(std::fabs(d));
    }
    return -1;
  });
}

template <class T> void qr(Cpu, const T* a, T* q, T* r, int64_t B, int64_t m, int64_t n, bool complete) {
  const int64_t j = complete ? m : std::min(m, n);
  detail::for_each_matrix(B, std::max(m, n), [&](int64_t b) -> int64_t {
    detail::MatOut<T> qb(q + b * m * j, m, j), rb(r + b * j * n, j, n);
    if (m == 0 || n == 0) {
      qb.setIdentity();
      return -1;
    }
    const Eigen::HouseholderQR<detail::Mat<T>> f(detail::Mat<T>(detail::MatIn<T>(a + b * m * n, m, n)));
    qb = detail::Mat<T>(f.householderQ() * detail::Mat<T>::Identity(m, j));
    const detail::Mat<T> upper = f.matrixQR().template triangularView<Eigen::Upper>();
    rb = upper.topRows(j);
    return -1;
  });
}

template <class T> int64_t svd(Cpu, const T* a, T* u, T* s, T* vt, int64_t B, int64_t m, int64_t n) {
  const int64_t j = std::min(m, n);
  if (j == 0) return -1;
  return detail::for_each_matrix(B, std::max(m, n), [&](int64_t b) -> int64_t {
    const detail::Mat<T> in = detail::MatIn<T>(a + b * m * n, m, n);
    if (!in.allFinite()) return b;
    const Eigen::BDCSVD<detail::Mat<T>> f(in, Eigen::ComputeThinU | Eigen::ComputeThinV);
    if (f.info() != Eigen::Success) return b;
    detail::MatOut<T>(u + b * m * j, m, j) = f.matrixU();
    detail::MatOut<T>(vt + b * j * n, j, n) = f.matrixV().transpose();
    std::copy_n(f.singularValues().data(), j, s + b * j);
    return -1;
  });
}

template <class T> int64_t eigh(Cpu, const T* a, T* w, T* v, int64_t B, int64_t n) {
  if (n == 0) return -1;
  return detail::for_each_matrix(B, n, [&](int64_t b) -> int64_t {
    const detail::Mat<T> in = detail::MatIn<T>(a + b * n * n, n, n);
    const Eigen::SelfAdjointEigenSolver<detail::Mat<T>> f(in);
    if (f.info() != Eigen::Success) return b;
    std::copy_n(f.eigenvalues().data(), n, w + b * n);
    detail::MatOut<T>(v + b * n * n, n, n) = f.eigenvectors();
    return -1;
  });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* linalg_precise() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&cholesky<T>)..., instance<Cpu>(&triangular_solve<T>)...,
                                instance<Cpu>(&lu_solve<T>)..., instance<Cpu>(&inverse<T>)..., instance<Cpu>(&det<T>)...,
                                instance<Cpu>(&slogdet<T>)..., instance<Cpu>(&qr<T>)..., instance<Cpu>(&svd<T>)...,
                                instance<Cpu>(&eigh<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_linalg_instances[] = {linalg_precise<float, double>()};
#endif

}  // namespace gradus::kernels
