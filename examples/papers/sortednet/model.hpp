// Nested networks of Valipour et al. 2023, in the symbols
//
//   theta(b)   the parameters of the sub-network b = (w, d): of each layer the first w units, of the layers the first d
//   objective  min_theta E_{b ~ P_B} L(f(x; theta(b)), y),   P_B uniform over widths and over depths
//
//   MLP        h = Win x + bin;   h += W2_l relu(W1_l LN(h) + c1_l) + c2_l, l < d;   logits = Wo LN(h) + bo
//   ResNet     3 x 3 stem; three stages of pre-activation blocks, with 2 w, 4 w and 8 w channels and d blocks each; mean;
//   linear
//
// A sub-network is computed from strided views of theta's matrices: its cost is that of a network of its size, and gradients
// come back in theta's shapes, zero outside of the view. Statistics of norms are over the active units alone.
#pragma once
#include <numeric>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/data/draws.hpp>
#include <gradus/nn.hpp>
#include <gradus/ops/losses.hpp>

namespace sortednet {
using namespace gradus;

/// A sub-network: w units (of the ResNet groups of 2, 4 and 8 channels), d layers (of the ResNet blocks of each stage).
struct Size {
  int64_t w = 0, d = 0;
  bool operator==(const Size&) const = default;
};

/// The units and layers that a forward pass uses: the first ones, or any, as many.
template <class D>
struct Part {
  int64_t w = 0;
  std::vector<int64_t> layers;
  Tensor<int64_t, D> units = {};  // [w]; undefined: the first w
};
template <class D>
Part<D> first(Size b) {
  Part<D> p{b.w, std::vector<int64_t>(static_cast<std::size_t>(b.d))};
  std::iota(p.layers.begin(), p.layers.end(), 0);
  return p;
}
/// Of `full`, b.w units and b.d layers at random; layer 0 always where `keep_first`.
template <class D>
Part<D> any_of(Size b, Size full, bool keep_first, data::Draws& draws) {
  const auto subset = [&](int64_t n, int64_t k, int64_t fixed) {
    std::vector<int64_t> all(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), 0);
    for (int64_t i = fixed; i < k; ++i)
      std::swap(all[static_cast<std::size_t>(i)], all[static_cast<std::size_t>(i + draws.below(n - i))]);
    all.resize(static_cast<std::size_t>(k));
    std::sort(all.begin(), all.end());
    return all;
  };
  const auto units = subset(full.w, b.w, 0);
  return {b.w, subset(full.d, b.d, keep_first ? 1 : 0), from_vector(units).template to<D>()};
}

/// The part of a parameter that belongs to p: `rows` and `columns` are how many elements of dimensions 0 and 1 a unit has, 0
/// where the dimension does not depend on the width.
template <class T, class D>
Tensor<T, D> take(const Tensor<T, D>& x, const Part<D>& p, int64_t rows, int64_t columns = 0) {
  if (!p.units.defined()) {
    Shape s = x.shape();
    if (rows) s[0] = rows * p.w;
    if (columns) s[1] = columns * p.w;
    return prefix(x, s);
  }
  const auto elements = [&](int64_t each) {
    if (each == 1) return p.units;
    return (unsqueeze(p.units, 1) * each + arange<int64_t, D>(each)).reshape({-1});
  };
  const auto y = rows ? index_select(x, 0, elements(rows)) : x;
  return columns ? index_select(y, 1, elements(columns)) : y;
}

struct Config {
  bool conv = false;
  Size full{160, 8};
  int64_t channels = 1, side = 28, classes = 10;  ///< of the pictures
  bool batch_norm = false;                        ///< of the ResNet; else GroupNorm, a group a unit
  int64_t inputs() const { return channels * side * side; }
  Config cut(Size b) const {
    Config c = *this;
    c.full = b;
    return c;
  }
};

template <class T, class D>
Tensor<T, D> parameter(const Shape& shape, double variance, double scale = 1) {
  auto x = variance > 0 ? normal<T, D>(shape, 0, scale * std::sqrt(variance)) : full<T, D>(shape, scale);
  x.requires_grad_();
  return x;
}

/// Layer or group norm (groups > 0), or batch norm with its own statistics or those of the batch.
template <class T, class D>
struct Norm {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> g, b, mean, var;
  explicit Norm(int64_t C, bool batch = false) : g(parameter<T, D>({C}, 0, 1)), b(parameter<T, D>({C}, 0, 0)) {
    if (batch) mean = zeros<T, D>({C}), var = ones<T, D>({C});
  }
  /// momentum > 0: the statistics of this batch enter the running ones with this weight.
  Tensor<T, D> operator()(const Tensor<T, D>& x, const Part<D>& p, int64_t each, bool training, double momentum) const {
    const auto gain = take(g, p, each), shift = take(b, p, each);
    if (x.rank() == 2) return layer_norm(x, gain, shift);
    if (!mean.defined()) return group_norm(x, p.w, gain, shift);
    if (training && momentum == 0) return batch_norm(x, gain, shift, Tensor<T, D>(), Tensor<T, D>(), true);
    return batch_norm(x, gain, shift, take(mean, p, each), take(var, p, each), training, momentum);
  }
  void visit(auto&& f) { f("g", g), f("b", b), f("mean", mean, nn::buffer), f("var", var, nn::buffer); }
};

template <class T, class D>
struct MlpBlock {
  using value_type = T;
  using device_type = D;
  Norm<T, D> norm;
  Tensor<T, D> W1, c1, W2, c2;
  explicit MlpBlock(int64_t W)
      : norm(W),
        W1(parameter<T, D>({W, W}, 2.0 / static_cast<double>(W))),
        c1(parameter<T, D>({W}, 0, 0)),
        W2(parameter<T, D>({W, W}, 2.0 / static_cast<double>(W), 0.3)),
        c2(parameter<T, D>({W}, 0, 0)) {}
  Tensor<T, D> operator()(const Tensor<T, D>& h, const Part<D>& p) const {
    const auto z = relu(linear(norm(h, p, 1, true, 0), take(W1, p, 1, 1), take(c1, p, 1)));
    return h + linear(z, take(W2, p, 1, 1), take(c2, p, 1));
  }
  void visit(auto&& f) { f("norm", norm), f("W1", W1), f("c1", c1), f("W2", W2), f("c2", c2); }
};

template <class T = float, class D = Cpu>
struct Mlp {
  using value_type = T;
  using device_type = D;
  Config config;
  Tensor<T, D> Win, bin;
  std::vector<MlpBlock<T, D>> blocks;
  Norm<T, D> norm;
  Tensor<T, D> Wo, bo;
  bool training = true;
  double momentum = 0;

  explicit Mlp(const Config& c)
      : config(c),
        Win(parameter<T, D>({c.full.w, c.inputs()}, 2.0 / static_cast<double>(c.inputs()))),
        bin(parameter<T, D>({c.full.w}, 0, 0)),
        norm(c.full.w),
        Wo(parameter<T, D>({c.classes, c.full.w}, 1.0 / static_cast<double>(c.full.w))),
        bo(parameter<T, D>({c.classes}, 0, 0)) {
    for (int64_t l = 0; l < c.full.d; ++l) blocks.emplace_back(c.full.w);
  }
  /// x [B, C, H, W] or [B, inputs] -> [B, classes]
  Tensor<T, D> operator()(const Tensor<T, D>& x, const Part<D>& p) const {
    auto h = linear(x.reshape({x.size(0), -1}), take(Win, p, 1), take(bin, p, 1));
    for (const int64_t l : p.layers) h = blocks[static_cast<std::size_t>(l)](h, p);
    return linear(norm(h, p, 1, true, 0), take(Wo, p, 0, 1), bo);
  }
  void visit(auto&& f) {
    f("Win", Win), f("bin", bin), f("blocks", blocks), f("norm", norm), f("Wo", Wo), f("bo", bo), f("training", training);
  }
};

template <class T, class D>
struct ConvBlock {
  using value_type = T;
  using device_type = D;
  Norm<T, D> norm1, norm2;
  Tensor<T, D> W1, W2, project;  // project [out, in, 1, 1] where the shape changes
  int64_t from, each, stride;    // channels a unit, before and behind

  ConvBlock(int64_t w, int64_t from, int64_t each, bool batch)
      : norm1(from * w, batch), norm2(each * w, batch), from(from), each(each), stride(from == each ? 1 : 2) {
    const auto in = static_cast<double>(from * w), out = static_cast<double>(each * w);
    W1 = parameter<T, D>({each * w, from * w, 3, 3}, 2 / (9 * in));
    W2 = parameter<T, D>({each * w, each * w, 3, 3}, 2 / (9 * out));
    if (stride > 1) project = parameter<T, D>({each * w, from * w, 1, 1}, 1 / in);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, const Part<D>& p, bool training, double momentum) const {
    const auto h = relu(norm1(x, p, from, training, momentum));
    const auto z = conv2d(h, take(W1, p, each, from), Tensor<T, D>(), {.stride = stride, .padding = 1});
    const auto y = conv2d(relu(norm2(z, p, each, training, momentum)), take(W2, p, each, each), Tensor<T, D>(), {.padding = 1});
    if (!project.defined()) return x + y;
    return conv2d(h, take(project, p, each, from), Tensor<T, D>(), {.stride = stride}) + y;
  }
  void visit(auto&& f) { f("norm1", norm1), f("W1", W1), f("norm2", norm2), f("W2", W2), f("project", project); }
};

template <class T = float, class D = Cpu>
struct ResNet {
  using value_type = T;
  using device_type = D;
  Config config;
  Tensor<T, D> stem;
  std::vector<ConvBlock<T, D>> stages[3];
  Norm<T, D> norm;
  Tensor<T, D> Wo, bo;
  bool training = true;
  double momentum = 0;  ///< in training mode: how much of a batch's statistics the running ones take, batch norm alone

  explicit ResNet(const Config& c)
      : config(c),
        stem(parameter<T, D>({2 * c.full.w, c.channels, 3, 3}, 2.0 / static_cast<double>(9 * c.channels))),
        norm(8 * c.full.w, c.batch_norm),
        Wo(parameter<T, D>({c.classes, 8 * c.full.w}, 1.0 / static_cast<double>(8 * c.full.w))),
        bo(parameter<T, D>({c.classes}, 0, 0)) {
    for (int64_t s = 0; s < 3; ++s)
      for (int64_t l = 0; l < c.full.d; ++l)
        stages[s].emplace_back(c.full.w, s > 0 && l == 0 ? int64_t{1} << s : int64_t{2} << s, int64_t{2} << s, c.batch_norm);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, const Part<D>& p) const {
    auto h = conv2d(x, take(stem, p, 2), Tensor<T, D>(), {.padding = 1});
    for (const auto& stage : stages)
      for (const int64_t l : p.layers) h = stage[static_cast<std::size_t>(l)](h, p, training, momentum);
    return linear(mean(relu(norm(h, p, 8, training, momentum)), {2, 3}), take(Wo, p, 0, 8), bo);
  }
  void visit(auto&& f) {
    f("stem", stem), f("stage1", stages[0]), f("stage2", stages[1]), f("stage3", stages[2]), f("norm", norm);
    f("Wo", Wo), f("bo", bo), f("training", training);
  }
};

/// Multiply-adds of one picture, and parameters, of a sub-network, from the formulas.
struct Cost {
  int64_t macs = 0, parameters = 0;
};
inline Cost cost(const Config& c, Size b) {
  const int64_t w = b.w, d = b.d, K = c.classes;
  if (!c.conv)
    return {c.inputs() * w + 2 * d * w * w + K * w, (c.inputs() + 1) * w + d * (2 * w * w + 4 * w) + 2 * w + K * w + K};
  Cost r;
  int64_t side = c.side;
  const auto conv = [&](int64_t in, int64_t out, int64_t kernel) {
    r.macs += in * out * kernel * kernel * side * side, r.parameters += in * out * kernel * kernel;
  };
  conv(c.channels, 2 * w, 3);
  for (int64_t s = 0; s < 3; ++s) {
    const int64_t C = (2 << s) * w;
    if (s > 0) side = (side + 1) / 2;
    for (int64_t l = 0; l < d; ++l) {
      const int64_t in = s > 0 && l == 0 ? C / 2 : C;
      conv(in, C, 3), conv(C, C, 3);
      if (in != C) conv(in, C, 1);
      r.parameters += 2 * in + 2 * C;
    }
  }
  r.macs += 8 * w * K, r.parameters += 2 * 8 * w + 8 * w * K + K;
  return r;
}

/// The sizes that are trained and evaluated, each list in ascending order.
struct Space {
  std::vector<int64_t> widths, depths;
  Size smallest() const { return {widths.front(), depths.front()}; }
  Size largest() const { return {widths.back(), depths.back()}; }
  Size draw(data::Draws& d) const {
    const auto one = [&](const std::vector<int64_t>& v) {
      return v[static_cast<std::size_t>(d.below(static_cast<int64_t>(v.size())))];
    };
    const int64_t w = one(widths);
    return {w, one(depths)};
  }
  /// The largest sub-network within a budget of multiply-adds, the deeper of two; w = 0 where none fits.
  Size select(const Config& c, int64_t budget) const {
    Size best;
    int64_t most = -1;
    for (const int64_t d : depths)
      for (const int64_t w : widths)
        if (const int64_t macs = cost(c, {w, d}).macs; macs <= budget && macs >= most) most = macs, best = {w, d};
    return best;
  }
};

enum class Method { sorted, full, unsorted, sandwich };

/// The sub-networks whose losses one pass adds.
template <class D>
std::vector<Part<D>> draw_parts(Method m, const Space& space, const Config& c, data::Draws& draws) {
  if (m == Method::full) return {first<D>(space.largest())};
  if (m == Method::unsorted) return {any_of<D>(space.draw(draws), c.full, c.conv, draws)};
  if (m == Method::sorted) return {first<D>(space.draw(draws))};
  std::vector<Part<D>> parts{first<D>(space.largest()), first<D>(space.smallest())};
  for (int k = 0; k < 2; ++k) parts.push_back(first<D>(space.draw(draws)));
  return parts;
}
/// Adds the gradients of one pass to theta's: those of the losses' sum, divided by g_acc.
template <class Net, class T, class D>
void pass(const Net& net, const std::vector<Part<D>>& parts, const Tensor<T, D>& x, const Tensor<int64_t, D>& y,
          int64_t g_acc) {
  for (const Part<D>& p : parts) (cross_entropy(net(x, p), y) * (1.0 / static_cast<double>(g_acc))).backward();
}
/// Zeros where no pass has left a gradient, so that momentum and decay act on all of theta.
template <class T, class D>
void complete_gradients(const std::vector<Tensor<T, D>>& params) {
  for (const auto& p : params)
    if (!p.grad().defined()) p.set_grad(zeros<T, D>(p.shape()));
}

/// A network of its own with the parameters of a prefix.
template <class Net>
Net exported(Net& net, Size b) {
  const auto before = generator();
  Net small(net.config.cut(b));
  generator() = before;
  auto state = nn::state_dict(net);
  const NoGrad guard;
  for (auto& [name, p] : nn::named_parameters(small))
    p.copy_(prefix(state.at(name).template as<nn::element_of<Net>, nn::device_type_of<Net>>(), p.shape()));
  return small;
}

/// Batch norm's statistics of one sub-network, over pictures x.
template <class Net, class T, class D>
void recalibrate(Net& net, const Part<D>& p, const Tensor<T, D>& x, int64_t batch = 250) {
  const NoGrad guard;
  nn::train(net);
  for (int64_t b = 0, k = 1; b < x.size(0); b += batch, ++k) {
    net.momentum = 1.0 / static_cast<double>(k);
    net(narrow(x, 0, b, std::min(batch, x.size(0) - b)), p);
  }
  net.momentum = 0;
  nn::eval(net);
}

/// What is exact of a prefix.
struct Exact {
  double distance = 0;   ///< of its logits from those of the exported network
  double gradients = 0;  ///< of its gradients from those of the exported network
  bool alone = true;     ///< they stay, bit for bit, when all parameters outside are 1e9
  double outside = 0;    ///< the largest gradient outside
  bool counted = true;   ///< the exported network has as many parameters as the formula says
};
template <class Net, class T, class D>
Exact exact(Net& net, Size b, const Tensor<T, D>& x, const Tensor<int64_t, D>& y) {
  const auto part = first<D>(b);
  Net small = exported(net, b);
  auto of_small = nn::state_dict(small);
  const auto named = nn::named_parameters(net);
  Exact e;
  nn::zero_grad(net);
  const auto logits = net(x, part);
  cross_entropy(logits, y).backward();
  cross_entropy(small(x, part), y).backward();
  const NoGrad guard;
  e.distance = static_cast<double>(amax(abs(logits.detach() - small(x, part))).item());
  e.counted = nn::parameter_count(small) == cost(net.config, b).parameters;
  const auto inside = [&](const std::string& name, const Tensor<T, D>& p) {
    const auto s = of_small.find(name);
    return s == of_small.end() ? Tensor<T, D>() : prefix(p, s->second.shape());
  };
  for (const auto& [name, p] : named) {
    if (!p.grad().defined()) continue;
    auto g = p.grad().clone();
    if (auto of_prefix = inside(name, g); of_prefix.defined()) {
      const auto own = of_small.at(name).template as<T, D>().grad();
      e.gradients = std::max(e.gradients, static_cast<double>(amax(abs(of_prefix - own)).item()));
      of_prefix.fill_(0);
    }
    e.outside = std::max(e.outside, static_cast<double>(amax(abs(g)).item()));
  }
  nn::zero_grad(net);
  const auto state = nn::clone_state(net);
  for (auto& [name, p] : named) {
    auto q = p;
    q.fill_(1e9);
    if (auto of_prefix = inside(name, q); of_prefix.defined()) of_prefix.copy_(of_small.at(name).template as<T, D>());
  }
  e.alone = net(x, part).template to<Cpu>().to_vector() == logits.detach().template to<Cpu>().to_vector();
  nn::load_state_dict(net, state);
  return e;
}

}  // namespace sortednet
