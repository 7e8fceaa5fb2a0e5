#include <fstream>

#include <zlib.h>

#include <gradus/io/csv.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;
using io::CsvType;

namespace {
io::CsvTable parse(const std::string& s, const io::CsvOptions& o = {}) { return io::parse_csv(s, "t.csv", o); }
std::string error(const std::string& s, const io::CsvOptions& o = {}) {
  return check::error_of([&] { parse(s, o); });
}
std::string quoted(const std::string& s) {
  std::string q = "\"";
  for (const char c : s) q += c == '"' ? "\"\"" : std::string(1, c);
  return q + '"';
}
}  // namespace

TEST_CASE("csv: quotes, line ends, header, separators, comments, blanks", "[io]") {
  const auto t = parse(
      "\xef\xbb\xbf"
      "a,\"b,\"\"c\"\"\"\r\n1,\"x\r\ny\"\r,\n\"\",z");
  CHECK(t.columns == std::vector<std::string>{"a", "b,\"c\""});
  CHECK(t.fields == std::vector<std::string>{"1", "x\r\ny", "", "", "", "z"});
  CHECK(t.lines == std::vector<int64_t>{2, 4, 5});
  CHECK(parse("1;2\n3;4\n", {.separator = ';', .header = false}).columns == std::vector<std::string>{"0", "1"});
  const auto c = parse("# note\nx\ty\n 1 \t\"2\" \n# more\n3\t4", {.separator = '\t', .comment = '#', .trim = true});
  CHECK(c.fields == std::vector<std::string>{"1", "2", "3", "4"});
  CHECK(c.lines == std::vector<int64_t>{3, 5});
  CHECK(parse("a\n \n").fields == std::vector<std::string>{" "});
}

TEST_CASE("csv: types, numbers, missing values, categories", "[io]") {
  const auto t = parse("i,r,s,m,k\n1,0.5,b,NA,9223372036854775807\n-2,1e-3,a,,+3\n3,NA,b,?,0\n");
  CHECK(t.type(0) == CsvType::integer);
  CHECK(t.type(1) == CsvType::real);
  CHECK(t.type(2) == CsvType::text);
  CHECK(t.type(3) == CsvType::text);
  CHECK(t.type(4) == CsvType::integer);
  const auto x = t.numbers<double>({"r", "i"});
  CHECK(x.shape() == Shape{3, 2});
  CHECK(check::difference(x.to_vector(), std::vector<double>{0.5, 1, 1e-3, -2, NAN, 3}, 0, 0) == "");
  CHECK(t.numbers<int64_t>({"k"}).to_vector() == std::vector<int64_t>{INT64_MAX, 3, 0});
  const auto s = t.categories("s");
  CHECK(s.names == std::vector<std::string>{"a", "b"});
  CHECK(s.labels.to_vector() == std::vector<int64_t>{1, 0, 1});
  CHECK(t.categories("m").labels.to_vector() == std::vector<int64_t>{-1, -1, -1});
  CHECK(check::missing(check::error_of([&] { t.numbers<float>({"s"}); }),
                       {"t.csv", "line      2", "column    s", "\"b\"", "a number"}) == "");
  CHECK(check::missing(check::error_of([&] { t.numbers<int64_t>({"r"}); }), {"\"0.5\"", "an integer"}) == "");
  CHECK(check::missing(check::error_of([&] { t.numbers<int32_t>({"k"}); }), {"9223372036854775807"}) == "");
  CHECK(check::missing(check::error_of([&] { t.numbers<float>({"q"}); }), {"no column \"q\"", "i, r, s, m, k"}) == "");
}

TEST_CASE("csv: errors name file, line, what was found and expected", "[io]") {
  CHECK(check::missing(error(""), {"read_csv", "t.csv", "an empty table", "names"}) == "");
  CHECK(check::missing(error("a,b\n1,2\n3\n"), {"a row of 1 fields", "line      3", "2 fields"}) == "");
  CHECK(check::missing(error("a,b\n1,\"2\n3\n"), {"ends inside quotes", "line 2"}) == "");
  CHECK(check::missing(error("a\n\"1\"2\n"), {"text after the closing quote: \"2\"", "line      2", "offset    5 of 7"}) == "");
  CHECK(check::missing(error("a\n1\"2\n"), {"a quote inside a field"}) == "");
  CHECK(check::missing(error("a,a\n"), {"two columns are named \"a\""}) == "");
  CHECK(check::missing(error(std::string("a\n\0\n", 4)), {"a zero byte"}) == "");
  CHECK(check::missing(error("a\n", {.separator = '"'}), {"told apart"}) == "");
}

TEST_CASE("csv: any fields come back; cut or with a flipped bit, an error or a whole table", "[io]") {
  const std::vector<std::string> fields{"a", "", "x,y", "\"", "\"\"", "\n", "\r\n", "é", " ", "1.5", "#", "'"};
  std::string s = "p,q,r\n";
  for (std::size_t i = 0; i < fields.size(); ++i) s += quoted(fields[i]) + (i % 3 == 2 ? "\n" : ",");
  CHECK(parse(s).fields == fields);
  s += "7,8,9\n";
  std::vector<std::string> all = fields;
  for (const char* f : {"7", "8", "9"}) all.emplace_back(f);
  std::size_t unlike = 0, wrong = 0, errors = 0;
  for (std::size_t n = 0; n < s.size(); ++n) {
    io::CsvTable t;
    const std::string e = check::error_of([&] { t = parse(s.substr(0, n)); });
    if (e != "no error") ++errors, unlike += check::missing(e, {"t.csv", "line", "offset", "expected"}) != "";
    else if (n >= 6) {  // a header that is whole: the rows are the first ones, the last field may be cut
      wrong += t.fields.size() != 3 * t.lines.size();
      for (std::size_t i = 0; i + 1 < t.fields.size(); ++i) wrong += t.fields[i] != all[i];
    }
  }
  CHECK(errors > s.size() / 2);
  for (std::size_t bit = 0; bit < 8 * s.size(); ++bit) {
    std::string b = s;
    b[bit / 8] = static_cast<char>(b[bit / 8] ^ (1 << bit % 8));
    io::CsvTable t;
    const std::string e = check::error_of([&] { t = parse(b); });
    if (e != "no error") unlike += check::missing(e, {"t.csv", "line", "offset", "expected"}) != "";
    else wrong += t.fields.size() != t.columns.size() * t.lines.size();
  }
  CHECK(unlike == 0);
  CHECK(wrong == 0);
}

TEST_CASE("csv: compressed files", "[io]") {
  const TempDir dir;
  const gzFile f = gzopen((dir / "t.csv.gz").c_str(), "wb");
  gzputs(f, "a,b\n1,2\n");
  gzclose(f);
  CHECK(io::read_csv(dir / "t.csv.gz").numbers<float>({"b"}).item() == 2);
  std::filesystem::resize_file(dir / "t.csv.gz", std::filesystem::file_size(dir / "t.csv.gz") - 1);
  CHECK(check::missing(check::error_of([&] { io::read_csv(dir / "t.csv.gz"); }), {"read_csv", "t.csv.gz", "check sum"}) == "");
}
