// The two stages: one compressed network trained on noisy labels, and two of them fine-tuned against each other.
#pragma once
#include <functional>

#include <gradus/app/progress.hpp>

#include "plan.hpp"

namespace compressing {

/// The features of the first n pictures (0: all) in evaluation, and their labels.
template <class D>
struct Seen {
  Tensor<float, D> h;
  Tensor<int64_t, D> y;
};
template <class D>
Seen<D> features_of(Net<float, D>& net, const data::ImageSet& set, const data::Normalisation& norm, int64_t n = 0) {
  nn::eval(net);
  const NoGrad guard;
  if (n <= 0 || n > set.size()) n = set.size();
  std::vector<Tensor<float, D>> h;
  std::vector<Tensor<int64_t, D>> y;
  for (int64_t b = 0; b < n; b += 500) {
    const auto [x, t] = data::slice_batch(set, b, std::min<int64_t>(500, n - b), norm);
    h.push_back(net.F(x.template to<D>())), y.push_back(t.template to<D>());
  }
  return {cat(h, 0), cat(y, 0)};
}
template <class D>
Tensor<float> logits_at(const Net<float, D>& net, const Tensor<float, D>& h, int64_t K) {
  return no_grad([&] { return net.W(net.nested.first(h, K)).template to<Cpu>(); });
}
inline double accuracy(const Tensor<float>& logits, const Tensor<int64_t>& y) {
  return static_cast<double>(mean(cast<float>(equal(argmax(logits, 1), y))).item());
}
/// Of the pictures with wrong labels: the share predicted as these say; of those with right ones: the share predicted right.
struct Fit {
  double memorised = NAN, clean = NAN;
};
inline Fit fit_of(const Tensor<float>& logits, const Split& s) {
  const auto guess = argmax(logits, 1).to_vector();
  double wrong = 0, followed = 0, right = 0, met = 0;
  for (std::size_t i = 0; i < guess.size(); ++i) {
    const bool clean = s.train.labels[i] == s.truth[i], hit = guess[i] == s.train.labels[i];
    clean ? (right += 1, met += hit) : (wrong += 1, followed += hit);
  }
  return {followed / wrong, met / right};
}

struct Epochs {
  std::vector<double> number, validation, test, memorised, clean, risk, bias, variance;
};
struct Stage1 {
  Epochs epochs;
  nn::StateDict best;  ///< of the epoch with the best validation accuracy at K*
  int64_t K = 0, K_best = 0;
  double best_validation = -1, test = NAN, test_best = NAN, test_all = NAN;
  Fit fit;
  std::vector<double> by_k;  ///< test accuracies with the first k features, last epoch
  std::vector<double> loss_clean, loss_wrong;
  std::vector<int64_t> guesses;  ///< of the training pictures
};

/// Validation accuracies of some networks together, and K*: all features unless the method is nested.
template <class D>
std::pair<double, int64_t> validate(const std::vector<Net<float, D>*>& nets, const Split& s, const data::Normalisation& norm) {
  std::vector<std::pair<Tensor<float, D>, Tensor<float, D>>> list;
  Tensor<int64_t, D> y;
  for (auto* net : nets) {
    const auto seen = features_of(*net, s.validation, norm);
    list.emplace_back(seen.h, net->W.weight), y = seen.y;
  }
  const auto by_k = prefix_accuracies(list, y);
  const int64_t K = nets[0]->c.method == Method::nested ? best_prefix(by_k) : static_cast<int64_t>(by_k.size());
  return {by_k[static_cast<std::size_t>(K - 1)], K};
}
/// Accuracy of the mean of the networks' logits with the first K features.
template <class D>
double test_accuracy(const std::vector<Net<float, D>*>& nets, const data::ImageSet& set, const data::Normalisation& norm,
                     int64_t K, int64_t n = 0) {
  Tensor<float> logits;
  Tensor<int64_t> y;
  for (auto* net : nets) {
    const auto seen = features_of(*net, set, norm, n);
    const auto own = logits_at(*net, seen.h, K);
    logits = logits.defined() ? logits + own : own, y = seen.y.template to<Cpu>();
  }
  return accuracy(logits, y);
}
template <class D>
Decomposition decomposition(Net<float, D>& net, const data::ImageSet& set, const data::Normalisation& norm, int64_t n) {
  const auto seen = features_of(net, set, norm, n);
  const auto [logits, w] = mask_logits(net.c, seen.h, net.W.weight);
  return decompose(logits, w, one_hot<float>(seen.y, net.c.classes));
}

inline data::BatchOptions order(const Plan& p, const data::Normalisation& norm, uint64_t seed, int64_t epoch) {
  return {.batch = p.batch,
          .seed = seed,
          .epoch = static_cast<uint64_t>(epoch),
          .norm = norm,
          .shift = p.augment,
          .flip = p.augment > 0};
}

template <class D>
Stage1 stage_1(Net<float, D>& net, const Plan& p, const Source& source, const Split& s, uint64_t seed, app::Progress& progress,
               const std::string& label) {
  const auto& norm = source.norm;
  const int64_t each = (p.images + p.batch - 1) / p.batch;
  std::vector<int64_t> drops;
  for (const int64_t e : p.drops) drops.push_back(e * each);
  const auto warm = static_cast<double>(p.warmup);
  const auto lr = optim::Schedule([warm](int64_t t) { return std::min(1.0, static_cast<double>(t + 1) / warm); }) *
                  optim::multi_step(p.lr, drops);
  optim::Sgd<float, D> opt(net, {.lr = p.lr, .momentum = 0.9, .weight_decay = p.decay});
  Stage1 r;
  int64_t t = 0;
  for (int64_t epoch = 0; epoch < p.epochs && !app::interrupted(); ++epoch) {
    nn::train(net);
    for (const auto& [x, y] : data::batches(s.train, order(p, norm, seed, epoch))) {
      if (app::interrupted()) break;
      opt.set_lr(lr(t++));
      step(net, opt, x.template to<D>(), y.template to<D>());
      progress.step(label);
    }
    const auto [validation, K] = validate<D>({&net}, s, norm);
    r.K = K;
    if (validation > r.best_validation) r.best_validation = validation, r.K_best = K, r.best = nn::clone_state(net);
    const auto watched = features_of(net, s.train, norm, p.watched);
    const Fit fit = fit_of(logits_at(net, watched.h, K), s);
    const Decomposition d = decomposition(net, source.set.test, norm, p.identity);
    auto& e = r.epochs;
    e.number.push_back(static_cast<double>(epoch + 1)), e.validation.push_back(validation);
    e.test.push_back(test_accuracy<D>({&net}, source.set.test, norm, K, p.watched));
    e.memorised.push_back(fit.memorised), e.clean.push_back(fit.clean);
    e.risk.push_back(d.risk), e.bias.push_back(d.bias), e.variance.push_back(d.variance);
  }
  if (app::interrupted()) return r;

  const auto seen = features_of(net, source.set.test, norm);
  r.by_k = prefix_accuracies<float, D>({{seen.h, net.W.weight}}, seen.y);
  r.test = r.by_k[static_cast<std::size_t>(r.K - 1)], r.test_all = r.by_k.back();
  const auto train = features_of(net, s.train, norm);
  const auto logits = logits_at(net, train.h, r.K);
  r.fit = fit_of(logits, s), r.guesses = argmax(logits, 1).to_vector();
  const auto losses = cross_entropy(logits, train.y.template to<Cpu>(), {.reduction = Reduction::none}).to_vector();
  for (std::size_t i = 0; i < losses.size(); ++i)
    (s.train.labels[i] == s.truth[i] ? r.loss_clean : r.loss_wrong).push_back(losses[i]);
  const auto last = nn::clone_state(net);
  nn::load_state_dict(net, r.best);
  r.test_best = test_accuracy<D>({&net}, source.set.test, norm, r.K_best);
  nn::load_state_dict(net, last);
  return r;
}

struct Stage2 {
  std::vector<double> number, validation, test, precision;
  double best_validation = -1, test_start = NAN, test_last = NAN, test_best = NAN, kept_clean = NAN;
  int64_t K = 0;
  Fit fit;
};
/// Fine-tunes two networks of stage 1 from where they are.
template <class D>
Stage2 stage_2(Net<float, D>& f1, Net<float, D>& f2, const Plan& p, const Source& source, const Split& s, uint64_t seed,
               app::Progress& progress, const std::string& label) {
  const auto& norm = source.norm;
  fine_tune(f1), fine_tune(f2);
  const optim::SgdOptions o{.lr = p.lr2, .momentum = 0.9, .weight_decay = p.decay};
  optim::Sgd<float, D> opt1(f1, o), opt2(f2, o);
  std::vector<Net<float, D>*> both{&f1, &f2};
  Stage2 r;
  r.K = validate<D>(both, s, norm).second;
  r.test_start = test_accuracy<D>(both, source.set.test, norm, r.K);
  nn::StateDict best1, best2;
  int64_t K_best = r.K;
  double kept = 0, clean = 0;
  for (int64_t epoch = 0; epoch < p.epochs2 && !app::interrupted(); ++epoch) {
    const double lr = optim::multi_step(p.lr2, {p.epochs2 / 2})(epoch);
    opt1.set_lr(lr), opt2.set_lr(lr);
    auto how = order(p, norm, seed ^ 0x636f2d74, epoch);
    how.drop_last = true;
    const auto all = data::batches(s.train, how);
    double kept_now = 0, clean_now = 0;
    for (int64_t b = 0; b < all.size() && !app::interrupted(); ++b) {
      const auto [x, y] = all[b];
      const auto chosen = coteach_step(f1, f2, opt1, opt2, x.template to<D>(), y.template to<D>(), r.K, p.tau, p.full);
      for (const auto* by : {&chosen.by1, &chosen.by2})
        for (const int64_t i : by->to_vector()) {
          const auto at = static_cast<std::size_t>(all.order()[static_cast<std::size_t>(b * p.batch + i)]);
          kept_now += 1, clean_now += s.train.labels[at] == s.truth[at];
        }
      progress.step(label);
    }
    kept += kept_now, clean += clean_now;
    const auto [validation, K] = validate<D>(both, s, norm);
    r.K = K;
    r.number.push_back(static_cast<double>(epoch + 1)), r.validation.push_back(validation);
    r.precision.push_back(clean_now / std::max(1.0, kept_now));
    r.test.push_back(test_accuracy<D>(both, source.set.test, norm, K, p.watched));
    if (validation > r.best_validation)
      r.best_validation = validation, K_best = K, best1 = nn::clone_state(f1), best2 = nn::clone_state(f2);
  }
  if (app::interrupted()) return r;
  r.kept_clean = clean / kept;
  r.test_last = test_accuracy<D>(both, source.set.test, norm, r.K);
  const auto a = logits_at(f1, features_of(f1, s.train, norm).h, r.K), b = logits_at(f2, features_of(f2, s.train, norm).h, r.K);
  r.fit = fit_of(a + b, s);
  nn::load_state_dict(f1, best1), nn::load_state_dict(f2, best2);
  r.test_best = test_accuracy<D>(both, source.set.test, norm, K_best);
  return r;
}

}  // namespace compressing
