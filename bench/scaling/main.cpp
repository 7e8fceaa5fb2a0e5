// How a training scales with processes: measured here, and computed from it for more.
//
//   mpirun -np 2 build/bin/gradus_scaling --out bench/results/scaling
//
// A GPT is trained by 1, 2, ... ranks with the same batch (strong scaling) and with as many batches as ranks (weak). From the
// time of a step on one rank against its batch, c0 + c1 b, and the time of an all-reduce against its size, which takes two
// messages to each other rank and 2 (P - 1) / P of the bytes, follow two bounds for a step on P ranks:
//
//   c0 + c1 B / P + a(n, P)              nothing of the communication is hidden
//   max(c0 + c1 B / P, a(n, P))          all of it is
//
// The measured steps are set against them, and the same formulas with another network's latency and bandwidth give larger
// clusters.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <gradus/app/args.hpp>
#include <gradus/app/finish.hpp>
#include <gradus/app/plot.hpp>
#include <gradus/app/report.hpp>
#include <gradus/dist.hpp>
#include <gradus/nn.hpp>
#include <gradus/ops.hpp>
#include <gradus/optim.hpp>

namespace {
using namespace gradus;

struct Options {
  int64_t width = 128, layers = 4, length = 64, batch = 32, vocabulary = 256;
  int repeats = 7;
  double latency_us = 5, gbytes = 12.5;  ///< of the cluster that is computed: 100 Gbit/s
  int64_t most = 256;                    ///< ranks
};

struct Gpt {
  nn::Embedding<> tokens;
  nn::LearnedPosition<> position;
  std::vector<nn::TransformerBlock<>> blocks;
  nn::LayerNorm<> norm;
  nn::Linear<> head;
  explicit Gpt(const Options& o)
      : tokens(o.vocabulary, o.width), position(o.length, o.width), norm(o.width), head(o.width, o.vocabulary) {
    for (int64_t k = 0; k < o.layers; ++k)
      blocks.emplace_back(o.width, o.width / 32, nn::BlockOptions{.attention = {.causal = true}});
  }
  Tensor<> forward(const Tensor<int64_t>& ids) const {
    auto h = position(tokens(ids));
    for (const auto& b : blocks) h = b(h);
    return head(norm(h));
  }
  void visit(auto&& f) { f("tokens", tokens), f("position", position), f("blocks", blocks), f("norm", norm), f("head", head); }
};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

/// Seconds of f() on all ranks of the group: the slowest counts.
template <class F>
double time_of(dist::Group& group, int repeats, F f) {
  std::vector<double> times;
  for (int k = 0; k < repeats + 2; ++k) {
    group.barrier();
    const double start = now();
    f();
    const double took = group.max(now() - start);
    if (k >= 2) times.push_back(took);  // the first make buffers
  }
  return median(times);
}

/// A step on `batch` sequences of this rank's own, with the others of the group.
struct Trainer {
  const Options& o;
  dist::Group& group;
  Gpt gpt;
  dist::DataParallel<> parallel;
  optim::AdamW<> opt;
  double waited = 0;
  Trainer(const Options& o, dist::Group& group) : o(o), group(group), gpt(o), parallel(gpt, group), opt(gpt, {.lr = 1e-4}) {}
  double seconds(int64_t batch) {
    const auto ids = randint(0, o.vocabulary, {batch, o.length}), targets = randint(0, o.vocabulary, {batch * o.length});
    std::vector<double> waits;
    const double t = time_of(group, o.repeats, [&] {
      opt.zero_grad();
      cross_entropy(gpt.forward(ids).reshape({-1, o.vocabulary}), targets).backward();
      parallel.finish();
      opt.step();
      waits.push_back(parallel.traffic().waited);
    });
    waited = median(waits);
    return t;
  }
};

/// y = a + b x by least squares of the relative error.
std::pair<double, double> line_through(const std::vector<double>& x, const std::vector<double>& y) {
  double w = 0, wx = 0, wy = 0, wxx = 0, wxy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double k = 1 / (y[i] * y[i]);
    w += k, wx += k * x[i], wy += k * y[i], wxx += k * x[i] * x[i], wxy += k * x[i] * y[i];
  }
  const double b = (w * wxy - wx * wy) / (w * wxx - wx * wx);
  return {(wy - b * wx) / w, b};
}

struct Network {
  double latency = 0, seconds_per_byte = 0;
  /// Each rank sends its parts to all others and then its sum to all others.
  double all_reduce(double bytes, double ranks) const {
    return ranks < 2 ? 0 : 2 * (ranks - 1) * latency + 2 * (ranks - 1) / ranks * bytes * seconds_per_byte;
  }
};

int measure(const app::Args& args, const Options& o, dist::Group& world) {
  manual_seed(args.seed);
  app::Metrics metrics("scaling", app::name_of(args.setting), args.seed_list());
  app::Table steps, sums;
  steps.columns = {"ranks",     "scaling",           "sequences a rank", "step ms",
                   "waited ms", "nothing hidden ms", "all hidden ms",    "efficiency"};
  sums.columns = {"ranks", "KB", "all-reduce ms", "GB/s a rank", "computed ms"};

  // One rank alone: the time of a step against its batch.
  const bool root = world.is_root();
  double parameters = 0;
  std::vector<double> batches, alone;
  {
    dist::Group self(MPI_COMM_SELF);
    if (root) {
      Trainer one(o, self);
      parameters = static_cast<double>(nn::parameter_count(one.gpt));
      for (int64_t b = std::max<int64_t>(1, o.batch / 8); b <= o.batch; b *= 2)
        batches.push_back(static_cast<double>(b)), alone.push_back(one.seconds(b));
    }
    world.barrier();
  }
  const auto [c0, c1] = root ? line_through(batches, alone) : std::pair{0.0, 0.0};
  const auto compute = [c0 = c0, c1 = c1](double b) { return c0 + c1 * b; };

  std::vector<double> ranks, strong, weak;
  Network here;
  for (int P = 2; P <= world.size(); P *= 2) {
    dist::Group group(world, world.rank() < P ? 0 : 1);
    if (world.rank() < P) {
      std::vector<double> bytes, seconds;
      for (int64_t n = 256; n <= (int64_t{1} << 22); n *= 8) {
        std::vector<float> x(static_cast<std::size_t>(n), 1);
        bytes.push_back(4.0 * static_cast<double>(n));
        seconds.push_back(
            time_of(group, o.repeats, [&] { group.start_all_reduce(x.data(), n, dist::Reduce::sum, "a measurement").wait(); }));
      }
      const auto [a, b] = line_through(bytes, seconds);
      here = {std::max(0.0, a) / (2 * (P - 1)), b * P / (2.0 * (P - 1))};
      for (std::size_t i = 0; i < bytes.size(); ++i)
        sums.row({std::to_string(P), app::figure(bytes[i] / 1024), app::figure(1e3 * seconds[i]),
                  app::figure(2.0 * (P - 1) / P * bytes[i] / seconds[i] * 1e-9, 3),
                  app::figure(1e3 * here.all_reduce(bytes[i], P))});
      Trainer trainer(o, group);
      const double gradients = 4 * static_cast<double>(nn::parameter_count(trainer.gpt)), sum = here.all_reduce(gradients, P);
      for (const bool is_weak : {false, true}) {
        const int64_t b = is_weak ? o.batch : std::max<int64_t>(1, o.batch / P);
        const double t = trainer.seconds(b), own = root ? compute(static_cast<double>(b)) : 0;
        const double base = root ? alone.back() : 0;
        steps.row({std::to_string(P), is_weak ? "weak" : "strong", std::to_string(b), app::figure(1e3 * t),
                   app::figure(1e3 * trainer.waited), app::figure(1e3 * (own + sum)), app::figure(1e3 * std::max(own, sum)),
                   app::figure(is_weak ? base / t : base / (P * t), 3)});
        (is_weak ? weak : strong).push_back(t);
        metrics.add((is_weak ? "weak, " : "strong, ") + std::to_string(P) + " ranks", "step ms", 1e3 * t);
      }
      ranks.push_back(P);
    }
    world.barrier();
  }
  if (!root) return 0;

  for (std::size_t i = 0; i < batches.size(); ++i)
    metrics.add("1 rank, " + app::plain(batches[i]) + " sequences", "step ms", 1e3 * alone[i]);
  const Network cluster{o.latency_us * 1e-6, 1e-9 / o.gbytes};
  app::Table computed;
  computed.columns = {"ranks", "strong: step ms", "speed-up", "weak: step ms", "efficiency"};
  std::vector<double> p, lower, upper;
  const double B = static_cast<double>(o.batch);
  for (double P = 1; P <= static_cast<double>(o.most); P *= 2) {
    const double sum = cluster.all_reduce(4 * parameters, P);
    const double open = compute(B / P) + sum, hidden = std::max(compute(B / P), sum), w = compute(B) + sum;
    p.push_back(P), lower.push_back(compute(B) / open), upper.push_back(compute(B) / hidden);
    computed.row({app::plain(P), app::figure(1e3 * hidden, 3) + " to " + app::figure(1e3 * open, 3),
                  app::figure(lower.back(), 3) + " to " + app::figure(upper.back(), 3), app::figure(1e3 * w, 3),
                  app::figure(compute(B) / w, 3)});
  }
  std::cout << steps << "\n" << sums << "\n" << computed;
  app::Report report("A training on several processes");
  report.claim("Measured on this machine, and computed for a cluster with " + app::plain(o.latency_us) + " us and " +
               app::plain(o.gbytes) + " GB/s.");
  report.key("parameters", app::figure(parameters / 1e6, 3) + " M",
             "GPT of " + std::to_string(o.layers) + " layers, width " + std::to_string(o.width));
  report.key("a step alone", app::figure(1e3 * c0, 3) + " + " + app::figure(1e3 * c1, 3) + " b ms",
             "b sequences of " + std::to_string(o.length));
  report.heading("Measured")
      .table(steps, "The batch is " + std::to_string(o.batch) + " sequences, of a rank when scaling is weak")
      .table(sums);
  report.heading("Computed").table(computed, "A rank is as fast as one of this machine.");
  app::Plot plot{
      .title = "Speed-up with the same batch", .x_label = "ranks", .y_label = "speed-up", .log_x = true, .log_y = true};
  plot.line("all communication hidden", p, upper).dashed("none hidden", p, lower);
  std::vector<double> measured;
  for (const double t : strong) measured.push_back(alone.back() / t);
  if (!ranks.empty()) plot.points("measured here", ranks, measured);
  report.plot(plot, "speedup");
  return app::finish(report, metrics, args);
}
}  // namespace

int main(int argc, char** argv) {
  return dist::run(argc, argv, [&](dist::Group& world) {
    Options o;
    app::Args defaults;
    defaults.seeds = 1;
    const app::Args args =
        app::parse_args(argc, argv, {"scaling", "How a training scales with processes"}, defaults, [&](CLI::App& cli) {
          cli.add_option("--width", o.width, "of the GPT, a multiple of 32")->check(CLI::PositiveNumber);
          cli.add_option("--layers", o.layers)->check(CLI::PositiveNumber);
          cli.add_option("--length", o.length, "tokens of a sequence")->check(CLI::PositiveNumber);
          cli.add_option("--batch", o.batch, "sequences")->check(CLI::PositiveNumber);
          cli.add_option("--repeats", o.repeats, "steps that are timed")->check(CLI::PositiveNumber);
          cli.add_option("--latency-us", o.latency_us, "of the network that is computed")->check(CLI::NonNegativeNumber);
          cli.add_option("--gbytes", o.gbytes, "its bandwidth in GB/s")->check(CLI::PositiveNumber);
          cli.add_option("--most", o.most, "ranks that are computed")->check(CLI::PositiveNumber);
        });
    if (args.setting == app::Setting::smoke) o.width = 32, o.layers = 1, o.length = 16, o.batch = 8, o.repeats = 1;
    if (o.width % 32 != 0)
      fail("scaling", "heads of 32", {{"--width", std::to_string(o.width)}}, "a multiple of 32", Where::current());
    return measure(args, o, world);
  });
}
