// NASNet: Zoph, Vasudevan, Shlens, Le, "Learning transferable architectures for scalable image recognition", CVPR 2018.
//
//   models::NASNet<> net(models::nasnet_mobile());         // NASNet-A (4 @ 1056), 224 x 224
//   models::NASNet<> small(models::nasnet_cifar());        // NASNet-A (6 @ 768), 32 x 32
//   net.set_step(t, steps);                                // ScheduledDropPath, before each step of training
//
//   stem -> N normal cells -> reduction -> N normal cells -> reduction -> N normal cells -> relu -> mean over pixels -> linear
//
// A cell reads h, the output of the cell before, and h', that of the one before that. States of F channels each:
//   s_0 = norm(conv 1 x 1(relu(h)))      s_1 = h', brought to h's extents and F channels      s_{b+2} = left op(s_i) + right
//   op(s_j)
// and puts out some of the states side by side. In a reduction cell ops that read s_0 or s_1 have stride 2. Channels double
// with each reduction. Padding is TensorFlow's SAME. CellSpec describes any cell of the paper's search space (section 3.1).
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <gradus/nn/conv.hpp>
#include <gradus/nn/dropout/path.hpp>
#include <gradus/nn/dropout/unit.hpp>
#include <gradus/nn/linear.hpp>
#include <gradus/nn/norm.hpp>
#include <gradus/ops/activation.hpp>
#include <gradus/ops/pool.hpp>
#include <gradus/ops/reduce.hpp>
#include <gradus/ops/shape.hpp>

namespace gradus::models {

/// The operations of the search space. conv: relu, convolution, norm, the split ones twice (1 x k with the stride, then k x 1);
/// sep: twice relu, depthwise k x k, pointwise, norm; pooling: then a projection where channels change.
enum class CellOp : int {
  identity,
  conv_1x3_3x1,
  conv_1x7_7x1,
  dilated_3x3,
  avg_pool_3x3,
  max_pool_3x3,
  max_pool_5x5,
  max_pool_7x7,
  conv_1x1,
  conv_3x3,
  sep_3x3,
  sep_5x5,
  sep_7x7
};
inline constexpr std::array<const char*, 13> kCellOpNames{"identity", "1x3, 3x1", "1x7, 7x1", "dilated 3x3", "avg 3x3",
                                                          "max 3x3",  "max 5x5",  "max 7x7",  "conv 1x1",    "conv 3x3",
                                                          "sep 3x3",  "sep 5x5",  "sep 7x7"};
inline const char* name_of(CellOp op) { return kCellOpNames[static_cast<std::size_t>(op)]; }

/// left op(s_left) and right op(s_right), added, or side by side.
struct CellBlock {
  CellOp left_op;
  int left;
  CellOp right_op;
  int right;
  bool concat = false;
};
struct CellSpec {
  std::vector<CellBlock> blocks;  ///< block b makes s_{b+2}
  std::vector<int> outputs;       ///< states that are put out; the last block's is among them

  /// The states that no block reads: what the search puts out.
  static CellSpec of(std::vector<CellBlock> blocks) {
    CellSpec s{std::move(blocks), {}};
    std::vector<bool> used(s.blocks.size() + 2, false);
    for (const CellBlock& b : s.blocks) used[static_cast<std::size_t>(b.left)] = used[static_cast<std::size_t>(b.right)] = true;
    for (std::size_t k = 0; k < used.size(); ++k)
      if (!used[k]) s.outputs.push_back(static_cast<int>(k));
    return s;
  }
};
/// Figure 4 of the paper. s_1 is put out although blocks read it.
inline CellSpec nasnet_a_normal() {
  using enum CellOp;
  return {{{sep_5x5, 0, sep_3x3, 1},
           {sep_5x5, 1, sep_3x3, 1},
           {avg_pool_3x3, 0, identity, 1},
           {avg_pool_3x3, 1, avg_pool_3x3, 1},
           {sep_3x3, 0, identity, 0}},
          {1, 2, 3, 4, 5, 6}};
}
inline CellSpec nasnet_a_reduction() {
  using enum CellOp;
  return {{{sep_5x5, 0, sep_7x7, 1},
           {max_pool_3x3, 0, sep_7x7, 1},
           {avg_pool_3x3, 0, sep_5x5, 1},
           {identity, 3, avg_pool_3x3, 2},
           {sep_3x3, 2, max_pool_3x3, 0}},
          {3, 4, 5, 6}};
}

struct NASNetConfig {
  CellSpec normal = nasnet_a_normal(), reduction = nasnet_a_reduction();
  int64_t normal_cells = 6;     ///< N, in each of the three stacks
  int64_t filters = 32;         ///< F of the first stack
  int64_t stem = 96;            ///< channels after the first convolution
  bool imagenet_stem = false;   ///< 3 x 3 with stride 2, VALID, then reduction cells with F / 4 and F / 2; else 3 x 3
  bool skip_reduction = false;  ///< the cell after a reduction takes as h' not the reduction's input but the one before
  int64_t channels = 3, classes = 10;
  double final_keep = 1;  ///< ScheduledDropPath's keep probability in the last cell after the last step
  double dropout = 0;     ///< in front of the last layer
  int64_t aux_side = 0;   ///< side of the pictures, for an auxiliary head; 0: none
  nn::BatchNormOptions norm = {};
};
/// NASNet-A (6 @ 768): 3.3 M parameters.
inline NASNetConfig nasnet_cifar(int64_t classes = 10) { return {.classes = classes, .final_keep = 0.6}; }
/// NASNet-A (4 @ 1056): 5.3 M parameters.
inline NASNetConfig nasnet_mobile(int64_t classes = 1000) {
  return {.normal_cells = 4,
          .filters = 44,
          .stem = 32,
          .imagenet_stem = true,
          .classes = classes,
          .dropout = 0.5,
          .norm = {.momentum = 0.0003, .eps = 1e-3}};
}
/// NASNet-A (6 @ 4032): 88.9 M parameters.
inline NASNetConfig nasnet_large(int64_t classes = 1000) {
  return {.normal_cells = 6,
          .filters = 168,
          .stem = 96,
          .imagenet_stem = true,
          .skip_reduction = true,
          .classes = classes,
          .final_keep = 0.7,
          .dropout = 0.5,
          .norm = {.momentum = 0.0003, .eps = 1e-3}};
}

namespace detail {
/// Without a bias, normal with variance 2 / (outputs of a group times the kernel's size).
template <class T, class D>
nn::Conv2d<T, D> cell_conv(int64_t in, int64_t out, PerAxis kernel, ConvOptions o, Where at) {
  nn::Conv2d<T, D> m(in, out, kernel, o, false, at);
  const double fan = static_cast<double>(m.weight.numel()) / static_cast<double>(in);
  nn::init::normal(m.weight, 0, std::sqrt(2 / fan), at);
  return m;
}
template <class M, class From>
void copy_modules(std::vector<M>& to, const std::vector<From>& from, Where at) {
  for (const From& m : from) to.emplace_back(m, at);
}
inline int64_t weights_of(const auto& convs) {
  int64_t n = 0;
  for (const auto& m : convs) n += m.weight.numel();
  return n;
}
}  // namespace detail

/// One operation of a cell: x [B, in, H, W] -> [B, out, ceil(H / stride), ceil(W / stride)].
template <class T = float, class D = Cpu>
struct CellOperation {
  using value_type = T;
  using device_type = D;
  CellOp op;
  int64_t stride;
  std::vector<nn::Conv2d<T, D>> convs;
  std::vector<nn::BatchNorm2d<T, D>> norms;  // each after one or, of sep, two convolutions

  CellOperation(CellOp op, int64_t in, int64_t out, int64_t stride, const nn::BatchNormOptions& norm, Where at)
      : op(op), stride(stride) {
    const auto add = [&](int64_t from, PerAxis kernel, ConvOptions o, bool pointwise = false) {
      o.same = true;
      if (pointwise) {
        o.groups = from;
        convs.push_back(detail::cell_conv<T, D>(from, from, kernel, o, at));
        convs.push_back(detail::cell_conv<T, D>(from, out, 1, {}, at));
      } else {
        convs.push_back(detail::cell_conv<T, D>(from, out, kernel, o, at));
      }
      norms.emplace_back(out, norm, at);
    };
    using enum CellOp;
    switch (op) {
      case identity:
        if (stride != 1 || in != out) add(in, 1, {.stride = stride});
        break;
      case avg_pool_3x3:
      case max_pool_3x3:
      case max_pool_5x5:
      case max_pool_7x7:
        if (in != out) add(in, 1, {});
        break;
      case conv_1x3_3x1:
        add(in, {1, 3}, {.stride = stride}), add(out, {3, 1}, {});
        break;
      case conv_1x7_7x1:
        add(in, {1, 7}, {.stride = stride}), add(out, {7, 1}, {});
        break;
      case dilated_3x3:
        add(in, 3, {.stride = stride, .dilation = 2});
        break;
      case conv_1x1:
        add(in, 1, {.stride = stride});
        break;
      case conv_3x3:
        add(in, 3, {.stride = stride});
        break;
      case sep_3x3:
        add(in, 3, {.stride = stride}, true), add(out, 3, {}, true);
        break;
      case sep_5x5:
        add(in, 5, {.stride = stride}, true), add(out, 5, {}, true);
        break;
      case sep_7x7:
        add(in, 7, {.stride = stride}, true), add(out, 7, {}, true);
        break;
    }
  }
  template <class U, class E>
  explicit CellOperation(const CellOperation<U, E>& o, Where at = Where::current()) : op(o.op), stride(o.stride) {
    detail::copy_modules(convs, o.convs, at), detail::copy_modules(norms, o.norms, at);
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    const bool pools = op >= CellOp::avg_pool_3x3 && op <= CellOp::max_pool_7x7;
    auto y = x;
    if (op == CellOp::avg_pool_3x3) y = avg_pool2d(x, 3, {.stride = stride, .same = true}, at);
    else if (pools)
      y = max_pool2d(x, 3 + 2 * (static_cast<int64_t>(op) - static_cast<int64_t>(CellOp::max_pool_3x3)),
                     {.stride = stride, .same = true}, at);
    const std::size_t each = norms.empty() ? 0 : convs.size() / norms.size();
    for (std::size_t k = 0; k < norms.size(); ++k) {
      if (!pools) y = relu(y, at);
      for (std::size_t j = 0; j < each; ++j) y = convs[k * each + j].forward(y, at);
      y = norms[k].forward(y, at);
    }
    return y;
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) { f("convs", convs), f("norms", norms); }
  std::string about() const { return std::string(name_of(op)) + (stride > 1 ? ", stride 2" : ""); }
};

/// What brings a state to other extents and channels: nothing; conv 1 x 1, norm; or, to half the extents, the factorised
/// reduction norm([conv 1 x 1(x_{2i,2j}), conv 1 x 1(x_{2i+1,2j+1})]), half the channels from each, zeros outside x.
template <class T = float, class D = Cpu>
struct CellProjection {
  using value_type = T;
  using device_type = D;
  bool relu_first = false;
  std::vector<nn::Conv2d<T, D>> convs;  // 0, 1 or 2
  std::vector<nn::BatchNorm2d<T, D>> norms;

  CellProjection(int64_t in, int64_t out, bool halve, bool relu_first, bool always, const nn::BatchNormOptions& norm, Where at)
      : relu_first(relu_first) {
    if (halve)
      for (const int64_t part : {out / 2, out - out / 2})
        convs.push_back(detail::cell_conv<T, D>(in, part, 1, {.stride = 2}, at));
    else if (in != out || always) convs.push_back(detail::cell_conv<T, D>(in, out, 1, {}, at));
    if (!convs.empty()) norms.emplace_back(out, norm, at);
  }
  template <class U, class E>
  explicit CellProjection(const CellProjection<U, E>& o, Where at = Where::current()) : relu_first(o.relu_first) {
    detail::copy_modules(convs, o.convs, at), detail::copy_modules(norms, o.norms, at);
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (convs.empty()) return x;
    const auto y = relu_first ? relu(x, at) : x;
    if (convs.size() == 1) return norms[0].forward(convs[0].forward(y, at), at);
    const auto shifted = pad(y, {-1, -1}, {1, 1}, 0, at);
    return norms[0].forward(cat(std::vector{convs[0].forward(y, at), convs[1].forward(shifted, at)}, 1, at), at);
  }
  void visit(auto&& f) { f("convs", convs), f("norms", norms); }
};

/// h [B, C, H, W] and h' [B, C', H', W'], H' = H or ceil(H' / 2) = H -> [B, channels, ceil(H / stride), ceil(W / stride)].
template <class T = float, class D = Cpu>
struct NASNetCell {
  using value_type = T;
  using device_type = D;
  CellSpec spec;
  int64_t stride;
  CellProjection<T, D> current, previous;
  std::vector<CellOperation<T, D>> ops;  // left and right of each block
  std::vector<CellProjection<T, D>> outs;
  nn::ScheduledDropPath drop;
  int64_t channels = 0;  ///< that it puts out

  /// previous_in 0: there is no h'; h stands in, as it is. previous_larger: h' has twice h's extents.
  NASNetCell(const CellSpec& cell, int64_t F, int64_t stride, int64_t in, int64_t previous_in, bool previous_larger,
             const nn::ScheduledDropPath& drop, const nn::BatchNormOptions& norm, Where at = Where::current())
      : spec(checked(cell, F, at)),
        stride(stride),
        current(in, F, false, true, true, norm, at),
        previous(previous_in ? previous_in : in, previous_in ? F : in, previous_in && previous_larger, true, false, norm, at),
        drop(drop) {
    std::vector<int64_t> width{F, previous_in ? F : in};
    for (const CellBlock& b : spec.blocks) {
      for (const auto& [op, state] : {std::pair{b.left_op, b.left}, {b.right_op, b.right}})
        ops.emplace_back(op, width[static_cast<std::size_t>(state)], F, state < 2 ? stride : 1, norm, at);
      width.push_back(b.concat ? 2 * F : F);
    }
    for (const int state : spec.outputs)
      outs.emplace_back(width[static_cast<std::size_t>(state)], width.back(), stride > 1 && state < 2, false, false, norm, at);
    channels = width.back() * static_cast<int64_t>(spec.outputs.size());
  }
  template <class U, class E>
  explicit NASNetCell(const NASNetCell<U, E>& o, Where at = Where::current())
      : spec(o.spec), stride(o.stride), current(o.current, at), previous(o.previous, at), drop(o.drop), channels(o.channels) {
    detail::copy_modules(ops, o.ops, at), detail::copy_modules(outs, o.outs, at);
  }
  Tensor<T, D> forward(const Tensor<T, D>& h, const Tensor<T, D>& before, Where at = Where::current()) const {
    std::vector<Tensor<T, D>> s{current.forward(h, at), previous.forward(before, at)};
    for (std::size_t b = 0; b < spec.blocks.size(); ++b) {
      const CellBlock& block = spec.blocks[b];
      const auto run = [&](std::size_t k, int state) {
        const auto y = ops[k].forward(s[static_cast<std::size_t>(state)], at);
        return ops[k].op == CellOp::identity ? y : drop.forward(y, at);
      };
      const auto left = run(2 * b, block.left), right = run(2 * b + 1, block.right);
      s.push_back(block.concat ? cat(std::vector{left, right}, 1, at) : add(left, right, at));
    }
    std::vector<Tensor<T, D>> y;
    for (std::size_t k = 0; k < outs.size(); ++k)
      y.push_back(outs[k].forward(s[static_cast<std::size_t>(spec.outputs[k])], at));
    return cat(y, 1, at);
  }
  void visit(auto&& f) { f("current", current), f("previous", previous), f("ops", ops), f("outs", outs), f("drop", drop); }
  std::string about() const { return (stride > 1 ? "reduction, " : "normal, ") + std::to_string(channels) + " channels"; }
  /// Of one picture, h with `pixels` pixels before and `after` behind the cell.
  int64_t multiply_adds(int64_t pixels, int64_t after) const {
    int64_t n = (detail::weights_of(current.convs) + detail::weights_of(previous.convs)) * pixels;
    for (const auto& m : ops) n += detail::weights_of(m.convs) * after;
    for (const auto& m : outs) n += detail::weights_of(m.convs) * after;
    return n;
  }

 private:
  static const CellSpec& checked(const CellSpec& s, int64_t F, Where at) {
    const auto last = static_cast<int>(s.blocks.size()) + 1;
    bool fits = F >= 2 && !s.blocks.empty() && !s.outputs.empty();
    for (std::size_t b = 0; b < s.blocks.size(); ++b)
      for (const int state : {s.blocks[b].left, s.blocks[b].right})
        fits = fits && state >= 0 && state < static_cast<int>(b) + 2;
    for (const int state : s.outputs) fits = fits && state >= 0 && state <= last;
    if (!fits)
      fail("NASNetCell", "no such cell",
           {{"blocks", std::to_string(s.blocks.size())},
            {"outputs", std::to_string(s.outputs.size())},
            {"filters", std::to_string(F)}},
           "at least one block and one output, blocks that read states made before them, and 2 or more filters", at);
    return s;
  }
};

/// The second classifier of training: relu -> mean of 5 x 5 with stride 3 -> conv 1 x 1 to 128, norm, relu -> conv of the whole
/// extent to 768, norm, relu -> linear.
template <class T = float, class D = Cpu>
struct AuxiliaryHead {
  using value_type = T;
  using device_type = D;
  nn::Conv2d<T, D> project, whole;
  nn::BatchNorm2d<T, D> project_norm, whole_norm;
  nn::Linear<T, D> fc;
  AuxiliaryHead(int64_t in, int64_t side, int64_t classes, const nn::BatchNormOptions& norm, Where at = Where::current())
      : project(detail::cell_conv<T, D>(in, 128, 1, {}, at)),
        whole(detail::cell_conv<T, D>(128, 768, pooled(side, at), {}, at)),
        project_norm(128, norm, at),
        whole_norm(768, norm, at),
        fc(768, classes, true, at) {}
  template <class U, class E>
  explicit AuxiliaryHead(const AuxiliaryHead<U, E>& o, Where at = Where::current())
      : project(o.project, at),
        whole(o.whole, at),
        project_norm(o.project_norm, at),
        whole_norm(o.whole_norm, at),
        fc(o.fc, at) {}
  Tensor<T, D> forward(const Tensor<T, D>& h, Where at = Where::current()) const {
    auto y = avg_pool2d(relu(h, at), 5, {.stride = 3}, at);
    y = relu(project_norm.forward(project.forward(y, at), at), at);
    y = relu(whole_norm.forward(whole.forward(y, at), at), at);
    return fc.forward(flatten(y, 1, -1, at), at);
  }
  void visit(auto&& f) {
    f("project", project), f("project_norm", project_norm), f("whole", whole), f("whole_norm", whole_norm), f("fc", fc);
  }

 private:
  static int64_t pooled(int64_t side, Where at) {
    if (side < 5)
      fail("AuxiliaryHead", "the maps are too small", {{"side", std::to_string(side)}}, "5 or more before the second reduction",
           at);
    return (side - 5) / 3 + 1;
  }
};

/// x [B, channels, H, W] -> logits [B, classes].
template <class T = float, class D = Cpu>
struct NASNet {
  using value_type = T;
  using device_type = D;
  using Cell = NASNetCell<T, D>;
  struct Logits {
    Tensor<T, D> main, aux;  // aux: undefined without an auxiliary head
  };
  NASNetConfig config;
  nn::Conv2d<T, D> conv;
  nn::BatchNorm2d<T, D> norm;
  std::vector<Cell> cells;               ///< in the order in which they run, reductions among them
  std::vector<AuxiliaryHead<T, D>> aux;  ///< none or one
  std::vector<nn::Dropout> dropout;      ///< none or one
  nn::Linear<T, D> fc;

  explicit NASNet(const NASNetConfig& c, Where at = Where::current())
      : config(checked(c, at)),
        conv(detail::cell_conv<T, D>(c.channels, c.stem, 3, stem_options(c), at)),
        norm(c.stem, c.norm, at),
        fc(1, 1) {
    const auto made = plan(c);
    std::vector<int64_t> width{c.stem};
    for (std::size_t k = 0; k < made.size(); ++k) {
      const Step& s = made[k];
      const int64_t F = c.filters * (int64_t{1} << s.doubled) / s.divided;
      const nn::ScheduledDropPath drop(static_cast<int64_t>(k), static_cast<int64_t>(made.size()), c.final_keep, at);
      cells.emplace_back(s.reduces ? c.reduction : c.normal, F, s.reduces ? 2 : 1, width.back(),
                         s.before < 0 ? 0 : width[static_cast<std::size_t>(s.before)], s.before_larger, drop, c.norm, at);
      width.push_back(cells.back().channels);
    }
    if (c.aux_side > 0) {
      int64_t side = stem_side(c.aux_side);
      for (std::size_t k = 0; k <= aux_after(); ++k) side = after(side, cells[k]);
      aux.emplace_back(width[aux_after() + 1], side, c.classes, c.norm, at);
    }
    if (c.dropout > 0) dropout.emplace_back(c.dropout, at);
    fc = nn::Linear<T, D>(width.back(), c.classes, true, at);
  }
  template <class U, class E>
  explicit NASNet(const NASNet<U, E>& o, Where at = Where::current())
      : config(o.config), conv(o.conv, at), norm(o.norm, at), dropout(o.dropout), fc(o.fc, at) {
    detail::copy_modules(cells, o.cells, at), detail::copy_modules(aux, o.aux, at);
  }
  /// The last cell's maps, and the auxiliary head's logits in training.
  Logits maps(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() != 4 || x.shape()[1] != config.channels)
      fail("NASNet", "not a batch of pictures", {{"x", describe(x)}}, "[B, " + std::to_string(config.channels) + ", H, W]", at);
    Logits y;
    std::vector<Tensor<T, D>> h{norm.forward(conv.forward(x, at), at)};
    const auto made = plan(config);
    for (std::size_t k = 0; k < cells.size(); ++k) {
      h.push_back(cells[k].forward(h[k], h[made[k].before < 0 ? k : static_cast<std::size_t>(made[k].before)], at));
      if (!aux.empty() && norm.training && k == aux_after()) y.aux = aux[0].forward(h.back(), at);
    }
    y.main = h.back();
    return y;
  }
  Logits logits(const Tensor<T, D>& x, Where at = Where::current()) const {
    Logits y = maps(x, at);
    auto features = mean(relu(y.main, at), {2, 3}, false, at);
    if (!dropout.empty()) features = dropout[0].forward(features, at);
    y.main = fc.forward(features, at);
    return y;
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const { return logits(x, at).main; }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) {
    f("conv", conv), f("norm", norm), f("cells", cells), f("aux", aux), f("dropout", dropout), f("fc", fc);
  }
  /// Drop probabilities of step t of `steps`.
  void set_step(double t, double steps) {
    for (Cell& cell : cells) cell.drop.set_step(t, steps);
  }
  /// One keep probability for all cells.
  void set_keep(double keep) {
    for (Cell& cell : cells) cell.drop.p = 1 - keep;
  }
  /// Of convolutions and the last layer for one picture, without the auxiliary head; norms, pools and sums count 0.
  int64_t multiply_adds(int64_t H, int64_t W) const {
    H = stem_side(H), W = stem_side(W);
    int64_t n = conv.weight.numel() * H * W + fc.weight.numel();
    for (const Cell& cell : cells) {
      const int64_t pixels = H * W;
      H = after(H, cell), W = after(W, cell);
      n += cell.multiply_adds(pixels, H * W);
    }
    return n;
  }

 private:
  /// How cell k is built; `before`: whose output is its h' (0: the stem's, k + 1: cell k's, -1: none).
  struct Step {
    bool reduces = false, before_larger = false;
    int doubled = 0, divided = 1, before = -1;
  };
  static std::vector<Step> plan(const NASNetConfig& c) {
    std::vector<Step> list;
    std::vector<int> level{0}, outputs{-1, 0};  // halvings before each output; outputs whose last two are h' and h
    int doubled = 0;
    const auto add = [&](bool reduces, int divided, int before) {
      const bool larger = before >= 0 && level[static_cast<std::size_t>(before)] < level.back();
      list.push_back({reduces, larger, doubled, divided, before});
      level.push_back(level.back() + reduces);
      outputs.push_back(static_cast<int>(list.size()));
    };
    const auto last_but_one = [&] { return outputs[outputs.size() - 2]; };
    if (c.imagenet_stem)
      for (const int divided : {4, 2}) add(true, divided, last_but_one());
    for (int64_t k = 0; k < 3 * c.normal_cells; ++k) {
      int before = last_but_one();
      if (k > 0 && k % c.normal_cells == 0) {
        ++doubled;
        add(true, 1, before);
        if (!c.skip_reduction) before = last_but_one();
      }
      add(false, 1, before);
    }
    return list;
  }
  static ConvOptions stem_options(const NASNetConfig& c) {
    return c.imagenet_stem ? ConvOptions{.stride = 2} : ConvOptions{.same = true};
  }
  int64_t stem_side(int64_t n) const { return config.imagenet_stem ? (n - 3) / 2 + 1 : n; }
  static int64_t after(int64_t n, const Cell& cell) { return (n + cell.stride - 1) / cell.stride; }
  /// The cell in front of the second reduction.
  std::size_t aux_after() const { return static_cast<std::size_t>((config.imagenet_stem ? 2 : 0) + 2 * config.normal_cells); }
  static const NASNetConfig& checked(const NASNetConfig& c, Where at) {
    if (c.normal_cells < 1 || c.filters < (c.imagenet_stem ? 8 : 2))
      fail("NASNet", "no such network",
           {{"normal_cells", std::to_string(c.normal_cells)}, {"filters", std::to_string(c.filters)}},
           "a cell or more in each stack, 2 filters or more (8 with ImageNet's stem)", at);
    return c;
  }
};

}  // namespace gradus::models
