// Blocks of transformers: against their formulas, caches, gradients. tests/recorded has PyTorch's encoder and decoder layers.
#include <gradus/nn/blocks.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

TEST_CASE("perceptrons, residuals, norms, scales") {
  manual_seed(1);
  const auto x = check::uniform({2, 3, 4});
  nn::Mlp<double> mlp(4, 6, nn::Activation::relu_squared);
  CHECK(check::difference(mlp(x), mlp.out(relu_squared(mlp.in(x)))) == "");
  nn::GatedMlp<double> gated(4, 6);
  CHECK(check::difference(gated(x), gated.down(silu(gated.gate(x)) * gated.up(x))) == "");
  CHECK(nn::parameter_count(gated) == 3 * 4 * 6);
  nn::Residual residual(mlp);
  CHECK(check::difference(residual(x), x + mlp(x)) == "");
  nn::PreNorm pre(nn::LayerNorm<double>(4), mlp);
  CHECK(check::difference(pre(x), x + mlp(layer_norm(x))) == "");
  nn::PostNorm post(nn::LayerNorm<double>(4), mlp);
  CHECK(check::difference(post(x), layer_norm(x + mlp(x))) == "");
  nn::LayerScale<double> scale(4, 0.1);
  CHECK(check::difference(scale(x), x * 0.1) == "");
}

TEST_CASE("a Llama block is its formula, and goes through a cache") {
  manual_seed(2);
  nn::TransformerBlock<double> block(
      8, 4,
      {.hidden = 12,
       .norm = nn::NormKind::rms,
       .eps = 1e-6,
       .gated = true,
       .activation = nn::Activation::silu,
       .bias = false,
       .attention = {.kv_heads = 2, .causal = true, .rope = 2, .rope_pairs = RopePairs::adjacent}});
  CHECK(nn::parameter_count(block) == 8 * 8 + 2 * 4 * 8 + 8 * 8 + 3 * 8 * 12 + 16);
  const auto x = check::uniform({2, 5, 8});
  const auto h = x + block.attention(rms_norm(x, block.attention_norm.weight));
  CHECK(check::difference(block(x), h + block.gated[0](rms_norm(h, block.mlp_norm.weight))) == "");
  const NoGrad guard;
  nn::KVCache<double> cache(2, 2, 8, 2);
  const auto a = block(narrow(x, 1, 0, 3), {.cache = &cache}), b = block(narrow(x, 1, 3, 2), {.cache = &cache});
  CHECK(check::difference(cat(List{a, b}, 1), block(x)) == "");
}

TEST_CASE("cross-attention, layer scale, dropout, copies") {
  manual_seed(3);
  nn::TransformerBlock<double> block(4, 2, {.hidden = 4, .dropout = 0.5, .layer_scale = 0, .cross = true});
  const auto x = check::uniform({1, 3, 4}), context = check::uniform({1, 2, 4}, -1, 1, 2);
  CHECK(block.forward(x, {}, context).to_vector() != block.forward(x, {}, context).to_vector());
  nn::eval(block);
  const nn::TransformerBlock<double> copy(nn::to<Cpu>(block));
  CHECK(copy.forward(x, {}, context).to_vector() == block.forward(x, {}, context).to_vector());
  CHECK(check::missing(check::error_of([&] { block(x); }), {"TransformerBlock", "a context is missing", "blocks_test.cpp"}) ==
        "");
  // With a scale of 0 a pre-norm block is the identity.
  nn::TransformerBlock<double> scaled(4, 2, {.layer_scale = 1e-5});
  for (auto& s : scaled.scale) nn::init::constant(s.gamma, 0);
  CHECK(check::difference(scaled(x), x) == "");
  nn::TransformerBlock<double> small(2, 1, {.hidden = 2, .attention = {.causal = true}});
  check::gradients([&](const Tensor<double>& v) { return small(v); }, check::uniform({1, 2, 2}),
                   {.eps = 1e-5, .atol = 1e-5, .rtol = 1e-4});
}
