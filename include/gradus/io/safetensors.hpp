// Safetensors files (github.com/huggingface/safetensors): named tensors in one file.
//
//   8 bytes    n, little-endian
//   n bytes    JSON: {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
//   the rest   the elements; offsets count from here, leave no gap and do not overlap
//
// Files written here carry check sums in the metadata ("gradus.crc32"), which other readers ignore: of the header and of each
// tensor. A damaged file is an error that names the file, the offset and what was expected there. A file without check sums
// can hide a flipped bit in its elements; everything else is checked all the same.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gradus/io/crc32.hpp>
#include <gradus/io/file.hpp>
#include <gradus/io/json.hpp>
#include <gradus/tensor/tensor.hpp>

namespace gradus::io {

using NamedTensors = std::map<std::string, AnyTensor>;
using Metadata = std::map<std::string, std::string>;

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian, and so are our machines");

namespace detail {

inline constexpr std::string_view kCrcKey = "gradus.crc32";
inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // the reference reader's limit

struct SafetensorsType {
  std::string_view name;
  uint64_t bytes;
  std::optional<DType> dtype;  // empty: a type of the format that gradus has not
};
inline const SafetensorsType* safetensors_type(std::string_view name) {
  static constexpr SafetensorsType types[] = {
      {"F32", 4, DType::f32}, {"F64", 8, DType::f64}, {"BF16", 2, DType::bf16}, {"F16", 2, DType::f16},
      {"I64", 8, DType::i64}, {"I32", 4, DType::i32}, {"U8", 1, DType::u8},     {"BOOL", 1, DType::boolean},
      {"I8", 1, {}},          {"I16", 2, {}},         {"U16", 2, {}},           {"U32", 4, {}},
      {"U64", 8, {}},         {"F8_E4M3", 1, {}},     {"F8_E5M2", 1, {}}};
  for (const auto& t : types)
    if (t.name == name) return &t;
  return nullptr;
}
inline std::string_view safetensors_name(DType t) {
  constexpr std::string_view names[] = {"F32", "F64", "BF16", "F16", "I64", "I32", "U8", "BOOL"};
  return names[static_cast<std::size_t>(t)];
}
inline std::string hex8(uint32_t v) {
  std::string s(8, '0');
  for (std::size_t i = 8; i-- > 0; v >>= 4) s[i] = "0123456789abcdef"[v & 15];
  return s;
}

template <class F>
decltype(auto) with_dtype(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f(float{});
    case DType::f64: return f(double{});
    case DType::bf16: return f(bf16{});
    case DType::f16: return f(half{});
    case DType::i64: return f(int64_t{});
    case DType::i32: return f(int32_t{});
    case DType::u8: return f(uint8_t{});
    case DType::boolean: break;
  }
  return f(bool{});
}
/// An uninitialised host tensor.
inline AnyTensor host_tensor(DType t, const Shape& shape, Where at) {
  return with_dtype(t, [&](auto v) -> AnyTensor { return Tensor<decltype(v)>(shape, at); });
}

}  // namespace detail

/// A file that is open for reading. The header is read and checked at once, elements when they are asked for.
class SafetensorsFile {
 public:
  struct Entry {
    std::string dtype;  ///< as in the file, e.g. "BF16"
    Shape shape;
    uint64_t begin = 0, end = 0;  ///< bytes in the file
    std::optional<uint32_t> crc;
  };

  explicit SafetensorsFile(const std::filesystem::path& path, Where at = Where::current())
      : path_(path), at_(at), file_(open_for_reading(path, at)) {
    std::error_code ec;
    size_ = std::filesystem::file_size(path, ec);
    uint8_t n[8];
    const std::size_t got = std::fread(n, 1, 8, file_.get());
    if (got < 8) damaged("the file ends inside the first number", "8 bytes: the size of the header", got);
    uint64_t header = 0;
    for (int i = 7; i >= 0; --i) header = header << 8 | n[i];
    if (header > size_ - 8 || header > detail::kMaxSafetensorsHeader || header < 2)
      damaged("the header would have " + std::to_string(header) + " bytes",
              "2 to " + std::to_string(std::min(size_ - 8, detail::kMaxSafetensorsHeader)) + " bytes", 0);
    text_.resize(header);
    const std::size_t read = std::fread(text_.data(), 1, header, file_.get());
    if (read < header) damaged("the file ends inside the header", std::to_string(header) + " bytes", 8 + read);
    parse();
    check_layout();
    check_header_crc();
    text_.clear();
    text_.shrink_to_fit();
  }

  const std::map<std::string, Entry>& entries() const { return entries_; }
  bool contains(const std::string& name) const { return entries_.contains(name); }
  /// What is in "__metadata__", without our check sums.
  const Metadata& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return path_; }

  /// The tensor of that name, in host memory.
  AnyTensor read(const std::string& name, Where at = Where::current()) {
    const auto found = entries_.find(name);
    if (found == entries_.end())
      fail("read_safetensors", "no such tensor", {{"file", path_.string()}, {"name", name}}, near_names(name), at);
    const Entry& e = found->second;
    const auto* type = detail::safetensors_type(e.dtype);
    if (!type->dtype)
      fail("read_safetensors", "gradus has no such dtype", {{"file", path_.string()}, {"tensor", name}, {"dtype", e.dtype}},
           "F32, F64, BF16, F16, I64, I32, U8 or BOOL", at);
    AnyTensor x = detail::host_tensor(*type->dtype, e.shape, at);
    auto* to = static_cast<uint8_t*>(x.impl()->data);
    const uint64_t n = e.end - e.begin;
    if (::fseeko(file_.get(), static_cast<off_t>(e.begin), SEEK_SET) != 0) damaged("cannot move to \"" + name + "\"", "", e.begin);
    const std::size_t got = n > 0 ? std::fread(to, 1, n, file_.get()) : 0;
    if (got < n)
      damaged("the elements of \"" + name + "\" end too early", std::to_string(n) + " bytes from offset " + std::to_string(e.begin),
              e.begin + got);
    if (e.crc)
      if (const uint32_t crc = crc32_of(to, n); crc != *e.crc)
        damaged("the check sum (CRC-32) of \"" + name + "\" is " + detail::hex8(crc), detail::hex8(*e.crc), e.begin);
    if (*type->dtype == DType::boolean)
      for (uint64_t i = 0; i < n; ++i)
        if (to[i] > 1) damaged("a boolean of \"" + name + "\" is " + std::to_string(to[i]), "0 or 1", e.begin + i);
    x.set_name(name);
    return x;
  }
  /// The same with its type; an error when the file has another one.
  template <class T>
  Tensor<T> read(const std::string& name, Where at = Where::current()) {
    return read(name, at).template as<T, Cpu>(at);
  }

 private:
  [[noreturn]] void damaged(const std::string& problem, const std::string& expected, uint64_t offset) const {
    fail("read_safetensors", problem,
         {{"file", path_.string()}, {"offset", std::to_string(offset) + " of " + std::to_string(size_)}}, expected, at_);
  }
  std::string near_names(const std::string& name) const {
    std::string s = "one of the file's " + std::to_string(entries_.size()) + " tensors";
    const auto last = name.substr(name.rfind('.') + 1);
    int shown = 0;
    for (const auto& [other, e] : entries_)
      if (shown < 4 && (entries_.size() <= 4 || other.ends_with(last))) s += (shown++ ? ", " : ", e.g. ") + ("\"" + other + "\"");
    return s;
  }

  // -- the header: JSON of a fixed form -------------------------------------------------------------------------------------
  [[noreturn]] void bad(const std::string& expected) const {
    const std::string got = i_ < text_.size() ? "\"" + json_escape(text_.substr(i_, 12)) + "\"" : "its end";
    damaged("the header is damaged: got " + got, expected, 8 + i_);
  }
  void space() {
    while (i_ < text_.size() && (text_[i_] == ' ' || text_[i_] == '\t' || text_[i_] == '\n' || text_[i_] == '\r')) ++i_;
  }
  bool take(char c) {
    space();
    if (i_ >= text_.size() || text_[i_] != c) return false;
    ++i_;
    return true;
  }
  void need(char c) {
    if (!take(c)) bad(std::string("'") + c + "'");
  }
  uint32_t hex4() {
    uint32_t v = 0;
    for (int k = 0; k < 4; ++k, ++i_) {
      const char c = i_ < text_.size() ? text_[i_] : '\0';
      const int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (d < 0) bad("four hexadecimal digits");
      v = v << 4 | static_cast<uint32_t>(d);
    }
    return v;
  }
  void append_utf8(std::string& s, uint32_t c) {
    if (c < 0x80) s += static_cast<char>(c);
    else if (c < 0x800) (s += static_cast<char>(0xc0 | c >> 6)) += static_cast<char>(0x80 | (c & 63));
    else if (c < 0x10000)
      ((s += static_cast<char>(0xe0 | c >> 12)) += static_cast<char>(0x80 | (c >> 6 & 63))) += static_cast<char>(0x80 | (c & 63));
    else
      (((s += static_cast<char>(0xf0 | c >> 18)) += static_cast<char>(0x80 | (c >> 12 & 63))) +=
       static_cast<char>(0x80 | (c >> 6 & 63))) += static_cast<char>(0x80 | (c & 63));
  }
  std::string string() {
    need('"');
    std::string s;
    for (;;) {
      if (i_ >= text_.size()) bad("the end of a string");
      const char c = text_[i_];
      if (static_cast<unsigned char>(c) < 0x20) bad("a character of a string");
      ++i_;
      if (c == '"') return s;
      if (c != '\\') {
        s += c;
        continue;
      }
      const char e = i_ < text_.size() ? text_[i_] : '\0';
      ++i_;
      constexpr std::string_view from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
      if (const auto k = from.find(e); e != '\0' && k != from.npos) {
        s += to[k];
      } else if (e == 'u') {
        uint32_t u = hex4();
        if (u >= 0xd800 && u < 0xdc00) {
          if (text_.compare(i_, 2, "\\u") != 0) bad("the second half of a surrogate pair");
          i_ += 2;
          const uint32_t low = hex4();
          if (low < 0xdc00 || low > 0xdfff) bad("the second half of a surrogate pair");
          u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
        } else if (u >= 0xdc00 && u < 0xe000) {
          bad("the first half of a surrogate pair");
        }
        append_utf8(s, u);
      } else {
        --i_;
        bad("an escape of JSON");
      }
    }
  }
  uint64_t integer() {
    space();
    const std::size_t first = i_;
    uint64_t v = 0;
    while (i_ < text_.size() && text_[i_] >= '0' && text_[i_] <= '9') {
      const auto d = static_cast<uint64_t>(text_[i_] - '0');
      if (v > (uint64_t{INT64_MAX} - d) / 10) bad("an integer below 2^63");
      v = 10 * v + d;
      ++i_;
    }
    if (i_ == first || (text_[first] == '0' && i_ > first + 1)) bad("a non-negative integer");
    return v;
  }
  template <class F>
  void list(char open, char close, F one) {
    need(open);
    if (take(close)) return;
    do one();
    while (take(','));
    need(close);
  }
  void parse() {
    bool seen_metadata = false;
    list('{', '}', [&] {
      space();
      const std::size_t where = i_;
      const std::string name = string();
      need(':');
      if (name == "__metadata__") {
        if (std::exchange(seen_metadata, true)) damaged("two \"__metadata__\"", "one", 8 + where);
        list('{', '}', [&] {
          space();
          const std::size_t at_key = i_;
          const std::string key = string();
          need(':');
          space();
          const std::size_t value_at = i_;
          const std::string value = string();
          if (key == detail::kCrcKey) crc_at_ = value_at + 1, crc_ = value;
          if (!metadata_.emplace(key, value).second) damaged("the key \"" + key + "\" occurs twice", "once", 8 + at_key);
        });
        return;
      }
      if (entries_.contains(name)) damaged("the tensor \"" + name + "\" occurs twice", "once", 8 + where);
      entries_[name] = entry(name);
    });
    space();
    if (i_ != text_.size()) bad("the end of the header");
    metadata_.erase(std::string(detail::kCrcKey));
  }
  Entry entry(const std::string& name) {
    Entry e;
    bool has_dtype = false, has_shape = false, has_offsets = false;
    space();
    const std::size_t where = i_;
    uint64_t offset[2] = {};
    list('{', '}', [&] {
      space();
      const std::size_t key_at = i_;
      const std::string key = string();
      need(':');
      const auto once = [&](bool& flag) {
        if (std::exchange(flag, true)) damaged("\"" + key + "\" of \"" + name + "\" occurs twice", "once", 8 + key_at);
      };
      if (key == "dtype") {
        once(has_dtype);
        space();
        const std::size_t value_at = i_;
        e.dtype = string();
        if (!detail::safetensors_type(e.dtype))
          damaged("unknown dtype \"" + e.dtype + "\" of \"" + name + "\"", "F32, F64, BF16, F16, I64, ...", 8 + value_at);
      } else if (key == "shape") {
        once(has_shape);
        list('[', ']', [&] {
          const uint64_t extent = integer();
          if (e.shape.rank() == kMaxRank) bad("at most " + std::to_string(kMaxRank) + " dimensions");
          e.shape.push_back(static_cast<int64_t>(extent));
        });
      } else if (key == "data_offsets") {
        once(has_offsets);
        int n = 0;
        list('[', ']', [&] {
          if (n == 2) bad("two offsets");
          offset[n++] = integer();
        });
        if (n != 2) bad("two offsets");
      } else {
        damaged("unknown key \"" + key + "\" of \"" + name + "\"", "dtype, shape, data_offsets", 8 + key_at);
      }
    });
    if (!has_dtype || !has_shape || !has_offsets)
      damaged("\"" + name + "\" is incomplete", "dtype, shape and data_offsets", 8 + where);
    uint64_t bytes = detail::safetensors_type(e.dtype)->bytes;
    for (const int64_t extent : e.shape)
      if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes) || bytes > uint64_t{1} << 62)
        damaged("the shape " + e.shape.str() + " of \"" + name + "\" is too large", "fewer than 2^62 bytes", 8 + where);
    const uint64_t data = 8 + text_.size(), room = size_ - data;
    if (offset[0] > offset[1] || offset[1] > room)
      damaged("the offsets [" + std::to_string(offset[0]) + ", " + std::to_string(offset[1]) + "] of \"" + name + "\" do not fit",
              "an interval inside the " + std::to_string(room) + " bytes of data", 8 + where);
    if (offset[1] - offset[0] != bytes)
      damaged("\"" + name + "\" has " + std::to_string(offset[1] - offset[0]) + " bytes",
              std::to_string(bytes) + " for " + e.dtype + " " + e.shape.str(), 8 + where);
    e.begin = data + offset[0], e.end = data + offset[1];
    return e;
  }
  /// In the order of the file; ties (tensors without elements) by name, as the writer has them.
  std::vector<std::map<std::string, Entry>::iterator> in_order() {
    std::vector<std::map<std::string, Entry>::iterator> order;
    for (auto it = entries_.begin(); it != entries_.end(); ++it) order.push_back(it);
    std::stable_sort(order.begin(), order.end(), [](auto a, auto b) {
      return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
    });
    return order;
  }
  void check_layout() {
    uint64_t end = 8 + text_.size();
    for (const auto& it : in_order()) {
      if (it->second.begin != end)
        damaged("\"" + it->first + "\" begins " + (it->second.begin < end ? "inside another tensor" : "after a gap"),
                "data from offset " + std::to_string(end), it->second.begin);
      end = it->second.end;
    }
    if (end != size_) damaged("bytes that belong to no tensor", "the end of the file", end);
  }
  void check_header_crc() {
    if (!crc_at_) return;
    const std::size_t n = 8 * (1 + entries_.size());
    if (crc_.size() != n || text_.compare(crc_at_, n, crc_) != 0 || crc_.find_first_not_of("0123456789abcdef") != crc_.npos)
      damaged("the check sums have the wrong form", std::to_string(n) + " hexadecimal digits", 8 + crc_at_);
    std::string plain = text_;
    plain.replace(crc_at_, 8, 8, '0');
    if (const std::string crc = detail::hex8(crc32_of(plain.data(), plain.size())); crc_.compare(0, 8, crc) != 0)
      damaged("the check sum (CRC-32) of the header is " + crc, crc_.substr(0, 8), 8 + crc_at_);
    std::size_t k = 1;
    for (const auto& it : in_order())
      it->second.crc = static_cast<uint32_t>(std::stoul(crc_.substr(8 * k++, 8), nullptr, 16));
  }

  std::filesystem::path path_;
  Where at_;
  File file_;
  uint64_t size_ = 0;
  std::string text_, crc_;
  std::size_t i_ = 0, crc_at_ = 0;
  std::map<std::string, Entry> entries_;
  Metadata metadata_;
};

/// All tensors of a file, in host memory.
inline NamedTensors read_safetensors(const std::filesystem::path& path, Where at = Where::current()) {
  SafetensorsFile f(path, at);
  NamedTensors tensors;
  for (const auto& [name, e] : f.entries()) tensors[name] = f.read(name, at);
  return tensors;
}

/// Writes the tensors (contiguous, in host memory) and the metadata, atomically: a reader sees the old file or the new one.
inline void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors, const Metadata& metadata = {},
                              Where at = Where::current()) {
  std::vector<std::pair<std::string, const AnyTensor*>> order;
  for (const auto& [name, x] : tensors) {
    if (!x.defined() || x.device() != DeviceKind::cpu || !x.is_contiguous())
      fail("write_safetensors", "not a tensor that can be written", {{name, describe(x)}}, "a contiguous tensor in host memory",
           at);
    if (name == "__metadata__") fail("write_safetensors", "a reserved name", {{name, describe(x)}}, "another name", at);
    order.emplace_back(name, &x);
  }
  // Large elements first: each tensor is then aligned to its element.
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return size_of(a.second->dtype()) > size_of(b.second->dtype());
  });
  const auto bytes_of = [](const AnyTensor& x) { return static_cast<uint64_t>(x.numel()) * static_cast<uint64_t>(size_of(x.dtype())); };
  // A reader finds tensors without elements by (begin, end, name): among those at one offset the order is that of the names.
  uint64_t offset = 0;
  std::string body;
  std::vector<std::pair<std::pair<uint64_t, uint64_t>, std::pair<std::string, uint32_t>>> keyed;
  for (const auto& [name, x] : order) {
    const uint64_t n = bytes_of(*x);
    body += ",\"" + json_escape(name) + "\":{\"dtype\":\"" + std::string(detail::safetensors_name(x->dtype())) + "\",\"shape\":[";
    for (int d = 0; d < x->rank(); ++d) body += (d ? "," : "") + std::to_string(x->shape()[d]);
    body += "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + n) + "]}";
    keyed.push_back({{offset, offset + n}, {name, crc32_of(x->impl()->data, n)}});
    offset += n;
  }
  std::sort(keyed.begin(), keyed.end());
  std::string sums_text;
  for (const auto& k : keyed) sums_text += detail::hex8(k.second.second);
  std::string head = "{\"__metadata__\":{";
  for (const auto& [key, value] : metadata) {
    if (key == detail::kCrcKey) fail("write_safetensors", "a reserved key", {{"metadata", key}}, "another key", at);
    head += "\"" + json_escape(key) + "\":\"" + json_escape(value) + "\",";
  }
  head += "\"" + std::string(detail::kCrcKey) + "\":\"";
  const std::size_t crc_at = head.size();
  head += std::string(8, '0') + sums_text + "\"}" + body + "}";
  while (head.size() % 8 != 0) head += ' ';
  head.replace(crc_at, 8, detail::hex8(crc32_of(head.data(), head.size())));

  AtomicFile f(path, at);
  uint8_t n[8];
  for (int i = 0; i < 8; ++i) n[i] = static_cast<uint8_t>(static_cast<uint64_t>(head.size()) >> (8 * i));
  f.write(n, 8);
  f.write(head.data(), head.size());
  for (const auto& [name, x] : order) f.write(x->impl()->data, bytes_of(*x));
  f.commit();
}

}  // namespace gradus::io
