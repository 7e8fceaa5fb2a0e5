// A cell as a drawing: states from top to bottom, the two operations of each block above their sum.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include <gradus/app/plot.hpp>
#include <gradus/models/nasnet.hpp>

namespace nasnet {

struct CellDrawing {
  std::string title, note;
  gradus::models::CellSpec cell;

  std::string svg(bool standalone = false) const {
    using namespace gradus::app::detail;
    const std::size_t B = cell.blocks.size();
    // Row of a state: one below the lowest state that its block reads.
    std::vector<std::size_t> row(B + 2, 0), place(B + 2), filled{2};
    place[0] = 1, place[1] = 0;  // h' on the left
    for (std::size_t b = 0; b < B; ++b) {
      const auto& block = cell.blocks[b];
      row[b + 2] = 1 + std::max(row[static_cast<std::size_t>(block.left)], row[static_cast<std::size_t>(block.right)]);
      filled.resize(std::max(filled.size(), row[b + 2] + 1), 0);
      place[b + 2] = filled[row[b + 2]]++;
    }
    constexpr double w = 82, h = 26, block_w = 2 * w + 8, step_x = block_w + 26, step_y = 132;
    const double width = 40 + step_x * static_cast<double>(*std::max_element(filled.begin(), filled.end()));
    const double bottom = 60 + step_y * static_cast<double>(filled.size()) - 40, height = bottom + 44;
    const auto X = [&](std::size_t s) {  // the middle of a state
      const double n = static_cast<double>(filled[row[s]]);
      return width / 2 + (static_cast<double>(place[s]) - (n - 1) / 2) * step_x;
    };
    const auto Y = [&](std::size_t s) { return 70 + step_y * static_cast<double>(row[s]); };
    std::string lines, boxes = text(16, 24, title, "start", "title");
    const auto edge = [&](double x1, double y1, double x2, double y2, std::size_t colour_of) {
      const double bend = std::min(60.0, (y2 - y1) / 2);
      lines += "<path class=\"curve\" style=\"stroke-width:1.4;opacity:.7\" stroke=\"" + colour(colour_of) + "\" d=\"M" +
               px(x1) + " " + px(y1) + "C" + px(x1) + " " + px(y1 + bend) + " " + px(x2) + " " + px(y2 - bend) + " " + px(x2) +
               " " + px(y2) + "\"/>\n";
    };
    const auto box = [&](double x, double y, double wide, const std::string& words, bool state) {
      boxes += "<rect x=\"" + px(x - wide / 2) + "\" y=\"" + px(y - h / 2) + "\" width=\"" + px(wide) + "\" height=\"" + px(h) +
               "\" rx=\"" + (state ? "13" : "5") + "\" style=\"fill:var(--" + (state ? "goodbg" : "soft") +
               ");stroke:var(--line)\"/>\n" + text(x, y + 4, words, "middle", "tick");
    };
    box(X(0), Y(0), 70, "s0: h", true), box(X(1), Y(1), 70, "s1: h'", true);
    for (std::size_t b = 0; b < B; ++b) {
      const auto& block = cell.blocks[b];
      const double x = X(b + 2), y = Y(b + 2), top = y - 46;
      for (const bool right : {false, true}) {
        const auto from = static_cast<std::size_t>(right ? block.right : block.left);
        const double at = x + (right ? 1 : -1) * (w / 2 + 3);
        edge(X(from), Y(from) + h / 2, at, top - h / 2, from);
        edge(at, top + h / 2, x, y - h / 2, 7);
        box(at, top, w, name_of(right ? block.right_op : block.left_op), false);
      }
      box(x, y, 70, "s" + std::to_string(b + 2) + (block.concat ? ": cat" : ": add"), true);
    }
    for (const int s : cell.outputs) {
      const auto k = static_cast<std::size_t>(s);
      edge(X(k), Y(k) + h / 2, width / 2 + (X(k) - width / 2) * 0.5, bottom - h / 2, k);
    }
    box(width / 2, bottom, std::min(width - 60, 300.0), "side by side", false);
    return svg_document(width, height, title, lines + boxes, standalone);
  }
};

}  // namespace nasnet
