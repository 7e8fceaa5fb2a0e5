// Batches of a set of pictures with augmentations, made ahead of time by threads.
//
//   auto loader = data::image_loader(set.train, {.batch = 100, .seed = 1, .threads = 2}, {data::random_crop(2), data::flip_horizontal()});
//   for (auto& [x, t] : loader) ...                            // the rest of an epoch; loader.epoch() counts
//
// Transforms see values in [0, 1]; the normalisation comes after them.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include <gradus/data/augment.hpp>
#include <gradus/data/batches.hpp>
#include <gradus/data/loader.hpp>

namespace gradus::data {

namespace detail {
/// A batch of pictures [n, C, H, W]: fill(k, to) writes picture k in [0, 1], which its own draws transform before it is normalised.
/// No threads here: a loader has its own.
template <class Set, class Fill>
Batch<float> transformed_batch(const char* op, const Set& set, const BatchPlan& plan, int64_t C, int64_t H, int64_t W,
                               const std::vector<Transform>& transforms, Normalisation norm, Where at, Fill&& fill) {
  const auto n = static_cast<int64_t>(plan.index.size()), size = C * H * W;
  Batch<float> b{Tensor<float>(Shape{n, C, H, W}, at), Tensor<int64_t>(Shape{n}, at)};
  const auto scale = static_cast<float>(1 / norm.deviation), shift = static_cast<float>(-norm.mean / norm.deviation);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t k = plan.index[static_cast<std::size_t>(i)];
    if (k < 0 || k >= set.size())
      fail(op, "no such picture", {{"index", std::to_string(k)}}, "an index below " + std::to_string(set.size()), at);
    float* to = b.x.data() + i * size;
    fill(k, to);
    Draws d(plan.stream, static_cast<uint64_t>(k));
    for (const auto& f : transforms) f({to, C, H, W}, d);
    for (int64_t j = 0; j < size; ++j) to[j] = to[j] * scale + shift;
    b.t.data()[i] = set.labels[static_cast<std::size_t>(k)];
  }
  return b;
}
}  // namespace detail

/// The batch of a plan: pictures plan.index of the set, each transformed by its own draws, then normalised.
inline Batch<float> image_batch(const ImageSet& set, const BatchPlan& plan, const std::vector<Transform>& transforms = {},
                                Normalisation norm = {}, Where at = Where::current()) {
  const int64_t C = set.channels(), H = set.height(), W = set.width(), size = C * H * W;
  return detail::transformed_batch("image_batch", set, plan, C, H, W, transforms, norm, at, [&](int64_t k, float* to) {
    detail::normalise(set.pixels.data() + k * size, to, size, 1.0f / 255, 0.0f);
  });
}

/// The set must outlive the loader.
inline Loader<Batch<float>> image_loader(const ImageSet& set, LoaderOptions o = {}, std::vector<Transform> transforms = {},
                                         Normalisation norm = {}, Where at = Where::current()) {
  return {set.size(), o, [&set, transforms = std::move(transforms), norm, at](const BatchPlan& plan) {
            return image_batch(set, plan, transforms, norm, at);
          }, at};
}

}  // namespace gradus::data
