// Resizing. The stencils of the three axes are tables made on the host (a few numbers an output row or column), which go to the
// device in one copy. Forward: one thread an output. Backward: one thread an input, with the transposed tables, so that no two
// threads write to one place.
#include <vector>

#include <gradus/core/dtype.hpp>
#include <gradus/kernels/interpolate_axis.hpp>

#include "kernel.cuh"

namespace gradus::kernels {
namespace cu {

/// Row r of an axis' table: entries first[r] ... first[r+1]-1 of index and weight.
template <class A> struct AxisTable {
  const int64_t *first, *index;
  const A* weight;
};
template <class A> struct AxisTables {
  AxisTable<A> axis[3];
};

/// to[r] = sum over the entries (d, h, w) of r's three rows of weight from[plane of r, (d, h, w)]
template <class T>
__global__ void interpolate_reference(const T* from, T* to, AxisTables<compute_t<T>> t, int64_t d0, int64_t d1, int64_t d2,
                                      int64_t s0, int64_t s1, int64_t s2, int64_t size) {
  const int64_t i = thread_in_grid();
  if (i >= size) return;
  const int64_t w = i % d2, h = i / d2 % d1, z = i / d2 / d1 % d0, p = i / d2 / d1 / d0;
  const T* plane = from + p * s0 * s1 * s2;
  compute_t<T> sum = 0;
  for (int64_t a = t.axis[0].first[z]; a < t.axis[0].first[z + 1]; ++a)
    for (int64_t b = t.axis[1].first[h]; b < t.axis[1].first[h + 1]; ++b) {
      const T* row = plane + (t.axis[0].index[a] * s1 + t.axis[1].index[b]) * s2;
      compute_t<T> line = 0;
      for (int64_t c = t.axis[2].first[w]; c < t.axis[2].first[w + 1]; ++c)
        line += t.axis[2].weight[c] * load(row[t.axis[2].index[c]]);
      sum += t.axis[0].weight[a] * t.axis[1].weight[b] * line;
    }
  to[i] = static_cast<T>(sum);
}

/// The same entries by input: row i holds the outputs that read input i, in their order.
template <class A> detail::InterpolateAxis<A> transposed(const detail::InterpolateAxis<A>& x, int64_t in) {
  std::vector<std::vector<std::pair<int64_t, A>>> rows(static_cast<std::size_t>(in));
  for (std::size_t o = 0; o + 1 < x.first.size(); ++o)
    for (auto k = static_cast<std::size_t>(x.first[o]); k < static_cast<std::size_t>(x.first[o + 1]); ++k)
      rows[static_cast<std::size_t>(x.index[k])].push_back({static_cast<int64_t>(o), x.weight[k]});
  detail::InterpolateAxis<A> y;
  for (const auto& row : rows) {
    for (const auto& [o, w] : row) y.index.push_back(o), y.weight.push_back(w);
    y.end_output();
  }
  return y;
}

template <class T>
void run_interpolate(const char* op, const T* from, T* to, const InterpolateDims& d, InterpolateMode mode, bool backward) {
  using A = compute_t<T>;
  std::vector<int64_t> integers;
  std::vector<A> weights;
  int64_t first[3], index[3], weight[3];
  for (int a = 0; a < 3; ++a) {
    auto x = detail::interpolate_axis<A>(d, a, mode);
    if (backward) x = transposed(x, d.in[a]);
    first[a] = static_cast<int64_t>(integers.size());
    integers.insert(integers.end(), x.first.begin(), x.first.end());
    index[a] = static_cast<int64_t>(integers.size());
    integers.insert(integers.end(), x.index.begin(), x.index.end());
    weight[a] = static_cast<int64_t>(weights.size());
    weights.insert(weights.end(), x.weight.begin(), x.weight.end());
  }
  const int64_t entries = static_cast<int64_t>(integers.size()),
                words = entries + static_cast<int64_t>((weights.size() * sizeof(A) + 7) / 8);
  integers.resize(static_cast<std::size_t>(words));
  std::memcpy(integers.data() + entries, weights.data(), weights.size() * sizeof(A));
  const Scratch<int64_t> table(words);
  upload(table.data(), integers.data(), words);
  AxisTables<A> t;
  for (int a = 0; a < 3; ++a)
    t.axis[a] = {table.data() + first[a], table.data() + index[a],
                 reinterpret_cast<const A*>(table.data() + entries) + weight[a]};
  const int64_t *rows = backward ? d.in : d.out, *reads = backward ? d.out : d.in,
                size = d.planes * rows[0] * rows[1] * rows[2];
  enqueue(op, interpolate_reference<T>, {blocks_for(size, kThreads)}, from, to, t, rows[0], rows[1], rows[2], reads[0],
          reads[1], reads[2], size);
}

}  // namespace cu

template <class T> void interpolate_fwd(Cuda, const T* x, T* y, const InterpolateDims& d, InterpolateMode mode) {
  if (d.planes * d.out_size() > 0) cu::run_interpolate("interpolate_fwd", x, y, d, mode, false);
}

template <class T> void interpolate_bwd(Cuda, const T* dy, T* dx, const InterpolateDims& d, InterpolateMode mode) {
  if (d.planes * d.in_size() > 0) cu::run_interpolate("interpolate_bwd", dy, dx, d, mode, true);
}

namespace {
template <class... T> void* interpolate_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&interpolate_fwd<T>)..., instance<Cuda>(&interpolate_bwd<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_cuda_interpolate_instances[] = {interpolate_floating<float, double, bf16, half>()};

}  // namespace gradus::kernels
