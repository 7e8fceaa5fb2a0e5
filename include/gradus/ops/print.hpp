// Tensors as text, laid out like NumPy's arrays: str(x), and x << into any stream.
#pragma once
#include <string>

#include <gradus/ops/view.hpp>

namespace gradus {

/// Dtype-independent layout of `n` formatted elements; long dimensions are shortened to their ends.
std::string format_array(const std::vector<std::string>& items, const Shape& shape, int indent);
/// One element: short for whole numbers, `precision` significant digits otherwise.
std::string format_element(double v, bool floating, int precision);

/// The values, then shape, dtype and device where they are not obvious:
///   tensor([[1, 2],
///           [3, 4]], float32 cpu [2, 2])
template <class T, class D> std::string str(const Tensor<T, D>& x, int precision = 4) {
  if (!x.defined()) return "tensor(undefined)";
  std::vector<std::string> items;
  const NoGrad guard;
  for (const auto v : cast<double>(x).to_vector()) items.push_back(format_element(v, is_floating<T>, precision));
  std::string s = "tensor(" + format_array(items, x.shape(), 7) + ", " + describe(x);
  if (x.grad_fn()) s += ", by " + x.grad_fn()->name() + " at " + describe(x.grad_fn()->at);
  else if (x.requires_grad()) s += ", requires_grad";
  return s + ")";
}
template <class Stream, class T, class D> Stream& operator<<(Stream& out, const Tensor<T, D>& x) {
  out << str(x);
  return out;
}

}  // namespace gradus

#ifdef GRADUS_HEADER_ONLY
#include <gradus/ops/print_impl.hpp>
#endif
