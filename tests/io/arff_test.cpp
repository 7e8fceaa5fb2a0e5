#include <fstream>

#include <zlib.h>

#include <gradus/io/arff.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;

namespace {
io::ArffTable parse(const std::string& s) {
  TempDir dir;
  std::ofstream(dir / "t.arff", std::ios::binary) << s;
  return io::read_arff(dir / "t.arff");
}
template <class F>
std::string lacks(F&& f, const std::vector<std::string>& parts) {
  return check::missing(check::error_of(f), parts);
}
const std::string header = "@relation r\n@attribute a numeric\n@attribute c {x, y}\n@data\n";
}  // namespace

TEST_CASE("arff: types, quotes, comments, missing values, line ends", "[io]") {
  const auto t = parse(
      "\xef\xbb\xbf% a comment\r\n\r\n@RELATION 'two words'\r\n"
      "@Attribute length REAL\r\n@attribute 'the \\'class\\'' {Iris-setosa, \"b c\", '?'} % three\r\n"
      "@attribute note string\n@attribute n integer\n@ATTRIBUTE day date \"dd.MM.yyyy\"\n\n@DATA\n"
      "5.1,Iris-setosa,'a, \\\"b\\\" %', +3 ,01.03.2024\r\n"
      "% between\n"
      "?\t'b c'   ?\t-4 31.12.1969, {2.5}\n"
      "-1e-3,'?',x,?,?");
  CHECK(t.relation == "two words");
  CHECK(t.rows() == 3);
  CHECK(t.lines == std::vector<int64_t>{11, 13, 14});
  CHECK(t.weights == std::vector<double>{1, 2.5, 1});
  const auto x = t.numbers<double>({"length", "n"});
  CHECK(x.shape() == Shape{3, 2});
  CHECK(check::difference(x.to_vector(), std::vector<double>{5.1, 3, NAN, -4, -1e-3, NAN}, 0, 0) == "");
  const auto c = t.categories("the 'class'");
  CHECK(c.names == std::vector<std::string>{"Iris-setosa", "b c", "?"});
  CHECK(c.labels.to_vector() == std::vector<int64_t>{0, 1, 2});
  CHECK(t.text("note") == std::vector<std::string>{"a, \"b\" %", "", "x"});
  CHECK(check::difference(t.numbers<double>({"day"}).to_vector(), std::vector<double>{1709251200, -86400, NAN}, 0, 0) == "");
  CHECK(parse(header).rows() == 0);
}

TEST_CASE("arff: dates", "[io]") {
  const auto seconds = [](const std::string& format, const std::string& text) {
    return parse("@relation r\n@attribute d date " + format + "\n@data\n\"" + text + "\"\n").numbers<double>({"d"}).item();
  };
  CHECK(seconds("", "2001-04-03T12:12:12") == 986299932);
  CHECK(seconds("'yyyyMMdd HHmmss.SSS'", "20000229 235959.250") == 951868799.25);
  CHECK(seconds("yy", "69") == 3124224000);                    // 2069
  CHECK(seconds("yy", "70") == 0);
  CHECK(lacks([&] { seconds("", "2001-02-29T00:00:00"); }, {"no date of attribute \"d\"", "line      4", "yyyy-MM-dd'T'HH:mm:ss"}) == "");
  CHECK(lacks([&] { seconds("", "1900-02-29T00:00:00"); }, {"no date"}) == "");
  CHECK(lacks([&] { seconds("\"EEE\"", "Mon"); }, {"a date format with EEE", "line      2", "y M d H m s S"}) == "");
}

TEST_CASE("arff: sparse rows and labels that hold together", "[io]") {
  const auto t = parse(
      "@relation scene\n@attribute x numeric\n@attribute w string\n@attribute Beach {0,1}\n@attribute Sunset {0,1}\n@data\n"
      "{0 1.5, 3 1}\n{}\n{2 1,1 hot , 3 1},{3}\n{ 0 ? }\n0.5,cold,1,0\n");
  CHECK(t.last(2) == std::vector<std::string>{"Beach", "Sunset"});
  CHECK(t.first(1) == std::vector<std::string>{"x"});
  CHECK(t.flags<float>(t.last(2)).to_vector() == std::vector<float>{0, 1, 0, 0, 1, 1, 0, 0, 1, 0});
  CHECK(check::difference(t.numbers<double>({"x"}).to_vector(), std::vector<double>{1.5, 0, 0, NAN, 0.5}, 0, 0) == "");
  CHECK(t.text("w") == std::vector<std::string>{"", "", "hot", "", "cold"});
  CHECK(t.weights[2] == 3);
  CHECK(lacks([&] { t.flags<float>({"x"}); }, {"line      7", "attribute x", "found     1.5", "0 or 1"}) == "");
}

TEST_CASE("arff: errors name file, line, column, found, expected", "[io]") {
  CHECK(lacks([] { parse(header + "1,z\n"); }, {"t.arff", "line      5", "column    3", "\"z\"", "not declared of attribute \"c\"", "x, y"}) == "");
  CHECK(lacks([] { parse(header + "1\n"); }, {"line      5", "a row of 1 values", "2 values"}) == "");
  CHECK(lacks([] { parse(header + "1,x,3\n"); }, {"a row of more than 2 values"}) == "");
  CHECK(lacks([] { parse(header + "1,,x\n"); }, {"no value", "missing value is ?"}) == "");
  CHECK(lacks([] { parse(header + "q,x\n"); }, {"column    1", "no numeric of attribute \"a\"", "a number or ?"}) == "");
  CHECK(lacks([] { parse(header + "1e999,x\n"); }, {"no numeric"}) == "");
  CHECK(lacks([] { parse(header + "1,'x\n"); }, {"column    3", "ends inside quotes"}) == "");
  CHECK(lacks([] { parse(header + "{2 x}\n"); }, {"names attribute 2", "from 0 to 1"}) == "");
  CHECK(lacks([] { parse(header + "{0 1, 0 2}\n"); }, {"names attribute 0 twice"}) == "");
  CHECK(lacks([] { parse(header + "{0 1\n"); }, {"a sparse row does not end"}) == "");
  CHECK(lacks([] { parse(header + "1,x,{-1}\n"); }, {"a weight"}) == "");
  CHECK(lacks([] { parse("@relation r\n@attribute a relational\n"); }, {"line      2", "of type relational", "numeric, real"}) == "");
  CHECK(lacks([] { parse("@relation r\n@attribute a real\n@attribute a real\n@data\n"); }, {"line      3", "two attributes are named \"a\""}) == "");
  CHECK(lacks([] { parse("@relation r\n@attribute a {x,x}\n@data\n"); }, {"comes twice"}) == "");
  CHECK(lacks([] { parse("@relation r\n@attribute a {x\n@data\n"); }, {"does not end"}) == "");
  CHECK(lacks([] { parse("@relation r\n"); }, {"ends before its data", "@data"}) == "");
  CHECK(lacks([] { parse("@attribute a real\n@data\n"); }, {"no @relation"}) == "");
  CHECK(lacks([] { parse("@relation r\n@data\n"); }, {"no @attribute"}) == "");
  CHECK(lacks([] { parse("a,b\n"); }, {"line      1", "unknown keyword"}) == "");
  CHECK(lacks([] { parse(header + std::string("1,\0", 3)); }, {"a zero byte"}) == "");
  const auto t = parse(header + "1.5,x\n?,?\n");
  CHECK(lacks([&] { t.numbers<int64_t>({"a"}); }, {"line      5", "found     1.5", "an integer"}) == "");
  CHECK(lacks([&] { t.numbers<float>({"c"}); }, {"attribute c", "type      nominal", "numeric or date"}) == "");
  CHECK(lacks([&] { t.categories("a"); }, {"type      numeric", "nominal"}) == "");
  CHECK(lacks([&] { t.text("b"); }, {"no attribute \"b\"", "a, c"}) == "");
  CHECK(lacks([&] { t.last(3); }, {"asked for", "at most 2"}) == "");
  CHECK(t.categories("c").labels.to_vector() == std::vector<int64_t>{0, -1});
}

TEST_CASE("arff: cut and changed files give an error or a table, never a crash", "[io]") {
  const std::string good =
      "@relation r\n@attribute a numeric\n@attribute 'c d' {x, 'y z'}\n@attribute s string\n@attribute d date 'yyyy-MM-dd'\n@data\n"
      "1.5,x,\"a b\",2020-01-02,{2}\n{1 'y z', 3 1999-12-31}\n?,?,?,?\n";
  int errors = 0, tables = 0;
  const auto read = [&](const std::string& s) {
    try {
      const auto t = parse(s);
      for (int64_t i = 0; i < t.rows(); ++i)
        for (std::size_t a = 0; a < t.attributes.size(); ++a) t.value(i, a);
      ++tables;
    } catch (const Error&) {
      ++errors;
    }
  };
  for (std::size_t n = 0; n < good.size(); ++n) read(good.substr(0, n));
  for (std::size_t i = 0; i < good.size(); ++i)
    for (const char c : {'\0', '\'', '{', ',', '?', '\xff', '\n', '%'}) {
      std::string s = good;
      s[i] = c;
      read(s);
    }
  CHECK(errors > 300);
  CHECK(tables > 50);
}

TEST_CASE("arff: gzip", "[io]") {
  TempDir dir;
  const std::string s = header + "2,y\n";
  const gzFile z = gzopen((dir / "a.arff.gz").c_str(), "wb");
  CHECK(gzwrite(z, s.data(), static_cast<unsigned>(s.size())) == static_cast<int>(s.size()));
  gzclose(z);
  CHECK(io::read_arff(dir / "a.arff.gz").numbers<float>({"a"}).item() == 2);
}
