// The closed forms of the linear models against gradient descent on their losses, and properties of the nonlinear ones.
#include "posterior-collapse/model.hpp"

#include <gradus/debug/gradcheck.hpp>

#include "support/catch.hpp"

using namespace collapse;

namespace {
double apart(List a, List b) {
  REQUIRE(a.size() == b.size());
  std::sort(a.begin(), a.end()), std::sort(b.begin(), b.end());  // with fixed Sigma the encoder's values do not fall with theta
  double d = 0;
  for (std::size_t i = 0; i < a.size(); ++i) d = std::max(d, std::abs(a[i] - b[i]));
  return d;
}
void close(const Spectrum& measured, const Spectrum& predicted, double tolerance) {
  CHECK(apart(measured.decoder, predicted.decoder) < tolerance);
  if (!predicted.encoder.empty()) CHECK(apart(measured.encoder, predicted.encoder) < tolerance);
  CHECK(apart(measured.sigma, predicted.sigma) < tolerance);
}
const auto silent = [] {};
/// A matrix with the given singular values, no two of them on an axis.
Matrix with_singular_values(const List& theta) {
  const auto n = static_cast<int64_t>(theta.size());
  const Matrix P = qr(randn<double>({n, n})).q, Q = qr(randn<double>({n, n})).q;
  return matmul(P * from_vector(theta), Q);
}
const List kTheta{3, 2.5, 1.4, 0.8, 0.4};  // none within 5 % of a threshold below
}  // namespace

TEST_CASE("linear VAE with learnable Sigma: descent ends at the closed form", "[papers]") {
  for (const Setting& s : {Setting{.beta = 1}, Setting{.beta = 2, .eta_enc = 0.7, .eta_dec = 1.2}}) {
    manual_seed(1);
    LinearVae m(5, 5, 4, s);
    descend(m, with_singular_values(kTheta), 6000, silent);
    const Spectrum p = predict_vae(kTheta, 4, s);
    close(m.spectrum(), p, 1e-3);
    CHECK(p.active() == (s.beta == 1 ? 3 : 2));
    CHECK(m.spectrum().active(0.02) == p.active());
    // q of a collapsed unit is the prior.
    const auto kl = sort(m.unit_kl()).values.to_vector();
    for (int64_t i = 0; i < 4 - p.active(); ++i) CHECK(kl[static_cast<std::size_t>(i)] < 1e-5);
    CHECK(kl[static_cast<std::size_t>(4 - p.active())] > 0.01);
  }
}

TEST_CASE("linear VAE with fixed Sigma: a low rank without collapse", "[papers]") {
  manual_seed(2);
  const Setting s{.fixed_sigma = {1.5, 0.3, 0.9, 0.6}};
  LinearVae m(5, 5, 4, s);
  descend(m, with_singular_values(kTheta), 6000, silent);
  const Spectrum p = predict_vae(kTheta, 4, s);
  close(m.spectrum(), p, 1e-3);
  CHECK(p.active() == 3);
  CHECK(p.decoder[3] == 0);
  const double kl = m.unit_kl().to_vector()[0];  // sigma = 1.5 belongs to the smallest theta
  CHECK(kl == Approx(0.5 * (1.5 * 1.5 - 1 - std::log(1.5 * 1.5))).epsilon(1e-4));
  CHECK(kl > 0.2);
}

TEST_CASE("linear CVAE: descent ends at the closed form", "[papers]") {
  manual_seed(3);
  const Matrix F = randn<double>({8, 8});
  const Matrix M = matmul(F, F.t()) / 4.0;
  const Moments m{narrow(narrow(M, 0, 0, 4), 1, 0, 4), narrow(narrow(M, 0, 4, 4), 1, 0, 4), narrow(narrow(M, 0, 4, 4), 1, 4, 4)};
  const List theta = eigenvalues(residual_moment(m));
  // eta_dec halfway between the second and the third eigenvalue
  const Setting s{.beta = 0.5, .eta_enc = 1.3, .eta_dec = std::sqrt(theta[1] + theta[2])};
  LinearCvae model(4, 4, 4, s);
  const Matrix J = joint_whitened(m);
  CHECK(apart(eigenvalues(residual_moment({narrow(narrow(J, 0, 0, 4), 1, 0, 4), narrow(narrow(J, 0, 4, 4), 1, 0, 4), m.C})), theta) < 1e-9);
  descend(model, J, 6000, silent);
  const Spectrum p = predict_cvae(theta, 4, s);
  CHECK(p.active() == 2);
  close(model.spectrum(), p, 2e-3);
}

TEST_CASE("linear CVAE: y a linear map of x collapses wholly, x apart from y not at all", "[papers]") {
  manual_seed(4);
  const Matrix F = randn<double>({4, 4}), L = randn<double>({4, 4});
  const Matrix A = matmul(F, F.t());
  const Moments same{A, matmul(L, A), matmul(matmul(L, A), L.t())};
  LinearCvae model(4, 4, 4, {.beta = 0.5});
  descend(model, joint_whitened(same), 6000, silent);
  CHECK(apart(model.spectrum().decoder, {0, 0, 0, 0}) < 1e-3);
  CHECK(apart(model.spectrum().sigma, {1, 1, 1, 1}) < 1e-3);

  const Moments independent{A, zeros<double>({4, 4}), diag_embed(Matrix{4., 2., 0.7, 0.1})};
  LinearCvae other(4, 4, 4, {.beta = 0.5});
  descend(other, joint_whitened(independent), 6000, silent);
  CHECK(other.spectrum().active(0.02) == 3);
  // theta = 0.7 lies between beta and sqrt(beta): a threshold of sqrt(beta) eta_dec is wrong here.
  close(other.spectrum(), predict_cvae({4, 2, 0.7, 0.1}, 4, {.beta = 0.5}), 2e-3);
}

TEST_CASE("linear MHVAE: all three cases of the closed form", "[papers]") {
  // sigma_1^2 against beta_2 / beta_1 eta_dec^2: (A), then (B) and (C) together
  for (const Setting& s : {Setting{.beta_2 = 0.5}, Setting{.beta_2 = 2}, Setting{.beta_1 = 2, .beta_2 = 3, .eta_enc = 1.2, .eta_dec = 0.8,
                                                                                 .sigma_1 = 0.6}}) {
    manual_seed(5);
    LinearMhvae m(5, 5, 5, 5, s);
    descend(m, with_singular_values(kTheta), 6000, silent);
    close(m.spectrum(), predict_mhvae(kTheta, 5, s), 2e-3);
  }
  const Spectrum p = predict_mhvae(kTheta, 5, {.beta_2 = 2});
  CHECK(p.active() == 2);   // the border is theta = 2; at 1.4 z_2 has collapsed and z_1 stays active
  CHECK(p.encoder[2] > 0);
  CHECK(p.decoder[2] == 0);
  // A larger beta_1 helps z_2, a larger beta_2 hurts it.
  CHECK(predict_mhvae(kTheta, 5, {.beta_1 = 4, .beta_2 = 2}).active() > p.active());
  CHECK(predict_mhvae(kTheta, 5, {.beta_2 = 4}).active() < p.active());
}

TEST_CASE("more beta, more collapse: the VAE's and the CVAE's active units", "[papers]") {
  for (const double beta : {0.1, 1.0, 3.0, 5.0, 20.0}) {
    int64_t vae = 0, cvae = 0;
    for (const double t : kTheta) vae += t * t > beta, cvae += t > beta;
    CHECK(predict_vae(kTheta, 5, {.beta = beta}).active() == vae);
    CHECK(predict_cvae(kTheta, 5, {.beta = beta}).active() == cvae);
  }
}

TEST_CASE("quarters and joined are inverse", "[papers]") {
  const auto image = arange<float>(0, 2 * 784).reshape({2, 784});
  const auto [x, y] = quarters(image);
  CHECK(x.shape() == Shape{2, 196});
  CHECK(y.shape() == Shape{2, 588});
  CHECK(x.to_vector()[0] == 14 * 28);   // row 14, column 0
  CHECK(y.to_vector()[392] == 14 * 28 + 14);
  CHECK(joined(x, y).to_vector() == image.to_vector());
}

TEST_CASE("gradients of the nonlinear losses", "[papers]") {
  manual_seed(6);
  const Config c{.d_x = 3, .d_y = 4, .d_z = 2, .hidden = 5, .s = {.beta = 0.7, .eta_enc = 0.9, .eta_dec = 0.8, .sigma_1 = 0.5}};
  const auto x = randn<double>({6, 3}), y = randn<double>({6, 4});
  ReluCvae<double> cvae(c);
  ReluMhvae<double> mhvae(c);
  const auto start = generator();
  const auto same_noise = [&](auto& net) {
    return [&](const std::vector<Matrix>&) {
      generator() = start;
      return net.loss(x, y);
    };
  };
  CHECK_NOTHROW(gradcheck(same_noise(cvae), nn::parameters(cvae)));
  CHECK_NOTHROW(gradcheck(same_noise(mhvae), nn::parameters(mhvae)));
}

TEST_CASE("importance sampling finds the likelihood of a model that ignores z", "[papers]") {
  manual_seed(7);
  ReluCvae<double> net(Config{.d_x = 3, .d_y = 4, .d_z = 2, .hidden = 5, .s = {.eta_dec = 0.8}});
  const NoGrad guard;
  net.dz_h.weight.zero_();
  const auto x = randn<double>({1, 3}), y = randn<double>({1, 4});
  const double exact = -log_normal(y, net.decode(x, zeros<double>({1, 2})), 0.64).item();
  net.x_s.bias.fill_(0.8), net.y_s.bias.fill_(0.4);   // about as wide as the prior
  CHECK(net.nll(x, y, 20000) == Approx(exact).epsilon(0.02));
}

TEST_CASE("the paper's models at full size", "[papers]") {
  ReluCvae<float> cvae(Config{});
  // x and y branch, each with mean and scale; decoders of x and z
  CHECK(nn::parameter_count(cvae) == (196 * 16 + 16) + (588 * 16 + 16) + 4 * (16 * 16 + 16) + (196 * 16 + 16) + (16 * 16 + 16) +
                                         2 * (16 * 588 + 588));
  ReluMhvae<float> mhvae(Config{.d_x = 784, .d_z = 16, .hidden = 256});
  CHECK(nn::parameter_count(mhvae) == (784 * 256 + 256) + 4 * (256 * 16 + 16) + 3 * (16 * 256 + 256) + (256 * 784 + 784));
}
