// Losses with a kernel of their own, and dropout with shared masks.
#include <array>

#include <gradus/ops/dropout.hpp>
#include <gradus/ops/losses/sequence.hpp>
#include <gradus/ops/losses/transport.hpp>

#include "harness.hpp"

namespace {
using namespace gradus;
using bench::Work;
using Float = Tensor<float>;

const bool loss_cases = [] {
  // T frames, N samples, C classes, S labels: forward and backward from logits.
  for (const auto& [T, N, C, S] : {std::array<int64_t, 4>{200, 16, 32, 40}, std::array<int64_t, 4>{800, 16, 128, 120}})
    bench::add("loss.ctc_fb",
               "T=" + std::to_string(T) + ",N=" + std::to_string(N) + ",C=" + std::to_string(C) + ",S=" + std::to_string(S),
               "f32", [T = T, N = N, C = C, S = S] {
                 Float x = randn({T, N, C});
                 x.requires_grad_();
                 const auto labels = randint(1, C, {N, S});
                 const auto times = full<int64_t>({N}, static_cast<double>(T)),
                            lengths = full<int64_t>({N}, static_cast<double>(S));
                 return Work{[=] {
                   x.zero_grad();
                   ctc_loss(log_softmax(x, -1), labels, times, lengths).backward();
                 }};
               });
  bench::add("loss.rnnt_fb", "N=8,T=100,U=30,C=64", "f32", [] {
    Float x = randn({8, 100, 31, 64});
    x.requires_grad_();
    const auto labels = randint(1, 64, {8, 30});
    const auto times = full<int64_t>({8}, 100), lengths = full<int64_t>({8}, 30);
    return Work{[=] {
      x.zero_grad();
      rnnt_loss(log_softmax(x, -1), labels, times, lengths).backward();
    }};
  });
  bench::add("loss.sinkhorn", "n=256,m=256,eps=0.05", "f32", [] {
    const auto C = gradus::rand({256, 256}), a = full({256}, 1.0 / 256);
    return Work{[=] { sinkhorn_plan(C, a, a, {.eps = 0.05}); }};
  });
  for (const bool backward : {false, true})
    bench::add(backward ? "bw.dropout2d_fb" : "bw.dropout2d", "N=64,C=64,H=32,W=32", "f32", [backward] {
      Float x = randn({64, 64, 32, 32});
      const Float dy = randn(x.shape());
      x.requires_grad_(backward);
      return Work{[=] {
                    x.zero_grad();
                    const auto y = shared_dropout(x, 0.1, {-1, -2});
                    if (backward) y.backward(dy);
                  },
                  1, 0, (backward ? 4.0 : 2.0) * 4 * 64 * 64 * 32 * 32};
    });
  return true;
}();
}  // namespace
