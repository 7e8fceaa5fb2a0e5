// What each setting runs: lines of data, network and optimiser.
#pragma once
#include <algorithm>

#include <gradus/app/args.hpp>
#include <gradus/app/table.hpp>

#include "model.hpp"

namespace icl {

/// One line of the plan: data, network, optimiser.
struct Scenario {
  std::string part = {}, name = {};
  Mixture m = {};
  int64_t iters = 2500, seeds = 1;
  double lr = 0.1, decay = 0;  // theta <- (1 - decay) theta - lr grad
  Start start = {};
  bool reduced = false;
  int64_t every = 50, batch = 128;
};
struct Options {
  std::vector<std::string> parts;
  std::string head;  // empty: the setting's parts
  Scenario own{.part = "own", .name = "own"};
  bool plan = false;
};

inline std::vector<Scenario> scenarios(const app::Args& args, const Options& o, Where at = Where::current()) {
  std::vector<Scenario> list;
  const auto seeds = static_cast<int64_t>(args.seeds);
  if (!o.head.empty()) {
    list.push_back(o.own);
    list[0].reduced = o.head == "reduced", list[0].seeds = seeds;
    if (o.head == "pheno") list.clear();
    return list;
  }
  const auto known = [](Mixture m) { return m.pC = 0, m; };
  if (args.setting == app::Setting::paper) {
    const Scenario base{.part = "D",
                        .m = {.N = 8, .Nmax = 32, .L = 32, .K = 512, .D = 63, .B = 2, .pC = 0, .pool = true},
                        .iters = 150000,
                        .seeds = seeds,
                        .lr = 0.01,
                        .decay = 1e-6,
                        .start = {.biases = true},
                        .every = 1000};
    const auto add = [&](Mixture m) {
      Scenario s = base;
      s.m = m, s.name = "K " + std::to_string(m.K) + ", B " + std::to_string(m.pB > 0 ? m.B : 0) + ", alpha " +
                        app::plain(m.alpha) + ", eps " + app::plain(m.eps);
      if (std::none_of(list.begin(), list.end(), [&](const Scenario& x) { return x.name == s.name; })) list.push_back(s);
    };
    for (int64_t K = 128; K <= 8192; K *= 2) {
      for (const int64_t B : {0, 1, 2, 4}) {
        Mixture m = base.m;
        m.K = K, m.B = B ? B : 1, m.pB = B ? 1 : 0, add(m);
      }
      for (const double alpha : {0.0, 0.5, 1.0, 1.5, 2.0}) {
        Mixture m = base.m;
        m.K = K, m.alpha = alpha, add(m);
      }
    }
    for (const double eps : {0.01, 0.03, 0.1, 0.3, 1.0}) {
      Mixture m = base.m;
      m.eps = eps, add(m);
    }
  } else {
    const bool smoke = args.setting == app::Setting::smoke, wide = args.setting == app::Setting::normal;
    const auto steps = [&](int64_t n) { return smoke ? int64_t{40} : n; };
    list.push_back({.part = "B", .name = "B: N = 4, L = 16", .m = {}, .iters = steps(2500), .seeds = seeds});
    if (smoke || wide) {
      list.push_back({.part = "B2", .name = "B2: the same, Nmax = 8", .m = {.Nmax = 8}, .iters = steps(4000), .seeds = seeds});
      list.push_back({.part = "C", .name = "C: L = N = 4", .m = {.L = 4}, .iters = steps(6000), .seeds = seeds});
      const auto add = [&](const std::string& name, const Mixture& m) {
        list.push_back({.part = "D", .name = "D: " + name, .m = known(m), .iters = steps(5000)});
      };
      for (const int64_t K : {32, 128, 512, 2048}) add("K = " + std::to_string(K), {.K = K});
      add("K = 256, pB = 0", {.K = 256, .pB = 0});
      add("K = 128, B = 2", {.K = 128, .B = 2});
      for (const double eps : {0.0, 0.5, 1.0}) add("K = 128, eps = " + app::plain(eps), {.K = 128, .eps = eps});
      list.push_back({.part = "E", .name = "E: reduced head", .m = {}, .iters = steps(1500), .seeds = seeds, .reduced = true});
    }
  }
  for (const auto& part : o.parts)
    if (part != "A" && std::none_of(list.begin(), list.end(), [&](const Scenario& s) { return s.part == part; }))
      fail("--parts", "the setting has no such part", {{"setting", name_of(args.setting)}, {"part", part}},
           "quick: A, B; default: A, B, B2, C, D, E; paper: A, D", at);
  if (o.own.start.unit_bias)
    for (auto& s : list) s.start.unit_bias = true;
  if (!o.parts.empty())
    std::erase_if(list, [&](const Scenario& s) { return std::find(o.parts.begin(), o.parts.end(), s.part) == o.parts.end(); });
  return list;
}

}  // namespace icl
