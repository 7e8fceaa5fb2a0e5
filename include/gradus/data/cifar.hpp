// CIFAR-10 and CIFAR-100 in their binary version: 32 x 32 colour pictures, 50,000 to train and 10,000 to test.
// Krizhevsky 2009, Learning multiple layers of features from tiny images; https://www.cs.toronto.edu/~kriz/cifar.html.
//
//   CIFAR-10    data_batch_1.bin ... data_batch_5.bin and test_batch.bin, 10,000 records each:
//               1 byte class (0 to 9), 3072 bytes picture
//   CIFAR-100   train.bin with 50,000 and test.bin with 10,000 records:
//               1 byte superclass (0 to 19), 1 byte class (0 to 99), 3072 bytes picture
//   picture     red plane, green plane, blue plane; 32 rows of 32 bytes each
//
// The files have no magic number and no check sum: length and labels are what can be checked, and both are.
#pragma once
#include <array>
#include <string>
#include <vector>

#include <gradus/data/batches.hpp>
#include <gradus/io/gzip.hpp>

namespace gradus::data {

inline constexpr std::array<const char*, 10> kCifar10Classes = {"airplane", "automobile", "bird",  "cat",  "deer",
                                                                "dog",      "frog",       "horse", "ship", "truck"};
inline constexpr std::array<const char*, 20> kCifar100Superclasses = {
    "aquatic_mammals",      "fish",         "flowers",        "food_containers",
    "fruit_and_vegetables", "household_electrical_devices",   "household_furniture",
    "insects",              "large_carnivores",               "large_man-made_outdoor_things",
    "large_natural_outdoor_scenes",         "large_omnivores_and_herbivores",
    "medium_mammals",       "non-insect_invertebrates",       "people",
    "reptiles",             "small_mammals", "trees",         "vehicles_1", "vehicles_2"};
inline constexpr std::array<const char*, 100> kCifar100Classes = {
    "apple",      "aquarium_fish", "baby",         "bear",        "beaver",     "bed",        "bee",        "beetle",
    "bicycle",    "bottle",        "bowl",         "boy",         "bridge",     "bus",        "butterfly",  "camel",
    "can",        "castle",        "caterpillar",  "cattle",      "chair",      "chimpanzee", "clock",      "cloud",
    "cockroach",  "couch",         "crab",         "crocodile",   "cup",        "dinosaur",   "dolphin",    "elephant",
    "flatfish",   "forest",        "fox",          "girl",        "hamster",    "house",      "kangaroo",   "keyboard",
    "lamp",       "lawn_mower",    "leopard",      "lion",        "lizard",     "lobster",    "man",        "maple_tree",
    "motorcycle", "mountain",      "mouse",        "mushroom",    "oak_tree",   "orange",     "orchid",     "otter",
    "palm_tree",  "pear",          "pickup_truck", "pine_tree",   "plain",      "plate",      "poppy",      "porcupine",
    "possum",     "rabbit",        "raccoon",      "ray",         "road",       "rocket",     "rose",       "sea",
    "seal",       "shark",         "shrew",        "skunk",       "skyscraper", "snail",      "snake",      "spider",
    "squirrel",   "streetcar",     "sunflower",    "sweet_pepper", "table",     "tank",       "telephone",  "television",
    "tiger",      "tractor",       "train",        "trout",       "tulip",      "turtle",     "wardrobe",   "whale",
    "willow_tree", "wolf",         "woman",        "worm"};

enum class Cifar100Labels {
  fine,   ///< 100 classes
  coarse  ///< 20 superclasses of five classes each
};

namespace detail {

struct CifarFile {
  const char* name;
  int64_t records;
};
/// How many labels stand before a picture, which of them is wanted, and the number of classes of each.
struct CifarRecord {
  int labels, wanted;
  int classes[2];
};
inline constexpr int64_t kCifarPicture = 3 * 32 * 32;

/// Appends the records of one file; it has to hold `records` of them and nothing more.
inline void read_cifar(const std::filesystem::path& path, int64_t records, const CifarRecord& r, ImageSet& set, Where at) {
  io::ByteReader in(path, "load_cifar", at);
  const int64_t length = kCifarPicture + r.labels;
  const std::string whole = std::to_string(records) + " records of " + std::to_string(length) + " bytes: " +
                            std::to_string(records * length) + " bytes";
  std::vector<uint8_t> record(static_cast<std::size_t>(length));
  for (int64_t n = 0; n < records; ++n) {
    if (in.read(record.data(), record.size()) != record.size())
      in.damaged("the file ends in record " + std::to_string(n), whole, in.offset());
    for (int k = 0; k < r.labels; ++k)
      if (record[static_cast<std::size_t>(k)] >= r.classes[k])
        in.damaged("the label of record " + std::to_string(n) + " is out of range",
                   "0 to " + std::to_string(r.classes[k] - 1) + ", got " + std::to_string(record[static_cast<std::size_t>(k)]),
                   static_cast<uint64_t>(n * length + k));
    set.labels.push_back(record[static_cast<std::size_t>(r.wanted)]);
    set.pixels.insert(set.pixels.end(), record.begin() + r.labels, record.end());
  }
  const uint64_t end = in.offset();
  if (uint8_t extra; in.read(&extra, 1) == 1) in.damaged("more data than the set has", whole, end);
}

inline MnistLike load_cifar(const std::string& dir, const std::string& folder, const std::vector<CifarFile>& train,
                            const std::vector<CifarFile>& test, const CifarRecord& record, Where at) {
  namespace fs = std::filesystem;
  const auto list = [&](auto&& wanted) {
    std::string names;
    for (const auto* files : {&train, &test})
      for (const CifarFile& f : *files)
        if (wanted(f)) names += (names.empty() ? "" : ", ") + std::string(f.name);
    return names;
  };
  const auto missing = [&](const fs::path& place) {
    std::error_code ec;
    return list([&](const CifarFile& f) { return !fs::is_regular_file(place / f.name, ec); });
  };
  MnistLike set;
  set.directory = find_data_directory(
      "load_cifar", "the data set was not found", dir, folder, missing,
      {{"files", list([](const CifarFile&) { return true; })},
       {"to get", "the \"binary version (suitable for C programs)\" of https://www.cs.toronto.edu/~kriz/cifar.html"},
       {"or say", "--data DIR, the directory that holds the files or their folder " + folder + " (or set GRADUS_DATA)"}},
      at);
  const auto read = [&](const std::vector<CifarFile>& files, ImageSet& to) {
    for (const CifarFile& f : files) read_cifar(set.directory / f.name, f.records, record, to, at);
    to.shape = Shape{static_cast<int64_t>(to.labels.size()), 3, 32, 32};
  };
  read(train, set.train);
  read(test, set.test);
  return set;
}

}  // namespace detail

/// CIFAR-10 from `dir` (what the user gave with --data), or from the usual places when it is empty (data/mnist.hpp), there also
/// from the folder cifar-10-batches-bin. Pictures : [N, 3, 32, 32]; labels 0 to 9. `per_file`: records that each file has to
/// hold, for extracts of the set.
inline MnistLike cifar10(const std::string& dir = {}, int64_t per_file = 10000, Where at = Where::current()) {
  return detail::load_cifar(dir, "cifar-10-batches-bin",
                            {{"data_batch_1.bin", per_file},
                             {"data_batch_2.bin", per_file},
                             {"data_batch_3.bin", per_file},
                             {"data_batch_4.bin", per_file},
                             {"data_batch_5.bin", per_file}},
                            {{"test_batch.bin", per_file}}, {1, 0, {10, 0}}, at);
}

/// CIFAR-100, there also from the folder cifar-100-binary. Pictures : [N, 3, 32, 32]; labels 0 to 99, coarse ones 0 to 19.
inline MnistLike cifar100(const std::string& dir = {}, Cifar100Labels labels = Cifar100Labels::fine, int64_t train = 50000,
                          int64_t test = 10000, Where at = Where::current()) {
  return detail::load_cifar(dir, "cifar-100-binary", {{"train.bin", train}}, {{"test.bin", test}},
                            {2, labels == Cifar100Labels::fine ? 1 : 0, {20, 100}}, at);
}

}  // namespace gradus::data
