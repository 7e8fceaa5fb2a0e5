// Convolution as a matrix product whose operand is read from the image as it is needed (implicit GEMM): no unfolded copy of x.
//
//   pass        M         N             K              A (m, k)      B (k, n)                       C (m, n)
//   forward     K/groups  images*out    C/groups*taps  w             x under tap k at output n      y, and the bias
//   data        C/groups  images*in     K/groups*taps  w             dy that tap k takes to n       dx
//   weight      K/groups  C/groups*taps images*out     dy            x under tap n at output k      dw, in chunks of K
//
// reference and implicit_gemm run the same products through the two kernels of tiles.cuh; 1x1 convolutions of stride 1 are
// plain matrix products and go to the BLAS. The chunks of the weight gradient depend on the shapes only and are added in order.
#include <algorithm>

#include <gradus/core/kernel_choice.hpp>
#include <gradus/kernels/conv.hpp>
#include <gradus/kernels/matmul.hpp>

#include "tiles.cuh"

namespace gradus::kernels {
namespace cu {

enum class Conv { reference, implicit_gemm, blas };
static KernelChoice<Conv> conv_by{"conv", {"reference", "implicit_gemm", "blas"}};

/// The geometry with indices of type I, whose divisions are several times as fast for int32_t.
template <class I> struct ConvGrid {
  I C, K, Cg, Kg, taps, in_size, out_size;
  I in[3], out[3], kernel[3], stride[3], pad[3], dilation[3];
  explicit ConvGrid(const ConvDims& d)
      : C(static_cast<I>(d.C)), K(static_cast<I>(d.K)), Cg(static_cast<I>(d.C / d.groups)), Kg(static_cast<I>(d.K / d.groups)),
        taps(static_cast<I>(d.taps())), in_size(static_cast<I>(d.in_size())), out_size(static_cast<I>(d.out_size())) {
    for (int a = 0; a < 3; ++a) {
      in[a] = static_cast<I>(d.in[a]), out[a] = static_cast<I>(d.out[a]), kernel[a] = static_cast<I>(d.kernel[a]);
      stride[a] = static_cast<I>(d.stride[a]), pad[a] = static_cast<I>(d.pad[a]), dilation[a] = static_cast<I>(d.dilation[a]);
    }
  }
  /// Index into the input plane of output o under tap r, -1 outside.
  __device__ I under(I o, I r) const {
    I at = 0, unit = 1;
    GRADUS_UNROLL(3)
    for (int a = 2; a >= 0; --a) {
      const I i = o % out[a] * stride[a] - pad[a] + r % kernel[a] * dilation[a];
      if (i < 0 || i >= in[a]) return -1;
      at += i * unit, unit *= in[a];
      o /= out[a], r /= kernel[a];
    }
    return at;
  }
  /// Index into the output plane of the output that reads input i under tap r, -1 when there is none.
  __device__ I reader(I i, I r) const {
    I at = 0, unit = 1;
    GRADUS_UNROLL(3)
    for (int a = 2; a >= 0; --a) {
      const I t = i % in[a] + pad[a] - r % kernel[a] * dilation[a];
      if (t < 0 || t % stride[a] != 0 || t / stride[a] >= out[a]) return -1;
      at += t / stride[a] * unit, unit *= out[a];
      i /= in[a], r /= kernel[a];
    }
    return at;
  }
};

template <class T, class I> struct ConvForward {
  using acc_t = T;
  int64_t M, N, K, first;
  ConvGrid<I> g;
  const T *x, *w, *bias;
  T* y;
  __device__ T a(int64_t z, int64_t m, int64_t k) const { return w[(z * M + m) * K + k]; }
  __device__ T b(int64_t z, int64_t k, int64_t n) const {
    const I image = static_cast<I>(n) / g.out_size, c = static_cast<I>(k) / g.taps;
    const I at = g.under(static_cast<I>(n) - image * g.out_size, static_cast<I>(k) - c * g.taps);
    return at < 0 ? T(0) : x[(static_cast<int64_t>(image) * g.C + z * g.Cg + c) * g.in_size + at];
  }
  __device__ void store(int64_t z, int64_t m, int64_t n, T sum) const {
    const int64_t image = n / g.out_size, o = n % g.out_size, k = z * M + m;
    y[(image * g.K + k) * g.out_size + o] = bias ? sum + bias[k] : sum;
  }
};

template <class T, class I> struct ConvData {
  using acc_t = T;
  int64_t M, N, K, first;
  ConvGrid<I> g;
  const T *dy, *w;
  T* dx;
  __device__ T a(int64_t z, int64_t m, int64_t k) const {
    const int64_t channel = k / g.taps;
    return w[((z * g.Kg + channel) * M + m) * g.taps + (k - channel * g.taps)];
  }
  __device__ T b(int64_t z, int64_t k, int64_t n) const {
    const I image = static_cast<I>(n) / g.in_size, channel = static_cast<I>(k) / g.taps;
    const I at = g.reader(static_cast<I>(n) - image * g.in_size, static_cast<I>(k) - channel * g.taps);
    return at < 0 ? T(0) : dy[(static_cast<int64_t>(image) * g.K + z * g.Kg + channel) * g.out_size + at];
  }
  __device__ void store(int64_t z, int64_t m, int64_t n, T sum) const {
    const int64_t image = n / g.in_size, i = n % g.in_size;
    dx[(image * g.C + z * M + m) * g.in_size + i] = sum;
  }
};

/// z = group * chunks + chunk; chunk s sums the products k in [s length, (s+1) length) into layer s of `sums` : [chunks, K,
/// C/groups, taps].
template <class T, class I> struct ConvWeight {
  using acc_t = T;
  int64_t M, N, K, first;
  ConvGrid<I> g;
  int64_t chunks, total, layer;
  const T *x, *dy;
  T* sums;
  __device__ T a(int64_t z, int64_t m, int64_t k0) const {
    const int64_t k = z % chunks * K + k0;
    if (k >= total) return T(0);
    const I image = static_cast<I>(k) / g.out_size;
    return dy[(static_cast<int64_t>(image) * g.K + z / chunks * M + m) * g.out_size + (static_cast<I>(k) - image * g.out_size)];
  }
  __device__ T b(int64_t z, int64_t k0, int64_t n) const {
    const int64_t k = z % chunks * K + k0;
    if (k >= total) return T(0);
    const I image = static_cast<I>(k) / g.out_size, c = static_cast<I>(n) / g.taps;
    const I at = g.under(static_cast<I>(k) - image * g.out_size, static_cast<I>(n) - c * g.taps);
    return at < 0 ? T(0) : x[(static_cast<int64_t>(image) * g.C + z / chunks * g.Cg + c) * g.in_size + at];
  }
  __device__ void store(int64_t z, int64_t m, int64_t n, T sum) const {
    sums[z % chunks * layer + (z / chunks * M + m) * N + n] = sum;
  }
};
template <class T> __global__ void add_layers(const T* sums, T* y, int64_t layer, int64_t chunks) {
  const int64_t i = thread_in_grid();
  if (i >= layer) return;
  T sum = 0;
  for (int64_t s = 0; s < chunks; ++s) sum += sums[s * layer + i];
  y[i] = sum;
}
/// y[n, k, o] += bias[k]
template <class T> __global__ void add_bias(T* y, const T* bias, int64_t size, int64_t K, int64_t out_size) {
  const int64_t i = thread_in_grid();
  if (i < size) y[i] += bias[i / out_size % K];
}

inline bool is_product(const ConvDims& d) {
  for (int a = 0; a < 3; ++a)
    if (d.kernel[a] != 1 || d.stride[a] != 1 || d.pad[a] != 0 || d.in[a] != d.out[a]) return false;
  return true;
}
/// Whether all indices, halo included, fit 31 bits.
inline bool is_narrow(const ConvDims& d) {
  const int64_t limit = 0x7fffffff, taps = d.taps();
  int64_t reach = 0;
  for (int a = 0; a < 3; ++a)
    reach = std::max(reach, d.in[a] + 2 * d.pad[a] + d.kernel[a] * d.dilation[a] + d.out[a] * d.stride[a]);
  return d.N * d.in_size() <= limit && d.N * d.out_size() <= limit && d.C * taps <= limit && d.K * taps <= limit &&
         reach <= limit;
}

template <class I, class T> void forward(const T* x, const T* w, const T* bias, T* y, const ConvDims& d, bool tiled) {
  product("conv_fwd",
          ConvForward<T, I>{d.K / d.groups, d.N * d.out_size(), d.C / d.groups * d.taps(), 0, ConvGrid<I>(d), x, w, bias, y},
          d.groups, tiled);
}
template <class I, class T> void data(const T* dy, const T* w, T* dx, const ConvDims& d, bool tiled) {
  product("conv_bwd_data",
          ConvData<T, I>{d.C / d.groups, d.N * d.in_size(), d.K / d.groups * d.taps(), 0, ConvGrid<I>(d), dy, w, dx}, d.groups,
          tiled);
}
template <class I, class T> void weight(const T* x, const T* dy, T* dw, const ConvDims& d, bool tiled) {
  const int64_t M = d.K / d.groups, N = d.C / d.groups * d.taps(), total = d.N * d.out_size(), layer = d.K * N;
  // Enough blocks to fill a large GPU, of at least 1024 products each.
  const int64_t tiles = blocks_for(M, kTile) * blocks_for(N, kTile) * d.groups;
  const int64_t wanted = std::clamp<int64_t>(512 / tiles, 1, std::max<int64_t>(blocks_for(total, 1024), 1)),
                length = blocks_for(total, wanted);
  const int64_t chunks = std::max<int64_t>(length > 0 ? blocks_for(total, length) : 1, 1);
  Scratch<T> sums(chunks > 1 ? chunks * layer : 1);
  T* const to = chunks > 1 ? sums.data() : dw;
  product("conv_bwd_weight", ConvWeight<T, I>{M, N, length, 0, ConvGrid<I>(d), chunks, total, layer, x, dy, to},
          d.groups * chunks, tiled);
  if (chunks > 1) enqueue("conv_bwd_weight", add_layers<T>, {blocks_for(layer, kThreads)}, sums.data(), dw, layer, chunks);
}

}  // namespace cu

template <class T> void conv_fwd(Cuda, const T* x, const T* w, const T* bias, T* y, const ConvDims& d) {
  using namespace cu;
  const Conv by = conv_by.or_else(is_product(d) ? Conv::blas : Conv::implicit_gemm);
  if (by == Conv::blas && is_product(d)) {
    const int64_t S = d.in_size(), Kg = d.K / d.groups, Cg = d.C / d.groups;
    for (int64_t g = 0; g < d.groups; ++g)       // y[n] = w x[n]
      gemm<T>(Cuda{}, false, false, Kg, S, Cg, w + g * Kg * Cg, Cg, 0, x + g * Cg * S, S, d.C * S, y + g * Kg * S, S, d.K * S,
              d.N, false);
    if (bias) enqueue("conv_fwd", add_bias<T>, {blocks_for(d.N * d.K * S, kThreads)}, y, bias, d.N * d.K * S, d.K, S);
    return;
  }
  if (is_narrow(d)) forward<int32_t>(x, w, bias, y, d, by != Conv::reference);
  else forward<int64_t>(x, w, bias, y, d, by != Conv::reference);
}

template <class T> void conv_bwd_data(Cuda, const T* dy, const T* w, T* dx, const ConvDims& d) {
  using namespace cu;
  const Conv by = conv_by.or_else(is_product(d) ? Conv::blas : Conv::implicit_gemm);
  if (by == Conv::blas && is_product(d)) {
    const int64_t S = d.in_size(), Kg = d.K / d.groups, Cg = d.C / d.groups;
    for (int64_t g = 0; g < d.groups; ++g)       // dx[n] = w^T dy[n]
      gemm<T>(Cuda{}, true, false, Cg, S, Kg, w + g * Kg * Cg, Cg, 0, dy + g * Kg * S, S, d.K * S, dx + g * Cg * S, S, d.C * S,
              d.N, false);
    return;
  }
  if (is_narrow(d)) data<int32_t>(dy, w, dx, d, by != Conv::reference);
  else data<int64_t>(dy, w, dx, d, by != Conv::reference);
}

template <class T> void conv_bwd_weight(Cuda, const T* x, const T* dy, T* dw, const ConvDims& d) {
  using namespace cu;
  const bool tiled = conv_by.or_else(Conv::implicit_gemm) != Conv::reference;
  if (d.K * d.C * d.taps() == 0) return;
  if (d.N * d.out_size() == 0) return zero(dw, d.K * (d.C / d.groups) * d.taps());
  if (is_narrow(d)) weight<int32_t>(x, dy, dw, d, tiled);
  else weight<int64_t>(x, dy, dw, d, tiled);
}

template void conv_fwd<float>(Cuda, const float*, const float*, const float*, float*, const ConvDims&);
template void conv_fwd<double>(Cuda, const double*, const double*, const double*, double*, const ConvDims&);
template void conv_bwd_data<float>(Cuda, const float*, const float*, float*, const ConvDims&);
template void conv_bwd_data<double>(Cuda, const double*, const double*, double*, const ConvDims&);
template void conv_bwd_weight<float>(Cuda, const float*, const float*, float*, const ConvDims&);
template void conv_bwd_weight<double>(Cuda, const double*, const double*, double*, const ConvDims&);

}  // namespace gradus::kernels
