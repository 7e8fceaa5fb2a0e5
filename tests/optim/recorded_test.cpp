// Twenty steps beside PyTorch, and the names of its states (tests/recorded/optim/record.py).
#include <filesystem>
#include <fstream>
#include <set>

#include <nlohmann/json.hpp>

#include <gradus/ops.hpp>
#include <gradus/optim/adaptive.hpp>
#include <gradus/optim/lbfgs.hpp>
#include <gradus/optim/matrix.hpp>
#include <gradus/optim/sgd.hpp>

#include "optim/twin.hpp"

using namespace gradus;
using namespace gradus::optim;
using twin::Params;
using twin::Values;

namespace {
double loss_at(const Params& params) {
  double f = 0;
  std::size_t i = 0;
  for (const auto& p : params)
    for (const double w : p.to_vector()) {
      const double n = static_cast<double>(i++), d = w - (0.3 * n - 1);
      f += (0.5 + 0.1 * n) * d * d / 2 + std::sin(w);
    }
  return f;
}
/// Runs opt and compares with the case; states are those of parameter 0 and 1.
template <class Opt>
void compare(const nlohmann::json& c, const Params& params, Opt opt) {
  const std::string name = c.at("name");
  for (int k = 0; k < 20; ++k) {
    if constexpr (requires { opt.evaluations(); }) {
      opt.step([&] {
        twin::set_gradients(params, 0);
        return scalar<double>(loss_at(params));
      });
    } else {
      twin::set_gradients(params, k);
      opt.step();
    }
    if (k != 2 && k != 19) continue;
    CHECK(check::difference(twin::values(params), c.at(k == 2 ? "after3" : "after20").get<Values>(), 1e-9, 1e-11) == "");
  }
  std::set<std::string> states;
  for (const auto& [path, x] : opt.state_dict()) {
    if constexpr (requires { opt.evaluations(); }) states.insert(path.substr(0, path.find('.')));
    else states.insert(path.substr(path.find('.') + 1));
  }
  for (const std::string state : c.at("states")) {
    INFO("state " << state);
    if (state != "al") CHECK(states.count(state) == 1);  // al is a temporary of L-BFGS
  }
}
}  // namespace

TEST_CASE("twenty steps end where PyTorch's do, state by state", "[optim]") {
  std::ifstream in(std::filesystem::path(GRADUS_TESTS_DIR) / "recorded" / "optim" / "trajectories.json");
  REQUIRE(in);
  int compared = 0;
  const auto document = nlohmann::json::parse(in);
  for (const auto& c : document.at("cases")) {
    const std::string name = c.at("name");
    INFO(name);
    ++compared;
    const auto is = [&](const char* n) { return name == n; };
    const Params p = name.starts_with("muon") ? twin::parameters({{3, 4}}) : twin::parameters();
    if (is("sgd")) compare(c, p, Sgd<double>(p, {.lr = 0.05}));
    else if (is("sgd.momentum")) compare(c, p, Sgd<double>(p, {.lr = 0.02, .momentum = 0.9, .dampening = 0.1, .weight_decay = 0.01}));
    else if (is("sgd.nesterov")) compare(c, p, Sgd<double>(p, {.lr = 0.02, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true}));
    else if (is("adam")) compare(c, p, Adam<double>(p, {.lr = 0.05, .weight_decay = 0.01}));
    else if (is("adam.amsgrad")) compare(c, p, Adam<double>(p, {.lr = 0.05, .beta1 = 0.8, .beta2 = 0.95, .amsgrad = true}));
    else if (is("adamw")) compare(c, p, AdamW<double>(p, {.lr = 0.05, .weight_decay = 0.1}));
    else if (is("adagrad")) compare(c, p, Adagrad<double>(p, {.lr = 0.1, .lr_decay = 0.05, .weight_decay = 0.01}));
    else if (is("adadelta")) compare(c, p, Adadelta<double>(p, {.lr = 1, .rho = 0.8, .weight_decay = 0.01}));
    else if (is("rmsprop")) compare(c, p, Rmsprop<double>(p, {.lr = 0.02, .alpha = 0.9, .weight_decay = 0.01}));
    else if (is("rmsprop.momentum")) compare(c, p, Rmsprop<double>(p, {.lr = 0.01, .alpha = 0.9, .momentum = 0.8}));
    else if (is("rmsprop.centered")) compare(c, p, Rmsprop<double>(p, {.lr = 0.01, .alpha = 0.9, .centered = true}));
    else if (is("rmsprop.both"))
      compare(c, p, Rmsprop<double>(p, {.lr = 0.01, .alpha = 0.9, .weight_decay = 0.01, .momentum = 0.8, .centered = true}));
    else if (is("nadam")) compare(c, p, Nadam<double>(p, {.lr = 0.02, .weight_decay = 0.01}));
    else if (is("nadam.decoupled"))
      compare(c, p, Nadam<double>(p, {.lr = 0.02, .weight_decay = 0.1, .momentum_decay = 0.01, .decoupled = true}));
    else if (is("radam")) compare(c, p, Radam<double>(p, {.lr = 0.02, .weight_decay = 0.01}));
    else if (is("radam.decoupled"))
      compare(c, p, Radam<double>(p, {.lr = 0.02, .beta1 = 0.8, .beta2 = 0.95, .weight_decay = 0.1, .decoupled = true}));
    else if (is("adamax")) compare(c, p, Adamax<double>(p, {.lr = 0.02, .weight_decay = 0.01}));
    else if (is("adafactor")) compare(c, p, Adafactor<double>(p, {.lr = 0.1, .weight_decay = 0.1}));
    else if (is("muon")) compare(c, p, Muon<double>(p, {.lr = 0.05}));
    else if (is("muon.rms"))
      compare(c, p, Muon<double>(p, {.lr = 0.05, .weight_decay = 0, .nesterov = false, .scale = MuonOptions::Scale::match_rms_adamw}));
    else if (is("lbfgs")) compare(c, p, Lbfgs<double>(p, {.lr = 0.5, .max_iter = 2, .history = 3}));
    else if (is("lbfgs.wolfe")) compare(c, p, Lbfgs<double>(p, {.max_iter = 4, .history = 5, .line_search = true}));
    else FAIL("no optimiser for " << name);
  }
  CHECK(compared == 22);
}

TEST_CASE("L-BFGS: Rosenbrock's valley, a resumed run, groups", "[optim]") {
  const auto run = [](Tensor<double>& x, Lbfgs<double>& opt) {
    return opt.step([&] {
      opt.zero_grad();
      const auto a = narrow(x, 0, 0, 1), b = narrow(x, 0, 1, 1);
      auto loss = sum(square(1 - a) + square(b - square(a)) * 100);
      loss.backward();
      return loss;
    });
  };
  Tensor<double> x{-1.2, 1.0}, y{-1.2, 1.0};
  x.requires_grad_(), y.requires_grad_();
  Lbfgs<double> opt({x}, {.max_iter = 60, .tolerance_change = 1e-15, .line_search = true});
  CHECK(run(x, opt) == Approx(24.2));
  CHECK(x.to_vector()[0] == Approx(1).epsilon(1e-5));
  CHECK(opt.evaluations() < 70);
  // in two parts, the second by an optimiser that got the first one's state
  Lbfgs<double> one({x}, {.max_iter = 3, .line_search = true}), first({y}, {.max_iter = 3, .line_search = true}), second({y}, {.max_iter = 3, .line_search = true});
  {
    const NoGrad guard;
    x.copy_(Tensor<double>{-1.2, 1.0});
  }
  run(x, one), run(x, one);
  run(y, first);
  second.load_state_dict(first.state_dict());
  run(y, second);
  CHECK(x.to_vector() == y.to_vector());
  opt.group([](const std::string&, const auto&) { return true; });
  CHECK(check::missing(check::error_of([&] { run(x, opt); }), {"Lbfgs", "parameter groups", "one group"}) == "");
}
