// Errors say what was given, what was expected, and where. Every message of the library is made here:
//
//   gradus: matmul(a, b): inner dimensions differ
//     a         float32 cpu [32, 128, 512]
//     b         float32 cpu [510, 2048]
//     expected  b.size(-2) == a.size(-1) == 512, got 510
//     at        train.cpp:61
#pragma once
#include <initializer_list>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>

#include <gradus/core/device.hpp>
#include <gradus/core/dtype.hpp>
#include <gradus/core/shape.hpp>

namespace gradus {

/// The caller's place in the source. Ops take it as a defaulted last argument.
using Where = std::source_location;

/// What the library throws. `what()` is the whole text, several lines.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One line of an error text: a label and what to say about it.
struct Fact {
  std::string label, text;
};

/// "float32 cpu [2, 3]"
std::string describe(DType t, DeviceKind d, const Shape& shape);
/// "train.cpp:61"
std::string describe(const Where& at);

/// Throws Error: `op: problem`, one line a fact, then `expected` (left out when empty) and `at`.
[[noreturn]] void fail(std::string_view op, std::string_view problem, std::initializer_list<Fact> facts, std::string_view expected,
                       const Where& at);
/// The same with a list made at run time.
[[noreturn]] void fail(std::string_view op, std::string_view problem, const Fact* facts, std::size_t n, std::string_view expected,
                       const Where& at);

/// The text after "in" in the `at` line: the path of the module that runs now, set by nn (a thread-local stack).
struct ModulePath {
  const char* name;
  const ModulePath* parent;
  explicit ModulePath(const char* name);
  ~ModulePath();
  ModulePath(const ModulePath&) = delete;
  static std::string current();
};

}  // namespace gradus

#ifdef GRADUS_HEADER_ONLY
#include <gradus/core/error_impl.hpp>
#endif
