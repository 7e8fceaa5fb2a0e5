// The graph behind a tensor as text, DOT (Graphviz) or SVG.
//
//   debug::write_graph(loss, "graph.svg");    // or .dot, .txt
//
// Needs no recording: the graph is there as long as its tensor is. record.hpp draws what happened in it.
#pragma once
#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include <gradus/debug/values.hpp>

namespace gradus::debug {

/// The nodes behind a tensor, later ones first, leaves last.
struct Graph {
  struct Item {
    const Node* node;
    std::string name, place;   ///< "SoftmaxNode" or the leaf's name; "train.cpp:61"
    Shape shape;
    bool leaf = false;
    std::vector<int> inputs;   ///< numbers of nodes; -1 where no gradient is wanted
  };
  std::vector<Item> items;

  static Graph of(const AnyTensor& y, Where at = Where::current()) {
    if (!y.defined() || !y.grad_fn())
      fail("graph", "no graph behind this tensor", {{"y", describe(y)}}, "a result computed, with recording on, from tensors that require gradients", at);
    std::vector<const Node*> order{y.grad_fn()};
    std::unordered_map<const Node*, int> number{{y.grad_fn(), 0}};
    for (std::size_t i = 0; i < order.size(); ++i)
      for (int k = 0; k < order[i]->inputs_n; ++k)
        if (const Node* n = order[i]->input(k).node.get(); n && number.emplace(n, 0).second) order.push_back(n);
    std::stable_sort(order.begin(), order.end(), [](const Node* a, const Node* b) { return a->sequence > b->sequence; });
    for (std::size_t i = 0; i < order.size(); ++i) number[order[i]] = static_cast<int>(i);
    Graph g;
    for (const Node* n : order) {
      Item item{n, n->name(), short_place(n->at), n->shape, false, {}};
      if (const AnyTensor leaf = n->target(); leaf.defined()) item.leaf = true, item.name = leaf.name().empty() ? "leaf" : leaf.name();
      for (int k = 0; k < n->inputs_n; ++k) item.inputs.push_back(n->input(k).node ? number[n->input(k).node.get()] : -1);
      g.items.push_back(std::move(item));
    }
    return g;
  }

  /// One line a node: "#3  SoftmaxNode  [2, 2]  train.cpp:61  <- #4".
  std::string text() const {
    std::vector<std::vector<std::string>> rows;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const Item& n = items[i];
      std::string from = n.inputs.empty() ? "" : "<-";
      for (const int k : n.inputs) from += k < 0 ? " -" : " #" + std::to_string(k);
      rows.push_back({"#" + std::to_string(i), n.name, n.shape.str(), n.place, from});
    }
    return text_table(rows, 99);
  }
  std::string dot() const {
    std::string s = "digraph gradus {\n  rankdir=BT; node [shape=box, style=\"rounded,filled\", fillcolor=\"#eef3fb\", fontname=\"sans-serif\", fontsize=11];\n";
    for (std::size_t i = 0; i < items.size(); ++i) {
      const Item& n = items[i];
      s += "  n" + std::to_string(i) + " [label=\"" + quoted(n.name) + "\\n" + n.shape.str() + (n.place.empty() ? "" : "\\n" + quoted(n.place)) + "\"" +
           (n.leaf ? ", fillcolor=\"#e4f4ea\"" : "") + "];\n";
    }
    for (std::size_t i = 0; i < items.size(); ++i)
      for (const int k : items[i].inputs)
        if (k >= 0) s += "  n" + std::to_string(k) + " -> n" + std::to_string(i) + ";\n";
    return s + "}\n";
  }
  /// The last op at the bottom. Rows by the longest path from the inputs, each ordered by where its neighbours stand.
  std::string svg() const {
    const auto n = items.size();
    std::vector<int> row(n, 0);
    for (std::size_t i = n; i-- > 0;)                 // inputs have larger numbers
      for (const int k : items[i].inputs)
        if (k >= 0) row[i] = std::max(row[i], row[static_cast<std::size_t>(k)] + 1);
    std::vector<std::vector<int>> users(n);
    for (std::size_t i = 0; i < n; ++i)
      for (const int k : items[i].inputs)
        if (k >= 0) users[static_cast<std::size_t>(k)].push_back(static_cast<int>(i));
    int rows_n = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (items[i].leaf && !users[i].empty()) {       // right above its first use
        int first = row[static_cast<std::size_t>(users[i][0])];
        for (const int u : users[i]) first = std::min(first, row[static_cast<std::size_t>(u)]);
        row[i] = first - 1;
      }
      rows_n = std::max(rows_n, row[i] + 1);
    }
    std::vector<std::vector<int>> rows(static_cast<std::size_t>(rows_n));
    for (std::size_t i = n; i-- > 0;) rows[static_cast<std::size_t>(row[i])].push_back(static_cast<int>(i));
    std::vector<double> x(n, 0);
    constexpr double w = 172, h = 44, step = 196, height = 82;
    for (auto& r : rows)
      for (std::size_t k = 0; k < r.size(); ++k) x[static_cast<std::size_t>(r[k])] = (static_cast<double>(k) - static_cast<double>(r.size() - 1) / 2) * step;
    for (int pass = 0; pass < 8; ++pass)
      for (std::size_t q = 0; q < rows.size(); ++q) {
        auto& r = rows[pass % 2 ? rows.size() - 1 - q : q];
        std::map<int, double> want;
        for (const int i : r) {
          double sum = 0, near = 0;
          for (const int k : items[static_cast<std::size_t>(i)].inputs)
            if (k >= 0) sum += x[static_cast<std::size_t>(k)], ++near;
          for (const int u : users[static_cast<std::size_t>(i)]) sum += x[static_cast<std::size_t>(u)], ++near;
          want[i] = near > 0 ? sum / near : x[static_cast<std::size_t>(i)];
        }
        std::stable_sort(r.begin(), r.end(), [&](int a, int b) { return want[a] < want[b]; });
        double at = -1e9, off = 0;
        for (const int i : r) at = x[static_cast<std::size_t>(i)] = std::max(at, want[i]), at += step;
        for (const int i : r) off += want[i] - x[static_cast<std::size_t>(i)];
        for (const int i : r) x[static_cast<std::size_t>(i)] += off / static_cast<double>(r.size());
      }
    const double low = *std::min_element(x.begin(), x.end()), high = *std::max_element(x.begin(), x.end());
    const auto px = [](double v) { return short_number(v, 6); };
    std::string s = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + px(high - low + w + 40) + "\" height=\"" + px(rows_n * height + 10) +
                    "\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
    const auto X = [&](std::size_t i) { return x[i] - low + 20; };
    const auto Y = [&](std::size_t i) { return row[i] * height + 20; };
    for (std::size_t i = 0; i < n; ++i)
      for (const int k : items[i].inputs) {
        if (k < 0) continue;
        const double x1 = X(static_cast<std::size_t>(k)) + w / 2, y1 = Y(static_cast<std::size_t>(k)) + h, x2 = X(i) + w / 2, y2 = Y(i);
        s += "<path d=\"M" + px(x1) + " " + px(y1) + "C" + px(x1) + " " + px(y1 + 26) + " " + px(x2) + " " + px(y2 - 26) + " " + px(x2) + " " + px(y2) +
             "\" fill=\"none\" stroke=\"#8a97a5\"/>\n";
      }
    for (std::size_t i = 0; i < n; ++i) {
      const Item& it = items[i];
      s += "<rect x=\"" + px(X(i)) + "\" y=\"" + px(Y(i)) + "\" width=\"172\" height=\"44\" rx=\"" + (it.leaf ? "20" : "7") + "\" fill=\"" + (it.leaf ? "#e4f4ea" : "#eef3fb") +
           "\" stroke=\"#8a97a5\"/>\n<text x=\"" + px(X(i) + w / 2) + "\" y=\"" + px(Y(i) + 18) + "\" text-anchor=\"middle\" font-weight=\"600\" fill=\"#1b2530\">" + escaped(it.name) +
           "</text>\n<text x=\"" + px(X(i) + w / 2) + "\" y=\"" + px(Y(i) + 35) + "\" text-anchor=\"middle\" font-size=\"11\" fill=\"#5d6b7a\">" +
           escaped(it.shape.str() + " " + it.place) + "</text>\n";
    }
    return s + "</svg>\n";
  }

 private:
  static std::string quoted(const std::string& s) {
    std::string out;
    for (const char c : s) out += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    return out;
  }
  static std::string escaped(const std::string& s) {
    std::string out;
    for (const char c : s) out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
    return out;
  }
};

/// Writes the graph behind y as path's ending says: .svg, .dot or .txt.
inline void write_graph(const AnyTensor& y, const std::string& path, Where at = Where::current()) {
  const Graph g = Graph::of(y, at);
  const std::string end = path.substr(std::min(path.rfind('.'), path.size()));
  if (end != ".svg" && end != ".dot" && end != ".txt") fail("write_graph", "an ending that is not known", {{"path", path}}, ".svg, .dot or .txt", at);
  std::ofstream out(path, std::ios::binary);
  out << (end == ".svg" ? g.svg() : end == ".dot" ? g.dot() : g.text());
  out.close();
  if (!out) fail("write_graph", "cannot write", {{"path", path}}, "a folder that exists and can be written to", at);
}

}  // namespace gradus::debug
