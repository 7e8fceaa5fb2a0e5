// One thread a Philox counter, four elements. The mask is the Cpu's bit for bit, and is never stored.
#include <gradus/kernels/dropout.hpp>
#include <gradus/kernels/random.hpp>

#include "pointwise.cuh"

namespace gradus::kernels {
namespace cu {

enum class Dropout { reference, packed };
static KernelChoice<Dropout> dropout_by{"dropout", {"reference", "packed"}};

/// y_i = 0 where (word_i >> 8) < threshold, x_i scale elsewhere: a select, so that dropping NaN gives 0.
template <class T>
__global__ void dropout_reference(const T* x, T* y, int64_t n, uint32_t threshold, compute_t<T> scale, RandomStream s) {
  const int64_t i = thread_in_grid();
  if (i >= n) return;
  const Philox p(s.seed, s.stream, static_cast<uint64_t>(i) / 4);
  const uint32_t word = p.w[i % 4];
  y[i] = static_cast<T>((word >> 8) < threshold ? compute_t<T>(0) : load(x[i]) * scale);
}
/// One counter serves its four elements: a quarter of the Philox rounds, and one access for four elements.
template <class T>
__global__ void dropout_packed(const T* x, T* y, int64_t n, uint32_t threshold, compute_t<T> scale, RandomStream s) {
  const int64_t counter = thread_in_grid(), first = 4 * counter;
  if (first >= n) return;
  const Philox p(s.seed, s.stream, static_cast<uint64_t>(counter));
  const auto one = [&](uint32_t word, T v) {
    return static_cast<T>((word >> 8) < threshold ? compute_t<T>(0) : load(v) * scale);
  };
  if (first + 4 <= n) {
    const auto in = load_pack<4>(x + first, 1);
    Pack<T, 4> out;
    GRADUS_UNROLL(4)
    for (int k = 0; k < 4; ++k) out.v[k] = one(p.w[k], in.v[k]);
    *reinterpret_cast<Pack<T, 4>*>(y + first) = out;
  } else {
    for (int k = 0; first + k < n; ++k) y[first + k] = one(p.w[k], x[first + k]);
  }
}

__global__ void dropout_mask_reference(bool* keep, int64_t n, uint32_t threshold, RandomStream s) {
  const int64_t counter = thread_in_grid(), first = 4 * counter;
  if (first >= n) return;
  const Philox p(s.seed, s.stream, static_cast<uint64_t>(counter));
  for (int k = 0; k < 4 && first + k < n; ++k) keep[first + k] = (p.w[k] >> 8) >= threshold;
}

}  // namespace cu

template <class T> void dropout(Cuda, const T* x, T* y, int64_t n, double p, RandomStream s) {
  using namespace cu;
  using A = compute_t<T>;
  const uint32_t threshold = bernoulli_threshold(p);
  const A scale = p < 1 ? static_cast<A>(1 / (1 - p)) : A(0);
  const auto aligned = [](const T* q) { return reinterpret_cast<uintptr_t>(q) % (4 * sizeof(T)) == 0; };
  if (aligned(x) && aligned(y) && dropout_by.or_else(Dropout::packed) == Dropout::packed)
    enqueue("dropout", dropout_packed<T>, {blocks_for(blocks_for(n, 4), kThreads)}, x, y, n, threshold, scale, s);
  else
    enqueue("dropout", dropout_reference<T>, {blocks_for(n, kThreads)}, x, y, n, threshold, scale, s);
}

void dropout_mask(Cuda, bool* keep, int64_t n, double p, RandomStream s) {
  using namespace cu;
  enqueue("dropout_mask", dropout_mask_reference, {blocks_for(blocks_for(n, 4), kThreads)}, keep, n, bernoulli_threshold(p), s);
}

namespace {
template <class... T> void* dropout_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&dropout<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_cuda_dropout_instances[] = {dropout_floating<float, double, bf16, half>()};

}  // namespace gradus::kernels
