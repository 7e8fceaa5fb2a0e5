// What the losses check; their values and gradients are in tests/recorded and tests/ops/softmax_test.cpp.
#include <gradus/ops/losses.hpp>

#include "support/check.hpp"

using gradus::Tensor;

TEST_CASE("cross_entropy names the first target that is no class") {
  const auto x = check::uniform({4, 3});
  const Tensor<int64_t> good({2, -100, 0, 1}), negative({2, -100, -1, 3}), large({3, 0, 0, 0});
  CHECK_NOTHROW(gradus::cross_entropy(x, good));
  CHECK(check::missing(check::error_of([&] { gradus::cross_entropy(x, negative); }),
                       {"cross_entropy", "not a class", "float64 cpu [4, 3]", "element 2 is -1", "[0, 3)", "-100"}) == "");
  CHECK(check::missing(check::error_of([&] { gradus::cross_entropy(x, large); }), {"element 0 is 3", "losses_test.cpp"}) == "");
}

TEST_CASE("cross_entropy leaves out the ignored index, a class or not") {
  const auto x = check::uniform({3, 4});
  gradus::CrossEntropyOptions<double, gradus::Cpu> outside, inside;
  inside.ignore_index = 2;
  const Tensor<int64_t> with_outside({1, -100, 3}), with_inside({1, 2, 3}), kept({1, 3});
  const double expected = gradus::cross_entropy(gradus::index_select(x, 0, Tensor<int64_t>({0, 2})), kept).item();
  CHECK(gradus::cross_entropy(x, with_outside, outside).item() == Approx(expected).epsilon(1e-14));
  CHECK(gradus::cross_entropy(x, with_inside, inside).item() == Approx(expected).epsilon(1e-14));
}
