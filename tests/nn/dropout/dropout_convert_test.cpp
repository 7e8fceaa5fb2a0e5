// Layers with tensors as layers of another element type or device: values, rates and switches go along.
#include <gradus/nn/dropout.hpp>

#include "support/check.hpp"

using namespace gradus;

namespace {
template <class M>
M changed(M layer) {
  layer.training = false, layer.monte_carlo = true;
  return layer;
}
}  // namespace

TEST_CASE("layers of floats become layers of doubles") {
  manual_seed(1);
  const auto connect = changed(nn::DropConnect<float>(3, 2, 0.3));
  const nn::DropConnect<double> d(connect);
  CHECK((d.p == connect.p && !d.training && d.monte_carlo && d.weight.requires_grad()));
  CHECK(check::difference(d.weight, cast<double>(connect.weight.detach())) == "");
  const auto nested = changed(nn::NestedDropout<float>::tokens(5, 4, nn::PrefixLaw::gaussian(2)));
  const nn::NestedDropout<double> n(nested);
  CHECK((n.N == 5 && n.axis == 1 && n.per_sample && !n.training));
  CHECK(check::difference(n.fill, cast<double>(nested.fill.detach())) == "");
  const nn::ConcreteDropout<double> c(changed(nn::ConcreteDropout<float>::temporal()));
  CHECK((!c.rescale && c.monte_carlo && c.logit.defined()));
  const nn::SparseVariationalLinear<double> s(changed(nn::SparseVariationalLinear<float>(3, 2)));
  CHECK((!s.training && s.log_sigma2.shape() == Shape{2, 3}));
  const nn::VariationalGaussianDropout<double> v(changed(nn::VariationalGaussianDropout<float>(0.3, 4)));
  CHECK((!v.training && v.log_alpha.shape() == Shape{4}));
  const nn::ConditionDropout<double> condition(changed(nn::ConditionDropout<float>({2, 3}, 0.4)));
  CHECK((condition.p == 0.4 && condition.null.shape() == Shape{2, 3} && condition.null.requires_grad()));
  auto mask = changed(nn::MaskDropout<float>(0.2));
  mask(ones({4}));
  const nn::MaskDropout<double> m(mask);
  CHECK(check::difference(m.mask, cast<double>(mask.mask)) == "");
  auto neurons = changed(nn::SensitiveNeuronDropout<float>(0.5, 2));
  neurons.record(ones({1, 4})), neurons.record(zeros({1, 4}));
  neurons.select();
  CHECK(check::difference(nn::SensitiveNeuronDropout<double>(neurons).mask, cast<double>(neurons.mask)) == "");
  CHECK(nn::to<Cpu>(connect).weight.shape() == Shape{2, 3});
}
