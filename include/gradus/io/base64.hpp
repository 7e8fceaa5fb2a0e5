// Base64 (RFC 4648, section 4), for pictures inside a report page.
#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace gradus::io {

/// Three bytes become four letters; the last group is filled with '='.
inline std::string base64(std::span<const uint8_t> bytes) {
  constexpr char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string s;
  s.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = bytes.size() - i;
    const uint32_t v =
        uint32_t{bytes[i]} << 16 | (left > 1 ? uint32_t{bytes[i + 1]} << 8 : 0u) | (left > 2 ? bytes[i + 2] : 0u);
    s += letters[v >> 18];
    s += letters[v >> 12 & 63];
    s += left > 1 ? letters[v >> 6 & 63] : '=';
    s += left > 2 ? letters[v & 63] : '=';
  }
  return s;
}

}  // namespace gradus::io
