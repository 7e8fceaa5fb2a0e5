// What all losses share: how the terms are combined, and the checks of shapes.
#pragma once
#include <gradus/ops/reduce.hpp>

namespace gradus {

/// mean over all terms, their sum, or the terms themselves.
enum class Reduction { mean, sum, none };

namespace detail {

template <class T, class D>
Tensor<T, D> reduce_loss(const Tensor<T, D>& per, Reduction r, Where at) {
  return r == Reduction::none ? per : (r == Reduction::sum ? sum(per, {}, false, at) : mean(per, {}, false, at));
}
/// Predictions and targets of one shape: a broadcast [N] against [N, 1] is a mistake that trains.
inline void check_same(const char* op, const char* a_name, const AnyTensor& a, const char* b_name, const AnyTensor& b,
                       Where at) {
  if (!(a.shape() == b.shape())) fail(op, "shapes differ", {{a_name, describe(a)}, {b_name, describe(b)}}, "equal shapes", at);
}
inline void check_rank(const char* op, const char* name, const AnyTensor& x, int rank, const char* expected, Where at) {
  if (x.rank() != rank) fail(op, std::string("another number of dimensions for ") + name, {{name, describe(x)}}, expected, at);
}
inline void check_positive(const char* op, const char* name, double v, Where at) {
  if (!(v > 0)) fail(op, std::string(name) + " is out of range", {{name, std::to_string(v)}}, std::string(name) + " > 0", at);
}

}  // namespace detail

}  // namespace gradus
