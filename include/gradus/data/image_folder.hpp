// Pictures in folders, a class per folder, read as a batch asks for them:
//
//   DIR/cat/1.jpg  DIR/cat/more/2.png  DIR/dog/1.jpeg  ...
//
//   const auto set = data::image_folder(dir);                                     // names only
//   auto loader = data::image_folder_loader(set, {.height = 64, .width = 64}, {.batch = 32, .seed = 1, .threads = 2});
//   for (auto& [x, t] : loader) ...                                               // x : [B, 3, 64, 64], t : [B]
//
// Classes are numbered in the order of their names and pictures in the order of class and path, both by bytes: the same on
// every system, whatever order a folder lists. Names that begin with a dot and files other than .png, .jpg, .jpeg are passed
// over. Needs stb_image (io/image_file.hpp).
#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <gradus/data/image_loader.hpp>
#include <gradus/io/image_file.hpp>

namespace gradus::data {

struct ImageFolder {
  std::filesystem::path directory;
  std::vector<std::string> classes;  ///< names of the folders
  std::vector<std::string> files;    ///< [N], relative to the directory
  std::vector<int64_t> labels;       ///< [N], places in `classes`
  int64_t size() const { return static_cast<int64_t>(files.size()); }
};

enum class Fit {
  crop,    ///< the largest part about the middle that has the wanted proportions
  stretch  ///< the whole picture, its proportions changed
};
struct ImageFolderOptions {
  int64_t height = 224, width = 224;
  int64_t channels = 3;  ///< 1: grey, 3: RGB
  Fit fit = Fit::crop;
};

/// The pictures below `dir`; none of them is opened. A folder without pictures is an error.
inline ImageFolder image_folder(const std::filesystem::path& dir, Where at = Where::current()) {
  namespace fs = std::filesystem;
  const auto wrong = [&](const char* problem, const fs::path& where, const std::string& reason) {
    fail("image_folder", problem, {{"folder", where.string()}, {"reason", reason}},
         "a folder for each class, with .png, .jpg or .jpeg files", at);
  };
  ImageFolder set;
  set.directory = dir;
  const auto hidden = [](const fs::path& p) { return p.filename().string().rfind('.', 0) == 0; };
  try {
    for (const auto& entry : fs::directory_iterator(dir))
      if (entry.is_directory() && !hidden(entry.path())) set.classes.push_back(entry.path().filename().string());
    std::sort(set.classes.begin(), set.classes.end());
    for (std::size_t c = 0; c < set.classes.size(); ++c) {
      std::vector<std::string> files;
      for (auto i = fs::recursive_directory_iterator(dir / set.classes[c]); i != fs::recursive_directory_iterator(); ++i) {
        if (hidden(i->path())) {
          i.disable_recursion_pending();
          continue;
        }
        std::string extension = i->path().extension().string();
        for (char& k : extension) k = k >= 'A' && k <= 'Z' ? static_cast<char>(k - 'A' + 'a') : k;
        if (i->is_regular_file() && (extension == ".png" || extension == ".jpg" || extension == ".jpeg"))
          files.push_back(i->path().lexically_relative(dir).generic_string());
      }
      if (files.empty()) wrong("a class without pictures", dir / set.classes[c], "no picture in it");
      std::sort(files.begin(), files.end());
      set.files.insert(set.files.end(), files.begin(), files.end());
      set.labels.insert(set.labels.end(), files.size(), static_cast<int64_t>(c));
    }
  } catch (const fs::filesystem_error& e) {
    wrong("cannot list a folder", e.path1().empty() ? dir : e.path1(), e.code().message());
  }
  if (set.classes.empty()) wrong("no classes", dir, "no folder in it");
  return set;
}

namespace detail {
/// What one value of a resized line is made from: source places first ... first + weights.size() - 1.
struct Taps {
  int64_t first;
  std::vector<float> weights;
};
/// `n` values from the part [begin, begin + length) of a line of `size`; a triangle as wide as the step when shrinking (no
/// aliasing), linear interpolation when growing, the identity when the steps are 1 and begin is whole.
inline std::vector<Taps> resize_taps(int64_t size, double begin, double length, int64_t n) {
  std::vector<Taps> taps(static_cast<std::size_t>(n));
  const double step = length / static_cast<double>(n), radius = std::max(1.0, step);
  for (int64_t i = 0; i < n; ++i) {
    const double middle = begin + (static_cast<double>(i) + 0.5) * step - 0.5;  // in places of source values
    const int64_t lo = std::max<int64_t>(0, static_cast<int64_t>(std::ceil(middle - radius)));
    const int64_t hi = std::min<int64_t>(size - 1, static_cast<int64_t>(std::floor(middle + radius)));
    Taps& t = taps[static_cast<std::size_t>(i)];
    t.first = lo;
    double sum = 0;
    for (int64_t k = lo; k <= hi; ++k) sum += std::max(0.0, 1 - std::abs(static_cast<double>(k) - middle) / radius);
    for (int64_t k = lo; k <= hi; ++k)
      t.weights.push_back(static_cast<float>(std::max(0.0, 1 - std::abs(static_cast<double>(k) - middle) / radius) / sum));
  }
  return taps;
}
}  // namespace detail

/// A picture as values in [0, 1], channel by channel: to : [C, H, W] of the options, C that of the picture.
inline void resize_image(const io::Image& image, const ImageFolderOptions& o, float* to) {
  double w = image.width, h = image.height, x0 = 0, y0 = 0;
  if (o.fit == Fit::crop) {
    const double s = std::min(w / static_cast<double>(o.width), h / static_cast<double>(o.height));
    x0 = (w - s * static_cast<double>(o.width)) / 2, y0 = (h - s * static_cast<double>(o.height)) / 2;
    if (s == 1) x0 = std::floor(x0), y0 = std::floor(y0);  // a plain cut, not one between pixels
    w = s * static_cast<double>(o.width), h = s * static_cast<double>(o.height);
  }
  const auto columns = detail::resize_taps(image.width, x0, w, o.width),
             rows = detail::resize_taps(image.height, y0, h, o.height);
  const int64_t C = image.channels, W = o.width, H = o.height;
  std::vector<float> lines(static_cast<std::size_t>(image.height * W));  // one channel, resized along x
  for (int64_t c = 0; c < C; ++c) {
    for (int64_t y = 0; y < image.height; ++y)
      for (int64_t x = 0; x < W; ++x) {
        const auto& t = columns[static_cast<std::size_t>(x)];
        float v = 0;
        for (std::size_t k = 0; k < t.weights.size(); ++k)
          v += t.weights[k] * static_cast<float>(image.at(static_cast<int>(y), static_cast<int>(t.first) + static_cast<int>(k),
                                                          static_cast<int>(c)));
        lines[static_cast<std::size_t>(y * W + x)] = v;
      }
    for (int64_t y = 0; y < H; ++y) {
      const auto& t = rows[static_cast<std::size_t>(y)];
      for (int64_t x = 0; x < W; ++x) {
        float v = 0;
        for (std::size_t k = 0; k < t.weights.size(); ++k)
          v += t.weights[k] *
               lines[(static_cast<std::size_t>(t.first) + k) * static_cast<std::size_t>(W) + static_cast<std::size_t>(x)];
        to[(c * H + y) * W + x] = v / 255;
      }
    }
  }
}

/// The batch of a plan: pictures plan.index of the set, read, resized, transformed by their own draws, then normalised.
inline Batch<float> image_folder_batch(const ImageFolder& set, const BatchPlan& plan, const ImageFolderOptions& o = {},
                                       const std::vector<Transform>& transforms = {}, Normalisation norm = {0, 1},
                                       Where at = Where::current()) {
  if (o.height < 1 || o.width < 1 || (o.channels != 1 && o.channels != 3))
    fail("image_folder_batch", "pictures of this shape cannot be made", {{"shape", Shape{o.channels, o.height, o.width}.str()}},
         "1 or 3 channels, at least 1 x 1", at);
  return detail::transformed_batch("image_folder_batch", set, plan, o.channels, o.height, o.width, transforms, norm, at,
                                   [&](int64_t k, float* to) {
                                     const auto file = set.directory / set.files[static_cast<std::size_t>(k)];
                                     resize_image(io::read_image(file, static_cast<int>(o.channels), at), o, to);
                                   });
}

/// The set must outlive the loader. Pictures are in [0, 1] unless `norm` says otherwise.
inline Loader<Batch<float>> image_folder_loader(const ImageFolder& set, ImageFolderOptions o = {}, LoaderOptions loading = {},
                                                std::vector<Transform> transforms = {}, Normalisation norm = {0, 1},
                                                Where at = Where::current()) {
  return {set.size(), loading,
          [&set, o, transforms = std::move(transforms), norm, at](const BatchPlan& plan) {
            return image_folder_batch(set, plan, o, transforms, norm, at);
          },
          at};
}

}  // namespace gradus::data
