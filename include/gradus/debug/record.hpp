// A recorded step as a page to walk through: the graph drawn, forward and then backward node by node.
//
//   debug::Recorder r;                        // before the forward pass
//   auto loss = net.loss(x, y);
//   debug::record(loss, "step.html");         // runs the backward pass (gradients arrive in grad()), writes the page
//
//   debug::record([&] { return net.loss(x, y); }, "step.html");        // the same in one call
//
// The page is one file without any access to a network: each node with its formula, shapes, your file and line, values and
// gradients as numbers or heat maps, and the chain-rule term in symbols and in numbers. Arrow keys walk; boxes are modules
// (by the names of parameters, which nn::parameters(net) gives) and fold; b turns between a node's forward and backward step.
#pragma once
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include <gradus/debug/formulas.hpp>
#include <gradus/debug/page_script.hpp>
#include <gradus/debug/page_style.hpp>
#include <gradus/debug/modules.hpp>
#include <gradus/io/base64.hpp>

namespace gradus::debug {

namespace detail {
inline std::string json_string(std::string_view s) {  // safe inside <script> too
  std::string out = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\') out += '\\', out += c;
    else if (static_cast<unsigned char>(c) < 0x20 || c == '<') {
      char text[8];
      snprintf(text, sizeof text, "\\u%04x", c);
      out += text;
    } else {
      out += c;
    }
  }
  return out + "\"";
}
inline std::string json_number(double v, int digits = 5) {
  return std::isnan(v) ? "\"n\"" : std::isinf(v) ? (v > 0 ? "\"p\"" : "\"m\"") : short_number(v, digits);
}

class Page {
 public:
  static constexpr std::size_t kNumbers = 256;   // tensors up to this size are in the page number by number
  std::string json(const Recorder& r, const std::string& title) {
    std::string s = "{\"title\":" + json_string(title) + ",\"ops\":[";
    std::set<std::string> names;
    for (std::size_t k = 0; k < r.ops.size(); ++k) {
      const RecordedOp& o = r.ops[k];
      names.insert(o.name);
      s += std::string(k ? ",\n" : "\n") + "{\"n\":" + json_string(o.name) + ",\"title\":" + json_string(op_name(o.name)) + ",\"m\":" + json_string(o.module);
      const std::string place = short_place(o.at);
      s += ",\"f\":" + json_string(place.substr(0, place.rfind(':'))) + ",\"l\":" + std::to_string(o.at.line());
      s += ",\"src\":" + json_string(line_of(o.at)) + ",\"second\":" + (o.second ? "true" : "false");
      s += ",\"us\":" + short_number(o.forward_us, 3) + ",\"bus\":" + short_number(o.backward_us, 3) + ",\"in\":[";
      for (std::size_t i = 0; i < o.inputs.size(); ++i) {
        const Use& u = o.inputs[i];
        s += std::string(i ? "," : "") + "{\"o\":" + std::to_string(u.op) + ",\"k\":" + std::to_string(u.output) + ",\"s\":" + std::to_string(u.source) +
             ",\"g\":" + snapshot(u.gradient) + "}";
      }
      s += "],\"v\":" + snapshot(o.value) + ",\"g\":" + snapshot(o.gradient) + ",\"saved\":[";
      for (std::size_t i = 0; i < o.saved.size(); ++i) s += (i ? "," : "") + json_string(o.saved[i]);
      s += "]}";
    }
    s += "],\"sources\":[";
    for (std::size_t k = 0; k < r.sources.size(); ++k) {
      const Source& u = r.sources[k];
      s += std::string(k ? ",\n" : "\n") + "{\"n\":" + json_string(u.name) + ",\"leaf\":" + (u.leaf ? "true" : "false") + ",\"v\":" + snapshot(u.value) +
           ",\"g\":" + snapshot(u.gradient) + "}";
    }
    s += "],\"visits\":[";
    for (std::size_t k = 0; k < r.visits.size(); ++k)
      s += std::string(k ? "," : "") + "{\"o\":" + std::to_string(r.visits[k].op) + ",\"s\":" + std::to_string(r.visits[k].source) + "}";
    s += "],\"formulas\":{";
    bool more = false;
    for (const std::string& n : names)
      if (const Formula* f = formula_of(n)) {
        s += std::string(more ? ",\n" : "\n") + json_string(n) + ":{\"y\":" + json_string(f->value) + ",\"b\":[";
        for (int i = 0; i < 3 && f->terms[i]; ++i) s += (i ? "," : "") + json_string(f->terms[i]);
        s += "]}", more = true;
      }
    return s + "}}\n";
  }

 private:
  std::map<std::string, std::vector<std::string>> files_;

  /// A path that the compiler was given relative to a folder that is not known: looked for from here upwards.
  static std::filesystem::path find(const std::filesystem::path& path) {
    std::error_code ignored;
    if (path.is_absolute() || std::filesystem::exists(path, ignored)) return path;
    std::filesystem::path tail;
    for (const auto& part : path)
      if (part != ".." && part != ".") tail /= part;
    for (std::filesystem::path dir = std::filesystem::current_path(ignored); dir.has_relative_path(); dir = dir.parent_path())
      if (std::filesystem::exists(dir / tail, ignored)) return dir / tail;
    return path;
  }
  std::string line_of(const Where& at) {
    if (at.line() == 0) return "";
    auto [file, fresh] = files_.try_emplace(at.file_name());
    if (fresh) {
      std::ifstream in(find(at.file_name()));
      for (std::string line; std::getline(in, line);) file->second.push_back(line);
    }
    if (at.line() > file->second.size()) return "";
    std::string line = file->second[at.line() - 1];
    line.erase(0, line.find_first_not_of(" \t"));
    return line;
  }
  static std::string snapshot(const Snapshot& x) {
    if (!x.defined()) return "null";
    std::string s = "{\"t\":\"" + std::string(name_of(x.dtype)) + "\",\"s\":[";
    for (int d = 0; d < x.shape.n; ++d) s += (d ? "," : "") + std::to_string(x.shape[d]);
    const auto or_null = [](double v) { return std::isfinite(v) ? short_number(v, 5) : std::string("null"); };
    s += "],\"r\":[" + or_null(x.range.min) + "," + or_null(x.range.mean) + "," + or_null(x.range.max) + "," + or_null(x.range.norm) + "," +
         std::to_string(x.range.nan) + "," + std::to_string(x.range.inf) + "]";
    if (!x.values.empty() && x.values.size() <= kNumbers) {
      s += ",\"x\":[";
      for (std::size_t i = 0; i < x.values.size(); ++i) s += (i ? "," : "") + json_number(x.values[i], 4);
      s += "]";
    }
    if (!x.picture.empty()) {
      double largest = std::max(std::fabs(x.range.min), std::fabs(x.range.max));
      if (!(largest > 0)) largest = 1;
      std::vector<unsigned char> cells;
      for (const float v : x.picture)
        cells.push_back(std::isfinite(v) ? static_cast<unsigned char>(std::lround(127 + 127 * std::clamp(v / largest, -1.0, 1.0))) : 255);
      s += ",\"p\":{\"r\":" + std::to_string(x.rows) + ",\"c\":" + std::to_string(x.columns) + ",\"d\":\"" + io::base64(cells) + "\"}";
    }
    return s + "}";
  }
};
}  // namespace detail

/// Writes what a recorder has seen; the backward pass is in it if it has run.
inline void write_page(Recorder& r, const std::string& path, const std::string& title = "gradus: one step", Where at = Where::current()) {
  if (r.ops.empty())
    fail("record", "nothing was recorded", {{"path", path}}, "ops on tensors that require gradients, after the debug::Recorder was made", at);
  r.infer_modules();
  std::ofstream out(path, std::ios::binary);
  detail::Page page;
  out << detail::kStepperHead << page.json(r, title) << detail::kStepperModel << detail::kStepperDrawing << detail::kStepperPanel << detail::kStepperEvents;
  out.close();
  if (!out) fail("record", "cannot write the page", {{"path", path}}, "a folder that exists and can be written to", at);
}

/// Runs loss.backward() and writes the step that the Recorder at work has seen.
template <class T, class D>
void record(const Tensor<T, D>& loss, const std::string& path, const std::string& title = "gradus: one step", Where at = Where::current()) {
  Recorder* r = Recorder::current();
  if (!r)
    fail("record", "the forward pass was not recorded", {{"loss", describe(loss)}},
         "a debug::Recorder made before the forward pass, or record([&] { return loss; }, path)", at);
  if (r->visits.empty()) loss.backward(at);
  write_page(*r, path, title, at);
}
/// The same for a function that runs the forward pass and returns the loss; returns it.
template <class F>
  requires std::is_invocable_v<F>
auto record(F&& forward, const std::string& path, const std::string& title = "gradus: one step", Where at = Where::current()) {
  Recorder r;
  auto loss = forward();
  loss.backward(at);
  write_page(r, path, title, at);
  return loss;
}

}  // namespace gradus::debug
