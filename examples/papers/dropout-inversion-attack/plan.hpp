// What each setting runs, and where its images come from.
#pragma once
#include <iostream>
#include <optional>

#include <gradus/app/args.hpp>
#include <gradus/app/table.hpp>
#include <gradus/data/batches.hpp>
#include <gradus/data/cifar.hpp>
#include <gradus/data/image_folder.hpp>
#include <gradus/data/mnist.hpp>

#include "attack.hpp"

namespace dia {

struct Options {
  std::optional<std::string> arch, attack, only;
  std::optional<double> p;
  std::optional<int64_t> batch, iterations;
  std::string dataset;
  AttackOptions attacker;
  bool plan = false;
  bool own() const { return arch || attack || p || batch || iterations; }
};

struct Phase {
  std::string name;
  NetConfig net;
  std::vector<double> p;
  int64_t batch = 1;
  AttackOptions attacker;
  std::vector<Attack> attacks = {Attack::ig, Attack::wiig, Attack::dia};
  double frozen_at = -1;  ///< the rate at which masks that stay as they start are tried too
  /// Without dropout the three are one attack.
  std::vector<Attack> attacks_at(double rate) const {
    auto list = rate > 0 ? attacks : std::vector{Attack::ig};
    if (rate == frozen_at) list.push_back(Attack::frozen);
    return list;
  }
  int64_t iterations() const {
    int64_t n = 0;
    for (const double rate : p) n += static_cast<int64_t>(attacks_at(rate).size()) * attacker.iterations;
    return n;
  }
};

/// Fashion-MNIST, MNIST, CIFAR-10, or a folder of pictures with ImageNet's constants.
struct Source {
  Shape image{1, 28, 28};
  int64_t classes = 10;
  std::vector<double> mean{0.2860}, deviation{0.3530};
  data::ImageSet set = {};
  std::optional<data::ImageFolder> folder = {};
};
/// With `files` false nothing is read: what a plan needs.
inline Source open_source(const std::string& dataset, const std::string& dir, bool files = true) {
  Source s;
  if (dataset == "mnist") s.mean = {0.13066}, s.deviation = {0.30811};
  if (dataset == "cifar10") s.image = {3, 32, 32}, s.mean = {0.4915, 0.4823, 0.4468}, s.deviation = {0.2470, 0.2435, 0.2616};
  if (dataset == "folder")
    s.image = {3, 224, 224}, s.classes = 1000, s.mean = {0.485, 0.456, 0.406}, s.deviation = {0.229, 0.224, 0.225};
  if (!files) return s;
  if (dataset == "folder") s.folder = data::image_folder(dir), s.classes = static_cast<int64_t>(s.folder->classes.size());
  else s.set = dataset == "cifar10" ? data::cifar10(dir).test : data::load_mnist_like(dir, dataset).test;
  return s;
}
/// B images of different classes, as far as there are enough, drawn by the seed.
template <class T, class D>
Victim<T, D> draw_victim(const Source& s, int64_t B, uint64_t seed) {
  const int64_t C = s.image[0], size = s.image.numel();
  std::vector<float> pixels;
  std::vector<int64_t> labels;
  if (s.folder) {
    pixels.resize(static_cast<std::size_t>(B * size));
    for (int64_t b = 0; b < B; ++b) {
      const auto k = static_cast<std::size_t>(Philox(seed, 0, static_cast<uint64_t>(b)).w[0]) % s.folder->files.size();
      const auto picture = io::read_image(s.folder->directory / s.folder->files[k], static_cast<int>(C));
      data::resize_image(picture, {.height = s.image[1], .width = s.image[2]}, pixels.data() + b * size);
      labels.push_back(s.folder->labels[k]);
    }
  } else {
    const int64_t n = (B + s.classes - 1) / s.classes * s.classes;
    const auto drawn = data::balanced_subset(s.set, n, seed);
    for (int64_t b = 0; b < B; ++b) {
      const auto k = (static_cast<int64_t>(seed) + b) % n;
      for (int64_t i = 0; i < size; ++i)
        pixels.push_back(static_cast<float>(drawn.pixels[static_cast<std::size_t>(k * size + i)]) / 255);
      labels.push_back(drawn.labels[static_cast<std::size_t>(k)]);
    }
  }
  const auto channel = [&](const std::vector<double>& v) { return cast<T>(from_vector(v, {1, C, 1, 1})).template to<D>(); };
  Victim<T, D> v{{}, from_vector(labels).to<D>(), channel(s.mean), channel(s.deviation)};
  v.x = (cast<T>(from_vector(pixels, {B, C, s.image[1], s.image[2]})).template to<D>() - v.mean) / v.deviation;
  return v;
}

inline std::vector<Phase> all_phases(const app::Args& args, const Options& o, const Source& s) {
  const auto fitted = [&](NetConfig c) {
    c.image = s.image, c.classes = s.classes;
    return c;
  };
  const NetConfig vit = s.image[1] == 224 ? vit_b16_config(0) : s.image[1] == 32 ? vit_config(0) : vit_small_config(0);
  AttackOptions attacker = o.attacker;
  const auto with = [&](int64_t iterations) {
    attacker.iterations = o.iterations.value_or(iterations);
    return attacker;
  };
  if (o.own()) {
    const std::string arch = o.arch.value_or("mlp");
    const NetConfig c = arch == "mlp"     ? mlp_config(0)
                        : arch == "lenet" ? lenet_config(0)
                        : arch == "vit"   ? vit
                                          : resnet18_config(0);
    Phase own{arch, fitted(c), {o.p.value_or(0.25)}, o.batch.value_or(1), with(arch == "vit" ? 1500 : 600)};
    const std::string a = o.attack.value_or("all");
    if (a != "all")
      own.attacks = {a == "ig" ? Attack::ig : a == "wiig" ? Attack::wiig : a == "dia" ? Attack::dia : Attack::frozen};
    return {own};
  }
  NetConfig mlp = fitted(mlp_config(0));
  switch (args.setting) {
    case app::Setting::smoke: {
      NetConfig narrow = mlp, lenet = fitted(lenet_config(0)), small = fitted(vit), resnet = fitted(resnet18_config(0));
      narrow.width = 16, narrow.depth = 2, lenet.width = 4, resnet.width = 4;
      small.width = 8, small.depth = 1, small.heads = 2, small.mlp = 8;
      return {{.name = "mlp", .net = narrow, .p = {0, 0.5}, .batch = 2, .attacker = with(6), .frozen_at = 0.5},
              {"lenet", lenet, {0.25}, 1, with(2)},
              {"vit", small, {0.25}, 1, with(2)},
              {"resnet18", resnet, {0.25}, 1, with(2)}};
    }
    case app::Setting::quick:
      mlp.width = 256, mlp.depth = 2;
      return {{"mlp", mlp, {0, 0.25, 0.5}, 1, with(300)}};
    case app::Setting::paper: {
      const std::vector<double> rates{0.05, 0.1, 0.25, 0.5, 0.75};
      return {{"mlp", mlp, rates, 1, with(20000)}, {"vit", fitted(vit), rates, 1, with(20000)}};
    }
    case app::Setting::normal:
      break;
  }
  mlp.width = 256;
  AttackOptions to_the_end = with(1500);  // the LeNet's loss is below 1e-5 long before the image is there
  to_the_end.stop_below = 0;
  return {{.name = "mlp", .net = mlp, .p = {0, 0.1, 0.25, 0.5, 0.75}, .attacker = with(400), .frozen_at = 0.5},
          {"mlp, batch of 4", mlp, {0.25}, 4, with(400)},
          {"lenet", fitted(lenet_config(0)), {0.25}, 1, to_the_end},
          {"vit", fitted(vit), {0.25}, 1, with(1500)}};
}

/// Those whose network --only asks for.
inline std::vector<Phase> phases(const app::Args& args, const Options& o, const Source& s) {
  auto list = all_phases(args, o, s);
  if (o.only) std::erase_if(list, [&](const Phase& f) { return f.name.substr(0, f.name.find(',')) != *o.only; });
  if (list.empty())
    fail("--only", "the setting has no such phase", {{"only", *o.only}}, "mlp, lenet or vit, as --plan lists them",
         Where::current());
  return list;
}

/// An iteration is a forward pass, its backward and the backward of both: about nine products of the forward pass's size.
inline void print_plan(const app::Args& args, const Options& o) {
  const Source s = open_source(o.dataset, args.data, false);
  app::Table t;
  t.columns = {"phase", "image", "p", "batch", "parameters", "GFLOP an iteration", "about MB", "iterations a seed"};
  for (Phase& f : phases(args, o, s)) {
    std::string rates;
    for (const double p : f.p) rates += (rates.empty() ? "" : " ") + app::plain(p);
    auto net = make_net<float, Cpu>(f.net);
    const double n = static_cast<double>(nn::parameter_count(net)), B = static_cast<double>(f.batch);
    t.row({f.name, f.net.image.str(), rates, std::to_string(f.batch), app::plain(n),
           app::figure(18e-9 * forward_macs(f.net) * B, 3), app::figure(6 * 4e-6 * n, 3), std::to_string(f.iterations())});
  }
  std::cout << t.text()
            << "Memory: six copies of the parameters in float32 (weights, g, g' and what its gradient needs); of a ViT's or "
               "ResNet's\n"
               "batch the activations come on top. Data, by --dataset: fashion-mnist and mnist (IDX files), cifar10 (binary "
               "version),\n"
               "folder (a folder of PNG or JPEG a class, for ViT-B/16 and ResNet-18 at 224 x 224).\n";
}

}  // namespace dia
