// What each setting runs.
#pragma once
#include <iostream>
#include <optional>

#include <gradus/app/args.hpp>
#include <gradus/app/table.hpp>

#include "data.hpp"

namespace dhkd {

struct Options {
  std::optional<std::string> method, aux;
  std::optional<double> alpha, gamma, T, lr;
  std::optional<int64_t> epochs, train;
  std::vector<int64_t> student, teacher;
  std::string task = "all", teacher_file;
  bool align = false, plan = false;
  bool own() const {
    return method || aux || alpha || gamma || T || lr || epochs || train || !student.empty() || !teacher.empty() || align;
  }
};

struct Training {
  int64_t epochs = 20, batch = 64;
  double lr = 0.05, momentum = 0.9, decay = 5e-4;
  std::vector<double> drops = {0.625, 0.75, 0.875};  // parts of the training after which the rate is a tenth
};
/// A teacher, a student, and the methods to compare.
struct Study {
  std::string name, task;
  Architecture teacher, student;
  int64_t teacher_epochs = 10, train = 5000;  // of the student
  Training training;
  std::vector<Method> methods;
  bool every_seed = true;
};

inline Method method(const std::string& name, double alpha = 1) {
  if (name == "CE") return {name, Loss::ce};
  if (name == "KD") return {name, Loss::kd, alpha};
  if (name == "BinaryKL") return {name, Loss::binary, alpha};
  if (name == "CE + BinaryKL") return {name, Loss::ce_binary, alpha};
  Method m{name, Loss::dhkd, alpha, 1, 2, Aux::linear};
  if (name == "DHKD, non-linear") m.aux = Aux::nonlinear;
  if (name == "DHKD + GA") m.align = true;
  return m;
}
inline std::vector<Method> methods(std::initializer_list<const char*> names, double alpha = 1) {
  std::vector<Method> list;
  for (const char* name : names) list.push_back(method(name, alpha));
  return list;
}

inline std::vector<Study> studies(const app::Args& args, const Options& o) {
  const bool smoke = args.setting == app::Setting::smoke, quick = args.setting == app::Setting::quick;
  const auto all = methods({"CE", "KD", "BinaryKL", "CE + BinaryKL", "DHKD", "DHKD + GA", "DHKD, non-linear"});
  const auto few = methods({"CE", "KD", "CE + BinaryKL", "DHKD"});
  Study ten{"ten classes", "ten", {{512, 512}}, {{32, 32}}, 10, 5000, {}, all};
  if (smoke) ten.teacher = {{32}}, ten.teacher_epochs = 1, ten.train = 200, ten.training.epochs = 1;
  if (quick) ten.teacher_epochs = 5, ten.training.epochs = 10, ten.methods = few;
  Study narrow = ten;
  narrow.name = "ten classes, width 16, alpha 4", narrow.student = {{16, 16}};
  narrow.methods = methods({"CE", "BinaryKL", "CE + BinaryKL", "DHKD"}, 4);
  Study pairs{"pairs", "pairs", {{256, 256}}, {{64, 64}}, 10, 10000, {}, all};
  if (smoke) pairs.teacher = {{32}}, pairs.teacher_epochs = 1, pairs.train = 200, pairs.training.epochs = 1;
  std::vector<Study> list{ten};
  if (!quick) list.insert(list.end(), {narrow, pairs});
  if (args.setting == app::Setting::normal)
    for (const Study& base : {ten, pairs}) {
      Study sweep = base;
      sweep.name += ", sweep over alpha", sweep.every_seed = false, sweep.methods.clear();
      for (const double alpha : {0.1, 0.3, 1.0, 2.0, 4.0})
        for (const char* name : {"CE + BinaryKL", "DHKD"}) {
          sweep.methods.push_back(method(name, alpha));
          sweep.methods.back().name += ", alpha " + app::plain(alpha);
        }
      list.push_back(sweep);
    }
  if (args.setting == app::Setting::paper) {
    const Training recipe{240, 64, 0.05, 0.9, 5e-4, {150.0 / 240, 180.0 / 240, 210.0 / 240}};
    Study x4{"CIFAR-100, resnet32x4 -> resnet8x4",
             "cifar",
             {{}, 32, {32, 64, 128, 256}},
             {{}, 8, {32, 64, 128, 256}},
             240,
             50000,
             recipe,
             all};
    Study plain{"CIFAR-100, resnet56 -> resnet20", "cifar", {{}, 56}, {{}, 20}, 240, 50000, recipe, all};
    list = {x4, plain};
  }
  std::erase_if(list, [&](const Study& s) { return o.task != "all" && s.task != o.task && s.task != "cifar"; });
  if (!o.own()) return list;
  std::erase_if(list, [](const Study& s) { return !s.every_seed || s.methods[0].alpha != 1; });
  for (Study& s : list) {
    Method m = method(o.method.value_or("DHKD"), o.alpha.value_or(1));
    m.gamma = o.gamma.value_or(1), m.T = o.T.value_or(2), m.align = m.loss == Loss::dhkd && (m.align || o.align);
    if (m.loss == Loss::dhkd && o.aux) m.aux = *o.aux == "nonlinear" ? Aux::nonlinear : Aux::linear;
    s.methods = {method("CE"), m};
    if (m.loss == Loss::ce) s.methods.pop_back();
    if (!o.student.empty()) s.student = {o.student};
    if (!o.teacher.empty()) s.teacher = {o.teacher};
    s.train = o.train.value_or(s.train);
    s.training.epochs = o.epochs.value_or(s.training.epochs), s.training.lr = o.lr.value_or(s.training.lr);
  }
  return list;
}

inline void print_plan(const app::Args& args, const Options& o) {
  app::Table t;
  t.columns = {"study", "teacher",     "parameters",           "student", "parameters", "methods",
               "seeds", "steps a run", "MFLOP a step, student"};
  for (const Study& s : studies(args, o)) {
    const int64_t inputs = s.task == "ten" ? 784 : 392, K = s.task == "ten" ? 10 : 100;
    Net<Cpu> teacher(s.teacher, inputs, K), student(s.student, inputs, K);
    double madds = 0;  // of a sample, forwards
    for (const auto& [name, p] : nn::named_parameters(student)) madds += p.rank() == 2 ? static_cast<double>(p.numel()) : 0;
    if (s.student.depth) {  // each stage halves the side
      const double n = static_cast<double>((s.student.depth - 2) / 6);
      const auto& w = s.student.filters;
      madds += 1024.0 * 9 * 3 * static_cast<double>(w[0]);
      for (std::size_t k = 1; k < 4; ++k) {
        const double area = 1024.0 / static_cast<double>(int64_t{1} << (2 * (k - 1))), in = static_cast<double>(w[k - 1]),
                     out = static_cast<double>(w[k]);
        madds += area * (9 * in * out + 9 * out * out * (2 * n - 1) + (in != out ? in * out : 0));
      }
    }
    t.row({s.name, s.teacher.name(), std::to_string(nn::parameter_count(teacher)), s.student.name(),
           std::to_string(nn::parameter_count(student)), std::to_string(s.methods.size()),
           std::to_string(s.every_seed ? args.seeds : 1),
           std::to_string((s.train + s.training.batch - 1) / s.training.batch * s.training.epochs),
           app::figure(6 * madds * static_cast<double>(s.training.batch) / 1e6, 4)});
  }
  std::cout
      << t.text()
      << "Data: Fashion-MNIST (IDX), 60,000 + 10,000 pictures; --paper: CIFAR-100 in its binary version, 614 MB as float.\n";
}

}  // namespace dhkd
