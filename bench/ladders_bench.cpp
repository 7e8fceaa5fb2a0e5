// The steps of the ladders, and beside them what the engine takes. On the emulated device the sizes are small and the times say nothing
// about a GPU.
#ifdef GRADUS_WITH_CUDA
#include <gradus/core/cuda.hpp>
#include <gradus/ops/attention.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/norm.hpp>
#include <gradus/ops/random.hpp>
#include <gradus/ops/softmax.hpp>

#include "harness.hpp"
#include "ladders/adamw.hpp"
#include "ladders/attention.hpp"
#include "ladders/gemm.hpp"
#include "ladders/reduce.hpp"
#include "ladders/rows.hpp"

namespace {
using gradus::Cuda, gradus::Tensor, gradus::bf16;
namespace ladders = gradus::ladders;

#ifdef GRADUS_CUDA_EMULATED
constexpr bool emulated = true;
#else
constexpr bool emulated = false;
#endif

template <class T> Tensor<T, Cuda> random(const gradus::Shape& shape) { return gradus::randn<float, Cuda>(shape).template to<T>(); }
/// A case that runs launch() and waits for the device.
template <class Make> void add(const std::string& name, const std::string& shape, const char* dtype, double flops, double bytes, Make make) {
  bench::add("ladder." + name, shape, dtype, [=] {
    auto launch = make();
    return bench::Work{[launch]() mutable { launch(), gradus::cuda::synchronize(); }, 1, flops, bytes};
  }, emulated ? "emulated" : "cuda");
}

const bool memory_ladders = [] {
  const int64_t side = emulated ? 128 : 8192;
  const double bytes = 4.0 * static_cast<double>(side) * static_cast<double>(side);
  const std::string shape = std::to_string(side) + "x" + std::to_string(side);
  for (const std::string& step : ladders::sum_steps())
    add("sum." + step, shape, "f32", 0, bytes, [=] {
      return [=, x = random<float>({side, side}), y = Tensor<float, Cuda>(gradus::Shape{})]() mutable { ladders::sum(step, x.data(), y.data(), side * side); };
    });
  for (const std::string& step : ladders::transpose_steps())
    add("transpose." + step, shape, "f32", 0, 2 * bytes, [=] {
      return [=, x = random<float>({side, side}), y = random<float>({side, side})]() mutable { ladders::transpose(step, x.data(), y.data(), side, side); };
    });
  return true;
}();

template <class T> void gemm_cases(const std::vector<std::string>& steps, const char* dtype) {
  for (const int64_t side : emulated ? std::vector<int64_t>{128} : std::vector<int64_t>{1024, 4096, 8192}) {
    const double n = static_cast<double>(side), flops = 2 * n * n * n, bytes = 3 * sizeof(T) * n * n;
    const std::string shape = std::to_string(side);
    for (const std::string& step : steps)
      add("gemm." + step, shape, dtype, flops, bytes, [=] {
        return [=, a = random<T>({side, side}), b = random<T>({side, side}), c = random<T>({side, side})]() mutable {
          ladders::gemm(step, a.data(), b.data(), c.data(), side, side, side);
        };
      });
    add("gemm.blas", shape, dtype, flops, bytes, [=] {
      return [a = random<T>({side, side}), b = random<T>({side, side})] { gradus::no_grad([&] { gradus::matmul(a, b); }); };
    });
  }
}
const bool gemm_ladders = [] {
  gemm_cases<float>(ladders::gemm_steps(), "f32");
  gemm_cases<bf16>(ladders::gemm_bf16_steps(), "bf16");
  return true;
}();

const bool row_ladders = [] {
  const int64_t N = emulated ? 16 : 16384, C = emulated ? 256 : 1024;
  const double n = static_cast<double>(N * C);
  const std::string shape = std::to_string(N) + "x" + std::to_string(C);
  for (const std::string& step : ladders::softmax_steps())
    add("softmax." + step, shape, "f32", 0, 8 * n, [=] {
      return [=, x = random<float>({N, C}), y = random<float>({N, C})]() mutable { ladders::softmax(step, x.data(), y.data(), N, C); };
    });
  add("softmax.engine", shape, "f32", 0, 8 * n, [=] {
    return [x = random<float>({N, C})] { gradus::no_grad([&] { gradus::softmax(x, -1); }); };
  });
  for (const std::string& step : ladders::layer_norm_steps())
    add("layer_norm." + step, shape, "f32", 0, 8 * n, [=] {
      return [=, x = random<float>({N, C}), gamma = random<float>({C}), beta = random<float>({C}), y = random<float>({N, C})]() mutable {
        ladders::layer_norm(step, x.data(), gamma.data(), beta.data(), 1e-5f, y.data(), N, C);
      };
    });
  add("layer_norm.engine", shape, "f32", 0, 8 * n, [=] {
    return [=, x = random<float>({N, C}), gamma = random<float>({C}), beta = random<float>({C})] {
      gradus::no_grad([&] { gradus::layer_norm(x, gamma, beta); });
    };
  });
  return true;
}();

template <class T> void attention_cases(const std::vector<std::string>& steps, const char* dtype) {
  const ladders::AttentionSize size{emulated ? 1 : 64, emulated ? 128 : 2048, 64, true};
  const double pairs = 0.5 * static_cast<double>(size.heads * size.T) * static_cast<double>(size.T + 1), d = static_cast<double>(size.d);
  const gradus::Shape shape{1, size.heads, size.T, size.d};
  const std::string text = "1x" + std::to_string(size.heads) + "x" + std::to_string(size.T) + "x" + std::to_string(size.d);
  const double bytes = 4 * sizeof(T) * static_cast<double>(size.heads * size.T) * d;
  for (const std::string& step : steps)
    add("attention." + step, text, dtype, 4 * pairs * d, bytes, [=] {
      return [=, q = random<T>(shape), k = random<T>(shape), v = random<T>(shape), y = random<T>(shape)]() mutable {
        ladders::attention(step, q.data(), k.data(), v.data(), y.data(), size);
      };
    });
  add("attention.engine", text, dtype, 4 * pairs * d, bytes, [=] {
    return [q = random<T>(shape), k = random<T>(shape), v = random<T>(shape)] {
      gradus::no_grad([&] { gradus::scaled_dot_product_attention(q, k, v, {.causal = true}); });
    };
  });
}
const bool attention_ladders = [] {
  attention_cases<float>(ladders::attention_steps(), "f32");
  attention_cases<bf16>(ladders::attention_bf16_steps(), "bf16");
  return true;
}();

/// The parameters of a GPT-2 block, width 768, twelve times: 144 tensors, 85 million elements.
const bool adamw_ladder = [] {
  const int64_t w = emulated ? 16 : 768, blocks = emulated ? 2 : 12;
  std::vector<int64_t> sizes;
  for (int64_t b = 0; b < blocks; ++b)
    for (const int64_t n : {w, w, 3 * w * w, 3 * w, w * w, w, w, w, 4 * w * w, 4 * w, 4 * w * w, w}) sizes.push_back(n);
  int64_t total = 0;
  for (const int64_t n : sizes) total += n;
  for (const std::string& step : ladders::adamw_steps())
    add("adamw." + step, std::to_string(sizes.size()) + " tensors, " + std::to_string(total), "f32", 0, 28.0 * static_cast<double>(total), [=] {
      std::vector<Tensor<float, Cuda>> arrays;      // p, g, m, v of each
      std::vector<ladders::AdamWTensor> tensors;
      for (const int64_t n : sizes) {
        for (int i = 0; i < 3; ++i) arrays.push_back(random<float>({n}));
        arrays.push_back(gradus::square(random<float>({n})));
        const auto* last = &arrays[arrays.size() - 4];
        tensors.push_back({last[0].data(), last[1].data(), last[2].data(), last[3].data(), n});
      }
      return [=, keep = arrays]() mutable { ladders::adamw(step, tensors, {}); };
    });
  return true;
}();
}  // namespace
#endif
