// What watches the recording of ops and the backward pass: recorders, profilers, checks for NaN (debug/).
//
// An observer is at work from its construction to its destruction, on the thread that made it. Without one, an op pays one
// comparison. Observers are not called for what they themselves compute, and see nothing recorded from it.
#pragma once
#include <cstdint>
#include <span>

#include <gradus/autograd/grad_mode.hpp>
#include <gradus/tensor/tensor.hpp>

namespace gradus {

class Observer;
namespace detail {
inline thread_local constinit Observer* observer = nullptr;  // the newest; it knows the one before
}

class Observer {
 public:
  Observer() : before_(detail::observer) { detail::observer = this; }
  Observer(const Observer&) = delete;
  virtual ~Observer() {
    for (Observer** o = &detail::observer; *o; o = &(*o)->before_)
      if (*o == this) {
        *o = before_;
        break;
      }
  }

  /// An op made `y`, its first result, and `node`. The node's saved members and further results follow after this call.
  virtual void recorded(Node& node, const AnyTensor& y, std::span<const AnyTensor* const> inputs) { (void)node, (void)y, (void)inputs; }
  /// A node is about to run with the gradients of its outputs (undefined for outputs that got none).
  virtual void before_backward(Node& node, std::span<const AnyTensor> dys) { (void)node, (void)dys; }
  /// It sends gradient g to its input i.
  virtual void sent(Node& node, int i, const AnyTensor& g) { (void)node, (void)i, (void)g; }
  /// It is done.
  virtual void after_backward(Node& node) { (void)node; }

  Observer* before() const { return before_; }

 private:
  Observer* before_;
};

/// What a debugger reads while a backward runs. debug/gdb.py knows this layout.
struct BackwardRun {
  Node* const* order = nullptr;    // the nodes of the run in the order of their visits
  uint64_t n = 0, i = 0;           // how many, and how many of them were reached
  const AnyTensor* dys = nullptr;  // the gradients of the outputs of order[i - 1]
  uint64_t dys_n = 0;
  BackwardRun* outer = nullptr;    // the run that this one is nested in
};

namespace detail {
void observe_recorded(Node& node, const AnyTensor& y, const AnyTensor* const* inputs, std::size_t n);
void observe_before(Node& node, const AnyTensor* dys, std::size_t n);
void observe_sent(Node& node, int i, const AnyTensor& g);
void observe_after(Node& node);
}  // namespace detail

}  // namespace gradus
