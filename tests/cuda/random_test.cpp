// Random laws and dropout: masks, integers and orders are the host's bit for bit, real numbers to rounding.
#include <gradus.hpp>

#include "support/cuda.hpp"

using namespace gradus;
using check::List;

namespace {
/// The same draw on both devices.
template <class F> auto draws(F f) {
  manual_seed(7);
  auto host = f(Cpu{});
  manual_seed(7);
  return std::make_pair(f(Cuda{}), host);
}
template <class F> std::string differs(F f, double rtol) {
  const auto [device, host] = draws(f);
  return check::distant(device, host, rtol, rtol);
}
}  // namespace

TEST_CASE("masks and integers are exact") {
  for (const int64_t n : {0, 1, 3, 4, 1001}) {
    INFO(n);
    CHECK(differs([n]<class D>(D) { return bernoulli<float, D>({n}, 0.3); }, 0) == "");
    CHECK(differs([n]<class D>(D) { return bernoulli<bool, D>({n}, 0.7); }, 0) == "");
    CHECK(differs([n]<class D>(D) { return randint<D>(-5, 1000000007, {n}); }, 0) == "");
    CHECK(differs([n]<class D>(D) { return rand<float, D>({n}); }, 0) == "");
    CHECK(differs([n]<class D>(D) { return rand<double, D>({n}); }, 0) == "");
  }
  CHECK(differs([]<class D>(D) { return bernoulli(full<float, D>({500}, 0.25)); }, 0) == "");
  CHECK(differs([]<class D>(D) { return rand<bf16, D>({77}); }, 0) == "");
}

TEST_CASE("orders are exact") {
  for (const int64_t n : {0, 1, 2, 1000}) CHECK(differs([n]<class D>(D) { return randperm<D>(n); }, 0) == "");
  const auto w = check::uniform<float>({5, 40}, 0, 1);
  CHECK(differs([&]<class D>(D) { return multinomial(w.to<D>(), 9, false); }, 0) == "");
  CHECK(differs([&]<class D>(D) { return multinomial(w.to<D>(), 300, true); }, 0) == "");
  const auto sparse = Tensor<double>{{0, 1, 0, 3}, {2, 0, 0, 0}};
  CHECK(differs([&]<class D>(D) { return multinomial(sparse.to<D>(), 50, true); }, 0) == "");
}

TEST_CASE("continuous laws agree to rounding") {
  CHECK(differs([]<class D>(D) { return randn<float, D>({1001}); }, 1e-5) == "");
  CHECK(differs([]<class D>(D) { return randn<double, D>({1001}); }, 1e-13) == "");
  CHECK(differs([]<class D>(D) { return exponential<float, D>({1001}, 2); }, 1e-5) == "");
  CHECK(differs([]<class D>(D) { return gumbel<double, D>({1001}); }, 1e-12) == "");
  CHECK(differs([]<class D>(D) { return truncated_normal<float, D>({333}, 1, 2, -1, 2); }, 1e-5) == "");
  CHECK(differs([]<class D>(D) { return gamma(full<double, D>({333}, 0.7)); }, 1e-11) == "");
}

TEST_CASE("dropout: the host's mask in every kernel, also in backward") {
  const auto x = check::uniform<float>({33, 31});
  for (const auto& variant : kernel_variants("dropout")) {
    const KernelScope scope("dropout", variant);
    CHECK(differs([&]<class D>(D) { return dropout(x.to<D>(), 0.4); }, 0) == "");
    CHECK(differs([&]<class D>(D) { return dropout(x.to<D>().template to<bf16>(), 0.4); }, 0) == "");
    CHECK(differs([&]<class D>(D) { return dropout(x.to<D>().reshape({1023})(slice(1, 1000)), 0.9); }, 0) == "");
  }
  CHECK(check::on_both(
            [](const auto& v) {
              return dropout(v[0] * v[0], 0.5, RandomStream{3, 4});
            },
            List{check::uniform({41})}) == "");
  CHECK(check::unequal(dropout(x.to<Cuda>(), 1.0), zeros_like(x)) == "");
}
