// The operators without a gradient (I2). Everything else in ops/ that takes a floating tensor can be differentiated, as often
// as one likes; tests/ops/table_test.cpp holds both to it.
#pragma once
#include <algorithm>
#include <iterator>
#include <string_view>

namespace gradus {

/// Results of these never require gradients: truth values, positions and counts, functions that are constant in pieces, and
/// what makes a tensor from nothing. Of sort, topk, median, cummax and their like the values have a gradient, the index has none.
inline constexpr std::string_view non_differentiable[] = {
    // truth values
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "isnan", "isinf", "isfinite", "any", "all_of",
    "logical_and", "logical_or", "logical_xor", "logical_not", "isclose",
    // positions and counts (bincount and histogram have a gradient for their weights)
    "argmax", "argmin", "argsort", "searchsorted", "nonzero", "count_nonzero", "bincount", "histogram", "unique", "multinomial",
    "randint", "randperm",
    // constant in pieces
    "sign", "step", "floor", "ceil", "round", "trunc", "floor_divide", "one_hot",
    // random draws: of their parameters too
    "bernoulli", "gamma", "dirichlet",
};
inline constexpr bool is_differentiable(std::string_view op) {
  return std::find(std::begin(non_differentiable), std::end(non_differentiable), op) == std::end(non_differentiable);
}

}  // namespace gradus
