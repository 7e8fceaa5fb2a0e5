// Tensors and Eigen matrices over the same memory, both ways, without copies. The only public header that includes Eigen.
//
//   Tensor<float> x = randn({3, 4});
//   as_eigen(x).row(0) *= 2;                       // Eigen's algebra on x's elements
//   Eigen::MatrixXf m = Eigen::MatrixXf::Random(3, 4);
//   Tensor<float> y = borrow_eigen(m);             // m's elements; m must outlive y
//   Tensor<float> z = adopt_eigen(std::move(m));   // the same, and z keeps them alive
//
// Strides carry over: a transposed tensor is a Map with exchanged strides, a column-major matrix a tensor with strides {1, rows}.
// Writes through a Map are not seen by gradus: a value saved for a backward that was changed so is not noticed.
#pragma once
#include <Eigen/Core>
#include <memory>
#include <utility>

#include <gradus/ops/create.hpp>

namespace gradus {

/// Elements of T in rows, at any strides.
template <class T>
using EigenMap = Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, Eigen::Unaligned,
                            Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;

/// x's elements as an Eigen matrix: [N, C] as N x C, [N] as N x 1, a scalar as 1 x 1. Valid while x's memory is.
template <class T>
EigenMap<T> as_eigen(const Tensor<T>& x, Where at = Where::current()) {
  if (x.rank() > 2) fail("as_eigen", "more than 2 dimensions", {{"x", describe(x)}}, "a matrix, a vector or a scalar; flatten() first", at);
  const auto extent = [&](int i) { return static_cast<Eigen::Index>(i < x.rank() ? x.shape()[i] : 1); };
  const auto stride = [&](int i) { return static_cast<Eigen::Index>(i < x.rank() ? x.strides()[i] : 1); };
  return EigenMap<T>(x.data(), extent(0), extent(1), Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(stride(0), stride(1)));
}

namespace detail {
/// Shape and strides of a matrix, or of a vector where one extent is 1 at compile time.
template <class M>
std::pair<Shape, Shape> eigen_layout(const M& m) {
  if constexpr (M::IsVectorAtCompileTime) return {Shape{m.size()}, Shape{m.innerStride()}};
  else if constexpr (M::IsRowMajor) return {Shape{m.rows(), m.cols()}, Shape{m.outerStride(), m.innerStride()}};
  else return {Shape{m.rows(), m.cols()}, Shape{m.innerStride(), m.outerStride()}};
}
}  // namespace detail

/// A tensor over the elements of an Eigen matrix, array, Map or block: [rows, cols], or [n] for vectors. They must outlive it.
template <class M>
  requires requires(M& m) { m.data(), m.innerStride(), m.outerStride(); }
Tensor<typename M::Scalar> borrow_eigen(M& m) {
  using T = typename M::Scalar;
  const auto [shape, strides] = detail::eigen_layout(m);
  return detail::over(const_cast<T*>(m.data()), shape, strides, nullptr, nullptr);
}
/// A tensor that takes over the matrix; nothing is copied.
template <class M>
  requires(!std::is_lvalue_reference_v<M>)
Tensor<typename M::Scalar> adopt_eigen(M&& m) {
  const auto kept = std::make_shared<M>(std::move(m));
  const auto [shape, strides] = detail::eigen_layout(*kept);
  return wrap(kept->data(), shape, [kept] {}, strides);
}

}  // namespace gradus
