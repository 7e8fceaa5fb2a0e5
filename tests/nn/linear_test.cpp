// Linear, bilinear and tied layers, embeddings, bags.
#include <gradus/nn/embedding_bag.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

TEST_CASE("bilinear layer") {
  manual_seed(1);
  nn::Bilinear<double> layer(3, 2, 4);
  const auto a = check::uniform({5, 3}), b = check::uniform({5, 2}, -1, 1, 2), y = layer(a, b);
  for (int64_t n = 0; n < 5; ++n)
    for (int64_t k = 0; k < 4; ++k)
      CHECK(y(n, k).item() ==
            Approx(sum(outer(a(n, all), b(n, all)) * layer.weight(k, all, all)).item() + layer.bias(k).item()));
  check::gradients(
      [&](const List& v) {
        nn::Bilinear<double> l = layer;
        l.weight = v[2], l.bias = v[3];
        return l(v[0], v[1]);
      },
      List{a, b, layer.weight, layer.bias});
  CHECK(check::missing(check::error_of([&] { layer(b, a); }), {"Bilinear", "float64 cpu [5, 2]", "linear_test.cpp"}) == "");
}

TEST_CASE("bags of embeddings") {
  manual_seed(2);
  nn::EmbeddingBag<double> bag(6, 3, nn::BagMode::sum);
  const auto index = Tensor<int64_t>{{1, 4}, {0, 0}};
  CHECK(check::difference(bag(index), bag.weight(Tensor<int64_t>{1, 0}) + bag.weight(Tensor<int64_t>{4, 0})) == "");
  const Tensor<double> w{{2, -1}, {0.5, 0.5}};
  CHECK(check::difference(bag(index, w)(0, all), bag.weight(1, all) * 2 - bag.weight(4, all)) == "");
  CHECK(check::difference(bag(gradus::reshape(index, {4}), Tensor<int64_t>{0, 2}), bag(index)) == "");
  bag.mode = nn::BagMode::max;
  CHECK(check::difference(bag(index), maximum(bag.weight(Tensor<int64_t>{1, 0}), bag.weight(Tensor<int64_t>{4, 0}))) == "");
  const auto f = [&](nn::BagMode mode) {
    return [mode](const List& v) {
      nn::EmbeddingBag<double> b(6, 3, mode);
      b.weight = v[0];
      return b(Tensor<int64_t>{5, 1, 1, 3}, Tensor<int64_t>{0, 1, 1});
    };
  };
  check::gradients(f(nn::BagMode::mean), List{bag.weight});
  check::gradients(f(nn::BagMode::max), List{bag.weight});
  CHECK(check::contains(check::error_of([&] { bag(index, w); }), "the mode sum"));
}
