// What each setting of the example runs, on which pictures, with which labels.
#pragma once
#include <iostream>
#include <optional>

#include <gradus/app/args.hpp>
#include <gradus/app/table.hpp>
#include <gradus/data/cifar.hpp>
#include <gradus/data/fashion_mnist.hpp>
#include <gradus/data/samplers.hpp>

#include "model.hpp"

namespace compressing {

struct Options {
  std::optional<std::string> dataset;
  std::string noise = "sym", coteach = "half", from = "best";
  std::vector<std::string> methods;
  double rate = 0.4;
  std::optional<double> sigma, p, tau, lr;
  std::optional<int64_t> images, epochs, epochs2;
  bool per_sample = false, per_batch = true, no_extra = false, plan = false;
  /// Any option that changes what is trained: the bounds of the checks are for the runs as they come.
  bool own() const {
    return dataset || !methods.empty() || noise != "sym" || coteach != "half" || from != "best" || rate != 0.4 || sigma || p ||
           tau || lr || images || epochs || epochs2 || per_sample;
  }
};

struct Plan {
  std::string dataset = "fashion-mnist";
  Config net;
  std::vector<Method> methods{Method::ce, Method::dropout, Method::nested};
  std::vector<double> extra;  ///< further noise rates: first seed, one network, first stage
  int64_t images = 0, validation = 0, test = 10000, watched = 0, identity = 0;
  int64_t epochs = 0, batch = 64, warmup = 150, augment = 0;
  double lr = 0.02, decay = 5e-4, rate = 0.4;
  std::vector<int64_t> drops;  ///< epochs at which the rate falls to a tenth
  int64_t epochs2 = 0;         ///< of the second stage; 0: none, and one network a method
  double lr2 = 2e-3, tau = 0.4;
  int64_t toy_steps = 0, toy_width = 256;
  bool full = false, asymmetric = false, from_last = false;
  int64_t steps() const { return (images + batch - 1) / batch * epochs; }
  int64_t steps2() const { return images / batch * epochs2; }
  int64_t networks() const { return epochs2 > 0 ? 2 : 1; }
  int64_t total_steps(int64_t seeds) const {
    const auto n = static_cast<int64_t>(methods.size()), more = static_cast<int64_t>(extra.size());
    return 2 * toy_steps + n * (seeds * (networks() * steps() + steps2()) + more * steps());
  }
};
inline Plan make_plan(const app::Args& args, const Options& o) {
  Plan p;
  const bool paper = args.setting == app::Setting::paper, smoke = args.setting == app::Setting::smoke;
  p.dataset = o.dataset.value_or(paper ? "cifar10" : "fashion-mnist");
  const bool cifar = p.dataset != "fashion-mnist", hundred = p.dataset == "cifar100";
  p.net.in = cifar ? 3 : 1, p.net.side = cifar ? 32 : 28, p.net.classes = hundred ? 100 : 10;
  p.net.resnet = paper && cifar;
  p.net.sigma = o.sigma.value_or(!paper ? 30 : hundred ? 100 : 10);
  p.net.p = o.p.value_or(!paper ? 0.5 : hundred ? 0.7 : 0.3);
  p.net.per_sample = o.per_sample;
  p.images = o.images.value_or(args.pick<int64_t>(200, 1000, 3000, cifar ? 45000 : 54000));
  p.validation = args.pick<int64_t>(100, 500, 1000, cifar ? 5000 : 6000);
  p.test = args.pick<int64_t>(500, 10000, 10000, 10000);
  p.watched = args.pick<int64_t>(100, 500, 1000, 2000);
  p.identity = args.pick<int64_t>(50, 500, 500, 500);
  p.epochs = o.epochs.value_or(args.pick<int64_t>(2, 40, 24, 350));
  p.drops = paper ? std::vector<int64_t>{p.epochs * 4 / 7, p.epochs * 6 / 7} : std::vector<int64_t>{p.epochs * 65 / 100};
  p.epochs2 = o.epochs2.value_or(args.pick<int64_t>(1, 0, 10, 100));
  p.lr = o.lr.value_or(paper ? 0.1 : 0.02), p.rate = o.rate;
  p.tau = o.tau.value_or(paper ? 0.2 : o.rate);
  p.toy_steps = args.pick<int64_t>(20, 2000, 5000, 5000);
  if (paper) p.batch = 320, p.warmup = 6000, p.lr2 = 1e-3, p.augment = 4;
  if (smoke) p.net.C1 = 4, p.net.C2 = 4, p.net.D = 32, p.net.sigma = 8, p.warmup = 2, p.toy_width = 32;
  if (args.setting == app::Setting::quick) p.warmup = 60;
  if (args.setting == app::Setting::normal && !o.own() && !o.no_extra) p.extra = {0.2, 0.6};
  p.full = o.coteach == "full", p.asymmetric = o.noise == "asym", p.from_last = o.from == "last";
  if (!o.methods.empty()) {
    p.methods.clear();
    for (const Method m : {Method::ce, Method::dropout, Method::nested})
      if (std::find(o.methods.begin(), o.methods.end(), name_of(m)) != o.methods.end()) p.methods.push_back(m);
  }
  return p;
}

/// The pictures as they came, and to which class asymmetric noise moves each.
struct Source {
  data::MnistLike set;
  data::Normalisation norm;
  std::vector<int64_t> to;
  std::vector<std::string> names;
};
inline Source load(const app::Args& args, const Plan& p) {
  Source s;
  const auto named = [&](const auto& list) { s.names.assign(list.begin(), list.end()); };
  if (p.dataset == "cifar10") {
    s.set = data::cifar10(args.data), named(data::kCifar10Classes);
    s.to = {0, 1, 0, 5, 7, 3, 6, 7, 8, 1};  // bird -> airplane, cat <-> dog, deer -> horse, truck -> automobile
  } else if (p.dataset == "cifar100") {
    s.set = data::cifar100(args.data), named(data::kCifar100Classes);
    const auto coarse = data::cifar100(args.data, data::Cifar100Labels::coarse).train.labels;
    std::vector<int64_t> above(100);
    for (std::size_t i = 0; i < coarse.size(); ++i) above[s.set.train.labels[i]] = coarse[i];
    for (int64_t k = 0; k < 100; ++k) {  // the next class of the same superclass
      int64_t next = (k + 1) % 100;
      while (above[static_cast<std::size_t>(next)] != above[static_cast<std::size_t>(k)]) next = (next + 1) % 100;
      s.to.push_back(next);
    }
  } else {
    s.set = data::fashion_mnist(args.data), named(data::kFashionMnistClasses);
    s.to = {6, 1, 4, 3, 2, 7, 6, 9, 8, 9};  // T-shirt -> shirt, pullover <-> coat, sandal -> sneaker -> ankle boot
  }
  if (p.test < s.set.test.size()) s.set.test = data::balanced_subset(s.set.test, p.test, 0);
  s.norm = data::normalisation_of(s.set.train);
  return s;
}

inline data::ImageSet part_of(const data::ImageSet& set, int64_t begin, int64_t n) {
  const int64_t size = set.channels() * set.height() * set.width();
  data::ImageSet out;
  out.shape = set.shape, out.shape[0] = n;
  out.pixels.assign(set.pixels.begin() + begin * size, set.pixels.begin() + (begin + n) * size);
  out.labels.assign(set.labels.begin() + begin, set.labels.begin() + begin + n);
  return out;
}
/// Training pictures with noisy labels, their true classes, and clean pictures to choose K* and the epoch by.
struct Split {
  data::ImageSet train, validation;
  std::vector<uint8_t> truth;
};
inline Split split(const Source& s, const Plan& p, double rate, uint64_t seed) {
  const auto all = data::balanced_subset(s.set.train, p.images + p.validation, seed);
  Split r{part_of(all, 0, p.images), part_of(all, p.images, p.validation), {}};
  r.truth = r.train.labels;
  r.train.labels =
      data::exact_noise(r.truth, p.net.classes, rate, {seed ^ 0x6e6f697365, 0}, p.asymmetric ? s.to : std::vector<int64_t>{});
  return r;
}

inline void print_plan(const app::Args& args, const Options& o) {
  const Plan p = make_plan(args, o);
  Net<float, Cpu> net(p.net);
  double madds = 0, activations = 0;  // of a picture, forwards
  if (p.net.resnet) {                 // four stages of two blocks of two 3 x 3 convolutions, and three 1 x 1 shortcuts
    const auto layer = [&](double in, double out, double side, double kernel) {
      madds += side * side * kernel * kernel * in * out, activations += side * side * out;
    };
    layer(3, 64, 32, 3);
    for (int k = 0; k < 4; ++k) {
      const double w = 64 << k, in = k ? w / 2 : w, side = 32 >> k;
      layer(in, w, side, 3), layer(w, w, side, 3), layer(w, w, side, 3), layer(w, w, side, 3);
      if (k) layer(in, w, side, 1);
    }
  } else {
    const auto s = static_cast<double>(p.net.side), C1 = static_cast<double>(p.net.C1), C2 = static_cast<double>(p.net.C2);
    madds = 9 * s * s * C1 * (static_cast<double>(p.net.in) + C2 / 4) + C2 * s * s / 16 * static_cast<double>(p.net.D);
    activations = s * s * (C1 + C2 / 4);
  }
  madds += static_cast<double>(p.net.features() * p.net.classes);
  const auto n = static_cast<double>(nn::parameter_count(net)), B = static_cast<double>(p.batch);
  const double networks = static_cast<double>(static_cast<int64_t>(p.methods.size()) *
                                              (args.seeds * p.networks() + static_cast<int64_t>(p.extra.size())));
  const double first = 6 * madds * static_cast<double>(p.images * p.epochs) * networks;  // backwards costs twice as much
  const double second = 2 * madds * (1 + 3 * (1 - p.tau)) * static_cast<double>(p.images * p.epochs2) *
                        static_cast<double>(static_cast<int64_t>(p.methods.size()) * args.seeds);
  app::Table t;
  t.columns = {"network",  "parameters",   "features",         "MFLOP a picture, forwards",
               "networks", "steps of one", "steps of stage 2", "PFLOP, stages 1 and 2",
               "MB"};
  t.row({p.net.resnet ? "ResNet-18" : "small", app::plain(n), std::to_string(p.net.features()), app::figure(2 * madds / 1e6, 4),
         app::plain(networks), std::to_string(p.steps()), std::to_string(p.steps2()), app::figure((first + second) / 1e15, 3),
         app::figure(4 * (3 * n + 3 * activations * B) / 1048576, 3)});
  std::cout << t.text() << "Data: " << p.dataset << ", " << p.images << " noisy training pictures and " << p.validation
            << " clean ones. fashion-mnist: four IDX files; cifar10 and cifar100: the binary version.\n";
}

}  // namespace compressing
