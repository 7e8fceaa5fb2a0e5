// Factories, and tensors over memory that somebody else owns.
#include <gradus.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

TEST_CASE("a list is values, a Shape is a shape") {
  CHECK(Double{2., 3}.to_vector() == std::vector<double>{2, 3});
  CHECK(Double(Shape{2, 3}).shape() == Shape{2, 3});
  CHECK(Double{{1, 2}, {3, 4}}.shape() == Shape{2, 2});
  CHECK(Tensor<int64_t>{2, 3}.to_vector() == std::vector<int64_t>{2, 3});
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  CHECK(Double({2, 3}).to_vector() == std::vector<double>{2, 3});   // warns: it reads like a shape
#pragma GCC diagnostic pop
}

TEST_CASE("borrowed memory is not copied, and writes go both ways") {
  std::vector<float> v{1, 2, 3, 4, 5, 6};
  const auto x = borrow(v, {2, 3});
  CHECK(x.data() == v.data());
  v[4] = 50;
  CHECK(x(1, 1).item() == 50);
  x(0, all) = 7;
  CHECK(v[2] == 7);
  CHECK(borrow(std::span<float>(v), {6}).data() == v.data());
  CHECK(check::missing(check::error_of([&] { borrow(v, {4}); }), {"borrow: the values do not fill the shape", "4 values", "create_test.cpp"}) == "");
  CHECK(x.span().data() == v.data());
}

TEST_CASE("wrapped memory is given back when the last view is gone") {
  static int released = 0;
  released = 0;
  auto* memory = new double[6]{1, 2, 3, 4, 5, 6};
  Double row;
  {
    const auto x = wrap(memory, {2, 3}, [memory] {
      delete[] memory;
      ++released;
    });
    row = select(x, 0, 1);
    const auto t = transpose(x, 0, 1);
  }
  CHECK(released == 0);
  CHECK(row.to_vector() == std::vector<double>{4, 5, 6});
  row = {};
  CHECK(released == 1);
  std::vector<double> columns{1, 4, 2, 5, 3, 6};
  const auto m = wrap(columns.data(), {2, 3}, [] {}, Shape{1, 2});
  CHECK(m.to_vector() == std::vector<double>{1, 2, 3, 4, 5, 6});
  CHECK_FALSE(m.is_contiguous());
  CHECK(check::contains(check::error_of([&] { wrap(columns.data(), {2, 3}, [] {}, Shape{1}); }), "wrap: strides and shape differ in length"));
}

TEST_CASE("an adopted vector moves") {
  std::vector<float> v{1, 2, 3, 4};
  const float* data = v.data();
  const auto x = adopt(std::move(v), {2, 2});
  CHECK(x.data() == data);
  CHECK(x.to_vector() == std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("an undefined tensor is an error that names the operator") {
  const Double none, x{1., 2};
  CHECK(check::missing(check::error_of([&] { none.shape(); }), {"an undefined tensor", "asked for its shape", "alone has no shape"}) == "");
  CHECK(check::missing(check::error_of([&] { exp(none); }), {"gradus: exp: an undefined tensor", "create_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] { add(x, none); }), {"gradus: add: an undefined tensor", "create_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] { x * none; }), {"an undefined tensor", "create_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] { sum(none); }), {"gradus: sum: an undefined tensor", "create_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] { matmul(x, none); }), {"gradus: matmul: an undefined tensor", "create_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] { softmax(none); }), {"gradus: softmax: an undefined tensor", "create_test.cpp"}) == "");
  CHECK(check::contains(check::error_of([&] { gather(none, 0, Tensor<int64_t>{0}); }), "an undefined tensor"));
  CHECK(check::contains(check::error_of([&] { Double().item(); }), "an undefined tensor"));
  CHECK(check::contains(check::error_of([&] { Double().backward(); }), "gradus: "));
}

TEST_CASE("ranges and the identity") {
  CHECK(arange<double>(1, 2, 0.25).to_vector() == std::vector<double>{1, 1.25, 1.5, 1.75});
  CHECK(arange<int64_t>(3, -1, -2).to_vector() == std::vector<int64_t>{3, 1});
  CHECK(linspace<double>(-1, 1, 5).to_vector() == std::vector<double>{-1, -0.5, 0, 0.5, 1});
  CHECK(linspace<double>(2, 3, 1).to_vector() == std::vector<double>{2});
  CHECK(eye<double>(2, 3).to_vector() == std::vector<double>{1, 0, 0, 0, 1, 0});
  CHECK(check::contains(check::error_of([] { arange<double>(0, 1, 0); }), "arange: the range has no length"));
}
