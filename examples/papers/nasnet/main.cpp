// B. Zoph, V. Vasudevan, J. Shlens, Q. V. Le, "Learning Transferable Architectures for Scalable Image Recognition", CVPR 2018,
// arXiv:1707.07012.
//
// Claim: two small cells found by a recurrent controller on CIFAR-10 make, stacked, better and smaller ImageNet networks than
// those drawn by hand, if whole paths are dropped with a probability that grows over training.
//
// Differs from the paper: its networks are built and counted at full size; training and search are of small ones on 2,000
// pictures of Fashion-MNIST unless --paper; see README.md.
#include <gradus/app/finish.hpp>
#include <gradus/app/metrics.hpp>
#include <gradus/app/progress.hpp>

#include "draw.hpp"
#include "plan.hpp"

using namespace gradus;
using namespace nasnet;

struct Run {
  std::vector<double> epochs, loss, train, test;
};
struct Child {
  Decisions decisions;
  double accuracy = 0;
  int64_t parameters = 0;
};

data::ImageSet part_of(const data::ImageSet& set, int64_t from, int64_t n) {
  data::ImageSet out;
  const int64_t size = set.channels() * set.height() * set.width();
  out.shape = set.shape, out.shape[0] = n;
  out.pixels.assign(set.pixels.begin() + from * size, set.pixels.begin() + (from + n) * size);
  out.labels.assign(set.labels.begin() + from, set.labels.begin() + from + n);
  return out;
}

/// One network of the search space: trained, then measured on pictures held out.
template <class D>
Child child(const Decisions& a, const Data& d, const Plan& p, uint64_t seed, uint64_t number,
            const std::function<bool()>& tick) {
  const int64_t held_out = std::min<int64_t>(p.child_images, 5000);
  const auto all = some(d, p.child_images + held_out, seed);
  const auto train_set = part_of(all, 0, p.child_images), valid_set = part_of(all, p.child_images, held_out);
  const Cells cells = cells_of(a);
  models::NASNetConfig c = p.net;
  c.normal = cells.normal, c.reduction = cells.reduction, c.normal_cells = p.child_cells, c.filters = p.child_filters;
  c.stem = 3 * c.filters, c.final_keep = 1, c.aux_side = 0, c.imagenet_stem = false;
  manual_seed(seed + 1000 * number);
  Net<D> net(c);
  Training t = p.training;
  t.epochs = p.child_epochs;
  auto pictures = loader(train_set, {}, d, p, true, seed), held = loader(valid_set, {}, d, p, false, 0);
  fit(net, pictures, p.child_images, "none", t, tick, [](int64_t, const Epoch&) {});
  return {a, app::interrupted() ? NAN : guesses(net, held).accuracy, nn::parameter_count(net)};
}
/// p.children networks: drawn evenly, or by a controller that learns from each batch.
template <class D>
std::vector<Child> search(bool learns, const Data& d, const Plan& p, uint64_t seed, const std::function<bool()>& tick) {
  manual_seed(seed);
  Controller<D> controller;
  Ppo<D> ppo(controller, p.search);
  std::vector<Child> all;
  while (static_cast<int64_t>(all.size()) < p.children && !app::interrupted()) {
    std::vector<Decisions> batch;
    const auto n = std::min<int64_t>(p.search.batch, p.children - static_cast<int64_t>(all.size()));
    if (learns) batch = controller.sample(n);
    else
      for (int64_t i = 0; i < n; ++i) batch.push_back(random_decisions(5, seed, all.size() + static_cast<uint64_t>(i)));
    std::vector<double> rewards;
    const Generator kept = generator();  // children are trained with streams of their own
    for (const Decisions& a : batch) {
      all.push_back(child<D>(a, d, p, seed, all.size(), tick));
      rewards.push_back(all.back().accuracy);
    }
    generator() = kept;
    if (learns && !app::interrupted()) ppo.learn(batch, rewards);
  }
  return all;
}

io::Image picture(const data::ImageSet& set, int64_t n) {
  const int64_t C = set.channels(), H = set.height(), W = set.width();
  io::Image image(static_cast<int>(W), static_cast<int>(H), 3);
  for (int64_t y = 0; y < H; ++y)
    for (int64_t x = 0; x < W; ++x)
      for (int c = 0; c < 3; ++c)
        image.at(static_cast<int>(y), static_cast<int>(x), c) =
            set.pixels[static_cast<std::size_t>(((n * C + (C == 1 ? 0 : c)) * H + y) * W + x)];
  return image;
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  const Plan p = make_plan(args, o);
  app::Metrics metrics("nasnet", name_of(args.setting), args.seed_list());
  app::catch_interrupt();
  app::Report report("NASNet");
  report
      .citation("B. Zoph et al., Learning Transferable Architectures for Scalable Image Recognition, CVPR 2018",
                "https://arxiv.org/abs/1707.07012")
      .claim(
          "Two cells found by a controller on CIFAR-10 make, stacked, better and smaller networks than those drawn by hand, if "
          "paths are dropped with a probability that grows over training.");

  if (p.has("count")) {  // tables 1 and 2: sizes, exactly
    app::Table table;
    table.columns = {"network", "parameters", "running statistics", "multiply-adds", "penultimate channels"};
    auto list = published();
    list.push_back({"this run's", p.net, p.side, 0, 0, 0});
    for (const Count& c : list) {
      Net<Cpu> net(c.config);
      const auto parameters = nn::parameter_count(net), statistics = statistics_of(net),
                 madds = net.multiply_adds(c.side, c.side);
      table.row({c.name, std::to_string(parameters), std::to_string(statistics), std::to_string(madds),
                 std::to_string(net.fc.weight.size(1))});
      for (const auto& [what, value, expected] :
           std::vector<std::tuple<std::string, int64_t, int64_t>>{{"parameters", parameters, c.trainable},
                                                                  {"running statistics", statistics, c.statistics},
                                                                  {"multiply-adds", madds, c.multiply_adds}})
        if (expected) metrics.check(c.name + ": " + what, static_cast<double>(value), "==", static_cast<double>(expected));
    }
    std::cout << table.text();
    report.heading("Sizes").table(table, "Networks of the paper, built whole");
  }
  if (p.has("selftest")) {  // ScheduledDropPath
    manual_seed(args.seed);
    const DropDeviation off = drop_deviation<D>(20, 0.6, 20000);
    metrics.check("drop path, 20 cells x 5 times: rate off 1 - k, standard errors", off.dropped, "<=", 4);
    metrics.check("drop path: mean of y off x, standard errors", off.mean, "<=", 4);
    metrics.check("drop path: logits that it changes in evaluation", static_cast<double>(changed_in_evaluation<D>(args.seed)),
                  "==", 0);
    app::Heatmap surface{.title = "Keep probability, NASNet-A (6 @ 768)", .x_label = "part of training", .y_label = "cell"};
    surface.rows = 20, surface.columns = 11, surface.numbers = false;
    for (int64_t c = 0; c < 20; ++c) {
      surface.row_names.push_back(std::to_string(c));
      for (int t = 0; t <= 10; ++t) surface.values.push_back(nn::ScheduledDropPath(c, 20, 0.6).keep_at(t, 10));
    }
    for (int t = 0; t <= 10; ++t) surface.column_names.push_back(app::figure(t / 10.0, 2));
    report.heading("The cells, and what they drop")
        .plot(CellDrawing{"Normal cell of NASNet-A", "", models::nasnet_a_normal()}, "normal")
        .plot(CellDrawing{"Reduction cell of NASNet-A", "", models::nasnet_a_reduction()}, "reduction")
        .plot(surface, "keep");
  }

  const bool needs_data = p.has("train") || p.has("search");
  const Data d = needs_data ? load(args, p) : Data{};
  Plan q = p;
  if (d.train) q.images = d.train->size(), q.net.classes = static_cast<int64_t>(d.train->classes.size());
  const int64_t child_steps = (q.child_images + q.training.batch - 1) / q.training.batch * q.child_epochs;
  int64_t total = q.has("controller") ? q.batches * args.seeds : 0;
  if (q.has("train")) total += q.steps() * static_cast<int64_t>(q.drops.size()) * args.seeds;
  if (q.has("search")) total += 2 * q.children * child_steps;
  app::Progress progress(std::max<int64_t>(1, total), "nasnet");
  const auto tick = [&](const std::string& label) {
    return [&progress, label] {
      progress.step(label);
      return !app::interrupted();
    };
  };

  std::vector<std::vector<double>> rewards;
  if (q.has("controller")) {
    double first = 0, last = 1;
    for (const uint64_t seed : args.seed_list()) {
      rewards.push_back(controller_selftest<D>(seed, q.batches, {}, tick("controller, seed " + std::to_string(seed))));
      const auto& curve = rewards.back();
      if (curve.empty()) break;
      const std::size_t n = std::min<std::size_t>(50, curve.size());
      const double tail =
          std::accumulate(curve.end() - static_cast<std::ptrdiff_t>(n), curve.end(), 0.0) / static_cast<double>(n);
      metrics.add("controller", "first batch", curve[0]);
      metrics.add("controller", "last 50 batches", tail);
      first = std::max(first, std::abs(curve[0] - uniform_share(5))), last = std::min(last, tail);
    }
    metrics.check("controller: reward of the first batch off 0.246769, worst seed", first, "<=", 0.05);
    if (q.batches >= 500 && !app::interrupted())
      metrics.check("controller: reward of the last 50 of 500 batches, worst seed", last, ">=", 0.95);
  }

  std::vector<std::vector<Run>> runs(q.drops.size());
  app::Table epochs;
  epochs.columns = {"drop", "epoch", "loss", "train", "test", "keep of each cell", "dropped in the last"};
  app::ImageGrid shown{.title = "Test pictures and what the last network of the first seed says", .columns = 12};
  if (q.has("train")) {
    for (const uint64_t seed : args.seed_list()) {
      const auto set = some(d, q.images, seed);
      for (std::size_t k = 0; k < q.drops.size() && !app::interrupted(); ++k) {
        const std::string& drop = q.drops[k];
        manual_seed(seed);  // the same weights, order and mirroring for each
        Net<D> net(q.net);
        auto train = loader(set, d.train, d, q, true, seed), test = loader(d.set.test, d.test, d, q, false, 0);
        Run run;
        Guesses last;
        fit(net, train, q.images, drop, q.training, tick(drop + ", seed " + std::to_string(seed)),
            [&](int64_t epoch, const Epoch& e) {
              last = guesses(net, test);
              run.epochs.push_back(static_cast<double>(epoch + 1));
              run.loss.push_back(e.loss), run.train.push_back(e.train), run.test.push_back(last.accuracy);
              if (seed != args.seed) return;
              const Generator kept = generator();
              std::string keep;
              for (const auto& cell : net.cells) keep += (keep.empty() ? "" : " ") + app::figure(1 - cell.drop.p, 3);
              epochs.row({drop, std::to_string(epoch + 1), app::figure(e.loss, 4), app::figure(e.train, 4),
                          app::figure(last.accuracy, 4), keep, app::figure(masks<D>(net.cells.back().drop, 4096).dropped, 3)});
              generator() = kept;
            });
        if (app::interrupted()) break;
        metrics.add(drop, "train accuracy", run.train.back());
        metrics.add(drop, "test accuracy", run.test.back());
        runs[k].push_back(run);
        if (seed != args.seed || k + 1 < q.drops.size() || d.train) continue;
        for (int64_t i = 0; i < std::min<int64_t>(24, d.set.test.size()); ++i) {
          const auto n = static_cast<std::size_t>(i);
          const auto said = static_cast<std::size_t>(last.classes[n]), is = static_cast<std::size_t>(d.set.test.labels[n]);
          shown.add(picture(d.set.test, i), d.names[said] + (said == is ? "" : "\n(" + d.names[is] + ")"),
                    said == is ? app::ImageGrid::good : app::ImageGrid::bad);
        }
      }
    }
  }
  std::vector<Child> arms[2];
  if (q.has("search"))
    for (const bool learns : {false, true})
      arms[learns] = search<D>(learns, d, q, args.seed, tick(learns ? "search, PPO" : "search, random"));
  progress.finish();

  if (args.setting == app::Setting::normal && q.has("train") && !o.own() && !app::interrupted()) {
    const auto of = [&](const char* drop) { return metrics.mean(drop, "test accuracy").mean; };
    metrics.check("test accuracy without drop path", of("none"), ">=", 0.70);
    metrics.check("test accuracy, none - scheduled, points", 100 * (of("none") - of("scheduled")), "<=", 6);
    metrics.check("test accuracy, scheduled - fixed, points", 100 * (of("scheduled") - of("fixed")), ">=", 3);
  }

  // What is shown.
  if (!metrics.table().rows.empty()) {
    std::cout << metrics.table().text();
    report.heading("Training").table(metrics.table(), "Mean ± standard deviation over the seeds");
  }
  for (const char* drop : {"none", "fixed", "scheduled"})
    if (!metrics.values(drop, "test accuracy").empty())
      report.key(std::string("test accuracy, ") + drop, app::figure(100 * metrics.mean(drop, "test accuracy").mean, 3) + " %");
  if (!epochs.rows.empty()) {
    std::cout << epochs.text();
    report.table(epochs, "The first seed, epoch by epoch");
    app::Plot curves{.title = "Test accuracy", .x_label = "epoch", .y_label = "accuracy"};
    for (std::size_t k = 0; k < runs.size(); ++k) {
      std::vector<std::vector<double>> ys;
      for (const Run& r : runs[k]) ys.push_back(r.test);
      if (!ys.empty()) curves.seeds(q.drops[k], runs[k][0].epochs, ys);
    }
    report.plot(curves, "accuracy");
  }
  if (!shown.items.empty()) report.images(shown, "guesses");
  if (!rewards.empty() && !rewards[0].empty()) {
    app::Plot plot{.title = "The controller finds a hidden architecture", .x_label = "batch", .y_label = "mean reward"};
    std::vector<double> x;
    for (std::size_t k = 0; k < rewards[0].size(); ++k) x.push_back(static_cast<double>(k));
    plot.seeds("reward", x, rewards);
    plot.references.push_back({uniform_share(5), "uniform"});
    report.heading("Search").plot(plot, "controller");
  }
  if (!arms[0].empty() && !arms[1].empty()) {
    app::Table table;
    table.columns = {
        "search", "networks", "mean accuracy", "best", "mean of the best 5", "last batch", "parameters of the best"};
    app::Plot plot{.title = "Networks in the order in which they were tried", .x_label = "network", .y_label = "accuracy"};
    for (const bool learns : {false, true}) {
      std::vector<double> x, y;
      for (const Child& c : arms[learns])
        if (!std::isnan(c.accuracy)) x.push_back(static_cast<double>(x.size() + 1)), y.push_back(c.accuracy);
      if (y.empty()) continue;
      plot.points(learns ? "PPO" : "random", x, y);
      const auto mean_of = [](const std::vector<double>& v, std::size_t from, std::size_t to) {
        double sum = 0;
        for (std::size_t i = from; i < to; ++i) sum += v[i];
        return sum / static_cast<double>(to - from);
      };
      const auto best = std::max_element(y.begin(), y.end()) - y.begin();
      const std::size_t batch = std::min<std::size_t>(static_cast<std::size_t>(q.search.batch), y.size());
      const double last = mean_of(y, y.size() - batch, y.size()), mean_all = mean_of(y, 0, y.size());
      const Child& found = arms[learns][static_cast<std::size_t>(best)];
      std::sort(y.rbegin(), y.rend());
      table.row({learns ? "PPO" : "random", std::to_string(y.size()), app::figure(mean_all, 3), app::figure(y[0], 3),
                 app::figure(mean_of(y, 0, std::min<std::size_t>(5, y.size())), 3), app::figure(last, 3),
                 std::to_string(found.parameters)});
      const Cells cells = cells_of(found.decisions);
      const std::string arm = learns ? "PPO" : "random";
      report.plot(CellDrawing{"Best normal cell, " + arm, "", cells.normal}, "best-normal-" + arm)
          .plot(CellDrawing{"Best reduction cell, " + arm, "", cells.reduction}, "best-reduction-" + arm);
    }
    std::cout << table.text();
    report.table(table, "Accuracy on pictures held out; too few networks to tell the arms apart").plot(plot, "search");
  }
  std::cout << metrics.checks_table().text();
  return app::finish(report, metrics, args);
}

int main(int argc, char** argv) {
  Options o;
  const app::Args args = app::parse_args(
      argc, argv, {"nasnet", "Zoph et al. 2018: cells that a controller finds, and ScheduledDropPath"}, {.seeds = 3},
      [&](CLI::App& cli) {
        cli.add_option("--parts", o.parts, "what to run, separated by commas: sizes, drop path, controller, training, search")
            ->delimiter(',')
            ->check(CLI::IsMember({"count", "selftest", "controller", "train", "search"}));
        cli.add_option("--drop", o.drops, "how paths are dropped, separated by commas")
            ->delimiter(',')
            ->check(CLI::IsMember({"none", "fixed", "scheduled"}));
        cli.add_option("--keep", o.keep, "keep probability of the last cell at the end, of all cells if fixed")
            ->check(CLI::Range(0.01, 1.0));
        cli.add_option("--dataset", o.dataset, "pictures; folder: DIR/train and DIR/val with a folder for each class")
            ->check(CLI::IsMember({"fashion-mnist", "mnist", "cifar10", "folder"}));
        cli.add_option("--net", o.net, "network")->check(CLI::IsMember({"small", "cifar", "mobile", "large"}));
        cli.add_option("--n", o.cells, "N, normal cells in each of the three stacks")->check(CLI::Range(1, 100));
        cli.add_option("--filters", o.filters, "F of the first stack")->check(CLI::Range(2, 4096));
        cli.add_option("--images", o.images, "training pictures, a sample for each seed")->check(CLI::Range(10, 2000000));
        cli.add_option("--test", o.test, "test pictures")->check(CLI::Range(10, 100000));
        cli.add_option("--epochs", o.epochs, "epochs")->check(CLI::Range(1, 100000));
        cli.add_option("--batch", o.batch, "pictures a step")->check(CLI::Range(2, 65536));
        cli.add_option("--lr", o.lr, "learning rate")->check(CLI::PositiveNumber);
        cli.add_option("--cutout", o.cutout, "side of the hole, 0: none")->check(CLI::Range(0, 512));
        cli.add_option("--crop", o.crop, "pad by this many pixels and crop")->check(CLI::Range(0, 64));
        cli.add_flag("--aux", o.aux, "an auxiliary head in training, weight 0.4");
        cli.add_option("--children", o.children, "networks that each arm of the search tries")->check(CLI::Range(1, 1000000));
        cli.add_option("--batches", o.batches, "of the controller's self-test")->check(CLI::Range(1, 1000000));
        cli.add_flag("--plan", o.plan, "print networks and sizes, run nothing");
      });
  return app::run([&] {
    app::Args a = args;
    if ((a.setting == app::Setting::smoke || a.setting == app::Setting::quick) && !a.seeds_given) a.seeds = 1;
    if (o.plan) return print_plan(a, o), 0;
    return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
  });
}
