// PNG and JPEG in, through stb_image; gradus::app has it. Writing is in io/png.hpp.
//
// PNG (ISO/IEC 15948): every colour type, bit depth and interlacing; 16 bits a channel come as their upper 8; a palette as
//   RGB, transparent colours (tRNS) as one more channel. stb_image checks no check sum: here each CRC-32 is, before.
// JPEG (ITU-T T.81): baseline and progressive Huffman, 8 bits, 1 to 4 components; no arithmetic coding, no lossless. The format
//   has no check sums: a cut file is an error, and so is damaged structure, but a flipped bit inside the coded data may give
//   other pixels. The orientation that EXIF notes is not applied. Decoded without SIMD, so that bytes are the same on every
//   machine.
//
// Each source file that includes this compiles stb_image for itself, about a second.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_NO_SIMD
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#if __has_include(<stb/stb_image.h>)
#include <stb/stb_image.h>
#else
#include <stb_image.h>
#endif
#undef STB_IMAGE_IMPLEMENTATION

#include <gradus/core/error.hpp>
#include <gradus/io/crc32.hpp>
#include <gradus/io/file.hpp>
#include <gradus/io/png.hpp>

namespace gradus::io {

namespace detail {

/// Bytes of a picture with their name, for error texts. The checks below run before stb_image sees the bytes, so that it takes
/// no memory for pixels that the file cannot hold.
struct ImageBytes {
  static constexpr uint64_t kMaxPixels = uint64_t{1} << 28;
  std::span<const uint8_t> b;
  std::string file;
  Where at;

  [[noreturn]] void damaged(const std::string& problem, const std::string& expected, std::size_t offset) const {
    fail("read_image", problem, {{"file", file}, {"offset", std::to_string(offset) + " of " + std::to_string(b.size())}},
         expected, at);
  }
  uint32_t u32(std::size_t i) const {
    return uint32_t{b[i]} << 24 | uint32_t{b[i + 1]} << 16 | uint32_t{b[i + 2]} << 8 | b[i + 3];
  }
  uint32_t u16(std::size_t i) const { return uint32_t{b[i]} << 8 | b[i + 1]; }
  void extents(uint64_t width, uint64_t height, std::size_t offset) const {
    if (width == 0 || height == 0 || width > kMaxPixels / height)
      damaged("a picture of " + std::to_string(width) + " x " + std::to_string(height), "1 to 2^28 pixels", offset);
  }

  /// Chunks in order with their check sums; the data can hold the pixels.
  void check_png() const {
    uint64_t rows = 0, packed = 0;
    bool palette = false, needs_palette = false;
    for (std::size_t i = 8, number = 0;; ++number) {
      if (b.size() - i < 12) damaged("the file ends before its last chunk", "chunks to IEND", b.size());
      const std::size_t n = u32(i);
      if (n > b.size() - i - 12)
        damaged("a chunk of " + std::to_string(n) + " bytes", "at most " + std::to_string(b.size() - i - 12) + " bytes", i);
      const std::string type(reinterpret_cast<const char*>(&b[i + 4]), 4);
      if (crc32_of(&b[i + 4], n + 4) != u32(i + 8 + n))
        damaged("the check sum (CRC-32) of a chunk is wrong", "undamaged data", i + 8 + n);
      if ((number == 0) != (type == "IHDR")) damaged("the chunks are out of order", "IHDR first, and once", i + 4);
      if (type == "IHDR") {
        if (n != 13) damaged("a header of " + std::to_string(n) + " bytes", "13 bytes", i);
        const uint64_t width = u32(i + 8), height = u32(i + 12);
        extents(width, height, i + 8);
        const int depth = b[i + 16], colour = b[i + 17];
        constexpr int channels[] = {1, 0, 3, 1, 2, 0, 4};
        const bool small = depth == 1 || depth == 2 || depth == 4;
        if (colour > 6 || channels[colour] == 0 ||
            !(depth == 8 || (depth == 16 && colour != 3) || (small && (colour == 0 || colour == 3))))
          damaged("colour type " + std::to_string(colour) + " with " + std::to_string(depth) + " bits",
                  "types 0, 2, 3, 4, 6 with 8 or 16 bits, types 0 and 3 also with 1, 2, 4, type 3 not with 16", i + 16);
        if (b[i + 18] != 0 || b[i + 19] != 0 || b[i + 20] > 1)
          damaged("an unknown method of compression, filters or interlacing", "0, 0, and 0 or 1", i + 18);
        rows = height * (1 + (width * static_cast<uint64_t>(channels[colour] * depth) + 7) / 8);
        needs_palette = colour == 3;
      } else if (type == "PLTE") palette = true;
      else if (type == "IDAT") packed += n;
      else if (type == "IEND") {
        if (needs_palette && !palette) damaged("a picture with a palette, and no palette", "PLTE before IEND", i + 4);
        if (rows > packed * 1032 + 1024)  // DEFLATE makes at most 1032 bytes out of one
          damaged(std::to_string(packed) + " bytes of compressed data", std::to_string(rows) + " bytes when inflated", i);
        return;
      } else if (type[0] >= 'A' && type[0] <= 'Z')
        damaged("the critical chunk \"" + type + "\" is not known", "IHDR, PLTE, IDAT, IEND", i + 4);
      i += 12 + n;
    }
  }

  /// Huffman tables fill their segment and hold at most 256 codes each: stb_image 2.27 writes beyond its own otherwise.
  void check_huffman(std::size_t i, std::size_t end) const {
    while (i < end) {
      if (end - i < 17) damaged("a Huffman table is cut off", "17 bytes and its values", i);
      std::size_t codes = 0, space = 0;  // space: codes of 16 bits that are taken
      for (std::size_t k = 0; k < 16; ++k) codes += b[i + 1 + k], space += std::size_t{b[i + 1 + k]} << (15 - k);
      if ((b[i] >> 4) > 1 || (b[i] & 15) > 3 || codes > 256 || space > 65536 || codes > end - i - 17)
        damaged("a Huffman table with " + std::to_string(codes) + " codes",
                "class 0 or 1, number 0 to 3, at most 256 codes, no more than their lengths allow and the segment holds", i);
      i += 17 + codes;
    }
  }

  /// Marker segments to the end of the picture; each component has a scan of its mean values; the scans can hold the blocks.
  void check_jpeg() const {
    struct Component {
      int id, h, v;
      bool seen = false;
    };
    std::vector<Component> components;
    uint64_t blocks = 0, coded = 0;
    const auto segment = [&](std::size_t i, std::size_t least) {  // the length of the segment at i, with its two bytes
      const std::size_t n = i + 2 <= b.size() ? u16(i) : 0;
      if (n < least || n > b.size() - i)
        damaged("a marker segment is cut off or too short", "at least " + std::to_string(least) + " bytes", i);
      return n;
    };
    for (std::size_t i = 2;;) {
      if (i + 2 > b.size()) damaged("the file ends before the end of the picture", "the marker ff d9", b.size());
      if (b[i] != 0xff) damaged("no marker", "the byte ff", i);
      const int m = b[i + 1];
      if (m == 0xff) {
        ++i;
        continue;
      }
      i += 2;
      if (m == 0xd9) break;
      if (m == 0x01 || (m >= 0xd0 && m <= 0xd7)) continue;
      if (m == 0xd8 || m < 0xc0) damaged("a marker that cannot be here", "a segment", i - 1);
      if (m >= 0xc0 && m <= 0xcf && m != 0xc4 && m != 0xc8 && m != 0xcc) {
        if (m > 0xc2)
          damaged("a lossless, hierarchical or arithmetically coded picture", "baseline or progressive: ff c0, ff c1 or ff c2",
                  i - 1);
        if (!components.empty()) damaged("a second frame", "one picture", i - 1);
        const std::size_t n = segment(i, 8), count = b[i + 7];
        if (b[i + 2] != 8) damaged(std::to_string(b[i + 2]) + " bits a value", "8 bits", i + 2);
        const uint64_t height = u16(i + 3), width = u16(i + 5);
        extents(width, height, i + 3);
        if ((count != 1 && count != 3 && count != 4) || n != 8 + 3 * count)
          damaged(std::to_string(count) + " components in " + std::to_string(n) + " bytes", "1, 3 or 4 in 8 + 3 each", i + 7);
        int hmax = 1, vmax = 1;
        for (std::size_t c = 0; c < count; ++c) {
          const int hv = b[i + 9 + 3 * c], h = hv >> 4, v = hv & 15;
          if (h < 1 || h > 4 || v < 1 || v > 4) damaged("a sampling factor outside 1 to 4", "1 to 4", i + 9 + 3 * c);
          components.push_back({b[i + 8 + 3 * c], h, v});
          hmax = std::max(hmax, h), vmax = std::max(vmax, v);
        }
        const auto units = [](uint64_t extent, int f, int max) {
          return ((extent * static_cast<uint64_t>(f) + static_cast<uint64_t>(max) - 1) / static_cast<uint64_t>(max) + 7) / 8;
        };
        for (const Component& c : components) blocks += units(width, c.h, hmax) * units(height, c.v, vmax);
      } else if (m == 0xda) {
        if (components.empty()) damaged("a scan before the frame", "ff c0, ff c1 or ff c2 first", i - 1);
        const std::size_t n = segment(i, 8), count = b[i + 2];
        if (count < 1 || count > 4 || n != 6 + 2 * count)
          damaged("a scan header of " + std::to_string(n) + " bytes", "6 + 2 a component", i);
        for (std::size_t k = 0; k < count; ++k) {
          const auto c =
              std::find_if(components.begin(), components.end(), [&](const auto& x) { return x.id == b[i + 3 + 2 * k]; });
          if (c == components.end()) damaged("a scan of an unknown component", "one of the frame", i + 3 + 2 * k);
          if (b[i + 3 + 2 * count] == 0) c->seen = true;
        }
        i += n;
        const std::size_t begin = i;
        while (i + 1 < b.size() && !(b[i] == 0xff && b[i + 1] != 0 && !(b[i + 1] >= 0xd0 && b[i + 1] <= 0xd7))) ++i;
        coded += i - begin;
        if (i + 1 >= b.size()) damaged("the file ends before the end of the picture", "the marker ff d9", b.size());
        continue;
      }
      const std::size_t n = segment(i, 2);
      if (m == 0xc4) check_huffman(i + 2, i + n);
      i += n;
    }
    const bool whole =
        !components.empty() && std::all_of(components.begin(), components.end(), [](const auto& c) { return c.seen; });
    if (!whole) damaged("a component of the picture is missing", "a frame, and a scan of each component", b.size());
    if (blocks > 8 * coded)  // each block takes a bit at least
      damaged(std::to_string(coded) + " bytes of coded data",
              "at least a bit for each of " + std::to_string(blocks) + " blocks", b.size());
  }
};

}  // namespace detail

/// The picture in the bytes of a PNG or JPEG file, which is seen from its first bytes. `channels`: 0 as in the file, or 1
/// (grey, ITU-R 601 luma), 2, 3 or 4; colour is converted, transparency dropped or added as opaque. `file` is for error texts.
inline Image decode_image(std::span<const uint8_t> bytes, const std::string& file, int channels = 0,
                          Where at = Where::current()) {
  const detail::ImageBytes in{bytes, file, at};
  if (channels < 0 || channels > 4)
    fail("read_image", "channels is " + std::to_string(channels), {{"file", file}}, "0 (as in the file) to 4", at);
  constexpr std::array<uint8_t, 8> png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  if (bytes.size() > INT32_MAX) in.damaged("the file is too large", "less than 2 GiB", 0);
  if (bytes.size() >= 8 && std::equal(png.begin(), png.end(), bytes.begin())) in.check_png();
  else if (bytes.size() >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff) in.check_jpeg();
  else in.damaged("neither PNG nor JPEG", "the bytes 89 50 4e 47 0d 0a 1a 0a or ff d8 ff", 0);
  int width = 0, height = 0, own = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height, &own, channels), stbi_image_free);
  if (!pixels) {
    const char* reason = stbi_failure_reason();
    fail("read_image", "the picture cannot be decoded",
         {{"file", file},
          {"offset", "of " + std::to_string(bytes.size()) + ", not told"},
          {"reason", reason ? reason : "unknown"}},
         "an undamaged PNG or JPEG file", at);
  }
  Image image(width, height, channels ? channels : own);
  std::copy_n(pixels.get(), image.pixels.size(), image.pixels.begin());
  return image;
}

/// The picture of a PNG or JPEG file, rows from the top, channels interleaved.
inline Image read_image(const std::filesystem::path& path, int channels = 0, Where at = Where::current()) {
  const std::string s = read_text(path, at);
  return decode_image(std::span(reinterpret_cast<const uint8_t*>(s.data()), s.size()), path.string(), channels, at);
}

}  // namespace gradus::io
