// Matrix products against a loop: vectors, batches, broadcasting, every layout of the operands; gradients; error texts.
#include <gradus/core/parallel.hpp>
#include <gradus/ops/matmul.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;

namespace {
/// [..., M, K] x [..., K, N] with broadcast batches, by three loops over expanded copies.
Double naive(Double a, Double b) {
  const bool row = a.rank() == 1, column = b.rank() == 1;
  if (row) a = unsqueeze(a, 0);
  if (column) b = unsqueeze(b, 1);
  const int64_t M = a.size(-2), K = a.size(-1), N = b.size(-1);
  const Shape sa(a.shape().begin(), static_cast<std::size_t>(a.rank() - 2)),
      sb(b.shape().begin(), static_cast<std::size_t>(b.rank() - 2));
  Shape batch, fa, fb, fy;
  REQUIRE(broadcast_shapes(sa, sb, batch));
  fa = fb = fy = batch;
  fa.push_back(M), fa.push_back(K), fb.push_back(K), fb.push_back(N), fy.push_back(M), fy.push_back(N);
  const auto va = expand(a, fa).to_vector(), vb = expand(b, fb).to_vector();
  Double y = zeros<double>(fy);
  for (int64_t n = 0; n < batch.numel(); ++n)
    for (int64_t i = 0; i < M; ++i)
      for (int64_t j = 0; j < N; ++j)
        for (int64_t k = 0; k < K; ++k)
          y.data()[(n * M + i) * N + j] +=
              va[static_cast<std::size_t>((n * M + i) * K + k)] * vb[static_cast<std::size_t>((n * K + k) * N + j)];
  if (row) y = squeeze(y, -2);
  if (column) y = squeeze(y, -1);
  return y;
}
struct Shapes {
  Shape a, b;
};
const Shapes shapes[] = {{{3, 4}, {4, 5}},
                         {{1, 1}, {1, 1}},
                         {{1, 7}, {7, 1}},
                         {{7, 1}, {1, 7}},
                         {{4}, {4}},
                         {{4}, {4, 5}},
                         {{3, 4}, {4}},
                         {{2, 3, 4}, {4, 5}},
                         {{2, 3, 4}, {2, 4, 5}},
                         {{3, 4}, {2, 4, 5}},
                         {{1, 3, 4}, {2, 4, 5}},
                         {{2, 1, 3, 4}, {3, 4, 2}},
                         {{2, 3, 4}, {4}},
                         {{4}, {2, 4, 3}},
                         {{2, 2, 3, 4}, {1, 2, 4, 2}},
                         {{0, 4}, {4, 5}},
                         {{3, 0}, {0, 5}},
                         {{0, 3, 4}, {0, 4, 5}},
                         {{2, 1, 2, 3}, {1, 3, 3, 2}}};

/// x with its last two dimensions laid out the other way round in memory.
Double column_major(const Double& x) { return x.rank() < 2 ? x : transpose(transpose(x, -1, -2).clone(), -1, -2); }
/// x with gaps between all elements.
Double gaps(const Double& x) {
  Shape s = x.shape();
  s[s.n - 1] *= 2;
  Double wide = zeros<double>(s);
  Double view = narrow(wide, -1, 0, x.shape().back(), 2);
  view.copy_(x);
  return view;
}
/// x with gaps between rows.
Double padded_rows(const Double& x) {
  Shape s = x.shape();
  s[s.n - 1] += 3;
  Double wide = zeros<double>(s);
  Double view = narrow(wide, -1, 1, x.shape().back());
  view.copy_(x);
  return view;
}
}  // namespace

TEST_CASE("products of all shapes and layouts equal the loop") {
  const std::pair<const char*, Double (*)(const Double&)> layouts[] = {{"row-major", [](const Double& x) { return x; }},
                                                                       {"column-major", column_major},
                                                                       {"gaps", gaps},
                                                                       {"padded rows", padded_rows}};
  for (const Shapes& s : shapes) {
    const auto a = check::uniform(s.a, -1, 1, 1), b = check::uniform(s.b, -1, 1, 2);
    const Double exact = naive(a, b);
    for (const auto& [name_a, la] : layouts)
      for (const auto& [name_b, lb] : layouts) {
        INFO(s.a.str() << " " << name_a << " x " << s.b.str() << " " << name_b);
        CHECK(check::difference(matmul(la(a), lb(b)), exact, 1e-13, 1e-13) == "");
      }
  }
}

TEST_CASE("permuted batches") {
  const auto a = permute(check::uniform({3, 2, 4, 5}), {1, 0, 2, 3}),
             b = permute(check::uniform({2, 5, 3, 3}, -1, 1, 2), {0, 2, 1, 3});
  CHECK(check::difference(matmul(a, b), naive(a, b), 1e-13, 1e-13) == "");                       // two strides a batch
  const auto heads = permute(check::uniform({2, 6, 3, 4}), {0, 2, 1, 3});                          // attention: [B, nh, T, hs]
  CHECK(check::difference(matmul(heads, transpose(heads, -1, -2)), naive(heads, transpose(heads, -1, -2)), 1e-13, 1e-13) == "");
}

TEST_CASE("first and second gradients of all shapes") {
  for (const Shapes& s : shapes) {
    INFO(s.a.str() << " x " << s.b.str());
    const List in{check::uniform(s.a, -1, 1, 3), check::uniform(s.b, -1, 1, 4)};
    check::gradients([](const List& x) { return matmul(x[0], x[1]); }, in);
    gradcheck([](const List& x) { return matmul(column_major(x[0]), column_major(x[1])); }, in);
  }
}

TEST_CASE("the gradient of one operand only") {
  const auto a = check::uniform({2, 3, 4}), b = check::uniform({4, 2}, -1, 1, 2);
  check::gradients([&](const Double& x) { return matmul(x, b); }, a);
  check::gradients([&](const Double& x) { return matmul(a, x); }, b);
  check::gradients([](const Double& x) { return matmul(x, transpose(x, 0, 1)); }, b);
}

TEST_CASE("linear, addmm, bmm, outer, dot") {
  const auto x = check::uniform({2, 3, 4}), w = check::uniform({5, 4}, -1, 1, 2), b = check::uniform({5}, -1, 1, 3);
  CHECK(check::difference(linear(x, w, b), naive(x, transpose(w, 0, 1)) + b) == "");
  CHECK(check::difference(linear(x, w), naive(x, transpose(w, 0, 1))) == "");
  check::gradients([](const List& v) { return linear(v[0], v[1], v[2]); }, List{x, w, b});
  const auto p = check::uniform({3, 4}), q = check::uniform({4, 5}, -1, 1, 4), c = check::uniform({5}, -1, 1, 5);
  CHECK(check::difference(addmm(c, p, q, 0.5, 2), c * 0.5 + naive(p, q) * 2) == "");
  check::gradients([](const List& v) { return addmm(v[0], v[1], v[2], 0.5, 2); }, List{c, p, q});
  CHECK(check::difference(bmm(x, x.reshape({2, 4, 3})), naive(x, x.reshape({2, 4, 3}))) == "");
  CHECK(outer(Double{1., 2}, Double{3., 4, 5}).to_vector() == std::vector<double>{3, 4, 5, 6, 8, 10});
  CHECK(dot(Double{1., 2}, Double{3., 4}).item() == 11);
  check::gradients(
      [](const List& v) {
        return List{outer(v[0], v[1]), dot(v[0], v[0])};
      },
      List{check::uniform({2}), check::uniform({3})});
}

TEST_CASE("float32, bf16 and half follow float64; integers are exact") {
  const auto a = check::uniform({65, 130}), b = check::uniform({130, 33}, -1, 1, 2);
  const auto exact = matmul(a, b);
  CHECK(check::difference(matmul(a.to<float>(), b.to<float>()).to<double>(), exact, 1e-5, 1e-5) == "");
  const auto a16 = a.to<bf16>(), b16 = b.to<bf16>();
  const auto of_rounded = matmul(a16.to<double>(), b16.to<double>());
  CHECK(check::difference(matmul(a16, b16).to<double>(), of_rounded, 1.0 / 256, 1e-4) == "");   // rounded once, at the end
  const auto ah = a.to<half>(), bh = b.to<half>();
  CHECK(check::difference(matmul(ah, bh).to<double>(), matmul(ah.to<double>(), bh.to<double>()), 1.0 / 2048, 1e-4) == "");
}

TEST_CASE("the same bits at any number of threads") {
  const int threads = num_threads();
  const auto a = check::uniform<float>({257, 301}), b = check::uniform<float>({301, 143}, -1, 1, 2),
             c = check::uniform<float>({9, 31, 17});
  const auto run = [&](int t) {
    set_num_threads(t);
    return std::vector<std::vector<float>>{matmul(a, b).to_vector(), matmul(transpose(b, 0, 1), transpose(a, 0, 1)).to_vector(),
                                           matmul(c, transpose(c, -1, -2)).to_vector(), matmul(a, select(b, 1, 0)).to_vector()};
  };
  const auto one = run(1);
  CHECK(run(2) == one);
  CHECK(run(3) == one);
  set_num_threads(threads);
}

TEST_CASE("error texts") {
  const auto a = zeros({32, 128, 512}), b = zeros({510, 2048});
  CHECK(check::missing(check::error_of([&] { matmul(a, b); }),
                       {"gradus: matmul(a, b): inner dimensions differ", "a         float32 cpu [32, 128, 512]",
                        "b         float32 cpu [510, 2048]", "expected  b.size(-2) == a.size(-1) == 512, got 510",
                        "matmul_test.cpp"}) == "");
  CHECK(check::contains(check::error_of([&] { matmul(zeros({2, 3, 4}), zeros({3, 4, 5})); }), "shapes do not broadcast"));
  CHECK(check::contains(check::error_of([&] { matmul(zeros({}), zeros({3})); }), "an operand is a scalar"));
  CHECK(check::contains(check::error_of([&] {
                          linear(zeros({2, 3}), zeros({5, 4}));
                        }),
                        "the features do not match the weight"));
  CHECK(check::contains(check::error_of([&] { bmm(zeros({2, 3}), zeros({3, 4})); }), "bmm(a, b)"));
}
