#include <algorithm>
#include <fstream>
#include <set>

#include <gradus/data/cifar.hpp>
#include <gradus/data/image_loader.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;

namespace {
using Bytes = std::vector<uint8_t>;
void put(const std::filesystem::path& p, const Bytes& b) {
  std::ofstream(p, std::ios::binary).write(reinterpret_cast<const char*>(b.data()), static_cast<std::streamsize>(b.size()));
}
// Byte j of picture i.
uint8_t pixel(int64_t i, int64_t j) { return static_cast<uint8_t>((i * 31 + j * 7) % 251); }
// Pictures first ... first + n - 1, each after its labels.
Bytes records(int64_t first, int64_t n, const std::vector<int64_t>& classes) {
  Bytes b;
  for (int64_t i = first; i < first + n; ++i) {
    for (const int64_t c : classes) b.push_back(static_cast<uint8_t>(i % c));
    for (int64_t j = 0; j < 3072; ++j) b.push_back(pixel(i, j));
  }
  return b;
}
void write_cifar10(const std::filesystem::path& dir, int64_t n) {
  std::filesystem::create_directories(dir);
  for (int64_t k = 0; k < 5; ++k) put(dir / ("data_batch_" + std::to_string(k + 1) + ".bin"), records(k * n, n, {10}));
  put(dir / "test_batch.bin", records(5 * n, n, {10}));
}
void check_pictures(const data::ImageSet& set, int64_t first, int64_t n, int64_t classes) {
  REQUIRE(set.shape == Shape{n, 3, 32, 32});
  REQUIRE(set.labels.size() == static_cast<std::size_t>(n));
  int64_t wrong = 0;
  for (int64_t i = 0; i < n; ++i) {
    wrong += set.labels[static_cast<std::size_t>(i)] != (first + i) % classes;
    for (int64_t j = 0; j < 3072; ++j) wrong += set.pixels[static_cast<std::size_t>(i * 3072 + j)] != pixel(first + i, j);
  }
  CHECK(wrong == 0);
}
std::string error10(const std::filesystem::path& dir, int64_t n) {
  return check::error_of([&] { data::cifar10(dir.string(), n); });
}
}  // namespace

TEST_CASE("cifar: both sets come in the order of their files, from the folder or its sub-folder", "[data]") {
  for (const char* sub : {"", "cifar-10-batches-bin"}) {
    const TempDir dir;
    write_cifar10(dir / sub, 3);
    const auto set = data::cifar10(dir.path.string(), 3);
    check_pictures(set.train, 0, 15, 10);
    check_pictures(set.test, 15, 3, 10);
  }
  for (const char* sub : {"", "cifar-100-binary"}) {
    const TempDir dir;
    std::filesystem::create_directories(dir / sub);
    put(dir / sub / "train.bin", records(0, 103, {20, 100}));
    put(dir / sub / "test.bin", records(103, 2, {20, 100}));
    const auto fine = data::cifar100(dir.path.string(), data::Cifar100Labels::fine, 103, 2);
    check_pictures(fine.train, 0, 103, 100);
    check_pictures(fine.test, 103, 2, 100);
    check_pictures(data::cifar100(dir.path.string(), data::Cifar100Labels::coarse, 103, 2).train, 0, 103, 20);
  }
}

TEST_CASE("cifar: class names are distinct, and sorted where the set sorts them", "[data]") {
  const auto sorted = [](const auto& names) {
    return std::is_sorted(names.begin(), names.end(), [](std::string a, std::string b) { return a < b; }) &&
           std::set<std::string>(names.begin(), names.end()).size() == names.size();
  };
  CHECK(sorted(data::kCifar10Classes));
  CHECK(sorted(data::kCifar100Classes));
  CHECK(sorted(data::kCifar100Superclasses));
}

TEST_CASE("cifar: batches are [B, 3, 32, 32], as from the grey sets", "[data]") {
  const TempDir dir;
  write_cifar10(dir.path, 3);
  const auto set = data::cifar10(dir.path.string(), 3);
  const data::Normalisation norm = data::normalisation_of(set.train);
  double sum = 0, squares = 0;
  for (const uint8_t p : set.train.pixels) sum += p / 255.0, squares += p / 255.0 * (p / 255.0);
  const double n = static_cast<double>(set.train.pixels.size());
  CHECK(norm.mean == Approx(sum / n).epsilon(1e-12));
  CHECK(norm.deviation == Approx(std::sqrt(squares / n - sum / n * sum / n)).epsilon(1e-9));
  for (const auto& [x, t] : data::batches<double>(set.train, {.batch = 5, .shuffle = false, .norm = norm})) {
    CHECK(x.shape() == Shape{5, 3, 32, 32});
    CHECK(t.shape() == Shape{5});
  }
  const auto batch = data::slice_batch<double>(set.train, 4, 2, norm);
  std::vector<double> expected;
  for (int64_t i = 4; i < 6; ++i)
    for (int64_t j = 0; j < 3072; ++j) expected.push_back((pixel(i, j) / 255.0 - norm.mean) / norm.deviation);
  CHECK(check::difference(batch.x.to_vector(), expected, 1e-12, 1e-12) == "");
  CHECK(batch.t.to_vector() == std::vector<int64_t>{4, 5});

  const auto some = data::balanced_subset(set.train, 10, 1);
  CHECK(some.shape == Shape{10, 3, 32, 32});
  CHECK(some.pixels.size() == 10 * 3072);
  // A mirrored and moved picture: each channel is moved alike.
  const data::BatchOptions augmented{.batch = 15, .shuffle = false, .seed = 3, .norm = {0, 1}, .shift = 2, .flip = true};
  const auto moved = data::batches<double>(set.train, augmented)[0];
  const auto plain = data::batches<double>(set.train, {.batch = 15, .shuffle = false, .norm = {0, 1}})[0];
  int differ = 0, channels_alike = 0;
  for (int64_t i = 0; i < 15; ++i) {
    const auto at = [&](const Tensor<double>& x, int64_t c, int64_t y, int64_t z) { return x.data()[((i * 3 + c) * 32 + y) * 32 + z]; };
    bool found = false, same = true;
    for (int64_t dy = -2; dy <= 2; ++dy)
      for (int64_t dx = -2; dx <= 2; ++dx)
        for (const bool mirror : {false, true}) {
          bool all = true;
          for (int64_t c = 0; c < 3 && all; ++c)
            for (int64_t y = 0; y < 32 && all; ++y)
              for (int64_t z = 0; z < 32 && all; ++z) {
                const int64_t a = y - dy, b = (mirror ? 31 - z : z) - dx;
                all = at(moved.x, c, y, z) == (a >= 0 && a < 32 && b >= 0 && b < 32 ? at(plain.x, c, a, b) : 0);
              }
          found = found || all;
        }
    for (int64_t j = 0; j < 3072; ++j) same = same && moved.x.data()[i * 3072 + j] == plain.x.data()[i * 3072 + j];
    differ += !same, channels_alike += found;
  }
  CHECK(channels_alike == 15);
  CHECK(differ > 5);

  auto loader = data::image_loader(set.test, {.batch = 2, .shuffle = false}, {}, norm);
  std::vector<float> all;
  for (auto& [x, t] : loader) {
    CHECK(x.shape() == Shape{t.numel(), 3, 32, 32});
    for (const float v : x.to_vector()) all.push_back(v);
  }
  CHECK(check::difference(all, data::slice_batch<float>(set.test, 0, 3, norm).x.to_vector(), 1e-5, 1e-5) == "");
}

TEST_CASE("cifar: what is missing is told, with where it was looked for", "[data]") {
  const TempDir dir;
  CHECK(check::missing(error10(dir / "nowhere", 3), {"load_cifar", "nowhere: no such directory", "data_batch_5.bin", "kriz/cifar.html",
                                                     "--data DIR", "cifar_test.cpp:"}) == "");
  write_cifar10(dir.path, 3);
  std::filesystem::remove(dir / "data_batch_3.bin");
  CHECK(check::missing(error10(dir.path, 3), {dir.path.string() + ": no data_batch_3.bin\n"}) == "");
}

TEST_CASE("cifar: cut anywhere, too long, or of another length: an error", "[data]") {
  const TempDir dir;
  write_cifar10(dir.path, 2);
  const Bytes whole = records(2, 2, {10});
  const auto error_with = [&](const Bytes& b) {
    put(dir / "data_batch_2.bin", b);
    return error10(dir.path, 2);
  };
  int silent = 0;
  for (std::size_t n = 0; n < whole.size(); n += n < 3 || n + 40 > whole.size() || (n > 3070 && n < 3076) ? 1 : 37) {
    const std::string e = error_with(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)));
    silent += check::missing(e, {"data_batch_2.bin", "the file ends in record " + std::to_string(n / 3073),
                                 "offset    " + std::to_string(n) + " of", "2 records of 3073 bytes: 6146 bytes"}) != "";
  }
  CHECK(silent == 0);
  Bytes longer = whole;
  longer.push_back(0);
  CHECK(check::missing(error_with(longer), {"more data than the set has", "offset    6146 of 6147", "6146 bytes"}) == "");
  CHECK(error_with(whole) == "no error");
  CHECK(check::missing(error10(dir.path, 3), {"data_batch_1.bin", "record 2"}) == "");  // as the whole set would be
}

TEST_CASE("cifar: a flipped bit is an error in a label, and that one value in a picture", "[data]") {
  const TempDir dir;
  std::filesystem::create_directories(dir.path);
  const Bytes whole = records(0, 2, {20, 100});
  put(dir / "test.bin", whole);
  int errors = 0;
  std::vector<std::size_t> bits;  // all of the labels, some of the pictures
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit)
    if (bit % (8 * 3074) < 48 || bit % 173 == 0) bits.push_back(bit);
  for (const std::size_t bit : bits) {
    Bytes b = whole;
    b[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    put(dir / "train.bin", b);
    const std::size_t place = bit / 8 % 3074;
    const bool bad = (place == 0 && b[bit / 8] >= 20) || (place == 1 && b[bit / 8] >= 100);
    data::MnistLike set;
    const std::string e = check::error_of([&] { set = data::cifar100(dir.path.string(), data::Cifar100Labels::fine, 2, 2); });
    INFO("bit " << bit << ": " << e);
    if (bad) {
      ++errors;
      CHECK(check::missing(e, {"train.bin", "label of record " + std::to_string(bit / 8 / 3074), "out of range",
                               "offset    " + std::to_string(bit / 8), "got " + std::to_string(b[bit / 8])}) == "");
      continue;
    }
    REQUIRE(e == "no error");
    int wrong = 0;
    for (std::size_t n = 0; n < 2; ++n) {
      wrong += set.train.labels[n] != b[n * 3074 + 1];
      for (std::size_t j = 0; j < 3072; ++j) wrong += set.train.pixels[n * 3072 + j] != b[n * 3074 + 2 + j];
    }
    CHECK(wrong == 0);
  }
  CHECK(errors == 2 * 3 + 2 * 1);  // 0 and 1 with bits 5, 6, 7 of the first, bit 7 of the second label
}
