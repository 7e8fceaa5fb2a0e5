// Distillation into a frozen random teacher, probes of what the encoders have learnt, and the studies of the student's weights.
//
//   p_T = softmax(T(x) / tau_t),  p_S = softmax(S(x) / tau_s)       loss = H(p_T, p_S) = KL(p_T || p_S) + H(p_T)
//
// No labels, one view of a picture, the same for both. Labels come in with the probes.
#pragma once
#include <array>
#include <numeric>

#include <gradus/data/augment.hpp>
#include <gradus/data/cifar.hpp>
#include <gradus/data/fashion_mnist.hpp>

#include "nets.hpp"

namespace rt {

template <class D>
struct Samples {
  Tensor<float, D> x;    // [N, C, side, side], normalised
  Tensor<int64_t, D> y;  // [N]
  int64_t size() const { return y.numel(); }
  Samples first(int64_t n) const { return {narrow(x, 0, 0, n).contiguous(), narrow(y, 0, 0, n).contiguous()}; }
  /// Those of the classes lo, ..., hi - 1, counted from 0 again.
  Samples classes(int64_t lo, int64_t hi) const {
    std::vector<int64_t> list;
    const auto labels = y.template to<Cpu>().to_vector();
    for (std::size_t i = 0; i < labels.size(); ++i)
      if (labels[i] >= lo && labels[i] < hi) list.push_back(static_cast<int64_t>(i));
    const auto index = from_vector(list).template to<D>();
    return {index_select(x, 0, index), index_select(y, 0, index) - lo};
  }
};
template <class D>
struct Task {
  Samples<D> train, test;
  int64_t classes = 10;
};

/// Grey pictures of 28 x 28 get a black frame of 2; channels are normalised. The classes take turns.
template <class D>
Task<D> load(const std::string& set, const std::string& dir, int64_t train, int64_t test) {
  const bool cifar = set.starts_with("cifar");
  const data::MnistLike s = set == "cifar10"    ? data::cifar10(dir)
                            : set == "cifar100" ? data::cifar100(dir)
                                                : data::load_mnist_like(dir, set);
  const auto norm = cifar                    ? data::Normalisation{0, 1}
                    : set == "fashion-mnist" ? data::Normalisation{}
                                             : data::normalisation_of(s.train);
  const auto of = [&](const data::ImageSet& all, int64_t n) {
    const auto chosen = n < all.size() ? data::balanced_subset(all, n, 0) : all;
    auto [x, y] = data::slice_batch(chosen, 0, chosen.size(), norm);
    if (cifar) data::augment(x, {data::normalise({0.4914, 0.4822, 0.4465}, {0.2470, 0.2435, 0.2616})}, {0, 0});
    else x = pad(x, {2, 2}, {2, 2}, -norm.mean / norm.deviation);
    return Samples<D>{x.template to<D>(), y.template to<D>()};
  };
  return {of(s.train, train), of(s.test, test), set == "cifar100" ? 100 : 10};
}
/// Pictures of a normal distribution, fixed for the whole training.
template <class D>
Tensor<float, D> noise_like(const Tensor<float, D>& x, uint64_t seed) {
  manual_seed(seed);
  return randn<float, D>(x.shape());
}

struct Distillation {
  int64_t epochs = 12, batch = 128;
  double lr = 1e-3, decay = 0, tau_t = 1, tau_s = 1;
  bool sgd = false, mse = false;  // mse: between the encoders' features, without the heads
};
/// f(x) is called for each batch of an epoch, in an order drawn from the current generator.
template <class D, class F>
void each_batch(const Tensor<float, D>& x, int64_t batch, F&& f) {
  const int64_t N = x.size(0);
  const auto order = randperm<D>(N);
  for (int64_t b = 0; b < N; b += batch) f(narrow(order, 0, b, std::min(batch, N - b)));
}
/// Trains the student on pictures alone. after(epoch), epoch = 1, 2, ..., says whether to go on; step() after each step.
template <class D, class After, class Step>
void distil(Net<D>& teacher, Net<D>& student, const Tensor<float, D>& x, const Distillation& o, uint64_t seed, After&& after,
            Step&& step) {
  manual_seed(seed);
  nn::freeze(teacher);
  nn::eval(teacher);
  const auto run = [&](auto opt) {
    for (int64_t epoch = 1; epoch <= o.epochs; ++epoch) {
      nn::train(student);
      each_batch(x, o.batch, [&](const auto& index) {
        const auto batch = index_select(x, 0, index);
        opt.zero_grad();
        if (o.mse) {
          const auto target = no_grad([&] { return teacher.encoder(batch); });
          mse_loss(student.encoder(batch), target).backward();
        } else {
          const auto p_T = no_grad([&] { return softmax(teacher.forward(batch) * (1 / o.tau_t)); });
          cross_entropy(student.forward(batch) * (1 / o.tau_s), p_T).backward();
        }
        opt.step();
        step();
      });
      if (!after(epoch)) return;
    }
  };
  const auto params = o.mse ? nn::parameters(student.encoder) : nn::parameters(student);
  if (o.sgd) run(optim::Sgd<float, D>(params, {.lr = o.lr, .momentum = 0.9, .weight_decay = o.decay}));
  else run(optim::AdamW<float, D>(params, {.lr = o.lr, .weight_decay = o.decay}));
}
/// KL(p_T || p_S), the mean over the pictures, both in evaluation mode.
template <class D>
double kl(Net<D>& teacher, Net<D>& student, const Tensor<float, D>& x, const Distillation& o = {}) {
  nn::eval(teacher), nn::eval(student);
  const NoGrad guard;
  double total = 0;
  for (int64_t b = 0; b < x.size(0); b += 256) {
    const auto batch = narrow(x, 0, b, std::min<int64_t>(256, x.size(0) - b));
    total += kl_logits(teacher.forward(batch) * (1 / o.tau_t), student.forward(batch) * (1 / o.tau_s), Reduction::sum).item();
  }
  return total / static_cast<double>(x.size(0));
}
/// One pass in training mode: running statistics of the pictures, for networks with batch normalisation.
template <class D>
void calibrate(nn::AnyModule<float, D>& encoder, const Tensor<float, D>& x, int64_t batch = 128) {
  nn::train(encoder);
  const NoGrad guard;
  for (int64_t b = 0; b + batch <= x.size(0); b += batch) encoder(narrow(x, 0, b, batch));
  nn::eval(encoder);
}

/// Features [N, features] in evaluation mode.
template <class D>
Tensor<float, D> embed(nn::AnyModule<float, D>& encoder, const Tensor<float, D>& x) {
  nn::eval(encoder);
  const NoGrad guard;
  std::vector<Tensor<float, D>> parts;
  for (int64_t b = 0; b < x.size(0); b += 256) parts.push_back(encoder(narrow(x, 0, b, std::min<int64_t>(256, x.size(0) - b))));
  return cat(parts, 0);
}
template <class D>
double share_equal(const Tensor<int64_t, D>& a, const Tensor<int64_t, D>& b) {
  return mean(cast<float>(equal(a, b))).item();
}
/// Test accuracy of a linear layer that AdamW (1e-3, decay 0.01) has trained for `steps` batches of 256, always from one seed.
template <class D>
double linear_probe(const Samples<D>& train, const Samples<D>& test, int64_t classes, int64_t steps) {
  manual_seed(12345);
  nn::Linear<float, D> layer(train.x.size(1), classes);
  optim::AdamW<float, D> opt(layer, {.lr = 1e-3});
  for (int64_t step = 0; step < steps;)
    each_batch(train.x, 256, [&](const auto& index) {
      if (step++ >= steps) return;
      opt.zero_grad();
      cross_entropy(layer(index_select(train.x, 0, index)), index_select(train.y, 0, index)).backward();
      opt.step();
    });
  return share_equal(argmax(no_grad([&] { return layer(test.x); }), 1), test.y);
}
/// Both sets by the training set's mean and deviation of each feature; a deviation below 10 eps counts as 1.
template <class D>
std::array<Tensor<float, D>, 2> standardised(const Tensor<float, D>& train, const Tensor<float, D>& test) {
  const auto mu = mean(train, {0}, true), sigma = stddev(train, {0}, 0, true);
  const auto scale = where(less(sigma, 10 * static_cast<double>(std::numeric_limits<float>::epsilon())), 1.0, sigma);
  return {(train - mu) / scale, (test - mu) / scale};
}
/// Test accuracy of the majority of the k nearest training features; |a - b|^2 = |a|^2 - 2 a b + |b|^2 is one product.
template <class D>
double nearest_neighbours(const Samples<D>& train, const Samples<D>& test, int64_t classes, int64_t k = 20) {
  k = std::min(k, train.size());
  const auto squares = sum(square(train.x), {1});
  std::vector<Tensor<int64_t, D>> guesses;
  for (int64_t b = 0; b < test.size(); b += 500) {
    const auto q = narrow(test.x, 0, b, std::min<int64_t>(500, test.size() - b));
    const auto near = topk(squares - matmul(q, train.x.t()) * 2.0, k, 1, false).index;  // |q|^2 is the same for all
    const auto labels = index_select(train.y, 0, reshape(near, {-1}));
    guesses.push_back(argmax(sum(reshape(one_hot<float>(labels, classes), {q.size(0), k, classes}), {1}), 1));
  }
  return share_equal(cat(guesses, 0), test.y);
}
struct Probes {
  double plain = NAN, standard = NAN, knn = NAN;
};
template <class D>
Probes probe_features(Samples<D> train, Samples<D> test, int64_t classes, int64_t steps) {
  Probes p;
  p.plain = linear_probe(train, test, classes, steps);
  p.knn = nearest_neighbours(train, test, classes);
  const auto [a, b] = standardised(train.x, test.x);
  train.x = a, test.x = b;
  p.standard = linear_probe(train, test, classes, steps);
  return p;
}
template <class D>
Probes probe(nn::AnyModule<float, D>& encoder, const Task<D>& task, int64_t steps) {
  return probe_features<D>({embed(encoder, task.train.x), task.train.y}, {embed(encoder, task.test.x), task.test.y},
                           task.classes, steps);
}
template <class D>
Probes probe_pixels(const Task<D>& task, int64_t steps) {
  const auto flat = [](const Samples<D>& s) { return Samples<D>{reshape(s.x, {s.size(), -1}), s.y}; };
  return probe_features<D>(flat(task.train), flat(task.test), task.classes, steps);
}

struct Supervised {
  int64_t epochs = 12, batch = 128;
  double lr = 0.05, decay = 1e-4, clip = 1;
};
/// SGD with momentum 0.9 along half a cosine, gradients clipped; `pruning` keeps its weights at 0.
template <class D, class Step>
void supervise(Classifier<D>& net, const Samples<D>& s, const Supervised& o, uint64_t seed,
               nn::MagnitudePruning<float, D>* pruning, Step&& step) {
  manual_seed(seed);
  optim::Sgd<float, D> opt(net, {.lr = o.lr, .momentum = 0.9, .weight_decay = o.decay});
  const int64_t total = o.epochs * ((s.size() + o.batch - 1) / o.batch);
  nn::train(net);
  bool go_on = true;
  for (int64_t epoch = 0, t = 0; epoch < o.epochs && go_on; ++epoch)
    each_batch(s.x, o.batch, [&](const auto& index) {
      if (!go_on) return;
      opt.set_lr(optim::cosine_lr(o.lr, t++, total));
      opt.zero_grad();
      cross_entropy(net.forward(index_select(s.x, 0, index)), index_select(s.y, 0, index)).backward();
      optim::clip_grad_norm(opt.params(), o.clip);
      opt.step();
      if (pruning) pruning->apply();
      go_on = step();
    });
}
template <class D>
double accuracy(Classifier<D>& net, const Samples<D>& s) {
  const auto h = embed(net.encoder, s.x);
  return share_equal(argmax(no_grad([&] { return net.fc(h); }), 1), s.y);
}

/// Test error along (1 - l) theta_a + l theta_b, l = 0, 1 / 4, ..., 1, and its height over the mean of the two ends.
struct Path {
  std::vector<double> at, error;
  double barrier() const { return *std::max_element(error.begin(), error.end()) - (error.front() + error.back()) / 2; }
};
/// Two copies of one start are trained on batches in two orders.
template <class D, class Step>
Path linear_path(const NetOptions& net, nn::AnyModule<float, D>& start, const Task<D>& task, const Supervised& o, uint64_t seed,
                 Step&& step) {
  Classifier<D> a(net, start, task.classes, seed), b(net, start, task.classes, seed), between(net, start, task.classes, seed);
  supervise<D>(a, task.train, o, 2 * seed + 101, nullptr, step);
  supervise<D>(b, task.train, o, 2 * seed + 102, nullptr, step);
  const auto theta_a = nn::parameter_vector(a), theta_b = nn::parameter_vector(b);
  Path p;
  for (const double l : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    nn::set_parameter_vector(between, theta_a * (1 - l) + theta_b * l);
    if (net.has_norm()) calibrate(between.encoder, task.train.x);  // statistics of the point, not of an end
    p.at.push_back(l), p.error.push_back(1 - accuracy(between, task.test));
  }
  return p;
}

/// Iterative magnitude pruning: train, prune half of the surviving kernels' weights, put the rest back to the start, again.
struct Tickets {
  std::vector<double> remaining, accuracy;
};
template <class D, class Step>
Tickets lottery(const NetOptions& options, nn::AnyModule<float, D>& start, const Task<D>& task, const Supervised& o,
                int64_t rounds, uint64_t seed, Step&& step) {
  Classifier<D> net(options, start, task.classes, seed);
  const auto first = nn::clone_state(net);
  nn::MagnitudePruning<float, D> pruning(net.kernels());
  Tickets t;
  for (int64_t round = 0; round < rounds; ++round) {
    supervise<D>(net, task.train, o, seed + 201, &pruning, step);
    t.remaining.push_back(pruning.remaining()), t.accuracy.push_back(accuracy(net, task.test));
    pruning.prune(0.5);
    nn::load_state_dict(net, first);
    pruning.apply();
  }
  return t;
}

/// The plane through three points of weights: origin + a u + b v, u and v orthonormal in the root mean square over parameters.
template <class D>
struct Plane {
  Tensor<float, D> origin, u, v;
  std::array<std::array<double, 2>, 3> corner;  // (a, b) of the three points
  Plane(const Tensor<float, D>& o, const Tensor<float, D>& p, const Tensor<float, D>& q) : origin(o) {
    const double n = static_cast<double>(o.numel());
    const auto dot_of = [&](const auto& x, const auto& y) { return sum(cast<double>(x) * cast<double>(y)).item() / n; };
    const auto unit = [&](const Tensor<float, D>& x) { return x * (1 / std::sqrt(std::max(dot_of(x, x), 1e-300))); };
    u = unit(p - o);
    v = unit((q - o) - u * dot_of(q - o, u));
    corner = {{{0, 0}, {dot_of(p - o, u), dot_of(p - o, v)}, {dot_of(q - o, u), dot_of(q - o, v)}}};
  }
  Tensor<float, D> at(double a, double b) const { return origin + u * a + v * b; }
};

}  // namespace rt
