// Element-wise kernels: the formulas of kernels/elementwise.hpp in the loops of pointwise.cuh.
// The instantiations are spread over elementwise_*.cu, which include this file, so that they compile side by side.
#ifndef GRADUS_CUDA_ELEMENTWISE
#define GRADUS_CUDA_ELEMENTWISE
#if defined(__CUDACC__)
#pragma nv_diag_suppress 186         // "pointless comparison of unsigned integer with zero": formulas that all integers share
#endif
#include <gradus/kernels/elementwise.hpp>

#include "pointwise.cuh"

namespace gradus::kernels {

namespace cu {
template <class F, class T> struct UnaryOf {
  F op;
  __device__ T operator()(T x) const { return static_cast<T>(op.f(load(x))); }
};
template <class F, class T, class Y> struct BinaryOf {
  F op;
  __device__ Y operator()(T a, T b) const { return static_cast<Y>(op.f(load(a), load(b))); }
};
template <class T> struct WhereOf {
  __device__ T operator()(bool c, T a, T b) const { return c ? a : b; }
};
template <class T> struct ConstantOf {
  T value;
  __device__ T operator()() const { return value; }
};
template <class T, class U> struct ConvertOf {
  __device__ U operator()(T x) const {
    if constexpr (std::is_same_v<U, bool>) return load(x) != compute_t<T>(0);
    else return static_cast<U>(load(x));
  }
};

/// Kernels that only move elements are made for their size, not for their type.
template <std::size_t Bytes> struct WordOf;
template <> struct WordOf<1> { using type = uint8_t; };
template <> struct WordOf<2> { using type = uint16_t; };
template <> struct WordOf<4> { using type = uint32_t; };
template <> struct WordOf<8> { using type = uint64_t; };
template <class T> using Word = typename WordOf<sizeof(T)>::type;
}  // namespace cu

template <class F, class T> void unary(Cuda, F op, const T* x, T* y, const Loop<2>& loop) {
  using namespace cu;
  if constexpr (std::is_same_v<F, Copy>) {
    using W = Word<T>;
    pointwise("unary", UnaryOf<Copy, W>{}, loop, reinterpret_cast<W*>(y), reinterpret_cast<const W*>(x));
  } else {
    pointwise("unary", UnaryOf<F, T>{op}, loop, y, x);
  }
}
template <class F, class T> void binary(Cuda, F op, const T* a, const T* b, T* y, const Loop<3>& loop) {
  cu::pointwise("binary", cu::BinaryOf<F, T, T>{op}, loop, y, a, b);
}
template <class F, class T> void compare(Cuda, F op, const T* a, const T* b, bool* y, const Loop<3>& loop) {
  cu::pointwise("compare", cu::BinaryOf<F, T, bool>{op}, loop, y, a, b);
}

template <class T> void where(Cuda, const bool* c, const T* a, const T* b, T* y, const Loop<4>& loop) {
  using W = cu::Word<T>;
  cu::pointwise("where", cu::WhereOf<W>{}, loop, reinterpret_cast<W*>(y), c, reinterpret_cast<const W*>(a), reinterpret_cast<const W*>(b));
}

template <class T> void fill(Cuda, T* y, T value, const Loop<1>& loop) {
  using W = cu::Word<T>;
  cu::pointwise("fill", cu::ConstantOf<W>{std::bit_cast<W>(value)}, loop, reinterpret_cast<W*>(y));
}

template <class T, class U> void convert(Cuda, const T* x, U* y, const Loop<2>& loop) {
  cu::pointwise("convert", cu::ConvertOf<T, U>{}, loop, y, x);
}

}  // namespace gradus::kernels
#endif
