// Which part of a batch is whose, where several processes share it.
#pragma once
#include <cstdint>
#include <string>

#include <gradus/core/error.hpp>

namespace gradus::data {

struct Part {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

/// Part `part` of 0 ... n - 1 in `parts` pieces that follow each other and differ by at most one in size.
inline Part part_of(int64_t n, int64_t part, int64_t parts, Where at = Where::current()) {
  if (n < 0 || parts < 1 || part < 0 || part >= parts)
    fail("part_of", "no such part",
         {{"n", std::to_string(n)}, {"part", std::to_string(part)}, {"parts", std::to_string(parts)}},
         "n >= 0, 0 <= part < parts", at);
  return {n * part / parts, n * (part + 1) / parts};
}

/// The part of a batch of n samples: none may be empty, or a process would have no gradient.
inline Part part_of_batch(const char* op, int64_t n, int64_t part, int64_t parts, Where at) {
  if (n < parts)
    fail(op, "a batch has fewer samples than there are parts",
         {{"samples", std::to_string(n)}, {"parts", std::to_string(parts)}}, "drop_last = true, or a batch that leaves more",
         at);
  return part_of(n, part, parts, at);
}

}  // namespace gradus::data
