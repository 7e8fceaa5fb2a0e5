// Y. Chen, S. X. Hu, X. Shen, C. Ai, J. A. K. Suykens, "Compressing Features for Learning with Noisy Labels", IEEE TNNLS 2022,
// arXiv:2206.13140.
//
// Claim: dropping features of the last hidden layer, at random or in order, keeps a network from fitting wrong labels; two such
// networks that then choose each other's training instances (Co-teaching) are better still.
//
// Differs from the paper: Fashion-MNIST and a small network, unless --paper; see README.md.
#include <map>

#include <gradus/app/finish.hpp>
#include <gradus/app/image_grid.hpp>
#include <gradus/app/metrics.hpp>
#include <gradus/app/plot.hpp>

#include "stages.hpp"

using namespace gradus;
using namespace compressing;

/// Both precisions of the identity on n test pictures: the gaps of the means, largest of the two equations.
template <class D>
std::pair<double, double> identity_gaps(Net<float, D>& net, const Source& s, int64_t n) {
  const auto seen = features_of(net, s.set.test, s.norm, n);
  const auto gap = [&]<class T>(T) {
    const auto [logits, w] = mask_logits(net.c, cast<T>(seen.h), cast<T>(net.W.weight.detach()));
    const auto d = decompose(logits, w, one_hot<T>(seen.y, net.c.classes));
    return std::max(d.mean_gap(), d.mean_gap_Z());
  };
  return {gap(float{}), gap(double{})};
}

/// Shares of losses in 40 bins up to `most`.
std::vector<double> shares(const std::vector<double>& losses, double most) {
  std::vector<double> bins(40, 0.0);
  for (const double v : losses)
    bins[static_cast<std::size_t>(std::clamp(40 * v / most, 0.0, 39.0))] += 1 / static_cast<double>(losses.size());
  return bins;
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  const Plan p = make_plan(args, o);
  const Source source = load(args, p);
  app::Metrics metrics("compress-features", name_of(args.setting), args.seed_list());
  app::catch_interrupt();
  app::Progress progress(p.total_steps(args.seeds), "training");
  const bool real = args.setting != app::Setting::smoke, stated = real && args.setting != app::Setting::paper && !o.own();

  // The toy regression.
  std::vector<Toy> toys;
  for (const bool nested : {false, true})
    toys.push_back(
        toy_regression<D>(nested, 0.78125 * static_cast<double>(p.toy_width), p.toy_width, p.toy_steps, args.seed, [&] {
          progress.step(nested ? "toy, nested" : "toy, plain");
          return !app::interrupted();
        }));
  app::Table toy_table;
  toy_table.columns = {"MLP", "features", "RMS distance from the truth", "from the noisy points"};
  const int64_t all_features = p.toy_width;
  for (const auto& [which, k] :
       std::vector<std::pair<int, int64_t>>{{0, all_features}, {1, 1}, {1, 10}, {1, 100}, {1, all_features}}) {
    if (k > all_features) continue;
    const Toy& toy = toys[static_cast<std::size_t>(which)];
    toy_table.row({which ? "nested" : "plain", std::to_string(k), app::figure(toy.error(k, true), 3),
                   app::figure(toy.error(k, false), 3)});
  }

  // Both stages: the same pictures, labels, weights and order for all methods of a seed.
  std::map<Method, std::vector<Stage1>> first;  // of each seed and network
  std::map<Method, std::vector<Stage2>> second;
  std::map<Method, std::pair<double, double>> gaps;
  std::map<Method, double> prefix_gap, beyond;
  std::optional<Split> shown;
  const auto percent = [](double rate) { return app::figure(100 * rate, 3) + " %"; };
  const auto run = [&](double rate, uint64_t seed, bool main_rate) {
    const Split s = split(source, p, rate, seed);
    for (const Method method : p.methods) {
      const std::string name = std::string(name_of(method)) + (main_rate ? "" : ", " + percent(rate) + " noise");
      std::vector<Net<float, D>> nets;
      nets.reserve(2);
      std::vector<Stage1> trained;
      for (int64_t k = 0; k < (main_rate ? p.networks() : 1) && !app::interrupted(); ++k) {
        Config c = p.net;
        c.method = method;
        const uint64_t own = seed + 1000 * static_cast<uint64_t>(k);
        manual_seed(own);
        nets.emplace_back(c);
        trained.push_back(stage_1(nets.back(), p, source, s, own, progress, name + ", seed " + std::to_string(own)));
      }
      if (app::interrupted()) return;
      const auto mean_of = [&](auto f) {
        double sum = 0;
        for (const Stage1& r : trained) sum += f(r) / static_cast<double>(trained.size());
        return sum;
      };
      metrics.add(name, "test, last epoch", mean_of([](const auto& r) { return r.test; }));
      metrics.add(name, "test, best epoch", mean_of([](const auto& r) { return r.test_best; }));
      metrics.add(name, "K*", mean_of([](const auto& r) { return static_cast<double>(r.K); }));
      metrics.add(name, "wrong labels memorised", mean_of([](const auto& r) { return r.fit.memorised; }));
      metrics.add(name, "right labels fitted", mean_of([](const auto& r) { return r.fit.clean; }));
      metrics.add(name, "features for 95 % of the best",
                  mean_of([](const auto& r) { return static_cast<double>(features_for(r.by_k, 0.95)); }));
      if (!main_rate) continue;
      if (seed == args.seed) {
        const auto seen = features_of(nets[0], source.set.test, source.norm, p.identity);
        if (method != Method::ce) gaps[method] = identity_gaps(nets[0], source, p.identity);
        prefix_gap[method] = prefix_distance(nets[0], narrow(seen.h, 0, 0, 50).contiguous());
        beyond[method] = gradient_beyond(nets[0], seen.h, seen.y, p.net.features() / 3);
        shown = s;
      }
      if (p.epochs2 > 0) {
        for (std::size_t k = 0; k < 2 && !p.from_last; ++k) nn::load_state_dict(nets[k], trained[k].best);
        manual_seed(seed + 2000);
        const std::string both = name + " + Co-teaching";
        const Stage2 r = stage_2(nets[0], nets[1], p, source, s, seed, progress, both + ", seed " + std::to_string(seed));
        if (app::interrupted()) return;
        metrics.add(both, "test, both before stage 2", r.test_start);
        metrics.add(both, "test, last epoch", r.test_last), metrics.add(both, "test, best epoch", r.test_best);
        metrics.add(both, "K*", static_cast<double>(r.K));
        metrics.add(both, "wrong labels memorised", r.fit.memorised), metrics.add(both, "right labels fitted", r.fit.clean);
        metrics.add(both, "kept with a right label", r.kept_clean);
        second[method].push_back(r);
      }
      for (Stage1& r : trained) r.best.clear(), first[method].push_back(std::move(r));
    }
  };
  for (const uint64_t seed : args.seed_list()) run(p.rate, seed, true);
  for (const double rate : p.extra) run(rate, args.seed, false);
  progress.finish();

  // Acceptance.
  if (!app::interrupted()) {
    for (const auto& [method, gap] : gaps) {
      const std::string name = name_of(method);
      metrics.check(name + ": risk less bias, variance and entropy; variance less -log Z; float32", gap.first, "<=", 1e-5);
      metrics.check(name + ": the same in float64", gap.second, "<=", 1e-10);
    }
    for (const auto& [method, gap] : prefix_gap) {
      metrics.check(std::string(name_of(method)) + ": logits of prefixes by the running sum, distance", gap, "<=", 1e-5);
      metrics.check(std::string(name_of(method)) + ": gradients of features after the k-th", beyond[method], "==", 0);
    }
    metrics.check("law of k, sigma = 10, D = 512: p of chi-square", law_p_value(10, 512, real ? 100000 : 5000, args.seed), ">",
                  1e-3);
    if (real)
      metrics.check("toy: RMS distance from the truth, first nested feature over the plain MLP",
                    toys[1].error(1, true) / toys[0].error(all_features, true), "<", 1);
  }
  const auto mean = [&](const std::string& method, const std::string& metric) { return metrics.mean(method, metric).mean; };
  if (stated && !app::interrupted()) {
    for (const std::string m : {"Dropout", "Nested"}) {
      if (args.setting == app::Setting::quick) continue;  // these bounds are those of the default
      metrics.check("test accuracy, last epoch, " + m + " less CE",
                    mean(m, "test, last epoch") - mean("CE", "test, last epoch"), ">=", 0.04);
      metrics.check("wrong labels memorised, CE less " + m,
                    mean("CE", "wrong labels memorised") - mean(m, "wrong labels memorised"), ">=", 0.25);
    }
    double nested = 0, ce = HUGE_VAL;
    for (const Stage1& r : first[Method::nested]) nested = std::max(nested, static_cast<double>(features_for(r.by_k, 0.95)));
    for (const Stage1& r : first[Method::ce]) ce = std::min(ce, static_cast<double>(features_for(r.by_k, 0.95)));
    metrics.check("Nested: features for 95 % of the best test accuracy, most of all networks", nested, "<=", 64);
    metrics.check("CE: the same, fewest of all networks", ce, ">", 64);
  }
  if (stated && p.epochs2 > 0 && !app::interrupted()) {
    const auto gain = [&](const std::string& m) {
      return mean(m + " + Co-teaching", "test, best epoch") - mean(m, "test, best epoch");
    };
    metrics.check("Co-teaching: test accuracy of Nested, stage 2 less stage 1, best epochs", gain("Nested"), ">=", 0.01);
    metrics.check("Co-teaching: the same for Dropout", gain("Dropout"), ">=", -0.005);
    for (const Method m : p.methods)
      metrics.check(std::string("Co-teaching, ") + name_of(m) + ": share of kept instances with a right label",
                    mean(std::string(name_of(m)) + " + Co-teaching", "kept with a right label"), ">=", 0.8);
  }

  // What is shown.
  std::cout << metrics.table().text() << toy_table.text() << metrics.checks_table().text();
  app::Report report("Compressing features for learning with noisy labels");
  report
      .citation("Y. Chen et al., Compressing Features for Learning with Noisy Labels, IEEE TNNLS 2022",
                "https://arxiv.org/abs/2206.13140")
      .claim(
          "Dropping features of the last hidden layer keeps a network from fitting wrong labels; two such networks that choose "
          "each other's training instances are better still.");
  for (const Method m : p.methods)
    report.key(std::string("test accuracy, ") + name_of(m), percent(mean(name_of(m), "test, last epoch")),
               "last epoch; " + percent(mean(name_of(m), "wrong labels memorised")) + " of the wrong labels memorised");
  report.table(metrics.table(),
               percent(p.rate) + (p.asymmetric ? " asymmetric" : " symmetric") +
                   " noise unless it says otherwise; mean ± standard deviation over the seeds, each the mean of its "
                   "networks; Co-teaching: both networks together");
  app::Plot by_k{.title = "Test accuracy with the first k features", .x_label = "k", .y_label = "accuracy", .log_x = true},
      test{.title = "Test accuracy along training", .x_label = "epoch", .y_label = "accuracy"},
      memorised{.title = "Wrong labels memorised", .x_label = "epoch", .y_label = "share"},
      bias{.title = "Bias on clean test pictures", .x_label = "epoch", .y_label = "KL(p || q~), nats"},
      variance{.title = "Variance", .x_label = "epoch", .y_label = "E KL(q~ || q(.|z)), nats"},
      tuned{.title = "Co-teaching", .x_label = "epoch of stage 2", .y_label = "test accuracy, both networks"},
      kept{.title = "Co-teaching: kept with a right label", .x_label = "epoch of stage 2", .y_label = "share"};
  for (const Method m : p.methods) {
    const auto& runs = first[m];
    if (runs.empty()) continue;
    std::vector<double> ks;
    for (std::size_t k = 1; k <= runs[0].by_k.size(); ++k) ks.push_back(static_cast<double>(k));
    const auto of = [&](auto f) {
      std::vector<std::vector<double>> list;
      for (const Stage1& r : runs) list.push_back(f(r));
      return list;
    };
    by_k.seeds(name_of(m), ks, of([](const auto& r) { return r.by_k; }));
    test.seeds(name_of(m), runs[0].epochs.number, of([](const auto& r) { return r.epochs.test; }));
    memorised.seeds(name_of(m), runs[0].epochs.number, of([](const auto& r) { return r.epochs.memorised; }));
    bias.seeds(name_of(m), runs[0].epochs.number, of([](const auto& r) { return r.epochs.bias; }));
    variance.seeds(name_of(m), runs[0].epochs.number, of([](const auto& r) { return r.epochs.variance; }));
    for (const Stage2& r : second[m]) {
      if (&r != &second[m][0]) continue;
      std::vector<std::vector<double>> tests, precisions;
      for (const Stage2& q : second[m]) tests.push_back(q.test), precisions.push_back(q.precision);
      tuned.seeds(name_of(m), r.number, tests), kept.seeds(name_of(m), r.number, precisions);
    }
  }
  app::Plot plain{.title = "Toy: plain MLP", .x_label = "x", .y_label = "y"},
      ordered{.title = "Toy: nested", .x_label = "x", .y_label = "y"};
  plain.points("noisy", toys[0].x, toys[0].y)
      .dashed("truth", toys[0].x, toys[0].x)
      .line("all features", toys[0].x, toys[0].by_k.back());
  ordered.points("noisy", toys[1].x, toys[1].y).line("first feature", toys[1].x, toys[1].by_k[0]);
  for (const int64_t k : {10, 100})
    if (k < all_features) ordered.line("first " + std::to_string(k), toys[1].x, toys[1].by_k[static_cast<std::size_t>(k - 1)]);
  ordered.line("all", toys[1].x, toys[1].by_k.back());
  report.plot(test, "test").plot(memorised, "memorised").plot(by_k, "by-k").plot(bias, "bias").plot(variance, "variance");
  if (p.epochs2 > 0) report.plot(tuned, "co-teaching").plot(kept, "kept");
  for (const Method m : p.methods) {
    if (first[m].empty()) continue;
    const Stage1& r = first[m][0];
    const double most = m == Method::ce ? 12 : 6;
    std::vector<double> at;
    for (int i = 0; i < 40; ++i) at.push_back((i + 0.5) * most / 40);
    app::Plot losses{.title = std::string("Losses of training pictures, ") + name_of(m),
                     .x_label = "cross-entropy with the label given",
                     .y_label = "share"};
    losses.line("right labels", at, shares(r.loss_clean, most)).line("wrong labels", at, shares(r.loss_wrong, most));
    report.plot(losses, std::string("losses-") + name_of(m));
  }
  report.heading("The toy regression");
  report.plot(plain, "toy-plain").plot(ordered, "toy-nested").table(toy_table);
  if (shown && !first[p.methods.back()].empty()) {
    const Stage1& r = first[p.methods.back()][0];
    app::ImageGrid grid{.title = std::string("Wrong labels, and what ") + name_of(p.methods.back()) + " says instead",
                        .note = "said, then the label given; a green frame where it is the true class"};
    const auto& set = shown->train;
    const int64_t C = set.channels(), H = set.height(), W = set.width();
    for (std::size_t i = 0; i < r.guesses.size() && grid.items.size() < 20; ++i) {
      if (set.labels[i] == shown->truth[i]) continue;
      io::Image image(static_cast<int>(W), static_cast<int>(H), static_cast<int>(C));
      for (int64_t c = 0; c < C; ++c)
        for (int64_t y = 0; y < H; ++y)
          for (int64_t x = 0; x < W; ++x)
            image.at(static_cast<int>(y), static_cast<int>(x), static_cast<int>(c)) =
                set.pixels[static_cast<std::size_t>(((static_cast<int64_t>(i) * C + c) * H + y) * W + x)];
      const auto said = static_cast<std::size_t>(r.guesses[i]);
      grid.add(image, source.names[said] + "\n(" + source.names[set.labels[i]] + ")",
               said == shown->truth[i] ? app::ImageGrid::good : app::ImageGrid::bad);
    }
    report.images(grid, "wrong-labels");
  }
  return app::finish(report, metrics, args);
}

int main(int argc, char** argv) {
  Options o;
  const app::Args args = app::parse_args(
      argc, argv, {"compress-features", "Chen et al. 2022: dropped features against wrong labels, then Co-teaching"},
      {.seeds = 3}, [&](CLI::App& cli) {
        cli.add_option("--dataset", o.dataset, "pictures")->check(CLI::IsMember({"fashion-mnist", "cifar10", "cifar100"}));
        cli.add_option("--methods", o.methods, "CE, Dropout, Nested, separated by commas")
            ->delimiter(',')
            ->check(CLI::IsMember({"CE", "Dropout", "Nested"}));
        cli.add_option("--noise", o.noise, "any other class, or the one it is mistaken for")
            ->check(CLI::IsMember({"sym", "asym"}))
            ->capture_default_str();
        cli.add_option("--rate", o.rate, "share of wrong labels")->check(CLI::Range(0.0, 0.95))->capture_default_str();
        cli.add_option("--sigma", o.sigma, "width of nested dropout's law (30; paper: 10, CIFAR-100: 100)")
            ->check(CLI::PositiveNumber);
        cli.add_option("--p", o.p, "dropout's probability of dropping (0.5; paper: 0.3, CIFAR-100: 0.7)")
            ->check(CLI::Range(0.0, 0.99));
        cli.add_option("--tau", o.tau, "share that Co-teaching forgets (the noise rate; paper: 0.2)")
            ->check(CLI::Range(0.0, 0.99));
        cli.add_option("--coteach", o.coteach, "each network sees half of a batch, or both see all")
            ->check(CLI::IsMember({"half", "full"}))
            ->capture_default_str();
        cli.add_option("--from", o.from, "stage 2 starts at the best epoch on validation pictures, or at the last")
            ->check(CLI::IsMember({"best", "last"}))
            ->capture_default_str();
        auto* per_sample = cli.add_flag("--persample", o.per_sample, "nested: a k for each picture");
        cli.add_flag("--perbatch", o.per_batch, "nested: a k for each mini-batch (the default)")->excludes(per_sample);
        cli.add_option("--images", o.images, "noisy training pictures")->check(CLI::Range(100, 60000));
        cli.add_option("--epochs", o.epochs, "of stage 1")->check(CLI::Range(1, 10000));
        cli.add_option("--epochs2", o.epochs2, "of stage 2; 0: none")->check(CLI::Range(0, 10000));
        cli.add_option("--lr", o.lr, "learning rate of stage 1")->check(CLI::PositiveNumber);
        cli.add_flag("--no-extra", o.no_extra, "leave out the runs at 20 and 60 % noise");
        cli.add_flag("--plan", o.plan, "print the network and sizes, run nothing");
      });
  return app::run([&] {
    app::Args a = args;
    if ((a.setting == app::Setting::smoke || a.setting == app::Setting::quick) && !a.seeds_given) a.seeds = 1;
    if (o.plan) return print_plan(a, o), 0;
    return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
  });
}
