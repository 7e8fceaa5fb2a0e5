// Images as tokens and back.          [B, C, H p, W q] <-> [B, H W, p q C] or, of channels first, [B, H W, C p q]
#pragma once
#include <gradus/ops/view.hpp>

namespace gradus {

enum class PatchOrder { channels_last, channels_first };  ///< within a token: (row, column, channel), or (channel, row, column)

/// Tokens of p x q pixels in row-major order. Dosovitskiy et al. 2020.
template <class T, class D>
Tensor<T, D> patchify(const Tensor<T, D>& x, int64_t p, int64_t q, PatchOrder order = PatchOrder::channels_last,
                      Where at = Where::current()) {
  if (x.rank() != 4 || p < 1 || q < 1 || x.shape()[2] % p != 0 || x.shape()[3] % q != 0)
    fail("patchify", "the image does not divide into patches",
         {{"x", describe(x)}, {"p", std::to_string(p)}, {"q", std::to_string(q)}}, "x [B, C, H p, W q]", at);
  const int64_t B = x.shape()[0], C = x.shape()[1], H = x.shape()[2] / p, W = x.shape()[3] / q;
  const auto cut = gradus::reshape(x, {B, C, H, p, W, q}, at);
  const Shape dims = order == PatchOrder::channels_last ? Shape{0, 2, 4, 3, 5, 1} : Shape{0, 2, 4, 1, 3, 5};
  return gradus::reshape(permute(cut, dims, at), {B, H * W, C * p * q}, at);
}
/// The inverse: tokens [B, H W, p q C] -> [B, C, H p, W q].
template <class T, class D>
Tensor<T, D> unpatchify(const Tensor<T, D>& x, int64_t H, int64_t W, int64_t p, int64_t q,
                        PatchOrder order = PatchOrder::channels_last, Where at = Where::current()) {
  if (x.rank() != 3 || H < 1 || W < 1 || p < 1 || q < 1 || x.shape()[1] != H * W || x.shape()[2] % (p * q) != 0)
    fail("unpatchify", "the tokens do not make an image",
         {{"x", describe(x)},
          {"H, W", std::to_string(H) + ", " + std::to_string(W)},
          {"p, q", std::to_string(p) + ", " + std::to_string(q)}},
         "x [B, H W, p q C]", at);
  const int64_t B = x.shape()[0], C = x.shape()[2] / (p * q);
  if (order == PatchOrder::channels_last)
    return gradus::reshape(permute(gradus::reshape(x, {B, H, W, p, q, C}, at), {0, 5, 1, 3, 2, 4}, at), {B, C, H * p, W * q},
                           at);
  return gradus::reshape(permute(gradus::reshape(x, {B, H, W, C, p, q}, at), {0, 3, 1, 4, 2, 5}, at), {B, C, H * p, W * q}, at);
}

}  // namespace gradus
