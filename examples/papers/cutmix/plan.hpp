// What each setting of the CutMix example runs, on which pictures.
#pragma once
#include <iostream>
#include <optional>

#include <gradus/app/args.hpp>
#include <gradus/app/table.hpp>
#include <gradus/data/cifar.hpp>
#include <gradus/data/fashion_mnist.hpp>
#include <gradus/data/image_folder.hpp>
#include <gradus/data/image_loader.hpp>

#include "model.hpp"

namespace cutmix {

struct Options {
  std::optional<std::string> dataset, net;
  std::vector<std::string> methods;
  std::optional<int64_t> images, test, epochs, channels, depth, widening, crop, batch;
  std::optional<double> lr, decay, p;
  bool basic = false, wsol = false, plan = false;
  double alpha = 1, threshold = 0.2;
  std::string box = "uniform", label = "area";
  /// Any option that changes what is trained: the bounds of the checks are for the runs as they come.
  bool own() const {
    return dataset || net || !methods.empty() || images || test || epochs || channels || depth || widening || crop || batch ||
           lr || decay || p || basic || wsol || alpha != 1 || box != "uniform" || label != "area";
  }
};

struct Plan {
  std::string dataset = "fashion-mnist";
  NetConfig net;
  std::vector<std::string> methods{"none", "Cutout", "Mixup", "CutMix"};
  int64_t images = 1000, test = 5000, epochs = 50, batch = 64, crop = 0, canvas = 0;
  double lr = 0.1, decay = 1e-4;
  std::vector<int64_t> drops;  ///< epochs at which the rate falls to a tenth
  MixOptions mix;
  double lr_at(int64_t epoch) const {
    double rate = lr;
    for (const int64_t e : drops) rate *= epoch >= e ? 0.1 : 1;
    return rate;
  }
  int64_t steps() const { return (images + batch - 1) / batch * epochs; }
};
inline Plan make_plan(const app::Args& args, const Options& o) {
  Plan p;
  const bool paper = args.setting == app::Setting::paper;
  p.dataset = o.dataset.value_or(paper ? "cifar100" : "fashion-mnist");
  const bool imagenet = p.dataset == "folder", cifar = p.dataset.rfind("cifar", 0) == 0;
  p.net.kind = o.net.value_or(!paper ? "small" : imagenet ? "resnet50" : "pyramidnet");
  p.net.channels = o.channels.value_or(args.pick<int64_t>(4, 8, 12, 12));
  p.net.depth = o.depth.value_or(200), p.net.widening = o.widening.value_or(240), p.net.bottleneck = !o.basic;
  p.net.in = cifar || imagenet ? 3 : 1, p.net.side = imagenet ? 224 : cifar ? 32 : 28;
  p.net.classes = p.dataset == "cifar100" ? 100 : imagenet ? 1000 : 10;
  if (o.wsol) p.canvas = p.net.side = 2 * p.net.side;
  const int64_t whole = imagenet ? 1281167 : cifar ? 50000 : 60000;
  p.images = o.images.value_or(args.pick<int64_t>(100, 500, 1000, whole));
  p.test = o.test.value_or(args.pick<int64_t>(100, 2000, 5000, imagenet ? 50000 : 10000));
  p.epochs = o.epochs.value_or(args.pick<int64_t>(2, 60, 50, 300));
  p.batch = o.batch.value_or(imagenet && paper ? 256 : 64);
  p.crop = o.crop.value_or(paper && cifar ? 4 : 0);
  p.lr = o.lr.value_or(paper && cifar ? 0.25 : 0.1), p.decay = o.decay.value_or(1e-4);
  p.drops = {p.epochs / 2, 3 * p.epochs / 4};
  if (paper && imagenet) p.drops = {p.epochs / 4, p.epochs / 2, 3 * p.epochs / 4};
  p.mix.p = o.p.value_or(imagenet ? 1.0 : 0.5);
  p.mix.box = {o.alpha,
               o.box == "centre"  ? data::CutMixBox::gaussian
               : o.box == "fixed" ? data::CutMixBox::fixed
                                  : data::CutMixBox::uniform,
               p.net.side / 2};
  p.mix.label = o.label == "onehot" ? Label::onehot : o.label == "half" ? Label::half : Label::area;
  p.mix.hole = p.net.side / 2;
  if (args.setting == app::Setting::quick) p.methods = {"none", "CutMix"};
  if (args.setting == app::Setting::smoke) p.methods.push_back("Feature CutMix");
  if (!o.methods.empty()) p.methods = o.methods;
  return p;
}

/// The pictures of a run: in memory, or in the folders DIR/train and DIR/val.
struct Data {
  data::MnistLike set;
  std::optional<data::ImageFolder> train, test;
  std::vector<Box> test_boxes;  ///< of --wsol
  Scale scale;
  std::vector<std::string> names;
};
inline Data load(const app::Args& args, const Plan& p) {
  Data d;
  if (p.dataset == "folder") {
    if (p.canvas)
      fail("--wsol", "pictures in folders are not laid on canvases", {{"--dataset", p.dataset}}, "another data set",
           Where::current());
    if (args.data.empty()) fail("--dataset folder", "no folder", {}, "--data DIR with DIR/train and DIR/val", Where::current());
    d.train = data::image_folder(std::filesystem::path(args.data) / "train");
    d.test = data::image_folder(std::filesystem::path(args.data) / "val");
    d.names = d.train->classes;
    d.scale = {{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
    return d;
  }
  const auto named = [&](const auto& list) { d.names.assign(list.begin(), list.end()); };
  if (p.dataset == "cifar10" || p.dataset == "cifar100") {
    d.scale = {{125.3 / 255, 123.0 / 255, 113.9 / 255}, {63.0 / 255, 62.1 / 255, 66.7 / 255}};
    if (p.dataset == "cifar10") d.set = data::cifar10(args.data), named(data::kCifar10Classes);
    else d.set = data::cifar100(args.data), named(data::kCifar100Classes);
  } else {
    d.set = data::load_mnist_like(args.data, p.dataset);
    if (p.dataset == "mnist") named(data::kDigitClasses);
    else named(data::kFashionMnistClasses);
    const data::Normalisation n = data::normalisation_of(d.set.train);
    d.scale = {{n.mean}, {n.deviation}};
  }
  if (p.test < d.set.test.size()) d.set.test = data::balanced_subset(d.set.test, p.test, 0);
  if (p.canvas) {
    Canvases test = on_canvases(d.set.test, p.canvas, 1);
    d.set.test = test.set, d.test_boxes = test.boxes;
  }
  return d;
}
/// The training pictures of a seed.
inline data::ImageSet training_set(const Data& d, const Plan& p, uint64_t seed) {
  if (d.train) return {};
  auto set = p.images < d.set.train.size() ? data::balanced_subset(d.set.train, p.images, seed) : d.set.train;
  return p.canvas ? on_canvases(set, p.canvas, seed + 2).set : set;
}
inline Pictures loader(const data::ImageSet& set, const std::optional<data::ImageFolder>& folder, const Data& d, const Plan& p,
                       bool train, uint64_t seed) {
  const data::LoaderOptions o{.batch = train ? p.batch : 250, .shuffle = train, .seed = seed, .threads = folder ? 8 : 0};
  std::vector<data::Transform> list;
  if (train && folder)
    list = {data::random_resized_crop(), data::flip_horizontal(), data::colour_jitter(0.4, 0.4, 0.4), data::lighting(0.1)};
  if (train && !folder && p.crop > 0) list.push_back(data::random_crop(p.crop));
  if (train && !folder) list.push_back(data::flip_horizontal());
  list.push_back(data::normalise(d.scale.mean, d.scale.deviation));
  const data::Normalisation none{0, 1};
  if (folder) return data::image_folder_loader(*folder, {.height = p.net.side, .width = p.net.side}, o, list, none);
  return data::image_loader(set, o, list, none);
}

inline void print_plan(const app::Args& args, const Options& o) {
  const Plan p = make_plan(args, o);
  const Net<float, Cpu> net(p.net);
  auto copy = net;
  const auto n = static_cast<double>(nn::parameter_count(copy)), B = static_cast<double>(p.batch);
  app::Table t;
  t.columns = {"methods",  "seeds",  "net",   "parameters",        "MFLOP a picture, forwards",
               "pictures", "epochs", "steps", "PFLOP of all runs", "MB"};
  std::string methods;
  for (const auto& m : p.methods) methods += (methods.empty() ? "" : ", ") + m;
  const double runs = static_cast<double>(p.methods.size()) * args.seeds;
  const double all = 6 * net.madds * static_cast<double>(p.images * p.epochs) * runs;  // backwards costs twice as much
  const double bytes = 4 * (3 * n + 3 * net.activations * B);  // weights, gradients, momentum; conv, BN and ReLU of each layer
  t.row({methods, std::to_string(args.seeds), p.net.kind, app::plain(n), app::figure(2 * net.madds / 1e6, 4),
         std::to_string(p.images), std::to_string(p.epochs), std::to_string(p.steps()), app::figure(all / 1e15, 3),
         app::figure(bytes / 1048576, 3)});
  std::cout << t.text() << "Data: " << p.dataset
            << ". fashion-mnist and mnist: four IDX files; cifar10 and cifar100: the binary version; folder: "
               "DIR/train/CLASS/*.jpg and "
               "DIR/val/CLASS/*.jpg.\n";
}

}  // namespace cutmix
