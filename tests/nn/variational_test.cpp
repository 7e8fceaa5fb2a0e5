// Reparametrised samples and divergences.
#include <gradus/nn/variational.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

TEST_CASE("a sample has the moments, and their gradients") {
  manual_seed(1);
  const auto mean_ = full<double>({20000}, 0.7), log_var = full<double>({20000}, std::log(0.25));
  const auto z = nn::reparametrize(mean_, log_var);
  CHECK(mean(z).item() == Approx(0.7).margin(0.02));
  CHECK(stddev(z).item() == Approx(0.5).epsilon(0.03));
  check::gradients(
      [](const List& v) {
        manual_seed(7);
        return nn::reparametrize(v[0], v[1]);
      },
      List{check::uniform({2, 3}), check::uniform({2, 3}, -1, 1, 2)});
  CHECK(check::contains(check::error_of([&] { nn::reparametrize(mean_, check::uniform({2})); }), "shapes differ"));
}

TEST_CASE("divergences of normals and categories") {
  const auto m = check::uniform({2, 3}), l = check::uniform({2, 3}, -1, 1, 2), m2 = check::uniform({2, 3}, -1, 1, 3),
             l2 = check::uniform({2, 3}, -1, 1, 4);
  CHECK(check::difference(nn::kl_normals(m, l, zeros<double>({2, 3}), zeros<double>({2, 3})),
                          nn::kl_to_standard_normal(m, l)) == "");
  CHECK(amax(abs(nn::kl_normals(m, l, m, l))).item() == Approx(0).margin(1e-15));
  // The expectation of the log ratio of densities, by many samples.
  manual_seed(2);
  const auto z = nn::reparametrize(expand(m, {100000, 2, 3}), expand(l, {100000, 2, 3}));
  const auto ratio = nn::normal_log_density(z, m, l) - nn::normal_log_density(z, m2, l2);
  CHECK(check::difference(mean(ratio, {0}), nn::kl_normals(m, l, m2, l2), 0.03, 0.01) == "");
  CHECK(nn::normal_log_density(Tensor<double>{0.}, Tensor<double>{0.}, Tensor<double>{0.}).item() ==
        Approx(-0.5 * std::log(2 * 3.14159265358979323846)));
  const Tensor<double> p{0.2, 0.8}, q{0.5, 0.5};
  CHECK(nn::kl_categorical(log(p), log(q)).item() == Approx(0.2 * std::log(0.4) + 0.8 * std::log(1.6)));
  check::gradients([](const List& v) { return nn::kl_normals(v[0], v[1], v[2], v[3]) + nn::kl_categorical(v[0], v[2]); },
                   List{m, l, m2, l2});
}
