#include <random>

#include <zlib.h>

#include <gradus/io/base64.hpp>
#include <gradus/io/png.hpp>

#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;
using namespace gradus::io;

namespace {

using Bytes = std::vector<uint8_t>;

uint32_t u32(const Bytes& b, std::size_t i) {
  return uint32_t{b[i]} << 24 | uint32_t{b[i + 1]} << 16 | uint32_t{b[i + 2]} << 8 | b[i + 3];
}

// A reader for what the writer makes, written from the standard: chunks with their check sums, zlib, the five filters.
Image decoded(const Bytes& png) {
  REQUIRE(Bytes(png.begin(), png.begin() + 8) == Bytes{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'});
  Bytes packed;
  Image image;
  bool ended = false;
  for (std::size_t at = 8; at < png.size();) {
    REQUIRE_FALSE(ended);
    const std::size_t n = u32(png, at);
    const std::string type(png.begin() + static_cast<std::ptrdiff_t>(at + 4),
                           png.begin() + static_cast<std::ptrdiff_t>(at + 8));
    REQUIRE(crc32(0, &png[at + 4], static_cast<uInt>(n + 4)) == u32(png, at + 8 + n));
    if (type == "IHDR") {
      const int channels_of_type[] = {1, 0, 3, 0, 2, 0, 4};
      image = Image(static_cast<int>(u32(png, at + 8)), static_cast<int>(u32(png, at + 12)), channels_of_type[png[at + 17]]);
      REQUIRE(png[at + 16] == 8);
    }
    if (type == "IDAT") packed.insert(packed.end(), &png[at + 8], &png[at + 8] + n);
    ended = type == "IEND";
    at += 12 + n;
  }
  REQUIRE(ended);
  const std::size_t bpp = static_cast<std::size_t>(image.channels), stride = bpp * static_cast<std::size_t>(image.width);
  Bytes rows((stride + 1) * static_cast<std::size_t>(image.height));
  uLongf size = static_cast<uLongf>(rows.size());
  REQUIRE(uncompress(rows.data(), &size, packed.data(), static_cast<uLong>(packed.size())) == Z_OK);
  REQUIRE(size == rows.size());
  for (std::size_t y = 0; y < static_cast<std::size_t>(image.height); ++y)
    for (std::size_t i = 0; i < stride; ++i) {
      const auto old = [&](bool up, bool left) {
        return (up && y == 0) || (left && i < bpp) ? 0
                                                   : static_cast<int>(image.pixels[(y - up) * stride + i - (left ? bpp : 0)]);
      };
      const int a = old(false, true), b = old(true, false), c = old(true, true);
      const int pa = std::abs(b - c), pb = std::abs(a - c), pc = std::abs(a + b - 2 * c);
      const int p[5] = {0, a, b, (a + b) / 2, pa <= pb && pa <= pc ? a : pb <= pc ? b : c};
      const uint8_t filter = rows[y * (stride + 1)];
      REQUIRE(filter < 5);
      image.pixels[y * stride + i] = static_cast<uint8_t>(rows[y * (stride + 1) + 1 + i] + p[filter]);
    }
  return image;
}

}  // namespace

TEST_CASE("png: pictures of 1 to 4 channels come back") {
  std::mt19937 g(1);
  for (int channels = 1; channels <= 4; ++channels)
    for (const auto& [w, h] : {std::pair{1, 1}, {1, 9}, {28, 28}, {33, 7}, {300, 200}})
      for (int smooth = 0; smooth < 3; ++smooth) {
        Image image(w, h, channels);
        for (int y = 0; y < h; ++y)
          for (int x = 0; x < w; ++x)
            for (int c = 0; c < channels; ++c)
              image.at(y, x, c) = static_cast<uint8_t>(smooth == 0   ? g()
                                                       : smooth == 1 ? static_cast<unsigned>(3 * x + 2 * y + c)
                                                                     : static_cast<unsigned>(x * y));
        const Image r = decoded(encode_png(image));
        CHECK(r.width == w);
        CHECK(r.height == h);
        CHECK(r.channels == channels);
        CHECK((r.pixels == image.pixels));
      }
}

TEST_CASE("png: floats become bytes; extents are checked") {
  const std::vector<float> x{0, 0.5f, 1, -3, 7, NAN};  // [C = 2, H = 1, W = 3]
  const Image image = image_from_chw(x, 2, 1, 3);
  CHECK(image.pixels == Bytes{0, 0, 128, 255, 255, 0});
  CHECK(image_from_chw(std::vector<float>{-1, 0, 1}, 1, 1, 3, -1, 1).pixels == Bytes{0, 128, 255});
  CHECK_THAT(error_text<Error>([&] { image_from_chw(x, 3, 1, 3); }), contains("[3, 1, 3]") && contains("9 values"));
  CHECK_THAT(error_text<Error>([] { encode_png(Image(2, 2, 3, Bytes(11))); }), contains("2 x 2, 3 channels") && contains("11"));
  CHECK_THAT(error_text<Error>([] { encode_png(Image(0, 2, 1)); }), contains("positive extents"));
  CHECK_THAT(error_text<Error>([] { encode_png(Image(1, 1, 5)); }), contains("1 to 4 channels"));
}

TEST_CASE("png: the file is written whole, into directories that are made") {
  TempDir dir;
  write_png(dir / "a/b/p.png", Image(4, 4, 3, 100));
  const std::string s = read_text(dir / "a/b/p.png");
  CHECK(decoded(Bytes(s.begin(), s.end())).pixels == Bytes(48, 100));
  int files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(dir / "a/b")) ++files;
  CHECK(files == 1);
  CHECK_THAT(error_text<Error>([&] { write_atomically(dir / "a/b/p.png/q", "x"); }),
             contains("p.png/q") && contains("cannot create"));
}

TEST_CASE("base64: the vectors of RFC 4648") {
  const auto of = [](std::string s) { return base64(std::span(reinterpret_cast<const uint8_t*>(s.data()), s.size())); };
  CHECK(of("") == "");
  CHECK(of("f") == "Zg==");
  CHECK(of("fo") == "Zm8=");
  CHECK(of("foo") == "Zm9v");
  CHECK(of("foobar") == "Zm9vYmFy");
  CHECK(base64(Bytes{0xfb, 0xff, 0xbf}) == "+/+/");
}
