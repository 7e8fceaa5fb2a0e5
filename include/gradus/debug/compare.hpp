// Where two runs of the same computation part: float32 and float64, Cpu and Cuda, before and after a change.
//
//   auto d = debug::compare([&] { return net32.loss(x32); }, [&] { return net64.loss(x64); }, {.rtol = 1e-4});
//   std::puts(d.str().c_str());               // the first op, then the first gradient, beyond the tolerance
//
// Both functions return a loss; each is run, backward included, and recorded. Ops are matched in the order in which they were
// recorded and must have equal names and shapes. Recordings can be compared too: those of other times.
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include <gradus/debug/modules.hpp>

namespace gradus::debug {

struct CompareOptions {
  double rtol = 1e-4;          ///< a value differs beyond atol + rtol max |b| of its tensor
  double atol = 1e-6;
};

struct Difference {
  struct Row {
    std::string what;          ///< "matmul at model.hpp:31", "gradient of fc1.weight"
    bool backward = false;
    double error = 0;          ///< largest |a - b|
    double size = 0;           ///< largest |b|
    double a = 0, b = 0;       ///< the values there
    std::string index;
    bool beyond = false;
  };
  std::vector<Row> rows;       ///< results in the order of the forward pass, then gradients in that of the backward pass
  std::string structure;       ///< why the two could not be compared to the end; "" if they could

  const Row* first() const {
    for (const Row& r : rows)
      if (r.beyond) return &r;
    return nullptr;
  }
  bool equal() const { return structure.empty() && !first(); }
  std::string str(std::size_t context = 3) const {
    std::string s;
    std::size_t k = 0, beyond = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) beyond += rows[i].beyond;
    while (k < rows.size() && !rows[k].beyond) ++k;
    if (k < rows.size()) {
      s += "first difference: " + rows[k].what + rows[k].index + ": " + short_number(rows[k].a, 9) + " and " + short_number(rows[k].b, 9) + "\n";
      std::vector<std::vector<std::string>> text{{"", "largest difference", "of", "relative"}};
      for (std::size_t i = k > context ? k - context : 0; i < std::min(rows.size(), k + context + 1); ++i)
        text.push_back({(rows[i].beyond ? "* " : "  ") + rows[i].what, short_number(rows[i].error, 3), short_number(rows[i].size, 3),
                        rows[i].size > 0 ? short_number(rows[i].error / rows[i].size, 2) : "-"});
      s += text_table(text);
      s += std::to_string(beyond) + " of " + std::to_string(rows.size()) + " tensors beyond the tolerance\n";
    } else {
      double worst = 0;
      for (const Row& r : rows) worst = std::max(worst, r.size > 0 ? r.error / r.size : 0);
      s += std::to_string(rows.size()) + " tensors agree within the tolerance, the worst to " + short_number(worst, 2) + "\n";
    }
    return s + (structure.empty() ? "" : structure + "\n");
  }
};

namespace detail {
inline Difference::Row difference_of(const std::string& what, bool backward, const Snapshot& a, const Snapshot& b, const CompareOptions& o) {
  Difference::Row r;
  r.what = what, r.backward = backward;
  for (const double v : b.values)
    if (std::isfinite(v)) r.size = std::max(r.size, std::fabs(v));
  std::size_t worst = 0;
  bool odd = false;
  for (std::size_t i = 0; i < std::min(a.values.size(), b.values.size()) && !odd; ++i) {
    const double x = a.values[i], y = b.values[i];
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double d = std::fabs(x - y);
    if (!(d <= r.error)) r.error = d, worst = i;
    odd = !std::isfinite(d);                           // NaN or infinity on one side: nothing is worse
  }
  r.beyond = odd || r.error > o.atol + o.rtol * r.size;
  if (!a.values.empty()) r.a = a.values[worst], r.b = b.values[worst], r.index = index_of(static_cast<int64_t>(worst), b.shape);
  return r;
}
}  // namespace detail

/// Two recorded runs: what Recorder::take() gives. The recorders must have kept all values (RecorderOptions::keep).
inline Difference compare(const Recording& a, const Recording& b, const CompareOptions& o = {}, Where at = Where::current()) {
  Difference d;
  const std::size_t n = std::min(a.ops.size(), b.ops.size());
  const auto kept = [&](const Snapshot& s, const std::string& what) {
    if (s.range.n != static_cast<int64_t>(s.values.size()))
      fail("compare", "a recorder did not keep all values", {{"tensor", what + " " + s.shape.str()}}, "RecorderOptions::keep of at least " + std::to_string(s.range.n), at);
  };
  const auto add = [&](const std::string& what, bool backward, const Snapshot& x, const Snapshot& y) {
    if (!x.defined() && !y.defined()) return true;
    if (x.defined() != y.defined() || !(x.shape == y.shape)) {
      d.structure = what + ": " + (x.defined() ? x.shape.str() : "nothing") + " in the first run, " + (y.defined() ? y.shape.str() : "nothing") + " in the second";
      return false;
    }
    kept(x, what), kept(y, what);
    d.rows.push_back(detail::difference_of(what, backward, x, y, o));
    return true;
  };
  const auto title = [](const RecordedOp& op) { return op.name + " at " + short_place(op.at); };
  for (std::size_t k = 0; k < n; ++k) {
    if (a.ops[k].name != b.ops[k].name) {
      d.structure = "op " + std::to_string(k) + " is " + title(a.ops[k]) + " in the first run and " + title(b.ops[k]) + " in the second";
      return d;
    }
    if (!add(title(a.ops[k]), false, a.ops[k].value, b.ops[k].value)) return d;
  }
  if (a.ops.size() != b.ops.size()) {
    d.structure = std::to_string(a.ops.size()) + " ops in the first run, " + std::to_string(b.ops.size()) + " in the second";
    return d;
  }
  for (std::size_t k = 0; k < std::min(a.visits.size(), b.visits.size()); ++k) {
    const Visit &u = a.visits[k], &v = b.visits[k];
    if (u.op != v.op || (u.op < 0) != (v.op < 0)) {
      d.structure = "visit " + std::to_string(k) + " of the backward pass is another node";
      return d;
    }
    if (u.op >= 0) {
      if (!add("gradient at " + title(a.ops[static_cast<std::size_t>(u.op)]), true, a.ops[static_cast<std::size_t>(u.op)].gradient, b.ops[static_cast<std::size_t>(u.op)].gradient)) return d;
    } else {
      const Source &s = a.sources[static_cast<std::size_t>(u.source)], &t = b.sources[static_cast<std::size_t>(v.source)];
      if (!add("gradient of " + (s.name.empty() ? "a leaf" : s.name), true, s.gradient, t.gradient)) return d;
    }
  }
  return d;
}
/// Runs both, each with its backward pass (gradients arrive in grad(); clear them before, or both add up).
template <class F, class G>
  requires(std::is_invocable_v<F> && std::is_invocable_v<G>)
Difference compare(F&& first, G&& second, const CompareOptions& o = {}, Where at = Where::current()) {
  const RecorderOptions all{.keep = INT64_MAX, .side = 0};
  const auto run = [&](auto&& f) {
    Recorder r(all);
    f().backward(at);
    return r.take();
  };
  const Recording a = run(first), b = run(second);
  return compare(a, b, o, at);
}

}  // namespace gradus::debug
