// Positions: closed forms, slopes, buckets, features.
#include <gradus/nn/position.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

TEST_CASE("sinusoidal positions") {
  const auto p = nn::sinusoidal_positions<double>(5, 4);
  CHECK(p(3, 0).item() == Approx(std::sin(3.0)));
  CHECK(p(3, 1).item() == Approx(std::cos(3.0)));
  CHECK(p(3, 2).item() == Approx(std::sin(3.0 / 100)));
  const auto image = nn::sinusoidal_positions_2d<double>(2, 3, 8);  // token (1, 2): w = 2, h = 1, frequencies 1 and 1/100
  const std::vector<double> expected{std::sin(2.0), std::sin(0.02), std::cos(2.0), std::cos(0.02),
                                     std::sin(1.0), std::sin(0.01), std::cos(1.0), std::cos(0.01)};
  CHECK(check::difference(image(5, all), Shape{8}, expected) == "");
  nn::SinusoidalPosition<double> layer(5, 4);
  const auto x = check::uniform({2, 3, 4});
  CHECK(check::difference(layer(x), x + narrow(p, 0, 0, 3)) == "");
  nn::LearnedPosition<double> learned(5, 4);
  CHECK(check::difference(learned(x) - x, expand(narrow(learned.weight, 0, 0, 3), {2, 3, 4}), 1e-12, 1e-14) == "");
  CHECK(check::missing(check::error_of([&] {
                         layer(check::uniform({6, 4}));
                       }),
                       {"SinusoidalPosition", "within the table"}) == "");
}

TEST_CASE("slopes of ALiBi") {
  CHECK(check::difference(nn::alibi_slopes<double>(8),
                          Tensor<double>{0.5, 0.25, 0.125, 0.0625, 0x1p-5, 0x1p-6, 0x1p-7, 0x1p-8}) == "");
  CHECK(check::difference(nn::alibi_slopes<double>(3), Tensor<double>{0x1p-4, 0x1p-8, 0x1p-2}) == "");
}

TEST_CASE("buckets of T5 and relative biases") {
  // The authors' function, for 32 buckets up to 128 in both directions.
  const auto bucket = nn::t5_buckets(Tensor<int64_t>{0, 1, 7, 8, 15, 16, 127, 200, -1, -8, -200});
  CHECK(bucket.to_vector() == std::vector<int64_t>{0, 17, 23, 24, 25, 26, 31, 31, 1, 8, 15});
  CHECK(nn::t5_buckets(Tensor<int64_t>{3, 0, -1, -15, -16, -200}, false).to_vector() ==
        std::vector<int64_t>{0, 0, 1, 15, 16, 31});
  nn::T5Bias<double> t5(2);
  const auto b = t5.forward(3, 4);
  CHECK(b.shape() == Shape{2, 3, 4});
  CHECK(b(1, 2, 0).item() == t5.weight(2, 1).item());  // key 2 before: bucket 2
  nn::RelativeBias<double> relative(2, 2);
  const auto r = relative.forward(1, 8, 4);  // one query at position 4
  CHECK(r(0, 0, 0).item() == relative.weight(0, 0).item());
  CHECK(r(1, 0, 5).item() == relative.weight(3, 1).item());
  CHECK(r(1, 0, 7).item() == relative.weight(4, 1).item());
  check::gradients(
      [](const List& v) {
        nn::RelativeBias<double> l(2, 2);
        l.weight = v[0];
        return l.forward(3, 3);
      },
      List{relative.weight});
}

TEST_CASE("features of coordinates and of levels") {
  manual_seed(1);
  nn::FourierFeatures<double> f(2, 3);
  const Tensor<double> x{{0.3, -0.7}};
  const auto y = f(x);
  CHECK(y(0, 1).item() == Approx(std::sin(2 * 3.14159265358979323846 * (0.3 * f.W(1, 0).item() - 0.7 * f.W(1, 1).item()))));
  CHECK(check::difference(square(narrow(y, 1, 0, 3)) + square(narrow(y, 1, 3, 3)), ones<double>({1, 3})) == "");
  const auto t = nn::time_features(Tensor<double>{0.25}, 4, 100, 1000);
  const std::vector<double> expected{std::cos(250.0), std::cos(25.0), std::sin(250.0), std::sin(25.0)};
  CHECK(check::difference(t, Shape{1, 4}, expected, 1e-10, 1e-10) == "");
  nn::TimeEmbedding<double> time(6, 8);
  CHECK(time(Tensor<double>{0.1, 0.9}).shape() == Shape{2, 6});
}
