// One launch updates every tensor of a model. The tensors are cut into chunks of 16384 elements, a block works on one chunk,
// and finds its tensor by bisection in a small table that is copied to the device for each step: a model of hundreds of tensors
// costs one copy and one launch, not hundreds.
#include <cmath>
#include <vector>

#include <gradus/core/kernel_choice.hpp>
#include <gradus/kernels/optim.hpp>

#include "kernel.cuh"

namespace gradus::kernels {
namespace cu {

inline constexpr int64_t kOptimChunk = 16384;

enum class Step { reference, multi_tensor };
static KernelChoice<Step> step_by{"optim_step", {"reference", "multi_tensor"}};

template <class A> struct SgdFactors {
  A lr, decay, keep, take, now, ahead;   // b = keep b + take g,  p -= lr (now g + ahead b)
  bool momentum, first;
  template <class T> __device__ void operator()(const ParamRef<T>& r, int64_t i) const {
    const A p = static_cast<A>(r.p[i]), g = static_cast<A>(r.g[i]) + decay * p;
    if (!momentum) {
      r.p[i] = static_cast<T>(p - lr * g);
      return;
    }
    const A b = first ? g : keep * r.s0[i] + take * g;      // at first s0 may hold anything, and 0 NaN is NaN
    r.s0[i] = b;
    r.p[i] = static_cast<T>(p - lr * (now * g + ahead * b));
  }
};
template <class A> struct AdamFactors {
  A b1, a1, b2, a2, coupled, shrink, step, root2, eps;
  bool amsgrad;
  template <class T> __device__ void operator()(const ParamRef<T>& r, int64_t i) const {
    const A p = static_cast<A>(r.p[i]), g = static_cast<A>(r.g[i]) + coupled * p;
    const A mi = b1 * r.s0[i] + a1 * g, vi = b2 * r.s1[i] + a2 * g * g;
    r.s0[i] = mi, r.s1[i] = vi;
    A second = vi;
    if (amsgrad) second = r.s2[i] > vi ? r.s2[i] : vi, r.s2[i] = second;
    r.p[i] = static_cast<T>(p * shrink - step * mi / (sqrt(second) * root2 + eps));
  }
};

/// Any other rule of kernels/optim_rules.hpp: its states pass through registers.
template <class Rule> struct RuleStep {
  Rule rule;
  template <class T> __device__ void operator()(const ParamRef<T>& r, int64_t i) const {
    using A = compute_t<T>;
    constexpr int states = Rule::states;
    A* const state[4] = {r.s0, r.s1, r.s2, r.s3};
    A p = static_cast<A>(r.p[i]), s[states > 0 ? states : 1];
    GRADUS_UNROLL(4)
    for (int k = 0; k < states; ++k) s[k] = state[k][i];
    rule(p, static_cast<A>(r.g[i]), s);
    r.p[i] = static_cast<T>(p);
    GRADUS_UNROLL(4)
    for (int k = 0; k < states; ++k) state[k][i] = s[k];
  }
};

/// One tensor, one thread an element.
template <class T, class F> __global__ void step_reference(ParamRef<T> r, F f) {
  const int64_t i = thread_in_grid();
  if (i < r.n) f(r, i);
}

/// first[t]: number of chunks before tensor t, count + 1 entries; returns the tensor of chunk k.
__device__ inline int64_t tensor_of(const int64_t* first, int64_t count, int64_t k) {
  int64_t lo = 0, hi = count;                     // first[lo] <= k < first[hi]
  while (hi - lo > 1) {
    const int64_t mid = (lo + hi) / 2;
    if (first[mid] <= k) lo = mid;
    else hi = mid;
  }
  return lo;
}
/// All tensors, one block a chunk.
template <class T, class F>
__global__ void step_multi_tensor(const int64_t* first, const ParamRef<T>* params, int64_t count, F f) {
  const int64_t k = blockIdx.x, t = tensor_of(first, count, k);
  const ParamRef<T> r = params[t];
  const int64_t begin = (k - first[t]) * kOptimChunk, end = begin + kOptimChunk < r.n ? begin + kOptimChunk : r.n;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) f(r, i);
}

/// partial[k] = sum of g^2 over chunk k, in double: each thread's elements in order, then the threads pairwise.
template <class T>
__global__ void square_sum_chunks(const int64_t* first, const ParamRef<T>* params, int64_t count, double* partial) {
  GRADUS_SHARED(double, sums, [kThreads]);
  const int64_t k = blockIdx.x, t = tensor_of(first, count, k);
  const ParamRef<T> r = params[t];
  const int64_t begin = (k - first[t]) * kOptimChunk, end = begin + kOptimChunk < r.n ? begin + kOptimChunk : r.n;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const double g = static_cast<double>(load(r.g[i]));
    sum += g * g;
  }
  sums[threadIdx.x] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) sums[threadIdx.x] = sums[threadIdx.x] + sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) partial[k] = sums[0];
}
/// The sum of partial[0 ... n) in order, by one block: thread t adds a contiguous piece, thread 0 adds the pieces.
__global__ void sum_in_order(const double* partial, int64_t n, double* total) {
  GRADUS_SHARED(double, sums, [kThreads]);
  const int64_t each = (n + kThreads - 1) / kThreads, begin = threadIdx.x * each;
  double sum = 0;
  for (int64_t i = begin; i < n && i < begin + each; ++i) sum += partial[i];
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  double all = 0;
  for (int t = 0; t < kThreads; ++t) all += sums[t];
  *total = all;
}

/// The tables of one step on the device: first, then the tensors, in one copy.
template <class T> struct ChunkTables {
  std::vector<int64_t> first;
  Scratch<int64_t> memory;

  ChunkTables(const ParamRef<T>* params, int64_t count) : first(chunks(params, count)), memory(count + 1 + words(count)) {
    std::vector<int64_t> both(first);
    both.resize(static_cast<std::size_t>(count + 1 + words(count)));
    std::memcpy(both.data() + count + 1, params, static_cast<std::size_t>(count) * sizeof(ParamRef<T>));
    upload(memory.data(), both.data(), static_cast<int64_t>(both.size()));
  }
  const ParamRef<T>* params() const { return reinterpret_cast<const ParamRef<T>*>(memory.data() + first.size()); }
  static_assert(sizeof(ParamRef<T>) % sizeof(int64_t) == 0);
  static int64_t words(int64_t count) { return count * static_cast<int64_t>(sizeof(ParamRef<T>) / sizeof(int64_t)); }
  static std::vector<int64_t> chunks(const ParamRef<T>* params, int64_t count) {
    std::vector<int64_t> first(static_cast<std::size_t>(count + 1), 0);
    for (int64_t t = 0; t < count; ++t) first[t + 1] = first[t] + blocks_for(params[t].n, kOptimChunk);
    return first;
  }
};

template <class T, class F> void step(const char* op, const ParamRef<T>* params, int64_t count, const F& f) {
  if (step_by.or_else(Step::multi_tensor) == Step::reference) {
    for (int64_t t = 0; t < count; ++t) enqueue(op, step_reference<T, F>, {blocks_for(params[t].n, kThreads)}, params[t], f);
    return;
  }
  if (count == 0) return;
  const ChunkTables<T> tables(params, count);
  enqueue(op, step_multi_tensor<T, F>, {tables.first.back()}, tables.memory.data(), tables.params(), count, f);
}

}  // namespace cu

template <class T> void sgd_step(Cuda, const ParamRef<T>* params, int64_t count, const SgdRule& rule) {
  using A = compute_t<T>;
  cu::step("sgd_step", params, count,
           cu::SgdFactors<A>{static_cast<A>(rule.lr), static_cast<A>(rule.weight_decay), static_cast<A>(rule.momentum),
                             static_cast<A>(1 - rule.dampening), rule.nesterov ? A(1) : A(0),
                             rule.nesterov ? static_cast<A>(rule.momentum) : A(1), rule.momentum != 0, rule.first});
}

template <class T> void adam_step(Cuda, const ParamRef<T>* params, int64_t count, const AdamRule& rule) {
  using A = compute_t<T>;
  cu::step("adam_step", params, count,
           cu::AdamFactors<A>{static_cast<A>(rule.beta1), static_cast<A>(1 - rule.beta1), static_cast<A>(rule.beta2),
                              static_cast<A>(1 - rule.beta2), rule.decoupled ? A(0) : static_cast<A>(rule.weight_decay),
                              rule.decoupled ? static_cast<A>(1 - rule.lr * rule.weight_decay) : A(1),
                              static_cast<A>(rule.lr / rule.correction1), static_cast<A>(1 / std::sqrt(rule.correction2)),
                              static_cast<A>(rule.eps), rule.amsgrad});
}

template <class Rule, class T> void fused_step(Cuda, const ParamRef<T>* params, int64_t count, const Rule& rule) {
  cu::step("fused_step", params, count, cu::RuleStep<Rule>{rule});
}

template <class T> double grad_square_sum(Cuda, const ParamRef<T>* params, int64_t count) {
  using namespace cu;
  if (count == 0) return 0;
  const ChunkTables<T> tables(params, count);
  const int64_t chunks = tables.first.back();
  if (chunks == 0) return 0;
  Scratch<double> partial(chunks + 1);
  enqueue("grad_square_sum", square_sum_chunks<T>, {chunks}, tables.memory.data(), tables.params(), count, partial.data());
  enqueue("grad_square_sum", sum_in_order, {1}, partial.data(), chunks, partial.data() + chunks);
  return read(partial.data() + chunks);
}

namespace {
template <class... T> void* optim_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&sgd_step<T>)..., instance<Cuda>(&adam_step<T>)...,
                                instance<Cuda>(&grad_square_sum<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_cuda_optim_instances[] = {optim_floating<float, double, bf16, half>()};
#define GRADUS_INSTANTIATE(Rule)                                                \
  template void fused_step(Cuda, const ParamRef<float>*, int64_t, const Rule&);  \
  template void fused_step(Cuda, const ParamRef<double>*, int64_t, const Rule&); \
  template void fused_step(Cuda, const ParamRef<bf16>*, int64_t, const Rule&);   \
  template void fused_step(Cuda, const ParamRef<half>*, int64_t, const Rule&);
GRADUS_OPTIM_RULES(GRADUS_INSTANTIATE)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::kernels
