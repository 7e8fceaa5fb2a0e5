// Whether ops record what they do.
#pragma once
#include <utility>

namespace gradus {

namespace detail {
inline thread_local constinit bool recording = true;
}

/// True while ops on tensors that require gradients are recorded (per thread; on at first).
inline bool grad_enabled() { return detail::recording; }

/// Switches recording for a scope: `NoGrad guard;` or `GradMode guard(true);`
class GradMode {
 public:
  explicit GradMode(bool on) : before_(std::exchange(detail::recording, on)) {}
  ~GradMode() { detail::recording = before_; }
  GradMode(const GradMode&) = delete;

 private:
  bool before_;
};
struct NoGrad : GradMode {
  NoGrad() : GradMode(false) {}
};

/// Runs f() without recording and returns its result.
template <class F> decltype(auto) no_grad(F&& f) {
  const NoGrad guard;
  return std::forward<F>(f)();
}

}  // namespace gradus
