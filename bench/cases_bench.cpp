// The cases: overhead of an op, bandwidth, products, convolutions, losses, and training steps.
#include <memory>

#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

#include "harness.hpp"

namespace {
using namespace gradus;
using bench::Work;
using Float = Tensor<float>;

std::string text(std::initializer_list<std::pair<const char*, int64_t>> l) {
  std::string s;
  for (const auto& [k, v] : l) s += (s.empty() ? "" : ",") + std::string(k) + "=" + std::to_string(v);
  return s;
}
void drop(std::initializer_list<Float> leaves) {
  for (const auto& x : leaves) x.zero_grad();
}

// -- overhead: a chain of 1000 ops, or 1000 graphs of one op -----------------------------------------------------------
constexpr int kChain = 1000;
Work overhead(const std::string& op, const std::string& mode, int64_t n) {
  auto x = full({n}, 1), y = full({n}, 1e-6), z = full({n}, 1e-6);
  for (auto* t : {&x, &y, &z}) t->requires_grad_(mode != "nograd");
  const auto ones_n = op == "sum" ? scalar(1.0f) : ones({n});
  const auto chain = [=] {
    Float r = x;
    for (int i = 0; i < kChain; ++i) r = op == "add" ? r + y : (op == "relu" ? relu(r) : r * y + z);
    return r;
  };
  if (op == "sum")
    return {[=] {
              std::vector<Float> keep;
              for (int i = 0; i < kChain; ++i) {
                if (mode == "fwdbwd") x.zero_grad(), sum(x).backward(ones_n);
                else keep.push_back(sum(x));
              }
            }, kChain, 0, 0, "op"};
  return {[=] {
            drop({x, y, z});
            const auto r = chain();
            if (mode == "fwdbwd") r.backward(ones_n);
          }, kChain, 0, 0, "op"};
}
const bool overhead_cases = [] {
  for (const char* op : {"add", "muladd", "relu", "sum"})
    for (const char* mode : {"nograd", "fwd", "fwdbwd"})
      for (int64_t n : {1, 16, 1024})
        if (std::string(mode) != "nograd" || std::string(op) == "add")
          bench::add("overhead." + std::string(op) + "." + mode, text({{"n", n}}), "f32", [=] { return overhead(op, mode, n); });
  return true;
}();

// -- bandwidth ----------------------------------------------------------------------------------------------------------
template <class F> Work forward(double bytes, F f, std::vector<Float> in) {
  return {[=] {
            const NoGrad guard;
            f(in);
          }, 1, 0, bytes};
}
template <class F> Work both(double bytes, double flops, F f, std::vector<Float> in, Shape out) {
  for (auto& x : in) x.requires_grad_();
  const auto dy = randn(out);
  return {[=] {
            for (const auto& x : in) x.zero_grad();
            f(in).backward(dy);
          }, 1, flops, bytes};
}
const bool bandwidth_cases = [] {
  using In = const std::vector<Float>&;
  for (int64_t n : {65536, 4194304, 16777216}) {
    const double e = 4.0 * static_cast<double>(n);
    const auto shape = text({{"n", n}});
    const auto one = [n] { return std::vector<Float>{randn({n})}; };
    const auto two = [n] { return std::vector<Float>{randn({n}), randn({n})}; };
    bench::add("bw.add", shape, "f32", [=] { return forward(3 * e, [](In x) { return x[0] + x[1]; }, two()); });
    bench::add("bw.add_out", shape, "f32", [=] {
      const auto x = two();
      const auto out = randn({n});
      return Work{[=] { kernels::binary<kernels::Add, float>(Cpu{}, {}, x[0].data(), x[1].data(), out.data(), kernels::Loop<3>::flat(n)); }, 1, 0, 3 * e};
    });
    bench::add("bw.gelu", shape, "f32", [=] { return forward(2 * e, [](In x) { return gelu_tanh(x[0]); }, one()); });
    bench::add("bw.gelu_fb", shape, "f32", [=] { return both(5 * e, 0, [](In x) { return gelu_tanh(x[0]); }, one(), {n}); });
    bench::add("bw.exp", shape, "f32", [=] { return forward(2 * e, [](In x) { return gradus::exp(x[0]); }, one()); });
    bench::add("bw.dropout", shape, "f32", [=] { return forward(2 * e, [](In x) { return dropout(x[0], 0.1); }, one()); });
  }
  for (int64_t n : {16777216, 67108864})
    bench::add("bw.copy", text({{"n", n}}), "f32", [=] {
      const auto x = randn({n}), y = randn({n});
      return Work{[=] { Float(y).copy_(x); }, 1, 0, 8.0 * static_cast<double>(n)};
    });
  for (int64_t cols : {1024, 4096}) {
    const double e = 4.0 * 4096 * static_cast<double>(cols);
    const auto shape = text({{"rows", 4096}, {"cols", cols}});
    const auto one = [cols] { return std::vector<Float>{randn({4096, cols})}; };
    if (cols == 1024) {
      bench::add("bw.softmax", shape, "f32", [=] { return forward(2 * e, [](In x) { return softmax(x[0]); }, one()); });
      bench::add("bw.softmax_fb", shape, "f32", [=] { return both(5 * e, 0, [](In x) { return softmax(x[0]); }, one(), {4096, cols}); });
      const auto wb = [=] { return std::vector<Float>{randn({4096, cols}), ones({cols}), zeros({cols})}; };
      bench::add("bw.layernorm", shape, "f32", [=] { return forward(2 * e, [](In x) { return layer_norm(x[0], x[1], x[2]); }, wb()); });
      bench::add("bw.layernorm_fb", shape, "f32", [=] { return both(5 * e, 0, [](In x) { return layer_norm(x[0], x[1], x[2]); }, wb(), {4096, cols}); });
    }
    bench::add("bw.transpose", shape, "f32", [=] { return forward(2 * e, [](In x) { return x[0].t().contiguous(); }, one()); });
    bench::add("bw.sum_all", shape, "f32", [=] { return forward(e, [](In x) { return sum(x[0]); }, one()); });
    bench::add("bw.sum_rows", shape, "f32", [=] { return forward(e, [](In x) { return sum(x[0], {1}); }, one()); });
    bench::add("bw.sum_cols", shape, "f32", [=] { return forward(e, [](In x) { return sum(x[0], {0}); }, one()); });
  }
  return true;
}();

// -- products ---------------------------------------------------------------------------------------------------------------
template <class T> void gemm_case(const char* name, bool ta, bool tb, int64_t m, int64_t n, int64_t k, const char* dtype) {
  bench::add(name, text({{"m", m}, {"n", n}, {"k", k}}), dtype, [=] {
    const auto a = randn<T>({m * k}), b = randn<T>({k * n}), c = randn<T>({m * n});
    return Work{[=] {
                  kernels::gemm<T>(Cpu{}, ta, tb, m, n, k, a.data(), ta ? m : k, 0, b.data(), tb ? k : n, 0, c.data(), n, 0, 1, false);
                }, 1, 2.0 * static_cast<double>(m * n * k)};
  });
}
const bool gemm_cases = [] {
  struct Size { int64_t m, n, k; };
  const std::vector<Size> skinny{{1, 1024, 1024}, {8, 4096, 1024}, {128, 512, 784}, {128, 10, 512}, {2048, 384, 384}, {2048, 1536, 384}, {2048, 384, 1536}, {384, 1536, 2048}};
  for (int64_t s : {64, 128, 256, 512, 1024, 2048}) gemm_case<float>("gemm.nn", false, false, s, s, s, "f32"), gemm_case<double>("gemm.nn", false, false, s, s, s, "f64");
  for (const auto& [m, n, k] : skinny) {
    gemm_case<float>("gemm.nn", false, false, m, n, k, "f32"), gemm_case<double>("gemm.nn", false, false, m, n, k, "f64");
    gemm_case<float>("gemm.nt", false, true, m, n, k, "f32"), gemm_case<double>("gemm.nt", false, true, m, n, k, "f64");
    gemm_case<float>("gemm.tn", true, false, m, n, k, "f32"), gemm_case<double>("gemm.tn", true, false, m, n, k, "f64");
  }
  return true;
}();

// -- convolutions, losses -----------------------------------------------------------------------------------------------------
const bool layer_cases = [] {
  struct Conv { int64_t n, c, h, k, r; };
  for (const auto& [n, c, h, k, r] : std::vector<Conv>{{8, 64, 56, 64, 3}, {8, 128, 28, 128, 3}, {8, 256, 14, 256, 3}, {8, 512, 7, 512, 3}, {8, 256, 14, 256, 1}, {128, 1, 28, 32, 3}, {128, 32, 14, 64, 3}}) {
    const auto shape = text({{"n", n}, {"c", c}, {"h", h}, {"k", k}, {"r", r}});
    const double flops = 2.0 * static_cast<double>(n * k * c * h * r * h * r);
    const auto in = [=] { return std::vector<Float>{randn({n, c, h, h}), randn({k, c, r, r}), randn({k})}; };
    const auto f = [=](const std::vector<Float>& x) { return conv2d(x[0], x[1], x[2], {.padding = r / 2}); };
    bench::add("conv2d.fwd", shape, "f32", [=] {
      const auto x = in();
      return Work{[=] { const NoGrad guard; f(x); }, 1, flops};
    });
    bench::add("conv2d.fwdbwd", shape, "f32", [=] { return both(0, 3 * flops, f, in(), {n, k, h, h}); });
  }
  bench::add("ce.fwdbwd", text({{"tokens", 2048}, {"vocab", 32768}}), "f32", [] {
    auto x = randn({2048, 32768}).requires_grad_();
    const auto t = randint(0, 32768, {2048});
    return Work{[=] { x.zero_grad(), cross_entropy(x, t).backward(); }, 1, 0, 3.0 * 2048 * 32768 * 4};
  });
  bench::add("embed.fwdbwd", text({{"tokens", 2048}, {"width", 384}, {"vocab", 32768}}), "f32", [] {
    auto w = randn({32768, 384}).requires_grad_();
    const auto t = randint(0, 32768, {2048});
    const auto dy = randn({2048, 384});
    return Work{[=] { w.zero_grad(), embedding(w, t).backward(dy); }, 1, 0, 4.0 * (4.0 * 2048 * 384 + 32768.0 * 384)};
  });
  return true;
}();

// -- training steps -----------------------------------------------------------------------------------------------------------
const bool step_cases = [] {
  for (int64_t tensors : {1, 100})
    bench::add("bw.adamw", text({{"n", 10000000}, {"tensors", tensors}}), "f32", [=] {
      std::vector<Float> p;
      for (int64_t i = 0; i < tensors; ++i) {
        auto x = randn({10000000 / tensors}).requires_grad_();
        x.set_grad(randn(x.shape()));
        p.push_back(x);
      }
      const auto opt = std::make_shared<optim::AdamW<float, Cpu>>(p, optim::AdamWOptions{.lr = 1e-3});
      return Work{[=] { opt->step(); }, 1, 0, 28e7};
    });
  bench::add("step.mlp", text({{"b", 128}, {"i", 784}, {"h", 512}, {"o", 10}}), "f32", [] {
    const auto net = std::make_shared<nn::Sequential<float, Cpu>>(nn::Sequential<float, Cpu>{
        nn::Linear{784, 512}, nn::ReLU{}, nn::Linear{512, 512}, nn::ReLU{}, nn::Linear{512, 10}});
    const auto opt = std::make_shared<optim::Adam<float, Cpu>>(*net, optim::AdamOptions{.lr = 1e-3});
    const auto x = randn({128, 784});
    const auto t = randint(0, 10, {128});
    return Work{[=] {
                  opt->zero_grad();
                  cross_entropy((*net)(x), t).backward();
                  opt->step();
                }, 1, 2.0 * 128 * (2.0 * 784 * 512 + 3.0 * 512 * 512 + 3.0 * 512 * 10), 0, "step"};
  });
  bench::add("step.cnn", text({{"b", 128}, {"h", 28}}), "f32", [] {
    const auto net = std::make_shared<nn::Sequential<float, Cpu>>(nn::Sequential<float, Cpu>{
        nn::Conv2d{1, 32, 3, {.padding = 1}}, nn::ReLU{}, nn::MaxPool2d{2}, nn::Conv2d{32, 64, 3, {.padding = 1}}, nn::ReLU{}, nn::MaxPool2d{2},
        nn::Flatten{}, nn::Linear{3136, 128}, nn::ReLU{}, nn::Linear{128, 10}});
    const auto opt = std::make_shared<optim::Adam<float, Cpu>>(*net, optim::AdamOptions{.lr = 1e-3});
    const auto x = randn({128, 1, 28, 28});
    const auto t = randint(0, 10, {128});
    const double flops = 2.0 * 128 * (2.0 * 32 * 9 * 784 + 3.0 * 64 * 32 * 9 * 196 + 3.0 * (3136 * 128 + 1280));
    return Work{[=] {
                  opt->zero_grad();
                  cross_entropy((*net)(x), t).backward();
                  opt->step();
                }, 1, flops, 0, "step"};
  });
  return true;
}();

}  // namespace
