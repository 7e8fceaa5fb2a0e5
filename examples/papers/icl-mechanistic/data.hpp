// Item-label sequences of a Gaussian mixture: x_1, l_1, ..., x_N, l_N, x_target. A token is [position, one-hot of size P |
// content, D].
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gradus/data/draws.hpp>
#include <gradus/ops.hpp>

namespace icl {

using namespace gradus;

struct Mixture {
  int64_t N = 4, Nmax = 4, L = 16, K = 256, D = 31;
  int64_t B = 1;                // copies of each class in a bursty context
  double pB = 1, pC = 1;        // shares of bursty sequences and of sequences of novel classes
  double eps = 0.1, alpha = 0;  // noise within a class; p(k) ~ k^-alpha
  bool pool = false,
       distinct = false;  // novel classes from a pool of 128, not fresh; distinct labels in contexts of known classes

  int64_t P() const { return 2 * Nmax + 1; }
  int64_t T() const { return 2 * N + 1; }
  int64_t d() const { return P() + D; }
  void check(Where at = Where::current()) const {
    const auto bad = [&](const char* option, const std::string& given, const std::string& expected) {
      fail(option, "not a data set", {{option, given}}, expected, at);
    };
    const auto text = [](auto x) { return std::to_string(x); };
    if (N < 2) bad("--N", text(N), "at least 2 pairs");
    if (Nmax < N) bad("--Nmax", text(Nmax), "at least N = " + text(N));
    if (L < 2) bad("--L", text(L), "at least 2 labels");
    if (K < 1 || K % L) bad("--K", text(K), "a multiple of L = " + text(L));
    if (D < 1) bad("--dim", text(D), "at least 1");
    if (B < 1 || N % B) bad("--B", text(B), "a divisor of N = " + text(N) + "; no bursts: --pB 0");
    if (!(pB >= 0 && pB <= 1)) bad("--pB", text(pB), "0 to 1");
    if (!(pC >= 0 && pC <= 1)) bad("--pC", text(pC), "0 to 1");
    if (!(eps >= 0) || !std::isfinite(eps)) bad("--eps", text(eps), "a finite number >= 0");
    if (!(alpha >= 0) || !std::isfinite(alpha)) bad("--alpha", text(alpha), "a finite number >= 0");
    if (L < N / B)
      bad("--L", text(L), "at least the N / B = " + text(N / B) + " classes of a context, which have distinct labels");
  }
};

template <class T, class D>
struct Sequences {
  Tensor<T, D> u;              // [n, 2N + 1, P + D]
  Tensor<int64_t, D> context;  // [n, N], labels as they stand in the context
  Tensor<int64_t, D> answer;   // [n]
  std::vector<int64_t> row;    // [n, N + 1], class of each item, K and more: novel
  std::vector<int64_t> start;  // [n], s: column of the first token's one
  int64_t size() const { return answer.numel(); }
};

/// What is fixed before training: means of classes, label vectors, frequencies.
template <class T, class D>
class World {
 public:
  static constexpr int64_t kPool = 128;
  Mixture m;
  Tensor<T, D> mu, label;  // [K, D] and [L, D], rows ~ N(0, I/D)

  explicit World(const Mixture& mixture, Where at = Where::current()) : m(mixture) {
    m.check(at);
    mu = gaussian(m.K), label = gaussian(m.L), pool_ = gaussian(kPool);
    one_hots_ = eye<T, D>(m.P());
    double sum = 0;
    for (int64_t k = 1; k <= m.K; ++k) cumulative_.push_back(sum += std::pow(static_cast<double>(k), -m.alpha));
  }

  /// n sequences of the training distribution.
  Sequences<T, D> draw(int64_t n) const { return draw(n, m.pB, m.pC); }
  /// ICL: novel classes, bursty. Swap: known classes, bursty, each label l shown as l + 1 mod L. IWL: the context does not
  /// help.
  Sequences<T, D> icl(int64_t n) const { return draw(n, 1, 1); }
  Sequences<T, D> swap(int64_t n) const { return draw(n, 1, 0, 1); }
  Sequences<T, D> iwl(int64_t n) const { return draw(n, 0, 0); }

  Sequences<T, D> draw(int64_t n, double pB, double pC, int64_t shift = 0) const {
    const NoGrad guard;
    const int64_t N = m.N, L = m.L, groups = N / m.B;
    Sequences<T, D> s;
    std::vector<int64_t> context, answer, at, order(static_cast<std::size_t>(L));
    std::vector<std::pair<int64_t, int64_t>> c;  // class and label of each context item, then of the target
    const RandomStream stream = generator().draw();
    for (int64_t i = 0; i < n; ++i) {
      data::Draws r(stream, static_cast<uint64_t>(i));
      const bool novel = r.chance(pC), bursty = r.chance(pB);
      c.clear();
      if (novel && !m.pool) {  // fresh means, labels without repeats: the first steps of a shuffle of all L
        for (int64_t l = 0; l < L; ++l) order[static_cast<std::size_t>(l)] = l;
        for (int64_t g = 0; g < groups; ++g) {
          std::swap(order[static_cast<std::size_t>(g)], order[static_cast<std::size_t>(g + r.below(L - g))]);
          c.emplace_back(m.K + i * groups + g, order[static_cast<std::size_t>(g)]);
        }
      }
      const auto known = [&] {
        const double x = r.uniform() * cumulative_.back();
        const auto k = std::upper_bound(cumulative_.begin(), cumulative_.end(), x) - cumulative_.begin();
        return std::min<int64_t>(k, m.K - 1);
      };
      const auto one = [&]() -> std::pair<int64_t, int64_t> {
        const int64_t k = novel ? r.below(kPool) : known();
        return {novel ? m.K + k : k, k % L};
      };
      if (novel || bursty) {
        while (static_cast<int64_t>(c.size()) < groups) {
          const auto next = one();
          const bool seen = std::any_of(c.begin(), c.end(), [&](const auto& other) { return other.second == next.second; });
          if (!m.distinct || !seen) c.push_back(next);
        }
        for (int64_t k = groups; k < N; ++k) c.push_back(c[static_cast<std::size_t>(k % groups)]);
        for (int64_t k = N - 1; k > 0; --k)
          std::swap(c[static_cast<std::size_t>(k)], c[static_cast<std::size_t>(r.below(k + 1))]);
        c.push_back(c[static_cast<std::size_t>(r.below(N))]);
      } else {
        for (int64_t k = 0; k <= N; ++k) c.push_back(one());
      }
      for (int64_t k = 0; k <= N; ++k) {
        const auto [row, l] = c[static_cast<std::size_t>(k)];
        s.row.push_back(row);
        (k < N ? context : answer).push_back((l + shift) % L);
      }
      const int64_t start = r.below(m.P() - m.T() + 1);
      s.start.push_back(start);
      for (int64_t t = 0; t < m.T(); ++t) at.push_back(start + t);
    }
    const auto on_device = [](const std::vector<int64_t>& v) { return from_vector(v).template to<D>(); };
    const auto means = pC > 0 ? cat(std::vector{mu, m.pool ? pool_ : gaussian(n * groups)}, 0) : mu;
    const auto eta = gaussian(n * (N + 1));
    const auto x = (1 / std::sqrt(1 + m.eps * m.eps)) * (index_select(means, 0, on_device(s.row)) + m.eps * eta);
    const auto items = x.reshape({n, N + 1, m.D});
    const auto labels = index_select(label, 0, on_device(context)).reshape({n, N, m.D});
    const auto pairs = stack(std::vector{narrow(items, 1, 0, N), labels}, 2).reshape({n, 2 * N, m.D});
    const auto content = cat(std::vector{pairs, narrow(items, 1, N, 1)}, 1);
    s.u = cat(std::vector{index_select(one_hots_, 0, on_device(at)).reshape({n, m.T(), m.P()}), content}, 2);
    s.context = on_device(context).reshape({n, N}), s.answer = on_device(answer);
    return s;
  }

 private:
  Tensor<T, D> gaussian(int64_t rows) const { return normal<T, D>({rows, m.D}, 0, 1 / std::sqrt(static_cast<double>(m.D))); }
  Tensor<T, D> pool_, one_hots_;
  std::vector<double> cumulative_;  // of k^-alpha
};

}  // namespace icl
