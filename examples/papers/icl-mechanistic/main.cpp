// G. Reddy, "The mechanistic basis of data dependence and abrupt learning in an in-context classification task", ICLR 2024,
// arXiv:2312.03002.
//
// Claim: a two-layer attention-only network shows how data decide between learning in context (ICL) and in weights (IWL); ICL
// comes abruptly, with an induction head, after a plateau on which the network names a random label of the context.
//
// Differs from the paper: smaller networks and a higher learning rate by default; see README.md.
#include <ctime>
#include <iostream>

#include <gradus/app/args.hpp>
#include <gradus/app/metrics.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/app/finish.hpp>
#include <gradus/optim.hpp>

#include "drawings.hpp"

using namespace gradus;
using namespace icl;

struct Run {
  std::vector<double> at, loss, test, icl, swap, iwl, CLA, ILA, TLA, TILA;  // at each checkpoint; the last four on the ICL set
  std::vector<double> before, after;  // p1 and p2 [T + 1, T] of one sequence, at the first CLA >= 0.9 and at the end
  double final_icl = NAN, final_swap = NAN, final_iwl = NAN, ms = NAN, beta1 = NAN, beta2 = NAN;
  /// Index of the first checkpoint from `from` on with x >= bound; the end when there is none.
  static std::size_t first(const std::vector<double>& x, double bound, std::size_t from = 0) {
    while (from < x.size() && x[from] < bound) ++from;
    return from;
  }
};

template <class Net, class D>
Run train(const Scenario& s, uint64_t seed, bool smoke, app::Progress& bar) {
  manual_seed(seed);
  const World<float, D> world(s.m);
  Net net(s.m, s.start);
  const int64_t n = smoke ? 50 : 1000, final_n = smoke ? 100 : 10000;
  const auto novel = world.icl(n), shifted = world.swap(n), known = world.iwl(n), test = world.draw(n);
  optim::Sgdw opt(net, {.lr = s.lr, .weight_decay = s.decay / s.lr});
  if constexpr (requires { net.beta1; }) opt.group("beta*").lr_scale = 10;
  Run r;
  double seconds = 0;  // of processor time, of the training steps alone
  for (int64_t i = 0; i <= s.iters && !app::interrupted(); ++i) {
    if (i % s.every == 0 || i == s.iters) {
      Maps<float, D> maps;
      const Measures at = measure(net, novel, &maps), whole = measure(net, test);
      r.at.push_back(static_cast<double>(i)), r.loss.push_back(whole.loss), r.test.push_back(whole.accuracy);
      r.icl.push_back(at.accuracy), r.swap.push_back(measure(net, shifted).accuracy);
      r.iwl.push_back(measure(net, known).accuracy);
      r.CLA.push_back(at.CLA), r.ILA.push_back(at.ILA), r.TLA.push_back(at.TLA), r.TILA.push_back(at.TILA);
      r.after = picture(maps);
      if (r.before.empty() && at.CLA >= 0.9) r.before = r.after;
    }
    if (i == s.iters) break;
    const std::clock_t begin = std::clock();
    const auto batch = world.draw(s.batch);
    opt.zero_grad();
    cross_entropy(net(batch.u), batch.answer).backward();
    opt.step();
    seconds += static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    bar.step(s.name + ", seed " + std::to_string(seed));
  }
  r.ms = 1000 * seconds / static_cast<double>(std::max<int64_t>(s.iters, 1));
  r.final_icl = measure(net, world.icl(final_n)).accuracy, r.final_swap = measure(net, world.swap(final_n)).accuracy;
  r.final_iwl = measure(net, world.iwl(final_n)).accuracy;
  if constexpr (requires { net.beta1; })
    r.beta1 = static_cast<double>(net.beta1.item()), r.beta2 = static_cast<double>(net.beta2.item());
  return r;
}

/// Statements about one run; the bounds are of the settings of B, C and D.
void check(app::Metrics& metrics, const Scenario& s, const Run& r, uint64_t seed) {
  const std::string who = s.name + ", seed " + std::to_string(seed) + ": ";
  if (s.part == "B" || s.part == "B2") {
    metrics.check(who + "ICL", r.final_icl, ">=", 0.97), metrics.check(who + "swap", r.final_swap, ">=", 0.95);
    metrics.check(who + "IWL", r.final_iwl, "<=", 0.15);
  }
  if (s.part == "B") {
    const std::size_t plateau = Run::first(r.CLA, 0.9), done = Run::first(r.icl, 0.9, plateau);
    const bool reached = plateau < r.at.size(), jumped = done < r.at.size();
    const auto value = [](const std::vector<double>& x, std::size_t i) { return i < x.size() ? x[i] : NAN; };
    metrics.check(who + "ICL at the first CLA >= 0.9", value(r.icl, plateau), "<=", 0.4);
    metrics.check(who + "ILA there", value(r.ILA, plateau), "<=", 0.4);
    metrics.check(who + "TLA there", value(r.TLA, plateau), ">=", 0.8);
    std::size_t last = plateau;  // the last checkpoint with ICL <= 0.4 before the jump
    for (std::size_t i = plateau; reached && jumped && i < done; ++i)
      if (r.icl[i] <= 0.4) last = i;
    const bool low = reached && jumped && r.icl[last] <= 0.4;
    metrics.check(who + "iterations from ICL <= 0.4 to >= 0.9", low ? r.at[done] - r.at[last] : NAN, "<=", 600);
    metrics.check(who + "ILA at their start", low ? r.ILA[last] : NAN, "<=", 0.4);
    metrics.check(who + "ILA at their end", value(r.ILA, done), ">=", 0.7);
  }
  if (s.part == "C") metrics.check(who + "ICL", r.final_icl, "<=", 0.4);
  if (s.part != "D") return;
  const auto bound = [&](const char* set, double accuracy, const char* op, double to) {
    metrics.check(who + set, accuracy, op, to);
  };
  if (s.m.pB == 0)
    bound("IWL", r.final_iwl, ">=", 0.9), bound("ICL", r.final_icl, "<=", 0.2), bound("swap", r.final_swap, "<=", 0.1);
  if (s.m.K == 32) bound("IWL", r.final_iwl, ">=", 0.9), bound("ICL", r.final_icl, "<=", 0.3);
  if (s.m.K == 2048) bound("ICL", r.final_icl, ">=", 0.9), bound("IWL", r.final_iwl, "<=", 0.3);
}

template <class D>
void nested(const app::Args& args, const Options& o, app::Metrics& metrics, app::Report& report) {
  const std::vector<double> labels{32, 16, 12, 9, 8};
  const int64_t N = 8, n = static_cast<int64_t>(labels.size());
  const auto L = from_vector(labels).template to<D>();
  const auto g = nested_gradient(zeros<double, D>({3, n}), N, L).to_vector();
  double error = 0;
  for (std::size_t l = 0; l < labels.size(); ++l)
    error = std::max(
        {error, std::abs(g[l]), std::abs(g[labels.size() + l]), std::abs(g[2 * labels.size() + l] - (1 / labels[l] - 0.125))});
  metrics.check("nested logits: gradient at 0 against (0, 0, 1/L - 1/N), largest distance", error, "<=", 1e-12);
  const Descent zero = descend<D>(N, {32, 8}, 2000, {0, 0, 0});
  double away = 0;
  for (const double loss : zero.loss[1]) away = std::max(away, std::abs(loss - std::log(8.0)));
  metrics.check("nested logits from 0, L = N: |loss - log N| over 2,000 steps", away, "<=", 1e-9);
  metrics.check("nested logits from 0, L = 32: steps to 0.5 log N", zero.jump[0] < 0 ? NAN : static_cast<double>(zero.jump[0]),
                "<=", 2000);
  if (args.setting == app::Setting::smoke && o.head.empty()) return;
  const Descent r = descend<D>(N, labels, 12000, {1e-3, 1e-3, 1e-3});
  app::Table table;
  table.columns = {"L", "steps to 0.5 log N"};
  app::Plot curves{.title = "Nested logits, N = 8", .x_label = "step", .y_label = "loss", .log_x = true};
  app::Plot portrait{.title = "xi moves before b2", .x_label = "xi", .y_label = "b2", .note = "Until loss < 0.05."};
  for (std::size_t l = 0; l < labels.size(); ++l) {
    const std::string name = "L = " + app::plain(labels[l]);
    table.row({app::plain(labels[l]), r.jump[l] < 0 ? "none in 12,000" : std::to_string(r.jump[l])});
    if (r.jump[l] >= 0) metrics.add("nested logits, " + name, "steps to 0.5 log N", static_cast<double>(r.jump[l]));
    std::vector<double> steps, x, y;
    for (std::size_t t = 0; t < r.loss[l].size(); ++t) {
      steps.push_back(static_cast<double>(t + 1));
      if (r.loss[l][t] >= 0.05 && t % 5 == 0) x.push_back(r.xi[l][t]), y.push_back(r.b2[l][t]);
    }
    curves.line(name, steps, r.loss[l]), portrait.line(name, x, y);
    if (l) continue;
    std::vector<double> t1(steps.begin(), steps.begin() + 2000);
    app::Plot order{.title = "b1, b2, xi for L = 32", .x_label = "step", .y_label = "value"};
    report.heading("Three nested logits")
        .plot(order.line("xi", t1, r.xi[l]).line("b2", t1, r.b2[l]).line("b1", t1, r.b1[l]), "nested-order");
  }
  curves.reference(std::log(8.0), "log N");
  report.plot(curves, "nested-loss").plot(portrait, "nested-portrait").table(table, "Gradient descent, step 0.05, from 0.001");
  std::cout << table.text();
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  const std::vector<Scenario> list = scenarios(args, o);
  for (const auto& s : list) s.m.check();
  int64_t total = 0;
  for (const auto& s : list) total += s.iters * s.seeds;
  if (o.plan) {
    app::Table t;
    t.columns = {"scenario", "N", "Nmax", "L", "K", "d", "B", "pB", "pC", "eps", "alpha", "lr", "iterations", "seeds"};
    for (const auto& s : list) {
      t.row({s.name, std::to_string(s.m.N), std::to_string(s.m.Nmax), std::to_string(s.m.L), std::to_string(s.m.K),
             std::to_string(s.m.d()), std::to_string(s.m.B), app::plain(s.m.pB), app::plain(s.m.pC), app::plain(s.m.eps),
             app::plain(s.m.alpha), app::plain(s.lr), std::to_string(s.iters), std::to_string(s.seeds)});
    }
    std::cout << t.text() << total << " iterations of " << (list.empty() ? 0 : list[0].batch) << " sequences\n";
    return 0;
  }
  app::catch_interrupt();
  app::Metrics metrics("icl-mechanistic", name_of(args.setting), args.seed_list());
  app::Report report("Data dependence and abrupt learning in context");
  report
      .citation("G. Reddy, The mechanistic basis of data dependence and abrupt learning in an in-context task, ICLR 2024",
                "https://arxiv.org/abs/2312.03002")
      .claim("Bursts and many classes favour learning in context. It comes abruptly, with an induction head, after a plateau.");
  const bool smoke = args.setting == app::Setting::smoke;
  if (o.parts.empty() ? o.head.empty() || o.head == "pheno" : std::find(o.parts.begin(), o.parts.end(), "A") != o.parts.end())
    nested<D>(args, o, metrics, report);

  app::Progress bar(total, "training");
  app::Table steps;
  steps.columns = {"scenario", "seed", "iteration", "loss", "test", "ICL", "swap", "IWL", "CLA", "TLA", "ILA", "TILA"};
  for (const auto& s : list) {
    std::vector<Run> runs;
    for (uint64_t seed = args.seed; seed < args.seed + static_cast<uint64_t>(s.seeds); ++seed) {
      const Run r =
          s.reduced ? train<ReducedHead<float, D>, D>(s, seed, smoke, bar) : train<Network<float, D>, D>(s, seed, smoke, bar);
      if (app::interrupted()) break;
      const std::size_t checkpoints = r.at.size(), stride = std::max<std::size_t>(1, checkpoints / 10);
      for (std::size_t i = 0; i < checkpoints; ++i) {
        if (i % stride && i + 1 < checkpoints) continue;
        std::vector<std::string> cells{s.name, std::to_string(seed), app::plain(r.at[i])};
        for (const auto* x : {&r.loss, &r.test, &r.icl, &r.swap, &r.iwl, &r.CLA, &r.TLA, &r.ILA, &r.TILA})
          cells.push_back(app::figure((*x)[i], 3));
        steps.row(cells);
      }
      metrics.add(s.name, "ICL", r.final_icl), metrics.add(s.name, "swap", r.final_swap);
      metrics.add(s.name, "IWL", r.final_iwl);
      const std::size_t plateau = Run::first(r.CLA, 0.9), jump = Run::first(r.icl, 0.9);
      metrics.add(s.name, "CLA >= 0.9 at", plateau < checkpoints ? r.at[plateau] : NAN);
      metrics.add(s.name, "ICL >= 0.9 at", jump < checkpoints ? r.at[jump] : NAN);
      metrics.add(s.name, "loss", r.loss.back()), metrics.add(s.name, "processor ms a step", r.ms);
      if (s.reduced) metrics.add(s.name, "beta1", r.beta1), metrics.add(s.name, "beta2", r.beta2);
      if (!smoke && args.setting != app::Setting::paper) check(metrics, s, r, seed);
      runs.push_back(r);
    }
    if (runs.empty()) break;
    report.heading(s.name);
    const Run& first = runs[0];  // one seed: means over seeds that jump at different times would hide the jump
    app::Plot all{.title = "Seed " + std::to_string(args.seed), .x_label = "iteration", .y_label = "accuracy, attention"};
    all.line("ICL", first.at, first.icl).line("swap", first.at, first.swap).line("IWL", first.at, first.iwl);
    all.line("CLA", first.at, first.CLA)
        .line("TLA", first.at, first.TLA)
        .line("ILA", first.at, first.ILA)
        .line("TILA", first.at, first.TILA);
    app::Plot losses{.title = "Loss of the training distribution", .x_label = "iteration", .y_label = "loss"};
    for (std::size_t k = 0; k < runs.size(); ++k)
      losses.line("seed " + std::to_string(args.seed + k), runs[k].at, runs[k].loss);
    losses.reference(std::log(static_cast<double>(s.m.N)), "log N");
    std::string file;
    for (const char c : s.name)
      if (std::isalnum(static_cast<unsigned char>(c)) || c == '.') file += c;
      else if (!file.empty() && file.back() != '-') file += '-';
    report.plot(all, "measures-" + file).plot(losses, "loss-" + file);
    if (s.part == "D") continue;
    app::ImageGrid maps{.title = "Attention in one novel sequence, seed " + std::to_string(args.seed),
                        .note = "Rows: queries of layer 1; below them the target's of layer 2. Black: 1.",
                        .columns = 2,
                        .cell = 176};
    if (!first.before.empty()) maps.add(grey(first.before, s.m.T()), "first CLA >= 0.9");
    report.images(maps.add(grey(first.after, s.m.T()), "end"), "attention-" + file);
  }
  bar.finish();

  const auto ran = [&](const std::string& name) { return !metrics.values(name, "ICL").empty(); };
  if (!smoke && ran("B: N = 4, L = 16") && ran("C: L = N = 4")) {
    const auto with = metrics.values("B: N = 4, L = 16", "ICL");
    metrics.check("C against B: least ICL with L = 16 in the same run", *std::min_element(with.begin(), with.end()),
                  ">=", 0.97);
  }
  // Each map varies one setting beside K; the others stand at those of `b`.
  const Mixture b{.B = args.setting == app::Setting::paper ? 2 : 1};
  report.heading("Data dependence");
  for (const char* metric : {"ICL", "IWL"})
    for (const std::string label : {"B (0: no bursts)", "alpha", "eps"}) {
      const auto other = [&](const Mixture& m) -> std::optional<double> {
        const bool B = m.B == b.B && m.pB > 0, alpha = m.alpha == b.alpha, eps = m.eps == b.eps;
        if (label == "alpha") return B && eps ? std::optional(m.alpha) : std::nullopt;
        if (label == "eps") return B && alpha ? std::optional(m.eps) : std::nullopt;
        return alpha && eps ? std::optional(m.pB > 0 ? static_cast<double>(m.B) : 0.0) : std::nullopt;
      };
      const auto h = grid(list, metrics, metric, label, other);
      if (h.columns > 1) report.plot(h, std::string(metric) + "-K-" + label.substr(0, label.find(' ')));
    }
  std::cout << steps.text() << metrics.table().text() << metrics.checks_table().text();
  report.table(steps, "Checkpoints")
      .table(metrics.table(), "Mean ± standard deviation over the seeds");
  std::cout << "processor time " << app::figure(static_cast<double>(std::clock()) / CLOCKS_PER_SEC, 3) << " s\n";
  return app::finish(report, metrics, args);
}

int main(int argc, char** argv) {
  Options o;
  const app::Program program{"icl-mechanistic", "Reddy 2023: data dependence and abrupt learning in context"};
  // One thread: a step of 128 short sequences is too small to share.
  const app::Args args = app::parse_args(argc, argv, program, {.seeds = 3, .threads = 1}, [&](CLI::App& cli) {
    cli.add_option("--parts", o.parts, "some parts of the setting's plan: A nested logits, B, B2, C, D, E reduced head")
        ->delimiter(',')
        ->check(CLI::IsMember({"A", "B", "B2", "C", "D", "E"}));
    auto* head =
        cli.add_option("--head", o.head, "a run of your own, from B's values: full, reduced; pheno: the nested logits alone")
            ->check(CLI::IsMember({"full", "reduced", "pheno"}))
            ->excludes("--parts");
    Mixture& m = o.own.m;
    std::vector<CLI::Option*> own{
        cli.add_option("--N", m.N, "pairs in a context"),
        cli.add_option("--Nmax", m.Nmax, "pairs that positions have room for"),
        cli.add_option("--L", m.L, "labels"),
        cli.add_option("--K", m.K, "classes"),
        cli.add_option("--dim", m.D, "D of contents"),
        cli.add_option("--B", m.B, "copies of a class in a bursty context"),
        cli.add_option("--pB", m.pB, "share of bursty sequences"),
        cli.add_option("--pC", m.pC, "share of sequences of novel classes"),
        cli.add_option("--eps", m.eps, "noise within a class"),
        cli.add_option("--alpha", m.alpha, "p(k) ~ k^-alpha"),
        cli.add_flag("--pool", m.pool, "novel classes from a pool of 128 instead of fresh ones"),
        cli.add_flag("--no-repeats", m.distinct, "distinct labels in contexts of known classes too"),
        cli.add_option("--lr", o.own.lr, "learning rate")->check(CLI::PositiveNumber),
        cli.add_option("--iters", o.own.iters, "iterations")->check(CLI::PositiveNumber),
        cli.add_option("--batch", o.own.batch, "sequences an iteration")->check(CLI::PositiveNumber),
        cli.add_option("--every", o.own.every, "iterations between checkpoints")->check(CLI::PositiveNumber),
        cli.add_option("--decay", o.own.decay, "theta <- (1 - decay) theta - lr grad")->check(CLI::Range(0.0, 0.99)),
        cli.add_option("--scale", o.own.start.s, "s of Q, K, V at the start; 0: 1 / sqrt(D)")->check(CLI::NonNegativeNumber),
        cli.add_flag("--random-biases", o.own.start.biases, "biases ~ N(0, 1/width) at the start")};
    for (auto* option : own) option->needs(head)->group("With --head")->capture_default_str();
    cli.add_flag("--unit-bias", o.own.start.unit_bias, "a bias for each unit of the MLP, not one a layer");
    cli.add_flag("--plan", o.plan, "print scenarios and sizes, and stop");
  });
  return app::run([&] {
    app::Args a = args;
    if (!a.seeds_given) a.seeds = a.pick(1, 3, 3, 6);
    return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
  });
}
