// Views: shapes and values against index arithmetic, sharing of memory, gradients, error texts. Writing is in
// autograd/inplace_test.
#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;
using Values = std::vector<double>;

namespace {
/// [0, 1, 2, ...] in row-major order: values are positions.
Double count(const Shape& shape) { return arange<double>(static_cast<double>(shape.numel())).reshape(shape); }
}  // namespace

TEST_CASE("reshape keeps the order, and shares memory where the strides allow it") {
  const auto x = count({2, 3, 4});
  for (const Shape& s :
       {Shape{24}, Shape{6, 4}, Shape{2, 12}, Shape{4, 3, 2}, Shape{1, 24, 1}, Shape{2, 1, 3, 2, 2}, Shape{-1}, Shape{3, -1}}) {
    const auto y = x.reshape(s);
    INFO(s.str());
    CHECK(y.shares_storage(x));
    CHECK(y.to_vector() == x.to_vector());
  }
  CHECK(x.reshape({3, -1}).shape() == Shape{3, 8});
  const auto t = transpose(x, 0, 1);                 // [3, 2, 4]
  CHECK(t.reshape({3, 2, 2, 2}).shares_storage(x));  // splitting a dimension needs no copy
  CHECK(t.reshape({6, 4}).to_vector() == t.to_vector());
  CHECK(!t.reshape({6, 4}).shares_storage(x));       // merging swapped ones does
  const auto rows = narrow(x, 0, 1, 1);
  CHECK(rows.reshape({12}).shares_storage(x));
  CHECK(narrow(x, 2, 0, 2).reshape({6, 2}).to_vector() == Values{0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21});
  CHECK(count({0, 3}).reshape({3, 0, 5}).shape() == Shape{3, 0, 5});
  CHECK(scalar<double>(4).reshape({1, 1}).to_vector() == Values{4});
  CHECK(Double{4.}.reshape({}).item() == 4);
}

TEST_CASE("every reshape of a permuted tensor has the values of its copy") {
  const auto x = count({2, 3, 4});
  const Shape orders[] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  const Shape targets[] = {{24},    {2, 12},   {3, 8},    {4, 6},       {6, 4},       {8, 3},
                           {12, 2}, {2, 2, 6}, {2, 3, 4}, {2, 2, 2, 3}, {3, 2, 2, 2}, {1, 4, 1, 6}};
  for (const Shape& order : orders)
    for (const Shape& target : targets) {
      const auto p = permute(x, order);
      INFO(order.str() << " " << target.str());
      CHECK(p.reshape(target).to_vector() == p.to_vector());
    }
}

TEST_CASE("permute, transpose, movedim") {
  const auto x = count({2, 3, 4});
  for (const Shape& order : {Shape{0, 2, 1}, Shape{2, 0, 1}, Shape{1, 2, 0}, Shape{-1, 0, 1}}) {
    const auto y = permute(x, order);
    Shape d = order;
    for (int i = 0; i < 3; ++i) d[i] = (d[i] + 3) % 3;
    Values expected;
    int64_t i[3];
    for (int64_t a = 0; a < x.size(static_cast<int>(d[0])); ++a)
      for (int64_t b = 0; b < x.size(static_cast<int>(d[1])); ++b)
        for (int64_t c = 0; c < x.size(static_cast<int>(d[2])); ++c) {
          i[d[0]] = a, i[d[1]] = b, i[d[2]] = c;
          expected.push_back(static_cast<double>((i[0] * 3 + i[1]) * 4 + i[2]));
        }
    CHECK(y.to_vector() == expected);
    CHECK(y.shares_storage(x));
  }
  CHECK(transpose(x, 0, -1).shape() == Shape{4, 3, 2});
  CHECK(movedim(x, 0, -1).shape() == Shape{3, 4, 2});
  CHECK(movedim(x, -1, 0).to_vector() == permute(x, {2, 0, 1}).to_vector());
  CHECK(count({2, 3}).t().to_vector() == Values{0, 3, 1, 4, 2, 5});
}

TEST_CASE("squeeze, unsqueeze, flatten") {
  const auto x = count({2, 1, 3});
  CHECK(squeeze(x, 1).shape() == Shape{2, 3});
  CHECK(squeeze(x).shape() == Shape{2, 3});
  CHECK(unsqueeze(x, 0).shape() == Shape{1, 2, 1, 3});
  CHECK(unsqueeze(x, -1).shape() == Shape{2, 1, 3, 1});
  CHECK(flatten(count({2, 3, 4}), 1).shape() == Shape{2, 12});
  CHECK(flatten(count({2, 3, 4}), 0, 1).shape() == Shape{6, 4});
  CHECK(flatten(scalar<double>(1)).shape() == Shape{1});
}

TEST_CASE("expand repeats without copying") {
  const auto x = count({3, 1});
  const auto y = expand(x, {2, 3, 4});
  CHECK(y.shares_storage(x));
  CHECK(y.to_vector() == Values{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2});
  CHECK(expand(x, {-1, 5}).shape() == Shape{3, 5});
  CHECK(expand(scalar<double>(2), {2}).to_vector() == Values{2, 2});
  CHECK(expand(count({1, 3}), {0, 3}).numel() == 0);
}

TEST_CASE("narrow with steps, select") {
  const auto x = count({4, 5});
  CHECK(narrow(x, 1, 1, 2, 3).to_vector() == Values{1, 4, 6, 9, 11, 14, 16, 19});
  CHECK(narrow(x, 0, -2, 2).to_vector() == Values{10, 11, 12, 13, 14, 15, 16, 17, 18, 19});
  CHECK(narrow(x, 0, 4, 0).shape() == Shape{0, 5});
  CHECK(narrow(narrow(x, 1, 1, 4), 1, 0, 2, 2).to_vector() == Values{1, 3, 6, 8, 11, 13, 16, 18});
  CHECK(select(x, 0, -1).to_vector() == Values{15, 16, 17, 18, 19});
  CHECK(select(x, 1, 2).to_vector() == Values{2, 7, 12, 17});
  CHECK(select(select(x, 0, 1), 0, 1).item() == 6);
}

TEST_CASE("prefix: the first elements of each dimension, in one view") {
  const auto x = count({3, 2, 4});
  const auto y = prefix(x, {2, -1, 3});
  CHECK(y.shares_storage(x));
  CHECK(y.strides() == x.strides());
  CHECK(y.to_vector() == narrow(narrow(x, 0, 0, 2), 2, 0, 3).to_vector());
  CHECK(prefix(x, {-1, -1, -1}).to_vector() == x.to_vector());
  CHECK(prefix(x, {0, 2, 4}).shape() == Shape{0, 2, 4});
  CHECK(prefix(transpose(x, 0, 2), {2, 1, 2}).to_vector() == Values{0, 8, 1, 9});
  CHECK(prefix(scalar<double>(4), {}).item() == 4);
  // The gradient has x's shape, zero outside of the prefix.
  auto w = x.clone();
  w.requires_grad_();
  sum(prefix(w, {1, 1, 2}) * Double{5., 7}).backward();
  Values g(24, 0.0);
  g[0] = 5, g[1] = 7;
  CHECK(w.grad().to_vector() == g);
}

TEST_CASE("diagonal above and below, of batches; diag_embed") {
  const auto x = count({3, 4});
  CHECK(diagonal(x).to_vector() == Values{0, 5, 10});
  CHECK(diagonal(x, 1).to_vector() == Values{1, 6, 11});
  CHECK(diagonal(x, 3).to_vector() == Values{3});
  CHECK(diagonal(x, -1).to_vector() == Values{4, 9});
  CHECK(diagonal(x, 4).numel() == 0);
  CHECK(diagonal(count({2, 2, 2})).to_vector() == Values{0, 3, 4, 7});
  CHECK(diag_embed(Double{1., 2}).to_vector() == Values{1, 0, 0, 2});
}

TEST_CASE("as_strided reads any places that are all different") {
  const auto x = count({12});
  CHECK(as_strided(x, {2, 3}, {6, 2}, 1).to_vector() == Values{1, 3, 5, 7, 9, 11});
  CHECK(as_strided(count({3, 4}), {4, 3}, {1, 4}, 0).to_vector() == count({3, 4}).t().to_vector());
}

TEST_CASE("first and second gradients of views") {
  const auto x = check::uniform({2, 3, 4});
  const std::pair<const char*, Double (*)(const Double&)> views[] = {
      {"reshape", [](const Double& v) { return v.reshape({4, 6}); }},
      {"reshape of transposed", [](const Double& v) { return transpose(v, 0, 2).reshape({6, 4}); }},
      {"permute", [](const Double& v) { return permute(v, {2, 0, 1}); }},
      {"movedim", [](const Double& v) { return movedim(v, 0, 2); }},
      {"unsqueeze", [](const Double& v) { return unsqueeze(v, 1); }},
      {"flatten", [](const Double& v) { return flatten(v, 1); }},
      {"expand", [](const Double& v) { return expand(unsqueeze(v, 1), {2, 2, 3, 4}); }},
      {"narrow", [](const Double& v) { return narrow(v, 2, 1, 2, 2); }},
      {"narrow of transposed", [](const Double& v) { return narrow(transpose(v, 0, 2), 0, 0, 2, 3); }},
      {"narrow to nothing", [](const Double& v) { return narrow(v, 1, 1, 0); }},
      {"prefix", [](const Double& v) { return prefix(v, {1, 3, 2}); }},
      {"select", [](const Double& v) { return select(v, 1, -1); }},
      {"diagonal", [](const Double& v) { return diagonal(v, 1); }},
      {"diagonal below", [](const Double& v) { return diagonal(v, -1); }},
      {"diag_embed", [](const Double& v) { return diag_embed(select(v, 0, 0)); }},
      {"as_strided", [](const Double& v) { return as_strided(v, {2, 3}, {12, 3}, 1); }},
      {"clone", [](const Double& v) { return v.clone(); }},
      {"contiguous", [](const Double& v) { return transpose(v, 0, 1).contiguous(); }},
  };
  for (const auto& [name, view] : views) {
    INFO(name);
    const GradcheckOptions o{.name = name};
    check::gradients([&](const Double& v) { return view(v); }, x, o);
    check::gradients([&](const Double& v) { return square(view(sin(v))); }, x, o);
  }
}

TEST_CASE("contiguous is x itself when it is contiguous, clone never") {
  const auto x = count({2, 3});
  CHECK(x.contiguous().is_same(x));
  CHECK(!x.clone().shares_storage(x));
  CHECK(transpose(x, 0, 1).contiguous().is_contiguous());
  CHECK(transpose(count({1, 3}), 0, 1).is_contiguous());
}

TEST_CASE("casts convert values and gradients") {
  const Double x{1.75, -2.5, 300};
  CHECK(x.to<int64_t>().to_vector() == std::vector<int64_t>{1, -2, 300});
  CHECK((x > 0).to<double>().to_vector() == Values{1, 0, 1});
  CHECK(x.to<double>().is_same(x));
  const auto leaf = check::leaf(x);
  sum(leaf.to<float>() * 2).backward();
  CHECK(leaf.grad().to_vector() == Values{2, 2, 2});
  CHECK(!leaf.to<int64_t>().requires_grad());
}

TEST_CASE("factories") {
  CHECK(arange<int64_t>(2, 8, 3).to_vector() == std::vector<int64_t>{2, 5});
  CHECK(arange<double>(1, 0, -0.5).to_vector() == Values{1, 0.5});
  CHECK(arange<double>(0).numel() == 0);
  CHECK(linspace<double>(0, 1, 5).to_vector() == Values{0, 0.25, 0.5, 0.75, 1});
  CHECK(eye<double>(2, 3).to_vector() == Values{1, 0, 0, 0, 1, 0});
  CHECK(from_vector<double>({1, 2, 3, 4}, {2, 2}).shape() == Shape{2, 2});
  CHECK(Double{{1, 2}, {3, 4}}.shape() == Shape{2, 2});
  double memory[] = {1, 2, 3};
  auto borrowed = borrow(memory, Shape{3});
  borrowed *= 2;
  CHECK(memory[2] == 6);
  CHECK(adopt(std::vector<float>{1, 2}, {2}).to_vector() == std::vector<float>{1, 2});
  CHECK(check::contains(check::error_of([] { from_vector<double>({1, 2}, {3}); }), "the values do not fill the shape"));
}

TEST_CASE("error texts name the op, the tensor and the caller") {
  const auto x = zeros({2, 3});
  const auto text = [](auto f) { return check::error_of(f); };
  CHECK(check::missing(text([&] {
                         x.reshape({4, 2});
                       }),
                       {"gradus: reshape: the shape does not hold the same number of elements", "x         float32 cpu [2, 3]",
                        "[4, 2]", "6 elements", "view_test.cpp"}) == "");
  CHECK(check::contains(text([&] { x.reshape({-1, 4}); }), "gradus: reshape"));
  CHECK(check::contains(text([&] { x.reshape({-1, -1}); }), "gradus: reshape"));
  CHECK(check::missing(text([&] { permute(x, {0, 0}); }), {"gradus: permute: not a permutation", "dims      [0, 0]"}) == "");
  CHECK(check::missing(text([&] { transpose(x, 0, 2); }), {"gradus: transpose: no such dimension", "[-2, 2)"}) == "");
  CHECK(check::missing(text([&] { expand(x, {2, 4}); }), {"gradus: expand", "[2, 4]"}) == "");
  CHECK(check::missing(text([&] { narrow(x, 1, 2, 2); }),
                       {"gradus: narrow: range outside of the dimension", "elements within [0, 3)"}) == "");
  CHECK(check::missing(text([&] { prefix(x, {2, 4}); }),
                       {"gradus: prefix: no such prefix", "sizes     [2, 4]", "within [2, 3] or -1", "view_test.cpp"}) == "");
  CHECK(check::missing(text([&] { prefix(x, {2}); }), {"gradus: prefix: no such prefix", "each of the 2 dimensions"}) == "");
  CHECK(check::missing(text([&] { select(x, 0, 2); }), {"gradus: select: index out of range", "[-2, 2)"}) == "");
  CHECK(check::contains(text([&] { squeeze(x, 0); }), "more than one element"));
  CHECK(check::contains(text([&] { diagonal(zeros({3})); }), "not a matrix"));
  CHECK(check::contains(text([&] { x.item(); }), "not a single value"));
  CHECK(check::contains(text([&] { x.size(5); }), "no such dimension"));
  CHECK(check::contains(text([&] { x.as<double, Cpu>(); }), "wrong dtype or device"));
  CHECK(check::contains(text([&] { as_strided(x, {4}, {2}, 0); }), "as_strided"));   // the last would be element 6 of 6
}

namespace {
template <class T> void check_permuted_copies() {
  // Tiles are a cache line of 64 bytes by another; extents below, at and above one and several of them.
  for (const Shape& shape : {Shape{16, 16}, Shape{8, 64}, Shape{65, 130}, Shape{3, 70, 33}, Shape{2, 65, 3, 66}, Shape{1, 200}}) {
    Tensor<T> x(shape);
    for (int64_t i = 0; i < x.numel(); ++i) x.data()[i] = static_cast<T>(i * 7 % 251);
    for (int a = 0; a < shape.n; ++a)
      for (int b = a + 1; b < shape.n; ++b) {
        const auto view = transpose(x, a, b);
        const auto copy = view.contiguous();
        int64_t wrong = 0, at = 0, index[4] = {};
        for (; at < copy.numel(); ++at) {
          int64_t from = 0;
          for (int d = 0; d < shape.n; ++d) from += index[d] * view.strides()[d];
          wrong += !(copy.data()[at] == x.data()[from]);
          for (int d = shape.n - 1; d >= 0 && ++index[d] == view.shape()[d]; --d) index[d] = 0;
        }
        INFO(name_of(dtype_of<T>) << " " << shape.str() << ", dimensions " << a << " and " << b);
        CHECK(wrong == 0);
        CHECK(copy.is_contiguous());
      }
  }
}
}  // namespace

TEST_CASE("a copy of a permuted view has its elements in their places") {
  check_permuted_copies<float>();
  check_permuted_copies<double>();
  check_permuted_copies<half>();
  check_permuted_copies<int64_t>();
  check_permuted_copies<uint8_t>();
}
