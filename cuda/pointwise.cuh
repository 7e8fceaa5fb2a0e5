// Loops over elements: y[i] = f(x0[i], x1[i], ...) with the strides of a Loop. Element-wise kernels, conversions, copies,
// fills, dropout and map() all go through here.
//
//   pointwise_reference  one thread an element; its offsets are computed from the index, dimension by dimension
//   pointwise_packed     one thread 16 bytes: neighbouring elements are read and written at once, and the division of the index
//   is
//                        shared by all of them. Taken where every innermost stride is 1, or 0 for an operand that is broadcast
//                        along the row, and rows start at multiples of 16 bytes
#pragma once
#include <algorithm>
#include <utility>

#include <gradus/core/kernel_choice.hpp>
#include <gradus/kernels/loop.hpp>

#include "kernel.cuh"

#if !defined(__CUDACC__)
#define __grid_constant__            // parameters are memory on the emulated device
#endif

namespace gradus::kernels::cu {

enum class Pointwise { reference, packed };
inline KernelChoice<Pointwise> pointwise_by{"pointwise", {"reference", "packed"}};

/// A Loop as kernels read it: dimension 0 is the innermost.
template <int K> struct Nest {
  int64_t n;
  int rank;
  bool narrow;                                   // indices fit 32 bits, whose division is several times as fast
  int64_t shape[kMaxRank], stride[K][kMaxRank];
};
template <int K> Nest<K> nest_of(const Loop<K>& l) {
  Nest<K> m{};
  m.n = l.n, m.rank = l.rank, m.narrow = l.n <= 0x7fffffff;
  for (int d = 0; d < l.rank; ++d) {
    m.shape[d] = l.shape[l.rank - 1 - d];
    for (int k = 0; k < K; ++k) m.stride[k][d] = l.stride[k][l.rank - 1 - d];
  }
  return m;
}
template <int K> struct Offsets {
  int64_t at[K];
};
/// Where element i of the nest is in each operand. The nest is read from the parameters' constant memory (__grid_constant__),
/// where an index that is not known to the compiler costs nothing.
template <int K> __device__ inline Offsets<K> offsets_of(const Nest<K>& m, int64_t i) {
  Offsets<K> o;
  const auto walk = [&](auto rest) {
    using I = decltype(rest);
    for (int d = 0; d + 1 < m.rank; ++d) {
      const I extent = static_cast<I>(m.shape[d]), next = rest / extent, index = rest - next * extent;
      for (int k = 0; k < K; ++k) o.at[k] += static_cast<int64_t>(index) * m.stride[k][d];
      rest = next;
    }
    for (int k = 0; k < K; ++k) o.at[k] += static_cast<int64_t>(rest) * m.stride[k][m.rank - 1];
  };
  for (int k = 0; k < K; ++k) o.at[k] = 0;
  if (m.narrow) walk(static_cast<uint32_t>(i));
  else walk(i);
  return o;
}

/// V neighbouring elements, in one transaction.
template <class T, int V> struct alignas(sizeof(T) * V) Pack {
  T v[V];
};
template <int V, class T> __device__ Pack<T, V> load_pack(const T* p, int64_t stride) {
  if (stride != 0) return *reinterpret_cast<const Pack<T, V>*>(p);
  Pack<T, V> same;
  const T v = *p;
  GRADUS_UNROLL(16)
  for (int j = 0; j < V; ++j) same.v[j] = v;
  return same;
}

/// What a kernel gets, as one argument: f, the result, the operands. `tail`: elements of the last pack.
template <class F, int K> struct PointwiseArguments {
  F f;
  void* y;
  const void* x[K > 1 ? K - 1 : 1];
  int tail;
  Nest<K> nest;
};

/// y = f(x...), element by element.
template <class F, class Y, class... X>
__global__ void pointwise_reference(const __grid_constant__ PointwiseArguments<F, 1 + sizeof...(X)> a) {
  const int64_t i = thread_in_grid();
  if (i >= a.nest.n) return;
  const auto o = offsets_of(a.nest, i);
  [&]<std::size_t... J>(std::index_sequence<J...>) {
    static_cast<Y*>(a.y)[o.at[0]] = a.f(static_cast<const X*>(a.x[J])[o.at[J + 1]]...);
  }(std::index_sequence_for<X...>{});
}

/// The same for V elements a thread. `nest` counts packs, its innermost strides are V or 0.
template <int V, class F, class Y, class... X>
__global__ void pointwise_packed(const __grid_constant__ PointwiseArguments<F, 1 + sizeof...(X)> a) {
  const int64_t i = thread_in_grid();
  if (i >= a.nest.n) return;
  const auto o = offsets_of(a.nest, i);
  Y* const y = static_cast<Y*>(a.y) + o.at[0];
  [&]<std::size_t... J>(std::index_sequence<J...>) {
    if (a.tail != V && i == a.nest.n - 1) {
      for (int j = 0; j < a.tail; ++j)
        y[j] = a.f(static_cast<const X*>(a.x[J])[o.at[J + 1] + (a.nest.stride[J + 1][0] ? j : 0)]...);
      return;
    }
    const auto each = [&](const auto&... p) {
      Pack<Y, V> out;
      GRADUS_UNROLL(16)
      for (int j = 0; j < V; ++j) out.v[j] = a.f(p.v[j]...);
      *reinterpret_cast<Pack<Y, V>*>(y) = out;
    };
    each(load_pack<V>(static_cast<const X*>(a.x[J]) + o.at[J + 1], a.nest.stride[J + 1][0])...);
  }(std::index_sequence_for<X...>{});
}

/// Makes `nest` count packs of V; false where the loop does not allow it.
template <int V, int K> bool count_packs(Nest<K>& nest, int& tail) {
  const int64_t inner = nest.shape[0];
  if (nest.rank > 1 && inner % V != 0) return false;
  for (int k = 0; k < K; ++k) {
    const bool moves = nest.stride[k][0] == 1;
    if (!moves && (k == 0 || nest.stride[k][0] != 0)) return false;
    for (int d = 1; moves && d < nest.rank; ++d)
      if (nest.stride[k][d] % V != 0) return false;
  }
  for (int k = 0; k < K; ++k) nest.stride[k][0] *= V;
  nest.shape[0] = (inner + V - 1) / V;
  nest.n = nest.n / inner * nest.shape[0];
  tail = inner % V == 0 ? V : static_cast<int>(inner % V);
  return true;
}

/// y = f(x...) over `loop`, whose operand 0 is y.
template <class F, class Y, class... X>
void pointwise(const char* op, F f, const Loop<1 + sizeof...(X)>& loop, Y* y, const X*... x) {
  if (loop.n == 0) return;
  constexpr std::size_t widest = std::max({sizeof(Y), sizeof(X)...});
  constexpr int V = static_cast<int>(16 / widest);
  PointwiseArguments<F, 1 + sizeof...(X)> a{f, y, {x...}, V, nest_of(loop)};
  const auto aligned = [](auto* p) { return reinterpret_cast<uintptr_t>(p) % (sizeof(*p) * V) == 0; };
  if (V > 1 && pointwise_by.or_else(Pointwise::packed) == Pointwise::packed && aligned(y) && (aligned(x) && ...) &&
      count_packs<V>(a.nest, a.tail))
    enqueue(op, pointwise_packed<V, F, Y, X...>, {blocks_for(a.nest.n, kThreads)}, a);
  else
    enqueue(op, pointwise_reference<F, Y, X...>, {blocks_for(a.nest.n, kThreads)}, a);
}

}  // namespace gradus::kernels::cu
