// map(f, x, y, ...): an element-wise op from one scalar generic lambda; its gradient is derived with dual numbers.
//
//   auto y = map([](auto a, auto b) { return a * tanh(b); }, x, z);
//
// Forward is one loop over all operands; backward one loop that computes every df/dx_i at once. Under create_graph the
// derivative is a map of its own, of the lambda on nested duals, so that second (and third) derivatives exist too.
// On Cuda the lambda is run once on numbers that take notes, and a kernel runs the notes: up to 6 operands (ops/map_trace.hpp).
#pragma once
#include <array>
#include <optional>
#include <tuple>

#include <gradus/ops/map_trace.hpp>
#include <gradus/ops/reduce.hpp>

namespace gradus {

/// a + b eps with eps^2 = 0: a value and its derivative in one direction.
template <class S> struct Dual {
  S v{}, d{};
  Dual() = default;
  Dual(S v, S d) : v(v), d(d) {}
  template <class U>
    requires std::is_arithmetic_v<U>
  Dual(U x) : v(static_cast<S>(x)) {}
  friend Dual operator+(Dual a, Dual b) { return {a.v + b.v, a.d + b.d}; }
  friend Dual operator-(Dual a, Dual b) { return {a.v - b.v, a.d - b.d}; }
  friend Dual operator*(Dual a, Dual b) { return {a.v * b.v, a.d * b.v + a.v * b.d}; }
  friend Dual operator/(Dual a, Dual b) {
    const S q = a.v / b.v;
    return {q, (a.d - q * b.d) / b.v};
  }
  friend Dual operator-(Dual a) { return {-a.v, -a.d}; }
  Dual& operator+=(Dual b) { return *this = *this + b; }
  Dual& operator-=(Dual b) { return *this = *this - b; }
  Dual& operator*=(Dual b) { return *this = *this * b; }
  Dual& operator/=(Dual b) { return *this = *this / b; }
  friend bool operator<(Dual a, Dual b) { return a.v < b.v; }
  friend bool operator>(Dual a, Dual b) { return a.v > b.v; }
  friend bool operator<=(Dual a, Dual b) { return a.v <= b.v; }
  friend bool operator>=(Dual a, Dual b) { return a.v >= b.v; }
  friend bool operator==(Dual a, Dual b) { return a.v == b.v; }
};

/// A plain number in a lambda's hands: a class, so that unqualified exp, tanh, sigmoid, ... find the functions below.
template <class T> struct Number {
  T v{};
  Number() = default;
  template <class U>
    requires std::is_arithmetic_v<U>
  Number(U x) : v(static_cast<T>(x)) {}
  explicit operator T() const { return v; }
  friend Number operator+(Number a, Number b) { return a.v + b.v; }
  friend Number operator-(Number a, Number b) { return a.v - b.v; }
  friend Number operator*(Number a, Number b) { return a.v * b.v; }
  friend Number operator/(Number a, Number b) { return a.v / b.v; }
  friend Number operator-(Number a) { return -a.v; }
  Number& operator+=(Number b) { return *this = *this + b; }
  Number& operator-=(Number b) { return *this = *this - b; }
  Number& operator*=(Number b) { return *this = *this * b; }
  Number& operator/=(Number b) { return *this = *this / b; }
  friend bool operator<(Number a, Number b) { return a.v < b.v; }
  friend bool operator>(Number a, Number b) { return a.v > b.v; }
  friend bool operator<=(Number a, Number b) { return a.v <= b.v; }
  friend bool operator>=(Number a, Number b) { return a.v >= b.v; }
  friend bool operator==(Number a, Number b) { return a.v == b.v; }
  friend Number exp(Number x) { return m::exp(x.v); }
  friend Number expm1(Number x) { return m::expm1(x.v); }
  friend Number log(Number x) { return m::log(x.v); }
  friend Number log1p(Number x) { return m::log1p(x.v); }
  friend Number sqrt(Number x) { return std::sqrt(x.v); }
  friend Number sin(Number x) { return m::sin(x.v); }
  friend Number cos(Number x) { return m::cos(x.v); }
  friend Number tanh(Number x) { return m::tanh(x.v); }
  friend Number sigmoid(Number x) { return m::sigmoid(x.v); }
  friend Number softplus(Number x) { return m::softplus(x.v); }
  friend Number erf(Number x) { return m::erf(x.v); }
  friend Number abs(Number x) { return x.v < T(0) ? -x.v : x.v; }
  friend Number relu(Number x) { return x.v > T(0) ? x.v : T(0); }
  friend Number pow(Number x, double e) { return std::pow(x.v, static_cast<T>(e)); }
};

// clang-format off
template <class S> Dual<S> exp(Dual<S> x) { const S y = exp(x.v); return {y, x.d * y}; }
template <class S> Dual<S> expm1(Dual<S> x) { return {expm1(x.v), x.d * exp(x.v)}; }
template <class S> Dual<S> log(Dual<S> x) { return {log(x.v), x.d / x.v}; }
template <class S> Dual<S> log1p(Dual<S> x) { return {log1p(x.v), x.d / (S(1) + x.v)}; }
template <class S> Dual<S> sqrt(Dual<S> x) { const S y = sqrt(x.v); return {y, x.d / (S(2) * y)}; }
template <class S> Dual<S> sin(Dual<S> x) { return {sin(x.v), x.d * cos(x.v)}; }
template <class S> Dual<S> cos(Dual<S> x) { return {cos(x.v), -x.d * sin(x.v)}; }
template <class S> Dual<S> tanh(Dual<S> x) { const S y = tanh(x.v); return {y, x.d * (S(1) - y * y)}; }
template <class S> Dual<S> sigmoid(Dual<S> x) { const S y = sigmoid(x.v); return {y, x.d * y * (S(1) - y)}; }
template <class S> Dual<S> softplus(Dual<S> x) { return {softplus(x.v), x.d * sigmoid(x.v)}; }
template <class S> Dual<S> erf(Dual<S> x) { return {erf(x.v), x.d * S(1.12837916709551257) * exp(-x.v * x.v)}; }
template <class S> Dual<S> abs(Dual<S> x) { return x.v < S(0) ? Dual<S>(-x.v, -x.d) : x; }
template <class S> Dual<S> relu(Dual<S> x) { return x.v > S(0) ? x : Dual<S>(S(0), S(0)); }
template <class S> Dual<S> pow(Dual<S> x, double e) { return {pow(x.v, e), x.d * S(e) * pow(x.v, e - 1)}; }
// clang-format on

namespace detail {

/// df/dx_i of f as a function of its own: the lambda on duals seeded in direction i.
template <class F, std::size_t I> struct Partial {
  F f;
  template <class... S> auto operator()(S... x) const { return apply(std::index_sequence_for<S...>{}, x...); }

 private:
  template <std::size_t... K, class S, class... R> S apply(std::index_sequence<K...>, S x0, R... rest) const {
    const std::array<S, 1 + sizeof...(R)> v{x0, S(rest)...};
    return f(Dual<S>(v[K], K == I ? S(1) : S(0))...).d;
  }
};
inline constexpr int kMapOrder = 3;                       // how often a map can be differentiated

template <int Order, class F, class T, class D, class... X> Tensor<T, D> map_order(const F& f, Where at, const Tensor<T, D>& x0, const X&... x);

template <int Order, class F, class T, class D, std::size_t N> struct MapNode final : Node {
  std::optional<F> f;
  std::vector<Tensor<T, D>> kept;
  std::vector<uint32_t> versions;
  void backward(const AnyTensor& g) override {
    for (std::size_t i = 0; i < N; ++i)
      if (kept[i].version() != versions[i])
        fail("MapNode::backward", "an operand was overwritten", {{"operand " + std::to_string(i), describe(kept[i])}, {"written", describe(kept[i].impl()->storage->writer)}},
             "the values as they were when the op ran", at);
    each(Tensor<T, D>(g.ref()), std::make_index_sequence<N>{});
  }

 private:
  template <std::size_t... I> void each(const Tensor<T, D>& dy, std::index_sequence<I...> all) { (one<I>(dy, all), ...); }
  template <std::size_t I, std::size_t... K> void one(const Tensor<T, D>& dy, std::index_sequence<K...>) {
    if (!wants(static_cast<int>(I))) return;
    const auto df = map_order<Order - 1>(Partial<F, I>{*f}, at, kept[K]...);
    accumulate(static_cast<int>(I), sum_to(mul(dy, df, at), kept[I].shape(), at));
  }
};

/// The lambda itself, compiled into the loop.
template <class F, class T, class... X> void map_on_host(const F& f, const Shape& shape, const Tensor<T>& y, const X&... x) {
  constexpr std::size_t N = sizeof...(X);
  const auto loop = loop_over(shape, y, x...);
  const T* from[N] = {x.data()...};
  kernels::for_each_run(loop, [&](const int64_t* offset, int64_t n) {
    const int last = loop.rank - 1;
    T* out = y.data() + offset[0];
    [&]<std::size_t... K>(std::index_sequence<K...>) {
      const T* p[N] = {from[K] + offset[K + 1]...};
      if (((loop.stride[K + 1][last] == 1) && ...) && loop.stride[0][last] == 1)
        for (int64_t i = 0; i < n; ++i) out[i] = f(Number<T>(p[K][i])...).v;
      else
        for (int64_t i = 0; i < n; ++i) out[i * loop.stride[0][last]] = f(Number<T>(p[K][i * loop.stride[K + 1][last]])...).v;
    }(std::make_index_sequence<N>{});
  });
}
/// The lambda as a program; see kernels/map.hpp.
template <class F, class T, class D, class... X>
void map_on_device(const F& f, Where at, const Shape& shape, const Tensor<T, D>& y, const X&... x) {
  constexpr int N = sizeof...(X);
  static_assert(N <= kernels::kMapOperands, "gradus: map takes at most 6 operands on a device");
  const auto program = trace_program(
      [&] {
        return [&]<std::size_t... K>(std::index_sequence<K...>) {
          return f(Traced::of(kernels::MapOp::input, static_cast<int>(K))...).id;
        }(std::make_index_sequence<N>{});
      },
      at);
  const T* from[] = {x.data()...};
  Shape strides[1 + kernels::kMapOperands];
  strides[0] = broadcast_strides(y, shape);
  int k = 0;
  ((strides[++k] = broadcast_strides(x, shape)), ...);
  for (int j = N + 1; j <= kernels::kMapOperands; ++j) strides[j] = strides[0];        // not read
  kernels::map_program<T>(D{}, program.data(), static_cast<int64_t>(program.size()), from, N, y.data(),
                          kernels::Loop<1 + kernels::kMapOperands>::make(shape, strides));
}

template <int Order, class F, class T, class D, class... X> Tensor<T, D> map_order(const F& f, Where at, const Tensor<T, D>& x0, const X&... x) {
  constexpr std::size_t N = 1 + sizeof...(X);
  Shape shape = x0.shape();
  [[maybe_unused]] const auto join = [&](const AnyTensor& t) {
    Shape s;
    if (!broadcast_shapes(shape, t.shape(), s)) fail_broadcast("map", x0, t, at);
    shape = s;
  };
  (join(x), ...);
  Tensor<T, D> y(shape, at);
  if constexpr (std::is_same_v<D, Cpu>) map_on_host(f, shape, y, x0, x...);
  else map_on_device(f, at, shape, y, x0, x...);
  if (wants_grad(x0, x...)) {
    if constexpr (Order == 0) {
      fail("map", "differentiated too often", {{"x", describe(x0)}}, "at most " + std::to_string(kMapOrder) + " derivatives of a map", at);
    } else {
      auto& node = record_list<MapNode<Order, F, T, D, N>>(y, at, std::vector<Tensor<T, D>>{x0, x...});
      node.f.emplace(f);
      node.kept = {x0, x...};
      for (const auto& t : node.kept) node.versions.push_back(t.version());
    }
  }
  return y;
}

}  // namespace detail

/// y_i = f(x_i, ...) with broadcasting; f is a generic lambda over numbers, which may call exp, expm1, log, log1p, sqrt, sin, cos,
/// tanh, sigmoid, softplus, erf, abs, relu, pow(x, e), compare, and convert constants. Differentiable three times.
template <class F, Floating T, class D, class... X>
  requires(std::is_same_v<X, Tensor<T, D>> && ...)
Tensor<T, D> map(const F& f, const Tensor<T, D>& x0, const X&... x) {
  return detail::map_order<detail::kMapOrder>(f, Where{}, x0, x...);
}

}  // namespace gradus
