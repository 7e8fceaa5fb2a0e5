// Sums of products named by their indices: einsum("bij,bjk->bik", {a, b}).
//
// Each operand has one letter a dimension, no letter twice. Letters that are not in the result are summed over; without "->" the result
// has the letters that occur once, in alphabetic order. Two operands become one batched matrix product: letters of both and of what
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
inline Equation parse_equation(const std::string& text, Where at) {
  const auto wrong = [&](const std::string& problem) {
    fail("einsum", problem, {{"equation", '"' + text + '"'}}, "letters and commas such as \"bij,bjk->bik\", no letter twice in a term", at);
  };
  Equation e;
  e.inputs.emplace_back();
  bool result = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ') continue;
    if (c == '-' && i + 1 < text.size() && text[i + 1] == '>' && !result) {
      result = true, ++i;
    } else if (c == ',' && !result) {
      e.inputs.emplace_back();
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      std::string& term = result ? e.output : e.inputs.back();
      if (has_label(term, c)) wrong(std::string("the label '") + c + "' occurs twice in one term");
      term += c;
    } else {
      wrong(std::string("unexpected '") + c + "'");
    }
  }
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

}  // namespace detail

/// The sum of products of the operands that the equation names.
template <class T, class D>
Tensor<T, D> einsum(const std::string& equation, const std::vector<Tensor<T, D>>& xs, Where at = Where::current()) {
  const auto e = detail::parse_equation(equation, at);
  if (e.inputs.size() != xs.size())
    fail("einsum", "the number of operands does not match", {{"equation", '"' + equation + '"'}, {"operands", std::to_string(xs.size())}},
         std::to_string(e.inputs.size()) + " operands", at);
  int64_t extent[128];
  for (int64_t& n : extent) n = -1;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const std::string operand = "operand " + std::to_string(i);
    if (xs[i].rank() != static_cast<int>(e.inputs[i].size()))
      fail("einsum", "wrong number of dimensions", {{"equation", '"' + equation + '"'}, {operand, describe(xs[i])}},
           std::to_string(e.inputs[i].size()) + " dimensions for \"" + e.inputs[i] + '"', at);
    for (int d = 0; d < xs[i].rank(); ++d) {
      const char c = e.inputs[i][static_cast<std::size_t>(d)];
      int64_t& n = extent[static_cast<unsigned char>(c)];
      if (n >= 0 && n != xs[i].shape()[d])
        fail("einsum", std::string("the label '") + c + "' has two extents", {{"equation", '"' + equation + '"'}, {operand, describe(xs[i])}},
             std::to_string(n) + " as before, got " + std::to_string(xs[i].shape()[d]) + " in " + operand, at);
      n = xs[i].shape()[d];
    }
  }
  detail::Labelled<T, D> y{xs[0], e.inputs[0]};
  for (std::size_t i = 1; i < xs.size(); ++i) {
    std::string kept = e.output;
    for (std::size_t k = i + 1; k < xs.size(); ++k) kept += e.inputs[k];
    y = detail::contract(y, detail::Labelled<T, D>{xs[i], e.inputs[i]}, kept, at);
  }
  return detail::in_order(detail::sum_away(y, e.output, at), e.output, at);
}

}  // namespace gradus
