// Blocks with adaptive layer norm.
#include <gradus/nn/dit.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

TEST_CASE("an adaLN-zero block starts as the identity and follows its formula") {
  manual_seed(1);
  nn::DiTBlock<double> block(4, 2, 3, 6);
  nn::DiTFinal<double> last(4, 3, 5);
  const auto x = check::uniform({2, 3, 4}), c = check::uniform({2, 3}, -1, 1, 2);
  CHECK(check::difference(block(x, c), x, 0, 0) == "");
  CHECK(amax(abs(last(x, c))).item() == 0);
  nn::init::normal(block.modulation.weight, 0, 0.5), nn::init::normal(block.modulation.bias, 0, 0.5);
  const auto m = chunk(block.modulation(silu(c)), 6, -1);
  const auto part = [&](std::size_t i) { return unsqueeze(m[i], 1); };
  const auto normed = [](const Tensor<double>& v) { return layer_norm(v, Tensor<double>(), Tensor<double>(), 1e-6); };
  const auto h = x + part(2) * block.attention(normed(x) * (part(1) + 1.0) + part(0));
  CHECK(check::difference(block(x, c), h + part(5) * block.mlp(normed(h) * (part(4) + 1.0) + part(3))) == "");
  check::gradients([&](const List& v) { return block(v[0], v[1]); }, List{narrow(x, 0, 0, 1), narrow(c, 0, 0, 1)},
                   {.eps = 1e-5, .atol = 1e-5, .rtol = 1e-4});
  CHECK(check::missing(check::error_of([&] { block(x, narrow(c, 0, 0, 1)); }), {"DiTBlock", "do not match", "dit_test.cpp"}) ==
        "");
}
