#include <gradus/data/augment.hpp>

#include "support/check.hpp"

using namespace gradus;
using data::Draws;
using data::Picture;
using data::Transform;

namespace {
/// A picture [1, C, H, W] of 0, 1, 2, ... divided by `over`.
Tensor<float> ramp(int64_t C, int64_t H, int64_t W, float over = 1) {
  Tensor<float> x(Shape{1, C, H, W});
  for (int64_t i = 0; i < x.numel(); ++i) x.data()[i] = static_cast<float>(i) / over;
  return x;
}
Tensor<float> apply(const Transform& f, const Tensor<float>& x, uint64_t seed = 1) {
  auto y = x.clone();
  data::augment(y, {f}, {seed, 0});
  return y;
}
std::vector<float> values(const Transform& f, const Tensor<float>& x, uint64_t seed = 1) { return apply(f, x, seed).to_vector(); }
Picture picture(Tensor<float>& x) { return {x.data(), x.shape()[1], x.shape()[2], x.shape()[3]}; }
}  // namespace

TEST_CASE("draws: uniform, integers, normals, beta by their laws", "[data]") {
  double mean = 0, square = 0, beta = 0, beta2 = 0, small = 0;
  std::vector<int> count(7, 0);
  constexpr int n = 20000;
  for (int i = 0; i < n; ++i) {
    Draws d({3, 5}, static_cast<uint64_t>(i));
    const double z = d.normal(), b = d.beta(0.5, 0.5);
    mean += z / n, square += z * z / n, beta += b / n, beta2 += b * b / n, small += b < 0.5 * 0.5 ? 1.0 / n : 0;
    ++count[static_cast<std::size_t>(d.below(7))];
  }
  CHECK(std::fabs(mean) < 0.03);
  CHECK(square == Approx(1).epsilon(0.05));
  CHECK(beta == Approx(0.5).epsilon(0.02));
  CHECK(beta2 - beta * beta == Approx(0.125).epsilon(0.05));   // the variance of the arcsine law
  CHECK(small == Approx(1.0 / 3).epsilon(0.05));               // its distribution function at 1/4: 2 / pi asin(1/2)
  for (const int c : count) CHECK(std::abs(c - n / 7) < 5 * 50);
  Draws a({3, 5}, 9), b({3, 5}, 9), c({3, 5}, 10);
  CHECK(a.bits() == b.bits());
  CHECK(a.bits() != c.bits());
}

TEST_CASE("flips, crops and rotations move pixels", "[data]") {
  const auto x = ramp(1, 2, 3);
  CHECK(values(data::flip_horizontal(1), x) == std::vector<float>{2, 1, 0, 5, 4, 3});
  CHECK(values(data::flip_vertical(1), x) == std::vector<float>{3, 4, 5, 0, 1, 2});
  CHECK(values(data::flip_horizontal(0), x) == x.to_vector());
  // a crop shows the picture shifted by at most `pad`, and each of the shifts occurs
  const auto y = ramp(2, 4, 5);
  std::vector<int> seen(9, 0);
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const auto v = apply(data::random_crop(1, data::Edge::constant, -1), y, seed);
    int found = 0;
    for (int64_t dy = -1; dy <= 1; ++dy)
      for (int64_t dx = -1; dx <= 1; ++dx) {
        bool same = true;
        for (int64_t c = 0; c < 2; ++c)
          for (int64_t i = 0; i < 4; ++i)
            for (int64_t j = 0; j < 5; ++j) {
              const bool inside = i + dy >= 0 && i + dy < 4 && j + dx >= 0 && j + dx < 5;
              same = same && v.data()[(c * 4 + i) * 5 + j] == (inside ? y.data()[(c * 4 + i + dy) * 5 + j + dx] : -1.0f);
            }
        if (same) ++found, ++seen[static_cast<std::size_t>((dy + 1) * 3 + dx + 1)];
      }
    CHECK(found == 1);
  }
  for (const int s : seen) CHECK(s > 5);
  auto z = ramp(1, 3, 3);
  data::detail::rotate(picture(z), 90, data::Edge::constant, 0);  // counter-clockwise
  CHECK(check::difference(z.to_vector(), std::vector<float>{2, 5, 8, 1, 4, 7, 0, 3, 6}, 0, 1e-5) == "");
  CHECK(check::difference(values(data::rotate(0), y), y.to_vector(), 0, 1e-5) == "");
  CHECK(data::detail::reflected(-2, 4) == 2);
  CHECK(data::detail::reflected(5, 4) == 1);
  CHECK(check::difference(values(data::random_resized_crop(1, 1, 1), ramp(1, 4, 4)), ramp(1, 4, 4).to_vector(), 0, 1e-4) == "");
  const auto part = values(data::random_resized_crop(0.1, 0.5), ramp(1, 8, 8));  // a window: values between those of the picture
  CHECK(*std::max_element(part.begin(), part.end()) - *std::min_element(part.begin(), part.end()) < 62);
}

TEST_CASE("colours", "[data]") {
  Tensor<float> x(Shape{1, 3, 1, 2});  // a red and a grey pixel
  const float v[] = {1, 0.5f, 0, 0.5f, 0, 0.5f};
  std::copy(v, v + 6, x.data());
  const auto with = [&](auto f) {
    auto y = x.clone();
    f(picture(y));
    return y.to_vector();
  };
  CHECK(check::difference(with([](const Picture& p) { data::detail::hue(p, 1.0 / 3); }), std::vector<float>{0, 0.5f, 1, 0.5f, 0, 0.5f}, 0, 1e-6) == "");
  CHECK(check::difference(with([](const Picture& p) { data::detail::brightness(p, 0.5); }), std::vector<float>{0.5f, 0.25f, 0, 0.25f, 0, 0.25f}, 0, 1e-6) == "");
  CHECK(check::difference(with([](const Picture& p) { data::detail::saturation(p, 0); }),
                          std::vector<float>{0.299f, 0.5f, 0.299f, 0.5f, 0.299f, 0.5f}, 0, 1e-6) == "");
  const float m = (0.299f + 0.5f) / 2;
  CHECK(check::difference(with([](const Picture& p) { data::detail::contrast(p, 0); }), std::vector<float>(6, m), 0, 1e-6) == "");
  CHECK(check::difference(values(data::colour_jitter(0), x), x.to_vector(), 0, 0) == "");
  const auto y = values(data::normalise({0.5}, {0.25}), x);
  CHECK(check::difference(y, std::vector<float>{2, 0, -2, 0, -2, 0}, 0, 1e-6) == "");
  CHECK(check::missing(check::error_of([&] { values(data::normalise({1, 2}, {1}), x); }), {"normalise", "channels", "3", "2"}) == "");
}

TEST_CASE("cutout and random erasing take the area they say", "[data]") {
  const auto x = ramp(1, 9, 9) + 1.0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const auto y = values(data::cutout(4), x, seed);
    const auto holes = std::count(y.begin(), y.end(), 0.0f);
    CHECK((holes >= 4 && holes <= 16));  // cut off at a corner, or whole
  }
  int erased = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const auto y = values(data::random_erasing(0.5, 0.1, 0.2, 0.5), ramp(1, 20, 20) + 2.0, seed);
    const auto changed = std::count_if(y.begin(), y.end(), [](float v) { return v < 1; });
    erased += changed > 0;
    if (changed > 0) CHECK((changed >= 400 * 0.1 * 0.7 && changed <= 400 * 0.2 * 1.3));
  }
  CHECK((erased > 70 && erased < 130));
}

TEST_CASE("augmentation depends on the sample, not on batch or threads", "[data]") {
  const std::vector<Transform> all{data::random_crop(2, data::Edge::reflect), data::flip_horizontal(), data::rotate(20),
                                   data::colour_jitter(0.4, 0.4, 0.4, 0.1), data::rand_augment(), data::random_erasing(),
                                   data::gaussian_noise(0.01)};
  Tensor<float> x = check::uniform<float>({12, 3, 9, 8}, 0, 1);
  const auto run = [&](int threads, const std::vector<int64_t>& index) {
    const int before = num_threads();
    set_num_threads(threads);
    Tensor<float> y(Shape{static_cast<int64_t>(index.size()), 3, 9, 8});
    for (std::size_t i = 0; i < index.size(); ++i) std::copy_n(x.data() + index[i] * 216, 216, y.data() + i * 216);
    data::augment(y, all, {7, 2}, index);
    set_num_threads(before);
    return y.to_vector();
  };
  std::vector<int64_t> index(12);
  for (std::size_t i = 0; i < 12; ++i) index[i] = static_cast<int64_t>(i);
  const auto one = run(1, index);
  CHECK(one == run(3, index));
  CHECK(one != x.to_vector());
  const auto some = run(2, {5, 3});
  CHECK(std::equal(some.begin(), some.begin() + 216, one.begin() + 5 * 216));
  CHECK(std::equal(some.begin() + 216, some.end(), one.begin() + 3 * 216));
  auto bad = x.clone();
  CHECK(check::missing(check::error_of([&] { data::augment(bad, all, {1, 1}, std::vector<int64_t>{1}); }), {"augment", "[12, 3, 9, 8]", "1", "B indices"}) == "");
  CHECK(check::missing(check::error_of([] { data::flip_horizontal(2); }), {"flip_horizontal", "probability"}) == "");
  CHECK(check::missing(check::error_of([] { data::random_erasing(0.5, 0.5, 0.1); }), {"random_erasing", "min_area"}) == "");
}

TEST_CASE("RandAugment keeps pictures in range; nothing at n = 0", "[data]") {
  const auto x = check::uniform<float>({1, 3, 12, 12}, 0, 1);
  CHECK(values(data::rand_augment(0), x) == x.to_vector());
  int changed = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const auto y = values(data::rand_augment(1, 10), x, seed);
    CHECK(std::all_of(y.begin(), y.end(), [](float v) { return v >= -1e-6f && v <= 1 + 1e-6f; }));
    changed += y != x.to_vector();
  }
  CHECK((changed > 40 && changed < 60));  // all but the identity, one of fourteen
}

TEST_CASE("Mixup and CutMix: pixels and targets agree", "[data]") {
  Tensor<float> x(Shape{4, 1, 28, 28});
  for (int64_t i = 0; i < x.numel(); ++i) x.data()[i] = static_cast<float>(i / 784);  // picture i is full of i
  auto y = x.clone();
  const auto m = data::mixup(y, 0.4, {3, 1});
  for (int64_t i = 0; i < 4; ++i)
    CHECK(y.data()[i * 784] == Approx(m.lambda * static_cast<double>(i) + (1 - m.lambda) * static_cast<double>(m.partner[static_cast<std::size_t>(i)])));
  const Tensor<int64_t> t{0, 1, 2, 3};
  const auto soft = data::mixed_targets(t, m, 5);
  for (int64_t i = 0; i < 4; ++i) {
    double sum = 0, mean = 0;
    for (int64_t k = 0; k < 5; ++k) sum += soft.data()[i * 5 + k], mean += static_cast<double>(k) * soft.data()[i * 5 + k];
    CHECK(sum == Approx(1));
    CHECK(mean == Approx(y.data()[i * 784]).margin(1e-5));  // the label of a mix is its grey value
  }
  double total = 0;
  int empty = 0;
  constexpr int n = 3000;
  for (int k = 0; k < n; ++k) {
    auto z = ones<float>({2, 1, 28, 28});
    std::fill_n(z.data(), 784, 0.0f);
    const auto c = data::cutmix(z, 1, {5, static_cast<uint64_t>(k)});
    const int64_t area = (c.y1 - c.y0) * (c.x1 - c.x0);
    if (c.lambda != 1 - static_cast<double>(area) / 784) FAIL("lambda is not the box's");
    if (c.partner[0] == 1 && std::count(z.data(), z.data() + 784, 1.0f) != area) FAIL("the box is not the partner's");
    total += c.lambda, empty += area == 0;
  }
  CHECK(total / n == Approx(0.7039).margin(0.015));  // not 1/2: boxes are cut off at the border
  CHECK(empty >= 1);
  CHECK(check::missing(check::error_of([&] { data::mixup(y, 0, {1, 1}); }), {"mixup", "alpha"}) == "");
  CHECK(check::missing(check::error_of([&] { data::mixed_targets(t, m, 3); }), {"mixed_targets", "3", "0 to 2"}) == "");
}

TEST_CASE("CutMix: kinds of boxes, drawn apart from the pixels") {
  double deviation[2] = {};
  for (uint64_t k = 0; k < 400; ++k) {
    const auto fixed = data::draw_cutmix(3, 20, 30, {1, data::CutMixBox::fixed, 6}, {7, k});
    CHECK((fixed.y1 - fixed.y0 <= 6 && fixed.x1 - fixed.x0 <= 6 && fixed.y0 >= 0 && fixed.x1 <= 30));
    CHECK(fixed.lambda >= 1 - 36.0 / 600);
    for (const bool gaussian : {false, true}) {
      const auto m = data::draw_cutmix(3, 20, 30, {1, gaussian ? data::CutMixBox::gaussian : data::CutMixBox::uniform}, {7, k});
      CHECK(m.lambda == 1 - static_cast<double>((m.y1 - m.y0) * (m.x1 - m.x0)) / 600);
      deviation[gaussian] += std::abs(static_cast<double>(m.y0 + m.y1) / 2 - 10) + std::abs(static_cast<double>(m.x0 + m.x1) / 2 - 15);
    }
  }
  CHECK(deviation[1] < 0.9 * deviation[0]);  // nearer to the middle
  CHECK(data::draw_cutmix(2, 0, 5, {}, {1, 1}).lambda == 1);
  CHECK(check::missing(check::error_of([] { data::draw_cutmix(2, 4, 4, {.alpha = 0}, {1, 1}); }), {"cutmix", "alpha"}) == "");
  Tensor<float> flat(Shape{4, 4});
  CHECK(check::missing(check::error_of([&] { data::cutmix(flat, 1, {1, 1}); }), {"cutmix", "[4, 4]", "[B, C, H, W]"}) == "");
}

TEST_CASE("lighting moves every pixel of a colour alike") {
  const auto x = check::uniform<float>({1, 3, 4, 4}, 0, 1);
  double first = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const auto y = values(data::lighting(0.1), x, seed);
    const auto from = x.to_vector();
    for (std::size_t i = 0; i < 48; i += 5) CHECK(y[i] - from[i] == Approx(y[i / 16 * 16] - from[i / 16 * 16]).margin(1e-6));
    first += (y[0] - from[0]) * (y[0] - from[0]) / 2000;
  }
  const double l[3] = {0.2175 * 0.5675, 0.0188 * 0.7192, 0.0045 * 0.4009};
  CHECK(std::sqrt(first) == Approx(0.1 * std::sqrt(l[0] * l[0] + l[1] * l[1] + l[2] * l[2])).epsilon(0.06));
  const auto grey = check::uniform<float>({1, 1, 4, 4}, 0, 1);
  CHECK(values(data::lighting(0.1), grey) == grey.to_vector());
}
