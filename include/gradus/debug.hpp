// Looking into a step: NaN, missing gradients, where time and memory go, two runs compared, a page that walks through it all.
//
//   debug::TraceNan guard;                                         // stops at the op that makes the first NaN
//   debug::explain(loss, net).str();                               // parameters without gradient, and where the path ends
//   debug::record([&] { return net.loss(x); }, "step.html");       // a page that walks through forward and backward
//   debug::write_graph(loss, "graph.svg");
//   debug::summary(net, x);                                        // shapes, parameters, operations, memory, time
//   debug::Profiler, debug::MemoryTimeline, debug::compare
//
// For gdb and lldb: debug/gdb.hpp, debug/gdb.py, debug/lldb_printers.py.
#pragma once
#include <gradus/debug/compare.hpp>
#include <gradus/debug/explain.hpp>
#include <gradus/debug/gradcheck.hpp>
#include <gradus/debug/graph.hpp>
#include <gradus/debug/memory.hpp>
#include <gradus/debug/profile.hpp>
#include <gradus/debug/record.hpp>
#include <gradus/debug/summary.hpp>
#include <gradus/debug/trace_nan.hpp>
