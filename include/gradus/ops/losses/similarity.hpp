// How alike two layers see the same n samples: x [n, ...] and y [n, ...], as many features as they like. Losses are 1 -
// similarity.
//
//   linear CKA   K = Xc Xc^T, L = Yc Yc^T of features without their mean over samples; <K, L> / (|K| |L|)
//                1 for Y = c X Q + 1 b^T, Q orthogonal; 0 to 1                  Kornblith, Norouzi, Lee, Hinton, ICML 2019, eq.
//                4
//   RSA          the Pearson correlation of the n x n cosine similarities of X's rows and of Y's; -1 to 1
//                                                                               Kriegeskorte, Mur, Bandettini 2008
//
// Both are <A, B> of two n x n matrices of Frobenius norm 1, A of x alone and B of y alone: a layer that is compared with
// several needs its matrix once. This is the biased estimate of CKA: of independent features it is about sqrt(p q / ((n + p) (n
// + q))), so that a batch that is small beside the number of features says 1 to everything.
//
// Neither depends on the scale of x, so x is divided by its largest entry, a constant to the gradient: features of any size
// that float can hold go through. A layer that is the same for all samples has the matrix 0, similarity 0 and gradient 0.
#pragma once
#include <gradus/ops/extra.hpp>
#include <gradus/ops/losses/common.hpp>
#include <gradus/ops/matmul.hpp>

namespace gradus {

namespace detail {
template <class T, class D>
Tensor<T, D> sample_rows(const char* op, const Tensor<T, D>& x, Where at) {
  if (x.rank() < 1 || x.shape()[0] < 2 || x.numel() == 0)
    fail(op, "there is nothing to compare", {{"x", describe(x)}}, "x [n, ...], n >= 2 samples of at least 1 feature", at);
  return gradus::reshape(x, {x.shape()[0], -1}, at);
}
/// x over its largest entry in each slice along dims.
template <class T, class D>
Tensor<T, D> over_largest(const Tensor<T, D>& x, const Dims& dims, Where at) {
  const auto largest = no_grad([&] {
    const auto a = amax(abs(x, at), dims, true, at);
    return where(equal(a, 0, at), 1.0, a, at);
  });
  return div(x, largest, at);
}
template <class T, class D>
Tensor<T, D> of_norm_1(const Tensor<T, D>& k, Where at) {
  const auto size = norm(k, 2, {}, false, at);
  return div(k, where(equal(size, 0, at), 1.0, size, at), at);
}
template <class T, class D>
Tensor<T, D> inner(const char* op, const Tensor<T, D>& x, const Tensor<T, D>& y, const Tensor<T, D>& a, const Tensor<T, D>& b,
                   Where at) {
  if (!(a.shape() == b.shape()))
    fail(op, "another number of samples", {{"x", describe(x)}, {"y", describe(y)}}, "x [n, ...], y [n, ...]", at);
  return sum(mul(a, b, at), {}, false, at);
}
}  // namespace detail

/// Xc Xc^T over its Frobenius norm: linear_cka(x, y) = <cka_matrix(x), cka_matrix(y)>.
template <Floating T, class D>
Tensor<T, D> cka_matrix(const Tensor<T, D>& x, Where at = Where::current()) {
  const auto rows = detail::over_largest(detail::sample_rows("cka_matrix", x, at), {}, at);
  const auto centred = detail::over_largest(sub(rows, mean(rows, {0}, true, at), at), {}, at);
  return detail::of_norm_1(matmul(centred, transpose(centred, 0, 1, at), at), at);
}
/// Cosine similarities of the rows, the diagonal's ones included, less their mean, over their Frobenius norm.
template <Floating T, class D>
Tensor<T, D> rsa_matrix(const Tensor<T, D>& x, Where at = Where::current()) {
  const auto rows = detail::over_largest(detail::sample_rows("rsa_matrix", x, at), {1}, at);
  const auto size = norm(rows, 2, {1}, true, at);
  const auto units = div(rows, where(equal(size, 0, at), 1.0, size, at), at);
  const auto cosines = matmul(units, transpose(units, 0, 1, at), at);
  return detail::of_norm_1(sub(cosines, mean(cosines, {}, false, at), at), at);
}
template <Floating T, class D>
Tensor<T, D> linear_cka(const Tensor<T, D>& x, const Tensor<T, D>& y, Where at = Where::current()) {
  return detail::inner("linear_cka", x, y, cka_matrix(x, at), cka_matrix(y, at), at);
}
template <Floating T, class D>
Tensor<T, D> rsa(const Tensor<T, D>& x, const Tensor<T, D>& y, Where at = Where::current()) {
  return detail::inner("rsa", x, y, rsa_matrix(x, at), rsa_matrix(y, at), at);
}

}  // namespace gradus
