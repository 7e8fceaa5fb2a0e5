// map() on the device runs a program made of the lambda: the same values and derivatives, branches included.
#include <gradus.hpp>

#include "support/cuda.hpp"

using namespace gradus;
using check::List;
using check::on_both;
using check::uniform;

TEST_CASE("map: values, first and second derivatives") {
  const List two{uniform({5, 7}, 0.5, 2, 1), uniform({7}, 0.5, 2, 2)};
  CHECK(
      on_both([](const auto& v) { return map([](auto a, auto b) { return a * tanh(b) + exp(-a) / (1 + b * b); }, v[0], v[1]); },
              two) == "");
  CHECK(on_both(
            [](const auto& v) {
              return map([](auto a, auto b) { return sigmoid(a) * softplus(b) - log1p(a) + erf(b) + sqrt(a) + pow(b, 2.5); },
                         v[0], v[1]);
            },
            two) == "");
  CHECK(on_both(
            [](const auto& v) {
              return map([](auto a, auto b) { return sin(a) * cos(b) + abs(a - b) + relu(b - a) + expm1(b) - log(a); }, v[0],
                         v[1]);
            },
            two) == "");
}

TEST_CASE("map: branches on values, and loops of fixed length") {
  const List x{uniform({64}, -2, 2, 1)};
  CHECK(on_both([](const auto& v) {
          return map([](auto a) {
            if (a > 1) return a * a;
            if (a <= -1) return -a;
            return a < 0 ? a * a * a : exp(a);
          }, v[0]);
        }, x) == "");
  CHECK(on_both([](const auto& v) {
          return map([](auto a) {
            auto y = a;
            for (int k = 0; k < 5; ++k) y = y - (y * y - 2) / (2 * (abs(y) + 1));
            return y;
          }, v[0]);
        }, x) == "");
}

TEST_CASE("map: layouts, and what it refuses") {
  const auto x = uniform<float>({6, 8});
  const auto f = [](auto a, auto b) { return a * 2 + b; };
  CHECK(check::distant(map(f, x.to<Cuda>().t(), x.to<Cuda>()(slice(0, 1), slice(0, 6))),
                       map(f, x.t(), x(slice(0, 1), slice(0, 6))), 1e-6, 1e-6) == "");
  CHECK(map(f, zeros<float, Cuda>({0, 3}), zeros<float, Cuda>({3})).shape() == Shape{0, 3});
  const auto endless = check::error_of([&] {
    map([](auto a) {
      while (a < 10) a += 1;
      return a;
    }, x.to<Cuda>());
  });
  CHECK(check::missing(endless, {"map", "compares without end"}) == "");
}
