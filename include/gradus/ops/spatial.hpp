// What convolution, pooling, unfold and interpolate share: numbers given once or once a spatial axis, and their checks.
#pragma once
#include <algorithm>

#include <gradus/ops/reduce.hpp>

namespace gradus {

/// One number for all spatial axes, or one an axis in the order depth, height, width; empty: the function's default.
struct PerAxis {
  Shape list;
  PerAxis() = default;
  PerAxis(int64_t v) : list{v} {}
  PerAxis(std::initializer_list<int64_t> l) : list(l) {}
  PerAxis(const Shape& s) : list(s) {}
  PerAxis(const std::vector<int64_t>& l) : list(l) {}
  /// The number of axis i.
  int64_t get(int i, int64_t otherwise) const { return list.n == 0 ? otherwise : list.n == 1 ? list[0] : list[i]; }
};

namespace detail {

/// Fails unless p has 0, 1 or d numbers, none below `least`.
inline void check_axes(const char* op, const char* name, const PerAxis& p, int d, int64_t least, const AnyTensor& x, Where at) {
  bool ok = p.list.n <= 1 || p.list.n == d;
  for (int64_t v : p.list) ok &= v >= least;
  if (!ok)
    fail(op, std::string(name) + " is out of range", {{"x", describe(x)}, {name, p.list.str()}},
         (d == 1 ? std::string("1 number") : "1 or " + std::to_string(d) + " numbers") + " >= " + std::to_string(least), at);
}

inline int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -((-a) / b); }
/// What TensorFlow's SAME puts before an axis of extent n, kernel reach + 1: half of what ceil(n / stride) outputs need,
/// rounded down; the other half goes to the end, so with a stride on even extents the ends differ.
inline int64_t same_padding(int64_t n, int64_t stride, int64_t reach) {
  return std::max<int64_t>((ceil_div(n, stride) - 1) * stride + reach + 1 - n, 0) / 2;
}

}  // namespace detail

}  // namespace gradus
