// Data that papers make up: arithmetic modulo p, mixtures of Gaussians, spirals and moons, strings from template grammars. All are
// functions of their arguments and a stream.
#pragma once
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gradus/data/samplers.hpp>
#include <gradus/ops/create.hpp>

namespace gradus::data {

/// All pairs (a, b) of 0 ... p - 1 with c = f(a, b) mod p.
struct ModularSet {
  int64_t p = 0;
  Tensor<int64_t> x;  ///< [N, 2]
  Tensor<int64_t> t;  ///< [N], 0 to p - 1
  int64_t size() const { return t.numel(); }
};
enum class Modular { add, subtract, multiply, divide, square_sum };
namespace detail {
inline int64_t power_mod(int64_t b, int64_t e, int64_t p) {
  int64_t r = 1 % p;
  for (b %= p; e > 0; e >>= 1, b = b * b % p)
    if (e & 1) r = r * b % p;
  return r;
}
inline bool is_prime(int64_t p) {
  if (p < 2) return false;
  for (int64_t d = 2; d * d <= p; ++d)
    if (p % d == 0) return false;
  return true;
}
}  // namespace detail
/// Power et al. 2022 (Grokking), appendix A.1.1: a + b, a - b, a b, a / b (b != 0, p prime), a^2 + b^2, all modulo p.
inline ModularSet modular_arithmetic(int64_t p, Modular op = Modular::add, Where at = Where::current()) {
  if (p < 2 || p > 30000) fail("modular_arithmetic", "p is out of range", {{"p", std::to_string(p)}}, "2 to 30000", at);
  if (op == Modular::divide && !detail::is_prime(p))
    fail("modular_arithmetic", "division needs inverses", {{"p", std::to_string(p)}}, "a prime", at);
  ModularSet s;
  s.p = p;
  const int64_t first = op == Modular::divide ? 1 : 0, n = p * (p - first);
  s.x = Tensor<int64_t>(Shape{n, 2}, at), s.t = Tensor<int64_t>(Shape{n}, at);
  int64_t i = 0;
  for (int64_t a = 0; a < p; ++a)
    for (int64_t b = first; b < p; ++b, ++i) {
      s.x.data()[2 * i] = a, s.x.data()[2 * i + 1] = b;
      int64_t c = 0;
      if (op == Modular::add) c = a + b;
      else if (op == Modular::subtract) c = a - b + p;
      else if (op == Modular::multiply) c = a * b;
      else if (op == Modular::divide) c = a * detail::power_mod(b, p - 2, p);
      else c = a * a + b * b;
      s.t.data()[i] = c % p;
    }
  return s;
}

/// Points and their classes.
struct PointSet {
  Tensor<float> x;    ///< [N, D]
  Tensor<int64_t> t;  ///< [N]
};
/// n points of a mixture: component k with probability weights[k] (equal when empty), mean means[k], covariance deviation^2 I.
inline PointSet gaussian_mixture(int64_t n, const std::vector<std::vector<double>>& means, double deviation, RandomStream stream,
                                 const std::vector<double>& weights = {}, Where at = Where::current()) {
  if (means.empty() || n < 0 || !(deviation >= 0) || (!weights.empty() && weights.size() != means.size()))
    fail("gaussian_mixture", "options out of range", {{"n", std::to_string(n)}, {"means", std::to_string(means.size())}, {"deviation", std::to_string(deviation)}},
         "n >= 0, deviation >= 0, at least one mean, and no weights or one for each mean", at);
  const auto dim = static_cast<int64_t>(means[0].size());
  for (const auto& m : means)
    if (static_cast<int64_t>(m.size()) != dim)
      fail("gaussian_mixture", "means of different lengths", {{"first", std::to_string(dim)}, {"another", std::to_string(m.size())}}, "one length", at);
  const Indices k = weights.empty() ? Indices{} : weighted(weights, n, detail::part_of_stream(stream, 1), at);
  PointSet s{Tensor<float>(Shape{n, dim}, at), Tensor<int64_t>(Shape{n}, at)};
  for (int64_t i = 0; i < n; ++i) {
    Draws d(stream, static_cast<uint64_t>(i));
    const int64_t c = weights.empty() ? d.below(static_cast<int64_t>(means.size())) : k[static_cast<std::size_t>(i)];
    s.t.data()[i] = c;
    for (int64_t j = 0; j < dim; ++j)
      s.x.data()[i * dim + j] = static_cast<float>(means[static_cast<std::size_t>(c)][static_cast<std::size_t>(j)] + deviation * d.normal());
  }
  return s;
}
/// Means evenly on a circle: the ring of `components` Gaussians that generative papers draw.
inline std::vector<std::vector<double>> ring_means(int64_t components, double radius = 1) {
  std::vector<std::vector<double>> means;
  for (int64_t k = 0; k < components; ++k) {
    const double a = 2 * 3.14159265358979323846 * static_cast<double>(k) / static_cast<double>(components);
    means.push_back({radius * std::cos(a), radius * std::sin(a)});
  }
  return means;
}
/// Two half circles that reach into each other, with Gaussian noise.
inline PointSet moons(int64_t n, double noise, RandomStream stream, Where at = Where::current()) {
  PointSet s{Tensor<float>(Shape{n, 2}, at), Tensor<int64_t>(Shape{n}, at)};
  for (int64_t i = 0; i < n; ++i) {
    Draws d(stream, static_cast<uint64_t>(i));
    const int64_t c = i % 2;
    const double a = 3.14159265358979323846 * d.uniform(), x = std::cos(a), y = std::sin(a);
    s.t.data()[i] = c;
    s.x.data()[2 * i] = static_cast<float>((c ? 1 - x : x) + noise * d.normal());
    s.x.data()[2 * i + 1] = static_cast<float>((c ? 0.5 - y : y) + noise * d.normal());
  }
  return s;
}
/// `arms` spirals around the origin, `turns` turns each.
inline PointSet spirals(int64_t n, int64_t arms, double turns, double noise, RandomStream stream, Where at = Where::current()) {
  if (arms < 1) fail("spirals", "no arms", {{"arms", std::to_string(arms)}}, "at least 1", at);
  PointSet s{Tensor<float>(Shape{n, 2}, at), Tensor<int64_t>(Shape{n}, at)};
  for (int64_t i = 0; i < n; ++i) {
    Draws d(stream, static_cast<uint64_t>(i));
    const int64_t c = i % arms;
    const double r = d.uniform(), a = 2 * 3.14159265358979323846 * (turns * r + static_cast<double>(c) / static_cast<double>(arms));
    s.t.data()[i] = c;
    s.x.data()[2 * i] = static_cast<float>(r * std::cos(a) + noise * d.normal());
    s.x.data()[2 * i + 1] = static_cast<float>(r * std::sin(a) + noise * d.normal());
  }
  return s;
}

/// A grammar of templates: a word in braces stands for one of its alternatives, drawn with equal chances, in which braces may occur again.
///     data::Grammar g({{"S", {"the {N} {V} the {N}"}}, {"N", {"cat", "big {N}"}}, {"V", {"sees", "likes"}}});
///     g.text("S", {seed, stream}, 7);                // the 7th text: "the cat likes the big cat"
class Grammar {
 public:
  using Rules = std::map<std::string, std::vector<std::string>>;
  explicit Grammar(Rules rules, int max_depth = 40, Where at = Where::current()) : rules_(std::move(rules)), max_depth_(max_depth) {
    for (const auto& [name, alternatives] : rules_) {
      if (alternatives.empty()) fail("Grammar", "a symbol without alternatives", {{"symbol", name}}, "at least one", at);
      for (const auto& a : alternatives)
        parse(a, name, at, [&](const std::string& word) {
          if (!rules_.contains(word))
            fail("Grammar", "a symbol without a rule", {{"symbol", word}, {"in", "\"" + a + "\" of " + name}}, "a rule for it", at);
        });
    }
  }
  std::string text(const std::string& start, RandomStream stream, uint64_t index, Where at = Where::current()) const {
    Draws d(stream, index);
    return expand(start, d, 0, nullptr, at);
  }
  /// The same, with the words that each symbol became, in the order of the text: labels for tagging and probing.
  std::string text(const std::string& start, RandomStream stream, uint64_t index, std::vector<std::pair<std::string, std::string>>& parts,
                   Where at = Where::current()) const {
    Draws d(stream, index);
    return expand(start, d, 0, &parts, at);
  }

 private:
  template <class F>
  static std::string parse(const std::string& s, const std::string& name, Where at, F symbol, std::function<std::string(const std::string&)> put = {}) {
    std::string out;
    for (std::size_t i = 0; i < s.size();) {
      if (s[i] != '{') {
        out += s[i++];
        continue;
      }
      const auto end = s.find('}', i);
      if (end == s.npos) fail("Grammar", "a brace that does not close", {{"in", "\"" + s + "\" of " + name}}, "}", at);
      const std::string word = s.substr(i + 1, end - i - 1);
      symbol(word);
      if (put) out += put(word);
      i = end + 1;
    }
    return out;
  }
  std::string expand(const std::string& name, Draws& d, int depth, std::vector<std::pair<std::string, std::string>>* parts, Where at) const {
    const auto rule = rules_.find(name);
    if (rule == rules_.end()) fail("Grammar", "no such symbol", {{"symbol", name}}, "a symbol with a rule", at);
    if (depth > max_depth_)
      fail("Grammar", "the text nests too deeply", {{"symbol", name}}, "at most " + std::to_string(max_depth_) + " levels: rules that end", at);
    const auto& a = rule->second[static_cast<std::size_t>(d.below(static_cast<int64_t>(rule->second.size())))];
    const std::size_t mine = parts ? parts->size() : 0;
    if (parts) parts->emplace_back(name, "");
    const std::string s = parse(a, name, at, [](const std::string&) {}, [&](const std::string& w) { return expand(w, d, depth + 1, parts, at); });
    if (parts) (*parts)[mine].second = s;
    return s;
  }
  Rules rules_;
  int max_depth_;
};

}  // namespace gradus::data
