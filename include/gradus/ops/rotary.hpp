// Rotary position embedding, Su et al. 2021 (RoFormer), eq. 34: pairs of features turned by angles that grow with position.
//
//   (x_a, x_b) -> (x_a cos w - x_b sin w, x_a sin w + x_b cos w),  w = position / base^(2 i / R) for pair i of R / 2
//   pairs      (a, b) = (i, i + R/2) half-split (GPT-NeoX, Llama in Hugging Face), or (2 i, 2 i + 1) adjacent (the paper, GGUF)
//
// <rope(q, m), rope(k, n)> depends on m - n only. R <= hs: the features from R on stay as they are.
#pragma once
#include <gradus/ops/create.hpp>
#include <gradus/ops/elementwise.hpp>
#include <gradus/ops/extra.hpp>

namespace gradus {

enum class RopePairs { half, adjacent };

/// cos and sin of the angles, [positions..., R / 2].
template <class T, class D>
struct RopeTable {
  Tensor<T, D> cos, sin;
  RopePairs pairs = RopePairs::half;
};
/// The table for given positions (any shape, also fractions), R features and a base. `scale` divides the positions (Chen et al.
/// 2023, position interpolation). Angles are computed in double.
template <Floating T, class D>
RopeTable<T, D> rope_table(const Tensor<double, D>& position, int64_t R, double base = 10000, RopePairs pairs = RopePairs::half,
                           double scale = 1, Where at = Where::current()) {
  if (R < 2 || R % 2 != 0 || !(base > 0) || scale == 0)
    fail("rope_table", "no pairs to turn", {{"R", std::to_string(R)}, {"base", std::to_string(base)}},
         "R even and positive, base > 0", at);
  const NoGrad guard;
  const auto i = arange<double, D>(0, static_cast<double>(R / 2), 1, at);
  const auto frequency = exp(mul(i, -2 * std::log(base) / static_cast<double>(R), at), at);
  const auto angle = mul(unsqueeze(mul(position, 1 / scale, at), -1, at), frequency, at);
  return {cast<T>(cos(angle, at), at), cast<T>(sin(angle, at), at), pairs};
}
/// Positions first, first + 1, ... of T tokens.
template <Floating T, class D = Cpu>
RopeTable<T, D> rope_table(int64_t first, int64_t count, int64_t R, double base = 10000, RopePairs pairs = RopePairs::half,
                           double scale = 1, Where at = Where::current()) {
  return rope_table<T>(arange<double, D>(static_cast<double>(first), static_cast<double>(first + count), 1, at), R, base, pairs,
                       scale, at);
}
/// Axial table for an image of H x W tokens in row-major order: half of the pairs turn with the row, half with the column.
template <Floating T, class D = Cpu>
RopeTable<T, D> rope_table_2d(int64_t H, int64_t W, int64_t R, double base = 100, RopePairs pairs = RopePairs::half,
                              Where at = Where::current()) {
  if (R % 4 != 0)
    fail("rope_table_2d", "the pairs do not divide between rows and columns", {{"R", std::to_string(R)}}, "a multiple of 4",
         at);
  const auto row = rope_table<T, D>(0, H, R / 2, base, pairs, 1, at),
             column = rope_table<T, D>(0, W, R / 2, base, pairs, 1, at);
  const auto join = [&](const Tensor<T, D>& a, const Tensor<T, D>& b) {
    const Shape wide{H, W, R / 4};
    return gradus::reshape(
        cat(std::vector<Tensor<T, D>>{clone(expand(unsqueeze(a, 1, at), wide, at), at), clone(expand(b, wide, at), at)}, -1,
            at),
        {H * W, R / 2}, at);
  };
  return {join(row.cos, column.cos), join(row.sin, column.sin), pairs};
}

/// x [..., T, hs] turned; the table's shape [..., T, R / 2] broadcasts to x's.
template <Floating T, class D>
Tensor<T, D> rope(const Tensor<T, D>& x, const RopeTable<T, D>& table, Where at = Where::current()) {
  const int64_t half = table.cos.rank() ? table.cos.shape().back() : 0, hs = x.rank() ? x.shape().back() : 0;
  if (x.rank() < 2 || half < 1 || 2 * half > hs || (table.cos.rank() > 1 && table.cos.size(-2) != x.size(-2)))
    fail("rope", "the table does not match", {{"x", describe(x)}, {"cos", describe(table.cos)}},
         "x [..., T, hs], cos [..., T, R / 2], R <= hs", at);
  const auto turned = 2 * half == hs ? x : narrow(x, -1, 0, 2 * half, 1, at);
  Tensor<T, D> y;
  if (table.pairs == RopePairs::half) {
    const auto a = narrow(turned, -1, 0, half, 1, at), b = narrow(turned, -1, half, half, 1, at);
    y = cat(std::vector<Tensor<T, D>>{sub(mul(a, table.cos, at), mul(b, table.sin, at), at),
                                      add(mul(a, table.sin, at), mul(b, table.cos, at), at)},
            -1, at);
  } else {
    const auto a = narrow(turned, -1, 0, half, 2, at), b = narrow(turned, -1, 1, half, 2, at);
    y = gradus::reshape(stack(std::vector<Tensor<T, D>>{sub(mul(a, table.cos, at), mul(b, table.sin, at), at),
                                                        add(mul(a, table.sin, at), mul(b, table.cos, at), at)},
                              -1, at),
                        turned.shape(), at);
  }
  return 2 * half == hs ? y : cat(std::vector<Tensor<T, D>>{y, narrow(x, -1, 2 * half, hs - 2 * half, 1, at)}, -1, at);
}

}  // namespace gradus
