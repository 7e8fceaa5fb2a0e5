// GGUF files, versions 2 and 3 (github.com/ggml-org/ggml, docs/gguf.md): metadata and quantised tensors of one model.
//
//   "GGUF", uint32 version, uint64 tensors, uint64 entries          all little-endian
//   entries    key, uint32 type, value;  a text is uint64 n and n bytes, an array uint32 type, uint64 n and n values
//   infos      name, uint32 rank, uint64 extents (fastest first), uint32 type, uint64 offset
//   padding    to a multiple of "general.alignment" (32 when absent); offsets of tensors count from there
//
// The file is mapped, not read: opening costs the header, a tensor costs what it holds. Every count is held against the bytes
// that are there before memory is asked for.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <sys/mman.h>
#include <sys/stat.h>

#include <gradus/io/file.hpp>
#include <gradus/io/json.hpp>
#include <gradus/tensor/tensor.hpp>

namespace gradus::io {

/// A value of the metadata. Integers of all widths are int64 or, unsigned, uint64; float32 is double.
struct GgufValue {
  std::variant<bool, uint64_t, int64_t, double, std::string, std::vector<bool>, std::vector<uint64_t>, std::vector<int64_t>,
               std::vector<double>, std::vector<std::string>, std::vector<GgufValue>>
      value;
};

namespace detail {

struct GgufType {
  uint32_t id;
  std::string_view name;
  uint32_t block, bytes;  ///< elements of a block, and its size in the file
};
inline const GgufType* gguf_type(uint32_t id) {
  static constexpr GgufType types[] = {
      {0, "F32", 1, 4},       {1, "F16", 1, 2},       {2, "Q4_0", 32, 18},   {3, "Q4_1", 32, 20},    {6, "Q5_0", 32, 22},
      {7, "Q5_1", 32, 24},    {8, "Q8_0", 32, 34},    {10, "Q2_K", 256, 84}, {11, "Q3_K", 256, 110}, {12, "Q4_K", 256, 144},
      {13, "Q5_K", 256, 176}, {14, "Q6_K", 256, 210}, {24, "I8", 1, 1},      {25, "I16", 1, 2},      {26, "I32", 1, 4},
      {27, "I64", 1, 8},      {28, "F64", 1, 8},      {30, "BF16", 1, 2}};
  for (const auto& t : types)
    if (t.id == id) return &t;
  return nullptr;
}

inline float gguf_half(const uint8_t* p) {
  half h;
  std::memcpy(&h.bits, p, 2);
  return h;
}
/// The 6-bit scale and minimum j of Q4_K's eight: twelve bytes hold both, the high bits of the last four in the first eight.
inline std::pair<int, int> q4_k_scale(const uint8_t* s, int j) {
  if (j < 4) return {s[j] & 63, s[j + 4] & 63};
  return {(s[j + 4] & 15) | (s[j - 4] >> 6) << 4, s[j + 4] >> 4 | (s[j] >> 6) << 4};
}
/// The 6-bit scale k of Q3_K's sixteen, less 32: low four bits in eight bytes, high two in the last four.
inline int q3_k_scale(const uint8_t* s, int k) {
  return ((k < 8 ? s[k] & 15 : s[k - 8] >> 4) | (s[8 + k % 4] >> (2 * (k / 4)) & 3) << 4) - 32;
}
/// One block of `type` at p to floats at y; false for a type that is not dequantised here.
inline bool dequantise(uint32_t type, const uint8_t* p, float* y) {
  switch (type) {
    case 0:
      std::memcpy(y, p, 4);
      return true;
    case 1:
      *y = gguf_half(p);
      return true;
    case 30: {
      bf16 b;
      std::memcpy(&b.bits, p, 2);
      *y = b;
      return true;
    }
    case 2:    // d, 16 bytes: elements 0-15 in the low nibbles, 16-31 in the high ones
    case 3: {  // d, m, 16 bytes
      const float d = gguf_half(p), m = type == 3 ? gguf_half(p + 2) : -8 * d;
      const uint8_t* q = p + (type == 3 ? 4 : 2);
      for (int j = 0; j < 16; ++j) {
        y[j] = type == 3 ? static_cast<float>(q[j] & 15) * d + m : static_cast<float>((q[j] & 15) - 8) * d;
        y[j + 16] = type == 3 ? static_cast<float>(q[j] >> 4) * d + m : static_cast<float>((q[j] >> 4) - 8) * d;
      }
      return true;
    }
    case 6:    // d, 4 bytes of fifth bits, 16 bytes of nibbles as above
    case 7: {  // d, m, the same
      const float d = gguf_half(p), m = type == 7 ? gguf_half(p + 2) : -16 * d;
      const uint8_t *high = p + (type == 7 ? 4 : 2), *q = high + 4;
      for (int j = 0; j < 32; ++j) {
        const int v = (j < 16 ? q[j] & 15 : q[j - 16] >> 4) | (high[j / 8] >> (j % 8) & 1) << 4;
        y[j] = type == 7 ? static_cast<float>(v) * d + m : static_cast<float>(v - 16) * d;
      }
      return true;
    }
    case 8: {
      const float d = gguf_half(p);
      for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(static_cast<int8_t>(p[2 + j]));
      return true;
    }
    case 10: {  // 16 bytes of scale and minimum, 64 bytes of bit pairs, d, dmin
      const float d = gguf_half(p + 80), dmin = gguf_half(p + 82);
      for (int e = 0; e < 256; ++e) {
        const int part = e / 128, k = e % 128 / 32, l = e % 32;
        const int scale = p[8 * part + 2 * k + l / 16], q = p[16 + 32 * part + l] >> (2 * k) & 3;
        y[e] = d * static_cast<float>(scale & 15) * static_cast<float>(q) - dmin * static_cast<float>(scale >> 4);
      }
      return true;
    }
    case 11: {  // 32 bytes of third bits, 64 of bit pairs, 12 of scales, d
      const float d = gguf_half(p + 108);
      for (int e = 0; e < 256; ++e) {
        const int part = e / 128, k = e % 128 / 32, l = e % 32;
        const int q = (p[32 + 32 * part + l] >> (2 * k) & 3) - (p[l] >> (4 * part + k) & 1 ? 0 : 4);
        y[e] = d * static_cast<float>(q3_k_scale(p + 96, 8 * part + 2 * k + l / 16)) * static_cast<float>(q);
      }
      return true;
    }
    case 12:    // d, dmin, 12 bytes of scales, 128 bytes: 64 elements in each 32 of them, low nibbles first
    case 13: {  // d, dmin, 12 bytes of scales, 32 bytes of fifth bits, 128 bytes of nibbles
      const float d = gguf_half(p), dmin = gguf_half(p + 2);
      for (int b = 0; b < 8; ++b) {
        const auto [scale, low] = q4_k_scale(p + 4, b);
        const uint8_t* q = p + (type == 13 ? 48 : 16) + b / 2 * 32;
        for (int l = 0; l < 32; ++l) {
          const int v = (b % 2 ? q[l] >> 4 : q[l] & 15) | (type == 13 ? (p[16 + l] >> b & 1) << 4 : 0);
          y[32 * b + l] = d * static_cast<float>(scale) * static_cast<float>(v) - dmin * static_cast<float>(low);
        }
      }
      return true;
    }
    case 14: {  // 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, d
      const float d = gguf_half(p + 208);
      for (int half_block = 0; half_block < 2; ++half_block)
        for (int k = 0; k < 4; ++k)
          for (int l = 0; l < 32; ++l) {
            const uint8_t low = p[64 * half_block + 32 * (k % 2) + l], high = p[128 + 32 * half_block + l];
            const int q = ((k < 2 ? low & 15 : low >> 4) | (high >> (2 * k) & 3) << 4) - 32;
            const auto scale = static_cast<int8_t>(p[192 + 8 * half_block + 2 * k + l / 16]);
            y[128 * half_block + 32 * k + l] = d * static_cast<float>(scale) * static_cast<float>(q);
          }
      return true;
    }
    default:
      return false;
  }
}

}  // namespace detail

/// A GGUF file that is open for reading.
class GgufFile {
 public:
  struct Entry {
    std::string type;             ///< as ggml calls it, e.g. "Q4_K"
    Shape shape;                  ///< slowest first, the reverse of the file's order: a matrix is [out, in]
    uint64_t begin = 0, end = 0;  ///< bytes in the file
  };

  explicit GgufFile(const std::filesystem::path& path, Where at = Where::current()) : path_(path.string()), at_(at) {
    const File f = open_for_reading(path, at);
    struct stat about {};
    if (::fstat(::fileno(f.get()), &about) != 0) fail("read_gguf", "cannot ask for the file's size", {{"file", path_}}, "", at);
    const auto n = static_cast<std::size_t>(about.st_size);
    if (n > 0) {
      void* p = ::mmap(nullptr, n, PROT_READ, MAP_PRIVATE, ::fileno(f.get()), 0);
      if (p == MAP_FAILED)
        fail("read_gguf", "cannot map the file", {{"file", path_}, {"reason", std::strerror(errno)}}, "", at);
      keep_ = std::shared_ptr<void>(p, [n](void* q) { ::munmap(q, n); });
      b_ = {static_cast<const uint8_t*>(p), n};
    }
    parse();
  }
  /// From bytes in memory, which are copied; `name` stands for the file in error texts.
  GgufFile(std::span<const uint8_t> bytes, std::string name, Where at = Where::current()) : path_(std::move(name)), at_(at) {
    auto copy = std::make_shared<std::vector<uint8_t>>(bytes.begin(), bytes.end());
    b_ = *copy;
    keep_ = std::move(copy);
    parse();
  }

  uint32_t version() const { return version_; }
  const std::string& path() const { return path_; }
  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  const std::map<std::string, Entry>& entries() const { return entries_; }
  bool contains(const std::string& tensor) const { return entries_.contains(tensor); }
  bool has(const std::string& key) const { return metadata_.contains(key); }

  /// The value of a key, which has to have the type V: bool, double, std::string or a vector of the types of GgufValue.
  template <class V>
  const V& get(const std::string& key, Where at = Where::current()) const {
    const auto found = metadata_.find(key);
    if (found == metadata_.end())
      fail("read_gguf", "no such key", {{"file", path_}, {"key", key}}, "a key of the metadata", at);
    const V* v = std::get_if<V>(&found->second.value);
    if (!v) fail("read_gguf", "a value of another type", {{"file", path_}, {"key", key}}, "the type that was asked for", at);
    return *v;
  }
  /// A number of any type.
  double number(const std::string& key, Where at = Where::current()) const {
    const auto found = metadata_.find(key);
    if (found == metadata_.end())
      fail("read_gguf", "no such key", {{"file", path_}, {"key", key}}, "a key of the metadata", at);
    const auto& v = found->second.value;
    if (const auto* u = std::get_if<uint64_t>(&v)) return static_cast<double>(*u);
    if (const auto* i = std::get_if<int64_t>(&v)) return static_cast<double>(*i);
    if (const auto* d = std::get_if<double>(&v)) return *d;
    fail("read_gguf", "not a number", {{"file", path_}, {"key", key}}, "a number", at);
  }
  double number_or(const std::string& key, double otherwise, Where at = Where::current()) const {
    return has(key) ? number(key, at) : otherwise;
  }

  /// The tensor as float, dequantised.
  Tensor<float> read(const std::string& name, Where at = Where::current()) const {
    const auto found = entries_.find(name);
    if (found == entries_.end())
      fail("read_gguf", "no such tensor", {{"file", path_}, {"name", name}},
           "one of the file's " + std::to_string(entries_.size()) + " tensors", at);
    const Entry& e = found->second;
    const auto* type = detail::gguf_type(types_.at(name));
    float probe[256];
    if (e.begin < e.end && !detail::dequantise(type->id, b_.data() + e.begin, probe))
      fail("read_gguf", "gradus does not dequantise this type", {{"file", path_}, {"tensor", name}, {"type", e.type}},
           "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 or Q2_K to Q6_K", at);
    Tensor<float> x(e.shape, at);
    float* y = x.data();
    for (uint64_t p = e.begin; p < e.end; p += type->bytes, y += type->block) detail::dequantise(type->id, b_.data() + p, y);
    x.set_name(name);
    return x;
  }
  /// The tensor's bytes as they are in the file; valid while the GgufFile lives.
  std::span<const uint8_t> bytes(const std::string& name, Where at = Where::current()) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) fail("read_gguf", "no such tensor", {{"file", path_}, {"name", name}}, "", at);
    return b_.subspan(found->second.begin, found->second.end - found->second.begin);
  }

 private:
  [[noreturn]] void bad(const std::string& problem, const std::string& expected, uint64_t offset) const {
    fail("read_gguf", problem, {{"file", path_}, {"offset", std::to_string(offset) + " of " + std::to_string(b_.size())}},
         expected, at_);
  }
  void need(uint64_t n, const char* what) const {
    if (n > b_.size() - i_)
      bad(std::string("the file ends inside ") + what,
          std::to_string(n) + " bytes, " + std::to_string(b_.size() - i_) + " are left", i_);
  }
  template <class V>
  V take(const char* what) {
    need(sizeof(V), what);
    V v;
    std::memcpy(&v, b_.data() + i_, sizeof v);
    i_ += sizeof v;
    return v;
  }
  std::string text(const char* what) {
    const auto n = take<uint64_t>(what);
    need(n, what);
    std::string s(reinterpret_cast<const char*>(b_.data()) + i_, n);
    i_ += n;
    return s;
  }
  bool flag() {
    const auto v = take<uint8_t>("a bool");
    if (v > 1) bad("a bool is " + std::to_string(v), "0 or 1", i_ - 1);
    return v == 1;
  }
  static bool is_signed(uint32_t t) { return t == 1 || t == 3 || t == 5 || t == 11; }
  static uint64_t width(uint32_t t) {  // the least number of bytes of a value
    constexpr uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
    return t < 13 ? bytes[t] : 0;
  }
  uint64_t integer(uint32_t t) {
    switch (t) {
      case 0:
        return take<uint8_t>("a uint8");
      case 1:
        return static_cast<uint64_t>(int64_t{take<int8_t>("an int8")});
      case 2:
        return take<uint16_t>("a uint16");
      case 3:
        return static_cast<uint64_t>(int64_t{take<int16_t>("an int16")});
      case 4:
        return take<uint32_t>("a uint32");
      case 5:
        return static_cast<uint64_t>(int64_t{take<int32_t>("an int32")});
      default:
        return take<uint64_t>("a 64-bit integer");
    }
  }
  double real(uint32_t t) { return t == 6 ? take<float>("a float32") : take<double>("a float64"); }
  template <class V, class F>
  static std::vector<V> list(uint64_t n, F one) {
    std::vector<V> v;
    v.reserve(n);
    while (n-- > 0) v.push_back(one());
    return v;
  }
  GgufValue value(uint32_t t, int depth) {
    if (width(t) == 0) bad("unknown value type " + std::to_string(t), "0 to 12", i_ - 4);
    if (t == 6 || t == 12) return {real(t)};
    if (t == 7) return {flag()};
    if (t == 8) return {text("a text")};
    if (t != 9) {
      const uint64_t v = integer(t);
      if (is_signed(t)) return {static_cast<int64_t>(v)};
      return {v};
    }
    const std::size_t start = i_;
    const auto of = take<uint32_t>("an array's type");
    const auto n = take<uint64_t>("an array's length");
    if (width(of) == 0) bad("unknown value type " + std::to_string(of), "0 to 12", start);
    if (n > (b_.size() - i_) / width(of))
      bad("an array would have " + std::to_string(n) + " values", "at most " + std::to_string((b_.size() - i_) / width(of)),
          start + 4);
    if (of == 9 && depth == 4) bad("arrays in arrays, too deep", "at most 4 deep", start);
    if (of == 6 || of == 12) return {list<double>(n, [&] { return real(of); })};
    if (of == 7) return {list<bool>(n, [&] { return flag(); })};
    if (of == 8) return {list<std::string>(n, [&] { return text("a text"); })};
    if (of == 9) return {list<GgufValue>(n, [&] { return value(9, depth + 1); })};
    if (is_signed(of)) return {list<int64_t>(n, [&] { return static_cast<int64_t>(integer(of)); })};
    return {list<uint64_t>(n, [&] { return integer(of); })};
  }

  void parse() {
    if (b_.size() < 4 || std::memcmp(b_.data(), "GGUF", 4) != 0) bad("this is not a GGUF file", "the bytes 47 47 55 46", 0);
    i_ = 4;
    version_ = take<uint32_t>("the version");
    if (version_ != 2 && version_ != 3) {
      const bool big = version_ == 0x03000000u || version_ == 0x02000000u;
      bad(big ? "the file is big-endian" : "version " + std::to_string(version_) + " is not known",
          big ? "a little-endian file" : "2 or 3", 4);
    }
    const auto tensors = take<uint64_t>("the number of tensors"), entries = take<uint64_t>("the number of entries");
    if (tensors > b_.size() / 24)
      bad("the file would have " + std::to_string(tensors) + " tensors", "at most " + std::to_string(b_.size() / 24), 8);
    if (entries > b_.size() / 13)
      bad("the file would have " + std::to_string(entries) + " entries", "at most " + std::to_string(b_.size() / 13), 16);
    for (uint64_t k = 0; k < entries; ++k) {
      const std::size_t start = i_;
      std::string key = text("a key");
      const auto type = take<uint32_t>("a value's type");
      GgufValue v = value(type, 0);
      if (!metadata_.emplace(std::move(key), std::move(v)).second) bad("a key occurs twice", "different keys", start);
    }
    std::vector<std::pair<Entry*, std::size_t>> infos;
    for (uint64_t k = 0; k < tensors; ++k) infos.push_back(info());
    uint64_t alignment = 32;
    if (const auto a = metadata_.find("general.alignment"); a != metadata_.end()) {
      const auto* v = std::get_if<uint64_t>(&a->second.value);
      if (!v || *v == 0 || *v > 65536 || !std::has_single_bit(*v))
        bad("general.alignment is damaged", "a power of two up to 65536", i_);
      alignment = *v;
    }
    const uint64_t data = (i_ + alignment - 1) / alignment * alignment;
    for (auto& [e, at] : infos) {
      const uint64_t size = e->end;  // info() left the size here, the offset in begin
      if (e->begin % alignment != 0)
        bad("a tensor's offset is " + std::to_string(e->begin), "a multiple of " + std::to_string(alignment), at);
      if (data > b_.size() || e->begin > b_.size() - data || size > b_.size() - data - e->begin)
        bad("a tensor of " + std::to_string(size) + " bytes at " + std::to_string(e->begin) + " ends after the file",
            "an end at or before byte " + std::to_string(b_.size()), at);
      e->begin += data, e->end = e->begin + size;
    }
    std::sort(infos.begin(), infos.end(), [](const auto& a, const auto& b) { return a.first->begin < b.first->begin; });
    for (std::size_t k = 1; k < infos.size(); ++k)
      if (infos[k].first->begin < infos[k - 1].first->end && infos[k].first->begin < infos[k].first->end)
        bad("two tensors overlap", "an offset from " + std::to_string(infos[k - 1].first->end), infos[k].second);
  }
  std::pair<Entry*, std::size_t> info() {
    const std::size_t start = i_;
    const std::string name = text("a tensor's name");
    const auto rank = take<uint32_t>("a tensor's rank");
    if (rank > 8) bad("\"" + json_escape(name) + "\" has " + std::to_string(rank) + " dimensions", "at most 8", i_ - 4);
    Entry e;
    e.shape.n = static_cast<int>(rank);
    int64_t product = 1;
    for (int d = e.shape.n - 1; d >= 0; --d) {
      const auto v = take<uint64_t>("a tensor's extents");
      e.shape.v[d] = static_cast<int64_t>(v);
      if (v > (uint64_t{1} << 58) ||
          (v > 0 && (__builtin_mul_overflow(product, e.shape.v[d], &product) || product > (int64_t{1} << 58))))
        bad("\"" + json_escape(name) + "\" has too many elements", "fewer than 2^58", i_ - 8);
    }
    const auto id = take<uint32_t>("a tensor's type");
    const auto* type = detail::gguf_type(id);
    if (!type) bad("\"" + json_escape(name) + "\" has the unknown type " + std::to_string(id), "a type of ggml", i_ - 4);
    const uint64_t row = rank ? static_cast<uint64_t>(e.shape.v[rank - 1]) : 1;
    if (row % type->block != 0)
      bad("rows of \"" + json_escape(name) + "\" have " + std::to_string(row) + " elements",
          "a multiple of " + std::to_string(type->block), start);
    e.type = type->name;
    e.end = static_cast<uint64_t>(e.shape.numel()) / type->block * type->bytes;
    e.begin = take<uint64_t>("a tensor's offset");
    types_[name] = id;
    const auto [at, fresh] = entries_.emplace(name, e);
    if (!fresh) bad("a tensor's name occurs twice: \"" + json_escape(name) + "\"", "different names", start);
    return {&at->second, start};
  }

  std::string path_;
  Where at_;
  std::shared_ptr<void> keep_;
  std::span<const uint8_t> b_;
  std::size_t i_ = 0;
  uint32_t version_ = 0;
  std::map<std::string, GgufValue> metadata_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, uint32_t> types_;
};

}  // namespace gradus::io
