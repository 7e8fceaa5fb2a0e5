#include <gradus/ops/einsum.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::uniform;

namespace {
std::string near(const Double& a, const Double& b) { return check::difference(a, b, 1e-12, 1e-12); }
}  // namespace

TEST_CASE("einsum: products, transposes and sums") {
  const Double a = uniform({2, 3, 4}), b = uniform({2, 4, 5}, -1, 1, 2), m = uniform({3, 4}, -1, 1, 3), v = uniform({4}, -1, 1, 4);
  CHECK(near(einsum("bij,bjk->bik", List{a, b}), matmul(a, b)) == "");
  CHECK(near(einsum("bij,bjk -> kib", List{a, b}), permute(matmul(a, b), {2, 1, 0})) == "");
  CHECK(near(einsum("bij,bjk", List{a, b}), sum(matmul(a, b), 0)) == "");
  CHECK(near(einsum("ij->ji", List{m}), clone(transpose(m, 0, 1))) == "");
  CHECK(near(einsum("ba", List{m}), clone(transpose(m, 0, 1))) == "");
  CHECK(near(einsum("ij->", List{m}), sum(m)) == "");
  CHECK(near(einsum("ij,j->i", List{m, v}), matmul(m, v)) == "");
  CHECK(near(einsum("i,j->ij", List{v, v}), outer(v, v)) == "");
  CHECK(near(einsum("i,i->", List{v, v}), dot(v, v)) == "");
  CHECK(near(einsum("ij,ij->ij", List{m, m}), mul(m, m)) == "");
  CHECK(near(einsum("ij,kl->k", List{m, uniform({2, 2})}), mul(sum(uniform({2, 2}), 1), sum(m))) == "");
}

TEST_CASE("einsum: four loops give the same") {
  const Double a = uniform({2, 3, 4}), b = uniform({4, 2, 5}, -1, 1, 2), c = uniform({3, 5}, -1, 1, 3);
  Double want = zeros<double>({5, 2});   // y_kb = sum_ij a_bij b_jbk c_ik
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 4; ++j)
      for (int64_t k = 0; k < 5; ++k)
        for (int64_t n = 0; n < 2; ++n)
          want.data()[k * 2 + n] += a.data()[(n * 3 + i) * 4 + j] * b.data()[(j * 2 + n) * 5 + k] * c.data()[i * 5 + k];
  CHECK(near(einsum("bij,jbk,ik->kb", List{a, b, c}), want) == "");
}

TEST_CASE("einsum: first and second derivatives") {
  check::gradients([](const List& x) { return einsum("bij,jbk,ik->kb", x); }, List{uniform({2, 2, 3}), uniform({3, 2, 2}, -1, 1, 2), uniform({2, 2}, -1, 1, 3)});
  check::gradients([](const List& x) { return einsum("ij,ij->j", x); }, List{uniform({2, 3}), uniform({2, 3}, -1, 1, 2)});
}

TEST_CASE("einsum: repeated letters are diagonals, \"...\" broadcasts") {
  const Double m = check::uniform({3, 3}), b = check::uniform({2, 3, 4}, -1, 1, 2), c = check::uniform({5, 1, 4, 3}, -1, 1, 3);
  CHECK(einsum("ii", List{m}).item() == Approx(sum(diagonal(m)).item()));
  CHECK(check::difference(einsum("ii->i", List{m}), diagonal(m).clone()) == "");
  const Double t = check::uniform({3, 3, 2});
  CHECK(check::difference(einsum("iij->ij", List{t}), transpose(diagonal(permute(t, {2, 0, 1})), 0, 1).clone()) == "");
  CHECK(einsum("iij->j", List{check::uniform({3, 3, 2})}).shape() == Shape{2});
  CHECK(check::difference(einsum("...ij,...jk->...ik", List{b, c}), matmul(b, c)) == "");
  CHECK(check::difference(einsum("...ij,...jk", List{b, c}), matmul(b, c)) == "");
  CHECK(check::difference(einsum("i...->...i", List{b}), movedim(b, 0, -1).clone()) == "");
  CHECK(check::difference(einsum("...,...->...", List{b, check::uniform({4}, -1, 1, 5)}), b * check::uniform({4}, -1, 1, 5)) == "");
  check::gradients([](const List& x) { return einsum("...ii,...ij->...j", x); }, List{check::uniform({2, 3, 3}), check::uniform({3, 2}, -1, 1, 2)});
}

TEST_CASE("einsum: error texts") {
  const Double m = uniform({3, 4});
  CHECK(check::missing(check::error_of([&] { einsum("ij,jk->ik", List{m, m}); }), {"gradus: einsum: the label 'j' has two extents", "4 as before, got 3 in operand 1", "einsum_test.cpp:"}) == "");
  CHECK(check::missing(check::error_of([&] { einsum("ij->ii", List{m}); }), {"the label 'i' occurs twice in the result"}) == "");
  CHECK(check::missing(check::error_of([&] { einsum("ij->k", List{m}); }), {"the label 'k' of the result is in no operand"}) == "");
  CHECK(check::missing(check::error_of([&] { einsum("i.j->i", List{m}); }), {"unexpected '.'"}) == "");
  CHECK(check::missing(check::error_of([&] { einsum("ij,jk->ik", List{m}); }), {"the number of operands does not match", "2 operands"}) == "");
  CHECK(check::missing(check::error_of([&] { einsum("ijk->ik", List{m}); }), {"wrong number of dimensions", "3 dimensions for \"ijk\""}) == "");
}
