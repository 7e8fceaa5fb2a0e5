// Losses of representations: pairs of views z1, z2 [N, C], labels, prototypes. Embeddings are normalised here where the paper
// does so.
#pragma once
#include <gradus/ops/create.hpp>
#include <gradus/ops/extra.hpp>
#include <gradus/ops/losses/cross_entropy.hpp>

namespace gradus {

namespace detail {
template <class T, class D>
void check_views(const char* op, const Tensor<T, D>& a, const Tensor<T, D>& b, Where at) {
  if (a.rank() != 2 || !(a.shape() == b.shape()))
    fail(op, "the views do not match", {{"first", describe(a)}, {"second", describe(b)}}, "two tensors [N, C]", at);
}
template <class D>
Tensor<int64_t, D> row_numbers(int64_t n, Where at) {
  return arange<int64_t, D>(static_cast<double>(n), at);
}
template <class T, class D>
Tensor<T, D> unit_rows(const Tensor<T, D>& x, Where at) {
  return normalize(x, 2, -1, 1e-12, at);
}
template <class D>
Tensor<bool, D> identity_mask(int64_t n, Where at) {
  const auto i = row_numbers<D>(n, at);
  return equal(gradus::reshape(i, {n, 1}, at), gradus::reshape(i, {1, n}, at), at);
}
}  // namespace detail

/// Cross-entropy of q_i . k_j / temperature with target j = i: row i of the keys is the positive, all others negatives. van den
/// Oord, Li, Vinyals, 2018, eq. 4. Rows are normalised first unless said otherwise.
template <Floating T, class D>
Tensor<T, D> info_nce_loss(const Tensor<T, D>& queries, const Tensor<T, D>& keys, double temperature = 0.07, bool unit = true,
                           Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_views("info_nce_loss", queries, keys, at);
  const auto q = unit ? detail::unit_rows(queries, at) : queries, k = unit ? detail::unit_rows(keys, at) : keys;
  const auto logits = mul(matmul(q, transpose(k, 0, 1, at), at), 1 / temperature, at);
  return cross_entropy(logits, detail::row_numbers<D>(q.shape()[0], at), CrossEntropyOptions<T, D>{.reduction = r}, at);
}
/// SimCLR: both views are rows of one batch of 2 N; each row's positive is its other view, its negatives the 2 N - 2 others.
/// Chen, Kornblith, Norouzi, Hinton, ICML 2020, eq. 1 and algorithm 1.
template <Floating T, class D>
Tensor<T, D> nt_xent_loss(const Tensor<T, D>& z1, const Tensor<T, D>& z2, double temperature = 0.5,
                          Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_views("nt_xent_loss", z1, z2, at);
  const int64_t N = z1.shape()[0];
  const auto z = detail::unit_rows(cat(std::vector<Tensor<T, D>>{z1, z2}, 0, at), at);
  auto logits = mul(matmul(z, transpose(z, 0, 1, at), at), 1 / temperature, at);
  logits = where(detail::identity_mask<D>(2 * N, at), -1e30, logits, at);
  const auto i = detail::row_numbers<D>(N, at);
  const auto other = cat(std::vector<Tensor<int64_t, D>>{add(i, static_cast<double>(N), at), i}, 0, at);
  return cross_entropy(logits, other, CrossEntropyOptions<T, D>{.reduction = r}, at);
}
/// -1/|P(i)| sum_{p in P(i)} log(e^{z_i z_p / T} / sum_{a != i} e^{z_i z_a / T}), P(i) the other rows of i's label; the mean
/// over the rows that have one. z [N, C] (both views as rows), labels [N]. Khosla et al., NeurIPS 2020, eq. 2 (L_out).
template <Floating T, class D>
Tensor<T, D> sup_con_loss(const Tensor<T, D>& z, const Tensor<int64_t, D>& labels, double temperature = 0.07,
                          Where at = Where::current()) {
  if (z.rank() != 2 || !(labels.shape() == Shape{z.shape()[0]}))
    fail("sup_con_loss", "shapes do not match", {{"z", describe(z)}, {"labels", describe(labels)}}, "z [N, C], labels [N]", at);
  const int64_t N = z.shape()[0];
  const auto u = detail::unit_rows(z, at);
  const auto self = detail::identity_mask<D>(N, at);
  const auto logits = where(self, -1e30, mul(matmul(u, transpose(u, 0, 1, at), at), 1 / temperature, at), at);
  const auto same = equal(gradus::reshape(labels, {N, 1}, at), gradus::reshape(labels, {1, N}, at), at);
  const auto positive = cast<T>(logical_and(same, logical_not(self, at), at), at);
  const auto count = sum(positive, {1}, false, at), has = cast<T>(greater(count, 0, at), at);
  const auto logp = where(self, 0.0, log_softmax(logits, 1, at), at);
  const auto per = div(sum(mul(positive, logp, at), {1}, false, at), maximum(count, detail::scalar_like(count, 1, at), at), at);
  return neg(div(sum(per, {}, false, at), maximum(sum(has, {}, false, at), detail::scalar_like(has, 1, at), at), at), at);
}
/// (CE(e^s I T^t) + CE(e^s T I^t)) / 2 with the diagonal as target; s = log_scale, one learnt number. Radford et al., "CLIP",
/// ICML 2021.
template <Floating T, class D>
Tensor<T, D> clip_loss(const Tensor<T, D>& image, const Tensor<T, D>& text, const Tensor<T, D>& log_scale,
                       Where at = Where::current()) {
  detail::check_views("clip_loss", image, text, at);
  const auto cosine = matmul(detail::unit_rows(image, at), transpose(detail::unit_rows(text, at), 0, 1, at), at);
  const auto logits = mul(cosine, exp(gradus::reshape(log_scale, Shape{}, at), at), at);
  const auto diagonal = detail::row_numbers<D>(image.shape()[0], at);
  const CrossEntropyOptions<T, D> o;
  return mul(add(cross_entropy(logits, diagonal, o, at), cross_entropy(transpose(logits, 0, 1, at), diagonal, o, at), at), 0.5,
             at);
}
/// -1/N sum_ij log s(z_ij (e^s x_i . y_j + b)), z = 1 on the diagonal, -1 elsewhere. Zhai, Mustafa, Kolesnikov, Beyer,
/// "SigLIP", ICCV 2023; they start from s = log 10, b = -10.
template <Floating T, class D>
Tensor<T, D> siglip_loss(const Tensor<T, D>& image, const Tensor<T, D>& text, const Tensor<T, D>& log_scale,
                         const Tensor<T, D>& bias, Where at = Where::current()) {
  detail::check_views("siglip_loss", image, text, at);
  const int64_t N = image.shape()[0];
  const auto cosine = matmul(detail::unit_rows(image, at), transpose(detail::unit_rows(text, at), 0, 1, at), at);
  const auto logits =
      add(mul(cosine, exp(gradus::reshape(log_scale, Shape{}, at), at), at), gradus::reshape(bias, Shape{}, at), at);
  const auto signed_ = where(detail::identity_mask<D>(N, at), neg(logits, at), logits, at);
  return mul(sum(softplus(signed_, 1, at), {}, false, at), 1 / static_cast<double>(N), at);
}

namespace detail {
template <class T, class D>
Tensor<T, D> off_diagonal_squares(const Tensor<T, D>& m, Where at) {
  return sub(sum(square(m, at), {}, false, at), sum(square(diagonal(m, 0, at), at), {}, false, at), at);
}
}  // namespace detail

/// sum_i (1 - c_ii)^2 + lambda sum_{i != j} c_ij^2, c = z1^T z2 / N of features standardised over the batch (biased variance +
/// 1e-5). Zbontar, Jing, Misra, LeCun, Deny, "Barlow twins", ICML 2021, eq. 1.
template <Floating T, class D>
Tensor<T, D> barlow_twins_loss(const Tensor<T, D>& z1, const Tensor<T, D>& z2, double lambda = 5e-3,
                               Where at = Where::current()) {
  detail::check_views("barlow_twins_loss", z1, z2, at);
  const auto standard = [&](const Tensor<T, D>& z) {
    return mul(sub(z, mean(z, {0}, true, at), at), rsqrt(add(var(z, {0}, 0, true, at), 1e-5, at), at), at);
  };
  const auto c = mul(matmul(transpose(standard(z1), 0, 1, at), standard(z2), at), 1 / static_cast<double>(z1.shape()[0]), at);
  const auto on = sum(square(sub(1.0, diagonal(c, 0, at), at), at), {}, false, at);
  return add(on, mul(detail::off_diagonal_squares(c, at), lambda, at), at);
}

struct VicregOptions {
  double invariance = 25, variance = 25, covariance = 1;
  double target = 1, eps = 1e-4;  ///< the deviation that is asked for
};
/// invariance mse(z1, z2) + variance mean_j max(0, target - sqrt(Var z_j + eps)) (the mean of both views' in the authors' code,
/// half of each)
/// + covariance sum_{i != j} Cov_ij^2 / C (of both). Bardes, Ponce, LeCun, ICLR 2022, eq. 1 to 6.
template <Floating T, class D>
Tensor<T, D> vicreg_loss(const Tensor<T, D>& z1, const Tensor<T, D>& z2, const VicregOptions& o = {},
                         Where at = Where::current()) {
  detail::check_views("vicreg_loss", z1, z2, at);
  if (z1.shape()[0] < 2) fail("vicreg_loss", "no variance", {{"z1", describe(z1)}}, "N >= 2", at);
  auto loss = mul(mean(square(sub(z1, z2, at), at), {}, false, at), o.invariance, at);
  for (const auto& z : {z1, z2}) {
    const auto centred = sub(z, mean(z, {0}, true, at), at);
    const auto deviation = sqrt(add(var(z, {0}, 1, false, at), o.eps, at), at);
    loss = add(loss, mul(mean(relu(sub(o.target, deviation, at), at), {}, false, at), o.variance / 2, at), at);
    const auto cov = mul(matmul(transpose(centred, 0, 1, at), centred, at), 1 / static_cast<double>(z.shape()[0] - 1), at);
    loss = add(loss, mul(detail::off_diagonal_squares(cov, at), o.covariance / static_cast<double>(z.shape()[1]), at), at);
  }
  return loss;
}
/// 2 - 2 cos(prediction, target), the mean over rows; no gradient reaches the target (the paper's stop-gradient: it comes from
/// the slow network). Grill et al., "BYOL", NeurIPS 2020, eq. 2; add both orders of the views.
template <Floating T, class D>
Tensor<T, D> byol_loss(const Tensor<T, D>& prediction, const Tensor<T, D>& target, Where at = Where::current()) {
  detail::check_views("byol_loss", prediction, target, at);
  const auto cosine = sum(mul(detail::unit_rows(prediction, at), detail::unit_rows(target.detach(), at), at), {1}, false, at);
  return mean(detail::affine(cosine, -2, 2, at), {}, false, at);
}
/// -sum softmax((teacher - centre) / T_t) log softmax(student / T_s), the mean over rows [N, K], centre [K]; no gradient
/// reaches teacher and centre. Caron et al., "DINO", ICCV 2021, algorithm 1.
template <Floating T, class D>
Tensor<T, D> dino_loss(const Tensor<T, D>& student, const Tensor<T, D>& teacher, const Tensor<T, D>& centre,
                       double student_temperature = 0.1, double teacher_temperature = 0.04, Where at = Where::current()) {
  detail::check_views("dino_loss", student, teacher, at);
  const auto q = no_grad([&] { return softmax(mul(sub(teacher.detach(), centre, at), 1 / teacher_temperature, at), -1, at); });
  const auto logp = log_softmax(mul(student, 1 / student_temperature, at), -1, at);
  return neg(mean(sum(mul(q, logp, at), {-1}, false, at), {}, false, at), at);
}
/// The centre after a batch: m centre + (1 - m) mean over rows.
template <Floating T, class D>
Tensor<T, D> dino_centre(const Tensor<T, D>& centre, const Tensor<T, D>& teacher, double m = 0.9, Where at = Where::current()) {
  return no_grad([&] { return add(mul(centre, m, at), mul(mean(teacher, {0}, false, at), 1 - m, at), at); });
}
/// |prediction - target|^p, the mean over all elements: predictions of a context network for the embeddings [..., C] of a slow
/// target network, which get no gradient. p = 2: Assran et al., "I-JEPA", CVPR 2023; p = 1: Bardes et al., "V-JEPA", 2024.
template <Floating T, class D>
Tensor<T, D> jepa_loss(const Tensor<T, D>& prediction, const Tensor<T, D>& target, int p = 2, Where at = Where::current()) {
  if (!(prediction.shape() == target.shape()) || (p != 1 && p != 2))
    fail("jepa_loss", "the arguments do not match",
         {{"prediction", describe(prediction)}, {"target", describe(target)}, {"p", std::to_string(p)}},
         "equal shapes, p 1 or 2", at);
  const auto d = sub(prediction, target.detach(), at);
  return mean(p == 1 ? abs(d, at) : square(d, at), {}, false, at);
}

}  // namespace gradus
