// Element-wise functions of two tensors, broadcast by NumPy's rules; comparisons; where; lerp.
//
//   y = f(a, b)         da = sum_to(dy df/da, shape of a)         db = sum_to(dy df/db, shape of b)
#pragma once
#include <gradus/ops/detail.hpp>
#include <gradus/ops/mixed.hpp>

namespace gradus {

template <class T, class D> Tensor<T, D> mul(const Tensor<T, D>& x, double b, Where at = Where::current());
template <class T, class D> Tensor<T, D> add(const Tensor<T, D>& x, double b, Where at = Where::current());
template <class T, class D> Tensor<T, D> sub(const Tensor<T, D>& x, double b, Where at = Where::current());
template <class T, class D> Tensor<T, D> sub(double a, const Tensor<T, D>& x, Where at = Where::current());
template <class T, class D> Tensor<T, D> div(const Tensor<T, D>& x, double b, Where at = Where::current());
template <class T, class D> Tensor<T, D> div(double a, const Tensor<T, D>& x, Where at = Where::current());
template <class T, class D> Tensor<T, D> neg(const Tensor<T, D>& x, Where at = Where::current());

template <class T, class D> struct AddNode final : Node {
  Shape a, b;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    if (wants(0)) accumulate(0, sum_to(dy, a, at));
    if (wants(1)) accumulate(1, sum_to(dy, b, at));
  }
};
template <class T, class D> struct SubNode final : Node {
  Shape a, b;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    if (wants(0)) accumulate(0, sum_to(dy, a, at));
    if (wants(1)) accumulate(1, sum_to(neg(dy, at), b, at));
  }
};
template <class T, class D> struct MulNode final : Node {
  Saved<T, D> a{this, "a"}, b{this, "b"};
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    if (wants(0)) accumulate(0, sum_to(mul(dy, b.get(), at), a.peek().shape(), at));
    if (wants(1)) accumulate(1, sum_to(mul(dy, a.get(), at), b.peek().shape(), at));
  }
};
template <class T, class D> struct DivNode final : Node {  // y = a / b: da = dy / b, db = -dy y / b
  Saved<T, D> b{this, "b"}, y{this, "y"};
  Shape a_shape;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref()), r = div(dy, b.get(), at);
    if (wants(0)) accumulate(0, sum_to(r, a_shape, at));
    if (wants(1)) accumulate(1, sum_to(neg(mul(r, y.get(), at), at), b.peek().shape(), at));
  }
};
/// y = a^b: da = dy b a^(b-1), db = dy y log a, taken as 0 where a = 0 and b >= 0
template <class T, class D> struct PowNode final : Node {
  Saved<T, D> a{this, "a"}, b{this, "b"}, y{this, "y"};
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref()), base = a.get(), e = b.get();
    if (wants(0)) accumulate(0, sum_to(mul(dy, where(equal(e, 0, at), 0.0, mul(e, pow(base, sub(e, 1, at), at), at), at), at), base.shape(), at));
    if (wants(1)) {
      const auto zero = equal(base, 0, at);
      const auto log_a = where(zero, 0.0, log(where(zero, 1.0, base, at), at), at);
      accumulate(1, sum_to(mul(dy, mul(y.get(), log_a, at), at), e.shape(), at));
    }
  }
};
/// maximum (sign = 1) and minimum (sign = -1): dy goes to the chosen operand, half to each where they are equal
template <class T, class D> struct ExtremeNode final : Node {
  Saved<T, D> a{this, "a"}, b{this, "b"};
  bool maximum = true;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref()), x = a.get(), z = b.get();
    const auto share = maximum ? detail::map_binary("maximum", kernels::Share{}, x, z, at) : detail::map_binary("minimum", kernels::Share{}, z, x, at);
    if (wants(0)) accumulate(0, sum_to(mul(dy, share, at), x.shape(), at));
    if (wants(1)) accumulate(1, sum_to(mul(dy, sub(1.0, share, at), at), z.shape(), at));
  }
};
/// y = a - trunc(a/b) b (fmod) or a - floor(a/b) b (remainder): da = dy, db = -dy q with q = (a - y) / b
template <class T, class D> struct ModNode final : Node {
  Saved<T, D> a{this, "a"}, b{this, "b"}, y{this, "y"};
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    if (wants(0)) accumulate(0, sum_to(dy, a.peek().shape(), at));
    if (wants(1)) {
      const auto q = round(div(sub(a.get().detach(), y.get().detach(), at), b.get().detach(), at), at);
      accumulate(1, sum_to(neg(mul(dy, q, at), at), b.peek().shape(), at));
    }
  }
};
template <class T, class D> struct Atan2Node final : Node {  // da = dy b / (a^2 + b^2), db = -dy a / (a^2 + b^2)
  Saved<T, D> a{this, "a"}, b{this, "b"};
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> y = a.get(), x = b.get(), r = div(Tensor<T, D>(g.ref()), add(mul(y, y, at), mul(x, x, at), at), at);
    if (wants(0)) accumulate(0, sum_to(mul(r, x, at), y.shape(), at));
    if (wants(1)) accumulate(1, sum_to(neg(mul(r, y, at), at), x.shape(), at));
  }
};
template <class T, class D> struct HypotNode final : Node {  // da = dy a / y, db = dy b / y
  Saved<T, D> a{this, "a"}, b{this, "b"}, y{this, "y"};
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> r = div(Tensor<T, D>(g.ref()), y.get(), at);
    if (wants(0)) accumulate(0, sum_to(mul(r, a.get(), at), a.peek().shape(), at));
    if (wants(1)) accumulate(1, sum_to(mul(r, b.get(), at), b.peek().shape(), at));
  }
};
template <class T, class D> struct WhereNode final : Node {  // da = dy where c, db = dy elsewhere
  Saved<bool, D> c{this, "c"};
  Shape a, b;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    if (wants(0)) accumulate(0, sum_to(where(c.get(), dy, 0.0, at), a, at));
    if (wants(1)) accumulate(1, sum_to(where(c.get(), 0.0, dy, at), b, at));
  }
};

/// a + b
template <class T, class D> Tensor<T, D> add(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  Tensor<T, D> y = detail::map_binary("add", kernels::Add{}, a, b, at);
  if (detail::wants_grad(a, b)) {
    auto& node = detail::record<AddNode<T, D>>(y, at, a, b);
    node.a = a.shape(), node.b = b.shape();
  }
  return y;
}
/// a - b
template <class T, class D> Tensor<T, D> sub(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  Tensor<T, D> y = detail::map_binary("sub", kernels::Sub{}, a, b, at);
  if (detail::wants_grad(a, b)) {
    auto& node = detail::record<SubNode<T, D>>(y, at, a, b);
    node.a = a.shape(), node.b = b.shape();
  }
  return y;
}
/// a b, element by element
template <class T, class D> Tensor<T, D> mul(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  Tensor<T, D> y = detail::map_binary("mul", kernels::Mul{}, a, b, at);
  if (detail::wants_grad(a, b)) {
    auto& node = detail::record<MulNode<T, D>>(y, at, a, b);
    node.a = a, node.b = b;
  }
  return y;
}
/// a / b; integers are divided toward zero
template <class T, class D> Tensor<T, D> div(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  Tensor<T, D> y = detail::map_binary("div", kernels::Div{}, a, b, at);
  if constexpr (is_floating<T>) {
    if (detail::wants_grad(a, b)) {
      auto& node = detail::record<DivNode<T, D>>(y, at, a, b);
      node.b = b, node.y = y, node.a_shape = a.shape();
    }
  }
  return y;
}
/// floor(a / b); the result never requires gradients
template <class T, class D> Tensor<T, D> floor_divide(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  return detail::map_binary("floor_divide", kernels::FloorDivide{}, a, b, at);
}
/// a^b
template <Floating T, class D> Tensor<T, D> pow(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  Tensor<T, D> y = detail::map_binary("pow", kernels::Pow{}, a, b, at);
  if (detail::wants_grad(a, b)) {
    auto& node = detail::record<PowNode<T, D>>(y, at, a, b);
    node.a = a, node.b = b, node.y = y;
  }
  return y;
}

namespace detail {
template <class F, class T, class D> Tensor<T, D> extreme(const char* name, F op, bool maximum, const Tensor<T, D>& a, const Tensor<T, D>& b, Where at) {
  Tensor<T, D> y = map_binary(name, op, a, b, at);
  if constexpr (is_floating<T>) {
    if (wants_grad(a, b)) {
      auto& node = record<ExtremeNode<T, D>>(y, at, a, b);
      node.a = a, node.b = b, node.maximum = maximum;
    }
  }
  return y;
}
template <class F, class T, class D> Tensor<T, D> modulo(const char* name, F op, const Tensor<T, D>& a, const Tensor<T, D>& b, Where at) {
  Tensor<T, D> y = map_binary(name, op, a, b, at);
  if constexpr (is_floating<T>) {
    if (wants_grad(a, b)) {
      auto& node = record<ModNode<T, D>>(y, at, a, b);
      node.a = a, node.b = b, node.y = y;
    }
  }
  return y;
}
}  // namespace detail

/// The larger of a and b; NaN wins. Where they are equal each gets half of the gradient.
template <class T, class D> Tensor<T, D> maximum(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  return detail::extreme("maximum", kernels::Maximum{}, true, a, b, at);
}
/// The smaller of a and b; NaN wins. Where they are equal each gets half of the gradient.
template <class T, class D> Tensor<T, D> minimum(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  return detail::extreme("minimum", kernels::Minimum{}, false, a, b, at);
}
/// The remainder with the sign of a, as C's fmod.
template <class T, class D> Tensor<T, D> fmod(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  return detail::modulo("fmod", kernels::Fmod{}, a, b, at);
}
/// The remainder with the sign of b, as Python's %.
template <class T, class D> Tensor<T, D> remainder(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  return detail::modulo("remainder", kernels::Remainder{}, a, b, at);
}
/// The angle of the point (b, a).
template <Floating T, class D> Tensor<T, D> atan2(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  Tensor<T, D> y = detail::map_binary("atan2", kernels::Atan2{}, a, b, at);
  if (detail::wants_grad(a, b)) {
    auto& node = detail::record<Atan2Node<T, D>>(y, at, a, b);
    node.a = a, node.b = b;
  }
  return y;
}
/// sqrt(a^2 + b^2) without overflow
template <Floating T, class D> Tensor<T, D> hypot(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  Tensor<T, D> y = detail::map_binary("hypot", kernels::Hypot{}, a, b, at);
  if (detail::wants_grad(a, b)) {
    auto& node = detail::record<HypotNode<T, D>>(y, at, a, b);
    node.a = a, node.b = b, node.y = y;
  }
  return y;
}

/// c ? a : b, all three broadcast
template <class T, class D>
Tensor<T, D> where(const Tensor<bool, D>& c, const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  Shape ab, shape;
  if (!broadcast_shapes(a.shape(), b.shape(), ab)) detail::fail_broadcast("where", a, b, at);
  if (!broadcast_shapes(c.shape(), ab, shape)) detail::fail_broadcast("where", c, a.rank() > b.rank() ? a : b, at);
  Tensor<T, D> y(shape, at);
  kernels::where<T>(D{}, c.data(), a.data(), b.data(), y.data(), detail::loop_over(shape, y, c, a, b));
  if (detail::wants_grad(a, b)) {
    auto& node = detail::record<WhereNode<T, D>>(y, at, a, b);
    node.c = c, node.a = a.shape(), node.b = b.shape();
  }
  return y;
}
template <class T, class D> Tensor<T, D> where(const Tensor<bool, D>& c, const Tensor<T, D>& a, double b, Where at = Where::current()) {
  return where(c, a, detail::scalar_like(a, b, at), at);
}
template <class T, class D> Tensor<T, D> where(const Tensor<bool, D>& c, double a, const Tensor<T, D>& b, Where at = Where::current()) {
  return where(c, detail::scalar_like(b, a, at), b, at);
}

// -- comparisons: truth values, never require gradients -------------------------------------------------------------------
// clang-format off
template <class T, class D> Tensor<bool, D> equal(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) { return detail::map_compare("equal", kernels::Equal{}, a, b, at); }
template <class T, class D> Tensor<bool, D> not_equal(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) { return detail::map_compare("not_equal", kernels::NotEqual{}, a, b, at); }
template <class T, class D> Tensor<bool, D> less(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) { return detail::map_compare("less", kernels::Less{}, a, b, at); }
template <class T, class D> Tensor<bool, D> less_equal(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) { return detail::map_compare("less_equal", kernels::LessEqual{}, a, b, at); }
template <class T, class D> Tensor<bool, D> greater(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) { return less(b, a, at); }
template <class T, class D> Tensor<bool, D> greater_equal(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) { return less_equal(b, a, at); }
template <class T, class D> Tensor<bool, D> equal(const Tensor<T, D>& a, double b, Where at = Where::current()) { return equal(a, detail::scalar_like(a, b, at), at); }
template <class T, class D> Tensor<bool, D> not_equal(const Tensor<T, D>& a, double b, Where at = Where::current()) { return not_equal(a, detail::scalar_like(a, b, at), at); }
template <class T, class D> Tensor<bool, D> less(const Tensor<T, D>& a, double b, Where at = Where::current()) { return less(a, detail::scalar_like(a, b, at), at); }
template <class T, class D> Tensor<bool, D> less_equal(const Tensor<T, D>& a, double b, Where at = Where::current()) { return less_equal(a, detail::scalar_like(a, b, at), at); }
template <class T, class D> Tensor<bool, D> greater(const Tensor<T, D>& a, double b, Where at = Where::current()) { return less(detail::scalar_like(a, b, at), a, at); }
template <class T, class D> Tensor<bool, D> greater_equal(const Tensor<T, D>& a, double b, Where at = Where::current()) { return less_equal(detail::scalar_like(a, b, at), a, at); }
template <class D> Tensor<bool, D> logical_and(const Tensor<bool, D>& a, const Tensor<bool, D>& b, Where at = Where::current()) { return detail::map_binary("logical_and", kernels::And{}, a, b, at); }
template <class D> Tensor<bool, D> logical_or(const Tensor<bool, D>& a, const Tensor<bool, D>& b, Where at = Where::current()) { return detail::map_binary("logical_or", kernels::Or{}, a, b, at); }
template <class D> Tensor<bool, D> logical_xor(const Tensor<bool, D>& a, const Tensor<bool, D>& b, Where at = Where::current()) { return detail::map_binary("logical_xor", kernels::Xor{}, a, b, at); }
template <class D> Tensor<bool, D> logical_not(const Tensor<bool, D>& a, Where at = Where::current()) { return equal(a, 0.0, at); }
// clang-format on

/// a + w (b - a)
template <class T, class D> Tensor<T, D> lerp(const Tensor<T, D>& a, const Tensor<T, D>& b, double w, Where at = Where::current()) {
  return add(a, mul(sub(b, a, at), w, at), at);
}
template <class T, class D> Tensor<T, D> lerp(const Tensor<T, D>& a, const Tensor<T, D>& b, const Tensor<T, D>& w, Where at = Where::current()) {
  return add(a, mul(w, sub(b, a, at), at), at);
}
/// log(e^a + e^b) = a + log(1 + e^{b - a}); the larger of them where the difference is infinite
template <class T, class D> Tensor<T, D> logaddexp(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  const auto d = sub(b, a, at);
  const auto finite = isfinite(d, at);
  return where(finite, add(a, softplus(where(finite, d, 0.0, at), 1, at), at), maximum(a, b, at), at);
}
/// x log y, 0 where x = 0 unless y is NaN
template <class T, class D> Tensor<T, D> xlogy(const Tensor<T, D>& x, const Tensor<T, D>& y, Where at = Where::current()) {
  const auto zero = logical_and(equal(x, 0, at), equal(y, y, at), at);
  return where(zero, 0.0, mul(x, log(where(zero, 1.0, y, at), at), at), at);
}

// -- writing into a: ops/view.hpp decides what that means for a's history ---------------------------------------------------
template <class T, class D> Tensor<T, D>& add_(Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current());
template <class T, class D> Tensor<T, D>& sub_(Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current());
template <class T, class D> Tensor<T, D>& mul_(Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current());
template <class T, class D> Tensor<T, D>& div_(Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current());
template <class T, class D> Tensor<T, D>& add_(Tensor<T, D>& a, double b, Where at = Where::current());
template <class T, class D> Tensor<T, D>& mul_(Tensor<T, D>& a, double b, Where at = Where::current());

}  // namespace gradus
