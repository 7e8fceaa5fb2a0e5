// Catch2, version 2 (Debian 12: one header) or version 3 (several). Tests include this file, never Catch2's own.
#pragma once
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>

#include <string>
using Catch::Approx;
namespace Catch {   // version 2's name
inline Matchers::StringContainsMatcher Contains(const std::string& part) { return Matchers::ContainsSubstring(part); }
}  // namespace Catch
#else
#include <catch2/catch.hpp>
#endif
