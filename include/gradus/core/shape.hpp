// Run-time shapes, at most 8 dimensions, stored inline.
//
// Letters used for extents throughout: B batch, T time or tokens, C channels or features, H W height and width,
// nh heads, hs head size, V vocabulary or classes, N x C the rows view of [..., C]; M N K inside matmul only.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include <gradus/core/config.hpp>

namespace gradus {

inline constexpr int kMaxRank = 8;

// In code for AVX-512, GCC loads all eight under a mask and then says that those past n are not set.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
/// A short list of int64: the extents of a tensor, its strides, or a list of axes. A value type, no allocation.
struct Shape {
  int64_t v[kMaxRank];  // v[n...] is not set
  int n = 0;

  Shape() {}
  Shape(std::initializer_list<int64_t> l) : Shape(l.begin(), l.size()) {}
  Shape(std::span<const int64_t> l) : Shape(l.data(), l.size()) {}
  Shape(const std::vector<int64_t>& l) : Shape(l.data(), l.size()) {}
  Shape(const int64_t* p, std::size_t count) : n(static_cast<int>(count)) {
    if (count > kMaxRank) too_long(count);
    for (int i = 0; i < n; ++i) v[i] = p[i];
  }
  Shape(const Shape& o) : n(o.n) { copy(o); }
  Shape& operator=(const Shape& o) {
    n = o.n;
    copy(o);
    return *this;
  }

  int rank() const { return n; }
  int64_t operator[](int i) const { return v[i]; }
  int64_t& operator[](int i) { return v[i]; }
  const int64_t* begin() const { return v; }
  const int64_t* end() const { return v + n; }
  int64_t back() const { return v[n - 1]; }
  int64_t numel() const {
    int64_t p = 1;
    for (int i = 0; i < n; ++i) p *= v[i];
    return p;
  }
  void push_back(int64_t x) {
    if (n == kMaxRank) too_long(static_cast<std::size_t>(n) + 1);
    v[n++] = x;
  }
  void insert(int at, int64_t x) {
    push_back(x);
    for (int i = n - 1; i > at; --i) v[i] = v[i - 1];
    v[at] = x;
  }
  void erase(int at) {
    for (int i = at; i + 1 < n; ++i) v[i] = v[i + 1];
    --n;
  }
  bool contains(int64_t x) const {
    for (int i = 0; i < n; ++i)
      if (v[i] == x) return true;
    return false;
  }
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.n != b.n) return false;
    for (int i = 0; i < a.n; ++i)
      if (a.v[i] != b.v[i]) return false;
    return true;
  }
  std::string str() const;  ///< "[2, 3]"

 private:
  void copy(const Shape& o) {
    for (int i = 0; i < n; ++i) v[i] = o.v[i];
  }
  [[noreturn]] static void too_long(std::size_t count);
};
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

inline std::string Shape::str() const {
  std::string s = "[";
  for (int i = 0; i < n; ++i) {
    if (i) s += ", ";
    s += std::to_string(v[i]);
  }
  return s + "]";
}

}  // namespace gradus
