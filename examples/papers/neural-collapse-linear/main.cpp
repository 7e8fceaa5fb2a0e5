// H. Dang, T. Tran, S. Osher, H. Tran-The, N. Ho, T. Nguyen, "Neural Collapse in Deep Linear Networks: From Balanced to Imbalanced
// Data", ICML 2023, arXiv:2301.00437.
//
// Claim: every global minimum of a deep linear head on free features has a closed form: class means and rows of the classifier are
// orthogonal (a simplex ETF with a bias or cross-entropy), with lengths that depend on the sizes of the classes.
//
// Differs from the paper: free features only; see README.md.
#include <iostream>

#include <gradus/app/args.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/app/report.hpp>
#include <gradus/optim.hpp>

#include "model.hpp"

using namespace gradus;
using namespace ncl;

struct Options {
  std::vector<double> counts;  // empty: the setting's scenarios
  std::string loss = "mse";
  bool bias = false, plan = false;
  int64_t M = 1, d = 64, iters = 4000;
  double lambda_W = 5e-4, lambda_H = 5e-4, lr = 0.5;
};

struct Scenario {
  std::string name;
  Problem q;
  int64_t d = 64;
  double lr = 0.5;
  int64_t iters = 4000;
};

std::vector<Scenario> scenarios(const app::Args& args, const Options& o) {
  if (!o.counts.empty())
    return {{"own", {o.counts, o.M, o.lambda_W, o.lambda_H, o.bias, o.loss == "ce"}, o.d, o.lr, o.iters}};
  const bool paper = args.setting == app::Setting::paper;
  const std::vector<double> equal(4, 100), unequal{200, 100, 50, 50};
  const double lr = paper ? 0.1 : 0.5;
  const int64_t iters = args.pick<int64_t>(60, 4000, 4000, 30000);
  std::vector<Scenario> list;
  for (const int64_t M : args.pick<std::vector<int64_t>>({1, 3}, {1, 3}, {1, 3, 6}, {1, 3, 6})) {
    const std::string m = ", M = " + std::to_string(M);
    const double rate = M == 6 ? 0.1 : lr;
    const int64_t steps = M == 6 ? std::max<int64_t>(iters, 20000) : iters;
    list.push_back({"balanced" + m, {equal, M}, 64, rate, steps});
    list.push_back({"balanced, bias" + m, {equal, M, 5e-4, 5e-4, true}, 64, rate, steps});
    list.push_back({"imbalanced" + m, {unequal, M}, 64, rate, steps});
    if (paper) list.push_back({"imbalanced, d = 2048" + m, {unequal, M}, 2048, rate, steps});
  }
  if (paper) return list;
  list.push_back({"minority 2", {{200, 100, 50, 2}, 1, 5e-3, 5e-3}, 32, 0.3, iters});
  list.push_back({"minority 20", {{200, 100, 50, 20}, 1, 5e-3, 5e-3}, 32, 0.3, iters});
  for (const int64_t M : args.pick<std::vector<int64_t>>({1}, {1}, {1, 2, 3}, {}))
    list.push_back({"CE, M = " + std::to_string(M), {std::vector<double>(4, 50), M, 5e-4, 5e-4, true, true}, 32, 0.5, iters});
  return list;
}

struct Run {
  std::vector<double> steps, nc1, nc2, nc3;
  Collapse<Cpu> first, last;  // on the host, for drawings
  double loss = 0;
};

template <class D>
Collapse<Cpu> on_host(const Collapse<D>& c) {
  return {c.nc1, c.nc2_W, c.nc2_H, c.nc3, c.nc3_rows, c.mu2, c.z, c.gram.template to<Cpu>(), c.PPt.template to<Cpu>()};
}

template <class D>
Run train(const Scenario& s, const Solution& best, app::Progress& progress, const std::string& label) {
  const Ufm<double, D> u(s.q, s.d);
  const auto y = labels<D>(s.q);
  optim::Sgd<double, D> opt(u.parameters(), {.lr = s.lr, .momentum = 0.9});
  Run r;
  const int64_t every = std::max<int64_t>(1, s.iters / 40);
  for (int64_t i = 0; i <= s.iters && !app::interrupted(); ++i) {
    if (i % every == 0 || i == s.iters) {
      r.last = on_host(collapse(s.q, best, u.W, u.H, y));
      if (i == 0) r.first = r.last;
      r.steps.push_back(static_cast<double>(i)), r.nc1.push_back(r.last.nc1);
      r.nc2.push_back(r.last.nc2_W), r.nc3.push_back(r.last.nc3);
    }
    opt.zero_grad();
    const auto L = loss(s.q, u.W, u.b, u.H, y);
    r.loss = L.item();
    if (i == s.iters) break;
    L.backward();
    opt.step();
    progress.step(label);
  }
  return r;
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  const std::vector<Scenario> list = scenarios(args, o);
  app::Metrics metrics("neural-collapse-linear", name_of(args.setting), args.seed_list());
  app::catch_interrupt();
  int64_t total = 0;
  for (const auto& s : list) total += s.iters * args.seeds;
  app::Progress progress(total, "training");
  app::Table table;
  table.columns = {"scenario", "seed", "loss", "closed form", "NC1", "NC2_W", "NC2_H", "NC3", "NC3'", "||mu|| measured (predicted)"};
  app::Report report("Neural collapse in deep linear networks");
  report.citation("H. Dang et al., Neural Collapse in Deep Linear Networks, ICML 2023", "https://arxiv.org/abs/2301.00437")
      .claim("The global minima of a deep linear head on free features have a closed form, for classes of equal and of different sizes.");
  const bool real = args.setting != app::Setting::smoke;
  for (const auto& s : list) {
    const Solution best = solve(s.q);
    const bool deep_ce = s.q.ce && s.q.M > 1;  // the ETF need not be the global minimum: reported, not asserted
    double error = 0, nc1 = 0, nc = 0, length = 0, small = 0, from_I = 2;
    std::vector<Run> runs;
    for (const uint64_t seed : args.seed_list()) {
      manual_seed(seed);
      const Run r = train<D>(s, best, progress, s.name + ", seed " + std::to_string(seed));
      if (app::interrupted()) return 130;
      runs.push_back(r);
      std::string lengths;
      for (std::size_t k = 0; k < best.mu2.size(); ++k) {
        const double measured = r.last.mu2[k];
        lengths += (k ? ", " : "") + app::figure(std::sqrt(measured), 4) + " (" + app::figure(std::sqrt(best.mu2[k]), 4) + ")";
        if (best.mu2[k] > 0) length = std::max(length, std::abs(measured / best.mu2[k] - 1));
        else small = std::max({small, measured, 1e-2 * std::abs(r.last.z[k])});  // 1e-6 and 1e-4
      }
      const double worst = std::max({r.last.nc2_W, r.last.nc2_H, r.last.nc3, r.last.nc3_rows});
      error = std::max(error, std::abs(r.loss / best.loss - 1)), nc1 = std::max(nc1, r.last.nc1), nc = std::max(nc, worst);
      const auto I = eye<double, Cpu>(s.q.K(), s.q.K());
      from_I = std::min({from_I, nd(r.last.gram, I), nd(r.last.PPt, I)});
      table.row({s.name, std::to_string(seed), app::figure(r.loss, 6), app::figure(best.loss, 6), app::figure(r.last.nc1, 2),
                 app::figure(r.last.nc2_W, 2), app::figure(r.last.nc2_H, 2), app::figure(r.last.nc3, 2),
                 app::figure(r.last.nc3_rows, 2), lengths});
      metrics.add(s.name, "loss", r.loss), metrics.add(s.name, "closed form", best.loss);
      metrics.add(s.name, "NC1", r.last.nc1), metrics.add(s.name, "NC2_W", r.last.nc2_W);
      metrics.add(s.name, "NC3", r.last.nc3), metrics.add(s.name, "rank of P", static_cast<double>(rank_of(r.last.PPt)));
    }
    if (real && !deep_ce) {
      const bool six = s.q.M == 6;
      metrics.check(s.name + ": |L - L*| / L*", error, "<=", six ? 0.03 : 1e-4);
      if (!six) metrics.check(s.name + ": NC1", nc1, "<=", 1e-6);
      metrics.check(s.name + ": NC2_W, NC2_H, NC3, NC3', the largest", nc, "<=", six ? 1e-2 : 1e-3);
      if (!six) metrics.check(s.name + ": ||mu_k||^2, relative error", length, "<=", 0.01);
      if (std::count(best.mu2.begin(), best.mu2.end(), 0.0))
        metrics.check(s.name + ": ||mu_4||^2, or P mu_4 / 100, of the collapsed class", small, "<=", 1e-6);
      if (best.frame == Frame::etf) metrics.check(s.name + ": nd to I_K", from_I, ">=", 0.3);
    }
    app::Plot curves{.title = s.name, .x_label = "iteration", .y_label = "distance from collapse", .log_y = true};
    std::vector<std::vector<double>> a, b, c;
    for (const Run& r : runs) a.push_back(r.nc1), b.push_back(r.nc2), c.push_back(r.nc3);
    curves.seeds("NC1", runs[0].steps, a).seeds("NC2_W", runs[0].steps, b).seeds("NC3", runs[0].steps, c);
    app::Bars bars{.title = s.name + ": ||mu_k||", .y_label = "length"};
    std::vector<double> measured, predicted;
    for (std::size_t k = 0; k < best.mu2.size(); ++k) {
      bars.groups.push_back("n = " + app::plain(s.q.n[k]));
      measured.push_back(std::sqrt(runs[0].last.mu2[k])), predicted.push_back(std::sqrt(best.mu2[k]));
    }
    bars.add("measured", measured).add("predicted", predicted);
    const auto gram = [&](const Collapse<Cpu>& at, const char* when) {
      const auto n = static_cast<std::size_t>(s.q.K());
      return app::Heatmap{.title = std::string("Gram of means, ") + when, .rows = n, .columns = n,
                          .values = at.gram.to_vector(), .numbers = n <= 4, .signed_scale = true};
    };
    std::string file;
    for (const char ch : s.name)
      if (ch != ' ' && ch != ',' && ch != '=') file += ch;
      else if (file.back() != '-') file += '-';
    report.heading(s.name).plot(curves, "curves-" + file).plot(bars, "lengths-" + file);
    report.plot(gram(runs[0].first, "before"), "before-" + file).plot(gram(runs[0].last, "after"), "after-" + file);
  }
  progress.finish();

  app::Plot roots{.title = "x_k against n_k", .x_label = "n_k / b0", .y_label = "x_k", .note = "0 below 1 / beta*(M): minority collapse"};
  for (const int64_t M : {1, 2, 3, 6}) {
    std::vector<double> n, x;
    for (int i = 1; i <= 600; ++i) n.push_back(0.01 * i), x.push_back(largest_root(M, 1 / n.back()));
    roots.line("M = " + std::to_string(M), n, x);
  }
  std::cout << table.text() << metrics.table().text() << metrics.checks_table().text();
  report.heading("Roots").plot(roots, "roots").table(table, "Each run").run(metrics, args.command).write(args.out);
  std::cout << "wrote " << args.out << "/report.html and " << metrics.write(args.out).string() << "\n";
  return metrics.exit_code(args.check);
}

int main(int argc, char** argv) {
  Options o;
  const app::Args args = app::parse_args(
      argc, argv, {"neural-collapse-linear", "Dang et al. 2023: closed forms of neural collapse"}, {.seeds = 3}, [&](CLI::App& cli) {
        cli.add_option("--counts", o.counts, "one run of your own: samples of each class, 200,100,50,50")->delimiter(',');
        cli.add_option("--loss", o.loss, "with --counts")->check(CLI::IsMember({"mse", "ce"}))->capture_default_str();
        cli.add_flag("--bias", o.bias, "with --counts: a bias in the last layer");
        cli.add_option("--depth", o.M, "with --counts: linear layers")->check(CLI::Range(1, 20))->capture_default_str();
        cli.add_option("--dim", o.d, "with --counts: features")->check(CLI::Range(1, 100000))->capture_default_str();
        cli.add_option("--lambda-w", o.lambda_W, "with --counts")->check(CLI::PositiveNumber)->capture_default_str();
        cli.add_option("--lambda-h", o.lambda_H, "with --counts")->check(CLI::PositiveNumber)->capture_default_str();
        cli.add_option("--lr", o.lr, "with --counts")->check(CLI::PositiveNumber)->capture_default_str();
        cli.add_option("--iters", o.iters, "with --counts")->check(CLI::PositiveNumber)->capture_default_str();
        cli.add_flag("--plan", o.plan, "print scenarios and sizes, run nothing");
      });
  return app::run([&] {
    app::Args a = args;
    if (a.setting == app::Setting::smoke && !a.seeds_given) a.seeds = 1;
    if (o.plan) {
      app::Table t;
      t.columns = {"scenario", "d", "parameters", "iterations", "closed form"};
      for (const auto& s : scenarios(a, o)) {
        int64_t n = 0;
        for (const auto& p : Ufm<double, Cpu>(s.q, s.d).parameters()) n += p.numel();
        t.row({s.name, std::to_string(s.d), std::to_string(n), std::to_string(s.iters), app::figure(solve(s.q).loss, 6)});
      }
      std::cout << t.text();
      return 0;
    }
    return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
  });
}
