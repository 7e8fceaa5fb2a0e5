// Where a token stands: added to embeddings, to scores, or turned into queries and keys (ops/rotary.hpp).
//
//   sinusoidal  P[t, 2i] = sin(t / 10000^(2i/C)), P[t, 2i+1] = cos(t / 10000^(2i/C))       Vaswani et al. 2017, section 3.5
//   learned     P[t] a parameter                                                           Gehring et al. 2017
//   ALiBi       score - m_h |t - s|, m_h = 2^(-8 h / nh), h = 1 ... nh                     Press, Smith, Lewis 2022
//   T5          score + B[h, bucket(s - t)], logarithmic buckets                           Raffel et al. 2020, section 2.1
//   relative    score + B[h, clamp(s - t, -m, m)]                                          Shaw et al. 2018, as a bias
//   Fourier     sin, cos(2 pi x W), W normal                                               Tancik et al. 2020
//   time        sinusoidal of a level t, then Linear, SiLU, Linear                         Ho et al. 2020
#pragma once
#include <cmath>

#include <gradus/nn/linear.hpp>
#include <gradus/ops/random.hpp>
#include <gradus/ops/shape.hpp>

namespace gradus::nn {

/// [T, C], sines and cosines in turn; C even.
template <class T = float, class D = Cpu>
Tensor<T, D> sinusoidal_positions(int64_t count, int64_t C, double base = 10000, Where at = Where::current()) {
  if (C < 2 || C % 2 != 0)
    fail("sinusoidal_positions", "sines and cosines come in pairs", {{"C", std::to_string(C)}}, "C even", at);
  const NoGrad guard;
  const auto frequency =
      exp(mul(arange<double, D>(0, static_cast<double>(C / 2), 1, at), -2 * std::log(base) / static_cast<double>(C), at), at);
  const auto angle = mul(unsqueeze(arange<double, D>(0, static_cast<double>(count), 1, at), 1, at), frequency, at);
  return cast<T>(gradus::reshape(stack(std::vector<Tensor<double, D>>{sin(angle, at), cos(angle, at)}, -1, at), {count, C}, at),
                 at);
}
/// Of an image of H x W tokens in row-major order, [H W, C]: blocks sin(w f), cos(w f), sin(h f), cos(h f) with C / 4
/// frequencies each, f_i = base^(-i / (C / 4)). C a multiple of 4.
template <class T = float, class D = Cpu>
Tensor<T, D> sinusoidal_positions_2d(int64_t H, int64_t W, int64_t C, double base = 10000, Where at = Where::current()) {
  if (C < 4 || C % 4 != 0) fail("sinusoidal_positions_2d", "four blocks", {{"C", std::to_string(C)}}, "C a multiple of 4", at);
  const NoGrad guard;
  const int64_t n = C / 4;
  const auto f =
      exp(mul(arange<double, D>(0, static_cast<double>(n), 1, at), -std::log(base) / static_cast<double>(n), at), at);
  const auto angle = [&](int64_t count, int unit) {  // [1, W, n] or [H, 1, n], seen as [H, W, n]
    const auto t = arange<double, D>(0, static_cast<double>(count), 1, at);
    return clone(expand(unsqueeze(mul(unsqueeze(t, 1, at), f, at), unit, at), {H, W, n}, at), at);
  };
  const auto w = angle(W, 0), h = angle(H, 1);
  return cast<T>(gradus::reshape(cat(std::vector<Tensor<double, D>>{sin(w, at), cos(w, at), sin(h, at), cos(h, at)}, -1, at),
                                 {H * W, C}, at),
                 at);
}
/// x [B, T, C] plus the table's first T rows.
template <class T = float, class D = Cpu>
struct SinusoidalPosition : Layer<SinusoidalPosition<T, D>, T, D> {
  Tensor<T, D> table;  // [longest, C], not trained and not saved: it is a formula
  SinusoidalPosition(int64_t longest, int64_t C, Where at = Where::current())
      : table(sinusoidal_positions<T, D>(longest, C, 10000, at)) {}
  template <class U, class E>
  explicit SinusoidalPosition(const SinusoidalPosition<U, E>& o, Where at = Where::current())
      : table(converted<T, D>(o.table, at)) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return add_positions("SinusoidalPosition", x, table, at);
  }
  void visit(auto&&) {}
  std::string about() const { return table.shape().str(); }

  static Tensor<T, D> add_positions(const char* name, const Tensor<T, D>& x, const Tensor<T, D>& table, Where at) {
    if (x.rank() < 2 || x.size(-1) != table.size(1) || x.size(-2) > table.size(0))
      fail(name, "no positions for these tokens", {{"x", describe(x)}, {"table", describe(table)}},
           "x [..., T, C] with T within the table", at);
    return add(x, narrow(table, 0, 0, x.size(-2), 1, at), at);
  }
};
/// The same with a trained table, which starts normal with deviation 0.02.
template <class T = float, class D = Cpu>
struct LearnedPosition : Layer<LearnedPosition<T, D>, T, D> {
  Tensor<T, D> weight;  // [longest, C]
  LearnedPosition(int64_t longest, int64_t C, double deviation = 0.02, Where at = Where::current())
      : weight(detail::parameter(normal<T, D>({longest, C}, 0, deviation, at))) {}
  template <class U, class E>
  explicit LearnedPosition(const LearnedPosition<U, E>& o, Where at = Where::current())
      : weight(converted<T, D>(o.weight, at)) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return SinusoidalPosition<T, D>::add_positions("LearnedPosition", x, weight, at);
  }
  void visit(auto&& f) { f("weight", weight); }
  std::string about() const { return weight.shape().str(); }
};

/// The slopes of nh heads. For nh not a power of two: those of the next lower power, then every other of twice as many (the
/// authors' code).
template <class T = float, class D = Cpu>
Tensor<T, D> alibi_slopes(int64_t nh, Where at = Where::current()) {
  if (nh < 1) fail("alibi_slopes", "no heads", {{"nh", std::to_string(nh)}}, "at least 1", at);
  int64_t power = 1;
  while (2 * power <= nh) power *= 2;
  const NoGrad guard;
  const auto geometric = [&](int64_t n, int64_t first, int64_t step,
                             int64_t count) {  // 2^(-8 k / n), k = first, first + step, ...
    const auto k =
        arange<double, D>(static_cast<double>(first), static_cast<double>(first + step * count), static_cast<double>(step), at);
    return cast<T>(exp2(mul(k, -8.0 / static_cast<double>(n), at), at), at);
  };
  if (power == nh) return geometric(nh, 1, 1, nh);
  return cat(std::vector<Tensor<T, D>>{geometric(power, 1, 1, power), geometric(2 * power, 1, 2, nh - power)}, 0, at);
}

/// s - t for queries t = first ... and keys s: [T, S].
template <class D = Cpu>
Tensor<int64_t, D> relative_positions(int64_t T, int64_t S, int64_t first = 0, Where at = Where::current()) {
  const auto t = arange<int64_t, D>(static_cast<double>(first), static_cast<double>(first + T), 1, at);
  return sub(arange<int64_t, D>(0, static_cast<double>(S), 1, at), unsqueeze(t, 1, at), at);
}
/// The bucket of each distance: half of them exact (up to buckets / 4 each way), the others growing by logarithms up to `most`;
/// one direction only: for keys before the query.
template <class D>
Tensor<int64_t, D> t5_buckets(const Tensor<int64_t, D>& distance, bool both = true, int64_t buckets = 32, int64_t most = 128,
                              Where at = Where::current()) {
  const int64_t side = both ? buckets / 2 : buckets, exact = side / 2;
  if (exact < 1 || most <= exact)
    fail("t5_buckets", "too few buckets", {{"buckets", std::to_string(buckets)}, {"most", std::to_string(most)}},
         "most > exact >= 1", at);
  auto n = neg(distance, at);
  auto offset = mul(n, 0, at);
  if (both) {
    offset = mul(cast<int64_t>(less(n, 0, at), at), static_cast<double>(side), at);
    n = maximum(n, neg(n, at), at);
  } else {
    n = maximum(n, offset, at);
  }
  const auto near = less(n, static_cast<double>(exact), at);
  const auto far = cast<double>(where(near, static_cast<double>(exact), n, at), at);
  const double per = static_cast<double>(side - exact) / std::log(static_cast<double>(most) / static_cast<double>(exact));
  const auto grown =
      cast<int64_t>(add(floor(add(mul(log(mul(far, 1 / static_cast<double>(exact), at), at), per, at), 1e-9, at), at),
                        static_cast<double>(exact), at),
                    at);
  const auto last = mul(add(offset, 1, at), 0, at);
  return add(offset, where(near, n, minimum(grown, add(last, static_cast<double>(side - 1), at), at), at), at);
}
/// A bias [nh, T, S] from a table [buckets, nh], for AttentionOptions::bias.
template <class T = float, class D = Cpu>
struct T5Bias {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight;  // [buckets, nh]
  bool both;
  int64_t most;
  explicit T5Bias(int64_t nh, bool both = true, int64_t buckets = 32, int64_t most = 128, Where at = Where::current())
      : weight(detail::parameter(normal<T, D>({buckets, nh}, 0, 0.02, at))), both(both), most(most) {}
  template <class U, class E>
  explicit T5Bias(const T5Bias<U, E>& o, Where at = Where::current())
      : weight(converted<T, D>(o.weight, at)), both(o.both), most(o.most) {}
  Tensor<T, D> forward(int64_t queries, int64_t keys, int64_t first = 0, Where at = Where::current()) const {
    const auto bucket = t5_buckets(relative_positions<D>(queries, keys, first, at), both, weight.size(0), most, at);
    return permute(embedding(weight, bucket, at), {2, 0, 1}, at);
  }
  void visit(auto&& f) { f("weight", weight); }
};
/// A bias [nh, T, S] that is learnt for each distance up to `most` each way; beyond, the outermost.
template <class T = float, class D = Cpu>
struct RelativeBias {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight;  // [2 most + 1, nh]
  explicit RelativeBias(int64_t nh, int64_t most, Where at = Where::current())
      : weight(detail::parameter(normal<T, D>({2 * most + 1, nh}, 0, 0.02, at))) {}
  template <class U, class E>
  explicit RelativeBias(const RelativeBias<U, E>& o, Where at = Where::current()) : weight(converted<T, D>(o.weight, at)) {}
  Tensor<T, D> forward(int64_t queries, int64_t keys, int64_t first = 0, Where at = Where::current()) const {
    const double most = static_cast<double>((weight.size(0) - 1) / 2);
    const auto distance = cast<double>(relative_positions<D>(queries, keys, first, at), at);
    const auto row = cast<int64_t>(add(clamp(distance, -most, most, at), most, at), at);
    return permute(embedding(weight, row, at), {2, 0, 1}, at);
  }
  void visit(auto&& f) { f("weight", weight); }
};

/// [sin(2 pi x W), cos(2 pi x W)]: x [..., in] -> [..., 2 features]; W normal with deviation `scale`, not trained but saved.
template <class T = float, class D = Cpu>
struct FourierFeatures : Layer<FourierFeatures<T, D>, T, D> {
  Tensor<T, D> W;  // [features, in]
  FourierFeatures(int64_t in, int64_t features, double scale = 1, Where at = Where::current())
      : W(normal<T, D>({features, in}, 0, scale, at)) {}
  template <class U, class E>
  explicit FourierFeatures(const FourierFeatures<U, E>& o, Where at = Where::current()) : W(converted<T, D>(o.W, at)) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    const auto angle = mul(linear(x, W, Tensor<T, D>(), at), 2 * 3.14159265358979323846, at);
    return cat(std::vector<Tensor<T, D>>{sin(angle, at), cos(angle, at)}, -1, at);
  }
  void visit(auto&& f) { f("W", W, buffer); }
  std::string about() const { return std::to_string(W.size(1)) + " -> " + std::to_string(2 * W.size(0)); }
};

/// [cos(t w_i), sin(t w_i)], w_i = longest^(-i / (C / 2)): t [B] -> [B, C]; `scale` multiplies t (1000 for t in [0, 1]).
template <Floating T, class D>
Tensor<T, D> time_features(const Tensor<T, D>& t, int64_t C, double longest = 10000, double scale = 1,
                           Where at = Where::current()) {
  if (C < 2 || C % 2 != 0) fail("time_features", "sines and cosines come in pairs", {{"C", std::to_string(C)}}, "C even", at);
  const auto i = arange<T, D>(0, static_cast<double>(C / 2), 1, at);
  const auto w = exp(mul(i, -std::log(longest) / static_cast<double>(C / 2), at), at);
  const auto angle = mul(mul(unsqueeze(t, -1, at), scale, at), w, at);
  return cat(std::vector<Tensor<T, D>>{cos(angle, at), sin(angle, at)}, -1, at);
}
/// A level t [B] as a vector [B, C]: Linear(SiLU(Linear(time_features(t)))).
template <class T = float, class D = Cpu>
struct TimeEmbedding : Layer<TimeEmbedding<T, D>, T, D> {
  Linear<T, D> in, out;
  int64_t features;
  double scale, longest;
  explicit TimeEmbedding(int64_t C, int64_t features = 256, double scale = 1000, double longest = 10000,
                         Where at = Where::current())
      : in(features, C, true, at), out(C, C, true, at), features(features), scale(scale), longest(longest) {}
  template <class U, class E>
  explicit TimeEmbedding(const TimeEmbedding<U, E>& o, Where at = Where::current())
      : in(o.in, at), out(o.out, at), features(o.features), scale(o.scale), longest(o.longest) {}
  Tensor<T, D> forward(const Tensor<T, D>& t, Where at = Where::current()) const {
    return out.forward(silu(in.forward(time_features(t, features, longest, scale, at), at), at), at);
  }
  void visit(auto&& f) { f("in", in), f("out", out); }
};

}  // namespace gradus::nn
