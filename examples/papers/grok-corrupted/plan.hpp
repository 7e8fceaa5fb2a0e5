// What each setting runs.
#pragma once
#include <iostream>
#include <optional>

#include <gradus/app/args.hpp>
#include <gradus/app/table.hpp>

#include "model.hpp"

namespace grok {

struct Options {
  std::optional<int64_t> p, width, batch, steps;
  std::optional<double> alpha, xi, wd, dropout, lr;
  std::optional<std::string> norm, op, loss, model;
  int64_t grid = 0;
  std::string grid_over = "wd";
  bool plan = false;
  bool own() const { return p || width || batch || steps || alpha || xi || wd || dropout || lr || norm || op || loss || model; }
};

struct Phase {
  std::string name;
  Task task;
  MlpOptions net;
  TrainOptions train;
  bool every_seed = true, transformer = false;
};

inline Norm norm_of(const std::string& s) { return s == "bn" ? Norm::batch : s == "ln" ? Norm::layer : Norm::none; }

inline std::vector<Phase> phases(const app::Args& args, const Options& o) {
  const bool small = args.setting == app::Setting::quick, smoke = args.setting == app::Setting::smoke;
  const int64_t p = smoke ? 11 : small ? 53 : 97, N = smoke ? 24 : small ? 256 : 500;
  const double alpha = small ? 0.75 : 0.5, xi = small ? 0.25 : 0.35;
  const auto run = [&](const std::string& name, double wd, int64_t steps) {
    return Phase{name, {p, alpha, xi}, {p, N}, {smoke ? 6 : steps, 0, 1e-2, wd}};
  };
  if (o.own()) {
    Phase own = run("own", o.wd.value_or(0), o.steps.value_or(500));
    own.task = {o.p.value_or(p), o.alpha.value_or(alpha), o.xi.value_or(xi), o.op.value_or("add") == "mul"};
    own.net = {own.task.p, o.width.value_or(N), o.dropout.value_or(0), norm_of(o.norm.value_or("none"))};
    own.train.batch = o.batch.value_or(0), own.train.lr = o.lr.value_or(scaled_rate(1e-2, own.train.batch));
    own.train.steps = o.steps.value_or(own.train.steps), own.train.cross_entropy = o.loss.value_or("mse") == "ce";
    own.transformer = o.model.value_or("mlp") == "transformer";
    return {own};
  }
  std::vector<Phase> list{run("coexistence", 0, small ? 600 : 1000), run("full inversion", 15, small ? 300 : 500)};
  const auto batches = [&](const std::string& name, Norm norm, int64_t steps) {
    Phase f = run(name, 0, steps);
    f.task.alpha = small ? 0.75 : 0.65, f.task.xi = 0.2, f.net.norm = norm, f.train.batch = smoke ? 16 : 64;
    f.train.lr = scaled_rate(1e-2, 64);
    return f;
  };
  Phase dropout = run("dropout 0.6, p = 53", 0, 400);
  dropout.task = {smoke ? p : 53, 0.75, 0.25}, dropout.net = {dropout.task.p, smoke ? N : 256, 0.6};
  list.push_back(dropout);
  list.push_back(batches("batch normalisation", Norm::batch, small ? 1000 : 2000));
  if (small || smoke) return list;
  Phase grokking = run("no corruption", 5, 100);
  grokking.task.xi = 0;
  Phase wide = run("dropout 0.6, p = 97", 0, 500);
  wide.net.dropout = 0.6;
  Phase forgetting = run("forgetting", 20, 2500);
  forgetting.every_seed = false;
  Phase attention = run("Transformer, no corruption", 0.5, 300);
  attention.task.xi = 0, attention.transformer = true, attention.train.cross_entropy = true;
  for (const Phase& f :
       {grokking, run("partial inversion", 5, 500), wide, batches("small batches", Norm::none, 2000), forgetting, attention})
    list.push_back(f);
  return list;
}

inline void print_plan(const app::Args& args, const Options& o) {
  app::Table t;
  t.columns = {"phase", "p", "N", "alpha", "xi", "pairs a step", "steps", "parameters", "MFLOP a step"};
  for (const Phase& f : phases(args, o)) {
    const auto pairs = static_cast<int64_t>(f.task.alpha * static_cast<double>(f.task.p * f.task.p)),
               B = f.train.batch ? f.train.batch : pairs;
    int64_t n = 0;
    if (f.transformer) n = nn::parameter_count(*std::make_unique<Transformer<float, Cpu>>(f.task.p));
    else n = nn::parameter_count(*std::make_unique<Mlp<float, Cpu>>(f.net));
    t.row({f.name, std::to_string(f.task.p), f.transformer ? "-" : std::to_string(f.net.width), app::figure(f.task.alpha, 2),
           app::figure(f.task.xi, 2), std::to_string(B), std::to_string(f.train.steps), std::to_string(n),
           f.transformer ? "-" : std::to_string(6 * B * f.net.width * f.task.p / 1000000)});
  }
  std::cout << t.text()
            << "--paper: 17 x 17 values of alpha and xi, 2000 steps each, for each of four weight decays (--grid-over: "
               "dropout, bn, batch).\n";
}

}  // namespace grok
