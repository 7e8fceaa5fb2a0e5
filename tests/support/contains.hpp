// The string matcher under one name: `Contains` in Catch2 version 2, `ContainsSubstring` in version 3.
#pragma once
#include <string>

#include "support/catch.hpp"

inline auto contains(const std::string& part) {
#if __has_include(<catch2/catch_all.hpp>)
  return Catch::Matchers::ContainsSubstring(part);
#else
  return Catch::Matchers::Contains(part);
#endif
}
