// Samples of the three tasks.
#pragma once
#include <functional>
#include <memory>

#include <gradus/data/draws.hpp>
#include <gradus/data/fashion_mnist.hpp>
#include <gradus/data/image_folder.hpp>

#include "model.hpp"

namespace guidance {

/// Passes over samples in batches; use(x, y) ends a pass by returning false.
template <class D, class In>
struct Task {
  using Use = std::function<bool(const In&, const Tensor<int64_t, D>&)>;
  std::function<void(int64_t epoch, const Use&)> train;  // an epoch's own order; a batch that is not full is left out
  std::function<void(const Use&)> train_set, test_set;   // in order, all of them
  int64_t steps = 0;                                     // of an epoch
  int64_t ignored = -100;                                // a label that counts nothing
  int64_t batch = 256;
};

/// Every picture moved by its own (down, right), uniform in [-P, P]^2, once and for all; black comes in.
inline data::ImageSet shifted(const data::ImageSet& set, int64_t P, RandomStream stream) {
  data::ImageSet out = set;
  const int64_t C = set.channels(), H = set.height(), W = set.width();
  for (int64_t n = 0; n < set.size(); ++n) {
    data::Draws d(stream, static_cast<uint64_t>(n));
    const int64_t down = d.below(2 * P + 1) - P, right = d.below(2 * P + 1) - P;
    for (int64_t c = 0; c < C; ++c)
      for (int64_t i = 0; i < H; ++i)
        for (int64_t j = 0; j < W; ++j) {
          const int64_t a = i - down, b = j - right, plane = (n * C + c) * H;
          out.pixels[static_cast<std::size_t>((plane + i) * W + j)] =
              a >= 0 && a < H && b >= 0 && b < W ? set.pixels[static_cast<std::size_t>((plane + a) * W + b)] : uint8_t{0};
        }
  }
  return out;
}

/// Pictures in memory, standardised by the training pixels. The sets are shared, not copied.
struct Pictures {
  data::ImageSet train, test;
  data::Normalisation norm;
};
inline Pictures shifted_pictures(const data::MnistLike& from, int64_t train, int64_t test, int64_t P, uint64_t seed) {
  Pictures p;
  p.train = shifted(data::balanced_subset(from.train, train, seed), P, {seed, 1});
  p.test = shifted(data::balanced_subset(from.test, test, seed), P, {seed, 2});
  p.norm = data::normalisation_of(p.train);
  return p;
}
template <class D>
Task<D, Tensor<float, D>> picture_task(std::shared_ptr<const Pictures> p, int64_t batch, uint64_t seed) {
  using Use = typename Task<D, Tensor<float, D>>::Use;
  Task<D, Tensor<float, D>> t;
  const auto all = [p](const data::ImageSet& set, const data::BatchOptions& o, const Use& use) {
    for (const auto& [x, y] : data::batches(set, o))
      if (!use(x.template to<D>(), y.template to<D>())) return;
  };
  t.batch = batch, t.steps = p->train.size() / batch;
  t.train = [=](int64_t epoch, const Use& use) {
    all(p->train, {.batch = batch, .seed = seed, .epoch = static_cast<uint64_t>(epoch), .drop_last = true, .norm = p->norm},
        use);
  };
  t.train_set = [=](const Use& use) { all(p->train, {.batch = 256, .shuffle = false, .norm = p->norm}, use); };
  t.test_set = [=](const Use& use) { all(p->test, {.batch = 256, .shuffle = false, .norm = p->norm}, use); };
  return t;
}
/// ImageNet's form: DIR/train and DIR/val with a folder for each class, 224 x 224. Training pictures are cut and mirrored at
/// random.
template <class D>
Task<D, Tensor<float, D>> folder_task(const std::string& directory, int64_t batch, uint64_t seed) {
  using Use = typename Task<D, Tensor<float, D>>::Use;
  using Loader = data::Loader<data::Batch<float>>;
  const auto train = std::make_shared<const data::ImageFolder>(data::image_folder(std::filesystem::path(directory) / "train"));
  const auto test = std::make_shared<const data::ImageFolder>(data::image_folder(std::filesystem::path(directory) / "val"));
  const auto norm = data::normalise({0.485, 0.456, 0.406}, {0.229, 0.224, 0.225});
  const auto loader = std::make_shared<Loader>(
      data::image_folder_loader(*train, {}, {.batch = batch, .seed = seed, .drop_last = true, .threads = 4},
                                {data::random_resized_crop(), data::flip_horizontal(), norm}));
  const auto in_order = [=](const data::ImageFolder& set, int64_t most, const Use& use) {
    for (int64_t b = 0; b < std::min(most, set.size()); b += 256) {
      data::BatchPlan plan;
      for (int64_t i = b; i < std::min({b + 256, most, set.size()}); ++i) plan.index.push_back(i);
      const auto [x, y] = data::image_folder_batch(set, plan, {}, {norm});
      if (!use(x.template to<D>(), y.template to<D>())) return;
    }
  };
  Task<D, Tensor<float, D>> t;
  t.batch = batch, t.steps = train->size() / batch;
  t.train = [=](int64_t, const Use& use) {
    for (auto& [x, y] : *loader)
      if (!use(x.template to<D>(), y.template to<D>())) return;
  };
  t.train_set = [=](const Use& use) { in_order(*train, 50000, use); };
  t.test_set = [=](const Use& use) { in_order(*test, test->size(), use); };
  return t;
}

// Copy: x = s_1 ... s_n COPY 0 ... 0 EOS, y = 0 ... 0 s_1 ... s_n EOS, where 0 counts nothing. Symbols are 1 to 10, so that
// each is scored.
inline constexpr int64_t kSymbols = 10, kCopy = 11, kEos = 12;
struct Sequences {
  Tensor<int64_t> x, y;  // [N, longest]; y is [N] where there is one answer
  Tensor<bool> valid;
};
inline Sequences copy_sequences(int64_t N, int64_t least, int64_t most, RandomStream stream) {
  const int64_t L = 2 * most + 2;
  Sequences s{zeros<int64_t>({N, L}), zeros<int64_t>({N, L}), zeros<bool>({N, L})};
  for (int64_t i = 0; i < N; ++i) {
    data::Draws d(stream, static_cast<uint64_t>(i));
    const int64_t n = least + d.below(most - least + 1);
    int64_t *x = s.x.data() + i * L, *y = s.y.data() + i * L;
    for (int64_t k = 0; k < n; ++k) x[k] = y[n + 1 + k] = 1 + d.below(kSymbols);
    x[n] = kCopy, x[2 * n + 1] = y[2 * n + 1] = kEos;
    std::fill_n(s.valid.data() + i * L, 2 * n + 2, true);
  }
  return s;
}
/// Bits 1 and 2 for 0 and 1, and the parity of their sum.
inline Sequences parity_sequences(int64_t N, int64_t least, int64_t most, RandomStream stream) {
  Sequences s{zeros<int64_t>({N, most}), zeros<int64_t>({N}), zeros<bool>({N, most})};
  for (int64_t i = 0; i < N; ++i) {
    data::Draws d(stream, static_cast<uint64_t>(i));
    const int64_t n = least + d.below(most - least + 1);
    for (int64_t k = 0; k < n; ++k) {
      const int64_t bit = d.below(2);
      s.x.data()[i * most + k] = 1 + bit, s.y.data()[i] = (s.y.data()[i] + bit) % 2;
      s.valid.data()[i * most + k] = true;
    }
  }
  return s;
}
template <class D>
Task<D, Tokens<D>> sequence_task(std::shared_ptr<const Sequences> train, std::shared_ptr<const Sequences> test, int64_t batch,
                                 uint64_t seed, int64_t ignored) {
  using Use = typename Task<D, Tokens<D>>::Use;
  const auto give = [](const Sequences& s, const Tensor<int64_t>& index, const Use& use) {
    const auto of = [&](const auto& v) { return index_select(v, 0, index).template to<D>(); };
    return use({of(s.x), of(s.valid)}, of(s.y));
  };
  const auto in_order = [=](const Sequences& s, const Use& use) {
    for (int64_t b = 0, N = s.x.size(0); b < N; b += 256)
      if (!give(s, arange<int64_t>(static_cast<double>(b), static_cast<double>(std::min(N, b + 256))), use)) return;
  };
  Task<D, Tokens<D>> t;
  t.batch = batch, t.steps = train->x.size(0) / batch, t.ignored = ignored;
  t.train = [=, steps = t.steps](int64_t epoch, const Use& use) {
    std::vector<int64_t> order(static_cast<std::size_t>(train->x.size(0)));
    kernels::random_permutation(Cpu{}, order.data(), train->x.size(0), {seed, static_cast<uint64_t>(epoch)});
    for (int64_t b = 0; b < steps; ++b) {
      const auto from = order.begin() + b * batch;
      if (!give(*train, from_vector(std::vector<int64_t>(from, from + batch), {batch}), use)) return;
    }
  };
  t.train_set = [=](const Use& use) { in_order(*train, use); };
  t.test_set = [=](const Use& use) { in_order(*test, use); };
  return t;
}

}  // namespace guidance
