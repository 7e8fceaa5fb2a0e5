// Convolution and unfolding, every kernel, with first and second derivatives.
#include <gradus.hpp>

#include "support/cuda.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::on_both;
using check::uniform;

TEST_CASE("convolutions in every kernel") {
  for (const auto& variant : kernel_variants("conv")) {
    INFO(variant);
    const KernelScope scope("conv", variant);
    CHECK(on_both([](const auto& v) { return conv1d(v[0], v[1], v[2], {.stride = 2, .padding = 1, .groups = 2}); },
                  List{uniform({2, 4, 7}), uniform({4, 2, 3}, -1, 1, 2), uniform({4}, -1, 1, 3)}) == "");
    CHECK(on_both([](const auto& v) { return conv2d(v[0], v[1], v[2], {.padding = {1, 2}, .dilation = {2, 1}}); },
                  List{uniform({2, 3, 6, 5}), uniform({4, 3, 2, 3}, -1, 1, 2), uniform({4}, -1, 1, 3)}) == "");
    CHECK(on_both([](const auto& v) { return conv2d(v[0], v[1], v[2]); },                         // 1x1: a product
                  List{uniform({2, 3, 4, 5}), uniform({6, 3, 1, 1}, -1, 1, 2), uniform({6}, -1, 1, 3)}) == "");
    CHECK(on_both([](const auto& v) { return conv2d(v[0], v[1], {}, {.stride = 2, .same = true}); },  // ends that differ
                  List{uniform({2, 3, 6, 7}), uniform({4, 3, 3, 5}, -1, 1, 2)}) == "");
    CHECK(on_both([](const auto& v) { return conv3d(v[0], v[1]); },
                  List{uniform({1, 2, 3, 4, 3}), uniform({2, 2, 2, 2, 2}, -1, 1, 2)}) == "");
    CHECK(on_both(
              [](const auto& v) { return conv_transpose2d(v[0], v[1], {}, {.stride = 2, .padding = 1, .output_padding = 1}); },
              List{uniform({1, 3, 3, 4}), uniform({3, 2, 3, 3}, -1, 1, 2)}) == "");
  }
}

TEST_CASE("a weight gradient summed in chunks, floats") {
  const auto x = uniform<float>({3, 2, 30, 30}), w = uniform<float>({3, 2, 3, 3}, -1, 1, 2);     // 2352 products an element
  const auto run = [&]<class D>(D) {
    auto a = x.to<D>().detach().requires_grad_(), b = w.to<D>().detach().requires_grad_();
    const auto y = conv2d(a, b);
    y.backward(uniform<float>(y.shape(), -1, 1, 3).template to<D>());
    return std::make_pair(a.grad(), b.grad());
  };
  const auto [hx, hw] = run(Cpu{});
  const auto [dx, dw] = run(Cuda{});
  CHECK(check::distant(dx, hx, 1e-5, 1e-5) == "");
  CHECK(check::distant(dw, hw, 1e-5, 1e-4) == "");
  const auto [ex, ew] = run(Cuda{});                             // the same bits again
  CHECK(check::unequal(ew, dw.to<Cpu>()) == "");
}

TEST_CASE("no image, no channel") {
  CHECK(conv2d(zeros<float, Cuda>({0, 3, 4, 4}), zeros<float, Cuda>({2, 3, 3, 3})).shape() == Shape{0, 2, 2, 2});
}

TEST_CASE("unfold and fold") {
  CHECK(on_both([](const auto& v) { return unfold(v[0], {2, 3}, {.stride = {1, 2}, .padding = {1, 0}, .dilation = {2, 1}}); },
                List{uniform({2, 3, 6, 7})}) == "");
  CHECK(on_both([](const auto& v) { return fold(v[0], {4, 5}, {2, 2}, {.padding = 1}); }, List{uniform({2, 8, 30})}) == "");
  const auto x = uniform<float>({2, 3, 6, 7});
  CHECK(check::unequal(unfold(x.to<Cuda>(), {3, 3}, {.padding = 1}), unfold(x, {3, 3}, {.padding = 1})) == "");
}
