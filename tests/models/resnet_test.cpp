#include <gradus/models/resnet.hpp>
#include <gradus/nn.hpp>
#include <gradus/ops/losses.hpp>
#include <gradus/optim.hpp>

#include "support/check.hpp"
#include "support/contains.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;
using models::ResNet, models::ResNetConfig, models::resnet18;

namespace {
ResNetConfig small(bool bottleneck) {
  return {.blocks = {1, 2},
          .widths = {3, 4},
          .bottleneck = bottleneck,
          .channels = 2,
          .classes = 5,
          .stem = 4,
          .imagenet_stem = false};
}
}  // namespace

TEST_CASE("resnet: parameters of the published networks, and their names") {
  CHECK(nn::parameter_count(*std::make_unique<ResNet<>>(resnet18())) == 11689512);
  CHECK(nn::parameter_count(*std::make_unique<ResNet<>>(models::resnet34())) == 21797672);
  CHECK(nn::parameter_count(*std::make_unique<ResNet<>>(models::resnet50())) == 25557032);
  auto cifar = models::cifar_resnet(20);  // 0.27 M with shortcuts that have no parameters; here 1 x 1 projections
  ResNet<> net(cifar);
  int64_t projections = 0;
  for (const auto& [name, p] : nn::named_parameters(net)) projections += name.find("downsample") != name.npos ? p.numel() : 0;
  CHECK(nn::parameter_count(net) - projections == 269722);
  const auto state = nn::state_dict(net);
  for (const char* name : {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight",
                           "layer2.0.downsample.1.bias", "layer3.2.bn2.weight", "fc.bias"})
    CHECK(state.contains(name));
  CHECK(!state.contains("layer1.0.downsample.0.weight"));
}

TEST_CASE("resnet: blocks are what the paper draws") {
  for (const bool bottleneck : {false, true}) {
    manual_seed(1);
    ResNet<double> net(small(bottleneck));
    const auto x = randn<double>({2, 2, 7, 6});
    const auto y = net.maps(x);
    CHECK(y.shape() == Shape{2, bottleneck ? 16 : 4, 4, 3});
    CHECK(net(x).shape() == Shape{2, 5});
    const auto& b = net.stages[1][0];  // stride 2
    const auto h = randn<double>({2, bottleneck ? 12 : 3, 7, 6});
    const ConvOptions strided{.stride = 2, .padding = 1}, same{.padding = 1};
    const auto conv = [&](std::size_t k, const Tensor<double>& z, const ConvOptions& o) {
      return b.norms[k](conv2d(z, b.convs[k].weight, {}, o));
    };
    const auto f =
        bottleneck ? conv(2, relu(conv(1, relu(conv(0, h, {})), strided)), {}) : conv(1, relu(conv(0, h, strided)), same);
    const auto shortcut = b.project_norm[0](conv2d(h, b.project[0].weight, {}, {.stride = 2}));
    CHECK(check::difference(b(h), relu(f + shortcut)) == "");
    const auto& c = net.stages[1][1];  // shapes stay: x itself
    CHECK(c.project.empty());
    nn::eval(net);
    CHECK(check::difference(net(x), matmul(mean(net.maps(x), {2, 3}), net.fc.weight.t()) + net.fc.bias) == "");
  }
}

TEST_CASE("resnet: features are the network less its last layer") {
  manual_seed(2);
  ResNet<> net(small(true));
  models::ResNetFeatures<> features(small(true));
  auto state = nn::state_dict(net);
  state.erase("fc.weight"), state.erase("fc.bias");
  nn::load_state_dict(features, state);
  nn::eval(net), nn::eval(features);
  const auto x = randn({2, 2, 6, 6});
  CHECK(check::difference(net.fc(features(x)), net(x), 0.0, 0.0) == "");
}

TEST_CASE("resnet: without shortcuts, and with blocks that start as their shortcut") {
  auto c = small(true);
  c.shortcuts = false;
  ResNet<> plain(c);
  for (const auto& [name, p] : nn::named_parameters(plain)) CHECK(name.find("downsample") == name.npos);
  auto z = small(false);
  z.zero_last_norm = true;
  ResNet<double> net(z);
  const auto h = randn<double>({2, 4, 5, 5});
  CHECK(check::difference(net.stages[1][1](h), relu(h)) == "");
}

TEST_CASE("resnet: the stem of ImageNet divides the extents by 4, and a step of training lowers the loss") {
  manual_seed(3);
  auto c = resnet18(10);
  c.widths = {4, 4, 8, 8}, c.stem = 4;
  ResNet<> net(c);
  const auto x = randn({4, 3, 64, 64});
  CHECK(net.maps(x).shape() == Shape{4, 8, 2, 2});
  const auto t = randint(0, 10, {4});
  optim::Sgd opt(net, {.lr = 0.05});
  const auto loss = [&] { return cross_entropy(net(x), t); };
  const double before = loss().item();
  for (int k = 0; k < 5; ++k) opt.zero_grad(), loss().backward(), opt.step();
  CHECK(loss().item() < before);
}

TEST_CASE("resnet: weights from a file, with the counts of batches that others keep") {
  ResNet<> net(small(true));
  auto state = nn::state_dict(net);
  state["bn1.num_batches_tracked"] = full<int64_t>({}, 7);
  const TempDir dir;
  io::write_safetensors(dir / "net.safetensors", state);
  auto same = ResNet<>::from_safetensors(dir / "net.safetensors", small(true));
  nn::eval(net), nn::eval(same);
  const auto x = randn({2, 2, 6, 6});
  CHECK(check::difference(same(x), net(x), 0.0, 0.0) == "");
  CHECK_THROWS_WITH(ResNet<>::from_safetensors(dir / "net.safetensors", small(false)), contains("load_state_dict"));
}

TEST_CASE("resnet: what does not fit is said") {
  CHECK_THROWS_WITH(ResNet<>({.blocks = {1, 2}, .widths = {8}}),
                    contains("ResNet: no such network") && contains("stages    2") && contains("widths    1"));
  CHECK_THROWS_WITH(models::cifar_resnet(21), contains("cifar_resnet: no such depth") && contains("21") && contains("6 n + 2"));
  ResNet<> net(small(false));
  CHECK_THROWS_WITH(net(randn({1, 3, 8, 8})),
                    contains("ResNet: not a batch of pictures") && contains("[1, 3, 8, 8]") && contains("[B, 2, H, W]"));
}

#if GRADUS_WITH_CUDA
TEST_CASE("resnet on the device is the one on the host") {
  manual_seed(4);
  for (const bool bottleneck : {false, true}) {
    ResNet<double> net(small(bottleneck));
    auto there = nn::to<Cuda>(net);
    const auto x = randn<double>({2, 2, 6, 6});
    const auto here = net(x), y = there(x.to<Cuda>()).to<Cpu>();
    CHECK(check::difference(y, here, 1e-9, 1e-12) == "");
  }
}
#endif
