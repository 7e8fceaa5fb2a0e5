#include <gradus/debug/summary.hpp>
#include <gradus/models/nasnet.hpp>
#include <gradus/nn.hpp>
#include <gradus/ops/losses.hpp>
#include <gradus/optim.hpp>

#include "support/check.hpp"
#include "support/contains.hpp"

using namespace gradus;
using models::CellOp, models::CellSpec, models::NASNet, models::NASNetConfig;

namespace {
int64_t buffers(auto& net) {
  int64_t n = -nn::parameter_count(net);
  for (const auto& [name, t] : nn::state_dict(net)) n += t.numel();
  return n;
}
NASNetConfig tiny(bool imagenet = false) {
  return {.normal_cells = 1, .filters = imagenet ? 8 : 4, .stem = 5, .imagenet_stem = imagenet, .channels = 2, .classes = 3};
}
}  // namespace

TEST_CASE("nasnet: parameters and multiply-adds of the published networks") {
  {
    NASNet<> net(models::nasnet_mobile());
    CHECK(nn::parameter_count(net) == 5289978);
    CHECK(buffers(net) == 36738);
    CHECK(net.multiply_adds(224, 224) == 563638816);
    CHECK(net.fc.weight.size(1) == 1056);
  }
  {
    NASNet<> net(models::nasnet_cifar());
    CHECK(nn::parameter_count(net) == 3346538);
    CHECK(net.multiply_adds(32, 32) == 544333312);
    CHECK(net.fc.weight.size(1) == 768);
  }
  {
    NASNet<> net(models::nasnet_large());
    CHECK(nn::parameter_count(net) == 88753150);
    CHECK(buffers(net) == 196668);
    CHECK(net.multiply_adds(331, 331) == 23783414658);
    CHECK(net.fc.weight.size(1) == 4032);
  }
  NASNet<> net({.normal_cells = 1, .filters = 8, .stem = 24, .channels = 1});
  CHECK(nn::parameter_count(net) == 71938);
  CHECK((net.multiply_adds(28, 28) + 5000) / 10000 == 1005);
}

TEST_CASE("nasnet: multiply-adds are those of the graph that runs") {
  for (const bool imagenet : {false, true}) {
    auto c = tiny(imagenet);
    NASNet<> net(c);
    nn::eval(net);
    double products = 0;  // a multiplication and an addition each; the last layer adds its bias
    const int64_t side = imagenet ? 35 : 12;
    debug::Recorder r({.keep = 0, .side = 0, .values = false});
    net(randn({1, 2, side, side}));
    for (const auto& o : r.ops)
      if (o.name.find("Conv") != std::string::npos) products += o.flops / 2;
    CHECK(products + static_cast<double>(net.fc.weight.numel()) == Approx(static_cast<double>(net.multiply_adds(side, side))));
  }
}

TEST_CASE("nasnet: a normal cell is the published one, written out") {
  manual_seed(1);
  models::NASNetCell<double> cell(models::nasnet_a_normal(), 4, 1, 6, 3, true, nn::ScheduledDropPath(0, 1, 1), {});
  const auto h = randn<double>({2, 6, 4, 5}), before = randn<double>({2, 3, 8, 10});
  const auto& [halves, norms] = std::tie(cell.previous.convs, cell.previous.norms);
  const auto b = relu(before);
  const auto even = narrow(narrow(b, 2, 0, 4, 2), 3, 0, 5, 2), odd = narrow(narrow(b, 2, 1, 4, 2), 3, 1, 5, 2);
  const auto s1 = norms[0](cat(std::vector{conv2d(even, halves[0].weight), conv2d(odd, halves[1].weight)}, 1));
  const auto s0 = cell.current.norms[0](conv2d(relu(h), cell.current.convs[0].weight));
  const auto sep = [&](std::size_t k, const Tensor<double>& x, int64_t size) {
    const auto& op = cell.ops[k];
    auto y = x;
    for (std::size_t j = 0; j < 2; ++j) {
      y = conv2d(relu(y), op.convs[2 * j].weight, {}, {.padding = size / 2, .groups = 4});
      y = op.norms[j](conv2d(y, op.convs[2 * j + 1].weight));
    }
    return y;
  };
  const auto average = [](const Tensor<double>& x) {
    return avg_pool2d(x, 3, {.stride = 1, .padding = 1, .count_include_pad = false});
  };
  const std::vector expected{s1,
                             sep(0, s0, 5) + sep(1, s1, 3),
                             sep(2, s1, 5) + sep(3, s1, 3),
                             average(s0) + s1,
                             average(s1) + average(s1),
                             sep(8, s0, 3) + s0};
  CHECK(check::difference(cell.forward(h, before), cat(expected, 1)) == "");
}

TEST_CASE("nasnet: a reduction cell strides where it reads its inputs, with TensorFlow's padding") {
  manual_seed(2);
  models::NASNetCell<double> cell(models::nasnet_a_reduction(), 4, 2, 6, 6, false, nn::ScheduledDropPath(0, 1, 1), {});
  const auto h = randn<double>({2, 6, 6, 8}), before = randn<double>({2, 6, 6, 8});
  const auto s0 = cell.current.norms[0](conv2d(relu(h), cell.current.convs[0].weight));
  const auto s1 = cell.previous.norms[0](conv2d(relu(before), cell.previous.convs[0].weight));
  const auto sep = [&](std::size_t k, const Tensor<double>& x, int64_t size, int64_t stride) {
    const auto& op = cell.ops[k];
    const int64_t r = size / 2;  // even extents: with stride 2 one less in front
    auto y = pad(relu(x), {r - stride + 1, r - stride + 1}, {r, r});
    y = op.norms[0](conv2d(conv2d(y, op.convs[0].weight, {}, {.stride = stride, .groups = 4}), op.convs[1].weight));
    y = conv2d(relu(y), op.convs[2].weight, {}, {.padding = r, .groups = 4});
    return op.norms[1](conv2d(y, op.convs[3].weight));
  };
  const auto highest = max_pool2d(pad(s0, {0, 0}, {1, 1}, -1e9), 3, {.stride = 2});
  const auto counts = avg_pool2d(pad(ones<double>({2, 4, 6, 8}), {0, 0}, {1, 1}), 3, {.stride = 2});
  const auto mean_s0 = avg_pool2d(pad(s0, {0, 0}, {1, 1}), 3, {.stride = 2}) / counts;
  const auto s2 = sep(0, s0, 5, 2) + sep(1, s1, 7, 2), s3 = highest + sep(3, s1, 7, 2), s4 = mean_s0 + sep(5, s1, 5, 2);
  const auto s5 = s3 + avg_pool2d(s2, 3, {.stride = 1, .padding = 1, .count_include_pad = false});
  const auto s6 = sep(8, s2, 3, 1) + highest;
  CHECK(check::difference(cell.forward(h, before), cat(std::vector{s3, s4, s5, s6}, 1)) == "");
}

TEST_CASE("nasnet: which outputs a cell reads") {
  for (const bool skip : {false, true}) {
    auto c = tiny();
    c.normal_cells = 2, c.skip_reduction = skip;
    manual_seed(3);
    NASNet<double> net(c);
    nn::eval(net);
    const auto x = randn<double>({2, 2, 9, 8});
    std::vector<Tensor<double>> h{net.norm(net.conv(x))};
    const auto run = [&](std::size_t before) { h.push_back(net.cells[h.size() - 1].forward(h.back(), h[before])); };
    run(0), run(0), run(1), run(skip ? 1 : 2), run(3), run(4), run(skip ? 4 : 5), run(6);
    CHECK(check::difference(net.maps(x).main, h.back()) == "");
    CHECK(h.back().shape() == Shape{2, 6 * 16, 3, 2});
    CHECK(check::difference(net(x), net.fc(mean(relu(h.back()), {2, 3}))) == "");
  }
  NASNet<> net(tiny(true));
  CHECK(net.maps(randn({2, 2, 35, 33})).main.shape() == Shape{2, 6 * 32, 2, 1});  // 17, 9, 5, 3, 2 and 16, 8, 4, 2, 1
}

TEST_CASE("nasnet: every operation of the search space, strided, to other channels, added and side by side") {
  manual_seed(4);
  for (int k = 0; k < 13; ++k) {
    const auto op = static_cast<CellOp>(k);
    INFO(models::name_of(op));
    for (const int64_t stride : {1, 2})
      for (const int64_t in : {4, 6}) {
        models::CellOperation<> m(op, in, 4, stride, {}, Where::current());
        CHECK(m(randn({2, in, 7, 8})).shape() == Shape{2, 4, (7 + stride - 1) / stride, 8 / stride});
        CHECK(m.convs.empty() == ((stride == 1 || op != CellOp::identity) && in == 4 && (k == 0 || (k >= 4 && k <= 7))));
      }
    const auto cell = CellSpec::of({{op, 0, CellOp::identity, 0, true}, {op, 2, CellOp::sep_3x3, 0, false}});
    CHECK(cell.outputs == std::vector<int>{1, 3});
    NASNetConfig c = tiny();
    c.normal = cell, c.reduction = cell;
    NASNet<> net(c);
    CHECK(net(randn({2, 2, 9, 9})).shape() == Shape{2, 3});
    CHECK(net.fc.weight.size(1) == 2 * 16);
  }
}

TEST_CASE("nasnet: scheduled drop path reaches each cell, and evaluation does not see it") {
  auto c = tiny();
  c.final_keep = 0.6;
  NASNet<> net(c);
  const auto x = randn({4, 2, 8, 8});
  net(x);  // running statistics
  nn::eval(net);
  const auto y = net(x).to_vector();
  net.set_step(50, 100);
  CHECK(net.cells[4].drop.p == Approx(0.2));
  CHECK(net.cells[0].drop.p == Approx(0.04));
  CHECK(net(x).to_vector() == y);
  nn::train(net);
  CHECK(net(x).to_vector() != net(x).to_vector());
  net.set_keep(0.7);
  for (const auto& cell : net.cells) CHECK(cell.drop.p == Approx(0.3));
}

TEST_CASE("nasnet: the auxiliary head speaks in training only") {
  auto c = tiny();
  c.aux_side = 12;
  NASNet<> net(c);
  const auto x = randn({2, 2, 12, 12});
  CHECK(net.logits(x).aux.shape() == Shape{2, 3});
  CHECK(net.aux[0].project.weight.size(1) == 6 * 8);
  nn::eval(net);
  CHECK(!net.logits(x).aux.defined());
}

TEST_CASE("nasnet: error texts") {
  CHECK(check::missing(check::error_of([] { NASNet<>({.normal_cells = 0}); }),
                       {"NASNet", "no such network", "nasnet_test.cpp:"}) == "");
  CHECK(check::missing(check::error_of([] {
                         NASNet<>({.normal = {{{CellOp::identity, 0, CellOp::identity, 2}}, {2}}});
                       }),
                       {"NASNetCell", "no such cell", "states made before them"}) == "");
  CHECK(check::missing(check::error_of([] { NASNet<>{tiny()}(randn({2, 3, 8, 8})); }), {"NASNet", "[B, 2, H, W]"}) == "");
  CHECK(check::missing(check::error_of([] {
                         auto c = tiny();
                         c.aux_side = 8;
                         const NASNet<> net(c);
                       }),
                       {"AuxiliaryHead", "too small", "side"}) == "");
}

#if GRADUS_WITH_CUDA
TEST_CASE("nasnet: the device follows the host") {
  manual_seed(5);
  auto c = tiny(true);
  c.aux_side = 67;
  NASNet<> host(c);
  host.logits(randn({2, 2, 67, 67}));  // running statistics that mean something
  NASNet<float, Cuda> device(host);
  const auto x = randn({2, 2, 67, 35});
  const auto t = randint<Cpu>(0, 3, {2});
  const auto loss = [&](auto& net, const auto& v, const auto& targets) {
    const auto L = cross_entropy(net(v), targets);
    L.backward();
    return L.item();
  };
  nn::eval(host), nn::eval(device);
  CHECK(loss(device, x.to<Cuda>(), t.to<Cuda>()) == Approx(loss(host, x, t)).margin(1e-3));
  CHECK(check::difference(device.conv.weight.grad().to<Cpu>(), host.conv.weight.grad(), 1e-2, 1e-3) == "");
}
#endif
