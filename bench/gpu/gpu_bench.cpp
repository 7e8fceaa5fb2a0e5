// Cpu, every kernel that Cuda has, and the steps of the ladders (bench/ladders), on the same inputs: one JSON line a kernel. ./gradus gpu
// runs it; the emulated device answers too, with times that mean nothing.
//
//   gpu_bench --list             names of the cases
//   gpu_bench --case NAME        {"case", "device", "kernel", "ms", "GB/s", "GFLOP/s", "share", "error"}
//
// ms: the least of the samples. share: of the bandwidth of a copy on this device, measured here, or for products of the BLAS'
// speed. error: the largest difference from the same op in float64 on Cpu, over the largest value.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gradus/core/kernel_choice.hpp>
#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

#include "bench/ladders/adamw.hpp"
#include "bench/ladders/attention.hpp"
#include "bench/ladders/gemm.hpp"
#include "bench/ladders/reduce.hpp"
#include "bench/ladders/rows.hpp"

using namespace gradus;

namespace {

/// Makes the inputs; what comes back runs the op once on them, and returns the result as doubles when asked to.
using Make = std::function<std::function<std::vector<double>(bool)>()>;

struct Case {
  std::string choice;                 // the operation of select_kernel that the case has variants of; empty: one kernel
  double bytes = 0, flops = 0;        // moved and computed, at the least
  Make cpu64, cpu, cuda;
  std::vector<std::pair<std::string, Make>> ladder = {};   // its steps on Cuda
};

/// Runs `make<T, D>(T{}, D{})` lazily for the three combinations; the devices work in E.
template <class E = float, class F> Case of(std::string choice, double bytes, double flops, F make) {
  return {std::move(choice),
          bytes,
          flops,
          [make] { return make.template operator()<double, Cpu>(); },
          [make] { return make.template operator()<E, Cpu>(); },
          [make] { return make.template operator()<E, Cuda>(); }};
}
/// Values of E, the same ones in any T.
template <class T, class D, class E = float> Tensor<T, D> input(const Shape& shape, uint64_t seed) {
  manual_seed(seed);
  return randn<float>(shape).to<E>().template to<T>().template to<D>();
}
/// The op f as something to time: keeps its last result.
template <class F> std::function<std::vector<double>(bool)> run(F f) {
  return [f](bool values) {
    const auto y = f();
    return values ? y.template to<double>().to_vector() : std::vector<double>();
  };
}
/// make(step) for each step of a ladder.
template <class F> std::vector<std::pair<std::string, Make>> steps(const std::vector<std::string>& names, F make) {
  std::vector<std::pair<std::string, Make>> list;
  for (const std::string& name : names) list.emplace_back(name, [=] { return make(name); });
  return list;
}
/// fill(y) as something to time; y : `shape` is new at each call, as an op's result is.
template <class T, class F> auto filling(const Shape& shape, F fill) {
  return run([=] {
    Tensor<T, Cuda> y(shape);
    fill(y.data());
    return y;
  });
}

template <class E> Case matmul_case(int64_t M, const std::vector<std::string>& ladder) {
  const double m = static_cast<double>(M);
  Case c = of<E>("gemm", 3 * sizeof(E) * m * m, 2 * m * m * m, [=]<class T, class D>() {
    const auto a = input<T, D, E>({M, M}, 1), b = input<T, D, E>({M, M}, 2);
    return run([=] { return matmul(a, b); });
  });
  c.ladder = steps(ladder, [=](const std::string& step) {
    const auto a = input<E, Cuda>({M, M}, 1), b = input<E, Cuda>({M, M}, 2);
    return filling<E>({M, M}, [=](E* y) { ladders::gemm(step, a.data(), b.data(), y, M, M, M); });
  });
  return c;
}
/// Causal, heads of 64.
template <class E> Case attention_case(int64_t heads, int64_t steps_of_time, const std::vector<std::string>& ladder) {
  const Shape shape{1, heads, steps_of_time, 64};
  const double rows = static_cast<double>(heads * steps_of_time), pairs = rows * (static_cast<double>(steps_of_time) + 1) / 2;
  Case c = of<E>("attention_fwd", 4 * sizeof(E) * rows * 64, 4 * pairs * 64, [=]<class T, class D>() {
    const auto q = input<T, D, E>(shape, 1), k = input<T, D, E>(shape, 2), v = input<T, D, E>(shape, 3);
    return run([=] { return scaled_dot_product_attention(q, k, v, {.causal = true}); });
  });
  c.ladder = steps(ladder, [=](const std::string& step) {
    const auto q = input<E, Cuda>(shape, 1), k = input<E, Cuda>(shape, 2), v = input<E, Cuda>(shape, 3);
    return filling<E>(shape, [=](E* y) { ladders::attention(step, q.data(), k.data(), v.data(), y, {heads, steps_of_time, 64, true}); });
  });
  return c;
}

std::map<std::string, Case> cases(bool small) {
  const int64_t n = small ? 1 << 12 : 1 << 26, rows = small ? 8 : 8192, C = small ? 64 : 4096, M = small ? 40 : 4096,
                pic = small ? 2 : 64, side = small ? 8 : 56, ch = small ? 4 : 128;
  const double N = static_cast<double>(n), RC = static_cast<double>(rows * C);
  std::map<std::string, Case> all;
  all["add"] = of("pointwise", 12 * N, N, [=]<class T, class D>() {
    const auto a = input<T, D>({n}, 1), b = input<T, D>({n}, 2);
    return run([=] { return a + b; });
  });
  all["add-row"] = of("pointwise", 8 * RC, RC, [=]<class T, class D>() {
    const auto a = input<T, D>({rows, C}, 1), b = input<T, D>({C}, 2);
    return run([=] { return a + b; });
  });
  all["gelu"] = of("pointwise", 8 * N, 8 * N, [=]<class T, class D>() {
    const auto a = input<T, D>({n}, 1);
    return run([=] { return gelu(a); });
  });
  all["transpose"] = of("pointwise", 8 * RC, 0, [=]<class T, class D>() {
    const auto a = input<T, D>({rows, C}, 1);
    return run([=] { return clone(a.t()); });
  });
  all["transpose"].ladder = steps(ladders::transpose_steps(), [=](const std::string& step) {
    const auto a = input<float, Cuda>({rows, C}, 1);
    return filling<float>({C, rows}, [=](float* y) { ladders::transpose(step, a.data(), y, rows, C); });
  });
  all["dropout"] = of("dropout", 8 * N, N, [=]<class T, class D>() {
    const auto a = input<T, D>({n}, 1);
    return run([=] { return dropout(a, 0.5, RandomStream{1, 2}); });
  });
  all["sum"] = of("reduce", 4 * N, N, [=]<class T, class D>() {
    const auto a = input<T, D>({n}, 1);
    return run([=] { return sum(a); });
  });
  all["sum"].ladder = steps(ladders::sum_steps(), [=](const std::string& step) {
    const auto a = input<float, Cuda>({n}, 1);
    return filling<float>({}, [=](float* y) { ladders::sum(step, a.data(), y, n); });
  });
  all["sum-rows"] = of("reduce", 4 * RC, RC, [=]<class T, class D>() {
    const auto a = input<T, D>({rows, C}, 1);
    return run([=] { return sum(a, {1}); });
  });
  all["softmax"] = of("softmax_fwd", 8 * RC, 4 * RC, [=]<class T, class D>() {
    const auto a = input<T, D>({rows, C}, 1);
    return run([=] { return softmax(a, -1); });
  });
  all["softmax"].ladder = steps(ladders::softmax_steps(), [=](const std::string& step) {
    const auto a = input<float, Cuda>({rows, C}, 1);
    return filling<float>({rows, C}, [=](float* y) { ladders::softmax(step, a.data(), y, rows, C); });
  });
  all["softmax-bwd"] = of("softmax_bwd", 12 * RC, 4 * RC, [=]<class T, class D>() {
    auto a = input<T, D>({rows, C}, 1).requires_grad_();
    const auto y = softmax(a, -1);
    const auto dy = input<T, D>({rows, C}, 2);
    return run([=] {
      return grad(std::vector<Tensor<T, D>>{y}, std::vector<Tensor<T, D>>{a}, {.gradients = {dy}, .retain_graph = true})[0];
    });
  });
  all["layer-norm"] = of("layer_norm_fwd", 8 * RC, 8 * RC, [=]<class T, class D>() {
    const auto a = input<T, D>({rows, C}, 1), w = input<T, D>({C}, 2), b = input<T, D>({C}, 3);
    return run([=] { return layer_norm(a, w, b); });
  });
  all["layer-norm"].ladder = steps(ladders::layer_norm_steps(), [=](const std::string& step) {
    const auto a = input<float, Cuda>({rows, C}, 1), w = input<float, Cuda>({C}, 2), b = input<float, Cuda>({C}, 3);
    return filling<float>({rows, C}, [=](float* y) { ladders::layer_norm(step, a.data(), w.data(), b.data(), 1e-5f, y, rows, C); });
  });
  all["cross-entropy"] = of("cross_entropy_fwd", 4 * RC, 4 * RC, [=]<class T, class D>() {
    const auto a = input<T, D>({rows, C}, 1);
    manual_seed(5);
    const auto t = randint(0, C, {rows}).to<D>();
    return run([=] { return cross_entropy(a, t); });
  });
  all["matmul"] = matmul_case<float>(M, ladders::gemm_steps());
  all["matmul-bf16"] = matmul_case<bf16>(M, ladders::gemm_bf16_steps());
  all["attention"] = attention_case<float>(small ? 2 : 64, small ? 40 : 2048, ladders::attention_steps());
  all["attention-bf16"] = attention_case<bf16>(small ? 2 : 64, small ? 40 : 2048, ladders::attention_bf16_steps());
  const double taps = static_cast<double>(pic * ch * ch * side * side) * 9;
  all["conv"] = of("conv", 8.0 * static_cast<double>(pic * ch * side * side), 2 * taps, [=]<class T, class D>() {
    const auto x = input<T, D>({pic, ch, side, side}, 1), w = input<T, D>({ch, ch, 3, 3}, 2);
    return run([=] { return conv2d(x, w, {}, {.padding = 1}); });
  });
  all["conv-bwd"] = of("conv", 16.0 * static_cast<double>(pic * ch * side * side), 4 * taps, [=]<class T, class D>() {
    auto x = input<T, D>({pic, ch, side, side}, 1).requires_grad_(), w = input<T, D>({ch, ch, 3, 3}, 2).requires_grad_();
    const auto y = conv2d(x, w, {}, {.padding = 1});
    const auto dy = input<T, D>({pic, ch, side, side}, 3);
    return run([=] {
      return grad(std::vector<Tensor<T, D>>{y}, std::vector<Tensor<T, D>>{x, w}, {.gradients = {dy}, .retain_graph = true})[1];
    });
  });
  all["max-pool"] = of("", 5 * static_cast<double>(pic * ch * side * side), 0, [=]<class T, class D>() {
    const auto x = input<T, D>({pic, ch, side, side}, 1);
    return run([=] { return max_pool2d(x, 2); });
  });
  all["adamw"] = of("optim_step", 28 * N / 4, 10 * N / 4, [=]<class T, class D>() {
    std::vector<Tensor<T, D>> params;
    for (int64_t k = 0; k < 64; ++k) {
      params.push_back(input<T, D>({n / 256}, static_cast<uint64_t>(k)).requires_grad_());
      params.back().set_grad(input<T, D>({n / 256}, static_cast<uint64_t>(100 + k)));
    }
    auto opt = std::make_shared<optim::AdamW<T, D>>(params);
    return [=](bool values) {
      opt->step();
      return values ? params[0].template to<double>().to_vector() : std::vector<double>();
    };
  });
  all["adamw"].ladder = steps(ladders::adamw_steps(), [=](const std::string& step) {
    std::vector<Tensor<float, Cuda>> arrays;                       // p, g, m, v of each parameter
    std::vector<ladders::AdamWTensor> tensors;
    for (uint64_t k = 0; k < 64; ++k) {
      arrays.insert(arrays.end(), {input<float, Cuda>({n / 256}, k), input<float, Cuda>({n / 256}, 100 + k), zeros<float, Cuda>({n / 256}),
                                   zeros<float, Cuda>({n / 256})});
      auto* last = &arrays[arrays.size() - 4];
      tensors.push_back({last[0].data(), last[1].data(), last[2].data(), last[3].data(), n / 256});
    }
    return [arrays, tensors, step, o = ladders::AdamWOptions()](bool values) mutable {
      ladders::adamw(step, tensors, o);
      ++o.step;
      return values ? arrays[0].to<double>().to_vector() : std::vector<double>();
    };
  });
  all["gather-rows"] = of("", 8 * RC, 0, [=]<class T, class D>() {
    const auto a = input<T, D>({rows, C}, 1);
    manual_seed(6);
    const auto i = randint(0, rows, {rows}).to<D>();
    return run([=] { return index_select(a, 0, i); });
  });
  all["sort-rows"] = of("sort", 16 * RC, 0, [=]<class T, class D>() {
    const auto a = input<T, D>({rows, C}, 1);
    return run([=] { return sort(a, -1).values; });
  });
  return all;
}

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

/// Milliseconds of one run: the least of up to 20 samples, in 3 seconds at the most.
double time_cpu(const std::function<std::vector<double>(bool)>& f) {
  f(false);
  double best = INFINITY;
  const auto start = Clock::now();
  for (int k = 0; k < 20 && (k < 1 || seconds_since(start) < 3); ++k) {
    const auto t = Clock::now();
    f(false);
    best = std::min(best, 1e3 * seconds_since(t));
  }
  return best;
}
double time_cuda(const std::function<std::vector<double>(bool)>& f) {
  f(false);
  cuda::Event begin, end;
  const auto sample = [&](int calls) {
    begin.record();
    for (int k = 0; k < calls; ++k) f(false);
    end.record();
    end.synchronize();
    return end.elapsed_since(begin) / calls;
  };
  const double once = std::max(sample(1), 1e-3);
  if (cuda::device_info().emulated) return once;
  const int calls = std::clamp(static_cast<int>(10 / once), 1, 200);
  double best = INFINITY;
  for (int k = 0; k < 20; ++k) best = std::min(best, sample(calls));
  return best;
}

double error_of(const std::vector<double>& actual, const std::vector<double>& expected) {
  double worst = 0, largest = 1e-300;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    worst = std::max(worst, std::fabs(actual[i] - expected[i]));
    largest = std::max(largest, std::fabs(expected[i]));
  }
  return worst / largest;
}
void print(const std::string& name, const char* device, const std::string& kernel, const Case& c, double ms, double share,
           double error) {
  std::printf(
      "{\"case\": \"%s\", \"device\": \"%s\", \"kernel\": \"%s\", \"ms\": %.6g, \"GB/s\": %.4g, \"GFLOP/s\": %.4g, \"share\": "
      "%.3g, \"error\": %.2g}\n",
      name.c_str(), device, kernel.c_str(), ms, c.bytes / ms / 1e6, c.flops / ms / 1e6, share, error);
}

int run_case(const std::string& name) {
  const bool small = cuda::device_info().emulated;
  const auto all = cases(small);
  const auto it = all.find(name);
  if (it == all.end()) return std::fprintf(stderr, "gpu_bench: no case '%s'; see --list\n", name.c_str()), 2;
  const Case& c = it->second;
  const auto exact = c.cpu64()(true);
  {
    const auto f = c.cpu();
    const auto y = f(true);
    print(name, "cpu", "", c, time_cpu(f), NAN, error_of(y, exact));
  }
  // A copy of 256 MB: every byte is read and written.
  const auto big = zeros<float, Cuda>({small ? 1 << 12 : int64_t{1} << 26});
  const double copy =
      8.0 * static_cast<double>(big.numel()) / time_cuda([&](bool) { return (void)clone(big), std::vector<double>(); });
  const bool products = c.choice == "gemm";
  double blas = 0;
  std::vector<std::string> kernels{""};                           // what the library takes for the shape, then each by name
  if (!c.choice.empty())
    for (const auto& k : kernel_variants(c.choice)) kernels.push_back(k);
  for (const auto& kernel : kernels) {
    if (!c.choice.empty()) select_kernel(c.choice, kernel);
    const auto f = c.cuda();
    const auto y = f(true);
    const double ms = time_cuda(f);
    if (products && blas == 0) blas = ms;
    print(name, "cuda", kernel.empty() ? "(chosen)" : kernel, c, ms, products ? blas / ms : c.bytes / ms / copy,
          error_of(y, exact));
    if (!c.choice.empty()) select_kernel(c.choice, "");
  }
  for (const auto& [step, make] : c.ladder) {
    const auto f = make();
    const auto y = f(true);
    const double ms = time_cuda(f);
    print(name, "cuda", "ladder: " + step, c, ms, products ? blas / ms : c.bytes / ms / copy, error_of(y, exact));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string what = argc > 1 ? argv[1] : "";
    if (what == "--list") {
      for (const auto& [name, c] : cases(true)) std::printf("%s\n", name.c_str());
      return 0;
    }
    if (what == "--case" && argc > 2) return run_case(argv[2]);
    std::fprintf(stderr, "usage: gpu_bench --list | --case NAME\n");
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
