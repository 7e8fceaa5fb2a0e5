// Where the time of a step goes: by op and by module, forward and backward.
//
//   debug::Profiler p;                        // as long as it lives
//   for (int i = 0; i < 10; ++i) step();
//   std::puts(p.table().c_str());
//   p.write_trace("trace.json");              // for chrome://tracing or ui.perfetto.dev
//
// An op's forward time runs from the end of the op before to its own end, so what lies between two recorded ops is counted with
// the second of them. The observer's own work is left out. One thread is watched, the one that made the profiler.
#pragma once
#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gradus/debug/formulas.hpp>
#include <gradus/debug/modules.hpp>

namespace gradus::debug {

class Profiler : public Recorder {
 public:
  Profiler() : Recorder({.keep = 0, .side = 0, .values = false}) {}

  struct Row {
    std::string name;
    int64_t calls = 0;
    double forward_us = 0, backward_us = 0, flops = 0;
    double total_us() const { return forward_us + backward_us; }
  };
  /// By op ("softmax") or by module at most `depth` parts deep; the longest first.
  std::vector<Row> by_op() const {
    return rows([](const RecordedOp& o) { return op_name(o.name); });
  }
  std::vector<Row> by_module(std::size_t depth = 99) {
    infer_modules();
    return rows([depth](const RecordedOp& o) { return o.module.empty() ? std::string("(none)") : detail::path_prefix(o.module, depth); });
  }
  static std::string table(const std::vector<Row>& rows, const std::string& title) {
    double total = 0;
    for (const Row& r : rows) total += r.total_us();
    std::vector<std::vector<std::string>> text{{title, "calls", "forward us", "backward us", "share", "GFLOP/s fwd"}};
    for (const Row& r : rows)
      text.push_back({r.name, std::to_string(r.calls), fixed(r.forward_us), fixed(r.backward_us), fixed(100 * r.total_us() / std::max(total, 1e-9)) + " %",
                      r.flops > 0 && r.forward_us > 0 ? fixed(r.flops / r.forward_us / 1000) : "-"});
    double forward = 0, backward = 0;
    for (const Row& r : rows) forward += r.forward_us, backward += r.backward_us;
    text.push_back({"sum", "", fixed(forward), fixed(backward), "", ""});
    return text_table(text);
  }
  std::string table() const { return table(by_op(), "op"); }

  /// A trace in Chrome's format: one bar an op, forward and backward.
  void write_trace(const std::string& path, Where at = Where::current()) {
    infer_modules();
    std::ofstream out(path, std::ios::binary);
    out << "{\"traceEvents\":[\n";
    bool more = false;
    const auto event = [&](const RecordedOp& o, bool backward, double began, double took) {
      const auto text = [](const std::string& s) {
        std::string r;
        for (const char c : s) r += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
        return r;
      };
      out << (more ? ",\n" : "") << "{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"name\":\"" << text(op_name(o.name)) << (backward ? " backward" : "") << "\",\"cat\":\""
          << (backward ? "backward" : "forward") << "\",\"ts\":" << fixed(began, 3) << ",\"dur\":" << fixed(took, 3) << ",\"args\":{\"shape\":\"" << o.value.shape.str()
          << "\",\"at\":\"" << text(short_place(o.at)) << "\",\"module\":\"" << text(o.module) << "\"}}";
      more = true;
    };
    for (const RecordedOp& o : ops) {
      event(o, false, o.began_us, o.forward_us);
      if (o.backward_us >= 0) event(o, true, o.backward_began_us, o.backward_us);
    }
    out << "\n]}\n";
    out.close();
    if (!out) fail("write_trace", "cannot write", {{"path", path}}, "a folder that exists and can be written to", at);
  }

 private:
  static std::string fixed(double v, int decimals = 1) {
    char text[40];
    snprintf(text, sizeof text, "%.*f", decimals, v);
    return text;
  }
  template <class Key> std::vector<Row> rows(Key key) const {
    std::map<std::string, Row> found;
    for (const RecordedOp& o : ops) {
      Row& r = found[key(o)];
      ++r.calls, r.forward_us += o.forward_us, r.backward_us += std::max(0.0, o.backward_us), r.flops += o.flops;
    }
    std::vector<Row> list;
    for (auto& [name, r] : found) r.name = name, list.push_back(std::move(r));
    std::stable_sort(list.begin(), list.end(), [](const Row& a, const Row& b) { return a.total_us() > b.total_us(); });
    return list;
  }
};

}  // namespace gradus::debug
