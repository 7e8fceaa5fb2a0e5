// Batches of pictures: bytes are turned into normalised numbers as a batch is asked for.
//
//   for (const auto& [x, t] : data::batches(set.train, {.batch = 100, .seed = 1, .epoch = epoch})) ...
//
// x : [B, C, H, W] (C = 1 for grey sets), (byte / 255 - mean) / deviation;  t : [B], the classes. The order of an epoch is a
// function of (seed, epoch).
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include <gradus/data/mnist.hpp>
#include <gradus/data/part.hpp>
#include <gradus/kernels/random.hpp>
#include <gradus/ops/create.hpp>

namespace gradus::data {

template <class T = float>
struct Batch {
  Tensor<T> x;        ///< [B, C, H, W]
  Tensor<int64_t> t;  ///< [B]
  int64_t size() const { return t.size(0); }
};

/// How bytes become numbers; the defaults are the mean and deviation of the training pictures of Fashion-MNIST.
struct Normalisation {
  double mean = 0.286, deviation = 0.353;
};

/// Mean and deviation of all bytes of a set, each over 255; sums are exact.
inline Normalisation normalisation_of(const ImageSet& set, Where at = Where::current()) {
  if (set.pixels.empty()) fail("normalisation_of", "an empty set", {{"set", set.shape.str()}}, "at least one picture", at);
  uint64_t sum = 0, squares = 0;
  for (const uint64_t v : set.pixels) sum += v, squares += v * v;
  const double n = static_cast<double>(set.pixels.size()), mean = static_cast<double>(sum) / n;
  return {mean / 255, std::sqrt(std::max(0.0, static_cast<double>(squares) / n - mean * mean)) / 255};
}

namespace detail {
/// to = from * scale + shift. Blocks of a known size, so that compilers vectorise it at -O2 too.
template <class T>
void normalise(const uint8_t* __restrict from, T* __restrict to, int64_t n, T scale, T shift) {
  constexpr int64_t block = 16;
  int64_t k = 0;
  for (; k + block <= n; k += block)
    for (int64_t j = 0; j < block; ++j) to[k + j] = static_cast<T>(static_cast<int>(from[k + j])) * scale + shift;
  for (; k < n; ++k) to[k] = static_cast<T>(static_cast<int>(from[k])) * scale + shift;
}
}  // namespace detail

/// The pictures with the given indices.
template <class T = float>
Batch<T> gather_batch(const ImageSet& set, const int64_t* index, int64_t n, Normalisation norm = {},
                      Where at = Where::current()) {
  const int64_t C = set.channels(), H = set.height(), W = set.width(), size = C * H * W;
  Batch<T> b{Tensor<T>(Shape{n, C, H, W}, at), Tensor<int64_t>(Shape{n}, at)};
  for (int64_t i = 0; i < n; ++i)
    if (index[i] < 0 || index[i] >= set.size())
      fail("gather_batch", "no such picture", {{"index", std::to_string(index[i])}},
           "an index below " + std::to_string(set.size()), at);
  const T scale = static_cast<T>(1 / (255 * norm.deviation)), shift = static_cast<T>(-norm.mean / norm.deviation);
  parallel_for(n, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t* from = set.pixels.data() + index[i] * size;
      T* to = b.x.data() + i * size;
      detail::normalise(from, to, size, scale, shift);
      b.t.data()[i] = set.labels[static_cast<std::size_t>(index[i])];
    }
  });
  return b;
}
/// Pictures begin ... begin + n - 1 in the order of the set.
template <class T = float>
Batch<T> slice_batch(const ImageSet& set, int64_t begin, int64_t n, Normalisation norm = {}, Where at = Where::current()) {
  std::vector<int64_t> index(static_cast<std::size_t>(n));
  for (int64_t i = 0; i < n; ++i) index[static_cast<std::size_t>(i)] = begin + i;
  return gather_batch<T>(set, index.data(), n, norm, at);
}

struct BatchOptions {
  int64_t batch = 100;
  bool shuffle = true;  ///< else in the order of the set
  uint64_t seed = 0;
  uint64_t epoch = 0;      ///< each epoch has its own order
  bool drop_last = false;  ///< leave out a last batch that is not full
  Normalisation norm = {};
  int64_t shift = 0;       ///< augmentation: move each picture by up to this many pixels up or down, left or right, black comes in
  bool flip = false;       ///< augmentation: mirror every second picture; both are functions of (seed, epoch, picture)
  int64_t part = 0;        ///< of each batch only this of so many `parts`: of a process among several
  int64_t parts = 1;
};

namespace detail {
/// Moves and mirrors the pictures of a batch in place. index: their numbers in the set, which the draws depend on.
template <class T>
void shift_and_flip(const Tensor<T>& x, const int64_t* index, const BatchOptions& o) {
  const int64_t C = x.shape()[1], H = x.shape()[2], W = x.shape()[3], range = 2 * o.shift + 1;
  const T black = static_cast<T>(-o.norm.mean / o.norm.deviation);
  parallel_for(x.shape()[0], 64, [&](int64_t begin, int64_t end) {
    std::vector<T> from(static_cast<std::size_t>(H * W));
    for (int64_t n = begin; n < end; ++n) {
      const Philox r(o.seed, (uint64_t{1} << 63) | o.epoch, static_cast<uint64_t>(index[n]));   // a stream of its own
      const int64_t down = static_cast<int64_t>(r.w[0] % static_cast<uint64_t>(range)) - o.shift;
      const int64_t right = static_cast<int64_t>(r.w[1] % static_cast<uint64_t>(range)) - o.shift;
      const bool mirror = o.flip && (r.w[2] & 1);
      for (int64_t c = 0; c < C; ++c) {
        T* to = x.data() + (n * C + c) * H * W;
        std::copy(to, to + H * W, from.begin());
        for (int64_t i = 0; i < H; ++i)
          for (int64_t j = 0; j < W; ++j) {
            const int64_t a = i - down, b = (mirror ? W - 1 - j : j) - right;
            to[i * W + j] = a >= 0 && a < H && b >= 0 && b < W ? from[static_cast<std::size_t>(a * W + b)] : black;
          }
      }
    }
  });
}
}  // namespace detail

/// One pass over a set. The set must outlive it; batches are made one by one.
template <class T = float>
class Batches {
 public:
  Batches(const ImageSet& set, const BatchOptions& o, Where at = Where::current()) : set_(&set), o_(o), at_(at) {
    if (o.batch < 1) fail("batches", "an empty batch", {{"batch", std::to_string(o.batch)}}, "at least 1 picture", at);
    if (o.shift < 0) fail("batches", "a negative shift", {{"shift", std::to_string(o.shift)}}, "pixels >= 0", at);
    data::part_of(o.batch, o.part, o.parts, at);
    order_.resize(static_cast<std::size_t>(set.size()));
    if (o.shuffle) kernels::random_permutation(Cpu{}, order_.data(), set.size(), {o.seed, o.epoch});
    else
      for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<int64_t>(i);
  }
  /// The number of batches.
  int64_t size() const { return (set_->size() + (o_.drop_last ? 0 : o_.batch - 1)) / o_.batch; }
  Batch<T> operator[](int64_t b) const {
    const Part own = part_of_batch("batches", std::min(o_.batch, set_->size() - b * o_.batch), o_.part, o_.parts, at_);
    const int64_t begin = b * o_.batch + own.begin, n = own.size();
    Batch<T> batch = gather_batch<T>(*set_, order_.data() + begin, n, o_.norm, at_);
    if (o_.shift > 0 || o_.flip) detail::shift_and_flip(batch.x, order_.data() + begin, o_);
    return batch;
  }
  const std::vector<int64_t>& order() const { return order_; }

  struct Iterator {
    const Batches* all;
    int64_t b;
    Batch<T> operator*() const { return (*all)[b]; }
    Iterator& operator++() {
      ++b;
      return *this;
    }
    bool operator!=(const Iterator& o) const { return b != o.b; }
  };
  Iterator begin() const { return {this, 0}; }
  Iterator end() const { return {this, size()}; }

 private:
  const ImageSet* set_;
  BatchOptions o_;
  Where at_;
  std::vector<int64_t> order_;
};
template <class T = float>
Batches<T> batches(const ImageSet& set, const BatchOptions& o = {}, Where at = Where::current()) {
  return {set, o, at};
}

/// n pictures, as many of each class as of any other up to one, drawn by `seed`; classes take turns in the result.
inline ImageSet balanced_subset(const ImageSet& set, int64_t n, uint64_t seed, Where at = Where::current()) {
  const int classes = set.labels.empty() ? 0 : *std::max_element(set.labels.begin(), set.labels.end()) + 1;
  std::vector<int64_t> order(static_cast<std::size_t>(set.size()));
  kernels::random_permutation(Cpu{}, order.data(), set.size(), {seed, ~uint64_t{0}});  // a stream that no epoch uses
  std::vector<std::vector<int64_t>> of_class(static_cast<std::size_t>(classes));
  for (const int64_t i : order) of_class[set.labels[static_cast<std::size_t>(i)]].push_back(i);
  const int64_t size = set.channels() * set.height() * set.width();
  ImageSet out;
  out.shape = set.shape;
  out.shape[0] = n;
  for (int64_t i = 0; i < n; ++i) {
    const auto& from = of_class[static_cast<std::size_t>(i % classes)];
    if (i / classes >= static_cast<int64_t>(from.size()))
      fail("balanced_subset", "a class has too few pictures",
           {{"wanted", std::to_string(n)}, {"class", std::to_string(i % classes)}, {"has", std::to_string(from.size())}}, "",
           at);
    const int64_t k = from[static_cast<std::size_t>(i / classes)];
    out.pixels.insert(out.pixels.end(), set.pixels.begin() + k * size, set.pixels.begin() + (k + 1) * size);
    out.labels.push_back(set.labels[static_cast<std::size_t>(k)]);
  }
  return out;
}

}  // namespace gradus::data
