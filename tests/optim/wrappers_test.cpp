// Wrappers, filters of gradients, averages, scaling and accumulation: against loops over numbers and in closed form.
#include <gradus/nn.hpp>
#include <gradus/ops.hpp>
#include <gradus/optim/average.hpp>
#include <gradus/optim/clip.hpp>
#include <gradus/optim/sgd.hpp>

#include "optim/matrix_twin.hpp"
#include "optim/twin.hpp"

using namespace gradus;
using namespace gradus::optim;
using twin::Params;
using twin::Values;

namespace {
Tensor<double> leaf(std::initializer_list<double> v) {
  Tensor<double> x(v);
  x.requires_grad_();
  return x;
}
double dot_of(const Values& a, const Values& b) {
  double s = 0;
  for (std::size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
  return s;
}
}  // namespace

TEST_CASE("Lookahead: every k steps half way", "[optim]") {
  auto x = leaf({1.0});
  Sgd<double> sgd({x}, {.lr = 0.1});
  Lookahead opt(sgd, {.k = 2, .alpha = 0.5});
  Values seen;
  for (int k = 0; k < 4; ++k) {
    x.set_grad(Tensor<double>{1.0});
    opt.step();
    seen.push_back(x.item());
  }
  CHECK(check::difference(seen, Values{0.9, 0.9, 0.8, 0.8}, 1e-12, 0) == "");
  Lookahead again(sgd, {.k = 2, .alpha = 0.5});
  again.load_state_dict(opt.state_dict());
  for (int k = 0; k < 2; ++k) x.set_grad(Tensor<double>{1.0}), again.step();
  CHECK(x.item() == Approx(0.7));
  CHECK(check::missing(check::error_of([&] { Lookahead(sgd, {.k = 0}); }), {"Lookahead", "k", "wrappers_test.cpp"}) == "");
}

TEST_CASE("cautious steps and three kinds of weight decay", "[optim]") {
  // SGD with momentum goes on where the gradient has turned: such entries stay, the other is scaled by d / (agreeing + 1).
  auto x = leaf({1.0, 1.0});
  Sgd<double> sgd({x}, {.lr = 0.1, .momentum = 0.9});
  Cautious opt(sgd);
  x.set_grad(Tensor<double>{1.0, 1.0});
  opt.step();  // both agree: 2 / (2 + 1)
  CHECK(check::difference(x.detach(), {2}, {1 - 0.1 * 2 / 3, 1 - 0.1 * 2 / 3}) == "");
  x.set_grad(Tensor<double>{-0.1, 1.0});  // b = 0.8, 1.9: the first entry disagrees
  opt.step();
  CHECK(check::difference(x.detach(), {2}, {1 - 0.1 * 2 / 3, 1 - 0.1 * 2 / 3 - 0.19}) == "");
  const auto after = [](Decay kind, double w, double g) {
    auto p = leaf({w});
    Sgd<double> base({p}, {.lr = 0.1});
    WeightDecay decay(base, 0.5, kind);
    p.set_grad(Tensor<double>{g});
    decay.step();
    return p.item();
  };
  CHECK(after(Decay::coupled, 2, 1) == Approx(2 - 0.1 * (1 + 0.5 * 2)));
  CHECK(after(Decay::decoupled, 2, 1) == Approx(2 * 0.95 - 0.1));
  CHECK(after(Decay::cautious, 2, 1) == Approx(2 - 0.1 - 0.1));   // the step goes towards 0: decay
  CHECK(after(Decay::cautious, 2, -1) == Approx(2 + 0.1));        // away from 0: none
  auto p = leaf({2.0});
  Sgd<double> base({p}, {.lr = 0.1});
  WeightDecay none(base, 0.5, Decay::decoupled, true);
  p.set_grad(Tensor<double>{0.0});
  none.step();
  CHECK(p.item() == 2);
}

TEST_CASE("SAM, ASAM, GSAM and LookSAM", "[optim]") {
  // f = sum h w^2 / 2, gradient h w: everything in closed form.
  const Values h{1, 4, 0.5}, w0{1, -0.5, 2};
  const auto slope = [&](const Values& w) { return Values{h[0] * w[0], h[1] * w[1], h[2] * w[2]}; };
  const auto run = [&](SamOptions o, int steps) {
    auto w = leaf({1.0, -0.5, 2.0});
    Sgd<double> sgd({w}, {.lr = 0.1});
    Sam sam(sgd, o);
    int calls = 0;
    double loss = 0;
    for (int k = 0; k < steps; ++k)
      loss = sam.step([&] {
        ++calls;
        sgd.zero_grad();
        auto f = sum(mul(square(w), Tensor<double>{1.0, 4.0, 0.5})) * 0.5;
        f.backward();
        return f;
      });
    CHECK((steps > 1 || loss == Approx(0.5 * (1 + 1 + 2))));
    return std::pair(w.to_vector(), calls);
  };
  const auto stepped = [&](Values w, const Values& g) {
    for (std::size_t i = 0; i < 3; ++i) w[i] -= 0.1 * g[i];
    return w;
  };
  const Values g = slope(w0);
  Values up = w0;
  for (std::size_t i = 0; i < 3; ++i) up[i] += 0.5 * g[i] / twin::norm(g);
  const Values gs = slope(up);
  CHECK(check::difference(run({.rho = 0.5}, 1).first, stepped(w0, gs), 1e-12, 0) == "");
  Values scaled(3), adaptive = w0;
  for (std::size_t i = 0; i < 3; ++i) scaled[i] = (std::fabs(w0[i]) + 0.01) * g[i];
  for (std::size_t i = 0; i < 3; ++i) adaptive[i] += 0.5 * (std::fabs(w0[i]) + 0.01) * scaled[i] / twin::norm(scaled);
  CHECK(check::difference(run({.rho = 0.5, .adaptive = true}, 1).first, stepped(w0, slope(adaptive)), 1e-12, 0) == "");
  Values gap = gs;
  for (std::size_t i = 0; i < 3; ++i) gap[i] -= 0.3 * (g[i] - dot_of(g, gs) / dot_of(gs, gs) * gs[i]);
  CHECK(check::difference(run({.rho = 0.5, .alpha = 0.3}, 1).first, stepped(w0, gap), 1e-12, 0) == "");
  Values v = gs;
  for (std::size_t i = 0; i < 3; ++i) v[i] -= dot_of(g, gs) / dot_of(g, g) * g[i];
  const Values w1 = stepped(w0, gs);
  Values g1 = slope(w1);
  const double scale = 0.7 * twin::norm(g1) / twin::norm(v);
  for (std::size_t i = 0; i < 3; ++i) g1[i] += scale * v[i];
  const auto [w2, calls] = run({.rho = 0.5, .every = 2}, 2);
  CHECK(check::difference(w2, stepped(w1, g1), 1e-12, 0) == "");
  CHECK(calls == 3);  // two at the first step, one at the second
}

TEST_CASE("filters: Grokfast, orthogonal gradients, PCGrad", "[optim]") {
  auto x = leaf({3.0, 4.0});
  Grokfast<double> ema({x}, {.alpha = 0.5, .lambda = 2});
  x.set_grad(Tensor<double>{1.0, 0.0});
  ema.filter();
  CHECK(check::difference(x.grad(), {2}, {3, 0}) == "");
  x.set_grad(Tensor<double>{0.0, 2.0});
  ema.filter();  // the average is (0.5, 1)
  CHECK(check::difference(x.grad(), {2}, {1, 4}) == "");
  Grokfast<double> again({x}, {.alpha = 0.5, .lambda = 2});
  again.load_state_dict(ema.state_dict());
  x.set_grad(Tensor<double>{0.0, 0.0});
  again.filter();
  CHECK(check::difference(x.grad(), {2}, {0.5, 1}) == "");
  Grokfast<double> window({x}, {.lambda = 1, .window = 2});
  x.set_grad(Tensor<double>{1.0, 0.0});
  window.filter();
  CHECK(check::difference(x.grad(), {2}, {1, 0}) == "");  // not full yet
  x.set_grad(Tensor<double>{3.0, 2.0});
  window.filter();
  CHECK(check::difference(x.grad(), {2}, {5, 3}) == "");
  // w = (3, 4), g = (1, 0): g - 3/25 w = (0.64, -0.48), of length 0.8
  x.set_grad(Tensor<double>{1.0, 0.0});
  orthogonalize_gradients(Params{x});
  CHECK(check::difference(x.grad(), {2}, {0.8, -0.6}) == "");
  // g_1 = (1, 0), g_2 = (-1, 1): conflict. g_1' = g_1 + g_2 / 2, g_2' = g_2 + g_1.
  auto y = leaf({0.0, 0.0});
  const auto a = narrow(y, 0, 0, 1), b = narrow(y, 0, 1, 1);
  pcgrad<double, Cpu>({sum(a), sum(b - a)}, {y});
  CHECK(check::difference(y.grad(), {2}, {1 - 0.5 + 0, 0 + 0.5 + 1}) == "");
  auto z = leaf({0.0, 0.0});
  pcgrad<double, Cpu>({sum(z), sum(narrow(z, 0, 0, 1))}, {z});  // no conflict: the plain sum
  CHECK(check::difference(z.grad(), {2}, {2, 1}) == "");
}

TEST_CASE("aligned gradients: of two losses in conflict the second gives way, also through what only the first one has", "[optim]") {
  auto shared = leaf({0.0, 0.0}), head = leaf({0.0}), other = leaf({0.0});
  const auto a = narrow(shared, 0, 0, 1), b = narrow(shared, 0, 1, 1);
  // g = (1, 0 | 2 | 0), a = (-1, 1 | 0 | 3): <g, a> = -1, |g|^2 = 5, a' = a + g / 5
  const auto conflict = align_gradients(sum(a + 2 * head), sum(b - a + 3 * other), Params{shared, head, other});
  CHECK(conflict.projected);
  CHECK(conflict.cosine == Approx(-1 / std::sqrt(5.0 * 11)));
  CHECK(check::difference(shared.grad(), {2}, {1 - 1 + 0.2, 1}) == "");
  CHECK(head.grad().item() == Approx(2.4));
  CHECK(other.grad().item() == 3);
  const auto none = align_gradients(sum(a + b), sum(b), Params{shared});
  CHECK(!none.projected);
  CHECK(none.cosine == Approx(1 / std::sqrt(2.0)));
  CHECK(check::difference(shared.grad(), {2}, {1, 2}) == "");
  const auto nothing = align_gradients(sum(head), sum(b), Params{shared});  // a loss that does not reach
  CHECK((!nothing.projected && nothing.cosine == 0));
  CHECK(check::difference(shared.grad(), {2}, {0, 1}) == "");
}

TEST_CASE("clipping by value, unit-wise, and centring", "[optim]") {
  auto w = check::leaf(Tensor<double>{{3.0, 4.0}, {0.0, 0.0}, {1.0, 0.0}}), v = leaf({2.0});
  const auto reset = [&] { w.set_grad(Tensor<double>{{6.0, 8.0}, {3.0, 4.0}, {0.001, 0.0}}), v.set_grad(Tensor<double>{-9.0}); };
  reset();
  clip_grad_value(Params{w, v}, 5);
  CHECK(check::difference(w.grad(), {3, 2}, {5, 5, 3, 4, 0.001, 0}) == "");
  CHECK(v.grad().item() == -5);
  reset();
  // limits 0.1 * 5, 0.1 * eps, 0.1 * 1; the third row is below its limit
  clip_grad_adaptive(Params{w, v}, 0.1, 1e-3);
  CHECK(check::difference(w.grad(), {3, 2}, {0.3, 0.4, 0.6e-4, 0.8e-4, 0.001, 0}) == "");
  CHECK(v.grad().item() == Approx(-0.2));
  reset();
  centralize_gradients(Params{w, v});
  CHECK(check::difference(w.grad(), {3, 2}, {-1, 1, -0.5, 0.5, 0.0005, -0.0005}) == "");
  CHECK(v.grad().item() == -9);
  v.set_grad(Tensor<double>{HUGE_VAL});
  CHECK(check::missing(check::error_of([&] { clip_grad_norm(Params{w, v}, 1); }), {"clip_grad_norm", "not finite", "LossScaler"}) == "");
}

TEST_CASE("averages of weights", "[optim]") {
  nn::Linear<double> net{1, 1};
  const auto set = [&](double x) {
    const NoGrad guard;
    net.weight.fill_(x), net.bias.fill_(-x);
  };
  set(1);
  Ema ema(net, {.decay = 0.5, .warmup = false});
  Swa swa(net);
  double expected = 1;
  for (const double x : {2.0, 3.0, 7.0}) {
    set(x);
    ema.update(), swa.update();
    expected = 0.5 * expected + 0.5 * x;
  }
  ema.swap();
  CHECK(net.weight.item() == Approx(expected));
  CHECK(net.bias.item() == Approx(-expected));
  CHECK(check::missing(check::error_of([&] { ema.update(); }), {"holds the average", "swap()"}) == "");
  ema.swap();
  CHECK(net.weight.item() == 7);
  swa.swap();
  CHECK(net.weight.item() == Approx(4));
  swa.swap();
  Ema warm(net, {.decay = 0.9});
  CHECK(warm.decay(1) == Approx(0.1));
  CHECK(warm.decay(1000) == 0.9);
  Ema copy(net, {.decay = 0.5, .warmup = false});
  copy.load_state_dict(ema.state_dict());
  CHECK(copy.updates() == 3);
  copy.swap();
  CHECK(net.weight.item() == Approx(expected));
}

TEST_CASE("loss scaling leaves out steps that overflow", "[optim]") {
  auto x = leaf({1.0});
  Sgd<double> opt({x}, {.lr = 0.1});
  LossScaler scaler({.scale = 8, .interval = 2});
  const auto step = [&](double slope) {
    opt.zero_grad();
    scaler.scale(sum(x * slope)).backward();
    return scaler.step(opt);
  };
  CHECK(step(2));
  CHECK(x.item() == Approx(0.8));
  CHECK_FALSE(step(HUGE_VAL));
  CHECK(x.item() == Approx(0.8));
  CHECK(scaler.factor() == 4);
  CHECK(step(1));
  CHECK(step(1));
  CHECK(scaler.factor() == 8);
  LossScaler other;
  other.load_state_dict(scaler.state_dict());
  CHECK(other.factor() == 8);
  scaler.unscale(Params{x});
  CHECK(check::missing(check::error_of([&] { scaler.unscale(Params{x}); }), {"second time"}) == "");
}

TEST_CASE("accumulation takes the mean over small batches", "[optim]") {
  auto x = leaf({1.0});
  Sgd<double> opt({x}, {.lr = 0.1});
  Accumulate every(opt, 2);
  Values seen;
  for (const double slope : {1.0, 3.0, 5.0}) {
    sum(x * slope).backward();
    every.step();
    seen.push_back(x.item());
  }
  CHECK(check::difference(seen, Values{1, 0.8, 0.8}, 1e-12, 0) == "");
  CHECK(every.flush());
  CHECK(x.item() == Approx(0.3));
  CHECK_FALSE(every.flush());
}
