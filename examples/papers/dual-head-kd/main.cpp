// P. Yang, C.-C. Zong, S.-J. Huang, L. Feng, B. An, "Dual-Head Knowledge Distillation: Enhancing Logits Utilization with an
// Auxiliary Head", KDD 2025, arXiv:2411.08937.
//
// Claim: a logit-level loss and cross-entropy fight inside one linear classifier, not in the backbone; a head for each loss,
// the second thrown away after training, keeps what both teach.
//
// Differs from the paper: Fashion-MNIST, and pairs of its pictures for 100 classes, with MLPs, unless --paper; see README.md.
#include <iostream>
#include <map>

#include <gradus/app/progress.hpp>
#include <gradus/app/finish.hpp>
#include <gradus/training.hpp>

#include "plan.hpp"

using namespace gradus;
using namespace dhkd;

struct Run {
  std::vector<double> epochs, accuracy, cos_head, cos_backbone, projected;
  double final = 0, aux = NAN, top5 = 0;
  std::vector<double> student, teacher;  // logits of some test samples
};

/// Logits of head 1, or of the auxiliary one, for all samples, in evaluation mode: [N, K].
template <class D>
Tensor<float> all_logits(Net<D>& net, const Task& task, const Samples& s, bool aux = false) {
  nn::eval(net);
  const NoGrad guard;
  std::vector<Tensor<float>> parts;
  for (int64_t b = 0; b < s.size(); b += 1000) {
    const auto x = batch_of(task, s, arange<int64_t>(b, std::min(b + 1000, s.size())), false, 0).x.template to<D>();
    parts.push_back((aux ? net.aux(net.f(x)) : net.logits(x)).template to<Cpu>());
  }
  nn::train(net);
  return cat(parts, 0);
}
/// Trains `net` with a method. teacher: its logits for all samples, or a function of the batch; after(epoch) ends each epoch.
template <class D, class Teacher, class F>
void fit(Net<D>& net, const Task& task, const Samples& s, const Method& m, const Training& o, Teacher&& teacher, Run& run,
         bool probe, app::Progress& progress, const std::string& label, F&& after) {
  optim::Sgd opt(net, {.lr = o.lr, .momentum = o.momentum, .weight_decay = o.decay});
  const auto params = nn::parameters(net);
  const int64_t N = s.size(), each = (N + o.batch - 1) / o.batch, total = each * o.epochs;
  std::vector<int64_t> drops;
  for (const double part : o.drops) drops.push_back(static_cast<int64_t>(std::llround(part * static_cast<double>(total))));
  const auto rate = optim::multi_step(o.lr, drops);
  for (int64_t epoch = 0, step = 0; epoch < o.epochs && !app::interrupted(); ++epoch) {
    const auto order = randperm(N);
    double projected = 0, head = 0, backbone = 0, probes = 0;
    for (int64_t b = 0; b < N && !app::interrupted(); b += o.batch, ++step) {
      const auto index = narrow(order, 0, b, std::min(o.batch, N - b)).contiguous();
      const Samples batch = batch_of(task, s, index, true, static_cast<uint64_t>(epoch));
      const auto x = batch.x.template to<D>();
      const auto y = batch.y.template to<D>();
      opt.zero_grad(), opt.set_lr(rate(step));
      const Parts<D> p = losses(net, m, x, y, m.loss == Loss::ce ? Tensor<float, D>() : teacher(x, index));
      if (probe && step % 20 == 0) {
        const Conflict c = conflict(net, p);
        head += c.head, backbone += c.backbone, ++probes;
      }
      projected += backward(p, params, m.align);
      opt.step();
      progress.step(label);
    }
    run.projected.push_back(projected);
    if (probe) run.cos_head.push_back(head / probes), run.cos_backbone.push_back(backbone / probes);
    after(epoch);
  }
}

template <class D>
struct Teacher {
  std::shared_ptr<Net<D>> net;
  Tensor<float, D> table;  // logits of the training samples, where these are the same in every epoch
  double accuracy = 0;
};

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  app::catch_interrupt();
  app::Metrics metrics("dual-head-kd", name_of(args.setting), args.seed_list());
  const std::vector<Study> list = studies(args, o);
  const bool smoke = args.setting == app::Setting::smoke, stated = !o.own() && !smoke && args.setting != app::Setting::paper;

  std::map<std::string, Task> tasks;
  for (const Study& s : list) {
    if (tasks.contains(s.task)) continue;
    if (s.task == "cifar") tasks[s.task] = cifar_task(args.data);
    else {
      const auto set = data::fashion_mnist(args.data);
      const int64_t train = smoke ? 1000 : 60000, test = smoke ? 500 : 10000;
      tasks[s.task] = s.task == "ten" ? ten_classes(set, train, test) : pairs_task(set, train, test);
    }
  }
  const auto key = [](const Study& s) { return s.task + ", " + s.teacher.name(); };
  int64_t total = 0;
  std::map<std::string, int64_t> teachers_steps;
  for (const Study& s : list) {
    const int64_t B = s.training.batch, runs = static_cast<int64_t>(s.methods.size()) * (s.every_seed ? args.seeds : 1);
    total += runs * s.training.epochs * ((s.train + B - 1) / B);
    teachers_steps[key(s)] = s.teacher_epochs * ((tasks[s.task].train.size() + B - 1) / B);
  }
  if (o.teacher_file.empty())
    for (const auto& [name, steps] : teachers_steps) total += steps;
  app::Progress progress(total, "training");

  std::map<std::string, Teacher<D>> teachers;
  const auto teach = [&](const Study& s) -> Teacher<D>& {
    Teacher<D>& t = teachers[key(s)];
    if (t.net) return t;
    const Task& task = tasks[s.task];
    manual_seed(args.seed + 1000);
    t.net = std::make_shared<Net<D>>(s.teacher, task.inputs(), task.K);
    if (!o.teacher_file.empty()) training::load_module(o.teacher_file, *t.net);
    else {
      Training recipe = s.training;
      recipe.epochs = s.teacher_epochs;
      Run unused;
      fit(
          *t.net, task, task.train, method("CE"), recipe, [](const auto&, const auto&) { return Tensor<float, D>(); }, unused,
          false, progress, "teacher, " + task.name, [](int64_t) {});
      if (!app::interrupted())
        training::save_module(args.out + "/teacher-" + s.task + "-" + s.teacher.name() + ".safetensors", *t.net);
    }
    t.accuracy = training::top_k_accuracy(all_logits(*t.net, task, task.test), task.test.y, 1);
    if (task.training.empty()) t.table = all_logits(*t.net, task, task.train).template to<D>();
    nn::eval(*t.net);
    return t;
  };

  std::map<std::string, std::vector<std::vector<Run>>> runs;  // of a study: [method][seed]
  app::Table table;
  table.columns = {"study", "method", "accuracy %", "auxiliary head %", "top 5 %", "GA: last epoch"};
  for (const Study& s : list) {
    const Task& task = tasks[s.task];
    const Teacher<D>& teacher = teach(s);
    auto& of = runs[s.name];
    of.resize(s.methods.size());
    for (const uint64_t seed : args.seed_list()) {
      if (!s.every_seed && seed != args.seed) continue;
      manual_seed(seed);
      const auto subset = narrow(randperm(task.train.size()), 0, 0, std::min(s.train, task.train.size())).contiguous();
      const Samples train{index_select(task.train.x, 0, subset), index_select(task.train.y, 0, subset)};
      const auto table_of_subset =
          teacher.table.defined() ? index_select(teacher.table, 0, subset.template to<D>()) : Tensor<float, D>();
      const auto says = [&](const Tensor<float, D>& x, const Tensor<int64_t>& index) {
        if (table_of_subset.defined()) return index_select(table_of_subset, 0, index.template to<D>());
        return no_grad([&] { return teacher.net->logits(x); });
      };
      for (std::size_t k = 0; k < s.methods.size() && !app::interrupted(); ++k) {
        const Method& m = s.methods[k];
        manual_seed(seed);
        Net<D> net(s.student, task.inputs(), task.K, m.aux);
        Run run;
        fit(net, task, train, m, s.training, says, run, m.loss == Loss::ce_binary && m.alpha == 1, progress,
            s.name + ", " + m.name + ", seed " + std::to_string(seed), [&](int64_t epoch) {
              run.epochs.push_back(static_cast<double>(epoch + 1));
              run.accuracy.push_back(training::top_k_accuracy(all_logits(net, task, task.test), task.test.y, 1));
            });
        const auto logits = all_logits(net, task, task.test);
        run.final = run.accuracy.empty() ? NAN : run.accuracy.back(), run.top5 = training::top_k_accuracy(logits, task.test.y, 5);
        if (m.aux != Aux::none) run.aux = training::top_k_accuracy(all_logits(net, task, task.test, true), task.test.y, 1);
        if (seed == args.seed && s.every_seed) {
          const int64_t n = std::min<int64_t>(40, task.test.size());
          const auto some = task.test.first(n);
          for (const float v : narrow(logits, 0, 0, n).to_vector()) run.student.push_back(v);
          for (const float v : all_logits(*teacher.net, task, some).to_vector()) run.teacher.push_back(v);
          nn::eval(*teacher.net);
        }
        metrics.add(s.name + ": " + m.name, "accuracy", run.final);
        of[k].push_back(run);
      }
    }
    if (app::interrupted()) break;
    table.row({s.name, "teacher", app::figure(100 * teacher.accuracy, 4), "-", "-", "-"});
    for (std::size_t k = 0; k < s.methods.size(); ++k) {
      std::vector<double> accuracy, aux, top5, projected;
      for (const Run& r : of[k])
        accuracy.push_back(100 * r.final), aux.push_back(100 * r.aux), top5.push_back(100 * r.top5),
            projected.push_back(r.projected.back());
      const auto text = [](const std::vector<double>& v) {
        return std::isnan(v[0]) ? std::string("-") : app::figure(app::mean_std(v), 4);
      };
      table.row({s.name, s.methods[k].name, text(accuracy), text(aux), text(top5), s.methods[k].align ? text(projected) : "-"});
    }
  }
  progress.finish();

  // Acceptance.
  const auto of = [&](const std::string& study, const std::string& name) {
    return metrics.mean(study + ": " + name, "accuracy").mean;
  };
  if (stated && !app::interrupted()) {
    for (const Study& s : list) {
      if (!s.every_seed) continue;
      const double ce = of(s.name, "CE"), both = of(s.name, "CE + BinaryKL"), dual = of(s.name, "DHKD");
      if (s.methods[0].name != "CE" || s.name == "ten classes")
        metrics.check(s.name + ": DHKD less CE", dual - ce, ">=", 0.007);
      else if (s.task == "pairs") metrics.check(s.name + ": DHKD less CE", dual - ce, ">=", 0.015);
      else {
        metrics.check(s.name + ": CE less CE + BinaryKL on one head", ce - both, ">=", 0.004);
        metrics.check(s.name + ": DHKD less CE + BinaryKL on one head", dual - both, ">=", 0.008);
        metrics.check(s.name + ": DHKD less CE", dual - ce, ">=", -0.002);
      }
      if (s.task != "pairs") continue;
      double first = HUGE_VAL, last = HUGE_VAL;  // the smallest over seeds
      for (std::size_t k = 0; k < s.methods.size(); ++k)
        if (s.methods[k].loss == Loss::ce_binary)
          for (const Run& r : runs[s.name][k]) {
            first = std::min(first, r.cos_backbone.front() - r.cos_head.front());
            last = std::min(last, r.cos_backbone.back() - r.cos_head.back());
          }
      metrics.check("pairs, one head: cosine of gradients, backbone less classifier, first epoch, every seed", first,
                    ">=", 0.25);
      metrics.check("the same, last epoch", last, ">=", 0.15);
    }
  }

  // What is shown.
  std::cout << table.text() << metrics.checks_table().text();
  app::Report report("Dual-Head Knowledge Distillation");
  report.citation("P. Yang et al., Dual-Head Knowledge Distillation, KDD 2025", "https://arxiv.org/abs/2411.08937")
      .claim(
          "Cross-entropy and a logit-level loss fight in one linear classifier; with a head each, the backbone learns from "
          "both.")
      .table(table, "Test accuracy of the head that is kept, last epoch, mean ± standard deviation over the seeds");
  for (const Study& s : list) {
    const auto& study = runs[s.name];
    if (study.empty() || study[0].empty()) continue;
    report.heading(s.name);
    if (!s.every_seed) {
      app::Plot sweep{.title = s.name, .x_label = "alpha", .y_label = "test accuracy", .log_x = true};
      std::map<std::string, std::pair<std::vector<double>, std::vector<double>>> lines;
      for (std::size_t k = 0; k < study.size(); ++k) {
        auto& [x, y] = lines[s.methods[k].loss == Loss::dhkd ? "DHKD" : "CE + BinaryKL"];
        x.push_back(s.methods[k].alpha), y.push_back(study[k].empty() ? NAN : study[k][0].final);
      }
      for (const auto& [name, xy] : lines) sweep.line(name, xy.first, xy.second);
      report.plot(sweep, "sweep-" + s.task);
      continue;
    }
    app::Plot curves{.title = s.name, .x_label = "epoch", .y_label = "test accuracy"};
    app::Plot cosines{.title = "CE + BinaryKL on one head: do their gradients agree?", .x_label = "epoch", .y_label = "cosine"};
    for (std::size_t k = 0; k < study.size(); ++k) {
      if (study[k].empty()) continue;
      std::vector<std::vector<double>> accuracy, head, backbone;
      for (const Run& r : study[k])
        accuracy.push_back(r.accuracy), head.push_back(r.cos_head), backbone.push_back(r.cos_backbone);
      curves.seeds(s.methods[k].name, study[k][0].epochs, accuracy);
      if (!head[0].empty())
        cosines.seeds("classifier", study[k][0].epochs, head).seeds("backbone", study[k][0].epochs, backbone);
    }
    report.plot(curves, "accuracy-" + s.name);
    if (!cosines.series.empty()) report.plot(cosines, "cosines-" + s.name);
    app::Plot scatter{
        .title = s.name + ": logits of 40 test samples", .x_label = "teacher", .y_label = "student, the head that is kept"};
    for (std::size_t k = 0; k < study.size(); ++k)
      if (!study[k].empty() &&
          (s.methods[k].loss == Loss::ce || s.methods[k].loss == Loss::ce_binary || s.methods[k].name == "DHKD"))
        scatter.points(s.methods[k].name, study[k][0].teacher, study[k][0].student);
    report.plot(scatter, "logits-" + s.name);
  }
  return app::finish(report, metrics, args);
}

int main(int argc, char** argv) {
  Options o;
  const std::vector<std::string> names{"CE", "KD", "BinaryKL", "CE + BinaryKL", "DHKD"};
  const app::Args args = app::parse_args(
      argc, argv, {"dual-head-kd", "Yang et al. 2025: a head for each of two losses"}, {.seeds = 3}, [&](CLI::App& cli) {
        cli.add_option("--task", o.task, "ten classes, pairs (100 classes), or all")
            ->check(CLI::IsMember({"ten", "pairs", "all"}))
            ->capture_default_str();
        cli.add_option("--method", o.method, "this or one of the next: a run of your own beside CE")
            ->check(CLI::IsMember(names));
        cli.add_option("--alpha", o.alpha, "weight of the logit loss")->check(CLI::NonNegativeNumber);
        cli.add_option("--gamma", o.gamma, "weight of cross-entropy")->check(CLI::NonNegativeNumber);
        cli.add_option("--T", o.T, "temperature of the logit loss")->check(CLI::PositiveNumber);
        cli.add_option("--aux", o.aux, "auxiliary head of DHKD")->check(CLI::IsMember({"linear", "nonlinear"}));
        cli.add_flag("--ga", o.align, "DHKD: the logit loss gives way where gradients conflict");
        cli.add_option("--student", o.student, "widths of the student's hidden layers")->check(CLI::PositiveNumber);
        cli.add_option("--teacher", o.teacher, "widths of the teacher's")->check(CLI::PositiveNumber);
        cli.add_option("--teacher-file", o.teacher_file, "a teacher that an earlier run has saved; with one --task")
            ->check(CLI::ExistingFile);
        cli.add_option("--epochs", o.epochs, "of the student")->check(CLI::PositiveNumber);
        cli.add_option("--train", o.train, "samples for the student")->check(CLI::PositiveNumber);
        cli.add_option("--lr", o.lr, "learning rate")->check(CLI::PositiveNumber);
        cli.add_flag("--plan", o.plan, "print studies and sizes, run nothing");
      });
  return app::run([&] {
    app::Args a = args;
    if (a.setting == app::Setting::smoke && !a.seeds_given) a.seeds = 1;
    if (o.plan) return print_plan(a, o), 0;
    return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
  });
}
