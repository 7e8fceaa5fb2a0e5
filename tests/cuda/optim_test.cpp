// Optimizer steps over several tensors at once: the host's trajectory, both kernels.
#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

#include "support/cuda.hpp"

using namespace gradus;

namespace {
/// Five steps on three tensors, one longer than a chunk, one empty; the values afterwards, and the gradient's norm.
template <class T, class D, class Make> std::vector<double> trajectory(Make make) {
  std::vector<Tensor<T, D>> params;
  uint64_t seed = 1;
  for (const Shape& s : {Shape{3, 5}, Shape{20000}, Shape{0}, Shape{1}})
    params.push_back(check::uniform<double>(s, -1, 1, seed++).template to<T>().template to<D>().requires_grad_());
  auto opt = make(params);
  double norm = 0;
  for (int k = 0; k < 5; ++k) {
    for (std::size_t i = 0; i < params.size(); ++i)
      params[i].set_grad(check::uniform<double>(params[i].shape(), -1, 1, 10 * static_cast<uint64_t>(k) + i + 50)
                             .template to<T>()
                             .template to<D>());
    norm = optim::clip_grad_norm(params, 1.0);
    opt.step();
  }
  std::vector<double> v{norm};
  for (const auto& p : params)
    for (const auto x : p.template to<double>().to_vector()) v.push_back(x);
  return v;
}
template <class T, class Make> std::string differs(Make make, double tolerance) {
  std::string all;
  for (const auto& variant : kernel_variants("optim_step")) {
    const KernelScope scope("optim_step", variant);
    const auto d = check::difference(trajectory<T, Cuda>(make), trajectory<T, Cpu>(make), tolerance, tolerance);
    if (!d.empty()) all += variant + ": " + d + "\n";
  }
  return all;
}
}  // namespace

TEST_CASE("SGD") {
  CHECK(differs<double>([](auto& p) { return optim::Sgd(p, {.lr = 0.1}); }, 1e-13) == "");
  CHECK(differs<double>(
            [](auto& p) { return optim::Sgd(p, {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true}); },
            1e-13) == "");
  CHECK(differs<float>([](auto& p) { return optim::Sgd(p, {.lr = 0.1, .momentum = 0.9, .dampening = 0.5}); }, 1e-5) == "");
}

TEST_CASE("Adam") {
  CHECK(differs<double>([](auto& p) { return optim::Adam(p, {.lr = 0.01}); }, 1e-12) == "");
  CHECK(differs<float>([](auto& p) { return optim::Adam(p, {.lr = 0.01, .weight_decay = 0.1}); }, 1e-5) == "");
  CHECK(differs<bf16>([](auto& p) { return optim::Adam(p, {.lr = 0.01}); }, 1e-2) == "");
}

TEST_CASE("a rule with states of its own") {
  CHECK(differs<double>([](auto& p) { return optim::Lion(p, {.lr = 0.01, .weight_decay = 0.1}); }, 1e-13) == "");
  CHECK(differs<float>([](auto& p) { return optim::Rmsprop(p, {.lr = 0.01, .momentum = 0.9, .centered = true}); }, 1e-5) == "");
}
