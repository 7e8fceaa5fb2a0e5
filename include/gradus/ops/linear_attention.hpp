// Attention whose cost grows with the number of tokens, not with its square: keys and values meet first.
//
//   efficient  y = softmax_features(q) (softmax_positions(k)^T v)                                    Shen et al. 2021, eq. 2
//   linear     y_i = phi(q_i) sum_j phi(k_j) v_j^T / (phi(q_i) sum_j phi(k_j)),  phi(x) = elu(x) + 1  Katharopoulos et al.
//   2020, eq. 5
//              causal: the sums run over j <= i
//
// q [..., T, hs], k [..., S, hs], v [..., S, vs] -> [..., T, vs]. Both are positive weights that sum to 1 over the keys.
#pragma once
#include <gradus/ops/elementwise.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/scan.hpp>
#include <gradus/ops/softmax.hpp>

namespace gradus {

namespace detail {
template <class T, class D>
void check_linear_attention(const char* op, const Tensor<T, D>& q, const Tensor<T, D>& k, const Tensor<T, D>& v, Where at) {
  if (q.rank() < 2 || k.rank() < 2 || v.rank() < 2 || q.size(-1) != k.size(-1) || k.size(-2) != v.size(-2))
    fail(op, "queries, keys and values do not match", {{"q", describe(q)}, {"k", describe(k)}, {"v", describe(v)}},
         "q [..., T, hs], k [..., S, hs], v [..., S, vs]", at);
}
}  // namespace detail

template <Floating T, class D>
Tensor<T, D> efficient_attention(const Tensor<T, D>& q, const Tensor<T, D>& k, const Tensor<T, D>& v,
                                 Where at = Where::current()) {
  detail::check_linear_attention("efficient_attention(q, k, v)", q, k, v, at);
  const auto context = matmul(transpose(softmax(k, -2, at), -1, -2, at), v, at);  // [..., hs, vs]
  return matmul(softmax(q, -1, at), context, at);
}
/// With `causal`, T = S, and memory grows with T hs vs: the running sums are kept.
template <Floating T, class D>
Tensor<T, D> linear_attention(const Tensor<T, D>& q, const Tensor<T, D>& k, const Tensor<T, D>& v, bool causal = false,
                              Where at = Where::current()) {
  const char* op = "linear_attention(q, k, v)";
  detail::check_linear_attention(op, q, k, v, at);
  const auto fq = add(elu(q, 1, at), 1, at), fk = add(elu(k, 1, at), 1, at);
  if (!causal) {
    const auto context = matmul(transpose(fk, -1, -2, at), v, at);
    const auto total = sum(mul(fq, sum(fk, {-2}, true, at), at), {-1}, true, at);
    return div(matmul(fq, context, at), total, at);
  }
  if (q.size(-2) != k.size(-2))
    fail(op, "causal with another number of queries than keys", {{"q", describe(q)}, {"k", describe(k)}}, "T = S", at);
  const auto context = cumsum(mul(unsqueeze(fk, -1, at), unsqueeze(v, -2, at), at), -3, false, at);  // [..., T, hs, vs]
  const auto total = sum(mul(fq, cumsum(fk, -2, false, at), at), {-1}, true, at);
  return div(squeeze(matmul(unsqueeze(fq, -2, at), context, at), -2, at), total, at);
}

}  // namespace gradus
