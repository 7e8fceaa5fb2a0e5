// Lists of the one-operand formulas, for the files that instantiate them.
#include "elementwise.cpp"
#ifndef GRADUS_HEADER_ONLY

namespace gradus::kernels {
namespace {

template <class T, class... F> void* forward_table() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&unary<F, T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class T, class... F> void* both_table() {
  static void* const table[] = {instance<Cpu>(&unary<F, T>)..., instance<Cpu>(&binary<Backward<F>, T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class T> [[maybe_unused]] void* floating_table() {
  return both_table<T, Neg, Abs, Exp, Exp2, Expm1, Log, Log2, Log10, Log1p, Sqrt, Rsqrt, Square, Reciprocal, Sin, Cos, Tan, Asin, Acos,
                    Atan, Sinh, Cosh, Tanh, Asinh, Acosh, Atanh, Erf, Erfc, Erfinv, Lgamma, Digamma, Polygamma, Sigmoid, LogSigmoid,
                    Logit, Softplus, Relu, LeakyRelu, Elu, Gelu, GeluTanh, Silu, Mish, Softsign, Clamp, PowScalar, Affine>();
}
template <class T> [[maybe_unused]] void* rounding_table() { return forward_table<T, Sign, Step, Floor, Ceil, Round, Trunc, Copy>(); }

}  // namespace
}  // namespace gradus::kernels
#endif
