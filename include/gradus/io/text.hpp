// Plain text in UTF-8, whole or in pieces.
//
//   const std::string text = io::read_utf8("corpus.txt");               // checked, \n as the only line end, no byte order mark
//   for (const auto& p : io::paragraphs(text)) use(p);                  // pieces between empty lines
//   for (const auto& d : io::documents(text, "<|endoftext|>")) use(d);  // pieces between lines of a separator
//
// .gz files are inflated on the way. Larger than memory: io::LineReader, and io::utf8_error for each line.
#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gradus/io/gzip.hpp>
#include <gradus/io/json.hpp>

namespace gradus::io {

/// The offset of the first byte that is not part of a character (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
inline std::optional<std::size_t> utf8_error(std::string_view s) {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<uint8_t>(s[i]) : uint8_t{0}; };
  for (std::size_t i = 0; i < s.size();) {
    const uint8_t b = byte(i);
    const std::size_t more = b < 0x80 ? 0 : b >= 0xc2 && b <= 0xdf ? 1 : b >= 0xe0 && b <= 0xef ? 2 : b >= 0xf0 && b <= 0xf4 ? 3 : 4;
    if (more == 4) return i;
    if (more > 0) {
      // The second byte's limits keep out what has a shorter form, surrogates and what lies above U+10FFFF.
      const uint8_t low = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80, high = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
      if (byte(i + 1) < low || byte(i + 1) > high) return i;
      for (std::size_t k = 2; k <= more; ++k)
        if (byte(i + k) < 0x80 || byte(i + k) > 0xbf) return i;
    }
    i += 1 + more;
  }
  return std::nullopt;
}

/// The whole of a file. A byte that is not UTF-8 is an error with its offset, line and column (in bytes).
inline std::string read_utf8(const std::filesystem::path& path, Where at = Where::current()) {
  ByteReader in(path, "read_utf8", at);
  std::string s;
  uint8_t block[1 << 14];
  while (const std::size_t n = in.read(block, sizeof block)) s.append(reinterpret_cast<const char*>(block), n);
  if (const auto bad = utf8_error(s)) {
    const auto end = s.begin() + static_cast<std::ptrdiff_t>(*bad);
    const std::size_t line_begin = *bad == 0 ? 0 : s.rfind('\n', *bad - 1) == std::string::npos ? 0 : s.rfind('\n', *bad - 1) + 1;
    static constexpr char digits[] = "0123456789abcdef";
    const auto b = static_cast<uint8_t>(s[*bad]);
    fail("read_utf8", "a byte that is not UTF-8",
         {{"file", path.string()}, {"offset", std::to_string(*bad) + " of " + std::to_string(s.size()) + (in.compressed() ? " inflated" : "")},
          {"line", std::to_string(std::count(s.begin(), end, '\n') + 1)}, {"column", std::to_string(*bad - line_begin + 1)},
          {"found", std::string("0x") + digits[b / 16] + digits[b % 16]}},
         "text in UTF-8; iconv -f ISO-8859-1 -t UTF-8 turns Latin-1 into it", at);
  }
  std::string text;
  text.reserve(s.size());
  for (std::size_t i = s.compare(0, 3, "\xef\xbb\xbf") == 0 ? 3 : 0; i < s.size(); ++i)
    if (s[i] != '\r') text += s[i];
    else if (i + 1 == s.size() || s[i + 1] != '\n') text += '\n';
  return text;
}

/// Pieces between line ends; a last line without an end counts.
inline std::vector<std::string> lines(std::string_view text) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = std::min(text.find('\n', i), text.size());
    all.emplace_back(text.substr(i, end - i));
    i = end + 1;
  }
  return all;
}

namespace detail {
/// Pieces of whole lines between those of which cut(line) holds; pieces of nothing but blanks are left out.
template <class Cut>
std::vector<std::string> pieces(std::string_view text, Cut cut) {
  std::vector<std::string> all;
  std::string piece;
  bool any = false;
  const auto flush = [&] {
    if (piece.find_first_not_of(" \t\n") != std::string::npos) all.push_back(piece);
    piece.clear(), any = false;
  };
  for (const std::string& line : lines(text)) {
    if (cut(line)) flush();
    else piece += (any ? "\n" : "") + line, any = true;
  }
  flush();
  return all;
}
}  // namespace detail

/// Pieces between lines of nothing but blanks.
inline std::vector<std::string> paragraphs(std::string_view text) {
  return detail::pieces(text, [](const std::string& line) { return line.find_first_not_of(" \t") == std::string::npos; });
}
/// Pieces between lines that are `separator`; empty lines inside a document stay.
inline std::vector<std::string> documents(std::string_view text, std::string_view separator) {
  return detail::pieces(text, [&](const std::string& line) { return line == separator; });
}

}  // namespace gradus::io
