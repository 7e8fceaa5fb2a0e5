#include <cmath>

#include <gradus/ops/scan.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::uniform;
using Values = std::vector<double>;
using Ints = std::vector<int64_t>;

TEST_CASE("scan: values along either dimension") {
  const Double x{{1, 2, 3}, {4, -5, 6}};
  CHECK(cumsum(x, 1).to_vector() == Values{1, 3, 6, 4, -1, 5});
  CHECK(cumsum(x, 0).to_vector() == Values{1, 2, 3, 5, -3, 9});
  CHECK(cumsum(x, -1, true).to_vector() == Values{6, 5, 3, 5, 1, 6});
  CHECK(cumsum(transpose(x, 0, 1), 0).to_vector() == Values{1, 4, 3, -1, 6, 5});
  CHECK(cumprod(x, 1).to_vector() == Values{1, 2, 6, 4, -20, -120});
  CHECK(cumsum(Tensor<int64_t>{3, 4, 5}, 0).to_vector() == Ints{3, 7, 12});
  const auto top = cummax(Double{1., 3, 2, 3, 5, 4}, 0);
  CHECK(top.values.to_vector() == Values{1, 3, 3, 3, 5, 5});
  CHECK(top.index.to_vector() == Ints{0, 1, 1, 3, 4, 4});
  const auto low = cummin(x, 1);
  CHECK(low.values.to_vector() == Values{1, 1, 1, 4, -5, -5});
  CHECK(low.index.to_vector() == Ints{0, 0, 0, 0, 1, 1});
  const auto l = logcumsumexp(Double{1000., 1000, 0}, 0).to_vector();
  CHECK(l[1] == Approx(1000 + std::log(2.0)));
  CHECK(l[2] == Approx(1000 + std::log(2.0)));
}

TEST_CASE("scan: first and second derivatives") {
  const Double x = uniform({2, 3, 4});
  for (int dim = 0; dim < 3; ++dim) {
    check::gradients([dim](const Double& a) { return cumsum(mul(a, a), dim); }, x);
    check::gradients([dim](const Double& a) { return cumsum(mul(a, a), dim, true); }, x);
    check::gradients([dim](const Double& a) { return cumprod(a, dim); }, x);
    check::gradients([dim](const Double& a) { return logcumsumexp(a, dim); }, x);
    check::gradients([dim](const Double& a) { return mul(cummax(a, dim).values, a); }, x);
    check::gradients([dim](const Double& a) { return mul(cummin(a, dim).values, a); }, x);
  }
}

TEST_CASE("cumprod: zeros have gradients") {
  check::gradients([](const Double& a) { return cumprod(a, 1); }, Double{{2, 0, 3, -1}, {0, 1, 0, 2}});
}

TEST_CASE("logcumsumexp: far apart values have gradients that neither overflow nor vanish") {
  check::gradients([](const Double& a) { return logcumsumexp(a, 0); }, Double{-1000., -999, 0, 1, 900});
  Double x{-1000., -999, 0, 1};
  x.requires_grad_();
  sum(logcumsumexp(x, 0)).backward();
  const double first = 1 + 1 / (1 + std::exp(1.0));
  CHECK(x.grad().to_vector()[0] == Approx(first));
}

TEST_CASE("scan: error texts") {
  CHECK(check::missing(check::error_of([] { cumsum(uniform({2, 3}), 2); }), {"gradus: cumsum: no such dimension", "float64 cpu [2, 3]", "scan_test.cpp:"}) == "");
  CHECK(check::missing(check::error_of([] { cummax(Double(Shape{}), 0); }), {"cummax", "at least 1 dimension"}) == "");
}
