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
#include <gradus/app/progress.hpp>
#include <gradus/io/safetensors.hpp>
#include <gradus/optim.hpp>

#include "drawings.hpp"

using namespace gradus;
using namespace sortednet;

constexpr uint64_t kSizes = 0x736f72746564;  // the stream that sizes are drawn from: seed ^ this, one index a pass

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
  if (!p.tunings.empty() && !soft && !o.text.empty())
    fail("--text", "too short for a window of the last tenth", {{"--text", o.text}},
         "more than " + std::to_string(10 * p.decoder.context) + " bytes", Where::current());
  if (!p.tunings.empty() && !soft)
    std::cerr << "SoFT is left out: no licences in /usr/share/common-licenses; see --text FILE\n";
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
          worst.distance = std::max(worst.distance, e.distance), worst.gradients = std::max(worst.gradients, e.gradients);
          worst.outside = std::max(worst.outside, e.outside);
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
  if (runs.empty() && bits.empty() && alone.empty()) return app::interrupted() ? 130 : 1;

  if (runs.contains("sorted") && !p.config.batch_norm) {
    metrics.check("10 prefixes a seed: largest distance of logits from the exported network's", worst.distance, "<=", 1e-6);
    metrics.check("largest distance of their gradients", worst.gradients, "<=", 1e-6);
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

  std::vector<std::pair<std::string, Matrix>> means;
  std::vector<std::string> names, decoders, exits;
  for (const Job& j : p.jobs)
    if (!runs[j.name].empty()) means.emplace_back(j.name, mean_of(runs[j.name])), names.push_back(j.name);
  for (const auto& [name, t] : p.tunings) decoders.push_back("decoder, " + name);
  for (const int64_t d : p.decoder.exits) exits.push_back("exit " + std::to_string(d));

  app::Report report("SortedNet");
  report.citation("M. Valipour et al., SortedNet, 2023", "https://arxiv.org/abs/2309.00255")
      .claim("One network trained on random prefixes holds networks of all sizes, each cut out without a search.");
  const auto show = [&](const app::Table& t, const char* caption) {
    std::cout << t.text();
    report.table(t, caption);
  };
  if (!names.empty())
    show(figures(metrics, names, {"mean accuracy", "least", "full size", "share of r >= 0.96"}),
         "Test accuracy of the sub-networks, mean ± standard deviation over the seeds");
  if (!alone.empty()) {
    app::Table t;
    t.columns = {"prefix", "trained alone"};
    t.columns.insert(t.columns.end(), names.begin(), names.end());
    for (const Size b : p.individual) {
      std::vector<std::string> row{text_of(b), app::figure(metrics.mean("alone", text_of(b)), 4)};
      for (const auto& [name, A] : means) row.push_back(app::figure(at(A, p.space, b), 4));
      t.row(row);
    }
    show(t, "Prefixes beside networks of their size");
  }
  if (!bits.empty()) show(figures(metrics, decoders, exits), "Bits per byte of unseen text");
  app::Plot scatter{
      .title = "Accuracy of all sub-networks", .x_label = "multiply-adds of a picture", .y_label = "accuracy", .log_x = true};
  app::ImageGrid maps{.title = "Accuracy by width (to the right) and depth (up)", .columns = 3, .cell = 80};
  double lo = 1, hi = 0;
  for (const auto& [name, A] : means) lo = std::min(lo, summary(A).least), hi = std::max(hi, summary(A).full);
  for (const auto& [name, A] : means) {
    std::cout << accuracies(name, A, p.space).text();
    report.plot(heatmap(name, A, p.space), "accuracy-" + name);
    maps.add(picture(A, lo, hi), name);
    add_points(scatter, name, A, p, name == "sorted");
  }
  if (!runs["sorted"].empty()) {
    show(selections(mean_of(runs["sorted"]), p), "The largest sub-network within a budget");
    app::Table t;
    t.columns = {"sub-network", "multiply-adds", "parameters", "ms of 500 pictures"};
    for (const auto& [b, ms] : times) {
      const Cost c = cost(p.config, b);
      t.row({text_of(b), std::to_string(c.macs), std::to_string(c.parameters), app::figure(ms, 3)});
    }
    show(t, "Time of a forward pass, cut out of the whole");
  }
  if (!means.empty()) report.images(maps, "accuracies").plot(scatter, "accuracy-macs");
  if (!bits.empty()) {
    app::Plot plot{.title = "Decoders on unseen text", .x_label = "depth", .y_label = "bits per byte"};
    for (const auto& [name, list] : bits)
      plot.seeds(name, std::vector<double>(p.decoder.exits.begin(), p.decoder.exits.end()), list);
    report.plot(plot, "exits");
  }
  std::cout << metrics.checks_table().text();
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
            ->check(CLI::IsMember({"sorted", "full", "unsorted", "sandwich", "gacc4", "individual", "SoFT"}));
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
