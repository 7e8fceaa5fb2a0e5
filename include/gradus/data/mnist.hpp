// The MNIST family: 28 x 28 grey pictures of ten classes in four IDX files, raw or .gz.
// Fashion-MNIST: Xiao, Rasul, Vollgraf, 2017, arXiv:1708.07747; 60,000 pictures to train, 10,000 to test.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <gradus/core/error.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/core/shape.hpp>
#include <gradus/io/idx.hpp>

namespace gradus::data {

/// Pictures as bytes, and a class for each.
struct ImageSet {
  std::vector<uint8_t> pixels;  ///< [N, H, W] grey or [N, C, H, W]
  Shape shape;
  std::vector<uint8_t> labels;  ///< [N], below the number of classes
  int64_t size() const { return shape[0]; }
  int64_t channels() const { return shape.rank() == 4 ? shape[1] : 1; }
  int64_t height() const { return shape[shape.rank() - 2]; }
  int64_t width() const { return shape[shape.rank() - 1]; }
};

struct MnistLike {
  ImageSet train, test;
  std::filesystem::path directory;  ///< where the files were found
};

inline constexpr std::array<const char*, 10> kFashionMnistClasses = {
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"};
inline constexpr std::array<const char*, 10> kDigitClasses = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};

/// Where data sets are looked for: `dir` alone when it is given (--data DIR), else $GRADUS_DATA, ~/.cache/gradus and the
/// system's folder; in each, the folder itself and then its sub-folder `name`.
inline std::vector<std::filesystem::path> data_directories(const std::string& dir, const std::string& name) {
  namespace fs = std::filesystem;
  std::vector<fs::path> places;
  const auto add = [&](const fs::path& p) {
    places.push_back(p);
    places.push_back(p / name);
  };
  if (!dir.empty()) {
    add(dir);
    return places;
  }
  if (const char* v = std::getenv("GRADUS_DATA"); v && *v) add(v);
  if (const char* home = std::getenv("HOME"); home && *home) add(fs::path(home) / ".cache" / "gradus");
  places.push_back(fs::path("/usr/share/datasets") / name);
  return places;
}

namespace detail {
/// The first place for `folder` where missing(place) names no file; where there is none, an error that says what each place lacks,
/// and then `help`.
template <class Missing>
std::filesystem::path find_data_directory(const char* op, const std::string& problem, const std::string& dir,
                                          const std::string& folder, Missing&& missing, const std::vector<Fact>& help, Where at) {
  std::vector<Fact> looked;
  for (const std::filesystem::path& place : data_directories(dir, folder)) {
    const std::string lacks = missing(place);
    if (lacks.empty()) return place;
    std::error_code ec;
    const bool exists = std::filesystem::is_directory(place, ec);
    looked.push_back({"looked in", place.string() + (exists ? ": no " + lacks : ": no such directory")});
  }
  looked.insert(looked.end(), help.begin(), help.end());
  fail(op, problem, looked.data(), looked.size(), "", at);
}

// The first of the four spellings of a file that exists in `dir`.
inline std::optional<std::filesystem::path> find_idx(const std::filesystem::path& dir, const char* part, const char* what,
                                                     int rank) {
  const std::string idx = "idx" + std::to_string(rank) + "-ubyte";
  for (const char* separator : {"-", "."})
    for (const char* suffix : {".gz", ""}) {
      std::error_code ec;
      auto p = dir / (std::string(part) + "-" + what + separator + idx + suffix);
      if (std::filesystem::is_regular_file(p, ec)) return p;
    }
  return std::nullopt;
}

inline io::IdxArray read_bytes_idx(const std::filesystem::path& path, int rank, Where at) {
  io::IdxArray a = io::read_idx(path, at);
  if (a.type != io::IdxType::u8 || a.shape.rank() != rank)
    fail("load_mnist_like", "the file holds something else",
         {{"file", path.string()}, {"holds", std::string(io::name_of(a.type)) + " " + a.shape.str()}},
         rank == 3 ? "pictures: uint8 [N, H, W]" : "labels: uint8 [N]", at);
  return a;
}
}  // namespace detail

/// Finds and reads train and test pictures with their labels. `dir` is what the user gave with --data, or empty.
inline MnistLike load_mnist_like(const std::string& dir = {}, const std::string& name = "fashion-mnist",
                                 Where at = Where::current()) {
  namespace fs = std::filesystem;
  constexpr const char* parts[2] = {"train", "t10k"};
  std::array<std::optional<fs::path>, 4> files;  // train images, train labels, test images, test labels
  const auto missing = [&](const fs::path& place) {
    std::string lacks;
    for (std::size_t i = 0; i < 4; ++i) {
      const bool images = i % 2 == 0;
      files[i] = detail::find_idx(place, parts[i / 2], images ? "images" : "labels", images ? 3 : 1);
      if (!files[i])
        lacks +=
            (lacks.empty() ? "" : ", ") + std::string(parts[i / 2]) + (images ? "-images-idx3-ubyte" : "-labels-idx1-ubyte");
    }
    return lacks;
  };
  MnistLike set;
  set.directory = detail::find_data_directory(
      "load_mnist_like", "the data set " + name + " was not found", dir, name, missing,
      {{"files", "{train,t10k}-images-idx3-ubyte and {train,t10k}-labels-idx1-ubyte, with or without .gz"},
       {"to get", "third_party/install.sh --with " + name},
       {"or say", "--data DIR, the directory that holds the four files (or set GRADUS_DATA)"}},
      at);

  // Nearly all the time goes into inflating the training pictures; the other three files fit beside it.
  std::array<io::IdxArray, 4> arrays;
  parallel_for(2, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k)
      for (std::size_t i = 0; i < 4; ++i)
        if ((i == 0) == (k == 0)) arrays[i] = detail::read_bytes_idx(*files[i], i % 2 == 0 ? 3 : 1, at);
  });
  for (std::size_t i = 0; i < 4; i += 2) {
    const io::IdxArray &images = arrays[i], &labels = arrays[i + 1];
    if (images.shape[0] != labels.shape[0])
      fail("load_mnist_like", "the numbers of pictures and labels differ",
           {{"images", images.shape.str() + " in " + files[i]->string()},
            {"labels", labels.shape.str() + " in " + files[i + 1]->string()}},
           std::to_string(images.shape[0]) + " labels", at);
    const auto bad = std::find_if(labels.bytes.begin(), labels.bytes.end(), [](uint8_t l) { return l > 9; });
    if (bad != labels.bytes.end()) {
      const int64_t n = bad - labels.bytes.begin();
      fail("load_mnist_like", "a label is out of range",
           {{"file", files[i + 1]->string()},
            {"offset", std::to_string(n + 8) + " of the data (label " + std::to_string(n) + ")"}},
           "labels 0 to 9, got " + std::to_string(*bad), at);
    }
  }
  if (arrays[0].shape[1] != arrays[2].shape[1] || arrays[0].shape[2] != arrays[2].shape[2])
    fail("load_mnist_like", "train and test pictures differ in size",
         {{"train", arrays[0].shape.str() + " in " + files[0]->string()},
          {"test", arrays[2].shape.str() + " in " + files[2]->string()}},
         "the same height and width", at);
  set.train = {std::move(arrays[0].bytes), arrays[0].shape, std::move(arrays[1].bytes)};
  set.test = {std::move(arrays[2].bytes), arrays[2].shape, std::move(arrays[3].bytes)};
  return set;
}

}  // namespace gradus::data
