// V. Subramaniam, D. Mayo, C. Conwell, T. Poggio, B. Katz, B. Cheung, A. Barbu, "Training the Untrainable: Introducing
// Inductive Bias via Representational Alignment", NeurIPS 2025, arXiv:2410.20035.
//
// Claim: a network of an ill-suited architecture generalises better when its layers are pulled towards those of a better suited
// one by 1 - CKA, even where that guide is random.
//
// Differs from the paper: shifted pictures of Fashion-MNIST and small networks instead of ImageNet, unless --paper; see
// README.md.
#include <iostream>
#include <map>

#include <gradus/app/finish.hpp>

#include "plan.hpp"

using namespace gradus;
using namespace guidance;

void record(app::Metrics& metrics, const std::string& name, const Result& r) {
  const Score train = r.curve.train.back(), test = r.curve.test.back();
  metrics.add(name, "train acc. %", train.accuracy), metrics.add(name, "test acc. %", test.accuracy);
  metrics.add(name, "gap", train.accuracy - test.accuracy);
  metrics.add(name, "train loss", train.loss), metrics.add(name, "test loss", test.loss);
  metrics.add(name, "sum of 1 - sim.", r.curve.distance.back());
  metrics.add(name, "similarity, held out", r.held_out());
}

app::Heatmap heat_map(const std::string& title, const Result& r, const std::vector<double>& values) {
  return {.title = title,
          .x_label = "guide layer",
          .y_label = "target layer",
          .rows = r.layers,
          .columns = r.guide_layers,
          .values = values,
          .numbers = r.layers <= 4};
}

/// Curves, heat maps and the pairs of one target's arms. runs[arm][seed]
void show(app::Report& report, app::Table& pairs, const std::string& target, const std::vector<std::string>& names,
          const std::vector<std::vector<Result>>& runs) {
  app::Plot loss{.title = target + ": test loss", .x_label = "epoch", .y_label = "cross-entropy"},
      train{.title = target + ": train loss", .x_label = "epoch", .y_label = "cross-entropy"},
      apart{.title = target + ": distance to the guide", .x_label = "epoch", .y_label = "sum of 1 - similarity"};
  report.heading(target);
  for (std::size_t k = 0; k < runs.size(); ++k) {
    if (runs[k].empty()) continue;
    std::vector<double> epoch;
    std::vector<std::vector<double>> test_loss, train_loss, distance;
    for (const Result& r : runs[k]) {
      test_loss.emplace_back(), train_loss.emplace_back(), distance.push_back(r.curve.distance);
      for (const Score& s : r.curve.test) test_loss.back().push_back(s.loss);
      for (const Score& s : r.curve.train) train_loss.back().push_back(s.loss);
    }
    for (std::size_t e = 1; e <= runs[k][0].curve.test.size(); ++e) epoch.push_back(static_cast<double>(e));
    loss.seeds(names[k], epoch, test_loss), train.seeds(names[k], epoch, train_loss), apart.seeds(names[k], epoch, distance);
    const Result& r = runs[k][0];
    for (const auto& [i, j] : r.pairs) {
      const auto at = static_cast<std::size_t>(i) * r.guide_layers + static_cast<std::size_t>(j);
      pairs.row({target + ", " + names[k], std::to_string(i), std::to_string(j), app::figure(r.before[at], 3),
                 app::figure(r.after[at], 3)});
    }
  }
  report.plot(loss, target + "-test-loss").plot(train, target + "-train-loss").plot(apart, target + "-distance");
  for (std::size_t k = 0; k < runs.size(); ++k) {
    if (runs[k].empty()) continue;
    const Result& r = runs[k][0];
    if (k < 2) report.plot(heat_map(target + ", " + names[k] + ": before", r, r.before), target + "-before-" + names[k]);
    report.plot(heat_map(target + ", " + names[k] + ": after", r, r.after), target + "-after-" + names[k]);
  }
}

template <class D>
void images(const app::Args& args, const Options& o, app::Metrics& metrics, app::Report& report, app::Table& pairs) {
  using Image = Tensor<float, D>;
  using Net = Network<float, D, Image>;
  const ImagePlan plan = image_plan(args, o);
  const bool folder = args.setting == app::Setting::paper && !args.data.empty();
  if (args.setting == app::Setting::paper && !folder)
    fail("--paper", "the folder of ImageNet is missing", {{"--data", "not given"}},
         "--data DIR with DIR/train/CLASS and DIR/val/CLASS", Where::current());
  const auto set = folder ? data::MnistLike() : data::fashion_mnist(args.data);

  std::map<std::string, std::vector<std::vector<Result>>> runs;
  for (const Target& t : plan.targets) runs[t.name].resize(t.arms.size());
  app::Table sweep;
  sweep.columns = {"step size", "train acc. %", "test acc. %", "gap"};
  int64_t touched = 0;
  for (const uint64_t seed : args.seed_list()) {
    if (app::interrupted()) break;
    std::shared_ptr<const Pictures> pictures;
    if (!folder) pictures = std::make_shared<const Pictures>(shifted_pictures(set, plan.images, plan.test, o.shift, seed));
    const auto task_of = [&](int64_t batch) {
      return folder ? folder_task<D>(args.data, batch, seed) : picture_task<D>(pictures, batch, seed);
    };
    const auto task = task_of(std::min(o.batch, plan.images));
    const auto teaching = task_of(plan.guide_batch);
    int64_t steps = plan.guide_epochs * teaching.steps;
    for (const Target& t : plan.targets) steps += static_cast<int64_t>(t.arms.size()) * plan.epochs * task.steps;
    if (seed == args.seed) steps += static_cast<int64_t>(plan.sweep.size()) * plan.epochs * task.steps;
    app::Progress progress(steps, "seed " + std::to_string(seed));
    const auto go_on = [&](const char* what) {
      return [&progress, what](int64_t, double loss) {
        progress.step(what + (", loss " + app::figure(loss, 3)));
        return !app::interrupted();
      };
    };

    manual_seed(seed);
    Net teacher{ResNet<float, D>(plan.guide)}, random{ResNet<float, D>(plan.untrained)};
    const Curve taught = fit<D, Image>(
        teacher, nullptr, teaching, {.epochs = plan.guide_epochs, .lr = plan.guide_lr, .score_at_end = true}, go_on("guide"));
    metrics.add("guide", "train acc. %", taught.train.back().accuracy),
        metrics.add("guide", "test acc. %", taught.test.back().accuracy);
    metrics.add("guide", "gap", taught.train.back().accuracy - taught.test.back().accuracy);
    metrics.add("guide", "train loss", taught.train.back().loss), metrics.add("guide", "test loss", taught.test.back().loss);

    // Matrices of a guide's layers are kept for the arms that follow where they fit into 512 MB.
    const Metric metric = o.metric == "rsa" ? Metric::rsa : Metric::cka;
    const bool keep = !folder && plan.epochs * task.steps * 10 * task.batch * task.batch * 4 < (int64_t{1} << 29);
    Guide<D, Image> guide{teacher, metric, false, keep}, untrained{random, metric, false, keep}, noise{teacher, metric, true};
    const auto make = [&](const Target& t) {
      manual_seed(seed + 1000);  // all arms of a seed begin alike
      return t.fcn ? Net{Fcn<float, D>(*t.fcn)} : Net{ResNet<float, D>(*t.conv)};
    };
    if (seed == args.seed)
      for (const double lr : plan.sweep) {
        Net net = make(plan.targets[0]);
        const Curve c =
            fit<D, Image>(net, nullptr, task, {.epochs = plan.epochs, .lr = lr, .score_at_end = true}, go_on("sweep"));
        const double train = c.train.back().accuracy, test = c.test.back().accuracy;
        sweep.row({app::plain(lr), app::figure(train, 4), app::figure(test, 4), app::figure(train - test, 3)});
      }
    for (const Target& t : plan.targets)
      for (std::size_t k = 0; k < t.arms.size() && !app::interrupted(); ++k) {
        const Arm& arm = t.arms[k];
        Net net = make(t);
        FitOptions f{.epochs = plan.epochs,
                     .lr = plan.lr,
                     .alpha = o.alpha,
                     .guide_steps = arm.kind == Kind::none ? 0 : arm.guide_steps};
        const std::string name = t.name + ", " + arm.name;
        Result r = run_arm(net,
                           arm.kind == Kind::untrained ? untrained
                           : arm.kind == Kind::noise   ? noise
                                                       : guide,
                           task, f, arm.pairs, name, progress);
        if (app::interrupted()) break;
        touched += r.changed;
        record(metrics, name, r);
        runs[t.name][k].push_back(std::move(r));
      }
    progress.finish();
  }
  metrics.check("numbers of a guide that training changed", static_cast<double>(touched), "==", 0);
  if (!o.own() && args.setting != app::Setting::smoke && !app::interrupted() && runs.contains("wide-fcn")) {
    const auto& wide = runs["wide-fcn"];
    const auto mean = [&](std::size_t arm, auto f) {
      double sum = 0;
      for (const Result& r : wide[arm]) sum += f(r);
      return sum / static_cast<double>(wide[arm].size());
    };
    const auto compare = [&](const std::string& name, std::size_t arm, Pairs which) {
      const auto list = pairs_of(static_cast<int64_t>(wide[0][0].guide_layers), static_cast<int64_t>(wide[0][0].layers), which);
      const auto apart = [&](const Result& r) { return r.last_distance(list); };
      const auto alike = [&](const Result& r) { return r.mean_over(list); };
      metrics.check("wide-fcn, " + name + ": sum of 1 - CKA, last epoch, over unguided", mean(arm, apart) / mean(0, apart),
                    "<=", 0.65);
      metrics.check("wide-fcn, " + name + ": CKA of pairs, held out, over unguided by", mean(arm, alike) - mean(0, alike),
                    ">=", 0.05);
    };
    compare("trained", 1, Pairs::all);
    if (wide.size() > 4) compare("trained, last pairs", 4, Pairs::last);
    const auto of = [&](const std::string& name, const char* what) { return metrics.mean(name, what).mean; };
    metrics.check("wide-fcn: test accuracy, trained less unguided",
                  of("wide-fcn, trained", "test acc. %") - of("wide-fcn, none", "test acc. %"), ">=", -0.5);
    for (const std::string guide : {"trained", "untrained"})
      metrics.check("wide-fcn: gap, unguided less " + guide, of("wide-fcn, none", "gap") - of("wide-fcn, " + guide, "gap"),
                    ">=", 1.5);
    metrics.check("test accuracy, guide less unguided", of("guide", "test acc. %") - of("wide-fcn, none", "test acc. %"), ">",
                  0);
  }
  for (const Target& t : plan.targets) {
    std::vector<std::string> names;
    for (const Arm& a : t.arms) names.push_back(a.name);
    show(report, pairs, t.name, names, runs[t.name]);
  }
  if (!sweep.rows.empty()) {
    std::cout << "unguided " << plan.targets[0].name << ", seed " << args.seed << ":\n" << sweep.text();
    report.table(sweep, "Unguided training at other step sizes, one seed");
  }
  if (!folder) {
    app::ImageGrid grid{.title = "Training pictures, moved by up to " + std::to_string(o.shift) + " pixels"};
    const auto p = shifted_pictures(set, 20, 20, o.shift, args.seed);
    for (int64_t i = 0; i < 20; ++i)
      grid.add(
          io::Image(28, 28, 1, std::vector<uint8_t>(p.train.pixels.begin() + i * 784, p.train.pixels.begin() + (i + 1) * 784)),
          data::kFashionMnistClasses[p.train.labels[static_cast<std::size_t>(i)]]);
    report.images(grid, "pictures");
  }
}

template <class D>
void sequences(const app::Args& args, const Options& o, const std::string& name, app::Metrics& metrics, app::Report& report,
               app::Table& pairs) {
  using Net = Network<float, D, Tokens<D>>;
  const SequencePlan plan = sequence_plan(args, o, name);
  const std::vector<std::string> arms = o.guide && *o.guide != "noise" && *o.guide != "none"
                                            ? std::vector<std::string>{"none", *o.guide}
                                            : std::vector<std::string>{"none", "trained", "untrained"};
  const std::string target = name + (plan.target_is_rnn() ? ", RNN" : ", Transformer");
  std::vector<std::vector<Result>> runs(arms.size());
  int64_t touched = 0;
  for (const uint64_t seed : args.seed_list()) {
    if (app::interrupted()) break;
    const auto draw = [&](int64_t n, uint64_t stream) {
      return std::make_shared<const Sequences>(name == "copy" ? copy_sequences(n, plan.least, plan.most, {seed, stream})
                                                              : parity_sequences(n, plan.least, plan.most, {seed, stream}));
    };
    const auto task = sequence_task<D>(draw(plan.train, 1), draw(plan.test, 2), plan.batch, seed, name == "copy" ? 0 : -100);
    app::Progress progress((plan.guide_epochs + static_cast<int64_t>(arms.size()) * plan.epochs) * task.steps,
                           name + ", seed " + std::to_string(seed));
    const auto make = [&](bool rnn) {
      return rnn ? Net{StackedRnn<float, D>(plan.rnn)} : Net{Transformer<float, D>(plan.transformer)};
    };
    manual_seed(seed);
    Net teacher = make(!plan.target_is_rnn()), random = make(!plan.target_is_rnn());
    const Curve taught = fit<D, Tokens<D>>(
        teacher, nullptr, task,
        {.epochs = plan.guide_epochs, .lr = plan.lr, .decoupled = true, .clip = plan.clip, .score_at_end = true},
        [&](int64_t, double loss) {
          progress.step("guide, loss " + app::figure(loss, 3));
          return !app::interrupted();
        });
    metrics.add(name + ", guide", "train acc. %", taught.train.back().accuracy);
    metrics.add(name + ", guide", "test acc. %", taught.test.back().accuracy);
    const Metric metric = o.metric == "rsa" ? Metric::rsa : Metric::cka;
    Guide<D, Tokens<D>> guide{teacher, metric}, untrained{random, metric};
    for (std::size_t k = 0; k < arms.size() && !app::interrupted(); ++k) {
      manual_seed(seed + 1000);
      Net net = make(plan.target_is_rnn());
      FitOptions f{.epochs = plan.epochs, .lr = plan.lr, .alpha = o.alpha, .guide_steps = k == 0 ? 0 : o.guide_steps};
      f.by_token = o.by_token, f.decoupled = true, f.clip = plan.clip;
      Result r = run_arm(net, arms[k] == "untrained" ? untrained : guide, task, f, o.pairs == "last" ? Pairs::last : Pairs::all,
                         target + ", " + arms[k], progress);
      if (app::interrupted()) break;
      touched += r.changed;
      record(metrics, target + ", " + arms[k], r);
      runs[k].push_back(std::move(r));
    }
    progress.finish();
  }
  metrics.check(name + ": numbers of a guide that training changed", static_cast<double>(touched), "==", 0);
  show(report, pairs, target, arms, runs);
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  app::Metrics metrics("training-untrainable", name_of(args.setting), args.seed_list());
  app::catch_interrupt();
  app::Report report("Training the Untrainable");
  report.citation("V. Subramaniam et al., Training the Untrainable, NeurIPS 2025", "https://arxiv.org/abs/2410.20035")
      .claim(
          "Pulling the layers of an ill-suited network towards those of a better suited one, trained or random, makes it "
          "generalise better.");
  const Tensor<double, D> X = Tensor<double>{{1, 0}, {0, 1}, {1, 1}, {2, 0}}.to<D>(),
                          Y = Tensor<double>{{1, 2, 0}, {0, 1, 1}, {3, 0, 1}, {1, 1, 1}}.to<D>();
  metrics.check("CKA of two small matrices, distance from 0.1548203", std::abs(linear_cka(X, Y).item() - 0.1548203),
                "<=", 1e-6);
  metrics.check("RSA of the same, distance from 0.2071128", std::abs(rsa(X, Y).item() - 0.2071128), "<=", 1e-6);
  app::Table pairs;
  pairs.columns = {"arm, first seed", "target layer", "guide layer", "similarity before", "after"};
  if (runs_images(o)) images<D>(args, o, metrics, report, pairs);
  for (const auto& name : sequence_tasks(args, o)) sequences<D>(args, o, name, metrics, report, pairs);
  std::cout << metrics.table().text() << pairs.text() << metrics.checks_table().text();
  report.heading("Figures").table(metrics.table(), "Mean ± standard deviation over the seeds").table(pairs, "Held-out samples");
  return app::finish(report, metrics, args);
}

int main(int argc, char** argv) {
  Options o;
  const app::Args args = app::parse_args(
      argc, argv, {"training-untrainable", "Subramaniam et al. 2024: an ill-suited network guided by another's layers"},
      {.seeds = 3}, [&](CLI::App& cli) {
        cli.add_option("--task", o.task, "one of")->check(CLI::IsMember({"image", "copy", "parity"}));
        cli.add_option("--target", o.target, "one of")->check(CLI::IsMember({"deep-fcn", "wide-fcn", "plain-conv", "rnn"}));
        cli.add_option("--guide", o.guide, "beside unguided training; noise: a trained guide that sees noise")
            ->check(CLI::IsMember({"none", "trained", "untrained", "noise"}));
        cli.add_option("--alpha", o.alpha, "weight of the distance")->check(CLI::NonNegativeNumber)->capture_default_str();
        cli.add_option("--guide-steps", o.guide_steps, "guidance for so many steps; -1: always")->capture_default_str();
        cli.add_option("--metric", o.metric, "of similarity")->check(CLI::IsMember({"cka", "rsa"}))->capture_default_str();
        cli.add_option("--pairs", o.pairs, "all, or of several guide layers on a target layer the last")
            ->check(CLI::IsMember({"all", "last"}))
            ->capture_default_str();
        cli.add_flag("--by-token", o.by_token, "sequences: a similarity for each place, summed");
        cli.add_option("--depth", o.depth, "layers of the target; of plain-conv, blocks a stage")->check(CLI::Range(1, 200));
        cli.add_option("--width", o.width, "of the target")->check(CLI::Range(1, 16384));
        cli.add_option("--batch", o.batch, "samples a step; small ones make CKA say 1 to everything")
            ->check(CLI::Range(2, 65536))
            ->capture_default_str();
        cli.add_option("--shift", o.shift, "pictures are moved by up to so many pixels")
            ->check(CLI::Range(0, 27))
            ->capture_default_str();
        cli.add_option("--epochs", o.epochs, "of the target")->check(CLI::PositiveNumber);
        cli.add_option("--samples", o.images, "training pictures or sequences")->check(CLI::Range(10, 60000));
        cli.add_option("--lr", o.lr, "step size of the target")->check(CLI::PositiveNumber);
        cli.add_flag("--plan", o.plan, "print networks and sizes, run nothing");
      });
  return app::run([&] {
    app::Args a = args;
    if ((a.setting == app::Setting::smoke || a.setting == app::Setting::quick) && !a.seeds_given) a.seeds = 1;
    if (o.plan) return print_plan(a, o), 0;
    return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
  });
}
