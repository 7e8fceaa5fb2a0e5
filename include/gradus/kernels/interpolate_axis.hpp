// The stencils of interpolate.hpp as tables, made on the host for every device.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gradus/kernels/interpolate.hpp>

namespace gradus::kernels::detail {

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

}  // namespace gradus::kernels::detail
