#include <gradus/data/image_loader.hpp>

#include "support/check.hpp"

using namespace gradus;

TEST_CASE("pictures come transformed and normalised, the same for any number of threads", "[data]") {
  data::ImageSet set;
  set.shape = Shape{10, 5, 6};
  for (int i = 0; i < 300; ++i) set.pixels.push_back(static_cast<uint8_t>(i * 7 % 256));
  for (int i = 0; i < 10; ++i) set.labels.push_back(static_cast<uint8_t>(i));
  const std::vector<data::Transform> transforms{data::random_crop(1), data::flip_horizontal(), data::cutout(2)};
  std::vector<std::vector<float>> runs;
  for (const int threads : {0, 1, 3}) {
    auto loader = data::image_loader(set, {.batch = 4, .seed = 3, .threads = threads}, transforms);
    runs.emplace_back();
    while (loader.epoch() < 2)
      for (auto& [x, t] : loader) {
        CHECK(x.shape() == Shape({t.numel(), 1, 5, 6}));
        for (const float v : x.to_vector()) runs.back().push_back(v);
        for (const int64_t k : t.to_vector()) runs.back().push_back(static_cast<float>(k));
      }
  }
  CHECK(runs[0].size() == 2 * 10 * 31);
  CHECK(runs[0] == runs[1]);
  CHECK(runs[0] == runs[2]);
  // The same picture is transformed in another way in another epoch; without transforms it is what gather_batch gives.
  const data::BatchPlan plan{0, 0, {7, 2}, {3, 0}}, later{1, 0, {7, 2}, {3, 1}};
  CHECK(data::image_batch(set, plan, transforms).x.to_vector() != data::image_batch(set, later, transforms).x.to_vector());
  const auto plain = data::image_batch(set, plan), same = data::gather_batch<float>(set, plan.index.data(), 2);
  CHECK(check::difference(plain.x.to_vector(), same.x.to_vector(), 1e-5, 1e-5) == "");
  CHECK(plain.t.to_vector() == std::vector<int64_t>{7, 2});
  const data::BatchPlan beyond{0, 0, {10}, {3, 0}};
  CHECK(check::missing(check::error_of([&] { data::image_batch(set, beyond); }), {"image_batch", "10", "below 10"}) == "");
}
