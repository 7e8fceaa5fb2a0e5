// A product in seven steps on the ordinary units, in five on tensor cores. gemm.md tells what each one buys.
#include "bench/ladders/gemm.hpp"
#include "bench/ladders/ladder.cuh"

namespace gradus::ladders {
namespace {

/// Where a block's tile of C starts: tiles of BM x BN, row by row.
struct Corner {
  int64_t m, n;
};
template <int BM, int BN> __device__ inline Corner corner_of(int64_t N) {
  const int64_t across = (N + BN - 1) / BN, b = blockIdx.x;
  return {b / across * BM, b % across * BN};
}
/// x[row, column] of x : [rows, columns]; 0 outside.
__device__ inline float element(const float* x, int64_t rows, int64_t columns, int64_t row, int64_t column) {
  return row < rows && column < columns ? x[row * columns + column] : 0.0f;
}

// ---- 1 naive: a thread an element of C; the threads of a warp lie below one another ----
// ---- 2 coalesced: they lie side by side ----
template <bool COLUMNS_FIRST> __global__ void gemm_element(const float* A, const float* B, float* C, int64_t M, int64_t N, int64_t K) {
  const int64_t i = thread_in_grid();
  if (i >= M * N) return;
  const int64_t m = COLUMNS_FIRST ? i % M : i / N, n = COLUMNS_FIRST ? i / M : i % N;
  float sum = 0;
  for (int64_t k = 0; k < K; ++k) sum += A[m * K + k] * B[k * N + n];
  C[m * N + n] = sum;
}

// ---- 3 tile: a block's 32 x 32 elements share strips of A and B in shared memory ----
__global__ void gemm_tile(const float* A, const float* B, float* C, int64_t M, int64_t N, int64_t K) {
  GRADUS_SHARED(float, as, [32][32]);
  GRADUS_SHARED(float, bs, [32][32]);
  const auto [m0, n0] = corner_of<32, 32>(N);
  const int row = thread() / 32, column = thread() % 32;                  // 1024 threads
  float sum = 0;
  for (int64_t k0 = 0; k0 < K; k0 += 32) {
    as[row][column] = element(A, M, K, m0 + row, k0 + column);
    bs[row][column] = element(B, K, N, k0 + row, n0 + column);
    __syncthreads();
    for (int k = 0; k < 32; ++k) sum += as[row][k] * bs[k][column];
    __syncthreads();
  }
  if (m0 + row < M && n0 + column < N) C[(m0 + row) * N + n0 + column] = sum;
}

// ---- 4 column: a thread makes 8 elements below one another; an element of B is read once for the 8 ----
__global__ void gemm_column(const float* A, const float* B, float* C, int64_t M, int64_t N, int64_t K) {
  GRADUS_SHARED(float, as, [64][8]);
  GRADUS_SHARED(float, bs, [8][64]);
  const auto [m0, n0] = corner_of<64, 64>(N);
  const int t = thread(), column = t % 64, row = t / 64 * 8;              // 512 threads
  float sum[8] = {};
  for (int64_t k0 = 0; k0 < K; k0 += 8) {
    as[t / 8][t % 8] = element(A, M, K, m0 + t / 8, k0 + t % 8);
    bs[t / 64][t % 64] = element(B, K, N, k0 + t / 64, n0 + t % 64);
    __syncthreads();
    for (int k = 0; k < 8; ++k) {
      const float b = bs[k][column];
      GRADUS_UNROLL(8)
      for (int r = 0; r < 8; ++r) sum[r] += as[row + r][k] * b;
    }
    __syncthreads();
  }
  GRADUS_UNROLL(8)
  for (int r = 0; r < 8; ++r)
    if (m0 + row + r < M && n0 + column < N) C[(m0 + row + r) * N + n0 + column] = sum[r];
}

// ---- 5 square: a thread makes 8 x 8 elements: 16 reads for 64 products ----
__global__ void gemm_square(const float* A, const float* B, float* C, int64_t M, int64_t N, int64_t K) {
  GRADUS_SHARED(float, as, [128][8]);
  GRADUS_SHARED(float, bs, [8][128]);
  const auto [m0, n0] = corner_of<128, 128>(N);
  const int t = thread(), row = t / 16 * 8, column = t % 16 * 8;          // 256 threads
  float sum[8][8] = {};
  for (int64_t k0 = 0; k0 < K; k0 += 8) {
    for (int e = t; e < 128 * 8; e += 256) {
      as[e / 8][e % 8] = element(A, M, K, m0 + e / 8, k0 + e % 8);
      bs[e / 128][e % 128] = element(B, K, N, k0 + e / 128, n0 + e % 128);
    }
    __syncthreads();
    for (int k = 0; k < 8; ++k) {
      float b[8];
      GRADUS_UNROLL(8)
      for (int c = 0; c < 8; ++c) b[c] = bs[k][column + c];
      GRADUS_UNROLL(8)
      for (int r = 0; r < 8; ++r) {
        const float a = as[row + r][k];
        GRADUS_UNROLL(8)
        for (int c = 0; c < 8; ++c) sum[r][c] += a * b[c];
      }
    }
    __syncthreads();
  }
  GRADUS_UNROLL(8)
  for (int r = 0; r < 8; ++r)
    GRADUS_UNROLL(8)
    for (int c = 0; c < 8; ++c)
      if (m0 + row + r < M && n0 + column + c < N) C[(m0 + row + r) * N + n0 + column + c] = sum[r][c];
}

// ---- 6 vector: 16 bytes an access everywhere. A lies transposed in shared memory, so that a thread's rows are neighbours; the 8 rows
//      and columns of a thread are two groups of 4, 64 apart, so that a warp reads neighbouring groups ----
// ---- 7 prefetch: the next strip is on its way to registers while this one is multiplied; two buffers, one barrier a strip ----
struct Strip {
  float4 a, b;                                                            // a thread's share of 128 x 8 of A and 8 x 128 of B
};
__device__ inline Strip fetch(const float* A, const float* B, int64_t M, int64_t N, int64_t K, Corner at, int64_t k0) {
  const int t = thread();
  const int64_t m = at.m + t / 2, ka = k0 + t % 2 * 4, kb = k0 + t / 32, n = at.n + t % 32 * 4;
  const float4 none = make_float4(0, 0, 0, 0);
  return {m < M && ka < K ? load16<float4>(A + m * K + ka) : none, kb < K && n < N ? load16<float4>(B + kb * N + n) : none};
}
struct Buffer {
  float a[8][128 + 4], b[8][128];                                         // 4 more: neighbouring threads write to other banks
};
__device__ inline void put(Buffer& s, const Strip& x) {
  const int t = thread(), k = t % 2 * 4;
  s.a[k][t / 2] = x.a.x, s.a[k + 1][t / 2] = x.a.y, s.a[k + 2][t / 2] = x.a.z, s.a[k + 3][t / 2] = x.a.w;
  store16(&s.b[t / 32][t % 32 * 4], x.b);
}
__device__ inline void take(float (&v)[8], const float* row, int group) {
  const float4 low = load16<float4>(row + 4 * group), high = load16<float4>(row + 64 + 4 * group);
  v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w, v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
}
__device__ inline void multiply(float (&sum)[8][8], const Buffer& s) {
  GRADUS_UNROLL(8)
  for (int k = 0; k < 8; ++k) {
    float a[8], b[8];
    take(a, s.a[k], thread() / 16), take(b, s.b[k], thread() % 16);
    GRADUS_UNROLL(8)
    for (int r = 0; r < 8; ++r)
      GRADUS_UNROLL(8)
      for (int c = 0; c < 8; ++c) sum[r][c] += a[r] * b[c];
  }
}
__device__ inline void write(float* C, int64_t M, int64_t N, Corner at, const float (&sum)[8][8]) {
  GRADUS_UNROLL(8)
  for (int r = 0; r < 8; ++r) {
    const int64_t m = at.m + r / 4 * 64 + thread() / 16 * 4 + r % 4;
    GRADUS_UNROLL(2)
    for (int half = 0; half < 2; ++half) {
      const int64_t n = at.n + half * 64 + thread() % 16 * 4;
      if (m < M && n < N)
        store16(C + m * N + n, make_float4(sum[r][4 * half], sum[r][4 * half + 1], sum[r][4 * half + 2], sum[r][4 * half + 3]));
    }
  }
}
template <bool PREFETCH>
__global__ void __launch_bounds__(256) gemm_vector(const float* A, const float* B, float* C, int64_t M, int64_t N, int64_t K) {
  GRADUS_SHARED16(Buffer, strip, [PREFETCH ? 2 : 1]);
  const Corner at = corner_of<128, 128>(N);
  float sum[8][8] = {};
  if constexpr (PREFETCH) {
    put(strip[0], fetch(A, B, M, N, K, at, 0));
    __syncthreads();
    int now = 0;
    for (int64_t k0 = 0; k0 < K; k0 += 8, now ^= 1) {
      const bool more = k0 + 8 < K;
      const Strip next = more ? fetch(A, B, M, N, K, at, k0 + 8) : Strip{};
      multiply(sum, strip[now]);
      if (more) put(strip[now ^ 1], next);
      __syncthreads();
    }
  } else {
    for (int64_t k0 = 0; k0 < K; k0 += 8) {
      put(strip[0], fetch(A, B, M, N, K, at, k0));
      __syncthreads();
      multiply(sum, strip[0]);
      __syncthreads();
    }
  }
  write(C, M, N, at, sum);
}

// ---- tensor cores: a block makes 128 x 128 of C, each of its four warps 64 x 64; strips are 64 long ----
enum class Way {
  mma,         // fragments by plain reads of shared memory
  ldmatrix,    // one instruction brings four 8 x 8 matrices; their rows lie in the same banks
  swizzled,    // 16-byte chunk c of row r lies at c xor r mod 8: eight rows, eight different places
  pipelined,   // three strips in shared memory: two are being copied while the third is multiplied
  grouped      // blocks that run at the same time share rows and columns, so that the second reader finds them in the cache
};
inline constexpr int kSide = 128, kDepth = 64, kStages = 3, kMmaThreads = 128;
struct Stage {
  bf16 a[kSide][kDepth], b[kDepth][kSide];                                // 16 KiB each
};
constexpr int stages(Way way) { return way >= Way::pipelined ? kStages : 1; }

template <Way W> __device__ inline int chunk_at(int row, int chunk) { return W >= Way::swizzled ? chunk ^ (row % 8) : chunk; }

/// Calls move(place in the stage, source, whether it lies inside) for this thread's 16-byte chunks of the strip from k0 on.
template <Way W, class Move>
__device__ inline void for_chunks(Stage& s, const bf16* A, const bf16* B, int64_t M, int64_t N, int64_t K, Corner at, int64_t k0, Move move) {
  GRADUS_UNROLL(4)                                                        // all 8 would keep 16 addresses in registers
  for (int j = 0; j < kSide * kDepth / 8 / kMmaThreads; ++j) {
    const int e = thread() + j * kMmaThreads;
    const int ar = e / (kDepth / 8), ac = e % (kDepth / 8), br = e / (kSide / 8), bc = e % (kSide / 8);
    const int64_t m = at.m + ar, ka = k0 + ac * 8, kb = k0 + br, n = at.n + bc * 8;
    const bool a_inside = m < M && ka < K, b_inside = kb < K && n < N;
    move(&s.a[ar][chunk_at<W>(ar, ac) * 8], a_inside ? A + m * K + ka : A, a_inside);
    move(&s.b[br][chunk_at<W>(br, bc) * 8], b_inside ? B + kb * N + n : B, b_inside);
  }
}

/// Fragments of the warp's 64 x 16 of A and 16 x 64 of B at depth k of the stage; emulation/tiles.hpp lists which lane holds what.
template <Way W> __device__ inline void fragments(const Stage& s, int k, unsigned (&a)[4][4], unsigned (&b)[8][2]) {
  const int warp = thread() / kWarp, m0 = warp / 2 * 64, n0 = warp % 2 * 64;
  if constexpr (W == Way::mma) {
    const int g = lane() / 4, t = lane() % 4;
    GRADUS_UNROLL_ALL
    for (int i = 0; i < 4; ++i)
      for (int h = 0; h < 4; ++h)
        a[i][h] = *reinterpret_cast<const unsigned*>(&s.a[m0 + 16 * i + g + h % 2 * 8][k + 2 * t + h / 2 * 8]);
    GRADUS_UNROLL_ALL
    for (int j = 0; j < 8; ++j)
      for (int h = 0; h < 2; ++h) {
        const int row = k + 2 * t + h * 8, column = n0 + 8 * j + g;
        b[j][h] = pair(s.b[row][column], s.b[row + 1][column]);
      }
  } else {
    GRADUS_UNROLL_ALL
    for (int i = 0; i < 4; ++i) {                                         // rows 0-7, 8-15 of columns 0-7, then of columns 8-15
      const int row = m0 + 16 * i + lane() % 16, chunk = k / 8 + lane() / 16;
      ldsm_x4(a[i], &s.a[row][chunk_at<W>(row, chunk) * 8]);
    }
    GRADUS_UNROLL_ALL
    for (int j = 0; j < 8; j += 2) {                                      // rows 0-7, 8-15 of columns 0-7, then of columns 8-15
      const int row = k + lane() % 16, chunk = (n0 + 8 * j) / 8 + lane() / 16;
      unsigned r[4];
      ldsm_x4_trans(r, &s.b[row][chunk_at<W>(row, chunk) * 8]);
      b[j][0] = r[0], b[j][1] = r[1], b[j + 1][0] = r[2], b[j + 1][1] = r[3];
    }
  }
}
template <Way W> __device__ inline void multiply(const Stage& s, float (&sum)[4][8][4]) {
  GRADUS_UNROLL_ALL
  for (int k = 0; k < kDepth; k += 16) {
    unsigned a[4][4], b[8][2];
    fragments<W>(s, k, a, b);
    GRADUS_UNROLL_ALL
    for (int i = 0; i < 4; ++i)
      GRADUS_UNROLL_ALL
      for (int j = 0; j < 8; ++j) mma_m16n8k16<bf16>(sum[i][j], a[i], b[j], sum[i][j]);
  }
}

/// Row-major order, or columns of eight tiles below one another: 64 blocks that run together then read 8 + 8 strips, not 1 + 64.
template <Way W> __device__ inline Corner mma_corner(int64_t M, int64_t N) {
  if constexpr (W != Way::grouped) return corner_of<kSide, kSide>(N);
  const int64_t down = (M + kSide - 1) / kSide, across = (N + kSide - 1) / kSide, b = blockIdx.x;
  const int64_t first = b / (8 * across) * 8, height = down - first < 8 ? down - first : 8, in_group = b % (8 * across);
  return {(first + in_group % height) * kSide, in_group / height * kSide};
}

struct AsItIs {
  __device__ float operator()(float x, int64_t, int64_t) const { return x; }
};
struct BiasGeluResidual {
  const bf16 *bias, *residual;
  int64_t N;
  __device__ float operator()(float x, int64_t m, int64_t n) const {
    const float v = x + load(bias[n]);
    return 0.5f * v * (1 + m::erf(v * 0.70710678f)) + load(residual[m * N + n]);
  }
};

template <Way W, class Epilogue>
__global__ void __launch_bounds__(kMmaThreads) gemm_mma(const bf16* A, const bf16* B, bf16* C, int64_t M, int64_t N, int64_t K, Epilogue last) {
  GRADUS_DYN_SHARED(Stage, stage);
  const Corner at = mma_corner<W>(M, N);
  float sum[4][8][4] = {};
  const int64_t strips = (K + kDepth - 1) / kDepth;
  if constexpr (stages(W) == 1) {
    for (int64_t i = 0; i < strips; ++i) {
      for_chunks<W>(stage[0], A, B, M, N, K, at, i * kDepth, AtOnce{});
      __syncthreads();
      multiply<W>(stage[0], sum);
      __syncthreads();
    }
  } else {
    const auto start_copy = [&](int64_t i) {
      if (i < strips) for_chunks<W>(stage[i % kStages], A, B, M, N, K, at, i * kDepth, Later{});
      copy_async_commit();                                                // an empty group keeps the count
    };
    for (int i = 0; i < kStages - 1; ++i) start_copy(i);
    for (int64_t i = 0; i < strips; ++i) {
      copy_async_wait<kStages - 2>();                                     // strip i is there, for this thread
      __syncthreads();                                                    // for all; and all have left strip i - 1
      start_copy(i + kStages - 1);                                        // into the place of strip i - 1
      multiply<W>(stage[i % kStages], sum);
    }
    copy_async_wait<0>();
  }
  const int warp = thread() / kWarp, g = lane() / 4, t = lane() % 4;
  GRADUS_UNROLL_ALL
  for (int i = 0; i < 4; ++i)
    GRADUS_UNROLL_ALL
    for (int j = 0; j < 8; ++j)
      GRADUS_UNROLL_ALL
      for (int h = 0; h < 2; ++h) {
        const int64_t m = at.m + warp / 2 * 64 + 16 * i + g + 8 * h, n = at.n + warp % 2 * 64 + 8 * j + 2 * t;
        if (m < M && n < N)
          *reinterpret_cast<unsigned*>(C + m * N + n) =
              pair(bf16(last(sum[i][j][2 * h], m, n)), bf16(last(sum[i][j][2 * h + 1], m, n + 1)));
      }
}

void require_multiple(int64_t of, int64_t N, int64_t K, const void* A, const void* B, const void* C) {
  const auto bits = reinterpret_cast<uintptr_t>(A) | reinterpret_cast<uintptr_t>(B) | reinterpret_cast<uintptr_t>(C);
  if (N % of == 0 && K % of == 0 && bits % 16 == 0) return;
  throw std::invalid_argument("gemm: this step reads 16 bytes at a time: N and K must be multiples of " + std::to_string(of) +
                              " and the pointers of 16 bytes; N is " + std::to_string(N) + ", K is " + std::to_string(K) +
                              (bits % 16 ? ", a pointer is not aligned" : ""));
}

template <Way W, class Epilogue>
void start(const char* op, const bf16* A, const bf16* B, bf16* C, int64_t M, int64_t N, int64_t K, const Epilogue& last) {
  require_multiple(8, N, K, A, B, C);
  const int64_t blocks = blocks_for(M, kSide) * blocks_for(N, kSide);
  enqueue(op, gemm_mma<W, Epilogue>, {blocks, kMmaThreads, sizeof(Stage) * stages(W)}, A, B, C, M, N, K, last);
}

}  // namespace

const std::vector<std::string>& gemm_steps() {
  static const std::vector<std::string> names{"naive", "coalesced", "tile", "column", "square", "vector", "prefetch"};
  return names;
}
void gemm(const std::string& step, const float* A, const float* B, float* C, int64_t M, int64_t N, int64_t K) {
  const auto tiles = [&](int64_t side) { return blocks_for(M, side) * blocks_for(N, side); };
  if (step == "naive") return enqueue("gemm_naive", gemm_element<true>, {blocks_for(M * N, kThreads)}, A, B, C, M, N, K);
  if (step == "coalesced") return enqueue("gemm_coalesced", gemm_element<false>, {blocks_for(M * N, kThreads)}, A, B, C, M, N, K);
  if (step == "tile") return enqueue("gemm_tile", gemm_tile, {tiles(32), 1024}, A, B, C, M, N, K);
  if (step == "column") return enqueue("gemm_column", gemm_column, {tiles(64), 512}, A, B, C, M, N, K);
  if (step == "square") return enqueue("gemm_square", gemm_square, {tiles(128), 256}, A, B, C, M, N, K);
  if (step != "vector" && step != "prefetch") no_step("gemm", step, " for float");
  require_multiple(4, N, K, A, B, C);
  enqueue(step == "vector" ? "gemm_vector" : "gemm_prefetch", step == "vector" ? gemm_vector<false> : gemm_vector<true>, {tiles(128), 256}, A, B, C, M,
          N, K);
}

const std::vector<std::string>& gemm_bf16_steps() {
  static const std::vector<std::string> names{"mma", "ldmatrix", "swizzled", "pipelined", "grouped"};
  return names;
}
void gemm(const std::string& step, const bf16* A, const bf16* B, bf16* C, int64_t M, int64_t N, int64_t K) {
  if (step == "mma") return start<Way::mma>("gemm_mma", A, B, C, M, N, K, AsItIs{});
  if (step == "ldmatrix") return start<Way::ldmatrix>("gemm_ldmatrix", A, B, C, M, N, K, AsItIs{});
  if (step == "swizzled") return start<Way::swizzled>("gemm_swizzled", A, B, C, M, N, K, AsItIs{});
  if (step == "pipelined") return start<Way::pipelined>("gemm_pipelined", A, B, C, M, N, K, AsItIs{});
  if (step == "grouped") return start<Way::grouped>("gemm_grouped", A, B, C, M, N, K, AsItIs{});
  no_step("gemm", step, " for bf16");
}
void gemm_bias_gelu_residual(const bf16* A, const bf16* B, const bf16* bias, const bf16* residual, bf16* C, int64_t M, int64_t N, int64_t K) {
  start<Way::grouped>("gemm_bias_gelu_residual", A, B, C, M, N, K, BiasGeluResidual{bias, residual, N});
}

}  // namespace gradus::ladders
