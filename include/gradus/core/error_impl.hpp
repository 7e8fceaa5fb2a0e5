// Definitions of error.hpp; compiled once in cpu/gradus.cpp, or inline with GRADUS_HEADER_ONLY.
#pragma once
#include <gradus/core/error.hpp>

namespace gradus {

GRADUS_FUNC void Shape::too_long(std::size_t count) {
  fail("Shape", "too many dimensions", {{"given", std::to_string(count)}}, "at most 8", Where{});
}

GRADUS_FUNC std::string describe(DType t, DeviceKind d, const Shape& shape) {
  return std::string(name_of(t)) + " " + name_of(d) + " " + shape.str();
}

GRADUS_FUNC std::string describe(const Where& at) { return std::string(at.file_name()) + ":" + std::to_string(at.line()); }

GRADUS_FUNC void fail(std::string_view op, std::string_view problem, const Fact* facts, std::size_t n, std::string_view expected,
                      const Where& at) {
  std::string s = "gradus: ";
  s += op;
  s += ": ";
  s += problem;
  const auto line = [&s](std::string_view label, std::string_view text) {
    s += "\n  ";
    s += label;
    s.append(label.size() < 10 ? 10 - label.size() : 1, ' ');
    s += text;
  };
  for (std::size_t i = 0; i < n; ++i) line(facts[i].label, facts[i].text);
  if (!expected.empty()) line("expected", expected);
  if (at.line() != 0) {
    const std::string path = ModulePath::current();
    line("at", describe(at) + (path.empty() ? "" : ", in " + path));
  }
  throw Error(s);
}

GRADUS_FUNC void fail(std::string_view op, std::string_view problem, std::initializer_list<Fact> facts, std::string_view expected,
                      const Where& at) {
  fail(op, problem, facts.begin(), facts.size(), expected, at);
}

namespace detail {
inline thread_local const ModulePath* module_top = nullptr;
}
GRADUS_FUNC ModulePath::ModulePath(const char* name) : name(name), parent(detail::module_top) { detail::module_top = this; }
GRADUS_FUNC ModulePath::~ModulePath() { detail::module_top = parent; }
GRADUS_FUNC std::string ModulePath::current() {
  std::string s;
  for (const ModulePath* p = detail::module_top; p; p = p->parent) s = s.empty() ? p->name : p->name + ("." + s);
  return s;
}

}  // namespace gradus
