// Losses of overlap for segmentation: probabilities p and targets g [N, C, spatial...] of one shape, g 0 and 1 (or soft).
#pragma once
#include <gradus/ops/create.hpp>
#include <gradus/ops/losses/cross_entropy.hpp>
#include <gradus/ops/scan.hpp>
#include <gradus/ops/sort.hpp>

namespace gradus {

struct OverlapOptions {
  double smooth = 1e-5;                   ///< added to numerator and denominator: empty prediction and empty truth give 0
  bool over_batch = false;                ///< one overlap a class for the whole batch, not one a sample and class
  Reduction reduction = Reduction::mean;  ///< over the overlaps: none gives [N, C], or [C]
};
namespace detail {
template <class T, class D>
struct Overlap {
  Tensor<T, D> both, p, g;
};
template <class T, class D>
Overlap<T, D> overlap(const char* op, const Tensor<T, D>& p, const Tensor<T, D>& g, bool over_batch, Where at) {
  if (p.rank() < 3 || !(p.shape() == g.shape()))
    fail(op, "shapes do not match", {{"p", describe(p)}, {"g", describe(g)}}, "p and g [N, C, spatial...]", at);
  Shape dims;
  for (int i = 2; i < p.rank(); ++i) dims.push_back(i);
  if (over_batch) dims.push_back(0);
  return {sum(mul(p, g, at), dims, false, at), sum(p, dims, false, at), sum(g, dims, false, at)};
}
}  // namespace detail

/// 1 - (2 sum p g + s) / (sum p + sum g + s). Milletari, Navab, Ahmadi, "V-Net", 3DV 2016 (they square p and g below; Sudre et
/// al. 2017 do not).
template <Floating T, class D>
Tensor<T, D> dice_loss(const Tensor<T, D>& p, const Tensor<T, D>& g, const OverlapOptions& o = {},
                       Where at = Where::current()) {
  const auto v = detail::overlap("dice_loss", p, g, o.over_batch, at);
  const auto dice = div(detail::affine(v.both, 2, o.smooth, at), add(add(v.p, v.g, at), o.smooth, at), at);
  return detail::reduce_loss(sub(1.0, dice, at), o.reduction, at);
}
/// 1 - (sum p g + s) / (sum p + sum g - sum p g + s). Rahman & Wang 2016.
template <Floating T, class D>
Tensor<T, D> jaccard_loss(const Tensor<T, D>& p, const Tensor<T, D>& g, const OverlapOptions& o = {},
                          Where at = Where::current()) {
  const auto v = detail::overlap("jaccard_loss", p, g, o.over_batch, at);
  const auto iou = div(add(v.both, o.smooth, at), add(sub(add(v.p, v.g, at), v.both, at), o.smooth, at), at);
  return detail::reduce_loss(sub(1.0, iou, at), o.reduction, at);
}
/// (1 - (TP + s) / (TP + alpha FP + beta FN + s))^gamma: beta > alpha asks for recall; 1/2 and 1/2 is Dice. Salehi, Erdogmus,
/// Gholipour, MLMI 2017; gamma = 3/4: Abraham & Khan, ISBI 2019 (focal Tversky).
template <Floating T, class D>
Tensor<T, D> tversky_loss(const Tensor<T, D>& p, const Tensor<T, D>& g, double alpha = 0.3, double beta = 0.7, double gamma = 1,
                          const OverlapOptions& o = {}, Where at = Where::current()) {
  const auto v = detail::overlap("tversky_loss", p, g, o.over_batch, at);
  const auto wrong = add(mul(sub(v.p, v.both, at), alpha, at), mul(sub(v.g, v.both, at), beta, at), at);
  const auto index = div(add(v.both, o.smooth, at), add(add(v.both, wrong, at), o.smooth, at), at);
  const auto loss = sub(1.0, index, at);
  return detail::reduce_loss(gamma == 1 ? loss : pow(loss, gamma, at), o.reduction, at);
}
/// For boundary_loss: of a mask [N, spatial...], outside it the Euclidean distance to the nearest pixel inside, inside it 1
/// minus the distance to the nearest pixel outside, 0 everywhere where a sample's mask is empty. Exact, an axis at a time:
/// d^2(i) = min_j (d^2(j) + (i - j)^2), which holds extent times the pixels in memory.
template <class T = float, class D>
Tensor<T, D> signed_distance_map(const Tensor<bool, D>& mask, Where at = Where::current()) {
  if (mask.rank() < 2) fail("signed_distance_map", "no pixels", {{"mask", describe(mask)}}, "mask [N, spatial...]", at);
  const NoGrad guard;
  constexpr double far = 1e9;
  const auto distance_to = [&](const Tensor<bool, D>& set) {
    auto d = cast<T>(where(set, full<float, D>(mask.shape(), 0, at), far, at), at);
    for (int axis = 1; axis < mask.rank(); ++axis) {
      const int64_t n = mask.shape()[axis];
      const auto i = arange<T, D>(static_cast<double>(n), at);
      const auto apart = square(sub(gradus::reshape(i, {n, 1}, at), gradus::reshape(i, {1, n}, at), at), at);
      d = transpose(amin(add(unsqueeze(transpose(d, axis, -1, at), -2, at), apart, at), {-1}, false, at), axis, -1, at);
    }
    return sqrt(d, at);
  };
  const auto outside = logical_not(mask, at);
  Shape dims;
  for (int i = 1; i < mask.rank(); ++i) dims.push_back(i);
  const auto phi = where(mask, sub(1.0, distance_to(outside), at), distance_to(mask), at);
  return where(logical_and(any(mask, dims, true, at), any(outside, dims, true, at), at), phi, 0.0, at);
}
/// The mean of p phi over all elements, phi the signed distance to the true boundary (negative inside). Kervadec et al., MIDL
/// 2019, eq. 5. It can be negative; add it to a region loss with a rising weight.
template <Floating T, class D>
Tensor<T, D> boundary_loss(const Tensor<T, D>& p, const Tensor<T, D>& phi, Reduction r = Reduction::mean,
                           Where at = Where::current()) {
  detail::check_same("boundary_loss", "p", p, "phi", phi, at);
  return detail::reduce_loss(mul(p, phi, at), r, at);
}

namespace detail {
/// The Lovasz extension of the Jaccard loss at errors [..., P] for truths 0 and 1 [..., P]: errors sorted down, weighed by the
/// increase of 1 - intersection / union when their pixel joins the mispredicted set. Berman et al. 2018, eq. 8 and algorithm 1.
template <class T, class D>
Tensor<T, D> lovasz_extension(const Tensor<T, D>& errors, const Tensor<T, D>& truth, Where at) {
  const auto order = no_grad([&] { return argsort(errors.detach(), -1, true, at); });
  const auto weight = no_grad([&] {
    const auto t = gather(truth, -1, order, at), total = sum(t, {-1}, true, at);
    const auto intersection = sub(total, cumsum(t, -1, false, at), at);
    const auto united = add(total, cumsum(sub(1.0, t, at), -1, false, at), at);
    const auto jaccard = sub(1.0, div(intersection, united, at), at);
    const int last = jaccard.rank() - 1;
    const int64_t P = jaccard.shape()[last];
    const auto before = cat(
        std::vector<Tensor<T, D>>{zeros_like(narrow(jaccard, last, 0, 1, 1, at), at), narrow(jaccard, last, 0, P - 1, 1, at)},
        last, at);
    return sub(jaccard, before, at);
  });
  return sum(mul(gather(errors, -1, order, at), weight, at), {-1}, false, at);
}
}  // namespace detail

/// The Lovasz extension at hinge errors max(0, 1 - t x), t = 2 g - 1: logits x and truths g [N, P...] (one class). Berman,
/// Triki, Blaschko, CVPR 2018, section 3.1. One value a sample, or, with per_image off, one for the batch.
template <Floating T, class D>
Tensor<T, D> lovasz_hinge_loss(const Tensor<T, D>& x, const Tensor<T, D>& g, bool per_image = true,
                               Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("lovasz_hinge_loss", "x", x, "g", g, at);
  if (x.rank() < 2 || x.numel() == 0) fail("lovasz_hinge_loss", "no pixels", {{"x", describe(x)}}, "x [N, pixels...]", at);
  const Shape rows{per_image ? x.shape()[0] : 1, -1};
  const auto error = relu(sub(1.0, mul(detail::affine(g, 2, -1, at), x, at), at), at);
  return detail::reduce_loss(detail::lovasz_extension(gradus::reshape(error, rows, at), gradus::reshape(g, rows, at), at), r,
                             at);
}
/// The mean over classes of the extension at errors |[y = c] - p_c|: p [N, C, spatial...] probabilities, y [N, spatial...].
/// Classes that are nowhere in y do not count (`present_only`). The same paper, section 3.2, over the batch as one image.
template <Floating T, class D>
Tensor<T, D> lovasz_softmax_loss(const Tensor<T, D>& p, const Tensor<int64_t, D>& y, bool present_only = true,
                                 Where at = Where::current()) {
  Shape rows = p.shape();
  if (rows.n >= 2) rows.erase(1);
  if (p.rank() < 2 || !(y.shape() == rows) || p.numel() == 0)
    fail("lovasz_softmax_loss", "shapes do not match", {{"p", describe(p)}, {"y", describe(y)}},
         "p [N, C, spatial...], y [N, spatial...]", at);
  const int64_t C = p.shape()[1];
  const auto flat = gradus::reshape(movedim(p, 1, 0, at), {C, -1}, at);  // [C, pixels]
  const auto truth = contiguous(transpose(one_hot<T>(gradus::reshape(y, {-1}, at), C, at), 0, 1, at), at);
  const auto per = detail::lovasz_extension(abs(sub(truth, flat, at), at), truth, at);  // [C]
  if (!present_only) return mean(per, {}, false, at);
  const auto present = cast<T>(greater(sum(truth, {1}, false, at), 0, at), at);
  return div(sum(mul(per, present, at), {}, false, at), sum(present, {}, false, at), at);
}

}  // namespace gradus
