// Vectors as codes, with gradients straight through the rounding (Bengio, Leonard, Courville 2013).
//
//   FSQ  b = tanh(z + shift) half - offset,  code = round(b) / floor(L / 2) in each channel of L levels      Mentzer et al.
//   2023
//        half = (L - 1)(1 + eps) / 2, offset = 1/2 for even L, else 0, shift = atanh(offset / half)
//        index = sum_l (code_l w_l + w_l) B_l,  w_l = floor(L_l / 2),  B_l = L_0 ... L_{l-1}
//   VQ   code = the row of the table nearest to z                                                   van den Oord et al. 2017
//        loss = |sg(z) - e|^2 + beta |z - sg(e)|^2, or rows as running means of what they stand for: Razavi et al. 2019
#pragma once
#include <gradus/nn/call.hpp>
#include <gradus/ops/index.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/random.hpp>

namespace gradus::nn {

/// `value` exactly, with the gradient of x.
template <Floating T, class D>
Tensor<T, D> pass_through(const Tensor<T, D>& x, const Tensor<T, D>& value, Where at = Where::current()) {
  if (!(x.shape() == value.shape()))
    fail("pass_through", "the shapes differ", {{"x", describe(x)}, {"value", describe(value)}}, "equal shapes", at);
  Tensor<T, D> y = no_grad([&] { return clone(value, at); });
  if (gradus::detail::wants_grad(x)) gradus::detail::record<CloneNode<T, D>>(y, at, x);
  return y;
}

/// Finite scalar quantisation; no parameters. z [..., C] with C = the number of levels given.
template <class T = float, class D = Cpu>
struct Fsq : Layer<Fsq<T, D>, T, D> {
  std::vector<int64_t> levels;
  double eps;

  explicit Fsq(std::vector<int64_t> levels, double eps = 1e-3, Where at = Where::current())
      : levels(std::move(levels)), eps(eps) {
    bool fits = !this->levels.empty();
    double codes = 1;
    for (const int64_t L : this->levels) fits = fits && L >= 2, codes *= static_cast<double>(L);
    if (!fits || codes > 0x1p62)
      fail("Fsq", "no levels", {{"channels", std::to_string(this->levels.size())}},
           "at least 2 levels a channel, fewer than 2^62 codes", at);
  }
  int64_t codes() const {
    int64_t n = 1;
    for (const int64_t L : levels) n *= L;
    return n;
  }
  /// tanh(z + shift) half - offset: what is rounded.
  Tensor<T, D> bound(const Tensor<T, D>& z, Where at = Where::current()) const {
    check(z, at);
    const auto half = row([&](int64_t L) { return half_of(L); }, at),
               offset = row([](int64_t L) { return L % 2 ? 0.0 : 0.5; }, at);
    const auto shift = row([&](int64_t L) { return std::atanh((L % 2 ? 0.0 : 0.5) / half_of(L)); }, at);
    return sub(mul(gradus::tanh(add(z, shift, at), at), half, at), offset, at);
  }
  /// The codes of z, in [-1, 1].
  Tensor<T, D> forward(const Tensor<T, D>& z, Where at = Where::current()) const {
    const auto b = bound(z, at);
    return div(pass_through(b, round(b.detach(), at), at), widths(at), at);
  }
  /// Codes [..., C] -> indices [...].
  Tensor<int64_t, D> index(const Tensor<T, D>& code, Where at = Where::current()) const {
    check(code, at);
    const NoGrad guard;
    const auto digit = round(cast<double>(add(mul(code, widths(at), at), widths(at), at), at), at);
    std::vector<int64_t> basis{1};
    for (std::size_t l = 0; l + 1 < levels.size(); ++l) basis.push_back(basis.back() * levels[l]);
    return sum(mul(cast<int64_t>(digit, at), to_device<D>(from_vector<int64_t>(basis, at), at), at), {-1}, false, at);
  }
  /// Indices [...] -> codes [..., C].
  Tensor<T, D> code(const Tensor<int64_t, D>& index, Where at = Where::current()) const {
    const NoGrad guard;
    std::vector<Tensor<int64_t, D>> digits;
    auto rest = index;
    for (const int64_t L : levels) {
      const auto base = full<int64_t, D>(Shape{}, static_cast<double>(L), at);
      digits.push_back(remainder(rest, base, at)), rest = floor_divide(rest, base, at);
    }
    return div(sub(cast<T>(stack(digits, -1, at), at), widths(at), at), widths(at), at);
  }
  void visit(auto&&) {}
  std::string about() const { return std::to_string(levels.size()) + " channels, " + std::to_string(codes()) + " codes"; }

 private:
  double half_of(int64_t L) const { return static_cast<double>(L - 1) * (1 + eps) / 2; }
  template <class F>
  Tensor<T, D> row(F f, Where at) const {
    std::vector<double> v;
    for (const int64_t L : levels) v.push_back(f(L));
    return cast<T>(to_device<D>(from_vector<double>(v, at), at), at);
  }
  Tensor<T, D> widths(Where at) const {
    return row([](int64_t L) { return static_cast<double>(L / 2); }, at);
  }
  void check(const AnyTensor& z, Where at) const {
    if (z.rank() < 1 || z.shape().back() != static_cast<int64_t>(levels.size()))
      fail("Fsq", "not one channel a level", {{"z", describe(z)}}, "z [..., " + std::to_string(levels.size()) + "]", at);
  }
};

struct VectorQuantizerOptions {
  double commitment = 0.25;  ///< beta
  double decay = 0;          ///< of the running means; 0: the table is trained by the loss
  double eps = 1e-5;         ///< added to the counts (Laplace), so that rows without vectors stay finite
};
/// A table [K, C] of codes.
template <class T = float, class D = Cpu>
struct VectorQuantizer {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> table;         // [K, C]; a parameter, or state when it is a running mean
  Tensor<T, D> counts, sums;  // [K], [K, C] running, of the second kind
  VectorQuantizerOptions options;
  bool training = true;

  struct Output {
    Tensor<T, D> codes;        ///< z's shape: rows of the table, with z's gradient
    Tensor<int64_t, D> index;  ///< z's shape without C
    Tensor<T, D> loss;         ///< a number
  };

  /// Starts uniform in +-1 / K.
  VectorQuantizer(int64_t K, int64_t C, VectorQuantizerOptions o = {}, Where at = Where::current())
      : table(uniform<T, D>({K, C}, -1 / static_cast<double>(K), 1 / static_cast<double>(K), at)), options(o) {
    if (!(o.decay >= 0 && o.decay < 1))
      fail("VectorQuantizer", "no such decay", {{"decay", std::to_string(o.decay)}}, "0 <= decay < 1", at);
    if (o.decay > 0) counts = ones<T, D>({K}, at), sums = no_grad([&] { return clone(table, at); });
    else table.requires_grad_();
  }
  template <class U, class E>
  explicit VectorQuantizer(const VectorQuantizer<U, E>& o, Where at = Where::current())
      : table(converted<T, D>(o.table, at)),
        counts(converted<T, D>(o.counts, at)),
        sums(converted<T, D>(o.sums, at)),
        options(o.options),
        training(o.training) {}

  /// The nearest rows.
  Tensor<int64_t, D> index(const Tensor<T, D>& z, Where at = Where::current()) const {
    if (z.rank() < 1 || z.shape().back() != table.size(1))
      fail("VectorQuantizer", "the vectors do not match the table", {{"z", describe(z)}, {"table", describe(table)}},
           "z [..., C]", at);
    const NoGrad guard;
    const auto rows = gradus::reshape(z, {-1, table.size(1)}, at);  // |z - e|^2 without |z|^2, which is the same for all e
    const auto distance =
        sub(sum(square(table, at), {1}, false, at), mul(matmul(rows, transpose(table, 0, 1, at), at), 2, at), at);
    Shape s = z.shape();
    s.erase(s.n - 1);
    return gradus::reshape(argmin(distance, -1, false, at), s, at);
  }
  Output forward(const Tensor<T, D>& z, Where at = Where::current()) const {
    const auto idx = index(z, at);
    const auto e = embedding(table, idx, at);
    auto loss = mul(mean(square(sub(z, e.detach(), at), at), {}, false, at), options.commitment, at);
    if (options.decay == 0) loss = add(loss, mean(square(sub(e, z.detach(), at), at), {}, false, at), at);
    const auto codes = pass_through(z, e.detach(), at);
    if (training && options.decay > 0) follow(z, idx, at);
    return {codes, idx, loss};
  }
  Output operator()(const Tensor<T, D>& z, Where at = Where::current()) const { return forward(z, at); }
  /// Rows of the table for indices [...]: [..., C].
  Tensor<T, D> code(const Tensor<int64_t, D>& idx, Where at = Where::current()) const { return embedding(table, idx, at); }
  void visit(auto&& f) {
    if (options.decay > 0) f("table", table, buffer), f("counts", counts, buffer), f("sums", sums, buffer);
    else f("table", table);
    f("training", training);
  }
  std::string about() const { return std::to_string(table.size(0)) + " codes of " + std::to_string(table.size(1)); }

 private:
  void follow(const Tensor<T, D>& z, const Tensor<int64_t, D>& idx, Where at) const {
    const NoGrad guard;
    const int64_t K = table.size(0), C = table.size(1), n = idx.numel();
    const auto rows = gradus::reshape(z, {n, C}, at);
    const auto flat = gradus::reshape(idx, {n}, at);
    Tensor<T, D> N = counts, m = sums, e = table;  // handles: the members' memory is written
    N.copy_(lerp(index_add(zeros<T, D>({K}, at), 0, flat, ones<T, D>({n}, at), at), N, options.decay, at), at);
    m.copy_(lerp(index_add(zeros<T, D>({K, C}, at), 0, flat, rows, at), m, options.decay, at), at);
    const auto total = sum(N, {}, false, at);
    const auto smooth = mul(div(add(N, options.eps, at), add(total, static_cast<double>(K) * options.eps, at), at), total, at);
    e.copy_(div(m, unsqueeze(smooth, 1, at), at), at);
  }
};
/// e^H of how often each of K codes occurs: between 1 and K.
template <class D>
double perplexity(const Tensor<int64_t, D>& index, int64_t K, Where at = Where::current()) {
  const NoGrad guard;
  const int64_t n = index.numel();
  const auto count = index_add(zeros<double, D>({K}, at), 0, gradus::reshape(index, {n}, at), ones<double, D>({n}, at), at);
  const auto p = mul(count, 1 / static_cast<double>(n), at);
  return std::exp(-sum(mul(p, log(where(equal(p, 0, at), 1.0, p, at), at), at), {}, false, at).item());
}

}  // namespace gradus::nn
