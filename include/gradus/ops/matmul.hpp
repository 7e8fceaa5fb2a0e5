// Matrix products with batches and broadcasting.
//
//   y = a b             da = dy b^T        db = a^T dy        summed over broadcast batch dimensions
//
// Transposed operands are passed to the kernel as such: a linear layer's x w^T copies nothing.
#pragma once
#include <gradus/kernels/matmul.hpp>
#include <gradus/ops/reduce.hpp>

namespace gradus {

namespace detail {

/// The last two dimensions as the kernel wants them: rows at a stride, or the transpose of such a matrix.
template <class T, class D> struct MatOperand {
  Tensor<T, D> x;          // keeps the memory
  bool transposed = false;
  int64_t ld = 0;
};
template <class T, class D> MatOperand<T, D> mat_operand(const Tensor<T, D>& x, Where at) {
  const int r = x.rank();
  const int64_t rows = x.shape()[r - 2], cols = x.shape()[r - 1], sr = x.strides()[r - 2], sc = x.strides()[r - 1];
  if ((sc == 1 || cols == 1) && (sr >= cols || rows == 1)) return {x, false, rows == 1 ? cols : sr};
  if ((sr == 1 || rows == 1) && (sc >= rows || cols == 1)) return {x, true, cols == 1 ? rows : sc};
  return {no_grad([&] { return contiguous(x, at); }), false, cols};
}
/// The batch dimensions of x, broadcast to `batch`, as one stride; false when they are not evenly spaced.
inline bool batch_stride(const AnyTensor& x, const Shape& batch, int64_t& stride) {
  stride = 0;
  int64_t count = 1;
  bool first = true;
  const int lead = batch.n - (x.rank() - 2);
  for (int i = batch.n - 1; i >= 0; --i) {
    if (batch[i] == 1) continue;
    const int64_t s = i < lead || x.shape()[i - lead] == 1 ? 0 : x.strides()[i - lead];
    if (first) stride = s, first = false;
    else if (s != stride * count) return false;
    count *= batch[i];
  }
  return true;
}

/// a [..., M, K] times b [..., K, N], both at least 2-D; no checks, no history.
template <class T, class D> Tensor<T, D> raw_matmul(const Tensor<T, D>& a0, const Tensor<T, D>& b0, const Shape& batch, Where at) {
  auto a = mat_operand(a0, at), b = mat_operand(b0, at);
  const int64_t M = a0.shape()[a0.rank() - 2], K = a0.shape()[a0.rank() - 1], N = b0.shape()[b0.rank() - 1];
  Shape shape = batch;
  shape.push_back(M), shape.push_back(N);
  Tensor<T, D> y(shape, at);
  int64_t n = batch.numel(), sa = 0, sb = 0;
  // A shared right operand: the batch of left operands is one tall matrix.
  if (n > 1 && b0.rank() == 2 && !a.transposed && a.x.is_contiguous() && a.x.numel() == n * M * K) {
    kernels::gemm<T>(D{}, false, b.transposed, n * M, N, K, a.x.data(), a.ld, 0, b.x.data(), b.ld, 0, y.data(), N, 0, 1, false);
    return y;
  }
  const auto even = [&](auto& operand, int64_t& stride) {
    if (batch_stride(operand.x, batch, stride)) return;
    Shape full = batch;
    full.push_back(operand.x.shape()[operand.x.rank() - 2]), full.push_back(operand.x.shape()[operand.x.rank() - 1]);
    operand = {no_grad([&] { return clone(expand(operand.x, full, at), at); }), false, full.back()};
    batch_stride(operand.x, batch, stride);
  };
  even(a, sa), even(b, sb);
  kernels::gemm<T>(D{}, a.transposed, b.transposed, M, N, K, a.x.data(), a.ld, sa, b.x.data(), b.ld, sb, y.data(), N, M * N, n, false);
  return y;
}

}  // namespace detail

template <class T, class D> struct MatmulNode final : Node {
  Saved<T, D> a{this, "a"}, b{this, "b"};
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    if (wants(0)) {
      const auto bt = transpose(b.get(), -1, -2, at);
      accumulate(0, sum_to(matmul(dy, bt, at), a.peek().shape(), at));
    }
    if (wants(1)) {
      const auto x = a.get();
      if (b.peek().rank() == 2 && x.rank() > 2) {   // a shared right operand: one product over all rows
        const auto rows = gradus::reshape(x, {-1, x.size(-1)}, at), dy_rows = gradus::reshape(dy, {-1, dy.size(-1)}, at);
        accumulate(1, matmul(transpose(rows, 0, 1, at), dy_rows, at));
      } else {
        accumulate(1, sum_to(matmul(transpose(x, -1, -2, at), dy, at), b.peek().shape(), at));
      }
    }
  }
};

/// The matrix product: [..., M, K] x [..., K, N] -> [..., M, N], batch dimensions broadcast. A vector on the left is a row,
/// on the right a column, and the dimension disappears from the result.
template <class T, class D> Tensor<T, D> matmul(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  detail::check_defined("matmul", a, at), detail::check_defined("matmul", b, at);
  if (a.rank() == 0 || b.rank() == 0)
    fail("matmul(a, b)", "an operand is a scalar", {{"a", describe(a)}, {"b", describe(b)}}, "at least 1 dimension each", at);
  if (a.rank() == 1) return squeeze(matmul(unsqueeze(a, 0, at), b, at), b.rank() == 1 ? 0 : -2, at);
  if (b.rank() == 1) return squeeze(matmul(a, unsqueeze(b, 1, at), at), -1, at);
  const int64_t K = a.shape()[a.rank() - 1], Kb = b.shape()[b.rank() - 2];
  if (K != Kb)
    fail("matmul(a, b)", "inner dimensions differ", {{"a", describe(a)}, {"b", describe(b)}},
         "b.size(-2) == a.size(-1) == " + std::to_string(K) + ", got " + std::to_string(Kb), at);
  Shape batch_a(a.shape().begin(), static_cast<std::size_t>(a.rank() - 2)), batch_b(b.shape().begin(), static_cast<std::size_t>(b.rank() - 2)), batch;
  if (!broadcast_shapes(batch_a, batch_b, batch)) detail::fail_broadcast("matmul(a, b)", a, b, at);
  Tensor<T, D> y = detail::raw_matmul(a, b, batch, at);
  if constexpr (is_floating<T>) {
    if (detail::wants_grad(a, b)) {
      auto& node = detail::record<MatmulNode<T, D>>(y, at, a, b);
      node.a = a, node.b = b;
    }
  }
  return y;
}
/// Batches of matrices without broadcasting: [B, M, K] x [B, K, N].
template <class T, class D> Tensor<T, D> bmm(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  if (a.rank() != 3 || b.rank() != 3 || a.shape()[0] != b.shape()[0])
    fail("bmm(a, b)", "not two equal batches of matrices", {{"a", describe(a)}, {"b", describe(b)}}, "[B, M, K] and [B, K, N]", at);
  return matmul(a, b, at);
}
/// beta c + alpha a b
template <class T, class D>
Tensor<T, D> addmm(const Tensor<T, D>& c, const Tensor<T, D>& a, const Tensor<T, D>& b, double beta = 1, double alpha = 1, Where at = Where::current()) {
  return add(mul(c, beta, at), mul(matmul(a, b, at), alpha, at), at);
}
/// a_i b_j for vectors
template <class T, class D> Tensor<T, D> outer(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  return mul(unsqueeze(gradus::flatten(a, 0, -1, at), 1, at), unsqueeze(gradus::flatten(b, 0, -1, at), 0, at), at);
}
/// sum_i a_i b_i for vectors
template <class T, class D> Tensor<T, D> dot(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) {
  return sum(mul(a, b, at), {}, false, at);
}
/// x [..., in] times w^T [in, out], plus b [out] if defined: a linear layer.
template <class T, class D>
Tensor<T, D> linear(const Tensor<T, D>& x, const Tensor<T, D>& w, const Tensor<T, D>& b = {}, Where at = Where::current()) {
  detail::check_defined("linear", x, at), detail::check_defined("linear", w, at);
  if (x.rank() < 1 || w.rank() != 2 || x.shape().back() != w.shape()[1])
    fail("linear(x, w)", "the features do not match the weight", {{"x", describe(x)}, {"w", describe(w)}}, "x [..., in] and w [out, in]", at);
  const auto y = matmul(x, transpose(w, 0, 1, at), at);
  return b.defined() ? add(y, b, at) : y;
}

}  // namespace gradus
