// The decoder against zlib's: the same bytes from good data, the same verdict on damaged data.
#include <algorithm>
#include <bit>
#include <random>
#include <string>
#include <vector>

#include <zlib.h>

#include <gradus/io/inflate.hpp>

#include "support/catch.hpp"

using namespace gradus::io;

namespace {

using Bytes = std::vector<uint8_t>;

// Hands out its bytes in pieces of a given size, so that every boundary is met.
struct Pieces {
  const Bytes& bytes;
  std::size_t piece, at = 0;
  bool next(const uint8_t*& begin, const uint8_t*& end) {
    const std::size_t n = std::min(piece, bytes.size() - at);
    begin = bytes.data() + at;
    end = begin + n;
    at += n;
    return n > 0;
  }
};

struct Result {
  Bytes bytes;
  std::string error;
  uint64_t used = 0;
};

Result ours(const Bytes& packed, std::size_t piece) {
  Pieces source{packed, piece};
  BitReader<Pieces> bits(source);
  Inflate<Pieces> inflate(bits);
  inflate.start();
  Result r;
  while (!inflate.done()) {
    if (const char* wrong = inflate.run()) {
      r.error = wrong;
      break;
    }
    r.bytes.insert(r.bytes.end(), inflate.data(), inflate.data() + inflate.size());
  }
  bits.align();
  r.used = bits.offset();
  return r;
}

Bytes deflated(Bytes in, int level, int strategy, int window = 15) {
  z_stream z{};
  REQUIRE(deflateInit2(&z, level, Z_DEFLATED, -window, 8, strategy) == Z_OK);
  Bytes out(deflateBound(&z, static_cast<uLong>(in.size())));
  z.next_in = in.data(), z.avail_in = static_cast<uInt>(in.size());
  z.next_out = out.data(), z.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&z, Z_FINISH) == Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

// zlib's verdict: true and the bytes when the stream is whole.
bool zlib_accepts(Bytes packed, Bytes& out) {
  z_stream z{};
  inflateInit2(&z, -15);
  out.assign(1 << 16, 0);
  z.next_in = packed.data(), z.avail_in = static_cast<uInt>(packed.size());
  z.next_out = out.data(), z.avail_out = static_cast<uInt>(out.size());
  const int r = inflate(&z, Z_FINISH);
  out.resize(z.total_out);
  inflateEnd(&z);
  return r == Z_STREAM_END;
}

// Text-like, repetitive, random and constant data, so that all kinds of blocks and codes come up.
Bytes sample(int kind, std::size_t n, std::mt19937& g) {
  Bytes b(n);
  for (std::size_t i = 0; i < n; ++i) {
    switch (kind) {
      case 0:
        b[i] = static_cast<uint8_t>(g());
        break;
      case 1:
        b[i] = static_cast<uint8_t>("etaoin shrdlu"[g() % 13]);
        break;
      case 2:
        b[i] = 7;
        break;
      case 3:
        b[i] = static_cast<uint8_t>(i % 5 + (g() % 400 == 0));
        break;
      // Geometric: code lengths up to 15, which need the second tables.
      case 4:
        b[i] = static_cast<uint8_t>(
            std::min<uint64_t>(255, static_cast<uint64_t>(std::countr_zero(g() | 0x80000000u)) * 9 + g() % 3));
        break;
      default:
        b[i] = i >= 30000 && g() % 8 ? b[i - 30000] : static_cast<uint8_t>(g());
        break;  // far matches
    }
  }
  return b;
}

}  // namespace

TEST_CASE("inflate: what zlib packs comes back, at every level, strategy and input boundary") {
  std::mt19937 g(3);
  for (int kind = 0; kind < 6; ++kind)
    for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{300}, std::size_t{70000}, std::size_t{1200000}}) {
      const Bytes plain = sample(kind, n, g);
      for (const int level : {0, 1, 6, 9})
        for (const int strategy : {Z_DEFAULT_STRATEGY, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED}) {
          if (n > 100000 && level != 6) continue;
          const Bytes packed = deflated(plain, level, strategy);
          for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, packed.size()}) {
            if (n > 100000 && piece < 4096) continue;
            const Result r = ours(packed, piece);
            INFO("kind " << kind << ", " << n << " bytes, level " << level << ", strategy " << strategy << ", piece " << piece);
            CHECK(r.error == "");
            CHECK((r.bytes == plain));
            CHECK(r.used == packed.size());
          }
        }
    }
}

TEST_CASE("inflate: cut anywhere, an error") {
  std::mt19937 g(4);
  for (int kind = 0; kind < 6; ++kind)
    for (const int strategy : {Z_DEFAULT_STRATEGY, Z_FIXED}) {
      const Bytes packed = deflated(sample(kind, 500, g), kind == 0 ? 0 : 9, strategy);
      for (std::size_t n = 0; n < packed.size(); ++n) {
        INFO("kind " << kind << ", cut to " << n << " of " << packed.size());
        CHECK(ours(Bytes(packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(n)), 64).error != "");
      }
    }
}

TEST_CASE("inflate: the same verdict as zlib on flipped bits and on noise") {
  std::mt19937 g(5);
  int good = 0, bad = 0;
  const auto compare = [&](const Bytes& packed) {
    Bytes expected;
    const bool accepted = zlib_accepts(packed, expected);
    if (!accepted && expected.size() == 1 << 16) return;  // zlib's output buffer was full: no verdict
    const Result r = ours(packed, 1000);
    CHECK((r.error == "") == accepted);
    if (accepted && r.error == "") CHECK((r.bytes == expected));
    accepted ? ++good : ++bad;
  };
  for (int kind = 0; kind < 6; ++kind) {
    const Bytes packed = deflated(sample(kind, 400, g), 9, kind == 3 ? Z_FIXED : Z_DEFAULT_STRATEGY);
    for (std::size_t bit = 0; bit < 8 * packed.size(); ++bit) {
      Bytes b = packed;
      b[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
      INFO("kind " << kind << ", bit " << bit);
      compare(b);
    }
  }
  for (int trial = 0; trial < 20000; ++trial) {
    Bytes b(1 + g() % 80);
    for (auto& x : b) x = static_cast<uint8_t>(g());
    if (trial % 2) b[0] = static_cast<uint8_t>((b[0] & ~7u) | (trial % 4 == 1 ? 4u : 5u));  // dynamic codes
    INFO("noise " << trial);
    compare(b);
  }
  CHECK(good > 100);
  CHECK(bad > 1000);
}
