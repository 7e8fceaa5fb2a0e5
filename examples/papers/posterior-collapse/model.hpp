// The models of Dang, Tran, Nguyen, Ho 2024, and the closed forms of their global minima.
//
// Everything linear is uncentred and without biases: second moments, not covariances. c = eta_dec / eta_enc. Losses are twice the negative
// (beta-)ELBO up to constants; here they are functions of the second moments alone, so nothing is sampled.
//
//   A = E[x x^T] = P_A Phi P_A^T,  x~ = Phi^{-1/2} P_A^T x,  Z = E[y x~^T],  V = W P_A Phi^{1/2}
//   VAE, MHVAE   theta_i = singular values of Z             threshold on theta^2
//   CVAE         theta_i = eigenvalues of E, the second moment of the residual of y given x: threshold on theta
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

namespace collapse {
using namespace gradus;
using List = std::vector<double>;
using Matrix = Tensor<double, Cpu>;

struct Setting {
  double beta = 1, beta_1 = 1, beta_2 = 1;
  double eta_enc = 1, eta_dec = 1;
  double sigma_1 = 1;     // of q(z_1 | x) in the MHVAE, fixed
  List fixed_sigma = {};  // of the VAE; empty: learnable
  double c() const { return eta_dec / eta_enc; }
};

/// Singular values and deviations of a minimum, by mode, in the order of falling theta.
struct Spectrum {
  List decoder;  // of U (VAE), U_1 (CVAE), U_2 (MHVAE)
  List encoder;  // of V (VAE), V_1 (MHVAE); empty for the CVAE
  List sigma;    // ascending
  int64_t active(double above = 0) const {
    int64_t n = 0;
    for (const double v : decoder) n += v > above;
    return n;
  }
};

// -- closed forms -----------------------------------------------------------------------------------------------------------

inline double root(double v) { return std::sqrt(std::max(0.0, v)); }
/// The d_z largest; modes that the data does not have are 0.
inline List leading(List theta, int64_t d_z) {
  theta.resize(static_cast<std::size_t>(d_z), 0.0);
  return theta;
}

/// Theorem 1 (Sigma learnable) and its companion for fixed Sigma.
inline Spectrum predict_vae(const List& theta, int64_t d_z, Setting s) {
  Spectrum p;
  const double a = std::sqrt(s.beta) * s.c(), cut = std::sqrt(s.beta) * s.eta_dec;
  std::sort(s.fixed_sigma.begin(), s.fixed_sigma.end());
  std::size_t i = 0;
  for (const double t : leading(theta, d_z)) {
    if (!s.fixed_sigma.empty()) {
      const double sigma = s.fixed_sigma.at(i++);
      p.decoder.push_back(root(a * (t - a * sigma) / sigma));
      p.encoder.push_back(root(sigma * (t - a * sigma) / a));
      p.sigma.push_back(sigma);
      continue;
    }
    p.decoder.push_back(root(t * t - cut * cut) / s.eta_enc);
    p.encoder.push_back(t > 0 ? s.eta_enc / t * root(t * t - cut * cut) : 0);
    p.sigma.push_back(t >= cut ? s.eta_enc * cut / t : s.eta_enc);
  }
  return p;
}

/// Theorem 2. theta: eigenvalues of E.
inline Spectrum predict_cvae(const List& theta, int64_t d_z, const Setting& s) {
  Spectrum p;
  const double cut = s.beta * s.eta_dec * s.eta_dec;
  for (const double t : leading(theta, d_z)) {
    p.decoder.push_back(root(t - cut) / s.eta_enc);
    p.sigma.push_back(t >= cut ? s.eta_enc * std::sqrt(cut / t) : s.eta_enc);
  }
  return p;
}

/// Theorem 3: Sigma_1 = sigma_1^2 I fixed, Sigma_2 learnable.
inline Spectrum predict_mhvae(const List& theta, int64_t d_1, const Setting& s) {
  Spectrum p;
  const double b = s.beta_2 / s.beta_1, dec2 = s.eta_dec * s.eta_dec, enc2 = s.eta_enc * s.eta_enc, v1 = s.sigma_1 * s.sigma_1;
  for (const double t : leading(theta, d_1)) {
    double lambda = s.sigma_1 / (std::sqrt(s.beta_2) * s.eta_dec) * root(t * t - s.beta_2 * dec2);
    double omega2 = v1 * t * t / (s.beta_2 * enc2 * dec2) - b * s.c() * s.c();                         // (C)
    if (v1 >= b * dec2) {                                                                             // (A)
      omega2 = std::max((v1 - b * dec2) / enc2, omega2);
    } else if (t < s.beta_2 * dec2 / (std::sqrt(s.beta_1) * s.sigma_1)) {                             // (B): z_2 alone collapses
      omega2 = 0;
      lambda = root(s.sigma_1 / std::sqrt(s.beta_1) * (t - std::sqrt(s.beta_1) * s.sigma_1));
    }
    p.encoder.push_back(lambda);
    p.decoder.push_back(root(omega2));
    p.sigma.push_back(std::sqrt(s.beta_2 * dec2 / (s.beta_1 * std::max(0.0, omega2) + s.beta_2 * s.c() * s.c())));
  }
  return p;
}

// -- exact-moment losses ----------------------------------------------------------------------------------------------------

inline Matrix parameter(const Shape& shape, double deviation = 0.1) {
  return normal<double>(shape, 0, deviation).requires_grad_();
}
inline Matrix square_sum(const Matrix& x) { return sum(square(x)); }
/// tr(U diag(s^2) U^T)
inline Matrix trace_of(const Matrix& U, const Matrix& s) { return sum(square(U * s)); }
inline List singular_values(const Matrix& x) {
  return no_grad([&] { return svd(x).s.to_vector(); });
}
inline List deviations(const Matrix& s) { return no_grad([&] { return sort(abs(s)).values.to_vector(); }); }

/// z = W x + Sigma^{1/2} eps, y_hat = U z; V in the place of W.
struct LinearVae {
  using value_type = double;
  Setting s;
  Matrix U, V, sigma;  // [d_y, d_z], [d_z, d_x], [d_z]
  LinearVae(int64_t d_x, int64_t d_y, int64_t d_z, const Setting& setting)
      : s(setting), U(parameter({d_y, d_z})), V(parameter({d_z, d_x})), sigma(full<double>({d_z}, s.eta_enc)) {
    if (s.fixed_sigma.empty()) sigma.requires_grad_();
    else sigma = from_vector(s.fixed_sigma, {d_z});
  }
  void visit(auto&& f) {
    f("U", U), f("V", V);
    if (s.fixed_sigma.empty()) f("sigma", sigma);
    else f("sigma", sigma, nn::buffer);
  }
  /// eta_dec^2 times the loss; Z [d_y, d_x].
  Matrix loss(const Matrix& Z) const {
    const double c2 = s.c() * s.c();
    return square_sum(matmul(U, V) - Z) + trace_of(U, sigma) + s.beta * c2 * (square_sum(V) + square_sum(sigma)) -
           s.beta * s.eta_dec * s.eta_dec * sum(log(square(sigma)));
  }
  Spectrum spectrum() const { return {singular_values(U), singular_values(V), deviations(sigma)}; }
  /// KL(q || p) of each unit, the mean over x: [d_z]
  Matrix unit_kl() const {
    const NoGrad guard;
    const Matrix v = square(sigma) / (s.eta_enc * s.eta_enc);
    return 0.5 * (sum(square(V), {1}) / (s.eta_enc * s.eta_enc) + v - 1.0 - log(v));
  }
};

/// z = W_1 x + W_2 y + Sigma^{1/2} eps, y_hat = U_1 z + U_2 x. W = [W_1 W_2].
struct LinearCvae {
  using value_type = double;
  Setting s;
  Matrix W, U_1, U_2, sigma;  // [d_z, d_x + d_y], [d_y, d_z], [d_y, d_x], [d_z]
  LinearCvae(int64_t d_x, int64_t d_y, int64_t d_z, const Setting& setting)
      : s(setting), W(parameter({d_z, d_x + d_y})), U_1(parameter({d_y, d_z})), U_2(parameter({d_y, d_x})),
        sigma(full<double>({d_z}, s.eta_enc).requires_grad_()) {}
  void visit(auto&& f) { f("W", W), f("U_1", U_1), f("U_2", U_2), f("sigma", sigma); }
  /// eta_dec^2 times the loss; M = E[(x, y) (x, y)^T].
  Matrix loss(const Matrix& M) const {
    const double c2 = s.c() * s.c();
    const int64_t d_y = U_1.size(0);
    const Matrix R = matmul(U_1, W) + cat(std::vector<Matrix>{U_2, -eye<double>(d_y, d_y)}, 1);  // the residual is R (x, y)
    return sum(matmul(R, M) * R) + trace_of(U_1, sigma) + s.beta * c2 * (sum(matmul(W, M) * W) + square_sum(sigma)) -
           s.beta * s.eta_dec * s.eta_dec * sum(log(square(sigma)));
  }
  Spectrum spectrum() const { return {singular_values(U_1), {}, deviations(sigma)}; }
  Matrix unit_kl(const Matrix& M) const {
    const NoGrad guard;
    const Matrix v = square(sigma) / (s.eta_enc * s.eta_enc);
    return 0.5 * (sum(matmul(W, M) * W, {1}) / (s.eta_enc * s.eta_enc) + v - 1.0 - log(v));
  }
};

/// z_1 = W_1 x + sigma_1 eps_1, z_2 = W_2 z_1 + Sigma_2^{1/2} eps_2; decoders z_1 = U_2 z_2 and y = U_1 z_1.
struct LinearMhvae {
  using value_type = double;
  Setting s;
  Matrix V_1, W_2, U_2, U_1, sigma_2;  // [d_1, d_x], [d_2, d_1], [d_1, d_2], [d_y, d_1], [d_2]
  LinearMhvae(int64_t d_x, int64_t d_y, int64_t d_1, int64_t d_2, const Setting& setting)
      : s(setting), V_1(parameter({d_1, d_x})), W_2(parameter({d_2, d_1})), U_2(parameter({d_1, d_2})), U_1(parameter({d_y, d_1})),
        sigma_2(full<double>({d_2}, s.eta_enc).requires_grad_()) {}
  void visit(auto&& f) { f("V_1", V_1), f("W_2", W_2), f("U_2", U_2), f("U_1", U_1), f("sigma_2", sigma_2); }
  /// eta_dec^2 times the loss; Z [d_y, d_x].
  Matrix loss(const Matrix& Z) const {
    const double c2 = s.c() * s.c(), v1 = s.sigma_1 * s.sigma_1;
    const int64_t d_1 = V_1.size(0);
    const Matrix G = matmul(U_2, W_2) - eye<double>(d_1, d_1);
    return square_sum(matmul(U_1, V_1) - Z) + v1 * square_sum(U_1) +
           s.beta_1 * (square_sum(matmul(G, V_1)) + trace_of(U_2, sigma_2) + v1 * square_sum(G)) +
           s.beta_2 * c2 * (square_sum(matmul(W_2, V_1)) + v1 * square_sum(W_2) + square_sum(sigma_2)) -
           s.beta_2 * s.eta_dec * s.eta_dec * sum(log(square(sigma_2)));
  }
  Spectrum spectrum() const { return {singular_values(U_2), singular_values(V_1), deviations(sigma_2)}; }
  Matrix unit_kl() const {  // of z_2, the mean over x and z_1
    const NoGrad guard;
    const double e2 = s.eta_enc * s.eta_enc;
    const Matrix v = square(sigma_2) / e2, m = sum(square(matmul(W_2, V_1)), {1}) + s.sigma_1 * s.sigma_1 * sum(square(W_2), {1});
    return 0.5 * (m / e2 + v - 1.0 - log(v));
  }
};

/// Adam from 0.02 to 1e-6 along half a cosine.
template <class Model, class Tick>
void descend(Model& model, const Matrix& moments, int64_t steps, Tick&& tick) {
  optim::Adam opt(model, {.lr = 0.02});
  for (int64_t t = 0; t < steps; ++t) {
    opt.set_lr(optim::cosine_lr(0.02, t, steps, 0, 1e-6));
    opt.zero_grad();
    model.loss(moments).backward();
    opt.step();
    tick();
  }
}

// -- moments ----------------------------------------------------------------------------------------------------------------

/// Second moments of x and y together: A = E[x x^T], B = E[y x^T], C = E[y y^T].
struct Moments {
  Matrix A, B, C;
};
/// Eigenvalues, descending.
inline List eigenvalues(const Matrix& A) {
  List w = eigh(A).values.to_vector();
  return {w.rbegin(), w.rend()};
}
/// The k leading eigenvectors in columns: [n, k], largest first.
inline Matrix leading_vectors(const Matrix& A, int64_t k) {
  const Matrix v = eigh(A).vectors;
  return flip(narrow(v, 1, v.size(1) - k, k), {1}).contiguous();
}
/// E = C - B A^+ B^T
inline Matrix residual_moment(const Moments& m) { return m.C - matmul(matmul(m.B, pinv(m.A, 1e-10)), m.B.t()); }
/// E[(x~, y) (x~, y)^T] with x~ the whitened x; directions that x does not have are left out. E is that of x itself.
inline Matrix joint_whitened(const Moments& m) {
  const auto f = eigh(m.A);
  const List w = f.values.to_vector();
  const int64_t n = static_cast<int64_t>(w.size());
  int64_t null = 0;
  while (null < n && w[static_cast<std::size_t>(null)] <= 1e-10 * w.back()) ++null;
  const Matrix P = narrow(f.vectors, 1, null, n - null), phi = narrow(f.values, 0, null, n - null);
  const Matrix B = matmul(m.B, P) / sqrt(phi);  // E[y x~^T] = Z
  const Matrix I = eye<double>(n - null, n - null);
  return cat(std::vector<Matrix>{cat(std::vector<Matrix>{I, B.t()}, 1), cat(std::vector<Matrix>{B, m.C}, 1)}, 0);
}

/// Pixels [N, 784] split into the lower left quarter x [N, 196] and the other three y [N, 588].
template <class T, class D>
std::pair<Tensor<T, D>, Tensor<T, D>> quarters(const Tensor<T, D>& image) {
  const int64_t N = image.size(0);
  const auto low = narrow(image, 1, 392, 392).reshape({N, 14, 28});
  const auto right = narrow(low, 2, 14, 14).reshape({N, 196});
  return {narrow(low, 2, 0, 14).reshape({N, 196}), cat(std::vector<Tensor<T, D>>{narrow(image, 1, 0, 392), right}, 1)};
}
/// The inverse of quarters().
template <class T, class D>
Tensor<T, D> joined(const Tensor<T, D>& x, const Tensor<T, D>& y) {
  const int64_t N = x.size(0);
  const auto left = x.reshape({N, 14, 14}), right = narrow(y, 1, 392, 196).reshape({N, 14, 14});
  const auto low = cat(std::vector<Tensor<T, D>>{left, right}, 2).reshape({N, 392});
  return cat(std::vector<Tensor<T, D>>{narrow(y, 1, 0, 392), low}, 1);
}

// -- nonlinear models -------------------------------------------------------------------------------------------------------

/// KL(N(mu, sigma^2) || N(0, eta^2)) of each sample and unit: [N, d_z]. sigma enters squared; the small number keeps the logarithm finite
/// where sigma passes through 0.
template <class T, class D>
Tensor<T, D> pair_kl(const Tensor<T, D>& mu, const Tensor<T, D>& sigma, double eta) {
  const auto v = square(sigma) / (eta * eta);
  return 0.5 * (square(mu) / (eta * eta) + v - 1.0 - log(v + 1e-12));
}
/// log N(x; mean, variance) summed over the last dimension.
template <class T, class D>
Tensor<T, D> log_normal(const Tensor<T, D>& x, const Tensor<T, D>& mean, double variance) {
  return -0.5 * (sum(square(x - mean), {-1}) / variance + static_cast<double>(mean.size(-1)) * std::log(2 * M_PI * variance));
}
template <class T, class D>
struct Code {
  Tensor<T, D> mu, sigma;
  Tensor<T, D> sample() const { return mu + sigma * randn_like(mu); }
  Tensor<T, D> log_density(const Tensor<T, D>& z) const {
    return -0.5 * sum(square((z - mu) / sigma) + log(square(sigma)) + std::log(2 * M_PI), {-1});
  }
};

struct Config {
  int64_t d_x = 196, d_y = 588, d_z = 16, hidden = 16;
  Setting s = {};
};

/// Encoder: a hidden ReLU layer for x and one for y, each shared by mean and scale; mu = mu_x + mu_y, sigma = s_x + s_y.
/// Decoder: MLP(x) + MLP(z), one ReLU layer each.
template <class T = float, class D = Cpu>
struct ReluCvae {
  using value_type = T;
  using device_type = D;
  using X = Tensor<T, D>;
  Config c;
  nn::Linear<T, D> x_h, x_mu, x_s, y_h, y_mu, y_s, dx_h, dx_y, dz_h, dz_y;
  explicit ReluCvae(const Config& config)
      : c(config), x_h(c.d_x, c.hidden), x_mu(c.hidden, c.d_z), x_s(c.hidden, c.d_z), y_h(c.d_y, c.hidden), y_mu(c.hidden, c.d_z),
        y_s(c.hidden, c.d_z), dx_h(c.d_x, c.hidden), dx_y(c.hidden, c.d_y), dz_h(c.d_z, c.hidden), dz_y(c.hidden, c.d_y) {}
  void visit(auto&& f) {
    f("x_h", x_h), f("x_mu", x_mu), f("x_s", x_s), f("y_h", y_h), f("y_mu", y_mu), f("y_s", y_s);
    f("dx_h", dx_h), f("dx_y", dx_y), f("dz_h", dz_h), f("dz_y", dz_y);
  }
  Code<T, D> encode(const X& x, const X& y) const {
    const X hx = relu(x_h(x)), hy = relu(y_h(y));
    return {x_mu(hx) + y_mu(hy), x_s(hx) + y_s(hy)};
  }
  X decode(const X& x, const X& z) const { return dx_y(relu(dx_h(x))) + dz_y(relu(dz_h(z))); }
  X unit_kl(const X& x, const X& y) const {
    const auto q = encode(x, y);
    return pair_kl(q.mu, q.sigma, c.s.eta_enc);
  }
  /// The mean over the batch of |y_hat - y|^2 / eta_dec^2 + beta KL.
  X loss(const X& x, const X& y) const {
    const auto q = encode(x, y);
    const double N = static_cast<double>(x.size(0));
    const X recon = sum(square(decode(x, q.sample()) - y)) / (c.s.eta_dec * c.s.eta_dec);
    return (recon + c.s.beta * sum(pair_kl(q.mu, q.sigma, c.s.eta_enc))) / N;
  }
  /// -log p(y | x) by importance sampling with K samples of q: one row each of x and y.
  double nll(const X& x, const X& y, int64_t K) const {
    const NoGrad guard;
    const auto q = encode(x, y);
    const Code<T, D> qs{expand(q.mu, {K, -1}), expand(q.sigma, {K, -1})};
    const X z = qs.sample();
    const X w = log_normal(expand(y, {K, -1}), decode(expand(x, {K, -1}), z), c.s.eta_dec * c.s.eta_dec) +
                log_normal(z, zeros_like(z), c.s.eta_enc * c.s.eta_enc) - qs.log_density(z);
    return std::log(static_cast<double>(K)) - static_cast<double>(logsumexp(w, 0).item());
  }
};

/// q(z_1 | x): x -> hidden ReLU -> tanh; q(z_2 | z_1): z_1 -> hidden ReLU -> tanh (mu_2) and tanh (sigma_2); the decoder mirrors it.
/// x = y here. d_x pixels, d_z units in z_1 and in z_2.
template <class T = float, class D = Cpu>
struct ReluMhvae {
  using value_type = T;
  using device_type = D;
  using X = Tensor<T, D>;
  Config c;
  nn::Linear<T, D> e1_h, e1_mu, e2_h, e2_mu, e2_s, d2_h, d2_z, d1_h, d1_x;
  explicit ReluMhvae(const Config& config)
      : c(config), e1_h(c.d_x, c.hidden), e1_mu(c.hidden, c.d_z), e2_h(c.d_z, c.hidden), e2_mu(c.hidden, c.d_z), e2_s(c.hidden, c.d_z),
        d2_h(c.d_z, c.hidden), d2_z(c.hidden, c.d_z), d1_h(c.d_z, c.hidden), d1_x(c.hidden, c.d_x) {}
  void visit(auto&& f) {
    f("e1_h", e1_h), f("e1_mu", e1_mu), f("e2_h", e2_h), f("e2_mu", e2_mu), f("e2_s", e2_s);
    f("d2_h", d2_h), f("d2_z", d2_z), f("d1_h", d1_h), f("d1_x", d1_x);
  }
  Code<T, D> encode_1(const X& x) const {
    const X mu = tanh(e1_mu(relu(e1_h(x))));
    return {mu, full_like(mu, c.s.sigma_1)};
  }
  Code<T, D> encode_2(const X& z_1) const {
    const X h = relu(e2_h(z_1));
    return {tanh(e2_mu(h)), tanh(e2_s(h))};
  }
  X decode_2(const X& z_2) const { return tanh(d2_z(relu(d2_h(z_2)))); }
  X decode(const X& z_1) const { return tanh(d1_x(relu(d1_h(z_1)))); }
  /// KL of z_2's units, at one sample of z_1.
  X unit_kl(const X& x, const X&) const {
    const auto q_2 = encode_2(encode_1(x).sample());
    return pair_kl(q_2.mu, q_2.sigma, c.s.eta_enc);
  }
  /// |x_hat - x|^2 / eta_dec^2 + beta_1 KL_1 + beta_2 KL_2, each KL held at >= 0; KL_1 = log q(z_1 | x) - log p(z_1 | z_2) at the sample of
  /// z_1 that z_2 was drawn from, its first term in expectation.
  X loss(const X& x, const X&) const {
    const auto& s = c.s;
    const double N = static_cast<double>(x.size(0)), d = static_cast<double>(c.d_z), dec2 = s.eta_dec * s.eta_dec;
    const X z_1 = encode_1(x).sample();
    const auto q_2 = encode_2(z_1);
    const X recon = sum(square(decode(z_1) - x), {1}) / dec2;
    const X apart = sum(square(decode_2(q_2.sample()) - z_1), {1}) / dec2;
    const X kl_1 = relu(0.5 * (apart - d - d * std::log(s.sigma_1 * s.sigma_1 / dec2)));
    const X kl_2 = relu(sum(pair_kl(q_2.mu, q_2.sigma, s.eta_enc), {1}));
    return sum(recon + s.beta_1 * kl_1 + s.beta_2 * kl_2) / N;
  }
  double nll(const X& x, const X&, int64_t K) const {
    const NoGrad guard;
    const auto q = encode_1(x);
    const Code<T, D> q_1{expand(q.mu, {K, -1}), expand(q.sigma, {K, -1})};
    const X z_1 = q_1.sample();
    const auto q_2 = encode_2(z_1);
    const X z_2 = q_2.sample();
    const double dec2 = c.s.eta_dec * c.s.eta_dec;
    const X w = log_normal(expand(x, {K, -1}), decode(z_1), dec2) + log_normal(z_1, decode_2(z_2), dec2) +
                log_normal(z_2, zeros_like(z_2), c.s.eta_enc * c.s.eta_enc) - q_1.log_density(z_1) - q_2.log_density(z_2);
    return std::log(static_cast<double>(K)) - static_cast<double>(logsumexp(w, 0).item());
  }
};

struct Training {
  int64_t epochs = 10, batch = 128;
  double clip = 1, lr = 1e-3;
  int64_t steps(int64_t N) const { return epochs * ((N + batch - 1) / batch); }
};
/// Adam with the gradient's norm clipped; x [N, d_x], y [N, d_y]. The order of the rows and the noise are the generator's.
template <class Net, class T, class D, class Tick>
void train(Net& net, const Tensor<T, D>& x, const Tensor<T, D>& y, const Training& o, Tick&& tick) {
  optim::Adam opt(net, {.lr = o.lr});
  const auto params = nn::parameters(net);
  const int64_t N = x.size(0);
  for (int64_t epoch = 0; epoch < o.epochs; ++epoch) {
    const auto order = randperm<D>(N);
    for (int64_t b = 0; b < N; b += o.batch) {
      const auto rows = narrow(order, 0, b, std::min(o.batch, N - b));
      opt.zero_grad();
      net.loss(index_select(x, 0, rows), index_select(y, 0, rows)).backward();
      optim::clip_grad_norm(params, o.clip);
      opt.step();
      tick();
    }
  }
}

struct Activity {
  double kl = 0, au = 0;  // KL a sample; share of (sample, unit) with KL >= 0.01
  List units;             // mean KL of each unit
  List level;             // of each unit the delta at which it counts as (0.01, delta)-collapsed: 99 % of the samples have KL <= delta
};
template <class Net, class T, class D>
Activity activity(const Net& net, const Tensor<T, D>& x, const Tensor<T, D>& y) {
  const NoGrad guard;
  const auto kl = net.unit_kl(x, y).template to<Cpu>().template to<double>();  // [N, d_z]
  return {sum(mean(kl, {0})).item(), mean((kl >= 0.01).template to<double>()).item(), mean(kl, {0}).to_vector(),
          quantile(kl, 0.99, 0).to_vector()};
}

}  // namespace collapse
