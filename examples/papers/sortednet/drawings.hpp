// A[d][w], the accuracies of all sub-networks of one network: figures, tables and pictures of them.
#pragma once
#include <gradus/app/image_grid.hpp>
#include <gradus/app/metrics.hpp>
#include <gradus/app/plot.hpp>

#include "plan.hpp"

namespace sortednet {

using Matrix = std::vector<std::vector<double>>;
constexpr double kKept = 0.96;  // of the full size's accuracy, the paper's bound

struct Summary {
  double mean = 0, least = 1, full = 0, share = 0;  // share: of the sub-networks with r = A[d][w] / full >= 0.96
};
inline Summary summary(const Matrix& A) {
  Summary s;
  s.full = A.back().back();
  double n = 0;
  for (const auto& row : A)
    for (const double a : row) s.mean += a, s.least = std::min(s.least, a), s.share += a >= kKept * s.full, ++n;
  s.mean /= n, s.share /= n;
  return s;
}
inline Matrix mean_of(const std::vector<Matrix>& runs) {
  Matrix m(runs[0].size(), std::vector<double>(runs[0][0].size(), 0.0));
  for (const Matrix& r : runs)
    for (std::size_t d = 0; d < m.size(); ++d)
      for (std::size_t w = 0; w < m[d].size(); ++w) m[d][w] += r[d][w] / static_cast<double>(runs.size());
  return m;
}
inline std::string text_of(Size b) { return "w " + std::to_string(b.w) + ", d " + std::to_string(b.d); }
inline double at(const Matrix& A, const Space& s, Size b) {
  const auto place = [](const std::vector<int64_t>& v, int64_t n) {
    return static_cast<std::size_t>(std::find(v.begin(), v.end(), n) - v.begin());
  };
  return A[place(s.depths, b.d)][place(s.widths, b.w)];
}

/// A row for each method, a column for each of its metrics, mean ± deviation over the seeds.
inline app::Table figures(const app::Metrics& m, const std::vector<std::string>& methods,
                          const std::vector<std::string>& list) {
  app::Table t;
  t.columns = {"method"};
  t.columns.insert(t.columns.end(), list.begin(), list.end());
  for (const auto& method : methods) {
    std::vector<std::string> row{method};
    for (const auto& what : list) row.push_back(m.values(method, what).empty() ? "-" : app::figure(m.mean(method, what), 4));
    t.row(row);
  }
  return t;
}
/// All depths and five of the widths.
inline app::Table accuracies(const std::string& name, const Matrix& A, const Space& s) {
  app::Table t;
  t.columns = {name};
  std::vector<std::size_t> shown;
  for (std::size_t k = 0; k < 5; ++k) shown.push_back((k * (s.widths.size() - 1) + 2) / 4);
  shown.erase(std::unique(shown.begin(), shown.end()), shown.end());
  for (const std::size_t k : shown) t.columns.push_back("w " + std::to_string(s.widths[k]));
  for (std::size_t d = 0; d < s.depths.size(); ++d) {
    std::vector<std::string> row{"d " + std::to_string(s.depths[d])};
    for (const std::size_t k : shown) row.push_back(app::figure(A[d][k], 3));
    t.row(row);
  }
  return t;
}
inline app::Table selections(const Matrix& A, const Plan& p) {
  app::Table t;
  t.columns = {"budget, multiply-adds", "w", "d", "multiply-adds", "parameters", "accuracy"};
  for (const int64_t budget : p.budgets) {
    const Size b = p.space.select(p.config, budget);
    const Cost c = cost(p.config, b);
    if (b.w == 0) t.row({std::to_string(budget), "none", "", "", "", ""});
    else
      t.row({std::to_string(budget), std::to_string(b.w), std::to_string(b.d), std::to_string(c.macs),
             std::to_string(c.parameters), app::figure(at(A, p.space, b), 4)});
  }
  return t;
}

inline app::Heatmap heatmap(const std::string& name, const Matrix& A, const Space& s) {
  app::Heatmap h{.title = name + ": accuracy", .x_label = "width", .y_label = "depth"};
  h.rows = s.depths.size(), h.columns = s.widths.size();
  for (const auto& row : A) h.values.insert(h.values.end(), row.begin(), row.end());
  for (const int64_t d : s.depths) h.row_names.push_back(std::to_string(d));
  for (const int64_t w : s.widths) h.column_names.push_back(std::to_string(w));
  return h;
}
/// The same as a picture, the deepest row on top: dark blue for `lo`, through green to yellow for `hi`.
inline io::Image picture(const Matrix& A, double lo, double hi) {
  constexpr double ramp[4][3] = {{53, 32, 95}, {39, 111, 142}, {66, 181, 112}, {250, 230, 60}};
  io::Image image(static_cast<int>(A[0].size()), static_cast<int>(A.size()), 3);
  for (std::size_t d = 0; d < A.size(); ++d)
    for (std::size_t w = 0; w < A[d].size(); ++w) {
      const double t = 3 * std::clamp((A[d][w] - lo) / std::max(hi - lo, 1e-9), 0.0, 1.0);
      const auto k = std::min<std::size_t>(2, static_cast<std::size_t>(t));
      for (std::size_t c = 0; c < 3; ++c)
        image.at(static_cast<int>(A.size() - 1 - d), static_cast<int>(w), static_cast<int>(c)) =
            static_cast<uint8_t>(std::lround(ramp[k][c] + (ramp[k + 1][c] - ramp[k][c]) * (t - static_cast<double>(k))));
    }
  return image;
}
/// Accuracy over multiply-adds, and with `front` those that no cheaper sub-network reaches.
inline void add_points(app::Plot& plot, const std::string& name, const Matrix& A, const Plan& p, bool front) {
  std::vector<std::pair<double, double>> all;
  for (const int64_t d : p.space.depths)
    for (const int64_t w : p.space.widths)
      all.emplace_back(static_cast<double>(cost(p.config, {w, d}).macs), at(A, p.space, {w, d}));
  std::sort(all.begin(), all.end());
  std::vector<double> x, y, best_x, best_y;
  for (const auto& [macs, a] : all) {
    x.push_back(macs), y.push_back(a);
    if (best_y.empty() || a > best_y.back()) best_x.push_back(macs), best_y.push_back(a);
  }
  plot.points(name, x, y);
  if (front) plot.line(name + ", Pareto front", best_x, best_y);
}

}  // namespace sortednet
