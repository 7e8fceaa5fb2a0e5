// ARFF, the attribute-relation files of Weka: what the columns are stands in the file itself.
//
//   const auto t = io::read_arff("iris.arff");
//   const auto x = t.numbers<float>({"sepallength", "petalwidth"});     // [N, 2]; missing values (?) are NaN
//   const auto c = t.categories("class");                               // c.labels : [N], c.names as the file declares them
//   const auto y = t.flags<float>(t.last(14));                          // [N, 14] of 0 and 1: labels that may hold together
//
//   file      = header "@data" *row            keywords in any case; % begins a comment line
//   header    = "@relation" name *("@attribute" name type)
//   type      = "numeric" | "real" | "integer" | "string" | "date" [format] | "{" value *("," value) "}"
//   row       = value *(sep value) ["," "{" weight "}"]      dense; sep: a comma, or blanks
//             | "{" [index value *("," index value)] "}"     sparse: what is not named is 0, the first nominal value, or ""
//
// Names and values may stand in ' or ", in which \ escapes. Dates (a java.text.SimpleDateFormat of y M d H m s S and literal text,
// ISO 8601 when none is given) become seconds since 1970 in UTC. Relational attributes are an error. .gz files are inflated on the way.
#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <gradus/io/csv.hpp>
#include <gradus/io/lines.hpp>

namespace gradus::io {

enum class ArffType { numeric, nominal, text, date };
inline const char* name_of(ArffType t) {
  return t == ArffType::numeric ? "numeric" : t == ArffType::nominal ? "nominal" : t == ArffType::text ? "string" : "date";
}

struct ArffAttribute {
  std::string name;
  ArffType type = ArffType::numeric;
  std::vector<std::string> values;  ///< of a nominal one, in the file's order
  std::string format;               ///< of a date
};

/// A table, row after row.
struct ArffTable {
  std::string file, relation;
  std::vector<ArffAttribute> attributes;
  /// [rows x attributes]: numbers; the place in `values` of nominal ones, in `strings` of texts; seconds of dates; NaN where missing
  std::vector<double> cells;
  std::vector<std::string> strings;
  std::vector<double> weights;  ///< of the rows, 1 where none is given
  std::vector<int64_t> lines;   ///< the line of each row, from 1

  int64_t rows() const { return static_cast<int64_t>(lines.size()); }
  double cell(int64_t row, std::size_t attribute) const { return cells[static_cast<std::size_t>(row) * attributes.size() + attribute]; }
  std::size_t attribute(const std::string& name, Where at = Where::current()) const {
    for (std::size_t a = 0; a < attributes.size(); ++a)
      if (attributes[a].name == name) return a;
    std::string all;
    for (const auto& a : attributes) all += (all.empty() ? "" : ", ") + json_escape(a.name);
    fail("ArffTable", "no attribute \"" + json_escape(name) + '"', {{"file", file}, {"attributes", all}}, "one of them", at);
  }
  /// The names of the first or last n attributes: files with several labels keep them at an end.
  std::vector<std::string> first(std::size_t n, Where at = Where::current()) const { return names(0, n, at); }
  std::vector<std::string> last(std::size_t n, Where at = Where::current()) const { return names(attributes.size() - std::min(n, attributes.size()), n, at); }

  /// Numeric attributes and dates, [N, attributes]. A missing value is NaN, and an error where T has none; so is one that T cannot hold.
  template <class T>
  Tensor<T> numbers(const std::vector<std::string>& of, Where at = Where::current()) const {
    Tensor<T> x(Shape{rows(), static_cast<int64_t>(of.size())}, at);
    for (std::size_t k = 0; k < of.size(); ++k) {
      const std::size_t a = attribute(of[k], at);
      if (attributes[a].type != ArffType::numeric && attributes[a].type != ArffType::date) wrong_type(a, "numeric or date; categories() and text() give others", at);
      for (int64_t i = 0; i < rows(); ++i) {
        const double v = cell(i, a);
        const bool fits = std::is_floating_point_v<T> ? std::isnan(v) || std::abs(v) <= static_cast<double>(std::numeric_limits<T>::max())
                                                      : v == std::floor(v) && v >= static_cast<double>(std::numeric_limits<T>::min()) &&
                                                            v < -2.0 * static_cast<double>(std::numeric_limits<T>::min() / 2);
        if (!fits) wrong_value(i, a, std::is_floating_point_v<T> ? "a number that the type holds, or ?" : "an integer that the type holds", at);
        x.data()[i * static_cast<int64_t>(of.size()) + static_cast<int64_t>(k)] = static_cast<T>(v);
      }
    }
    return x;
  }
  /// A nominal attribute: labels are places among the declared values, -1 where missing.
  Categories categories(const std::string& of, Where at = Where::current()) const {
    const std::size_t a = attribute(of, at);
    if (attributes[a].type != ArffType::nominal) wrong_type(a, "nominal", at);
    Categories c{Tensor<int64_t>(Shape{rows()}, at), attributes[a].values};
    for (int64_t i = 0; i < rows(); ++i) c.labels.data()[i] = std::isnan(cell(i, a)) ? -1 : static_cast<int64_t>(cell(i, a));
    return c;
  }
  /// [N, attributes] of 0 and 1 from nominal attributes of values 0 and 1, or numeric ones that hold nothing else.
  template <class T>
  Tensor<T> flags(const std::vector<std::string>& of, Where at = Where::current()) const {
    Tensor<T> y(Shape{rows(), static_cast<int64_t>(of.size())}, at);
    for (std::size_t k = 0; k < of.size(); ++k) {
      const std::size_t a = attribute(of[k], at);
      for (int64_t i = 0; i < rows(); ++i) {
        const std::string v = value(i, a);
        if (v != "0" && v != "1") wrong_value(i, a, "0 or 1", at);
        y.data()[i * static_cast<int64_t>(of.size()) + static_cast<int64_t>(k)] = static_cast<T>(v == "1");
      }
    }
    return y;
  }
  /// The strings of a string or nominal attribute; "" where missing.
  std::vector<std::string> text(const std::string& of, Where at = Where::current()) const {
    const std::size_t a = attribute(of, at);
    if (attributes[a].type != ArffType::text && attributes[a].type != ArffType::nominal) wrong_type(a, "string or nominal", at);
    std::vector<std::string> s;
    for (int64_t i = 0; i < rows(); ++i) s.push_back(std::isnan(cell(i, a)) ? "" : value(i, a));
    return s;
  }
  /// A value as the file writes it, up to quotes and the form of numbers.
  std::string value(int64_t row, std::size_t attribute) const {
    const double v = cell(row, attribute);
    if (std::isnan(v)) return "?";
    const ArffAttribute& a = attributes[attribute];
    if (a.type == ArffType::nominal) return a.values[static_cast<std::size_t>(v)];
    if (a.type == ArffType::text) return strings[static_cast<std::size_t>(v)];
    char text[64];
    return {text, std::to_chars(text, text + sizeof text, v).ptr};
  }

 private:
  std::vector<std::string> names(std::size_t from, std::size_t n, Where at) const {
    if (n > attributes.size())
      fail("ArffTable", "more attributes than there are", {{"file", file}, {"asked for", std::to_string(n)}}, "at most " + std::to_string(attributes.size()), at);
    std::vector<std::string> list;
    for (std::size_t a = from; a < from + n; ++a) list.push_back(attributes[a].name);
    return list;
  }
  [[noreturn]] void wrong_type(std::size_t a, const char* expected, Where at) const {
    fail("ArffTable", "an attribute of another type", {{"file", file}, {"attribute", json_escape(attributes[a].name)}, {"type", name_of(attributes[a].type)}},
         expected, at);
  }
  [[noreturn]] void wrong_value(int64_t row, std::size_t a, const char* expected, Where at) const {
    fail("ArffTable", "a value that cannot be taken",
         {{"file", file}, {"line", std::to_string(lines[static_cast<std::size_t>(row)])}, {"attribute", json_escape(attributes[a].name)},
          {"found", json_escape(value(row, a))}}, expected, at);
  }
};

namespace detail {

class ArffReader {
 public:
  ArffReader(const std::filesystem::path& path, Where at) : in_(path, "read_arff", std::size_t{1} << 28, at), at_(at) { t_.file = path.string(); }

  ArffTable read() {
    header();
    while (next_line()) {
      if (peek() == '{') sparse_row();
      else dense_row();
      t_.lines.push_back(in_.line());
      if (t_.weights.size() < t_.lines.size()) t_.weights.push_back(1);
    }
    return std::move(t_);
  }

 private:
  static char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
  static std::string lower(std::string s) {
    for (char& c : s) c = lower(c);
    return s;
  }
  [[noreturn]] void bad(const std::string& problem, const std::string& expected) const {
    fail("read_arff", problem,
         {{"file", t_.file}, {"line", std::to_string(in_.line())}, {"column", std::to_string(i_ + 1)}, {"found", '"' + json_escape(line_.substr(std::min(i_, line_.size()), 40)) + '"'}},
         expected, at_);
  }

  // ---- a line and its words ----
  static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }
  void skip_blanks() {
    while (i_ < line_.size() && blank(line_[i_])) ++i_;
  }
  /// The next character that is no blank; 0 at the end of the line.
  char peek() {
    skip_blanks();
    return i_ < line_.size() ? line_[i_] : '\0';
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++i_;
    return true;
  }
  /// The next line with something on it.
  bool next_line() {
    while (in_.next(line_)) {
      i_ = 0;
      if (const std::size_t zero = line_.find('\0'); zero != std::string::npos) i_ = zero, bad("a zero byte", "text");
      if (const char c = peek(); c != '\0' && c != '%') return true;
    }
    return false;
  }
  /// A name or a value; `quoted` says whether it stood in quotes.
  std::string word(const char* what, bool* quoted = nullptr) {
    const char quote = peek();
    if (quoted) *quoted = quote == '\'' || quote == '"';
    std::string w;
    if (quote == '\'' || quote == '"') {
      const std::size_t begin = i_++;
      for (;; ++i_) {
        if (i_ >= line_.size()) i_ = begin, bad("the line ends inside quotes", std::string("the closing ") + quote);
        if (line_[i_] == quote) break;
        if (line_[i_] == '\\' && i_ + 1 < line_.size()) {
          const char c = line_[++i_];
          w += c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
        } else {
          w += line_[i_];
        }
      }
      ++i_;
      if (i_ < line_.size() && !blank(line_[i_]) && line_[i_] != ',' && line_[i_] != '}') bad("text after the closing quote", "a comma, a blank or the end of the line");
      return w;
    }
    while (i_ < line_.size() && !blank(line_[i_]) && line_[i_] != ',' && line_[i_] != '{' && line_[i_] != '}') w += line_[i_++];
    if (w.empty()) bad(std::string("no ") + what, std::string(what) + "; a missing value is ?");
    return w;
  }
  void end_of_line() {
    if (peek() != '\0' && peek() != '%') bad("more than the line may hold", "the end of the line");
  }

  // ---- the header ----
  void header() {
    bool relation = false;
    for (;;) {
      if (!next_line()) i_ = 0, line_.clear(), bad("the file ends before its data", "@data");
      const std::string keyword = lower(word("keyword"));
      if (keyword == "@relation") {
        if (relation) i_ = 0, bad("a second @relation", "one relation in a file");
        t_.relation = word("name of the relation"), relation = true;
        end_of_line();
      } else if (keyword == "@attribute") {
        attribute();
      } else if (keyword == "@data") {
        end_of_line();
        if (!relation) i_ = 0, bad("no @relation before the data", "@relation NAME");
        if (t_.attributes.empty()) i_ = 0, bad("no @attribute before the data", "@attribute NAME TYPE");
        return;
      } else {
        i_ = 0, bad("an unknown keyword", "@relation, @attribute or @data");
      }
    }
  }
  void attribute() {
    ArffAttribute a;
    const std::size_t begin = (skip_blanks(), i_);
    a.name = word("name of the attribute");
    if (!by_name_.emplace(a.name, t_.attributes.size()).second) i_ = begin, bad("two attributes are named \"" + json_escape(a.name) + '"', "names that differ");
    std::unordered_map<std::string, double> places;
    if (take('{')) {
      a.type = ArffType::nominal;
      do {
        skip_blanks();
        const std::size_t at = i_;
        a.values.push_back(word("nominal value"));
        if (!places.emplace(a.values.back(), static_cast<double>(a.values.size() - 1)).second) i_ = at, bad("a nominal value comes twice", "values that differ");
      } while (take(','));
      if (!take('}')) bad("the list of nominal values does not end", "a comma or }");
    } else {
      skip_blanks();
      const std::size_t at = i_;
      const std::string type = lower(word("type"));
      if (type == "string") {
        a.type = ArffType::text;
      } else if (type == "date") {
        a.type = ArffType::date, a.format = "yyyy-MM-dd'T'HH:mm:ss";
        if (peek() != '\0' && peek() != '%') {
          skip_blanks();
          const std::size_t format_at = i_;
          a.format = word("date format");
          double ignored;
          std::string problem;
          if (!date("", a.format, ignored, problem) && !problem.empty()) i_ = format_at, bad(problem, "y M d H m s S, and other text in ''");
        }
      } else if (type != "numeric" && type != "real" && type != "integer") {
        i_ = at, bad("an attribute of type " + json_escape(type), "numeric, real, integer, string, date or {value, ...}");
      }
    }
    end_of_line();
    t_.attributes.push_back(std::move(a));
    places_.push_back(std::move(places));
  }

  // ---- rows ----
  void dense_row() {
    const std::size_t n = t_.attributes.size();
    for (std::size_t a = 0; a < n; ++a) {
      if (a > 0 && !take(',') && peek() == '\0') bad("a row of " + std::to_string(a) + " values", std::to_string(n) + " values, one for each attribute");
      t_.cells.push_back(value(a));
    }
    if (take(',')) weight(n);
    end_of_line();
  }
  void sparse_row() {
    const std::size_t n = t_.attributes.size(), row = t_.cells.size();
    t_.cells.resize(row + n, 0.0);
    ++i_;
    std::vector<bool> given(n);
    while (peek() != '}') {
      skip_blanks();
      const std::size_t at = i_;
      const std::string w = word("index");
      std::size_t a = 0;
      if (const auto r = std::from_chars(w.data(), w.data() + w.size(), a); r.ec != std::errc() || r.ptr != w.data() + w.size() || a >= n)
        i_ = at, bad("a sparse row names attribute " + json_escape(w), "an index from 0 to " + std::to_string(n - 1));
      if (given[a]) i_ = at, bad("a sparse row names attribute " + w + " twice", "each index once");
      given[a] = true;
      t_.cells[row + a] = value(a);
      if (!take(',') && peek() != '}') bad("a sparse row does not end", "a comma or }");
    }
    ++i_;
    for (std::size_t a = 0; a < n; ++a)
      if (!given[a] && t_.attributes[a].type == ArffType::text) t_.cells[row + a] = string_place("");
    if (take(',')) weight(n);
    end_of_line();
  }
  void weight(std::size_t n) {
    if (!take('{')) bad("a row of more than " + std::to_string(n) + " values", "the end of the line or a weight in {}");
    skip_blanks();
    const std::size_t at = i_;
    double w;
    if (!number(word("weight"), w) || !(w >= 0)) i_ = at, bad("a weight that is no number", "a number of 0 or more");
    if (!take('}')) bad("the weight does not end", "}");
    t_.weights.push_back(w);
  }
  double string_place(const std::string& s) {
    const auto [found, fresh] = string_places_.emplace(s, static_cast<double>(t_.strings.size()));
    if (fresh) t_.strings.push_back(s);
    return found->second;
  }
  double value(std::size_t attribute) {
    const ArffAttribute& a = t_.attributes[attribute];
    skip_blanks();
    const std::size_t at = i_;
    bool quoted;
    const std::string w = word("value", &quoted);
    if (w == "?" && !quoted) return std::numeric_limits<double>::quiet_NaN();
    const std::string named = " of attribute \"" + json_escape(a.name) + '"';
    double v = 0;
    if (a.type == ArffType::text) return string_place(w);
    if (a.type == ArffType::nominal) {
      const auto found = places_[attribute].find(w);
      if (found == places_[attribute].end()) {
        std::string all;
        for (std::size_t k = 0; k < std::min<std::size_t>(a.values.size(), 10); ++k) all += (k ? ", " : "") + json_escape(a.values[k]);
        i_ = at, bad("a value that is not declared" + named, all + (a.values.size() > 10 ? ", ..." : ""));
      }
      return found->second;
    }
    std::string problem;
    if (a.type == ArffType::date ? !date(w, a.format, v, problem) : !number(w, v))
      i_ = at, bad("a value that is no " + std::string(name_of(a.type)) + named, a.type == ArffType::date ? "a date as in " + json_escape(a.format) : "a number or ?");
    return v;
  }
  static bool number(const std::string& w, double& v) {
    const char *begin = w.data() + (w.size() > 1 && w[0] == '+' && w[1] != '-' ? 1 : 0), *end = w.data() + w.size();
    const auto r = std::from_chars(begin, end, v);
    return r.ec == std::errc() && r.ptr == end && std::isfinite(v);
  }

  /// Seconds since 1970 of text; false where it does not follow the format, with `problem` where the format itself is not known.
  static bool date(std::string_view text, std::string_view format, double& seconds, std::string& problem) {
    int64_t y = 1970, mo = 1, d = 1, h = 0, mi = 0, s = 0, ms = 0;
    std::size_t t = 0;
    bool ok = true;
    for (std::size_t f = 0; f < format.size();) {
      const char c = format[f];
      if (c == '\'') {                                         // literal text; '' is a quote
        std::size_t end = f + 1;
        std::string literal;
        for (; end < format.size() && format[end] != '\''; ++end) literal += format[end];
        if (end == format.size()) return problem = "a date format with an open quote", false;
        if (literal.empty()) literal = "'";
        ok = ok && text.substr(t, literal.size()) == literal;
        t = std::min(text.size(), t + literal.size()), f = end + 1;
        continue;
      }
      if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z')) {
        ok = ok && t < text.size() && text[t] == c;
        ++t, ++f;
        continue;
      }
      std::size_t run = f;
      while (run < format.size() && format[run] == c) ++run;
      int64_t* to = c == 'y' ? &y : c == 'M' ? &mo : c == 'd' ? &d : c == 'H' ? &h : c == 'm' ? &mi : c == 's' ? &s : c == 'S' ? &ms : nullptr;
      if (!to || (c == 'M' && run - f > 2)) return problem = "a date format with " + std::string(format.substr(f, run - f)), false;
      // Numbers that touch take as many digits as they have letters; others take all.
      const bool touches = run < format.size() && ((format[run] >= 'a' && format[run] <= 'z') || (format[run] >= 'A' && format[run] <= 'Z'));
      std::size_t digits = 0;
      int64_t v = 0;
      while (t < text.size() && text[t] >= '0' && text[t] <= '9' && digits < (touches ? run - f : 9)) v = v * 10 + (text[t++] - '0'), ++digits;
      ok = ok && digits > 0;
      if (c == 'y' && run - f == 2 && digits <= 2) v += v < 70 ? 2000 : 1900;
      *to = v, f = run;
    }
    static constexpr int lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    if (!ok || t != text.size() || mo < 1 || mo > 12 || d < 1 || d > lengths[mo - 1] - (mo == 2 && !leap) || h > 23 || mi > 59 || s > 60 || ms > 999) return false;
    // Days from 1970-01-01 in the Gregorian calendar, years counted from March.
    const int64_t year = mo > 2 ? y : y - 1, era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    const int64_t of_year = (153 * (mo + (mo > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    const int64_t days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
    seconds = static_cast<double>(days * 86400 + h * 3600 + mi * 60 + s) + static_cast<double>(ms) / 1000;
    return true;
  }

  LineReader in_;
  Where at_;
  ArffTable t_;
  std::string line_;
  std::size_t i_ = 0;
  std::unordered_map<std::string, std::size_t> by_name_;
  std::vector<std::unordered_map<std::string, double>> places_;   // of nominal values
  std::unordered_map<std::string, double> string_places_;
};

}  // namespace detail

/// The whole of a file.
inline ArffTable read_arff(const std::filesystem::path& path, Where at = Where::current()) { return detail::ArffReader(path, at).read(); }

}  // namespace gradus::io
