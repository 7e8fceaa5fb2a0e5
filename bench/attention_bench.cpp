// Causal attention on [b, h, t, d]: the fused kernel, and the formula that holds all weights.
#include <array>

#include <gradus/ops/attention.hpp>

#include "harness.hpp"

namespace {
using namespace gradus;
using bench::Work;

Work attention(int64_t b, int64_t h, int64_t t, int64_t d, AttentionForm form, bool backward) {
  const Shape shape{b, h, t, d};
  std::vector<Tensor<float>> in{randn(shape), randn(shape), randn(shape)};
  for (auto& x : in) x.requires_grad_(backward);
  const auto dy = randn(shape);
  const double flops = 2 * static_cast<double>(b * h * t * t * d);  // two products, of which causality leaves half
  return {[=] {
            for (const auto& x : in) x.zero_grad();
            const auto y = scaled_dot_product_attention(in[0], in[1], in[2], {.causal = true, .form = form});
            if (backward) y.backward(dy);
          },
          1, backward ? 3.5 * flops : flops, 0};
}
const bool attention_cases = [] {
  for (const auto& [b, h, t, d] : std::vector<std::array<int64_t, 4>>{{4, 8, 256, 64}, {4, 8, 1024, 64}}) {
    const auto shape =
        "b=" + std::to_string(b) + ",h=" + std::to_string(h) + ",t=" + std::to_string(t) + ",d=" + std::to_string(d);
    const auto add = [&](const char* name, AttentionForm form, bool backward) {
      bench::add(name, shape, "f32", [=] { return attention(b, h, t, d, form, backward); });
    };
    add("attn.fwd", AttentionForm::flash, false), add("attn.fwdbwd", AttentionForm::flash, true);
    add("attn_composed.fwdbwd", AttentionForm::formula, true);
  }
  return true;
}();
}  // namespace
