// Reductions, scans, sorts, histograms, votes: correct kernels that must pass without a report under every schedule.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "correct.hpp"
#include "device_memory.cuh"

namespace emulation_test {

Floats numbers(std::size_t n, unsigned salt) {
  Floats x(n);
  unsigned state = salt * 2654435761u + 12345u;
  for (float& v : x) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(static_cast<int>(state >> 9)) / 4194304.0f - 1.0f;
  }
  return x;
}

namespace {

constexpr unsigned kAll = 0xffffffffu;

// ---- reductions ----

__global__ void reduce_tree(const float* x, float* y) {
  GRADUS_SHARED(float, s, [128]);
  s[threadIdx.x] = x[blockIdx.x * 128 + threadIdx.x];
  __syncthreads();
  for (unsigned d = 64; d > 0; d /= 2) {
    if (threadIdx.x < d) s[threadIdx.x] += s[threadIdx.x + d];
    __syncthreads();
  }
  if (threadIdx.x == 0) y[blockIdx.x] = s[0];
}
__device__ __forceinline__ float warp_sum(float v) {
  GRADUS_UNROLL(5)
  for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(kAll, v, d);
  return v;
}
__global__ void reduce_shuffle(const float* x, float* y) {
  GRADUS_SHARED(float, part, [4]);
  const float v = warp_sum(x[blockIdx.x * 128 + threadIdx.x]);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x == 0) y[blockIdx.x] = part[0] + part[1] + part[2] + part[3];
}
// The last block to finish adds the blocks' sums: fence, then an atomic, on both sides.
__global__ void reduce_last_block(const float* x, float* partial, unsigned* arrived, float* y) {
  GRADUS_SHARED(float, s, [64]);
  GRADUS_SHARED(bool, last);
  s[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0;
    for (int i = 0; i < 64; ++i) sum += s[i];
    partial[blockIdx.x] = sum;
    __threadfence();
    last = atomicAdd(arrived, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  if (threadIdx.x < gridDim.x) s[threadIdx.x] = partial[threadIdx.x];
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) sum += s[b];
    *y = sum;
  }
}
__global__ void reduce_integers(const int* x, int* y) {
  const int v = x[threadIdx.x];
  const int sum = __reduce_add_sync(kAll, v), low = __reduce_min_sync(kAll, v), high = __reduce_max_sync(kAll, v);
  const auto bits = static_cast<int>(__reduce_or_sync(kAll, static_cast<unsigned>(v)));
  if (threadIdx.x % 32 == 0) {
    int* out = y + threadIdx.x / 32 * 4;
    out[0] = sum, out[1] = low, out[2] = high, out[3] = bits;
  }
}
__global__ void layer_norm(const float* x, float* y, int C) {
  GRADUS_SHARED(float, part, [2][4]);
  const float* row = x + blockIdx.x * C;
  float s = 0, ss = 0;
  for (int c = threadIdx.x; c < C; c += blockDim.x) s += row[c], ss += row[c] * row[c];
  s = warp_sum(s), ss = warp_sum(ss);
  if (threadIdx.x % 32 == 0) part[0][threadIdx.x / 32] = s, part[1][threadIdx.x / 32] = ss;
  __syncthreads();
  s = ss = 0;
  for (unsigned w = 0; w < blockDim.x / 32; ++w) s += part[0][w], ss += part[1][w];
  const float mean = s / C, scale = rsqrtf(ss / C - mean * mean + 1e-5f);
  for (int c = threadIdx.x; c < C; c += blockDim.x) y[blockIdx.x * C + c] = (row[c] - mean) * scale;
}

// ---- scans and sorts ----

__global__ void scan_double_buffer(const float* x, float* y) {
  GRADUS_SHARED(float, s, [2][64]);
  int now = 0;
  s[0][threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  for (unsigned d = 1; d < 64; d *= 2) {
    s[1 - now][threadIdx.x] = s[now][threadIdx.x] + (threadIdx.x >= d ? s[now][threadIdx.x - d] : 0.0f);
    now = 1 - now;
    __syncthreads();
  }
  y[threadIdx.x] = s[now][threadIdx.x];
}
__global__ void scan_shuffle(const float* x, float* y) {
  float v = x[threadIdx.x];
  const unsigned lane = threadIdx.x % 32;
  for (unsigned d = 1; d < 32; d *= 2) {
    const float other = __shfl_up_sync(kAll, v, d);
    if (lane >= d) v += other;
  }
  y[threadIdx.x] = v;
}
__global__ void bitonic_sort(float* x) {
  GRADUS_DYN_SHARED(float, s);
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  for (unsigned k = 2; k <= blockDim.x; k *= 2)
    for (unsigned j = k / 2; j > 0; j /= 2) {
      const unsigned other = threadIdx.x ^ j;
      if (other > threadIdx.x) {
        const bool up = (threadIdx.x & k) == 0;
        const float a = s[threadIdx.x], b = s[other];
        if ((a > b) == up) s[threadIdx.x] = b, s[other] = a;
      }
      __syncthreads();
    }
  x[threadIdx.x] = s[threadIdx.x];
}
// The k largest of a row by one warp: each round takes the maximum and its lowest index.
__global__ void top_k(const float* x, float* values, float* indices, int C, int k) {
  const float* row = x + blockIdx.x * C;
  float limit = INFINITY;
  int after = -1;
  for (int r = 0; r < k; ++r) {
    float best = -INFINITY;
    int at = C;
    for (int c = static_cast<int>(threadIdx.x); c < C; c += 32)
      if ((row[c] < limit || (row[c] == limit && c > after)) && row[c] > best) best = row[c], at = c;
    for (int d = 16; d > 0; d /= 2) {
      const float b = __shfl_xor_sync(kAll, best, d);
      const int i = __shfl_xor_sync(kAll, at, d);
      if (b > best || (b == best && i < at)) best = b, at = i;
    }
    limit = best, after = at;
    if (threadIdx.x == 0) values[blockIdx.x * k + r] = best, indices[blockIdx.x * k + r] = static_cast<float>(at);
  }
}

// ---- atomics, votes, matches ----

__global__ void histogram(const int* keys, int n, int* counts) {
  GRADUS_SHARED(int, bins, [16]);
  if (threadIdx.x < 16) bins[threadIdx.x] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&bins[keys[i]], 1);
  __syncthreads();
  if (threadIdx.x < 16) atomicAdd(&counts[threadIdx.x], bins[threadIdx.x]);
}
__global__ void compact(const float* x, float* y, int* count) {
  GRADUS_SHARED(int, base, [2]);
  const bool keep = x[threadIdx.x] > 0;
  const unsigned votes = __ballot_sync(kAll, keep), lane = threadIdx.x % 32;
  if (lane == 0) base[threadIdx.x / 32] = __popc(votes);
  __syncthreads();
  const int before = threadIdx.x / 32 == 0 ? 0 : base[0];
  if (keep) y[before + __popc(votes & ((1u << lane) - 1))] = x[threadIdx.x];
  if (threadIdx.x == 0) *count = base[0] + base[1];
}
__global__ void group_sizes(const int* keys, float* sizes) {
  const unsigned same = __match_any_sync(kAll, keys[threadIdx.x]);
  sizes[threadIdx.x] = static_cast<float>(__popc(same));
}
__global__ void count_positive(const float* x, float* counts) {
  const int n = __syncthreads_count(x[threadIdx.x] > 0), any = __syncthreads_or(x[threadIdx.x] > 2), all = __syncthreads_and(x[threadIdx.x] < 2);
  if (threadIdx.x == 0) counts[0] = static_cast<float>(n), counts[1] = static_cast<float>(any != 0), counts[2] = static_cast<float>(all != 0);
}
__global__ void locked_sum(const int* x, int* lock, int* sum) {
  if (threadIdx.x != 0) return;
  while (atomicCAS(lock, 0, 1) != 0) {}
  __threadfence();
  *sum += x[blockIdx.x];
  __threadfence();
  atomicExch(lock, 0);
}

// ---- exchanges ----

__global__ void transpose(const float* x, float* y, int rows, int columns) {
  GRADUS_SHARED(float, tile, [32][33]);
  const int c = blockIdx.x * 32 + threadIdx.x, r0 = blockIdx.y * 32;
  for (int j = threadIdx.y; j < 32; j += 8)
    if (r0 + j < rows && c < columns) tile[j][threadIdx.x] = x[(r0 + j) * columns + c];
  __syncthreads();
  const int r = r0 + threadIdx.x, c0 = blockIdx.x * 32;
  for (int j = threadIdx.y; j < 32; j += 8)
    if (c0 + j < columns && r < rows) y[(c0 + j) * rows + r] = tile[threadIdx.x][j];
}
__global__ void exchange_in_warp(float* x) {
  GRADUS_SHARED(float, s, [64]);
  s[threadIdx.x] = x[threadIdx.x];
  __syncwarp();
  float v = s[threadIdx.x ^ 31];
  __syncwarp();
  s[threadIdx.x] = v + 1;
  __syncwarp();
  x[threadIdx.x] = s[threadIdx.x ^ 1];
}
// Halves of the warp synchronise apart from each other, at different times.
__global__ void exchange_in_half_warps(float* x) {
  GRADUS_SHARED(float, s, [32]);
  const unsigned mask = threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u;
  const int rounds = threadIdx.x < 16 ? 1 : 3;
  for (int r = 0; r < rounds; ++r) {
    s[threadIdx.x] = x[threadIdx.x];
    __syncwarp(mask);
    const float v = s[threadIdx.x ^ 5];
    __syncwarp(mask);
    x[threadIdx.x] = v;
  }
}
__global__ void stencil(const float* x, float* y, int n) {
  GRADUS_SHARED(float, s, [66]);
  const int i = blockIdx.x * 64 + threadIdx.x;
  const auto at = [&](int j) { return j < 0 || j >= n ? 0.0f : x[j]; };
  s[threadIdx.x + 1] = at(i);
  if (threadIdx.x == 0) s[0] = at(i - 1);
  if (threadIdx.x == 63) s[65] = at(i + 1);
  __syncthreads();
  if (i >= n) return;
  y[i] = s[threadIdx.x] - 2 * s[threadIdx.x + 1] + s[threadIdx.x + 2];
}
// Two warps fill, two warps use, through named barriers: full (1) and empty (2).
__global__ void producers_and_consumers(const float* x, float* y, int rounds) {
  GRADUS_SHARED(float, buffer, [64]);
  const bool produces = threadIdx.x < 64;
  const int i = threadIdx.x % 64;
  for (int r = 0; r < rounds; ++r) {
    if (produces) {
      if (r > 0) gradus::bar_sync(2, 128);
      buffer[i] = x[r * 64 + i];
      gradus::bar_arrive(1, 128);
    } else {
      gradus::bar_sync(1, 128);
      y[r * 64 + i] = 2 * buffer[63 - i];
      if (r + 1 < rounds) gradus::bar_arrive(2, 128);
    }
  }
}
__global__ void early_exit(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  __syncthreads();
  y[i] = x[i] * 3;
}
__global__ void bytes_by_neighbours(const unsigned char* x, unsigned char* y) {
  GRADUS_SHARED(unsigned char, s, [64]);
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = s[63 - threadIdx.x];
}
struct Padded {
  float v;
  long long at;
};
/// Four bytes of a Padded are in no member: nobody writes them, and a copy of the whole reads them.
__global__ void objects_with_padding(const float* x, float* y) {
  GRADUS_SHARED(Padded, s, [64]);
  s[threadIdx.x].v = x[threadIdx.x], s[threadIdx.x].at = threadIdx.x;
  __syncthreads();
  const Padded p = s[63 - threadIdx.x];
  y[p.at] = p.v;
}

// ---- running them, and the same with loops ----

const Floats& input() {
  static const Floats x = numbers(512, 1);
  return x;
}
std::vector<int> keys(std::size_t n) {
  std::vector<int> k(n);
  for (std::size_t i = 0; i < n; ++i) k[i] = static_cast<int>(i * i * 7 % 16);
  return k;
}
Floats as_floats(const std::vector<int>& v) { return Floats(v.begin(), v.end()); }
Floats first(const Floats& v, std::size_t n) { return Floats(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(n)); }

Floats sums(std::size_t piece) {
  Floats y;
  for (std::size_t i = 0; i < 512; i += piece)
    y.push_back(static_cast<float>(std::accumulate(input().begin() + static_cast<std::ptrdiff_t>(i), input().begin() + static_cast<std::ptrdiff_t>(i + piece), 0.0)));
  return y;
}
template <void (*kernel)(const float*, float*), int threads, int blocks, int outputs> Floats simple() {
  const OnDevice<float> x(input()), y(outputs);
  launch(kernel, {"simple", blocks, threads}, x, y);
  return y.host();
}

}  // namespace

const std::vector<Correct>& correct_kernels() {
  static const std::vector<Correct> all = {
      {"reduce_tree", simple<reduce_tree, 128, 4, 4>, [] { return sums(128); }, 1e-5},
      {"reduce_shuffle", simple<reduce_shuffle, 128, 4, 4>, [] { return sums(128); }, 1e-5},
      {"reduce_last_block",
       [] {
         const OnDevice<float> x(input()), partial(8), y(1);
         const OnDevice<unsigned> arrived(std::vector<unsigned>{0});
         launch(reduce_last_block, {"sum", 8, 64}, x, partial, arrived, y);
         return y.host();
       },
       [] { return sums(512); }, 1e-5},
      {"reduce_integers",
       [] {
         const OnDevice<int> x(keys(64)), y(8);
         launch(reduce_integers, {"reduce", 1, 64}, x, y);
         return as_floats(y.host());
       },
       [] {
         Floats y;
         const auto k = keys(64);
         for (int w = 0; w < 2; ++w) {
           int sum = 0, low = 99, high = 0, bits = 0;
           for (int i = w * 32; i < w * 32 + 32; ++i) sum += k[i], low = std::min(low, k[i]), high = std::max(high, k[i]), bits |= k[i];
           for (const int v : {sum, low, high, bits}) y.push_back(static_cast<float>(v));
         }
         return y;
       },
       0},
      {"layer_norm",
       [] {
         const OnDevice<float> x(input()), y(512);
         launch(layer_norm, {"layer_norm", 4, 64}, x, y, 128);
         return y.host();
       },
       [] {
         Floats y(512);
         for (int r = 0; r < 4; ++r) {
           double s = 0, ss = 0;
           for (int c = 0; c < 128; ++c) s += input()[r * 128 + c], ss += input()[r * 128 + c] * static_cast<double>(input()[r * 128 + c]);
           const double mean = s / 128, scale = 1 / std::sqrt(ss / 128 - mean * mean + 1e-5);
           for (int c = 0; c < 128; ++c) y[r * 128 + c] = static_cast<float>((input()[r * 128 + c] - mean) * scale);
         }
         return y;
       },
       1e-5},
      {"scan_double_buffer", simple<scan_double_buffer, 64, 1, 64>,
       [] {
         Floats y(64);
         std::partial_sum(input().begin(), input().begin() + 64, y.begin());
         return y;
       },
       1e-5},
      {"scan_shuffle", simple<scan_shuffle, 64, 1, 64>,
       [] {
         Floats y(64);
         for (int w = 0; w < 2; ++w) std::partial_sum(input().begin() + w * 32, input().begin() + w * 32 + 32, y.begin() + w * 32);
         return y;
       },
       1e-5},
      {"bitonic_sort",
       [] {
         const OnDevice<float> x(first(input(), 128));
         launch(bitonic_sort, {"sort", 1, 128, 128 * sizeof(float)}, x);
         return x.host();
       },
       [] {
         Floats y = first(input(), 128);
         std::sort(y.begin(), y.end());
         return y;
       },
       0},
      {"top_k",
       [] {
         const OnDevice<float> x(input()), values(20), indices(20);
         launch(top_k, {"topk", 4, 32}, x, values, indices, 128, 5);
         Floats y = values.host();
         const Floats i = indices.host();
         y.insert(y.end(), i.begin(), i.end());
         return y;
       },
       [] {
         Floats y(40);
         for (int r = 0; r < 4; ++r) {
           std::vector<int> order(128);
           std::iota(order.begin(), order.end(), 0);
           std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return input()[r * 128 + a] > input()[r * 128 + b]; });
           for (int k = 0; k < 5; ++k) y[r * 5 + k] = input()[r * 128 + order[k]], y[20 + r * 5 + k] = static_cast<float>(order[k]);
         }
         return y;
       },
       0},
      {"histogram",
       [] {
         const OnDevice<int> k(keys(1000)), counts(std::vector<int>(16, 0));
         launch(histogram, {"histogram", 3, 64}, k, 1000, counts);
         return as_floats(counts.host());
       },
       [] {
         Floats y(16);
         for (const int k : keys(1000)) ++y[k];
         return y;
       },
       0},
      {"compact",
       [] {
         const OnDevice<float> x(first(input(), 64)), y(Floats(64, 0.0f));
         const OnDevice<int> count(1);
         launch(compact, {"nonzero", 1, 64}, x, y, count);
         Floats out = y.host();
         out.push_back(static_cast<float>(count.host()[0]));
         return out;
       },
       [] {
         Floats y;
         for (int i = 0; i < 64; ++i)
           if (input()[i] > 0) y.push_back(input()[i]);
         const auto n = static_cast<float>(y.size());
         y.resize(64);
         y.push_back(n);
         return y;
       },
       0},
      {"group_sizes",
       [] {
         const OnDevice<int> k(keys(32));
         const OnDevice<float> y(32);
         launch(group_sizes, {"groups", 1, 32}, k, y);
         return y.host();
       },
       [] {
         Floats y(32);
         const auto k = keys(32);
         for (int i = 0; i < 32; ++i) y[i] = static_cast<float>(std::count(k.begin(), k.end(), k[i]));
         return y;
       },
       0},
      {"count_positive", simple<count_positive, 96, 1, 3>,
       [] { return Floats{static_cast<float>(std::count_if(input().begin(), input().begin() + 96, [](float v) { return v > 0; })), 0, 1}; }, 0},
      {"locked_sum",
       [] {
         const OnDevice<int> x(keys(16)), lock(std::vector<int>{0}), sum(std::vector<int>{0});
         launch(locked_sum, {"sum", 16, 32}, x, lock, sum);
         return as_floats(sum.host());
       },
       [] {
         const auto k = keys(16);
         return Floats{static_cast<float>(std::accumulate(k.begin(), k.end(), 0))};
       },
       0},
      {"transpose",
       [] {
         const OnDevice<float> x(first(input(), 40 * 12)), y(40 * 12);
         launch(transpose, {"transpose", {1, 2}, {32, 8}}, x, y, 40, 12);
         return y.host();
       },
       [] {
         Floats y(480);
         for (int r = 0; r < 40; ++r)
           for (int c = 0; c < 12; ++c) y[c * 40 + r] = input()[r * 12 + c];
         return y;
       },
       0},
      {"exchange_in_warp",
       [] {
         const OnDevice<float> x(first(input(), 64));
         launch(exchange_in_warp, {"exchange", 1, 64}, x);
         return x.host();
       },
       [] {
         Floats y(64);
         for (int i = 0; i < 64; ++i) y[i] = input()[i ^ 1 ^ 31] + 1;
         return y;
       },
       0},
      {"exchange_in_half_warps",
       [] {
         const OnDevice<float> x(first(input(), 32));
         launch(exchange_in_half_warps, {"exchange", 1, 32}, x);
         return x.host();
       },
       [] {
         Floats y(32);
         for (int i = 0; i < 32; ++i) y[i] = input()[i ^ 5];
         return y;
       },
       0},
      {"stencil",
       [] {
         const OnDevice<float> x(first(input(), 150)), y(150);
         launch(stencil, {"stencil", 3, 64}, x, y, 150);
         return y.host();
       },
       [] {
         Floats y(150);
         const auto at = [](int i) { return i < 0 || i >= 150 ? 0.0f : input()[i]; };
         for (int i = 0; i < 150; ++i) y[i] = at(i - 1) - 2 * at(i) + at(i + 1);
         return y;
       },
       1e-6},
      {"producers_and_consumers",
       [] {
         const OnDevice<float> x(first(input(), 256)), y(256);
         launch(producers_and_consumers, {"pipeline", 1, 128}, x, y, 4);
         return y.host();
       },
       [] {
         Floats y(256);
         for (int i = 0; i < 256; ++i) y[i] = 2 * input()[i / 64 * 64 + 63 - i % 64];
         return y;
       },
       0},
      {"early_exit",
       [] {
         const OnDevice<float> x(first(input(), 100)), y(100);
         launch(early_exit, {"triple", 2, 64}, x, y, 100);
         return y.host();
       },
       [] {
         Floats y = first(input(), 100);
         for (float& v : y) v *= 3;
         return y;
       },
       0},
      {"bytes_by_neighbours",
       [] {
         std::vector<unsigned char> bytes(64);
         for (std::size_t i = 0; i < 64; ++i) bytes[i] = static_cast<unsigned char>(i * 3);
         const OnDevice<unsigned char> x(bytes), y(64);
         launch(bytes_by_neighbours, {"bytes", 1, 64}, x, y);
         const auto out = y.host();
         return Floats(out.begin(), out.end());
       },
       [] {
         Floats y(64);
         for (int i = 0; i < 64; ++i) y[i] = static_cast<float>((63 - i) * 3);
         return y;
       },
       0},
      {"objects_with_padding",
       [] {
         const OnDevice<float> x(first(input(), 64)), y(64);
         launch(objects_with_padding, {"padded", 1, 64}, x, y);
         return y.host();
       },
       [] { return first(input(), 64); },
       0},
  };
  return all;
}

}  // namespace emulation_test
