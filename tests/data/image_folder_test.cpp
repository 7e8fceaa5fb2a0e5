#include <fstream>

#include <gradus/data/image_folder.hpp>

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#if __has_include(<stb/stb_image_write.h>)
#include <stb/stb_image_write.h>
#else
#include <stb_image_write.h>
#endif

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;
using io::Image;

namespace {
using Bytes = std::vector<uint8_t>;
void put(const std::filesystem::path& p, const Bytes& b) {
  std::filesystem::create_directories(p.parent_path());
  std::ofstream(p, std::ios::binary).write(reinterpret_cast<const char*>(b.data()), static_cast<std::streamsize>(b.size()));
}
Image smooth(int width, int height, int channels) {
  Image image(width, height, channels);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c) image.at(y, x, c) = static_cast<uint8_t>(40 + 3 * x + 2 * y + 20 * c);
  return image;
}
Bytes jpeg(const Image& image) {
  Bytes b;
  stbi_write_jpg_to_func(
      [](void* to, void* data, int n) {
        const auto* p = static_cast<uint8_t*>(data);
        static_cast<Bytes*>(to)->insert(static_cast<Bytes*>(to)->end(), p, p + n);
      },
      &b, image.width, image.height, image.channels, image.pixels.data(), 95);
  return b;
}
// A PNG from its header fields, chunks before the data, and unfiltered rows with their filter bytes.
Bytes png(int width, int height, int depth, int colour, const Bytes& rows,
          const std::vector<std::pair<std::string, Bytes>>& before = {}) {
  Bytes out{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  const auto u32 = [&](std::size_t v) {
    for (int s = 24; s >= 0; s -= 8) out.push_back(static_cast<uint8_t>(v >> s));
  };
  const auto chunk = [&](const std::string& type, const Bytes& data) {
    u32(data.size());
    const std::size_t begin = out.size();
    out.insert(out.end(), type.begin(), type.end());
    out.insert(out.end(), data.begin(), data.end());
    u32(io::crc32_of(&out[begin], out.size() - begin));
  };
  const auto b = [](int v, int s) { return static_cast<uint8_t>(static_cast<unsigned>(v) >> s); };
  chunk("IHDR", {b(width, 24), b(width, 16), b(width, 8), b(width, 0), b(height, 24), b(height, 16), b(height, 8), b(height, 0),
                 b(depth, 0), b(colour, 0), 0, 0, 0});
  for (const auto& [type, data] : before) chunk(type, data);
  uLongf n = compressBound(static_cast<uLong>(rows.size()));
  Bytes packed(n);
  REQUIRE(compress(packed.data(), &n, rows.data(), static_cast<uLong>(rows.size())) == Z_OK);
  packed.resize(n);
  chunk("IDAT", packed);
  chunk("IEND", {});
  return out;
}
std::string error(const Bytes& b) {
  return check::error_of([&] { io::decode_image(b, "p.img"); });
}
}  // namespace

TEST_CASE("image files: PNG comes back as it was written, in every kind", "[io]") {
  for (int channels = 1; channels <= 4; ++channels) {
    const Image image = smooth(13, 9, channels), r = io::decode_image(io::encode_png(image), "x");
    CHECK((r.width == 13 && r.height == 9 && r.channels == channels));
    CHECK(r.pixels == image.pixels);
  }
  CHECK(io::decode_image(png(3, 1, 1, 0, {0, 0b10100000}), "x").pixels == Bytes{255, 0, 255});
  CHECK(io::decode_image(png(2, 1, 16, 0, {0, 0x12, 0x34, 0xff, 0x01}), "x").pixels == Bytes{0x12, 0xff});
  const Image palette = io::decode_image(png(2, 1, 2, 3, {0, 0b01000000}, {{"PLTE", {1, 2, 3, 4, 5, 6}}}), "x");
  CHECK(palette.channels == 3);
  CHECK(palette.pixels == Bytes{4, 5, 6, 1, 2, 3});
  CHECK(io::decode_image(png(2, 1, 8, 3, {0, 1, 0}, {{"PLTE", {1, 2, 3, 4, 5, 6}}, {"tRNS", {9}}}), "x").pixels ==
        Bytes{4, 5, 6, 255, 1, 2, 3, 9});
  CHECK(io::decode_image(png(1, 1, 8, 2, {0, 10, 10, 10}), "x", 1).pixels == Bytes{10});
  CHECK(io::decode_image(png(1, 1, 8, 0, {0, 7}), "x", 3).pixels == Bytes{7, 7, 7});
}

TEST_CASE("image files: JPEG is near what was written", "[io]") {
  for (const int channels : {1, 3}) {
    const Image image = smooth(33, 18, channels), r = io::decode_image(jpeg(image), "x", channels);
    REQUIRE((r.width == 33 && r.height == 18 && r.channels == channels));
    int worst = 0;
    for (std::size_t i = 0; i < image.pixels.size(); ++i) worst = std::max(worst, std::abs(image.pixels[i] - r.pixels[i]));
    CHECK(worst <= 6);
  }
}

TEST_CASE("image files: errors name file, offset and expectation", "[io]") {
  CHECK(check::missing(error({}), {"read_image", "neither PNG nor JPEG", "p.img", "offset    0 of 0", "ff d8 ff"}) == "");
  CHECK(check::missing(error(png(1 << 20, 1 << 20, 8, 0, {0, 7})), {"1048576 x 1048576", "offset    16 of", "2^28"}) == "");
  CHECK(check::missing(error(png(1 << 14, 1 << 14, 8, 0, {0, 7})),
                       {"bytes of compressed data", "268451840 bytes when inflated"}) == "");
  CHECK(check::missing(error(png(0, 1, 8, 0, {0})), {"a picture of 0 x 1"}) == "");
  CHECK(check::missing(error(png(1, 1, 3, 0, {0, 0})), {"colour type 0 with 3 bits", "offset    24"}) == "");
  CHECK(check::missing(error(png(1, 1, 8, 3, {0, 0})), {"a palette, and no palette"}) == "");
  CHECK(check::missing(error(png(2, 2, 8, 0, {0, 7})), {"cannot be decoded", "not enough pixels"}) == "");
  CHECK(check::missing(error(png(1, 1, 8, 0, {0, 7}, {{"ABCD", {}}})), {"critical chunk \"ABCD\""}) == "");
  Bytes b = jpeg(smooth(16, 16, 1));
  const auto frame = [](const Bytes& x) {
    std::size_t i = 0;
    while (!(x[i] == 0xff && x[i + 1] == 0xc0)) ++i;
    return i;
  };
  const std::size_t f = frame(b);
  Bytes huge = b;
  huge[f + 5] = huge[f + 7] = 0x3f, huge[f + 6] = huge[f + 8] = 0xff;
  CHECK(check::missing(error(huge), {"bytes of coded data", "at least a bit for each of"}) == "");
  Bytes table = b;  // more codes than a table has room for
  std::size_t dht = 0;
  while (!(table[dht] == 0xff && table[dht + 1] == 0xc4)) ++dht;
  table[dht + 5 + 15] = 255, table[dht + 5 + 14] = 255;
  CHECK(check::missing(error(table), {"a Huffman table with", "at most 256 codes", "offset    " + std::to_string(dht + 4)}) == "");
  Bytes arithmetic = b;
  arithmetic[f + 1] = 0xc9;
  CHECK(check::missing(error(arithmetic), {"arithmetically coded"}) == "");
}

TEST_CASE("image files: cut anywhere, an error; a flipped bit never gives another PNG, and never a JPEG of other bounds",
          "[io]") {
  for (const bool is_png : {true, false}) {
    const Image image = smooth(19, 10, 3);
    const Bytes whole = is_png ? io::encode_png(image) : jpeg(image);
    std::size_t silent = 0, unlike = 0, wrong = 0;
    const auto judge = [&](const std::string& e) { unlike += check::missing(e, {"p.img", "offset", "expected"}) != ""; };
    for (std::size_t n = 0; n < whole.size(); ++n) {
      const std::string e = error(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)));
      silent += e == "no error";
      judge(e);
    }
    CHECK(silent == 0);
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
      Bytes b = whole;
      b[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
      Image r;
      const std::string e = check::error_of([&] { r = io::decode_image(b, "p.img"); });
      if (e != "no error") judge(e);
      else if (is_png) wrong += r.pixels != image.pixels;
      else
        wrong += r.pixels.size() != static_cast<std::size_t>(r.width) * static_cast<std::size_t>(r.height * r.channels) ||
                 r.width * r.height > 512 * static_cast<int>(b.size());
    }
    CHECK(unlike == 0);
    CHECK(wrong == 0);
  }
}

TEST_CASE("image folder: classes and files in the order of their bytes, others passed over", "[data]") {
  const TempDir dir;
  for (const char* name : {"b/2.png", "b/10.PNG", "B/z/q.png", "a c/x.png", ".hidden/x.png", "b/.y.png", "b/.cache/z.png"})
    put(dir / name, io::encode_png(Image(2, 2, 1, 51)));
  put(dir / "b/1.jpeg", jpeg(Image(8, 8, 3, 102)));
  put(dir / "b/readme.txt", {'x'});
  put(dir / "readme.png", {'x'});
  const auto set = data::image_folder(dir.path);
  CHECK(set.classes == std::vector<std::string>{"B", "a c", "b"});
  CHECK(set.files == std::vector<std::string>{"B/z/q.png", "a c/x.png", "b/1.jpeg", "b/10.PNG", "b/2.png"});
  CHECK(set.labels == std::vector<int64_t>{0, 1, 2, 2, 2});
  const data::BatchPlan plan{0, 0, {4, 2, 0}, {}};
  const auto batch = data::image_folder_batch(set, plan, {.height = 3, .width = 4});
  CHECK(batch.x.shape() == Shape{3, 3, 3, 4});
  CHECK(batch.t.to_vector() == std::vector<int64_t>{2, 2, 0});
  const auto x = batch.x.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(x[i] == Approx(i >= 36 && i < 72 ? 0.4 : 0.2).margin(0.005));
  std::vector<std::vector<float>> runs;
  for (const int threads : {0, 2}) {
    runs.emplace_back();
    auto loader = data::image_folder_loader(set, {.height = 3, .width = 3, .channels = 1},
                                            {.batch = 2, .seed = 5, .threads = threads}, {data::flip_horizontal()});
    for (auto& [v, t] : loader) {
      CHECK(v.shape() == Shape{t.numel(), 1, 3, 3});
      for (const float p : v.to_vector()) runs.back().push_back(p);
      for (const int64_t p : t.to_vector()) runs.back().push_back(static_cast<float>(p));
    }
  }
  CHECK(runs[0].size() == 5 * 10);
  CHECK(runs[0] == runs[1]);
  put(dir / "b/2.png", {1, 2, 3});
  CHECK(check::missing(check::error_of([&] { data::image_folder_batch(set, plan); }),
                       {"read_image", "b/2.png", "neither PNG"}) == "");
  std::filesystem::create_directories(dir / "empty");
  CHECK(check::missing(check::error_of([&] { data::image_folder(dir.path); }), {"a class without pictures", "empty"}) == "");
  CHECK(check::missing(check::error_of([&] { data::image_folder(dir / "none"); }), {"cannot list", "none"}) == "");
  CHECK(check::missing(check::error_of([&] { data::image_folder(dir / "B" / "z"); }), {"no classes"}) == "");
}

TEST_CASE("image folder: resizing", "[data]") {
  const auto resized = [](const Image& image, data::ImageFolderOptions o) {
    std::vector<float> v(static_cast<std::size_t>(image.channels * o.height * o.width));
    data::resize_image(image, o, v.data());
    for (float& x : v) x *= 255;
    return v;
  };
  const Image image = smooth(6, 4, 3);
  const auto same = resized(image, {.height = 4, .width = 6});
  std::vector<double> expected;
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < 4; ++y)
      for (int x = 0; x < 6; ++x) expected.push_back(image.at(y, x, c));
  CHECK(check::difference(same, expected, 1e-6, 1e-4) == "");
  expected.clear();
  for (int c = 0; c < 3; ++c)  // the middle 4 columns
    for (int y = 0; y < 4; ++y)
      for (int x = 1; x < 5; ++x) expected.push_back(image.at(y, x, c));
  CHECK(check::difference(resized(image, {.height = 4, .width = 4}), expected, 1e-6, 1e-4) == "");
  // To the half: the triangle over four values, weights 1 3 3 1 of 8 inside, cut off and normalised at the border.
  const Image line(4, 1, 1, {0, 80, 160, 240});
  CHECK(check::difference(resized(line, {.height = 1, .width = 2, .fit = data::Fit::stretch}),
                          std::vector<double>{(3 * 0 + 3 * 80 + 160) / 7.0, (80 + 3 * 160 + 3 * 240) / 7.0}, 1e-5, 1e-4) == "");
  // To the double: linear between the middles.
  CHECK(check::difference(resized(Image(2, 1, 1, {0, 80}), {.height = 1, .width = 4, .fit = data::Fit::stretch}),
                          std::vector<double>{0, 20, 60, 80}, 1e-5, 1e-4) == "");
  for (const float v : resized(Image(7, 5, 1, 99), {.height = 3, .width = 8})) CHECK(v == Approx(99));
}
