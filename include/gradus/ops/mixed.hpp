// Operands of different devices or dtypes: a compile error of one line that says what to write, instead of a list of candidates.
#pragma once
#include <gradus/tensor/tensor.hpp>

namespace gradus {
namespace detail {

template <class A, class B> inline constexpr bool always_false = false;
template <class T, class D, class U, class E> constexpr void refuse_mixed() {
  if constexpr (!std::is_same_v<D, E>)
    static_assert(always_false<D, E>, "gradus: the operands are on different devices; copy one of them with x.to<Cuda>() or x.to<Cpu>()");
  else
    static_assert(always_false<T, U>, "gradus: the operands have different dtypes; convert one of them, as in x.to<float>()");
}
template <class T, class D, class U, class E> concept Mixed = !std::is_same_v<D, E> || !std::is_same_v<T, U>;

}  // namespace detail

// clang-format off
template <class T, class D, class U, class E> requires detail::Mixed<T, D, U, E> Tensor<T, D> operator+(const Tensor<T, D>& a, const Tensor<U, E>&) { detail::refuse_mixed<T, D, U, E>(); return a; }
template <class T, class D, class U, class E> requires detail::Mixed<T, D, U, E> Tensor<T, D> operator-(const Tensor<T, D>& a, const Tensor<U, E>&) { detail::refuse_mixed<T, D, U, E>(); return a; }
template <class T, class D, class U, class E> requires detail::Mixed<T, D, U, E> Tensor<T, D> operator*(const Tensor<T, D>& a, const Tensor<U, E>&) { detail::refuse_mixed<T, D, U, E>(); return a; }
template <class T, class D, class U, class E> requires detail::Mixed<T, D, U, E> Tensor<T, D> operator/(const Tensor<T, D>& a, const Tensor<U, E>&) { detail::refuse_mixed<T, D, U, E>(); return a; }
template <class T, class D, class U, class E> requires detail::Mixed<T, D, U, E> Tensor<T, D> add(const Tensor<T, D>& a, const Tensor<U, E>&, Where = Where::current()) { detail::refuse_mixed<T, D, U, E>(); return a; }
template <class T, class D, class U, class E> requires detail::Mixed<T, D, U, E> Tensor<T, D> sub(const Tensor<T, D>& a, const Tensor<U, E>&, Where = Where::current()) { detail::refuse_mixed<T, D, U, E>(); return a; }
template <class T, class D, class U, class E> requires detail::Mixed<T, D, U, E> Tensor<T, D> mul(const Tensor<T, D>& a, const Tensor<U, E>&, Where = Where::current()) { detail::refuse_mixed<T, D, U, E>(); return a; }
template <class T, class D, class U, class E> requires detail::Mixed<T, D, U, E> Tensor<T, D> div(const Tensor<T, D>& a, const Tensor<U, E>&, Where = Where::current()) { detail::refuse_mixed<T, D, U, E>(); return a; }
template <class T, class D, class U, class E> requires detail::Mixed<T, D, U, E> Tensor<T, D> matmul(const Tensor<T, D>& a, const Tensor<U, E>&, Where = Where::current()) { detail::refuse_mixed<T, D, U, E>(); return a; }
template <class T, class D, class U, class E> requires detail::Mixed<T, D, U, E> Tensor<T, D> maximum(const Tensor<T, D>& a, const Tensor<U, E>&, Where = Where::current()) { detail::refuse_mixed<T, D, U, E>(); return a; }
template <class T, class D, class U, class E> requires detail::Mixed<T, D, U, E> Tensor<T, D> minimum(const Tensor<T, D>& a, const Tensor<U, E>&, Where = Where::current()) { detail::refuse_mixed<T, D, U, E>(); return a; }
// clang-format on

}  // namespace gradus
