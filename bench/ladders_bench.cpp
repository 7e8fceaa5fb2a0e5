// The steps of the ladders. On the emulated device the sizes are small and the times say nothing about a GPU.
#ifdef GRADUS_WITH_CUDA
#include <gradus/core/cuda.hpp>
#include <gradus/ops/random.hpp>

#include "harness.hpp"
#include "ladders/reduce.hpp"

namespace {
using gradus::Cuda, gradus::Tensor;

const bool memory_ladders = [] {
#ifdef GRADUS_CUDA_EMULATED
  const int64_t side = 128;
#else
  const int64_t side = 8192;
#endif
  const double bytes = 4.0 * static_cast<double>(side) * static_cast<double>(side);
  const std::string shape = std::to_string(side) + "x" + std::to_string(side);
  for (const std::string& step : gradus::ladders::sum_steps())
    bench::add("ladder.sum." + step, shape, "f32", [=] {
      const auto x = gradus::randn<float, Cuda>({side, side});
      Tensor<float, Cuda> y(gradus::Shape{});
      return bench::Work{[=]() mutable { gradus::ladders::sum(step, x.data(), y.data(), side * side), gradus::cuda::synchronize(); }, 1, 0, bytes};
    });
  for (const std::string& step : gradus::ladders::transpose_steps())
    bench::add("ladder.transpose." + step, shape, "f32", [=] {
      const auto x = gradus::randn<float, Cuda>({side, side});
      Tensor<float, Cuda> y(gradus::Shape{side, side});
      return bench::Work{[=]() mutable { gradus::ladders::transpose(step, x.data(), y.data(), side, side), gradus::cuda::synchronize(); }, 1, 0, 2 * bytes};
    });
  return true;
}();
}  // namespace
#endif
