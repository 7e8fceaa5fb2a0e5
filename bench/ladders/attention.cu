// Attention in four steps on the ordinary units, in two on tensor cores. attention.md tells what each one buys.
#include "bench/ladders/attention.hpp"
#include "bench/ladders/ladder.cuh"

namespace gradus::ladders {
namespace {

inline constexpr float kNone = -std::numeric_limits<float>::infinity();

/// As kernels see the problem.
template <class T> struct Heads {
  const T *q, *k, *v;
  T* y;
  int64_t heads, steps, d;
  bool causal;
  float scale;
  /// Keys that query i sees are 0 ... seen(i) - 1.
  __device__ int64_t seen(int64_t i) const { return causal && i + 1 < steps ? i + 1 : steps; }
};

// ---- 1 scores: as the formula is written, three kernels ----
__global__ void attention_scores(Heads<float> h, float* s) {
  const int64_t i = thread_in_grid();
  if (i >= h.heads * h.steps * h.steps) return;
  const int64_t key = i % h.steps, query = i / h.steps, head = query / h.steps;
  float dot = 0;
  for (int64_t c = 0; c < h.d; ++c) dot += h.q[query * h.d + c] * h.k[(head * h.steps + key) * h.d + c];
  s[i] = key < h.seen(query % h.steps) ? dot * h.scale : kNone;
}
__global__ void attention_softmax(float* s, int64_t rows, int64_t T) {
  const int64_t n = warp_in_grid();
  if (n >= rows) return;
  const ExpSum<float> row = row_exp_sum<Warp>(s + n * T, T, false);
  for (int64_t j = lane(); j < T; j += kWarp) s[n * T + j] = m::exp(s[n * T + j] - row.top) / row.sum;
}
__global__ void attention_product(Heads<float> h, const float* p) {
  const int64_t i = thread_in_grid();
  if (i >= h.heads * h.steps * h.d) return;
  const int64_t c = i % h.d, query = i / h.d, head = query / h.steps;
  float sum = 0;
  for (int64_t j = 0; j < h.steps; ++j) sum += p[query * h.steps + j] * h.v[(head * h.steps + j) * h.d + c];
  h.y[i] = sum;
}

// ---- 2 row: a warp a query. The maximum so far, the sum and the result are rescaled when a larger score comes ----
template <int D> __global__ void attention_row(Heads<float> h) {
  constexpr int S = D / kWarp;                       // a lane's columns: lane, lane + 32, ...
  const int64_t query = warp_in_grid();
  if (query >= h.heads * h.steps) return;
  const int64_t first = query / h.steps * h.steps;
  float q[S], y[S] = {}, top = kNone, sum = 0;
  for (int c = 0; c < S; ++c) q[c] = h.q[query * D + lane() + kWarp * c] * h.scale;
  for (int64_t j = first; j < first + h.seen(query - first); ++j) {
    float s = 0;
    for (int c = 0; c < S; ++c) s += q[c] * h.k[j * D + lane() + kWarp * c];
    s = warp_join(s, Add{});
    const float now = fmaxf(top, s), shrink = m::exp(top - now), p = m::exp(s - now);
    top = now, sum = sum * shrink + p;
    for (int c = 0; c < S; ++c) y[c] = y[c] * shrink + p * h.v[j * D + lane() + kWarp * c];
  }
  for (int c = 0; c < S; ++c) h.y[query * D + lane() + kWarp * c] = y[c] / sum;
}

// ---- 3 tile: a thread a query; 64 of them share tiles of 32 keys in shared memory ----
template <int D> __global__ void __launch_bounds__(64) attention_tile(Heads<float> h) {
  GRADUS_DYN_SHARED(float, shared);
  float *qs = shared, *ks = qs + 64 * (D + 1), *vs = ks + 32 * D;      // q transposed in banks: a row is D + 1 long
  const int64_t blocks = (h.steps + 63) / 64, first = blockIdx.x / blocks * h.steps, i0 = blockIdx.x % blocks * 64, i = i0 + thread();
  for (int e = thread(); e < 64 * D; e += 64) qs[e / D * (D + 1) + e % D] = i0 + e / D < h.steps ? h.q[(first + i0) * D + e] * h.scale : 0;
  float y[D] = {}, top = kNone, sum = 0;
  const int64_t last = i0 + 63 < h.steps ? i0 + 63 : h.steps - 1, end = h.seen(last), mine = i < h.steps ? h.seen(i) : 0;
  for (int64_t j0 = 0; j0 < end; j0 += 32) {
    const int keys = static_cast<int>(end - j0 < 32 ? end - j0 : 32);
    __syncthreads();
    for (int e = thread(); e < keys * D; e += 64) ks[e] = h.k[(first + j0) * D + e], vs[e] = h.v[(first + j0) * D + e];
    __syncthreads();
    for (int j = 0; j < keys && j0 + j < mine; ++j) {
      float s = 0;
      for (int c = 0; c < D; ++c) s += qs[thread() * (D + 1) + c] * ks[j * D + c];
      const float now = fmaxf(top, s), shrink = m::exp(top - now), p = m::exp(s - now);
      top = now, sum = sum * shrink + p;
      GRADUS_UNROLL_ALL
      for (int c = 0; c < D; ++c) y[c] = y[c] * shrink + p * vs[j * D + c];
    }
  }
  if (i >= h.steps) return;
  GRADUS_UNROLL_ALL
  for (int c = 0; c < D; ++c) h.y[(first + i) * D + c] = y[c] / sum;
}

// ---- 4 square: 64 queries x 64 keys as two small products. 256 threads in 16 rows of 16; a thread makes 4 x 4 scores and
//      4 x D / 16 of the result: rows r + 16 a, columns c + 16 b ----
template <int D> struct Square {
  static constexpr int kRow = D + 4;                  // 16-byte aligned rows in different banks
  float q[64][kRow], kv[64][kRow], p[64][64 + 16];     // a warp writes 16 columns of two rows: into different banks
};
template <int D> __global__ void __launch_bounds__(256) attention_square(Heads<float> h) {
  GRADUS_DYN_SHARED(Square<D>, s);
  constexpr int W = D / 16;
  const int64_t blocks = (h.steps + 63) / 64, first = blockIdx.x / blocks * h.steps, i0 = blockIdx.x % blocks * 64;
  const int row = thread() / 16, column = thread() % 16;
  const auto fill = [&](float (&to)[64][Square<D>::kRow], const float* x, int64_t from, float factor) {
    for (int e = thread(); e < 64 * D / 4; e += 256) {
      const int r = e / (D / 4), c = e % (D / 4) * 4;
      float4 v = from + r < h.steps ? load16<float4>(x + (first + from + r) * D + c) : make_float4(0, 0, 0, 0);
      v.x *= factor, v.y *= factor, v.z *= factor, v.w *= factor;
      store16(&to[r][c], v);
    }
  };
  fill(s->q, h.q, i0, h.scale);
  float y[4][W] = {}, top[4] = {kNone, kNone, kNone, kNone}, sum[4] = {};
  const int64_t end = h.seen(i0 + 63 < h.steps ? i0 + 63 : h.steps - 1);
  for (int64_t j0 = 0; j0 < end; j0 += 64) {
    __syncthreads();
    fill(s->kv, h.k, j0, 1);
    __syncthreads();
    float score[4][4] = {};
    for (int c = 0; c < D; c += 4) {
      float4 q[4], k[4];
      GRADUS_UNROLL(4)
      for (int a = 0; a < 4; ++a) q[a] = load16<float4>(&s->q[row + 16 * a][c]), k[a] = load16<float4>(&s->kv[column + 16 * a][c]);
      GRADUS_UNROLL(4)
      for (int a = 0; a < 4; ++a)
        GRADUS_UNROLL(4)
        for (int b = 0; b < 4; ++b) score[a][b] += q[a].x * k[b].x + q[a].y * k[b].y + q[a].z * k[b].z + q[a].w * k[b].w;
    }
    GRADUS_UNROLL(4)
    for (int a = 0; a < 4; ++a) {
      const int64_t i = i0 + row + 16 * a, mine = i < h.steps ? h.seen(i) : h.steps;
      float best = top[a], all = 0;
      for (int b = 0; b < 4; ++b) {
        if (j0 + column + 16 * b >= mine) score[a][b] = kNone;
        best = fmaxf(best, score[a][b]);
      }
      best = warp_join<16>(best, Larger{});
      const float shrink = m::exp(top[a] - best);
      for (int b = 0; b < 4; ++b) all += s->p[row + 16 * a][column + 16 * b] = m::exp(score[a][b] - best);
      sum[a] = sum[a] * shrink + warp_join<16>(all, Add{});
      top[a] = best;
      for (int w = 0; w < W; ++w) y[a][w] *= shrink;
    }
    __syncthreads();                                  // p is there, k no longer needed
    fill(s->kv, h.v, j0, 1);
    __syncthreads();
    for (int j = 0; j < 64; ++j) {
      float v[W];
      GRADUS_UNROLL_ALL
      for (int w = 0; w < W; ++w) v[w] = s->kv[j][column + 16 * w];
      GRADUS_UNROLL(4)
      for (int a = 0; a < 4; ++a) {
        const float p = s->p[row + 16 * a][j];
        GRADUS_UNROLL_ALL
        for (int w = 0; w < W; ++w) y[a][w] += p * v[w];
      }
    }
  }
  for (int a = 0; a < 4; ++a)
    for (int w = 0; w < W; ++w)
      if (i0 + row + 16 * a < h.steps) h.y[(first + i0 + row + 16 * a) * D + column + 16 * w] = y[a][w] / sum[a];
}

// ---- tensor cores (Dao 2023): a warp owns 16 queries of the block's 64 and goes over tiles of 64 keys; the probabilities never leave
//      its registers: where mma leaves two neighbouring tiles of scores is where it expects the left operand of the next product ----
// ---- 5 mma: keys and values are loaded, then used ----
// ---- 6 pipelined: the next tile is copied while this one is used ----
template <int D> struct KeysValues {
  bf16 k[64][D], v[64][D];
};
/// Where 16-byte chunk c of a row lies: eight rows below one another come from eight different places (cf. gemm.cu).
template <int D> __device__ inline int chunk_at(int row, int chunk) { return D % 64 == 0 ? chunk ^ (row % 8) : chunk ^ (row / 2 % 4); }
template <int D, bool PIPELINED> __global__ void __launch_bounds__(128) attention_mma(Heads<bf16> h) {
  GRADUS_DYN_SHARED(KeysValues<D>, tile);
  constexpr int kChunks = D / 8;
  const int64_t blocks = (h.steps + 63) / 64, first = blockIdx.x / blocks * h.steps, i0 = blockIdx.x % blocks * 64;
  const int m0 = thread() / kWarp * 16, g = lane() / 4, t = lane() % 4;
  const auto for_chunks = [&](bf16(&to)[64][D], const bf16* x, int64_t from, auto move) {
    GRADUS_UNROLL(2)
    for (int e = thread(); e < 64 * kChunks; e += 128) {
      const int r = e / kChunks, c = e % kChunks;
      const bool inside = from + r < h.steps;
      move(&to[r][chunk_at<D>(r, c) * 8], inside ? x + (first + from + r) * D + c * 8 : x, inside);
    }
  };

  unsigned q[D / 16][4];                              // passes through the place of the first keys
  for_chunks(tile[0].k, h.q, i0, AtOnce{});
  __syncthreads();
  GRADUS_UNROLL_ALL
  for (int c = 0; c < D / 16; ++c) {
    const int row = m0 + lane() % 16;
    ldsm_x4(q[c], &tile[0].k[row][chunk_at<D>(row, 2 * c + lane() / 16) * 8]);
  }
  __syncthreads();

  // Scores are kept in units of log 2: e^x is 2^(x log2 e), and the factor is part of the scale.
  const float scale = h.scale * 1.44269504f;
  float y[D / 8][4] = {}, top[2] = {kNone, kNone}, sum[2] = {};
  const int64_t end = h.seen(i0 + 63 < h.steps ? i0 + 63 : h.steps - 1), tiles = (end + 63) / 64;
  const auto start_copy = [&](int64_t n) {
    if (n < tiles) for_chunks(tile[n % 2].k, h.k, 64 * n, Later{}), for_chunks(tile[n % 2].v, h.v, 64 * n, Later{});
    copy_async_commit();
  };
  if constexpr (PIPELINED) start_copy(0);
  for (int64_t n = 0; n < tiles; ++n) {
    const KeysValues<D>& now = tile[PIPELINED ? n % 2 : 0];
    if constexpr (PIPELINED) {
      copy_async_wait<0>();
      __syncthreads();                                // tile n is there, and all have left tile n - 1
      start_copy(n + 1);
    } else {
      for_chunks(tile[0].k, h.k, 64 * n, AtOnce{}), for_chunks(tile[0].v, h.v, 64 * n, AtOnce{});
      __syncthreads();
    }
    float s[8][4] = {};                               // rows g and g + 8, columns 8 j + 2 t and the next
    GRADUS_UNROLL_ALL
    for (int c = 0; c < D / 16; ++c)
      GRADUS_UNROLL_ALL
      for (int j = 0; j < 8; j += 2) {
        const int row = 8 * j + lane() % 8 + lane() / 16 * 8;
        unsigned r[4];
        ldsm_x4(r, &now.k[row][chunk_at<D>(row, 2 * c + lane() / 8 % 2) * 8]);
        const unsigned left[2] = {r[0], r[1]}, right[2] = {r[2], r[3]};
        mma_m16n8k16<bf16>(s[j], q[c], left, s[j]), mma_m16n8k16<bf16>(s[j + 1], q[c], right, s[j + 1]);
      }
    const bool edge = 64 * n + 64 > (h.causal ? i0 + 1 : h.steps) || 64 * n + 64 > h.steps;
    GRADUS_UNROLL(2)
    for (int half = 0; half < 2; ++half) {
      const int64_t i = i0 + m0 + g + 8 * half, mine = i < h.steps ? h.seen(i) : h.steps;
      float best = top[half], all = 0;
      GRADUS_UNROLL_ALL
      for (int j = 0; j < 8; ++j)
        for (int b = 2 * half; b < 2 * half + 2; ++b) {
          s[j][b] = edge && 64 * n + 8 * j + 2 * t + b % 2 >= mine ? kNone : s[j][b] * scale;
          best = fmaxf(best, s[j][b]);
        }
      best = warp_join<4>(best, Larger{});
      const float shrink = exp2f(top[half] - best);
      top[half] = best;
      GRADUS_UNROLL_ALL
      for (int j = 0; j < 8; ++j)
        for (int b = 2 * half; b < 2 * half + 2; ++b) all += s[j][b] = exp2f(s[j][b] - best);
      sum[half] = sum[half] * shrink + all;           // the lane's share; joined at the end
      GRADUS_UNROLL_ALL
      for (int c = 0; c < D / 8; ++c) y[c][2 * half] *= shrink, y[c][2 * half + 1] *= shrink;
    }
    GRADUS_UNROLL_ALL
    for (int j = 0; j < 4; ++j) {                     // 16 keys
      const float *low = s[2 * j], *high = s[2 * j + 1];
      const auto both = [](const float* x) { return pair(bf16(x[0]), bf16(x[1])); };
      const unsigned p[4] = {both(low), both(low + 2), both(high), both(high + 2)};
      GRADUS_UNROLL_ALL
      for (int c = 0; c < D / 8; c += 2) {
        const int row = 16 * j + lane() % 16;
        unsigned r[4];
        ldsm_x4_trans(r, &now.v[row][chunk_at<D>(row, c + lane() / 16) * 8]);
        const unsigned left[2] = {r[0], r[1]}, right[2] = {r[2], r[3]};
        mma_m16n8k16<bf16>(y[c], p, left, y[c]), mma_m16n8k16<bf16>(y[c + 1], p, right, y[c + 1]);
      }
    }
    if constexpr (!PIPELINED) __syncthreads();
  }
  if constexpr (PIPELINED) copy_async_wait<0>();
  GRADUS_UNROLL(2)
  for (int half = 0; half < 2; ++half) {
    const int64_t i = i0 + m0 + g + 8 * half;
    const float share = 1 / warp_join<4>(sum[half], Add{});
    GRADUS_UNROLL_ALL
    for (int c = 0; c < D / 8; ++c)
      if (i < h.steps)
        *reinterpret_cast<unsigned*>(h.y + (first + i) * D + 8 * c + 2 * t) = pair(bf16(y[c][2 * half] * share), bf16(y[c][2 * half + 1] * share));
  }
}

template <class T> Heads<T> heads_of(const T* q, const T* k, const T* v, T* y, const AttentionSize& size) {
  return {q, k, v, y, size.heads, size.T, size.d, size.causal, 1 / std::sqrt(static_cast<float>(size.d))};
}
/// f(Width<d>).
template <class F> void by_head_size(int64_t d, F f) {
  if (d == 32) f(Width<32>{});
  else if (d == 64) f(Width<64>{});
  else if (d == 96) f(Width<96>{});
  else if (d == 128) f(Width<128>{});
  else throw std::invalid_argument("attention: d must be 32, 64, 96 or 128; it is " + std::to_string(d));
}

}  // namespace

const std::vector<std::string>& attention_steps() {
  static const std::vector<std::string> names{"scores", "row", "tile", "square"};
  return names;
}
void attention(const std::string& step, const float* q, const float* k, const float* v, float* y, const AttentionSize& size) {
  const Heads<float> h = heads_of(q, k, v, y, size);
  const int64_t rows = size.heads * size.T, tiles = size.heads * blocks_for(size.T, 64);
  if (rows == 0) return;
  by_head_size(size.d, [&](auto width) {
    constexpr int D = decltype(width)::value;
    if (step == "scores") {
      Scratch<float> s(rows * size.T);
      enqueue("attention_scores", attention_scores, {blocks_for(rows * size.T, kThreads)}, h, s.data());
      enqueue("attention_softmax", attention_softmax, {blocks_for(rows, Warp::rows_per_block)}, s.data(), rows, size.T);
      enqueue("attention_product", attention_product, {blocks_for(rows * size.d, kThreads)}, h, s.data());
    } else if (step == "row") {
      enqueue("attention_row", attention_row<D>, {blocks_for(rows, Warp::rows_per_block)}, h);
    } else if (step == "tile") {
      enqueue("attention_tile", attention_tile<D>, {tiles, 64, sizeof(float) * (64 * (D + 1) + 64 * D)}, h);
    } else if (step == "square") {
      enqueue("attention_square", attention_square<D>, {tiles, 256, sizeof(Square<D>)}, h);
    } else {
      no_step("attention", step, " for float");
    }
  });
}

const std::vector<std::string>& attention_bf16_steps() {
  static const std::vector<std::string> names{"mma", "pipelined"};
  return names;
}
void attention(const std::string& step, const bf16* q, const bf16* k, const bf16* v, bf16* y, const AttentionSize& size) {
  const Heads<bf16> h = heads_of(q, k, v, y, size);
  const int64_t tiles = size.heads * blocks_for(size.T, 64);
  by_head_size(size.d, [&](auto width) {
    constexpr int D = decltype(width)::value;
    if (step == "mma") enqueue("attention_mma", attention_mma<D, false>, {tiles, 128, sizeof(KeysValues<D>)}, h);
    else if (step == "pipelined") enqueue("attention_pipelined", attention_mma<D, true>, {tiles, 128, 2 * sizeof(KeysValues<D>)}, h);
    else no_step("attention", step, " for bf16");
  });
}

}  // namespace gradus::ladders
