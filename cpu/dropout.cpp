#include <gradus/core/dtype.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/dropout.hpp>
#include <gradus/kernels/random.hpp>

#include "philox.hpp"
#include "pragmas.hpp"

namespace gradus::kernels {

template <class T> void dropout(Cpu, const T* x, T* y, int64_t n, double p, RandomStream s) {
  using A = compute_t<T>;
  const uint32_t threshold = bernoulli_threshold(p);
  const A scale = p < 1 ? static_cast<A>(1 / (1 - p)) : A(0);
  detail::for_each_word_block(n, 1, s, [&](const uint32_t* word, int64_t first, int64_t count) {
    const T* in = x + first;
    T* out = y + first;
    GRADUS_IVDEP
    for (int64_t i = 0; i < count; ++i) {
      const A kept = static_cast<A>(in[i]) * scale;
      out[i] = static_cast<T>((word[i] >> 8) < threshold ? A(0) : kept);   // a select: dropping NaN gives 0
    }
  });
}

GRADUS_FUNC void dropout_mask(Cpu, bool* keep, int64_t n, double p, RandomStream s) {
  const uint32_t threshold = bernoulli_threshold(p);
  detail::for_each_word_block(n, 1, s, [&](const uint32_t* word, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; ++i) keep[first + i] = (word[i] >> 8) >= threshold;
  });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* dropout_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&dropout<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_dropout_instances[] = {dropout_floating<float, double, bf16, half>()};
#endif

}  // namespace gradus::kernels
