// Attention in three ways:
//
//   reference   one thread an element of a result, each of which makes the scores it needs: the formulas of the contract
//   tile        flash attention (Dao 2023): a block keeps a tile of queries (for dk, dv: of keys) in shared memory while tiles of
//               the other side pass; weights live in shared memory only. Backward makes the weights twice, once for dk and dv and
//               once for dq, so that every sum stays in one block: no atomics, the same bits every time
//   mma         the same on tensor cores, for bf16 and half (attention_mma.cuh); the choice wherever it can be
//
// tile takes head sizes up to 256 for which the device has the shared memory; others fall back to reference.
#include "attention_mma.cuh"

namespace gradus::kernels {

namespace cu {
enum class AttentionBy { reference, tile, mma };

// ---- reference ----
/// l : one thread a query
template <class T> __global__ void attention_l_reference(Attention<T> a, compute_t<T>* l) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= a.g.B * a.g.nh * a.g.T) return;
  const int64_t b = n / a.g.T / a.g.nh, h = n / a.g.T % a.g.nh, i = n % a.g.T;
  const A none = -std::numeric_limits<A>::infinity();
  l[n] = none;
  if (i >= a.queries(b)) return;
  const int64_t S = a.keys(b);
  const auto score = [&](int64_t j) { return a.score(dot(a.q_row(b, h, i), a.k_row(b, h, j), a.g.hs), b, h, i, j).s; };
  A top = a.e.sink ? load(a.e.sink[h]) : none, sum = 0;
  for (int64_t j = 0; j < S; ++j) top = score(j) > top ? score(j) : top;
  const A shift = top == none ? A(0) : top;
  for (int64_t j = 0; j < S; ++j) sum += m::exp(score(j) - shift);
  if (a.e.sink) sum += m::exp(load(a.e.sink[h]) - shift);
  l[n] = sum == A(0) ? none : shift + m::log(sum);
}
/// o : one thread an element
template <class T> __global__ void attention_o_reference(Attention<T> a, const compute_t<T>* l, AttentionRows<T> o) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= a.g.B * a.g.nh * a.g.T * a.g.vs) return;
  const int64_t c = n % a.g.vs, i = n / a.g.vs % a.g.T, h = n / a.g.vs / a.g.T % a.g.nh, b = n / a.g.vs / a.g.T / a.g.nh;
  if (i >= a.queries(b)) return;
  const A li = l[a.statistic(b, h, i)];
  A sum = 0;
  for (int64_t j = 0; j < a.keys(b) && li != -std::numeric_limits<A>::infinity(); ++j) {
    const A s = a.score(dot(a.q_row(b, h, i), a.k_row(b, h, j), a.g.hs), b, h, i, j).s;
    sum += m::exp(s - li) * a.kept(b, h, i, j) * load(a.v_row(b, h, j)[c]);
  }
  attention_row(o, a.g.q_start, b, h, i)[c] = static_cast<T>(sum);
}
template <class T> __device__ inline typename Attention<T>::Gradient gradient_reference(const Attention<T>& a, int64_t b, int64_t h, int64_t i, int64_t j) {
  const auto score = a.score(dot(a.q_row(b, h, i), a.k_row(b, h, j), a.g.hs), b, h, i, j);
  return a.gradient(score, dot(a.dy_row(b, h, i), a.v_row(b, h, j), a.g.vs), b, h, i, j);
}
/// dq : one thread an element
template <class T> __global__ void attention_dq_reference(Attention<T> a, AttentionRows<T> dq) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= a.g.B * a.g.nh * a.g.T * a.g.hs) return;
  const int64_t c = n % a.g.hs, i = n / a.g.hs % a.g.T, h = n / a.g.hs / a.g.T % a.g.nh, b = n / a.g.hs / a.g.T / a.g.nh;
  if (i >= a.queries(b)) return;
  A sum = 0;
  for (int64_t j = 0; j < a.keys(b); ++j) sum += gradient_reference(a, b, h, i, j).dr * load(a.k_row(b, h, j)[c]);
  attention_row(dq, a.g.q_start, b, h, i)[c] = static_cast<T>(static_cast<A>(a.g.scale) * sum);
}
/// dk and dv : one thread column c of both
template <class T> __global__ void attention_dkv_reference(Attention<T> a, AttentionRows<T> dk, AttentionRows<T> dv) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid(), width = a.g.hs > a.g.vs ? a.g.hs : a.g.vs, group = a.g.nh / a.g.nkv;
  if (n >= a.g.B * a.g.nkv * a.g.S * width) return;
  const int64_t c = n % width, j = n / width % a.g.S, hk = n / width / a.g.S % a.g.nkv, b = n / width / a.g.S / a.g.nkv;
  if (j >= a.keys(b)) return;
  A k_sum = 0, v_sum = 0;
  for (int64_t h = hk * group; h < (hk + 1) * group; ++h)
    for (int64_t i = 0; i < a.queries(b); ++i) {
      const auto w = gradient_reference(a, b, h, i, j);
      if (c < a.g.hs) k_sum += w.dr * load(a.q_row(b, h, i)[c]);
      if (c < a.g.vs) v_sum += w.pz * load(a.dy_row(b, h, i)[c]);
    }
  if (c < a.g.hs) attention_row(dk, a.g.k_start, b, hk, j)[c] = static_cast<T>(static_cast<A>(a.g.scale) * k_sum);
  if (c < a.g.vs) attention_row(dv, a.g.k_start, b, hk, j)[c] = static_cast<T>(v_sum);
}

// ---- tile ----
/// Elements of shared memory that a kernel of TILE rows needs; rows are one longer than they hold, against bank conflicts.
inline int64_t forward_shared(int tile, int64_t hs, int64_t vs) { return tile * (hs + 1) + tile * ((hs > vs ? hs : vs) + 1) + tile * (tile + 1); }
inline int64_t backward_shared(int tile, int64_t hs, int64_t vs) { return 2 * tile * (hs + 1) + 2 * tile * (vs + 1) + 2 * tile * (tile + 1); }

/// Block: a tile of queries of one head. K: output columns of a thread.
template <class T, int TILE, int K> __global__ void attention_fwd_tile(Attention<T> a, AttentionRows<T> o, compute_t<T>* l) {
  using A = compute_t<T>;
  constexpr int E = TILE / 16;
  GRADUS_DYN_SHARED(A, shared);
  const auto& g = a.g;
  const int hs = static_cast<int>(g.hs), vs = static_cast<int>(g.vs), q_stride = hs + 1, kv_stride = (hs > vs ? hs : vs) + 1;
  A *q_tile = shared, *kv_tile = q_tile + TILE * q_stride, *p_tile = kv_tile + TILE * kv_stride;
  const int64_t tiles = (g.T + TILE - 1) / TILE, n = blockIdx.x;
  const int64_t b = n / tiles / g.nh, h = n / tiles % g.nh, i0 = n % tiles * TILE;
  const int64_t left = a.queries(b) - i0, ni = left < TILE ? left : TILE;
  const A none = -std::numeric_limits<A>::infinity();
  if (ni > 0) load_tile<TILE>(q_tile, q_stride, a.q, g.q_start, b, h, i0, ni, g.hs);

  A acc[E][K] = {}, top[E], total[E] = {};
  for (A& t : top) t = none;
  const int64_t end = ni > 0 ? a.end_key(b, i0 + ni) : 0;
  for (int64_t j0 = ni > 0 ? a.first_key(b, i0) / TILE * TILE : 0; j0 < end; j0 += TILE) {
    const int64_t nj = a.keys(b) - j0 < TILE ? a.keys(b) - j0 : TILE;
    __syncthreads();                                         // the values of the tile before have been used
    load_tile<TILE>(kv_tile, kv_stride, a.k, g.k_start, b, a.key_head(h), j0, nj, g.hs);
    __syncthreads();
    A s[E][E] = {};
    tile_dots<E>(s, q_tile, q_stride, kv_tile, kv_stride, hs);
    GRADUS_UNROLL(4)
    for (int x = 0; x < E; ++x) {
      const int r = tile_y() + 16 * x;
      A here = none;
      for (int y = 0; y < E; ++y) {
        const int c = tile_x() + 16 * y;
        s[x][y] = r < ni && c < nj ? a.score(s[x][y], b, h, i0 + r, j0 + c).s : none;
        here = s[x][y] > here ? s[x][y] : here;
      }
      here = warp_join<16>(here, Larger());
      if (here > top[x]) {                                   // what was summed was relative to the old maximum
        const A f = top[x] == none ? A(0) : m::exp(top[x] - here);
        total[x] *= f, top[x] = here;
        for (int k = 0; k < K; ++k) acc[x][k] *= f;
      }
      const A shift = top[x] == none ? A(0) : top[x];
      for (int y = 0; y < E; ++y) {
        const int c = tile_x() + 16 * y;
        const A p = m::exp(s[x][y] - shift);
        total[x] += p;                                       // of this thread's columns
        p_tile[r * (TILE + 1) + c] = r < ni && c < nj ? p * a.kept(b, h, i0 + r, j0 + c) : A(0);
      }
    }
    __syncthreads();                                         // the keys have been used, the weights are there
    load_tile<TILE>(kv_tile, kv_stride, a.v, g.k_start, b, a.key_head(h), j0, nj, g.vs);
    __syncthreads();
    tile_accumulate<TILE, false>(acc, p_tile, TILE + 1, kv_tile, kv_stride, vs);
  }
  GRADUS_UNROLL(4)
  for (int x = 0; x < E; ++x) {
    const int64_t i = i0 + tile_y() + 16 * x;
    A sum = warp_join<16>(total[x], Add());
    if (a.e.sink) {
      const A sink = load(a.e.sink[h]);
      if (sink > top[x]) {
        const A f = top[x] == none ? A(0) : m::exp(top[x] - sink);
        sum *= f, top[x] = sink;
        for (int k = 0; k < K; ++k) acc[x][k] *= f;
      }
      if (top[x] != none) sum += m::exp(sink - top[x]);
    }
    if (i >= g.T) continue;
    if (tile_x() == 0) l[a.statistic(b, h, i)] = i0 + ni <= i || sum == A(0) ? none : top[x] + m::log(sum);
    if (i >= i0 + ni) continue;
    const A inverse = sum == A(0) ? A(0) : A(1) / sum;
    T* to = attention_row(o, g.q_start, b, h, i);
    for (int k = 0; k < K && tile_x() + 16 * k < vs; ++k) to[tile_x() + 16 * k] = static_cast<T>(acc[x][k] * inverse);
  }
}

/// The four tiles of backward in shared memory, and the weights made of them.
template <class A, int TILE> struct BackwardTiles {
  A *q, *k, *v, *dy, *pz, *dr;
  int h_stride, v_stride;
  __device__ BackwardTiles(A* shared, int hs, int vs) : h_stride(hs + 1), v_stride(vs + 1) {
    q = shared, k = q + TILE * h_stride, v = k + TILE * h_stride, dy = v + TILE * v_stride, pz = dy + TILE * v_stride, dr = pz + TILE * (TILE + 1);
  }
  /// pz and scale * dr of queries i0 ... and keys j0 ..., which are loaded.
  template <class T> __device__ void weights(const Attention<T>& a, int64_t b, int64_t h, int64_t i0, int64_t ni, int64_t j0, int64_t nj) const {
    constexpr int E = TILE / 16;
    A s[E][E] = {}, dp[E][E] = {};
    tile_dots<E>(s, q, h_stride, k, h_stride, static_cast<int>(a.g.hs));
    tile_dots<E>(dp, dy, v_stride, v, v_stride, static_cast<int>(a.g.vs));
    GRADUS_UNROLL(4)
    for (int x = 0; x < E; ++x)
      for (int y = 0; y < E; ++y) {
        const int r = tile_y() + 16 * x, c = tile_x() + 16 * y, at = r * (TILE + 1) + c;
        const bool inside = r < ni && c < nj;
        const auto w = inside ? a.gradient(a.score(s[x][y], b, h, i0 + r, j0 + c), dp[x][y], b, h, i0 + r, j0 + c)
                              : typename Attention<T>::Gradient{A(0), A(0), A(0)};
        pz[at] = w.pz, dr[at] = w.dr * static_cast<A>(a.g.scale);
      }
  }
};
template <class T, int E, int K>
__device__ inline void store_tile(const compute_t<T> (&acc)[E][K], AttentionRows<T> x, const int64_t* start, int64_t b, int64_t h, int64_t t, int64_t n, int width) {
  GRADUS_UNROLL(4)
  for (int r = 0; r < E; ++r) {
    if (tile_y() + 16 * r >= n) continue;
    T* to = attention_row(x, start, b, h, t + tile_y() + 16 * r);
    for (int k = 0; k < K && tile_x() + 16 * k < width; ++k) to[tile_x() + 16 * k] = static_cast<T>(acc[r][k]);
  }
}
/// Block: a tile of keys of one key head; the queries of its group pass.
template <class T, int TILE, int K> __global__ void attention_dkv_tile(Attention<T> a, AttentionRows<T> dk, AttentionRows<T> dv) {
  using A = compute_t<T>;
  GRADUS_DYN_SHARED(A, shared);
  const auto& g = a.g;
  const int hs = static_cast<int>(g.hs), vs = static_cast<int>(g.vs);
  const BackwardTiles<A, TILE> tile(shared, hs, vs);
  const int64_t tiles = (g.S + TILE - 1) / TILE, n = blockIdx.x, group = g.nh / g.nkv;
  const int64_t b = n / tiles / g.nkv, hk = n / tiles % g.nkv, j0 = n % tiles * TILE;
  const int64_t keys_left = a.keys(b) - j0, nj = keys_left < TILE ? keys_left : TILE, queries = a.queries(b);
  if (nj <= 0) return;
  load_tile<TILE>(tile.k, tile.h_stride, a.k, g.k_start, b, hk, j0, nj, g.hs);
  load_tile<TILE>(tile.v, tile.v_stride, a.v, g.k_start, b, hk, j0, nj, g.vs);
  A dk_acc[TILE / 16][K] = {}, dv_acc[TILE / 16][K] = {};
  for (int64_t h = hk * group; h < (hk + 1) * group; ++h)
    for (int64_t i0 = 0; i0 < queries; i0 += TILE) {
      const int64_t ni = queries - i0 < TILE ? queries - i0 : TILE;
      if (a.first_key(b, i0) >= j0 + nj || a.end_key(b, i0 + ni) <= j0) continue;   // no query of the tile sees these keys
      __syncthreads();
      load_tile<TILE>(tile.q, tile.h_stride, a.q, g.q_start, b, h, i0, ni, g.hs);
      load_tile<TILE>(tile.dy, tile.v_stride, a.dy, g.q_start, b, h, i0, ni, g.vs);
      __syncthreads();
      tile.weights(a, b, h, i0, ni, j0, nj);
      __syncthreads();
      tile_accumulate<TILE, true>(dv_acc, tile.pz, TILE + 1, tile.dy, tile.v_stride, vs);
      tile_accumulate<TILE, true>(dk_acc, tile.dr, TILE + 1, tile.q, tile.h_stride, hs);
    }
  store_tile<T>(dk_acc, dk, g.k_start, b, hk, j0, nj, hs);
  store_tile<T>(dv_acc, dv, g.k_start, b, hk, j0, nj, vs);
}
/// Block: a tile of queries of one head; the keys pass.
template <class T, int TILE, int K> __global__ void attention_dq_tile(Attention<T> a, AttentionRows<T> dq) {
  using A = compute_t<T>;
  GRADUS_DYN_SHARED(A, shared);
  const auto& g = a.g;
  const int hs = static_cast<int>(g.hs), vs = static_cast<int>(g.vs);
  const BackwardTiles<A, TILE> tile(shared, hs, vs);
  const int64_t tiles = (g.T + TILE - 1) / TILE, n = blockIdx.x;
  const int64_t b = n / tiles / g.nh, h = n / tiles % g.nh, i0 = n % tiles * TILE;
  const int64_t left = a.queries(b) - i0, ni = left < TILE ? left : TILE;
  if (ni <= 0) return;
  load_tile<TILE>(tile.q, tile.h_stride, a.q, g.q_start, b, h, i0, ni, g.hs);
  load_tile<TILE>(tile.dy, tile.v_stride, a.dy, g.q_start, b, h, i0, ni, g.vs);
  A acc[TILE / 16][K] = {};
  const int64_t end = a.end_key(b, i0 + ni);
  for (int64_t j0 = a.first_key(b, i0) / TILE * TILE; j0 < end; j0 += TILE) {
    const int64_t nj = a.keys(b) - j0 < TILE ? a.keys(b) - j0 : TILE;
    __syncthreads();
    load_tile<TILE>(tile.k, tile.h_stride, a.k, g.k_start, b, a.key_head(h), j0, nj, g.hs);
    load_tile<TILE>(tile.v, tile.v_stride, a.v, g.k_start, b, a.key_head(h), j0, nj, g.vs);
    __syncthreads();
    tile.weights(a, b, h, i0, ni, j0, nj);
    __syncthreads();
    tile_accumulate<TILE, false>(acc, tile.dr, TILE + 1, tile.k, tile.h_stride, hs);
  }
  store_tile<T>(acc, dq, g.q_start, b, h, i0, ni, hs);
}

/// f(tile, columns) with the tile and the columns a thread holds, as constants, for the widest of hs and vs; false where none fits.
template <class T, bool backward, class F> bool with_tile(const AttentionDims& g, F f) {
  using A = compute_t<T>;
  const int64_t width = g.hs > g.vs ? g.hs : g.vs, most = gradus::cuda::device_info().max_shared_bytes;
  const auto fits = [&](int tile) {
    return static_cast<int64_t>(sizeof(A)) * (backward ? backward_shared(tile, g.hs, g.vs) : forward_shared(tile, g.hs, g.vs)) <= most;
  };
  if constexpr (sizeof(A) == 4) {
    if (width <= 64 && fits(64)) return f(Constant<64>(), Constant<4>()), true;
    if (!backward && width <= 128 && fits(64)) return f(Constant<64>(), Constant<8>()), true;
  }
  if (width <= 64 && fits(32)) return f(Constant<32>(), Constant<4>()), true;
  if (width <= 128 && fits(32)) return f(Constant<32>(), Constant<8>()), true;
  if (width <= 256 && fits(32)) return f(Constant<32>(), Constant<16>()), true;
  return false;
}

/// One thread an element of dbias, which gathers ds from all that bias was broadcast to.
struct BiasExtent {
  int64_t b, h, i, j;
};
template <class T> __global__ void attention_bias_elements(Attention<T> a, T* dbias, BiasExtent e) {
  const int64_t n = thread_in_grid();
  if (n >= e.b * e.h * e.i * e.j) return;
  const auto range = [](int64_t extent, int64_t at, int64_t all, int64_t& first, int64_t& last) { first = extent > 1 ? at : 0, last = extent > 1 ? at + 1 : all; };
  int64_t b0, b1, h0, h1, i0, i1, j0, j1;
  range(e.b, n / e.j / e.i / e.h, a.g.B, b0, b1), range(e.h, n / e.j / e.i % e.h, a.g.nh, h0, h1);
  range(e.i, n / e.j % e.i, a.g.T, i0, i1), range(e.j, n % e.j, a.g.S, j0, j1);
  compute_t<T> sum = 0;
  for (int64_t b = b0; b < b1; ++b)
    for (int64_t h = h0; h < h1; ++h)
      for (int64_t i = i0; i < i1 && i < a.queries(b); ++i)
        for (int64_t j = j0; j < j1 && j < a.keys(b); ++j) sum += gradient_reference(a, b, h, i, j).ds;
  dbias[n] = static_cast<T>(sum);
}
/// d_i = <do_i, o_i>, a warp a row.
template <class T> __global__ void attention_delta_rows(AttentionRows<const T> o, AttentionRows<const T> dy, compute_t<T>* d, AttentionDims g) {
  using A = compute_t<T>;
  const int64_t n = Warp::row();
  if (n >= g.B * g.nh * g.T) return;
  const int64_t b = n / g.T / g.nh, h = n / g.T % g.nh, i = n % g.T;
  const bool inside = !g.q_start || i < g.q_start[b + 1] - g.q_start[b];
  A part = 0;
  if (inside) {
    const T *x = attention_row(o, g.q_start, b, h, i), *y = attention_row(dy, g.q_start, b, h, i);
    for (int64_t c = lane(); c < g.vs; c += kWarp) part += load(x[c]) * load(y[c]);
  }
  const A sum = team_sum<Warp>(part);
  if (lane() == 0) d[n] = sum;
}
template <class T> __global__ void attention_dropout_elements(Attention<T> a, T* z, int64_t i0, int64_t ni, int64_t j0, int64_t nj) {
  const int64_t n = thread_in_grid();
  if (n >= a.g.B * a.g.nh * ni * nj) return;
  const int64_t row = n / nj, bh = row / ni;
  z[n] = static_cast<T>(a.kept(bh / a.g.nh, bh % a.g.nh, i0 + row % ni, j0 + n % nj));
}
}  // namespace cu

namespace {
KernelChoice<cu::AttentionBy> attention_fwd_by{"attention_fwd", {"reference", "tile", "mma"}}, attention_bwd_by{"attention_bwd", {"reference", "tile", "mma"}};
}  // namespace

template <class T>
void attention_fwd(Cuda, AttentionRows<const T> q, AttentionRows<const T> k, AttentionRows<const T> v, const AttentionScores<T>& scores,
                   AttentionRows<T> o, compute_t<T>* l, const AttentionDims& g) {
  using namespace cu;
  using A = compute_t<T>;
  const Attention<T> a{q, k, v, {}, scores, g, nullptr, nullptr};
  const AttentionBy by = attention_fwd_by.or_else(AttentionBy::mma);
  if (by == AttentionBy::mma && mma_rows_aligned(q, k, v, o)) {
    const bool done = with_mma<T>(g, [&](auto width) {
      constexpr int D = decltype(width)::value;
      const int64_t blocks = g.B * g.nh * blocks_for(g.T, kMmaRows);
      if (plain_scores(scores, g)) enqueue("attention_fwd", attention_fwd_mma<T, D, true>, {blocks, kMmaThreads, sizeof(ForwardShared<T, D, true>)}, a, o, l);
      else enqueue("attention_fwd", attention_fwd_mma<T, D, false>, {blocks, kMmaThreads, sizeof(ForwardShared<T, D, false>)}, a, o, l);
    });
    if (done) return;
  }
  const bool done = by != AttentionBy::reference && with_tile<T, false>(g, [&](auto tile, auto columns) {
    constexpr int TILE = decltype(tile)::value;
    const auto bytes = sizeof(A) * static_cast<std::size_t>(forward_shared(TILE, g.hs, g.vs));
    enqueue("attention_fwd", attention_fwd_tile<T, TILE, decltype(columns)::value>, {g.B * g.nh * blocks_for(g.T, TILE), kThreads, bytes}, a, o, l);
  });
  if (done) return;
  enqueue("attention_fwd", attention_l_reference<T>, {blocks_for(g.B * g.nh * g.T, kThreads)}, a, l);
  enqueue("attention_fwd", attention_o_reference<T>, {blocks_for(g.B * g.nh * g.T * g.vs, kThreads)}, a, l, o);
}

template <class T> void attention_delta(Cuda, AttentionRows<const T> o, AttentionRows<const T> dy, compute_t<T>* d, const AttentionDims& g) {
  using namespace cu;
  enqueue("attention_delta", attention_delta_rows<T>, rows_grid(Rows::warp, g.B * g.nh * g.T), o, dy, d, g);
}

template <class T>
void attention_bwd(Cuda, AttentionRows<const T> q, AttentionRows<const T> k, AttentionRows<const T> v, const AttentionScores<T>& scores,
                   const compute_t<T>* l, const compute_t<T>* d, AttentionRows<const T> dy, AttentionRows<T> dq, AttentionRows<T> dk,
                   AttentionRows<T> dv, const AttentionDims& g) {
  using namespace cu;
  using A = compute_t<T>;
  const Attention<T> a{q, k, v, dy, scores, g, l, d};
  const AttentionBy by = attention_bwd_by.or_else(AttentionBy::mma);
  if (by == AttentionBy::mma && mma_rows_aligned(q, k, v, dy) && mma_rows_aligned(dq, dk, dv)) {
    const bool done = with_mma<T>(g, [&](auto width) {
      constexpr int D = decltype(width)::value;
      const bool plain = plain_scores(scores, g);
      const std::size_t bytes = sizeof(BackwardShared<T, D>);
      enqueue("attention_bwd", plain ? attention_dkv_mma<T, D, true> : attention_dkv_mma<T, D, false>,
              {g.B * g.nkv * blocks_for(g.S, kMmaRows), kMmaThreads, bytes}, a, dk, dv);
      enqueue("attention_bwd", plain ? attention_dq_mma<T, D, true> : attention_dq_mma<T, D, false>,
              {g.B * g.nh * blocks_for(g.T, kMmaRows), kMmaThreads, bytes}, a, dq);
    });
    if (done) return;
  }
  const bool done = by != AttentionBy::reference && with_tile<T, true>(g, [&](auto tile, auto columns) {
    constexpr int TILE = decltype(tile)::value, K = decltype(columns)::value;
    const auto bytes = sizeof(A) * static_cast<std::size_t>(backward_shared(TILE, g.hs, g.vs));
    enqueue("attention_bwd", attention_dkv_tile<T, TILE, K>, {g.B * g.nkv * blocks_for(g.S, TILE), kThreads, bytes}, a, dk, dv);
    enqueue("attention_bwd", attention_dq_tile<T, TILE, K>, {g.B * g.nh * blocks_for(g.T, TILE), kThreads, bytes}, a, dq);
  });
  if (done) return;
  const int64_t width = g.hs > g.vs ? g.hs : g.vs;
  enqueue("attention_bwd", attention_dkv_reference<T>, {blocks_for(g.B * g.nkv * g.S * width, kThreads)}, a, dk, dv);
  enqueue("attention_bwd", attention_dq_reference<T>, {blocks_for(g.B * g.nh * g.T * g.hs, kThreads)}, a, dq);
}

template <class T>
void attention_bwd_bias(Cuda, AttentionRows<const T> q, AttentionRows<const T> k, AttentionRows<const T> v, const AttentionScores<T>& scores,
                        const compute_t<T>* l, const compute_t<T>* d, AttentionRows<const T> dy, T* dbias, const int64_t (&extent)[4],
                        const AttentionDims& g) {
  using namespace cu;
  const Attention<T> a{q, k, v, dy, scores, g, l, d};
  const BiasExtent e{extent[0], extent[1], extent[2], extent[3]};
  enqueue("attention_bwd_bias", attention_bias_elements<T>, {blocks_for(e.b * e.h * e.i * e.j, kThreads)}, a, dbias, e);
}

template <class T> void attention_dropout(Cuda, T* z, int64_t i0, int64_t ni, int64_t j0, int64_t nj, const AttentionDims& g) {
  using namespace cu;
  const Attention<T> a{{}, {}, {}, {}, {}, g, nullptr, nullptr};
  enqueue("attention_dropout", attention_dropout_elements<T>, {blocks_for(g.B * g.nh * ni * nj, kThreads)}, a, z, i0, ni, j0, nj);
}

namespace {
template <class... T> void* const* attention_table() {
  static void* const table[] = {instance<Cuda>(&attention_fwd<T>)..., instance<Cuda>(&attention_delta<T>)..., instance<Cuda>(&attention_bwd<T>)...,
                                instance<Cuda>(&attention_dropout<T>)..., instance<Cuda>(&attention_bwd_bias<T>)...};
  return table;
}
}  // namespace
extern void* const* const gradus_cuda_attention_instances = attention_table<float, double, bf16, half>();

}  // namespace gradus::kernels
