// Definitions of print.hpp; compiled once in cpu/gradus.cpp, or inline with GRADUS_HEADER_ONLY.
#pragma once
#include <cmath>
#include <cstdio>

#include <gradus/ops/print.hpp>

namespace gradus {

GRADUS_FUNC std::string format_element(double v, bool floating, int precision) {
  char text[48];
  if (!floating || (v == std::floor(v) && std::fabs(v) < 1e6)) snprintf(text, sizeof text, floating ? "%.0f." : "%.0f", v);
  else snprintf(text, sizeof text, "%.*g", precision, v);
  return text;
}

GRADUS_FUNC std::string format_array(const std::vector<std::string>& items, const Shape& shape, int indent) {
  if (shape.n == 0) return items[0];
  constexpr int64_t kEnds = 3, kWhole = 1000;
  const bool shorten = static_cast<int64_t>(items.size()) > kWhole;
  const Shape strides = [&] {
    Shape s = shape;
    int64_t step = 1;
    for (int i = shape.n - 1; i >= 0; --i) s[i] = step, step *= shape[i];
    return s;
  }();
  std::size_t width = 0;
  for (const auto& s : items) width = s.size() > width ? s.size() : width;
  const auto walk = [&](const auto& self, int d, int64_t offset) -> std::string {
    if (d == shape.n) return std::string(width - items[static_cast<std::size_t>(offset)].size(), ' ') + items[static_cast<std::size_t>(offset)];
    std::string s = "[";
    const int64_t n = shape[d];
    for (int64_t i = 0; i < n; ++i) {
      if (i) s += d == shape.n - 1 ? ", " : "," + std::string(static_cast<std::size_t>(shape.n - 1 - d), '\n') + std::string(static_cast<std::size_t>(indent + d + 1), ' ');
      if (shorten && n > 2 * kEnds && i == kEnds) {
        s += "...";
        i = n - kEnds - 1;
        continue;
      }
      s += self(self, d + 1, offset + i * strides[d]);
    }
    return s + "]";
  };
  return walk(walk, 0, 0);
}

}  // namespace gradus
