// Multi-sample dropout on the device: the host's masks, and its losses over the first 20 steps.
#include "multi-sample-dropout/model.hpp"

#include <gradus/optim.hpp>

#include "support/catch.hpp"

using namespace msd;

namespace {
template <class D> std::vector<float> losses(Place where) {
  manual_seed(7);
  const auto x = randn<float>({6, 1, 8, 8}).to<D>();
  const auto y = Tensor<int64_t>{0, 1, 2, 3, 4, 5}.to<D>();
  manual_seed(3);
  Net<float, D> net({.C1 = 4, .C2 = 4, .hidden = 16, .convolutions = 1, .M = 4, .where = where, .side = 8});
  optim::Adam opt(net, {.lr = 1e-3});
  std::vector<float> l;
  for (int step = 0; step < 20; ++step) {
    opt.zero_grad();
    const auto L = net.loss(x, y);
    L.backward();
    opt.step();
    l.push_back(L.item());
  }
  return l;
}
}  // namespace

TEST_CASE("20 steps on the device follow those on the host", "[papers]") {
  for (const auto where : {Place::all, Place::last}) {
    const auto host = losses<Cpu>(where), device = losses<Cuda>(where);
    for (std::size_t i = 0; i < host.size(); ++i) {
      INFO("step " << i);
      CHECK(device[i] == Approx(host[i]).margin(1e-4));
    }
    CHECK(host.back() < host.front());
  }
}

TEST_CASE("R1 on the device", "[papers]") {
  manual_seed(7);
  const auto x = randn<double>({6, 1, 8, 8}).to<Cuda>();
  const auto y = Tensor<int64_t>{0, 1, 2, 3, 4, 5}.to<Cuda>();
  CHECK(relation_1<double>(Config{.C1 = 4, .C2 = 4, .hidden = 16, .convolutions = 1, .M = 4, .side = 8}, x, y, 11) < 1e-10);
}
