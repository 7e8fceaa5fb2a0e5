// Definitions of node.hpp and engine.hpp; compiled once in cpu/gradus.cpp, or inline with GRADUS_HEADER_ONLY.
#pragma once
#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <typeinfo>
#include <unordered_set>

#include <gradus/autograd/engine.hpp>

namespace gradus {

GRADUS_FUNC void TensorImpl::destroy(TensorImpl* t) {
  if (t->storage && detail::count_down(t->storage->refs)) Storage::destroy(t->storage);
  if (t->grad_fn && detail::count_down(t->grad_fn->refs)) Node::destroy(t->grad_fn);
  if (t->grad && detail::count_down(t->grad->refs)) destroy(t->grad);
  if (t->base && detail::count_down(t->base->refs)) destroy(t->base);
  delete t->extra;
  t->magic = 0;
  detail::pool_free(t, sizeof(TensorImpl));
}

// A node's members release the nodes before it, which would recurse through the whole graph: they queue up instead (I4).
GRADUS_FUNC void Node::destroy(Node* n) {
  static thread_local constinit Node* queue = nullptr;
  static thread_local constinit bool running = false;
  n->next_dead = queue;
  queue = n;
  if (running) return;
  running = true;
  while (queue) {
    Node* dead = queue;
    queue = dead->next_dead;
    delete dead;
  }
  running = false;
}

GRADUS_FUNC std::string Node::name() const {
  int status = 0;
  char* text = abi::__cxa_demangle(typeid(*this).name(), nullptr, nullptr, &status);
  std::string s = text ? text : typeid(*this).name();
  std::free(text);
  // gradus::UnaryNode<gradus::kernels::Exp, float, gradus::Cpu> -> UnaryNode<Exp>; gradus::MulNode<float, gradus::Cpu> -> MulNode
  const auto cut = s.find('<');
  std::string head = s.substr(0, cut), tail = cut == std::string::npos ? "" : s.substr(cut + 1);
  if (const auto colon = head.rfind("::"); colon != std::string::npos) head = head.substr(colon + 2);
  if (tail.starts_with("gradus::kernels::")) {
    tail = tail.substr(17);
    return head + "<" + tail.substr(0, tail.find_first_of(",<>")) + ">";
  }
  return head;
}

GRADUS_FUNC void SavedBase::fail_overwritten() const {
  const Storage* s = value_.impl()->storage;
  fail(owner_->name() + "::backward", "a saved value was overwritten",
       {{"saved", std::string(name_) + " " + describe(value_) + ", version " + std::to_string(version_)},
        {"written", describe(s->writer) + ", version " + std::to_string(s->version)}},
       "the values as they were when the op ran: write into a clone(), or after backward()", owner_->at);
}
GRADUS_FUNC void SavedBase::fail_released(const Node& n) {
  fail("backward", "second backward through a freed graph",
       {{"node", n.name() + " " + describe(n.dtype, n.device, n.shape)}},
       "retain_graph = true in the first backward, or a new forward pass", n.at);
}

namespace detail {

GRADUS_FUNC void fail_stale_view(const AnyTensor& x, Where at) {
  fail("use of a view", "its base was written in place after the view was taken",
       {{"view", describe(x)}, {"written", describe(x.impl()->storage->writer)}}, "take the view again after the write", at);
}
GRADUS_FUNC void check_not_saved(const char* op, const AnyTensor& x, Node* from, Where at) {
  constexpr std::size_t kNearest = 64;
  std::vector<Node*> seen;
  const auto reach = [&](Node* n) {
    if (n && n->sequence != 0 && seen.size() < kNearest && std::find(seen.begin(), seen.end(), n) == seen.end()) seen.push_back(n);
  };
  reach(from);
  for (std::size_t i = 0; i < seen.size(); ++i) {
    for (const SavedBase* s = seen[i]->saved; s; s = s->next())
      if (s->peek().defined() && s->peek().shares_storage(x) && s->version() == x.version())
        fail(op, "the write would destroy a value that the backward of its own history needs",
             {{"x", describe(x)}, {"saved", std::string(s->name()) + " " + describe(s->peek())}, {"by", seen[i]->name() + " made at " + describe(seen[i]->at)}},
             "the op that is not in place, or a write into a clone()", at);
    for (int k = 0; k < seen[i]->inputs_n; ++k) reach(seen[i]->input(k).node.get());
  }
}
GRADUS_FUNC void fail_gradient_shape(const Node& target, const AnyTensor& g, const Node& from) {
  fail(from.name() + "::backward", "gradient of the wrong shape",
       {{"gradient", describe(g)}, {"for", target.name() + " made at " + describe(target.at)}},
       "the shape of the input, " + target.shape.str(), from.at);
}
GRADUS_FUNC void fail_no_graph(const char* op, const AnyTensor& y, Where at) {
  fail(op, "this tensor does not require gradients", {{"y", describe(y)}},
       "a result computed, with recording on, from a tensor on which requires_grad_() was called", at);
}
GRADUS_FUNC void fail_not_scalar(const char* op, const AnyTensor& y, Where at) {
  fail(op, "the output has more than one element", {{"y", describe(y)}},
       "one element (take sum() or mean()), or a gradient of shape " + y.shape().str(), at);
}
GRADUS_FUNC void fail_unreached(std::size_t i, const AnyTensor& x, Where at) {
  fail("grad", "the outputs do not depend on input " + std::to_string(i), {{"input", describe(x)}},
       "an input that the outputs were computed from, or allow_unused = true", at);
}
GRADUS_FUNC void check_gradient(const char* op, const AnyTensor& y, const AnyTensor& g, Where at) {
  if (g.shape() != y.shape() || g.dtype() != y.dtype() || g.device() != y.device())
    fail(op, "the gradient does not match the output", {{"y", describe(y)}, {"gradient", describe(g)}},
         "a gradient of the output's dtype, device and shape", at);
}

/// Calls each observer; what they compute is neither recorded nor observed.
template <class F> void each_observer(F f) {
  const GradMode off(false);
  Observer* const newest = std::exchange(observer, nullptr);
  struct Restore {
    Observer* o;
    ~Restore() { observer = o; }
  } restore{newest};
  for (Observer* o = newest; o; o = o->before()) f(*o);
}
GRADUS_FUNC void observe_recorded(Node& node, const AnyTensor& y, const AnyTensor* const* inputs, std::size_t n) {
  each_observer([&](Observer& o) { o.recorded(node, y, {inputs, n}); });
}
GRADUS_FUNC void observe_before(Node& node, const AnyTensor* dys, std::size_t n) {
  each_observer([&](Observer& o) { o.before_backward(node, {dys, n}); });
}
GRADUS_FUNC void observe_sent(Node& node, int i, const AnyTensor& g) {
  each_observer([&](Observer& o) { o.sent(node, i, g); });
}
GRADUS_FUNC void observe_after(Node& node) {
  each_observer([&](Observer& o) { o.after_backward(node); });
}

}  // namespace detail

}  // namespace gradus

// For debuggers, at every optimisation level: the run in progress (of the last thread that began one), and a function that is
// called before each node runs.
extern "C" {
GRADUS_FUNC gradus::BackwardRun* gradus_backward_run = nullptr;  // node order[i - 1] runs now
#if defined(__clang__)
__attribute__((noinline))
#else
__attribute__((noipa))
#endif
GRADUS_FUNC void gradus_next_node(const gradus::BackwardRun* run) {
  asm volatile("" : : "r"(run) : "memory");
}
}

namespace gradus {

/// Walks the graph; a class so that it may free what nodes saved.
class Engine {
 public:
  static std::vector<AnyTensor> run(const std::vector<Edge>& roots, const std::vector<AnyTensor>& gradients,
                                    const std::vector<Edge>& targets, bool create_graph, bool retain_graph) {
    Engine e;
    e.collect(roots);
    if (e.run_.outer) e.set_aside();
    if (!targets.empty()) e.select(targets);
    for (const Node* n : e.order_)
      if (n->needed && n->released && n->inputs_n) SavedBase::fail_released(*n);
    const GradMode mode(create_graph);
    for (std::size_t i = 0; i < roots.size(); ++i) {
      AnyTensor& slot = pending(*roots[i].node, roots[i].output);
      if (slot.defined())
        fail("grad", "the same output twice", {{"output", describe(gradients[i])}}, "each output once", roots[i].node->at);
      slot = gradients[i];
    }
    std::vector<AnyTensor> found(targets.size());
    std::vector<AnyTensor> dys;
    e.run_.order = e.order_.data(), e.run_.n = e.order_.size();
    for (Node* node : e.order_) {
      ++e.run_.i;
      if (!node->needed) continue;
      run_hooks(*node);
      for (std::size_t i = 0; i < targets.size(); ++i)
        if (targets[i].node.get() == node) found[i] = pending(*node, targets[i].output);
      const bool ends_here = node->sequence == 0 ? !targets.empty() : !wants_any(*node);
      if (ends_here) {
        clear(*node);
      } else if (node->extra && !node->extra->more_pending.empty()) {
        dys.assign(1, std::move(node->pending));
        node->pending = {};
        bool any = dys[0].defined();
        for (AnyTensor& p : node->extra->more_pending) any |= p.defined(), dys.push_back(std::move(p)), p = {};
        if (any) {
          e.begin(*node, dys.data(), dys.size());
          node->backward_all(dys);
          end(*node);
        }
        dys.clear();
      } else if (node->pending.defined()) {
        const AnyTensor dy = std::move(node->pending);
        node->pending = {};
        e.begin(*node, &dy, 1);
        node->backward(dy);                          // the one call site: break here to walk the graph (I4)
        end(*node);
      }
      if (!retain_graph && node->saved) {
        for (SavedBase* s = node->saved; s; s = s->next()) s->release();
        node->released = true;
      }
    }
    return found;
  }

 private:
  std::vector<Node*> order_;
  struct Aside {
    Node* node;
    bool needed;
    AnyTensor pending;
    std::vector<AnyTensor> more;
  };
  std::vector<Aside> aside_;                         // the state of nodes that a run around this one is not done with
  BackwardRun run_;                                  // for debuggers
  static inline thread_local constinit BackwardRun* innermost_ = nullptr;
  Engine() {
    run_.outer = std::exchange(innermost_, &run_);
    __atomic_store_n(&gradus_backward_run, &run_, __ATOMIC_RELAXED);
  }
  ~Engine() {                                        // after an error nothing may be left waiting
    for (Node* n : order_) clear(*n), n->needed = true;
    for (Aside& a : aside_) {
      a.node->needed = a.needed, a.node->pending = std::move(a.pending);
      if (a.node->extra) a.node->extra->more_pending = std::move(a.more);
    }
    innermost_ = run_.outer;
    if (__atomic_load_n(&gradus_backward_run, __ATOMIC_RELAXED) == &run_)
      __atomic_store_n(&gradus_backward_run, run_.outer, __ATOMIC_RELAXED);
  }
  void begin(Node& node, const AnyTensor* dys, std::size_t n) {
    run_.dys = dys, run_.dys_n = n;
    gradus_next_node(&run_);
    if (detail::observer) [[unlikely]] detail::observe_before(node, dys, n);
  }
  static void end(Node& node) {
    if (detail::observer) [[unlikely]] detail::observe_after(node);
  }
  static AnyTensor& pending(Node& n, uint32_t output) { return output == 0 ? n.pending : n.extra->more_pending[output - 1]; }
  static void clear(Node& n) {
    n.pending = {};
    if (n.extra)
      for (AnyTensor& p : n.extra->more_pending) p = {};
  }
  static bool wants_any(const Node& n) {
    for (int i = 0; i < n.inputs_n; ++i)
      if (n.wants(i)) return true;
    return false;
  }
  static void run_hooks(Node& n) {
    if (!n.extra) return;
    for (std::size_t i = 0; i < n.extra->hooks.size(); ++i) {
      const auto [output, hook] = n.extra->hooks[i];
      AnyTensor& g = pending(n, output);
      if (!g.defined()) continue;
      if (AnyTensor changed = hook(g); changed.defined()) g = changed;
    }
  }
  /// Gradients that wait at these nodes belong to the run whose backward began this one (a recorded backward that
  /// differentiates a formula): they are put back at the end, and take no part here.
  void set_aside() {
    for (Node* n : order_) {
      aside_.push_back({n, n->needed, std::move(n->pending), {}});
      if (n->extra) aside_.back().more = n->extra->more_pending;
      clear(*n), n->needed = true;
    }
  }
  /// All nodes behind the roots, later ones first, accumulators last.
  void collect(const std::vector<Edge>& roots) {
    static std::atomic<uint64_t> runs{0};
    const uint64_t run = ++runs;
    std::vector<Node*> ends;
    const auto reach = [&](Node* n) {
      if (!n || n->run == run) return;
      n->run = run;
      (n->sequence == 0 ? ends : order_).push_back(n);
    };
    for (const Edge& e : roots) reach(e.node.get());
    bool sorted = true;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      Node* n = order_[i];
      sorted &= i == 0 || order_[i - 1]->sequence > n->sequence;
      for (int k = 0; k < n->inputs_n; ++k) reach(n->input(k).node.get());
    }
    if (!sorted) std::sort(order_.begin(), order_.end(), [](Node* a, Node* b) { return a->sequence > b->sequence; });
    order_.insert(order_.end(), ends.begin(), ends.end());
  }
  /// Keeps only what lies between the roots and the targets.
  void select(const std::vector<Edge>& targets) {
    for (Node* n : order_) n->needed = false;
    for (const Edge& t : targets)
      if (t.node) t.node->needed = true;
    for (auto it = order_.rbegin(); it != order_.rend(); ++it)
      (*it)->needed |= wants_any(**it);
  }
};

GRADUS_FUNC std::vector<AnyTensor> detail::run_backward(const std::vector<Edge>& roots, const std::vector<AnyTensor>& gradients,
                                                        const std::vector<Edge>& targets, bool create_graph, bool retain_graph,
                                                        Where) {
  return Engine::run(roots, gradients, targets, create_graph, retain_graph);
}

GRADUS_FUNC void check_reached(const AnyTensor& loss, const std::vector<AnyTensor>& parameters, Where at) {
  if (!loss.requires_grad()) detail::fail_no_graph("check_reached", loss, at);
  std::unordered_set<const Node*> seen;
  std::vector<Node*> list;
  const auto reach = [&](Node* n) {
    if (n && seen.insert(n).second) list.push_back(n);
  };
  reach(loss.grad_fn());
  for (std::size_t i = 0; i < list.size(); ++i)
    for (int k = 0; k < list[i]->inputs_n; ++k) reach(list[i]->input(k).node.get());
  std::vector<Fact> facts{{"loss", describe(loss)}};
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const AnyTensor& p = parameters[i];
    const bool same = p.defined() && p.is_same(loss);
    if (same || (p.requires_grad() && seen.count(p.grad_fn() ? p.grad_fn() : p.impl()->accumulator))) continue;
    const char* why = !p.defined() ? "" : !p.requires_grad() ? ": does not require gradients"
                      : p.impl()->accumulator ? ": used, but not on the way to the loss" : ": no recorded op uses it";
    facts.push_back({"parameter " + std::to_string(i), describe(p) + why});
  }
  if (facts.size() > 1)
    fail("check_reached", "the loss does not depend on " + std::to_string(facts.size() - 1) + " of " + std::to_string(parameters.size()) + " parameters",
         facts.data(), facts.size(), "parameters that the loss was computed from, without detach(), NoGrad or an operator without a gradient in between", at);
}

}  // namespace gradus
