// A lambda of map() as a program: it is run on numbers that take notes. Where it compares, both ways are taken, one run a way,
// and a select step joins them; so branches on values work, but a loop whose end depends on a value does not end, which is an
// error.
#pragma once
#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gradus/core/error.hpp>
#include <gradus/kernels/map.hpp>

namespace gradus::detail {

/// The notes of one program: steps without repetition, and the comparisons of the run in progress.
struct MapTrace {
  using Key = std::tuple<kernels::MapOp, int, int, int, double>;
  std::vector<kernels::MapStep> steps;             // step i computes value i
  std::map<Key, int> known;
  std::vector<bool> way;                           // how the first comparisons of this run turn out
  std::vector<int> compared;                       // the value that each of them tests

  static MapTrace*& current() {
    static thread_local MapTrace* trace = nullptr;
    return trace;
  }
  int add(kernels::MapOp op, int a = 0, int b = 0, int c = 0, double number = 0) {
    const auto [it, is_new] = known.emplace(Key{op, a, b, c, number}, static_cast<int>(steps.size()));
    if (is_new) steps.push_back({op, static_cast<int32_t>(steps.size()), a, b, c, number});
    return it->second;
  }
  bool decide(kernels::MapOp op, int a, int b) {
    compared.push_back(add(op, a, b));
    const std::size_t i = compared.size() - 1;
    if (i >= 4096)
      fail("map", "the function compares without end", {{"comparisons", "4096"}},
           "loops whose length does not depend on an operand", Where{});
    return i < way.size() ? way[i] : true;
  }
};

/// A number that takes notes.
struct Traced {
  int id = 0;
  Traced() : Traced(0.0) {}
  template <class U>
    requires std::is_arithmetic_v<U>
  Traced(U x) : id(MapTrace::current()->add(kernels::MapOp::constant, 0, 0, 0, static_cast<double>(x))) {}
  static Traced of(kernels::MapOp op, int a, int b = 0, double number = 0) {
    Traced t(nullptr);
    t.id = MapTrace::current()->add(op, a, b, 0, number);
    return t;
  }
  Traced& operator+=(Traced b) { return *this = *this + b; }
  Traced& operator-=(Traced b) { return *this = *this - b; }
  Traced& operator*=(Traced b) { return *this = *this * b; }
  Traced& operator/=(Traced b) { return *this = *this / b; }
  // clang-format off
  friend Traced operator+(Traced a, Traced b) { return of(kernels::MapOp::add, a.id, b.id); }
  friend Traced operator-(Traced a, Traced b) { return of(kernels::MapOp::sub, a.id, b.id); }
  friend Traced operator*(Traced a, Traced b) { return of(kernels::MapOp::mul, a.id, b.id); }
  friend Traced operator/(Traced a, Traced b) { return of(kernels::MapOp::div, a.id, b.id); }
  friend Traced operator-(Traced a) { return of(kernels::MapOp::neg, a.id); }
  friend bool operator<(Traced a, Traced b) { return MapTrace::current()->decide(kernels::MapOp::less, a.id, b.id); }
  friend bool operator>(Traced a, Traced b) { return b < a; }
  friend bool operator<=(Traced a, Traced b) { return MapTrace::current()->decide(kernels::MapOp::less_equal, a.id, b.id); }
  friend bool operator>=(Traced a, Traced b) { return b <= a; }
  friend bool operator==(Traced a, Traced b) { return MapTrace::current()->decide(kernels::MapOp::equal, a.id, b.id); }
  friend Traced exp(Traced x) { return of(kernels::MapOp::exp, x.id); }
  friend Traced expm1(Traced x) { return of(kernels::MapOp::expm1, x.id); }
  friend Traced log(Traced x) { return of(kernels::MapOp::log, x.id); }
  friend Traced log1p(Traced x) { return of(kernels::MapOp::log1p, x.id); }
  friend Traced sqrt(Traced x) { return of(kernels::MapOp::sqrt, x.id); }
  friend Traced sin(Traced x) { return of(kernels::MapOp::sin, x.id); }
  friend Traced cos(Traced x) { return of(kernels::MapOp::cos, x.id); }
  friend Traced tanh(Traced x) { return of(kernels::MapOp::tanh, x.id); }
  friend Traced sigmoid(Traced x) { return of(kernels::MapOp::sigmoid, x.id); }
  friend Traced softplus(Traced x) { return of(kernels::MapOp::softplus, x.id); }
  friend Traced erf(Traced x) { return of(kernels::MapOp::erf, x.id); }
  friend Traced abs(Traced x) { return of(kernels::MapOp::abs, x.id); }
  friend Traced relu(Traced x) { return of(kernels::MapOp::relu, x.id); }
  friend Traced pow(Traced x, double e) { return of(kernels::MapOp::pow, x.id, 0, e); }
  // clang-format on

 private:
  explicit Traced(std::nullptr_t) {}
};

/// The program of f(inputs...): `call` runs f once and returns the result's value number.
template <class Call> std::vector<kernels::MapStep> trace_program(Call call, Where at) {
  MapTrace trace;
  MapTrace* const before = std::exchange(MapTrace::current(), &trace);
  struct Restore {
    MapTrace* before;
    ~Restore() { MapTrace::current() = before; }
  } restore{before};
  int runs = 0;
  const auto explore = [&](const auto& self, const std::vector<bool>& way) -> int {
    if (++runs > 1024)
      fail("map", "the function branches too often", {{"ways", "more than 1024"}}, "fewer comparisons one after the other", at);
    trace.way = way;
    trace.compared.clear();
    const int result = call();
    if (trace.compared.size() <= way.size()) return result;
    const int condition = trace.compared[way.size()];
    std::vector<bool> next = way;
    next.push_back(true);
    const int yes = self(self, next);
    next.back() = false;
    const int no = self(self, next);
    return yes == no ? yes : trace.add(kernels::MapOp::select, condition, yes, no);
  };
  const int result = explore(explore, {});

  // What the result needs, in order, with registers that are free again after the last use.
  const auto uses = [&](const kernels::MapStep& s) {
    using enum kernels::MapOp;
    if (s.op == input || s.op == constant) return 0;
    return s.op == select ? 3
           : s.op == add || s.op == sub || s.op == mul || s.op == div || s.op == less || s.op == less_equal || s.op == equal
               ? 2
               : 1;
  };
  const auto operand = [](const kernels::MapStep& s, int k) {
    return static_cast<std::size_t>(k == 0 ? s.a : k == 1 ? s.b : s.c);
  };
  const auto n = static_cast<std::size_t>(result) + 1;
  std::vector<std::size_t> last(n, 0);
  std::vector<bool> needed(n, false);
  needed[n - 1] = true;
  for (std::size_t i = n; i-- > 0;)
    if (needed[i])
      for (int k = 0; k < uses(trace.steps[i]); ++k) {
        const std::size_t from = operand(trace.steps[i], k);
        if (!needed[from]) last[from] = i;
        needed[from] = true;
      }
  std::vector<kernels::MapStep> program;
  std::vector<int32_t> at_register(n, 0), idle;
  int32_t used = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (!needed[i]) continue;
    kernels::MapStep s = trace.steps[i];
    std::vector<std::size_t> ends;
    for (int k = 0; k < uses(trace.steps[i]); ++k) {
      const std::size_t from = operand(trace.steps[i], k);
      (k == 0 ? s.a : k == 1 ? s.b : s.c) = at_register[from];
      if (last[from] == i && std::find(ends.begin(), ends.end(), from) == ends.end()) ends.push_back(from);
    }
    for (const std::size_t e : ends) idle.push_back(at_register[e]);
    if (idle.empty()) idle.push_back(used++);
    s.to = at_register[i] = idle.back();
    idle.pop_back();
    program.push_back(s);
  }
  if (used > kernels::kMapRegisters)
    fail("map", "the function keeps too many values at once", {{"values", std::to_string(used)}},
         "at most " + std::to_string(kernels::kMapRegisters), at);
  return program;
}

}  // namespace gradus::detail
