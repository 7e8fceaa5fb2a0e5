// What each setting runs: targets, guides, sizes.
#pragma once
#include <iostream>
#include <optional>

#include <gradus/app/args.hpp>
#include <gradus/app/table.hpp>

#include "train.hpp"

namespace guidance {

struct Options {
  std::optional<std::string> target, guide, task;
  std::optional<int64_t> depth, width, epochs, images;
  std::optional<double> lr;
  std::string metric = "cka", pairs = "all";
  int64_t guide_steps = -1, batch = 256, shift = 6;
  double alpha = 1;
  bool by_token = false, plan = false;
  /// Images are trained otherwise than the checks are made for.
  bool own() const {
    return target || guide || depth || width || epochs || images || lr || metric != "cka" || pairs != "all" ||
           guide_steps >= 0 || batch != 256 || shift != 6 || alpha != 1;
  }
};

enum class Kind { none, trained, untrained, noise };
struct Arm {
  std::string name;
  Kind kind = Kind::none;
  int64_t guide_steps = -1;
  Pairs pairs = Pairs::all;
};

struct Target {
  std::string name;
  std::optional<FcnConfig> fcn;
  std::optional<ResNetConfig> conv;
  std::vector<Arm> arms;
  Cost cost() const { return fcn ? fcn->cost() : conv->cost(); }
  int64_t layers() const { return fcn ? static_cast<int64_t>(fcn->widths.size()) : convolutions() + 1; }

 private:
  int64_t convolutions() const {
    int64_t n = 1;
    for (const int64_t b : conv->blocks) n += b * (conv->bottleneck ? 3 : 2);
    return n;
  }
};

struct ImagePlan {
  int64_t images = 0, test = 0, epochs = 0, guide_epochs = 0, guide_batch = 0;
  double lr = 0, guide_lr = 0;
  ResNetConfig guide = {}, untrained = {};
  std::vector<Target> targets = {};
  std::vector<double> sweep = {};  // learning rates of unguided training, one seed
};
struct SequencePlan {
  std::string name = {};  // copy or parity
  int64_t train = 0, test = 0, least = 0, most = 0, epochs = 0, guide_epochs = 0, batch = 0;
  double lr = 0;
  SequenceConfig rnn = {}, transformer = {};
  double clip = 1;
  bool target_is_rnn() const { return name == "copy"; }
  const SequenceConfig& target() const { return target_is_rnn() ? rnn : transformer; }
  const SequenceConfig& guide() const { return target_is_rnn() ? transformer : rnn; }
};

inline FcnConfig deep_fcn_paper() {
  FcnConfig c{3 * 224 * 224, 1000, {2048}, 0.1};
  c.widths.resize(48, 1024);
  return c;
}
inline FcnConfig wide_fcn_paper() { return {3 * 224 * 224, 1000, {8192, 8192, 8192}}; }
inline ResNetConfig deep_convnet_paper() {
  ResNetConfig c = resnet50();
  c.shortcuts = false;
  return c;
}

inline ImagePlan image_plan(const app::Args& args, const Options& o) {
  const bool smoke = args.setting == app::Setting::smoke, quick = args.setting == app::Setting::quick,
             paper = args.setting == app::Setting::paper;
  const Pairs pairs = o.pairs == "last" ? Pairs::last : Pairs::all;
  ImagePlan p;
  p.images = o.images.value_or(smoke ? 64 : 4000), p.test = smoke ? 64 : 2000;
  p.epochs = o.epochs.value_or(args.pick<int64_t>(1, 8, 8, 100)), p.lr = o.lr.value_or(1e-3);
  p.guide_epochs = args.pick<int64_t>(1, 12, 12, 100), p.guide_batch = args.pick<int64_t>(32, 128, 128, 256);
  p.guide_lr = paper ? 1e-3 : 2e-3;
  p.guide_batch = std::min(p.guide_batch, p.images);
  p.untrained.widths = {8, 16, 32};
  if (smoke) p.guide.widths = p.untrained.widths = {4, 4, 8};
  if (paper) p.guide = p.untrained = o.target == "plain-conv" ? resnet50() : resnet18();

  const Arm none{"none"}, trained{"trained", Kind::trained, o.guide_steps, pairs},
      untrained{"untrained", Kind::untrained, o.guide_steps, pairs}, noise{"noise", Kind::noise, o.guide_steps, pairs},
      early{"trained, " + std::to_string(paper ? 300 : 60) + " steps", Kind::trained, paper ? 300 : 60, pairs},
      last{"trained, last pairs", Kind::trained, -1, Pairs::last};
  std::vector<Arm> arms{none, trained, untrained};
  if (!quick) arms.push_back(early);
  if (paper || smoke) arms.push_back(noise);
  if (o.guide) {
    arms = {none};
    for (const Arm& a : {trained, untrained, noise})
      if (a.name == *o.guide) arms.push_back(a);
  }
  const int64_t width = o.width.value_or(smoke ? 16 : 256), depth = o.depth.value_or(smoke ? 4 : 24);
  Target wide{
      "wide-fcn",
      FcnConfig{784, 10,
                std::vector<int64_t>(static_cast<std::size_t>(o.target == "wide-fcn" ? o.depth.value_or(3) : 3), width)},
      {},
      arms};
  Target deep{"deep-fcn",
              FcnConfig{784, 10, std::vector<int64_t>(static_cast<std::size_t>(depth), o.width.value_or(smoke ? 8 : 64))},
              {},
              arms};
  ResNetConfig plain{
      .widths = {12, 24, 48}, .blocks = {o.depth.value_or(3), o.depth.value_or(3), o.depth.value_or(3)}, .shortcuts = false};
  if (smoke) plain.widths = {4, 4, 8}, plain.blocks = {1, 1, 1};
  if (o.width) plain.widths = {*o.width, 2 * *o.width, 4 * *o.width};
  if (paper) wide.fcn = wide_fcn_paper(), deep.fcn = deep_fcn_paper(), plain = deep_convnet_paper();
  Target conv{"plain-conv", {}, plain, arms};
  if (!o.guide && !quick && !paper) wide.arms.push_back(last);
  if (quick) p.targets = {wide};
  else if (smoke) p.targets = {wide, deep, conv};
  else p.targets = {wide, deep};
  if (o.target) {
    p.targets.clear();
    for (const Target& t : {wide, deep, conv})
      if (t.name == *o.target) p.targets.push_back(t);
  }
  if (args.setting == app::Setting::normal && !o.own()) p.sweep = {3e-4, 1e-3, 3e-3, 1e-2};
  return p;
}

inline SequencePlan sequence_plan(const app::Args& args, const Options& o, const std::string& name) {
  const bool smoke = args.setting == app::Setting::smoke, paper = args.setting == app::Setting::paper, copy = name == "copy";
  SequencePlan p;
  p.name = name;
  p.train = o.images.value_or(smoke ? 32 : paper ? 50000 : 5120), p.test = smoke ? 32 : 1024;
  p.least = paper && copy ? 20 : copy ? 5 : 2;
  p.most = smoke ? 6 : paper ? (copy ? 40 : 50) : copy ? 10 : 16;
  p.epochs = o.epochs.value_or(smoke ? 1 : paper ? 100 : copy ? 12 : 20);
  p.guide_epochs = smoke ? 1 : paper ? 100 : copy ? 15 : 60;
  p.batch = smoke ? 16 : o.batch, p.lr = o.lr.value_or(1e-3);
  p.batch = std::min(p.batch, p.train);
  SequenceConfig c;
  c.vocabulary = c.classes = 13;
  if (!copy) c.vocabulary = 3, c.classes = 2;
  c.pooled = !copy, c.causal = copy, c.longest = copy ? 2 * p.most + 2 : p.most;
  c.hidden = o.width.value_or(smoke ? 8 : paper ? 512 : 64), c.embedding = smoke ? 8 : paper ? 256 : 64;
  c.heads = smoke ? 2 : paper ? 16 : 4, c.layers = smoke ? 2 : 4;
  p.rnn = p.transformer = c;
  if (!paper && !smoke) p.transformer.layers = 2;
  (p.target_is_rnn() ? p.rnn : p.transformer).layers = o.depth.value_or(p.target().layers);
  return p;
}

inline bool runs_images(const Options& o) { return !o.task ? o.target != "rnn" : *o.task == "image"; }
/// The sequence tasks of a setting.
inline std::vector<std::string> sequence_tasks(const app::Args& args, const Options& o) {
  if (o.task) return *o.task == "image" ? std::vector<std::string>() : std::vector<std::string>{*o.task};
  if (o.target) return *o.target == "rnn" ? std::vector<std::string>{"copy"} : std::vector<std::string>();
  if (args.setting == app::Setting::quick) return {};
  return args.setting == app::Setting::normal ? std::vector<std::string>{"copy"} : std::vector<std::string>{"copy", "parity"};
}

inline void print_plan(const app::Args& args, const Options& o) {
  app::Table t;
  t.columns = {"network",
               "layers that are compared",
               "parameters",
               "MFLOP a sample and step",
               "MB of weights, gradients, Adam",
               "MB of activations a batch",
               "arms"};
  const auto row = [&](const std::string& name, int64_t layers, const Cost& c, int64_t batch, bool trained,
                       const std::string& arms) {
    t.row({name, std::to_string(layers), std::to_string(c.parameters),
           app::figure((trained ? 6 : 2) * c.multiply_adds / 1e6, 4),
           app::figure(static_cast<double>(c.parameters) * (trained ? 16 : 4) / 1048576, 4),
           app::figure(static_cast<double>(batch) * c.activations * 4 * (trained ? 3 : 1) / 1048576, 4), arms});
  };
  if (runs_images(o)) {
    const ImagePlan p = image_plan(args, o);
    for (const Target& k : p.targets) {
      std::string arms;
      for (const Arm& a : k.arms) arms += (arms.empty() ? "" : "; ") + a.name;
      row(k.name, k.layers(), k.cost(), o.batch, true, arms);
    }
    row("guide, residual", -1, p.guide.cost(), o.batch, true, "trained for " + std::to_string(p.guide_epochs) + " epochs");
    row("guide, untrained", -1, p.untrained.cost(), o.batch, false, "forward only");
    t.rows[t.rows.size() - 2][1] = t.rows.back()[1] = "all convolutions and the pool";
  }
  for (const auto& name : sequence_tasks(args, o)) {
    const SequencePlan p = sequence_plan(args, o, name);
    const double length = static_cast<double>(p.least + p.most) / 2 * (name == "copy" ? 2 : 1);
    row(name + ", RNN", p.rnn.layers, p.rnn.rnn_cost(length), p.batch, true,
        p.target_is_rnn() ? "none; trained; untrained" : "guide");
    row(name + ", Transformer", 5 * p.transformer.layers, p.transformer.transformer_cost(length), p.batch, true,
        p.target_is_rnn() ? "guide" : "none; trained; untrained");
  }
  std::cout << t.text()
            << "Data: Fashion-MNIST's four IDX files, from --data or the usual places; with --paper --data "
               "DIR/train/CLASS/*.jpg and\n"
               "DIR/val/CLASS/*.jpg, 224 x 224, 1000 classes. Sequences are drawn. Times the number of seeds: "
            << args.seeds << ".\n";
}

}  // namespace guidance
