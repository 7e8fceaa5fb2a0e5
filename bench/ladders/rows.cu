// Softmax in six steps, layer normalisation in five. rows.md tells what each one buys.
#include "bench/ladders/ladder.cuh"
#include "bench/ladders/rows.hpp"

namespace gradus::ladders {
namespace {

inline constexpr float kNone = -std::numeric_limits<float>::infinity();

// ---- softmax ----
// ---- 1 naive: a thread a row, three passes ----
__global__ void softmax_naive(const float* x, float* y, int64_t N, int64_t C) {
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  float top = kNone, sum = 0;
  for (int64_t c = 0; c < C; ++c) top = fmaxf(top, x[n * C + c]);
  for (int64_t c = 0; c < C; ++c) sum += m::exp(x[n * C + c] - top);
  for (int64_t c = 0; c < C; ++c) y[n * C + c] = m::exp(x[n * C + c] - top) / sum;
}
// ---- 2 shared: a block a row; the threads' maxima and sums are halved in shared memory ----
template <class Join> __device__ inline float halved(float mine, Join join) {
  GRADUS_SHARED(float, s, [kThreads]);
  s[thread()] = mine;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (thread() < half) s[thread()] = join(s[thread()], s[thread() + half]);
    __syncthreads();
  }
  const float all = s[0];
  __syncthreads();                                   // the next call writes s
  return all;
}
__global__ void softmax_shared(const float* x, float* y, int64_t C) {
  const float* row = x + blockIdx.x * C;
  float top = kNone, sum = 0;
  for (int64_t c = thread(); c < C; c += kThreads) top = fmaxf(top, row[c]);
  top = halved(top, Larger{});
  for (int64_t c = thread(); c < C; c += kThreads) sum += m::exp(row[c] - top);
  sum = halved(sum, Add{});
  for (int64_t c = thread(); c < C; c += kThreads) y[blockIdx.x * C + c] = m::exp(row[c] - top) / sum;
}
// ---- 3 warp: a warp a row; what lanes find passes from register to register ----
__global__ void softmax_warp(const float* x, float* y, int64_t N, int64_t C) {
  const int64_t n = warp_in_grid();
  if (n >= N) return;                                // the whole warp
  float top = kNone, sum = 0;
  for (int64_t c = lane(); c < C; c += kWarp) top = fmaxf(top, x[n * C + c]);
  top = warp_join(top, Larger{});
  for (int64_t c = lane(); c < C; c += kWarp) sum += m::exp(x[n * C + c] - top);
  sum = warp_join(sum, Add{});
  for (int64_t c = lane(); c < C; c += kWarp) y[n * C + c] = m::exp(x[n * C + c] - top) / sum;
}
// ---- 4 online: maximum and sum in one pass; a larger maximum rescales the sum (Milakov & Gimelshein 2018, algorithm 3) ----
// ---- 5 vector: the same with 16 bytes an access ----
template <class Team> __global__ void softmax_online(const float* x, float* y, int64_t N, int64_t C, bool wide) {
  const int64_t n = Team::row();
  if (n >= N) return;
  const ExpSum<float> row = row_exp_sum<Team>(x + n * C, C, wide);
  const float scale = 1 / row.sum, top = row.top;
  for_columns<Team, float>(C, wide, [&](int64_t c, auto width) {
    auto e = load_elements<decltype(width)::value>(x + n * C + c);
    for (float& v : e.v) v = m::exp(v - top) * scale;
    store_elements(y + n * C + c, e);
  });
}
// ---- 6 registers: a row stays in the team's registers: each element is read once, its exponential taken once ----
/// f(q, c) for this thread's groups of four columns c ... c + 3, q counting them.
template <class Team, int QUADS, class F> __device__ inline void for_quads(int64_t C, F f) {
  GRADUS_UNROLL_ALL
  for (int q = 0; q < QUADS; ++q) {
    const int64_t c = 4 * (Team::rank() + static_cast<int64_t>(q) * Team::size());
    if (c < C) f(q, c);
  }
}
template <class Team, int QUADS> __global__ void softmax_registers(const float* x, float* y, int64_t N, int64_t C) {
  const int64_t n = Team::row();
  if (n >= N) return;
  Elements<float, 4> mine[QUADS];
  float top = kNone, sum = 0;
  for_quads<Team, QUADS>(C, [&](int q, int64_t c) {
    mine[q] = load_elements<4>(x + n * C + c);
    for (const float v : mine[q].v) top = fmaxf(top, v);
  });
  top = Team::join(top, kNone, Larger{});
  for_quads<Team, QUADS>(C, [&](int q, int64_t) {
    for (float& v : mine[q].v) sum += v = m::exp(v - top);
  });
  const float scale = 1 / team_sum<Team>(sum);
  for_quads<Team, QUADS>(C, [&](int q, int64_t c) {
    for (float& v : mine[q].v) v *= scale;
    store_elements(y + n * C + c, mine[q]);
  });
}

// ---- layer normalisation ----
// ---- 1 naive: a thread a row, three passes ----
__global__ void layer_norm_naive(const float* x, const float* gamma, const float* beta, float eps, float* y, int64_t N, int64_t C) {
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  float mean = 0, var = 0;
  for (int64_t c = 0; c < C; ++c) mean += x[n * C + c];
  mean /= static_cast<float>(C);
  for (int64_t c = 0; c < C; ++c) var += (x[n * C + c] - mean) * (x[n * C + c] - mean);
  const float scale = 1 / sqrtf(var / static_cast<float>(C) + eps);
  for (int64_t c = 0; c < C; ++c) y[n * C + c] = (x[n * C + c] - mean) * scale * gamma[c] + beta[c];
}
// ---- 2 warp: a warp a row ----
__global__ void layer_norm_warp(const float* x, const float* gamma, const float* beta, float eps, float* y, int64_t N, int64_t C) {
  const int64_t n = warp_in_grid();
  if (n >= N) return;
  float mean = 0, var = 0;
  for (int64_t c = lane(); c < C; c += kWarp) mean += x[n * C + c];
  mean = warp_join(mean, Add{}) / static_cast<float>(C);
  for (int64_t c = lane(); c < C; c += kWarp) var += (x[n * C + c] - mean) * (x[n * C + c] - mean);
  const float scale = 1 / sqrtf(warp_join(var, Add{}) / static_cast<float>(C) + eps);
  for (int64_t c = lane(); c < C; c += kWarp) y[n * C + c] = (x[n * C + c] - mean) * scale * gamma[c] + beta[c];
}
// ---- 3 welford: mean and squared distances in one pass, joined without cancellation (Chan, Golub, LeVeque 1979) ----
// ---- 4 vector: the same with 16 bytes an access ----
struct Spread {
  float n, mean, squares;                            // squares = sum (x - mean)^2
};
__device__ inline Spread from_lane_xor(Spread v, int mask) {
  return {kernels::cu::from_lane_xor(v.n, mask), kernels::cu::from_lane_xor(v.mean, mask), kernels::cu::from_lane_xor(v.squares, mask)};
}
struct JoinSpread {
  __device__ Spread operator()(Spread a, Spread b) const {
    const float n = a.n + b.n, away = b.mean - a.mean, share = n > 0 ? b.n / n : 0;
    return {n, a.mean + away * share, a.squares + b.squares + away * away * a.n * share};
  }
};
template <class Team>
__global__ void layer_norm_welford(const float* x, const float* gamma, const float* beta, float eps, float* y, int64_t N, int64_t C, bool wide) {
  const int64_t n = Team::row();
  if (n >= N) return;
  Spread mine{0, 0, 0};
  for_columns<Team, float>(C, wide, [&](int64_t c, auto width) {
    const auto e = load_elements<decltype(width)::value>(x + n * C + c);
    for (const float v : e.v) {
      const float away = v - mine.mean;
      mine.n += 1, mine.mean += away / mine.n, mine.squares += away * (v - mine.mean);
    }
  });
  const Spread row = Team::join(mine, Spread{0, 0, 0}, JoinSpread{});
  const float mean = row.mean, scale = 1 / sqrtf(row.squares / static_cast<float>(C) + eps);
  for_columns<Team, float>(C, wide, [&](int64_t c, auto width) {
    constexpr int W = decltype(width)::value;
    auto e = load_elements<W>(x + n * C + c);
    const auto g = load_elements<W>(gamma + c), b = load_elements<W>(beta + c);
    for (int j = 0; j < W; ++j) e.v[j] = (e.v[j] - mean) * scale * g.v[j] + b.v[j];
    store_elements(y + n * C + c, e);
  });
}
// ---- 5 registers: one read of x; two passes over registers are cheaper than Welford's division an element, and as exact ----
template <class Team, int QUADS>
__global__ void layer_norm_registers(const float* x, const float* gamma, const float* beta, float eps, float* y, int64_t N, int64_t C) {
  const int64_t n = Team::row();
  if (n >= N) return;
  Elements<float, 4> mine[QUADS];
  float sum = 0, squares = 0;
  for_quads<Team, QUADS>(C, [&](int q, int64_t c) {
    mine[q] = load_elements<4>(x + n * C + c);
    for (const float v : mine[q].v) sum += v;
  });
  const float mean = team_sum<Team>(sum) / static_cast<float>(C);
  for_quads<Team, QUADS>(C, [&](int q, int64_t) {
    for (float& v : mine[q].v) v -= mean, squares += v * v;
  });
  const float scale = 1 / sqrtf(team_sum<Team>(squares) / static_cast<float>(C) + eps);
  for_quads<Team, QUADS>(C, [&](int q, int64_t c) {
    const auto g = load_elements<4>(gamma + c), b = load_elements<4>(beta + c);
    for (int j = 0; j < 4; ++j) mine[q].v[j] = mine[q].v[j] * scale * g.v[j] + b.v[j];
    store_elements(y + n * C + c, mine[q]);
  });
}

/// f(Team, Width<QUADS>) for the smallest team and share that hold a row of C <= 8192 elements.
template <class F> void by_row_length(int64_t C, F f) {
  const auto share = [&](auto team) {
    const int64_t per_quad = std::is_same_v<decltype(team), Warp> ? 4 * kWarp : 4 * kThreads;
    if (C <= per_quad) f(team, Width<1>{});
    else if (C <= 2 * per_quad) f(team, Width<2>{});
    else if (C <= 4 * per_quad) f(team, Width<4>{});
    else f(team, Width<8>{});
  };
  if (C <= 1024) share(Warp{});
  else share(Block{});
}
inline constexpr int64_t kInRegisters = 8192;

void require_quads(const char* op, int64_t C, bool aligned) {
  if (!aligned)
    throw std::invalid_argument(std::string(op) + ": this step reads 16 bytes at a time: C must be a multiple of 4 and the pointers of 16 bytes; C is " +
                                std::to_string(C));
}
template <class Team> Grid grid_of(int64_t N) { return {blocks_for(N, Team::rows_per_block)}; }

}  // namespace

const std::vector<std::string>& softmax_steps() {
  static const std::vector<std::string> names{"naive", "shared", "warp", "online", "vector", "registers"};
  return names;
}
void softmax(const std::string& step, const float* x, float* y, int64_t N, int64_t C) {
  if (N * C == 0) return;
  if (step == "naive") return enqueue("softmax_naive", softmax_naive, {blocks_for(N, kThreads)}, x, y, N, C);
  if (step == "shared") return enqueue("softmax_shared", softmax_shared, {N}, x, y, C);
  if (step == "warp") return enqueue("softmax_warp", softmax_warp, grid_of<Warp>(N), x, y, N, C);
  if (step == "online") return enqueue("softmax_online", softmax_online<Warp>, grid_of<Warp>(N), x, y, N, C, false);
  if (step != "vector" && step != "registers") no_step("softmax", step);
  require_quads("softmax", C, rows_aligned(C, x, y));
  if (step == "vector" || C > kInRegisters) {
    if (C <= 1024) return enqueue("softmax_vector", softmax_online<Warp>, grid_of<Warp>(N), x, y, N, C, true);
    return enqueue("softmax_vector", softmax_online<Block>, grid_of<Block>(N), x, y, N, C, true);
  }
  by_row_length(C, [&](auto team, auto quads) {
    using Team = decltype(team);
    enqueue("softmax_registers", softmax_registers<Team, decltype(quads)::value>, grid_of<Team>(N), x, y, N, C);
  });
}

const std::vector<std::string>& layer_norm_steps() {
  static const std::vector<std::string> names{"naive", "warp", "welford", "vector", "registers"};
  return names;
}
void layer_norm(const std::string& step, const float* x, const float* gamma, const float* beta, float eps, float* y, int64_t N, int64_t C) {
  if (N * C == 0) return;
  if (step == "naive") return enqueue("layer_norm_naive", layer_norm_naive, {blocks_for(N, kThreads)}, x, gamma, beta, eps, y, N, C);
  if (step == "warp") return enqueue("layer_norm_warp", layer_norm_warp, grid_of<Warp>(N), x, gamma, beta, eps, y, N, C);
  if (step == "welford")
    return enqueue("layer_norm_welford", layer_norm_welford<Warp>, grid_of<Warp>(N), x, gamma, beta, eps, y, N, C, false);
  if (step != "vector" && step != "registers") no_step("layer_norm", step);
  require_quads("layer_norm", C, rows_aligned(C, x, y, gamma, beta));
  if (step == "vector" || C > kInRegisters) {
    if (C <= 1024) return enqueue("layer_norm_vector", layer_norm_welford<Warp>, grid_of<Warp>(N), x, gamma, beta, eps, y, N, C, true);
    return enqueue("layer_norm_vector", layer_norm_welford<Block>, grid_of<Block>(N), x, gamma, beta, eps, y, N, C, true);
  }
  by_row_length(C, [&](auto team, auto quads) {
    using Team = decltype(team);
    enqueue("layer_norm_registers", layer_norm_registers<Team, decltype(quads)::value>, grid_of<Team>(N), x, gamma, beta, eps, y, N, C);
  });
}

}  // namespace gradus::ladders
