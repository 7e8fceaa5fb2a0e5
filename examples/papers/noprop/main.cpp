// Q. Li, Y. W. Teh, R. Pascanu, "NoProp: Training Neural Networks without Full Back-propagation or Full Forward-propagation",
// 2025, arXiv:2503.24322.
//
// Claim: the blocks of a classifier can be trained each by itself, as steps of a diffusion over the label's embedding: no
// signal passes between blocks in training, and the chain classifies as well as one trained by back-propagation.
//
// Differs from the paper: Fashion-MNIST with small blocks and few epochs unless --paper; see README.md.
#include <chrono>
#include <iostream>

#include <gradus/app/image_grid.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/app/finish.hpp>

#include "plan.hpp"

using namespace gradus;
using namespace noprop;

struct Run {
  std::vector<double> epochs, accuracy;    // while training
  std::vector<double> own, read;           // along the chain: each block's arg max; p_out of z_t
  std::vector<std::vector<float>> belief;  // of each block: probability of the true class for the first pictures
  std::vector<int64_t> guesses;            // of those
  double final = 0, shuffled = NAN, megabytes = 0, seconds = 0;
  bool repeatable = true, bits = true;
};

inline double share(const Tensor<int64_t>& a, const Tensor<int64_t>& b) { return mean(cast<double>(equal(a, b))).item(); }

/// e_0, ..., e_T for all N pictures: a function of the seed alone, so that batches do not matter.
template <class D>
std::vector<Tensor<float, D>> chain_noise(int64_t T, int64_t N, int64_t d, bool deterministic, uint64_t seed) {
  const auto before = generator();
  manual_seed(seed);
  std::vector<Tensor<float, D>> e;
  for (int64_t t = 0; t <= T; ++t) e.push_back(t > 0 && deterministic ? zeros<float, D>({N, d}) : randn<float, D>({N, d}));
  generator() = before;
  return e;
}

/// Answers for all pictures, and what each block says of them on the way.
struct Answers {
  Tensor<int64_t> classes;                 // [N]
  std::vector<Tensor<int64_t>> own, read;  // [T] of [N]
  std::vector<Tensor<float>> belief;       // [T] of [N, m]
  Tensor<float> last;                      // z_T
};
template <class D>
Answers answers(Chain<D>& net, const Tensor<float>& x, bool deterministic, uint64_t seed, int64_t batch = 500) {
  nn::eval(net);
  const NoGrad guard;
  const int64_t N = x.size(0), T = net.schedule.T();
  const auto noise = chain_noise<D>(T, N, net.labels.W_E.size(1), deterministic, seed);
  std::vector<Tensor<int64_t>> classes;
  std::vector<Tensor<float>> last;
  std::vector<std::vector<Tensor<int64_t>>> own(static_cast<std::size_t>(T)), read(own);
  std::vector<std::vector<Tensor<float>>> belief(own.size());
  for (int64_t b = 0; b < N; b += batch) {
    const int64_t n = std::min(batch, N - b);
    std::vector<Tensor<float, D>> e;
    for (const auto& all : noise) e.push_back(narrow(all, 0, b, n));
    const auto z = net.run(narrow(x, 0, b, n).template to<D>(), e, [&](int64_t t, const auto& logits, const auto& z) {
      const auto k = static_cast<std::size_t>(t - 1);
      own[k].push_back(argmax(logits, 1).template to<Cpu>()),
          read[k].push_back(argmax(net.labels.logits(z), 1).template to<Cpu>());
      belief[k].push_back(softmax(logits, 1).template to<Cpu>());
    });
    classes.push_back(argmax(net.labels.logits(z), 1).template to<Cpu>()), last.push_back(z.template to<Cpu>());
  }
  nn::train(net);
  Answers a{cat(classes, 0), {}, {}, {}, cat(last, 0)};
  for (std::size_t k = 0; k < own.size(); ++k)
    a.own.push_back(cat(own[k], 0)), a.read.push_back(cat(read[k], 0)), a.belief.push_back(cat(belief[k], 0));
  return a;
}

/// f(x, y) for each batch of an epoch in a random order.
template <class D, class F>
void each_batch(const Pictures& p, int64_t batch, F&& f) {
  const int64_t N = p.y.numel();
  const auto order = randperm(N);
  for (int64_t b = 0; b + 1 < N && !app::interrupted(); b += batch) {  // batch norm needs two
    const auto index = narrow(order, 0, b, std::min(batch, N - b));
    f(index_select(p.x, 0, index).template to<D>(), index_select(p.y, 0, index).template to<D>());
  }
}
/// Trains and measures the largest memory of a step beyond what lasts.
template <class F>
double step_megabytes(F&& step) {
  const int64_t before = memory_stats().live;
  reset_peak_memory();
  step();
  return static_cast<double>(memory_stats().peak - before) / (1 << 20);
}

template <class D>
Run run_job(const Job& j, const Pictures& p, uint64_t seed, app::Progress& progress) {
  manual_seed(seed);
  const std::string label = j.name + ", seed " + std::to_string(seed);
  const int64_t d = dimensions(j, p.m);
  Tensor<float, D> start;
  if (j.embed == Embedding::prototype) start = prototypes(p.x, p.y, p.m).template to<D>();
  const Labels<D> labels(p.m, d, j.embed, j.radial, start);
  Run run;
  const auto timed = [&](auto&& f) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    run.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  const auto note = [&](int64_t epoch, double accuracy) {
    run.epochs.push_back(static_cast<double>(epoch + 1)), run.accuracy.push_back(accuracy), run.final = accuracy;
  };
  const auto due = [&](int64_t epoch) {
    return epoch + 1 == j.epochs || (epoch + 1) % std::max<int64_t>(1, j.epochs / 4) == 0;
  };
  const optim::AdamWOptions adamw{.lr = j.lr, .weight_decay = j.decay};

  if (j.variant == Variant::dt || j.variant == Variant::bp) {
    Chain<D> net(j.T, block_of(j), labels);
    std::vector<optim::AdamW<float, D>> of_block;
    for (auto& block : net.blocks) of_block.emplace_back(block, adamw);
    auto common = adamw;
    common.allow_missing_grad = true;  // the chain's loss does not reach a fixed W_E's partners
    optim::AdamW<float, D> of_labels(net.labels, common);
    const auto update = [&](const Tensor<float, D>& loss, int64_t t) {  // t = 0: all blocks
      for (auto& o : of_block) o.zero_grad();
      of_labels.zero_grad();
      loss.backward();
      for (int64_t s = 1; s <= j.T; ++s)
        if (t == 0 || s == t) of_block[static_cast<std::size_t>(s - 1)].step();
      of_labels.step();
    };
    const auto chain_loss = [&](const Tensor<float, D>& x, const Tensor<int64_t, D>& y) {
      std::vector<Tensor<float, D>> e;
      for (int64_t t = 0; t <= j.T; ++t) e.push_back(randn<float, D>({y.numel(), d}));
      return cross_entropy(net.labels.logits(net.run(x, e, [](auto&&...) {})), y);
    };
    for (int64_t epoch = 0; epoch < j.epochs && !app::interrupted(); ++epoch) {
      timed([&] {
        for (int64_t t = j.variant == Variant::dt ? 1 : 0; t <= (j.variant == Variant::dt ? j.T : 0); ++t)
          each_batch<D>(p, j.batch, [&](const auto& x, const auto& y) {
            const auto step = [&] { update(t ? net.loss(t, x, y, j.eta) : chain_loss(x, y), t); };
            if (epoch == j.epochs - 1) run.megabytes = std::max(run.megabytes, step_megabytes(step));
            else step();
            progress.step(label);
          });
      });
      if (due(epoch)) note(epoch, share(answers(net, p.test_x, j.deterministic, seed).classes, p.test_y));
    }
    const Answers a = answers(net, p.test_x, j.deterministic, seed);
    for (const auto& own : a.own) run.own.push_back(share(own, p.test_y));
    for (const auto& read : a.read) run.read.push_back(share(read, p.test_y));
    const int64_t shown = std::min<int64_t>(8, p.test_y.numel());
    for (const auto& belief : a.belief)
      run.belief.push_back(gather(narrow(belief, 0, 0, shown), 1, unsqueeze(narrow(p.test_y, 0, 0, shown), 1)).to_vector());
    run.guesses = narrow(a.classes, 0, 0, shown).to_vector();
    const Answers again = answers(net, p.test_x, j.deterministic, seed),
                  other = answers(net, p.test_x, j.deterministic, seed, 77);
    run.bits = again.last.to_vector() == a.last.to_vector();
    run.repeatable = amax(abs(other.last - a.last)).item() < 1e-4f;
    const auto order = randperm(p.test_y.numel());
    run.shuffled = share(answers(net, index_select(p.test_x, 0, order), j.deterministic, seed).classes, p.test_y);
    return run;
  }
  if (j.variant == Variant::plain) {
    Block<D> net(block_of(j), d, p.m);
    auto without_z = adamw;
    without_z.allow_missing_grad = true;
    optim::AdamW<float, D> opt(net, without_z);
    const auto logits = [&](const Tensor<float, D>& x) { return net.decide(net.see(x), {}); };
    for (int64_t epoch = 0; epoch < j.epochs && !app::interrupted(); ++epoch) {
      timed([&] {
        each_batch<D>(p, j.batch, [&](const auto& x, const auto& y) {
          const auto step = [&] { opt.zero_grad(), cross_entropy(logits(x), y).backward(), opt.step(); };
          run.megabytes = std::max(run.megabytes, step_megabytes(step));
          progress.step(label);
        });
      });
      if (!due(epoch)) continue;
      nn::eval(net);
      note(epoch, share(no_grad([&] { return argmax(logits(p.test_x.template to<D>()), 1); }).template to<Cpu>(), p.test_y));
      nn::train(net);
    }
    return run;
  }
  Continuous<D> net(block_of(j), labels, j.variant == Variant::fm, j.linear_schedule);
  optim::Adam<float, D> opt(nn::parameters(net),
                            {.lr = j.lr, .weight_decay = j.decay, .allow_missing_grad = true});  // FM: no p_out
  const auto z0 = chain_noise<D>(0, p.test_y.numel(), d, false, seed)[0];
  const auto classes = [&] {
    nn::eval(net);
    const NoGrad guard;
    std::vector<Tensor<int64_t>> parts;
    for (int64_t b = 0; b < p.test_y.numel(); b += 500) {
      const int64_t n = std::min<int64_t>(500, p.test_y.numel() - b);
      const auto z = net.run(narrow(p.test_x, 0, b, n).template to<D>(), narrow(z0, 0, b, n), j.steps);
      parts.push_back(argmax(net.scores(z), 1).template to<Cpu>());
    }
    nn::train(net);
    return cat(parts, 0);
  };
  for (int64_t epoch = 0; epoch < j.epochs && !app::interrupted(); ++epoch) {
    timed([&] {
      each_batch<D>(p, j.batch, [&](const auto& x, const auto& y) {
        const auto step = [&] { opt.zero_grad(), net.loss(x, y, j.eta).backward(), opt.step(); };
        run.megabytes = std::max(run.megabytes, step_megabytes(step));
        progress.step(label);
      });
    });
    if (due(epoch)) note(epoch, share(classes(), p.test_y));
  }
  return run;
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  app::catch_interrupt();
  app::Metrics metrics("noprop", name_of(args.setting), args.seed_list());
  const std::vector<Job> list = jobs(args, o);
  const auto set = o.dataset == "cifar10"    ? data::cifar10(args.data)
                   : o.dataset == "cifar100" ? data::cifar100(args.data)
                                             : data::load_mnist_like(args.data, o.dataset);
  const int64_t m = o.dataset == "cifar100" ? 100 : 10;
  int64_t total = 0;
  for (const Job& j : list)
    total += (j.every_seed ? args.seeds : 1) * j.epochs * ((std::min(j.train, set.train.size()) + j.batch - 1) / j.batch) *
             (j.variant == Variant::dt ? j.T : 1);
  app::Progress progress(total, "training");
  std::map<std::string, std::vector<Run>> runs;
  Pictures shown;
  for (const Job& j : list)
    for (const uint64_t seed : args.seed_list()) {
      if ((!j.every_seed && seed != args.seed) || app::interrupted()) continue;
      const Pictures p = pictures(j, set, m, seed);
      if (!shown.x.defined()) shown = p;
      const Run r = run_job<D>(j, p, seed, progress);
      if (app::interrupted()) break;  // half a run says nothing; whole ones are reported
      metrics.add(j.name, "accuracy", r.final);
      if (!r.own.empty()) {
        metrics.add(j.name, "best block", *std::max_element(r.own.begin(), r.own.end()));
        metrics.add(j.name, "shuffled pictures", r.shuffled);
      }
      metrics.add(j.name, "memory of a step, MiB", r.megabytes),
          metrics.add(j.name, "seconds an epoch", r.seconds / static_cast<double>(j.epochs));
      runs[j.name].push_back(r);
    }
  progress.finish();
  if (runs.empty()) return 130;

  const auto accuracy = [&](const char* name, const char* what = "accuracy") { return metrics.mean(name, what).mean; };
  const bool quick = args.setting == app::Setting::quick;
  for (const char* name : {"NoProp-DT", "back-propagation"})
    for (const Run& r : runs[name]) {
      metrics.check(std::string(name) + ": the same noise gives the same bits", r.bits);
      metrics.check(std::string(name) + ": batches of 77 give what batches of 500 give", r.repeatable);
    }
  if (!o.own() && !app::interrupted() && (quick || args.setting == app::Setting::normal)) {
    metrics.check("NoProp-DT: chain", accuracy("NoProp-DT"), ">=", quick ? 0.70 : 0.78);
    metrics.check("NoProp-DT: |accuracy on shuffled pictures - 0.1|",
                  std::abs(accuracy("NoProp-DT", "shuffled pictures") - 0.1), "<=", 0.03);
    if (!quick) {
      metrics.check("NoProp-DT: best single block", accuracy("NoProp-DT", "best block"), ">=", 0.81);
      metrics.check("NoProp-DT less back-propagation through the chain, equal epochs",
                    accuracy("NoProp-DT") - accuracy("back-propagation"), ">=", -0.02);
      metrics.check("NoProp-FM", accuracy("NoProp-FM"), ">=", 0.65);
      metrics.check("NoProp-CT", accuracy("NoProp-CT"), ">=", 0.45);
    }
  }

  std::cout << metrics.table().text() << metrics.checks_table().text();
  app::Report report("NoProp");
  report.citation("Q. Li, Y. W. Teh, R. Pascanu, NoProp, 2025", "https://arxiv.org/abs/2503.24322")
      .claim("Each block learns alone to guess the clean label from the picture and a noised label; in turn they classify.")
      .table(metrics.table(), "Test accuracy, mean ± standard deviation over the seeds");
  app::Plot curves{.title = "Test accuracy while training", .x_label = "epoch", .y_label = "accuracy"};
  app::Plot along{.title = "Test accuracy along the chain", .x_label = "block t", .y_label = "accuracy"};
  for (const Job& j : list) {
    if (runs[j.name].empty()) continue;
    std::vector<std::vector<double>> by_epoch, own, read;
    for (const Run& r : runs[j.name]) by_epoch.push_back(r.accuracy), own.push_back(r.own), read.push_back(r.read);
    curves.seeds(j.name, runs[j.name][0].epochs, by_epoch);
    if (own[0].empty()) continue;
    std::vector<double> t(own[0].size());
    for (std::size_t k = 0; k < t.size(); ++k) t[k] = static_cast<double>(k + 1);
    along.seeds(j.name + ": the block's own answer", t, own).seeds(j.name + ": p_out of z_t", t, read);
  }
  report.plot(curves, "curves");
  if (!along.series.empty()) report.plot(along, "chain");
  if (const auto& dt = runs["NoProp-DT"]; !dt.empty()) {
    const Run& r = dt[0];
    const auto names = o.dataset == "fashion-mnist" ? data::kFashionMnistClasses
                       : o.dataset == "mnist"       ? data::kDigitClasses
                                                    : data::kCifar10Classes;
    const auto name = [&](int64_t k) { return m == 10 ? std::string(names[static_cast<std::size_t>(k)]) : std::to_string(k); };
    app::Heatmap belief{.title = "Probability of the true class after each block", .x_label = "block", .y_label = "picture"};
    app::ImageGrid grid{.title = "The pictures", .note = "said (label)", .columns = 8};
    const std::size_t n = r.guesses.size();
    for (std::size_t i = 0; i < n; ++i) {
      const int64_t label = shown.test_y(static_cast<int64_t>(i)).item();
      belief.row_names.push_back(name(label));
      for (const auto& of_block : r.belief) belief.values.push_back(static_cast<double>(of_block[i]));
      const auto x = shown.test_x(static_cast<int64_t>(i)).contiguous();
      const float lo = amin(x).item(), hi = amax(x).item();
      const int64_t C = x.size(0), H = x.size(1), W = x.size(2);
      std::vector<uint8_t> bytes;
      for (const float v : permute(x, {1, 2, 0}).contiguous().to_vector())
        bytes.push_back(static_cast<uint8_t>(std::lround(255 * (v - lo) / std::max(hi - lo, 1e-6f))));
      grid.add(io::Image(static_cast<int>(W), static_cast<int>(H), static_cast<int>(C), bytes),
               name(r.guesses[i]) + "\n(" + name(label) + ")",
               r.guesses[i] == label ? app::ImageGrid::good : app::ImageGrid::bad);
    }
    belief.rows = n, belief.columns = r.belief.size(), belief.numbers = true;
    for (std::size_t k = 0; k < belief.columns; ++k) belief.column_names.push_back(std::to_string(k + 1));
    report.plot(belief, "belief").images(grid, "pictures");
  }
  return app::finish(report, metrics, args);
}

int main(int argc, char** argv) {
  Options o;
  const app::Args args = app::parse_args(
      argc, argv, {"noprop", "Li et al. 2025: blocks that learn without back-propagation between them"}, {.seeds = 3},
      [&](CLI::App& cli) {
        cli.add_option("--variant", o.variant, "this or one of the next: a single run of your own")
            ->check(CLI::IsMember({"dt", "ct", "fm", "bp", "plain"}));
        cli.add_option("--embed", o.embed, "of the labels")
            ->check(CLI::IsMember({"onehot", "learned", "prototype"}))
            ->capture_default_str();
        cli.add_option("--dim", o.dim, "extent of a learned embedding")->check(CLI::PositiveNumber);
        cli.add_option("--T", o.T, "blocks of the chain")->check(CLI::Range(1, 1000));
        cli.add_option("--eta", o.eta, "weight of the distance to the clean label")->check(CLI::NonNegativeNumber);
        cli.add_option("--epochs", o.epochs, "passes over the pictures")->check(CLI::PositiveNumber);
        cli.add_option("--lr", o.lr, "learning rate")->check(CLI::PositiveNumber);
        cli.add_option("--channels", o.channels, "of the three convolutions")->delimiter(',')->check(CLI::PositiveNumber);
        cli.add_option("--hidden", o.hidden, "width of the linear layers")->check(CLI::Range(2, 65536));
        cli.add_option("--dropout", o.dropout, "behind each pooling")->check(CLI::Range(0.0, 0.99));
        cli.add_option("--pool", o.pool, "pictures are averaged over n x n pixels first")->check(CLI::IsMember({1, 2}));
        cli.add_option("--train", o.train, "pictures to train on")->check(CLI::PositiveNumber);
        cli.add_option("--steps", o.steps, "of Euler's method, CT and FM")->check(CLI::PositiveNumber);
        cli.add_option("--schedule", o.schedule, "CT: gamma learned, or linear in t")
            ->check(CLI::IsMember({"learned", "linear"}))
            ->capture_default_str();
        cli.add_option("--dataset", o.dataset, "where its files are, see --data")
            ->check(CLI::IsMember({"fashion-mnist", "mnist", "cifar10", "cifar100"}))
            ->capture_default_str();
        cli.add_flag("--deterministic", o.deterministic, "no noise after z_0 when answering");
        cli.add_flag("--radial", o.radial, "p_out by distance to the embeddings");
        cli.add_flag("--plan", o.plan, "print methods and sizes, run nothing");
      });
  return app::run([&] {
    app::Args a = args;
    if ((a.setting == app::Setting::smoke || a.setting == app::Setting::quick) && !a.seeds_given) a.seeds = 1;
    if (o.plan) return print_plan(a, o), 0;
    return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
  });
}
