// H. Dang, T. Tran, T. Nguyen, N. Ho, "Beyond Vanilla Variational Autoencoders: Detecting Posterior Collapse in Conditional and
// Hierarchical Variational Autoencoders", ICLR 2024, arXiv:2306.05023.
//
// Claim: the minimum of a linear VAE, CVAE or two-level MHVAE is known in closed form, mode by mode; it says which latent units collapse:
// those whose singular value is below a threshold of beta and eta_dec, in a CVAE the more the better x predicts y.
//
// Differs from the paper: Fashion-MNIST instead of MNIST; linear models are trained on second moments, nothing sampled.
#include <ctime>
#include <iostream>

#include <gradus/app/args.hpp>
#include <gradus/app/metrics.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/app/finish.hpp>
#include <gradus/data/batches.hpp>
#include <gradus/data/fashion_mnist.hpp>

#include "model.hpp"

using namespace gradus;
using namespace collapse;

struct Options {
  std::string model = "all";
  Setting s;
  List beta = {}, beta_1 = {}, beta_2 = {};  // empty: the setting's sweep
  int64_t d_z = 0, steps = 0, epochs = 0, pictures = 0;
  bool plan = false;
  bool runs(const char* name) const { return model == "all" || model == name; }
};

// Second moments of pixels; x the lower left quarter and y the rest for the CVAE.
struct Data {
  Matrix A;
  Moments split;
};
Matrix pixels(const data::ImageSet& set, int64_t from, int64_t n) {  // [n, 784] in [0, 1]
  return data::slice_batch<double>(set, from, n, {0, 1}).x.reshape({n, 784});
}
Data moments(const data::ImageSet& set, int64_t N) {
  Data d{zeros<double>({784, 784}), {zeros<double>({196, 196}), zeros<double>({588, 196}), zeros<double>({588, 588})}};
  for (int64_t i = 0; i < N; i += 5000) {
    const Matrix p = pixels(set, i, std::min<int64_t>(5000, N - i)) / std::sqrt(static_cast<double>(N));
    const auto [x, y] = quarters(p);
    d.A += matmul(p.t(), p);
    d.split.A += matmul(x.t(), x), d.split.B += matmul(y.t(), x), d.split.C += matmul(y.t(), y);
  }
  return d;
}
Moments projected(const Moments& m, int64_t k) {  // on the k leading directions of x and of y
  const Matrix P = leading_vectors(m.A, k), Q = leading_vectors(m.C, k);
  return {matmul(P.t(), matmul(m.A, P)), matmul(Q.t(), matmul(m.B, P)), matmul(Q.t(), matmul(m.C, Q))};
}
int64_t above(const List& theta, double cut) { return std::count_if(theta.begin(), theta.end(), [&](double t) { return t > cut; }); }
List roots(List w) {
  for (double& v : w) v = root(v);
  return w;
}

// Largest distance of all values from their predictions; of modes within 5 % of a threshold apart, as descent is slow there.
struct Gap {
  double clear = 0, near = -1;  // below 0: no such mode
};
Gap gap(const Spectrum& m, const Spectrum& p, const List& theta, const List& thresholds) {
  Gap g;
  for (std::size_t i = 0; i < p.decoder.size(); ++i) {
    const double t = i < theta.size() ? theta[i] : 0;
    const bool near = std::any_of(thresholds.begin(), thresholds.end(), [&](double c) { return std::abs(t / c - 1) < 0.05; });
    double d = std::max(std::abs(m.decoder[i] - p.decoder[i]), i < p.sigma.size() ? std::abs(m.sigma[i] - p.sigma[i]) : 0);
    if (!p.encoder.empty()) d = std::max(d, std::abs(m.encoder[i] - p.encoder[i]));
    (near ? g.near : g.clear) = std::max(near ? g.near : g.clear, d);
  }
  return g;
}
List descending(List v) {
  std::sort(v.rbegin(), v.rend());
  return v;
}
constexpr double kActive = 0.02;  // a measured singular value above it is an active unit

class Linear {
 public:
  Linear(const app::Args& args, app::Metrics& metrics, app::Report& report) : args_(args), metrics_(metrics), report_(report) {
    table_.columns = {"model", "setting", "active predicted", "active measured", "largest distance", "near a threshold", "KL",
                      "theta / threshold"};
  }
  template <class Model>
  void compare(const std::string& model, const std::string& setting, Model& m, const Matrix& M, const Spectrum& p, const List& theta,
               const List& thresholds, int64_t steps, app::Progress& bar) {
    manual_seed(args_.seed);
    descend(m, M, steps, [&] { bar.step(model + ", " + setting); });
    Spectrum got = m.spectrum();
    Spectrum want = p;
    if (!m.s.fixed_sigma.empty()) got.encoder = descending(got.encoder), want.encoder = descending(want.encoder);
    const Gap g = gap(got, want, theta, thresholds);
    const std::string name = model + ", " + setting;
    if (args_.setting != app::Setting::smoke) {
      metrics_.check(name + ": values and sigma less the closed form", g.clear, "<=", 0.01);
      if (g.near >= 0) metrics_.check(name + ": the same within 5 % of a threshold", g.near, "<=", 0.1);
      metrics_.check(name + ": active units less predicted", static_cast<double>(got.active(kActive) - p.active()), "==", 0);
    }
    Matrix kl;
    if constexpr (requires { m.unit_kl(); }) kl = m.unit_kl();
    else kl = m.unit_kl(M);
    std::string list;
    for (std::size_t i = 0; i < std::min<std::size_t>(6, theta.size()); ++i)
      list += (i ? ", " : "") + app::figure(theta[i] / thresholds[0], 3);
    table_.row({model, setting, std::to_string(p.active()), std::to_string(got.active(kActive)), app::figure(g.clear, 2),
                g.near >= 0 ? app::figure(g.near, 2) : "-", app::figure(sum(kl).item(), 4), list});
    if (model != drawn_) {
      draw();
      plot_ = app::Plot{.title = model + ": singular values of the decoder", .x_label = "mode", .y_label = "value"};
    }
    drawn_ = model;
    List at;
    for (std::size_t i = 0; i < got.decoder.size(); ++i) at.push_back(static_cast<double>(i + 1));
    plot_.points(setting, at, got.decoder).dashed("predicted, " + setting, at, p.decoder);
    last_ = got;
  }
  const Spectrum& last() const { return last_; }
  void draw() {
    if (!drawn_.empty()) report_.plot(plot_, "spectrum-" + std::to_string(++drawings_));
  }
  void finish() {
    draw();
    std::cout << table_.text();
    report_.table(table_, "Linear models: descent on exact moments against the closed forms");
  }

 private:
  const app::Args& args_;
  app::Metrics& metrics_;
  app::Report& report_;
  app::Table table_;
  app::Plot plot_;
  std::string drawn_;
  int drawings_ = 0;
  Spectrum last_;
};

// Acceptance 1 to 3 and 5.
void linear_models(const app::Args& args, const Options& o, const Data& d, app::Metrics& metrics, app::Report& report) {
  const bool smoke = args.setting == app::Setting::smoke, whole = !smoke && args.data.empty();
  // 6,000 steps end short of the minimum where theta spans a factor of 15.
  const int64_t steps = o.steps ? o.steps : smoke ? 20 : 20000, hierarchical = o.steps ? o.steps : smoke ? 20 : 60000;
  const auto sweep = [](const List& own, List usual) { return own.empty() ? usual : own; };
  const List vae = sweep(o.beta, {0.5, 1, 2, 4, 8}), cvae = sweep(o.beta, {0.1, 0.2, 0.5, 1, 2}), mhvae = sweep(o.beta_2, {0.5, 1, 2, 4});
  app::Progress bar(steps * static_cast<int64_t>((o.runs("vae") ? vae.size() + 1 : 0) + (o.runs("cvae") ? cvae.size() + 2 : 0)) +
                        hierarchical * static_cast<int64_t>(o.runs("mhvae") ? mhvae.size() : 0),
                    "linear models");
  Linear run(args, metrics, report);
  const List w = eigenvalues(d.A);
  const auto theta = roots(w);
  const Matrix Z = diag(from_vector(List(theta.begin(), theta.begin() + 64)));  // y = x on the 64 leading eigenvectors: Z = Phi^{1/2}
  const double dec2 = o.s.eta_dec * o.s.eta_dec;
  if (o.runs("vae")) {
    const int64_t d_z = o.d_z ? o.d_z : 16;
    for (const double beta : vae) {
      Setting s = o.s;
      s.beta = beta, s.fixed_sigma = {};
      manual_seed(args.seed);
      LinearVae m(64, 64, d_z, s);
      run.compare("linear VAE", "beta " + app::plain(beta), m, Z, predict_vae(theta, d_z, s), theta, {std::sqrt(beta * dec2)}, steps, bar);
    }
    Setting s = o.s;
    if (s.fixed_sigma.empty()) s.fixed_sigma = {0.3, 0.6, 0.9, 1.5};
    s.beta = o.beta.empty() ? 4 : o.beta[0];
    const auto n = static_cast<int64_t>(s.fixed_sigma.size());
    const auto p = predict_vae(theta, n, s);
    List cuts;
    for (const double sigma : p.sigma) cuts.push_back(std::sqrt(s.beta) * s.c() * sigma);
    manual_seed(args.seed);
    LinearVae m(64, 64, n, s);
    run.compare("linear VAE, Sigma fixed", "beta " + app::plain(s.beta), m, Z, p, theta, cuts, steps, bar);
    const List kl = m.unit_kl().to_vector();
    for (std::size_t i = 0; i < kl.size(); ++i) {  // units keep their sigma; those of small theta take the large ones
      const double v = s.fixed_sigma[i] * s.fixed_sigma[i] / (s.eta_enc * s.eta_enc), prior = 0.5 * (v - 1 - std::log(v));
      const auto mode = static_cast<std::size_t>(std::find(p.sigma.begin(), p.sigma.end(), s.fixed_sigma[i]) - p.sigma.begin());
      if (smoke || p.decoder[mode] > 0) continue;
      metrics.check("Sigma fixed: KL of the inactive unit less 0.5 (sigma^2 - 1 - log sigma^2)", std::abs(kl[i] - prior), "<=", 1e-3);
      metrics.check("Sigma fixed: KL of the inactive unit: low rank without collapse", kl[i], ">", 0.2);
    }
    const std::vector<std::pair<double, int64_t>> counts{{0.25, 24}, {0.5, 13}, {1, 8}, {2, 6}, {4, 3}, {8, 2}};
    for (const auto& [beta, n_active] : counts)
      if (whole && o.beta.empty() && o.s.eta_dec == 1)
        metrics.check("pixels, VAE, beta " + app::plain(beta) + ": active units", static_cast<double>(above(w, beta)), "==",
                      static_cast<double>(n_active));
  }
  if (o.runs("cvae")) {
    const int64_t k = 64, d_z = o.d_z ? o.d_z : 64;
    const Moments m64 = projected(d.split, k);
    const List t = eigenvalues(residual_moment(m64));
    const auto fit = [&](const std::string& name, const std::string& setting, double beta, const Moments& m, const List& eigen,
                         int64_t units) {
      Setting s = o.s;
      s.beta = beta;
      const Matrix M = joint_whitened(m);
      const int64_t d_y = m.C.size(0);
      manual_seed(args.seed);
      LinearCvae model(M.size(0) - d_y, d_y, units, s);
      run.compare(name, setting, model, M, predict_cvae(eigen, units, s), eigen, {beta * dec2}, steps, bar);
    };
    for (const double beta : cvae) fit("linear CVAE", "beta " + app::plain(beta), beta, m64, t, d_z);
    const Moments m10 = projected(d.split, 10);
    const List none(10, 0.0), all = eigenvalues(m10.A);
    const double beta = o.beta.empty() ? 0.5 : o.beta[0];
    fit("linear CVAE, correlation", "x = y", beta, {m10.A, m10.A, m10.A}, none, 10);
    if (!smoke) {
      double largest = 0;
      for (const double v : run.last().sigma) largest = std::max(largest, std::abs(v - o.s.eta_enc));
      metrics.check("x = y: largest singular value of U_1", run.last().decoder[0], "<", 1e-3);
      metrics.check("x = y: largest distance of sigma from eta_enc", largest, "<=", 1e-3);
    }
    fit("linear CVAE, correlation", "x independent of y", beta, {m10.A, zeros<double>({10, 10}), m10.A}, all, 10);
    if (!smoke)
      metrics.check("x independent of y: active units less eigenvalues of E[y y^T] above the threshold",
                    static_cast<double>(run.last().active(kActive) - above(all, beta * dec2)), "==", 0);
    const List pixel = eigenvalues(residual_moment(d.split));
    const std::vector<std::pair<double, int64_t>> counts{{0.1, 31}, {0.2, 16}, {0.5, 5}, {1, 2}, {2, 2}, {4, 0}};
    for (const auto& [b, n_active] : counts)
      if (whole && o.beta.empty() && o.s.eta_dec == 1)
        metrics.check("pixels, CVAE, beta " + app::plain(b) + ": active units", static_cast<double>(above(pixel, b)), "==",
                      static_cast<double>(n_active));
  }
  if (o.runs("mhvae")) {
    const int64_t n = 10, d_1 = o.d_z ? o.d_z : 10;
    const Matrix Z10 = diag(from_vector(List(theta.begin(), theta.begin() + n)));
    for (const double beta_2 : mhvae) {
      Setting s = o.s;
      s.beta_2 = beta_2, s.beta_1 = o.beta_1.empty() ? 1 : o.beta_1[0];
      manual_seed(args.seed);
      LinearMhvae m(n, n, d_1, d_1, s);
      const List cuts{std::sqrt(beta_2) * s.eta_dec, beta_2 * dec2 / (std::sqrt(s.beta_1) * s.sigma_1), std::sqrt(s.beta_1) * s.sigma_1};
      run.compare("linear MHVAE", "beta_2 " + app::plain(beta_2), m, Z10, predict_mhvae(theta, d_1, s), theta, cuts, hierarchical,
                  bar);
    }
  }
  bar.finish();
  run.finish();
}

io::Image image_of(const Tensor<float>& x, int64_t i) {
  return io::image_from_chw(narrow(x, 0, i, 1).contiguous().to_vector(), 1, 28, 28);
}

// Acceptance 4: nonlinear models.
template <class D>
void trained_models(const app::Args& args, const Options& o, const data::MnistLike& set, app::Metrics& metrics, app::Report& report) {
  using X = Tensor<float, D>;
  const bool smoke = args.setting == app::Setting::smoke, paper = args.setting == app::Setting::paper;
  const auto take = [](const data::ImageSet& s, int64_t n) { return pixels(s, 0, n).template to<float>().template to<D>(); };
  const int64_t N = o.pictures ? o.pictures : smoke ? 200 : paper ? 60000 : 4000, tested = smoke ? 50 : 1000;
  const X images = take(set.train, N), test = take(set.test, tested);
  struct Case {
    std::string family, name;
    Setting s;
  };
  std::vector<Case> cases;
  const auto add = [&](const std::string& family, const std::string& name, Setting s) { cases.push_back({family, name, s}); };
  const auto sweep = [](const List& own, List usual) { return own.empty() ? usual : own; };
  if (o.runs("cvae"))
    for (const double b : sweep(o.beta, smoke ? List{1} : List{0.1, 0.5, 1, 2})) {
      Setting s = o.s;
      s.beta = b, add("ReLU CVAE", "beta " + app::plain(b), s);
    }
  if (o.runs("mhvae"))
    for (const bool first : {true, false})
      for (const double b : sweep(first ? o.beta_1 : o.beta_2, smoke ? List{1} : List{0.25, 1, 3})) {
        if (!first && b == 1) continue;                      // the same run
        Setting s = o.s;
        s.eta_enc = s.eta_dec = s.sigma_1 = 0.5, (first ? s.beta_1 : s.beta_2) = b;
        add("ReLU MHVAE", "beta_1 " + app::plain(s.beta_1) + ", beta_2 " + app::plain(s.beta_2), s);
      }
  if (o.runs("cvae"))
    for (const std::string link : {"x = y", "rho 1/2", "independent"}) {
      if (smoke && link != "x = y") break;
      Setting s = o.s;
      s.eta_dec = 0.5, s.beta = 1, add("correlation", link, s);
    }
  const auto how = [&](const Case& c) {
    const int64_t usual = c.family == "correlation" ? 60 : paper ? 100 : c.family == "ReLU MHVAE" ? 12 : 10;
    // The correlation study has batches of 32: with 128, 480 steps leave the decoder too far from y = x.
    return Training{.epochs = smoke ? 1 : o.epochs ? o.epochs : usual, .batch = c.family == "correlation" ? 32 : 128,
                    .clip = paper ? (c.family == "ReLU CVAE" ? 0.01 : 0.1) : 1};
  };
  const auto size_of = [&](const Case& c) { return c.family == "correlation" ? int64_t{1000} : N; };
  int64_t total = 0;
  for (const Case& c : cases) total += how(c).steps(size_of(c)) * args.seeds;
  app::Progress bar(total, "training");
  app::Heatmap heat{.title = "KL of each unit, first seed", .x_label = "unit, by falling KL", .y_label = "model"};
  app::Plot curves{.title = "Collapsed units", .x_label = "delta", .y_label = "share of units with KL <= delta", .log_x = true};
  app::ImageGrid grid{.title = "ReLU CVAE: three quarters drawn from the fourth and z", .note = "Last column: the picture.", .cell = 84};
  std::vector<X> drawn;
  for (const Case& c : cases) {
    for (const uint64_t seed : args.seed_list()) {
      if (app::interrupted()) break;
      manual_seed(seed);
      const auto tick = [&] { bar.step(c.family + ", " + c.name); };
      const std::string name = c.family + ", " + c.name;
      const auto record = [&](const auto& net, const X& x, const X& y) {
        const Activity a = activity(net, x, y);
        double nll = 0;
        const int64_t shown = smoke ? 1 : 8;
        for (int64_t i = 0; i < shown; ++i)
          nll += net.nll(narrow(x, 0, i, 1), narrow(y, 0, i, 1), smoke ? 10 : 1000) / static_cast<double>(shown);
        metrics.add(name, "KL", a.kl), metrics.add(name, "AU", a.au), metrics.add(name, "NLL", nll);
        if (seed != args.seed) return;
        List units = descending(a.units), delta, share;
        units.resize(32, 0.0);
        heat.values.insert(heat.values.end(), units.begin(), units.end()), ++heat.rows, heat.columns = 32;
        heat.row_names.push_back(name);
        const auto n = static_cast<double>(a.level.size());
        for (double v = 1e-4; v < 20; v *= 1.3) delta.push_back(v), share.push_back(1 - static_cast<double>(above(a.level, v)) / n);
        curves.line(name, delta, share);
      };
      if (c.family == "ReLU MHVAE") {
        ReluMhvae<float, D> net({.d_x = 784, .d_y = 784, .d_z = 16, .hidden = paper ? 256 : smoke ? 8 : 128, .s = c.s});
        train(net, images, images, how(c), tick);
        record(net, test, test);
      } else if (c.family == "correlation") {
        const X y = randn<float, D>({1000, 32}), e = randn<float, D>({1000, 32});
        const X x = c.name == "x = y" ? y : c.name == "independent" ? e : 0.5 * y + std::sqrt(0.75) * e;
        ReluCvae<float, D> net({.d_x = 32, .d_y = 32, .d_z = 32, .hidden = 64, .s = c.s});
        train(net, x, y, how(c), tick);
        record(net, x, y);
      } else {
        ReluCvae<float, D> net({.d_z = o.d_z ? o.d_z : 16, .hidden = paper ? 16 : smoke ? 8 : 64, .s = c.s});
        const auto [x, y] = quarters(images);
        train(net, x, y, how(c), tick);
        const auto [tx, ty] = quarters(test);
        record(net, tx, ty);
        if (seed == args.seed) drawn.push_back(no_grad([&] { return joined(tx, net.decode(tx, net.encode(tx, ty).sample())); }));
      }
    }
  }
  bar.finish();
  if (app::interrupted()) return;
  const Tensor<float> truth = test.template to<Cpu>();
  grid.columns = drawn.size() + 1;
  for (int64_t i = 0; !drawn.empty() && i < std::min<int64_t>(8, tested); ++i) {
    for (const X& x : drawn) grid.add(image_of(x.template to<Cpu>().contiguous(), i));
    grid.add(image_of(truth, i));
  }
  report.plot(heat, "kl-per-unit").plot(curves, "collapse");
  if (!drawn.empty()) report.images(grid, "reconstructions");
  const bool card = !smoke && !paper && o.beta.empty() && o.beta_1.empty() && o.beta_2.empty() && !o.d_z && !o.epochs &&
                    !o.pictures && o.s.eta_dec == 1;
  if (!card) return;
  const auto mean = [&](const std::string& name, const char* what) { return metrics.mean(name, what).mean; };
  const std::vector<std::string> b{"0.1", "0.5", "1", "2"};
  for (std::size_t i = 1; o.runs("cvae") && i < b.size(); ++i)
    metrics.check("ReLU CVAE: AU falls, beta " + b[i - 1] + " to " + b[i], mean("ReLU CVAE, beta " + b[i], "AU"), "<",
                  mean("ReLU CVAE, beta " + b[i - 1], "AU"));
  if (o.runs("mhvae")) {
    const auto kl = [&](const char* b1, const char* b2) { return mean(std::string("ReLU MHVAE, beta_1 ") + b1 + ", beta_2 " + b2, "KL"); };
    metrics.check("ReLU MHVAE: KL(z_2), beta_2 0.25 over 1", kl("1", "0.25") / kl("1", "1"), ">=", 1.5);
    metrics.check("ReLU MHVAE: KL(z_2), beta_2 1 over 3", kl("1", "1") / kl("1", "3"), ">=", 1.5);
    metrics.check("ReLU MHVAE: KL(z_2), beta_1 1 over 0.25", kl("1", "1") / kl("0.25", "1"), ">=", 1.5);
    metrics.check("ReLU MHVAE: KL(z_2), beta_1 3 over 1", kl("3", "1") / kl("1", "1"), ">=", 1.5);
  }
  if (o.runs("cvae")) {
    metrics.check("correlation: AU, x = y", mean("correlation, x = y", "AU"), "<=", 0.2);
    metrics.check("correlation: AU, rho 1/2", mean("correlation, rho 1/2", "AU"), ">=", 0.9);
    metrics.check("correlation: KL, independent less rho 1/2",
                  mean("correlation, independent", "KL") - mean("correlation, rho 1/2", "KL"), ">", 0);
  }
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  app::Metrics metrics("posterior-collapse", name_of(args.setting), args.seed_list());
  app::catch_interrupt();
  app::Report report("Posterior collapse in conditional and hierarchical VAEs");
  report.citation("H. Dang et al., Beyond Vanilla Variational Autoencoders, ICLR 2024", "https://arxiv.org/abs/2306.05023")
      .claim("Linear VAEs have minima in closed form, which say which latent units collapse, and why.");
  const auto set = data::fashion_mnist(args.data);
  linear_models(args, o, moments(set.train, args.setting == app::Setting::smoke ? 1000 : set.train.size()), metrics, report);
  if (args.setting != app::Setting::quick && o.model != "vae" && !app::interrupted()) trained_models<D>(args, o, set, metrics, report);
  std::cout << metrics.table().text() << metrics.checks_table().text();
  if (!metrics.methods().empty()) report.table(metrics.table(), "Trained models: mean ± standard deviation over the seeds");
  std::cout << "processor time " << app::figure(static_cast<double>(std::clock()) / CLOCKS_PER_SEC, 3) << " s\n";
  return app::finish(report, metrics, args);
}

int main(int argc, char** argv) {
  Options o;
  const app::Program program{"posterior-collapse", "Dang et al. 2024: which latent units of a VAE collapse, in closed form"};
  const app::Args args = app::parse_args(argc, argv, program, {.seeds = 3}, [&](CLI::App& cli) {
    cli.add_option("--model", o.model)->check(CLI::IsMember({"all", "vae", "cvae", "mhvae"}))->capture_default_str();
    cli.add_option("--beta", o.beta, "of VAE and CVAE, a list: instead of the setting's")->delimiter(',')->check(CLI::PositiveNumber);
    cli.add_option("--beta1", o.beta_1, "of the MHVAE")->delimiter(',')->check(CLI::PositiveNumber);
    cli.add_option("--beta2", o.beta_2, "of the MHVAE")->delimiter(',')->check(CLI::PositiveNumber);
    cli.add_option("--eta-enc", o.s.eta_enc)->check(CLI::PositiveNumber)->capture_default_str();
    cli.add_option("--eta-dec", o.s.eta_dec)->check(CLI::PositiveNumber)->capture_default_str();
    cli.add_option("--sigma1", o.s.sigma_1, "of q(z_1 | x) in the linear MHVAE")->check(CLI::PositiveNumber)->capture_default_str();
    cli.add_option("--fixed-sigma", o.s.fixed_sigma, "of the linear VAE with Sigma fixed: 0.3,0.6,0.9,1.5")
        ->delimiter(',')
        ->check(CLI::PositiveNumber);
    cli.add_option("--dz", o.d_z, "latent units; 0: the setting's")->check(CLI::Range(0, 64))->capture_default_str();
    cli.add_option("--steps", o.steps, "of the linear models; 0: the setting's")->check(CLI::NonNegativeNumber);
    cli.add_option("--epochs", o.epochs, "0: the setting's")->check(CLI::NonNegativeNumber);
    cli.add_option("--pictures", o.pictures, "of training; 0: the setting's")->check(CLI::Range(0, 60000));
    cli.add_flag("--plan", o.plan, "print sizes, run nothing");
  });
  return app::run([&] {
    app::Args a = args;
    if (a.setting == app::Setting::smoke && !a.seeds_given) a.seeds = 1;
    if (o.plan) {
      const auto weights = [](auto net) { return nn::parameter_count(net); };
      const bool paper = a.setting == app::Setting::paper;
      std::cout << "linear VAE 64 - 16, CVAE 64 - 64, MHVAE 10 - 10 - 10, on second moments, 20000 to 60000 steps each\nReLU CVAE: "
                << weights(ReluCvae<>({.hidden = paper ? 16 : 64})) << " weights; ReLU MHVAE: "
                << weights(ReluMhvae<>({.d_x = 784, .d_y = 784, .d_z = 16, .hidden = paper ? 256 : 128}))
                << " weights; data: IDX files, --data DIR\n";
      return 0;
    }
    return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
  });
}
