#include <fstream>

#include <zlib.h>

#include <gradus/io/jsonl.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;

namespace {
io::JsonlTable parse(const std::string& s) {
  TempDir dir;
  std::ofstream(dir / "t.jsonl", std::ios::binary) << s;
  return io::read_jsonl(dir / "t.jsonl");
}
template <class F>
std::string lacks(F&& f, const std::vector<std::string>& parts) {
  return check::missing(check::error_of(f), parts);
}
}  // namespace

TEST_CASE("jsonl: line ends, byte order mark, blank lines, columns", "[io]") {
  const auto t = parse(
      "\xef\xbb\xbf{\"a\": 1, \"b\": 0.5, \"s\": \"x\"}\r\n\n \t\r\n"
      "{\"s\": \"\\u00e9\", \"a\": 9223372036854775807, \"b\": null}\n{\"a\": -2, \"s\": \"\"}");
  CHECK(t.lines == std::vector<int64_t>{1, 4, 5});
  CHECK(t.text("s") == std::vector<std::string>{"x", "\xc3\xa9", ""});
  CHECK(t.numbers<int64_t>({"a"}).to_vector() == std::vector<int64_t>{1, INT64_MAX, -2});
  const auto b = t.numbers<double>({"b"});
  CHECK(b.shape() == Shape{3, 1});
  CHECK(check::difference(b.to_vector(), std::vector<double>{0.5, NAN, NAN}, 0, 0) == "");
  CHECK(parse("").rows() == 0);
}

TEST_CASE("jsonl: errors name file, line, column, found, expected", "[io]") {
  CHECK(lacks([] { parse("{}\n{\"a\": x}\n"); }, {"t.jsonl", "line      2", "column    7", "x}", "one JSON value"}) == "");
  CHECK(lacks([] { parse("{} {}"); }, {"line      1", "one JSON value"}) == "");
  CHECK(lacks([] { parse("{\"a\": \"\xff\"}"); }, {"not JSON", "line      1"}) == "");
  CHECK(lacks([] { parse("{\"a\": 1e999}"); }, {"cannot be kept", "line      1"}) == "");
  CHECK(lacks([] { parse("{}\n[1]"); }, {"line      2", "array", "not an object"}) == "");
  const auto t = parse("{\"a\": 1, \"c\": 1e300}\n{\"a\": \"q\", \"b\": 300, \"c\": 1}");
  CHECK(lacks([&] { t.numbers<float>({"a"}); }, {"t.jsonl", "line      2", "column    a", "\"q\"", "a number"}) == "");
  CHECK(lacks([&] { t.numbers<int64_t>({"b"}); }, {"line      1", "no such key", "an integer"}) == "");
  CHECK(lacks([&] { t.numbers<float>({"c"}); }, {"line      1", "that the type holds"}) == "");
  CHECK(lacks([&] { t.text("a"); }, {"line      1", "a string"}) == "");
}

TEST_CASE("jsonl: a stream of lines, also over the blocks' ends and from gzip", "[io]") {
  TempDir dir;
  std::string s;
  for (int i = 0; i < 3000; ++i)
    s += "{\"i\": " + std::to_string(i) + ", \"s\": \"" + std::string(std::size_t(i % 97), 'x') + "\"}\n";
  std::ofstream(dir / "a.jsonl", std::ios::binary) << s;
  const gzFile z = gzopen((dir / "a.jsonl.gz").c_str(), "wb");
  CHECK(gzwrite(z, s.data(), static_cast<unsigned>(s.size())) == static_cast<int>(s.size()));
  gzclose(z);
  for (const char* name : {"a.jsonl", "a.jsonl.gz"}) {
    io::JsonlReader in(dir / name);
    int64_t wrong = 0, n = 0;
    for (nlohmann::json row; in.next(row); ++n) wrong += row["i"] != n || in.line() != n + 1;
    CHECK(n == 3000);
    CHECK(wrong == 0);
  }
  nlohmann::json row;
  io::JsonlReader narrow(dir / "a.jsonl", 20);
  CHECK(lacks([&] { while (narrow.next(row)) {} }, {"too long", "at most 20 bytes"}) == "");
}

TEST_CASE("jsonl: cut and changed files give an error or a table", "[io]") {
  const std::string good =
      "\xef\xbb\xbf{\"a\": [1, -2.5e3, null], \"s\": \"\\ud83d\\ude00 \xc3\xa9\"}\r\n{\"a\": {\"b\": true}}\n";
  const auto try_one = [](const std::string& s) {
    try {
      const auto t = parse(s);
      return t.rows() <= 3;
    } catch (const Error&) {
      return true;
    }
  };
  int bad = 0;
  for (std::size_t n = 0; n <= good.size(); ++n) bad += !try_one(good.substr(0, n));
  for (std::size_t i = 0; i < good.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string s = good;
      s[i] = static_cast<char>(s[i] ^ (1 << bit));
      bad += !try_one(s);
    }
  CHECK(bad == 0);
}
