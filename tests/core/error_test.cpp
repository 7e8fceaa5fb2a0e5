// The layout of error texts, which every error of the library shares.
#include <gradus/core/error.hpp>

#include "support/check.hpp"

using namespace gradus;

TEST_CASE("an error names the op, the facts, what was expected, and the place") {
  const Where here = Where::current();
  const std::string text = check::error_of([&] {
    fail("matmul(a, b)", "inner dimensions differ",
         {{"a", describe(DType::f32, DeviceKind::cpu, {2, 3})}, {"a_long_label", "value"}}, "K == 3", here);
  });
  CHECK(text == "gradus: matmul(a, b): inner dimensions differ\n"
                "  a         float32 cpu [2, 3]\n"
                "  a_long_label value\n"
                "  expected  K == 3\n"
                "  at        " + std::string(here.file_name()) + ":" + std::to_string(here.line()));
}

TEST_CASE("expected and place are left out when there are none") {
  CHECK(check::error_of([] { fail("op", "problem", {{"x", "y"}}, "", Where{}); }) == "gradus: op: problem\n  x         y");
}

TEST_CASE("the module that runs is named") {
  const ModulePath outer("encoder"), inner("block3");
  CHECK(check::contains(check::error_of([] { fail("op", "problem", {}, "", Where::current()); }), ", in encoder.block3"));
}

TEST_CASE("the place is the caller's line, for functions, operators and methods") {
  const auto a = zeros({2, 3}), b = zeros({4, 5});
  const auto line = [](int n) { return "error_test.cpp:" + std::to_string(n); };
  CHECK(check::contains(check::error_of([&] { add(a, b); }), line(__LINE__)));
  CHECK(check::contains(check::error_of([&] { a * b; }), line(__LINE__)));
  CHECK(check::contains(check::error_of([&] { a.reshape({7}); }), line(__LINE__)));
  CHECK(check::contains(check::error_of([&] { a.item(); }), line(__LINE__)));
}

TEST_CASE("a tensor's name is part of its description") {
  Tensor<double> x{1., 2};
  x.set_name("weight");
  CHECK(describe(x) == "float64 cpu [2] \"weight\"");
  CHECK(describe(Tensor<double>()) == "undefined tensor");
}
