// Pooling layers through one net, and layers without parameters that only name an operator.
#include <gradus/nn/activation.hpp>
#include <gradus/nn/pool.hpp>
#include <gradus/nn/sequential.hpp>

#include "support/check.hpp"

using namespace gradus;

TEST_CASE("pooling layers are the operators of their names") {
  const auto x = check::uniform({2, 3, 8}), image = check::uniform({2, 3, 4, 6}), volume = check::uniform({1, 2, 4, 4, 4});
  CHECK(check::difference(nn::MaxPool1d(2)(x), max_pool1d(x, 2)) == "");
  CHECK(check::difference(nn::AvgPool1d(2, {.stride = 1})(x), avg_pool1d(x, 2, {.stride = 1})) == "");
  CHECK(check::difference(nn::AvgPool3d(2)(volume), avg_pool3d(volume, 2)) == "");
  CHECK(check::difference(nn::MaxPool3d(2)(volume), max_pool3d(volume, 2)) == "");
  CHECK(check::difference(nn::LpPool2d(3, 2)(image), lp_pool2d(image, 3, 2)) == "");
  CHECK(check::difference(nn::AdaptiveAvgPool2d({1, 2})(image), adaptive_avg_pool2d(image, {1, 2})) == "");
  CHECK(check::difference(nn::AdaptiveMaxPool1d(3)(x), adaptive_max_pool1d(x, 3)) == "");
  CHECK(check::difference(nn::GlobalAvgPool{}(image), mean(image, {2, 3})) == "");
  CHECK(check::difference(nn::GlobalMaxPool{}(volume), amax(volume, {2, 3, 4})) == "");
}

TEST_CASE("activation layers are the operators of their names") {
  const auto x = check::uniform({2, 6}, -3, 3);
  nn::Sequential<double> net{nn::ReLUSquared{},   nn::ReLU6{},     nn::GELUTanh{},    nn::Mish{},      nn::SELU{},
                             nn::LeakyReLU{0.2},  nn::ELU{},       nn::CELU{2},       nn::Softplus{},  nn::Softshrink{0.1},
                             nn::Hardshrink{0.1}, nn::Hardtanh{},  nn::Hardsigmoid{}, nn::Hardswish{}, nn::Softsign{},
                             nn::Tanhshrink{},    nn::LogSigmoid{}};
  const auto early = leaky_relu(selu(mish(gelu_tanh(relu6(relu_squared(x))))), 0.2);
  const auto middle = hardshrink(softshrink(softplus(celu(elu(early), 2)), 0.1), 0.1);
  const auto y = log_sigmoid(tanhshrink(softsign(hardswish(hardsigmoid(hardtanh(middle))))));
  CHECK(check::difference(net(x), y) == "");
  CHECK(check::difference(nn::LeakyReLU{0.2}(x), leaky_relu(x, 0.2)) == "");
  CHECK(check::difference(nn::CELU{2}(x), celu(x, 2)) == "");
  CHECK(check::difference(nn::Maxout{3}(x), maxout(x, 3)) == "");
  CHECK(check::difference(nn::SwiGLU{}(x), swiglu(x)) == "");
  CHECK(check::difference(nn::Unflatten{{2, 3}}(x), gradus::reshape(x, {2, 2, 3})) == "");
  nn::GumbelSoftmax g(0.5, true);
  nn::eval(g);
  CHECK(check::difference(g(x), softmax(x * 2.0)) == "");
  nn::PReLU<double> prelu(6, 0.3);
  CHECK(check::difference(prelu(x), leaky_relu(x, 0.3)) == "");
  CHECK(nn::parameter_count(prelu) == 6);
  nn::Snake<double> snake_layer(1, 2);
  CHECK(check::difference(snake_layer(x), x + square(sin(x * 2.0)) / 2.0) == "");
}
