// PNG out (ISO/IEC 15948): 8 bits a channel, grey, grey+alpha, RGB or RGBA, compressed by zlib.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <zlib.h>

#include <gradus/core/error.hpp>
#include <gradus/io/file.hpp>

namespace gradus::io {

/// 8-bit picture, rows from the top, channels interleaved: pixels[(y * width + x) * channels + c].
struct Image {
  int width = 0, height = 0, channels = 1;
  std::vector<uint8_t> pixels;

  Image() = default;
  Image(int width, int height, int channels, uint8_t fill = 0)
      : width(width),
        height(height),
        channels(channels),
        pixels(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * static_cast<std::size_t>(channels), fill) {}
  Image(int width, int height, int channels, std::vector<uint8_t> pixels)
      : width(width), height(height), channels(channels), pixels(std::move(pixels)) {}
  uint8_t& at(int y, int x, int c = 0) { return pixels[index(y, x, c)]; }
  uint8_t at(int y, int x, int c = 0) const { return pixels[index(y, x, c)]; }

 private:
  std::size_t index(int y, int x, int c) const {
    return (static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)) *
               static_cast<std::size_t>(channels) +
           static_cast<std::size_t>(c);
  }
};

/// From values [C, H, W]; lo becomes 0, hi becomes 255, outside is clamped, NaN is 0.
inline Image image_from_chw(std::span<const float> x, int C, int H, int W, float lo = 0, float hi = 1,
                            Where at = Where::current()) {
  Image image(W, H, C);
  if (x.size() != image.pixels.size())
    fail("image_from_chw", "the number of values does not match the extents",
         {{"extents", Shape{C, H, W}.str()}, {"values", std::to_string(x.size())}},
         std::to_string(image.pixels.size()) + " values", at);
  const std::size_t plane = static_cast<std::size_t>(H) * static_cast<std::size_t>(W), channels = static_cast<std::size_t>(C);
  for (std::size_t c = 0; c < channels; ++c)
    for (std::size_t i = 0; i < plane; ++i) {
      const float v = (x[c * plane + i] - lo) / (hi - lo) * 255.0f;
      image.pixels[i * channels + c] = v > 0 ? static_cast<uint8_t>(std::lround(std::min(v, 255.0f))) : 0;
    }
  return image;
}

/// The bytes of a PNG file.
inline std::vector<uint8_t> encode_png(const Image& image, Where at = Where::current()) {
  const bool sane = image.width > 0 && image.height > 0 && image.channels >= 1 && image.channels <= 4;
  const std::size_t bpp = sane ? static_cast<std::size_t>(image.channels) : 1;
  const std::size_t stride = sane ? static_cast<std::size_t>(image.width) * bpp : 0;
  const std::size_t rows = sane ? static_cast<std::size_t>(image.height) : 0;
  if (!sane || image.pixels.size() != stride * rows)
    fail("encode_png", "the picture's extents and its bytes do not agree",
         {{"extents", std::to_string(image.width) + " x " + std::to_string(image.height) + ", " +
                          std::to_string(image.channels) + " channels"},
          {"bytes", std::to_string(image.pixels.size())}},
         "positive extents, 1 to 4 channels, width * height * channels bytes", at);

  // Each row starts with its filter: the one whose residuals have the smallest sum of magnitudes (section 12.8).
  std::vector<uint8_t> filtered((stride + 1) * rows), trial(stride), best(stride);
  const std::vector<uint8_t> zeros(stride, 0);
  for (std::size_t y = 0; y < rows; ++y) {
    const uint8_t* row = image.pixels.data() + y * stride;
    const uint8_t* up = y ? row - stride : zeros.data();
    uint64_t best_sum = UINT64_MAX;
    uint8_t best_filter = 0;
    for (uint8_t filter = 0; filter < 5; ++filter) {
      uint64_t sum = 0;
      for (std::size_t i = 0; i < stride; ++i) {
        const int a = i >= bpp ? row[i - bpp] : 0, b = up[i], c = i >= bpp ? up[i - bpp] : 0;
        const int pa = std::abs(b - c), pb = std::abs(a - c), pc = std::abs(a + b - 2 * c);
        const int paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
        const int prediction = filter == 0 ? 0 : filter == 1 ? a : filter == 2 ? b : filter == 3 ? (a + b) / 2 : paeth;
        trial[i] = static_cast<uint8_t>(row[i] - prediction);
        sum += static_cast<uint64_t>(std::abs(static_cast<int8_t>(trial[i])));
      }
      if (sum < best_sum) {
        best_sum = sum;
        best_filter = filter;
        best.swap(trial);
      }
    }
    filtered[y * (stride + 1)] = best_filter;
    std::copy(best.begin(), best.end(), filtered.begin() + static_cast<std::ptrdiff_t>(y * (stride + 1) + 1));
  }
  uLongf packed_size = compressBound(static_cast<uLong>(filtered.size()));
  std::vector<uint8_t> packed(packed_size);
  if (compress2(packed.data(), &packed_size, filtered.data(), static_cast<uLong>(filtered.size()), 6) != Z_OK)
    fail("encode_png", "zlib could not compress the picture", {}, "", at);

  std::vector<uint8_t> out{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  const auto u32 = [&out](std::size_t v) {
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(v >> shift));
  };
  const auto chunk = [&](const char(&type)[5], const uint8_t* data, std::size_t n) {
    u32(n);
    const std::size_t begin = out.size();
    out.insert(out.end(), type, type + 4);
    if (n) out.insert(out.end(), data, data + n);
    u32(crc32(0, out.data() + begin, static_cast<uInt>(n + 4)));  // over type and data
  };
  constexpr uint8_t colour_type[] = {0, 4, 2, 6};  // grey, grey+alpha, RGB, RGBA
  const auto be = [](int v, int shift) { return static_cast<uint8_t>(static_cast<uint32_t>(v) >> shift); };
  const uint8_t header[13] = {be(image.width, 24),
                              be(image.width, 16),
                              be(image.width, 8),
                              be(image.width, 0),
                              be(image.height, 24),
                              be(image.height, 16),
                              be(image.height, 8),
                              be(image.height, 0),
                              8,
                              colour_type[image.channels - 1],
                              0,
                              0,
                              0};
  chunk("IHDR", header, sizeof header);
  chunk("IDAT", packed.data(), packed_size);
  chunk("IEND", nullptr, 0);
  return out;
}

inline void write_png(const std::filesystem::path& path, const Image& image, Where at = Where::current()) {
  write_atomically(path, encode_png(image, at), at);
}

}  // namespace gradus::io
