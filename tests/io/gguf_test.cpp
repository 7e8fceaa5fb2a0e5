#include <cmath>
#include <fstream>
#include <random>

#include <gradus/io/gguf.hpp>
#include <gradus/ops/create.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;

namespace {
/// Writes the format, value by value.
struct Writer {
  std::string s;
  template <class V>
  Writer& put(V v) {
    s.append(reinterpret_cast<const char*>(&v), sizeof v);
    return *this;
  }
  Writer& text(const std::string& t) {
    put(static_cast<uint64_t>(t.size()));
    s += t;
    return *this;
  }
  Writer& key(const std::string& k, uint32_t type) { return text(k).put(type); }
  Writer& head(uint64_t tensors, uint64_t entries, uint32_t version = 3) {
    s += "GGUF";
    return put(version).put(tensors).put(entries);
  }
  Writer& info(const std::string& name, const std::vector<uint64_t>& extents, uint32_t type, uint64_t offset) {
    text(name).put(static_cast<uint32_t>(extents.size()));
    for (const uint64_t e : extents) put(e);
    return put(type).put(offset);
  }
  Writer& pad(std::size_t to = 32) {
    s.resize((s.size() + to - 1) / to * to);
    return *this;
  }
};
std::span<const uint8_t> bytes(const std::string& s) { return {reinterpret_cast<const uint8_t*>(s.data()), s.size()}; }
io::GgufFile open(const std::string& s) { return io::GgufFile(bytes(s), "model.gguf"); }
std::string error(const std::string& s) {
  return check::error_of([&] { open(s); });
}
std::string small_file() {
  Writer w;
  w.head(2, 4).key("general.name", 8).text("small").key("general.alignment", 4).put(uint32_t{64});
  w.key("list", 9).put(uint32_t{8}).put(uint64_t{2}).text("a").text("bc").key("on", 7).put(uint8_t{1});
  w.info("x", {3, 2}, 0, 0).info("q", {32}, 8, 64).pad(64);
  for (int i = 0; i < 6; ++i) w.put(static_cast<float>(i));
  w.pad(64).put(half(0.5f).bits);
  for (int i = 0; i < 32; ++i) w.put(static_cast<int8_t>(i - 16));
  return w.s;
}
/// Sets `n` bits from bit `at` on: the blocks below are packed bit by bit, by where a bit has to be.
void set_bits(std::string& s, std::size_t at, int n, unsigned v) {
  for (int k = 0; k < n; ++k)
    if (v >> k & 1)
      s[(at + static_cast<std::size_t>(k)) / 8] |= static_cast<char>(1 << ((at + static_cast<std::size_t>(k)) % 8));
}
void set_half(std::string& s, std::size_t byte, float v) {
  const uint16_t b = half(v).bits;
  std::memcpy(&s[byte], &b, 2);
}
Tensor<float> read_blocks(uint32_t type, std::size_t elements, const std::string& blocks) {
  Writer w;
  w.head(1, 0).info("w", {elements}, type, 0).pad();
  w.s += blocks;
  return open(w.s).read("w");
}
}  // namespace

TEST_CASE("gguf: metadata of every type, versions 2 and 3", "[io]") {
  for (const uint32_t version : {2u, 3u}) {
    Writer w;
    w.head(0, 16, version);
    w.key("u8", 0)
        .put(uint8_t{200})
        .key("i8", 1)
        .put(int8_t{-3})
        .key("u16", 2)
        .put(uint16_t{60000})
        .key("i16", 3)
        .put(int16_t{-300});
    w.key("u32", 4)
        .put(uint32_t{4000000000})
        .key("i32", 5)
        .put(int32_t{-70000})
        .key("f32", 6)
        .put(0.5f)
        .key("yes", 7)
        .put(uint8_t{1});
    w.key("text", 8)
        .text("gr\u00fc\u00df")
        .key("u64", 10)
        .put(UINT64_MAX)
        .key("i64", 11)
        .put(INT64_MIN)
        .key("f64", 12)
        .put(0.1);
    w.key("ints", 9).put(uint32_t{5}).put(uint64_t{2}).put(int32_t{-1}).put(int32_t{2});
    w.key("flags", 9).put(uint32_t{7}).put(uint64_t{2}).put(uint8_t{1}).put(uint8_t{0});
    w.key("reals", 9).put(uint32_t{6}).put(uint64_t{1}).put(2.5f);
    w.key("nested", 9).put(uint32_t{9}).put(uint64_t{1}).put(uint32_t{8}).put(uint64_t{1}).text("deep");
    const auto f = open(w.s);
    CHECK(f.version() == version);
    CHECK(f.number("u8") == 200);
    CHECK(f.number("i8") == -3);
    CHECK(f.number("u16") == 60000);
    CHECK(f.number("i16") == -300);
    CHECK(f.number("u32") == 4e9);
    CHECK(f.number("i32") == -70000);
    CHECK(f.number("f32") == 0.5);
    CHECK(f.get<bool>("yes"));
    CHECK(f.get<std::string>("text") == "gr\u00fc\u00df");
    CHECK(f.get<uint64_t>("u64") == UINT64_MAX);
    CHECK(f.get<int64_t>("i64") == INT64_MIN);
    CHECK(f.number("f64") == 0.1);
    CHECK(f.get<std::vector<int64_t>>("ints") == std::vector<int64_t>{-1, 2});
    CHECK(f.get<std::vector<bool>>("flags") == std::vector<bool>{true, false});
    CHECK(f.get<std::vector<double>>("reals") == std::vector<double>{2.5});
    const auto& inner = f.get<std::vector<io::GgufValue>>("nested").at(0).value;
    CHECK(std::get<std::vector<std::string>>(inner) == std::vector<std::string>{"deep"});
    CHECK(f.number_or("absent", 7) == 7);
    CHECK(check::missing(check::error_of([&] { f.number("absent"); }), {"no such key", "model.gguf", "absent"}) == "");
    CHECK(check::missing(check::error_of([&] { f.get<bool>("text"); }), {"another type", "text"}) == "");
  }
}

TEST_CASE("gguf: tensors from a file, extents reversed, alignment kept", "[io]") {
  const TempDir dir;
  std::ofstream(dir / "m.gguf", std::ios::binary) << small_file();
  const io::GgufFile f(dir / "m.gguf");
  CHECK(f.entries().at("x").shape == Shape{2, 3});
  CHECK(f.entries().at("q").type == "Q8_0");
  CHECK(f.read("x").to_vector() == std::vector<float>{0, 1, 2, 3, 4, 5});
  for (int i = 0; i < 32; ++i) CHECK(f.read("q").data()[i] == 0.5f * static_cast<float>(i - 16));
  CHECK(f.bytes("q").size() == 34);
  CHECK(check::missing(check::error_of([&] { f.read("y"); }), {"no such tensor", "m.gguf", "2 tensors"}) == "");
}

TEST_CASE("gguf: quantised types against their formulas", "[io]") {
  std::mt19937 random(7);
  const auto draw = [&](int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(random); };
  const auto agree = [](const Tensor<float>& got, const std::vector<double>& want) {
    REQUIRE(got.numel() == static_cast<int64_t>(want.size()));
    for (std::size_t i = 0; i < want.size(); ++i) CHECK(std::abs(got.data()[i] - want[i]) <= 1e-6 * (1 + std::abs(want[i])));
  };
  const double d = 0.03125, m = -0.75;  // exact as half
  std::vector<double> want(32);
  std::string s(36, '\0');  // F16 and BF16: two of each
  SECTION("F16 and BF16") {
    s.assign(4, '\0');
    set_half(s, 0, 0.1f), set_half(s, 2, -3);
    agree(read_blocks(1, 2, s), {static_cast<double>(static_cast<float>(half(0.1f))), -3});
    const bf16 b(0.1f);
    std::memcpy(s.data(), &b.bits, 2);
    agree(read_blocks(30, 1, s.substr(0, 2)), {static_cast<double>(static_cast<float>(b))});
  }
  SECTION("Q4_0: (q - 8) d") {
    s.assign(18, '\0');
    set_half(s, 0, static_cast<float>(d));
    for (std::size_t e = 0; e < 32; ++e) {
      const int q = draw(0, 15);
      set_bits(s, 8 * (2 + e % 16) + 4 * (e / 16), 4, static_cast<unsigned>(q));
      want[e] = (q - 8) * d;
    }
    agree(read_blocks(2, 32, s), want);
  }
  SECTION("Q4_1: q d + m") {
    s.assign(20, '\0');
    set_half(s, 0, static_cast<float>(d)), set_half(s, 2, static_cast<float>(m));
    for (std::size_t e = 0; e < 32; ++e) {
      const int q = draw(0, 15);
      set_bits(s, 8 * (4 + e % 16) + 4 * (e / 16), 4, static_cast<unsigned>(q));
      want[e] = q * d + m;
    }
    agree(read_blocks(3, 32, s), want);
  }
  SECTION("Q4_K: d scale q - dmin low, both scales of 6 bits") {
    s.assign(144, '\0');
    want.resize(256);
    set_half(s, 0, static_cast<float>(d)), set_half(s, 2, 0.25f);
    for (std::size_t b = 0; b < 8; ++b) {
      const auto scale = static_cast<unsigned>(draw(0, 63)), low = static_cast<unsigned>(draw(0, 63));
      if (b < 4) {
        set_bits(s, 8 * (4 + b), 6, scale), set_bits(s, 8 * (8 + b), 6, low);
      } else {
        set_bits(s, 8 * (8 + b), 4, scale), set_bits(s, 8 * b + 6, 2, scale >> 4);
        set_bits(s, 8 * (8 + b) + 4, 4, low), set_bits(s, 8 * (4 + b) + 6, 2, low >> 4);
      }
      for (std::size_t l = 0; l < 32; ++l) {
        const int q = draw(0, 15);
        set_bits(s, 8 * (16 + b / 2 * 32 + l) + 4 * (b % 2), 4, static_cast<unsigned>(q));
        want[32 * b + l] = d * scale * q - 0.25 * low;
      }
    }
    agree(read_blocks(12, 256, s), want);
  }
  SECTION("Q6_K: d scale (q - 32), signed scales of 16 elements") {
    s.assign(210, '\0');
    want.resize(256);
    set_half(s, 208, static_cast<float>(d));
    int scale[16];
    for (std::size_t k = 0; k < 16; ++k) scale[k] = draw(-128, 127), s[192 + k] = static_cast<char>(scale[k]);
    for (std::size_t e = 0; e < 256; ++e) {
      const int q = draw(0, 63);
      const std::size_t part = e / 128, r = e % 128;
      set_bits(s, 8 * (64 * part + r % 64) + 4 * (r / 64), 4, static_cast<unsigned>(q));
      set_bits(s, 8 * (128 + 32 * part + r % 32) + 2 * (r / 32), 2, static_cast<unsigned>(q) >> 4);
      want[e] = d * scale[e / 16] * (q - 32);
    }
    agree(read_blocks(14, 256, s), want);
  }
}

TEST_CASE("gguf: errors name file, offset and expectation", "[io]") {
  using check::missing;
  CHECK(missing(error("GGML1234"), {"read_gguf", "model.gguf", "not a GGUF file", "0 of 8"}) == "");
  CHECK(missing(error(Writer{}.head(0, 0, 1).s), {"version 1", "2 or 3", "4 of 24"}) == "");
  CHECK(missing(error(Writer{}.head(0, 0, 0x03000000).s), {"big-endian"}) == "");
  CHECK(missing(error(Writer{}.head(uint64_t{1} << 60, 0).s), {"1152921504606846976 tensors", "at most 1"}) == "");
  CHECK(missing(error(Writer{}.head(0, 1).text("k").put(uint32_t{13}).put(uint64_t{0}).s),
                {"unknown value type 13", "0 to 12"}) == "");
  CHECK(missing(error(Writer{}.head(0, 1).key("k", 9).put(uint32_t{4}).put(uint64_t{1} << 40).s),
                {"1099511627776 values", "at most 0"}) == "");
  CHECK(missing(error(Writer{}.head(0, 1).key("k", 7).put(uint8_t{2}).put(uint64_t{0}).s), {"a bool is 2", "0 or 1"}) == "");
  CHECK(missing(error(Writer{}.head(1, 0).info("w", {33}, 8, 0).pad().s), {"33 elements", "a multiple of 32", "24 of"}) == "");
  CHECK(missing(error(Writer{}.head(1, 0).info("w", {8}, 0, 8).pad().s), {"offset is 8", "a multiple of 32"}) == "");
  CHECK(missing(error(Writer{}.head(1, 0).info("w", {8}, 0, 0).pad().s), {"32 bytes at 0 ends after the file"}) == "");
  CHECK(missing(error(Writer{}.head(1, 0).info("w", {8}, 99, 0).pad().s), {"unknown type 99"}) == "");
  CHECK(missing(error(Writer{}.head(1, 0).info("w", {uint64_t{1} << 40, uint64_t{1} << 40}, 0, 0).s), {"too many elements"}) ==
        "");
  CHECK(missing(error(Writer{}.head(2, 0).info("a", {1}, 0, 0).info("b", {1}, 0, 0).pad().pad(128).s), {"overlap"}) == "");
  const auto other = open(Writer{}.head(1, 0).info("w", {32}, 24, 0).pad().pad(128).s);
  CHECK(missing(check::error_of([&] { other.read("w"); }), {"does not dequantise", "I8", "Q2_K to Q6_K"}) == "");
}

TEST_CASE("gguf: quantised types as the package gguf dequantises them", "[io]") {
  const io::GgufFile f(std::string(GRADUS_TESTS_DIR) + "/recorded/gguf/types.gguf");
  int types = 0;
  for (const auto& [name, entry] : f.entries()) {
    if (!f.contains(name + ".float")) continue;
    INFO(name);
    CHECK(entry.type == name);
    const auto got = f.read(name).to_vector(), want = f.read(name + ".float").to_vector();
    REQUIRE(got.size() == want.size());
    for (std::size_t i = 0; i < want.size(); ++i)
      CHECK(std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i])) <= 1e-6 * (1 + std::abs(static_cast<double>(want[i]))));
    ++types;
  }
  CHECK(types == 10);
}

TEST_CASE("gguf: cut off at every byte and with every bit flipped, an error or a model, never a crash", "[io]") {
  const std::string whole = small_file();
  std::size_t silent = 0, unlike = 0;
  const auto read_all = [](const std::string& s) {
    const auto f = open(s);
    for (const auto& [name, e] : f.entries()) f.read(name);
  };
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const std::string e = check::error_of([&] { read_all(whole.substr(0, n)); });
    silent += e == "no error";
    unlike += check::missing(e, {"model.gguf", "offset", "expected"}) != "";
  }
  CHECK(silent == 0);
  CHECK(unlike == 0);
  for (std::size_t i = 0; i < whole.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string s = whole;
      s[i] = static_cast<char>(s[i] ^ (1 << bit));
      const std::string e = check::error_of([&] { read_all(s); });
      unlike += e != "no error" && check::missing(e, {"model.gguf", "expected"}) != "";
    }
  CHECK(unlike == 0);
}
