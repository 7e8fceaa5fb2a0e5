// What each setting runs, and the pictures for it.
#pragma once
#include <iostream>
#include <optional>

#include <gradus/app/args.hpp>
#include <gradus/app/table.hpp>
#include <gradus/data/cifar.hpp>
#include <gradus/data/fashion_mnist.hpp>

#include "model.hpp"

namespace noprop {

struct Options {
  std::optional<std::string> variant;
  std::optional<int64_t> dim, T, epochs, hidden, pool, train, steps;
  std::optional<double> eta, dropout, lr;
  std::vector<int64_t> channels;
  std::string embed = "onehot", dataset = "fashion-mnist", schedule = "learned";
  bool deterministic = false, radial = false, plan = false;
  bool own() const {
    return variant || dim || T || epochs || hidden || pool || train || steps || eta || dropout || lr || !channels.empty() ||
           embed != "onehot" || schedule != "learned" || deterministic || radial || dataset != "fashion-mnist";
  }
};

enum class Variant { dt, bp, plain, ct, fm };
struct Job {
  std::string name;
  Variant variant = Variant::dt;
  BlockOptions block = {};
  int64_t pool = 1, T = 10, epochs = 8, train = 6000, test = 2000, batch = 128, steps = 100, dim = 20;
  double eta = 0.1, lr = 1e-3, decay = 1e-3;
  Embedding embed = Embedding::onehot;
  bool radial = false, linear_schedule = false, deterministic = false, every_seed = true;
};

inline std::vector<Job> jobs(const app::Args& args, const Options& o) {
  const bool smoke = args.setting == app::Setting::smoke, quick = args.setting == app::Setting::quick,
             paper = args.setting == app::Setting::paper;
  const bool colour = o.dataset.starts_with("cifar"), hundred = o.dataset == "cifar100";
  const auto job = [&](const std::string& name, Variant v) {
    Job j{.name = name, .variant = v};
    j.block = {.channels = {16, 32, 64}, .side = colour ? 32 : 28, .pictures = colour ? 3 : 1, .hidden = 128, .dropout = 0};
    if (smoke)
      j.block.channels = {4, 4, 4}, j.block.hidden = 8, j.T = 3, j.epochs = 1, j.train = 256, j.test = 200, j.steps = 4,
      j.pool = 2;
    if (quick) j.pool = 2;
    const bool continuous = v == Variant::ct || v == Variant::fm;
    if (continuous) {
      j.eta = 1, j.every_seed = false;
      if (!smoke) j.pool = 2, j.epochs = 40;
    }
    if (paper) {
      j.block.channels = {32, 64, 128}, j.block.hidden = 256, j.block.dropout = 0.2, j.pool = 1, j.every_seed = true;
      j.train = colour ? 50000 : 60000, j.test = 10000, j.steps = 1000, j.dim = hundred ? 256 : 20;
      j.epochs = continuous ? (hundred ? 1000 : colour ? 500 : 100) : colour ? 150 : 100;
    }
    return j;
  };
  std::vector<Job> list{job("NoProp-DT", Variant::dt), job("back-propagation", Variant::bp), job("plain", Variant::plain),
                        job("NoProp-CT", Variant::ct), job("NoProp-FM", Variant::fm)};
  if (args.setting == app::Setting::normal) list[2].every_seed = false;
  if (!o.own()) {
    if (quick) list = {list[0], list[2]};
    return list;
  }
  if (o.variant || !paper) {
    const std::map<std::string, std::size_t> names{{"dt", 0}, {"bp", 1}, {"plain", 2}, {"ct", 3}, {"fm", 4}};
    list = {Job(list[names.at(o.variant.value_or("dt"))])};
  }
  for (Job& j : list) {
    j.every_seed = true;
    j.dim = o.dim.value_or(j.dim), j.T = o.T.value_or(j.T), j.epochs = o.epochs.value_or(j.epochs),
    j.pool = o.pool.value_or(j.pool);
    j.train = o.train.value_or(j.train), j.steps = o.steps.value_or(j.steps), j.eta = o.eta.value_or(j.eta),
    j.lr = o.lr.value_or(j.lr);
    j.block.hidden = o.hidden.value_or(j.block.hidden), j.block.dropout = o.dropout.value_or(j.block.dropout);
    if (!o.channels.empty()) j.block.channels = o.channels;
    j.embed = o.embed == "learned" ? Embedding::learned : o.embed == "prototype" ? Embedding::prototype : Embedding::onehot;
    j.radial = o.radial, j.linear_schedule = o.schedule == "linear", j.deterministic = o.deterministic;
  }
  return list;
}

struct Pictures {
  Tensor<float> x, test_x;  // [N, C, side, side], normalised
  Tensor<int64_t> y, test_y;
  int64_t m = 10;
};
inline Pictures pictures(const Job& j, const data::MnistLike& set, int64_t m, uint64_t seed) {
  const NoGrad guard;
  const data::Normalisation norm = data::normalisation_of(set.train);
  const auto part = [&](const data::ImageSet& from, int64_t n, uint64_t by) {
    n = std::min(n, from.size());
    auto [x, y] = n == from.size() ? data::slice_batch(from, 0, n, norm)
                                   : data::slice_batch(data::balanced_subset(from, n, by), 0, n, norm);
    if (j.pool > 1) x = avg_pool2d(x, j.pool);
    return std::pair(x, y);
  };
  Pictures p;
  p.m = m;
  std::tie(p.x, p.y) = part(set.train, j.train, seed);
  std::tie(p.test_x, p.test_y) = part(set.test, j.test, 0);
  return p;
}
inline BlockOptions block_of(const Job& j) {
  BlockOptions b = j.block;
  b.side /= j.pool;
  return b;
}
inline int64_t dimensions(const Job& j, int64_t m) {
  const BlockOptions b = block_of(j);
  return j.embed == Embedding::onehot ? m : j.embed == Embedding::learned ? j.dim : b.pictures * b.side * b.side;
}

inline void print_plan(const app::Args& args, const Options& o) {
  app::Table t;
  t.columns = {"method", "pictures", "side", "parameters of a block", "blocks", "updates", "MFLOP of a picture, forwards"};
  const int64_t m = o.dataset == "cifar100" ? 100 : 10;
  for (const Job& j : jobs(args, o)) {
    const bool shared = j.variant == Variant::ct || j.variant == Variant::fm;
    BlockOptions b = block_of(j);
    b.timed = shared;
    Block<Cpu> block(b, dimensions(j, m), m);
    double madds = 0, side = static_cast<double>(b.side);
    for (const auto& [name, p] : nn::named_parameters(block)) {
      if (p.rank() == 4) madds += static_cast<double>(p.numel()) * side * side, side = std::floor(side / 2);
      if (p.rank() == 2) madds += static_cast<double>(p.numel());
    }
    const int64_t blocks = shared || j.variant == Variant::plain ? 1 : j.T;
    const int64_t updates = (j.train + j.batch - 1) / j.batch * j.epochs * (j.variant == Variant::dt ? j.T : 1);
    t.row({j.name, std::to_string(j.train), std::to_string(b.side), std::to_string(nn::parameter_count(block)),
           std::to_string(blocks), std::to_string(updates), app::figure(2 * madds * static_cast<double>(blocks) / 1e6, 4)});
  }
  std::cout << t.text() << "Data: Fashion-MNIST or MNIST (IDX), CIFAR-10 or CIFAR-100 (binary version), --dataset.\n";
}

}  // namespace noprop
