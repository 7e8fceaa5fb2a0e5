// Resizing, one output row at a time: the source rows of its depth and height taps are combined into one row of the input's
// width, which the width stencil then reads. The gradient goes the same way back. Planes are shared between threads.
#ifndef GRADUS_CPU_INTERPOLATE
#define GRADUS_CPU_INTERPOLATE
#include <gradus/core/dtype.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/interpolate.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace gradus::kernels {
namespace detail {

/// Taps of output o: entries first[o] ... first[o+1]-1 of index and weight.
template <class A>
struct InterpolateAxis {
  std::vector<int64_t> first{0}, index;
  std::vector<A> weight;
  bool copies = true;  // every output has one tap of weight 1
  int64_t taps = 1;    // per output, or 0 where it varies

  void tap(int64_t i, double w) { index.push_back(i), weight.push_back(static_cast<A>(w)); }
  void end_output() { first.push_back(static_cast<int64_t>(index.size())); }
};

template <class A>
InterpolateAxis<A> interpolate_axis(const InterpolateDims& d, int a, InterpolateMode mode) {
  InterpolateAxis<A> x;
  const int64_t in = d.in[a], out = d.out[a];
  const bool given = d.factor[a] > 0;
  const bool nearest = mode == InterpolateMode::nearest || mode == InterpolateMode::nearest_exact;
  // As in PyTorch, nearest and linear copy an axis that keeps its extent, whatever the factor says.
  const bool same = in == out && (in == 1 || mode == InterpolateMode::nearest || mode == InterpolateMode::linear);
  if (same || (mode == InterpolateMode::nearest && out == 2 * in)) {
    for (int64_t o = 0; o < out; ++o) x.tap(same ? o : o / 2, 1), x.end_output();
    return x;
  }
  if (nearest) {
    // In single precision on purpose: at ties the index may fall on either side, and this is where PyTorch's gradient and
    // its 2-D forward pass put it for every element type.
    const float scale = given ? static_cast<float>(1.0 / d.factor[a]) : static_cast<float>(in) / static_cast<float>(out);
    const float half = mode == InterpolateMode::nearest_exact ? 0.5f : 0.0f;
    for (int64_t o = 0; o < out; ++o) {
      x.tap(std::min(static_cast<int64_t>(std::floor((static_cast<float>(o) + half) * scale)), in - 1), 1);
      x.end_output();
    }
    return x;
  }
  x.copies = false;
  if (mode == InterpolateMode::area) {
    x.taps = 0;
    for (int64_t o = 0; o < out; ++o) {
      const int64_t b = o * in / out, e = ((o + 1) * in + out - 1) / out;
      for (int64_t i = b; i < e; ++i) x.tap(i, 1.0 / static_cast<double>(e - b));
      x.end_output();
    }
    return x;
  }
  const double scale = d.align_corners ? (out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0.0)
                       : given         ? 1.0 / d.factor[a]
                                       : static_cast<double>(in) / static_cast<double>(out);
  x.taps = mode == InterpolateMode::linear ? 2 : 4;
  for (int64_t o = 0; o < out; ++o) {
    double s = d.align_corners ? static_cast<double>(o) * scale : (static_cast<double>(o) + 0.5) * scale - 0.5;
    if (mode == InterpolateMode::linear) {
      s = std::max(s, 0.0);
      const int64_t i = std::min(static_cast<int64_t>(s), in - 1);
      const double f = std::clamp(s - static_cast<double>(i), 0.0, 1.0);
      x.tap(i, 1 - f), x.tap(std::min(i + 1, in - 1), f);
    } else {
      const double A3 = -0.75, left = std::floor(s), f = s - left;
      const auto near = [&](double t) { return ((A3 + 2) * t - (A3 + 3)) * t * t + 1; };         // |t| <= 1
      const auto far = [&](double t) { return ((A3 * t - 5 * A3) * t + 8 * A3) * t - 4 * A3; };  // 1 < |t| < 2
      const double w[4] = {far(f + 1), near(f), near(1 - f), far(2 - f)};
      for (int64_t t = 0; t < 4; ++t) x.tap(std::clamp<int64_t>(static_cast<int64_t>(left) + t - 1, 0, in - 1), w[t]);
    }
    x.end_output();
  }
  return x;
}

/// y[o] = sum_t w[o,t] row[i[o,t]], Taps of them
template <int Taps, class A, class T>
void interpolate_row(const InterpolateAxis<A>& x, const A* __restrict row, T* __restrict y, int64_t n) {
  const int64_t* index = x.index.data();
  const A* weight = x.weight.data();
  for (int64_t o = 0; o < n; ++o) {
    A sum = 0;
    const int64_t b = Taps ? o * Taps : x.first[o], count = Taps ? Taps : x.first[o + 1] - b;
    for (int64_t t = 0; t < count; ++t) sum += weight[b + t] * row[index[b + t]];
    y[o] = static_cast<T>(sum);
  }
}

/// f(source row, weight) for the depth and height taps of output row (od, oh).
template <class A, class F>
void interpolate_rows(const InterpolateAxis<A>& D, const InterpolateAxis<A>& H, int64_t height, int64_t od, int64_t oh, F&& f) {
  for (int64_t a = D.first[od]; a < D.first[od + 1]; ++a)
    for (int64_t b = H.first[oh]; b < H.first[oh + 1]; ++b) f(D.index[a] * height + H.index[b], D.weight[a] * H.weight[b]);
}

template <class F>
void interpolate_planes(const InterpolateDims& d, F&& f) {
  parallel_for(d.planes, 1 + 16384 / (d.in_size() + d.out_size()), [&](int64_t b, int64_t e) {
    for (int64_t p = b; p < e; ++p) f(p);
  });
}

}  // namespace detail

template <class T>
void interpolate_fwd(Cpu, const T* x, T* y, const InterpolateDims& d, InterpolateMode mode) {
  using namespace detail;
  using A = compute_t<T>;
  const auto D = interpolate_axis<A>(d, 0, mode), H = interpolate_axis<A>(d, 1, mode), W = interpolate_axis<A>(d, 2, mode);
  const int64_t w = d.in[2], n = d.out[2];
  const auto resize = W.taps == 1   ? interpolate_row<1, A, T>
                      : W.taps == 2 ? interpolate_row<2, A, T>
                      : W.taps == 4 ? interpolate_row<4, A, T>
                                    : interpolate_row<0, A, T>;
  interpolate_planes(d, [&](int64_t p) {
    const T* plane = x + p * d.in_size();
    T* out = y + p * d.out_size();
    std::vector<A> row(w);
    for (int64_t od = 0; od < d.out[0]; ++od)
      for (int64_t oh = 0; oh < d.out[1]; ++oh, out += n) {
        if (D.copies && H.copies && W.copies) {
          const T* from = plane + (D.index[od] * d.in[1] + H.index[oh]) * w;
          for (int64_t o = 0; o < n; ++o) out[o] = from[W.index[o]];
          continue;
        }
        bool fresh = true;
        interpolate_rows(D, H, d.in[1], od, oh, [&](int64_t r, A weight) {
          const T* __restrict from = plane + r * w;
          A* __restrict to = row.data();
          if (fresh)
            for (int64_t i = 0; i < w; ++i) to[i] = weight * static_cast<A>(from[i]);
          else
            for (int64_t i = 0; i < w; ++i) to[i] += weight * static_cast<A>(from[i]);
          fresh = false;
        });
        resize(W, row.data(), out, n);
      }
  });
}

template <class T>
void interpolate_bwd(Cpu, const T* dy, T* dx, const InterpolateDims& d, InterpolateMode mode) {
  using namespace detail;
  using A = compute_t<T>;
  const auto D = interpolate_axis<A>(d, 0, mode), H = interpolate_axis<A>(d, 1, mode), W = interpolate_axis<A>(d, 2, mode);
  const int64_t w = d.in[2], n = d.out[2];
  interpolate_planes(d, [&](int64_t p) {
    const T* g = dy + p * d.out_size();
    T* out = dx + p * d.in_size();
    std::vector<A> wide(std::is_same_v<A, T> ? 0 : d.in_size()), row(w);
    A* sum;
    if constexpr (std::is_same_v<A, T>) sum = out;
    else sum = wide.data();
    std::fill_n(sum, d.in_size(), A(0));
    for (int64_t od = 0; od < d.out[0]; ++od)
      for (int64_t oh = 0; oh < d.out[1]; ++oh, g += n) {
        if (D.copies && H.copies && W.copies) {
          A* to = sum + (D.index[od] * d.in[1] + H.index[oh]) * w;
          for (int64_t o = 0; o < n; ++o) to[W.index[o]] += static_cast<A>(g[o]);
          continue;
        }
        std::fill(row.begin(), row.end(), A(0));
        for (int64_t o = 0; o < n; ++o)
          for (int64_t t = W.first[o]; t < W.first[o + 1]; ++t) row[W.index[t]] += W.weight[t] * static_cast<A>(g[o]);
        interpolate_rows(D, H, d.in[1], od, oh, [&](int64_t r, A weight) {
          A* __restrict to = sum + r * w;
          const A* __restrict from = row.data();
          for (int64_t i = 0; i < w; ++i) to[i] += weight * from[i];
        });
      }
    if constexpr (!std::is_same_v<A, T>)
      for (int64_t i = 0; i < d.in_size(); ++i) out[i] = static_cast<T>(sum[i]);
  });
}

#ifndef GRADUS_HEADER_ONLY
template void interpolate_fwd(Cpu, const float*, float*, const InterpolateDims&, InterpolateMode);
template void interpolate_fwd(Cpu, const double*, double*, const InterpolateDims&, InterpolateMode);
template void interpolate_fwd(Cpu, const bf16*, bf16*, const InterpolateDims&, InterpolateMode);
template void interpolate_fwd(Cpu, const half*, half*, const InterpolateDims&, InterpolateMode);
template void interpolate_bwd(Cpu, const float*, float*, const InterpolateDims&, InterpolateMode);
template void interpolate_bwd(Cpu, const double*, double*, const InterpolateDims&, InterpolateMode);
template void interpolate_bwd(Cpu, const bf16*, bf16*, const InterpolateDims&, InterpolateMode);
template void interpolate_bwd(Cpu, const half*, half*, const InterpolateDims&, InterpolateMode);
#endif

}  // namespace gradus::kernels
#endif
