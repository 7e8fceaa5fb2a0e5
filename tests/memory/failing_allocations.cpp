// Memory that runs out, at each allocation of a training step in turn: the step ends with an error, nothing leaks, the
// parameters and the optimiser's states are what they were, and the step can be made again.
//
// A program of its own: every allocation goes through operator new here, that of tensors too (GRADUS_ASAN), and threads would
// make their order a matter of chance, so it is header-only and has one.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

namespace {
int64_t alive = 0, until_failure = -1, made = 0;

void* allocate(std::size_t bytes, std::size_t alignment) {
  ++made;
  if (until_failure >= 0 && until_failure-- == 0) throw std::bad_alloc();
  void* p = std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
  if (!p) throw std::bad_alloc();
  ++alive;
  return p;
}
void release(void* p) {
  if (!p) return;
  --alive;
  std::free(p);
}
}  // namespace

void* operator new(std::size_t n) { return allocate(n, 16); }
void* operator new[](std::size_t n) { return allocate(n, 16); }
void* operator new(std::size_t n, std::align_val_t a) { return allocate(n, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return allocate(n, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { release(p); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { release(p); }

using namespace gradus;

namespace {
struct Net {
  nn::Conv2d<float> conv{1, 4, 3, {.padding = 1}};
  nn::BatchNorm2d<float> norm{4};
  nn::Linear<float> fc{4 * 4 * 4, 16};
  nn::Dropout drop{0.3};
  nn::Linear<float> last{16, 3};
  Tensor<float> forward(const Tensor<float>& x) const {
    const auto h = max_pool2d(relu(norm(conv(x))), 2);
    const auto f = drop(tanh(fc(flatten(h, 1))));
    return last(f + softmax(f, -1) * 0.5f);
  }
  void visit(auto&& f) { f("conv", conv), f("norm", norm), f("fc", fc), f("drop", drop), f("last", last); }
};

using Bits = std::vector<float>;
template <class Opt>
Bits bits_of(Net& net, Opt& opt) {
  Bits all;
  const auto take = [&](const nn::StateDict& dict) {
    for (const auto& [path, x] : dict)
      if (x.dtype() == DType::f32) {
        const auto v = x.template as<float, Cpu>().detach().contiguous().to_vector();
        all.insert(all.end(), v.begin(), v.end());
      } else if (x.dtype() == DType::i64) {
        all.push_back(static_cast<float>(x.template as<int64_t, Cpu>().item()));
      }
  };
  take(nn::state_dict(net)), take(opt.state_dict());
  return all;
}

int bad = 0;
void expect(bool holds, const std::string& what) {
  if (holds) return;
  if (++bad < 30) std::printf("%s\n", what.c_str());
}

template <class Opt>
void check(const char* name, decltype(Opt::options) options, double clip, bool whole_steps = true) {
  manual_seed(1);
  Net net;
  Opt opt(net, options);
  const auto x = randn<float>({5, 1, 8, 8});
  const Tensor<int64_t> t{0, 1, 2, 0, 1};
  std::vector<Tensor<float>> running{net.norm.running_mean, net.norm.running_var}, was_running;
  const auto step = [&] {
    cross_entropy(net.forward(x), t).backward();
    if (clip > 0) optim::clip_grad_norm(opt.params(), clip);
    opt.step();
  };
  for (int k = 0; k < 3; ++k) step(), opt.zero_grad();  // what is made once is there now
  const auto model = nn::clone_state(net);
  nn::StateDict states;
  for (const auto& [path, v] : opt.state_dict())
    states[path] = v.dtype() == DType::f32   ? AnyTensor(v.template as<float, Cpu>().clone())
                   : v.dtype() == DType::f64 ? AnyTensor(v.template as<double, Cpu>().clone())
                                             : AnyTensor(v.template as<int64_t, Cpu>().clone());
  const Generator random = generator();
  for (const auto& r : running) was_running.push_back(r.clone());
  const auto restore = [&] {
    nn::load_state_dict(net, model), opt.load_state_dict(states), opt.zero_grad();
    generator() = random;
  };
  restore();
  const Bits before = bits_of(net, opt);
  step();
  const Bits after = bits_of(net, opt);
  restore();

  int64_t n = 0;
  for (;; ++n) {
    const int64_t were = alive;
    bool ended = false;
    char error[80] = "std::bad_alloc";
    until_failure = n;
    try {
      step();
      ended = true;
    } catch (const std::bad_alloc&) {
    } catch (const Error& e) {
      std::snprintf(error, sizeof error, "%s", e.what());
    }
    until_failure = -1;
    if (ended) break;
    opt.zero_grad();
    const int64_t left = alive - were;
    const std::string where = std::string(name) + ", allocation " + std::to_string(n) + " (" + error + "): ";
    expect(left == 0, where + std::to_string(left) + " blocks are left");
    // Running statistics move in forward, before anything can be known of what comes later: they are no part of the promise.
    for (std::size_t k = 0; k < running.size(); ++k) {
      const NoGrad guard;
      running[k].copy_(was_running[k]);
    }
    if (whole_steps) expect(bits_of(net, opt) == before, where + "parameters or states have changed");
    else restore();
    generator() = random;
    step();
    expect(bits_of(net, opt) == after, where + "the step that is made again gives something else");
    restore();
  }
  std::printf("%s: %lld allocations, each has failed once\n", name, static_cast<long long>(n));
  expect(n > 50, std::string(name) + ": only " + std::to_string(n) + " allocations");
}
}  // namespace

int main() {
  try {
    Tensor<float> none(Shape{-1});  // the first error makes what later ones use
  } catch (const Error&) {
  }
  check<optim::Sgd<float>>("SGD", {.lr = 0.1, .momentum = 0.9}, 1);
  check<optim::AdamW<float>>("AdamW", {.lr = 0.01}, 0);
  check<optim::Muon<float>>("Muon", {.lr = 0.01}, 0, false);  // composed of operators: it may have stepped some parameters
  if (bad) std::printf("%d failures\n", bad);
  return bad != 0;
}
