#include <cstdlib>
#include <fstream>

#include <gradus/data/mnist.hpp>

#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;
using namespace gradus::data;
using io::IdxArray;
using io::IdxType;

namespace {

IdxArray pictures(int64_t n, int64_t size = 28) {
  IdxArray a{IdxType::u8, {n, size, size}, {}};
  for (int64_t i = 0; i < n * size * size; ++i) a.bytes.push_back(static_cast<uint8_t>(i % 251));
  return a;
}
IdxArray labels(int64_t n) {
  IdxArray a{IdxType::u8, {n}, {}};
  for (int64_t i = 0; i < n; ++i) a.bytes.push_back(static_cast<uint8_t>(i % 10));
  return a;
}
// Five training and three test pictures.
void write_small(const std::filesystem::path& dir, const std::string& separator, const std::string& suffix) {
  write_idx(dir / ("train-images" + separator + "idx3-ubyte" + suffix), pictures(5));
  write_idx(dir / ("train-labels" + separator + "idx1-ubyte" + suffix), labels(5));
  write_idx(dir / ("t10k-images" + separator + "idx3-ubyte" + suffix), pictures(3));
  write_idx(dir / ("t10k-labels" + separator + "idx1-ubyte" + suffix), labels(3));
}
std::string load_error(const std::filesystem::path& dir) {
  return error_text<Error>([&] { load_mnist_like(dir.string()); });
}

}  // namespace

TEST_CASE("mnist: both spellings, raw and .gz, in the folder or in its sub-folder") {
  for (const char* separator : {"-", "."})
    for (const char* suffix : {"", ".gz"})
      for (const char* sub : {"", "fashion-mnist"}) {
        TempDir dir;
        write_small(dir / sub, separator, suffix);
        const MnistLike set = load_mnist_like(dir.path.string());
        CHECK(set.train.shape == Shape{5, 28, 28});
        CHECK(set.test.shape == Shape{3, 28, 28});
        CHECK(set.train.pixels == pictures(5).bytes);
        CHECK(set.train.labels == std::vector<uint8_t>{0, 1, 2, 3, 4});
        CHECK(set.test.labels == std::vector<uint8_t>{0, 1, 2});
        CHECK(set.test.size() == 3);
      }
}

TEST_CASE("mnist: what is missing is told, with where it was looked for and how to get it") {
  TempDir dir;
  CHECK_THAT(load_error(dir / "nowhere"), contains("nowhere: no such directory") &&
                                              contains("third_party/install.sh --with fashion-mnist") &&
                                              contains("--data DIR") && contains("mnist_test.cpp:"));
  write_small(dir.path, "-", ".gz");
  std::filesystem::remove(dir / "t10k-labels-idx1-ubyte.gz");
  const std::string e = load_error(dir.path);
  CHECK_THAT(e, contains(dir.path.string() + ": no t10k-labels-idx1-ubyte\n"));
  CHECK_THAT(e, contains("fashion-mnist: no such directory"));
}

TEST_CASE("mnist: GRADUS_DATA is looked at, but not when --data is given") {
  TempDir dir;
  write_small(dir / "fashion-mnist", "-", "");
  const char* old = std::getenv("GRADUS_DATA");
  const std::string before = old ? old : "";
  ::setenv("GRADUS_DATA", dir.path.c_str(), 1);
  CHECK(load_mnist_like().directory == dir / "fashion-mnist");
  CHECK_FALSE(load_error(dir / "nowhere").empty());
  if (old) ::setenv("GRADUS_DATA", before.c_str(), 1);
  else ::unsetenv("GRADUS_DATA");
}

TEST_CASE("mnist: files that disagree or hold something else") {
  TempDir dir;
  const auto error_after = [&](const char* file, const IdxArray& content) {
    write_small(dir.path, "-", "");
    write_idx(dir / file, content);
    return load_error(dir.path);
  };
  CHECK_THAT(error_after("train-labels-idx1-ubyte", labels(4)), contains("the numbers of pictures and labels differ") &&
                                                                    contains("[5, 28, 28]") && contains("[4]") &&
                                                                    contains("5 labels"));
  IdxArray bad = labels(3);
  bad.bytes[2] = 10;
  CHECK_THAT(error_after("t10k-labels-idx1-ubyte", bad),
             contains("t10k-labels") && contains("offset    10") && contains("label 2") && contains("got 10"));
  CHECK_THAT(error_after("t10k-images-idx3-ubyte", pictures(3, 27)), contains("differ in size") && contains("[3, 27, 27]"));
  CHECK_THAT(error_after("t10k-images-idx3-ubyte", labels(3)), contains("holds     uint8 [3]") && contains("uint8 [N, H, W]"));
  IdxArray as_signed = labels(5);
  as_signed.type = IdxType::i8;
  CHECK_THAT(error_after("train-labels-idx1-ubyte", as_signed), contains("int8 [5]"));
  write_small(dir.path, "-", "");
  std::filesystem::resize_file(dir / "train-images-idx3-ubyte", 1000);
  CHECK_THAT(load_error(dir.path), contains("read_idx: the data is cut off") && contains("3920 bytes") && contains("got 984"));
}

TEST_CASE("mnist: the real Fashion-MNIST, where it is installed") {
  MnistLike set;
  if (!error_text<Error>([&] { set = load_mnist_like(); }).empty()) {
    WARN("Fashion-MNIST is not installed: third_party/install.sh --with fashion-mnist");
    return;
  }
  REQUIRE(set.train.shape == Shape{60000, 28, 28});
  REQUIRE(set.test.shape == Shape{10000, 28, 28});
  // Mean and deviation of the pixels as usually quoted: 0.2860 and 0.3530.
  double sum = 0, squares = 0;
  for (const uint8_t p : set.train.pixels) sum += p / 255.0, squares += (p / 255.0) * (p / 255.0);
  const double n = static_cast<double>(set.train.pixels.size()), mean = sum / n;
  CHECK(mean == Approx(0.2860).margin(1e-4));
  CHECK(std::sqrt(squares / n - mean * mean) == Approx(0.3530).margin(1e-4));
  for (const int c : {0, 3, 9}) {
    CHECK(std::count(set.train.labels.begin(), set.train.labels.end(), c) == 6000);
    CHECK(std::count(set.test.labels.begin(), set.test.labels.end(), c) == 1000);
  }
  CHECK(set.train.labels[0] == 9);  // the first picture is a boot
  CHECK(std::string(kFashionMnistClasses[9]) == "Ankle boot");
}
