// An update of AdamW in four steps. adamw.md tells what each one buys.
#include <cmath>

#include "bench/ladders/adamw.hpp"
#include "bench/ladders/ladder.cuh"

namespace gradus::ladders {
namespace {

// ---- 1 operations: a kernel for each line of a program on arrays, temporaries in memory ----
/// y = a x + b y
__global__ void axpby(float a, const float* x, float b, float* y, int64_t n) {
  const int64_t i = thread_in_grid();
  if (i < n) y[i] = a * x[i] + b * y[i];
}
__global__ void multiply(const float* x, const float* y, float* z, int64_t n) {
  const int64_t i = thread_in_grid();
  if (i < n) z[i] = x[i] * y[i];
}
/// y = sqrt(a x) + b
__global__ void root(float a, const float* x, float b, float* y, int64_t n) {
  const int64_t i = thread_in_grid();
  if (i < n) y[i] = sqrtf(a * x[i]) + b;
}
__global__ void divide(const float* x, const float* y, float* z, int64_t n) {
  const int64_t i = thread_in_grid();
  if (i < n) z[i] = x[i] / y[i];
}

/// What the update needs of the options.
struct Factors {
  float keep, rate, beta1, beta2, eps, scale1, scale2;    // keep = 1 - lr wd; scale = 1 / (1 - beta^step)
};
struct State {
  float p, m, v;
};
__device__ inline State updated(const Factors& f, float p, float g, float m, float v) {
  m = f.beta1 * m + (1 - f.beta1) * g;
  v = f.beta2 * v + (1 - f.beta2) * g * g;
  return {f.keep * p - f.rate * (m * f.scale1) / (sqrtf(v * f.scale2) + f.eps), m, v};
}
__device__ inline void update_one(const Factors& f, const AdamWTensor& t, int64_t i) {
  const State x = updated(f, t.p[i], t.g[i], t.m[i], t.v[i]);
  t.p[i] = x.p, t.m[i] = x.m, t.v[i] = x.v;
}
/// Elements 4 q ... 4 q + 3.
__device__ inline void update_quad(const Factors& f, const AdamWTensor& t, int64_t q) {
  float4 p = load16<float4>(t.p + 4 * q), m = load16<float4>(t.m + 4 * q), v = load16<float4>(t.v + 4 * q);
  const float4 g = load16<float4>(t.g + 4 * q);
  const auto one = [&f](float& p, float g, float& m, float& v) {
    const State x = updated(f, p, g, m, v);
    p = x.p, m = x.m, v = x.v;
  };
  one(p.x, g.x, m.x, v.x), one(p.y, g.y, m.y, v.y), one(p.z, g.z, m.z, v.z), one(p.w, g.w, m.w, v.w);
  store16(t.p + 4 * q, p), store16(t.m + 4 * q, m), store16(t.v + 4 * q, v);
}

/// Whether all four arrays can be read 16 bytes at a time.
GRADUS_HD inline bool aligned(const AdamWTensor& t) {
  return (reinterpret_cast<uintptr_t>(t.p) | reinterpret_cast<uintptr_t>(t.g) | reinterpret_cast<uintptr_t>(t.m) | reinterpret_cast<uintptr_t>(t.v)) % 16 == 0;
}

// ---- 2 fused: one kernel a parameter, each array read once ----
__global__ void adamw_fused(AdamWTensor t, Factors f) {
  const int64_t i = thread_in_grid();
  if (i < t.n) update_one(f, t, i);
}
// ---- 3 vector: 16 bytes an access ----
__global__ void adamw_vector(AdamWTensor t, Factors f) {
  const int64_t i = thread_in_grid();
  if (i < t.n / 4) update_quad(f, t, i);
  else if (i - t.n / 4 < t.n % 4) update_one(f, t, t.n / 4 * 4 + (i - t.n / 4));
}
// ---- 4 multi: one launch for many parameters: a block works on 4096 elements of one of them ----
inline constexpr int64_t kPiece = 4096;
/// Travels in the kernel's arguments (4 KiB at most), so that no table has to be copied first.
struct Batch {
  static constexpr int kTensors = 64;
  AdamWTensor t[kTensors];
  int first_block[kTensors + 1];
  int count;
};
__global__ void adamw_multi(Batch batch, Factors f) {
  int which = 0;
  while (static_cast<int>(blockIdx.x) >= batch.first_block[which + 1]) ++which;
  const AdamWTensor& t = batch.t[which];
  const int64_t begin = (static_cast<int64_t>(blockIdx.x) - batch.first_block[which]) * kPiece, end = begin + kPiece < t.n ? begin + kPiece : t.n;
  const int64_t quads_end = aligned(t) ? begin + (end - begin) / 4 * 4 : begin;
  for (int64_t i = begin + 4 * static_cast<int64_t>(threadIdx.x); i < quads_end; i += 4 * kThreads) update_quad(f, t, i / 4);
  for (int64_t i = quads_end + static_cast<int64_t>(threadIdx.x); i < end; i += kThreads) update_one(f, t, i);
}

void by_operations(const AdamWTensor& t, const AdamWOptions& o, const Factors& f) {
  const Grid grid{blocks_for(t.n, kThreads)};
  Scratch<float> square(t.n), below(t.n), change(t.n);
  enqueue("adamw_axpby", axpby, grid, 1 - o.beta1, t.g, o.beta1, t.m, t.n);
  enqueue("adamw_multiply", multiply, grid, t.g, t.g, square.data(), t.n);
  enqueue("adamw_axpby", axpby, grid, 1 - o.beta2, square.data(), o.beta2, t.v, t.n);
  enqueue("adamw_root", root, grid, f.scale2, t.v, o.eps, below.data(), t.n);
  enqueue("adamw_divide", divide, grid, t.m, below.data(), change.data(), t.n);
  enqueue("adamw_axpby", axpby, grid, -f.rate * f.scale1, change.data(), f.keep, t.p, t.n);
}
void in_batches(const std::vector<AdamWTensor>& tensors, const Factors& f) {
  Batch batch{};
  const auto flush = [&] {
    if (batch.count > 0) enqueue("adamw_multi", adamw_multi, {batch.first_block[batch.count]}, batch, f);
    batch.count = 0;
  };
  for (const AdamWTensor& t : tensors) {
    if (t.n == 0) continue;
    batch.t[batch.count] = t;
    batch.first_block[batch.count + 1] = batch.first_block[batch.count] + static_cast<int>(blocks_for(t.n, kPiece));
    if (++batch.count == Batch::kTensors) flush();
  }
  flush();
}

}  // namespace

const std::vector<std::string>& adamw_steps() {
  static const std::vector<std::string> names{"operations", "fused", "vector", "multi"};
  return names;
}
void adamw(const std::string& step, const std::vector<AdamWTensor>& tensors, const AdamWOptions& o) {
  const auto correction = [&](float beta) { return static_cast<float>(1 / (1 - std::pow(static_cast<double>(beta), static_cast<double>(o.step)))); };
  const Factors f{1 - o.lr * o.weight_decay, o.lr, o.beta1, o.beta2, o.eps, correction(o.beta1), correction(o.beta2)};
  if (step == "multi") return in_batches(tensors, f);
  if (step != "operations" && step != "fused" && step != "vector") no_step("adamw", step);
  for (const AdamWTensor& t : tensors) {
    if (t.n == 0) continue;
    if (step == "operations") by_operations(t, o, f);
    else if (step == "vector" && aligned(t)) enqueue("adamw_vector", adamw_vector, {blocks_for(t.n / 4 + t.n % 4, kThreads)}, t, f);
    else enqueue("adamw_fused", adamw_fused, {blocks_for(t.n, kThreads)}, t, f);
  }
}

}  // namespace gradus::ladders
