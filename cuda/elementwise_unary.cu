// Instantiates the one-operand formulas.
#include "elementwise.cu"

namespace gradus::kernels {
namespace {

template <class T, class... F> void* forward_table() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&unary<F, T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class T, class... F> void* both_table() {
  static void* const table[] = {instance<Cuda>(&unary<F, T>)..., instance<Cuda>(&binary<Backward<F>, T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class T> void* floating_table() {
  return both_table<T, Neg, Abs, Exp, Exp2, Expm1, Log, Log2, Log10, Log1p, Sqrt, Rsqrt, Square, Reciprocal, Sin, Cos, Tan, Asin, Acos,
                    Atan, Sinh, Cosh, Tanh, Asinh, Acosh, Atanh, Erf, Erfc, Erfinv, Lgamma, Digamma, Polygamma, Sigmoid, LogSigmoid,
                    Logit, Softplus, Relu, LeakyRelu, Elu, Gelu, GeluTanh, Silu, Mish, Softsign, Clamp, PowScalar, Affine>();
}

}  // namespace

extern void* const gradus_cuda_unary_tables[] = {
    floating_table<float>(),
    floating_table<double>(),
    floating_table<bf16>(),
    floating_table<half>(),
    forward_table<float, Sign, Step, Floor, Ceil, Round, Trunc, Copy>(),
    forward_table<double, Sign, Step, Floor, Ceil, Round, Trunc, Copy>(),
    forward_table<bf16, Sign, Step, Floor, Ceil, Round, Trunc, Copy>(),
    forward_table<half, Sign, Step, Floor, Ceil, Round, Trunc, Copy>(),
    forward_table<int64_t, Neg, Abs, Square, Sign, Relu, Clamp, Affine, Copy>(),
    forward_table<int32_t, Neg, Abs, Square, Sign, Relu, Clamp, Affine, Copy>(),
    forward_table<uint8_t, Square, Clamp, Affine, Copy>(),
    forward_table<bool, Copy>(),
};

}  // namespace gradus::kernels
