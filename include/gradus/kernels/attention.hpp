// The contract for attention (Vaswani et al. 2017, eq. 1) without the T x S weights in memory: tiles of keys pass by, and what
// is kept of a row of weights is l_i (Milakov & Gimelshein 2018; Rabe & Staats 2021; Dao et al. 2022). Backward makes the
// weights again.
//
//   r_ij = scale <q_i, k_j>      s_ij = c tanh(r_ij / c) + bias_ij - slope_h |pos_i - j|        c = softcap; 0: s_ij = r_ij +
//   ... l_i  = log(sum_j e^{s_ij} + e^{sink_h})   over the keys j that query i sees; without a sink that term is missing p_ij =
//   e^{s_ij - l_i}        o_i  = sum_j p_ij z_ij v_j z_ij = 0 with probability `dropout`, else 1 / (1 - dropout): element ((b
//   nh + h) T + i) S + j of kernels::dropout's mask
//
// Query i stands at pos_i = i, or at i + S - T when end_aligned: the last query at the last key, as with a cache of keys.
// It sees key j when mask_ij is true and pos_i - left <= j <= pos_i + right; left, right < 0 set no limit, causal is right = 0.
// A query that sees nothing has o_i = 0, l_i = -infinity (sink_h with a sink) and no gradient.
//
//   d_i  = <do_i, o_i>           dp_ij = z_ij <do_i, v_j>       ds_ij = p_ij (dp_ij - d_i)      dr_ij = ds_ij (1 - tanh^2(r_ij
//   / c)) dq_i = scale sum_j dr_ij k_j           dk_j = scale sum_i dr_ij q_i           dv_j = sum_i p_ij z_ij do_i dbias = ds
//   summed along what bias was broadcast over                          dsink_h = -sum_{b,i} e^{sink_h - l_i} d_i  (an op)
//
// B batch, nh query heads, T queries, S keys, hs extent of q and k, vs of v. Query head h reads key head h nkv / nh (Ainslie et
// al. 2023): dk and dv are summed over the query heads of a group. Sums over queries and heads have a fixed order.
//
// Packed sequences: q_start, k_start [B + 1], not decreasing: sequence b has T_b = q_start[b + 1] - q_start[b] queries, and its
// query i is row q_start[b] + i of batch 0 of q; the same for keys. T and S are then the longest T_b and S_b, and count in z, l
// and d; pos_i = i + S_b - T_b when end_aligned.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>
#include <gradus/core/dtype.hpp>
#include <gradus/core/random.hpp>
#include <gradus/kernels/instance.hpp>

namespace gradus::kernels {

struct AttentionDims {
  int64_t B = 1, nh = 1, nkv = 1, T = 0, S = 0, hs = 1, vs = 1;
  double scale = 1, softcap = 0;
  int64_t left = -1, right = -1;
  bool end_aligned = false;
  double dropout = 0;
  RandomStream random = {};
  const int64_t *q_start = nullptr, *k_start = nullptr;  ///< memory of the device
};

/// q, k, v, o and their gradients: element (b, h, t, c) is data[b batch + h head + t row + c].
template <class T>
struct AttentionRows {
  T* data = nullptr;
  int64_t batch = 0, head = 0, row = 0;
};

/// What changes the scores; nullptr: nothing. Strides of b, h, i, j in elements, 0 where broadcast.
template <class T>
struct AttentionScores {
  const T* bias = nullptr;
  int64_t bias_stride[4] = {};
  const bool* mask = nullptr;
  int64_t mask_stride[4] = {};
  const T* slopes = nullptr;  ///< [nh]
  const T* sink = nullptr;    ///< [nh]
};

/// T: float, double, bf16, half. Statistics l, d : [B, nh, T] in compute_t<T>; rows beyond a packed sequence's end are
/// -infinity and 0.
template <class T>
void attention_fwd(Cpu, AttentionRows<const T> q, AttentionRows<const T> k, AttentionRows<const T> v,
                   const AttentionScores<T>& scores, AttentionRows<T> o, compute_t<T>* l, const AttentionDims& dims);
template <class T>
void attention_fwd(Cuda, AttentionRows<const T> q, AttentionRows<const T> k, AttentionRows<const T> v,
                   const AttentionScores<T>& scores, AttentionRows<T> o, compute_t<T>* l, const AttentionDims& dims);
/// d_i = <do_i, o_i>
template <class T>
void attention_delta(Cpu, AttentionRows<const T> o, AttentionRows<const T> dy, compute_t<T>* d, const AttentionDims& dims);
template <class T>
void attention_delta(Cuda, AttentionRows<const T> o, AttentionRows<const T> dy, compute_t<T>* d, const AttentionDims& dims);
/// Every row of dq, dk and dv is written (of packed sequences: every row that belongs to one).
template <class T>
void attention_bwd(Cpu, AttentionRows<const T> q, AttentionRows<const T> k, AttentionRows<const T> v,
                   const AttentionScores<T>& scores, const compute_t<T>* l, const compute_t<T>* d, AttentionRows<const T> dy,
                   AttentionRows<T> dq, AttentionRows<T> dk, AttentionRows<T> dv, const AttentionDims& dims);
template <class T>
void attention_bwd(Cuda, AttentionRows<const T> q, AttentionRows<const T> k, AttentionRows<const T> v,
                   const AttentionScores<T>& scores, const compute_t<T>* l, const compute_t<T>* d, AttentionRows<const T> dy,
                   AttentionRows<T> dq, AttentionRows<T> dk, AttentionRows<T> dv, const AttentionDims& dims);
/// The factors z of queries i0 ... i0 + ni - 1 and keys j0 ... j0 + nj - 1: [B, nh, ni, nj].
template <class T>
void attention_dropout(Cpu, T* z, int64_t i0, int64_t ni, int64_t j0, int64_t nj, const AttentionDims& dims);
template <class T>
void attention_dropout(Cuda, T* z, int64_t i0, int64_t ni, int64_t j0, int64_t nj, const AttentionDims& dims);
/// dbias has the layout of bias, which is contiguous but for its broadcast dimensions: `extent` are bias's extents of b, h, i,
/// j, each full or 1. All of it is written.
template <class T>
void attention_bwd_bias(Cpu, AttentionRows<const T> q, AttentionRows<const T> k, AttentionRows<const T> v,
                        const AttentionScores<T>& scores, const compute_t<T>* l, const compute_t<T>* d,
                        AttentionRows<const T> dy, T* dbias, const int64_t (&extent)[4], const AttentionDims& dims);
template <class T>
void attention_bwd_bias(Cuda, AttentionRows<const T> q, AttentionRows<const T> k, AttentionRows<const T> v,
                        const AttentionScores<T>& scores, const compute_t<T>* l, const compute_t<T>* d,
                        AttentionRows<const T> dy, T* dbias, const int64_t (&extent)[4], const AttentionDims& dims);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/attention.cpp>
#endif
