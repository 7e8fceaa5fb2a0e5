// Convolution without a column matrix.
//
// A band of output rows of one image is a matrix product Y[M x J] = W[M x k] B[k x J], k = (channel, tap). The input rows
// that the band needs are copied once into a zero-padded buffer, split by stride phase (x mod stride), so that row k of B is
// the buffer itself, read from a tap's offset on: B[k][j] = buffer[offset[k] + j]. j runs over the padded rows end to end;
// the few positions between two output rows are computed and dropped. So the inner loop is a GEMM register tile that has
// nothing to pack, for every kernel size, stride and dilation.
//
// The gradient with respect to the input is the same loop: dx at the positions of one stride phase is a stride-1 convolution
// of dy with the taps that reach that phase. The weight gradient broadcasts x and takes vectors along the output channels.
// An output element is summed in an order that depends on the shapes alone, never on tiles or threads.
#ifndef GRADUS_CPU_CONV
#define GRADUS_CPU_CONV
#pragma GCC diagnostic push
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12 reports its own AVX-512 header (bug 105593)
#endif
#include <Eigen/Core>
#pragma GCC diagnostic pop
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <gradus/core/memory.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/conv.hpp>

#include "pragmas.hpp"

namespace gradus::kernels {
namespace detail {

template <class T>
struct ConvSimd {
  using Packet = typename Eigen::internal::packet_traits<T>::type;
  static constexpr int W = Eigen::internal::unpacket_traits<Packet>::size;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"
  using Block = Eigen::internal::PacketBlock<Packet, W>;
#pragma GCC diagnostic pop
  /// Accumulators of a register tile; what is left of the registers holds operands.
  static constexpr int acc = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32 ? 24 : 12;
  static constexpr int rows = acc / 3;  // rows of a full tile, 3 vectors wide
  static Packet load(const T* p) { return Eigen::internal::ploadu<Packet>(p); }
  static Packet set(T v) { return Eigen::internal::pset1<Packet>(v); }
  static void store(T* p, Packet v) { Eigen::internal::pstoreu(p, v); }
  static Packet fma(Packet a, Packet b, Packet c) { return Eigen::internal::pmadd(a, b, c); }
};

/// Uninitialised memory from the library's allocator.
template <class T>
struct ConvScratch {
  T* p;
  std::size_t bytes;
  explicit ConvScratch(int64_t n)
      : p(static_cast<T*>(gradus::detail::pool_alloc(std::max<int64_t>(n, 1) * sizeof(T)))),
        bytes(std::max<int64_t>(n, 1) * sizeof(T)) {}
  ~ConvScratch() { gradus::detail::pool_free(p, bytes); }
  ConvScratch(const ConvScratch&) = delete;
};

inline int64_t conv_ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }

// ---------------------------------------------------------------------------------------------- geometry

/// One axis of a convolution: output o reads source[o*step + tap_src[t]] times weight tap_w[t], and is written at
/// o*dst_step + dst_off.
struct ConvAxis {
  int64_t out = 1, src = 1, dst = 1, step = 1, dst_step = 1, dst_off = 0;
  std::vector<int64_t> tap_src, tap_w;
  // Set by split(): source[lo + (q*step + phase)] is element q of the plane of that phase.
  int64_t lo = 0, max_shift = 0;
  std::vector<int64_t> phases, phase_of, shift;

  int64_t taps() const { return static_cast<int64_t>(tap_src.size()); }
  void split() {
    lo = tap_src.empty() ? 0 : *std::min_element(tap_src.begin(), tap_src.end());
    for (const int64_t s : tap_src) {
      const int64_t phase = (s - lo) % step;
      auto at = std::find(phases.begin(), phases.end(), phase);
      if (at == phases.end()) at = phases.insert(at, phase);
      phase_of.push_back(at - phases.begin());
      shift.push_back((s - lo) / step);
      max_shift = std::max(max_shift, shift.back());
    }
  }
};

struct ConvGeometry {
  ConvAxis axis[3];
  int64_t C = 0;                                   // source channels of a group
  int64_t band_h = 1, band_w = 1, pitch = 0;       // rows and columns of a full band; elements of a buffer row
  int64_t plane = 0, tap_d_size = 0, channel = 0;  // elements of a phase plane, of all phases, of a channel
  int64_t bands_h = 1, bands_w = 1;

  int64_t taps() const { return axis[0].taps() * axis[1].taps() * axis[2].taps(); }
  int64_t dst_size() const { return axis[0].dst * axis[1].dst * axis[2].dst; }
  int64_t src_size() const { return axis[0].src * axis[1].src * axis[2].src; }

  void set_bands(int64_t rows, int64_t columns) {
    band_h = rows, band_w = columns;
    bands_h = conv_ceil(axis[1].out, rows), bands_w = conv_ceil(axis[2].out, columns);
    pitch = columns + axis[2].max_shift;
    plane = (rows + axis[1].max_shift) * pitch;
    tap_d_size = plane * static_cast<int64_t>(axis[1].phases.size() * axis[2].phases.size());
    // An odd number of cache lines, so that the channels of a tile do not share the cache's sets.
    channel = (conv_ceil(axis[0].taps() * tap_d_size, 16) | 1) * 16;
  }
  /// offset[k], k = (channel, tap), into the buffer
  std::vector<int64_t> offsets(int64_t channels) const {
    std::vector<int64_t> o;
    const int64_t phases_w = static_cast<int64_t>(axis[2].phases.size());
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t d = 0; d < axis[0].taps(); ++d)
        for (int64_t h = 0; h < axis[1].taps(); ++h)
          for (int64_t w = 0; w < axis[2].taps(); ++w)
            o.push_back(c * channel + d * tap_d_size + (axis[1].phase_of[h] * phases_w + axis[2].phase_of[w]) * plane +
                        axis[1].shift[h] * pitch + axis[2].shift[w]);
    return o;
  }
};

/// A piece of work: output rows [h, h+nh) and columns [w, w+nw) of slice d of image n, group g.
struct ConvUnit {
  int64_t n, g, d, h, w, nh, nw;
};
inline ConvUnit conv_unit(const ConvGeometry& geo, int64_t groups, int64_t i) {
  ConvUnit u;
  u.w = i % geo.bands_w * geo.band_w, i /= geo.bands_w;
  u.h = i % geo.bands_h * geo.band_h, i /= geo.bands_h;
  u.d = i % geo.axis[0].out, i /= geo.axis[0].out;
  u.g = i % groups, u.n = i / groups;
  u.nh = std::min(geo.band_h, geo.axis[1].out - u.h), u.nw = std::min(geo.band_w, geo.axis[2].out - u.w);
  return u;
}

/// The axes of y = conv(x, w).
inline ConvGeometry conv_forward_geometry(const ConvDims& dims) {
  ConvGeometry geo;
  geo.C = dims.C / dims.groups;
  for (int a = 0; a < 3; ++a) {
    ConvAxis& x = geo.axis[a];
    x.out = x.dst = dims.out[a], x.src = dims.in[a], x.step = dims.stride[a];
    for (int64_t t = 0; t < dims.kernel[a]; ++t) x.tap_src.push_back(t * dims.dilation[a] - dims.pad[a]), x.tap_w.push_back(t);
    x.split();
  }
  return geo;
}

/// The axis of dx for the inputs i with (i + pad) mod stride = phase: i = q*stride + phase - pad, and tap r with
/// r*dilation = phase (mod stride) reads dy[q - (r*dilation - phase)/stride].
inline ConvAxis conv_backward_axis(const ConvDims& dims, int a, int64_t phase) {
  ConvAxis x;
  const int64_t s = dims.stride[a], first = std::max<int64_t>(0, conv_ceil(std::max<int64_t>(dims.pad[a] - phase, 0), s));
  x.dst = dims.in[a], x.src = dims.out[a], x.dst_step = s, x.dst_off = first * s + phase - dims.pad[a];
  x.out = x.dst_off < x.dst ? (x.dst - 1 - x.dst_off) / s + 1 : 0;
  for (int64_t r = 0; r < dims.kernel[a]; ++r) {
    const int64_t at = r * dims.dilation[a] - phase;
    if (at % s == 0) x.tap_src.push_back(first - at / s), x.tap_w.push_back(r);
  }
  x.split();
  return x;
}

// ---------------------------------------------------------------------------------------------- buffers

/// n elements from s to d in whole vectors: may write up to W-1 more. Reads past `end` are avoided.
template <class T>
inline void conv_copy(T* d, const T* s, int64_t n, const T* end) {
  using S = ConvSimd<T>;
  if (s + conv_ceil(n, S::W) * S::W <= end)
    for (int64_t i = 0; i < n; i += S::W) S::store(d + i, S::load(s + i));
  else
    for (int64_t i = 0; i < n; ++i) d[i] = s[i];
}
template <class T>
inline void conv_zero(T* d, int64_t n) {
  using S = ConvSimd<T>;
  for (int64_t i = 0; i < n; i += S::W) S::store(d + i, S::set(T(0)));
}

/// Fills the buffer for unit u with channels [0, channels) of src (channel 0 of the unit's image and group). Rows are
/// written in ascending order, because each may spill into the next.
template <class T>
void conv_fill(const ConvGeometry& geo, const ConvUnit& u, const T* src, int64_t channels, const T* src_end, T* buffer) {
  const ConvAxis &D = geo.axis[0], &H = geo.axis[1], &W = geo.axis[2];
  const int64_t rows = u.nh + H.max_shift, columns = u.nw + W.max_shift;
  for (int64_t c = 0; c < channels; ++c) {
    T* plane = buffer + c * geo.channel;
    for (const int64_t tap_d : D.tap_src) {
      const int64_t d = u.d * D.step + tap_d;
      const bool inside = d >= 0 && d < D.src;
      const T* slice = src + (c * D.src + d) * H.src * W.src;
      for (const int64_t phase_h : H.phases)
        for (const int64_t phase_w : W.phases) {
          // Columns q with 0 <= start + q*step < W.src are [lo, hi).
          const int64_t start = u.w * W.step + W.lo + phase_w;
          const int64_t lo = std::clamp<int64_t>(start < 0 ? conv_ceil(-start, W.step) : 0, 0, columns);
          const int64_t hi = std::clamp<int64_t>(start < W.src ? conv_ceil(W.src - start, W.step) : 0, lo, columns);
          for (int64_t q = 0; q < rows; ++q) {
            T* row = plane + q * geo.pitch;
            const int64_t h = (u.h + q) * H.step + H.lo + phase_h;
            if (!inside || h < 0 || h >= H.src) {
              conv_zero(row, columns);
              continue;
            }
            const T* s = slice + h * W.src + start;
            if (lo > 0) conv_zero(row, lo);
            if (W.step == 1) conv_copy(row + lo, s + lo, hi - lo, src_end);
            else
              for (int64_t i = lo; i < hi; ++i) row[i] = s[i * W.step];
            if (hi < columns) conv_zero(row + hi, columns - hi);
          }
          plane += geo.plane;
        }
    }
  }
}

/// Rows of the band from tile (pitch geo.pitch) to one channel of the destination, plus bias.
template <class T>
void conv_emit(const ConvGeometry& geo, const ConvUnit& u, const T* tile, T bias, T* dst) {
  using S = ConvSimd<T>;
  const ConvAxis &D = geo.axis[0], &H = geo.axis[1], &W = geo.axis[2];
  T* slice = dst + (u.d * D.dst_step + D.dst_off) * H.dst * W.dst;
  const auto row_of = [&](int64_t r) {
    return slice + ((u.h + r) * H.dst_step + H.dst_off) * W.dst + u.w * W.dst_step + W.dst_off;
  };
  if (W.dst_step != 1 || H.dst_step != 1) {
    for (int64_t r = 0; r < u.nh; ++r) {
      T* __restrict row = row_of(r);
      const T* __restrict t = tile + r * geo.pitch;
      for (int64_t i = 0; i < u.nw; ++i) row[i * W.dst_step] = t[i] + bias;
    }
    return;
  }
  // Whole vectors where what they write beyond the row is a later row of this band.
  const T* band_end = u.nw == W.dst ? row_of(u.nh - 1) + u.nw : nullptr;
  const auto b = S::set(bias);
  for (int64_t r = 0; r < u.nh; ++r) {
    T* row = row_of(r);
    const T* t = tile + r * geo.pitch;
    if (row + conv_ceil(u.nw, S::W) * S::W <= band_end)
      for (int64_t i = 0; i < u.nw; i += S::W) S::store(row + i, Eigen::internal::padd(S::load(t + i), b));
    else
      for (int64_t i = 0; i < u.nw; ++i) row[i] = t[i] + bias;
  }
}

// ---------------------------------------------------------------------------------------------- register tiles

/// c[MR x NV*W] = sum_k a[k][MR] b[offset[k] ...]
template <class T, int MR, int NV>
void conv_tile(int64_t k_n, const T* __restrict a, const int64_t* __restrict offset, const T* __restrict b, T* __restrict c,
               int64_t ldc) {
  using S = ConvSimd<T>;
  typename S::Packet acc[MR][NV];
  GRADUS_UNROLL(32)
  for (int i = 0; i < MR; ++i)
    GRADUS_UNROLL(32)
    for (int v = 0; v < NV; ++v) acc[i][v] = S::set(T(0));
  for (int64_t k = 0; k < k_n; ++k, a += MR) {
    const T* bk = b + offset[k];
    typename S::Packet x[NV];
    GRADUS_UNROLL(32)
    for (int v = 0; v < NV; ++v) x[v] = S::load(bk + v * S::W);
    GRADUS_UNROLL(32)
    for (int i = 0; i < MR; ++i) {
      const auto w = S::set(a[i]);
      GRADUS_UNROLL(32)
      for (int v = 0; v < NV; ++v) acc[i][v] = S::fma(w, x[v], acc[i][v]);
    }
  }
  GRADUS_UNROLL(32)
  for (int i = 0; i < MR; ++i)
    GRADUS_UNROLL(32)
    for (int v = 0; v < NV; ++v) S::store(c + i * ldc + v * S::W, acc[i][v]);
}

/// Tiles with few rows are wider, to keep enough sums in flight.
template <class T, int MR>
inline constexpr int conv_wide = std::clamp(ConvSimd<T>::acc / MR, 3, 6);

template <class T, int MR>
void conv_panel(int64_t k_n, const T* a, const int64_t* offset, const T* b, int64_t vectors, T* c, int64_t ldc) {
  constexpr int W = ConvSimd<T>::W, wide = conv_wide<T, MR>;
  int64_t v = 0;
  for (; v + wide <= vectors; v += wide) conv_tile<T, MR, wide>(k_n, a, offset, b + v * W, c + v * W, ldc);
  for (; v + 3 <= vectors; v += 3) conv_tile<T, MR, 3>(k_n, a, offset, b + v * W, c + v * W, ldc);
  if (v + 2 == vectors) conv_tile<T, MR, 2>(k_n, a, offset, b + v * W, c + v * W, ldc);
  if (v + 1 == vectors) conv_tile<T, MR, 1>(k_n, a, offset, b + v * W, c + v * W, ldc);
}
template <class T, std::size_t... I>
void conv_panel_of(std::index_sequence<I...>, int64_t rows, int64_t k_n, const T* a, const int64_t* offset, const T* b,
                   int64_t vectors, T* c, int64_t ldc) {
  ((rows == static_cast<int64_t>(I) + 1 ? conv_panel<T, I + 1>(k_n, a, offset, b, vectors, c, ldc) : void()), ...);
}

// ---------------------------------------------------------------------------------------------- forward, data gradient

inline constexpr int64_t kConvBuffer = 384 * 1024;   // bytes of input rows, and
inline constexpr int64_t kConvWeights = 768 * 1024;  // of weights that stay in the second-level cache together

/// dst[n, g*M + m, ...] = sum_{c,t} src[n, g*C + c, ...] weight(g, m, c)[t] + bias[g*M + m]
template <class T, class Weight>
void conv_run(ConvGeometry& geo, const ConvDims& dims, int64_t M, const T* src, Weight&& weight, const T* bias, T* dst) {
  const int64_t N = dims.N, groups = dims.groups;
  constexpr int W = ConvSimd<T>::W, full = ConvSimd<T>::rows;
  const ConvAxis &D = geo.axis[0], &H = geo.axis[1], &X = geo.axis[2];
  if (N * D.out * H.out * X.out * M * groups == 0) return;

  // Bands: as many rows as fit the cache, a bounded tile of results, and enough bands to share between threads.
  const int64_t columns = std::min<int64_t>(X.out, 1024);
  geo.set_bands(1, columns);
  int64_t rows = std::clamp<int64_t>(1536 / geo.pitch, 1, H.out);
  const int64_t row_bytes = geo.C * D.taps() * static_cast<int64_t>(H.phases.size() * X.phases.size()) * geo.pitch * sizeof(T);
  rows = std::clamp<int64_t>(kConvBuffer / std::max<int64_t>(row_bytes, 1) - H.max_shift, 1, rows);
  const int64_t others = N * groups * D.out * geo.bands_w;
  if (others < 16) rows = std::min(rows, std::max<int64_t>(conv_ceil(H.out * others, 16), conv_ceil(6 * W, geo.pitch)));
  rows = conv_ceil(H.out, conv_ceil(H.out, rows));  // bands of equal height
  geo.set_bands(rows, columns);

  const int64_t k_n = geo.C * geo.taps(), panels = conv_ceil(M, full);
  const std::vector<int64_t> offset = geo.offsets(geo.C);
  std::vector<int64_t> tap;  // position of each tap in the whole kernel
  for (const int64_t td : D.tap_w)
    for (const int64_t th : H.tap_w)
      for (const int64_t tw : X.tap_w) tap.push_back((td * dims.kernel[1] + th) * dims.kernel[2] + tw);
  // Weights: [group][panel][k][rows of the panel]
  ConvScratch<T> packed(groups * M * k_n);
  parallel_for(groups * panels, 1 + 32768 / std::max<int64_t>(k_n * full, 1), [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      const int64_t g = i / panels, m0 = i % panels * full, n = std::min<int64_t>(full, M - m0);
      T* panel = packed.p + (g * M + m0) * k_n;
      for (int64_t c = 0; c < geo.C; ++c, panel += n * static_cast<int64_t>(tap.size()))
        for (int64_t m = 0; m < n; ++m) {
          const T* from = weight(g, m0 + m, c);
          T* to = panel + m;
          for (const int64_t t : tap) *to = from[t], to += n;
        }
    }
  });

  const int64_t units = N * groups * D.out * geo.bands_h * geo.bands_w;
  const int64_t most = std::max<int64_t>(1, kConvWeights / std::max<int64_t>(full * k_n * sizeof(T), 1));
  int64_t per_slab = std::min<int64_t>({panels, most, std::max<int64_t>(1, 64 / full)});  // 64 channels of results at a time
  if (units < 16) per_slab = std::min(per_slab, conv_ceil(panels * units, 16));
  const int64_t slabs = conv_ceil(panels, per_slab);
  const int64_t raster = (geo.band_h - 1) * geo.pitch + geo.band_w, ld = (conv_ceil(raster, W) | 1) * W;
  parallel_for(units * slabs, 1, [&](int64_t begin, int64_t end) {
    ConvScratch<T> buffer(geo.C * geo.channel + 8 * W + ld), tile(full * per_slab * ld + W);
    int64_t filled = -1;
    for (int64_t item = begin; item < end; ++item) {
      const ConvUnit u = conv_unit(geo, groups, item / slabs);
      if (filled != item / slabs)
        conv_fill(geo, u, src + (u.n * groups + u.g) * geo.C * geo.src_size(), geo.C, src + N * groups * geo.C * geo.src_size(),
                  buffer.p);
      filled = item / slabs;
      const int64_t p0 = item % slabs * per_slab, p1 = std::min(p0 + per_slab, panels);
      const int64_t vectors = conv_ceil((u.nh - 1) * geo.pitch + u.nw, W);
      const T* weights = packed.p + u.g * M * k_n;
      const int64_t whole = std::min(p1, M / full);
      for (int64_t v = 0; v < vectors; v += 3)  // the columns of B stay in the first-level cache, the weights stream by
        for (int64_t p = p0; p < whole; ++p)
          conv_panel<T, full>(k_n, weights + p * full * k_n, offset.data(), buffer.p + v * W, std::min<int64_t>(3, vectors - v),
                              tile.p + (p - p0) * full * ld + v * W, ld);
      if (whole < p1)
        conv_panel_of<T>(std::make_index_sequence<full>{}, M - whole * full, k_n, weights + whole * full * k_n, offset.data(),
                         buffer.p, vectors, tile.p + (whole - p0) * full * ld, ld);
      for (int64_t m = p0 * full; m < std::min(p1 * full, M); ++m)
        conv_emit(geo, u, tile.p + (m - p0 * full) * ld, bias ? bias[u.g * M + m] : T(0),
                  dst + ((u.n * groups + u.g) * M + m) * geo.dst_size());
    }
  });
}

// ---------------------------------------------------------------------------------------------- weight gradient

/// dw[i][NV*W] += sum over the band's pixels of x[offset[i] + pixel] dy[pixel][NV*W]; dy has ldy elements a pixel.
template <class T, int MR, int NV>
void conv_weight_tile(int64_t rows, int64_t columns, int64_t pitch, const T* x, const int64_t* offset, const T* __restrict dy,
                      T* __restrict dw, int64_t ldw) {
  using S = ConvSimd<T>;
  typename S::Packet acc[MR][NV];
  const T* px[MR];
  GRADUS_UNROLL(32)
  for (int i = 0; i < MR; ++i) {
    px[i] = x + offset[i];
    GRADUS_UNROLL(32)
    for (int v = 0; v < NV; ++v) acc[i][v] = S::set(T(0));
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t q = 0; q < columns; ++q, dy += NV * S::W) {
      typename S::Packet y[NV];
      GRADUS_UNROLL(32)
      for (int v = 0; v < NV; ++v) y[v] = S::load(dy + v * S::W);
      GRADUS_UNROLL(32)
      for (int i = 0; i < MR; ++i) {
        const auto a = S::set(px[i][q]);
        GRADUS_UNROLL(32)
        for (int v = 0; v < NV; ++v) acc[i][v] = S::fma(a, y[v], acc[i][v]);
      }
    }
    GRADUS_UNROLL(32)
    for (int i = 0; i < MR; ++i) px[i] += pitch;
  }
  GRADUS_UNROLL(32)
  for (int i = 0; i < MR; ++i)
    GRADUS_UNROLL(32)
    for (int v = 0; v < NV; ++v) {
      T* p = dw + i * ldw + v * S::W;
      S::store(p, Eigen::internal::padd(S::load(p), acc[i][v]));
    }
}

/// Rows of weights in a tile that is NV vectors wide.
template <class T, int NV>
inline constexpr int conv_weight_rows = std::min(ConvSimd<T>::acc / NV, 12);

template <class T, int NV, std::size_t... I>
void conv_weight_rows_of(std::index_sequence<I...>, int64_t n, int64_t rows, int64_t columns, int64_t pitch, const T* x,
                         const int64_t* offset, const T* dy, T* dw, int64_t ldw) {
  ((n == static_cast<int64_t>(I) + 1 ? conv_weight_tile<T, I + 1, NV>(rows, columns, pitch, x, offset, dy, dw, ldw) : void()),
   ...);
}
/// All n rows (channel, tap) of one column of tiles, in tiles of nearly equal height.
template <class T, int NV>
void conv_weight_panel(int64_t n, int64_t rows, int64_t columns, int64_t pitch, const T* x, const int64_t* offset, const T* dy,
                       T* dw, int64_t ldw) {
  const int64_t tiles = conv_ceil(n, conv_weight_rows<T, NV>);
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t b = n * t / tiles, e = n * (t + 1) / tiles;
    conv_weight_rows_of<T, NV>(std::make_index_sequence<conv_weight_rows<T, NV>>{}, e - b, rows, columns, pitch, x, offset + b,
                               dy, dw + b * ldw, ldw);
  }
}

/// panel[pixel][NV*W] from dy's rows k0 ... k0 + n-1 (zeros above n), pixels of the band in order.
template <class T>
void conv_transpose(const ConvGeometry& geo, const ConvUnit& u, const T* dy, int64_t n, int64_t width, T* panel) {
  using S = ConvSimd<T>;
  constexpr int W = S::W;
  const ConvAxis &D = geo.axis[0], &H = geo.axis[1], &X = geo.axis[2];
  const int64_t image = D.out * H.out * X.out;
  for (int64_t r = 0; r < u.nh; ++r) {
    const T* row = dy + (u.d * H.out + u.h + r) * X.out + u.w;
    int64_t q = 0;
    for (; q + W <= u.nw; q += W)
      for (int64_t k = 0; k < width; k += W) {
        typename S::Block block;
        for (int64_t i = 0; i < W; ++i) block.packet[i] = k + i < n ? S::load(row + (k + i) * image + q) : S::set(T(0));
        Eigen::internal::ptranspose(block);
        for (int64_t i = 0; i < W; ++i) S::store(panel + (q + i) * width + k, block.packet[i]);
      }
    for (; q < u.nw; ++q)
      for (int64_t k = 0; k < width; ++k) panel[q * width + k] = k < n ? row[k * image + q] : T(0);
    panel += u.nw * width;
  }
}

/// One row of dw for one output channel: dots of dy's padded raster with x at MR offsets, vectors along the pixels.
template <class T, int MR>
void conv_dot_tile(int64_t n, const T* x, const int64_t* offset, const T* dy, T* dw, int64_t ldw) {
  using S = ConvSimd<T>;
  typename S::Packet acc[MR];
  const T* px[MR];
  for (int i = 0; i < MR; ++i) acc[i] = S::set(T(0)), px[i] = x + offset[i];
  for (int64_t j = 0; j < n; j += S::W) {
    const auto y = S::load(dy + j);
    GRADUS_UNROLL(32)
    for (int i = 0; i < MR; ++i) acc[i] = S::fma(y, S::load(px[i] + j), acc[i]);
  }
  for (int i = 0; i < MR; ++i) dw[i * ldw] += Eigen::internal::predux(acc[i]);
}
template <class T, std::size_t... I>
void conv_dot_of(std::index_sequence<I...>, int64_t rows, int64_t n, const T* x, const int64_t* offset, const T* dy, T* dw,
                 int64_t ldw) {
  ((rows == static_cast<int64_t>(I) + 1 ? conv_dot_tile<T, I + 1>(n, x, offset, dy, dw, ldw) : void()), ...);
}

}  // namespace detail

// ---------------------------------------------------------------------------------------------- the contract

template <class T>
void conv_fwd(Cpu, const T* x, const T* w, const T* bias, T* y, const ConvDims& dims) {
  detail::ConvGeometry geo = detail::conv_forward_geometry(dims);
  const int64_t Kg = dims.K / dims.groups, Cg = geo.C;
  const int64_t taps = dims.taps();
  detail::conv_run(
      geo, dims, Kg, x, [=](int64_t g, int64_t m, int64_t c) { return w + ((g * Kg + m) * Cg + c) * taps; }, bias, y);
}

template <class T>
void conv_bwd_data(Cpu, const T* dy, const T* w, T* dx, const ConvDims& dims) {
  const int64_t Kg = dims.K / dims.groups, Cg = dims.C / dims.groups;
  const int64_t taps = dims.taps();
  for (int64_t pd = 0; pd < dims.stride[0]; ++pd)
    for (int64_t ph = 0; ph < dims.stride[1]; ++ph)
      for (int64_t pw = 0; pw < dims.stride[2]; ++pw) {
        detail::ConvGeometry geo;
        geo.C = Kg;
        geo.axis[0] = detail::conv_backward_axis(dims, 0, pd);
        geo.axis[1] = detail::conv_backward_axis(dims, 1, ph);
        geo.axis[2] = detail::conv_backward_axis(dims, 2, pw);
        detail::conv_run(
            geo, dims, Cg, dy, [=](int64_t g, int64_t m, int64_t c) { return w + ((g * Kg + c) * Cg + m) * taps; },
            static_cast<const T*>(nullptr), dx);
      }
}

// The batch is cut into `chunks` pieces by the shapes alone; each has its own sum, and the sums are added in order.
template <class T>
void conv_bwd_weight(Cpu, const T* x, const T* dy, T* dw, const ConvDims& dims) {
  using namespace detail;
  constexpr int W = ConvSimd<T>::W;
  ConvGeometry geo = conv_forward_geometry(dims);
  const ConvAxis &D = geo.axis[0], &H = geo.axis[1], &X = geo.axis[2];
  const int64_t groups = dims.groups, Kg = dims.K / groups, Cg = geo.C, taps = geo.taps();
  if (dims.N * dims.out_size() * Cg * Kg == 0) return std::fill_n(dw, dims.K * Cg * taps, T(0)), void();

  const int64_t columns = std::min<int64_t>(X.out, 256);
  geo.set_bands(std::clamp<int64_t>(256 / columns, 1, H.out), columns);
  geo.set_bands(conv_ceil(H.out, geo.bands_h), columns);

  const bool dots = Kg <= 4;  // too few output channels for a vector
  const int64_t ldw = dots ? Kg : conv_ceil(Kg, W) * W;
  // Channels by blocks of nearly equal size with some 256 rows of weights each.
  const int64_t c_step = conv_ceil(Cg, conv_ceil(Cg * taps, 320)), c_blocks = conv_ceil(Cg, c_step);
  const int64_t per_image = D.out * geo.bands_h * geo.bands_w, units = dims.N * per_image;
  const int64_t chunks = std::min<int64_t>(units, conv_ceil(16, c_blocks * groups));
  const int64_t block_rows = c_step * taps, block = block_rows * ldw;
  const std::vector<int64_t> offset = geo.offsets(c_step);

  ConvScratch<T> sums(groups * c_blocks * chunks * block + 4 * W);
  parallel_for(groups * c_blocks * chunks, 1, [&](int64_t begin, int64_t end) {
    const int64_t pixels = geo.band_h * geo.pitch;
    ConvScratch<T> buffer(c_step * geo.channel + 8 * W + pixels), panel(pixels * std::max<int64_t>(ldw, W) + 4 * W);
    // Between the rows of the raster dy's zeros meet what the buffer holds, which must be finite.
    if (dots) std::fill_n(buffer.p, c_step * geo.channel + 8 * W + pixels, T(0));
    for (int64_t item = begin; item < end; ++item) {
      const int64_t chunk = item % chunks, c0 = item / chunks % c_blocks * c_step, g = item / chunks / c_blocks;
      const int64_t c_n = std::min(c_step, Cg - c0), n = c_n * taps;
      T* sum = sums.p + item * block;
      std::fill_n(sum, block, T(0));
      for (int64_t i = units * chunk / chunks; i < units * (chunk + 1) / chunks; ++i) {
        ConvUnit u = conv_unit(geo, 1, i);
        conv_fill(geo, u, x + ((u.n * groups + g) * Cg + c0) * geo.src_size(), c_n, x + dims.N * dims.C * geo.src_size(),
                  buffer.p);
        const T* dy_n = dy + (u.n * groups + g) * Kg * dims.out_size();
        if (dots) {
          const int64_t raster = conv_ceil((u.nh - 1) * geo.pitch + u.nw, W) * W;
          for (int64_t k = 0; k < Kg; ++k) {
            std::fill_n(panel.p, raster, T(0));
            for (int64_t r = 0; r < u.nh; ++r)
              std::copy_n(dy_n + ((k * D.out + u.d) * H.out + u.h + r) * X.out + u.w, u.nw, panel.p + r * geo.pitch);
            for (int64_t t = 0; t < n; t += 9)
              conv_dot_of<T>(std::make_index_sequence<9>{}, std::min<int64_t>(9, n - t), raster, buffer.p, offset.data() + t,
                             panel.p, sum + t * ldw + k, ldw);
          }
          continue;
        }
        for (int64_t k = 0; k < ldw;) {
          // As wide as divides what is left: 4, 3, 2 or 1 vectors.
          const int64_t left = (ldw - k) / W, nv = left % 4 == 0 ? 4 : left % 3 == 0 ? 3 : left > 4 ? 4 : left;
          conv_transpose(geo, u, dy_n + k * dims.out_size(), std::min(Kg - k, nv * W), nv * W, panel.p);
          const auto tile = nv == 4   ? conv_weight_panel<T, 4>
                            : nv == 3 ? conv_weight_panel<T, 3>
                            : nv == 2 ? conv_weight_panel<T, 2>
                                      : conv_weight_panel<T, 1>;
          tile(n, u.nh, u.nw, geo.pitch, buffer.p, offset.data(), panel.p, sum + k, ldw);
          k += nv * W;
        }
      }
    }
  });

  parallel_for(groups * c_blocks, 1 + 8192 / std::max<int64_t>(block, 1), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t g = b / c_blocks, c0 = b % c_blocks * c_step, n = std::min(c_step, Cg - c0) * taps;
      T* sum = sums.p + b * chunks * block;
      for (int64_t s = 1; s < chunks; ++s)
        for (int64_t i = 0; i < n * ldw; ++i) sum[i] += sum[s * block + i];
      for (int64_t k0 = 0; k0 < Kg; k0 += 16)  // transposed by strips, so that lines are used while they are near
        for (int64_t t = 0; t < n; ++t)
          for (int64_t k = k0; k < std::min(k0 + 16, Kg); ++k) dw[((g * Kg + k) * Cg + c0) * taps + t] = sum[t * ldw + k];
    }
  });
}

#ifndef GRADUS_HEADER_ONLY
template void conv_fwd<float>(Cpu, const float*, const float*, const float*, float*, const ConvDims&);
template void conv_fwd<double>(Cpu, const double*, const double*, const double*, double*, const ConvDims&);
template void conv_bwd_data<float>(Cpu, const float*, const float*, float*, const ConvDims&);
template void conv_bwd_data<double>(Cpu, const double*, const double*, double*, const ConvDims&);
template void conv_bwd_weight<float>(Cpu, const float*, const float*, float*, const ConvDims&);
template void conv_bwd_weight<double>(Cpu, const double*, const double*, double*, const ConvDims&);
#endif

}  // namespace gradus::kernels
#endif
