// IDX files, the format of MNIST and its relatives: big-endian, raw or .gz.
//
//   offset 0   0, 0, type code, number of dimensions
//          4   one unsigned 32-bit extent for each dimension
//    4 + 4 n   the elements, last dimension fastest
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <zlib.h>

#include <gradus/core/error.hpp>
#include <gradus/core/shape.hpp>
#include <gradus/io/file.hpp>
#include <gradus/io/gzip.hpp>

namespace gradus::io {

/// The type codes of the format.
enum class IdxType : uint8_t { u8 = 0x08, i8 = 0x09, i16 = 0x0b, i32 = 0x0c, f32 = 0x0d, f64 = 0x0e };

inline const char* name_of(IdxType t) {
  switch (t) {
    case IdxType::u8:
      return "uint8";
    case IdxType::i8:
      return "int8";
    case IdxType::i16:
      return "int16";
    case IdxType::i32:
      return "int32";
    case IdxType::f32:
      return "float32";
    case IdxType::f64:
      return "float64";
  }
  return "unknown";
}
inline int size_of(IdxType t) {
  return t == IdxType::f64 ? 8 : t == IdxType::i32 || t == IdxType::f32 ? 4 : t == IdxType::i16 ? 2 : 1;
}

struct IdxArray {
  IdxType type = IdxType::u8;
  Shape shape;
  std::vector<uint8_t> bytes;  ///< elements in the machine's byte order
};

namespace detail {
inline void swap_elements(std::vector<uint8_t>& bytes, std::size_t size) {
  if (size == 1 || std::endian::native == std::endian::big) return;
  for (std::size_t i = 0; i + size <= bytes.size(); i += size)
    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(i), bytes.begin() + static_cast<std::ptrdiff_t>(i + size));
}
inline std::string hex(unsigned v) {
  constexpr char digits[] = "0123456789abcdef";
  return std::string("0x") + digits[v >> 4 & 15] + digits[v & 15];
}
}  // namespace detail

/// Reads a whole IDX file. Memory is never taken for more than the file can hold, whatever its header says.
inline IdxArray read_idx(const std::filesystem::path& path, Where at = Where::current()) {
  ByteReader in(path, "read_idx", at);
  uint8_t h[4];
  if (const std::size_t n = in.read(h, 4); n < 4)
    in.damaged("the file ends inside the header", "4 bytes: 0, 0, type, dimensions", n);
  if (h[0] != 0 || h[1] != 0)
    in.damaged("not an IDX file: it begins with " + detail::hex(h[0]) + " " + detail::hex(h[1]), "two zero bytes", 0);
  if (h[2] < 0x08 || h[2] > 0x0e || h[2] == 0x0a)
    in.damaged("unknown type code " + detail::hex(h[2]),
               "0x08 (uint8), 0x09 (int8), 0x0b (int16), 0x0c (int32), 0x0d (float32) or 0x0e (float64)", 2);
  if (h[3] < 1 || h[3] > kMaxRank)
    in.damaged("an array of " + std::to_string(h[3]) + " dimensions", "1 to " + std::to_string(kMaxRank) + " dimensions", 3);

  IdxArray a;
  a.type = static_cast<IdxType>(h[2]);
  // Elements first, so that a zero extent is seen; uint64 cannot overflow silently, each product is checked.
  uint64_t total = static_cast<uint64_t>(size_of(a.type));
  for (int d = 0; d < h[3]; ++d) {
    uint8_t e[4];
    const uint64_t where = in.offset();
    if (const std::size_t n = in.read(e, 4); n < 4)
      in.damaged("the file ends inside the header", "4 bytes: extent " + std::to_string(d) + " of " + std::to_string(h[3]),
                 where + n);
    const uint64_t extent = uint64_t{e[0]} << 24 | uint64_t{e[1]} << 16 | uint64_t{e[2]} << 8 | e[3];
    a.shape.push_back(static_cast<int64_t>(extent));
    if (extent != 0 && total > uint64_t{INT64_MAX} / extent)
      in.damaged("the extents " + a.shape.str() + " overflow", "at most 2^63 - 1 bytes in all", where);
    total *= extent;
  }
  const auto too_short = [&](uint64_t have) {
    in.damaged("the data is cut off",
               std::to_string(total) + " bytes of " + name_of(a.type) + " " + a.shape.str() + " after the header, got " +
                   (in.compressed() && have == UINT64_MAX ? "fewer than the compressed file can hold" : std::to_string(have)),
               in.offset());
  };
  const uint64_t possible = in.at_most_left();
  if (total > possible) too_short(in.compressed() ? UINT64_MAX : possible);

  // The check above leaves a factor of 1032 for a compressed file, so grow with what really arrives.
  constexpr uint64_t kFirst = uint64_t{64} << 20, kPiece = uint64_t{1} << 18;
  a.bytes.reserve(std::min(total, kFirst));
  for (uint64_t done = 0; done < total;) {
    const uint64_t n = std::min(kPiece, total - done);
    if (done + n > a.bytes.capacity()) a.bytes.reserve(std::min(total, 2 * (done + n)));
    a.bytes.resize(done + n);
    const std::size_t got = in.read(a.bytes.data() + done, n);
    done += got;
    if (got < n) too_short(done);
  }
  const uint64_t end = in.offset();
  if (uint8_t extra; in.read(&extra, 1) == 1)
    in.damaged("more data than the header says",
               "the end of the data after " + std::string(name_of(a.type)) + " " + a.shape.str(), end);
  detail::swap_elements(a.bytes, static_cast<std::size_t>(size_of(a.type)));
  return a;
}

/// Writes an IDX file, compressed when the name ends in ".gz".
inline void write_idx(const std::filesystem::path& path, const IdxArray& a, Where at = Where::current()) {
  const uint64_t expected = static_cast<uint64_t>(a.shape.numel()) * static_cast<uint64_t>(size_of(a.type));
  if (a.shape.rank() < 1 || a.bytes.size() != expected)
    fail("write_idx", "the shape and the bytes do not agree",
         {{"shape", std::string(name_of(a.type)) + " " + a.shape.str()}, {"bytes", std::to_string(a.bytes.size())}},
         std::to_string(expected) + " bytes, at least one dimension", at);
  std::vector<uint8_t> out{0, 0, static_cast<uint8_t>(a.type), static_cast<uint8_t>(a.shape.rank())};
  for (const int64_t extent : a.shape) {
    if (extent < 0 || extent > int64_t{UINT32_MAX})
      fail("write_idx", "an extent does not fit the format", {{"shape", a.shape.str()}}, "extents below 2^32", at);
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(extent >> shift));
  }
  std::vector<uint8_t> body = a.bytes;
  detail::swap_elements(body, static_cast<std::size_t>(size_of(a.type)));
  out.insert(out.end(), body.begin(), body.end());
  if (path.extension() != ".gz") return write_atomically(path, out, at);

  z_stream z{};
  if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    fail("write_idx", "zlib could not start", {{"file", path.string()}}, "", at);
  std::vector<uint8_t> packed(deflateBound(&z, static_cast<uLong>(out.size())));
  z.next_in = out.data();
  z.avail_in = static_cast<uInt>(out.size());
  z.next_out = packed.data();
  z.avail_out = static_cast<uInt>(packed.size());
  const int r = deflate(&z, Z_FINISH);
  packed.resize(z.total_out);
  deflateEnd(&z);
  if (r != Z_STREAM_END)
    fail("write_idx", "zlib could not compress the data", {{"file", path.string()}}, "less than 4 GiB", at);
  write_atomically(path, packed, at);
}

}  // namespace gradus::io
