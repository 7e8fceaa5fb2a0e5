// D. Doshi, A. Das, T. He, A. Gromov, "To grok or not to grok: Disentangling generalization and memorization on corrupted
// algorithmic datasets", ICLR 2024, arXiv:2310.13061.
//
// Claim: a network can learn modular addition and wrong labels at once; neurons that generalise are waves, those that memorise
// are not, and weight decay, dropout or batch normalisation leave only the waves.
//
// Differs from the paper: sizes of the notebook's runs, not its grids, unless --paper; see README.md.
#include <iostream>
#include <map>

#include <gradus/app/args.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/app/report.hpp>

#include "plan.hpp"

using namespace gradus;
using namespace grok;

template <class D>
struct Run {
  std::vector<double> at, train, test, noisy, ipr;  // over steps
  Accuracy last;
  std::vector<double> ipr_last, gamma, u_first, u_last;
  std::optional<Mlp<float, D>> net;
  Data<D> data;
};

/// Trains one phase from one seed. `dimensions` of the optimizer: all weights decay; of the Transformer all but its embeddings.
template <class D>
Run<D> run_phase(const Phase& f, uint64_t seed, app::Progress& progress) {
  manual_seed(seed);
  Run<D> r;
  r.data = make_data<D>(f.task);
  const int64_t every = std::max<int64_t>(1, f.train.steps / 25);
  const auto follow = [&](auto& net, auto ipr) {
    return [&, ipr](int64_t step) {
      if (step % every == 0 || step == f.train.steps) {
        r.last = accuracy(net, r.data), r.ipr_last = ipr();
        r.at.push_back(static_cast<double>(step)), r.train.push_back(r.last.train), r.test.push_back(r.last.test),
            r.noisy.push_back(r.last.noisy);
        r.ipr.push_back(r.ipr_last.empty() ? NAN : mean_of(r.ipr_last));
      }
      if (step < f.train.steps) progress.step(f.name + ", seed " + std::to_string(seed));
      return !app::interrupted();
    };
  };
  if (f.transformer) {
    Transformer<float, D> net(f.task.p);
    std::vector<Tensor<float, D>> weights;
    for (auto& [name, w] : net.weights()) weights.push_back(*w);
    optim::AdamW<float, D> opt(weights, {.lr = f.train.lr, .beta2 = 0.98, .weight_decay = f.train.weight_decay});
    optim::AdamW<float, D> embeddings(std::vector{net.E, net.P}, {.lr = f.train.lr, .beta2 = 0.98, .weight_decay = 0});
    struct Both {
      optim::AdamW<float, D>&a, &b;
      void zero_grad() { a.zero_grad(), b.zero_grad(); }
      void step() { a.step(), b.step(); }
    } both{opt, embeddings};
    train(net, r.data.train, both, f.train, follow(net, [] { return std::vector<double>(); }));
    return r;
  }
  Mlp<float, D> net(f.net);
  const auto first_neuron = [&] { return net.U.detach().template to<Cpu>().template to<double>()(all, 0).to_vector(); };
  r.u_first = first_neuron();
  optim::AdamW<float, D> opt(net, {.lr = f.train.lr, .beta2 = 0.98, .weight_decay = f.train.weight_decay});
  train(net, r.data.train, opt, f.train, follow(net, [&] { return ipr_of(net); }));
  r.u_last = first_neuron();
  if (net.bn)
    for (const float g : net.bn->weight.detach().template to<Cpu>().to_vector())
      r.gamma.push_back(std::abs(static_cast<double>(g)));
  r.net = net;
  return r;
}

/// Statement 1, without training.
template <class D>
void analytic(app::Metrics& metrics, app::Table& table) {
  manual_seed(1);
  const Data<D> every = make_data<D>({97, 1, 0});
  Mlp<double, D> net({97, 240});
  make_analytic(net);
  const auto f = no_grad([&] { return net.forward(every.train.m, every.train.n); });
  const double right = share(argmax(f, 1), every.train.truth);
  const double output = mean(sum(f * one_hot<double>(every.train.truth, 97), {1})).item();
  double worst = 0;
  for (const auto& x : {net.U, net.V, net.W.t().contiguous()})
    for (const double v : ipr_of_columns(x).to_vector()) worst = std::max(worst, std::abs(v - 1));
  table.row({"closed form, N = 240", "-", app::figure(right, 4), "-", "-", "-", "-", "1", "1"});
  metrics.check("closed form: accuracy of all pairs", right, "==", 1);
  metrics.check("closed form: |mean output of the right class - 1|", std::abs(output - 1), "<=", 1e-4);
  metrics.check("closed form: |IPR - 1|, the largest", worst, "<=", 1e-5);
}

template <class D>
void draw_grid(const app::Args& args, const Options& o, app::Report& report) {
  const int64_t n = o.grid, steps = o.steps.value_or(args.setting == app::Setting::smoke ? 3 : 2000);
  const std::map<std::string, std::vector<double>> levels{
      {"wd", {0, 5, 15, 20}}, {"dropout", {0, 0.3, 0.6, 0.9}}, {"bn", {8, 32, 64, 256}}, {"batch", {8, 256, 0}}};
  const auto& of = levels.at(o.grid_over);
  app::Progress progress(n * n * static_cast<int64_t>(of.size()) * steps, "grid");
  std::vector<std::string> names;
  const auto value = [&](int64_t i) {
    return 0.1 + 0.8 * static_cast<double>(i) / static_cast<double>(std::max<int64_t>(1, n - 1));
  };
  for (int64_t i = 0; i < n; ++i) names.push_back(app::figure(value(i), 2));
  for (const double level : of) {
    const std::string title = o.grid_over + " " + app::plain(level);
    app::Heatmap train{
        .title = title + ": train", .x_label = "xi", .y_label = "alpha", .row_names = names, .column_names = names},
        test = train;
    train.rows = train.columns = test.rows = test.columns = static_cast<std::size_t>(n), test.title = title + ": test";
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n && !app::interrupted(); ++j) {
        Phase f{title, {o.p.value_or(97), value(i), value(j)}, {o.p.value_or(97), o.width.value_or(500)}, {steps}};
        if (o.grid_over == "wd") f.train.weight_decay = level;
        else if (o.grid_over == "dropout") f.net.dropout = level;
        else f.train.batch = static_cast<int64_t>(level);
        if (o.grid_over == "bn") f.net.norm = Norm::batch, f.train.steps = steps * 256 / f.train.batch;
        f.train.lr = o.lr.value_or(scaled_rate(1e-2, f.train.batch));
        const auto r = run_phase<D>(f, args.seed, progress);
        train.values.push_back(r.last.train), test.values.push_back(r.last.test);
      }
    train.values.resize(static_cast<std::size_t>(n * n), NAN), test.values.resize(static_cast<std::size_t>(n * n), NAN);
    report.plot(train, "grid-train-" + title).plot(test, "grid-test-" + title);
  }
  progress.finish();
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  app::Metrics metrics("grok-corrupted", name_of(args.setting), args.seed_list());
  app::catch_interrupt();
  app::Report report("To grok or not to grok");
  report.citation("D. Doshi et al., To grok or not to grok, ICLR 2024", "https://arxiv.org/abs/2310.13061")
      .claim(
          "A network learns a rule and its exceptions at once; neurons that generalise are waves, and regularisation leaves "
          "only those.");
  const std::vector<Phase> list = o.grid ? std::vector<Phase>() : phases(args, o);
  const bool stated = !o.own() && !o.grid && args.setting != app::Setting::smoke;
  int64_t total = 0;
  for (const Phase& f : list) total += f.train.steps * (f.every_seed ? args.seeds : 1);
  app::Table table, pruning;
  table.columns = {"phase",    "seed",     "train", "test", "noisy labels", "clean labels", "noisy pairs, true labels",
                   "mean IPR", "IPR > 0.6"};
  pruning.columns = {"removed", "order", "noisy labels", "clean labels", "train", "test"};
  if (!o.grid) analytic<D>(metrics, table);
  app::Progress progress(total, "training");
  std::map<std::string, std::vector<Accuracy>> mean_by;
  const auto mean_over = [&](const std::string& phase, double Accuracy::*part) {
    double sum = 0;
    for (const Accuracy& a : mean_by[phase]) sum += a.*part;
    return sum / static_cast<double>(mean_by[phase].size());
  };
  std::map<std::string, double> drops;  // what pruning leaves, mean over seeds
  double gamma = 0, ipr_dropout = 0;
  for (const Phase& f : list) {
    std::vector<Run<D>> runs;
    for (const uint64_t seed : args.seed_list()) {
      if (!f.every_seed && seed != args.seed) continue;
      runs.push_back(run_phase<D>(f, seed, progress));
      if (app::interrupted()) return 130;
      const Run<D>& r = runs.back();
      mean_by[f.name].push_back(r.last);
      const bool waves = !r.ipr_last.empty();
      const auto high = std::count_if(r.ipr_last.begin(), r.ipr_last.end(), [](double v) { return v > 0.6; });
      const double above = waves ? static_cast<double>(high) / static_cast<double>(r.ipr_last.size()) : NAN;
      const auto text = [](double v, int digits) { return std::isnan(v) ? "-" : app::figure(v, digits); };
      table.row({f.name, std::to_string(seed), text(r.last.train, 4), text(r.last.test, 4), text(r.last.noisy, 4),
                 text(r.last.clean, 4), text(r.last.recovered, 4), text(r.ipr.back(), 3), text(above, 2)});
      metrics.add(f.name, "train", r.last.train), metrics.add(f.name, "test", r.last.test),
          metrics.add(f.name, "noisy labels", r.last.noisy);
      metrics.add(f.name, "clean labels", r.last.clean), metrics.add(f.name, "mean IPR", r.ipr.back());
      const double n = static_cast<double>(args.seeds);
      if (!r.gamma.empty()) gamma += pearson(r.gamma, r.ipr_last) / n;
      if (f.net.dropout > 0 && f.task.p == 53) ipr_dropout += r.ipr.back() / n;
      if (f.name == "coexistence") {
        app::Plot curves{
            .title = "Pruning, seed " + std::to_string(seed), .x_label = "share of neurons removed", .y_label = "accuracy"};
        for (const bool lowest : {true, false}) {
          std::vector<double> x, noisy, clean, test;
          for (int k = 0; k <= 14; ++k) {
            x.push_back(0.05 * k);
            auto net = pruned(*r.net, r.ipr_last, x.back(), lowest);
            const Accuracy a = accuracy(net, r.data);
            noisy.push_back(a.noisy), clean.push_back(a.clean), test.push_back(a.test);
            if (k % 2 == 0)
              pruning.row({app::figure(x.back(), 2), lowest ? "lowest IPR first" : "highest first", app::figure(a.noisy, 3),
                           app::figure(a.clean, 3), app::figure(a.train, 3), app::figure(a.test, 3)});
            if (lowest && k == 10)
              drops["half noisy"] += a.noisy / n, drops["half clean"] += a.clean / n,
                  drops["half test"] += (r.last.test - a.test) / n;
            if (!lowest && k == 4) drops["fifth test"] += (r.last.test - a.test) / n, drops["fifth noisy"] += a.noisy / n;
          }
          const std::string order = lowest ? ", lowest first" : ", highest first";
          curves.line("noisy labels" + order, x, noisy).line("test" + order, x, test);
        }
        if (seed == args.seed) report.heading("Pruning").plot(curves, "pruning");
      }
    }
    app::Plot curves{.title = f.name, .x_label = "step", .y_label = "accuracy, mean IPR"};
    std::vector<std::vector<double>> train, test, noisy, ipr;
    for (const auto& r : runs) train.push_back(r.train), test.push_back(r.test), noisy.push_back(r.noisy), ipr.push_back(r.ipr);
    curves.seeds("train", runs[0].at, train).seeds("test", runs[0].at, test);
    if (f.task.xi > 0) curves.seeds("noisy labels", runs[0].at, noisy);
    if (!f.transformer) curves.seeds("mean IPR", runs[0].at, ipr);
    report.heading(f.name).plot(curves, "curves-" + f.name);
    if (f.transformer) continue;
    app::Bars histogram{.title = f.name + ": neurons by IPR", .y_label = "neurons"};
    std::vector<double> counts(10);
    for (const double v : runs[0].ipr_last) ++counts[static_cast<std::size_t>(std::clamp(v * 10, 0.0, 9.0))];
    for (int k = 0; k < 10; ++k) histogram.groups.push_back(app::figure(0.1 * k, 1));
    histogram.add("seed " + std::to_string(args.seed), counts);
    app::Plot neuron{.title = f.name + ": U of the first neuron", .x_label = "m", .y_label = "U"};
    std::vector<double> m(runs[0].u_first.size());
    std::iota(m.begin(), m.end(), 0.0);
    neuron.line("before", m, runs[0].u_first).line("after", m, runs[0].u_last);
    report.plot(histogram, "histogram-" + f.name).plot(neuron, "neuron-" + f.name);
    if (runs[0].gamma.empty()) continue;
    report.plot(app::Plot{.title = "|gamma| and IPR of each neuron", .x_label = "IPR", .y_label = "|gamma|"}.points(
                    "seed " + std::to_string(args.seed), runs[0].ipr_last, runs[0].gamma),
                "gamma");
  }
  progress.finish();
  if (stated) {
    const double xi = list[0].task.xi;
    metrics.check("full inversion: test", mean_over("full inversion", &Accuracy::test), ">=", 0.99);
    metrics.check("full inversion: |train - (1 - xi)|", std::abs(mean_over("full inversion", &Accuracy::train) - (1 - xi)),
                  "<=", 0.02);
    metrics.check("full inversion: noisy pairs, true labels", mean_over("full inversion", &Accuracy::recovered), ">=", 0.97);
    metrics.check("coexistence: train", mean_over("coexistence", &Accuracy::train), ">=", 0.95);
    metrics.check("coexistence: test", mean_over("coexistence", &Accuracy::test), ">=", 0.93);
    metrics.check("coexistence: noisy labels", mean_over("coexistence", &Accuracy::noisy), ">=", 0.85);
    metrics.check("noisy labels, coexistence less full inversion",
                  mean_over("coexistence", &Accuracy::noisy) - mean_over("full inversion", &Accuracy::noisy), ">=", 0.75);
    metrics.check("half of the neurons, lowest IPR, removed: noisy labels", drops["half noisy"], "<=", 0.2);
    metrics.check("the same: clean labels", drops["half clean"], ">=", 0.98);
    metrics.check("the same: test falls by", drops["half test"], "<=", 0.02);
    metrics.check("a fifth, highest IPR, removed: test falls by", drops["fifth test"], ">=", 0.4);
    metrics.check("the same: noisy labels", drops["fifth noisy"], ">=", 0.85);
    metrics.check("batch normalisation: test", mean_over("batch normalisation", &Accuracy::test), ">=", 0.98);
    metrics.check("batch normalisation: correlation of |gamma| and IPR", gamma, ">=", 0.7);
    metrics.check("dropout, p = 53: |train - (1 - xi)|", std::abs(mean_over("dropout 0.6, p = 53", &Accuracy::train) - 0.75),
                  "<=", 0.02);
    metrics.check("dropout, p = 53: test", mean_over("dropout 0.6, p = 53", &Accuracy::test), ">=", 0.99);
    metrics.check("dropout, p = 53: mean IPR", ipr_dropout, ">=", 0.7);
  }
  if (o.grid) draw_grid<D>(args, o, report.heading("Phase diagram"));
  std::cout << table.text() << (pruning.rows.empty() ? "" : pruning.text()) << metrics.checks_table().text();
  report.heading("Figures").table(table, "Each run");
  if (!pruning.rows.empty()) report.table(pruning, "Neurons removed from the network of coexistence");
  report.run(metrics, args.command).write(args.out);
  std::cout << "wrote " << args.out << "/report.html and " << metrics.write(args.out).string() << "\n";
  return metrics.exit_code(args.check);
}

int main(int argc, char** argv) {
  Options o;
  const app::Args args =
      app::parse_args(argc, argv, {"grok-corrupted", "Doshi et al. 2023: a rule and its exceptions, learnt at once"},
                      {.seeds = 3}, [&](CLI::App& cli) {
                        cli.add_option("--p", o.p, "modulus, a prime; this or one of the next: a single run of your own")
                            ->check(CLI::Range(3, 997));
                        cli.add_option("--width", o.width, "neurons")->check(CLI::PositiveNumber);
                        cli.add_option("--alpha", o.alpha, "share of pairs that are trained on")->check(CLI::Range(0.01, 0.99));
                        cli.add_option("--xi", o.xi, "share of these with a label drawn anew")->check(CLI::Range(0.0, 1.0));
                        cli.add_option("--wd", o.wd, "decoupled weight decay")->check(CLI::NonNegativeNumber);
                        cli.add_option("--dropout", o.dropout, "of h, before the square")->check(CLI::Range(0.0, 0.99));
                        cli.add_option("--norm", o.norm, "after the square")->check(CLI::IsMember({"none", "bn", "ln"}));
                        cli.add_option("--bs", o.batch, "pairs a step; 0: all")->check(CLI::NonNegativeNumber);
                        cli.add_option("--steps", o.steps, "of the optimizer")->check(CLI::PositiveNumber);
                        cli.add_option("--lr", o.lr, "0.01 sqrt(min(bs, 256) / 256) unless given")->check(CLI::PositiveNumber);
                        cli.add_option("--op", o.op, "the rule")->check(CLI::IsMember({"add", "mul"}));
                        cli.add_option("--loss", o.loss, "mean squared distance from one-hot labels, or cross-entropy")
                            ->check(CLI::IsMember({"mse", "ce"}));
                        cli.add_option("--model", o.model, "the quadratic MLP, or one block of an encoder")
                            ->check(CLI::IsMember({"mlp", "transformer"}));
                        cli.add_option("--grid", o.grid, "phase diagrams of N x N values of alpha and xi; the paper has 17")
                            ->check(CLI::Range(2, 99));
                        cli.add_option("--grid-over", o.grid_over, "levels of")
                            ->check(CLI::IsMember({"wd", "dropout", "bn", "batch"}))
                            ->capture_default_str();
                        cli.add_flag("--plan", o.plan, "print phases and sizes, run nothing");
                      });
  return app::run([&] {
    app::Args a = args;
    if (a.setting == app::Setting::smoke && !a.seeds_given) a.seeds = 1;
    if (a.setting == app::Setting::paper && o.grid == 0) o.grid = 17;
    if (o.plan) return print_plan(a, o), 0;
    return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
  });
}
