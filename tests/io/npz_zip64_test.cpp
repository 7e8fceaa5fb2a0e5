// ZIP64 (APPNOTE.TXT 4.3.14, 4.3.15, 4.5.3) without a file of 4 GiB: a small archive whose fields are written in the wide form.
#include <cstring>
#include <fstream>
#include <iterator>

#include <gradus/io/npz.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;

namespace {
uint64_t get(const std::string& s, std::size_t i, int n) {
  uint64_t v = 0;
  while (n-- > 0) v = v << 8 | static_cast<unsigned char>(s[i + static_cast<std::size_t>(n)]);
  return v;
}
std::string le(uint64_t v, int n) {
  std::string s;
  for (int i = 0; i < n; ++i) s += static_cast<char>(v >> (8 * i) & 255);
  return s;
}
// The same archive of one member with sizes, place and directory in 64-bit fields, and all the narrow fields filled with ones.
std::string widen(const std::string& s) {
  const std::size_t end = s.size() - 22, begin = get(s, end + 16, 4);
  std::string entry = s.substr(begin, end - begin);
  const std::size_t after_name = 46 + get(entry, 28, 2);
  const std::string wide = le(get(entry, 24, 4), 8) + le(get(entry, 20, 4), 8) + le(get(entry, 42, 4), 8);
  const std::string extra = le(0x7777, 2) + le(3, 2) + "abc" + le(1, 2) + le(wide.size(), 2) + wide;  // a foreign field first
  entry.insert(after_name, extra);
  entry.replace(30, 2, le(get(entry, 30, 2) + extra.size(), 2));
  for (const std::size_t i : {20u, 24u, 42u}) entry.replace(i, 4, le(0xffffffffu, 4));
  const std::string end64 = le(0x06064b50, 4) + le(44, 8) + le(45, 2) + le(45, 2) + le(0, 4) + le(0, 4) + le(1, 8) + le(1, 8) +
                            le(entry.size(), 8) + le(begin, 8);
  const std::string locator = le(0x07064b50, 4) + le(0, 4) + le(begin + entry.size(), 8) + le(1, 4);
  const std::string old_end =
      le(0x06054b50, 4) + le(0, 4) + le(0xffff, 2) + le(0xffff, 2) + le(0xffffffffu, 4) + le(0xffffffffu, 4) + le(0, 2);
  return s.substr(0, begin) + entry + end64 + locator + old_end;
}
}  // namespace

TEST_CASE("npz: ZIP64 archives are read; cut or changed, an error or a tensor, never a crash", "[io]") {
  TempDir dir;
  Tensor<float> x(Shape{2, 3});
  for (int i = 0; i < 6; ++i) x.data()[i] = static_cast<float>(i) + 0.5f;
  for (const bool compress : {false, true}) {
    io::write_npz(dir / "x.npz", {{"x", x}}, {.compress = compress});
    std::ifstream f(dir / "x.npz", std::ios::binary);
    const std::string wide = widen(std::string(std::istreambuf_iterator<char>(f), {}));
    const auto put = [&](const std::string& s) { std::ofstream(dir / "w.npz", std::ios::binary) << s; };
    put(wide);
    const auto back = io::read_npz(dir / "w.npz");
    REQUIRE(back.size() == 1);
    CHECK(back.at("x").shape() == x.shape());
    CHECK(std::memcmp(back.at("x").impl()->data, x.data(), 6 * sizeof(float)) == 0);
    const auto survives = [&](const std::string& s) {
      put(s);
      try {
        io::read_npz(dir / "w.npz");
      } catch (const Error&) {
      }
    };
    for (std::size_t n = 0; n < wide.size(); ++n) survives(wide.substr(0, n));
    for (std::size_t i = 0; i < wide.size(); ++i) {
      std::string s = wide;
      s[i] = static_cast<char>(~s[i]);
      survives(s);
    }
    std::string s = wide;
    s.replace(s.size() - 22 - 12, 8, le(~uint64_t{0}, 8));
    put(s);
    CHECK(check::missing(check::error_of([&] { io::read_npz(dir / "w.npz"); }), {"w.npz", "ZIP64", "50 4b 06 06"}) == "");
  }
}
