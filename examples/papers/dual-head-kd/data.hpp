// The sets: Fashion-MNIST's ten classes, pairs of its pictures (100 classes), CIFAR-100.
#pragma once
#include <string>
#include <vector>

#include <gradus/data/augment.hpp>
#include <gradus/data/cifar.hpp>
#include <gradus/data/fashion_mnist.hpp>

#include "model.hpp"

namespace dhkd {

struct Samples {
  Tensor<float> x;    // [N, inputs], or [N, C, H, W] in [0, 1]
  Tensor<int64_t> y;  // [N]
  int64_t size() const { return y.numel(); }
  Samples first(int64_t n) const { return {narrow(x, 0, 0, n), narrow(y, 0, 0, n)}; }
};
struct Task {
  std::string name;
  Samples train, test;
  int64_t K = 10;
  std::vector<data::Transform> training = {}, always = {};  // of a batch of pictures: in training alone, and then of any
  int64_t inputs() const { return train.x.rank() == 2 ? train.x.size(1) : 0; }
};

inline Samples flat(const data::ImageSet& set) {
  const auto [x, y] = data::slice_batch(set, 0, set.size());
  return {reshape(x, {set.size(), -1}), y};
}
inline Task ten_classes(const data::MnistLike& set, int64_t train, int64_t test) {
  return {"ten classes", flat(data::balanced_subset(set.train, train, 0)), flat(data::balanced_subset(set.test, test, 0))};
}

/// n pairs of pictures, each halved in both directions by averaging, side by side: [n, 14 * 28]; class 10 left + right.
inline Samples pairs(const data::ImageSet& set, int64_t n, uint64_t seed) {
  const auto halved = [&](const Tensor<int64_t>& index) {
    const auto [x, y] = data::gather_batch(set, index.data(), n);
    return Samples{avg_pool2d(x, 2), y};
  };
  const NoGrad guard;
  const auto before = generator();
  manual_seed(seed);
  const Samples left = halved(randint(0, set.size(), {n})), right = halved(randint(0, set.size(), {n}));
  generator() = before;
  return {reshape(cat(std::vector{left.x, right.x}, 3), {n, -1}), left.y * 10 + right.y};
}
inline Task pairs_task(const data::MnistLike& set, int64_t train, int64_t test) {
  return {"pairs", pairs(set.train, train, 1), pairs(set.test, test, 2), 100};
}

inline Task cifar_task(const std::string& dir) {
  const auto set = data::cifar100(dir);
  const auto raw = [](const data::ImageSet& s) {
    const auto [x, y] = data::slice_batch(s, 0, s.size(), {0, 1});
    return Samples{x, y};
  };
  return {"CIFAR-100",
          raw(set.train),
          raw(set.test),
          100,
          {data::random_crop(4), data::flip_horizontal()},
          {data::normalise({0.5071, 0.4867, 0.4408}, {0.2675, 0.2565, 0.2761})}};
}

/// Rows `index` of a set, made ready for a network.
inline Samples batch_of(const Task& task, const Samples& s, const Tensor<int64_t>& index, bool training, uint64_t epoch) {
  Samples b{index_select(s.x, 0, index), index_select(s.y, 0, index)};
  const std::vector<int64_t> numbers = index.to_vector();
  if (training && !task.training.empty()) data::augment(b.x, task.training, {epoch, 0}, numbers);
  if (!task.always.empty()) data::augment(b.x, task.always, {0, 0}, numbers);
  return b;
}

}  // namespace dhkd
