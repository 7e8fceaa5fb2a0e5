// Images as tokens and back.          [B, C, H p, W q] <-> [B, H W, p q C] or, of channels first, [B, H W, C p q]
#pragma once
#include <gradus/ops/shape.hpp>
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

/// x outside rows y0 ... y1 - 1 and columns x0 ... x1 - 1 of the last two dimensions, source inside: pictures or feature maps [B, C, H, W]
/// of one shape. Values are moved, not multiplied; dx is 0 inside and dsource 0 outside. Derivatives of any order.
template <class T, class D>
Tensor<T, D> paste_box(const Tensor<T, D>& x, const Tensor<T, D>& source, int64_t y0, int64_t y1, int64_t x0, int64_t x1,
                       Where at = Where::current()) {
  const int r = x.rank();
  if (r < 2 || !(x.shape() == source.shape()) || y0 < 0 || y1 < y0 || x0 < 0 || x1 < x0 || y1 > x.shape()[r - 2] || x1 > x.shape()[r - 1])
    fail("paste_box(x, source)", "no such box",
         {{"x", describe(x)},
          {"source", describe(source)},
          {"rows", std::to_string(y0) + " to " + std::to_string(y1)},
          {"columns", std::to_string(x0) + " to " + std::to_string(x1)}},
         "two tensors of one shape [..., H, W], 0 <= y0 <= y1 <= H and 0 <= x0 <= x1 <= W", at);
  if (y0 == y1 || x0 == x1) return x;
  const auto part = [&](const Tensor<T, D>& t, int dim, int64_t begin, int64_t end, std::vector<Tensor<T, D>>& list) {
    if (begin < end) list.push_back(narrow(t, dim, begin, end - begin, 1, at));
  };
  std::vector<Tensor<T, D>> rows, middle;
  const auto band = narrow(x, r - 2, y0, y1 - y0, 1, at), other = narrow(source, r - 2, y0, y1 - y0, 1, at);
  part(band, r - 1, 0, x0, middle), part(other, r - 1, x0, x1, middle), part(band, r - 1, x1, x.shape()[r - 1], middle);
  part(x, r - 2, 0, y0, rows), rows.push_back(cat(middle, r - 1, at)), part(x, r - 2, y1, x.shape()[r - 2], rows);
  return cat(rows, r - 2, at);
}

}  // namespace gradus
