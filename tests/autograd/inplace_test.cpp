// Views and writes: gradients through them, and errors for stale views, overwritten saved values and leaves.
#include <gradus/ops/matmul.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::leaf;

namespace {
std::string line_text(int n) { return "inplace_test.cpp:" + std::to_string(n); }
}  // namespace

TEST_CASE("views share memory, clones do not") {
  Double x{{1, 2, 3}, {4, 5, 6}};
  Double row = select(x, 0, 1);
  row.fill_(0);
  CHECK(x.to_vector() == std::vector<double>{1, 2, 3, 0, 0, 0});
  auto copy = x.clone();
  copy.fill_(9);
  CHECK(x.data()[0] == 1);
  transpose(x, 0, 1).copy_(Double{{1, 2}, {3, 4}, {5, 6}});
  CHECK(x.to_vector() == std::vector<double>{1, 3, 5, 2, 4, 6});
}

TEST_CASE("a chain of writes has the gradient of the functions") {
  const auto f = [](const List& x) {
    auto y = x[0] * 1;
    y *= x[1];
    y += x[0];
    y -= 2;
    y /= x[1];
    y *= 3;
    return y;
  };
  check::gradients(f, List{check::uniform({2, 3}), check::uniform({2, 3}, 1, 2, 2)});
  check::gradients(f, List{check::uniform({2, 3}), check::uniform({3}, 1, 2, 2)});
}

TEST_CASE("a write through a view reaches the gradient of the base") {
  SECTION("row") {
    check::gradients([](const List& x) {
      auto y = x[0] * 2;
      auto row = select(y, 0, 1);
      row *= x[1];
      return y * y;
    }, List{check::uniform({3, 4}), check::uniform({4}, -1, 1, 2)});
  }
  SECTION("column, written twice, read in between") {
    check::gradients([](const List& x) {
      auto y = x[0] * 2;
      auto column = narrow(y, 1, 1, 2);
      column *= x[1];
      const auto between = y * 2;    // saves nothing
      column += 1;
      return y * y + between + sum(column * column);
    }, List{check::uniform({3, 4}), check::uniform({3, 2}, -1, 1, 2)});
  }
  SECTION("transposed, with a step, of a view") {
    check::gradients([](const List& x) {
      auto y = x[0] * 1;
      auto inner = narrow(transpose(y, 0, 1), 0, 0, 2, 2);
      inner.copy_(x[1]);
      return exp(y);
    }, List{check::uniform({3, 4}), check::uniform({2, 3}, -1, 1, 2)});
  }
  SECTION("diagonal") {
    check::gradients([](const List& x) {
      auto y = matmul(x[0], x[0]);
      auto d = diagonal(y);
      d += x[1];
      return y * y;
    }, List{check::uniform({3, 3}), check::uniform({3}, -1, 1, 2)});
  }
  SECTION("fill cuts the gradient where it writes") {
    const auto x = leaf(check::uniform({4}));
    auto y = x * 3;
    narrow(y, 0, 1, 2).fill_(0);
    CHECK(grad(sum(y), x).to_vector() == std::vector<double>{3, 0, 0, 3});
  }
  SECTION("a base without history gets one from the written values") {
    const auto x = leaf(Double{5., 6});
    auto y = zeros<double>({4});
    narrow(y, 0, 1, 2).copy_(x);
    CHECK(y.requires_grad());
    CHECK(y.to_vector() == std::vector<double>{0, 5, 6, 0});
    CHECK(grad(sum(y * y), x).to_vector() == std::vector<double>{10, 12});
  }
}

TEST_CASE("a base that is not contiguous") {
  // The memory of a detached transpose has no base of its own: a write through its row is right, or refused.
  const auto x = leaf(check::uniform({3}));
  auto y = transpose(zeros<double>({3, 2}), 0, 1).detach();
  auto row = select(y, 0, 1);
  const auto text = check::error_of([&] { row.copy_(x); });
  if (text == "no error") {
    const auto weight = check::uniform({2, 3}, -1, 1, 2);
    CHECK(check::difference(grad(sum(y * weight), x), select(weight, 0, 1).clone()) == "");
  } else {
    CHECK(check::contains(text, "not contiguous"));
  }
}

TEST_CASE("a view taken before a write to the base is stale") {
  const auto x = leaf(check::uniform({4}));
  auto y = x * 2;
  const auto head = narrow(y, 0, 0, 2);
  y *= 3;
  const int line = __LINE__ - 1;
  const auto text = check::error_of([&] { sum(head); });
  CHECK(check::missing(text, {"use of a view: its base was written in place after the view was taken", "written   ",
                              line_text(line)}) == "");
  CHECK(grad(sum(narrow(y, 0, 0, 2)), x).to_vector() == std::vector<double>{6, 6, 0, 0});
}

TEST_CASE("a stale view is refused where it was taken before there was a history, and as the target of a write") {
  const auto x = leaf(check::uniform({4}));
  auto y = zeros<double>({4});
  const auto head = narrow(y, 0, 0, 2);
  y += x;
  CHECK(check::contains(check::error_of([&] { sum(head); }), "use of a view"));
  auto z = x * 2;
  auto tail = narrow(z, 0, 2, 2);
  z *= 3;
  CHECK(check::contains(check::error_of([&] { tail += 1; }), "use of a view"));
  CHECK(no_grad([&] { return sum(head); }).item() == Approx(x.data()[0] + x.data()[1]));
}

TEST_CASE("overwriting a saved value is an error in backward that names both lines") {
  const auto x = leaf(check::uniform({3}));
  auto a = x * 2;
  const auto y = a * a;
  const int made = __LINE__ - 1;
  a += 1;
  const int written = __LINE__ - 1;
  const auto text = check::error_of([&] { sum(y).backward(); });
  CHECK(check::missing(text, {"gradus: MulNode::backward: a saved value was overwritten", "float64 cpu [3]", "version 0",
                              "version 1", line_text(made), line_text(written), "clone()"}) == "");
}

TEST_CASE("a write that destroys what its own history saved is an error before the write") {
  const auto x = leaf(Double{1., 2, 3});
  auto y = exp(x);                   // saves its output
  const int made = __LINE__ - 1;
  const auto before = y.to_vector();
  const auto text = check::error_of([&] { y += 1; });
  CHECK(check::missing(text, {"gradus: add_: the write would destroy a value that the backward of its own history needs",
                              "saved     y float64 cpu [3]", "UnaryNode<Exp> made at", line_text(made), line_text(__LINE__ - 2)}) == "");
  CHECK(y.to_vector() == before);
  CHECK(check::contains(check::error_of([&] { narrow(y, 0, 0, 1).fill_(0); }), "would destroy a value"));
  CHECK(y.to_vector() == before);
  sum(y).backward();                 // nothing happened to the graph
  CHECK(check::difference(x.grad(), y.detach()) == "");
  y += 1;                            // and afterwards nobody needs the value
  auto z = exp(x);
  z.fill_(2);                        // does not depend on the old z: its history is gone
  CHECK_FALSE(z.requires_grad());
  auto w = exp(x) * 2;               // saved by a node further back, elsewhere in memory
  w += 1;
  sum(w).backward();
}

TEST_CASE("a recorded write through a view that was taken under NoGrad is refused") {
  const auto x = leaf(Double{1., 2, 3});
  auto y = x * 2;
  auto head = no_grad([&] { return narrow(y, 0, 0, 2); });
  const auto text = check::error_of([&] { head.fill_(0); });
  CHECK(check::missing(text, {"fill_: a recorded write through a view that was taken under NoGrad", "float64 cpu [2]", "inplace_test.cpp"}) == "");
  CHECK(y.to_vector() == std::vector<double>{2, 4, 6});
  auto plain = zeros<double>({3});
  auto tail = no_grad([&] { return narrow(plain, 0, 1, 2); });
  CHECK(check::contains(check::error_of([&] { tail.copy_(narrow(x, 0, 0, 2)); }), "taken under NoGrad"));
  tail.fill_(4);                     // nothing to record: plain memory
  CHECK(plain.to_vector() == std::vector<double>{0, 4, 4});
  auto own = no_grad([] { return zeros<double>({4}).reshape({2, 2}); });   // nobody else has this memory
  own.copy_(narrow(x, 0, 0, 2));
  CHECK(grad(sum(own), x).to_vector() == std::vector<double>{2, 2, 0});
}

TEST_CASE("overwriting a saved value through a view, or under NoGrad, is noticed too") {
  const auto x = leaf(check::uniform({3}));
  const auto a = x * 2;
  const auto y = exp(a), z = a * a;
  {
    const NoGrad guard;
    narrow(a, 0, 0, 1).fill_(7);
  }
  CHECK(check::contains(check::error_of([&] { sum(z).backward(); }), "a saved value was overwritten"));
  sum(y).backward();               // exp saves its output, which nobody touched
  CHECK(x.grad().defined());
}

TEST_CASE("a write after the value is no longer needed is fine") {
  const auto x = leaf(Double{1., 2});
  auto y = x + 1;                  // saves nothing
  y *= 2;
  y += 5;
  sum(y).backward();
  CHECK(x.grad().to_vector() == std::vector<double>{2, 2});
}

TEST_CASE("leaves that require gradients are written under NoGrad only") {
  auto x = leaf(Double{1., 2});
  const auto text = check::error_of([&] { x += 1; });
  CHECK(check::missing(text, {"add_: in-place write to a leaf that requires gradients", "NoGrad", "inplace_test.cpp"}) == "");
  CHECK(check::contains(check::error_of([&] { narrow(x, 0, 0, 1).fill_(0); }), "leaf that requires gradients"));
  CHECK(x.to_vector() == std::vector<double>{1, 2});
  {
    const NoGrad guard;
    x += 1;
  }
  CHECK(x.to_vector() == std::vector<double>{2, 3});
  CHECK(x.is_leaf());
}

TEST_CASE("an expanded tensor cannot be written") {
  auto x = expand(Double{1.}, {3});
  CHECK(check::contains(check::error_of([&] { x += 1; }), "several elements share one place in memory"));
}

TEST_CASE("a write does not change the shape") {
  auto x = check::uniform({3});
  const auto big = check::uniform({2, 3});
  CHECK(check::contains(check::error_of([&] { x += big; }), "add_"));
  auto y = leaf(x) * 1;
  const auto before = y.to_vector();
  CHECK(check::contains(check::error_of([&] { y += big; }), "add_"));
  CHECK(y.to_vector() == before);
}

TEST_CASE("reading and writing overlapping memory copies first") {
  Double x{1., 2, 3, 4, 5};
  narrow(x, 0, 1, 4).copy_(narrow(x, 0, 0, 4));
  CHECK(x.to_vector() == std::vector<double>{1, 1, 2, 3, 4});
  Double m{{1, 2}, {3, 4}};
  m += transpose(m, 0, 1);
  CHECK(m.to_vector() == std::vector<double>{2, 5, 5, 8});
}

TEST_CASE("assignment to an indexed tensor writes, to a name it does not") {
  Double x{1., 2, 3};
  Double y = x;
  y = Double{7., 8, 9};
  CHECK(x.to_vector() == std::vector<double>{1, 2, 3});
  narrow(x, 0, 1, 2) = 5;
  CHECK(x.to_vector() == std::vector<double>{1, 5, 5});
  narrow(x, 0, 0, 2) = Double{8., 9};
  CHECK(x.to_vector() == std::vector<double>{8, 9, 5});
}
