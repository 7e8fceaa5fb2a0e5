// Instantiates the two-operand formulas, comparisons, where, fill and the conversions.
#include "elementwise.cu"

namespace gradus::kernels {
namespace {

template <class T, class... F> void* binary_table() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&binary<F, T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class... T> void* common_table() {
  static void* const table[] = {
      instance<Cuda>(&compare<Equal, T>)...,    instance<Cuda>(&compare<NotEqual, T>)...,
      instance<Cuda>(&compare<Less, T>)...,     instance<Cuda>(&compare<LessEqual, T>)...,
      instance<Cuda>(&where<T>)...,             instance<Cuda>(&fill<T>)...,
      instance<Cuda>(&convert<float, T>)...,    instance<Cuda>(&convert<double, T>)...,
      instance<Cuda>(&convert<bf16, T>)...,     instance<Cuda>(&convert<half, T>)...,
      instance<Cuda>(&convert<int64_t, T>)...,  instance<Cuda>(&convert<int32_t, T>)...,
      instance<Cuda>(&convert<uint8_t, T>)...,  instance<Cuda>(&convert<bool, T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class T> void* floating_table() {
  return binary_table<T, Add, Sub, Mul, Div, FloorDivide, Pow, Maximum, Minimum, Fmod, Remainder, Atan2, Hypot, Share>();
}
template <class T> void* integer_table() { return binary_table<T, Add, Sub, Mul, Div, FloorDivide, Maximum, Minimum, Fmod, Remainder>(); }

}  // namespace

extern void* const gradus_cuda_binary_tables[] = {
    floating_table<float>(),  floating_table<double>(), floating_table<bf16>(),   floating_table<half>(),
    integer_table<int64_t>(), integer_table<int32_t>(), integer_table<uint8_t>(), binary_table<bool, And, Or, Xor>(),
    common_table<float, double, bf16, half, int64_t, int32_t, uint8_t, bool>()};

}  // namespace gradus::kernels
