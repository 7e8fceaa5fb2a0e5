// Dropout in sequences: of time steps, tokens, hidden states, whole inputs and conditions. x [B, T, C], tokens [B, T].
#pragma once
#include <gradus/nn/dropout/modes.hpp>
#include <gradus/ops/index.hpp>
#include <gradus/ops/sort.hpp>

namespace gradus::nn {

// -- recurrent nets -----------------------------------------------------------------------------------------------------------

/// One mask for all time steps of a sequence: x [B, T, C] shares it along axis 1 (`time_axis` 0 for [T, B, C]). Gal &
/// Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", NeurIPS 2016 ("variational",
/// "locked").
struct LockedDropout : DropLayer<LockedDropout> {
  int time_axis = 1;
  explicit LockedDropout(double p = 0.5, int time_axis = 1, Where at = Where::current())
      : DropLayer("LockedDropout", p, at), time_axis(time_axis) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return shared_dropout(x, p, time_axis, active(), at);
  }
};

/// One mask until reset(): for solvers that apply a layer many times (deep equilibrium models; Bai et al. 2020), and for RNNs
/// whose time loop is outside. The mask is that of the stream drawn by reset(); `shared` as in shared_dropout: {-1} drops
/// tokens.
struct VariationalDropout : DropLayer<VariationalDropout> {
  Dims shared = Dims(Shape{});
  explicit VariationalDropout(double p = 0.5, const Dims& shared = Dims(Shape{}), Where at = Where::current())
      : DropLayer("VariationalDropout", p, at), shared(shared), stream_(generator().draw()) {}
  /// The next mask: once a batch, before the solver.
  void reset() { stream_ = generator().draw(); }
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (!active() || p == 0) return x;
    return drop(x, Bernoulli{p, shared.list}, {gradus::detail::keep_scale(p)}, stream_, at);
  }

 private:
  RandomStream stream_;
};

/// On the candidate update g alone: c_t = f c_{t-1} + i d(g), so that memory is never lost. Semeniuta, Severyn, Barth, COLING
/// 2016. One mask a step; with reset() of VariationalDropout one a sequence.
struct RecurrentDropout : DropLayer<RecurrentDropout> {
  explicit RecurrentDropout(double p = 0.25, Where at = Where::current()) : DropLayer("RecurrentDropout", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& g, Where at = Where::current()) const {
    return dropout(g, p, active(), at);
  }
};

/// Units keep their previous value with probability p: h = d h_{t-1} + (1 - d) h_new; evaluation p h_{t-1} + (1 - p) h_new.
/// Krueger et al., ICLR 2017.
struct Zoneout : Dropping {
  explicit Zoneout(double p = 0.15, Where at = Where::current()) : Dropping("Zoneout", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& before, const Tensor<T, D>& now, Where at = Where::current()) const {
    if (!active()) return lerp(now, before, p, at);
    return add(before, drop(sub(now, before, at), Bernoulli{p}, {}, at), at);
  }
};

// -- tokens -------------------------------------------------------------------------------------------------------------------

/// Tokens become `unknown` with probability p, except `padding`. Iyyer et al., ACL 2015; Bowman et al., CoNLL 2016.
struct WordDropout : Dropping {
  int64_t unknown, padding;
  WordDropout(double p, int64_t unknown, int64_t padding = -1, Where at = Where::current())
      : Dropping("WordDropout", p, at), unknown(unknown), padding(padding) {}
  template <class D>
  Tensor<int64_t, D> forward(const Tensor<int64_t, D>& tokens, Where at = Where::current()) const {
    if (!active() || p == 0) return tokens;
    const auto stays = logical_or(keep<D>(generator().draw(), tokens.shape(), Shape{}, p, at),
                                  equal(tokens, static_cast<double>(padding), at), at);
    return where(stays, tokens, static_cast<double>(unknown), at);
  }
};

/// Embedded tokens of x [B, T, C] are set to 0 with probability p, the others scaled by 1 / (1 - p).
struct TokenDropout : DropLayer<TokenDropout> {
  explicit TokenDropout(double p = 0.1, Where at = Where::current()) : DropLayer("TokenDropout", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return shared_dropout(x, p, -1, active(), at);
  }
};
/// ESM's form of it: positions whose token is `mask_token` are embedded as 0, and a sequence with a share m of such positions
/// is scaled by (1 - `trained`) / (1 - m), trained = 0.15 * 0.8 being the share seen in training. Rives et al., PNAS 2021
/// (code).
template <class T, class D>
Tensor<T, D> mask_token_dropout(const Tensor<T, D>& x, const Tensor<int64_t, D>& tokens, int64_t mask_token,
                                double trained = 0.12, Where at = Where::current()) {
  if (x.rank() != 3 || !(Shape{x.shape()[0], x.shape()[1]} == tokens.shape()))
    fail("mask_token_dropout", "shapes do not match", {{"x", describe(x)}, {"tokens", describe(tokens)}},
         "x [B, T, C], tokens [B, T]", at);
  const auto masked = equal(tokens, static_cast<double>(mask_token), at);
  const auto seen = sub(1.0, mean(cast<T>(masked, at), {-1}, true, at), at);  // [B, 1]
  const auto scale = mul(reciprocal(where(equal(seen, 0, at), 1.0, seen, at), at), 1 - trained, at);
  return mul(where(unsqueeze(masked, -1, at), 0.0, x, at), unsqueeze(scale, -1, at), at);
}

/// Whole words of the vocabulary: every use of a dropped word type is 0 in this batch, the others are scaled by 1 / (1 - p).
/// The table [V, C] stays as it is; V numbers are drawn. Gal & Ghahramani 2016, section 4.2; Merity et al. 2018.
struct EmbeddingDropout : Dropping {
  explicit EmbeddingDropout(double p = 0.1, Where at = Where::current()) : Dropping("EmbeddingDropout", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& table, const Tensor<int64_t, D>& tokens, Where at = Where::current()) const {
    const auto x = embedding(table, tokens, at);
    if (!active() || p == 0) return x;
    const auto words = drop(ones<T, D>({table.shape()[0], 1}, at), Bernoulli{p}, {gradus::detail::keep_scale(p)}, at);
    return mul(x, embedding(words, tokens, at), at);
  }
};

/// A random subset of tokens goes on, in their order: [B, T, C] -> [B, max(1, round((1 - p) T)), C], another subset for each
/// sample; no scaling. The first `protect` tokens (a class token) always stay. Liu et al., "PatchDropout", WACV 2023.
/// Evaluation: all.
struct PatchDropout : DropLayer<PatchDropout> {
  int64_t protect = 0;
  explicit PatchDropout(double p = 0.5, int64_t protect = 0, Where at = Where::current())
      : DropLayer("PatchDropout", p, at), protect(protect) {}
  /// How many of T tokens stay.
  int64_t count(int64_t T) const {
    const int64_t free = T - protect;
    return protect + std::max<int64_t>(free > 0 ? 1 : 0, std::llround((1 - p) * static_cast<double>(free)));
  }
  /// Their positions: [B, count(T)], rising.
  template <class D>
  Tensor<int64_t, D> chosen(int64_t B, int64_t T, Where at = Where::current()) const {
    const NoGrad guard;
    auto score = rand<float, D>({B, T}, at);  // the smallest scores stay
    if (protect > 0) narrow(score, 1, 0, protect, 1, at).fill_(-1, at);
    return sort(narrow(argsort(score, 1, false, at), 1, 0, count(T), 1, at), 1, false, at).values;
  }
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() != 3 || x.shape()[1] < protect)
      fail("PatchDropout", "no tokens", {{"x", describe(x)}, {"protect", std::to_string(protect)}}, "x [B, T, C], T >= protect",
           at);
    if (!active() || p == 0) return x;
    const auto index = unsqueeze(chosen<D>(x.shape()[0], x.shape()[1], at), -1, at);
    Shape shape = index.shape();
    shape[2] = x.shape()[2];
    return gather(x, 1, contiguous(expand(index, shape, at), at), at);
  }
};

// -- time steps, sources, conditions ------------------------------------------------------------------------------------------

/// Whole time steps of x [B, T, C], one fate a sample and step, without rescaling (on standardised inputs 0 is the mean).
/// Miranda et al. 2025; with monte_carlo the samples measure the uncertainty that the input causes. Learnt rate:
/// ConcreteDropout::temporal.
struct TemporalDropout : DropLayer<TemporalDropout> {
  bool rescale = false;
  explicit TemporalDropout(double p = 0.3, bool rescale = false, Where at = Where::current())
      : DropLayer("TemporalDropout", p, at), rescale(rescale) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() != 3) fail("TemporalDropout", "not sequences", {{"x", describe(x)}}, "x [B, T, C]", at);
    return active() && p > 0 ? drop(x, Bernoulli{p, {-1}}, {rescale ? gradus::detail::keep_scale(p) : 1}, at) : x;
  }
};

/// Whole inputs (sensors, modalities), one fate a sample and source; a sample that would lose all keeps one at random.
/// Neverova, Wolf, Taylor, Nebout, "ModDrop", IEEE TPAMI 2016; with `rescale`, what is kept is multiplied by sources / kept, as
/// in Liu, Siravuru, Prabhakar, Veloso, Kantor, "Learning end-to-end multimodal sensor policies", CoRL 2017 ("sensor dropout").
struct ModalityDropout : Dropping {
  bool rescale = false;
  explicit ModalityDropout(double p = 0.2, bool rescale = false, Where at = Where::current())
      : Dropping("ModalityDropout", p, at), rescale(rescale) {}
  /// Which of S sources each of B samples keeps: [B, S], no row all false.
  template <class D>
  Tensor<bool, D> chosen(int64_t B, int64_t S, Where at = Where::current()) const {
    const NoGrad guard;
    const auto kept = keep<D>(generator().draw(), {B, S}, Shape{}, p, at);
    const auto survivor = cast<bool>(one_hot<uint8_t>(randint<D>(0, S, {B}, at), S, at), at);
    return logical_or(kept, logical_and(survivor, logical_not(any(kept, 1, true, at), at), at), at);
  }
  template <class T, class D>
  std::vector<Tensor<T, D>> forward(const std::vector<Tensor<T, D>>& sources, Where at = Where::current()) const {
    if (sources.empty()) fail("ModalityDropout", "no sources", {}, "at least one", at);
    if (!active() || p == 0) return sources;
    const auto S = static_cast<int64_t>(sources.size()), B = sources[0].size(0, at);
    auto factor = cast<T>(chosen<D>(B, S, at), at);  // [B, S]
    if (rescale) factor = mul(factor, div(static_cast<double>(S), sum(factor, {1}, true, at), at), at);
    std::vector<Tensor<T, D>> kept;
    for (int64_t i = 0; i < S; ++i) {
      const auto& x = sources[static_cast<std::size_t>(i)];
      if (x.rank() < 1 || x.shape()[0] != B)
        fail("ModalityDropout", "sources of different batches", {{"first", describe(sources[0])}, {"another", describe(x)}},
             "one batch size", at);
      Shape one = x.shape();
      for (int d = 1; d < one.n; ++d) one[d] = 1;
      kept.push_back(mul(x, gradus::reshape(select(factor, 1, i, at), one, at), at));
    }
    return kept;
  }
};

/// The whole condition c [B, ...] of a sample is replaced by a learnt null [...] with probability p, so that one net learns the
/// conditional and the unconditional model. Ho & Salimans, "Classifier-free diffusion guidance", 2022. No scaling.
template <class T = float, class D = Cpu>
struct ConditionDropout : DropLayer<ConditionDropout<T, D>> {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> null;

  explicit ConditionDropout(const Shape& condition, double p = 0.1, Where at = Where::current())
      : DropLayer<ConditionDropout<T, D>>("ConditionDropout", p, at), null(normal<T, D>(condition, 0, 0.02, at)) {
    null.requires_grad_();
  }
  template <class U, class E>
  explicit ConditionDropout(const ConditionDropout<U, E>& o, Where at = Where::current())
      : DropLayer<ConditionDropout<T, D>>("ConditionDropout", o.p, at), null(converted<T, D>(o.null, at)) {
    this->take_modes(o);
  }
  Tensor<T, D> forward(const Tensor<T, D>& c, Where at = Where::current()) const {
    check(c, at);
    if (!this->active() || this->p == 0) return c;
    const auto kept = keep<D>(generator().draw(), c.shape(), detail_shared(c), this->p, at);
    return where(kept, c, null, at);
  }
  /// The null condition for all of c's samples: the other branch of guidance.
  Tensor<T, D> unconditional(const Tensor<T, D>& c, Where at = Where::current()) const {
    check(c, at);
    return expand(null, c.shape(), at);
  }
  void visit(auto&& f) { Dropping::visit(f), f("null", null); }

 private:
  static Shape detail_shared(const Tensor<T, D>& c) {
    Shape s;
    for (int i = 1; i < c.rank(); ++i) s.push_back(i);
    return s;
  }
  void check(const Tensor<T, D>& c, Where at) const {
    Shape one = c.shape();
    if (one.n > 0) one.erase(0);
    if (c.rank() < 1 || !(one == null.shape()))
      fail("ConditionDropout", "the condition is of another shape", {{"c", describe(c)}, {"null", describe(null)}},
           "c [B, shape of null]", at);
  }
};

// -- stripes and spans --------------------------------------------------------------------------------------------------------

namespace detail {
/// Where position i of `extent` lies in one span a sample, of a width uniform in 0 ... `widest`: [B, extent].
template <class D>
Tensor<bool, D> random_span(int64_t B, int64_t extent, int64_t widest, Where at) {
  const NoGrad guard;
  const auto width = floor(mul(rand<double, D>({B, 1}, at), static_cast<double>(widest + 1), at), at);
  const auto start = floor(mul(rand<double, D>({B, 1}, at), add(sub(static_cast<double>(extent), width, at), 1, at), at), at);
  const auto i = gradus::reshape(arange<double, D>(static_cast<double>(extent), at), {1, extent}, at);
  return logical_and(greater_equal(i, start, at), less(i, add(start, width, at), at), at);
}
}  // namespace detail

/// Stripes of a spectrogram x [B, F, T] are set to `fill`: `frequency_masks` of up to F0 rows, `time_masks` of up to min(T0,
/// share T) columns, each with its own place for each sample. Park et al., "SpecAugment", Interspeech 2019; share: LibriSpeech
/// policy.
struct SpecAugment {
  int64_t frequency_masks = 2, F0 = 27, time_masks = 2, T0 = 100;
  double share = 1, fill = 0;
  bool training = true;
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() != 3) fail("SpecAugment", "not spectrograms", {{"x", describe(x)}}, "x [B, F, T]", at);
    if (!training) return x;
    const int64_t B = x.shape()[0], F = x.shape()[1], N = x.shape()[2];
    auto y = x;
    for (int64_t m = 0; m < frequency_masks; ++m)
      y = where(unsqueeze(detail::random_span<D>(B, F, std::min(F0, F), at), 2, at), fill, y, at);
    const int64_t widest = std::min({T0, N, static_cast<int64_t>(share * static_cast<double>(N))});
    for (int64_t m = 0; m < time_masks; ++m) y = where(unsqueeze(detail::random_span<D>(B, N, widest, at), 1, at), fill, y, at);
    return y;
  }
  void visit(auto&& f) { f("training", training); }
};

/// Parts of embedded sentences x [B, T, C] become 0: p T tokens, p C features, or one span of p T tokens, other ones for each
/// sample; no scaling. Shen et al., "A simple but tough-to-beat data augmentation approach ...", 2020 (cutoff).
struct Cutoff : DropLayer<Cutoff> {
  enum class Kind { token, feature, span };
  Kind kind = Kind::token;
  explicit Cutoff(Kind kind, double p = 0.1, Where at = Where::current()) : DropLayer("Cutoff", p, at), kind(kind) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() != 3) fail("Cutoff", "not sequences", {{"x", describe(x)}}, "x [B, T, C]", at);
    if (!active()) return x;
    const int64_t B = x.shape()[0], N = kind == Kind::feature ? x.shape()[2] : x.shape()[1];
    const double count = std::floor(p * static_cast<double>(N));
    const auto cut = no_grad([&] {
      if (kind != Kind::span) return less(argsort(argsort(rand<float, D>({B, N}, at), 1, false, at), 1, false, at), count, at);
      const auto start = floor(mul(rand<double, D>({B, 1}, at), static_cast<double>(N) - count + 1, at), at);
      const auto i = gradus::reshape(arange<double, D>(static_cast<double>(N), at), {1, N}, at);
      return logical_and(greater_equal(i, start, at), less(i, add(start, count, at), at), at);
    });
    return where(unsqueeze(cut, kind == Kind::feature ? 1 : 2, at), 0.0, x, at);
  }
};

}  // namespace gradus::nn
