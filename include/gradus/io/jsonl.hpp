// JSON Lines (jsonlines.org): one JSON value (RFC 8259) a line, here one object a row.
//
//   const auto t = io::read_jsonl("train.jsonl");
//   const auto x = t.numbers<float>({"length", "width"});  // [N, 2]; null or no such key is NaN
//   const auto s = t.text("review");                       // N strings
//
//   io::JsonlReader in("large.jsonl.gz");                  // one line in memory at a time
//   for (nlohmann::json row; in.next(row);) use(row, in.line());
//
// file = [BOM] *(line LF) [line];  line = [JSON value] [CR]. Text is UTF-8, lines of nothing but blanks are passed over, and
// .gz files are inflated on the way. Of a key that comes twice in an object, the last value counts. Needs nlohmann-json.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <gradus/io/json.hpp>
#include <gradus/io/lines.hpp>
#include <gradus/tensor/tensor.hpp>

namespace gradus::io {

/// Reads a file's values one after another.
class JsonlReader {
 public:
  /// A line of more than `max_line` bytes is an error: a file without line ends would fill the memory.
  explicit JsonlReader(const std::filesystem::path& path, std::size_t max_line = std::size_t{1} << 28,
                       Where at = Where::current())
      : in_(path, "read_jsonl", max_line, at), at_(at) {}

  /// The next value; false at the end of the file.
  bool next(nlohmann::json& value) {
    while (in_.next(text_)) {
      if (text_.find_first_not_of(" \t\r") == std::string::npos) continue;
      try {
        value = nlohmann::json::parse(text_);
        return true;
      } catch (const nlohmann::json::parse_error& e) {
        bad("a line is not JSON", e.byte, e.what());
      } catch (const nlohmann::json::exception& e) {  // a number beyond double has no place in the exception
        bad("a line holds a value that cannot be kept", 1, e.what());
      }
    }
    return false;
  }
  /// The line of the last value, from 1.
  int64_t line() const { return in_.line(); }

 private:
  [[noreturn]] void bad(const std::string& problem, std::size_t byte, const std::string& reason) const {
    const std::size_t column = std::max<std::size_t>(byte, 1), from = column > 20 ? column - 20 : 0;
    const std::size_t cut = reason.find("] ");
    fail("read_jsonl", problem,
         {{"file", in_.file()},
          {"line", std::to_string(line())},
          {"column", std::to_string(column)},
          {"found", '"' + json_escape(from < text_.size() ? text_.substr(from, 40) : "") + '"'},
          {"reason", json_escape(cut == std::string::npos ? reason : reason.substr(cut + 2))}},
         "one JSON value on each line", at_);
  }

  LineReader in_;
  Where at_;
  std::string text_;
};

/// The objects of a file, in its order.
struct JsonlTable {
  std::string file;
  std::vector<nlohmann::json> objects;
  std::vector<int64_t> lines;  ///< the line of each object, from 1

  int64_t rows() const { return static_cast<int64_t>(objects.size()); }
  /// Keys as numbers, [N, keys]. null or no such key is NaN, and an error where T has none; so is a value that T cannot hold.
  template <class T>
  Tensor<T> numbers(const std::vector<std::string>& keys, Where at = Where::current()) const {
    Tensor<T> x(Shape{rows(), static_cast<int64_t>(keys.size())}, at);
    T* to = x.data();
    for (std::size_t i = 0; i < objects.size(); ++i)
      for (const auto& key : keys)
        if (!number(objects[i], key, *to++))
          wrong(i, key,
                std::is_floating_point_v<T> ? "a number that the type holds, or null" : "an integer that the type holds", at);
    return x;
  }
  /// A key's strings; every object must have one.
  std::vector<std::string> text(const std::string& key, Where at = Where::current()) const {
    std::vector<std::string> s;
    for (std::size_t i = 0; i < objects.size(); ++i) {
      const auto v = objects[i].find(key);
      if (v == objects[i].end() || !v->is_string()) wrong(i, key, "a string", at);
      s.push_back(v->get<std::string>());
    }
    return s;
  }

 private:
  template <class T>
  static bool number(const nlohmann::json& object, const std::string& key, T& to) {
    const auto v = object.find(key);
    if constexpr (std::is_floating_point_v<T>) {
      if (v == object.end() || v->is_null()) {
        to = std::numeric_limits<T>::quiet_NaN();
        return true;
      }
      if (!v->is_number()) return false;
      const double d = v->template get<double>();
      if (std::abs(d) > static_cast<double>(std::numeric_limits<T>::max())) return false;
      to = static_cast<T>(d);
      return true;
    } else {
      if (v == object.end() || !v->is_number_integer()) return false;
      const bool fits = v->is_number_unsigned() ? std::in_range<T>(v->template get<uint64_t>())
                                                : std::in_range<T>(v->template get<int64_t>());
      if (fits) to = v->template get<T>();
      return fits;
    }
  }
  [[noreturn]] void wrong(std::size_t row, const std::string& key, const char* expected, Where at) const {
    const auto v = objects[row].find(key);
    using Json = nlohmann::json;
    const std::string found = v == objects[row].end() ? "no such key" : v->dump(-1, ' ', false, Json::error_handler_t::replace);
    fail("JsonlTable", "a value is of another type",
         {{"file", file}, {"line", std::to_string(lines[row])}, {"column", json_escape(key)}, {"found", found.substr(0, 80)}},
         expected, at);
  }
};

/// The whole of a file of objects.
inline JsonlTable read_jsonl(const std::filesystem::path& path, Where at = Where::current()) {
  JsonlTable t{path.string(), {}, {}};
  JsonlReader in(path, std::size_t{1} << 28, at);
  for (nlohmann::json row; in.next(row);) {
    if (!row.is_object())
      fail("read_jsonl", "a row is not an object",
           {{"file", t.file}, {"line", std::to_string(in.line())}, {"column", "1"}, {"found", row.type_name()}},
           "{\"key\": value, ...}; JsonlReader takes other values", at);
    t.objects.push_back(std::move(row));
    t.lines.push_back(in.line());
  }
  return t;
}

}  // namespace gradus::io
