// Sums of products named by their indices: einsum("bij,bjk->bik", {a, b}).
//
// Each operand has one letter a dimension; a letter that occurs twice in a term stands for a diagonal ("ii" is the trace), and "..."
// for dimensions without letters, which broadcast as in NumPy. Letters that are not in the result are summed over; without "->" the
// result has the dimensions of "..." and the letters that occur once, in alphabetic order. Two operands become one batched matrix product: letters of both and of what
// follows are the batch, letters of both alone are contracted, the others are rows and columns. More operands go from left to right.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include <gradus/ops/matmul.hpp>

namespace gradus {

namespace detail {

template <class T, class D> struct Labelled {
  Tensor<T, D> x;
  std::string labels;     // one a dimension
};
inline bool has_label(std::string_view s, char c) { return s.find(c) != std::string_view::npos; }

/// Sums over the letters that are not in `kept`.
template <class T, class D> Labelled<T, D> sum_away(Labelled<T, D> t, std::string_view kept, Where at) {
  Shape dims;
  std::string left;
  for (std::size_t i = 0; i < t.labels.size(); ++i) {
    if (has_label(kept, t.labels[i])) left += t.labels[i];
    else dims.push_back(static_cast<int64_t>(i));
  }
  if (dims.n > 0) t.x = sum(t.x, dims, false, at);
  t.labels = left;
  return t;
}
template <class T, class D> Tensor<T, D> in_order(const Labelled<T, D>& t, std::string_view order, Where at) {
  if (t.labels == order) return t.x;
  Shape dims;
  for (const char c : order) dims.push_back(static_cast<int64_t>(t.labels.find(c)));
  return permute(t.x, dims, at);
}
/// The sum of products of two operands with the letters that occur in `kept`.
template <class T, class D> Labelled<T, D> contract(Labelled<T, D> a, Labelled<T, D> b, std::string_view kept, Where at) {
  a = sum_away(a, b.labels + std::string(kept), at);
  b = sum_away(b, a.labels + std::string(kept), at);
  std::string batch, inner, rows, columns;
  Shape lead, shape_inner, shape_rows, shape_columns;
  for (std::size_t i = 0; i < a.labels.size(); ++i) {
    const char c = a.labels[i];
    const int64_t n = a.x.shape()[static_cast<int>(i)];
    if (!has_label(b.labels, c)) rows += c, shape_rows.push_back(n);
    else if (has_label(kept, c)) batch += c, lead.push_back(n);
    else inner += c, shape_inner.push_back(n);
  }
  for (std::size_t i = 0; i < b.labels.size(); ++i)
    if (!has_label(a.labels, b.labels[i])) columns += b.labels[i], shape_columns.push_back(b.x.shape()[static_cast<int>(i)]);
  const int64_t B = lead.numel(), M = shape_rows.numel(), K = shape_inner.numel(), N = shape_columns.numel();
  const auto x = gradus::reshape(in_order(a, batch + rows + inner, at), {B, M, K}, at);
  const auto y = gradus::reshape(in_order(b, batch + inner + columns, at), {B, K, N}, at);
  Shape shape = lead;
  for (const int64_t n : shape_rows) shape.push_back(n);
  for (const int64_t n : shape_columns) shape.push_back(n);
  return {gradus::reshape(matmul(x, y, at), shape, at), batch + rows + columns};
}

struct Equation {
  std::vector<std::string> inputs;
  std::string output;
};
// The dimensions of "..." have the labels \1 ... \8, counted from the right; kDots stands for all of them until ranks are known.
inline constexpr char kDots = '.';
inline Equation parse_equation(const std::string& text, Where at) {
  const auto wrong = [&](const std::string& problem) {
    fail("einsum", problem, {{"equation", '"' + text + '"'}},
         "letters, commas and at most one \"...\" a term, such as \"...ij,jk->...ik\", no letter twice in the result", at);
  };
  Equation e;
  e.inputs.emplace_back();
  bool result = false, dots = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    std::string& term = result ? e.output : e.inputs.back();
    if (c == ' ') continue;
    if (c == '-' && i + 1 < text.size() && text[i + 1] == '>' && !result) {
      result = true, ++i;
    } else if (c == ',' && !result) {
      e.inputs.emplace_back();
    } else if (text.compare(i, 3, "...") == 0 && !has_label(term, kDots)) {
      term += kDots, dots |= !result, i += 2;
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      if (result && has_label(term, c)) wrong(std::string("the label '") + c + "' occurs twice in the result");
      term += c;
    } else {
      wrong(std::string("unexpected '") + c + "'");
    }
  }
  if (dots && !result) e.output += kDots;
  std::string all;
  for (const auto& t : e.inputs) all += t;
  if (result) {
    for (const char c : e.output)
      if (!has_label(all, c)) wrong(std::string("the label '") + c + "' of the result is in no operand");
  } else {
    for (int c = 'A'; c <= 'z'; ++c)
      if (const auto first = all.find(static_cast<char>(c)); first != std::string::npos && first == all.rfind(static_cast<char>(c)))
        e.output += static_cast<char>(c);
  }
  return e;
}

/// The diagonal over the dimensions that share a label, until each label occurs once.
template <class T, class D> Labelled<T, D> without_repeats(Labelled<T, D> t, Where at) {
  for (std::size_t i = 0; i < t.labels.size(); ++i) {
    const auto k = t.labels.find(t.labels[i], i + 1);
    if (k == std::string::npos) continue;
    Shape dims;
    std::string labels;
    for (std::size_t d = 0; d < t.labels.size(); ++d)
      if (d != i && d != k) dims.push_back(static_cast<int64_t>(d)), labels += t.labels[d];
    dims.push_back(static_cast<int64_t>(i)), dims.push_back(static_cast<int64_t>(k));
    t = {diagonal(permute(t.x, dims, at), 0, at), labels + t.labels[i]};
    i = static_cast<std::size_t>(-1);                      // from the start: labels have moved
  }
  return t;
}

}  // namespace detail

/// The sum of products of the operands that the equation names.
template <class T, class D>
Tensor<T, D> einsum(const std::string& equation, const std::vector<Tensor<T, D>>& xs, Where at = Where::current()) {
  auto e = detail::parse_equation(equation, at);
  if (e.inputs.size() != xs.size())
    fail("einsum", "the number of operands does not match", {{"equation", '"' + equation + '"'}, {"operands", std::to_string(xs.size())}},
         std::to_string(e.inputs.size()) + " operands", at);
  const auto with_dots = [](std::string term, int n) {
    std::string labels;
    for (int k = n; k >= 1; --k) labels += static_cast<char>(k);
    if (const auto i = term.find(detail::kDots); i != std::string::npos) term.replace(i, 1, labels);
    return term;
  };
  int64_t extent[128];
  for (int64_t& n : extent) n = -1;
  int most = 0;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const std::string operand = "operand " + std::to_string(i);
    const bool dots = detail::has_label(e.inputs[i], detail::kDots);
    const int n = xs[i].rank() - static_cast<int>(e.inputs[i].size()) + (dots ? 1 : 0);   // dimensions of "..."
    if (dots ? n < 0 : n != 0)
      fail("einsum", "wrong number of dimensions", {{"equation", '"' + equation + '"'}, {operand, describe(xs[i])}},
           std::to_string(e.inputs[i].size() - (dots ? 1 : 0)) + (dots ? " or more" : "") + " dimensions for \"" + e.inputs[i] + '"', at);
    e.inputs[i] = with_dots(e.inputs[i], n), most = n > most ? n : most;
    for (int d = 0; d < xs[i].rank(); ++d) {
      const char c = e.inputs[i][static_cast<std::size_t>(d)];
      int64_t& known = extent[static_cast<unsigned char>(c)];
      const int64_t here = xs[i].shape()[d];
      const bool broadcast = c <= kMaxRank && (known == 1 || here == 1);
      if (known >= 0 && known != here && !broadcast)
        fail("einsum", c <= kMaxRank ? std::string("a dimension of \"...\" has two extents") : std::string("the label '") + c + "' has two extents",
             {{"equation", '"' + equation + '"'}, {operand, describe(xs[i])}},
             std::to_string(known) + " as before, got " + std::to_string(here) + " in " + operand, at);
      if (known < 0 || known == 1 || c > kMaxRank) known = here;
    }
  }
  e.output = with_dots(e.output, most);
  std::vector<detail::Labelled<T, D>> terms;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    detail::Labelled<T, D> t{xs[i], e.inputs[i]};
    for (int d = t.x.rank() - 1; d >= 0; --d) {            // an extent of 1 that is broadcast: the other operands have the dimension
      const char c = t.labels[static_cast<std::size_t>(d)];
      if (c > kMaxRank || t.x.shape()[d] == extent[static_cast<unsigned char>(c)]) continue;
      t.x = squeeze(t.x, d, at);
      t.labels.erase(static_cast<std::size_t>(d), 1);
    }
    terms.push_back(detail::without_repeats(t, at));
  }
  detail::Labelled<T, D> y = terms[0];
  for (std::size_t i = 1; i < xs.size(); ++i) {
    std::string kept = e.output;
    for (std::size_t k = i + 1; k < xs.size(); ++k) kept += terms[k].labels;
    y = detail::contract(y, terms[i], kept, at);
  }
  return detail::in_order(detail::sum_away(y, e.output, at), e.output, at);
}

}  // namespace gradus
