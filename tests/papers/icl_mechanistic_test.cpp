// Exact properties of the in-context example: nested logits, the generator of sequences, attention, measures.
#include "icl-mechanistic/model.hpp"

#include <gradus/debug/gradcheck.hpp>
#include <gradus/optim.hpp>

#include "support/catch.hpp"

using namespace icl;

TEST_CASE("nested logits: at 0 only xi has a gradient, 1/L - 1/N", "[papers]") {
  for (const int64_t N : {2, 4, 8, 32}) {
    const std::vector<double> L{static_cast<double>(N), N + 1.0, N + 4.0, 2.0 * N, 4.0 * N};
    const auto labels = from_vector(L);
    const auto zero = zeros<double>({3, 5});
    const auto loss = nested_logits(zero, N, labels).to_vector(), g = nested_gradient(zero, N, labels).to_vector();
    for (std::size_t l = 0; l < 5; ++l) {
      CHECK(std::abs(loss[l] - std::log(L[l])) < 1e-12);
      CHECK(std::abs(g[l]) < 1e-12);
      CHECK(std::abs(g[5 + l]) < 1e-12);
      CHECK(std::abs(g[10 + l] - (1 / L[l] - 1 / static_cast<double>(N))) < 1e-12);
    }
  }
}

TEST_CASE("nested logits: descent from 0 stays at log N if L = N and jumps if L = 32, N = 8", "[papers]") {
  const auto r = descend<Cpu>(8, {8, 32}, 2000, {0, 0, 0});
  double away = 0;
  for (const double loss : r.loss[0]) away = std::max(away, std::abs(loss - std::log(8.0)));
  CHECK(away < 1e-9);
  CHECK(r.jump[0] == -1);
  CHECK((r.jump[1] > 0 && r.jump[1] <= 2000));
}

TEST_CASE("nested logits: fewer labels than 4 N jump later", "[papers]") {
  // The steps were computed once by another program.
  const auto r = descend<Cpu>(8, {32, 16, 12, 9}, 2400, {1e-3, 1e-3, 1e-3});
  CHECK(r.jump == std::vector<int64_t>{981, 1200, 1449, 2318});
}

TEST_CASE("nested logits: gradcheck", "[papers]") {
  manual_seed(5);
  const auto L = from_vector(std::vector<double>{8, 9, 32});
  auto theta = randn<double>({3, 3});
  theta.requires_grad_();
  gradcheck([&](const Tensor<double>& x) { return nested_logits(x, 8, L); }, theta);
}

TEST_CASE("sequences: positions, labels, answers", "[papers]") {
  Mixture m{.N = 4, .Nmax = 6, .L = 8, .K = 32, .D = 16, .B = 2, .eps = 0};
  manual_seed(1);
  const World<double, Cpu> w(m);
  const auto mu = w.mu.to_vector();
  for (const int64_t shift : {0, 1}) {
    const auto s = shift ? w.swap(200) : w.draw(200, 1, 0);
    const auto u = s.u.to_vector(), table = w.label.to_vector();
    const auto context = s.context.to_vector(), answer = s.answer.to_vector();
    const auto at = [&](int64_t i, int64_t t, int64_t c) { return u[static_cast<std::size_t>((i * m.T() + t) * m.d() + c)]; };
    bool positions = true, items = true, labels = true, answers = true, bursts = true;
    std::vector<int> starts(static_cast<std::size_t>(m.P() - m.T() + 1), 0);
    for (int64_t i = 0; i < 200; ++i) {
      const int64_t start = s.start[static_cast<std::size_t>(i)];
      ++starts[static_cast<std::size_t>(start)];
      const auto row = [&](int64_t k) { return s.row[static_cast<std::size_t>(i * 5 + k)]; };
      bool found = false;
      for (int64_t t = 0; t < m.T(); ++t) {
        for (int64_t c = 0; c < m.P(); ++c) positions &= at(i, t, c) == (c == start + t ? 1 : 0);
        const int64_t k = t / 2;
        for (int64_t c = 0; c < m.D; ++c) {
          const double x = at(i, t, m.P() + c);
          if (t % 2 == 0) items &= x == mu[static_cast<std::size_t>(row(k) * m.D + c)];
          else labels &= x == table[static_cast<std::size_t>(context[static_cast<std::size_t>(i * 4 + k)] * m.D + c)];
        }
      }
      for (int64_t k = 0; k < 4; ++k) {
        labels &= context[static_cast<std::size_t>(i * 4 + k)] == (row(k) % 8 + shift) % 8;
        int copies = 0;
        for (int64_t j = 0; j < 4; ++j) copies += row(j) == row(k);
        bursts &= copies == 2 || copies == 4;  // 4: the same class drawn twice
        found |= row(k) == row(4);
      }
      answers &= found && answer[static_cast<std::size_t>(i)] == (row(4) % 8 + shift) % 8;
    }
    CHECK((positions && items && labels && answers && bursts));
    for (const int n : starts) CHECK(n > 20);  // 40 of each of the 5
  }
}

TEST_CASE("sequences: novel classes are outside the known ones, with distinct labels when fresh", "[papers]") {
  for (const bool pool : {false, true}) {
    manual_seed(2);
    const World<float, Cpu> w({.pool = pool});
    const auto s = w.icl(300);
    const auto context = s.context.to_vector();
    bool outside = true, distinct = true;
    for (const int64_t k : s.row) outside &= k >= w.m.K;
    for (std::size_t i = 0; i < 300; ++i)
      for (std::size_t a = 0; a < 4; ++a)
        for (std::size_t b = 0; b < a; ++b) distinct &= context[4 * i + a] != context[4 * i + b];
    CHECK(outside);
    CHECK(distinct == !pool);
    // Without novel classes the training sequences and the swap and IWL sets know the K classes only.
    for (const auto& known : {w.draw(100, 0.5, 0), w.swap(100), w.iwl(100)})
      CHECK(std::all_of(known.row.begin(), known.row.end(), [&](int64_t k) { return k >= 0 && k < w.m.K; }));
  }
  manual_seed(3);
  const World<float, Cpu> w({.distinct = true});
  const auto c = w.swap(200).context.to_vector();
  for (std::size_t i = 0; i < 200; ++i)
    for (std::size_t a = 1; a < 4; ++a) CHECK(c[4 * i + a] != c[4 * i]);
}

TEST_CASE("sequences: class frequencies are k^-alpha; equal seeds give equal sequences", "[papers]") {
  const Mixture m{.N = 2, .Nmax = 2, .L = 2, .K = 4, .alpha = 1};
  manual_seed(4);
  const World<float, Cpu> w(m);
  std::vector<double> share(4, 0);
  const auto s = w.iwl(4000);
  for (const int64_t k : s.row) share[static_cast<std::size_t>(k)] += 1.0 / 12000;
  for (std::size_t k = 0; k < 4; ++k) CHECK(share[k] == Approx(1 / (k + 1.0) / (1 + 0.5 + 1 / 3.0 + 0.25)).margin(0.015));
  manual_seed(4);
  const World<float, Cpu> again(m);
  CHECK(again.iwl(4000).u.to_vector() == s.u.to_vector());
}

TEST_CASE("items have variance 1/D whatever the noise", "[papers]") {
  for (const double eps : {0.0, 0.5, 2.0}) {
    manual_seed(6);
    const World<double, Cpu> w({.eps = eps});
    const auto s = w.icl(2000);
    CHECK(mean(square(narrow(narrow(s.u, 2, w.m.P(), w.m.D), 1, 0, 5, 2))).item() * 31 == Approx(1.0).epsilon(0.02));
  }
}

TEST_CASE("the network's shortcut for the target equals two whole layers", "[papers]") {
  manual_seed(7);
  const Mixture m{.Nmax = 6};
  const World<double, Cpu> w(m);
  const Network<double> net(m, {.s = 0.3, .biases = true, .unit_bias = true});
  const auto s = w.draw(5);
  Maps<double, Cpu> maps;
  const auto y = net(s.u, &maps);
  auto u = s.u;
  Tensor<double> p;
  for (std::size_t k = 0; k < 2; ++k) {
    p = softmax(matmul(linear(u, net.Q[k]), transpose(linear(u, net.K[k]), 1, 2)) + causal<double, Cpu>(9));
    u = u + matmul(p, linear(u, net.V[k]));
  }
  const auto whole = net.mlp(select(u, 1, 8));
  CHECK(amax(abs(whole - y)).item() < 1e-12);
  CHECK(amax(abs(select(p, 1, 8) - maps.p2)).item() < 1e-12);
  CHECK(amax(abs(sum(maps.p1, 2) - 1.0)).item() < 1e-12);
  CHECK(amax(abs(triu(maps.p1, 1))).item() == 0);
}

TEST_CASE("an ideal induction head has measures 1", "[papers]") {
  manual_seed(8);
  const Mixture m{.N = 4, .Nmax = 4, .L = 16, .K = 256, .D = 31};
  const World<double, Cpu> w(m);
  const auto s = w.icl(50);
  struct Ideal {  // attends from labels to the items before them and from the target to the right label
    const World<double, Cpu>& w;
    const Sequences<double, Cpu>& s;
    Tensor<double> operator()(const Tensor<double>& u, Maps<double, Cpu>* maps) const {
      const auto right = equal(s.context, unsqueeze(s.answer, 1)).to<double>();
      const auto none = zeros<double>({u.size(0), 4});
      maps->p1 = previous<double, Cpu>(9);
      maps->p2 = cat(std::vector{stack(std::vector{none, right}, 2).reshape({u.size(0), 8}), zeros<double>({u.size(0), 1})}, 1);
      return one_hot<double>(s.answer, w.m.L);
    }
  };
  const auto r = measure(Ideal{w, s}, s);
  CHECK((r.accuracy == 1 && r.CLA == 1));
  CHECK((r.ILA == Approx(1.0) && r.TLA == Approx(1.0) && r.TILA == Approx(1.0)));
}

TEST_CASE("reduced head: beta1 = beta2 = 0 attends evenly, large ones find the label", "[papers]") {
  manual_seed(9);
  const Mixture m{.eps = 0};
  const World<double, Cpu> w(m);
  ReducedHead<double> head(m);
  const auto s = w.icl(100);
  const NoGrad guard;
  head.beta1.fill_(0), head.beta2.fill_(0);
  const auto even = measure(head, s);
  CHECK(even.TLA == Approx(4.0 / 9));
  CHECK(even.ILA == Approx((1 / 2.0 + 1 / 4.0 + 1 / 6.0 + 1 / 8.0) / 4));
  head.beta1.fill_(50), head.beta2.fill_(60);
  const auto sharp = measure(head, s);
  CHECK(sharp.ILA == Approx(1.0));
  // The first item sees itself only, as its label does: a target of its class attends to both.
  const auto first = equal(select(s.context, 1, 0), s.answer).to<double>();
  CHECK(sharp.TILA == Approx(1 - mean(first).item() / 2).epsilon(1e-3));
}

TEST_CASE("decoupled decay: theta <- (1 - 1e-6) theta - lr g", "[papers]") {
  auto x = from_vector(std::vector<double>{2.0, -3.0});
  x.requires_grad_();
  optim::Sgdw opt(std::vector{x}, {.lr = 0.01, .weight_decay = 1e-6 / 0.01});
  sum(5.0 * x).backward();
  opt.step();
  CHECK(x.to_vector()[0] == Approx((1 - 1e-6) * 2 - 0.05).epsilon(1e-14));
}

TEST_CASE("wrong data settings name option, value and expectation", "[papers]") {
  const auto message = [](const Mixture& m) {
    try {
      m.check();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  const auto has = [&](const Mixture& m, const char* part) { return message(m).find(part) != std::string::npos; };
  CHECK((has({.K = 250}, "--K") && has({.K = 250}, "250") && has({.K = 250}, "a multiple of L = 16")));
  CHECK(has({.B = 3}, "a divisor of N = 4"));
  CHECK(has({.N = 5, .Nmax = 4}, "at least N = 5"));
  CHECK(has({.N = 4, .L = 2, .K = 2}, "distinct labels"));
  CHECK(has({.pB = 2}, "0 to 1"));
}
