// Attention maps as pictures, accuracy over two settings of the data as cells.
#pragma once
#include <map>
#include <optional>

#include <gradus/app/metrics.hpp>
#include <gradus/app/plot.hpp>
#include <gradus/io/png.hpp>

#include "plan.hpp"

namespace icl {

/// p1 and p2 of the first sequence, [T + 1, T].
template <class D>
std::vector<double> picture(const Maps<float, D>& maps) {
  const int64_t T = maps.p2.size(1);
  const auto p1 = maps.p1.rank() == 3 ? select(maps.p1, 0, 0) : maps.p1;
  const auto v = cat(std::vector{p1, narrow(maps.p2, 0, 0, 1)}, 0).reshape({T * (T + 1)}).to_vector();
  return {v.begin(), v.end()};
}

inline io::Image grey(const std::vector<double>& p, int64_t T) {
  io::Image image(static_cast<int>(T), static_cast<int>(T) + 2, 1, 255);
  for (int64_t k = 0; k < T * (T + 1); ++k) {  // p2 stands below p1, a row apart
    const auto row = static_cast<int>(k / T);
    image.at(row + (row == T), static_cast<int>(k % T), 0) =
        static_cast<uint8_t>(std::lround(255 * (1 - p[static_cast<std::size_t>(k)])));
  }
  return image;
}

/// Accuracy of the scenarios of part D over K and another setting of the data; empty cells were not run.
inline app::Heatmap grid(const std::vector<Scenario>& list, const app::Metrics& metrics, const std::string& metric,
                         const std::string& label, auto&& other) {
  std::map<int64_t, int> rows;
  std::map<double, int> columns;
  std::map<std::pair<int64_t, double>, double> cells;
  for (const auto& s : list)
    if (const auto at = other(s.m); s.part == "D" && at && !metrics.values(s.name, metric).empty())
      rows[s.m.K], columns[*at], cells[{s.m.K, *at}] = metrics.mean(s.name, metric).mean;
  app::Heatmap h{
      .title = metric, .x_label = label, .y_label = "K", .rows = rows.size(), .columns = columns.size(), .numbers = true};
  for (const auto& [K, unused] : rows) h.row_names.push_back(std::to_string(K));
  for (const auto& [x, unused] : columns) h.column_names.push_back(app::plain(x));
  for (const auto& [K, u] : rows)
    for (const auto& [x, v] : columns) h.values.push_back(cells.contains({K, x}) ? cells.at({K, x}) : NAN);
  return h;
}

}  // namespace icl
