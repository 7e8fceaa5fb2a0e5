// CRC-32 of IEEE 802.3 (the one of zip, gzip and PNG): polynomial 0xedb88320, eight bytes a step (Kounavis and Berry 2005).
#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace gradus::io {

namespace detail {
inline constexpr auto crc_tables = [] {
  std::array<std::array<uint32_t, 256>, 8> t{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    t[0][i] = c;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::size_t i = 0; i < 256; ++i) t[k][i] = t[0][t[k - 1][i] & 0xff] ^ (t[k - 1][i] >> 8);
  return t;
}();
}  // namespace detail

/// Continues `crc` (0 at first) with n more bytes.
inline uint32_t crc32_of(const void* data, std::size_t n, uint32_t crc = 0) {
  const auto& t = detail::crc_tables;
  const auto* p = static_cast<const unsigned char*>(data);
  crc = ~crc;
  if constexpr (std::endian::native == std::endian::little)
    for (; n >= 8; p += 8, n -= 8) {
      uint32_t a, b;
      std::memcpy(&a, p, 4), std::memcpy(&b, p + 4, 4);
      a ^= crc;
      crc = t[7][a & 0xff] ^ t[6][a >> 8 & 0xff] ^ t[5][a >> 16 & 0xff] ^ t[4][a >> 24] ^ t[3][b & 0xff] ^ t[2][b >> 8 & 0xff] ^
            t[1][b >> 16 & 0xff] ^ t[0][b >> 24];
    }
  for (; n > 0; ++p, --n) crc = t[0][(crc ^ *p) & 0xff] ^ (crc >> 8);
  return ~crc;
}

}  // namespace gradus::io
