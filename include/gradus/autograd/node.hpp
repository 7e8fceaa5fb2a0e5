// Nodes of the gradient graph. An op on tensors that require gradients makes one node, a named struct whose members
// are what its backward needs; the result points to the node, the node to the nodes of its inputs.
//
//   struct MulNode : Node {
//     Saved<T, D> a{this, "a"}, b{this, "b"};
//     void backward(const AnyTensor& g) override {
//       const auto dy = g.as<T, D>();
//       if (wants(0)) accumulate(0, dy * b.get());
//       if (wants(1)) accumulate(1, dy * a.get());
//     }
//   };
//
// The rules I1 to I7 are in engine.hpp.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gradus/autograd/grad_mode.hpp>
#include <gradus/autograd/observer.hpp>
#include <gradus/tensor/tensor.hpp>

namespace gradus {

/// Where the gradient of an input goes: an output of the node that made it; none when it needs no gradient.
struct Edge {
  Ref<Node> node;
  uint32_t output = 0;
};

class SavedBase;

/// Rare parts of a node.
struct NodeExtra {
  std::vector<AnyTensor> more_pending;                                          // gradients of outputs 1, 2, ...
  std::vector<std::pair<uint32_t, std::function<AnyTensor(const AnyTensor&)>>> hooks;  // (output, hook), run before backward
};

/// One recorded op. Subclasses override backward() (one output) or backward_all() (several).
struct Node {
  static constexpr int kInline = 3;
  uint32_t refs = 1;
  uint16_t inputs_n = 0;
  bool released = false;           // its saved values were freed by a backward
  bool needed = true;              // of the run in progress
  uint64_t sequence = 0;           // creation order, which is a topological order; 0 for accumulators
  uint64_t run = 0;                // the last engine run that reached it
  Edge first[kInline];
  std::unique_ptr<Edge[]> many;    // instead of `first` for more than kInline inputs
  AnyTensor pending;               // gradient of output 0, while a backward runs
  SavedBase* saved = nullptr;      // list of the saved members
  std::unique_ptr<NodeExtra> extra;
  Node* next_dead = nullptr;
  Where at;                        // the call that made it
  Shape shape;                     // of output 0
  DType dtype = DType::f32;
  DeviceKind device = DeviceKind::cpu;

  Node() = default;
  Node(const Node&) = delete;
  virtual ~Node() = default;
  static void* operator new(std::size_t n) { return detail::pool_alloc(n); }
  static void operator delete(void* p, std::size_t n) { detail::pool_free(p, n); }

  /// Sends gradients to the inputs, given the gradient of the output.
  virtual void backward(const AnyTensor& dy) = 0;
  /// The same for nodes with several outputs; outputs that got no gradient are undefined.
  virtual void backward_all(const std::vector<AnyTensor>& dys) { backward(dys[0]); }
  /// The leaf whose gradient ends here; undefined for ops.
  virtual AnyTensor target() const { return {}; }

  Edge& input(int i) { return (many ? many.get() : first)[i]; }
  const Edge& input(int i) const { return (many ? many.get() : first)[i]; }
  /// Whether input i takes part in the run in progress.
  bool wants(int i) const {
    const Edge& e = input(i);
    return e.node && e.node->needed;
  }
  /// Adds g to the gradient that waits for input i.
  template <class T, class D> void accumulate(int i, Tensor<T, D> g);

  /// "SoftmaxNode": the type's name without namespace and template arguments.
  std::string name() const;

  static void destroy(Node* n);
};

/// The number of the next node made.
inline uint64_t next_sequence() {
  static constinit uint64_t n = 0;
  if (GRADUS_SINGLE_THREADED) return ++n;
  return __atomic_add_fetch(&n, 1, __ATOMIC_RELAXED);
}

/// A value that a node keeps for its backward; knows when it was overwritten since.
class SavedBase {
 public:
  SavedBase(Node* owner, const char* name) : owner_(owner), name_(name), next_(owner->saved) { owner->saved = this; }
  SavedBase(const SavedBase&) = delete;
  ~SavedBase() { release(); }
  const char* name() const { return name_; }
  const AnyTensor& peek() const { return value_; }  ///< without checks; for debuggers
  SavedBase* next() const { return next_; }
  uint32_t version() const { return version_; }     ///< of the storage when the value was saved
  void release() {
    if (!value_.defined()) return;
    detail::count_down(value_.impl()->storage->saved);
    value_ = {};
  }

 protected:
  void save(const AnyTensor& x) {
    release();
    if (!x.defined()) return;
    detail::count_up(x.impl()->storage->saved);
    version_ = x.version();
    if (x.grad_fn() == owner_) {  // an output: kept without its node, or the graph would own itself (I3)
      output_ = static_cast<int>(x.impl()->output);
      value_ = AnyTensor(detail::alias(x, x.shape(), x.strides(), 0));
    } else {
      value_ = x;
    }
  }
  void check() const {
    if (value_.defined() && value_.version() != version_) fail_overwritten();
    if (!value_.defined() && owner_->released) fail_released(*owner_);
  }
  AnyTensor reattach() const {
    if (output_ < 0 || !grad_enabled() || !value_.defined()) return value_;
    AnyTensor x(detail::alias(value_, value_.shape(), value_.strides(), 0));
    TensorImpl* t = x.impl();
    t->requires_grad = true, t->output = static_cast<uint32_t>(output_);
    t->grad_fn = Ref<Node>(owner_).release();
    return x;
  }
  [[noreturn]] void fail_overwritten() const;

 private:
  [[noreturn]] static void fail_released(const Node& n);
  friend class Engine;
  Node* owner_;
  const char* name_;
  SavedBase* next_;
  AnyTensor value_;
  uint32_t version_ = 0;
  int output_ = -1;
};

/// A saved Tensor<T, D>.
template <class T, class D> class Saved : public SavedBase {
 public:
  using SavedBase::SavedBase;
  Saved& operator=(const Tensor<T, D>& x) {
    save(x);
    return *this;
  }
  /// The value; an error if it was overwritten since it was saved, or freed by an earlier backward.
  Tensor<T, D> get() const {
    check();
    return Tensor<T, D>(reattach().ref());
  }
};

/// The end of a path: adds what arrives to a leaf's grad().
template <class T, class D> struct AccumulateNode final : Node {
  Tensor<T, D> leaf;
  explicit AccumulateNode(const Tensor<T, D>& x) : leaf(x) { x.impl()->accumulator = this; }
  ~AccumulateNode() override { leaf.impl()->accumulator = nullptr; }
  AnyTensor target() const override { return leaf; }
  void backward(const AnyTensor& g) override;
};

namespace detail {

[[noreturn]] void fail_stale_view(const AnyTensor& x, Where at);
/// An error if one of the nodes behind `from` keeps a value that a write to x would destroy, before it is destroyed. Looks at
/// the nearest nodes only: a value kept further away is noticed when it is used.
void check_not_saved(const char* op, const AnyTensor& x, Node* from, Where at);
[[noreturn]] void fail_gradient_shape(const Node& target, const AnyTensor& g, const Node& from);

/// A view whose base got another history since: edge_to() refuses it.
inline bool is_stale(const TensorImpl* t) { return t->base && t->base_history != t->base->history; }

/// Whether an op on these tensors is recorded. A stale view counts, even one taken before its base had a history.
inline bool tracked(const AnyTensor& x) { return x.requires_grad() || (x.defined() && is_stale(x.impl())); }
template <class... X> bool wants_grad(const X&... x) {
  return recording && (tracked(x) || ...);
}

template <class T, class D> Edge edge_to(const Tensor<T, D>& x, Where at) {
  TensorImpl* t = x.impl();
  if (t && is_stale(t)) fail_stale_view(x, at);
  if (!t || !t->requires_grad) return {};
  if (t->grad_fn) return {Ref<Node>(t->grad_fn), t->output};
  if (t->accumulator) return {Ref<Node>(t->accumulator), 0};
  auto* leaf = new AccumulateNode<T, D>(x);
  leaf->shape = t->shape, leaf->dtype = t->dtype, leaf->device = t->device;
  return {Ref<Node>::adopt(leaf), 0};
}

inline void set_history(const AnyTensor& y, Node* node, uint32_t output) {  // takes a new count on node
  TensorImpl* t = y.impl();
  const Ref<Node> old = Ref<Node>::adopt(t->grad_fn);
  t->grad_fn = Ref<Node>(node).release();
  t->output = output;
  t->requires_grad = true;
}

/// A result that an op made as a view of its own scratch memory is nobody's view.
inline void forget_base(TensorImpl* t) {
  const Ref<TensorImpl> base = Ref<TensorImpl>::adopt(std::exchange(t->base, nullptr));
  t->unrecorded_view = false;
}

template <class N, class Y, class... In> N* make_node(const Y& y, Where at, const In&... in) {
  auto* node = new N;
  Ref<Node> owner = Ref<Node>::adopt(node);  // memory may run out below
  int i = 0;
  ((node->first[i++] = edge_to(in, at)), ...);
  node->inputs_n = sizeof...(In);
  node->sequence = next_sequence();
  node->at = at;
  node->shape = y.shape(), node->dtype = y.dtype(), node->device = y.device();
  TensorImpl* t = y.impl();
  if (t->unrecorded_view) forget_base(t);
  t->grad_fn = owner.release();  // y is new: the count that `new` made is y's
  t->requires_grad = true;
  if (observer) [[unlikely]] {
    const AnyTensor* const inputs[] = {&in...};
    observe_recorded(*node, y, inputs, sizeof...(In));
  }
  return node;
}
/// Makes the node of an op: `y` is its result, `in` its inputs in the order that backward numbers them.
template <class N, class Y, class... In> N& record(const Y& y, Where at, const In&... in) {
  static_assert(sizeof...(In) <= Node::kInline, "gradus: more than three inputs: use record_list");
  if constexpr (!is_floating<typename Y::value_type>) __builtin_unreachable();  // integers never require gradients: no node is compiled
  else return *make_node<N>(y, at, in...);
}
/// The same for any number of inputs of one type.
template <class N, class Y, class T, class D> N& record_list(const Y& y, Where at, const std::vector<Tensor<T, D>>& in) {
  auto* node = new N;
  Ref<Node> owner = Ref<Node>::adopt(node);
  if (in.size() > Node::kInline) node->many.reset(new Edge[in.size()]);
  node->inputs_n = static_cast<uint16_t>(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) node->input(static_cast<int>(i)) = edge_to(in[i], at);
  node->sequence = next_sequence();
  node->at = at;
  node->shape = y.shape(), node->dtype = y.dtype(), node->device = y.device();
  if (y.impl()->unrecorded_view) forget_base(y.impl());
  y.impl()->grad_fn = owner.release();
  y.impl()->requires_grad = true;
  if (observer) [[unlikely]] {
    std::vector<const AnyTensor*> inputs;
    for (const auto& x : in) inputs.push_back(&x);
    observe_recorded(*node, y, inputs.data(), inputs.size());
  }
  return *node;
}
/// Further outputs of a node: y becomes output 1, 2, ...
inline void add_output(Node& node, const AnyTensor& y, uint32_t output) {
  if (!node.extra) node.extra.reset(new NodeExtra);
  if (node.extra->more_pending.size() < output) node.extra->more_pending.resize(output);
  set_history(y, &node, output);
}

/// a + b while a backward runs: in place when nothing else sees a's memory and nothing is recorded.
template <class T, class D> Tensor<T, D> add_gradients(AnyTensor& a, const Tensor<T, D>& b, Where at) {
  Tensor<T, D> x(a.ref());
  a = {};
  if (!recording && x.impl()->refs == 1 && x.impl()->storage->refs == 1 && x.is_contiguous()) return x += TensorArg<T, D>(b, at);
  return add(x, b, at);
}

}  // namespace detail

template <class T, class D> void Node::accumulate(int i, Tensor<T, D> g) {
  Edge& e = input(i);
  if (!e.node || !e.node->needed) return;
  if (e.output == 0 && !(g.shape() == e.node->shape)) detail::fail_gradient_shape(*e.node, g, *this);
  if (detail::observer) [[unlikely]] detail::observe_sent(*this, i, g);
  AnyTensor& slot = e.output == 0 ? e.node->pending : e.node->extra->more_pending[e.output - 1];
  if (!slot.defined()) slot = std::move(g);
  else slot = detail::add_gradients(slot, g, at);
}

template <class T, class D> void AccumulateNode<T, D>::backward(const AnyTensor& any) {
  Tensor<T, D> g(any.ref());
  if (const TensorExtra* e = leaf.impl()->extra)
    for (const auto& hook : e->hooks)
      if (AnyTensor h = hook(g); h.defined()) g = h.template as<T, D>();
  const Tensor<T, D> old = leaf.grad();
  if (old.defined()) {
    if (!grad_enabled() && !old.requires_grad() && old.shape() == g.shape()) {
      Tensor<T, D> target = old;
      target += g;
      return;
    }
    return leaf.set_grad(add(old, g, at));
  }
  // The engine's handle and this one: nobody else has it, so it can be kept; a shared one is copied.
  const bool ours = g.impl()->refs <= 2 && g.impl()->storage->refs == 1 && g.is_contiguous();
  leaf.set_grad(ours || grad_enabled() ? g : gradus::clone(g));
}

}  // namespace gradus
