// What the debugging tools say about the values of a tensor, whatever its dtype: doubles, ranges, short texts.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <gradus/autograd/node.hpp>
#include <gradus/ops/view.hpp>

namespace gradus::debug {

namespace detail {
template <class T, class F> void each_value(const AnyTensor& x, F f) {  // row-major
  const auto* p = static_cast<const T*>(x.impl()->data);
  [[maybe_unused]] std::vector<char> host;
  if constexpr (kWithCuda) {
    if (x.device() == DeviceKind::cuda) {            // the whole storage, so that strides need no kernel
      const Storage* s = x.impl()->storage;
      host.resize(s->bytes);
      gradus::detail::copy_to_host(host.data(), s->data, s->bytes);
      p = reinterpret_cast<const T*>(host.data() + (static_cast<const char*>(x.impl()->data) - static_cast<const char*>(s->data)));
    }
  }
  const auto as_double = [](const T& v) {
    if constexpr (std::is_same_v<T, bf16> || std::is_same_v<T, half>) return static_cast<double>(static_cast<float>(v));
    else return static_cast<double>(v);
  };
  if (x.is_contiguous()) {
    for (int64_t i = 0; i < x.numel(); ++i) f(i, as_double(p[i]));
    return;
  }
  const Shape &shape = x.shape(), &strides = x.strides();
  Shape index = shape;
  for (int d = 0; d < shape.n; ++d) index[d] = 0;
  for (int64_t i = 0, place = 0; i < x.numel(); ++i) {
    f(i, as_double(p[place]));
    for (int d = shape.n - 1; d >= 0; --d) {
      place += strides[d];
      if (++index[d] < shape[d]) break;
      place -= strides[d] * shape[d], index[d] = 0;
    }
  }
}
}  // namespace detail

/// f(i, v) for the values in row-major order.
template <class F> void each_value(const AnyTensor& x, F f) {
  switch (x.dtype()) {
    case DType::f32: return detail::each_value<float>(x, f);
    case DType::f64: return detail::each_value<double>(x, f);
    case DType::bf16: return detail::each_value<bf16>(x, f);
    case DType::f16: return detail::each_value<half>(x, f);
    case DType::i64: return detail::each_value<int64_t>(x, f);
    case DType::i32: return detail::each_value<int32_t>(x, f);
    case DType::u8: return detail::each_value<uint8_t>(x, f);
    case DType::boolean: return detail::each_value<bool>(x, f);
  }
}
inline std::vector<double> to_doubles(const AnyTensor& x) {
  std::vector<double> v(static_cast<std::size_t>(x.numel()));
  each_value(x, [&](int64_t i, double d) { v[static_cast<std::size_t>(i)] = d; });
  return v;
}

/// "0.25", "1.2e-05": as many digits as %.4g
inline std::string short_number(double v, int digits = 4) {
  char text[40];
  snprintf(text, sizeof text, "%.*g", digits, v);
  return text;
}

/// Of the finite values; nan, inf and first_bad (row-major number of the first that is not finite, -1 without) tell of the others.
struct Range {
  double min = std::numeric_limits<double>::quiet_NaN(), mean = min, max = min, norm = 0;
  int64_t n = 0, nan = 0, inf = 0, first_nan = -1, first_inf = -1;

  static Range of(const AnyTensor& x) {
    Range r;
    r.n = x.numel();
    double lo = std::numeric_limits<double>::infinity(), hi = -lo, sum = 0, squares = 0;
    each_value(x, [&](int64_t i, double v) {
      if (std::isnan(v)) {
        if (r.nan++ == 0) r.first_nan = i;
      } else if (std::isinf(v)) {
        if (r.inf++ == 0) r.first_inf = i;
      } else {
        lo = v < lo ? v : lo, hi = v > hi ? v : hi, sum += v, squares += v * v;
      }
    });
    if (const int64_t good = r.n - r.nan - r.inf) r.min = lo, r.max = hi, r.mean = sum / static_cast<double>(good);
    r.norm = r.nan ? std::numeric_limits<double>::quiet_NaN() : r.inf ? std::numeric_limits<double>::infinity() : std::sqrt(squares);
    return r;
  }
  /// "min -1 mean 0.2 max 3, NaN 1"
  std::string str() const {
    if (n == 0) return "no element";
    std::string s = nan + inf == n ? "nothing finite" : "min " + short_number(min) + " mean " + short_number(mean) + " max " + short_number(max);
    if (nan) s += ", NaN " + std::to_string(nan);
    if (inf) s += ", infinite " + std::to_string(inf);
    return s;
  }
};

/// "model.hpp:61": the place without folders.
inline std::string short_place(const Where& at) {
  if (at.line() == 0) return "";
  const std::string_view path = at.file_name();
  const auto slash = path.rfind('/');
  return std::string(slash == path.npos ? path : path.substr(slash + 1)) + ":" + std::to_string(at.line());
}
/// "[1, 2]" of element i of a shape.
inline std::string index_of(int64_t i, const Shape& shape) {
  Shape index = shape;
  for (int d = shape.n - 1; d >= 0; --d) index[d] = i % shape[d], i /= shape[d];
  return index.str();
}

/// A text table: columns as wide as they must be, numbers (from column `numbers_from` on) to the right.
inline std::string text_table(const std::vector<std::vector<std::string>>& rows, std::size_t numbers_from = 1) {
  const auto width_of = [](const std::string& s) {
    std::size_t n = 0;
    for (const char c : s) n += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    return n;
  };
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t k = 0; k < row.size(); ++k) {
      if (widths.size() <= k) widths.push_back(0);
      widths[k] = std::max(widths[k], width_of(row[k]));
    }
  std::string s;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t k = 0; k < row.size(); ++k) {
      const std::string pad(widths[k] - width_of(row[k]), ' ');
      line += (k ? "  " : "") + (k >= numbers_from ? pad + row[k] : row[k] + pad);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    s += line + "\n";
  }
  return s;
}

/// "1.2 k", "3.4 M": counts and bytes for tables
inline std::string short_count(double v, const char* unit = "") {
  const char* prefix[] = {"", "k", "M", "G", "T"};
  int k = 0;
  while (std::fabs(v) >= 999.5 && k < 4) v /= 1000, ++k;
  return short_number(v, k || v != std::floor(v) ? 3 : 6) + (k || *unit ? std::string(" ") + prefix[k] + unit : "");
}

}  // namespace gradus::debug
