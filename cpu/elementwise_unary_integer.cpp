// Instantiates the one-operand formulas of the integers and bool.
#include "elementwise_unary.hpp"
#ifndef GRADUS_HEADER_ONLY

namespace gradus::kernels {
extern void* const gradus_unary_integer_tables[] = {
    forward_table<int64_t, Neg, Abs, Square, Sign, Relu, Clamp, Affine, Copy>(),
    forward_table<int32_t, Neg, Abs, Square, Sign, Relu, Clamp, Affine, Copy>(),
    forward_table<uint8_t, Square, Clamp, Affine, Copy>(),
    forward_table<bool, Copy>(),
};
}  // namespace gradus::kernels
#endif
