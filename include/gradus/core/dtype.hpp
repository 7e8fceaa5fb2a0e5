// The element types: float, double, bf16, half, int64, int32, uint8, bool.
//
// bf16 and half are 16-bit storage; arithmetic on them happens in float (compute_t).
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include <gradus/core/config.hpp>

namespace gradus {

enum class DType : uint8_t { f32, f64, bf16, f16, i64, i32, u8, boolean };

/// Brain float: the upper 16 bits of a float; rounds to nearest even.
struct bf16 {
  uint16_t bits = 0;
  bf16() = default;
  GRADUS_HD explicit bf16(float x) {
    uint32_t u = std::bit_cast<uint32_t>(x);
    bits = (u & 0x7fffffffu) > 0x7f800000u ? static_cast<uint16_t>((u >> 16) | 0x40u)   // NaN stays NaN
                                           : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  template <class U>
    requires std::is_arithmetic_v<U>
  GRADUS_HD explicit bf16(U x) : bf16(static_cast<float>(x)) {}
  GRADUS_HD operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

/// IEEE 754 binary16, round to nearest even, subnormals kept.
struct half {
  uint16_t bits = 0;
  half() = default;
  GRADUS_HD explicit half(float x) {
    const uint32_t u = std::bit_cast<uint32_t>(x), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
    uint32_t r;
    if (a >= 0x47800000u) r = a > 0x7f800000u ? 0x7e00u : 0x7c00u;                       // NaN, or beyond 65520: infinity
    else if (a < 0x38800000u) r = std::bit_cast<uint32_t>(std::bit_cast<float>(a) + 0.5f) - 0x3f000000u;  // subnormal
    else r = (a + 0xc8000fffu + ((a >> 13) & 1u)) >> 13;
    bits = static_cast<uint16_t>(sign | r);
  }
  template <class U>
    requires std::is_arithmetic_v<U>
  GRADUS_HD explicit half(U x) : half(static_cast<float>(x)) {}
  GRADUS_HD operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16, a = bits & 0x7fffu;
    if (a >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((a & 0x3ffu) << 13));
    if (a >= 0x0400u) return std::bit_cast<float>(sign | ((a + 0x1c000u) << 13));
    const float f = std::bit_cast<float>(a + 0x3f000000u) - 0.5f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(f));
  }
};

template <class T> inline constexpr bool is_floating = false;
template <> inline constexpr bool is_floating<float> = true;
template <> inline constexpr bool is_floating<double> = true;
template <> inline constexpr bool is_floating<bf16> = true;
template <> inline constexpr bool is_floating<half> = true;

/// The type that arithmetic on T happens in: float for bf16 and half, T otherwise.
template <class T> struct compute { using type = T; };
template <> struct compute<bf16> { using type = float; };
template <> struct compute<half> { using type = float; };
template <class T> using compute_t = typename compute<T>::type;

template <class T> inline constexpr DType dtype_of = [] {
  static_assert(sizeof(T) == 0, "gradus: element types are float, double, bf16, half, int64_t, int32_t, uint8_t, bool");
  return DType::f32;
}();
template <> inline constexpr DType dtype_of<float> = DType::f32;
template <> inline constexpr DType dtype_of<double> = DType::f64;
template <> inline constexpr DType dtype_of<bf16> = DType::bf16;
template <> inline constexpr DType dtype_of<half> = DType::f16;
template <> inline constexpr DType dtype_of<int64_t> = DType::i64;
template <> inline constexpr DType dtype_of<int32_t> = DType::i32;
template <> inline constexpr DType dtype_of<uint8_t> = DType::u8;
template <> inline constexpr DType dtype_of<bool> = DType::boolean;

constexpr int size_of(DType t) {
  constexpr int bytes[] = {4, 8, 2, 2, 8, 4, 1, 1};
  return bytes[static_cast<int>(t)];
}
constexpr const char* name_of(DType t) {
  constexpr const char* names[] = {"float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool"};
  return names[static_cast<int>(t)];
}
constexpr bool is_floating_dtype(DType t) { return t <= DType::f16; }

template <class T> concept Element = std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, bf16> ||
                                     std::is_same_v<T, half> || std::is_same_v<T, int64_t> || std::is_same_v<T, int32_t> ||
                                     std::is_same_v<T, uint8_t> || std::is_same_v<T, bool>;
template <class T> concept Floating = is_floating<T>;

}  // namespace gradus
