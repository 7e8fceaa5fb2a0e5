// Writes JSON (RFC 8259) in the order of the calls. Reading is left to nlohmann-json, which costs a second of
// compile time that a program that only writes its results should not pay.
//
//   JsonWriter j;
//   j.object().key("paper").value("multi-sample-dropout").key("seeds").array().value(0).value(1).end().end();
//   j.str()
#pragma once
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::io {

/// The text between quotes: control characters, quote and backslash escaped; bytes that are not UTF-8 become U+FFFD.
inline std::string json_escape(std::string_view s) {
  constexpr char hex[] = "0123456789abcdef";
  std::string out;
  out.reserve(s.size() + 2);
  for (std::size_t i = 0; i < s.size();) {
    const auto c = static_cast<unsigned char>(s[i]);
    if (c < 0x80) {
      if (c == '"' || c == '\\') (out += '\\') += static_cast<char>(c);
      else if (c == '\n') out += "\\n";
      else if (c == '\t') out += "\\t";
      else if (c == '\r') out += "\\r";
      else if (c < 0x20 || c == 0x7f) ((out += "\\u00") += hex[c >> 4]) += hex[c & 15];
      else out += static_cast<char>(c);
      ++i;
      continue;
    }
    // Length by the lead byte; the second byte's range excludes overlong forms, surrogates and beyond U+10FFFF.
    const std::size_t len = c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    bool good = len != 0 && i + len <= s.size();
    for (std::size_t k = 1; good && k < len; ++k) {
      const auto b = static_cast<unsigned char>(s[i + k]);
      unsigned lo = 0x80, hi = 0xbf;
      if (k == 1) {
        if (c == 0xe0) lo = 0xa0;
        if (c == 0xed) hi = 0x9f;
        if (c == 0xf0) lo = 0x90;
        if (c == 0xf4) hi = 0x8f;
      }
      good = b >= lo && b <= hi;
    }
    if (good) out.append(s.substr(i, len));
    else out += "\xef\xbf\xbd";
    i += good ? len : 1;
  }
  return out;
}

/// The shortest text that reads back as the same double; JSON has no NaN or infinity, they become null.
inline std::string json_number(double v) {
  if (!std::isfinite(v)) return "null";
  char buffer[32];
  const auto r = std::to_chars(buffer, buffer + sizeof buffer, v);
  return std::string(buffer, r.ptr);
}

class JsonWriter {
 public:
  JsonWriter& object() { return open('{', '}'); }
  JsonWriter& array() { return open('[', ']'); }
  /// Closes the innermost object or array.
  JsonWriter& end() {
    const Level l = levels_.back();
    levels_.pop_back();
    if (l.count > 0 && !l.flat) newline();
    out_ += l.close;
    return *this;
  }
  JsonWriter& key(std::string_view k) {
    before();
    out_ += '"' + json_escape(k) + "\": ";
    after_key_ = true;
    return *this;
  }
  JsonWriter& value(std::string_view s) { return raw('"' + json_escape(s) + '"'); }
  JsonWriter& value(const char* s) { return value(std::string_view(s)); }
  JsonWriter& value(bool b) { return raw(b ? "true" : "false"); }
  template <std::integral I>
  requires(!std::same_as<I, bool>) JsonWriter& value(I i) { return raw(std::to_string(i)); }
  template <std::floating_point F>
  JsonWriter& value(F f) {
    return raw(json_number(f));
  }
  /// An array of numbers on one line.
  template <class V>
  JsonWriter& numbers(const V& values) {
    array();
    levels_.back().flat = true;
    for (const auto v : values) value(v);
    return end();
  }
  std::string str() const { return out_ + "\n"; }

 private:
  struct Level {
    char close;
    int count = 0;
    bool flat = false;
  };
  JsonWriter& open(char first, char last) {
    before();
    out_ += first;
    levels_.push_back({last});
    return *this;
  }
  JsonWriter& raw(const std::string& text) {
    before();
    out_ += text;
    return *this;
  }
  void before() {
    if (after_key_) {
      after_key_ = false;
      return;
    }
    if (levels_.empty()) return;
    Level& l = levels_.back();
    if (l.count++ > 0) out_ += l.flat ? ", " : ",";
    if (!l.flat) newline();
  }
  void newline() { (out_ += '\n').append(2 * levels_.size(), ' '); }

  std::string out_;
  std::vector<Level> levels_;
  bool after_key_ = false;
};

}  // namespace gradus::io
