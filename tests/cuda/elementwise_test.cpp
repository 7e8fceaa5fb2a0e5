// Element-wise kernels: every formula against the host, in every regime of loop; packed against reference, bit for bit.
#include <gradus.hpp>

#include "support/cuda.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::on_both;

namespace {

/// Every way an operand can lie in memory: neighbours, transposed, a row or a column that is repeated, every other element, an
/// odd offset that no 16-byte access may use, one element, none.
template <class D> std::vector<Tensor<float, D>> layouts(const Tensor<float>& values) {      // values: [8, 12]
  const auto x = values.to<D>();
  return {x,
          x.t().contiguous().t(),
          expand(x(slice(0, 1), all), {8, 12}),
          expand(x(all, slice(0, 1)), {8, 12}),
          x(all, slice(0, 12, 2)),
          x(all, slice(1, 12)),
          x(slice(3, 4), slice(5, 6)),
          x(slice(0, 0), all),
          x.reshape({96})(slice(1, 94))};
}

}  // namespace

TEST_CASE("formulas of one operand") {
  const auto x = check::uniform({37}, 0.1, 0.9);
#define FORMULA(name) CHECK(on_both([](const auto& v) { return name(v[0]); }, List{x}) == "")
  FORMULA(neg);
  FORMULA(abs);
  FORMULA(exp);
  FORMULA(exp2);
  FORMULA(expm1);
  FORMULA(log);
  FORMULA(log2);
  FORMULA(log10);
  FORMULA(log1p);
  FORMULA(sqrt);
  FORMULA(rsqrt);
  FORMULA(square);
  FORMULA(reciprocal);
  FORMULA(sin);
  FORMULA(cos);
  FORMULA(tan);
  FORMULA(asin);
  FORMULA(acos);
  FORMULA(atan);
  FORMULA(sinh);
  FORMULA(cosh);
  FORMULA(tanh);
  FORMULA(asinh);
  FORMULA(atanh);
  FORMULA(erf);
  FORMULA(erfc);
  FORMULA(erfinv);
  FORMULA(lgamma);
  FORMULA(digamma);
  FORMULA(sigmoid);
  FORMULA(log_sigmoid);
  FORMULA(logit);
  FORMULA(softplus);
  FORMULA(relu);
  FORMULA(leaky_relu);
  FORMULA(elu); FORMULA(gelu); FORMULA(silu); FORMULA(mish); FORMULA(softsign);
#undef FORMULA
  CHECK(on_both([](const auto& v) { return acosh(v[0] + 1); }, List{x}) == "");
  CHECK(on_both([](const auto& v) { return clamp(v[0], 0.3, 0.6); }, List{x}) == "");
  CHECK(on_both([](const auto& v) { return pow(v[0], 2.5) * 3 - 1; }, List{x}) == "");
  for (const auto f :
       {+[](const Tensor<double, Cuda>& v) { return floor(v); }, +[](const Tensor<double, Cuda>& v) { return round(v); }})
    CHECK_FALSE(f(x.to<Cuda>() * 10).requires_grad());
  CHECK(check::unequal(floor(x.to<Cuda>() * 10), floor(x * 10)) == "");
  CHECK(check::unequal(sign(x.to<Cuda>() - 0.5), sign(x - 0.5)) == "");
}

TEST_CASE("formulas of two operands") {
  const auto a = check::uniform({5, 7}, 0.5, 2), b = check::uniform({5, 7}, 0.5, 2, 2);
  const List both{a, b};
  CHECK(on_both([](const auto& v) { return v[0] + v[1]; }, both) == "");
  CHECK(on_both([](const auto& v) { return v[0] - v[1]; }, both) == "");
  CHECK(on_both([](const auto& v) { return v[0] * v[1]; }, both) == "");
  CHECK(on_both([](const auto& v) { return v[0] / v[1]; }, both) == "");
  CHECK(on_both([](const auto& v) { return pow(v[0], v[1]); }, both) == "");
  CHECK(on_both([](const auto& v) { return maximum(v[0], v[1]); }, both) == "");
  CHECK(on_both([](const auto& v) { return minimum(v[0], v[1]); }, both) == "");
  CHECK(on_both([](const auto& v) { return atan2(v[0], v[1]); }, both) == "");
  CHECK(on_both([](const auto& v) { return hypot(v[0], v[1]); }, both) == "");
  CHECK(on_both([](const auto& v) { return where(v[0] > v[1], v[0], v[1] * 2); }, both) == "");
  CHECK(check::unequal(fmod(a.to<Cuda>(), b.to<Cuda>()), fmod(a, b)) == "");
}

TEST_CASE("a loop in every layout, packed and reference") {
  const auto values = check::uniform<float>({8, 12}), others = check::uniform<float>({8, 12}, -1, 1, 2);
  const auto host = layouts<Cpu>(values), host2 = layouts<Cpu>(others);
  for (const auto& variant : kernel_variants("pointwise")) {
    const KernelScope scope("pointwise", variant);
    const auto device = layouts<Cuda>(values), device2 = layouts<Cuda>(others);
    for (std::size_t i = 0; i < host.size(); ++i) {
      INFO("layout " << i << ", " << variant);
      CHECK(check::unequal(device[i] * 2, host[i] * 2) == "");
      CHECK(check::unequal(device[i] + device2[i], host[i] + host2[i]) == "");
      CHECK(check::unequal(where(device[i] > device2[i], device[i], device2[i]),
                           where(host[i] > host2[i], host[i], host2[i])) == "");
      CHECK(check::unequal(device[i].to<double>(), host[i].to<double>()) == "");
      CHECK(check::unequal(device[i].to<bf16>(), host[i].to<bf16>()) == "");
      CHECK(check::unequal(clone(device[i]), clone(host[i])) == "");
    }
    CHECK(check::unequal(device[0] + device[0](slice(0, 1), all), host[0] + host[0](slice(0, 1), all)) == "");
    auto y = device[0].clone();
    auto z = host[0].clone();
    y(all, slice(0, 12, 3)) = -1.0, z(all, slice(0, 12, 3)) = -1.0;
    y += device2[0], z += host2[0];
    CHECK(check::unequal(y, z) == "");
  }
}

TEST_CASE("every dtype converts to every other") {
  const auto x = check::uniform<float>({67}, 0, 100);
  const auto all_of = [&]<class T>(T) {
    const auto h = x.to<T>();
    const auto d = h.template to<Cuda>();
    CHECK(check::unequal(d.template to<float>(), h.template to<float>()) == "");
    CHECK(check::unequal(d.template to<double>(), h.template to<double>()) == "");
    CHECK(check::unequal(d.template to<bf16>(), h.template to<bf16>()) == "");
    CHECK(check::unequal(d.template to<half>(), h.template to<half>()) == "");
    CHECK(check::unequal(d.template to<int64_t>(), h.template to<int64_t>()) == "");
    CHECK(check::unequal(d.template to<int32_t>(), h.template to<int32_t>()) == "");
    CHECK(check::unequal(d.template to<uint8_t>(), h.template to<uint8_t>()) == "");
    CHECK(check::unequal(d.template to<bool>(), h.template to<bool>()) == "");
  };
  all_of(0.0f), all_of(0.0), all_of(bf16(0.0f)), all_of(half(0.0f)), all_of(int64_t{0}), all_of(int32_t{0}), all_of(uint8_t{0}),
      all_of(false);
}

TEST_CASE("arithmetic of bf16 and half is the host's") {
  const auto a = check::uniform<float>({67}), b = check::uniform<float>({67}, 0.5, 1, 2);
  const auto all_of = [&]<class T>(T) {
    const auto ha = a.to<T>(), hb = b.to<T>();
    const auto da = ha.template to<Cuda>(), db = hb.template to<Cuda>();
    CHECK(check::unequal(da * db + da, ha * hb + ha) == "");
    CHECK(check::unequal(da / db, ha / hb) == "");
    CHECK(check::unequal(da < db, ha < hb) == "");
    CHECK(check::distant(tanh(da), tanh(ha), 8e-3, 0) == "");
  };
  all_of(bf16(0.0f)), all_of(half(0.0f));
}

TEST_CASE("integers divide as on the host") {
  const auto a = from_vector<int64_t>({7, -7, 7, -7, 5, 0}), b = from_vector<int64_t>({2, 2, -2, -2, 0, 3});
  const auto da = a.to<Cuda>(), db = b.to<Cuda>();
  CHECK(check::unequal(da / db, a / b) == "");
  CHECK(check::unequal(floor_divide(da, db), floor_divide(a, b)) == "");
  CHECK(check::unequal(remainder(da, db), remainder(a, b)) == "");
  CHECK(check::unequal(da == db, a == b) == "");
  CHECK(check::unequal(logical_and(da > 0, db > 0), logical_and(a > 0, b > 0)) == "");
}

TEST_CASE("more elements than one wave of blocks") {
  const auto x = check::uniform<float>({300001});  // 1172 blocks of the reference, 293 of the packed kernel, with a tail of 1
  CHECK(check::unequal(x.to<Cuda>() * 3 - 1, x * 3 - 1) == "");
}
