// Element-wise kernels, and the formulas they compute: one struct an operation, used by every device.
//
// A formula with a derivative gives df, written once for scalars and for tensors alike: the backward kernel runs it on
// scalars, and a recorded backward (create_graph) runs the same line on tensors, so that it can be differentiated again.
// `from_output` says what df is a function of: the output y (which is then what a node saves) or the input x.
#pragma once
#include <gradus/core/math.hpp>
#include <gradus/kernels/loop.hpp>

namespace gradus::kernels {

// Scalar names that df may use; for tensors, argument-dependent lookup finds the ops of the same names.
using m::cos, m::digamma, m::erf, m::exp, m::expm1, m::log, m::log1p, m::sigmoid, m::sin, m::softplus, m::tanh;
using std::atan2, std::cosh, std::pow, std::sinh, std::sqrt;
template <class T> concept Scalar = std::is_arithmetic_v<T>;
template <Scalar T> GRADUS_HD T step(T x) { return x > T(0) ? T(1) : T(0); }
template <Scalar T> GRADUS_HD T sign(T x) { return static_cast<T>((x > T(0)) - (x < T(0))); }
template <Scalar T> GRADUS_HD T square(T x) { return x * x; }
template <Scalar T> GRADUS_HD T polygamma(int k, T x) { return static_cast<T>(m::polygamma(k, static_cast<double>(x))); }
/// A constant in the arithmetic of X: a T for a scalar T, a double beside a tensor.
template <class X> struct Lit {
  using type = double;
};
template <Scalar X> struct Lit<X> {
  using type = X;
};
template <class X> GRADUS_HD constexpr typename Lit<std::remove_cvref_t<X>>::type lit(double v) {
  return static_cast<typename Lit<std::remove_cvref_t<X>>::type>(v);
}

// -- one operand: y = f(x), dx = dy * df -------------------------------------------------------------------------------
// clang-format off
struct Neg        { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return static_cast<T>(-x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return x * lit<X>(0) - lit<X>(1); } };
struct Abs        { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return x < T(0) ? static_cast<T>(-x) : x; }
                    template <class X> GRADUS_HD X df(const X& x) const { return sign(x); } };            // 0 at 0
struct Exp        { static constexpr bool from_output = true;  template <class T> GRADUS_HD T f(T x) const { return m::exp(x); }
                    template <class X> GRADUS_HD X df(const X& y) const { return y; } };
struct Exp2       { static constexpr bool from_output = true;  template <class T> GRADUS_HD T f(T x) const { return std::exp2(x); }
                    template <class X> GRADUS_HD X df(const X& y) const { return y * lit<X>(0.693147180559945309); } };
struct Expm1      { static constexpr bool from_output = true;  template <class T> GRADUS_HD T f(T x) const { return m::expm1(x); }
                    template <class X> GRADUS_HD X df(const X& y) const { return y + lit<X>(1); } };
struct Log        { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return m::log(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(1) / x; } };
struct Log2       { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return std::log2(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(1.44269504088896341) / x; } };
struct Log10      { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return std::log10(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(0.434294481903251828) / x; } };
struct Log1p      { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return m::log1p(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(1) / (x + lit<X>(1)); } };
struct Sqrt       { static constexpr bool from_output = true;  template <class T> GRADUS_HD T f(T x) const { return std::sqrt(x); }
                    template <class X> GRADUS_HD X df(const X& y) const { return lit<X>(0.5) / y; } };
struct Rsqrt      { static constexpr bool from_output = true;  template <class T> GRADUS_HD T f(T x) const { return T(1) / std::sqrt(x); }
                    template <class X> GRADUS_HD X df(const X& y) const { return lit<X>(-0.5) * y * y * y; } };
struct Square     { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return static_cast<T>(x * x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(2) * x; } };
struct Reciprocal { static constexpr bool from_output = true;  template <class T> GRADUS_HD T f(T x) const { return T(1) / x; }
                    template <class X> GRADUS_HD X df(const X& y) const { return lit<X>(-1) * y * y; } };
struct Sin        { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return m::sin(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return cos(x); } };
struct Cos        { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return m::cos(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(-1) * sin(x); } };
struct Tan        { static constexpr bool from_output = true;  template <class T> GRADUS_HD T f(T x) const { return std::tan(x); }
                    template <class X> GRADUS_HD X df(const X& y) const { return y * y + lit<X>(1); } };
struct Asin       { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return std::asin(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(1) / sqrt(lit<X>(1) - x * x); } };
struct Acos       { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return std::acos(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(-1) / sqrt(lit<X>(1) - x * x); } };
struct Atan       { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return std::atan(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(1) / (x * x + lit<X>(1)); } };
struct Sinh       { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return std::sinh(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return cosh(x); } };
struct Cosh       { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return std::cosh(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return sinh(x); } };
struct Tanh       { static constexpr bool from_output = true;  template <class T> GRADUS_HD T f(T x) const { return m::tanh(x); }
                    template <class X> GRADUS_HD X df(const X& y) const { return lit<X>(1) - y * y; } };
struct Asinh      { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return std::asinh(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(1) / sqrt(x * x + lit<X>(1)); } };
struct Acosh      { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return std::acosh(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(1) / sqrt(x * x - lit<X>(1)); } };
struct Atanh      { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return std::atanh(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(1) / (lit<X>(1) - x * x); } };
struct Erf        { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return m::erf(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(1.12837916709551257) * exp(lit<X>(-1) * x * x); } };
struct Erfc       { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return m::erfc(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(-1.12837916709551257) * exp(lit<X>(-1) * x * x); } };
struct Erfinv     { static constexpr bool from_output = true;  template <class T> GRADUS_HD T f(T x) const { return static_cast<T>(m::erfinv(static_cast<double>(x))); }
                    template <class X> GRADUS_HD X df(const X& y) const { return lit<X>(0.886226925452758014) * exp(y * y); } };
struct Lgamma     { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return std::lgamma(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return static_cast<X>(digamma(x)); } };
struct Digamma    { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return static_cast<T>(m::digamma(static_cast<double>(x))); }
                    template <class X> GRADUS_HD X df(const X& x) const { return polygamma(1, x); } };
struct Polygamma  { static constexpr bool from_output = false; int k = 1; template <class T> GRADUS_HD T f(T x) const { return static_cast<T>(m::polygamma(k, static_cast<double>(x))); }
                    template <class X> GRADUS_HD X df(const X& x) const { return polygamma(k + 1, x); } };
struct Sigmoid    { static constexpr bool from_output = true;  template <class T> GRADUS_HD T f(T x) const { return m::sigmoid(x); }
                    template <class X> GRADUS_HD X df(const X& y) const { return y * (lit<X>(1) - y); } };
struct LogSigmoid { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return -m::softplus(-x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(1) - sigmoid(x); } };
struct Logit      { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return m::log(x / (T(1) - x)); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(1) / (x * (lit<X>(1) - x)); } };
/// log(1 + e^{beta x}) / beta
struct Softplus   { static constexpr bool from_output = false; double beta = 1; template <class T> GRADUS_HD T f(T x) const { return m::softplus(T(beta) * x) / T(beta); }
                    template <class X> GRADUS_HD X df(const X& x) const { return sigmoid(lit<X>(beta) * x); } };
struct Relu       { static constexpr bool from_output = true;  template <class T> GRADUS_HD T f(T x) const { return x > T(0) ? x : (x == x ? T(0) : x); }   // NaN stays
                    template <class X> GRADUS_HD X df(const X& y) const { return step(y); } };            // 0 at 0
struct LeakyRelu  { static constexpr bool from_output = false; double slope = 0.01; template <class T> GRADUS_HD T f(T x) const { return x > T(0) ? x : T(slope) * x; }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(slope) + lit<X>(1 - slope) * step(x); } };
/// x > 0: scale x; else scale alpha (e^{x/width} - 1): ELU (width 1), CELU (width = alpha), SELU
struct Elu        { static constexpr bool from_output = false; double alpha = 1, scale = 1, width = 1;
                    template <class T> GRADUS_HD T f(T x) const { return T(scale) * (x > T(0) ? x : T(alpha) * m::expm1(x / T(width))); }
                    template <class X> GRADUS_HD X df(const X& x) const {
                      return lit<X>(scale) * (step(x) + (lit<X>(1) - step(x)) * lit<X>(alpha / width) * exp(x * (lit<X>(1) - step(x)) * lit<X>(1 / width))); } };
/// x Phi(x), Hendrycks & Gimpel 2016
struct Gelu       { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return T(0.5) * x * (T(1) + m::erf(x * T(0.707106781186547524))); }
                    template <class X> GRADUS_HD X df(const X& x) const {
                      return lit<X>(0.5) * (erf(x * lit<X>(0.707106781186547524)) + lit<X>(1)) + x * lit<X>(0.398942280401432678) * exp(x * x * lit<X>(-0.5)); } };
/// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))
struct GeluTanh   { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return x * m::sigmoid(x * (T(1.5957691216057308) + T(0.0713548162726009) * x * x)); }
                    template <class X> GRADUS_HD X df(const X& x) const {
                      const X z = x * x, s = sigmoid(x * (lit<X>(1.5957691216057308) + lit<X>(0.0713548162726009) * z));
                      return s + x * s * (lit<X>(1) - s) * (lit<X>(1.5957691216057308) + lit<X>(0.2140644488178027) * z); } };
struct Silu       { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return x * m::sigmoid(x); }
                    template <class X> GRADUS_HD X df(const X& x) const { const X s = sigmoid(x); return s * (lit<X>(1) + x * (lit<X>(1) - s)); } };
struct Mish       { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return x * m::tanh(m::softplus(x)); }
                    template <class X> GRADUS_HD X df(const X& x) const { const X t = tanh(softplus(x)); return t + x * sigmoid(x) * (lit<X>(1) - t * t); } };
struct Softsign   { static constexpr bool from_output = false; template <class T> GRADUS_HD T f(T x) const { return x / (T(1) + std::fabs(x)); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(1) / square(x * sign(x) + lit<X>(1)); } };
/// min(max(x, lo), hi); the gradient passes where lo <= x <= hi
struct Clamp      { static constexpr bool from_output = false; double lo, hi; template <class T> GRADUS_HD T f(T x) const { return x < T(lo) ? T(lo) : (x > T(hi) ? T(hi) : x); }
                    template <class X> GRADUS_HD X df(const X& x) const { return (lit<X>(1) - step(lit<X>(lo) - x)) * (lit<X>(1) - step(x - lit<X>(hi))); } };
/// x^e for a constant e
struct PowScalar  { static constexpr bool from_output = false; double e; template <class T> GRADUS_HD T f(T x) const { return static_cast<T>(std::pow(x, T(e))); }
                    template <class X> GRADUS_HD X df(const X& x) const { return lit<X>(e) * pow(x, lit<X>(e - 1)); } };
/// x a + b
struct Affine     { static constexpr bool from_output = false; double a, b; template <class T> GRADUS_HD T f(T x) const { return static_cast<T>(x * T(a) + T(b)); }
                    template <class X> GRADUS_HD X df(const X& x) const { return x * lit<X>(0) + lit<X>(a); } };
// piecewise constant: their derivative is 0 wherever it exists
struct Sign       { template <class T> GRADUS_HD T f(T x) const { return static_cast<T>((x > T(0)) - (x < T(0))); } };
struct Step       { template <class T> GRADUS_HD T f(T x) const { return x > T(0) ? T(1) : T(0); } };
struct Floor      { template <class T> GRADUS_HD T f(T x) const { return std::floor(x); } };
struct Ceil       { template <class T> GRADUS_HD T f(T x) const { return std::ceil(x); } };
struct Round      { template <class T> GRADUS_HD T f(T x) const { return std::nearbyint(x); } };   // halves to even
struct Trunc      { template <class T> GRADUS_HD T f(T x) const { return std::trunc(x); } };
struct Copy       { template <class T> GRADUS_HD T f(T x) const { return x; } };

/// dx = dy df(s), s the saved input or output of F
template <class F> struct Backward { F op; template <class T> GRADUS_HD T f(T dy, T s) const { return dy * op.df(s); } };

// -- two operands ------------------------------------------------------------------------------------------------------
struct Add        { template <class T> GRADUS_HD T f(T a, T b) const { return static_cast<T>(a + b); } };
struct Sub        { template <class T> GRADUS_HD T f(T a, T b) const { return static_cast<T>(a - b); } };
struct Mul        { template <class T> GRADUS_HD T f(T a, T b) const { return static_cast<T>(a * b); } };
struct Div        { template <class T> GRADUS_HD T f(T a, T b) const {               // integers: toward zero, x / 0 = 0
                      if constexpr (std::is_integral_v<T>) return b == T(0) ? T(0) : static_cast<T>(a / b); else return a / b; } };
struct FloorDivide{ template <class T> GRADUS_HD T f(T a, T b) const {
                      if constexpr (std::is_integral_v<T>) { if (b == T(0)) return T(0); T q = static_cast<T>(a / b); return q * b != a && (a < T(0)) != (b < T(0)) ? static_cast<T>(q - 1) : q; }
                      else return std::floor(a / b); } };
struct Pow        { template <class T> GRADUS_HD T f(T a, T b) const { return static_cast<T>(std::pow(a, b)); } };
struct Maximum    { template <class T> GRADUS_HD T f(T a, T b) const { return a != a ? a : (b != b ? b : (a > b ? a : b)); } };   // NaN wins
struct Minimum    { template <class T> GRADUS_HD T f(T a, T b) const { return a != a ? a : (b != b ? b : (a < b ? a : b)); } };
struct Fmod       { template <class T> GRADUS_HD T f(T a, T b) const { if constexpr (std::is_integral_v<T>) return b == T(0) ? T(0) : static_cast<T>(a % b); else return std::fmod(a, b); } };
struct Remainder  { template <class T> GRADUS_HD T f(T a, T b) const {               // the sign of b, as Python's %
                      if constexpr (std::is_integral_v<T>) { if (b == T(0)) return T(0); T r = static_cast<T>(a % b); return r != 0 && (r < T(0)) != (b < T(0)) ? static_cast<T>(r + b) : r; }
                      else { const T r = std::fmod(a, b); return r != 0 && (r < 0) != (b < 0) ? r + b : r; } } };
struct Atan2      { template <class T> GRADUS_HD T f(T a, T b) const { return std::atan2(a, b); } };
struct Hypot      { template <class T> GRADUS_HD T f(T a, T b) const { return std::hypot(a, b); } };
/// 1 where a > b, 1/2 where a = b, 0 elsewhere: the share of dy that a gets in maximum(a, b)
struct Share      { template <class T> GRADUS_HD T f(T a, T b) const { return a > b ? T(1) : (a == b ? T(0.5) : T(0)); } };

struct Equal      { template <class T> GRADUS_HD bool f(T a, T b) const { return a == b; } };
struct NotEqual   { template <class T> GRADUS_HD bool f(T a, T b) const { return a != b; } };
struct Less       { template <class T> GRADUS_HD bool f(T a, T b) const { return a < b; } };
struct LessEqual  { template <class T> GRADUS_HD bool f(T a, T b) const { return a <= b; } };
struct And        { GRADUS_HD bool f(bool a, bool b) const { return a && b; } };
struct Or         { GRADUS_HD bool f(bool a, bool b) const { return a || b; } };
struct Xor        { GRADUS_HD bool f(bool a, bool b) const { return a != b; } };
// clang-format on

// -- the kernels: operand 0 of the loop is y ----------------------------------------------------------------------------

/// y = F(x)
template <class F, class T> void unary(Cpu, F op, const T* x, T* y, const Loop<2>& loop);
template <class F, class T> void unary(Cuda, F op, const T* x, T* y, const Loop<2>& loop);
/// y = F(a, b)
template <class F, class T> void binary(Cpu, F op, const T* a, const T* b, T* y, const Loop<3>& loop);
template <class F, class T> void binary(Cuda, F op, const T* a, const T* b, T* y, const Loop<3>& loop);
/// y = F(a, b), a truth value
template <class F, class T> void compare(Cpu, F op, const T* a, const T* b, bool* y, const Loop<3>& loop);
template <class F, class T> void compare(Cuda, F op, const T* a, const T* b, bool* y, const Loop<3>& loop);
/// y = c ? a : b
template <class T> void where(Cpu, const bool* c, const T* a, const T* b, T* y, const Loop<4>& loop);
template <class T> void where(Cuda, const bool* c, const T* a, const T* b, T* y, const Loop<4>& loop);
/// y = value
template <class T> void fill(Cpu, T* y, T value, const Loop<1>& loop);
template <class T> void fill(Cuda, T* y, T value, const Loop<1>& loop);
/// y = static_cast<U>(x)
template <class T, class U> void convert(Cpu, const T* x, U* y, const Loop<2>& loop);
template <class T, class U> void convert(Cuda, const T* x, U* y, const Loop<2>& loop);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include "../../../cpu/elementwise.cpp"
#endif
