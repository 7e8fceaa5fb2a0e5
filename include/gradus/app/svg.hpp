// What the drawings share: escaping, colours for light and dark pages, axis ticks.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::app {

/// Safe as text and as an attribute of HTML and SVG; control characters, which XML forbids, become spaces, and bytes that
/// are not UTF-8 question marks.
inline std::string escape_html(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  for (std::size_t i = 0; i < s.size(); ++i) {
    const auto c = static_cast<unsigned char>(s[i]);
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else if (c == '\'') out += "&#39;";
    else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) out += ' ';
    else if (c < 0x80) out += static_cast<char>(c);
    else {
      const std::size_t n = c >= 0xf0 && c <= 0xf4 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;
      bool good = n > 1 && c <= 0xf4 && i + n <= s.size();
      for (std::size_t k = 1; good && k < n; ++k) good = (static_cast<unsigned char>(s[i + k]) & 0xc0) == 0x80;
      if (good) {
        out.append(s.substr(i, n));
        i += n - 1;
      } else {
        out += '?';
      }
    }
  }
  return out;
}

namespace detail {

/// The look of every drawing, and of the page around it. Series colours are told apart with the common forms of colour
/// blindness and keep a contrast of 3 to 1 on both backgrounds.
inline constexpr const char* kColours = R"(
:root, svg.gradus {
  --bg:#ffffff; --card:#ffffff; --soft:#f4f6f8; --ink:#1d2733; --muted:#5d6b7a; --line:#d5dbe1; --grid:#e8ecf0;
  --accent:#2a6fc9; --good:#1c7f4a; --goodbg:#e6f5ec; --bad:#c0303a; --badbg:#fdeaea;
  --s0:#2a6fc9; --s1:#d9661f; --s2:#16906a; --s3:#b8428c; --s4:#7a5bd0; --s5:#a07d10; --s6:#1a95a8; --s7:#7b8794; }
@media (prefers-color-scheme: dark) { :root, svg.gradus {
  --bg:#12171d; --card:#1a2128; --soft:#202932; --ink:#e4e9ee; --muted:#9aa8b6;
  --line:#35414d; --grid:#28323c; --accent:#6ea8ef; --good:#5cc98d; --goodbg:#17352a; --bad:#f0757c; --badbg:#3b2024;
  --s0:#5b9df0; --s1:#f08a4b; --s2:#3dbd93; --s3:#dd6fb4; --s4:#a389f0; --s5:#cfa935; --s6:#45bccf; --s7:#98a4b0; } })";

inline constexpr const char* kSvgStyle = R"(
svg.gradus { font-size: 13px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
svg.gradus text { fill: var(--ink); }
svg.gradus .tick { fill: var(--muted); font-size: 12px;
  font-variant-numeric: tabular-nums; }
svg.gradus .title { font-size: 15px; font-weight: 600; }
svg.gradus .grid { stroke: var(--grid); stroke-width: 1; }
svg.gradus .axis { stroke: var(--line); stroke-width: 1.2; fill: none; }
svg.gradus .curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg.gradus .band { stroke: none; opacity: .17; }
svg.gradus .whisker { stroke: var(--ink); stroke-width: 1.3; opacity: .75; }
svg.gradus .ref { stroke: var(--muted); stroke-width: 1.2; stroke-dasharray: 5 4; }
svg.gradus .hit { fill: transparent; stroke: none; }
svg.gradus .hit:hover { fill: var(--ink); fill-opacity: .25; })";

inline std::string colour(std::size_t series) { return "var(--s" + std::to_string(series % 8) + ")"; }

/// Coordinates to a hundredth of a pixel, short.
inline std::string px(double v) {
  char b[32];
  std::snprintf(b, sizeof b, "%.2f", v);
  std::string s = b;
  while (s.back() == '0') s.pop_back();
  if (s.back() == '.') s.pop_back();
  return s == "-0" ? "0" : s;
}

/// About how wide a text is drawn; letters of a sans-serif face average 0.56 of the size.
inline double text_width(std::string_view s, double size = 13) {
  double w = 0;
  for (const char c : s) {
    if ((static_cast<unsigned char>(c) & 0xc0) == 0x80) continue;
    w += c == 'i' || c == 'l' || c == '.' || c == ',' || c == ' ' || c == 'I' || c == 'j' || c == 't' || c == 'f' || c == '\''
             ? 0.31
         : c == 'm' || c == 'w' || c == 'M' || c == 'W' ? 0.86
                                                        : 0.57;
  }
  return w * size;
}

/// "0.25", "12000", "3e-05" with as many decimals as the step needs.
inline std::string tick_text(double v, double step) {
  char b[48];
  if (std::fabs(v) < step * 1e-9) v = 0;
  const double largest = std::fabs(v);
  if (largest >= 1e6 || (step < 1e-4 && largest > 0)) {
    std::snprintf(b, sizeof b, "%.6g", v);
  } else {
    const int decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)) +
                                         (std::fabs(step / std::pow(10, std::floor(std::log10(step))) - 2.5) < 1e-6 ? 1 : 0));
    std::snprintf(b, sizeof b, "%.*f", decimals, v);
  }
  std::string s = b;
  if (s[0] == '-') s.replace(0, 1, "\u2212");
  return s;
}

struct Tick {
  double value;
  std::string text;  // empty: a grid line without a label
};

/// One axis: data to pixels, and where the labels stand.
struct Axis {
  double lo = 0, hi = 1;  // in data units
  bool log = false;
  std::vector<Tick> ticks;

  /// Room for [lo, hi], about `count` labels at 1, 2, 2.5 or 5 times a power of ten; at decades when `log`.
  static Axis fit(double lo, double hi, bool log, int count, bool pad) {
    Axis a;
    a.log = log;
    if (!(lo <= hi)) lo = log ? 1 : 0, hi = log ? 10 : 1;  // nothing to show
    if (log) {
      double l = std::log10(lo), h = std::log10(hi);
      if (h - l < 1e-9) l -= 0.5, h += 0.5;
      if (pad) {
        const double room = 0.04 * (h - l);
        l -= room, h += room;
      }
      a.lo = std::pow(10, l), a.hi = std::pow(10, h);
      const int every = std::max(1, static_cast<int>(std::ceil((h - l) / count)));
      for (int d = static_cast<int>(std::floor(l)); d <= static_cast<int>(std::ceil(h)); ++d)
        for (int m = 1; m < 10; ++m) {
          const double v = m * std::pow(10, d);
          if (v < a.lo * (1 - 1e-9) || v > a.hi * (1 + 1e-9)) continue;
          const bool decade = m == 1 && ((d % every) + every) % every == 0;
          const bool label = decade || (h - l < 2 && (m == 2 || m == 5)) || h - l < 0.7;
          if (label || (m == 1) || (h - l < 4 && every == 1)) a.ticks.push_back({v, label ? log_text(v) : ""});
        }
      return a;
    }
    if (hi - lo < 1e-12 * std::max(std::fabs(lo), std::fabs(hi)) || hi == lo) {
      const double room = lo == 0 ? 1 : std::fabs(lo) * 0.1;
      lo -= room, hi += room;
    } else if (pad) {
      const double room = 0.05 * (hi - lo);
      const bool touches_zero = lo >= 0 && lo - room < 0.1 * (hi - lo);  // close to 0: begin there, axes then cross at 0
      lo = touches_zero ? 0 : lo - room;
      hi += room;
    }
    a.lo = lo, a.hi = hi;
    const double raw = (hi - lo) / count, power = std::pow(10, std::floor(std::log10(raw))), part = raw / power;
    const double step = power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 2.5 ? 2.5 : part <= 5 ? 5 : 10);
    for (double k = std::ceil(lo / step - 1e-9); k * step <= hi + 1e-9 * step; ++k)
      a.ticks.push_back({k * step, tick_text(k * step, step)});
    return a;
  }
  bool shows(double v) const { return std::isfinite(v) && (!log || v > 0); }
  /// 0 at lo, 1 at hi.
  double place(double v) const {
    return log ? (std::log10(v) - std::log10(lo)) / (std::log10(hi) - std::log10(lo)) : (v - lo) / (hi - lo);
  }

 private:
  static std::string log_text(double v) {
    char b[32];
    if (v >= 0.001 && v < 99999) std::snprintf(b, sizeof b, "%g", v);
    else std::snprintf(b, sizeof b, "%.0e", v);
    std::string s = b;
    if (const std::size_t zero = s.find("e-0"); zero != s.npos) s.erase(zero + 2, 1);
    if (const std::size_t plus = s.find("e+"); plus != s.npos) s.erase(plus + 1, s[plus + 2] == '0' ? 2 : 1);
    return s;
  }
};

/// The <svg> element. Standing alone in a file it needs its own colours; in the page it uses the page's.
inline std::string svg_document(double width, double height, std::string_view title, const std::string& body, bool standalone) {
  std::string s =
      "<svg class=\"gradus\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + px(width) + " " + px(height) + "\"";
  if (standalone) s += " width=\"" + px(width) + "\" height=\"" + px(height) + "\"";
  s += " role=\"img\" aria-label=\"" + escape_html(title) + "\">\n";
  if (standalone)
    s += std::string("<style>") + kColours + kSvgStyle +
         "\n</style>\n<rect width=\"100%\" height=\"100%\" fill=\"var(--bg)\"/>\n";
  return s + body + "</svg>\n";
}

}  // namespace detail
}  // namespace gradus::app
