// Weight norm and spectral norm.
#include <gradus/nn/conv.hpp>
#include <gradus/nn/reparametrize.hpp>
#include <gradus/ops/linalg.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

TEST_CASE("weight norm starts as the layer was, with lengths of its own") {
  manual_seed(1);
  nn::Linear<double> plain(4, 3);
  nn::WeightNorm<nn::Linear<double>> layer(plain);
  const auto x = check::uniform({2, 4});
  CHECK(check::difference(layer(x), plain(x)) == "");
  std::vector<std::string> names;
  for (const auto& [name, p] : nn::named_parameters(layer)) names.push_back(name);
  CHECK(names == std::vector<std::string>{"g", "v", "bias"});
  nn::init::constant(layer.g, 2);
  CHECK(check::difference(norm(layer.weight(), 2, {1}), full<double>({3}, 2)) == "");
  check::gradients(
      [&](const List& p) {
        auto l = layer;
        l.g = p[0], l.v = p[1];
        return l(p[2]);
      },
      List{layer.g, layer.v, x});
  CHECK(check::contains(nn::summary(layer), "WeightNorm(Linear 4 -> 3)"));
}

TEST_CASE("spectral norm divides by the largest singular value") {
  manual_seed(2);
  nn::SpectralNorm<nn::Conv1d<double>> layer(nn::Conv1d<double>(2, 5, 3), 40);
  const auto s = svd(gradus::flatten(layer.weight(), 1)).s;
  CHECK(amax(s).item() == Approx(1).epsilon(1e-6));
  nn::eval(layer);
  const auto a = layer.a.clone();
  layer.weight();
  CHECK(layer.a.to_vector() == a.to_vector());  // evaluation does not iterate
  // With a and b fixed, as the paper has them: d(v / (a^T v b)).
  check::gradients(
      [&](const Tensor<double>& v) {
        auto l = layer;
        l.v = v;
        return l.weight();
      },
      layer.v);
  CHECK(nn::state_dict(layer).size() == 4);
}
