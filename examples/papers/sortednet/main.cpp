// M. Valipour, M. Rezagholizadeh, H. Rajabzadeh, P. Kavehzadeh, M. Tahaei, B. Chen, A. Ghodsi, "SortedNet: A Scalable and
// Generalized Framework for Training Modular Deep Neural Networks", 2023, arXiv:2309.00255; and, for language models, P.
// Kavehzadeh et al., "Sorted LLaMA: Unlocking the Potential of Intermediate Layers of Large Language Models for Dynamic
// Inference", 2023, arXiv:2309.08968.
//
// Claim: one network whose prefixes - the first w units of each layer, the first d layers - are trained together, a random one
// each step, holds 160 networks, each of which can be cut out without a search and is nearly as good as the whole.
//
// Differs from the paper: Fashion-MNIST and a residual MLP unless --paper; see README.md.
#include <chrono>
#include <iostream>

#include <gradus/app/finish.hpp>
#include <gradus/app/image_grid.hpp>
#include <gradus/app/metrics.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/io/safetensors.hpp>
#include <gradus/optim.hpp>

#include "plan.hpp"

using namespace gradus;
using namespace sortednet;
using Matrix = std::vector<std::vector<double>>;  // A[d][w]

constexpr uint64_t kSizes = 0x736f72746564;  // the stream that sizes are drawn from: seed ^ this, one index a pass
constexpr double kKept = 0.96;               // of the full size's accuracy, the paper's bound

/// Trains net on the sub-networks of `space`; false when it was interrupted.
template <class Net, class D = typename Net::device_type>
bool fit(Net& net, const Job& job, const Space& space, const Plan& p, const Pictures& train, uint64_t seed,
         app::Progress& progress, const std::string& label) {
  const auto params = nn::parameters(net);
  optim::Sgd<float, D> opt(net, {.lr = p.lr, .momentum = p.momentum, .weight_decay = p.decay});
  const int64_t steps = p.steps(job.g_acc);
  const auto rate = optim::cosine(p.lr, 0, steps);
  const std::vector<data::Transform> transforms{data::random_crop(4), data::flip_horizontal()};
  Tensor<int64_t> order, index;
  int64_t at = train.size(), epoch = 0;
  Tensor<float, D> x;
  Tensor<int64_t, D> y;
  const auto next_batch = [&] {
    if (at >= train.size()) order = randperm(train.size()), at = 0, ++epoch;
    index = narrow(order, 0, at, std::min(p.batch, train.size() - at)).contiguous(), at += p.batch;
    auto pictures = index_select(train.x, 0, index);
    if (p.augment) data::augment(pictures, transforms, {seed, static_cast<uint64_t>(epoch)}, index.to_vector());
    x = pictures.template to<D>(), y = index_select(train.y, 0, index).template to<D>();
  };
  nn::train(net);
  for (int64_t step = 0; step < steps; ++step) {
    if (app::interrupted()) return false;
    opt.zero_grad(), opt.set_lr(rate(step));
    for (int64_t k = 0; k < job.g_acc; ++k) {
      if (k == 0 || !p.same_batch) next_batch();
      data::Draws draws({seed ^ kSizes, 0}, static_cast<uint64_t>(step * job.g_acc + k));
      pass(net, draw_parts<D>(job.method, space, net.config, draws), x, y, job.g_acc);
    }
    complete_gradients(params);
    optim::clip_grad_norm(params, p.clip);
    opt.step();
    progress.step(label);
  }
  nn::eval(net);
  return true;
}

template <class Net, class D = typename Net::device_type>
double accuracy(Net& net, Size b, const Pictures& test, const Plan& p, const Pictures& train) {
  const NoGrad guard;
  const auto part = first<D>(b);
  if (p.config.batch_norm) recalibrate(net, part, narrow(train.x, 0, 0, p.calibration).template to<D>());
  int64_t right = 0;
  for (int64_t at = 0; at < test.size(); at += 500) {
    const int64_t n = std::min<int64_t>(500, test.size() - at);
    const auto said = argmax(net(narrow(test.x, 0, at, n).template to<D>(), part), 1).template to<Cpu>();
    right += sum(cast<int64_t>(equal(said, narrow(test.y, 0, at, n)))).item();
  }
  return static_cast<double>(right) / static_cast<double>(test.size());
}
/// Milliseconds of a forward pass of 500 pictures, the best of five.
template <class Net, class D = typename Net::device_type>
double milliseconds(const Net& net, Size b, const Pictures& test) {
  const NoGrad guard;
  const auto x = narrow(test.x, 0, 0, std::min<int64_t>(500, test.size())).template to<D>();
  double best = INFINITY;
  for (int k = 0; k < 5; ++k) {
    const auto begin = std::chrono::steady_clock::now();
    (void)net(x, first<D>(b)).template to<Cpu>();
    best = std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

struct Summary {
  double mean = 0, least = 1, full = 0, share = 0;
};
inline Summary summary(const Matrix& A) {
  Summary s;
  s.full = A.back().back();
  double n = 0;
  for (const auto& row : A)
    for (const double a : row) s.mean += a, s.least = std::min(s.least, a), s.share += a >= kKept * s.full, ++n;
  s.mean /= n, s.share /= n;
  return s;
}
inline Matrix mean_of(const std::vector<Matrix>& runs) {
  Matrix m = runs[0];
  for (std::size_t i = 0; i < m.size(); ++i)
    for (std::size_t j = 0; j < m[i].size(); ++j) {
      m[i][j] = 0;
      for (const Matrix& r : runs) m[i][j] += r[i][j] / static_cast<double>(runs.size());
    }
  return m;
}
inline std::string text_of(Size b) { return "w " + std::to_string(b.w) + ", d " + std::to_string(b.d); }

/// A[d][w] as a picture, the deepest row on top: dark blue for `lo`, through green to yellow for `hi`.
inline io::Image picture(const Matrix& A, double lo, double hi) {
  constexpr double ramp[4][3] = {{53, 32, 95}, {39, 111, 142}, {66, 181, 112}, {250, 230, 60}};
  io::Image image(static_cast<int>(A[0].size()), static_cast<int>(A.size()), 3);
  for (std::size_t d = 0; d < A.size(); ++d)
    for (std::size_t w = 0; w < A[d].size(); ++w) {
      const double t = 3 * std::clamp((A[d][w] - lo) / std::max(hi - lo, 1e-9), 0.0, 1.0);
      const auto k = std::min<std::size_t>(2, static_cast<std::size_t>(t));
      for (std::size_t c = 0; c < 3; ++c)
        image.at(static_cast<int>(A.size() - 1 - d), static_cast<int>(w), static_cast<int>(c)) =
            static_cast<uint8_t>(std::lround(ramp[k][c] + (ramp[k + 1][c] - ramp[k][c]) * (t - static_cast<double>(k))));
    }
  return image;
}

/// Trains one decoder and says its bits per byte at each exit; empty when interrupted.
template <class D>
std::vector<double> tune(const Plan& p, Tuning t, const Text& text, uint64_t seed, app::Progress& progress,
                         const std::string& label) {
  manual_seed(seed);
  Decoder<float, D> net(p.decoder);
  optim::AdamW<float, D> opt(net, {.lr = p.soft_lr, .allow_missing_grad = t == Tuning::sample});
  const data::TokenWindows windows(text.train, p.decoder.context, 1), validation(text.validation, p.decoder.context);
  for (int64_t step = 0; step < p.soft_steps; ++step) {
    if (app::interrupted()) return {};
    data::Draws draws({seed ^ kSizes, 1}, static_cast<uint64_t>(step));
    std::vector<int64_t> index;
    for (int64_t k = 0; k < p.soft_batch; ++k) index.push_back(draws.below(windows.size()));
    const auto [ids, next] = windows.batch(index);
    opt.zero_grad();
    tuning_loss(net, t, ids.template to<D>(), next.template to<D>(), draws).backward();
    opt.step();
    progress.step(label);
  }
  return bits_per_byte(net, validation);
}

template <class Net>
int reproduce(const app::Args& args, const Options& o) {
  using D = typename Net::device_type;
  const Plan p = make_plan(args, o);
  app::catch_interrupt();
  app::Metrics metrics("sortednet", name_of(args.setting), args.seed_list());
  Text text;
  if (!p.tunings.empty()) text = split(o.text.empty() ? licences() : io::read_text(o.text));
  const bool soft = static_cast<int64_t>(text.validation.size()) > p.decoder.context;
  if (!p.tunings.empty() && !soft) std::cerr << "SoFT is left out: no text of sufficient length here; see --text FILE\n";
  const auto set = load(args, p);
  const data::Normalisation norm = data::normalisation_of(set.train);
  const Pictures test = pictures(set.test, p.test, 0, norm);

  int64_t total = static_cast<int64_t>(p.individual.size()) * p.steps(1) * args.seeds;
  for (const Job& j : p.jobs) total += p.steps(j.g_acc) * args.seeds;
  if (soft) total += static_cast<int64_t>(p.tunings.size()) * p.soft_steps * args.seeds;
  app::Progress progress(total, "training");

  std::map<std::string, std::vector<Matrix>> runs;
  std::map<std::string, std::vector<std::vector<double>>> bits;
  std::vector<std::vector<double>> alone;  // of a seed: accuracy of each individual network
  Exact worst;
  std::vector<std::pair<Size, double>> times;
  for (const uint64_t seed : args.seed_list()) {
    const Pictures train = pictures(set.train, p.images, seed, norm);
    const std::string of_seed = ", seed " + std::to_string(seed);
    for (const Job& j : p.jobs) {
      manual_seed(seed);  // the same weights and mini-batches for each method
      Net net(p.config);
      if (!fit(net, j, p.space, p, train, seed, progress, j.name + of_seed)) break;
      Matrix A;
      for (const int64_t d : p.space.depths) {
        A.emplace_back();
        for (const int64_t w : p.space.widths) A.back().push_back(accuracy(net, {w, d}, test, p, train));
      }
      const Summary s = summary(A);
      metrics.add(j.name, "mean accuracy", s.mean), metrics.add(j.name, "least", s.least);
      metrics.add(j.name, "full size", s.full), metrics.add(j.name, "share of r >= 0.96", s.share);
      runs[j.name].push_back(A);
      if (j.method != Method::sorted || j.g_acc > 1) continue;
      data::Draws draws({seed ^ kSizes, 2}, 0);
      const int64_t n = std::min<int64_t>(64, train.size());
      const auto x = narrow(train.x, 0, 0, n).template to<D>();
      const auto y = narrow(train.y, 0, 0, n).template to<D>();
      if (!p.config.batch_norm)
        for (int k = 0; k < 10; ++k) {
          const Exact e = exact(net, p.space.draw(draws), x, y);
          worst.distance = std::max(worst.distance, e.distance), worst.outside = std::max(worst.outside, e.outside);
          worst.alone &= e.alone, worst.counted &= e.counted;
        }
      if (seed != args.seed) continue;
      const auto& ws = p.space.widths;
      for (const int64_t w : {ws.front(), ws[(ws.size() - 1) / 2], ws.back()})
        for (const int64_t d : {p.space.depths.front(), p.space.depths.back()})
          times.push_back({{w, d}, milliseconds(net, {w, d}, test)});
      if (o.export_size.size() == 2) {
        const Size b{o.export_size[0], o.export_size[1]};
        auto small = exported(net, b);
        if (p.config.batch_norm) recalibrate(small, first<D>(b), narrow(train.x, 0, 0, p.calibration).template to<D>());
        io::NamedTensors tensors;
        for (const auto& [name, v] : nn::state_dict(small))
          tensors[name] = v.template as<float, D>().template to<Cpu>().contiguous();
        const auto path = std::filesystem::path(args.out) /
                          ("sub-network-" + std::to_string(b.w) + "-" + std::to_string(b.d) + ".safetensors");
        std::filesystem::create_directories(args.out);
        io::write_safetensors(path, tensors);
        std::cout << "wrote " << path.string() << ", " << text_of(b) << ", " << cost(p.config, b).parameters << " parameters\n";
      }
    }
    std::vector<double> list;
    for (const Size b : p.individual) {
      manual_seed(seed);
      Net net(p.config.cut(b));
      const Space only{{b.w}, {b.d}};
      if (!fit(net, {"individual", Method::full, 1}, only, p, train, seed, progress, "alone, " + text_of(b) + of_seed)) break;
      list.push_back(accuracy(net, b, test, p, train));
    }
    if (!list.empty() && list.size() == p.individual.size()) {
      alone.push_back(list);
      for (std::size_t k = 0; k < list.size(); ++k) metrics.add("alone", text_of(p.individual[k]), list[k]);
    }
    if (soft)
      for (const auto& [name, t] : p.tunings) {
        const auto b = tune<D>(p, t, text, seed, progress, name + of_seed);
        if (b.empty()) break;
        bits[name].push_back(b);
        for (std::size_t k = 0; k < b.size(); ++k)
          metrics.add("decoder, " + name, "exit " + std::to_string(p.decoder.exits[k]), b[k]);
      }
    if (app::interrupted()) break;
  }
  progress.finish();
  if (runs.empty() && bits.empty() && alone.empty()) return 130;

  if (!runs["sorted"].empty() && !p.config.batch_norm) {
    metrics.check("10 prefixes a seed: largest distance of logits from the exported network's", worst.distance, "<=", 1e-6);
    metrics.check("they stay, bit for bit, with 1e9 in all other parameters", worst.alone);
    metrics.check("the largest gradient outside of the prefix", worst.outside, "==", 0);
    metrics.check("parameters of the exported networks are the formula's", worst.counted);
  }
  const bool normal = args.setting == app::Setting::normal, quick = args.setting == app::Setting::quick;
  const auto mean = [&](const char* method, const char* what) { return metrics.mean(method, what).mean; };
  if ((normal || quick) && !o.own() && !app::interrupted()) {
    metrics.check("sorted: share of sub-networks with r >= 0.96", mean("sorted", "share of r >= 0.96"), ">=", 0.85);
    metrics.check("mean accuracy, sorted - full", mean("sorted", "mean accuracy") - mean("full", "mean accuracy"), ">=", 0.08);
    metrics.check("full: share of sub-networks with r >= 0.96", mean("full", "share of r >= 0.96"), "<=", 0.35);
    metrics.check("accuracy of the full size, sorted - full", mean("sorted", "full size") - mean("full", "full size"),
                  ">=", -0.03);
    if (normal) {
      metrics.check("mean accuracy, sorted - unsorted", mean("sorted", "mean accuracy") - mean("unsorted", "mean accuracy"),
                    ">=", 0.02);
      if (soft) {
        const auto gain = [&](const char* exit) { return mean("decoder, standard", exit) - mean("decoder, SoFT", exit); };
        metrics.check("bits per byte at exit 1, standard - SoFT", gain("exit 1"), ">=", 0.25);
        metrics.check("bits per byte at exit 2, standard - SoFT", gain("exit 2"), ">=", 0.12);
        metrics.check("bits per byte at exit 4, SoFT - standard", -gain("exit 4"), "<=", 0.10);
      }
    }
  }

  app::Report report("SortedNet");
  report.citation("M. Valipour et al., SortedNet, 2023", "https://arxiv.org/abs/2309.00255")
      .claim("One network trained on random prefixes holds networks of all sizes, each cut out without a search.")
      .table(metrics.table(), "Mean ± standard deviation over the seeds; decoders: bits per byte");
  std::cout << metrics.table().text() << metrics.checks_table().text();

  const auto& [widths, depths] = p.space;
  app::Plot scatter{
      .title = "Accuracy of all sub-networks", .x_label = "multiply-adds of a picture", .y_label = "accuracy", .log_x = true};
  app::ImageGrid maps{.title = "A[d][w]", .columns = 3, .cell = 80};
  double lo = 1, hi = 0;
  std::vector<std::pair<std::string, Matrix>> means;
  for (const Job& j : p.jobs)
    if (!runs[j.name].empty()) {
      means.emplace_back(j.name, mean_of(runs[j.name]));
      const Summary s = summary(means.back().second);
      lo = std::min(lo, s.least), hi = std::max(hi, s.full);
    }
  for (const auto& [name, A] : means) {
    app::Table t;
    t.columns = {name};
    std::vector<std::size_t> shown;
    for (std::size_t k = 0; k < 5; ++k) shown.push_back((k * (widths.size() - 1) + 2) / 4);
    shown.erase(std::unique(shown.begin(), shown.end()), shown.end());
    for (const std::size_t k : shown) t.columns.push_back("w " + std::to_string(widths[k]));
    app::Heatmap heat{
        .title = name + ": accuracy", .x_label = "width", .y_label = "depth", .rows = depths.size(), .columns = widths.size()};
    std::vector<double> macs, all;
    for (std::size_t d = 0; d < depths.size(); ++d) {
      std::vector<std::string> row{"d " + std::to_string(depths[d])};
      for (const std::size_t k : shown) row.push_back(app::figure(A[d][k], 3));
      t.row(row), heat.row_names.push_back(std::to_string(depths[d]));
      for (std::size_t w = 0; w < widths.size(); ++w) {
        heat.values.push_back(A[d][w]), all.push_back(A[d][w]);
        macs.push_back(static_cast<double>(cost(p.config, {widths[w], depths[d]}).macs));
      }
    }
    for (const int64_t w : widths) heat.column_names.push_back(std::to_string(w));
    std::cout << t.text();
    report.table(t, "Test accuracy, mean over the seeds").plot(heat, "accuracy-" + name);
    maps.add(picture(A, lo, hi), name);
    scatter.points(name, macs, all);
    if (name != "sorted") continue;
    std::vector<std::size_t> by_macs(macs.size());
    std::iota(by_macs.begin(), by_macs.end(), std::size_t{0});
    std::sort(by_macs.begin(), by_macs.end(), [&](std::size_t a, std::size_t b) { return macs[a] < macs[b]; });
    std::vector<double> front_x, front_y;
    for (const std::size_t k : by_macs)
      if (front_y.empty() || all[k] > front_y.back()) front_x.push_back(macs[k]), front_y.push_back(all[k]);
    scatter.line("sorted, Pareto front", front_x, front_y);
    app::Table chosen;
    chosen.columns = {"budget, multiply-adds", "w", "d", "multiply-adds", "parameters", "accuracy"};
    for (const int64_t budget : p.budgets) {
      const Size b = p.space.select(p.config, budget);
      if (b.w == 0) {
        chosen.row({std::to_string(budget), "none fits", "", "", "", ""});
        continue;
      }
      const Cost c = cost(p.config, b);
      const auto at = [](const std::vector<int64_t>& v, int64_t n) {
        return static_cast<std::size_t>(std::find(v.begin(), v.end(), n) - v.begin());
      };
      chosen.row({std::to_string(budget), std::to_string(b.w), std::to_string(b.d), std::to_string(c.macs),
                  std::to_string(c.parameters), app::figure(A[at(depths, b.d)][at(widths, b.w)], 4)});
    }
    app::Table clock;
    clock.columns = {"sub-network", "multiply-adds", "parameters", "ms of 500 pictures"};
    for (const auto& [b, ms] : times) {
      const Cost c = cost(p.config, b);
      clock.row({text_of(b), std::to_string(c.macs), std::to_string(c.parameters), app::figure(ms, 3)});
    }
    std::cout << chosen.text() << clock.text();
    report.table(chosen, "The largest sub-network within a budget")
        .table(clock, "Time of a forward pass, cut out of the whole");
  }
  if (!means.empty()) report.images(maps, "accuracies").plot(scatter, "accuracy-macs");
  if (!bits.empty()) {
    app::Plot exits{.title = "Decoders on unseen text", .x_label = "depth", .y_label = "bits per byte"};
    for (const auto& [name, list] : bits)
      exits.seeds(name, std::vector<double>(p.decoder.exits.begin(), p.decoder.exits.end()), list);
    report.plot(exits, "exits");
  }
  return app::finish(report, metrics, args);
}

int main(int argc, char** argv) {
  Options o;
  const app::Args args = app::parse_args(
      argc, argv, {"sortednet", "Valipour et al. 2023: networks of all sizes as prefixes of one"}, {.seeds = 3},
      [&](CLI::App& cli) {
        cli.add_option("--arch", o.arch, "residual MLP, or ResNet")->check(CLI::IsMember({"mlp", "resnet"}));
        cli.add_option("--norm", o.norm, "of the ResNet; batch: re-estimated for each size")
            ->check(CLI::IsMember({"group", "batch"}))
            ->capture_default_str();
        cli.add_option("--dataset", o.dataset, "where its files are, see --data")
            ->check(CLI::IsMember({"fashion-mnist", "mnist", "cifar10", "cifar100"}));
        cli.add_option("--method", o.methods, "what to train, several with blanks between")
            ->check(CLI::IsMember({"sorted", "full", "unsorted", "sandwich", "sorted, g_acc 4", "individual", "SoFT"}));
        cli.add_option("--widths", o.widths, "units of the sub-networks, the largest: of the whole")
            ->delimiter(',')
            ->check(CLI::Range(1, 65536));
        cli.add_option("--depths", o.depths, "layers, or blocks a stage")->delimiter(',')->check(CLI::Range(1, 1024));
        cli.add_option("--gacc", o.gacc, "passes a step, each with a size of its own")->check(CLI::Range(1, 1024));
        cli.add_flag("--same-batch", o.same_batch, "one mini-batch for all passes of a step");
        cli.add_option("--images", o.images, "training pictures, a sample for each seed")->check(CLI::Range(10, 60000));
        cli.add_option("--test", o.test, "test pictures")->check(CLI::Range(10, 10000));
        cli.add_option("--epochs", o.epochs, "passes over the pictures")->check(CLI::Range(1, 10000));
        cli.add_option("--lr", o.lr, "first learning rate")->check(CLI::PositiveNumber);
        cli.add_option("--budget-macs", o.budgets, "multiply-adds to select sub-networks for")
            ->delimiter(',')
            ->check(CLI::PositiveNumber);
        cli.add_option("--export", o.export_size, "W,D: writes this sub-network of the first seed as a network of its own")
            ->delimiter(',')
            ->expected(2)
            ->check(CLI::PositiveNumber);
        cli.add_option("--soft", o.soft, "losses of a SoFT step: at all exits, or at one drawn")
            ->check(CLI::IsMember({"all", "sample"}))
            ->capture_default_str();
        cli.add_option("--soft-steps", o.soft_steps, "steps of the decoders")->check(CLI::Range(1, 10000000));
        cli.add_option("--text", o.text, "what the decoders read; without it the licences in /usr/share/common-licenses")
            ->check(CLI::ExistingFile);
        cli.add_flag("--plan", o.plan, "print methods and sizes, run nothing");
      });
  return app::run([&] {
    app::Args a = args;
    if (a.setting == app::Setting::smoke && !a.seeds_given) a.seeds = 1;
    if (o.plan) return print_plan(a, o), 0;
    const bool conv = make_plan(a, o).config.conv;
    return app::on_device(
        a, [&]<class D>(D) { return conv ? reproduce<ResNet<float, D>>(a, o) : reproduce<Mlp<float, D>>(a, o); });
  });
}
