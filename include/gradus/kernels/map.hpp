// The contract for element-wise programs: what map() runs on a device, whose kernels cannot be made of a lambda that the host's
// compiler compiled. A program is a list of steps over registers, made by running the lambda once on numbers that take notes.
#pragma once
#include <cmath>
#include <cstdint>

#include <gradus/core/dtype.hpp>
#include <gradus/core/math.hpp>
#include <gradus/kernels/loop.hpp>

namespace gradus::kernels {

enum class MapOp : int32_t {
  input,
  constant,
  add,
  sub,
  mul,
  div,
  neg,
  exp,
  expm1,
  log,
  log1p,
  sqrt,
  sin,
  cos,
  tanh,
  sigmoid,
  softplus,
  erf,
  abs,
  relu,
  pow,
  less,
  less_equal,
  equal,
  select
};
/// r[to] = op(r[a], r[b], r[c]); input: element of operand a; constant, and the exponent of pow: `number`; comparisons give 1
/// or 0.
struct MapStep {
  MapOp op;
  int32_t to = 0, a = 0, b = 0, c = 0;
  double number = 0;
};
inline constexpr int kMapOperands = 6, kMapRegisters = 64;

/// The value of the last step, for one element; input(k) is operand k's.
template <class A, class Input> GRADUS_HD A run_steps(const MapStep* steps, int64_t length, Input input) {
  A r[kMapRegisters], last = A(0);
  for (int64_t i = 0; i < length; ++i) {
    const MapStep s = steps[i];
    const A x = s.op == MapOp::input || s.op == MapOp::constant ? A(0) : r[s.a];
    switch (s.op) {
      case MapOp::input: last = input(s.a); break;
      case MapOp::constant: last = static_cast<A>(s.number); break;
      case MapOp::add: last = x + r[s.b]; break;
      case MapOp::sub: last = x - r[s.b]; break;
      case MapOp::mul: last = x * r[s.b]; break;
      case MapOp::div: last = x / r[s.b]; break;
      case MapOp::neg: last = -x; break;
      case MapOp::exp: last = m::exp(x); break;
      case MapOp::expm1: last = m::expm1(x); break;
      case MapOp::log: last = m::log(x); break;
      case MapOp::log1p: last = m::log1p(x); break;
      case MapOp::sqrt: last = std::sqrt(x); break;
      case MapOp::sin: last = m::sin(x); break;
      case MapOp::cos: last = m::cos(x); break;
      case MapOp::tanh: last = m::tanh(x); break;
      case MapOp::sigmoid: last = m::sigmoid(x); break;
      case MapOp::softplus: last = m::softplus(x); break;
      case MapOp::erf: last = m::erf(x); break;
      case MapOp::abs: last = x < A(0) ? -x : x; break;
      case MapOp::relu: last = x > A(0) ? x : A(0); break;
      case MapOp::pow: last = std::pow(x, static_cast<A>(s.number)); break;
      case MapOp::less: last = x < r[s.b] ? A(1) : A(0); break;
      case MapOp::less_equal: last = x <= r[s.b] ? A(1) : A(0); break;
      case MapOp::equal: last = x == r[s.b] ? A(1) : A(0); break;
      case MapOp::select: last = x != A(0) ? r[s.b] : r[s.c]; break;
    }
    r[s.to] = last;
  }
  return last;
}

/// y = the program over `operands` arrays x (a list on the host); loop operand 0 is y, operand 1 + k is x[k], the others
/// unused.
template <class T> void map_program(Cpu, const MapStep* steps, int64_t length, const T* const* x, int operands, T* y,
                                    const Loop<1 + kMapOperands>& loop);
template <class T> void map_program(Cuda, const MapStep* steps, int64_t length, const T* const* x, int operands, T* y,
                                    const Loop<1 + kMapOperands>& loop);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include "../../../cpu/map.cpp"
#endif
