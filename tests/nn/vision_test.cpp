// Layers of images.
#include <gradus/nn/vision.hpp>

#include "support/check.hpp"

using namespace gradus;

TEST_CASE("resizing, pixels, borders, patches") {
  const auto x = check::uniform({1, 4, 4, 6});
  CHECK(nn::Upsample{{.scale = 2, .mode = InterpolateMode::linear}}(x).shape() == Shape{1, 4, 8, 12});
  CHECK(check::difference(nn::PixelUnshuffle(2)(nn::PixelShuffle(2)(x)), x, 0, 0) == "");
  const Tensor<double> row{{1, 2, 3}};
  const auto around = [&](nn::PadMode mode) { return nn::Pad({2}, {1}, mode, 9)(row).to_vector(); };
  CHECK(around(nn::PadMode::constant) == std::vector<double>{9, 9, 1, 2, 3, 9});
  CHECK(around(nn::PadMode::reflect) == std::vector<double>{3, 2, 1, 2, 3, 2});
  CHECK(around(nn::PadMode::replicate) == std::vector<double>{1, 1, 1, 2, 3, 3});
  CHECK(around(nn::PadMode::circular) == std::vector<double>{2, 3, 1, 2, 3, 1});
  manual_seed(1);
  nn::PatchEmbedding<double> patches(4, 2, 5);  // a convolution whose stride is its kernel
  const auto w = gradus::reshape(patches.proj.weight, {5, 4, 2, 2});
  const auto y = conv2d(x, w, patches.proj.bias, {.stride = 2});
  CHECK(check::difference(patches(x), transpose(gradus::flatten(y, 2), 1, 2), 1e-12, 1e-13) == "");
}

TEST_CASE("squeeze and excitation") {
  manual_seed(3);
  nn::SqueezeExcitation<double> se(8, 4);
  const auto x = check::uniform({2, 8, 3, 3});
  const auto factor = sigmoid(se.excite(relu(se.squeeze(mean(x, {2, 3})))));
  CHECK(check::difference(se(x), x * gradus::reshape(factor, {2, 8, 1, 1})) == "");
  CHECK(nn::parameter_count(se) == 8 * 2 + 2 + 2 * 8 + 8);
}

TEST_CASE("blocks of a U-Net") {
  manual_seed(2);
  nn::UNetBlock<double> block(4, 6, 3), plain(4, 4);
  const auto x = check::uniform({2, 4, 4, 4}), t = check::uniform({2, 3}, -1, 1, 2);
  CHECK(check::difference(block(x, t), block.skip[0](x)) == "");  // starts as its skip
  CHECK(check::difference(plain(x), x) == "");
  nn::init::normal(block.conv2.weight, 0, 0.1);
  const auto h = block.conv1(silu(block.norm1(x))) + gradus::reshape(block.time[0](silu(t)), {2, 6, 1, 1});
  CHECK(check::difference(block(x, t), block.skip[0](x) + block.conv2(silu(block.norm2(h)))) == "");
  CHECK(check::missing(check::error_of([&] { block(x); }), {"UNetBlock", "t [B, time]"}) == "");
  nn::ImageAttention<double> attention(4, 2);
  // Attention does not know where a pixel is: moving the pixels moves the result.
  const auto moved = [](const Tensor<double>& v) { return roll(v, 1, 3); };
  CHECK(check::difference(attention(moved(x)), moved(attention(x)), 1e-11, 1e-12) == "");
  CHECK(nn::Downsample2d<double>(4)(x).shape() == Shape{2, 4, 2, 2});
  CHECK(nn::Upsample2d<double>(4)(x).shape() == Shape{2, 4, 8, 8});
}
