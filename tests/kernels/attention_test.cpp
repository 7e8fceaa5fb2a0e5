// cuda/attention.cu against cpu/attention.cpp, each kernel.
#include <gradus/kernels/attention.hpp>

#include "kernels/on_device.hpp"

using namespace kernel_test;
using gradus::kernels::AttentionDims, gradus::kernels::AttentionRows, gradus::kernels::AttentionScores;
namespace k = gradus::kernels;

namespace {
/// [b, h, t, c] contiguous.
template <class U> AttentionRows<U> rows(U* data, int64_t heads, int64_t length, int64_t width) {
  return {data, heads * length * width, length * width, width};
}

struct Options {
  bool bias = false, mask = false, slopes = false, sink = false;
  std::string only = "";
};

/// Forward, delta, backward and the gradient of bias with every kernel.
template <class T> void check_attention(AttentionDims g, Options o = {}, bool schedules = false) {
  using A = compute_t<T>;
  const int64_t nq = g.B * g.nh * g.T, nk = g.B * g.nkv * g.S;
  g.scale = 1 / std::sqrt(static_cast<double>(g.hs));
  g.random = {11, 3};
  const auto q = values<T>(nq * g.hs, 1), key = values<T>(nk * g.hs, 2), v = values<T>(nk * g.vs, 3), dy = values<T>(nq * g.vs, 4);
  const auto bias = values<T>(g.nh * g.T * g.S, 5), slopes = values<T>(g.nh, 6, 0, 0.2), sink = values<T>(g.nh, 7);
  auto mask = values<bool>(g.B * g.S, 8, 0.3, 2.3);
  const OnDevice<T> dev_q(q), dev_k(key), dev_v(v), dev_dy(dy), dev_bias(bias), dev_slopes(slopes), dev_sink(sink);
  const OnDevice<bool> dev_mask(mask);
  const auto scores = [&](const T* bias_at, const bool* mask_at, const T* slopes_at, const T* sink_at) {
    AttentionScores<T> e;
    if (o.bias) e.bias = bias_at, e.bias_stride[1] = g.T * g.S, e.bias_stride[2] = g.S, e.bias_stride[3] = 1;      // the same for every b
    if (o.mask) e.mask = mask_at, e.mask_stride[0] = g.S, e.mask_stride[3] = 1;                                    // key padding
    if (o.slopes) e.slopes = slopes_at;
    if (o.sink) e.sink = sink_at;
    return e;
  };
  const auto host_e = scores(bias.data(), reinterpret_cast<const bool*>(mask.data()), slopes.data(), sink.data());
  const auto dev_e = scores(dev_bias, dev_mask, dev_slopes, dev_sink);
  const auto in_q = [&](const T* p) { return rows<const T>(p, g.nh, g.T, g.hs); };
  const auto in_k = [&](const T* p) { return rows<const T>(p, g.nkv, g.S, g.hs); };
  const auto in_v = [&](const T* p) { return rows<const T>(p, g.nkv, g.S, g.vs); };
  const auto in_o = [&](const T* p) { return rows<const T>(p, g.nh, g.T, g.vs); };
  Host<T> out(dy.size()), dq(q.size()), dk(key.size()), dv(v.size());
  Host<A> l(static_cast<std::size_t>(nq)), d(l.size());
  const double tolerance = 4 * rounding<T>(), of_stats = std::is_same_v<T, double> ? 1e-12 : 2e-5;

  k::attention_fwd<T>(Cpu{}, in_q(q.data()), in_k(key.data()), in_v(v.data()), host_e, rows(out.data(), g.nh, g.T, g.vs), l.data(), g);
  const OnDevice<A> dev_l(nq);
  same_on_device<T>("attention_fwd", out, tolerance, schedules, [&](T* y) {
    k::attention_fwd<T>(Cuda{}, in_q(dev_q), in_k(dev_k), in_v(dev_v), dev_e, rows(y, g.nh, g.T, g.vs), dev_l, g);
  }, nullptr, o.only);
  CHECK(difference(dev_l.host(), l, of_stats) == "");

  const OnDevice<T> dev_o(out);
  const OnDevice<A> same_l(l), dev_d(nq);
  k::attention_delta<T>(Cpu{}, in_o(out.data()), in_o(dy.data()), d.data(), g);
  k::attention_delta<T>(Cuda{}, in_o(dev_o), in_o(dev_dy), dev_d, g);
  CHECK(difference(dev_d.host(), d, of_stats) == "");

  k::attention_bwd<T>(Cpu{}, in_q(q.data()), in_k(key.data()), in_v(v.data()), host_e, l.data(), d.data(), in_o(dy.data()),
                      rows(dq.data(), g.nh, g.T, g.hs), rows(dk.data(), g.nkv, g.S, g.hs), rows(dv.data(), g.nkv, g.S, g.vs), g);
  const OnDevice<A> same_d(d);
  const OnDevice<T> dev_dk(nk * g.hs), dev_dv(nk * g.vs), dev_dq(nq * g.hs);
  const auto backward = [&](T* to_q, T* to_k, T* to_v) {
    k::attention_bwd<T>(Cuda{}, in_q(dev_q), in_k(dev_k), in_v(dev_v), dev_e, same_l, same_d, in_o(dev_dy), rows(to_q, g.nh, g.T, g.hs),
                        rows(to_k, g.nkv, g.S, g.hs), rows(to_v, g.nkv, g.S, g.vs), g);
  };
  same_on_device<T>("attention_bwd", dq, tolerance, schedules, [&](T* y) { backward(y, dev_dk, dev_dv); }, nullptr, o.only);
  same_on_device<T>("attention_bwd", dk, tolerance, schedules, [&](T* y) { backward(dev_dq, y, dev_dv); }, nullptr, o.only);
  same_on_device<T>("attention_bwd", dv, tolerance, false, [&](T* y) { backward(dev_dq, dev_dk, y); }, nullptr, o.only);

  if (!o.bias) return;
  const int64_t extent[4] = {1, g.nh, g.T, g.S};
  Host<T> dbias(bias.size());
  const OnDevice<T> dev_dbias(g.nh * g.T * g.S);
  k::attention_bwd_bias<T>(Cpu{}, in_q(q.data()), in_k(key.data()), in_v(v.data()), host_e, l.data(), d.data(), in_o(dy.data()), dbias.data(), extent, g);
  k::attention_bwd_bias<T>(Cuda{}, in_q(dev_q), in_k(dev_k), in_v(dev_v), dev_e, same_l, same_d, in_o(dev_dy), dev_dbias, extent, g);
  CHECK(difference(dev_dbias.host(), dbias, tolerance) == "");
}
AttentionDims dims(int64_t B, int64_t nh, int64_t nkv, int64_t T, int64_t S, int64_t hs, int64_t vs) {
  AttentionDims g;
  g.B = B, g.nh = nh, g.nkv = nkv, g.T = T, g.S = S, g.hs = hs, g.vs = vs;
  return g;
}
}  // namespace

TEST_CASE("attention of every element type") {
  for_types<float, double, bf16, half>([](auto zero) { check_attention<decltype(zero)>(dims(2, 2, 1, 9, 13, 8, 5), {.bias = true, .mask = true}); });
}

TEST_CASE("attention across tiles: causal, windows, end-aligned") {
  auto g = dims(1, 2, 2, 70, 70, 16, 16);
  g.right = 0;
  check_attention<float>(g, {}, true);
  g = dims(1, 1, 1, 40, 100, 16, 24);
  g.left = 30, g.right = 3, g.end_aligned = true;
  check_attention<float>(g, {.slopes = true, .sink = true});
}

TEST_CASE("attention with dropout, softcap, and rows that see nothing") {
  auto g = dims(2, 2, 2, 20, 37, 8, 8);
  g.dropout = 0.3, g.softcap = 2;
  check_attention<float>(g, {.mask = true});
  check_attention<double>(g, {.bias = true});
  g = dims(1, 1, 1, 6, 4, 8, 8);
  g.left = 0, g.right = 0;                          // queries 4 and 5 see no key
  check_attention<float>(g);
}

TEST_CASE("head sizes of each tile") {
  for (const int64_t hs : {32, 64, 96, 128, 200}) {
    auto g = dims(1, 1, 1, 17, 33, hs, hs);
    g.right = 0, g.end_aligned = true;
    check_attention<float>(g);
  }
  check_attention<double>(dims(1, 1, 1, 3, 5, 300, 4));   // wider than tiles: the reference
}

TEST_CASE("attention on tensor cores: head sizes, limits of what is seen, grouped heads") {
  for_types<bf16, half>([](auto zero) {
    using T = decltype(zero);
    for (const int64_t hs : {8, 32, 64, 96, 128}) {
      auto g = dims(1, 2, 1, 70, 70, hs, hs);
      g.right = 0;
      check_attention<T>(g, {.only = "mma"}, hs == 32);
    }
    check_attention<T>(dims(2, 1, 1, 65, 130, 40, 72), {.only = "mma"});              // two widths, two full tiles of keys and a piece
    auto g = dims(1, 3, 1, 70, 150, 16, 16);
    g.left = 30, g.right = 3, g.end_aligned = true;
    check_attention<T>(g, {.only = "mma"});
    g = dims(1, 1, 1, 6, 4, 8, 8);
    g.left = 0, g.right = 0;                                         // queries 4 and 5 see no key
    check_attention<T>(g);
    check_attention<T>(g, {.sink = true});
  });
}

TEST_CASE("attention on tensor cores: bias, mask, slopes, sink, softcap, dropout") {
  for_types<bf16, half>([](auto zero) {
    using T = decltype(zero);
    for (const int64_t hs : {16, 128}) {
      auto g = dims(2, 2, 1, 40, 70, hs, hs);
      check_attention<T>(g, {.bias = true, .mask = true, .only = "mma"});
      g.right = 5, g.end_aligned = true;
      check_attention<T>(g, {.slopes = true, .sink = true, .only = "mma"}, hs == 16);
      g.dropout = 0.3, g.softcap = 2;
      check_attention<T>(g, {.mask = true, .only = "mma"});
    }
  });
}

namespace {
template <class T> void check_packed() {
  const double tolerance = std::is_same_v<T, float> ? 2e-5 : 4 * rounding<T>();
  const Host<int64_t> q_start{0, 5, 5, 41}, k_start{0, 40, 43, 80};
  auto g = dims(3, 2, 1, 36, 40, 8, 8);
  g.right = 0, g.end_aligned = true, g.scale = 0.4;
  const auto q = values<T>(41 * 2 * 8, 1), key = values<T>(80 * 8, 2), v = values<T>(80 * 8, 3), dy = values<T>(41 * 2 * 8, 4);
  const OnDevice<T> dev_q(q), dev_k(key), dev_v(v), dev_dy(dy);
  const OnDevice<int64_t> dev_qs(q_start), dev_ks(k_start);
  const auto heads = [](auto* p, int64_t nh) { return AttentionRows<std::remove_reference_t<decltype(*p)>>{p, 0, 8, nh * 8}; };   // [t, h, c]
  auto host_g = g, dev_g = g;
  host_g.q_start = q_start.data(), host_g.k_start = k_start.data(), dev_g.q_start = dev_qs, dev_g.k_start = dev_ks;
  const auto in = [](T* p) -> const T* { return p; };
  Host<T> o(q.size()), dq(q.size()), dk(key.size()), dv(v.size());
  Host<float> l(3 * 2 * 36), d(l.size());
  k::attention_fwd<T>(Cpu{}, heads(q.data(), 2), heads(key.data(), 1), heads(v.data(), 1), {}, heads(o.data(), 2), l.data(), host_g);
  k::attention_delta<T>(Cpu{}, heads(std::as_const(o).data(), 2), heads(dy.data(), 2), d.data(), host_g);
  const OnDevice<T> dev_o(o), dev_dk(80 * 8), dev_dv(80 * 8);
  const OnDevice<float> dev_l(l), dev_d(d), new_l(3 * 2 * 36), new_d(3 * 2 * 36);
  same_on_device<T>("attention_fwd", o, tolerance, false,
                    [&](T* y) { k::attention_fwd<T>(Cuda{}, heads(in(dev_q), 2), heads(in(dev_k), 1), heads(in(dev_v), 1), {}, heads(y, 2), new_l, dev_g); });
  CHECK(difference(new_l.host(), l, 2e-5) == "");
  k::attention_delta<T>(Cuda{}, heads(in(dev_o), 2), heads(in(dev_dy), 2), new_d, dev_g);
  CHECK(difference(new_d.host(), d, 2e-5) == "");
  k::attention_bwd<T>(Cpu{}, heads(q.data(), 2), heads(key.data(), 1), heads(v.data(), 1), {}, l.data(), d.data(), heads(dy.data(), 2), heads(dq.data(), 2),
                      heads(dk.data(), 1), heads(dv.data(), 1), host_g);
  same_on_device<T>("attention_bwd", dq, tolerance, false, [&](T* y) {
    k::attention_bwd<T>(Cuda{}, heads(in(dev_q), 2), heads(in(dev_k), 1), heads(in(dev_v), 1), {}, dev_l, dev_d, heads(in(dev_dy), 2), heads(y, 2),
                        heads(static_cast<T*>(dev_dk), 1), heads(static_cast<T*>(dev_dv), 1), dev_g);
    CHECK(difference(dev_dk.host(), dk, tolerance) == "");
    CHECK(difference(dev_dv.host(), dv, tolerance) == "");
  });
}

}  // namespace
TEST_CASE("packed sequences, one of them empty") { for_types<float, bf16, half>([](auto zero) { check_packed<decltype(zero)>(); }); }

TEST_CASE("attention_dropout gives the Cpu's mask") {
  auto g = dims(2, 3, 3, 10, 21, 8, 8);
  g.dropout = 0.4, g.random = {5, 9};
  Host<float> z(2 * 3 * 4 * 7);
  const OnDevice<float> dev_z(2 * 3 * 4 * 7);
  k::attention_dropout<float>(Cpu{}, z.data(), 3, 4, 10, 7, g);
  k::attention_dropout<float>(Cuda{}, dev_z, 3, 4, 10, 7, g);
  CHECK(difference(dev_z.host(), z, 0) == "");
}
