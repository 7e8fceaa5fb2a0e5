// Batches of a made-up set: every picture once, its label with it, the numbers normalised, the order a function of (seed,
// epoch).
#include <chrono>

#include <gradus/data/batches.hpp>

#include "support/catch.hpp"

using namespace gradus;

namespace {
data::ImageSet make_set(int64_t n, int64_t side) {
  data::ImageSet set;
  set.shape = Shape{n, side, side};
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < side * side; ++k) set.pixels.push_back(static_cast<uint8_t>((i + k) % 256));
    set.labels.push_back(static_cast<uint8_t>(i % 10));
  }
  return set;
}
}  // namespace

TEST_CASE("an epoch holds every picture once, with its label", "[data]") {
  const auto set = make_set(103, 4);
  std::vector<int> seen(103, 0);
  int64_t batches = 0;
  for (const auto& [x, t] : data::batches<double>(set, {.batch = 10, .seed = 3, .epoch = 1})) {
    ++batches;
    REQUIRE(x.shape() == Shape{t.size(0), 1, 4, 4});
    for (int64_t i = 0; i < t.size(0); ++i) {
      const auto byte = static_cast<std::size_t>(std::lround((x.data()[i * 16] * 0.353 + 0.286) * 255));
      ++seen.at(byte);  // the first pixel of picture i is i
      CHECK(t.data()[i] == static_cast<int64_t>(byte % 10));
    }
  }
  CHECK(batches == 11);
  CHECK(seen == std::vector<int>(103, 1));
  CHECK((data::batches(set, {.batch = 10, .drop_last = true}).size()) == 10);
}

TEST_CASE("the order depends on seed and epoch alone", "[data]") {
  const auto set = make_set(50, 2);
  const auto order = [&](uint64_t seed, uint64_t epoch) { return data::batches(set, {.seed = seed, .epoch = epoch}).order(); };
  CHECK(order(1, 0) == order(1, 0));
  CHECK(order(1, 0) != order(1, 1));
  CHECK(order(1, 0) != order(2, 0));
  CHECK(data::batches(set, {.shuffle = false}).order()[7] == 7);
}

TEST_CASE("a balanced subset has as many of each class", "[data]") {
  const auto set = make_set(200, 2);
  const auto some = data::balanced_subset(set, 50, 1);
  std::vector<int> count(10, 0);
  for (const uint8_t l : some.labels) ++count[l];
  CHECK(count == std::vector<int>(10, 5));
  CHECK(some.pixels.size() == 50 * 4);
  CHECK(some.pixels[0] % 10 == some.labels[0]);
  CHECK_THROWS_WITH(data::balanced_subset(set, 300, 1), Catch::Contains("too few pictures"));
  CHECK_THROWS_WITH(data::batches(set, {.batch = 0}), Catch::Contains("empty batch"));
}

TEST_CASE("augmentation moves and mirrors pictures, as seed and epoch say", "[data]") {
  data::ImageSet set;                       // one white pixel, left of the middle of 7 x 7
  set.shape = Shape{300, 7, 7};
  set.pixels.assign(300 * 49, 0), set.labels.assign(300, 0);
  for (std::size_t n = 0; n < 300; ++n) set.pixels[n * 49 + 3 * 7 + 2] = 255;
  const auto places = [&](data::BatchOptions o) {
    std::vector<int64_t> at;
    for (const auto& [x, t] : data::batches(set, o))
      for (int64_t n = 0; n < x.size(0); ++n) {
        int64_t white = -1, count = 0;
        for (int64_t k = 0; k < 49; ++k)
          if (x.data()[n * 49 + k] > 0) white = k, ++count;
        CHECK(count == 1);
        at.push_back(white);
      }
    return at;
  };
  const data::BatchOptions o{.batch = 32, .shuffle = false, .seed = 5, .shift = 1, .flip = true};
  const auto first = places(o);
  std::vector<int> seen(49, 0);
  for (const int64_t k : first) ++seen[static_cast<std::size_t>(k)];
  for (int64_t row = 0; row < 7; ++row)
    for (int64_t column = 0; column < 7; ++column) {
      INFO("row " << row << ", column " << column);
      const bool reached = row >= 2 && row <= 4 && column >= 1 && column <= 5;   // 2 or, mirrored, 4, each +-1
      CHECK((seen[static_cast<std::size_t>(row * 7 + column)] > 0) == reached);
    }
  CHECK(places(o) == first);
  data::BatchOptions next = o;
  next.epoch = 1;
  CHECK(places(next) != first);
  CHECK_THROWS_WITH(data::batches(set, {.shift = -1}), Catch::Contains("negative shift"));
}

TEST_CASE("time of a shuffled epoch of 60,000 pictures", "[data]") {
  data::ImageSet set;
  set.shape = Shape{60000, 28, 28};
  set.pixels.assign(60000 * 784, 9), set.labels.assign(60000, 1);
  double best = 1e9, sum = 0;
  for (uint64_t epoch = 0; epoch < 4; ++epoch) {
    const auto start = std::chrono::steady_clock::now();
    for (const auto& [x, t] : data::batches(set, {.batch = 100, .epoch = epoch})) sum += x.data()[0];
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  WARN("a shuffled epoch: " << best * 1e3 << " ms");
  CHECK(sum == Approx(4 * 600 * (9 / 255.0 - 0.286) / 0.353).epsilon(1e-4));
}
