// Functions composed of the other operators, any number of times differentiable like these.
#pragma once
#include <cmath>
#include <vector>

#include <gradus/ops/create.hpp>
#include <gradus/ops/index.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/softmax.hpp>

namespace gradus {

// -- of one tensor, element by element ---------------------------------------------------------------------------

/// x - tanh(x)
template <Floating T, class D>
Tensor<T, D> tanhshrink(const Tensor<T, D>& x, Where at = Where::current()) {
  return sub(x, tanh(x, at), at);
}
/// x - l for x > l, x + l for x < -l, 0 between: the proximal map of l |x|.
template <Floating T, class D>
Tensor<T, D> softshrink(const Tensor<T, D>& x, double l = 0.5, Where at = Where::current()) {
  return sub(x, clamp(x, -l, l, at), at);
}
/// x for |x| > l, 0 elsewhere
template <Floating T, class D>
Tensor<T, D> hardshrink(const Tensor<T, D>& x, double l = 0.5, Where at = Where::current()) {
  return where(greater(abs(x.detach(), at), l, at), x, 0.0, at);
}
/// sin(pi x) / (pi x), 1 at 0. The second derivative at 0 is given as 0 (it is -pi^2 / 3).
template <Floating T, class D>
Tensor<T, D> sinc(const Tensor<T, D>& x, Where at = Where::current()) {
  const auto zero = equal(x.detach(), 0, at);
  const auto angle = mul(where(zero, 1.0, x, at), 3.14159265358979323846, at);
  return where(zero, 1.0, div(sin(angle, at), angle, at), at);
}
/// To `decimals` places, halves to even; no gradient.
template <Floating T, class D>
Tensor<T, D> round(const Tensor<T, D>& x, int decimals, Where at = Where::current()) {
  const double scale = std::pow(10.0, decimals);
  return div(round(mul(x.detach(), scale, at), at), scale, at);
}
/// x for x > 0, slope x elsewhere, with a learnt slope: one number, or one a channel of x [N, C, ...]. He et al. 2015.
template <Floating T, class D>
Tensor<T, D> prelu(const Tensor<T, D>& x, const Tensor<T, D>& slope, Where at = Where::current()) {
  Shape per_channel;
  for (int i = 0; i < x.rank(); ++i) per_channel.push_back(1);
  if (slope.numel() > 1) {
    if (x.rank() < 2 || x.shape()[1] != slope.numel())
      fail("prelu", "the slopes do not match the channels", {{"x", describe(x)}, {"slope", describe(slope)}},
           "one slope, or one a channel of x [N, C, ...]", at);
    per_channel[1] = slope.numel();
  }
  return where(greater(x.detach(), 0, at), x, mul(x, gradus::reshape(slope, per_channel, at), at), at);
}

// -- of several ----------------------------------------------------------------------------------------------------

/// The larger of a and b, where one is NaN the other; equal elements share the gradient.
template <Floating T, class D>
Tensor<T, D> fmax(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  return maximum(where(isnan(a, at), b, a, at), where(isnan(b, at), a, b, at), at);
}
/// The smaller of a and b, where one is NaN the other; equal elements share the gradient.
template <Floating T, class D>
Tensor<T, D> fmin(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  return minimum(where(isnan(a, at), b, a, at), where(isnan(b, at), a, b, at), at);
}
/// x + value a b
template <Floating T, class D>
Tensor<T, D> addcmul(const Tensor<T, D>& x, const Tensor<T, D>& a, const Tensor<T, D>& b, double value = 1,
                     Where at = Where::current()) {
  return add(x, mul(mul(a, b, at), value, at), at);
}
/// x + value a / b
template <Floating T, class D>
Tensor<T, D> addcdiv(const Tensor<T, D>& x, const Tensor<T, D>& a, const Tensor<T, D>& b, double value = 1,
                     Where at = Where::current()) {
  return add(x, mul(div(a, b, at), value, at), at);
}
/// beta c + alpha a b for batches of matrices: c [B, M, N], a [B, M, K], b [B, K, N].
template <Floating T, class D>
Tensor<T, D> baddbmm(const Tensor<T, D>& c, const Tensor<T, D>& a, const Tensor<T, D>& b, double beta = 1, double alpha = 1,
                     Where at = Where::current()) {
  return add(mul(c, beta, at), mul(bmm(a, b, at), alpha, at), at);
}
/// The Kronecker product of matrices: [M, N] x [P, Q] -> [M P, N Q].
template <Floating T, class D>
Tensor<T, D> kron(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  if (a.rank() != 2 || b.rank() != 2)
    fail("kron", "not matrices", {{"a", describe(a)}, {"b", describe(b)}}, "2 dimensions each", at);
  const int64_t M = a.shape()[0], N = a.shape()[1], P = b.shape()[0], Q = b.shape()[1];
  return gradus::reshape(mul(gradus::reshape(a, {M, 1, N, 1}, at), gradus::reshape(b, {1, P, 1, Q}, at), at), {M * P, N * Q},
                         at);
}
/// a x b along a dimension of extent 3.
template <Floating T, class D>
Tensor<T, D> cross(const Tensor<T, D>& a, const Tensor<T, D>& b, int dim = -1, Where at = Where::current()) {
  if (a.size(dim, at) != 3 || b.size(dim, at) != 3)
    fail("cross", "not vectors of 3", {{"a", describe(a)}, {"b", describe(b)}, {"dim", std::to_string(dim)}},
         "extent 3 along dim", at);
  const auto part = [&](const Tensor<T, D>& x, int64_t i) { return narrow(x, dim, i % 3, 1, 1, at); };
  std::vector<Tensor<T, D>> c;
  for (int64_t i = 0; i < 3; ++i)
    c.push_back(sub(mul(part(a, i + 1), part(b, i + 2), at), mul(part(a, i + 2), part(b, i + 1), at), at));
  return cat(c, dim, at);
}
/// The p-norms of all differences of rows: [..., M, C], [..., N, C] -> [..., M, N].
template <Floating T, class D>
Tensor<T, D> cdist(const Tensor<T, D>& a, const Tensor<T, D>& b, double p = 2, Where at = Where::current()) {
  return norm(sub(unsqueeze(a, -2, at), unsqueeze(b, -3, at), at), p, {-1}, false, at);
}
/// y_nk = a_n^T W_k b_n + bias_k: a [..., I], b [..., J], w [K, I, J], bias [K] or undefined.
template <Floating T, class D>
Tensor<T, D> bilinear(const Tensor<T, D>& a, const Tensor<T, D>& b, const Tensor<T, D>& w, const Tensor<T, D>& bias = {},
                      Where at = Where::current()) {
  const auto wb = matmul(w, unsqueeze(unsqueeze(b, -2, at), -1, at), at);  // [..., K, I, 1]
  const auto y = squeeze(squeeze(matmul(unsqueeze(unsqueeze(a, -2, at), -2, at), wb, at), -1, at), -1, at);
  return bias.defined() ? add(y, bias, at) : y;
}
/// <a, b> / (|a| |b|) along `dim`, each length at least eps.
template <Floating T, class D>
Tensor<T, D> cosine_similarity(const Tensor<T, D>& a, const Tensor<T, D>& b, int dim = 1, double eps = 1e-8,
                               Where at = Where::current()) {
  const auto length = [&](const Tensor<T, D>& x) {
    return maximum(norm(x, 2, {dim}, false, at), detail::scalar_like(x, eps, at), at);
  };
  return div(sum(mul(a, b, at), {dim}, false, at), mul(length(a), length(b), at), at);
}

// -- along a dimension -----------------------------------------------------------------------------------------------

/// softmax(-x)
template <Floating T, class D>
Tensor<T, D> softmin(const Tensor<T, D>& x, int dim = -1, Where at = Where::current()) {
  return softmax(neg(x, at), dim, at);
}
/// a sigmoid(b) with a, b the halves of x along `dim`. Dauphin et al. 2016.
template <Floating T, class D>
Tensor<T, D> glu(const Tensor<T, D>& x, int dim = -1, Where at = Where::current()) {
  if (x.size(dim, at) % 2 != 0)
    fail("glu", "an odd extent has no halves", {{"x", describe(x)}, {"dim", std::to_string(dim)}}, "an even extent", at);
  const auto half = chunk(x, 2, dim, at);
  return mul(half[0], sigmoid(half[1], at), at);
}
/// x / max(|x|_p, eps) along `dim`
template <Floating T, class D>
Tensor<T, D> normalize(const Tensor<T, D>& x, double p = 2, int dim = 1, double eps = 1e-12, Where at = Where::current()) {
  return div(x, maximum(norm(x, p, {dim}, true, at), detail::scalar_like(x, eps, at), at), at);
}
/// x_{i+1} - x_i along `dim`, n times over.
template <class T, class D>
Tensor<T, D> diff(const Tensor<T, D>& x, int n = 1, int dim = -1, Where at = Where::current()) {
  Tensor<T, D> y = x;
  for (; n > 0 && y.size(dim, at) > 0; --n) {
    const int64_t e = y.size(dim, at);
    y = sub(narrow(y, dim, 1, e - 1, 1, at), narrow(y, dim, 0, e - 1, 1, at), at);
  }
  return y;
}
/// The tensors at each position of `dim`, without it; views.
template <class T, class D>
std::vector<Tensor<T, D>> unbind(const Tensor<T, D>& x, int dim = 0, Where at = Where::current()) {
  std::vector<Tensor<T, D>> parts;
  for (int64_t i = 0; i < x.size(dim, at); ++i) parts.push_back(select(x, dim, i, at));
  return parts;
}
/// How many elements are not 0 over `dims` (all by default).
template <class T, class D>
Tensor<int64_t, D> count_nonzero(const Tensor<T, D>& x, const Dims& dims = {}, bool keepdim = false,
                                 Where at = Where::current()) {
  return sum(cast<int64_t>(not_equal(x, 0, at), at), dims, keepdim, at);
}
/// Windows of `size` elements, `step` apart, along `dim`; their elements form a new last dimension. A copy.
template <class T, class D>
Tensor<T, D> sliding_windows(const Tensor<T, D>& x, int dim, int64_t size, int64_t step, Where at = Where::current()) {
  const int64_t e = x.size(dim, at);
  if (size < 1 || step < 1 || size > e)
    fail("sliding_windows", "no window fits",
         {{"x", describe(x)}, {"size", std::to_string(size)}, {"step", std::to_string(step)}}, "1 <= size <= extent, step >= 1",
         at);
  std::vector<Tensor<T, D>> column;
  for (int64_t k = 0; k < size; ++k) column.push_back(narrow(x, dim, k, (e - size) / step + 1, step, at));
  return stack(column, -1, at);
}

/// Coordinates of a grid: tensor k of the result has xs[k] [n_k] along dimension k and repeats along the others; views of shape
/// [n_0, n_1, ...] (NumPy's indexing="ij").
template <class T, class D>
std::vector<Tensor<T, D>> meshgrid(const std::vector<Tensor<T, D>>& xs, Where at = Where::current()) {
  Shape shape;
  for (const auto& x : xs) {
    if (x.rank() != 1) fail("meshgrid", "not a vector", {{"x", describe(x)}}, "1 dimension each", at);
    shape.push_back(x.numel());
  }
  std::vector<Tensor<T, D>> grids;
  for (int k = 0; k < shape.n; ++k) {
    Shape column = shape;
    for (int i = 0; i < shape.n; ++i)
      if (i != k) column[i] = 1;
    grids.push_back(expand(gradus::reshape(xs[static_cast<std::size_t>(k)], column, at), shape, at));
  }
  return grids;
}
/// gather with x and index broadcast against each other outside of `dim`: NumPy's take_along_axis.
template <class T, class D>
Tensor<T, D> take_along(const Tensor<T, D>& x, const Tensor<int64_t, D>& index, int dim, Where at = Where::current()) {
  const int d = detail::normalize_dim("take_along", dim, x.rank(), x, at);
  bool fits = index.rank() == x.rank();
  Shape for_x = x.shape(), for_index = index.shape();
  for (int i = 0; fits && i < x.rank(); ++i) {
    const int64_t a = x.shape()[i], b = index.shape()[i];
    if (i == d) continue;
    fits = a == b || a == 1 || b == 1;
    for_x[i] = for_index[i] = a == 1 ? b : a;
  }
  if (!fits)
    fail("take_along", "the index does not match", {{"x", describe(x)}, {"index", describe(index)}, {"dim", std::to_string(d)}},
         "extents that are equal or 1 except along dimension " + std::to_string(d), at);
  return gather(expand(x, for_x, at), d, contiguous(expand(index, for_index, at), at), at);
}
/// One dimension split into several whose extents multiply to it; one may be -1.
template <class T, class D>
Tensor<T, D> unflatten(const Tensor<T, D>& x, int dim, const Shape& extents, Where at = Where::current()) {
  const int d = detail::normalize_dim("unflatten", dim, x.rank(), x, at);
  int64_t known = 1;
  int open = -1;
  Shape shape;
  for (int i = 0; i < d; ++i) shape.push_back(x.shape()[i]);
  for (int i = 0; i < extents.n; ++i) {
    if (extents[i] == -1 && open < 0) open = shape.n;
    else known *= extents[i];
    shape.push_back(extents[i]);
  }
  if (open >= 0 && known > 0 && x.shape()[d] % known == 0) shape[open] = x.shape()[d] / known, known = x.shape()[d];
  if (known != x.shape()[d])
    fail("unflatten", "the extents do not multiply to the dimension", {{"x", describe(x)}, {"dim", std::to_string(d)}, {"extents", extents.str()}},
         "a product of " + std::to_string(x.shape()[d]), at);
  for (int i = d + 1; i < x.rank(); ++i) shape.push_back(x.shape()[i]);
  return gradus::reshape(x, shape, at);
}
/// |a - b| <= atol + rtol |b|, element by element; equal infinities are close, NaN is close to nothing.
template <Floating T, class D>
Tensor<bool, D> isclose(const Tensor<T, D>& a, const Tensor<T, D>& b, double rtol = 1e-5, double atol = 1e-8, Where at = Where::current()) {
  return no_grad([&] {
    const auto near = less_equal(abs(sub(a, b, at), at), detail::affine(abs(b, at), rtol, atol, at), at);
    return logical_or(equal(a, b, at), logical_and(near, isfinite(b, at), at), at);
  });
}
/// Whether all elements are close.
template <Floating T, class D>
bool allclose(const Tensor<T, D>& a, const Tensor<T, D>& b, double rtol = 1e-5, double atol = 1e-8, Where at = Where::current()) {
  return all_of(isclose(a, b, rtol, atol, at), {}, false, at).item(at);
}

// -- matrices and images -----------------------------------------------------------------------------------------------

/// The sum of the diagonal of the last two dimensions.
template <Floating T, class D>
Tensor<T, D> trace(const Tensor<T, D>& x, Where at = Where::current()) {
  return sum(diagonal(x, 0, at), {-1}, false, at);
}
/// Turned by k quarters from dimension `a` towards `b`.
template <class T, class D>
Tensor<T, D> rot90(const Tensor<T, D>& x, int k = 1, int a = 0, int b = 1, Where at = Where::current()) {
  switch (((k % 4) + 4) % 4) {
    case 0:
      return x;
    case 1:
      return flip(transpose(x, a, b, at), {a}, at);
    case 2:
      return flip(x, {a, b}, at);
    default:
      return transpose(flip(x, {a}, at), a, b, at);
  }
}
/// Channels to space: [N, C r r, H, W] -> [N, C, H r, W r]. Shi et al. 2016.
template <class T, class D>
Tensor<T, D> pixel_shuffle(const Tensor<T, D>& x, int64_t r, Where at = Where::current()) {
  if (x.rank() != 4 || r < 1 || x.shape()[1] % (r * r) != 0)
    fail("pixel_shuffle", "the channels do not divide", {{"x", describe(x)}, {"r", std::to_string(r)}}, "x [N, C r r, H, W]",
         at);
  const int64_t N = x.shape()[0], C = x.shape()[1] / (r * r), H = x.shape()[2], W = x.shape()[3];
  return gradus::reshape(permute(gradus::reshape(x, {N, C, r, r, H, W}, at), {0, 1, 4, 2, 5, 3}, at), {N, C, H * r, W * r}, at);
}
/// Space to channels, the inverse of pixel_shuffle: [N, C, H r, W r] -> [N, C r r, H, W].
template <class T, class D>
Tensor<T, D> pixel_unshuffle(const Tensor<T, D>& x, int64_t r, Where at = Where::current()) {
  if (x.rank() != 4 || r < 1 || x.shape()[2] % r != 0 || x.shape()[3] % r != 0)
    fail("pixel_unshuffle", "the image does not divide", {{"x", describe(x)}, {"r", std::to_string(r)}}, "x [N, C, H r, W r]",
         at);
  const int64_t N = x.shape()[0], C = x.shape()[1], H = x.shape()[2] / r, W = x.shape()[3] / r;
  return gradus::reshape(permute(gradus::reshape(x, {N, C, H, r, W, r}, at), {0, 1, 3, 5, 2, 4}, at), {N, C * r * r, H, W}, at);
}

/// What pad puts around a tensor: a value, the elements mirrored without the edge, the edge repeated, or the other end.
enum class PadMode { constant, reflect, replicate, circular };
/// `before` and `after` elements around the last dimensions; both lists have one entry a dimension, the last for the last.
template <Floating T, class D>
Tensor<T, D> pad(const Tensor<T, D>& x, const Shape& before, const Shape& after, PadMode mode, Where at = Where::current()) {
  if (mode == PadMode::constant) return pad(x, before, after, 0.0, at);
  if (before.n != after.n || before.n > x.rank())
    fail("pad", "the counts do not match the dimensions",
         {{"x", describe(x)}, {"before", before.str()}, {"after", after.str()}}, "one count a dimension on both sides", at);
  Tensor<T, D> y = x;
  for (int i = 0; i < before.n; ++i) {
    const int d = x.rank() - before.n + i;
    const int64_t e = x.shape()[d], most = mode == PadMode::reflect ? e - 1 : mode == PadMode::circular ? e : INT64_MAX;
    if (before[i] < 0 || after[i] < 0 || before[i] > most || after[i] > most || e == 0)
      fail("pad", "the border does not fit", {{"x", describe(x)}, {"before", before.str()}, {"after", after.str()}},
           "counts in [0, extent], for reflect below it", at);
    if (before[i] == 0 && after[i] == 0) continue;
    const double last = static_cast<double>(e - 1);
    auto from = arange<int64_t, D>(static_cast<double>(-before[i]), static_cast<double>(e + after[i]), 1, at);
    if (mode == PadMode::replicate) from = clamp(from, 0, last, at);
    else if (mode == PadMode::circular) from = remainder(from, full_like(from, static_cast<double>(e), at), at);
    else from = sub(last, abs(sub(last, abs(from, at), at), at), at);
    y = index_select(y, d, from, at);
  }
  return y;
}

/// x_c / (k + alpha / size sum_{c'} x_c'^2)^beta with c' in the `size` channels around c, those that exist: x [N, C, ...].
/// Krizhevsky et al. 2012, section 3.3.
template <Floating T, class D>
Tensor<T, D> local_response_norm(const Tensor<T, D>& x, int64_t size, double alpha = 1e-4, double beta = 0.75, double k = 1,
                                 Where at = Where::current()) {
  if (x.rank() < 2 || size < 1)
    fail("local_response_norm", "no channels to normalise over", {{"x", describe(x)}, {"size", std::to_string(size)}},
         "x [N, C, ...] and size >= 1", at);
  const int64_t C = x.shape()[1];
  Shape before, after;
  for (int i = 1; i < x.rank(); ++i) before.push_back(i == 1 ? size / 2 : 0), after.push_back(i == 1 ? (size - 1) / 2 : 0);
  const auto squares = pad(square(x, at), before, after, 0.0, at);
  auto s = narrow(squares, 1, 0, C, 1, at);
  for (int64_t i = 1; i < size; ++i) s = add(s, narrow(squares, 1, i, C, 1, at), at);
  return mul(x, pow(detail::affine(s, alpha / static_cast<double>(size), k, at), -beta, at), at);
}

}  // namespace gradus
