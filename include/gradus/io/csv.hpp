// CSV and its relatives (RFC 4180): a table of text, and its columns as numbers.
//
//   const auto table = io::read_csv("iris.csv");                        // separator ',', first line names the columns
//   const auto x = table.numbers<float>({"length", "width"});           // [N, 2]; empty fields and NA are NaN
//   const auto t = table.categories("species");                         // t.labels : [N], t.names sorted
//
// A field in quotes may hold separators, line ends and doubled quotes. Lines end in \n, \r\n or \r; a last line without an end
// counts, an empty last line does not. Every row has as many fields as the first. .gz files are inflated on the way. The format
// has no check sum, and a file that is cut at the end of a field is a good one: where the number of rows is known, check it.
#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <gradus/io/gzip.hpp>
#include <gradus/io/json.hpp>
#include <gradus/tensor/tensor.hpp>

namespace gradus::io {

struct CsvOptions {
  char separator = ',';
  char quote = '"';    ///< 0: none
  bool header = true;  ///< the first row names the columns; else they are "0", "1", ...
  char comment = 0;    ///< lines that begin with it are passed over; 0: none
  bool trim = false;   ///< blanks around fields without quotes are not part of them
  std::vector<std::string> missing = {"", "NA", "NaN", "nan", "null", "?"};  ///< fields that are no value
};

/// Numbers of names: labels[i] is the place of row i's text in `names`, -1 where it is missing.
struct Categories {
  Tensor<int64_t> labels;          ///< [N]
  std::vector<std::string> names;  ///< sorted by bytes
};

enum class CsvType { integer, real, text };

/// A table of text, row after row.
class CsvTable {
 public:
  std::string file;
  std::vector<std::string> columns;
  std::vector<std::string> fields;  ///< [rows x columns]
  std::vector<int64_t> lines;       ///< the line of each row, from 1
  std::vector<std::string> missing;

  int64_t rows() const { return static_cast<int64_t>(lines.size()); }
  const std::string& at(int64_t row, std::size_t column) const {
    return fields[static_cast<std::size_t>(row) * columns.size() + column];
  }
  bool is_missing(int64_t row, std::size_t column) const {
    return std::find(missing.begin(), missing.end(), at(row, column)) != missing.end();
  }
  std::size_t column(const std::string& name, Where at = Where::current()) const {
    const auto found = std::find(columns.begin(), columns.end(), name);
    if (found == columns.end()) {
      std::string all;
      for (const auto& c : columns) all += (all.empty() ? "" : ", ") + json_escape(c);
      fail("CsvTable", "no column \"" + json_escape(name) + "\"", {{"file", file}, {"columns", all}}, "one of them", at);
    }
    return static_cast<std::size_t>(found - columns.begin());
  }
  /// integer where every value is one that int64 holds, real where every value is a number, else text; missing ones do not
  /// count.
  CsvType type(std::size_t column) const {
    CsvType t = CsvType::integer;
    bool any = false;
    for (int64_t i = 0; i < rows(); ++i) {
      if (is_missing(i, column)) continue;
      any = true;
      int64_t whole;
      double real;
      if (t == CsvType::integer && !parse(at(i, column), whole)) t = CsvType::real;
      if (t == CsvType::real && !parse(at(i, column), real)) return CsvType::text;
    }
    return any ? t : CsvType::text;
  }
  /// Columns as numbers, [N, columns]. A missing value is NaN, and an error where T has none; so is a value that T cannot hold.
  template <class T>
  Tensor<T> numbers(const std::vector<std::string>& names, Where where = Where::current()) const {
    Tensor<T> x(Shape{rows(), static_cast<int64_t>(names.size())}, where);
    for (std::size_t k = 0; k < names.size(); ++k) {
      const std::size_t c = column(names[k], where);
      for (int64_t i = 0; i < rows(); ++i) {
        T& to = x.data()[i * static_cast<int64_t>(names.size()) + static_cast<int64_t>(k)];
        if (std::is_floating_point_v<T> && is_missing(i, c)) to = std::numeric_limits<T>::quiet_NaN();
        else if (!parse(at(i, c), to))
          fail("CsvTable", "a field is not a number",
               {{"file", file},
                {"line", std::to_string(lines[static_cast<std::size_t>(i)])},
                {"column", json_escape(columns[c])},
                {"found", '"' + json_escape(at(i, c)) + '"'}},
               std::is_floating_point_v<T> ? "a number that the type holds, or a missing value"
                                           : "an integer that the type holds",
               where);
      }
    }
    return x;
  }
  /// A column of names, numbered in their order.
  Categories categories(const std::string& name, Where where = Where::current()) const {
    const std::size_t c = column(name, where);
    Categories r{Tensor<int64_t>(Shape{rows()}, where), {}};
    for (int64_t i = 0; i < rows(); ++i)
      if (!is_missing(i, c)) r.names.push_back(at(i, c));
    std::sort(r.names.begin(), r.names.end());
    r.names.erase(std::unique(r.names.begin(), r.names.end()), r.names.end());
    for (int64_t i = 0; i < rows(); ++i)
      r.labels.data()[i] = is_missing(i, c) ? -1 : std::lower_bound(r.names.begin(), r.names.end(), at(i, c)) - r.names.begin();
    return r;
  }

 private:
  template <class T>
  static bool parse(const std::string& s, T& to) {
    const char *begin = s.data() + (s.size() > 1 && s[0] == '+' && s[1] != '-' ? 1 : 0), *end = s.data() + s.size();
    const auto r = std::from_chars(begin, end, to);
    return r.ec == std::errc() && r.ptr == end;
  }
};

namespace detail {

class CsvReader {
 public:
  CsvReader(const std::string& text, const std::string& file, const CsvOptions& o, Where at) : s_(text), o_(o), at_(at) {
    table_.file = file, table_.missing = o.missing;
    if (o.separator == o.quote || o.separator == '\n' || o.separator == '\r' || o.quote == '\n')
      fail("read_csv", "separator and quote cannot be told apart", {{"file", file}},
           "a separator that is neither the quote nor a line end", at);
    if (s_.substr(0, 3) == "\xef\xbb\xbf") i_ = 3;  // byte order mark
  }
  CsvTable read() {
    std::vector<std::string> row;
    for (bool first = true; i_ < s_.size();) {
      if (o_.comment && s_[i_] == o_.comment) {
        while (i_ < s_.size() && !line_end()) ++i_;
        skip_line_end();
        continue;
      }
      const int64_t line = line_;
      read_row(row);
      if (first && o_.header) {
        for (std::size_t a = 0; a < row.size(); ++a)
          if (std::find(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(a), row[a]) !=
              row.begin() + static_cast<std::ptrdiff_t>(a))
            bad("two columns are named \"" + json_escape(row[a]) + "\"", "names that differ", line);
        table_.columns = row;
      } else {
        if (first)
          for (std::size_t a = 0; a < row.size(); ++a) table_.columns.push_back(std::to_string(a));
        if (row.size() != table_.columns.size())
          bad("a row of " + std::to_string(row.size()) + " fields",
              std::to_string(table_.columns.size()) + " fields, as in the first row", line);
        for (auto& f : row) table_.fields.push_back(std::move(f));
        table_.lines.push_back(line);
      }
      first = false;
    }
    if (table_.columns.empty()) bad("an empty table", o_.header ? "a row with the columns' names" : "at least one row", line_);
    return std::move(table_);
  }

 private:
  [[noreturn]] void bad(const std::string& problem, const std::string& expected, int64_t line) const {
    fail("read_csv", problem,
         {{"file", table_.file},
          {"line", std::to_string(line)},
          {"offset", std::to_string(i_) + " of " + std::to_string(s_.size())}},
         expected, at_);
  }
  bool line_end() const { return s_[i_] == '\n' || s_[i_] == '\r'; }
  void skip_line_end() {
    if (i_ >= s_.size()) return;
    i_ += s_.substr(i_, 2) == "\r\n" ? 2 : 1;
    ++line_;
  }
  void read_row(std::vector<std::string>& row) {
    row.clear();
    for (;;) {
      row.push_back(field());
      if (i_ >= s_.size() || line_end()) break;
      ++i_;  // the separator
    }
    skip_line_end();
  }
  std::string field() {
    const auto blank = [&](char c) { return (c == ' ' || c == '\t') && c != o_.separator; };
    if (o_.trim)
      while (i_ < s_.size() && blank(s_[i_])) ++i_;
    std::string f;
    if (o_.quote && i_ < s_.size() && s_[i_] == o_.quote) {
      const int64_t line = line_;
      for (++i_;; ++i_) {
        if (i_ >= s_.size())
          bad("the file ends inside quotes", "the closing quote of the field that begins in line " + std::to_string(line),
              line);
        if (s_[i_] == o_.quote) {
          if (i_ + 1 >= s_.size() || s_[i_ + 1] != o_.quote) break;
          ++i_;
        } else if (s_[i_] == '\n' || (s_[i_] == '\r' && s_.substr(i_, 2) != "\r\n")) ++line_;
        f += s_[i_];
      }
      ++i_;
      if (o_.trim)
        while (i_ < s_.size() && blank(s_[i_])) ++i_;
      if (i_ < s_.size() && s_[i_] != o_.separator && !line_end())
        bad("text after the closing quote: \"" + json_escape(s_.substr(i_, 1)) + '"', "the separator or the end of the line",
            line_);
      return f;
    }
    const std::size_t begin = i_;
    while (i_ < s_.size() && s_[i_] != o_.separator && !line_end()) {
      if (s_[i_] == '\0') bad("a zero byte", "text", line_);
      if (o_.quote && s_[i_] == o_.quote)
        bad("a quote inside a field without quotes", "the field in quotes, and the quote doubled", line_);
      ++i_;
    }
    f = s_.substr(begin, i_ - begin);
    if (o_.trim)
      while (!f.empty() && blank(f.back())) f.pop_back();
    return f;
  }

  std::string_view s_;
  const CsvOptions& o_;
  Where at_;
  CsvTable table_;
  std::size_t i_ = 0;
  int64_t line_ = 1;
};

/// The whole of a file, inflated where it is gzip.
inline std::string read_all(const std::filesystem::path& path, const char* op, Where at) {
  ByteReader in(path, op, at);
  std::string s;
  uint8_t block[1 << 14];
  while (const std::size_t n = in.read(block, sizeof block)) s.append(reinterpret_cast<const char*>(block), n);
  return s;
}

}  // namespace detail

/// The table in a text; `file` is for errors.
inline CsvTable parse_csv(const std::string& text, const std::string& file, const CsvOptions& o = {},
                          Where at = Where::current()) {
  return detail::CsvReader(text, file, o, at).read();
}

inline CsvTable read_csv(const std::filesystem::path& path, const CsvOptions& o = {}, Where at = Where::current()) {
  return parse_csv(detail::read_all(path, "read_csv", at), path.string(), o, at);
}

}  // namespace gradus::io
