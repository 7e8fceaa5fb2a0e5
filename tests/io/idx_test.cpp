#include <cstring>
#include <fstream>
#include <random>

#include <gradus/io/idx.hpp>

#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;
using namespace gradus::io;

namespace {

using Bytes = std::vector<uint8_t>;

void put(const std::filesystem::path& path, const Bytes& b) {
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(b.data()), static_cast<std::streamsize>(b.size()));
}
Bytes get(const std::filesystem::path& path) {
  const std::string s = read_text(path);
  return Bytes(s.begin(), s.end());
}
std::string read_error(const std::filesystem::path& path) {
  return error_text<Error>([&] { read_idx(path); });
}
IdxArray example() {
  IdxArray a{IdxType::u8, {3, 4, 5}, {}};
  for (int i = 0; i < 60; ++i) a.bytes.push_back(static_cast<uint8_t>(i * 37));
  return a;
}

}  // namespace

TEST_CASE("idx: every type and form comes back as it was written") {
  TempDir dir;
  std::mt19937 g(1);
  for (const IdxType type : {IdxType::u8, IdxType::i8, IdxType::i16, IdxType::i32, IdxType::f32, IdxType::f64})
    for (const Shape& shape : {Shape{7}, Shape{3, 5}, Shape{2, 3, 4}, Shape{0, 28, 28}, Shape{1, 1, 1, 1, 1, 1, 1, 2}})
      for (const char* name : {"a", "a.gz"}) {
        IdxArray a{type, shape, {}};
        a.bytes.resize(static_cast<std::size_t>(shape.numel() * size_of(type)));
        for (auto& b : a.bytes) b = static_cast<uint8_t>(g());
        write_idx(dir / name, a);
        const IdxArray r = read_idx(dir / name);
        CHECK(r.type == type);
        CHECK(r.shape == shape);
        CHECK(r.bytes == a.bytes);
      }
}

TEST_CASE("idx: bytes are big-endian in the file and the machine's in memory") {
  TempDir dir;
  put(dir / "i", {0, 0, 0x0c, 1, 0, 0, 0, 2, 0, 0, 1, 2, 0xff, 0xff, 0xff, 0xfe});
  const IdxArray a = read_idx(dir / "i");
  int32_t v[2];
  REQUIRE(a.bytes.size() == sizeof v);
  std::memcpy(v, a.bytes.data(), sizeof v);
  CHECK(v[0] == 258);
  CHECK(v[1] == -2);
}

TEST_CASE("idx: errors name the file, the offset and what was expected") {
  TempDir dir;
  const auto error_of = [&](const Bytes& b) {
    put(dir / "x", b);
    return read_error(dir / "x");
  };
  CHECK_THAT(read_error(dir / "none"), contains("none") && contains("No such file"));
  CHECK_THAT(read_error(dir.path), contains("it is a directory"));
  CHECK_THAT(error_of({}),
             contains("the file ends inside the header") && contains((dir / "x").string()) && contains("offset    0 of 0"));
  CHECK_THAT(error_of({0, 7, 8, 1, 0, 0, 0, 0}),
             contains("not an IDX file: it begins with 0x00 0x07") && contains("two zero bytes"));
  CHECK_THAT(error_of({0, 0, 0x0a, 1, 0, 0, 0, 0}),
             contains("unknown type code 0x0a") && contains("offset    2 of 8") && contains("0x08 (uint8)"));
  CHECK_THAT(error_of({0, 0, 8, 0}), contains("an array of 0 dimensions") && contains("1 to 8 dimensions"));
  CHECK_THAT(error_of({0, 0, 8, 9}), contains("an array of 9 dimensions"));
  CHECK_THAT(error_of({0, 0, 8, 2, 0, 0, 0, 1, 0, 0}), contains("offset    10 of 10") && contains("extent 1 of 2"));
  CHECK_THAT(error_of({0, 0, 8, 1, 0, 0, 0, 5, 1, 2, 3}), contains("the data is cut off") &&
                                                              contains("5 bytes of uint8 [5] after the header, got 3") &&
                                                              contains("offset    8 of 11"));
  CHECK_THAT(error_of({0, 0, 8, 1, 0, 0, 0, 1, 1, 2, 3}),
             contains("more data than the header says") && contains("offset    9 of 11"));
  const Bytes huge{0, 0, 0x0e, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1};
  CHECK_THAT(error_of(huge), contains("overflow") && contains("[4294967295, 4294967295") && contains("2^63"));
  CHECK_THAT(error_of(huge), contains("idx_test.cpp:"));
}

TEST_CASE("idx: a header that promises terabytes takes no memory") {
  TempDir dir;
  const Bytes header{0, 0, 8, 2, 255, 255, 255, 255, 0, 0, 255, 255};
  put(dir / "x", header);
  CHECK_THAT(read_error(dir / "x"), contains("the data is cut off"));
  // Compressed: a small file that could inflate to a little less than it claims is refused before anything is reserved.
  IdxArray a = example();
  write_idx(dir / "a.gz", a);
  z_stream z{};
  REQUIRE(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  Bytes in = header, out(1000);
  z.next_in = in.data(), z.avail_in = static_cast<uInt>(in.size()), z.next_out = out.data(), z.avail_out = 1000;
  REQUIRE(deflate(&z, Z_FINISH) == Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  put(dir / "x.gz", out);
  CHECK_THAT(read_error(dir / "x.gz"), contains("fewer than the compressed file can hold"));
}

TEST_CASE("idx: cut anywhere, an error") {
  TempDir dir;
  for (const char* name : {"a", "a.gz"}) {
    write_idx(dir / name, example());
    const Bytes whole = get(dir / name);
    for (std::size_t n = 0; n < whole.size(); ++n) {
      INFO(name << " cut to " << n << " of " << whole.size());
      put(dir / "cut", Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)));
      const std::string e = read_error(dir / "cut");
      CHECK_THAT(e, contains((dir / "cut").string()) && contains("offset"));
    }
    for (const Bytes& more : {Bytes{0}, Bytes{1, 2, 3}, Bytes{0x1f, 0x8b}}) {
      Bytes longer = whole;
      longer.insert(longer.end(), more.begin(), more.end());
      put(dir / "long", longer);
      CHECK_FALSE(read_error(dir / "long").empty());
    }
  }
}

TEST_CASE("idx: a flipped bit in the header or in the .gz gives an error or the right data") {
  TempDir dir;
  const IdxArray a = example();
  write_idx(dir / "a", a);
  const Bytes raw = get(dir / "a");
  for (std::size_t bit = 0; bit < 8 * 16; ++bit) {  // 4 + 3 * 4 bytes of header
    Bytes b = raw;
    b[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    put(dir / "b", b);
    INFO("bit " << bit);
    if (bit == 16) CHECK(read_idx(dir / "b").type == IdxType::i8);  // uint8 to int8: as good a header; callers check the type
    else CHECK_FALSE(read_error(dir / "b").empty());
  }
  write_idx(dir / "a.gz", a);
  const Bytes packed = get(dir / "a.gz");
  int survived = 0;
  for (std::size_t bit = 0; bit < 8 * packed.size(); ++bit) {
    Bytes b = packed;
    b[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    put(dir / "b", b);
    INFO("bit " << bit << " of the .gz");
    IdxArray r;
    if (!error_text<Error>([&] { r = read_idx(dir / "b"); }).empty()) continue;
    CHECK(r.bytes == a.bytes);  // time stamp, operating system: bits that say nothing about the data
    CHECK(r.shape == a.shape);
    ++survived;
  }
  CHECK(survived < 8 * 7);
}

TEST_CASE("idx: gzip members one after another, and optional header fields") {
  TempDir dir;
  write_idx(dir / "a.gz", example());
  // The same data cut in two members, each with a file name and an extra field.
  const auto member = [](Bytes in) {
    z_stream z{};
    deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
    gz_header h{};
    Bytef name[] = "part", comment[] = "comment", extra[] = {1, 2, 3};
    h.name = name, h.comment = comment, h.extra = extra, h.extra_len = 3, h.hcrc = 1;
    deflateSetHeader(&z, &h);
    Bytes out(1000);
    z.next_in = in.data(), z.avail_in = static_cast<uInt>(in.size()), z.next_out = out.data(), z.avail_out = 1000;
    deflate(&z, Z_FINISH);
    out.resize(z.total_out);
    deflateEnd(&z);
    return out;
  };
  write_idx(dir / "a", example());
  const Bytes raw = get(dir / "a");
  Bytes two = member(Bytes(raw.begin(), raw.begin() + 30));
  const Bytes second = member(Bytes(raw.begin() + 30, raw.end()));
  two.insert(two.end(), second.begin(), second.end());
  put(dir / "two", two);  // found to be gzip by its first bytes, not by its name
  CHECK(read_idx(dir / "two").bytes == example().bytes);
  two[two.size() - 8] ^= 1;
  put(dir / "two", two);
  CHECK_THAT(read_error(dir / "two"), contains("check sum (CRC-32)") && contains("(gzip)"));
}
