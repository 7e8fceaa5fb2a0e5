// Losses over all alignments of a label sequence to frames: CTC and the transducer. kernels/lattice.hpp has the recursions.
#pragma once
#include <limits>

#include <gradus/kernels/lattice.hpp>
#include <gradus/ops/create.hpp>
#include <gradus/ops/functional.hpp>
#include <gradus/ops/losses/cross_entropy.hpp>
#include <gradus/ops/scan.hpp>
#include <gradus/ops/shape.hpp>

namespace gradus {

namespace detail {
inline constexpr double kNoPath = -1e30;  // stands for log 0 where -infinity would make 0 * infinity in a gradient

/// Lengths [N] as given, all within [lo, hi].
template <class D>
Tensor<int64_t, D> checked_lengths(const char* op, const char* name, const Tensor<int64_t, D>& lengths, int64_t N, int64_t lo,
                                   int64_t hi, Where at) {
  if (!(lengths.shape() == Shape{N}))
    fail(op, std::string("one length a sample is needed"), {{name, describe(lengths)}}, "shape [" + std::to_string(N) + "]",
         at);
  const auto c = contiguous(lengths, at);
  const int64_t bad = kernels::find_out_of_range(D{}, c.data(), N, lo, hi + 1);
  if (bad >= 0)
    fail(op, "a length does not fit",
         {{name, "element " + std::to_string(bad) + " is " + std::to_string(select(c, 0, bad, at).item(at))}},
         "lengths in [" + std::to_string(lo) + ", " + std::to_string(hi) + "]", at);
  return c;
}
/// Labels [N, S] with everything after a sample's length set to `fill`; the others are classes of [0, C).
template <class D>
Tensor<int64_t, D> checked_labels(const char* op, const Tensor<int64_t, D>& labels, const Tensor<int64_t, D>& lengths,
                                  int64_t C, double fill, Where at) {
  const int64_t S = labels.shape()[1];
  const auto counts =
      less(gradus::reshape(arange<int64_t, D>(static_cast<double>(S), at), {1, S}, at), unsqueeze(lengths, 1, at), at);
  const auto y = where(counts, labels, fill, at);
  const int64_t bad = kernels::find_out_of_range(D{}, y.data(), y.numel(), 0, C);
  if (bad >= 0)
    fail(op, "a label is not a class",
         {{"labels", "[" + std::to_string(bad / S) + ", " + std::to_string(bad % S) + "] is " +
                         std::to_string(gradus::reshape(y, {-1}, at)(bad).item(at))}},
         "classes in [0, " + std::to_string(C) + ")", at);
  return y;
}
template <class T, class D>
Tensor<T, D> shift_right(const Tensor<T, D>& a, int64_t by, double fill, Where at) {  // along the last dimension
  const int64_t L = a.shape().back();
  if (by >= L) return full<T, D>(a.shape(), fill, at);
  return pad(narrow(a, -1, 0, L - by, 1, at), Shape{by}, Shape{0}, fill, at);
}

/// The CTC recursion composed of operators: [N] losses of x [T, N, L]. For derivatives of derivatives.
template <class T, class D>
Tensor<T, D> ctc_composed(const Tensor<T, D>& x, const Tensor<bool, D>& skip, const Tensor<int64_t, D>& times,
                          const Tensor<int64_t, D>& labels, Where at) {
  const int64_t L = x.shape()[2];
  const auto s = gradus::reshape(arange<int64_t, D>(static_cast<double>(L), at), {1, L}, at);
  auto alpha = where(less(s, 2, at), select(x, 0, 0, at), kNoPath, at);
  for (int64_t t = 1; t < x.shape()[0]; ++t) {
    const auto jump = where(skip, shift_right(alpha, 2, kNoPath, at), kNoPath, at);
    const auto paths = stack(std::vector<Tensor<T, D>>{alpha, shift_right(alpha, 1, kNoPath, at), jump}, 0, at);
    const auto next = add(logsumexp(paths, 0, false, at), select(x, 0, t, at), at);
    alpha = where(unsqueeze(greater(times, static_cast<double>(t), at), 1, at), next, alpha, at);
  }
  const auto last = mul(unsqueeze(labels, 1, at), 2, at);  // [N, 1]
  const auto end = squeeze(gather(alpha, 1, last, at), 1, at);
  const auto none = equal(labels, 0, at);
  const auto before = squeeze(gather(alpha, 1, where(unsqueeze(none, 1, at), 0.0, sub(last, 1, at), at), at), 1, at);
  return neg(logaddexp(end, where(none, kNoPath, before, at), at), at);
}
/// The transducer recursion composed of operators, a row of u at a time: with E = exclusive running sum of emit(t, .),
/// alpha(t, u) = E_u + log sum_{v <= u} e^{alpha(t-1, v) + blank(t-1, v) - E_v}.
template <class T, class D>
Tensor<T, D> transducer_composed(const Tensor<T, D>& blank, const Tensor<T, D>& emit, const Tensor<int64_t, D>& times,
                                 const Tensor<int64_t, D>& labels, Where at) {
  const int64_t N = blank.shape()[0], Tmax = blank.shape()[1], U = blank.shape()[2];
  std::vector<Tensor<T, D>> ends;
  Tensor<T, D> alpha;
  for (int64_t t = 0; t < Tmax; ++t) {
    const auto E = shift_right(cumsum(select(emit, 1, t, at), -1, false, at), 1, 0, at);
    if (t == 0) {
      alpha = E;
    } else {
      const auto stay = add(alpha, select(blank, 1, t - 1, at), at);
      alpha = U == 1 ? stay : add(logcumsumexp(sub(stay, E, at), -1, at), E, at);
    }
    ends.push_back(add(alpha, select(blank, 1, t, at), at));
  }
  const auto all = gradus::reshape(stack(ends, 1, at), {N, Tmax * U}, at);
  const auto at_end = add(mul(sub(times, 1, at), static_cast<double>(U), at), labels, at);
  return neg(squeeze(gather(all, 1, unsqueeze(at_end, 1, at), at), 1, at), at);
}
}  // namespace detail

template <class T, class D>
struct CtcNode final : Node {
  Saved<T, D> x{this, "x"}, loss{this, "loss"}, alpha{this, "alpha"};
  Saved<bool, D> skip{this, "skip"};
  Saved<int64_t, D> times{this, "times"}, labels{this, "labels"};
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> v = x.get();
    const auto k = skip.get();
    const auto t = times.get(), l = labels.get();
    if (grad_enabled()) {  // recorded: through the composed recursion
      const auto again = detail::ctc_composed(v, k, t, l, at);
      return accumulate(0, grad(std::vector<Tensor<T, D>>{again}, std::vector<Tensor<T, D>>{v},
                                {.gradients = {g}, .create_graph = true}, at)[0]);
    }
    const auto dy = contiguous(Tensor<T, D>(g.ref()), at);
    Tensor<T, D> dx(v.shape(), at);
    kernels::ctc_bwd<T>(D{}, v.data(), k.data(), t.data(), l.data(), loss.get().data(), alpha.get().data(), dy.data(),
                        dx.data(), v.shape()[0], v.shape()[1], v.shape()[2]);
    accumulate(0, dx);
  }
};

struct CtcOptions {
  int64_t blank = 0;
  Reduction reduction =
      Reduction::mean;         ///< mean: each loss over its target length (at least 1), then over the batch, as in PyTorch
  bool zero_infinity = false;  ///< a target that is too long for its input costs 0, not infinity
};
/// -log of the summed probability of all paths that collapse to the labels (repeats merged, blanks removed): log_probs [T, N,
/// C] (of log_softmax), labels [N, S] without blanks, padded at will, lengths [N] of inputs and labels. Graves, Fernandez,
/// Gomez, Schmidhuber, ICML 2006, eq. 5 to 8. The gradient is that with respect to log_probs; after log_softmax it becomes the
/// paper's eq. 16.
template <Floating T, class D>
requires(std::is_same_v<T, compute_t<T>>) Tensor<T, D> ctc_loss(const Tensor<T, D>& log_probs, const Tensor<int64_t, D>& labels,
                                                                const Tensor<int64_t, D>& input_lengths,
                                                                const Tensor<int64_t, D>& label_lengths,
                                                                const CtcOptions& o = {}, Where at = Where::current()) {
  if (log_probs.rank() != 3 || labels.rank() != 2 || labels.shape()[0] != log_probs.shape()[1] || log_probs.shape()[0] < 1)
    fail("ctc_loss", "shapes do not match", {{"log_probs", describe(log_probs)}, {"labels", describe(labels)}},
         "log_probs [T, N, C], labels [N, S], T >= 1", at);
  const int64_t Tmax = log_probs.shape()[0], N = log_probs.shape()[1], C = log_probs.shape()[2], S = labels.shape()[1],
                L = 2 * S + 1;
  if (o.blank < 0 || o.blank >= C)
    fail("ctc_loss", "the blank is not a class", {{"log_probs", describe(log_probs)}, {"blank", std::to_string(o.blank)}},
         "0 <= blank < C", at);
  const auto times = detail::checked_lengths("ctc_loss", "input_lengths", input_lengths, N, 1, Tmax, at);
  const auto lengths = detail::checked_lengths("ctc_loss", "label_lengths", label_lengths, N, 0, S, at);
  const double blank = static_cast<double>(o.blank);
  const auto y = detail::checked_labels("ctc_loss", labels, lengths, C, blank, at);
  // blank, y_1, blank, ..., y_S, blank; a label may be entered from the one before when they differ.
  const auto blanks = full<int64_t, D>({N, S, 1}, blank, at);
  auto extended = gradus::reshape(cat(std::vector<Tensor<int64_t, D>>{blanks, unsqueeze(y, 2, at)}, 2, at), {N, 2 * S}, at);
  extended = cat(std::vector<Tensor<int64_t, D>>{extended, full<int64_t, D>({N, 1}, blank, at)}, 1, at);
  const auto skip =
      logical_and(not_equal(extended, blank, at), not_equal(extended, detail::shift_right(extended, 2, -1, at), at), at);
  const auto index = contiguous(expand(unsqueeze(extended, 0, at), {Tmax, N, L}, at), at);
  const auto x = contiguous(gather(log_probs, 2, index, at), at);
  Tensor<T, D> loss(Shape{N}, at), alpha(Shape{N, Tmax, L}, at);
  kernels::ctc_fwd<T>(D{}, x.data(), skip.data(), times.data(), lengths.data(), loss.data(), alpha.data(), Tmax, N, L);
  Tensor<T, D> per = loss;
  if (detail::wants_grad(x)) {
    const auto kept = loss.detach();
    auto& node = detail::record<CtcNode<T, D>>(per, at, x);
    node.x = x, node.loss = kept, node.alpha = alpha, node.skip = skip, node.times = times, node.labels = lengths;
  }
  if (o.zero_infinity) per = where(equal(per.detach(), std::numeric_limits<double>::infinity(), at), 0.0, per, at);
  if (o.reduction != Reduction::mean) return detail::reduce_loss(per, o.reduction, at);
  const auto count = cast<T>(maximum(lengths, detail::scalar_like(lengths, 1, at), at), at);
  return mean(div(per, count, at), {}, false, at);
}

template <class T, class D>
struct TransducerNode final : Node {
  Saved<T, D> blank{this, "blank"}, emit{this, "emit"}, loss{this, "loss"}, alpha{this, "alpha"};
  Saved<int64_t, D> times{this, "times"}, labels{this, "labels"};
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> b = blank.get(), e = emit.get();
    const auto t = times.get(), l = labels.get();
    if (grad_enabled()) {
      const auto again = detail::transducer_composed(b, e, t, l, at);
      const auto d = grad(std::vector<Tensor<T, D>>{again}, std::vector<Tensor<T, D>>{b, e},
                          {.gradients = {g}, .create_graph = true, .allow_unused = true}, at);
      for (int i = 0; i < 2; ++i)
        if (d[static_cast<std::size_t>(i)].defined()) accumulate(i, d[static_cast<std::size_t>(i)]);
      return;
    }
    const auto dy = contiguous(Tensor<T, D>(g.ref()), at);
    Tensor<T, D> db(b.shape(), at), de(e.shape(), at);
    kernels::transducer_bwd<T>(D{}, b.data(), e.data(), t.data(), l.data(), loss.get().data(), alpha.get().data(), dy.data(),
                               db.data(), de.data(), b.shape()[0], b.shape()[1], b.shape()[2]);
    accumulate(0, db), accumulate(1, de);
  }
};
/// -log of the summed probability of all monotone paths through (t, u): log_probs [N, T, U + 1, C] of log_softmax, labels [N,
/// U], lengths [N] of frames (at least 1) and labels. Graves, "Sequence transduction with recurrent neural networks", 2012, eq.
/// 16 to 18 (RNN-T).
template <Floating T, class D>
requires(std::is_same_v<T, compute_t<T>>) Tensor<T, D> rnnt_loss(const Tensor<T, D>& log_probs,
                                                                 const Tensor<int64_t, D>& labels,
                                                                 const Tensor<int64_t, D>& frames,
                                                                 const Tensor<int64_t, D>& label_lengths, int64_t blank = 0,
                                                                 Reduction r = Reduction::mean, Where at = Where::current()) {
  if (log_probs.rank() != 4 || labels.rank() != 2 || labels.shape()[0] != log_probs.shape()[0] ||
      labels.shape()[1] + 1 != log_probs.shape()[2])
    fail("rnnt_loss", "shapes do not match", {{"log_probs", describe(log_probs)}, {"labels", describe(labels)}},
         "log_probs [N, T, U + 1, C], labels [N, U]", at);
  const int64_t N = log_probs.shape()[0], Tmax = log_probs.shape()[1], U = log_probs.shape()[2], C = log_probs.shape()[3];
  if (blank < 0 || blank >= C)
    fail("rnnt_loss", "the blank is not a class", {{"log_probs", describe(log_probs)}, {"blank", std::to_string(blank)}},
         "0 <= blank < C", at);
  const auto times = detail::checked_lengths("rnnt_loss", "frames", frames, N, 1, Tmax, at);
  const auto lengths = detail::checked_lengths("rnnt_loss", "label_lengths", label_lengths, N, 0, U - 1, at);
  const auto y = detail::checked_labels("rnnt_loss", labels, lengths, C, static_cast<double>(blank), at);
  const auto b = contiguous(select(log_probs, 3, blank, at), at);  // [N, T, U + 1]
  const auto next = cat(std::vector<Tensor<int64_t, D>>{y, full<int64_t, D>({N, 1}, static_cast<double>(blank), at)}, 1, at);
  const auto index = contiguous(expand(gradus::reshape(next, {N, 1, U, 1}, at), {N, Tmax, U, 1}, at), at);
  const auto e = contiguous(squeeze(gather(log_probs, 3, index, at), 3, at), at);
  Tensor<T, D> per(Shape{N}, at), alpha(Shape{N, Tmax, U}, at);
  kernels::transducer_fwd<T>(D{}, b.data(), e.data(), times.data(), lengths.data(), per.data(), alpha.data(), N, Tmax, U);
  if (detail::wants_grad(b, e)) {
    const auto kept = per.detach();
    auto& node = detail::record<TransducerNode<T, D>>(per, at, b, e);
    node.blank = b, node.emit = e, node.loss = kept, node.alpha = alpha, node.times = times, node.labels = lengths;
  }
  return detail::reduce_loss(per, r, at);
}

}  // namespace gradus
