// Instantiates the one-operand formulas of float and the 16-bit types, which compute in float.
// elementwise_unary_double.cpp has those of double, elementwise_unary_integer.cpp those of the integers and bool.
#include "elementwise_unary.hpp"
#ifndef GRADUS_HEADER_ONLY

namespace gradus::kernels {
extern void* const gradus_unary_tables[] = {
    floating_table<float>(),  floating_table<bf16>(),  floating_table<half>(),
    rounding_table<float>(),  rounding_table<bf16>(),  rounding_table<half>(),
};
}  // namespace gradus::kernels
#endif
