// Runs an optimiser beside a loop over doubles that is written from the method's paper. Parameters are numbered through,
// W [3, 4] and b [3] first; entry i begins at sin(i + 1) and has at step k = 0, 1, ... the gradient
//   a_i (w_i - c_i) + cos(w_i + k),   a_i = 0.5 + 0.1 i,  c_i = 0.3 i - 1            (as in tests/recorded/optim/record.py)
#pragma once
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include <gradus/optim/optimizer.hpp>

#include "support/check.hpp"

namespace twin {

using gradus::Shape;
using Values = std::vector<double>;
using Params = std::vector<gradus::Tensor<double>>;

inline double slope(double w, std::size_t i, int k) {
  const double n = static_cast<double>(i);
  return (0.5 + 0.1 * n) * (w - (0.3 * n - 1)) + std::cos(w + k);
}
inline Params parameters(const std::vector<Shape>& shapes = {{3, 4}, {3}}) {
  Params params;
  std::size_t i = 0;
  for (const auto& shape : shapes) {
    Values v(static_cast<std::size_t>(shape.numel()));
    for (double& x : v) x = std::sin(static_cast<double>(++i));
    params.push_back(gradus::from_vector(v, shape));
    params.back().requires_grad_();
  }
  return params;
}
inline void set_gradients(const Params& params, int k) {
  std::size_t i = 0;
  for (const auto& p : params) {
    Values g = p.to_vector();
    for (double& x : g) x = slope(x, i++, k);
    p.set_grad(gradus::from_vector(g, p.shape()));
  }
}
inline Values values(const Params& params) {
  Values all;
  for (const auto& p : params)
    for (const double x : p.to_vector()) all.push_back(x);
  return all;
}
/// (w, g, t): one parameter's values after step t = 1, 2, ...; keeps its states.
using Loop = std::function<void(Values& w, const Values& g, int t)>;

/// The first difference after `steps` steps between opt (made by make(params)) and the loops, one from make_loop(shape) for each
/// parameter; "" when there is none.
template <class Make, class MakeLoop>
std::string difference(Make make, MakeLoop make_loop, std::vector<Shape> shapes = {{3, 4}, {3}}, int steps = 20) {
  const Params params = parameters(shapes);
  std::vector<Values> w;
  std::vector<Loop> loops;
  for (const auto& p : params) w.push_back(p.to_vector()), loops.push_back(make_loop(p.shape()));
  auto opt = make(params);
  for (int k = 0; k < steps; ++k) {
    set_gradients(params, k);
    opt.step();
    std::size_t i = 0;
    for (std::size_t p = 0; p < w.size(); ++p) {
      Values g = w[p];
      for (double& x : g) x = slope(x, i++, k);
      loops[p](w[p], g, k + 1);
    }
  }
  Values all;
  for (const auto& x : w) all.insert(all.end(), x.begin(), x.end());
  return check::difference(values(params), all, 1e-10, 1e-12);
}
/// The same where each entry goes alone: step(w, g, t, s) with states s, zeros at first.
template <class Make, class Step>
std::string elementwise(Make make, Step step) {
  return difference(make, [&](const Shape& shape) -> Loop {
    return [step, states = std::vector<std::array<double, 4>>(static_cast<std::size_t>(shape.numel()))](
               Values& w, const Values& g, int t) mutable {
      for (std::size_t i = 0; i < w.size(); ++i) step(w[i], g[i], t, states[i]);
    };
  });
}
/// One parameter that begins at 1 and has the gradient 2 three times.
template <class Make>
double three_steps(Make make) {
  gradus::Tensor<double> x{1.0};
  x.requires_grad_();
  auto opt = make(Params{x});
  for (int k = 0; k < 3; ++k) {
    x.set_grad(gradus::Tensor<double>{2.0});
    opt.step();
  }
  return x.item();
}

}  // namespace twin
