// Keeps what a step computed: every recorded op with its values, then every gradient on its way back.
//
//   debug::Recorder r;                        // records as long as it lives
//   auto loss = net.loss(x, y);
//   loss.backward();
//   r.ops                                     // in the order of the forward pass; r.visits: of the backward pass
//
// modules.hpp finds the module of each op, record.hpp draws it, compare.hpp compares two, explain.hpp looks where a path ends, profile.hpp has the times.
#pragma once
#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <gradus/debug/values.hpp>

namespace gradus::debug {

/// A copy of a tensor's values, or of a part of them.
struct Snapshot {
  DType dtype = DType::f32;
  DeviceKind device = DeviceKind::cpu;
  Shape shape;
  Range range;
  std::vector<double> values;  ///< all, when there are at most RecorderOptions::keep of them
  // A picture of the matrix [numel / last extent, last extent]: each cell has the value of largest magnitude of its block.
  int rows = 0, columns = 0;
  std::vector<float> picture;

  bool defined() const { return rows > 0 || range.n > 0 || !values.empty(); }
  static Snapshot of(const AnyTensor& x, int64_t keep, int side) {
    Snapshot s;
    if (!x.defined()) return s;
    s.dtype = x.dtype(), s.device = x.device(), s.shape = x.shape(), s.range = Range::of(x);
    if (x.numel() <= keep) s.values = to_doubles(x);
    if (x.numel() == 0 || side == 0) return s;
    const int64_t c = x.rank() ? x.shape().back() : 1, r = x.numel() / c;
    s.rows = static_cast<int>(std::min<int64_t>(r, side)), s.columns = static_cast<int>(std::min<int64_t>(c, side));
    s.picture.assign(static_cast<std::size_t>(s.rows * s.columns), 0.0f);
    each_value(x, [&](int64_t i, double v) {
      const int64_t a = i / c * s.rows / r, b = i % c * s.columns / c;
      float& cell = s.picture[static_cast<std::size_t>(a * s.columns + b)];
      if (!(std::fabs(v) <= std::fabs(cell))) cell = static_cast<float>(v);  // NaN too, and it stays
    });
    return s;
  }
};

/// A tensor that an op used and no recorded op made: a parameter, data, or the end of a history.
struct Source {
  std::string name;            ///< of the parameter; "" without
  bool leaf = false;           ///< requires gradients
  Snapshot value, gradient;    ///< the gradient that backward() left
};
/// What an op used: the result `output` of ops[op], or sources[source].
struct Use {
  int op = -1, output = 0, source = -1;
  Snapshot gradient;           ///< what the op's backward sent there
};
/// A recorded op.
struct RecordedOp {
  std::string name, module;    ///< "SoftmaxNode", "encoder.0.attention" (after infer_modules)
  std::string labels;          ///< what nn::Sequential says of itself: "2:ReLU"
  Where at;
  std::vector<Use> inputs;
  Snapshot value, gradient;    ///< the first result, and the gradient that arrived
  std::vector<std::string> saved;
  double forward_us = 0, backward_us = -1;  ///< since the op before; -1: its backward did not run
  double began_us = 0, backward_began_us = 0;
  double flops = 0;
  bool second = false;         ///< recorded during a backward pass (create_graph)
};
/// One visit of the backward pass: ops[op], or the leaf sources[source].
struct Visit {
  int op = -1, source = -1;
};

struct RecorderOptions {
  int64_t keep = 4096;    ///< all values of tensors up to this size
  int side = 32;          ///< pictures have at most side x side cells; 0: none
  bool values = true;     ///< false: shapes, places and times only
};

/// What a recorder saw.
struct Recording {
  std::vector<RecordedOp> ops;
  std::vector<Source> sources;
  std::vector<Visit> visits;
};

class Recorder : public Observer, public Recording {
 public:
  explicit Recorder(RecorderOptions o = {}) : o_(o), start_(Clock::now()), last_(start_) {}
  /// The one at work on this thread, or null.
  static Recorder* current() {
    for (Observer* o = gradus::detail::observer; o; o = o->before())
      if (auto* r = dynamic_cast<Recorder*>(o)) return r;
    return nullptr;
  }

  void recorded(Node& node, const AnyTensor& y, std::span<const AnyTensor* const> inputs) override {
    const auto now = Clock::now();
    RecordedOp op;
    op.name = node.name(), op.labels = ModulePath::current(), op.at = node.at, op.second = running_ > 0;
    op.began_us = microseconds(last_), op.forward_us = microseconds(now) - op.began_us;
    op.value = snapshot(y);
    for (std::size_t i = 0; i < inputs.size(); ++i) op.inputs.push_back(use_of(*inputs[i]));
    op.flops = flops_of(op.name, y, inputs);
    known_[&node] = static_cast<int>(ops.size());
    ids_[&node] = node.sequence;
    held_.emplace_back(Ref<Node>(&node));
    results_.push_back(o_.values ? AnyTensor(gradus::detail::alias(y, y.shape(), y.strides(), 0)) : AnyTensor());
    ops.push_back(std::move(op));
    last_ = Clock::now();
  }
  void before_backward(Node& node, std::span<const AnyTensor> dys) override {
    ++running_;
    const int op = index_of(node);
    const AnyTensor leaf = node.target();
    if (op < 0 && !leaf.defined()) return;
    visits.push_back({op, op < 0 ? source_of(leaf) : -1});
    if (op >= 0) {
      RecordedOp& r = ops[static_cast<std::size_t>(op)];
      r.saved.clear();
      for (const SavedBase* s = node.saved; s; s = s->next()) r.saved.insert(r.saved.begin(), s->name());
      for (const AnyTensor& dy : dys)
        if (dy.defined() && !r.gradient.defined()) r.gradient = snapshot(dy);
      r.backward_began_us = microseconds(last_ = Clock::now());
    }
  }
  void sent(Node& node, int i, const AnyTensor& g) override {
    if (const int op = index_of(node); op >= 0)
      if (auto& uses = ops[static_cast<std::size_t>(op)].inputs; static_cast<std::size_t>(i) < uses.size())
        uses[static_cast<std::size_t>(i)].gradient = snapshot(g);
  }
  void after_backward(Node& node) override {
    --running_;
    const auto now = Clock::now();
    if (const int op = index_of(node); op >= 0) {
      RecordedOp& r = ops[static_cast<std::size_t>(op)];
      r.backward_us = microseconds(now) - r.backward_began_us;
    } else if (const AnyTensor leaf = node.target(); leaf.defined() && leaf.any_grad().defined()) {
      sources[static_cast<std::size_t>(source_of(leaf))].gradient = snapshot(leaf.any_grad());
    }
    last_ = Clock::now();
  }

  /// A copy of what was seen, which does not keep the tensors alive.
  Recording take() const { return *this; }
  /// The number of the op that made this node; -1 when it was not recorded here.
  int index_of(const Node& node) const {
    const auto found = known_.find(&node);
    return found != known_.end() && ids_.at(&node) == node.sequence ? found->second : -1;
  }
  bool is_source(int source, const AnyTensor& x) const { return held_sources_[static_cast<std::size_t>(source)].is_same(x); }
  /// Whether a source is the memory that an op's first result had: a detached copy of its handle.
  bool shares_memory(int source, int op) const {
    const AnyTensor& y = results_[static_cast<std::size_t>(op)];
    return y.defined() && held_sources_[static_cast<std::size_t>(source)].shares_storage(y);
  }
  /// Gives every op its module, see modules.hpp.
  void infer_modules();

 private:
  using Clock = std::chrono::steady_clock;
  RecorderOptions o_;
  Clock::time_point start_, last_;
  int running_ = 0;
  std::unordered_map<const Node*, int> known_;
  std::unordered_map<const Node*, uint64_t> ids_;
  std::vector<Ref<Node>> held_;                      // so that an address means one node as long as this lives
  std::unordered_map<const TensorImpl*, int> source_;
  std::vector<AnyTensor> results_;                   // without their history
  std::vector<AnyTensor> held_sources_;

  double microseconds(Clock::time_point t) const { return std::chrono::duration<double, std::micro>(t - start_).count(); }
  Snapshot snapshot(const AnyTensor& x) const {
    if (o_.values) return Snapshot::of(x, o_.keep, o_.side);
    Snapshot s;
    if (x.defined()) s.dtype = x.dtype(), s.device = x.device(), s.shape = x.shape(), s.range.n = x.numel();
    return s;
  }
  int source_of(const AnyTensor& x) {
    const auto found = source_.find(x.impl());
    if (found != source_.end()) return found->second;
    held_sources_.push_back(x);
    sources.push_back({x.name(), x.requires_grad(), snapshot(x), {}});
    return source_[x.impl()] = static_cast<int>(sources.size()) - 1;
  }
  Use use_of(const AnyTensor& x) {
    Use u;
    if (!x.defined()) return u;
    if (x.grad_fn() && (u.op = index_of(*x.grad_fn())) >= 0) u.output = static_cast<int>(x.impl()->output);
    else u.source = source_of(x);
    return u;
  }
  /// Multiplications and additions; element-wise ops, views and reductions count one an element.
  static double flops_of(const std::string& name, const AnyTensor& y, std::span<const AnyTensor* const> in) {
    const auto n = static_cast<double>(y.numel());
    if (name == "MatmulNode" && in[0]->rank()) return 2 * n * static_cast<double>(in[0]->shape().back());
    if (name == "ConvNode" && in.size() > 1 && in[1]->rank())
      return 2 * n * static_cast<double>(in[1]->numel()) / static_cast<double>(std::max<int64_t>(1, in[1]->shape()[0]));
    for (const char* view : {"Reshape", "Permute", "Expand", "Slice", "AsStrided", "Diagonal", "WriteView", "Clone", "Cast", "Cat", "Flip"})
      if (name == std::string(view) + "Node") return 0;
    double most = n;
    for (const AnyTensor* x : in)
      if (x->defined()) most = std::max(most, static_cast<double>(x->numel()));
    return most;
  }
};

}  // namespace gradus::debug
