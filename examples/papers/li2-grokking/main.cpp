// Y. Tian, "Provable Scaling Laws of Feature Emergence from Learning Dynamics of Grokking", 2025, arXiv:2509.21519.
//
// Claim: a two-layer network on group arithmetic first fits its top layer (I), then each hidden node climbs an energy E whose maxima
// are the features (II), then nodes repel each other towards missing features (III); features survive with n ~ M log M samples.
//
// Differs from the paper: smaller groups and fewer epochs by default; the scale of E is that of model.hpp.
#include <ctime>
#include <iostream>

#include <gradus/app/args.hpp>
#include <gradus/app/metrics.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/app/finish.hpp>

#include "model.hpp"

using namespace gradus;
using namespace li2;

struct Options {
  std::string group = "Z23", sigma = "square", opt = "adam", loss = "squares";
  int64_t K = 0, n = 0, epochs = 0;
  double ratio = 0, lr = 0.01, decay = -1, ridge = 0;
  int layers = 0;
  bool plan = false, critical = false;
};

struct Config {
  int64_t K = 256, n = 264, epochs = 2000;
  double decay = 1e-3, lr = 0.01, ridge = 0;
  std::string sigma = "square", opt = "adam", loss = "squares";
  int layers = 0;
};

struct Run {
  std::vector<double> epoch, train, test, gradient, nodes, samples;  // accuracies, |dL/dF|, off-diagonal of F~^T F~ and F~ F~^T
  double fit = NAN, grok = NAN;                                      // first epoch with train >= 0.999, test >= 0.99
  Coverage cover;
  std::vector<double> before, after;  // shares of each irrep in each node [K, irreps]
};

template <class T, class D>
double accuracy(const Tensor<T, D>& o, const Pairs<T, D>& p) {
  return static_cast<double>(mean((argmax(o, 1) == p.c).template to<float>()).item());
}

template <class D>
std::vector<double> shares(const Net<float, D>& net, const Group& g) {
  if (g.irreps.empty()) return {};
  const NoGrad guard;
  const auto s = spectrum(net.W.weight.detach(), g);
  const auto v = (s / (sum(s, 1, true) + 1e-12)).to_vector();
  return {v.begin(), v.end()};
}

template <class D>
Run train(const Group& g, const Config& c, uint64_t seed, app::Progress& bar, const std::string& name) {
  manual_seed(seed);
  const auto all = pairs<float, D>(g, randperm(g.M * g.M));  // one permutation: the first n train, the others test
  const auto in = all.part(0, c.n), out = all.part(c.n, all.size() - c.n);
  Net<float, D> net(g.M, c.K, c.sigma, c.layers);
  const bool muon = c.opt == "muon", sgd = c.opt == "sgd";
  std::vector<Tensor<float, D>> hidden{net.W.weight}, adam_params;
  for (const auto& L : net.deeper) hidden.push_back(L.weight);
  if (!muon) adam_params = hidden;
  if (c.ridge == 0) adam_params.push_back(net.V.weight);
  std::optional<optim::Adam<float, D>> adam;  // coupled decay: g + decay w
  std::optional<optim::Muon<float, D>> ortho;
  std::optional<optim::Sgd<float, D>> plain;
  if (muon) ortho.emplace(hidden, muon_options(c.lr, c.decay));
  if (sgd) plain.emplace(adam_params, optim::SgdOptions{.lr = c.lr, .weight_decay = c.decay});
  else if (!adam_params.empty()) adam.emplace(adam_params, optim::AdamOptions{.lr = c.lr, .weight_decay = muon ? 0 : c.decay});
  Run r;
  r.before = shares(net, g);
  const auto loss = [&](const Tensor<float, D>& F) {
    if (c.ridge > 0) {  // V_r with no gradient through it
      const auto V = no_grad([&] { return ridge(F.detach(), in.Y, c.ridge); });
      return sum(square(centred(in.Y - matmul(F, V)))) * (0.5 / static_cast<double>(c.n));
    }
    return c.loss == "squares" ? zero_mean_squares(net.V(F), in.Y) : cross_entropy(net.V(F), in.c);
  };
  for (int64_t e = 0; e <= c.epochs && !app::interrupted(); ++e) {
    if (e % 20 == 0) {
      auto F = no_grad([&] { return net.features(in.X); }).detach();
      F.requires_grad_();
      r.gradient.push_back(static_cast<double>(norm(grad(loss(F), F)).item()));
      const NoGrad guard;
      if (c.ridge > 0) {
        const auto V = ridge(F.detach(), in.Y, c.ridge);
        net.V.weight.copy_(transpose(V, 0, 1).contiguous());
      }
      const auto f = centred(F.detach());
      const auto at = static_cast<double>(e);
      r.epoch.push_back(at);
      r.train.push_back(accuracy(net.V(F), in)), r.test.push_back(accuracy(net.V(net.features(out.X)), out));
      r.nodes.push_back(off_diagonal(matmul(transpose(f, 0, 1), f)));
      r.samples.push_back(off_diagonal(matmul(f, transpose(f, 0, 1))));
      if (std::isnan(r.fit) && r.train.back() >= 0.999) r.fit = at;
      if (std::isnan(r.grok) && r.test.back() >= 0.99) r.grok = at;
    }
    if (e == c.epochs) break;
    nn::zero_grad(net);
    loss(net.features(in.X)).backward();
    if (adam) adam->step();
    if (plain) plain->step();
    if (ortho) ortho->step();
    bar.step(name);
  }
  r.cover = coverage(net.W.weight.detach(), g);
  r.after = shares(net, g);
  return r;
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  const bool smoke = args.setting == app::Setting::smoke;
  const bool wide = args.setting == app::Setting::normal || args.setting == app::Setting::paper;
  const Group g = parse_group(smoke && o.group == "Z23" ? "Z7" : o.group);
  const auto count = [](const Group& G, double ratio) {
    const auto M = static_cast<double>(G.M);
    return std::min(G.M * G.M - 1, static_cast<int64_t>(std::llround(ratio * M * std::log(M))));
  };
  Config base{.K = o.K ? o.K : args.pick<int64_t>(32, 256, 256, 2048), .n = g.M * g.M / 2,
              .epochs = o.epochs ? o.epochs : args.pick<int64_t>(60, 2000, 2000, 10000), .lr = o.lr, .ridge = o.ridge,
              .sigma = o.sigma, .opt = o.opt, .loss = o.loss, .layers = o.layers};
  if (o.critical) base.n = std::min(g.M * g.M - 1, static_cast<int64_t>(std::llround(g.critical())));
  if (o.ratio > 0) base.n = count(g, o.ratio);
  if (o.n > 0) base.n = std::min(o.n, g.M * g.M - 1);
  const std::vector<double> decays = o.decay >= 0 ? std::vector{o.decay} : std::vector{0.0, 1e-4, 1e-3};
  const std::vector<int64_t> orders = args.pick<std::vector<int64_t>>({}, {23}, {13, 23, 37}, {23, 71, 127});
  const auto ratios = args.pick<std::vector<double>>({}, {2, 2.75, 3.5}, {1.5, 2, 2.75, 3.5, 4.5}, {1.5, 2, 2.75, 3.5, 4.5});
  const int64_t law_epochs = args.pick<int64_t>(0, 1000, 1000, 10000);
  const int64_t law_K = args.pick<int64_t>(0, 256, 256, 2048);
  if (o.plan) {
    std::cout << g.name << ": K = " << base.K << ", n = " << base.n << ", " << 3 * g.M * base.K << " weights, critical n = "
              << app::figure(g.critical(), 4) << "\n" << args.seeds << " seeds: " << decays.size() << " runs of " << base.epochs
              << " epochs and " << orders.size() * ratios.size() << " of " << law_epochs << " each\n";
    return 0;
  }
  app::Metrics metrics("li2-grokking", name_of(args.setting), args.seed_list());
  app::catch_interrupt();

  // Stage I, (L1), in double and float; stage III, repulsion.
  const auto lazy = [&]<class T>(T) {
    manual_seed(args.seed);
    const auto p = pairs<T, D>(cyclic({7}), randperm(49)).part(0, 30);
    return std::pair{no_grad([&] { return Net<T, D>(7, 64).features(p.X); }), p};
  };
  const auto [F, p7] = lazy(0.0);
  const auto [Ff, pf] = lazy(0.0f);
  const auto by_autograd = G_F_by_autograd(F, p7.Y, 1e-3);
  const auto by_autograd_f = G_F_by_autograd(Ff, pf.Y, 1e-3);
  metrics.check("(L1) against autograd, float64, relative", norm(G_F(F, p7.Y, 1e-3) - by_autograd).item() / norm(by_autograd).item(),
                "<=", 1e-8);
  metrics.check("(L1) against autograd, float32, relative",
                static_cast<double>((norm(G_F(Ff, pf.Y, 1e-3) - by_autograd_f) / norm(by_autograd_f)).item()), "<=", 1e-3);
  const double falls = norm(G_F(F, p7.Y, 1e-4)).item() / norm(G_F(F, p7.Y, 1e-6)).item();
  metrics.check("|G_F|(eta = 1e-4) / |G_F|(eta = 1e-6)", falls, ">=", 99);
  metrics.check("|G_F|(eta = 1e-4) / |G_F|(eta = 1e-6), above", falls, "<=", 101);
  const Repulsion push = repulsion(no_grad([&] { return Net<double, D>(7, 12).features(p7.X); }), 1e-3);
  metrics.check("repulsion: share of pairs with sign(B_jl) = -sign(f_j R f_l)", push.share, "==", 1);
  std::vector<double> etas, norms;
  for (double eta = 1e-7; eta < 20; eta *= 10) etas.push_back(eta), norms.push_back(norm(G_F(F, p7.Y, eta)).item());

  // Stage II: maxima of E.
  app::Table maxima;
  maxima.columns = {"group", "E predicted", "largest relative distance", "share of starts", "least purity"};
  app::Plot energies{.title = "E at the end of each ascent", .x_label = "order M of the group", .y_label = "E"};
  std::vector<double> EM, EE, PM, PE;
  std::vector<std::string> groups{"Z7", "Z8", "Z11", "S3"};
  if (wide) groups.insert(groups.end(), {"S4", "2x3x4"});
  for (const std::string& name : groups) {
    const Group G = parse_group(name);
    manual_seed(args.seed + 1);
    const auto p = all_pairs<double, D>(G);
    const auto W = ascend(randn<double, D>({smoke ? 20 : 200, 2 * G.M}), p, args.pick(300, 1500, 1500, 4000));
    const auto E = energy(W, p).to_vector();
    const auto c = coverage(W, G);
    std::vector<double> levels;
    for (const Irrep& k : G.irreps)
      if (std::find(levels.begin(), levels.end(), G.energy(k)) == levels.end()) levels.push_back(G.energy(k));
    double worst = 0;
    std::vector<int> hits(levels.size(), 0);
    for (const double e : E) {
      std::size_t best = 0;
      for (std::size_t i = 1; i < levels.size(); ++i)
        if (std::abs(e - levels[i]) < std::abs(e - levels[best])) best = i;
      ++hits[best], worst = std::max(worst, std::abs(e / levels[best] - 1));
      EM.push_back(static_cast<double>(G.M)), EE.push_back(e);
    }
    for (std::size_t i = 0; i < levels.size(); ++i) {
      maxima.row({name, app::figure(levels[i]), app::figure(worst, 2), app::figure(hits[i] / static_cast<double>(E.size()), 3),
                  app::figure(c.least, 5)});
      PM.push_back(static_cast<double>(G.M)), PE.push_back(levels[i]);
    }
    if (smoke || name == "S4" || name == "2x3x4") continue;
    metrics.check("E, " + name + ": largest distance from a predicted maximum", worst, "<=", 0.01);
    if (name == "Z8") metrics.check("E, Z8: both maxima are met", hits[0] > 0 && hits[1] > 0);
    if (name != "S3") metrics.check("E, " + name + ": least purity", c.least, ">=", 0.999);
  }
  energies.points("measured", EM, EE).points("predicted: M / (2 d), pairs M / (4 d)", PM, PE);

  // Training: weight decay, then the law.
  const auto runs_of = static_cast<int64_t>(decays.size()) * base.epochs +
                       static_cast<int64_t>(orders.size() * ratios.size()) * law_epochs + (wide ? int64_t{10} * 2000 : 0);
  app::Progress bar(args.seeds * runs_of, "training");
  app::Plot curves{.title = "Accuracy, " + g.name, .x_label = "epoch", .y_label = "share"},
      gradient{.title = "|dL/dF|", .x_label = "epoch", .y_label = "norm", .log_y = true},
      law{.title = "Test accuracy against sample size", .x_label = "n / (M ln M)", .y_label = "share"},
      coverages{.title = "Coverage on E, Z23", .x_label = "K", .y_label = "distinct frequencies"},
      vanish{.title = "|G_F| of (L1)", .x_label = "eta", .y_label = "norm", .log_x = true, .log_y = true};
  std::vector<double> linear_in_eta;
  for (const double eta : etas) linear_in_eta.push_back(norms[0] * eta / etas[0]);
  vanish.points("measured", etas, norms).dashed("proportional to eta", etas, linear_in_eta);
  app::Heatmap before{.title = "Irreps of the nodes before", .x_label = "irrep", .y_label = "node"}, after = before;
  const bool card = o.group == "Z23" && base.K == 256 && base.epochs == 2000 && o.opt == "adam" && o.sigma == "square" && base.n == 264 &&
                    o.loss == "squares" && o.decay < 0 && o.ridge == 0 && o.layers == 0 && o.lr == 0.01;
  for (const double decay : decays) {
    const std::string name = "decay " + app::plain(decay);
    std::vector<std::vector<double>> trains, tests, grads;
    std::vector<double> epochs;
    for (const uint64_t seed : args.seed_list()) {
      Config c = base;
      c.decay = decay;
      const Run r = train<D>(g, c, seed, bar, name);
      if (app::interrupted()) break;
      trains.push_back(r.train), tests.push_back(r.test), grads.push_back(r.gradient), epochs = r.epoch;
      metrics.add(name, "fit by epoch", r.fit), metrics.add(name, "grok by epoch", r.grok), metrics.add(name, "test", r.test.back());
      metrics.add(name, "irreps", static_cast<double>(r.cover.irreps)), metrics.add(name, "purity", r.cover.purity);
      metrics.add(name, "off-diagonal F~'F~", r.nodes.back()), metrics.add(name, "off-diagonal F~F~'", r.samples.back());
      if (card) {
        const std::string s = name + ", seed " + std::to_string(seed) + ": ";
        metrics.check(s + "train 1.0 by epoch", r.fit, "<=", 100);
        if (decay == 0) metrics.check(s + "test", r.test.back(), "<=", 0.15);
        else {
          metrics.check(s + "test", r.test.back(), ">=", 0.99);
          metrics.check(s + "delay", r.grok - r.fit, ">=", 60);
          metrics.check(s + "irreps of 11", static_cast<double>(r.cover.irreps), ">=", 10);
        }
      }
      const std::size_t R = g.irreps.size(), rows = std::min<std::size_t>(32, R ? r.after.size() / R : 0);
      before.rows = after.rows = rows, before.columns = after.columns = R;
      before.values.assign(r.before.begin(), r.before.begin() + static_cast<int64_t>(rows * R));
      after.values.assign(r.after.begin(), r.after.begin() + static_cast<int64_t>(rows * R));
    }
    if (trains.empty()) continue;
    curves.seeds("test, " + name, epochs, tests), gradient.seeds(name, epochs, grads);
    if (decay == decays.back()) curves.seeds("train, " + name, epochs, trains);
  }
  after.title = "The same after training";
  for (const int64_t M : orders) {
    const Group G = cyclic({M});
    std::vector<std::vector<double>> by_seed(static_cast<std::size_t>(args.seeds));
    for (const double ratio : ratios) {
      const std::string name = "M " + std::to_string(M) + ", n/(M ln M) " + app::plain(ratio);
      for (std::size_t s = 0; s < by_seed.size() && !app::interrupted(); ++s) {
        const Run r = train<D>(G, {.K = law_K, .n = count(G, ratio), .epochs = law_epochs}, args.seed + s, bar, name);
        if (app::interrupted()) break;
        by_seed[s].push_back(r.test.back());
        metrics.add(name, "test", r.test.back());
      }
      if (app::interrupted()) break;
      const double test = metrics.mean(name, "test").mean;
      if (ratio == 2) metrics.check(name + ": mean test", test, "<=", 0.15);
      if (ratio == 2.75) metrics.check(name + ": mean test", test, ">=", 0.85);
      if (ratio == 3.5) metrics.check(name + ": mean test", test, ">=", 0.99);
    }
    law.seeds("M = " + std::to_string(M), ratios, by_seed);
  }
  // Few nodes: Adam and Muon; other groups at their critical size.
  for (int i = 0; wide && i < 10; ++i) {
    const Group G = parse_group(i < 8 ? "Z23" : i == 8 ? "S4" : "2x3x4");
    Config c{.opt = i % 2 && i < 8 ? "muon" : "adam"};
    if (i < 8) c.K = std::array<int64_t, 4>{16, 24, 32, 48}[static_cast<std::size_t>(i) / 2];
    else c.n = static_cast<int64_t>(std::llround(G.critical()));
    const std::string name = i < 8 ? c.opt + ", K " + std::to_string(c.K) : G.name + ", critical n";
    for (const uint64_t seed : args.seed_list()) {
      const Run r = train<D>(G, c, seed, bar, name);
      if (app::interrupted()) break;
      metrics.add(name, "fit by epoch", r.fit), metrics.add(name, "grok by epoch", r.grok), metrics.add(name, "test", r.test.back());
      metrics.add(name, "irreps", static_cast<double>(r.cover.irreps)), metrics.add(name, "purity", r.cover.purity);
    }
  }
  bar.finish();

  // Coverage on E: gradient ascent and Muon.
  if (wide && !app::interrupted()) {
    const Group G = cyclic({23});
    const auto p = all_pairs<float, D>(G);
    std::vector<double> Ks{11, 16, 22, 33}, drawn, plain_cover, muon_cover;
    const int starts = 20;
    for (const double K : Ks) {
      double a = 0, b = 0;
      for (int s = 0; s < starts; ++s) {
        manual_seed(args.seed + static_cast<uint64_t>(s));
        const auto W = randn<float, D>({static_cast<int64_t>(K), 46});
        a += static_cast<double>(coverage(ascend(W, p, 400), G).irreps) / starts;
        b += static_cast<double>(coverage(ascend_muon(W, p, 400, 0.02), G).irreps) / starts;
      }
      drawn.push_back(coupons(11, K)), plain_cover.push_back(a), muon_cover.push_back(b);
      metrics.add("coverage, K " + app::plain(K), "gradient", a), metrics.add("coverage, K " + app::plain(K), "Muon", b);
      metrics.check("coverage, K " + app::plain(K) + ": distance from m (1 - (1 - 1/m)^K)", std::abs(a - drawn.back()), "<=", 0.8);
      if (K == 16 || K == 33) metrics.check("coverage, K " + app::plain(K) + ": Muon minus gradient", b - a, ">=", 0.4);
    }
    coverages.line("gradient ascent", Ks, plain_cover).line("Muon", Ks, muon_cover).dashed("independent draws", Ks, drawn);
  }

  std::cout << maxima.text() << metrics.table().text() << metrics.checks_table().text();
  app::Report report("Grokking in three stages (Li_2)");
  report
      .citation("Y. Tian, Provable Scaling Laws of Feature Emergence from Learning Dynamics of Grokking, 2025",
                "https://arxiv.org/abs/2509.21519")
      .claim("Hidden nodes climb an energy whose maxima are the group's irreps; the features generalise from about M log M samples on.")
      .table(maxima, "Maxima of E")
      .table(metrics.table(), "Mean ± standard deviation over the seeds")
      .plot(curves, "curves").plot(gradient, "gradient").plot(vanish, "vanish").plot(energies, "energies");
  if (before.rows) report.plot(before, "before").plot(after, "after");
  if (!law.series.empty()) report.plot(law, "law");
  if (!coverages.series.empty()) report.plot(coverages, "coverage");
  std::cout << "processor time " << app::figure(static_cast<double>(std::clock()) / CLOCKS_PER_SEC, 3) << " s\n";
  return app::finish(report, metrics, args);
}

int main(int argc, char** argv) {
  Options o;
  const app::Program program{"li2-grokking", "Tian 2025: grokking in three stages on group arithmetic"};
  const app::Args args = app::parse_args(argc, argv, program, {.seeds = 3}, [&](CLI::App& cli) {
    cli.add_option("--group", o.group, "Z23, 2x3x4, S3, S4 or table:FILE")->capture_default_str();
    cli.add_option("--K", o.K, "hidden nodes; 0: the setting's")->check(CLI::Range(0, 1 << 20));
    cli.add_option("--n", o.n, "training pairs; 0: half of them")->check(CLI::NonNegativeNumber);
    cli.add_option("--ratio", o.ratio, "n / (M ln M), instead of --n")->check(CLI::NonNegativeNumber);
    cli.add_flag("--use-critical-ratio", o.critical, "n = 2.7482 M ln M, times d_max / 2 for non-abelian groups");
    cli.add_option("--act", o.sigma)->check(CLI::IsMember({"square", "relu", "silu", "relu2"}))->capture_default_str();
    cli.add_option("--opt", o.opt, "muon: on W, with Adam on V")->check(CLI::IsMember({"adam", "muon", "sgd"}))->capture_default_str();
    cli.add_option("--loss", o.loss)->check(CLI::IsMember({"squares", "ce"}))->capture_default_str();
    cli.add_option("--lr", o.lr)->check(CLI::PositiveNumber)->capture_default_str();
    cli.add_option("--wd", o.decay, "one weight decay instead of 0, 1e-4 and 1e-3")->check(CLI::NonNegativeNumber);
    cli.add_option("--epochs", o.epochs, "0: the setting's")->check(CLI::NonNegativeNumber);
    cli.add_option("--ridge", o.ridge, "eta: V solved exactly each step")->check(CLI::NonNegativeNumber);
    cli.add_option("--layers", o.layers, "extra layers x <- sigma(x + L x)")->check(CLI::Range(0, 16))->capture_default_str();
    cli.add_flag("--plan", o.plan, "print sizes and runs, and stop");
  });
  return app::run([&] {
    app::Args a = args;
    if ((a.setting == app::Setting::smoke || a.setting == app::Setting::quick) && !a.seeds_given) a.seeds = 1;
    return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
  });
}
