#include <fstream>

#include <zlib.h>

#include <gradus/io/text.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;
using Pieces = std::vector<std::string>;

namespace {
std::string parse(const std::string& s) {
  TempDir dir;
  std::ofstream(dir / "t.txt", std::ios::binary) << s;
  return io::read_utf8(dir / "t.txt");
}
}  // namespace

TEST_CASE("text: line ends, byte order mark, pieces, gzip", "[io]") {
  CHECK(parse("\xef\xbb\xbf" "a\r\nb\rc\n\xc3\xa9") == "a\nb\nc\n\xc3\xa9");
  CHECK(parse("") == "");
  CHECK(io::lines("a\n\nb") == Pieces{"a", "", "b"});
  CHECK(io::lines("a\n") == Pieces{"a"});
  CHECK(io::paragraphs("\n\na\nb\n \t\n\nc\n") == Pieces{"a\nb", "c"});
  CHECK(io::documents("a\n\nb\n<end>\n\n<end>\nc\n<end>\n", "<end>") == Pieces{"a\n\nb", "c"});
  TempDir dir;
  const gzFile z = gzopen((dir / "a.gz").c_str(), "wb");
  CHECK(gzwrite(z, "zip\n", 4) == 4);
  gzclose(z);
  CHECK(io::read_utf8(dir / "a.gz") == "zip\n");
}

TEST_CASE("text: what UTF-8 is", "[io]") {
  for (const char* good : {"", "a\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
    CHECK(!io::utf8_error(good));
  // A lone continuation, overlong forms, a surrogate, above U+10FFFF, cut characters.
  for (const char* bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
                          "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xe2\x28\xa1"}) {
    CHECK(io::utf8_error(bad) == std::size_t{0});
    CHECK(io::utf8_error("ab" + std::string(bad)) == std::size_t{2});
  }
  CHECK(check::missing(check::error_of([] { parse("ab\ncd\xe9" "e\n"); }),
                       {"t.txt", "offset    5 of 8", "line      2", "column    3", "found     0xe9", "UTF-8", "iconv"}) == "");
}
