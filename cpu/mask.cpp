#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/mask.hpp>
#include <gradus/kernels/random.hpp>

#include "philox.hpp"

namespace gradus::kernels {

template <class T>
void mask_each(Cpu, const T* p, bool* keep, int64_t n, RandomStream s) {
  detail::for_each_word_block(n, 1, s, [&](const uint32_t* word, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      keep[first + i] = (word[i] >> 8) >= bernoulli_threshold(static_cast<double>(static_cast<compute_t<T>>(p[first + i])));
  });
}

template <class T>
void mask_apply(Cpu, const bool* keep, const T* x, T* y, double scale, double shift, double fill, const Loop<3>& loop) {
  using A = compute_t<T>;
  const int last = loop.rank - 1;
  const int64_t sy = loop.stride[0][last], sk = loop.stride[1][last], sx = loop.stride[2][last];
  const A a = static_cast<A>(scale), b = static_cast<A>(shift);
  const T dropped = static_cast<T>(static_cast<A>(fill));
  for_each_run(loop, [&](const int64_t* at, int64_t n) {
    const bool* pk = keep + at[1];
    const T* px = x + at[2];
    T* py = y + at[0];
    if (sk == 0) {  // one fate for the whole run
      if (*pk)
        for (int64_t i = 0; i < n; ++i) py[i * sy] = static_cast<T>(static_cast<A>(px[i * sx]) * a + b);
      else
        for (int64_t i = 0; i < n; ++i) py[i * sy] = dropped;
      return;
    }
    for (int64_t i = 0; i < n; ++i) py[i * sy] = pk[i * sk] ? static_cast<T>(static_cast<A>(px[i * sx]) * a + b) : dropped;
  });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T>
void* mask_floating() {  // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&mask_each<T>)..., instance<Cpu>(&mask_apply<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_mask_instances[] = {mask_floating<float, double, bf16, half>()};
#endif

}  // namespace gradus::kernels
