// cuda/norm.cu against cpu/norm.cpp, each kernel.
#include <gradus/kernels/norm.hpp>

#include "kernels/on_device.hpp"

using namespace kernel_test;
namespace k = gradus::kernels;

namespace {
struct Rows {
  int64_t N, C;
};
constexpr Rows shapes[] = {{3, 1}, {70, 33}, {9, 64}, {2, 1100}, {0, 7}};
/// Statistics are in compute_t<T>.
template <class T> double of_stats() { return std::is_same_v<T, double> ? 1e-12 : 4e-6; }
}  // namespace

TEST_CASE("layer_norm kernels") {
  for_types<float, double, bf16, half>([](auto zero) {
    using T = decltype(zero);
    using A = compute_t<T>;
    for (const auto [N, C] : shapes) {
      const auto x = values<T>(N * C, 1, 3, 7), dy = values<T>(N * C, 2), w = values<T>(C, 3), b = values<T>(C, 4);
      const OnDevice<T> dev_x(x), dev_dy(dy), dev_w(w), dev_b(b);
      Host<T> y(x.size()), dx(x.size()), dw(w.size()), db(w.size());
      Host<A> mean(static_cast<std::size_t>(N)), rstd(mean.size());
      const OnDevice<A> dev_mean(N), dev_rstd(N);
      const bool schedules = std::is_same_v<T, float> && C == 33;
      const double eps = C == 1 ? 1 : 1e-5;         // xhat is 0 there, and the gradient what 1/sqrt(eps) makes of a rounding
      for (const bool affine : {true, false}) {
        const T *weight = affine ? w.data() : nullptr, *bias = affine ? b.data() : nullptr;
        const T *dev_weight = affine ? static_cast<T*>(dev_w) : nullptr, *dev_bias = affine ? static_cast<T*>(dev_b) : nullptr;
        k::layer_norm_fwd(Cpu{}, x.data(), weight, bias, y.data(), mean.data(), rstd.data(), N, C, eps);
        same_on_device<T>("layer_norm_fwd", y, 4 * rounding<T>(), schedules, [&](T* out) {
          k::layer_norm_fwd<T>(Cuda{}, dev_x, dev_weight, dev_bias, out, dev_mean, dev_rstd, N, C, eps);
        });
        CHECK(difference(dev_mean.host(), mean, of_stats<T>()) == "");
        CHECK(difference(dev_rstd.host(), rstd, of_stats<T>()) == "");
        const OnDevice<A> mu(mean), r(rstd);
        const OnDevice<T> dev_dw(C), dev_db(C), dev_dx(N * C);
        k::layer_norm_bwd(Cpu{}, x.data(), weight, mean.data(), rstd.data(), dy.data(), dx.data(), dw.data(), db.data(), N, C);
        same_on_device<T>("layer_norm_bwd", dx, 4 * rounding<T>(), schedules, [&](T* out) {
          k::layer_norm_bwd<T>(Cuda{}, dev_x, dev_weight, mu, r, dev_dy, out, dev_dw, dev_db, N, C);
        });
        same_on_device<T>("layer_norm_bwd", dw, 4 * rounding<T>(), schedules, [&](T* out) {
          k::layer_norm_bwd<T>(Cuda{}, dev_x, dev_weight, mu, r, dev_dy, nullptr, out, dev_db, N, C);
        });
        CHECK(difference(dev_db.host(), db, 4 * rounding<T>()) == "");
      }
    }
  });
}

TEST_CASE("rms_norm kernels") {
  for_types<float, double, bf16, half>([](auto zero) {
    using T = decltype(zero);
    using A = compute_t<T>;
    for (const auto [N, C] : shapes) {
      const auto x = values<T>(N * C, 1), dy = values<T>(N * C, 2), w = values<T>(C, 3);
      const OnDevice<T> dev_x(x), dev_dy(dy), dev_w(w);
      Host<T> y(x.size()), dx(x.size()), dw(w.size());
      Host<A> rstd(static_cast<std::size_t>(N));
      const OnDevice<A> dev_rstd(N);
      const bool schedules = std::is_same_v<T, float> && C == 33;
      k::rms_norm_fwd(Cpu{}, x.data(), w.data(), y.data(), rstd.data(), N, C, 1e-5);
      same_on_device<T>("rms_norm_fwd", y, 4 * rounding<T>(), schedules,
                        [&](T* out) { k::rms_norm_fwd<T>(Cuda{}, dev_x, dev_w, out, dev_rstd, N, C, 1e-5); });
      const OnDevice<A> r(rstd);
      const OnDevice<T> dev_dw(C);
      k::rms_norm_bwd(Cpu{}, x.data(), w.data(), rstd.data(), dy.data(), dx.data(), dw.data(), N, C);
      same_on_device<T>("rms_norm_bwd", dx, 8 * rounding<T>(), schedules,
                        [&](T* out) { k::rms_norm_bwd<T>(Cuda{}, dev_x, dev_w, r, dev_dy, out, dev_dw, N, C); });
      CHECK(difference(dev_dw.host(), dw, 4 * rounding<T>()) == "");
    }
  });
}

TEST_CASE("batch_norm kernels") {
  struct Extents {
    int64_t N, C, S;
  };
  for_types<float, double, bf16, half>([](auto zero) {
    using T = decltype(zero);
    using A = compute_t<T>;
    for (const auto [N, C, S] : {Extents{5, 3, 1}, {70, 40, 1}, {2, 3, 4}, {3, 5, 40}, {2, 1, 1200}}) {
      const auto x = values<T>(N * C * S, 1, 3, 7), dy = values<T>(N * C * S, 2), w = values<T>(C, 3), b = values<T>(C, 4);
      const OnDevice<T> dev_x(x), dev_dy(dy), dev_w(w), dev_b(b);
      Host<T> y(x.size()), dx(x.size()), dw(w.size()), db(w.size());
      Host<A> mean(w.size()), var(w.size());
      const bool schedules = std::is_same_v<T, float> && N * C * S <= 600;
      const OnDevice<A> scratch(C);
      k::batch_norm_stats(Cpu{}, x.data(), mean.data(), var.data(), N, C, S);
      same_on_device<A>("batch_norm_stats", mean, of_stats<T>(), schedules, [&](A* out) { k::batch_norm_stats<T>(Cuda{}, dev_x, out, scratch, N, C, S); });
      same_on_device<A>("batch_norm_stats", var, of_stats<T>(), schedules, [&](A* out) { k::batch_norm_stats<T>(Cuda{}, dev_x, scratch, out, N, C, S); });
      const OnDevice<A> mu(mean), v(var);
      k::batch_norm_apply(Cpu{}, x.data(), mean.data(), var.data(), w.data(), b.data(), y.data(), N, C, S, 1e-5);
      same_on_device<T>("batch_norm_apply", y, 4 * rounding<T>(), schedules,
                        [&](T* out) { k::batch_norm_apply<T>(Cuda{}, dev_x, mu, v, dev_w, dev_b, out, N, C, S, 1e-5); });
      const OnDevice<T> dev_dw(C), dev_db(C);
      for (const bool training : {true, false}) {
        k::batch_norm_bwd(Cpu{}, x.data(), mean.data(), var.data(), w.data(), dy.data(), dx.data(), dw.data(), db.data(), N, C, S, 1e-5, training);
        same_on_device<T>("batch_norm_apply", dx, 8 * rounding<T>(), schedules, [&](T* out) {
          k::batch_norm_bwd<T>(Cuda{}, dev_x, mu, v, dev_w, dev_dy, out, dev_dw, dev_db, N, C, S, 1e-5, training);
        });
        CHECK(difference(dev_dw.host(), dw, 8 * rounding<T>()) == "");
        CHECK(difference(dev_db.host(), db, 8 * rounding<T>()) == "");
      }
    }
  });
}
