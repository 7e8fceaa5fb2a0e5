// Closed forms of the grokking example: (L1), maxima of E, repulsion, the loss, groups and their characters.
#include "li2-grokking/model.hpp"

#include "support/catch.hpp"

using namespace li2;

namespace {
template <class T>
double relative(const Tensor<T>& a, const Tensor<T>& b) {
  return static_cast<double>(norm(a - b).item() / norm(b).item());
}
template <class T>
struct Lazy {
  Group g = cyclic({7});
  Pairs<T, Cpu> p;
  Tensor<T> F;
  Lazy() {
    manual_seed(3);
    p = pairs<T, Cpu>(g, randperm(49)).part(0, 30);
    F = no_grad([&] { return Net<T>(7, 64).features(p.X); });
  }
};
}  // namespace

TEST_CASE("L1: the gradient of the lazy stage, which weight decay alone makes", "[papers]") {
  const Lazy<double> a;
  CHECK(relative(G_F(a.F, a.p.Y, 1e-3), G_F_by_autograd(a.F, a.p.Y, 1e-3)) < 1e-8);
  const Lazy<float> b;
  CHECK(relative(G_F(b.F, b.p.Y, 1e-3), G_F_by_autograd(b.F, b.p.Y, 1e-3)) < 1e-3);
  const double ratio = norm(G_F(a.F, a.p.Y, 1e-4)).item() / norm(G_F(a.F, a.p.Y, 1e-6)).item();
  CHECK((ratio >= 99 && ratio <= 101));
}

TEST_CASE("the two forms of the ridge solution agree", "[papers]") {
  const Lazy<double> a;  // n < K
  const auto f = centred(a.F), ft = f.t().contiguous();
  CHECK(relative(ridge(a.F, a.p.Y, 0.1), matmul(ridge_inverse(matmul(ft, f), 0.1), matmul(ft, centred(a.p.Y)))) < 1e-9);
}

TEST_CASE("every start climbs E to a single irrep", "[papers]") {
  for (const auto& g : {cyclic({7}), cyclic({8}), symmetric(3)}) {
    manual_seed(1);
    const auto p = all_pairs<double, Cpu>(g);
    const auto W = ascend(randn<double>({40, 2 * g.M}), p, 1500);
    const auto E = energy(W, p).to_vector();
    const auto c = coverage(W, g);
    CHECK(c.least >= 0.999);
    for (std::size_t j = 0; j < E.size(); ++j)
      CHECK(E[j] == Approx(g.energy(g.irreps[static_cast<std::size_t>(c.dominant[j])])).epsilon(0.01));
  }
}

TEST_CASE("a cosine has E = M/4, or M/2 at k = M/2", "[papers]") {
  const auto g = cyclic({8});
  const auto p = all_pairs<double, Cpu>(g);
  const auto a = arange<double>(8) * (2 * std::numbers::pi / 8);
  for (const int k : {1, 2, 3, 4}) {
    const auto w = cat(std::vector{cos(a * k + (k < 4 ? 0.3 : 0.0)), cos(a * k + (k < 4 ? 1.1 : 0.0))}, 0);
    CHECK(sum(energy(unit_rows(w.reshape({1, 16})), p)).item() == Approx(k < 4 ? 2.0 : 4.0));
    const auto one = coverage(w.reshape({1, 16}), g);
    CHECK(one.dominant[0] == k - 1);
    CHECK(one.purity == Approx(1));
  }
}

TEST_CASE("similar nodes push each other apart", "[papers]") {
  manual_seed(5);
  const auto p = pairs<double, Cpu>(cyclic({7}), randperm(49)).part(0, 30);
  const auto r = repulsion(no_grad([&] { return Net<double>(7, 12).features(p.X); }), 1e-3);
  CHECK(r.share == 1);
  CHECK(r.error < 1e-6);
}

TEST_CASE("the loss is the squared distance of centred outputs and labels", "[papers]") {
  manual_seed(6);
  const auto p = all_pairs<double, Cpu>(cyclic({5}));
  const auto o = randn<double>({25, 5});
  const auto centre = [](const Tensor<double>& x) { return x - mean(x, 1, true); };
  CHECK(zero_mean_squares(o, p.Y).item() == Approx(sum(square(centre(o) - centre(p.Y))).item() / 25));
}

TEST_CASE("groups: inverses, and irreps that fill the functions of mean zero", "[papers]") {
  for (const auto* name : {"Z7", "Z8", "2x3x4", "S3", "S4"}) {
    const Group g = parse_group(name);
    manual_seed(2);
    const auto u = randn<double>({1, 2 * g.M}), halves = u.reshape({2, g.M});
    const double all = sum(square(halves - mean(halves, 1, true))).item();
    CHECK(sum(spectrum(u, g)).item() == Approx(all));
    for (int64_t a = 0; a < g.M; ++a) CHECK(g.times(a, g.inverse[static_cast<std::size_t>(a)]) == g.times(g.inverse[0], 0));
  }
  CHECK(parse_group("2x3x4").irreps.size() == 13);
  CHECK(parse_group("S4").d_max == 3);
  CHECK(parse_group("Z23").critical() == Approx(198.2).margin(0.1));
  CHECK_THROWS(parse_group("Z"));
  CHECK_THROWS(parse_group("table:/nonexistent"));
}

TEST_CASE("the paper's largest network", "[papers]") {
  Net<float> net(127, 2048);
  CHECK(nn::parameter_count(net) == 2048 * 254 + 127 * 2048);
  CHECK(coupons(11, 16) == Approx(8.6).margin(0.05));
}
