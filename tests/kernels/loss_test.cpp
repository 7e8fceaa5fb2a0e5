// cuda/loss.cu against cpu/loss.cpp, each kernel.
#include <gradus/kernels/loss.hpp>

#include "kernels/on_device.hpp"

using namespace kernel_test;
namespace k = gradus::kernels;

namespace {
struct Rows {
  int64_t N, C;
};
constexpr Rows shapes[] = {{4, 2}, {6, 33}, {9, 64}, {2, 1100}, {0, 7}};
constexpr int64_t ignored = -100;

Host<int64_t> targets(int64_t N, int64_t C) {
  Host<int64_t> t(static_cast<std::size_t>(N));
  for (int64_t n = 0; n < N; ++n) t[static_cast<std::size_t>(n)] = n % 4 == 3 ? ignored : n * 13 % C;
  return t;
}
}  // namespace

TEST_CASE("cross_entropy kernels") {
  for_types<float, double, bf16, half>([](auto zero) {
    using T = decltype(zero);
    using A = compute_t<T>;
    const double of_loss = std::is_same_v<T, double> ? 1e-12 : 4e-6;
    for (const auto [N, C] : shapes)
      for (const double smoothing : {0.0, 0.1}) {
        const auto x = values<T>(N * C, 1, -5, 5), w = values<T>(C, 2, 0.5, 2);
        const auto g = values<A>(N, 3);
        const auto t = targets(N, C);
        const OnDevice<T> dev_x(x), dev_w(w);
        const OnDevice<A> dev_g(g), dev_l(N), dev_rw(N), dev_loss(N);
        const OnDevice<int64_t> dev_t(t);
        const bool weighted = C != 33, schedules = std::is_same_v<T, float> && C == 33;
        const T *weight = weighted ? w.data() : nullptr, *dev_weight = weighted ? static_cast<T*>(dev_w) : nullptr;
        Host<A> loss(g.size()), lse(g.size()), row_weight(g.size());
        Host<T> dx(x.size());
        k::cross_entropy_fwd(Cpu{}, x.data(), t.data(), weight, loss.data(), lse.data(), row_weight.data(), N, C, ignored, smoothing);
        same_on_device<A>("cross_entropy_fwd", loss, of_loss, schedules, [&](A* out) {
          k::cross_entropy_fwd<T>(Cuda{}, dev_x, dev_t, dev_weight, out, dev_l, dev_rw, N, C, ignored, smoothing);
        });
        CHECK(difference(dev_l.host(), lse, of_loss) == "");
        CHECK(difference(dev_rw.host(), row_weight, 0) == "");
        const OnDevice<A> l(lse);
        k::cross_entropy_bwd(Cpu{}, x.data(), t.data(), weight, lse.data(), g.data(), dx.data(), N, C, ignored, smoothing);
        same_on_device<T>("cross_entropy_bwd", dx, rounding<T>(), schedules, [&](T* out) {
          k::cross_entropy_bwd<T>(Cuda{}, dev_x, dev_t, dev_weight, l, dev_g, out, N, C, ignored, smoothing);
        });
      }
  });
}

TEST_CASE("soft_cross_entropy kernels") {
  for_types<float, double, bf16, half>([](auto zero) {
    using T = decltype(zero);
    using A = compute_t<T>;
    for (const auto [N, C] : shapes) {
      const auto x = values<T>(N * C, 1, -5, 5), q = values<T>(N * C, 4, 0, 2.0 / static_cast<double>(C)), w = values<T>(C, 2, 0.5, 2);
      const auto g = values<A>(N, 3);
      const OnDevice<T> dev_x(x), dev_q(q), dev_w(w);
      const OnDevice<A> dev_g(g), dev_l(N);
      Host<A> loss(g.size()), lse(g.size());
      Host<T> dx(x.size());
      const bool schedules = std::is_same_v<T, float> && C == 33;
      k::soft_cross_entropy_fwd(Cpu{}, x.data(), q.data(), w.data(), loss.data(), lse.data(), N, C, 0.1);
      same_on_device<A>("soft_cross_entropy_fwd", loss, std::is_same_v<T, double> ? 1e-12 : 4e-6, schedules,
                        [&](A* out) { k::soft_cross_entropy_fwd<T>(Cuda{}, dev_x, dev_q, dev_w, out, dev_l, N, C, 0.1); });
      const OnDevice<A> l(lse);
      k::soft_cross_entropy_bwd(Cpu{}, x.data(), q.data(), w.data(), lse.data(), g.data(), dx.data(), N, C, 0.1);
      same_on_device<T>("soft_cross_entropy_bwd", dx, rounding<T>(), schedules,
                        [&](T* out) { k::soft_cross_entropy_bwd<T>(Cuda{}, dev_x, dev_q, dev_w, l, dev_g, out, N, C, 0.1); });
    }
  });
}

TEST_CASE("nll kernels") {
  for_types<float, bf16>([](auto zero) {
    using T = decltype(zero);
    using A = compute_t<T>;
    const int64_t N = 6, C = 9;
    const auto logp = values<T>(N * C, 1, -5, 0), w = values<T>(C, 2, 0.5, 2);
    const auto g = values<A>(N, 3);
    const auto t = targets(N, C);
    const OnDevice<T> dev_logp(logp), dev_w(w), dev_d(N * C);
    const OnDevice<A> dev_g(g), dev_loss(N), dev_rw(N);
    const OnDevice<int64_t> dev_t(t);
    Host<A> loss(g.size()), row_weight(g.size());
    Host<T> d(logp.size());
    k::nll_fwd(Cpu{}, logp.data(), t.data(), w.data(), loss.data(), row_weight.data(), N, C, ignored);
    k::nll_fwd<T>(Cuda{}, dev_logp, dev_t, dev_w, dev_loss, dev_rw, N, C, ignored);
    CHECK(difference(dev_loss.host(), loss, 0) == "");
    CHECK(difference(dev_rw.host(), row_weight, 0) == "");
    k::nll_bwd(Cpu{}, t.data(), w.data(), g.data(), d.data(), N, C, ignored);
    k::nll_bwd<T>(Cuda{}, dev_t, dev_w, dev_g, dev_d, N, C, ignored);
    CHECK(difference(dev_d.host(), d, 0) == "");
  });
}
