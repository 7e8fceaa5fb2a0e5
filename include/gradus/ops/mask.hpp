// The one primitive behind every dropout: a mask is a law and a random stream. It is drawn forward, drawn again in backward,
// and never stored (I5).
//
//   keep(stream, shape, shared, p)   m_j = [u_j >= p_j]                         u_j = uniform j of the stream, one u for all
//                                                                               elements along `shared` axes
//   drop(x, law)                     y = m (scale x + shift) + (1 - m) fill     dx = m scale dy
//   noise(x, law)                    y = f x, f real                            dx = f dy
//
// A law is a small struct that draws: `keep<D>(shape, stream)` gives a truth mask, or `factor<T, D>(shape, stream)` real
// factors, of a shape that broadcasts to x's. Both nodes are linear in x, so that their backward is the same function of dy,
// any number of times.
//
// Masks can be taken down and used again, in any function that drops:
//
//   Masks masks;
//   auto y = track_dropout_mask(masks, [&] { return net(x); });    // 0 and 1 (or factors), in the order of drawing
//   auto z = use_dropout_mask(masks, [&] { return net(x2); });     // differentiable in x2 and in the masks
#pragma once
#include <optional>

#include <gradus/kernels/dropout.hpp>
#include <gradus/kernels/mask.hpp>
#include <gradus/ops/mask_tape.hpp>
#include <gradus/ops/random.hpp>

namespace gradus {

namespace detail {

/// `shape` with extent 1 on the shared axes (negative ones count from the end).
inline Shape shared_shape(const char* op, Shape shape, const Shape& shared, Where at) {
  for (const int64_t axis : shared) {
    const int64_t a = axis < 0 ? axis + shape.n : axis;
    if (a < 0 || a >= shape.n)
      fail(op, "no such axis to share", {{"shape", shape.str()}, {"shared", shared.str()}},
           "axes in [" + std::to_string(-shape.n) + ", " + std::to_string(shape.n) + ")", at);
    shape[static_cast<int>(a)] = 1;
  }
  return shape;
}

/// 1 / (1 - p), 0 for p = 1, when nothing is kept.
inline double keep_scale(double p) { return p < 1 ? 1 / (1 - p) : 0; }

}  // namespace detail

// -- keep: the mask itself ----------------------------------------------------------------------------------------------------

/// True with probability 1 - p: [shape], with extent 1 on `shared` axes, along which all share one fate.
template <class D = Cpu>
Tensor<bool, D> keep(RandomStream stream, const Shape& shape, const Dims& shared, double p, Where at = Where::current()) {
  detail::check_probability("keep", p, at);
  Tensor<bool, D> m(detail::shared_shape("keep", shape, shared.list, at), at);
  kernels::dropout_mask(D{}, m.data(), m.numel(), p, stream);
  return m;
}
/// The same with a probability of its own for each element of the mask: p broadcasts to the mask's shape. Equal p give the
/// mask of keep() with that number. No gradient reaches p (a relaxed mask has one: nn/dropout/concrete.hpp).
template <Floating T, class D>
Tensor<bool, D> keep(RandomStream stream, const Shape& shape, const Dims& shared, const Tensor<T, D>& p,
                     Where at = Where::current()) {
  const Shape mask = detail::shared_shape("keep", shape, shared.list, at);
  Shape both;
  if (!broadcast_shapes(mask, p.shape(), both) || !(both == mask))
    fail("keep", "the probabilities do not broadcast to the mask", {{"p", describe(p)}, {"mask", mask.str()}},
         "extents equal to the mask's or 1", at);
  const NoGrad guard;
  const auto each = contiguous(expand(p.detach(), mask, at), at);
  Tensor<bool, D> m(mask, at);
  kernels::mask_each<T>(D{}, each.data(), m.data(), m.numel(), stream);
  return m;
}

// -- laws ---------------------------------------------------------------------------------------------------------------------

/// One probability to drop; elements along `shared` axes are dropped together.
struct Bernoulli {
  double p = 0.5;
  Shape shared = {};
  template <class D>
  Tensor<bool, D> keep(const Shape& shape, RandomStream s, Where at) const {
    return gradus::keep<D>(s, shape, shared, p, at);
  }
};
/// A probability for each element, constant for gradients.
template <class T, class D>
struct BernoulliEach {
  Tensor<T, D> p;
  Shape shared = {};
  uint32_t version = 0;
  BernoulliEach(const Tensor<T, D>& p, const Shape& shared = {}) : p(p.detach()), shared(shared), version(p.version()) {}
  template <class E>
  Tensor<bool, E> keep(const Shape& shape, RandomStream s, Where at) const {
    if (p.version() != version)
      fail("drop", "the probabilities were overwritten since the mask was drawn",
           {{"p", describe(p)}, {"written", describe(p.impl()->storage->writer)}}, "the values as they were", at);
    return gradus::keep(s, shape, shared, p, at);
  }
};
/// Factors mean + deviation n, n standard normal; elements along `shared` axes have one factor.
struct NormalFactor {
  double mean = 1, deviation = 1;
  Shape shared = {};
  template <class T, class D>
  Tensor<T, D> factor(const Shape& shape, RandomStream s, Where at) const {
    Tensor<compute_t<T>, D> f(detail::shared_shape("noise", shape, shared, at), at);
    kernels::random_normal(D{}, f.data(), f.numel(), s);
    return cast<T>(detail::affine(f, deviation, mean, at), at);
  }
};
/// Factors uniform in [lo, hi).
struct UniformFactor {
  double lo = 0, hi = 2;
  Shape shared = {};
  template <class T, class D>
  Tensor<T, D> factor(const Shape& shape, RandomStream s, Where at) const {
    Tensor<compute_t<T>, D> f(detail::shared_shape("noise", shape, shared, at), at);
    kernels::random_uniform(D{}, f.data(), f.numel(), s);
    return cast<T>(detail::affine(f, hi - lo, lo, at), at);
  }
};

// -- drop and noise -----------------------------------------------------------------------------------------------------------

/// What becomes of the elements: scale x + shift for kept ones, fill for dropped ones.
struct Outcome {
  double scale = 1, shift = 0, fill = 0;
};

namespace detail {

template <class T, class D>
void check_mask(const char* op, const Tensor<T, D>& x, const AnyTensor& mask, Where at) {
  Shape both;
  if (!broadcast_shapes(x.shape(), mask.shape(), both) || !(both == x.shape()))
    fail(op, "the mask does not fit", {{"x", describe(x)}, {"mask", describe(mask)}}, "a mask that broadcasts to x", at);
}
template <class T, class D>
Tensor<T, D> apply_mask(const Tensor<T, D>& x, const Tensor<bool, D>& keep, const Outcome& o, Where at) {
  check_mask("drop", x, keep, at);
  Tensor<T, D> y(x.shape(), at);
  kernels::mask_apply<T>(D{}, keep.data(), x.data(), y.data(), o.scale, o.shift, o.fill, loop_over(x.shape(), y, keep, x));
  return y;
}

template <class Law, class T, class D>
Tensor<T, D> drop_from(const Tensor<T, D>& x, const Law& law, const Outcome& o, RandomStream stream, Where at);

template <class Law, class T, class D>
struct DropNode final : Node {
  std::optional<Law> law;
  double scale = 1;
  RandomStream stream;
  void backward(const AnyTensor& dy) override {
    accumulate(0, drop_from(Tensor<T, D>(dy.ref()), *law, Outcome{scale}, stream, at));
  }
};
template <class Law, class T, class D>
Tensor<T, D> drop_from(const Tensor<T, D>& x, const Law& law, const Outcome& o, RandomStream stream, Where at) {
  Tensor<T, D> y;
  bool fused = false;
  if constexpr (std::is_same_v<Law, Bernoulli>)
    fused = law.shared.n == 0 && o.shift == 0 && o.fill == 0 && o.scale == keep_scale(law.p);
  if constexpr (std::is_same_v<Law, Bernoulli>) {
    if (fused) {
      const auto xc = no_grad([&] { return contiguous(x, at); });
      y = Tensor<T, D>(x.shape(), at);
      kernels::dropout<T>(D{}, xc.data(), y.data(), y.numel(), law.p, stream);
    }
  }
  if (!fused) y = apply_mask(x, law.template keep<D>(x.shape(), stream, at), o, at);
  if (wants_grad(x)) {
    auto& node = record<DropNode<Law, T, D>>(y, at, x);
    node.law.emplace(law), node.scale = o.scale, node.stream = stream;
  }
  return y;
}

template <class Law, class T, class D>
Tensor<T, D> noise_from(const Tensor<T, D>& x, const Law& law, RandomStream stream, Where at);

template <class Law, class T, class D>
struct NoiseNode final : Node {
  std::optional<Law> law;
  RandomStream stream;
  void backward(const AnyTensor& dy) override { accumulate(0, noise_from(Tensor<T, D>(dy.ref()), *law, stream, at)); }
};
template <class Law, class T, class D>
Tensor<T, D> noise_from(const Tensor<T, D>& x, const Law& law, RandomStream stream, Where at) {
  Tensor<T, D> y;
  {
    const NoGrad guard;
    const auto f = law.template factor<T, D>(x.shape(), stream, at);
    check_mask("noise", x, f, at);
    y = mul(x, f, at);
  }
  if (wants_grad(x)) {
    auto& node = record<NoiseNode<Law, T, D>>(y, at, x);
    node.law.emplace(law), node.stream = stream;
  }
  return y;
}

/// The next mask of use_dropout_mask, checked.
template <class T, class D>
Tensor<T, D> next_mask(const char* op, const Tensor<T, D>& x, Where at) {
  MaskTape& tape = *mask_tape;
  if (tape.next >= tape.masks.size())
    fail("use_dropout_mask", "the function draws more masks than are given",
         {{"masks", std::to_string(tape.masks.size())}, {"drawn by", op}, {"for", describe(x)}},
         "one mask for each draw, in order", at);
  const auto mask = tape.masks[tape.next++].template as<T, D>(at);
  check_mask("use_dropout_mask", x, mask, at);
  return mask;
}

}  // namespace detail

/// y = psi (scale x + shift) + (1 - psi) fill for a given mask psi, any real numbers: differentiable in x and psi.
template <Floating T, class D>
Tensor<T, D> drop_with(const Tensor<T, D>& x, const Tensor<T, D>& psi, const Outcome& o = {}, Where at = Where::current()) {
  detail::check_mask("drop_with", x, psi, at);
  const auto kept = o.scale == 1 && o.shift == 0 ? x : detail::affine(x, o.scale, o.shift, at);
  const auto y = mul(psi, kept, at);
  return o.fill == 0 ? y : add(y, detail::affine(psi, -o.fill, o.fill, at), at);
}

/// Elements dropped by a law with `keep`, from the given stream.
template <class Law, Floating T, class D>
Tensor<T, D> drop(const Tensor<T, D>& x, const Law& law, const Outcome& o, RandomStream stream, Where at = Where::current()) {
  if (detail::MaskTape* tape = detail::mask_tape) {
    if (tape->replay) return drop_with(x, detail::next_mask("drop", x, at), o, at);
    tape->masks.push_back(cast<T>(law.template keep<D>(x.shape(), stream, at), at));
  }
  return detail::drop_from(x, law, o, stream, at);
}
/// The same from the next stream of the generator.
template <class Law, Floating T, class D>
Tensor<T, D> drop(const Tensor<T, D>& x, const Law& law, const Outcome& o = {}, Where at = Where::current()) {
  return drop(x, law, o, generator().draw(), at);
}
/// Elements multiplied by factors from a law with `factor`.
template <class Law, Floating T, class D>
Tensor<T, D> noise(const Tensor<T, D>& x, const Law& law, RandomStream stream, Where at = Where::current()) {
  if (detail::MaskTape* tape = detail::mask_tape) {
    if (tape->replay) return mul(x, detail::next_mask("noise", x, at), at);
    tape->masks.push_back(no_grad([&] { return law.template factor<T, D>(x.shape(), stream, at); }));
  }
  return detail::noise_from(x, law, stream, at);
}
template <class Law, Floating T, class D>
Tensor<T, D> noise(const Tensor<T, D>& x, const Law& law, Where at = Where::current()) {
  return noise(x, law, generator().draw(), at);
}

// -- masks taken down and used again ------------------------------------------------------------------------------------------

/// f(), and the masks that it draws appended to `masks`: what was sampled, not what came out as 0.
template <class F>
auto track_dropout_mask(Masks& masks, F&& f) {
  detail::MaskTape tape;
  const detail::MaskTapeScope scope(&tape);
  auto y = f();
  for (auto& m : tape.masks) masks.push_back(std::move(m));
  return y;
}
/// f() with the given masks in place of drawn ones, in order; they may have any values and require gradients. Random numbers
/// that are not masks are those of a run without this function.
template <class F>
auto use_dropout_mask(const Masks& masks, F&& f, Where at = Where::current()) {
  detail::MaskTape tape{.replay = true, .masks = masks};
  const detail::MaskTapeScope scope(&tape);
  auto y = f();
  if (tape.next != masks.size())
    fail("use_dropout_mask", "masks are left over",
         {{"masks", std::to_string(masks.size())}, {"used", std::to_string(tape.next)}}, "one mask for each draw, in order",
         at);
  return y;
}

}  // namespace gradus
