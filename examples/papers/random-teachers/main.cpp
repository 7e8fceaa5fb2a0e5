// F. Sarnthein, G. Bachmann, S. Anagnostidis, T. Hofmann, "Random Teachers are Good Teachers", ICML 2023, arXiv:2302.12091.
//
// Claim: a student that is distilled without labels into a frozen random teacher has better features than its teacher, most of
// all when it starts beside the teacher; its weights hold lottery tickets and lie near a linear basin of the supervised loss.
//
// Differs from the paper: Fashion-MNIST and a small VGG unless --paper; see README.md.
#include <iostream>
#include <map>

#include <gradus/app/image_grid.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/app/finish.hpp>
#include <gradus/io/safetensors.hpp>

#include "plan.hpp"

using namespace gradus;
using namespace rt;

struct Curve {
  std::vector<double> epoch, plain, standard, knn, kl, from_start, from_teacher;
};
using Curves = std::map<std::string, std::vector<Curve>>;  // by student, one for each seed

std::string alpha_name(double alpha) { return "alpha " + app::plain(alpha); }

template <class D>
struct Runner {
  const Plan& p;
  app::Metrics& metrics;
  app::Progress& progress;
  Curves& curves;

  /// Distils, follows the probes and keeps them under `name`.
  void student(const std::string& name, Net<D>& teacher, Net<D>& net, const Tensor<float, D>& pictures, const Task<D>& task,
               uint64_t seed, const Distillation& o) {
    Curve c;
    const auto start = nn::parameter_vector(net), theta_T = nn::parameter_vector(teacher);
    const auto shown = narrow(pictures, 0, 0, std::min<int64_t>(1000, pictures.size(0)));
    const auto look = [&](int64_t epoch) {
      const Probes found = probe(net.encoder, task, p.probe_steps);
      const auto theta = nn::parameter_vector(net);
      c.epoch.push_back(static_cast<double>(epoch)), c.plain.push_back(found.plain), c.standard.push_back(found.standard);
      c.knn.push_back(found.knn), c.kl.push_back(kl(teacher, net, shown, o));
      c.from_start.push_back(norm(theta - start).item()), c.from_teacher.push_back(norm(theta - theta_T).item());
    };
    look(0);
    distil(
        teacher, net, pictures, o, seed + 301,
        [&](int64_t epoch) {
          if (app::interrupted()) return false;
          if (epoch % p.probe_every == 0 || epoch == 1 || epoch == o.epochs) {
            const auto stream = generator();  // the order of the next epoch does not depend on the probes
            look(epoch);
            generator() = stream;
          }
          return true;
        },
        [&] { progress.step(name + ", seed " + std::to_string(seed)); });
    if (app::interrupted()) return;
    add("student, " + name, {c.plain.back(), c.standard.back(), c.knn.back()});
    metrics.add("student, " + name, "KL", c.kl.back());
    metrics.add("student, " + name, "distance from start", c.from_start.back());
    curves[name].push_back(std::move(c));
  }
  void add(const std::string& name, const Probes& found) {
    metrics.add(name, "plain", found.plain), metrics.add(name, "standardised", found.standard),
        metrics.add(name, "k-NN", found.knn);
  }
};

template <class D>
void filters(app::ImageGrid& grid, nn::AnyModule<float, D>& encoder, const std::string& whose) {
  const auto w = nn::parameters(encoder)[0].detach().template to<Cpu>();  // [out, channels, 3, 3]
  const float most = amax(abs(w)).item();
  for (int64_t k = 0; k < std::min<int64_t>(8, w.size(0)); ++k)
    grid.add(io::image_from_chw(w(k).contiguous().to_vector(), static_cast<int>(w.size(1)), 3, 3, -most, most), whose);
}

/// KL and the probe over the plane through the teacher and two students.
template <class D>
void landscape(const Plan& p, Net<D>& teacher, Net<D>& near, Net<D>& far, const Task<D>& task, app::Report& report) {
  const Plane<D> plane(nn::parameter_vector(teacher), nn::parameter_vector(near), nn::parameter_vector(far));
  std::array<double, 2> lo{0, 0}, hi{0, 0};
  for (const auto& c : plane.corner)
    for (std::size_t d : {0, 1}) lo[d] = std::min(lo[d], c[d]), hi[d] = std::max(hi[d], c[d]);
  const int64_t n = p.grid;
  app::Heatmap kls{.title = "log10 KL", .x_label = "towards the student, alpha 0", .y_label = "towards the student, alpha 1"},
      accuracy;
  kls.rows = kls.columns = static_cast<std::size_t>(n);
  const auto at = [&](std::size_t d, int64_t i) {  // a fifth of the width on either side
    return lo[d] + (hi[d] - lo[d]) * (-0.2 + 1.4 * static_cast<double>(i) / static_cast<double>(std::max<int64_t>(1, n - 1)));
  };
  for (int64_t i = 0; i < n; ++i)
    kls.column_names.push_back(app::figure(at(0, i), 2)), kls.row_names.push_back(app::figure(at(1, i), 2));
  std::string corners;
  for (std::size_t k : {0, 1, 2})
    corners += (k ? "; " : "") +
               std::string(k == 0   ? "teacher"
                           : k == 1 ? "student, alpha 0"
                                    : "student, alpha 1") +
               " at (" + app::figure(plane.corner[k][0], 3) + ", " + app::figure(plane.corner[k][1], 3) + ")";
  kls.note = corners;
  accuracy = kls, accuracy.title = "probing accuracy";
  Net<D> net = teacher.copy();
  const Task<D> part{task.train.first(std::min<int64_t>(2000, task.train.size())), task.test, task.classes};
  const auto x = narrow(task.train.x, 0, 0, std::min<int64_t>(256, task.train.size()));
  for (int64_t row = 0; row < n && !app::interrupted(); ++row)
    for (int64_t column = 0; column < n; ++column) {
      nn::set_parameter_vector(net, plane.at(at(0, column), at(1, row)));
      kls.values.push_back(std::log10(std::max(kl(teacher, net, x), 1e-9)));
      const Samples<D> train{embed(net.encoder, part.train.x), part.train.y},
          test{embed(net.encoder, part.test.x), part.test.y};
      accuracy.values.push_back(linear_probe(train, test, part.classes, std::min<int64_t>(300, p.probe_steps)));
    }
  kls.values.resize(kls.rows * kls.columns, NAN), accuracy.values.resize(kls.rows * kls.columns, NAN);
  report.heading("Plane through teacher and students, first seed").plot(kls, "landscape-kl").plot(accuracy, "landscape-probe");
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  const Plan p = plan_of(args, o);
  const auto task = load<D>(p.dataset, args.data, p.train, p.test);
  const int64_t batches = (p.train + p.distil.batch - 1) / p.distil.batch, labelled = (p.train + p.lmc.batch - 1) / p.lmc.batch;
  const auto steps_of = [&](int64_t n) { return (n + p.distil.batch - 1) / p.distil.batch; };
  const auto epochs_for = [&](int64_t n) {
    return std::max<int64_t>(1, p.distil.epochs * batches / steps_of(n));
  };  // as many steps
  int64_t total = args.seeds * (p.distil.epochs * batches * static_cast<int64_t>(p.alphas.size() + (p.noise ? 1 : 0)) +
                                labelled * ((p.paths ? 4 * p.lmc.epochs : 0) + 2 * p.tickets * p.imp.epochs));
  total += p.distil.epochs * batches * static_cast<int64_t>(p.sweep.size() + (p.second ? 1 : 0) + (p.halves ? 1 : 0));
  total += static_cast<int64_t>(p.sizes.size()) * p.distil.epochs * batches;

  app::Metrics metrics("random-teachers", name_of(args.setting), args.seed_list());
  app::catch_interrupt();
  app::Report report("Random teachers are good teachers");
  report.citation("F. Sarnthein et al., Random Teachers are Good Teachers, ICML 2023", "https://arxiv.org/abs/2302.12091")
      .claim(
          "Distilled without labels into a frozen random network, a student's features become better than its teacher's, most "
          "of all when it starts beside the teacher.");
  app::Progress progress(total, "training");
  Curves curves;
  Runner<D> run{p, metrics, progress, curves};
  const auto step = [&] {
    progress.step("supervised");
    return !app::interrupted();
  };
  run.add("raw pixels", probe_pixels(task, p.probe_steps));
  std::map<std::string, std::vector<Path>> paths;
  std::map<std::string, std::vector<Tickets>> tickets;
  app::ImageGrid grid{.title = "Filters of the first layer, first seed: teacher, then the students", .columns = 8, .cell = 36};
  double teacher_moved = 0;
  const std::string near_name = alpha_name(p.alphas[0]);

  for (const uint64_t seed : args.seed_list()) {
    Net<D> teacher(p.net, 1000 + 2 * seed), other(p.net, 1001 + 2 * seed);
    if (o.calibrate && p.net.has_norm()) calibrate(teacher.encoder, task.train.x);
    const auto before = nn::parameter_vector(teacher);
    const auto start = [&](double alpha) { return student_near(teacher, other, alpha); };
    run.add("teacher", probe(teacher.encoder, task, p.probe_steps));
    const Task<D> from = o.from.empty() ? task : load<D>(o.from, args.data, p.train, 1);
    std::vector<Net<D>> students;
    for (const double alpha : p.alphas) {
      if (app::interrupted()) break;
      students.push_back(start(alpha));
      const auto& pictures = from.train.x;
      run.student(alpha_name(alpha) + (o.from.empty() ? "" : ", on " + o.from), teacher, students.back(), pictures, task, seed,
                  p.distil);
      if (seed != args.seed) continue;
      if (alpha == p.alphas[0]) filters(grid, teacher.encoder, "teacher");
      filters(grid, students.back().encoder, alpha_name(alpha));
    }
    if (p.noise && !app::interrupted()) {
      Net<D> student = start(0);
      run.student("noise inputs", teacher, student, noise_like(task.train.x, 500 + seed), task, seed, p.distil);
    }
    if (app::interrupted()) break;
    io::write_safetensors(std::filesystem::path(args.out) / ("student-" + std::to_string(seed) + ".safetensors"),
                          nn::clone_state(students[0]));
    for (const auto& [name, net] :
         {std::pair{std::string("random teacher"), &teacher}, {std::string("student"), &students[0]}}) {
      if (p.paths) {
        const Path path = linear_path(p.net, net->encoder, task, p.lmc, seed, step);
        if (app::interrupted()) break;
        metrics.add("from the " + name, "barrier", path.barrier());
        metrics.add("from the " + name, "error of the ends", (path.error.front() + path.error.back()) / 2);
        paths[name].push_back(path);
      }
      if (p.tickets == 0) continue;
      const Tickets t = lottery(p.net, net->encoder, task, p.imp, p.tickets, seed, step);
      if (app::interrupted()) break;
      for (std::size_t k = 0; k < t.accuracy.size(); ++k)
        metrics.add("from the " + name, app::figure(100 * t.remaining[k], 3) + " % left", t.accuracy[k]);
      tickets[name].push_back(t);
    }
    if (app::interrupted()) break;
    if (seed == args.seed) {  // the first seed alone
      for (const double alpha : p.sweep) {
        Net<D> student = start(alpha);
        run.student(alpha_name(alpha), teacher, student, task.train.x, task, seed, p.distil);
      }
      for (const int64_t n : p.sizes) {
        if (n > p.train) continue;
        Distillation same = p.distil;
        same.epochs = epochs_for(n);
        Net<D> student = start(0);
        run.student(std::to_string(n) + " pictures", teacher, student, task.train.first(n).x, task, seed, same);
      }
      if (p.second) {
        Net<D> next = students[0].copy();
        run.student("second round", students[0], next, task.train.x, task, seed, p.distil);
      }
      if (p.halves) {
        const int64_t half = task.classes / 2;
        const Task<D> upper{task.train.classes(half, task.classes), task.test.classes(half, task.classes), task.classes - half};
        run.add("teacher, upper classes", probe(teacher.encoder, upper, p.probe_steps));
        const auto lower = task.train.classes(0, half);
        Distillation same = p.distil;
        same.epochs = epochs_for(lower.size());
        Net<D> student = start(0);
        run.student("lower classes, probed on upper", teacher, student, lower.x, upper, seed, same);
      }
      if (p.grid > 0 && !app::interrupted()) {
        if (students.size() < 2) {
          students.push_back(start(1));
          distil(
              teacher, students[1], task.train.x, p.distil, seed + 301, [](int64_t) { return !app::interrupted(); }, [] {});
        }
        landscape(p, teacher, students[0], students[1], task, report);
      }
    }
    teacher_moved = std::max(teacher_moved, static_cast<double>(amax(abs(nn::parameter_vector(teacher) - before)).item()));
  }
  progress.finish();

  metrics.check("the teacher's parameters move by", teacher_moved, "==", 0);
  const bool stated =
      !app::interrupted() && args.setting != app::Setting::smoke && args.setting != app::Setting::paper && !o.own();
  const auto mean_of = [&](const std::string& who, const std::string& what) { return metrics.mean(who, what).mean; };
  const std::string zero = "student, " + alpha_name(0), one = "student, " + alpha_name(1);
  if (stated) {
    metrics.check("student less teacher, plain probe", mean_of(zero, "plain") - mean_of("teacher", "plain"), ">=", 0.05);
    if (args.setting != app::Setting::quick)  // its 192 steps are too few: README.md
      metrics.check("student less teacher, standardised probe",
                    mean_of(zero, "standardised") - mean_of("teacher", "standardised"), ">=", 0.015);
    metrics.check("alpha 0 less alpha 1, standardised probe", mean_of(zero, "standardised") - mean_of(one, "standardised"),
                  ">=", 0.03);
    if (p.noise)
      metrics.check("real less noise inputs, plain probe", mean_of(zero, "plain") - mean_of("student, noise inputs", "plain"),
                    ">=", 0.03);
    if (p.paths)
      metrics.check("barrier from the student over that from the random teacher",
                    mean_of("from the student", "barrier") / mean_of("from the random teacher", "barrier"), "<=", 0.7);
    if (p.tickets >= 4) {
      double gain = 0;
      for (const char* level : {"50 % left", "25 % left", "12.5 % left"})
        gain += (mean_of("from the student", level) - mean_of("from the random teacher", level)) / 3;
      metrics.check("tickets from the student less from the random teacher", gain, ">=", 0.005);
    }
  }
  app::Plot plain{.title = "Plain probe", .x_label = "epoch", .y_label = "test accuracy"},
      standard{.title = "Standardised probe", .x_label = "epoch", .y_label = "test accuracy"},
      divergence{.title = "KL(teacher || student)", .x_label = "epoch", .y_label = "KL", .log_y = true},
      moved{.title = "Distance from the start", .x_label = "epoch", .y_label = "|theta - theta(0)|"};
  app::Table each;
  each.columns = {"student", "epoch", "plain", "standardised", "k-NN", "KL", "from start", "from teacher"};
  std::vector<std::pair<double, std::array<double, 2>>> by_alpha;
  for (const auto& [name, list] : curves) {
    const Curve& c = list[0];
    for (std::size_t k = 0; k < c.epoch.size(); ++k)
      each.row({name, app::figure(c.epoch[k], 3), app::figure(c.plain[k], 4), app::figure(c.standard[k], 4),
                app::figure(c.knn[k], 4), app::figure(c.kl[k], 3), app::figure(c.from_start[k], 4),
                app::figure(c.from_teacher[k], 4)});
    if (name.starts_with("alpha ")) by_alpha.push_back({std::stod(name.substr(6)), {c.plain.back(), c.standard.back()}});
    if (list.size() < static_cast<std::size_t>(args.seeds) || name.find("pictures") != name.npos) continue;
    const auto of = [&](auto part) {
      std::vector<std::vector<double>> all;
      for (const Curve& s : list) all.push_back(s.*part);
      return all;
    };
    plain.seeds(name, c.epoch, of(&Curve::plain)), standard.seeds(name, c.epoch, of(&Curve::standard));
    auto positive = of(&Curve::kl);
    for (auto& s : positive)
      for (double& v : s) v = std::max(v, 1e-9);
    divergence.seeds(name, c.epoch, positive), moved.seeds(name, c.epoch, of(&Curve::from_start));
  }
  plain.reference(mean_of("raw pixels", "plain"), "raw pixels").reference(mean_of("teacher", "plain"), "teacher");
  standard.reference(mean_of("teacher", "standardised"), "teacher");
  report.heading("Distillation")
      .plot(plain, "probe-plain")
      .plot(standard, "probe-standardised")
      .plot(divergence, "kl")
      .plot(moved, "distance");
  if (by_alpha.size() > 2) {
    std::sort(by_alpha.begin(), by_alpha.end());
    std::vector<double> x, y, z;
    for (const auto& [alpha, v] : by_alpha) x.push_back(alpha), y.push_back(v[0]), z.push_back(v[1]);
    report.plot(app::Plot{.title = "Start of the student, first seed", .x_label = "alpha", .y_label = "test accuracy"}
                    .line("plain probe", x, y)
                    .line("standardised probe", x, z),
                "alpha");
  }
  app::Plot line{.title = "Between two supervised runs", .x_label = "lambda", .y_label = "test error"},
      prune{.title = "Lottery tickets", .x_label = "weights left", .y_label = "test accuracy", .log_x = true};
  for (const auto& [name, list] : paths) {
    std::vector<std::vector<double>> all;
    for (const Path& v : list) all.push_back(v.error);
    line.seeds("from the " + name, list[0].at, all);
  }
  for (const auto& [name, list] : tickets) {
    std::vector<std::vector<double>> all;
    for (const Tickets& v : list) all.push_back(v.accuracy);
    prune.seeds("from the " + name, list[0].remaining, all);
  }
  if (!paths.empty() || !tickets.empty()) report.heading("Weights of the student");
  if (!paths.empty()) report.plot(line, "path");
  if (!tickets.empty()) report.plot(prune, "tickets");
  if (!grid.items.empty()) report.images(grid, "filters");
  std::cout << each.text() << metrics.table().text() << metrics.checks_table().text();
  report.heading("Figures")
      .table(metrics.table(), "Mean ± standard deviation over the seeds")
      .table(each, "First seed, by epoch");
  return app::finish(report, metrics, args);
}

int main(int argc, char** argv) {
  Options o;
  const app::Args args = app::parse_args(
      argc, argv, {"random-teachers", "Sarnthein et al. 2023: distillation into a random network teaches"}, {.seeds = 3},
      [&](CLI::App& cli) {
        cli.add_option("--enc", o.enc, "encoder")->check(CLI::IsMember({"minivgg", "vgg11", "resnet18"}));
        cli.add_option("--alpha", o.alpha, "starts of students, 0 (the teacher) to 1 (independent); only what is named runs")
            ->delimiter(',')
            ->check(CLI::Range(0.0, 1.0));
        cli.add_option("--epochs", o.epochs, "of distillation")->check(CLI::PositiveNumber);
        cli.add_option("--train", o.train, "pictures to distil and probe on")->check(CLI::PositiveNumber);
        cli.add_option("--batch", o.batch, "pictures a step")->check(CLI::PositiveNumber);
        cli.add_option("--out-dim", o.out_dim, "logits")->check(CLI::Range(2, 1 << 20));
        cli.add_option("--hidden", o.hidden, "width of the head")->check(CLI::PositiveNumber);
        cli.add_flag("--no-rownorm", o.no_rownorm, "the last layer's rows keep their lengths");
        cli.add_flag("--norm", o.norm, "batch normalisation in a VGG");
        cli.add_flag("--calibrate", o.calibrate, "batch statistics of the teacher from one pass over the pictures");
        cli.add_flag("--noise-data", o.noise, "a student on noise");
        cli.add_option("--opt", o.opt, "optimiser")->check(CLI::IsMember({"adamw", "sgd"}));
        cli.add_option("--lr", o.lr, "of distillation")->check(CLI::PositiveNumber);
        cli.add_option("--decay", o.decay, "weight decay of distillation")->check(CLI::NonNegativeNumber);
        cli.add_option("--tau", o.tau, "temperatures of teacher and student")
            ->delimiter(',')
            ->check(CLI::PositiveNumber)
            ->expected(1, 2);
        cli.add_flag("--mse", o.mse, "squared distance of features instead of the head's distributions, with SGD");
        cli.add_option("--probe-steps", o.probe_steps, "steps of a probe")->check(CLI::PositiveNumber);
        cli.add_option("--imp", o.imp, "rounds of magnitude pruning")->check(CLI::Range(0, 20));
        cli.add_flag("--lmc", o.lmc, "linear paths between supervised runs");
        cli.add_flag("--landscape", o.landscape, "the plane through teacher and students");
        cli.add_flag("--second", o.second, "the student becomes the teacher of another");
        cli.add_option("--sizes", o.sizes, "numbers of pictures to distil on, as many steps for each")->delimiter(',');
        const CLI::IsMember sets({"fashion-mnist", "mnist", "cifar10", "cifar100"});
        cli.add_option("--dataset", o.dataset, "pictures to probe on, and to distil on")->check(sets);
        cli.add_option("--from", o.from, "distil on this set instead")->check(sets);
        cli.add_flag("--plan", o.plan, "say what would run");
      });
  return app::run([&] {
    app::Args a = args;
    if ((a.setting == app::Setting::smoke || a.setting == app::Setting::quick) && !a.seeds_given) a.seeds = 1;
    if (o.plan) return print_plan(a, o), 0;
    return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
  });
}
