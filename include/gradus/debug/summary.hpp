// A model as a table: for each module the shape of its result, parameters, floating-point operations, memory of its results, time.
//
//   std::puts(debug::summary(net, x).c_str());            // runs net(x), or net.forward(x), once
//
// Operations count multiplications and additions of products and convolutions, and one an element for everything else. A module's
// row has what is inside it. Time is of one run, which a first call makes longer; run twice for a warm one.
#pragma once
#include <map>
#include <string>
#include <vector>

#include <gradus/debug/modules.hpp>
#include <gradus/nn/module.hpp>

namespace gradus::debug {

struct SummaryRow {
  std::string path, type;      ///< "blocks.0.attn", "Attention(4 heads)"
  std::string shape;           ///< of the last result inside
  int64_t parameters = 0, bytes = 0;
  double flops = 0, us = 0;
  int64_t ops = 0;
};

namespace detail {
struct SummaryNames final : nn::Visitor {
  std::vector<SummaryRow> rows;
  std::vector<std::size_t> open;
  void tensor(const std::string&, AnyTensor& x, bool is_buffer) override {
    if (!is_buffer)
      for (const std::size_t r : open) rows[r].parameters += x.numel();
  }
  void enter(const std::string& path, const std::string& type, const std::string& about) override {
    SummaryRow row;
    row.path = path, row.type = type + (about.empty() ? "" : "(" + about + ")");
    rows.push_back(row);
    open.push_back(rows.size() - 1);
  }
  void leave() override { open.pop_back(); }
};
template <class M, class... X> auto run_model(M& model, const X&... x) {
  if constexpr (requires { model(x...); }) return model(x...);
  else return model.forward(x...);
}
}  // namespace detail

/// The rows; the first is the model itself.
template <nn::Module M, class... X> std::vector<SummaryRow> summary_rows(M& model, const X&... x) {
  nn::named_parameters(model);
  detail::SummaryNames names;
  names("", model);
  Recorder r({.keep = 0, .side = 0, .values = false});
  {
    const GradMode on(true);
    detail::run_model(model, x...);
  }
  r.infer_modules();
  for (const RecordedOp& o : r.ops) {
    const bool view = o.flops == 0;
    for (SummaryRow& row : names.rows) {
      const bool in = row.path.empty() || o.module == row.path || o.module.rfind(row.path + ".", 0) == 0;
      if (!in) continue;
      row.shape = o.value.shape.str(), row.flops += o.flops, row.us += o.forward_us, ++row.ops;
      if (!view) row.bytes += o.value.shape.numel() * size_of(o.value.dtype);
    }
  }
  return names.rows;
}
/// The table, indented as the modules nest.
template <nn::Module M, class... X> std::string summary(M& model, const X&... x) {
  const auto rows = summary_rows(model, x...);
  std::vector<std::vector<std::string>> text{{"module", "result", "parameters", "FLOP", "results B", "us"}};
  for (const SummaryRow& r : rows) {
    const std::size_t depth = detail::path_depth(r.path);
    const auto dot = r.path.rfind('.');
    const std::string name = dot == r.path.npos ? r.path : r.path.substr(dot + 1);
    text.push_back({std::string(2 * depth, ' ') + (name.empty() ? "" : name + "  ") + r.type, r.ops ? r.shape : "-", r.parameters ? std::to_string(r.parameters) : "-",
                    r.ops ? short_count(r.flops) : "-", r.ops ? short_count(static_cast<double>(r.bytes)) : "-", r.ops ? short_number(r.us, 3) : "-"});
  }
  return text_table(text, 2);
}

}  // namespace gradus::debug
