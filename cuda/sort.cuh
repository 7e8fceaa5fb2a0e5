// Orders of positions, for kernels that treat equal destinations together.
#pragma once
#include <cstdint>

namespace gradus::kernels::cu {

/// key : [n] in [0, bound), sorted, and the position in `key` of each; equal keys stay in order. The radix sort passes over the
/// bytes that bound - 1 has.
void sort_positions(const int64_t* key, int64_t* sorted, int64_t* order, int64_t n, int64_t bound);

}  // namespace gradus::kernels::cu
