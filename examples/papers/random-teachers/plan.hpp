// What each setting runs.
#pragma once
#include <iostream>
#include <optional>

#include <gradus/app/args.hpp>
#include <gradus/app/table.hpp>

#include "model.hpp"

namespace rt {

struct Options {
  std::optional<std::string> enc, opt;
  std::vector<double> alpha, tau;
  std::optional<int64_t> epochs, train, out_dim, hidden, probe_steps, imp, batch;
  std::optional<double> lr, decay;
  std::string dataset, from;
  bool noise = false, lmc = false, landscape = false, no_rownorm = false, norm = false, calibrate = false, mse = false,
       second = false, plan = false;
  std::vector<int64_t> sizes;
  bool own() const { return !alpha.empty() || noise || lmc || imp || landscape || second || !sizes.empty() || !from.empty(); }
};

struct Plan {
  std::string dataset = "fashion-mnist";
  NetOptions net;
  Distillation distil;
  int64_t train = 6000, test = 2000, probe_steps = 1500, probe_every = 4, tickets = 4, grid = 0;
  Supervised lmc, imp{.epochs = 8};
  std::vector<double> alphas{0, 1}, sweep;  // the sweep and what follows: of the first seed alone
  std::vector<int64_t> sizes;
  bool noise = true, paths = true, second = false, halves = false;
};

inline Plan plan_of(const app::Args& args, const Options& o) {
  using app::Setting;
  Plan p;
  switch (args.setting) {
    case Setting::smoke:
      p.net.hidden = 16, p.net.bottleneck = 8, p.net.out = 32;
      p.distil.epochs = 1, p.distil.batch = 32;
      p.train = 80, p.test = 40, p.probe_steps = 3, p.probe_every = 1, p.tickets = 2, p.grid = 2;
      p.lmc.epochs = p.imp.epochs = 1;
      p.sweep = {0.5}, p.sizes = {40}, p.second = p.halves = true;
      break;
    case Setting::quick:
      p.distil.epochs = 8, p.train = 3000, p.test = 1000;
      p.noise = p.paths = false, p.tickets = 0;
      break;
    case Setting::normal:
      p.grid = 9, p.sweep = {0.2, 0.4, 0.6, 0.8}, p.sizes = {500, 1500}, p.second = p.halves = true;
      break;
    case Setting::paper:
      p.dataset = "cifar10";
      p.net = {.arch = Arch::vgg11, .channels = 3, .hidden = 2048, .bottleneck = 256, .out = 65536};
      p.distil.epochs = 100, p.distil.batch = 256;
      p.train = 50000, p.test = 10000, p.probe_steps = 1960, p.probe_every = 10, p.tickets = 7, p.grid = 21;
      p.lmc.epochs = p.imp.epochs = 100;
      p.sweep = {0.2, 0.4, 0.6, 0.8}, p.sizes = {500, 1000, 5000, 10000}, p.second = p.halves = true;
      break;
  }
  if (o.own()) {  // what was asked for, and nothing else
    p.alphas = o.alpha.empty() ? std::vector<double>{0} : o.alpha;
    p.sweep.clear(), p.noise = o.noise, p.paths = o.lmc, p.tickets = o.imp.value_or(0), p.second = o.second, p.halves = false;
    p.sizes = o.sizes, p.grid = o.landscape ? std::max<int64_t>(p.grid, 9) : 0;
  }
  if (o.enc) p.net.arch = *o.enc == "vgg11" ? Arch::vgg11 : *o.enc == "resnet18" ? Arch::resnet18 : Arch::minivgg;
  p.dataset = o.dataset.empty() ? p.dataset : o.dataset;
  p.net.channels = p.dataset.starts_with("cifar") ? 3 : 1;
  p.net.norm = o.norm, p.net.rownorm = !o.no_rownorm;
  p.net.out = o.out_dim.value_or(p.net.out), p.net.hidden = o.hidden.value_or(p.net.hidden);
  p.train = o.train.value_or(p.train), p.probe_steps = o.probe_steps.value_or(p.probe_steps);
  p.distil.epochs = o.epochs.value_or(p.distil.epochs), p.distil.batch = o.batch.value_or(p.distil.batch);
  p.distil.mse = o.mse, p.distil.sgd = o.opt.value_or(o.mse ? "sgd" : "adamw") == "sgd";
  p.distil.lr = o.lr.value_or(p.distil.sgd ? 0.05 : 1e-3), p.distil.decay = o.decay.value_or(0);
  if (!o.tau.empty()) p.distil.tau_t = o.tau.front(), p.distil.tau_s = o.tau.back();
  return p;
}

/// Multiply-adds of a picture, forwards: encoder and head.
inline std::array<double, 2> multiply_adds(const NetOptions& o) {
  double n = 0, area = static_cast<double>(o.side * o.side), in = static_cast<double>(o.channels);
  if (o.arch == Arch::resnet18) {
    n = area * 9 * in * 64;
    in = 64;
    for (const double width : {64.0, 128.0, 256.0, 512.0}) {
      if (width != in) area /= 4, n += area * in * width;
      n += area * 9 * width * (in + 3 * width), in = width;
    }
  } else {
    for (const int64_t width : o.widths()) {
      if (width == 0) area /= 4;
      else n += area * 9 * in * static_cast<double>(width), in = static_cast<double>(width);
    }
  }
  const double h = static_cast<double>(o.hidden), b = static_cast<double>(o.bottleneck);
  return {n, static_cast<double>(o.features()) * h + h * h + h * b + b * static_cast<double>(o.out)};
}
inline void print_plan(const app::Args& args, const Options& o) {
  const Plan p = plan_of(args, o);
  const auto [enc, head] = multiply_adds(p.net);
  Net<Cpu> net(p.net, 0);
  const double B = static_cast<double>(p.distil.batch), P = static_cast<double>(nn::parameter_count(net));
  const int64_t steps = (p.train + p.distil.batch - 1) / p.distil.batch * p.distil.epochs;
  app::Table t;
  t.columns = {"", "parameters", "MFLOP a picture, forwards"};
  t.row({"encoder", std::to_string(nn::parameter_count(net.encoder)), app::figure(2 * enc / 1e6, 4)});
  t.row({"head", std::to_string(nn::parameter_count(net.head)), app::figure(2 * head / 1e6, 4)});
  const double students = static_cast<double>(args.seeds) * static_cast<double>(p.alphas.size() + (p.noise ? 1 : 0)) +
                          static_cast<double>(p.sweep.size() + p.sizes.size() + (p.second ? 1 : 0) + (p.halves ? 1 : 0));
  std::cout << t.text() << "A student: " << steps << " steps of " << p.distil.batch << " pictures, "
            << app::figure(8 * (enc + head) * B * static_cast<double>(steps) / 1e12, 3) << " TFLOP; " << students
            << " students.\n"
            << "Supervised: " << (p.paths ? 4 * p.lmc.epochs : 0) + 2 * p.tickets * p.imp.epochs << " epochs a seed.\n"
            << "Memory: " << app::figure(5 * 4 * P / 1e6, 3) << " MB for teacher, student, gradients and AdamW, "
            << app::figure(4 * 4 * B * static_cast<double>(p.net.out) / 1e6, 3)
            << " MB for logits, targets and their gradients.\n"
            << "Data: " << p.dataset << ", " << p.train << " pictures to distil and probe, " << p.test
            << " to test; Fashion-MNIST and MNIST are IDX files, CIFAR its binary version.\n";
}

}  // namespace rt
