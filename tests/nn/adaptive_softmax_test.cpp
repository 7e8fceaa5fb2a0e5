// Adaptive softmax; tests/recorded compares it with PyTorch.
#include <gradus/nn/adaptive_softmax.hpp>

#include "support/check.hpp"

using namespace gradus;

TEST_CASE("the classes' probabilities add up to 1, in both ways of asking") {
  manual_seed(1);
  nn::AdaptiveLogSoftmax<double> m(8, 20, {4, 10});
  const auto x = check::uniform({6, 8});
  const auto all_classes = m.log_prob(x);
  CHECK(check::difference(sum(exp(all_classes), {-1}), ones<double>({6})) == "");
  const Tensor<int64_t> target{0, 3, 4, 9, 10, 19};
  CHECK(check::difference(m.forward(x, target), squeeze(gather(all_classes, 1, unsqueeze(target, 1)), 1)) == "");
  CHECK(m.predict(x).to_vector() == argmax(all_classes, 1).to_vector());
  CHECK(nn::parameter_count(m) == 8 * 6 + 8 * 2 + 2 * 6 + 8 * 1 + 1 * 10);
  check::gradients([&](const Tensor<double>& v) { return m.forward(v, target); }, x);
  CHECK(check::contains(check::error_of([&] { m.forward(x, Tensor<int64_t>{0, 1, 2, 3, 4, 20}); }), "0 ... 19"));
  CHECK(check::contains(check::error_of([] { nn::AdaptiveLogSoftmax<double>(8, 20, {10, 4}); }), "cutoffs that rise"));
}
