// Which parameters get no gradient, and where the path to them ends; which have exploding or vanishing ones.
//
//   debug::Recorder r;                        // optional: without it, where a path ends is not known
//   auto loss = net.loss(x, y);
//   std::puts(debug::explain(loss, net).str().c_str());
//
// Computes the gradients itself, leaves grad() alone and keeps the graph.
#pragma once
#include <string>
#include <vector>

#include <gradus/debug/recorder.hpp>
#include <gradus/nn/module.hpp>

namespace gradus::debug {

struct ExplainOptions {
  double vanishing = 1e-5;  ///< an RMS gradient below this fraction of the median parameter's vanishes
  double exploding = 1e5;   ///< one above this multiple explodes
};

struct Explanation {
  struct Parameter {
    std::string name;
    Shape shape;
    double norm = 0, gradient = 0;  ///< of the values and of the gradient
    std::string verdict;            ///< "" when nothing is wrong; else "no gradient", "zero", "vanishing", "exploding", "NaN", "infinite"
    std::string because;            ///< for "no gradient": why
  };
  std::vector<Parameter> parameters;

  /// How many have a verdict.
  int64_t wrong() const {
    int64_t n = 0;
    for (const auto& p : parameters) n += !p.verdict.empty();
    return n;
  }
  const Parameter* find(const std::string& name) const {
    for (const auto& p : parameters)
      if (p.name == name) return &p;
    return nullptr;
  }
  std::string str() const {
    std::vector<std::vector<std::string>> rows{{"parameter", "shape", "|w|", "|dL/dw|", "ratio", ""}};
    for (const auto& p : parameters) {
      const bool none = p.verdict == "no gradient";
      rows.push_back({p.name, p.shape.str(), short_number(p.norm, 3), none ? "-" : short_number(p.gradient, 3),
                      none || p.norm == 0 ? "-" : short_number(p.gradient / p.norm, 2), p.verdict});
    }
    std::string s = text_table(rows, 2);
    for (const auto& p : parameters)
      if (!p.because.empty()) s += p.name + ": " + p.because + "\n";
    return s + (wrong() ? std::to_string(wrong()) + " of " : "all ") + std::to_string(parameters.size()) +
           (wrong() ? " parameters have something wrong\n" : " parameters get sound gradients\n");
  }
};

namespace detail {
/// Why no path leads from the loss to x, from what a recorder saw of the forward pass.
inline std::string where_path_ends(const Recorder* r, const AnyTensor& x) {
  if (!x.requires_grad()) return "it does not require gradients: requires_grad_() was not called, or it was switched off";
  if (!r) return x.impl()->accumulator ? "ops that use it were recorded, but the loss does not depend on them (a debug::Recorder knows which)"
                                       : "no recorded op uses it: it was not used, or under no_grad, or after detach()";
  std::vector<char> touched(r->ops.size(), 0);       // ops that depend on x
  bool used = false;
  int last = -1;
  for (std::size_t k = 0; k < r->ops.size(); ++k)
    for (const Use& u : r->ops[k].inputs) {
      const bool direct = u.source >= 0 && r->is_source(u.source, x);
      used |= direct;
      if (direct || (u.op >= 0 && touched[static_cast<std::size_t>(u.op)])) touched[k] = 1, last = static_cast<int>(k);
    }
  if (!used) return "no recorded op uses it: it was not used, or under no_grad, or after detach()";
  const RecordedOp& end = r->ops[static_cast<std::size_t>(last)];
  std::string s = "the path ends at " + end.name + " " + end.value.shape.str() + ", " + short_place(end.at);
  for (std::size_t k = static_cast<std::size_t>(last) + 1; k < r->ops.size(); ++k)
    for (std::size_t i = 0; i < r->ops[k].inputs.size(); ++i)
      if (const Use& u = r->ops[k].inputs[i]; u.source >= 0 && r->shares_memory(u.source, last))
        return s + "; " + r->ops[k].name + " at " + short_place(r->ops[k].at) + " uses its result without its history (detach, or a copy of the handle under no_grad)";
  return s + ", whose result does not lead to the loss";
}
}  // namespace detail

/// For each parameter of the model: does the loss reach it, and how large is its gradient? The loss has one element.
template <nn::Module M>
Explanation explain(const nn::tensor_of<M>& loss, M& model, const ExplainOptions& o = {}, Where at = Where::current()) {
  const Recorder* recorder = Recorder::current();
  Explanation e;
  auto named = nn::named_parameters(model, at);
  std::vector<nn::tensor_of<M>> wanted;
  for (auto& [name, p] : named)
    if (p.requires_grad()) wanted.push_back(p);
  std::vector<nn::tensor_of<M>> gradients;
  if (loss.requires_grad() && !wanted.empty()) {
    Observer* const watching = std::exchange(gradus::detail::observer, nullptr);  // this backward is not part of the step
    try {
      gradients = grad(std::vector<nn::tensor_of<M>>{loss}, wanted, {.retain_graph = true, .allow_unused = true}, at);
    } catch (...) {
      gradus::detail::observer = watching;
      throw;
    }
    gradus::detail::observer = watching;
  } else {
    gradients.resize(wanted.size());
  }
  std::vector<double> sizes;
  std::size_t k = 0;
  for (auto& [name, p] : named) {
    Explanation::Parameter row{name, p.shape(), Range::of(p).norm, 0, "", ""};
    const auto g = p.requires_grad() ? gradients[k++] : nn::tensor_of<M>();
    if (!g.defined()) {
      row.verdict = "no gradient";
      row.because = loss.requires_grad() ? detail::where_path_ends(recorder, p) : "the loss has no history: it was computed under no_grad or from detached tensors";
    } else {
      const Range r = Range::of(g);
      row.gradient = r.norm;
      if (r.nan) row.verdict = "NaN";
      else if (r.inf) row.verdict = "infinite";
      else if (r.norm == 0) row.verdict = "zero";
      else sizes.push_back(r.norm / std::sqrt(static_cast<double>(r.n)));
    }
    e.parameters.push_back(std::move(row));
  }
  if (sizes.size() > 1) {
    std::sort(sizes.begin(), sizes.end());
    const double median = sizes[sizes.size() / 2];
    for (auto& p : e.parameters) {
      if (!p.verdict.empty()) continue;
      const double size = p.gradient / std::sqrt(static_cast<double>(std::max<int64_t>(1, p.shape.numel())));
      if (size < o.vanishing * median) p.verdict = "vanishing";
      else if (size > o.exploding * median) p.verdict = "exploding";
    }
  }
  return e;
}

}  // namespace gradus::debug
