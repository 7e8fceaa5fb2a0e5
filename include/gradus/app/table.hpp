// Tables for the terminal and the report, and how figures are written in them.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gradus/app/progress.hpp>

namespace gradus::app {

/// Mean and sample standard deviation (n - 1; 0 for one value).
struct MeanStd {
  double mean = NAN, std = 0;
  std::size_t n = 0;
};
inline MeanStd mean_std(std::span<const double> v) {
  MeanStd r;
  r.n = v.size();
  if (v.empty()) return r;
  double sum = 0, squares = 0;
  for (const double x : v) sum += x;
  r.mean = sum / static_cast<double>(v.size());
  for (const double x : v) squares += (x - r.mean) * (x - r.mean);
  if (v.size() > 1) r.std = std::sqrt(squares / static_cast<double>(v.size() - 1));
  return r;
}

/// `digits` significant figures, without the exponent form for everyday sizes; whole numbers without a point.
inline std::string figure(double v, int digits = 4) {
  char b[64];
  if (!std::isfinite(v)) return std::isnan(v) ? "nan" : v > 0 ? "inf" : "-inf";
  const double a = std::fabs(v);
  if (a == std::floor(a) && a < 1e7) {
    std::snprintf(b, sizeof b, "%.0f", v + 0.0);  // + 0: no "-0"
    return b;
  }
  if (a >= 1e7 || a < 1e-4) {
    std::snprintf(b, sizeof b, "%.*e", std::max(0, digits - 1), v);
    return b;
  }
  const int before_point = static_cast<int>(std::floor(std::log10(a))) + 1;
  std::snprintf(b, sizeof b, "%.*f", std::max(0, digits - before_point), v);
  return b;
}

/// The shortest usual form, for bounds and axes: "0.8", "15", "1e-05".
inline std::string plain(double v) {
  char b[32];
  std::snprintf(b, sizeof b, "%.6g", v == 0 ? 0.0 : v);
  return b;
}

/// "16.23 ± 0.41": the mean to the place that the deviation's second figure has, at least `digits` figures without one.
inline std::string figure(const MeanStd& m, int digits = 4) {
  if (m.n < 2 || !(m.std > 0) || !std::isfinite(m.mean) || !std::isfinite(m.std)) return figure(m.mean, digits);
  const double a = std::fabs(m.mean);
  if (a >= 1e7 || (a != 0 && a < 1e-4)) return figure(m.mean, 3) + " ± " + figure(m.std, 2);
  const int decimals = std::clamp(1 - static_cast<int>(std::floor(std::log10(m.std))), 0, 6);
  char b[96];
  std::snprintf(b, sizeof b, "%.*f ± %.*f", decimals, m.mean, decimals, m.std);
  return b;
}

struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> links = {};  ///< for a report: the page that a row's first cell opens; empty: none

  void row(std::vector<std::string> cells) {
    cells.resize(std::max(cells.size(), columns.size()));
    rows.push_back(std::move(cells));
  }
  /// A column is aligned to the right when each of its cells begins like a number.
  bool numeric(std::size_t c) const {
    bool any = false;
    for (const auto& r : rows) {
      if (c >= r.size() || r[c].empty() || r[c] == "-") continue;
      const std::string& s = r[c];
      const std::size_t sign = s[0] == '-' || s[0] == '+' || s[0] == '<' || s[0] == '>' ? 1 : 0;
      const bool digit = sign < s.size() && s[sign] >= '0' && s[sign] <= '9';
      if (!digit && s != "nan" && s != "inf" && s != "-inf") return false;
      any = true;
    }
    return any;
  }
  std::string text() const {
    std::vector<int> width;
    const auto widen = [&](const std::vector<std::string>& cells) {
      for (std::size_t c = 0; c < cells.size(); ++c) {
        if (c == width.size()) width.push_back(0);
        width[c] = std::max(width[c], columns_of(cells[c]));
      }
    };
    widen(columns);
    for (const auto& r : rows) widen(r);
    std::string s;
    const auto line = [&](const std::vector<std::string>& cells) {
      std::string l;
      for (std::size_t c = 0; c < cells.size(); ++c) {
        const std::string pad(static_cast<std::size_t>(width[c] - columns_of(cells[c])), ' ');
        l += (c ? "  " : "") + (numeric(c) ? pad + cells[c] : cells[c] + pad);
      }
      l.erase(l.find_last_not_of(' ') + 1);
      s += l + "\n";
    };
    line(columns);
    std::vector<std::string> rule;
    for (const int w : width) {
      std::string r;
      for (int i = 0; i < w; ++i) r += "─";
      rule.push_back(r);
    }
    line(rule);
    for (const auto& r : rows) line(r);
    return s;
  }
};

inline std::ostream& operator<<(std::ostream& os, const Table& t) { return os << t.text(); }

}  // namespace gradus::app
