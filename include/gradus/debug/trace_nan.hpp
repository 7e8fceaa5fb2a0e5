// Finds the op that made the first NaN.
//
//   debug::TraceNan guard;                    // as long as it lives
//   auto loss = net.loss(x, y);               // stops at the first recorded op whose result has a NaN
//   loss.backward();                          // then at the first node that turns good gradients into bad ones
//
// Under a debugger it stops there (SIGTRAP; gdb.py selects your frame), otherwise it throws an Error that has the op, the ranges
// of its inputs, and your file and line. Ops that are not recorded are not watched; what they made is found at its first use.
#pragma once
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <gradus/debug/values.hpp>

namespace gradus::debug {

/// Whether a debugger is attached to this process (Linux; false elsewhere).
inline bool debugger_attached() {
#if defined(__linux__)
  if (FILE* f = std::fopen("/proc/self/status", "r")) {
    char line[256];
    long pid = 0;
    while (std::fgets(line, sizeof line, f))
      if (std::strncmp(line, "TracerPid:", 10) == 0) pid = std::strtol(line + 10, nullptr, 10);
    std::fclose(f);
    return pid != 0;
  }
#endif
  return false;
}

namespace detail {
#if defined(__clang__)
__attribute__((noinline))
#else
__attribute__((noipa))
#endif
inline void stop_at_bad_value() {  // gdb.py knows this name: it goes up from here to the user's frame
  std::raise(SIGTRAP);
  asm volatile("");  // no tail call: this frame has to be there for the debugger
}
}  // namespace detail

struct TraceNanOptions {
  bool infinity = false;  ///< infinities are bad too; off, since masks for attention are -infinity
  bool backward = true;   ///< watch the gradients
  bool trap = true;       ///< SIGTRAP when a debugger is attached; false: always throw
};

class TraceNan final : public Observer {
 public:
  explicit TraceNan(TraceNanOptions o = {}) : o_(o) {}

  void recorded(Node& node, const AnyTensor& y, std::span<const AnyTensor* const> inputs) override {
    if (done_) return;
    const Range made = Range::of(y);
    if (!bad(made)) return;
    bool given = false;
    std::vector<Fact> facts{{"result", about(y, made)}};
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Range r = Range::of(*inputs[i]);
      given |= bad(r);
      facts.push_back({"input " + std::to_string(i), about(*inputs[i], r)});
    }
    report("trace_nan, forward", node.name() + (given ? " was given a bad value" : " made the first bad value"), facts,
           given ? "finite inputs: they come from an op that was not recorded, or from the data" : "", node.at);
  }
  void before_backward(Node& node, std::span<const AnyTensor> dys) override {
    if (done_ || !o_.backward) return;
    for (const AnyTensor& dy : dys)
      if (const Range r = dy.defined() ? Range::of(dy) : Range(); bad(r))
        report("trace_nan, backward", node.name() + " was given a bad gradient", {{"dy", about(dy, r)}}, "a finite gradient", node.at);
    dys_.assign(dys.begin(), dys.end());
  }
  void sent(Node& node, int i, const AnyTensor& g) override {
    if (done_ || !o_.backward) return;
    const Range made = Range::of(g);
    if (!bad(made)) return;
    std::vector<Fact> facts{{"gradient", "of input " + std::to_string(i) + ", " + about(g, made)}};
    for (const AnyTensor& dy : dys_)
      if (dy.defined()) facts.push_back({"dy", about(dy, Range::of(dy))});
    for (const SavedBase* s = node.saved; s; s = s->next())
      if (s->peek().defined()) facts.push_back({"saved " + std::string(s->name()), about(s->peek(), Range::of(s->peek()))});
    report("trace_nan, backward", node.name() + " made the first bad gradient", facts, "", node.at);
  }
  void after_backward(Node&) override { dys_.clear(); }

 private:
  TraceNanOptions o_;
  bool done_ = false;
  std::vector<AnyTensor> dys_;

  bool bad(const Range& r) const { return r.nan || (o_.infinity && r.inf); }
  std::string about(const AnyTensor& x, const Range& r) const {
    std::string s = describe(x) + ": " + r.str();
    const int64_t first = r.nan ? r.first_nan : o_.infinity ? r.first_inf : -1;
    if (first >= 0) s += ", the first at " + index_of(first, x.shape());
    return s;
  }
  void report(const char* op, const std::string& problem, const std::vector<Fact>& facts, const std::string& expected, Where at) {
    done_ = true;  // what follows from it is not reported
    if (!o_.trap || !debugger_attached()) fail(op, problem, facts.data(), facts.size(), expected, at);
    try {
      fail(op, problem, facts.data(), facts.size(), expected, at);
    } catch (const Error& e) {
      std::fprintf(stderr, "%s\n", e.what());
    }
    detail::stop_at_bad_value();
  }
};

/// Runs f() under TraceNan and returns its result.
template <class F> decltype(auto) trace_nan(F&& f, TraceNanOptions o = {}) {
  const TraceNan guard(o);
  return std::forward<F>(f)();
}

}  // namespace gradus::debug
