// CKA and RSA on the device: values, first and second derivatives of the host.
#include <gradus/ops/losses/similarity.hpp>

#include "support/cuda.hpp"

using namespace gradus;
using check::List;

TEST_CASE("CKA and RSA on the device are the host's") {
  const List xy{check::uniform({9, 4}, 0.2, 1, 1), check::uniform({9, 5, 3}, 0.2, 1, 2)};
  CHECK(check::on_both([](const auto& x) { return linear_cka(x[0], x[1]); }, xy) == "");
  CHECK(check::on_both([](const auto& x) { return rsa(x[0], x[1]); }, xy) == "");
  const auto tiny = check::uniform<float>({8, 40}, -1e-30, 1e-30), y = check::uniform<float>({8, 3}, -1, 1, 3);
  CHECK(linear_cka(tiny.to<Cuda>(), y.to<Cuda>()).item() == Approx(linear_cka(tiny, y).item()).epsilon(1e-5));
}
