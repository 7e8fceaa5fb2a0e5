// Rectified flow and diffusion: levels, what a net may predict, solvers, guidance. t = 0 is data, t = 1 is noise.
//
//   x_t = a x0 + s e,  e ~ N(0, I)                      v = a' x0 + s' e
//   rectified            a = 1 - t, s = t               v = e - x0 = dx/dt                Liu, Gong, Liu 2022; Lipman et al.
//   2022 variance_preserving  a = cos(pi t / 2), s = sin     v = a e - s x0, dx/dt = pi/2 v    Salimans & Ho 2022, appendix D
//
//   x0 = (s' x - s v) / (a s' - a' s),  e = (a v - a' x) / (a s' - a' s); both denominators above are 1
#pragma once
#include <cmath>
#include <functional>
#include <vector>

#include <gradus/nn/module.hpp>
#include <gradus/ops/random.hpp>
#include <gradus/ops/shape.hpp>

namespace gradus::nn {

// -- levels -----------------------------------------------------------------------------------------------------------------

/// uniform        t = u
/// logit_normal   t = sigmoid(mean + deviation n), n normal                                      Esser et al. 2024, eq. 19
/// mode           t = 1 - u - m (cos^2(pi u / 2) - 1 + u), -1 <= m <= 2 / (pi - 2)               Esser et al. 2024, eq. 20
enum class LevelLaw { uniform, logit_normal, mode };
struct LevelOptions {
  LevelLaw law = LevelLaw::uniform;
  double mean = 0, deviation = 1;  ///< logit_normal
  double m = 0.25;                 ///< mode
  bool stratified = false;         ///< sample i of B from the i-th of B equally probable intervals
  double shift = 1;                ///< t -> shift t / (1 + (shift - 1) t), Esser et al. 2024, eq. 23
};
/// t where the law's distribution function is u, element by element; u in (0, 1).
template <Floating T, class D>
Tensor<T, D> level_at(const Tensor<T, D>& u, const LevelOptions& o = {}, Where at = Where::current()) {
  constexpr double pi = 3.14159265358979323846;
  if (!(o.deviation > 0) || !(o.shift > 0) || o.m < -1 || o.m > 2 / (pi - 2))
    fail("level_at", "no such law",
         {{"deviation", std::to_string(o.deviation)}, {"m", std::to_string(o.m)}, {"shift", std::to_string(o.shift)}},
         "deviation > 0, shift > 0, -1 <= m <= 2 / (pi - 2)", at);
  Tensor<T, D> t = u;
  if (o.law == LevelLaw::logit_normal) {
    const auto n = mul(erfinv(sub(mul(u, 2, at), 1, at), at), std::sqrt(2.0), at);
    t = sigmoid(add(mul(n, o.deviation, at), o.mean, at), at);
  } else if (o.law == LevelLaw::mode) {
    // Falls with u as published; 1 - u in its place makes it rise, so that strata stay in order.
    const auto w = sub(1.0, u, at);
    t = sub(u, mul(add(sub(square(cos(mul(w, pi / 2, at), at), at), 1, at), w, at), o.m, at), at);
  }
  return o.shift == 1 ? t : div(mul(t, o.shift, at), add(mul(t, o.shift - 1, at), 1, at), at);
}
/// B levels in (0, 1).
template <Floating T = float, class D = Cpu>
Tensor<T, D> sample_levels(int64_t B, const LevelOptions& o = {}, Where at = Where::current()) {
  const NoGrad guard;
  auto u = clamp(rand<double, D>({B}, at), 0x1p-53, 1 - 0x1p-53, at);
  if (o.stratified) u = mul(add(u, arange<double, D>(0, static_cast<double>(B), 1, at), at), 1 / static_cast<double>(B), at);
  return clamp(cast<T>(level_at(clamp(u, 0x1p-53, 1 - 0x1p-53, at), o, at), at), 0x1p-24, 1 - 0x1p-24, at);
}

// -- paths ------------------------------------------------------------------------------------------------------------------

enum class FlowPath { rectified, variance_preserving };
/// a, s, a', s' for levels t [B], shaped [B, 1, ...] like a tensor of `rank` dimensions.
template <class T, class D>
struct PathPoint {
  Tensor<T, D> a, s, da, ds;
};
template <Floating T, class D>
PathPoint<T, D> path_point(FlowPath path, const Tensor<T, D>& t, int rank, Where at = Where::current()) {
  if (t.rank() != 1 || rank < 1) fail("path_point", "not one level a sample", {{"t", describe(t)}}, "t [B], x [B, ...]", at);
  Shape shape{t.shape()[0]};
  for (int i = 1; i < rank; ++i) shape.push_back(1);
  const auto level = gradus::reshape(t, shape, at);
  if (path == FlowPath::rectified) {
    const auto one = add(mul(level.detach(), 0, at), 1, at);
    return {sub(1.0, level, at), level, neg(one, at), one};
  }
  const auto angle = mul(level, 3.14159265358979323846 / 2, at);
  const auto a = cos(angle, at), s = sin(angle, at);
  return {a, s, neg(s, at), a};
}
/// x_t from data and noise.
template <Floating T, class D>
Tensor<T, D> noised(const Tensor<T, D>& x0, const Tensor<T, D>& e, const Tensor<T, D>& t, FlowPath path = FlowPath::rectified,
                    Where at = Where::current()) {
  const auto p = path_point(path, t, x0.rank(), at);
  return add(mul(x0, p.a, at), mul(e, p.s, at), at);
}
/// v from data and noise: the target of flow matching.
template <Floating T, class D>
Tensor<T, D> velocity(const Tensor<T, D>& x0, const Tensor<T, D>& e, const Tensor<T, D>& t, FlowPath path = FlowPath::rectified,
                      Where at = Where::current()) {
  const auto p = path_point(path, t, x0.rank(), at);
  return add(mul(x0, p.da, at), mul(e, p.ds, at), at);
}
template <Floating T, class D>
Tensor<T, D> data_from_velocity(const Tensor<T, D>& x, const Tensor<T, D>& v, const Tensor<T, D>& t,
                                FlowPath path = FlowPath::rectified, Where at = Where::current()) {
  const auto p = path_point(path, t, x.rank(), at);
  return sub(mul(x, p.ds, at), mul(v, p.s, at), at);
}
template <Floating T, class D>
Tensor<T, D> noise_from_velocity(const Tensor<T, D>& x, const Tensor<T, D>& v, const Tensor<T, D>& t,
                                 FlowPath path = FlowPath::rectified, Where at = Where::current()) {
  const auto p = path_point(path, t, x.rank(), at);
  return sub(mul(v, p.a, at), mul(x, p.da, at), at);
}
/// x0 = (x - s e) / a; t < 1.
template <Floating T, class D>
Tensor<T, D> data_from_noise(const Tensor<T, D>& x, const Tensor<T, D>& e, const Tensor<T, D>& t,
                             FlowPath path = FlowPath::rectified, Where at = Where::current()) {
  const auto p = path_point(path, t, x.rank(), at);
  return div(sub(x, mul(e, p.s, at), at), p.a, at);
}
/// e = (x - a x0) / s; t > 0.
template <Floating T, class D>
Tensor<T, D> noise_from_data(const Tensor<T, D>& x, const Tensor<T, D>& x0, const Tensor<T, D>& t,
                             FlowPath path = FlowPath::rectified, Where at = Where::current()) {
  const auto p = path_point(path, t, x.rank(), at);
  return div(sub(x, mul(x0, p.a, at), at), p.s, at);
}
template <Floating T, class D>
Tensor<T, D> velocity_from_data(const Tensor<T, D>& x, const Tensor<T, D>& x0, const Tensor<T, D>& t,
                                FlowPath path = FlowPath::rectified, Where at = Where::current()) {
  return velocity(x0, noise_from_data(x, x0, t, path, at), t, path, at);
}
template <Floating T, class D>
Tensor<T, D> velocity_from_noise(const Tensor<T, D>& x, const Tensor<T, D>& e, const Tensor<T, D>& t,
                                 FlowPath path = FlowPath::rectified, Where at = Where::current()) {
  return velocity(data_from_noise(x, e, t, path, at), e, t, path, at);
}

// -- solvers ----------------------------------------------------------------------------------------------------------------

/// Order 1, 2, 2 and 4; 1, 2, 2 and 4 calls a step.
enum class OdeMethod { euler, midpoint, heun, rk4 };
/// x at the last of `times`, from x at the first: dx/dt = f(x, t), one step between neighbours, forwards or backwards.
/// f takes (const Tensor<T, D>&, double). Differentiable; under NoGrad it keeps nothing.
template <Floating T, class D, class F>
Tensor<T, D> integrate(F&& f, Tensor<T, D> x, const std::vector<double>& times, OdeMethod method = OdeMethod::euler,
                       Where at = Where::current()) {
  for (std::size_t i = 0; i + 1 < times.size(); ++i) {
    const double t = times[i], h = times[i + 1] - t;
    const auto move = [&](const Tensor<T, D>& k, double c) { return add(x, mul(k, c * h, at), at); };
    const Tensor<T, D> k1 = f(x, t);
    if (method == OdeMethod::euler) {
      x = move(k1, 1);
    } else if (method == OdeMethod::midpoint) {
      x = move(f(move(k1, 0.5), t + h / 2), 1);
    } else if (method == OdeMethod::heun) {
      const Tensor<T, D> k2 = f(move(k1, 1), t + h);
      x = move(add(k1, k2, at), 0.5);
    } else {
      const Tensor<T, D> k2 = f(move(k1, 0.5), t + h / 2), k3 = f(move(k2, 0.5), t + h / 2), k4 = f(move(k3, 1), t + h);
      x = move(add(add(k1, k4, at), mul(add(k2, k3, at), 2, at), at), 1.0 / 6);
    }
  }
  return x;
}
/// n + 1 levels from 1 down to 0, shifted towards noise for shift > 1.
inline std::vector<double> descending_levels(int64_t n, double shift = 1, Where at = Where::current()) {
  if (n < 1 || !(shift > 0))
    fail("descending_levels", "no steps", {{"n", std::to_string(n)}, {"shift", std::to_string(shift)}}, "n >= 1, shift > 0",
         at);
  std::vector<double> t;
  for (int64_t i = n; i >= 0; --i) {
    const double u = static_cast<double>(i) / static_cast<double>(n);
    t.push_back(shift * u / (1 + (shift - 1) * u));
  }
  return t;
}
/// Noise to data along a rectified flow in n steps: net(x, t [B]) is the velocity.
template <Floating T, class D, class F>
Tensor<T, D> sample_flow(F&& net, const Tensor<T, D>& noise, int64_t steps, OdeMethod method = OdeMethod::euler,
                         double shift = 1, Where at = Where::current()) {
  const NoGrad guard;
  const auto f = [&](const Tensor<T, D>& x, double t) { return net(x, full<T, D>({x.shape()[0]}, t, at)); };
  return integrate<T, D>(f, noise, descending_levels(steps, shift, at), method, at);
}

// -- guidance ---------------------------------------------------------------------------------------------------------------

/// Classifier-free guidance, Ho & Salimans 2022: u + scale (c - u), of predictions with and without the condition.
template <Floating T, class D>
Tensor<T, D> guided(const Tensor<T, D>& c, const Tensor<T, D>& u, double scale, Where at = Where::current()) {
  return add(u, mul(sub(c, u, at), scale, at), at);
}
/// Adaptive projected guidance, Sadat, Hilliges, Weber 2024, algorithm 1; keeps a running difference between the steps of one
/// sample batch. Reductions are in double.
///
///   m <- (c - u) + beta m,   d = m min(1, r / |m|),   d_par = <d, c> c / |c|^2,   c + (scale - 1) (d - d_par + eta d_par)
template <class T = float, class D = Cpu>
struct ProjectedGuidance {
  double scale, beta = -0.5, r = 2.5, eta = 0;  ///< r <= 0: no limit
  Tensor<double, D> m = {};

  /// c, u [B, ...].
  Tensor<T, D> operator()(const Tensor<T, D>& c0, const Tensor<T, D>& u0, Where at = Where::current()) {
    if (c0.rank() < 1 || !(c0.shape() == u0.shape()) || (m.defined() && !(m.shape() == c0.shape())))
      fail("ProjectedGuidance", "the predictions do not match", {{"c", describe(c0)}, {"u", describe(u0)}, {"m", describe(m)}},
           "equal shapes [B, ...], also from step to step", at);
    const auto c = cast<double>(c0, at), difference = sub(c, cast<double>(u0, at), at);
    m = (m.defined() ? add(difference, mul(m, beta, at), at) : difference).detach();
    const auto dot = [&](const Tensor<double, D>& a, const Tensor<double, D>& b) {
      Shape s{a.shape()[0]};
      for (int i = 1; i < a.rank(); ++i) s.push_back(1);
      return gradus::reshape(sum(gradus::reshape(mul(a, b, at), {a.shape()[0], -1}, at), {1}, false, at), s, at);
    };
    const auto tiny = [&](const Tensor<double, D>& x) { return maximum(x, gradus::detail::scalar_like(x, 1e-300, at), at); };
    Tensor<double, D> d = m;
    if (r > 0) d = mul(d, clamp(div(r, sqrt(tiny(dot(m, m)), at), at), 0, 1, at), at);
    const auto along = mul(c, div(dot(d, c), tiny(dot(c, c)), at), at);
    return cast<T>(add(c, mul(add(sub(d, along, at), mul(along, eta, at), at), scale - 1, at), at), at);
  }
  void restart() { m = {}; }
};

}  // namespace gradus::nn
