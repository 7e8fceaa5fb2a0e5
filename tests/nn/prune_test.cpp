// Pruning by size, and parameters as one vector, on both devices.
#include <gradus/nn/linear.hpp>
#include <gradus/nn/norm.hpp>
#include <gradus/nn/parameter_vector.hpp>
#include <gradus/nn/prune.hpp>
#include <gradus/nn/sequential.hpp>

#include "support/check.hpp"

using namespace gradus;

namespace {
template <class D>
void prunes() {
  auto a = Tensor<float>{0.5f, -0.1f, 0.3f, 0.f}.to<D>(),
             b = reshape(Tensor<float>{-2.f, 0.2f, 0.1f, 4.f}, {2, 2}).to<D>();
  const auto of = [](const Tensor<float, D>& x) { return x.template to<Cpu>().to_vector(); };
  nn::MagnitudePruning<float, D> pruning({a, b});
  CHECK(pruning.remaining() == 1);
  pruning.prune(0.5);  // over both: 0, 0.1, 0.1 and 0.2 go
  CHECK(pruning.remaining() == 0.5);
  CHECK(of(a) == std::vector<float>{0.5f, 0, 0.3f, 0});
  CHECK(of(b) == std::vector<float>{-2, 0, 0, 4});
  a.fill_(9), b.fill_(1);  // what is gone stays gone, however large it has become
  pruning.prune(0.5);
  CHECK(of(a) == std::vector<float>{9, 0, 9, 0});
  CHECK(of(b) == std::vector<float>{0, 0, 0, 0});
  a.fill_(3);
  pruning.apply();
  CHECK(of(a) == std::vector<float>{3, 0, 3, 0});
  CHECK(of(pruning.masks()[0]) == std::vector<float>{1, 0, 1, 0});
  CHECK(pruning.masks()[1].shape() == Shape{2, 2});
  pruning.prune(0);
  CHECK(pruning.remaining() == 0.25);
  pruning.prune(1);
  CHECK(pruning.remaining() == 0);
  CHECK(check::missing(check::error_of([&] { pruning.prune(1.5); }), {"MagnitudePruning::prune", "1.5", "0 <= share <= 1"}) ==
        "");
  CHECK(check::missing(check::error_of([&] { nn::MagnitudePruning<float, D>(std::vector<Tensor<float, D>>()); }),
                       {"no weights"}) == "");
}

template <class D>
void ties() {  // of equal sizes those that come first go
  auto w = ones<float, D>({6});
  nn::MagnitudePruning<float, D> pruning({w});
  pruning.prune(0.5);
  CHECK(w.template to<Cpu>().to_vector() == std::vector<float>{0, 0, 0, 1, 1, 1});
}

template <class D>
void vectors() {
  manual_seed(1);
  nn::Sequential<float, D> net{nn::Linear<float, D>(3, 2), nn::BatchNorm1d<float, D>(2), nn::Linear<float, D>(2, 2, false)};
  const auto v = nn::parameter_vector(net);
  CHECK(v.numel() == nn::parameter_count(net));
  CHECK(v.numel() == 3 * 2 + 2 + 2 + 2 + 4);
  CHECK_FALSE(v.requires_grad());
  const auto w = narrow(v, 0, 0, 6).template to<Cpu>();
  CHECK(w.to_vector() == net.template at<nn::Linear<float, D>>(0).weight.detach().template to<Cpu>().to_vector());
  const auto other = v * 2.0 + 1.0;
  nn::set_parameter_vector(net, other);
  CHECK(nn::parameter_vector(net).template to<Cpu>().to_vector() == other.template to<Cpu>().to_vector());
  CHECK(nn::parameters(net)[0].requires_grad());
  CHECK(amax(abs(v - other)).item() > 0);  // the first vector is a copy
  CHECK(check::missing(check::error_of([&] { nn::set_parameter_vector(net, zeros<float, D>({15})); }),
                       {"set_parameter_vector", "[15]", "shape [16]", "prune_test.cpp"}) == "");
}
}  // namespace

TEST_CASE("pruning by size over several weights, again and again") {
  prunes<Cpu>();
  ties<Cpu>();
#if GRADUS_WITH_CUDA
  prunes<Cuda>();
  ties<Cuda>();
#endif
}

TEST_CASE("parameters as one vector, and back") {
  vectors<Cpu>();
#if GRADUS_WITH_CUDA
  vectors<Cuda>();
#endif
}
