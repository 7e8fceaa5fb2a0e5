// What each setting of the SortedNet example runs, on which data.
#pragma once
#include <iostream>
#include <optional>

#include <gradus/app/args.hpp>
#include <gradus/app/table.hpp>
#include <gradus/data/augment.hpp>
#include <gradus/data/cifar.hpp>
#include <gradus/data/fashion_mnist.hpp>

#include "soft.hpp"

namespace sortednet {

struct Options {
  std::optional<std::string> arch, dataset;
  std::string norm = "group", soft = "all", text;
  std::vector<std::string> methods;
  std::vector<int64_t> widths, depths, budgets, export_size;
  std::optional<int64_t> gacc, images, test, epochs, soft_steps;
  std::optional<double> lr;
  bool same_batch = false, plan = false;
  /// Any option that changes what is trained: the bounds of the checks are for the runs as they come.
  bool own() const {
    return arch || dataset || norm != "group" || soft != "all" || !text.empty() || !methods.empty() || !widths.empty() ||
           !depths.empty() || gacc || images || test || epochs || soft_steps || lr || same_batch;
  }
};

struct Job {
  std::string name;
  Method method = Method::sorted;
  int64_t g_acc = 1;
};
struct Plan {
  std::string dataset = "fashion-mnist";
  Config config;
  Space space;
  std::vector<Job> jobs;
  std::vector<Size> individual;  ///< prefixes that are trained alone
  int64_t images = 10000, test = 4000, epochs = 8, batch = 64, calibration = 2000;
  double lr = 0.05, momentum = 0.9, decay = 5e-4, clip = 1;
  bool same_batch = false, augment = false;
  std::vector<int64_t> budgets;
  DecoderConfig decoder;
  std::vector<std::pair<std::string, Tuning>> tunings;
  int64_t soft_steps = 500, soft_batch = 16;
  double soft_lr = 3e-3;

  int64_t batches() const { return (images + batch - 1) / batch; }
  /// Optimizer steps: as many mini-batches for any g_acc, unless one mini-batch serves all its passes.
  int64_t steps(int64_t g_acc) const {
    return same_batch ? batches() * epochs : std::max<int64_t>(1, batches() * epochs / g_acc);
  }
};

inline Plan make_plan(const app::Args& args, const Options& o) {
  Plan p;
  const bool paper = args.setting == app::Setting::paper, smoke = args.setting == app::Setting::smoke,
             quick = args.setting == app::Setting::quick;
  p.dataset = o.dataset.value_or(paper ? "cifar10" : "fashion-mnist");
  const bool cifar = p.dataset.starts_with("cifar");
  p.config.conv = o.arch.value_or(paper ? "resnet" : "mlp") == "resnet";
  p.config.channels = cifar ? 3 : 1, p.config.side = cifar ? 32 : 28;
  p.config.classes = p.dataset == "cifar100" ? 100 : 10;
  p.config.batch_norm = o.norm == "batch";
  const auto steps_of = [](int64_t step, int64_t last) {
    std::vector<int64_t> v;
    for (int64_t k = step; k <= last; k += step) v.push_back(k);
    return v;
  };
  const int64_t W = p.config.conv ? 32 : 160, L = p.config.conv ? 5 : 8;
  p.space = {o.widths, o.depths};
  if (p.space.widths.empty())
    p.space.widths = smoke ? (p.config.conv ? std::vector<int64_t>{2, 4} : std::vector<int64_t>{8, 16, 32})
                           : steps_of(p.config.conv ? 1 : 8, W);
  if (p.space.depths.empty()) p.space.depths = steps_of(1, smoke ? 2 : L);
  for (auto* v : {&p.space.widths, &p.space.depths}) std::sort(v->begin(), v->end());
  p.config.full = p.space.largest();
  if (o.export_size.size() == 2 && (o.export_size[0] > p.config.full.w || o.export_size[1] > p.config.full.d))
    fail("--export", "no prefix of this size",
         {{"W,D", std::to_string(o.export_size[0]) + "," + std::to_string(o.export_size[1])}},
         "at most " + std::to_string(p.config.full.w) + "," + std::to_string(p.config.full.d), Where::current());

  p.images = o.images.value_or(args.pick<int64_t>(320, 5000, 10000, cifar ? 50000 : 60000));
  p.test = o.test.value_or(args.pick<int64_t>(200, 2000, 4000, 10000));
  p.epochs = o.epochs.value_or(args.pick<int64_t>(2, 4, 8, 200));
  p.calibration = std::min(p.calibration, p.images);
  p.lr = o.lr.value_or(p.lr), p.same_batch = o.same_batch, p.augment = paper && cifar;

  const int64_t g = o.gacc.value_or(1);
  const std::map<std::string, Method> named{
      {"sorted", Method::sorted}, {"full", Method::full}, {"unsorted", Method::unsorted}, {"sandwich", Method::sandwich}};
  std::vector<std::string> list = o.methods;
  if (list.empty()) {
    list = {"sorted", "full"};
    if (!quick) list.insert(list.end(), {"unsorted", "sandwich", "gacc4", "individual", "SoFT"});
  }
  const auto has = [&](const char* name) { return std::find(list.begin(), list.end(), name) != list.end(); };
  for (const auto& name : list)
    if (const auto m = named.find(name); m != named.end()) p.jobs.push_back({name, m->second, g});
  if (has("gacc4") && g == 1) p.jobs.push_back({"sorted, g_acc 4", Method::sorted, 4});
  if (has("individual")) {
    const auto& w = p.space.widths;
    for (const int64_t d : {p.space.depths.front(), p.space.depths.back()})
      for (const std::size_t k : std::set{std::size_t{0}, (w.size() - 1) / 4, w.size() - 1}) p.individual.push_back({w[k], d});
  }
  const auto most = static_cast<double>(cost(p.config, p.space.largest()).macs);
  p.budgets = o.budgets;
  if (p.budgets.empty())
    for (const double share : {0.05, 0.2, 0.6}) p.budgets.push_back(static_cast<int64_t>(share * most));

  if (has("SoFT")) p.tunings = {{"standard", Tuning::standard}, {"SoFT", o.soft == "all" ? Tuning::all : Tuning::sample}};
  if (smoke) p.decoder = {16, 2, 2, 32, {1, 2}}, p.soft_batch = 4;
  if (paper) p.decoder = {512, 12, 8, 256, {3, 6, 9, 12}}, p.soft_batch = 64, p.soft_lr = 3e-4;
  p.soft_steps = o.soft_steps.value_or(args.pick<int64_t>(4, 200, 500, 20000));
  return p;
}

/// Pictures of a set: [N, C, H, W], normalised, and labels.
struct Pictures {
  Tensor<float> x;
  Tensor<int64_t> y;
  int64_t size() const { return y.numel(); }
};
inline data::MnistLike load(const app::Args& args, const Plan& p) {
  return p.dataset == "cifar10"    ? data::cifar10(args.data)
         : p.dataset == "cifar100" ? data::cifar100(args.data)
                                   : data::load_mnist_like(args.data, p.dataset);
}
inline Pictures pictures(const data::ImageSet& set, int64_t n, uint64_t seed, const data::Normalisation& norm) {
  if (n >= set.size()) {
    const auto [x, y] = data::slice_batch(set, 0, set.size(), norm);
    return {x, y};
  }
  const auto [x, y] = data::slice_batch(data::balanced_subset(set, n, seed), 0, n, norm);
  return {x, y};
}

inline void print_plan(const app::Args& args, const Options& o) {
  const Plan p = make_plan(args, o);
  app::Table t;
  t.columns = {"method", "network", "sub-networks", "parameters", "MFLOP a picture, forwards",
               "steps",  "passes",  "PFLOP a run",  "MB"};
  const Cost most = cost(p.config, p.space.largest());
  double mean = 0;
  for (const int64_t w : p.space.widths)
    for (const int64_t d : p.space.depths) mean += static_cast<double>(cost(p.config, {w, d}).macs);
  const auto sizes = static_cast<double>(p.space.widths.size() * p.space.depths.size());
  mean /= sizes;
  for (const Job& j : p.jobs) {
    const double full = static_cast<double>(most.macs), least = static_cast<double>(cost(p.config, p.space.smallest()).macs);
    const double a_pass = j.method == Method::full ? full : j.method == Method::sandwich ? full + least + 2 * mean : mean;
    const auto passes = static_cast<double>(p.steps(j.g_acc) * j.g_acc);
    t.row({j.name, p.config.conv ? "ResNet" : "MLP", app::plain(sizes), std::to_string(most.parameters),
           app::figure(2 * full / 1e6, 4), std::to_string(p.steps(j.g_acc)), app::plain(passes),
           app::figure(6 * a_pass * passes * static_cast<double>(p.batch) / 1e15, 3),  // backwards costs twice as much
           app::figure(12 * static_cast<double>(most.parameters) / 1048576, 3)});      // weights, gradients, momentum
  }
  std::cout << t.text();
  if (!p.tunings.empty()) {
    Decoder<> net(p.decoder);
    std::cout << "SoFT: a decoder of " << p.decoder.layers << " blocks, width " << p.decoder.C << ", context "
              << p.decoder.context << ", " << nn::parameter_count(net) << " parameters, " << p.soft_steps << " steps of "
              << p.soft_batch << " windows, for each of standard and SoFT.\n";
  }
  std::cout << "Data: " << p.dataset
            << " (fashion-mnist and mnist: four IDX files; cifar10 and cifar100: the binary version), --data "
            << "DIR; a text, --text FILE.\n";
}

}  // namespace sortednet
