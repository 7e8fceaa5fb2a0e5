// bf16 and half: every bit pattern survives the way through float, and rounding is to nearest, ties to even.
#include <cmath>
#include <limits>

#include <gradus/core/dtype.hpp>

#include "support/catch.hpp"

using namespace gradus;

namespace {
/// Patterns that do not come back, NaN apart (which has to stay NaN).
template <class T> int changed_patterns() {
  int changed = 0;
  for (uint32_t b = 0; b < 65536; ++b) {
    T x;
    x.bits = static_cast<uint16_t>(b);
    const float f = x;
    const T back(f);
    const bool nan = f != f;
    changed += nan ? !(static_cast<float>(back) != static_cast<float>(back)) : back.bits != b;
  }
  return changed;
}
/// For neighbours below `infinity`: their midpoint goes to the even one, its float neighbours to the nearer one.
template <class T> int wrong_roundings(uint32_t infinity) {
  int wrong = 0;
  for (uint32_t b = 0; b + 1 < infinity; ++b) {
    T low, high;
    low.bits = static_cast<uint16_t>(b), high.bits = static_cast<uint16_t>(b + 1);
    const double middle = (static_cast<double>(static_cast<float>(low)) + static_cast<double>(static_cast<float>(high))) / 2;
    const float m = static_cast<float>(middle);
    if (static_cast<double>(m) != middle) continue;   // bf16 subnormals below the smallest float
    wrong += T(m).bits != (b % 2 ? b + 1 : b);
    wrong += T(std::nextafter(m, std::numeric_limits<float>::infinity())).bits != b + 1;
    wrong += T(std::nextafter(m, 0.0f)).bits != b;
    wrong += T(-m).bits != ((b % 2 ? b + 1 : b) | 0x8000u);
  }
  return wrong;
}
}  // namespace

TEST_CASE("all 65536 bit patterns survive float") {
  CHECK(changed_patterns<bf16>() == 0);
  CHECK(changed_patterns<half>() == 0);
}

TEST_CASE("rounding is to nearest, ties to even") {
  CHECK(wrong_roundings<bf16>(0x7f80) == 0);
  CHECK(wrong_roundings<half>(0x7c00) == 0);
}

TEST_CASE("known values of half and bf16") {
  CHECK(half(1.0f).bits == 0x3c00);
  CHECK(half(65504.0f).bits == 0x7bff);
  CHECK(half(65519.9f).bits == 0x7bff);
  CHECK(half(65520.0f).bits == 0x7c00);
  CHECK(half(0x1p-24f).bits == 0x0001);
  CHECK(half(0x1p-25f).bits == 0x0000);
  CHECK(half(-0.0f).bits == 0x8000);
  CHECK(half(std::numeric_limits<float>::infinity()).bits == 0x7c00);
  CHECK(bf16(1.0f).bits == 0x3f80);
  CHECK(bf16(3.0e38f).bits == 0x7f62);
  CHECK(bf16(std::numeric_limits<float>::max()).bits == 0x7f80);
  CHECK(bf16(-0.0f).bits == 0x8000);
}

TEST_CASE("names and sizes") {
  CHECK(std::string(name_of(dtype_of<bf16>)) == "bfloat16");
  CHECK(std::string(name_of(dtype_of<bool>)) == "bool");
  CHECK(size_of(DType::f64) == 8);
  CHECK(size_of(DType::f16) == 2);
  CHECK(is_floating_dtype(DType::f16));
  CHECK(!is_floating_dtype(DType::i64));
}
