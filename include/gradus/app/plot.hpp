// Curves with bands over seeds, points, bars and heat maps as SVG, drawn here: a report needs no network, no script.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <gradus/app/svg.hpp>
#include <gradus/app/table.hpp>

namespace gradus::app {

/// Lines and points over two axes.
///   Plot p{.title = "Training loss", .x_label = "step", .y_label = "loss", .log_y = true};
///   p.seeds("M = 8", steps, {loss_of_seed_0, loss_of_seed_1, loss_of_seed_2});
struct Plot {
  struct Series {
    enum Kind { line, dashed, points };
    std::string name;
    std::vector<double> x, y, lo, hi;  // lo and hi are empty or as long as x
    Kind kind = line;
  };
  struct Reference {
    double y;
    std::string label;
  };
  std::string title = {}, x_label = {}, y_label = {};
  bool log_x = false, log_y = false;
  std::string note = {};  ///< said under the drawing
  double width = 560, height = 350;
  std::vector<Series> series = {};
  std::vector<Reference> references = {};

  Plot& line(std::string name, std::vector<double> x, std::vector<double> y) {
    return add({std::move(name), std::move(x), std::move(y), {}, {}, Series::line});
  }
  Plot& dashed(std::string name, std::vector<double> x, std::vector<double> y) {
    return add({std::move(name), std::move(x), std::move(y), {}, {}, Series::dashed});
  }
  Plot& points(std::string name, std::vector<double> x, std::vector<double> y) {
    return add({std::move(name), std::move(x), std::move(y), {}, {}, Series::points});
  }
  /// A line with a band from lo to hi.
  Plot& band(std::string name, std::vector<double> x, std::vector<double> y, std::vector<double> lo, std::vector<double> hi) {
    return add({std::move(name), std::move(x), std::move(y), std::move(lo), std::move(hi), Series::line});
  }
  /// One curve for each seed, ys[seed][i] at x[i]: drawn as their mean with a band from the smallest to the largest.
  /// A seed that is shorter (stopped early) counts as far as it goes.
  Plot& seeds(std::string name, std::vector<double> x, const std::vector<std::vector<double>>& ys) {
    Series s{std::move(name), std::move(x), {}, {}, {}, Series::line};
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      double sum = 0, lo = INFINITY, hi = -INFINITY;
      int n = 0;
      for (const auto& y : ys)
        if (i < y.size() && std::isfinite(y[i])) {
          sum += y[i], ++n;
          lo = std::min(lo, y[i]), hi = std::max(hi, y[i]);
        }
      s.y.push_back(n ? sum / n : NAN);
      s.lo.push_back(n ? lo : NAN);
      s.hi.push_back(n ? hi : NAN);
    }
    if (ys.size() < 2) s.lo.clear(), s.hi.clear();
    return add(std::move(s));
  }
  /// A horizontal line, e.g. at the paper's figure.
  Plot& reference(double y, std::string label) {
    references.push_back({y, std::move(label)});
    return *this;
  }

  std::string svg(bool standalone = false) const;

 private:
  Plot& add(Series s) {
    const std::size_t n = std::min(s.x.size(), s.y.size());  // a curve is as long as its shorter half
    s.x.resize(n), s.y.resize(n);
    if (s.lo.size() < n || s.hi.size() < n) s.lo.clear(), s.hi.clear();
    else s.lo.resize(n), s.hi.resize(n);
    series.push_back(std::move(s));
    return *this;
  }
};

/// Groups of bars, one bar a series, with whiskers.
struct Bars {
  struct Series {
    std::string name;
    std::vector<double> values, errors;  // errors: empty, or the half length of each whisker
  };
  std::string title = {}, y_label = {}, note = {};
  std::vector<std::string> groups = {};
  std::vector<Series> series = {};
  double width = 560, height = 320;

  Bars& add(std::string name, std::vector<double> values, std::vector<double> errors = {}) {
    series.push_back({std::move(name), std::move(values), std::move(errors)});
    return *this;
  }
  std::string svg(bool standalone = false) const;
};

/// A matrix as coloured cells: confusion matrices, attention maps, weights.
struct Heatmap {
  std::string title = {}, x_label = {}, y_label = {}, note = {};
  std::size_t rows = 0, columns = 0;
  std::vector<double> values = {};  ///< [rows, columns]
  std::vector<std::string> row_names = {}, column_names = {};
  bool numbers = false;       ///< write the value into each cell
  bool signed_scale = false;  ///< 0 is neutral: two colours for minus and plus

  std::string svg(bool standalone = false) const;
};

/// counts[true * classes + predicted]; a cell's colour is its share of the true class, its text the count.
inline Heatmap confusion_matrix(std::vector<double> counts, std::vector<std::string> names,
                                std::string title = "Confusion matrix") {
  const std::size_t n = names.size();
  counts.resize(n * n);
  return {.title = std::move(title),
          .x_label = "predicted",
          .y_label = "true",
          .rows = n,
          .columns = n,
          .values = std::move(counts),
          .row_names = names,
          .column_names = names,
          .numbers = true};
}

namespace detail {

/// Names with their marks above a drawing, in as many lines as they need. Returns the height used.
inline double legend(std::string& body, const std::vector<std::pair<std::string, std::string>>& entries, double left,
                     double right, double top) {
  double x = left, y = top;
  for (const auto& [mark, name] : entries) {
    const double w = 30 + text_width(name) + 16;
    if (x > left && x + w > right + 16) x = left, y += 20;
    body += "<g transform=\"translate(" + px(x) + " " + px(y) + ")\">" + mark + "<text x=\"28\" y=\"4\">" + escape_html(name) +
            "</text></g>\n";
    x += w;
  }
  return y - top + 20;
}

inline std::string text(double x, double y, std::string_view s, const char* anchor, const char* css,
                        std::string_view more = "") {
  return "<text class=\"" + std::string(css) + "\" x=\"" + px(x) + "\" y=\"" + px(y) + "\" text-anchor=\"" + anchor + "\" " +
         std::string(more) + ">" + escape_html(s) + "</text>\n";
}
inline std::string segment(double x1, double y1, double x2, double y2, const char* css) {
  return "<line class=\"" + std::string(css) + "\" x1=\"" + px(x1) + "\" y1=\"" + px(y1) + "\" x2=\"" + px(x2) + "\" y2=\"" +
         px(y2) + "\"/>\n";
}
inline std::string turned(double x, double y) { return "transform=\"rotate(-90 " + px(x) + " " + px(y) + ")\""; }

/// The indices to draw of a long curve: of each bucket its first, smallest, largest and last value, so that peaks stay.
inline std::vector<std::size_t> thinned(const std::vector<double>& y, std::size_t buckets = 160) {
  std::vector<std::size_t> keep;
  if (y.size() <= 4 * buckets) {
    for (std::size_t i = 0; i < y.size(); ++i) keep.push_back(i);
    return keep;
  }
  for (std::size_t b = 0; b < buckets; ++b) {
    const std::size_t begin = b * y.size() / buckets, end = (b + 1) * y.size() / buckets;
    std::size_t lo = begin, hi = begin;
    for (std::size_t i = begin; i < end; ++i) {
      if (y[i] < y[lo]) lo = i;
      if (y[i] > y[hi]) hi = i;
    }
    for (const std::size_t i : {begin, std::min(lo, hi), std::max(lo, hi), end - 1})
      if (keep.empty() || keep.back() < i) keep.push_back(i);
  }
  return keep;
}

/// Frame, grid, ticks and labels shared by plots and bars. Pixels: [left, right] x [top, bottom].
struct Frame {
  double left, right, top, bottom;
  Axis x, y;
  double at_x(double v) const { return left + x.place(v) * (right - left); }
  double at_y(double v) const { return bottom - y.place(v) * (bottom - top); }
  std::string y_axis(const std::string& label) const {
    std::string s;
    for (const Tick& t : y.ticks) {
      s += segment(left, at_y(t.value), right, at_y(t.value), "grid");
      if (!t.text.empty()) s += text(left - 8, at_y(t.value) + 4, t.text, "end", "tick");
    }
    return s + text(16, (top + bottom) / 2, label, "middle", "label", turned(16, (top + bottom) / 2));
  }
  double widest_tick() const {
    double w = 0;
    for (const Tick& t : y.ticks) w = std::max(w, text_width(t.text, 12));
    return w;
  }
};

}  // namespace detail

inline std::string Plot::svg(bool standalone) const {
  using namespace detail;
  double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
  const auto fits = [](double v, bool log) { return std::isfinite(v) && (!log || v > 0); };
  const auto cover = [&](double x, double y) {
    if (!fits(x, log_x) || !fits(y, log_y)) return;
    x0 = std::min(x0, x), x1 = std::max(x1, x), y0 = std::min(y0, y), y1 = std::max(y1, y);
  };
  for (const Series& s : series)
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      cover(s.x[i], s.y[i]);
      if (!s.lo.empty()) cover(s.x[i], s.lo[i]), cover(s.x[i], s.hi[i]);
    }
  for (const Reference& r : references)
    if (fits(r.y, log_y)) y0 = std::min(y0, r.y), y1 = std::max(y1, r.y);

  std::string body;
  double top = 12;
  if (!title.empty()) {
    body += text(16, 24, title, "start", "title");
    top = 44;
  }
  std::vector<std::pair<std::string, std::string>> names;
  for (std::size_t k = 0; k < series.size(); ++k) {
    const std::string c = colour(k);
    if (series[k].name.empty()) continue;
    names.emplace_back(series[k].kind == Series::points
                           ? "<circle cx=\"11\" cy=\"0\" r=\"4\" fill=\"" + c + "\"/>"
                           : "<path class=\"curve\" d=\"M0 0H22\" stroke=\"" + c + "\"" +
                                 (series[k].kind == Series::dashed || k >= 8 ? " stroke-dasharray=\"6 4\"" : "") + "/>",
                       series[k].name);
  }
  if (names.size() > 1 || title.empty()) top += legend(body, names, 16, width - 20, top + 6) + 2;

  Frame f{0, width - 18, top + 6, height - (x_label.empty() ? 30 : 50), {}, {}};
  f.y = Axis::fit(y0, y1, log_y, std::max(2, static_cast<int>((f.bottom - f.top) / 45)), true);
  f.left = f.widest_tick() + 18 + (y_label.empty() ? 0 : 18);
  f.x = Axis::fit(x0, x1, log_x, std::max(2, static_cast<int>((f.right - f.left) / 80)), false);
  body += f.y_axis(y_label);
  for (const Tick& t : f.x.ticks) {
    body += segment(f.at_x(t.value), f.top, f.at_x(t.value), f.bottom, "grid");
    if (!t.text.empty()) body += text(f.at_x(t.value), f.bottom + 18, t.text, "middle", "tick");
  }
  body += text((f.left + f.right) / 2, height - 12, x_label, "middle", "label");
  body += "<path class=\"axis\" d=\"M" + px(f.left) + " " + px(f.top) + "V" + px(f.bottom) + "H" + px(f.right) + "\"/>\n";
  for (const Reference& r : references)
    if (f.y.shows(r.y)) {
      body += segment(f.left, f.at_y(r.y), f.right, f.at_y(r.y), "ref");
      body += text(f.right - 4, f.at_y(r.y) - 6, r.label, "end", "tick");
    }

  std::string hits;
  for (std::size_t k = 0; k < series.size(); ++k) {
    const Series& s = series[k];
    const std::vector<std::size_t> keep = thinned(s.y);
    const auto shown = [&](std::size_t i) { return f.x.shows(s.x[i]) && f.y.shows(s.y[i]); };
    if (!s.lo.empty()) {
      // One closed path for each run of finite values: along hi, back along lo.
      for (std::size_t b = 0; b < keep.size();) {
        std::string forth, back;
        std::size_t e = b;
        for (; e < keep.size(); ++e) {
          const std::size_t i = keep[e];
          if (!f.x.shows(s.x[i]) || !f.y.shows(s.lo[i]) || !f.y.shows(s.hi[i])) break;
          forth += (forth.empty() ? "M" : "L") + px(f.at_x(s.x[i])) + " " + px(f.at_y(s.hi[i]));
          back = "L" + px(f.at_x(s.x[i])) + " " + px(f.at_y(s.lo[i])) + back;
        }
        if (e > b) body += "<path class=\"band\" fill=\"" + colour(k) + "\" d=\"" + forth + back + "Z\"/>\n";
        b = e + 1;
      }
    }
    if (s.kind != Series::points) {
      std::string d;
      bool pen_down = false;
      for (const std::size_t i : keep) {
        if (shown(i)) d += (pen_down ? "L" : "M") + px(f.at_x(s.x[i])) + " " + px(f.at_y(s.y[i]));
        pen_down = shown(i);
      }
      if (!d.empty())
        body += "<path class=\"curve\" stroke=\"" + colour(k) + "\"" +
                (s.kind == Series::dashed || k >= 8 ? " stroke-dasharray=\"6 4\"" : "") + " d=\"" + d + "\"/>\n";
    }
    // Marks on short curves; on all of them places that tell their value under the pointer, at most about 200.
    const std::size_t every = std::max<std::size_t>(1, keep.size() / 200);
    for (std::size_t j = 0; j < keep.size(); ++j) {
      const std::size_t i = keep[j];
      if (!shown(i)) continue;
      const std::string at = "cx=\"" + px(f.at_x(s.x[i])) + "\" cy=\"" + px(f.at_y(s.y[i])) + "\"";
      if (s.kind == Series::points || (s.kind == Series::line && s.x.size() <= 24))
        body += "<circle " + at + " r=\"" + (s.kind == Series::points ? "3.5" : "2.6") + "\" fill=\"" + colour(k) + "\"/>\n";
      if (j % every) continue;
      std::string tip = (s.name.empty() ? "" : s.name + "\n") + (x_label.empty() ? "x" : x_label) + " " + plain(s.x[i]) + "\n" +
                        (y_label.empty() ? "y" : y_label) + " " + figure(s.y[i]);
      if (!s.lo.empty()) tip += "  (" + figure(s.lo[i]) + " to " + figure(s.hi[i]) + ")";
      hits += "<circle class=\"hit\" " + at + " r=\"7\"><title>" + escape_html(tip) + "</title></circle>\n";
    }
  }
  return svg_document(width, height, title, body + hits, standalone);
}

inline std::string Bars::svg(bool standalone) const {
  using namespace detail;
  double lo = 0, hi = 0;
  const auto error = [](const Series& s, std::size_t g) {
    return g < s.errors.size() && std::isfinite(s.errors[g]) ? s.errors[g] : 0.0;
  };
  for (const Series& s : series)
    for (std::size_t g = 0; g < s.values.size(); ++g)
      if (std::isfinite(s.values[g])) {
        lo = std::min(lo, s.values[g] - error(s, g));
        hi = std::max(hi, s.values[g] + error(s, g));
      }
  std::string body;
  double top = 12;
  if (!title.empty()) {
    body += text(16, 24, title, "start", "title");
    top = 44;
  }
  std::vector<std::pair<std::string, std::string>> names;
  for (std::size_t k = 0; k < series.size(); ++k)
    if (!series[k].name.empty())
      names.emplace_back("<rect x=\"6\" y=\"-6\" width=\"12\" height=\"12\" rx=\"2\" fill=\"" + colour(k) + "\"/>",
                         series[k].name);
  if (names.size() > 1) top += legend(body, names, 16, width - 20, top + 6) + 2;
  Frame f{0, width - 18, top + 6, height - 34, {}, {}};
  f.y = Axis::fit(lo, hi, false, std::max(2, static_cast<int>((f.bottom - f.top) / 45)), true);
  f.left = f.widest_tick() + 18 + (y_label.empty() ? 0 : 18);
  body += f.y_axis(y_label);
  const double slot = (f.right - f.left) / static_cast<double>(std::max<std::size_t>(1, groups.size()));
  const double bar = std::min(64.0, slot * 0.76 / static_cast<double>(std::max<std::size_t>(1, series.size())));
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const double centre = f.left + (static_cast<double>(g) + 0.5) * slot;
    body += text(centre, f.bottom + 20, groups[g], "middle", "tick");
    for (std::size_t k = 0; k < series.size(); ++k) {
      if (g >= series[k].values.size() || !std::isfinite(series[k].values[g])) continue;
      const double v = series[k].values[g], e = error(series[k], g);
      const double x = centre + (static_cast<double>(k) - static_cast<double>(series.size()) / 2) * bar;
      const double y = std::min(f.at_y(v), f.at_y(0)), h = std::fabs(f.at_y(v) - f.at_y(0));
      const std::string tip = groups[g] + (series[k].name.empty() ? "" : ", " + series[k].name) + ": " + figure(v) +
                              (e > 0 ? " ± " + figure(e, 2) : "");
      body += "<rect x=\"" + px(x + 1) + "\" y=\"" + px(y) + "\" width=\"" + px(bar - 2) + "\" height=\"" + px(h) +
              "\" rx=\"2\" fill=\"" + colour(k) + "\"><title>" + escape_html(tip) + "</title></rect>\n";
      if (e > 0) body += segment(x + bar / 2, f.at_y(v - e), x + bar / 2, f.at_y(v + e), "whisker");
    }
  }
  body += segment(f.left, f.at_y(0), f.right, f.at_y(0), "axis");
  return svg_document(width, height, title, body, standalone);
}

inline std::string Heatmap::svg(bool standalone) const {
  using namespace detail;
  const bool confusion = numbers && rows == columns && row_names == column_names && y_label == "true";
  std::vector<double> share(rows * columns, 0.0);  // 0 to 1, or -1 to 1 with a signed scale
  double lo = INFINITY, hi = -INFINITY;
  const auto value = [&](std::size_t r, std::size_t c) {
    return r * columns + c < values.size() ? values[r * columns + c] : NAN;
  };
  for (const double v : values)
    if (std::isfinite(v)) lo = std::min(lo, v), hi = std::max(hi, v);
  if (!(lo <= hi)) lo = 0, hi = 1;
  for (std::size_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (std::size_t c = 0; c < columns; ++c) sum += std::isfinite(value(r, c)) ? value(r, c) : 0;
    for (std::size_t c = 0; c < columns; ++c) {
      const double v = value(r, c), largest = std::max(std::fabs(lo), std::fabs(hi));
      double& s = share[r * columns + c];
      if (!std::isfinite(v)) s = 0;
      else if (confusion) s = sum > 0 ? v / sum : 0;
      else if (signed_scale) s = largest > 0 ? v / largest : 0;
      else s = hi > lo ? (v - lo) / (hi - lo) : 0;
    }
  }
  double names_width = 0, names_height = 0, widest = 0;
  for (const auto& n : row_names) names_width = std::max(names_width, text_width(n, 12));
  for (const auto& n : column_names) names_height = std::max(names_height, text_width(n, 12));
  if (numbers)
    for (const double v : values) widest = std::max(widest, text_width(figure(v, 3), 12));
  const double largest_side = static_cast<double>(std::max(rows, columns));
  double cell = std::clamp(440.0 / std::max(1.0, largest_side), 1.0, 46.0);
  if (numbers) cell = std::max(cell, widest + 10);
  const bool flat = names_height <= cell - 4;  // do the column names fit without turning?
  const double below = column_names.empty() ? 0 : flat ? 22 : names_height * 0.75 + 16;
  const double left = (y_label.empty() ? 12 : 32) + names_width + 8, top = title.empty() ? 10 : 42;
  const double w = cell * static_cast<double>(columns), h = cell * static_cast<double>(rows);
  const double width = std::max(left + w + 84, text_width(title, 15) + 40),
               height = top + h + below + (x_label.empty() ? 14 : 32);
  std::string body = title.empty() ? "" : text(16, 24, title, "start", "title");
  const auto fill = [&](double s) {
    char b[112];
    std::snprintf(b, sizeof b, "fill=\"var(--s%d)\" fill-opacity=\"%.3f\"", s < 0 ? 1 : 0, std::min(1.0, std::fabs(s)) * 0.9);
    return std::string(b);
  };
  body += "<rect x=\"" + px(left) + "\" y=\"" + px(top) + "\" width=\"" + px(w) + "\" height=\"" + px(h) +
          "\" fill=\"var(--soft)\"/>\n";
  const double gap = cell >= 12 ? 1 : 0;
  const auto name = [](const std::vector<std::string>& names, std::size_t i) {
    return i < names.size() ? names[i] : std::to_string(i);
  };
  for (std::size_t r = 0; r < rows; ++r) {
    const double y = top + cell * static_cast<double>(r);
    if (r < row_names.size()) body += text(left - 8, y + cell / 2 + 4, row_names[r], "end", "tick");
    for (std::size_t c = 0; c < columns; ++c) {
      const double x = left + cell * static_cast<double>(c), s = share[r * columns + c], v = value(r, c);
      body += "<rect x=\"" + px(x) + "\" y=\"" + px(y) + "\" width=\"" + px(cell - gap) + "\" height=\"" + px(cell - gap) +
              "\" " + fill(s) + ">";
      // Hundreds of thousands of titles would make the page slow.
      if (rows * columns <= 4096)
        body += "<title>" +
                escape_html((y_label.empty() ? "row" : y_label) + " " + name(row_names, r) + ", " +
                            (x_label.empty() ? "column" : x_label) + " " + name(column_names, c) + ": " + figure(v) +
                            (confusion ? " (" + plain(std::round(1000 * s) / 10) + " %)" : "")) +
                "</title>";
      body += "</rect>\n";
      if (numbers && std::isfinite(v) && !(confusion && v == 0))
        body += "<text x=\"" + px(x + cell / 2 - gap / 2) + "\" y=\"" + px(y + cell / 2 + 4) +
                "\" text-anchor=\"middle\" font-size=\"12\"" + (std::fabs(s) > 0.6 ? " style=\"fill:var(--bg)\"" : "") + ">" +
                figure(v, 3) + "</text>\n";
    }
  }
  for (std::size_t c = 0; c < column_names.size() && c < columns; ++c) {
    const double x = left + cell * (static_cast<double>(c) + 0.5);
    if (flat) body += text(x, top + h + 16, column_names[c], "middle", "tick");
    else
      body += text(x + 4, top + h + 14, column_names[c], "end", "tick",
                   "transform=\"rotate(-48 " + px(x + 4) + " " + px(top + h + 14) + ")\"");
  }
  body += text(left + w / 2, height - 10, x_label, "middle", "label");
  body += text(16, top + h / 2, y_label, "middle", "label", turned(16, top + h / 2));
  // The scale: from the smallest value's colour to the largest's.
  const double bar_x = left + w + 18, bar_h = std::min(h, 180.0), from = signed_scale ? -1 : 0;
  for (int k = 0; k < 32; ++k)
    body += "<rect x=\"" + px(bar_x) + "\" y=\"" + px(top + bar_h * (31 - k) / 32) + "\" width=\"12\" height=\"" +
            px(bar_h / 32 + 0.3) + "\" " + fill(from + (1 - from) * k / 31) + "/>\n";
  const double most = std::max(std::fabs(lo), std::fabs(hi));
  body += text(bar_x + 17, top + 10, confusion ? "100 %" : figure(signed_scale ? most : hi, 3), "start", "tick");
  body += text(bar_x + 17, top + bar_h, confusion ? "0" : figure(signed_scale ? -most : lo, 3), "start", "tick");
  return svg_document(width, height, title, body, standalone);
}

}  // namespace gradus::app
