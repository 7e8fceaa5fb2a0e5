// What each setting of the NASNet example runs, on which pictures.
#pragma once
#include <iostream>
#include <optional>

#include <gradus/app/args.hpp>
#include <gradus/app/table.hpp>
#include <gradus/data/cifar.hpp>
#include <gradus/data/image_folder.hpp>
#include <gradus/data/image_loader.hpp>

#include "model.hpp"

namespace nasnet {

struct Options {
  std::vector<std::string> parts, drops;
  std::optional<std::string> dataset, net;
  std::optional<int64_t> cells, filters, epochs, images, test, batch, children, cutout, crop, batches;
  std::optional<double> keep, lr;
  bool aux = false, plan = false;
  /// Any option that changes what is trained: the bounds of the checks are for the runs as they come.
  bool own() const {
    return !drops.empty() || dataset || net || cells || filters || epochs || images || test || batch || cutout || crop ||
           keep || lr || aux;
  }
};

struct Plan {
  std::vector<std::string> parts, drops;
  std::string dataset = "fashion-mnist";
  models::NASNetConfig net;
  Training training;
  int64_t images = 2000, test = 2000, cutout = 0, crop = 0, side = 28;
  int64_t children = 24, child_images = 500, child_filters = 4, child_cells = 1, child_epochs = 1;
  int64_t batches = 500;  ///< of the controller's self-test
  PpoOptions search = {.batch = 4};
  bool has(const std::string& part) const { return std::find(parts.begin(), parts.end(), part) != parts.end(); }
  int64_t steps() const { return (images + training.batch - 1) / training.batch * training.epochs; }
};
inline Plan make_plan(const app::Args& args, const Options& o) {
  Plan p;
  const bool paper = args.setting == app::Setting::paper;
  p.parts = !o.parts.empty() ? o.parts : std::vector<std::string>{"count", "selftest", "controller", "train", "search"};
  if (o.parts.empty() && paper) p.parts.pop_back();  // 20,000 trained networks
  if (o.parts.empty() && args.setting == app::Setting::quick) p.parts.pop_back();
  const std::string net = o.net.value_or(paper ? "cifar" : "small");
  const bool imagenet = net == "mobile" || net == "large";
  p.dataset = o.dataset.value_or(imagenet ? "folder" : paper ? "cifar10" : "fashion-mnist");
  p.drops = !o.drops.empty()                       ? o.drops
            : args.setting == app::Setting::normal ? std::vector<std::string>{"none", "fixed", "scheduled"}
                                                   : std::vector<std::string>{"scheduled"};
  p.net = net == "mobile" ? models::nasnet_mobile() : net == "large" ? models::nasnet_large() : models::nasnet_cifar();
  if (net == "small") p.net.normal_cells = 1, p.net.filters = args.pick<int64_t>(2, 8, 8, 8);
  p.net.normal_cells = o.cells.value_or(p.net.normal_cells), p.net.filters = o.filters.value_or(p.net.filters);
  if (!imagenet) p.net.stem = 3 * p.net.filters;
  p.net.channels = p.dataset == "cifar10" || p.dataset == "folder" ? 3 : 1;
  p.net.final_keep = o.keep.value_or(p.net.final_keep);
  p.side = net == "large" ? 331 : net == "mobile" ? 224 : p.dataset == "cifar10" ? 32 : 28;
  if (o.aux || paper) p.net.aux_side = p.side;
  const int64_t whole = imagenet ? 1281167 : p.dataset == "cifar10" ? 50000 : 60000;
  p.images = o.images.value_or(args.pick<int64_t>(64, 2000, 2000, whole));
  p.test = o.test.value_or(args.pick<int64_t>(100, 2000, 2000, imagenet ? 50000 : 10000));
  Training& t = p.training;
  t.epochs = o.epochs.value_or(args.pick<int64_t>(1, 3, 3, imagenet ? 250 : 600));
  t.batch = o.batch.value_or(net == "large" ? 16 : 32);
  t.lr = o.lr.value_or(net == "large" ? 0.015 : net == "mobile" ? 0.04 : net == "small" ? 0.1 : 0.025);
  t.decay = net == "large" ? 5e-5 : net == "mobile" ? 4e-5 : 5e-4;
  t.rmsprop = imagenet, t.smoothing = imagenet ? 0.1 : 0, t.clip = imagenet ? 10 : 5;
  p.cutout = o.cutout.value_or(paper && !imagenet ? 16 : 0);
  p.crop = o.crop.value_or(paper && !imagenet ? 4 : 0);
  p.children = o.children.value_or(args.pick<int64_t>(2, 8, 24, 20000));
  p.batches = o.batches.value_or(args.pick<int64_t>(4, 150, 500, 500));
  if (args.setting == app::Setting::smoke) p.child_images = 64, p.child_filters = 2, p.search.batch = 2;
  if (paper) p.child_images = 45000, p.child_filters = 32, p.child_cells = 2, p.child_epochs = 20, p.search.batch = 20;
  return p;
}

/// The pictures of a run: in memory, or in the folders DIR/train and DIR/val.
struct Data {
  data::MnistLike set;
  std::optional<data::ImageFolder> train, test;
  std::vector<double> mean{0.2860}, deviation{0.3530};
  std::vector<std::string> names;
};
inline Data load(const app::Args& args, const Plan& p) {
  Data d;
  if (p.dataset == "folder") {
    if (args.data.empty()) fail("--dataset folder", "no folder", {}, "--data DIR with DIR/train and DIR/val", Where::current());
    d.train = data::image_folder(std::filesystem::path(args.data) / "train");
    d.test = data::image_folder(std::filesystem::path(args.data) / "val");
    d.names = d.train->classes;
    d.mean = d.deviation = {0.5, 0.5, 0.5};
    return d;
  }
  if (p.dataset == "cifar10") {
    d.mean = {0.4914, 0.4822, 0.4465}, d.deviation = {0.2470, 0.2435, 0.2616};
    d.set = data::cifar10(args.data);
    d.names.assign(data::kCifar10Classes.begin(), data::kCifar10Classes.end());
  } else {
    d.set = data::load_mnist_like(args.data, p.dataset);
    const auto& names = p.dataset == "mnist" ? data::kDigitClasses : data::kFashionMnistClasses;
    d.names.assign(names.begin(), names.end());
    const data::Normalisation n = data::normalisation_of(d.set.train);
    d.mean = {n.mean}, d.deviation = {n.deviation};
  }
  if (p.test < d.set.test.size()) d.set.test = data::balanced_subset(d.set.test, p.test, 0);
  return d;
}
inline data::ImageSet some(const Data& d, int64_t n, uint64_t seed) {
  if (d.train) return {};
  return n < d.set.train.size() ? data::balanced_subset(d.set.train, n, seed) : d.set.train;
}
inline Pictures loader(const data::ImageSet& set, const std::optional<data::ImageFolder>& folder, const Data& d, const Plan& p,
                       bool train, uint64_t seed) {
  const data::LoaderOptions o{
      .batch = train ? p.training.batch : 250, .shuffle = train, .seed = seed, .threads = folder ? 8 : 0};
  std::vector<data::Transform> list;
  if (train && folder) list = {data::random_resized_crop(), data::flip_horizontal(), data::colour_jitter(0.4, 0.4, 0.4)};
  if (train && !folder && p.crop > 0) list.push_back(data::random_crop(p.crop));
  if (train && !folder) list.push_back(data::flip_horizontal());
  list.push_back(data::normalise(d.mean, d.deviation));
  if (train && p.cutout > 0) list.push_back(data::cutout(p.cutout));
  const data::Normalisation none{0, 1};
  if (folder) return data::image_folder_loader(*folder, {.height = p.side, .width = p.side}, o, list, none);
  return data::image_loader(set, o, list, none);
}

inline void print_plan(const app::Args& args, const Options& o) {
  const Plan p = make_plan(args, o);
  models::NASNet<> net(p.net);
  const auto n = static_cast<double>(nn::parameter_count(net)), madds = static_cast<double>(net.multiply_adds(p.side, p.side));
  const auto B = static_cast<double>(p.training.batch), runs = static_cast<double>(p.drops.size()) * args.seeds;
  // A cell keeps about 60 maps of F channels for its gradient: ops, norms, ReLUs.
  double maps = 0;
  int64_t side = p.net.imagenet_stem ? (p.side - 1) / 2 : p.side;
  for (const auto& cell : net.cells) {
    maps += 60 * static_cast<double>(cell.current.norms[0].weight.numel() * side * side);
    side = (side + cell.stride - 1) / cell.stride;
  }
  app::Table t;
  t.columns = {"drop",     "seeds",  "cells", "parameters",        "M mult-adds a picture",
               "pictures", "epochs", "steps", "PFLOP of all runs", "MB, about"};
  std::string drops;
  for (const auto& d : p.drops) drops += (drops.empty() ? "" : ", ") + d;
  t.row({drops, std::to_string(args.seeds), std::to_string(net.cells.size()), app::plain(n), app::figure(madds / 1e6, 5),
         std::to_string(p.images), std::to_string(p.training.epochs), std::to_string(p.steps()),
         app::figure(6 * madds * static_cast<double>(p.images * p.training.epochs) * runs / 1e15, 3),
         app::figure(4 * (3 * n + maps * B) / 1048576, 3)});
  std::cout << t.text() << "Search, if asked for: 2 x " << p.children << " networks of " << 3 * p.child_cells
            << " normal cells, F = " << p.child_filters << ", " << p.child_images << " pictures, " << p.child_epochs
            << " epoch(s).\n"
            << "Data: " << p.dataset
            << ". fashion-mnist and mnist: four IDX files; cifar10: the binary version; folder: DIR/train/CLASS/*.jpg and "
               "DIR/val/CLASS/*.jpg.\n";
}

}  // namespace nasnet
