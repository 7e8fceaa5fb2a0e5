#include <fstream>

#include <zlib.h>

#include <gradus/io/nifti.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;

namespace {
struct Made {
  bool two = false, big = false;
  int64_t code = 16;
  std::vector<int64_t> dim{3, 2, 2};
  double slope = 0, inter = 0;
  std::size_t extra = 0;  // bytes of extensions
};
void put(std::string& s, std::size_t at, uint64_t v, std::size_t n, bool big) {
  for (std::size_t k = 0; k < n; ++k) s[at + k] = static_cast<char>(v >> (8 * (big ? n - 1 - k : k)));
}
// A file from its header fields and the stored bits of its elements.
std::string made(const Made& m, const std::vector<uint64_t>& values) {
  const std::size_t bytes = m.code == 2 || m.code == 256                   ? 1
                            : m.code == 4 || m.code == 512                 ? 2
                            : m.code == 8 || m.code == 16 || m.code == 768 ? 4
                                                                           : 8;
  const std::size_t begin = (m.two ? 544 : 352) + m.extra;
  std::string s(begin + bytes * values.size(), '\0');
  const auto set = [&](std::size_t at, uint64_t v, std::size_t n) { put(s, at, v, n, m.big); };
  const auto real = [&](std::size_t at, double v) {
    if (m.two) set(at, std::bit_cast<uint64_t>(v), 8);
    else set(at, std::bit_cast<uint32_t>(static_cast<float>(v)), 4);
  };
  set(0, m.two ? 540 : 348, 4);
  s.replace(m.two ? 4 : 344, m.two ? 8 : 4, m.two ? std::string("n+2\0\r\n\x1a\n", 8) : std::string("n+1\0", 4));
  set(m.two ? 12 : 70, static_cast<uint64_t>(m.code), 2);
  set(m.two ? 14 : 72, 8 * bytes, 2);
  for (std::size_t d = 0; d <= m.dim.size(); ++d) {
    set((m.two ? 16 : 40) + (m.two ? 8 : 2) * d, d == 0 ? m.dim.size() : static_cast<uint64_t>(m.dim[d - 1]), m.two ? 8 : 2);
    real(m.two ? 104 + 8 * d : 76 + 4 * d, 0.5 + static_cast<double>(d));
  }
  if (m.two) set(168, begin, 8);
  else real(108, static_cast<double>(begin));
  real(m.two ? 176 : 112, m.slope), real(m.two ? 184 : 116, m.inter);
  set(m.two ? 348 : 254, 1, m.two ? 4 : 2);
  for (std::size_t k = 0; k < 12; ++k) real(m.two ? 400 + 8 * k : 280 + 4 * k, static_cast<double>(k));
  for (std::size_t k = 0; k < values.size(); ++k) set(begin + bytes * k, values[k], bytes);
  return s;
}
std::vector<uint64_t> floats(std::size_t n) {
  std::vector<uint64_t> v;
  for (std::size_t k = 0; k < n; ++k) v.push_back(std::bit_cast<uint32_t>(static_cast<float>(k) * 0.25f));
  return v;
}
io::Nifti<double> read(const TempDir& dir, const std::string& s) {
  std::ofstream(dir / "v.nii", std::ios::binary) << s;
  return io::read_nifti<double>(dir / "v.nii");
}
std::string error(const TempDir& dir, const std::string& s) {
  return check::error_of([&] { read(dir, s); });
}
}  // namespace

TEST_CASE("nifti: both versions, byte orders and all real types, scaled", "[io]") {
  const TempDir dir;
  const uint64_t minus = ~uint64_t{0};
  const struct {
    int64_t code;
    uint64_t stored;
    double value;
  } types[] = {{2, 255, 255},
               {256, minus, -1},
               {4, minus - 1, -2},
               {512, 65535, 65535},
               {8, minus, -1},
               {768, 4294967295, 4294967295.0},
               {1024, minus - 4, -5},
               {1280, uint64_t{1} << 63, 9223372036854775808.0},
               {16, std::bit_cast<uint32_t>(0.5f), 0.5},
               {64, std::bit_cast<uint64_t>(0.1), 0.1}};
  for (const bool two : {false, true})
    for (const bool big : {false, true})
      for (const auto& t : types) {
        INFO(two << big << t.code);
        const auto plain = read(dir, made({two, big, t.code, {2}}, {7, t.stored}));
        CHECK(plain.x.shape() == Shape{2});
        CHECK(plain.x.to_vector()[1] == t.value);
        CHECK((plain.datatype == t.code && plain.version == (two ? 2 : 1) && plain.slope == 1));
        CHECK(read(dir, made({two, big, t.code, {1}, 2, -3, 16}, {t.stored})).x.item() == 2 * t.value - 3);
        const auto v = read(dir, made({two, big, 16, {3, 2, 2}}, floats(12)));
        CHECK(v.x.shape() == Shape{2, 2, 3});  // z, y, x
        for (std::size_t k = 0; k < 12; ++k) CHECK(v.x.data()[k] == 0.25 * static_cast<double>(k));
        CHECK(v.spacing == std::vector<double>{3.5, 2.5, 1.5});
        CHECK((v.sform_code == 1 && v.affine[0][3] == 3 && v.affine[2][0] == 8));
      }
}

TEST_CASE("nifti: errors name file, offset and expectation", "[io]") {
  const TempDir dir;
  CHECK(check::missing(error(dir, std::string(400, 'x')),
                       {"read_nifti", "v.nii", "not a NIfTI file", "offset    0 of 400", "348 or 540"}) == "");
  std::string pair = made({}, floats(12));
  pair[345] = 'i';
  CHECK(check::missing(error(dir, pair), {"the magic is wrong", "offset    344", "pairs"}) == "");
  std::string complex = made({}, floats(12));
  put(complex, 70, 32, 2, false);
  CHECK(check::missing(error(dir, complex), {"datatype 32", "offset    70", "real numbers"}) == "");
  CHECK(check::missing(error(dir, made({.dim = {3, 0}}, {})), {"extent 2 is 0", "at least 1"}) == "");
  CHECK(check::missing(error(dir, made({.two = true, .dim = {int64_t{1} << 40, int64_t{1} << 40}}, {})),
                       {"extent 1", "2^56"}) == "");
  CHECK(check::missing(error(dir, made({.two = true, .dim = {int64_t{1} << 40}}, {})),
                       {"the data is cut off", "4398046511104 bytes"}) == "");
  CHECK(check::missing(error(dir, made({.slope = NAN}, floats(12))), {"scl_slope", "offset    112"}) == "");
  CHECK(check::missing(error(dir, made({}, floats(11))), {"the data is cut off", "48 bytes of data: [2, 2, 3], 4 each"}) == "");
  CHECK(check::missing(error(dir, made({}, floats(13))), {"more data than the header says", "offset    400 of 404"}) == "");
}

TEST_CASE("nifti: cut anywhere, an error; a flipped bit is an error or a volume of the header's size; .gz never another volume",
          "[io]") {
  const TempDir dir;
  for (const bool two : {false, true}) {
    const std::string whole = made({.two = two, .slope = 2}, floats(12));
    const auto right = read(dir, whole).x.to_vector();
    const gzFile z = gzopen((dir / "w.gz").c_str(), "wb");
    gzwrite(z, whole.data(), static_cast<unsigned>(whole.size()));
    gzclose(z);
    const std::string packed = io::read_text(dir / "w.gz");
    CHECK(read(dir, packed).x.to_vector() == right);
    for (const std::string& s : {whole, packed}) {
      std::size_t silent = 0, unlike = 0, wrong = 0;
      for (std::size_t n = 0; n < s.size(); ++n) {
        const std::string e = error(dir, s.substr(0, n));
        silent += e == "no error", unlike += check::missing(e, {"v.nii", "offset", "expected"}) != "";
      }
      for (std::size_t bit = 0; bit < 8 * s.size(); ++bit) {
        std::string b = s;
        b[bit / 8] = static_cast<char>(b[bit / 8] ^ (1 << bit % 8));
        io::Nifti<double> r;
        const std::string e = check::error_of([&] { r = read(dir, b); });
        if (e != "no error") unlike += check::missing(e, {"v.nii", "offset", "expected"}) != "";
        else if (s == packed) wrong += r.x.to_vector() != right;
        else wrong += r.x.numel() != 12;
      }
      CHECK(silent == 0);
      CHECK(unlike == 0);
      CHECK(wrong == 0);
    }
  }
}
