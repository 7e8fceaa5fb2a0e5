// NumPy's .npy files (numpy.lib.format, versions 1 to 3): one array in a file.
//
//   6 bytes    0x93 "NUMPY"
//   2 bytes    version: 1.0, 2.0 or 3.0
//   2 or 4     n, little-endian: 2 bytes in version 1
//   n bytes    a Python literal: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, padded with blanks, newline
//   the rest   the elements
//
// Types that gradus has not come as the next wider one that holds every value: int8, int16, uint16 as int32, uint32 as int64;
// uint64 as int64, with an error for a value above 2^63 - 1. Big-endian files are turned round, Fortran order becomes
// row-major. NumPy has no bfloat16; its extension ml_dtypes stores it as two void bytes ('V2'), and so do we.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gradus/io/file.hpp>
#include <gradus/io/safetensors.hpp>
#include <gradus/tensor/tensor.hpp>

namespace gradus::io {

/// How write_npy and write_npz lay an array out.
struct NpyOptions {
  bool fortran_order = false;  ///< first dimension fastest, as MATLAB, R and Julia keep their arrays
};

namespace detail {

/// Where bytes came from, for error texts: a file, or a member of an archive.
struct NpySource {
  std::string op, file;
  Where at;
  [[noreturn]] void damaged(const std::string& problem, const std::string& expected, uint64_t offset, uint64_t size) const {
    fail(op, problem, {{"file", file}, {"offset", std::to_string(offset) + " of " + std::to_string(size)}}, expected, at);
  }
};

/// The header of an .npy file; every step is checked against the end.
class NpyHeader {
 public:
  NpyHeader(std::span<const uint8_t> bytes, const NpySource& source) : b_(bytes), source_(source) {
    constexpr std::string_view magic = "\x93NUMPY";
    for (; i_ < magic.size(); ++i_)
      if (i_ >= b_.size() || b_[i_] != static_cast<uint8_t>(magic[i_]))
        bad("this is not an .npy file", "the bytes 93 4e 55 4d 50 59");
    if (b_.size() < 8) bad("the file ends inside the version", "2 bytes");
    const int major = b_[6], minor = b_[7];
    if (major < 1 || major > 3 || minor != 0)
      bad("version " + std::to_string(major) + "." + std::to_string(minor) + " is not known", "1.0, 2.0 or 3.0");
    i_ = 8;
    const std::size_t width = major == 1 ? 2 : 4;
    if (b_.size() < 8 + width) bad("the file ends inside the header's length", std::to_string(width) + " bytes");
    uint64_t n = 0;
    for (std::size_t k = width; k-- > 0;) n = n << 8 | b_[8 + k];
    i_ = 8 + width;
    if (n > b_.size() - i_)
      bad("the header would have " + std::to_string(n) + " bytes", "at most " + std::to_string(b_.size() - i_) + " bytes");
    end_ = i_ + n;
    parse();
    data = end_;
  }

  char order = '<', kind = 'f';  ///< of the descr: '<', '>' or '|'; b i u f V
  std::size_t bytes = 4;         ///< of an element
  bool fortran_order = false;
  Shape shape;
  std::size_t data = 0;  ///< where the elements begin

 private:
  [[noreturn]] void bad(const std::string& problem, const std::string& expected) const {
    source_.damaged(problem, expected, i_, b_.size());
  }
  [[noreturn]] void wrong(const std::string& expected) const {
    const std::string got(reinterpret_cast<const char*>(b_.data()) + i_, std::min<std::size_t>(12, end_ - i_));
    bad("the header is damaged: got " + (got.empty() ? "its end" : "\"" + json_escape(got) + "\""), expected);
  }
  void space() {
    while (i_ < end_ && (b_[i_] == ' ' || b_[i_] == '\n' || b_[i_] == '\t')) ++i_;
  }
  bool take(std::string_view word) {
    space();
    if (end_ - i_ < word.size() || std::memcmp(b_.data() + i_, word.data(), word.size()) != 0) return false;
    i_ += word.size();
    return true;
  }
  void need(std::string_view word) {
    if (!take(word)) wrong("'" + std::string(word) + "'");
  }
  std::string quoted() {
    space();
    const uint8_t q = i_ < end_ ? b_[i_] : 0;
    if (q != '\'' && q != '"') wrong("a text in quotes");
    const std::size_t begin = ++i_;
    while (i_ < end_ && b_[i_] != q) ++i_;
    if (i_ >= end_) wrong("the end of a text in quotes");
    return std::string(reinterpret_cast<const char*>(b_.data()) + begin, i_++ - begin);
  }
  void parse() {
    bool have_descr = false, have_order = false, have_shape = false;
    need("{");
    while (!take("}")) {
      space();
      const std::size_t at = i_;
      const std::string key = quoted();
      need(":");
      if (key == "descr" && !have_descr) have_descr = true, descr();
      else if (key == "fortran_order" && !have_order) {
        have_order = true;
        if (take("True")) fortran_order = true;
        else if (!take("False")) wrong("True or False");
      } else if (key == "shape" && !have_shape) have_shape = true, extents();
      else i_ = at, wrong("each of 'descr', 'fortran_order' and 'shape' once");
      if (!take(",")) {
        need("}");
        break;
      }
    }
    space();
    if (i_ != end_) wrong("blanks to the end of the header");
    if (!have_descr || !have_order || !have_shape) wrong("each of 'descr', 'fortran_order' and 'shape' once");
  }
  void descr() {
    space();
    const std::size_t begin = i_;
    if (i_ < end_ && b_[i_] == '[') bad("the elements are records with named fields", "one plain number type");
    const std::string d = quoted();
    constexpr std::string_view known = "b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 V2 ";
    const bool ok = d.size() == 3 && std::string_view("<>|=").find(d[0]) != std::string_view::npos && d[1] != ' ' &&
                    d[2] != ' ' && known.find(d.substr(1)) != std::string_view::npos;
    if (!ok) {
      i_ = begin;
      bad("elements of type '" + json_escape(d) + "'",
          "b1, i1, i2, i4, i8, u1, u2, u4, u8, f2, f4, f8 or V2 (bfloat16) after <, > or |");
    }
    order = d[0] == '>' ? '>' : '<', kind = d[1], bytes = static_cast<std::size_t>(d[2] - '0');
  }
  void extents() {
    need("(");
    int64_t product = 1;
    while (!take(")")) {
      space();
      const std::size_t begin = i_;
      int64_t v = 0;
      while (i_ < end_ && b_[i_] >= '0' && b_[i_] <= '9')
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, b_[i_++] - '0', &v)) wrong("an extent below 2^62");
      if (i_ == begin) wrong("an extent");
      if (i_ < end_ && b_[i_] == 'L') ++i_;  // Python 2 wrote long integers so
      // Also of an empty array the strides have to fit.
      if (v > 0 && (__builtin_mul_overflow(product, v, &product) || product > (int64_t{1} << 58)))
        bad("the shape has too many elements", "fewer than 2^58");
      if (shape.n == kMaxRank) bad("too many dimensions", "at most " + std::to_string(kMaxRank));
      shape.v[shape.n++] = v;
      if (!take(",")) {
        need(")");
        break;
      }
    }
  }

  static constexpr int kMaxRank = 8;
  std::span<const uint8_t> b_;
  const NpySource& source_;
  std::size_t i_ = 0, end_ = 0;
};

/// Calls f(i, j) for each element: i its place in row-major, j its place in Fortran order.
template <class F>
void for_fortran(const Shape& shape, F&& f) {
  int64_t step[8] = {}, index[8] = {}, j = 0;
  for (int64_t d = 0, s = 1; d < shape.n; ++d) step[d] = s, s *= shape.v[d];
  for (int64_t i = 0, n = shape.numel(); i < n; ++i) {
    f(static_cast<std::size_t>(i), static_cast<std::size_t>(j));
    for (int d = shape.n - 1; d >= 0; --d) {
      j += step[d];
      if (++index[d] < shape.v[d]) break;
      j -= step[d] * shape.v[d];
      index[d] = 0;
    }
  }
}

inline AnyTensor parse_npy(std::span<const uint8_t> bytes, const NpySource& source) {
  const NpyHeader h(bytes, source);
  const auto n = static_cast<std::size_t>(h.shape.numel());
  if (const std::size_t have = bytes.size() - h.data; have != n * h.bytes)
    source.damaged("the elements take " + std::to_string(have) + " bytes",
                   std::to_string(n * h.bytes) + " bytes: shape " + h.shape.str() + ", " + std::to_string(h.bytes) + " each",
                   std::min(bytes.size(), h.data + n * h.bytes), bytes.size());
  const uint8_t* from = bytes.data() + h.data;
  const DType type = h.kind == 'b'                         ? DType::boolean
                     : h.kind == 'V'                       ? DType::bf16
                     : h.kind == 'f'                       ? (h.bytes == 2   ? DType::f16
                                                              : h.bytes == 4 ? DType::f32
                                                                             : DType::f64)
                     : h.kind == 'u' && h.bytes == 1       ? DType::u8
                     : h.bytes < (h.kind == 'u' ? 4u : 8u) ? DType::i32
                                                           : DType::i64;
  AnyTensor x = host_tensor(type, h.shape, source.at);
  auto* to = static_cast<uint8_t*>(x.impl()->data);
  const auto size = static_cast<std::size_t>(size_of(type));
  if (h.order == '<' && !h.fortran_order && size == h.bytes && h.kind != 'b' && !(h.kind == 'u' && size == 8)) {
    if (n) std::memcpy(to, from, n * size);
    return x;
  }
  const auto one = [&](std::size_t i, std::size_t j) {
    uint64_t v = 0;
    for (std::size_t k = 0; k < h.bytes; ++k)
      v |= uint64_t{from[j * h.bytes + (h.order == '>' ? h.bytes - 1 - k : k)]} << (8 * k);
    const auto offset = h.data + j * h.bytes;
    if (h.kind == 'b' && v > 1) source.damaged("a boolean is " + std::to_string(v), "0 or 1", offset, bytes.size());
    if (h.kind == 'u' && size == 8 && v > INT64_MAX)
      source.damaged("the uint64 " + std::to_string(v) + " does not fit into int64", "at most 2^63 - 1", offset, bytes.size());
    if (const unsigned unused = static_cast<unsigned>(64 - 8 * h.bytes); h.kind == 'i' && unused > 0)
      v = static_cast<uint64_t>(static_cast<int64_t>(v << unused) >> unused);
    std::memcpy(to + i * size, &v, size);
  };
  if (h.fortran_order) for_fortran(h.shape, one);
  else
    for (std::size_t i = 0; i < n; ++i) one(i, i);
  return x;
}

/// The bytes of an .npy file, which hold `x`; version 1.0, as 8 dimensions always fit.
inline std::vector<uint8_t> npy_bytes(const AnyTensor& x, const NpyOptions& o, const std::string& op, const std::string& file,
                                      Where at) {
  if (!x.defined() || x.device() != DeviceKind::cpu || !x.is_contiguous())
    fail(op, "cannot write this tensor", {{"file", file}, {"x", describe(x)}},
         "a contiguous tensor in host memory: x.contiguous()", at);
  constexpr const char* descr[] = {"<f4", "<f8", "<V2", "<f2", "<i8", "<i4", "|u1", "|b1"};
  std::string head = std::string("{'descr': '") + descr[static_cast<int>(x.dtype())] +
                     "', 'fortran_order': " + (o.fortran_order ? "True" : "False") + ", 'shape': (";
  for (int d = 0; d < x.rank(); ++d)
    head += std::to_string(x.shape()[d]) + (x.rank() == 1 ? "," : d + 1 < x.rank() ? ", " : "");
  head += "), }";
  head.append(63 - (10 + head.size()) % 64, ' ');  // elements begin at a multiple of 64
  head += '\n';
  std::vector<uint8_t> out{
      0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<uint8_t>(head.size()), static_cast<uint8_t>(head.size() >> 8)};
  out.insert(out.end(), head.begin(), head.end());
  const std::size_t begin = out.size(), size = static_cast<std::size_t>(size_of(x.dtype())),
                    n = static_cast<std::size_t>(x.numel());
  out.resize(begin + n * size);
  const auto* from = static_cast<const uint8_t*>(x.impl()->data);
  if (o.fortran_order)
    for_fortran(x.shape(), [&](std::size_t i, std::size_t j) { std::memcpy(&out[begin + j * size], from + i * size, size); });
  else if (n > 0) std::memcpy(&out[begin], from, n * size);
  return out;
}

}  // namespace detail

/// The array of an .npy file, row-major in host memory. A damaged file is an error that names file, offset and expectation.
inline AnyTensor read_npy(const std::filesystem::path& path, Where at = Where::current()) {
  const std::string s = read_text(path, at);
  return detail::parse_npy(std::span(reinterpret_cast<const uint8_t*>(s.data()), s.size()), {"read_npy", path.string(), at});
}
/// The same with its type; an error when the file has another one.
template <class T>
Tensor<T> read_npy(const std::filesystem::path& path, Where at = Where::current()) {
  return read_npy(path, at).template as<T, Cpu>(at);
}

/// Writes `x`, which has to be contiguous; bfloat16 as two void bytes, for `.view(ml_dtypes.bfloat16)` in Python.
inline void write_npy(const std::filesystem::path& path, const AnyTensor& x, const NpyOptions& o = {},
                      Where at = Where::current()) {
  write_atomically(path, detail::npy_bytes(x, o, "write_npy", path.string(), at), at);
}

}  // namespace gradus::io
