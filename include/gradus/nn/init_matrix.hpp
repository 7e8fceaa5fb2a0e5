// Starting values that are made as matrices.
//
//   orthogonal  Saxe, McClelland, Ganguli 2013:   rows (or columns, the fewer) of length gain at right angles
//   dirac       Zagoruyko & Komodakis 2017:       channel k of the output is channel k of the input
//   delta       Xiao et al. 2018:                 dirac with an orthogonal matrix of channels
//   sparse      Martens 2010:                     a share of each column is 0
#pragma once
#include <gradus/nn/init.hpp>
#include <gradus/ops/linalg.hpp>
#include <gradus/ops/shape.hpp>
#include <gradus/ops/sort.hpp>

namespace gradus::nn::init {

/// Ones on the diagonal of a matrix, zeros elsewhere.
template <class T, class D>
void identity(Tensor<T, D>& w, Where at = Where::current()) {
  if (w.rank() != 2) fail("identity", "not a matrix", {{"w", describe(w)}}, "2 dimensions", at);
  set(w, eye<T, D>(w.shape()[0], w.shape()[1], at), at);
}
namespace detail {
/// [rows, cols] with the fewer of them orthonormal: Q of a normal matrix, its signs fixed by R's diagonal, so that it is
/// uniform.
template <class T, class D>
Tensor<T, D> orthonormal(int64_t rows, int64_t cols, Where at) {
  const NoGrad guard;
  const bool wide = rows < cols;
  const auto f = qr(gradus::randn<T, D>(wide ? Shape{cols, rows} : Shape{rows, cols}, at), at);
  const auto signs = where(less(diagonal(f.r, 0, at), 0, at), -1.0, ones<T, D>({wide ? rows : cols}, at), at);
  const auto q = mul(f.q, signs, at);
  return wide ? transpose(q, 0, 1, at) : q;
}
}  // namespace detail
/// Of the weight seen as [out, in kernel...].
template <class T, class D>
void orthogonal(Tensor<T, D>& w, double gain = 1, Where at = Where::current()) {
  if (w.rank() < 2) fail("orthogonal", "not a matrix", {{"w", describe(w)}}, "at least 2 dimensions", at);
  const int64_t rows = w.shape()[0], cols = rows ? w.numel() / rows : 0;
  set(w, gradus::reshape(mul(detail::orthonormal<T, D>(rows, cols, at), gain, at), w.shape(), at), at);
}
namespace detail {
/// `centre` [out, in] at the middle tap of a kernel, zeros at the others.
template <class T, class D>
void at_centre(const char* op, Tensor<T, D>& w, const Tensor<T, D>& centre, Where at) {
  if (w.rank() < 3 || w.rank() > 5) fail(op, "not a convolution's weight", {{"w", describe(w)}}, "[out, in, kernel...]", at);
  Shape before, after;
  Tensor<T, D> x = centre;
  for (int i = 2; i < w.rank(); ++i) {
    x = unsqueeze(x, -1, at);
    before.push_back(w.shape()[i] / 2), after.push_back(w.shape()[i] - w.shape()[i] / 2 - 1);
  }
  set(w, gradus::pad(x, before, after, 0, at), at);
}
}  // namespace detail
/// The convolution's output k equals its input k, for each group anew; further outputs are 0. Zagoruyko & Komodakis 2017.
template <class T, class D>
void dirac(Tensor<T, D>& w, int64_t groups = 1, Where at = Where::current()) {
  if (w.rank() < 3 || groups < 1 || w.shape()[0] % groups != 0)
    fail("dirac", "the outputs do not divide into groups", {{"w", describe(w)}, {"groups", std::to_string(groups)}},
         "[out, in, kernel...] with out a multiple of groups", at);
  const NoGrad guard;
  const auto one = eye<T, D>(w.shape()[0] / groups, w.shape()[1], at);
  detail::at_centre("dirac", w, repeat(one, {groups, 1}, at), at);
}
/// Xiao et al. 2018: the middle tap is a matrix with orthonormal columns (or rows) times gain, the others are 0.
template <class T, class D>
void delta_orthogonal(Tensor<T, D>& w, double gain = 1, Where at = Where::current()) {
  if (w.rank() < 3) fail("delta_orthogonal", "not a convolution's weight", {{"w", describe(w)}}, "[out, in, kernel...]", at);
  const auto m = mul(detail::orthonormal<T, D>(w.shape()[0], w.shape()[1], at), gain, at);
  detail::at_centre("delta_orthogonal", w, m, at);
}
/// Normal, with the share `sparsity` of the entries of each column 0: ceil(sparsity out) of them, at random.
template <class T, class D>
void sparse(Tensor<T, D>& w, double sparsity, double deviation = 0.01, Where at = Where::current()) {
  if (w.rank() != 2 || !(sparsity >= 0 && sparsity <= 1))
    fail("sparse", "no such start", {{"w", describe(w)}, {"sparsity", std::to_string(sparsity)}}, "a matrix, a share in [0, 1]",
         at);
  const NoGrad guard;
  const auto rank = argsort(argsort(gradus::rand<T, D>(w.shape(), at), 0, false, at), 0, false, at);
  const double zeros = std::ceil(sparsity * static_cast<double>(w.shape()[0]));
  set(w, where(less(rank, zeros, at), 0.0, gradus::normal<T, D>(w.shape(), 0, deviation, at), at), at);
}

}  // namespace gradus::nn::init
