// Closed forms of neural collapse in deep linear networks, against gradients, figures and training.
#include "neural-collapse-linear/model.hpp"

#include <gradus/optim.hpp>

#include "support/catch.hpp"

using namespace ncl;

namespace {
struct Trained {
  double loss;
  Collapse<Cpu> c;
};
Trained train(const Problem& q, int64_t d, double lr, int steps) {
  manual_seed(3);
  const Solution s = solve(q);
  const Ufm<double, Cpu> u(q, d);
  const auto y = labels<Cpu>(q);
  optim::Sgd opt(u.parameters(), {.lr = lr, .momentum = 0.9});
  for (int i = 0; i < steps; ++i) {
    opt.zero_grad();
    loss(q, u.W, u.b, u.H, y).backward();
    opt.step();
  }
  return {loss(q, u.W, u.b, u.H, y).item(), collapse(q, s, u.W, u.H, y)};
}
}  // namespace

TEST_CASE("thresholds of minority collapse", "[papers]") {
  CHECK(threshold(1) == 1);
  CHECK(threshold(2) == Approx(0.5).epsilon(1e-12));
  CHECK(threshold(3) == Approx(0.52913).epsilon(1e-4));
  CHECK(threshold(4) == Approx(0.56988).epsilon(1e-4));
  CHECK(threshold(6) == Approx(0.63727).epsilon(1e-4));
}

TEST_CASE("the root of (*) minimises a class's part of the loss", "[papers]") {
  for (const int64_t M : {1, 2, 3, 4, 6})
    for (const double share : {0.01, 0.3, 0.9, 0.999, 1.001, 2.0}) {
      const double beta = share * threshold(M), x = largest_root(M, beta);
      const auto part = [&](double v) { return 1 / (1 + std::pow(v, static_cast<double>(M))) + beta * v; };
      CHECK((x > 0) == (share < 1));
      double best = part(0);
      for (double v = 0; v < 20; v += 1e-3) best = std::min(best, part(v));
      CHECK(part(x) <= best + 1e-12);
      CHECK(part(x) >= best - 1e-5);  // the grid's step
    }
}

TEST_CASE("lengths of the class means", "[papers]") {
  const Solution a = solve({.n = {200, 100, 50, 50}});
  const double expected[] = {0.06971, 0.09800, 0.13742, 0.13742};
  for (std::size_t k = 0; k < 4; ++k) CHECK(a.mu2[k] == Approx(expected[k]).epsilon(1e-4));
  const Solution b = solve({.n = {200, 100, 50, 2}, .lambda_W = 5e-3, .lambda_H = 5e-3});
  const double collapsed[] = {0.0619, 0.0824, 0.1062, 0};
  for (std::size_t k = 0; k < 4; ++k) CHECK(b.mu2[k] == Approx(collapsed[k]).epsilon(1e-3));
  CHECK(solve({.n = {200, 100, 50, 20}, .lambda_W = 5e-3, .lambda_H = 5e-3}).mu2[3] > 0.01);
  const std::vector<double> n{20, 20, 40, 40, 60, 60, 80, 80, 100, 100};
  const Solution one = solve({.n = n, .lambda_W = 1e-3, .lambda_H = 1e-3});
  CHECK(one.loss == Approx(0.07197).epsilon(1e-3));
  CHECK(one.mu2[0] == Approx(0.1936).epsilon(1e-3));
  CHECK(one.mu2[9] == Approx(0.0940).epsilon(1e-3));
  CHECK(solve({.n = n, .M = 3, .lambda_W = 1e-3, .lambda_H = 1e-3}).loss == Approx(0.05382).epsilon(1e-3));
}

// H and W of the global minimum, written down: all factors diagonal in the first K coordinates.
TEST_CASE("the closed form is a stationary point with the loss it states", "[papers]") {
  for (const int64_t M : {1, 2, 3}) {
    const Problem q{.n = {6, 3, 2}, .M = M, .lambda_W = 2e-2, .lambda_H = 1e-2};
    const Solution s = solve(q);
    const int64_t d = 5;
    std::vector<double> mu, w;
    for (std::size_t k = 0; k < 3; ++k)
      mu.push_back(std::sqrt(s.mu2[k])), w.push_back(std::pow(s.w2[k], 0.5 / static_cast<double>(M)));
    const auto embed = [&](const std::vector<double>& v, int64_t rows) {
      return matmul(eye<double, Cpu>(rows, 3) * from_vector(v), eye<double, Cpu>(3, d));
    };
    std::vector<Tensor<double>> W;
    for (int64_t j = 0; j < M; ++j) W.push_back(embed(w, j + 1 == M ? 3 : d).requires_grad_());
    const auto y = labels<Cpu>(q);
    auto H = matmul(transpose(embed(mu, 3), 0, 1), transpose(one_hot<double>(y, 3), 0, 1)).detach();
    H.requires_grad_();
    const auto L = loss(q, W, Tensor<double>(), H, y);
    CHECK(L.item() == Approx(s.loss).epsilon(1e-10));
    L.backward();
    CHECK(amax(abs(H.grad())).item() < 1e-12);
    for (const auto& p : W) CHECK(amax(abs(p.grad())).item() < 1e-12);
    for (int64_t m = 0; m < M; ++m) {  // the frames of the inner layers
      const auto c = collapse(q, s, W, H, y, m);
      CHECK(c.nc1 < 1e-20);
      CHECK(std::max({c.nc2_W, c.nc2_H, c.nc3, c.nc3_rows}) < 1e-7);
    }
  }
}

TEST_CASE("NC1 equals its definition", "[papers]") {
  manual_seed(5);
  const Problem q{.n = {4, 3, 2}};
  const Ufm<double, Cpu> u(q, 6);
  const NoGrad guard;
  const auto y = labels<Cpu>(q);
  const auto Y = transpose(one_hot<double>(y, 3), 0, 1);
  const auto Mu = matmul(u.H, transpose(Y / sum(Y, {1}, true), 0, 1));
  const auto in = u.H - matmul(Mu, Y), between = Mu - mean(u.H, {1}, true);
  const auto Sigma_W = matmul(in, transpose(in, 0, 1)) / 9.0, Sigma_B = matmul(between, transpose(between, 0, 1)) / 3.0;
  const double nc1 = sum(diagonal(matmul(Sigma_W, pinv(Sigma_B, 1e-10)))).item() / 3;
  CHECK(collapse(q, solve(q), u.W, u.H, y).nc1 == Approx(nc1).epsilon(1e-8));
}

TEST_CASE("training reaches the closed form", "[papers]") {
  for (const Problem& q : {Problem{.n = {8, 8, 8}, .lambda_W = 1e-2, .lambda_H = 1e-2},
                           Problem{.n = {8, 8, 8}, .lambda_W = 1e-2, .lambda_H = 1e-2, .bias = true},
                           Problem{.n = {12, 8, 4}, .lambda_W = 1e-2, .lambda_H = 1e-2},
                           Problem{.n = {8, 8, 8}, .lambda_W = 1e-2, .lambda_H = 1e-2, .bias = true, .ce = true}}) {
    const Solution s = solve(q);
    const Trained t = train(q, 8, 0.3, 3000);
    CHECK(t.loss == Approx(s.loss).epsilon(1e-6));
    CHECK(t.c.nc1 < 1e-8);
    CHECK(std::max({t.c.nc2_W, t.c.nc2_H, t.c.nc3, t.c.nc3_rows}) < 1e-3);
    for (std::size_t k = 0; k < 3; ++k) CHECK(t.c.mu2[k] == Approx(s.mu2[k]).epsilon(1e-3));
    if (s.frame == Frame::etf) CHECK(nd(t.c.gram, eye<double, Cpu>(3, 3)) > 0.3);
  }
}
