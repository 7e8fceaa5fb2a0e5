// Closed forms of the perturbation analysis of neural collapse, in float64.
#include "neural-collapse-perturbation/nets.hpp"

#include "support/catch.hpp"

using namespace ncp;

TEST_CASE("theorem 2.1: collapsed minimisers for any R, with value c - c^2 / 2", "[papers]") {
  const Problem p;
  for (const uint64_t R : {1, 2, 3}) {
    const Point z = collapsed(p, R);
    const auto [g, f] = gradient_and_value(p, z);
    CHECK(g <= 1e-13);
    CHECK(std::abs(f - (p.c() - p.c() * p.c() / 2)) <= 1e-12);
    CHECK(frobenius(best_W(p, z.H) - z.W) <= 1e-12);
    const Collapse m = collapse(z.H, p.K);
    CHECK(m.NC1t <= 1e-25);
    CHECK(m.NC2 <= 1e-12);
    CHECK(gradient_and_value(p, {z.W, z.H * 1.01}).first > 1e-4);   // and nowhere near by
  }
  CHECK(frobenius(collapsed({.lH = 2}, 1).H) == 0);                 // c > 1: the origin
}

TEST_CASE("corollary 2.2 and the solver: H0 collapsed stays; elsewhere the gradient is 0", "[papers]") {
  for (const double beta : {1.0, 100.0}) {
    const Problem p{.beta = beta};
    const Point z = collapsed(p, 4);
    CHECK(frobenius(minimise(p, z.H).H - z.H) <= 1e-11);
    manual_seed(5);
    const Matrix H0 = randn<double>({p.d, p.N()});
    const Point s = minimise(p, H0);
    Matrix W = s.W.clone(), H = s.H.clone();
    W.requires_grad_(), H.requires_grad_();
    for (const auto& g : grad(std::vector<Matrix>{objective(p, W, H, H0)}, std::vector<Matrix>{W, H})) CHECK(frobenius(g) <= 1e-12);
    CHECK(collapse(s.H, p.K).NC1t < collapse(H0, p.K).NC1t);
  }
}

TEST_CASE("theorem 4.2: the spectrum with multiplicities 6, 54, 36, 3, 1", "[papers]") {
  const Problem p;
  const Spectrum s = spectrum(p, collapsed(p, 1));
  CHECK(s.found == std::vector<int64_t>{6, 54, 36, 3, 1});
  CHECK(s.diagonal_error <= 1e-10);
  CHECK(s.off_error <= 1e-10);
  CHECK(s.exact_error > 0);
}

TEST_CASE("theorem 4.1: the linear map at a collapsed and at another H0", "[papers]") {
  const Problem p{.K = 3, .d = 5, .n = 4};
  manual_seed(6);
  const Matrix H0 = randn<double>({p.d, p.N()}), dH0 = randn<double>({p.d, p.N()}) * 1e-5;
  const Point z = minimise(p, H0), moved = minimise(p, H0 + dH0);
  const Matrix dH = moved.H - z.H;
  CHECK(frobenius(dH - unvec(matmul(exact_map(p, z), vec(dH0)), p.d)) <= 1e-4 * frobenius(dH));
  const Point c = collapsed(p, 1);
  const Matrix F = exact_map(p, c), E = randn<double>({p.d, p.N()});
  const Response a = response(p, c, F, E * 1e-1), b = response(p, c, F, E * 1e-2);
  CHECK(a.error <= 1e-3);
  CHECK(b.error <= a.error / 5);
  CHECK(b.W_error <= a.W_error / 5);
  CHECK(a.NC1t_ratio < 1);
}

TEST_CASE("the first-order map's error falls as beta^-2", "[papers]") {
  const auto error = [](double beta) {
    const Problem p{.K = 3, .d = 5, .n = 4, .beta = beta};
    const Point z = collapsed(p, 1);
    return frobenius(exact_map(p, z) - first_order_map(p, z));
  };
  CHECK(error(100) / error(1000) == Approx(100).epsilon(0.05));
}

TEST_CASE("second derivatives: Kronecker formulas against double backward", "[papers]") {
  CHECK(hessian_error({.K = 3, .d = 5, .n = 4}, 1) <= 1e-10);
}

TEST_CASE("vec, unvec and the commutation matrix", "[papers]") {
  manual_seed(2);
  const Matrix A = randn<double>({3, 5});
  CHECK(frobenius(unvec(vec(A), 3) - A) == 0);
  CHECK(vec(A).to_vector()[1] == A.to_vector()[5]);   // columns are stacked
  CHECK(frobenius(matmul(commutation(3, 5), vec(A)) - vec(t(A))) == 0);
}

TEST_CASE("theorem 3.1: flow, its three monotone quantities, and the envelope theorem", "[papers]") {
  const Problem p;
  manual_seed(3);
  const Matrix H = randn<double>({p.d, p.N()});
  const Path path = central_path(p, H, 5, 0.01);
  CHECK(path.NC1_rises == 0);
  CHECK(path.trW_rises == 0);
  CHECK(path.trB_falls == 0);
  // -Kn grad L by backward, W*(H) differentiated too.
  const Matrix g = vjp([&](const Matrix& x) { return objective(p, best_W(p, x), x); }, H, scalar<double>(1));
  CHECK(frobenius(flow(p, H) + g * static_cast<double>(p.N())) <= 1e-11 * frobenius(flow(p, H)));
}

TEST_CASE("the Runge-Kutta step is of fourth order", "[papers]") {
  const auto error = [](int64_t steps) {
    Matrix x = scalar<double>(1);
    for (int64_t k = 0; k < steps; ++k) x = rk4([](const Matrix& y) { return y * -1.0; }, x, 1.0 / static_cast<double>(steps));
    return std::abs(x.item() - std::exp(-1.0));
  };
  CHECK(error(10) / error(20) == Approx(16).epsilon(0.1));
}

TEST_CASE("collapse by hand: two classes on a line", "[papers]") {
  const Matrix H = from_vector<double>({-2, 0, 1, 3}, {1, 4});   // means -1 and 2, within-class variance 1, between 2.25
  const Collapse m = collapse(H, 2);
  CHECK(m.trW == Approx(1));
  CHECK(m.trB == Approx(2.25));
  CHECK(m.NC1t == Approx(1 / 2.25));
  CHECK(m.NC1 == Approx(1 / 4.5));
  CHECK(m.NC2 <= 1e-14);   // two centred means are always a simplex
}

TEST_CASE("features in turns become columns by class; decay reaches the group it is meant for", "[papers]") {
  const Tensor<float> f = from_vector<float>({0, 10, 1, 11, 2, 12}, {6, 1});   // two classes in turns
  CHECK(by_class(f, 2).to_vector() == std::vector<double>{0, 1, 2, 10, 11, 12});
  CHECK(nn::parameter_count(*std::make_unique<FeatureNet>(784, 128, 10, Loss::mse)) == 784 * 128 + 2 * 128 * 128 + 9 * 128 + 1280);
  CHECK(nn::parameter_count(*std::make_unique<FeatureNet>(784, 128, 10, Loss::cross_entropy)) ==
        784 * 128 + 2 * 128 * 128 + 9 * 128 + 1290);
  manual_seed(1);
  const Samples s{randn<float>({20, 6}), from_vector<int64_t>({0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3}, {20}), 4};
  const auto nc1 = [&](const Variant& v) {
    return decay_run(s, Loss::mse, v, 8, {.epochs = 3, .batch = 10, .decay = 0.1}, 1, 1, [] {}).NC1.back();
  };
  CHECK(nc1({"base", 1, 1}) == nc1({"again", 1, 1}));
  CHECK(nc1({"features", 0, 1}) != nc1({"last", 1, 0}));
}
