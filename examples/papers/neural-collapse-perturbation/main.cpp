// T. Tirer, H. Huang, J. Niles-Weed, "Perturbation Analysis of Neural Collapse", ICML 2023, arXiv:2210.16658.
//
// Claim: features kept near a given matrix H0 by beta |H - H0|^2 are nearer to collapse than H0; how a deviation of H0 passes to the
// minimiser is a linear map with a spectrum in closed form; and the features' regularisation matters more than the last layer's.
//
// Differs from the paper: Fashion-MNIST and perceptrons instead of CIFAR-10 and ResNet-18; see README.md.
#include <iostream>

#include <gradus/app/args.hpp>
#include <gradus/app/metrics.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/app/report.hpp>
#include <gradus/data/fashion_mnist.hpp>

#include "nets.hpp"

using namespace gradus;
using namespace ncp;

struct Options {
  Problem p;
  int64_t layers = 0;
  bool plan = false;
};
using app::Setting;

std::vector<double> count_from_1(std::size_t n) {
  std::vector<double> x;
  for (std::size_t i = 0; i < n; ++i) x.push_back(static_cast<double>(i + 1));
  return x;
}

/// A: theorem 2.1.
void part_a(const Problem& p, app::Metrics& m) {
  for (const uint64_t R : {1, 2}) {
    const auto [g, f] = gradient_and_value(p, collapsed(p, R));
    const std::string of = ", R no. " + std::to_string(R);
    m.check("A: norm of the gradient at a collapsed minimiser" + of, g, "<=", 1e-13);
    m.check("A: |f - (c - c^2 / 2)|" + of, std::abs(f - (p.c() - p.c() * p.c() / 2)), "<=", 1e-12);
  }
}

/// B: theorem 4.2 and figure 1.
void part_b(Problem p, const std::vector<double>& lHs, app::Metrics& m, app::Report& report) {
  app::Table t;
  t.columns = {"lambda_H", "multiplicities", "F_kk, distance", "F_kl, distance", "exact map's F_11, distance"};
  app::Plot steps{.title = "Singular values of F_11", .x_label = "number", .y_label = "(1 - s) beta",
                  .note = "lines: theory; points: computed"};
  double worst = 0;
  std::vector<double> exact;
  bool counts = true;
  for (const double lH : lHs) {
    p.lH = lH;
    const Spectrum s = spectrum(p, collapsed(p, 1));
    std::string found;
    const auto levels = diagonal_spectrum(p);
    for (std::size_t i = 0; i < levels.size(); ++i)
      found += (i ? ", " : "") + std::to_string(s.found[i]), counts = counts && s.found[i] == levels[i].times;
    t.row({app::plain(lH), found, app::figure(s.diagonal_error), app::figure(s.off_error), app::figure(s.exact_error)});
    worst = std::max({worst, s.diagonal_error, s.off_error}), exact.push_back(s.exact_error);
    std::vector<double> theory, computed;
    for (const double v : s.theory) theory.push_back((1 - v) * p.beta);
    for (const double v : s.computed) computed.push_back((1 - v) * p.beta);
    const auto x = count_from_1(theory.size());
    steps.line("lambda_H = " + app::plain(lH), x, theory).points("computed, " + app::plain(lH), x, computed);
  }
  m.check("B: multiplicities are those of the closed form", counts);
  m.check("B: singular values of the first-order F_kk and F_kl, distance from the closed form", worst, "<=", 1e-10);
  for (std::size_t i = 0; i < lHs.size(); ++i)   // second order in 1 / beta: about 0.7 lH / beta^2, so above 2e-5 for large lH
    m.check("B: exact map's F_11 against the first-order one, lambda_H = " + app::plain(lHs[i]), exact[i], "<=", 2e-5);
  std::cout << "Theorem 4.2, beta = " << app::plain(p.beta) << "\n" << t.text();
  report.table(t, "Spectrum of the blocks of F at a collapsed H0").plot(steps, "spectrum");
}

/// C: theorem 4.1 and corollary 3.2, solved against predicted.
void part_c(Problem p, app::Metrics& m, app::Report& report) {
  app::Table t;
  t.columns = {"beta", "scale of dH0", "|dH - F dH0| / |dH|", "the same for dW", "NC1~(H*) / NC1~(H0)"};
  app::Plot plot{.title = "Error of the linear prediction", .x_label = "scale of dH0", .y_label = "relative error of dH", .log_x = true,
                 .log_y = true};
  const Point z = collapsed(p, 1);
  const std::vector<double> scales{1e-1, 1e-2, 1e-3};
  double ratio = 0;
  manual_seed(7);
  const Matrix direction = randn<double>({p.d, p.N()});
  for (const double beta : {1.0, 10.0, 100.0, 1000.0}) {
    p.beta = beta;
    const Matrix F = exact_map(p, z);
    std::vector<double> errors;
    for (const double scale : scales) {
      const Response r = response(p, z, F, direction * scale);
      errors.push_back(r.error), ratio = std::max(ratio, r.NC1t_ratio);
      t.row({app::plain(beta), app::plain(scale), app::figure(r.error, 3), app::figure(r.W_error, 3), app::figure(r.NC1t_ratio, 4)});
    }
    plot.line("beta = " + app::plain(beta), scales, errors);
    if (beta != 100) continue;
    m.check("C: relative error of the exact linear map, beta = 100, dH0 ~ 0.1 N(0, 1)", errors[0], "<=", 1e-3);
    m.check("C: it falls by, from 0.1 to 0.01", errors[0] / errors[1], ">=", 5);
    m.check("C: it falls by, from 0.01 to 0.001", errors[1] / errors[2], ">=", 5);
  }
  m.check("C: largest NC1~(H*) / NC1~(H0), beta in {1, 10, 100, 1000}", ratio, "<", 1);
  std::cout << "Theorem 4.1\n" << t.text();
  report.table(t, "The minimiser for a moved H0, solved against predicted").plot(plot, "response");
}

/// D: theorem 3.1 along the gradient flow, and the Hessian's blocks against double backward.
void part_d(const Problem& p, double end, app::Metrics& m, app::Report& report) {
  manual_seed(11);
  const Path path = central_path(p, randn<double>({p.d, p.N()}), end, 0.01);
  m.check("D: steps in which NC1~ does not fall", static_cast<double>(path.NC1_rises), "==", 0);
  m.check("D: steps in which e^{2 lH t} tr S_W rises by more than 1e-13 of it", static_cast<double>(path.trW_rises), "==", 0);
  m.check("D: steps in which e^{2 lH t} tr S_B does not rise", static_cast<double>(path.trB_falls), "==", 0);
  if (end >= 60) {
    const double limit = p.rho() * static_cast<double>(p.K - 1) / static_cast<double>(p.K);
    m.check("D: |tr S_B - rho (K - 1) / K| at t = 60", std::abs(path.last_trB - limit), "<=", 1e-3);
    m.check("D: d/dt log NC1~ at t = 60 over -2 lambda_H, minus 1", std::abs(path.rate / (-2 * p.lH) - 1), "<=", 0.02);
  }
  m.check("D: Hessian-vector products by double backward against the Kronecker formulas", hessian_error(p, 5), "<=", 1e-10);
  const auto over_start = [](std::vector<double> v) {
    const double first = v[0];
    for (double& x : v) x /= first;
    return v;
  };
  app::Plot plot{.title = "The three monotone quantities on the flow", .x_label = "t", .y_label = "over its value at t = 0",
                 .log_y = true};
  std::vector<double> slope;
  for (const double time : path.time)
    slope.push_back(path.NC1t.back() / path.NC1t[0] * std::exp(2 * p.lH * (path.time.back() - time)));
  plot.line("NC1~", path.time, over_start(path.NC1t))
      .line("e^{2 lH t} tr S_W", path.time, over_start(path.trW))
      .line("e^{2 lH t} tr S_B", path.time, over_start(path.trB))
      .dashed("slope -2 lH", path.time, slope);
  report.plot(plot, "flow");
}

/// E: layer-wise training.
void part_e(const app::Args& a, int64_t layers, const Training& o, int64_t count, const data::ImageSet& set, app::Metrics& m,
            app::Report& report) {
  app::Progress bar(a.seeds * layers, "layer-wise");
  std::vector<std::vector<double>> tilde, plain;
  for (int k = 0; k < a.seeds && !app::interrupted(); ++k) {
    const uint64_t seed = a.seed + static_cast<uint64_t>(k);
    const auto found = layer_wise(samples(set, count, seed), layers, a.setting == Setting::smoke ? 32 : 128, o, seed,
                                  [&](int64_t l) { bar.step("seed " + std::to_string(seed) + ", layer " + std::to_string(l + 1)); });
    tilde.emplace_back(), plain.emplace_back();
    for (std::size_t l = 0; l < found.size(); ++l) {
      const std::string layer = "layer " + std::to_string(l + 1);
      m.add(layer, "NC1~", found[l].NC1t), m.add(layer, "NC1", found[l].NC1), m.add(layer, "NC2", found[l].NC2);
      tilde.back().push_back(found[l].NC1t), plain.back().push_back(found[l].NC1);
    }
  }
  bar.finish();
  const auto x = count_from_1(static_cast<std::size_t>(layers));
  report.plot(app::Plot{.title = "Layer-wise training", .x_label = "layer", .y_label = "on the training pictures", .log_y = true}
                  .seeds("NC1~", x, tilde)
                  .seeds("NC1", x, plain), "layers");
  if (a.setting == Setting::smoke || app::interrupted()) return;
  const auto at = [&](int64_t l) { return m.mean("layer " + std::to_string(l), "NC1~").mean; };
  double largest = 0;
  for (int64_t l = 2; l <= layers; ++l) largest = std::max(largest, at(l) / at(l - 1));
  m.check("E: largest NC1~ of a layer over that of the layer below, means", largest, "<", 1);
  if (layers >= 5) m.check("E: NC1~ of layer 5 over that of layer 1, means", at(5) / at(1), "<=", 0.25);
}

/// F: weight decay of the features and of the last layer.
void part_f(const app::Args& a, const Training& o, int64_t count, const data::ImageSet& set, app::Metrics& m, app::Report& report) {
  const std::vector<std::pair<Loss, std::string>> losses{{Loss::mse, "MSE"}, {Loss::cross_entropy, "CE"}};
  app::Progress bar(static_cast<int64_t>(losses.size() * kVariants.size()) * a.seeds * o.epochs, "weight decay");
  const int64_t every = std::max<int64_t>(1, o.epochs / 20);
  for (const auto& [loss, name] : losses) {
    app::Plot nc1{.title = "NC1, " + name, .x_label = "epoch", .y_label = "NC1", .log_y = true},
        nc2{.title = "NC2, " + name, .x_label = "epoch", .y_label = "NC2", .log_y = true};
    for (const Variant& v : kVariants) {
      std::vector<std::vector<double>> ones, twos;
      std::vector<double> epochs;
      for (int k = 0; k < a.seeds && !app::interrupted(); ++k) {
        const uint64_t seed = a.seed + static_cast<uint64_t>(k);
        const DecayRun r = decay_run(samples(set, count, seed), loss, v, a.setting == Setting::smoke ? 32 : 128, o, seed, every,
                                     [&] { bar.step(name + ", " + v.name); });
        const std::string row = name + ", " + v.name;
        m.add(row, "NC1", r.NC1.back()), m.add(row, "NC2", r.NC2.back()), m.add(row, "train error %", r.train_error);
        ones.push_back(r.NC1), twos.push_back(r.NC2), epochs = r.epochs;
      }
      nc1.seeds(v.name, epochs, ones), nc2.seeds(v.name, epochs, twos);
    }
    const std::string file = loss == Loss::mse ? "mse" : "ce";
    report.plot(nc1, "nc1-" + file).plot(nc2, "nc2-" + file);
  }
  bar.finish();
  if (a.setting == Setting::smoke || app::interrupted()) return;
  const auto nc1 = [&](const std::string& v) { return m.mean("MSE, " + v, "NC1").mean; };
  const auto moved = [&](const std::string& v) { return std::abs(std::log(nc1(v) / nc1("base"))); };
  m.check("F: NC1 of 2x features over base, MSE", nc1("2x features") / nc1("base"), "<", 1);
  m.check("F: NC1 of 0 features over base, MSE", nc1("0 features") / nc1("base"), ">", 1);
  for (const std::string f : {"2x", "0"})
    m.check("F: |log NC1 / base| of " + f + " features over that of " + f + " last, MSE", moved(f + " features") / moved(f + " last"),
            ">=", 1.5);
}

int reproduce(const app::Args& a, const Options& o) {
  const int64_t layers = o.layers > 0 ? o.layers : a.pick<int64_t>(2, 3, 5, 10), count = a.pick<int64_t>(200, 2000, 2000, 50000);
  const Training E{.epochs = a.pick<int64_t>(2, 30, 30, 120)}, F{.epochs = a.pick<int64_t>(3, 60, 60, 120)};
  const bool decay = a.setting != Setting::quick;
  if (o.plan) {
    std::cout << "A-D: K " << o.p.K << ", d " << o.p.d << ", n " << o.p.n << ", float64\nE: " << layers << " layers x " << a.seeds
              << " seeds, " << count << " pictures, " << E.epochs << " epochs a layer\nF: "
              << (decay ? "5 variants x 2 losses x " + std::to_string(a.seeds) + " seeds, " + std::to_string(F.epochs) + " epochs; "
                        + std::to_string(nn::parameter_count(*std::make_unique<FeatureNet>(784, 128, 10, Loss::mse))) + " parameters"
                      : std::string("not in --quick")) << "\n";
    return 0;
  }
  app::Metrics m("neural-collapse-perturbation", name_of(a.setting), a.seed_list());
  app::Report report("Perturbation analysis of neural collapse");
  report
      .citation("T. Tirer, H. Huang, J. Niles-Weed, Perturbation Analysis of Neural Collapse, 2023", "https://arxiv.org/abs/2210.16658")
      .claim("Features kept near a given H0 are nearer to collapse than H0; deviations pass through a linear map with a known spectrum; "
             "the features' regularisation matters more than the last layer's.");
  app::catch_interrupt();
  part_a(o.p, m);
  part_b(o.p, {.01, .05, .1, .3, .6}, m, report);
  part_c(o.p, m, report);
  part_d(o.p, a.pick(5.0, 60.0, 60.0, 60.0), m, report);
  const auto set = data::fashion_mnist(a.data);
  part_e(a, layers, E, count, set.train, m, report);
  if (decay) part_f(a, F, count, set.train, m, report);
  std::cout << m.table().text() << m.checks_table().text();
  report.table(m.table(), "Mean ± standard deviation over the seeds").run(m, a.command).write(a.out);
  std::cout << "wrote " << a.out << "/report.html and " << m.write(a.out).string() << "\n";
  return app::interrupted() ? 130 : m.exit_code(a.check);
}

int main(int argc, char** argv) {
  Options o;
  const app::Args args = app::parse_args(
      argc, argv, {"neural-collapse-perturbation", "Tirer et al. 2023: features near a given matrix, and their collapse"}, {.seeds = 3},
      [&](CLI::App& cli) {
        cli.add_option("--lambda-H", o.p.lH, "regularisation of H in A, C, D")->check(CLI::Range(1e-4, 0.6))->capture_default_str();
        cli.add_option("--lambda-W", o.p.lW, "regularisation of W in A to D")->check(CLI::Range(1e-3, 1.6))->capture_default_str();
        cli.add_option("--beta", o.p.beta, "pull towards H0 in B and D")->check(CLI::Range(1.0, 1e6))->capture_default_str();
        cli.add_option("--layers", o.layers, "layers in E")->check(CLI::Range(1, 50));
        cli.add_flag("--plan", o.plan, "say what would run");
      });
  return app::run([&] {
    app::Args a = args;
    if ((a.setting == Setting::smoke || a.setting == Setting::quick) && !a.seeds_given) a.seeds = 1;
    if (a.device != "cpu")
      fail("--device", "these matrices and perceptrons are too small for another device", {{"device", a.device}}, "cpu", Where::current());
    return reproduce(a, o);
  });
}
