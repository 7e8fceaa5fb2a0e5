// Cpu, and every kernel that Cuda has, on the same inputs: one JSON line a kernel. ./gradus gpu runs it; the emulated device
// answers too, with times that mean nothing.
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

using namespace gradus;

namespace {

struct Case {
  std::string choice;                 // the operation of select_kernel that the case has variants of; empty: one kernel
  double bytes = 0, flops = 0;        // moved and computed, at the least
  // The op on prepared inputs; call it to run once, it returns the result as doubles when asked to.
  std::function<std::function<std::vector<double>(bool)>()> cpu64, cpu, cuda;
};

/// Runs `make<T, D>(T{}, D{})` lazily for the three combinations.
template <class F> Case of(std::string choice, double bytes, double flops, F make) {
  return {std::move(choice),
          bytes,
          flops,
          [make] { return make.template operator()<double, Cpu>(); },
          [make] { return make.template operator()<float, Cpu>(); },
          [make] { return make.template operator()<float, Cuda>(); }};
}
template <class T, class D> Tensor<T, D> input(const Shape& shape, uint64_t seed) {
  manual_seed(seed);
  return randn<float>(shape).to<T>().template to<D>();
}
/// The op f as something to time: keeps its last result.
template <class F> std::function<std::vector<double>(bool)> run(F f) {
  return [f](bool values) {
    const auto y = f();
    return values ? y.template to<double>().to_vector() : std::vector<double>();
  };
}

std::map<std::string, Case> cases(bool small) {
  const int64_t n = small ? 1 << 12 : 1 << 26, rows = small ? 8 : 8192, C = small ? 64 : 4096, M = small ? 33 : 4096,
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
  all["dropout"] = of("dropout", 8 * N, N, [=]<class T, class D>() {
    const auto a = input<T, D>({n}, 1);
    return run([=] { return dropout(a, 0.5, RandomStream{1, 2}); });
  });
  all["sum"] = of("reduce", 4 * N, N, [=]<class T, class D>() {
    const auto a = input<T, D>({n}, 1);
    return run([=] { return sum(a); });
  });
  all["sum-rows"] = of("reduce", 4 * RC, RC, [=]<class T, class D>() {
    const auto a = input<T, D>({rows, C}, 1);
    return run([=] { return sum(a, {1}); });
  });
  all["softmax"] = of("softmax_fwd", 8 * RC, 4 * RC, [=]<class T, class D>() {
    const auto a = input<T, D>({rows, C}, 1);
    return run([=] { return softmax(a, -1); });
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
  all["cross-entropy"] = of("cross_entropy_fwd", 4 * RC, 4 * RC, [=]<class T, class D>() {
    const auto a = input<T, D>({rows, C}, 1);
    manual_seed(5);
    const auto t = randint(0, C, {rows}).to<D>();
    return run([=] { return cross_entropy(a, t); });
  });
  all["matmul"] =
      of("gemm", 12.0 * static_cast<double>(M * M), 2.0 * std::pow(static_cast<double>(M), 3), [=]<class T, class D>() {
        const auto a = input<T, D>({M, M}, 1), b = input<T, D>({M, M}, 2);
        return run([=] { return matmul(a, b); });
      });
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
