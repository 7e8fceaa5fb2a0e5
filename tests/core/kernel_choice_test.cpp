// Kernels chosen by name.
#include <gradus/core/kernel_choice.hpp>

#include "support/check.hpp"

namespace {
enum class By { reference, warp, block };
gradus::KernelChoice<By> by{"kernel_choice_test", {"reference", "warp", "block"}};
}  // namespace

TEST_CASE("the library chooses until a kernel is selected, and again after") {
  CHECK(by.or_else(By::warp) == By::warp);
  CHECK(by.or_else(By::block) == By::block);
  gradus::select_kernel("kernel_choice_test", "reference");
  CHECK(by.or_else(By::warp) == By::reference);
  CHECK(gradus::selected_kernel("kernel_choice_test") == "reference");
  {
    const gradus::KernelScope scope("kernel_choice_test", "block");
    CHECK(by.or_else(By::warp) == By::block);
  }
  CHECK(by.or_else(By::warp) == By::reference);
  gradus::select_kernel("kernel_choice_test", "");
  CHECK(by.or_else(By::warp) == By::warp);
  CHECK(gradus::selected_kernel("kernel_choice_test").empty());
}

TEST_CASE("kernels are listed, reference first") {
  CHECK(gradus::kernel_variants("kernel_choice_test") == std::vector<std::string>{"reference", "warp", "block"});
  const auto all = gradus::kernel_choices();
  CHECK(std::find(all.begin(), all.end(), "kernel_choice_test") != all.end());
}

TEST_CASE("a name that does not exist says which do") {
  const auto kernel = check::error_of([] { gradus::select_kernel("kernel_choice_test", "warb"); });
  CHECK(check::missing(kernel, {"select_kernel", "warb", "\"reference\", \"warp\", \"block\"", "kernel_choice_test.cpp"}) == "");
  const auto op = check::error_of([] { gradus::select_kernel("kernel_choice", "warp"); });
  CHECK(check::missing(op, {"select_kernel", "kernel_choice", "\"kernel_choice_test\"", "kernel_choice_test.cpp"}) == "");
  CHECK(by.or_else(By::block) == By::block);
}
