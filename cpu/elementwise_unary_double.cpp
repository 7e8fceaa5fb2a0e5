// Instantiates the one-operand formulas of double.
#include "elementwise_unary.hpp"
#ifndef GRADUS_HEADER_ONLY

namespace gradus::kernels {
extern void* const gradus_unary_double_tables[] = {floating_table<double>(), rounding_table<double>()};
}  // namespace gradus::kernels
#endif
