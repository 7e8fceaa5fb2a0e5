// S. Yun, D. Han, S. J. Oh, S. Chun, J. Choe, Y. Yoo, "CutMix: Regularization Strategy to Train Strong Classifiers with
// Localizable Features", ICCV 2019, arXiv:1905.04899.
//
// Claim: pasting a random rectangle of another training picture and mixing the labels by its area makes classifiers more
// accurate, better calibrated and less dependent on single parts of the picture than plain training, Cutout or Mixup.
//
// Differs from the paper: 1,000 pictures of Fashion-MNIST and a small network, so that it over-fits, unless --paper; see
// README.md.
#include <gradus/app/metrics.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/app/finish.hpp>
#include <gradus/optim.hpp>

#include "plan.hpp"

using namespace gradus;
using namespace cutmix;

struct Run {
  std::vector<double> epochs, curve;  // accuracy on test pictures along training
  Figures test;
  double train_accuracy = 0, localised = NAN;
};

constexpr uint64_t kMixing = 0x6375746d6978;  // the mixing's streams: seed ^ this, one a step

/// One epoch; false when it was interrupted.
template <class D, class Opt>
bool train_epoch(Net<float, D>& net, Opt& opt, Pictures& pictures, Mixing mixing, const MixOptions& o, uint64_t seed,
                 uint64_t& step, const std::function<void()>& after) {
  for (auto& batch : pictures) {
    if (app::interrupted()) return false;
    opt.zero_grad();
    step_loss(net, batch, mixing, o, {seed ^ kMixing, step++}).backward();
    opt.step();
    after();
  }
  return true;
}

template <class D>
optim::Sgd<float, D> optimizer(Net<float, D>& net, const Plan& p) {
  return optim::Sgd<float, D>(net, {.lr = p.lr, .momentum = 0.9, .weight_decay = p.decay, .nesterov = true});
}

/// The largest difference between weights after two epochs of plain training and of CutMix with p = 0.
template <class D>
double distance_at_p_0(const Data& d, Plan p, uint64_t seed) {
  p.images = 128, p.net.channels = 4, p.net.kind = "small";
  const auto set = training_set(d, p, seed);
  std::vector<std::vector<float>> weights[2];
  for (const bool mixed : {false, true}) {
    manual_seed(seed);
    Net<float, D> net(p.net);
    auto opt = optimizer(net, p);
    auto pictures = loader(set, d.train, d, p, true, seed);
    p.mix.p = 0;
    uint64_t step = 0;
    for (int epoch = 0; epoch < 2; ++epoch)
      train_epoch(net, opt, pictures, mixed ? Mixing::cutmix : Mixing::none, p.mix, seed, step, [] {});
    for (auto& w : nn::parameters(net)) weights[mixed].push_back(w.detach().template to<Cpu>().to_vector());
  }
  double worst = 0;
  for (std::size_t k = 0; k < weights[0].size(); ++k)
    for (std::size_t i = 0; i < weights[0][k].size(); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(weights[0][k][i]) - static_cast<double>(weights[1][k][i])));
  return worst;
}

io::Image picture(const Tensor<float>& x, int64_t n, const Scale& s, const Tensor<float>& heat = {}) {
  const int64_t C = x.size(1), H = x.size(2), W = x.size(3);
  io::Image image(static_cast<int>(W), static_cast<int>(H), 3);
  for (int64_t y = 0; y < H; ++y)
    for (int64_t j = 0; j < W; ++j)
      for (int c = 0; c < 3; ++c) {
        const int64_t k = C == 1 ? 0 : c;
        double v = static_cast<double>(x.data()[((n * C + k) * H + y) * W + j]) * s.at(s.deviation, k) + s.at(s.mean, k);
        if (heat.defined()) {  // blue for 0, red for 1
          const auto h = static_cast<double>(heat.data()[(n * H + y) * W + j]);
          v = 0.5 * v + 0.5 * (c == 0 ? h : c == 2 ? 1 - h : 0);
        }
        image.at(static_cast<int>(y), static_cast<int>(j), c) =
            static_cast<uint8_t>(std::lround(255 * std::clamp(v, 0.0, 1.0)));
      }
  return image;
}

/// The first pictures as each method shows them to the network, with their labels.
app::ImageGrid mixed_sheet(const data::Batch<float>& batch, const Data& d, const Plan& p) {
  app::ImageGrid grid{.title = "What the networks see", .columns = 8};
  const int64_t n = std::min<int64_t>(8, batch.size());
  const auto name = [&](int64_t i) { return d.names[static_cast<std::size_t>(batch.t.data()[i])]; };
  for (const std::string method : {"none", "Cutout", "Mixup", "CutMix"}) {
    auto x = batch.x.clone();
    data::Mix m;
    if (method == "Cutout") data::augment(x, {data::cutout(p.mix.hole)}, {3, 1});
    if (method == "Mixup") m = data::mixup(x, p.mix.box.alpha, {3, 0});
    grid.row_names.push_back(method);
    for (int64_t i = 0; i < n; ++i) {
      if (method == "CutMix")
        x = batch.x.clone(), m = data::cutmix(x, p.mix.box, {3, static_cast<uint64_t>(i)});  // a box a column
      std::string label = name(i);
      if (!m.partner.empty())
        label += " " + app::figure(m.lambda, 2) + "\n" + name(m.partner[static_cast<std::size_t>(i)]) + " " +
                 app::figure(1 - m.lambda, 2);
      grid.add(picture(x, i, d.scale), label);
    }
  }
  return grid;
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  const Plan p = make_plan(args, o);
  const Data d = load(args, p);
  app::Metrics metrics("cutmix", name_of(args.setting), args.seed_list());
  app::catch_interrupt();
  Plan q = p;  // with what the data says
  if (d.train) q.images = d.train->size(), q.net.classes = static_cast<int64_t>(d.train->classes.size());

  app::Progress progress(q.steps() * static_cast<int64_t>(q.methods.size()) * args.seeds, "training");
  std::vector<std::vector<Run>> runs(q.methods.size());
  std::map<std::string, Tensor<float>> heat;  // of the first seed: class activation maps for half-and-half pictures
  data::Batch<float> shown;
  for (const uint64_t seed : args.seed_list()) {
    const auto set = training_set(d, q, seed);
    for (std::size_t k = 0; k < q.methods.size() && !app::interrupted(); ++k) {
      const std::string& method = q.methods[k];
      const Mixing mixing = kMethods.at(method);
      manual_seed(seed);  // the same weights, order and mirroring for each method
      Net<float, D> net(q.net);
      auto opt = optimizer(net, q);
      auto train = loader(set, d.train, d, q, true, seed), test = loader(d.set.test, d.test, d, q, false, 0);
      Run run;
      uint64_t step = 0;
      for (int64_t epoch = 0; epoch < q.epochs && !app::interrupted(); ++epoch) {
        opt.set_lr(q.lr_at(epoch));
        train_epoch(net, opt, train, mixing, q.mix, seed, step,
                    [&] { progress.step(method + ", seed " + std::to_string(seed)); });
        if ((epoch + 1) % std::max<int64_t>(1, q.epochs / 5) == 0) {
          run.epochs.push_back(static_cast<double>(epoch + 1));
          run.curve.push_back(100 * accuracy(net, test, [](const auto& x) { return x; }));
        }
      }
      if (app::interrupted()) break;
      run.test = figures(net, test, d.scale, q.net.side, q.net.classes);
      auto seen = loader(set, d.train, d, q, false, 0);  // training pictures without mirroring
      run.train_accuracy = accuracy(net, seen, [](const auto& x) { return x; });
      if (q.canvas) run.localised = localisation(net, test, d.test_boxes, o.threshold);
      const Figures& f = run.test;
      for (const auto& [name, v] : std::vector<std::pair<std::string, double>>{{"train", run.train_accuracy},
                                                                               {"test", f.accuracy},
                                                                               {"NLL", f.nll},
                                                                               {"ECE", f.ece},
                                                                               {"centre black", f.centre},
                                                                               {"border black", f.border},
                                                                               {"FGSM", f.fgsm},
                                                                               {"top 2 of halves", f.top_two}})
        metrics.add(method, name, v);
      if (q.canvas) metrics.add(method, "localised", run.localised);
      runs[k].push_back(run);
      if (seed != args.seed) continue;
      if (!shown.x.defined()) shown = *test.begin(), test.seek(0);
      nn::eval(net);
      const auto x = half_and_half(shown.x).template to<D>();
      const auto t = shown.t.template to<D>();
      heat[method + ": left"] = class_activation_maps(net, x, t).template to<Cpu>().contiguous();
      heat[method + ": right"] = class_activation_maps(net, x, roll(t, -1, 0)).template to<Cpu>().contiguous();
    }
  }
  progress.finish();
  if (runs[0].empty()) return 130;

  // Acceptance: what is exact, and the claim over the seeds.
  const int draws = args.setting == app::Setting::smoke ? 20000 : 100000;
  const double slack = args.setting == app::Setting::smoke ? 0.007 : 0.003;
  const BoxStatistics s28 = box_statistics(28, draws, 1), s32 = box_statistics(32, draws, 2);
  metrics.check("28 x 28: |mean lambda - 0.7039|", std::abs(s28.lambda - 0.7039), "<=", slack);
  metrics.check("32 x 32: |mean lambda - 0.7007|", std::abs(s32.lambda - 0.7007), "<=", slack);
  metrics.check("28 x 28: |share of empty boxes - 4 / 28^2|", std::abs(s28.empty - 4.0 / 784),
                "<=", slack > 0.003 ? 0.002 : 0.0008);
  if (!d.train) metrics.check("p = 0: largest difference from plain training", distance_at_p_0<D>(d, p, args.seed), "==", 0);
  const bool both = !metrics.values("none", "test").empty() && !metrics.values("CutMix", "test").empty();
  const auto gain = [&](const char* metric) { return metrics.mean("CutMix", metric).mean - metrics.mean("none", metric).mean; };
  const bool normal = args.setting == app::Setting::normal, quick = args.setting == app::Setting::quick;
  if ((normal || quick) && !o.own() && !app::interrupted()) {
    metrics.check("train accuracy of plain training", metrics.mean("none", "train").mean, ">=", 0.99);
    metrics.check("test accuracy, CutMix - none, points", 100 * gain("test"), ">=", 0.8);
    metrics.check("NLL, CutMix over none", metrics.mean("CutMix", "NLL").mean / metrics.mean("none", "NLL").mean, "<=", 0.88);
    if (normal)
      metrics.check("both labels of halves in the top 2, CutMix - none, points", 100 * gain("top 2 of halves"), ">=", 10);
    metrics.check("accuracy with a black centre, CutMix - none, points", 100 * gain("centre black"), ">=", 6);
  }

  std::cout << metrics.table().text() << metrics.checks_table().text();
  app::Plot curves{.title = "Test accuracy", .x_label = "epoch", .y_label = "%"},
      holes{.title = "Accuracy with a black square in the middle", .x_label = "side, pixels of 28", .y_label = "%"};
  for (std::size_t k = 0; k < runs.size(); ++k) {
    if (runs[k].empty()) continue;
    std::vector<std::vector<double>> curve, hole;
    for (const Run& r : runs[k]) {
      curve.push_back(r.curve), hole.push_back(r.test.holes);
      for (double& v : hole.back()) v *= 100;
    }
    curves.seeds(q.methods[k], runs[k][0].epochs, curve), holes.seeds(q.methods[k], kHoles, hole);
  }
  app::ImageGrid cams{.title = "Where the networks look: maps of both classes of half-and-half pictures", .note = "red: most"};
  const auto halves = half_and_half(shown.x);
  const int64_t count = std::min<int64_t>(6, halves.size(0));
  cams.columns = static_cast<std::size_t>(count);
  cams.row_names.push_back("picture");
  for (int64_t i = 0; i < count; ++i) {
    const auto name = [&](int64_t n) { return d.names[static_cast<std::size_t>(shown.t.data()[n % shown.size()])]; };
    cams.add(picture(halves, i, d.scale), name(i) + " | " + name(i + 1));
  }
  for (const std::string& method : q.methods)
    for (const std::string half : {": left", ": right"}) {
      if (!heat.count(method + half)) continue;
      cams.row_names.push_back(method + half);
      for (int64_t i = 0; i < count; ++i) cams.add(picture(halves, i, d.scale, heat[method + half]));
    }
  const auto set = training_set(d, q, args.seed);
  auto pictures = loader(set, d.train, d, q, true, args.seed);
  app::Report report("CutMix");
  report
      .citation(
          "S. Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features, ICCV 2019",
          "https://arxiv.org/abs/1905.04899")
      .claim(
          "Pasting a rectangle of another picture and mixing the labels by its area gives more accurate, better calibrated "
          "classifiers that use the whole object.");
  if (both)
    report
        .key("test accuracy, CutMix", app::figure(100 * metrics.mean("CutMix", "test").mean, 3) + " %",
             "plain training: " + app::figure(100 * metrics.mean("none", "test").mean, 3) + " %")
        .key("NLL, CutMix", app::figure(metrics.mean("CutMix", "NLL"), 3),
             "plain training: " + app::figure(metrics.mean("none", "NLL"), 3))
        .key("both classes of halves found", app::figure(100 * metrics.mean("CutMix", "top 2 of halves").mean, 3) + " %",
             "plain training: " + app::figure(100 * metrics.mean("none", "top 2 of halves").mean, 3) + " %");
  report.table(metrics.table(), "Mean ± standard deviation over the seeds; shares of test pictures unless it says train")
      .images(mixed_sheet(*pictures.begin(), d, q), "mixed")
      .images(cams, "maps")
      .plot(curves, "accuracy")
      .plot(holes, "holes");
  return app::finish(report, metrics, args);
}

int main(int argc, char** argv) {
  Options o;
  std::vector<std::string> methods;
  for (const auto& [name, mixing] : kMethods) methods.push_back(name);
  const app::Args args = app::parse_args(
      argc, argv, {"cutmix", "Yun et al. 2019: a rectangle of another picture, labels mixed by its area"}, {.seeds = 3},
      [&](CLI::App& cli) {
        cli.add_option("--dataset", o.dataset, "pictures; folder: DIR/train and DIR/val with a folder for each class")
            ->check(CLI::IsMember({"fashion-mnist", "mnist", "cifar10", "cifar100", "folder"}));
        cli.add_option("--methods", o.methods, "what to train with, separated by commas")
            ->delimiter(',')
            ->check(CLI::IsMember(methods));
        cli.add_option("--net", o.net, "network")->check(CLI::IsMember({"small", "pyramidnet", "resnet50"}));
        cli.add_option("--channels", o.channels, "c of the small network")->check(CLI::Range(1, 1024));
        cli.add_option("--depth", o.depth, "layers of PyramidNet, 9 n + 2 (6 n + 2 with --basic)")->check(CLI::Range(8, 2000));
        cli.add_option("--widening", o.widening, "channels that PyramidNet adds over its depth")->check(CLI::Range(0, 4096));
        cli.add_flag("--basic", o.basic, "PyramidNet of two 3 x 3 convolutions a block");
        cli.add_option("--images", o.images, "training pictures, a sample for each seed")->check(CLI::Range(10, 2000000));
        cli.add_option("--test", o.test, "test pictures")->check(CLI::Range(10, 100000));
        cli.add_option("--epochs", o.epochs, "passes over the pictures")->check(CLI::Range(1, 10000));
        cli.add_option("--batch", o.batch, "pictures a step")->check(CLI::Range(2, 65536));
        cli.add_option("--lr", o.lr, "learning rate, a tenth after 1/2 and after 3/4 of the epochs")
            ->check(CLI::PositiveNumber);
        cli.add_option("--wd", o.decay, "weight decay")->check(CLI::NonNegativeNumber);
        cli.add_option("--crop", o.crop, "pad by this many pixels and crop")->check(CLI::Range(0, 64));
        cli.add_option("--p", o.p, "probability that a step mixes (0.5; of ImageNet 1)")->check(CLI::Range(0.0, 1.0));
        cli.add_option("--alpha", o.alpha, "lambda ~ Beta(alpha, alpha)")->check(CLI::PositiveNumber)->capture_default_str();
        cli.add_option("--box", o.box, "uniform centre; normal about the middle; half the side")
            ->check(CLI::IsMember({"uniform", "centre", "fixed"}))
            ->capture_default_str();
        cli.add_option("--label", o.label, "weights of the labels: by area, the larger alone, 1/2 each")
            ->check(CLI::IsMember({"area", "onehot", "half"}))
            ->capture_default_str();
        cli.add_flag("--wsol", o.wsol, "objects on canvases of twice the side, found again by class activation maps");
        cli.add_option("--threshold", o.threshold, "of the maps in --wsol")->check(CLI::Range(0.0, 1.0))->capture_default_str();
        cli.add_flag("--plan", o.plan, "print networks and sizes, run nothing");
      });
  return app::run([&] {
    app::Args a = args;
    if (a.setting == app::Setting::smoke && !a.seeds_given) a.seeds = 1;
    if (o.plan) return print_plan(a, o), 0;
    return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
  });
}
