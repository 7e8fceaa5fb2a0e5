#include <cstdio>
#include <fstream>

#include <gradus/io/safetensors.hpp>
#include <gradus/ops/create.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;

namespace {
std::string bytes_of(const std::filesystem::path& p) { return io::read_text(p); }
void write_bytes(const std::filesystem::path& p, const std::string& s) { std::ofstream(p, std::ios::binary) << s; }
/// A file with this header and `n` bytes of data.
std::string file_of(const std::string& header, std::size_t n) {
  std::string s(8, '\0');
  for (std::size_t i = 0; i < 4; ++i) s[i] = static_cast<char>(header.size() >> (8 * i));
  return s + header + std::string(n, '\1');
}
std::string error_of_file(const TempDir& dir, const std::string& bytes) {
  write_bytes(dir / "x.safetensors", bytes);
  return check::error_of([&] { io::read_safetensors(dir / "x.safetensors"); });
}
bool same_bits(const AnyTensor& a, const AnyTensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.impl()->data, b.impl()->data, static_cast<std::size_t>(a.numel() * size_of(a.dtype()))) == 0;
}
}  // namespace

TEST_CASE("CRC-32 of the standard's check text", "[io]") {
  CHECK(io::crc32_of("123456789", 9) == 0xcbf43926u);
  const std::string long_text(1000, 'a');
  CHECK(io::crc32_of(long_text.data(), 1000) == io::crc32_of(long_text.data() + 13, 987, io::crc32_of(long_text.data(), 13)));
}

TEST_CASE("tensors of every dtype come back bit for bit", "[io]") {
  const TempDir dir;
  const auto x = check::uniform<float>({3, 5}, -9, 9);
  io::NamedTensors all{{"f32", x},
                       {"f64", check::uniform({2, 2})},
                       {"bf16", cast<bf16>(x)},
                       {"f16", cast<half>(x)},
                       {"i64", Tensor<int64_t>{-1, int64_t{1} << 60}},
                       {"i32", Tensor<int32_t>{7, -7, 1}},
                       {"u8", Tensor<uint8_t>{255}},
                       {"flags", x > 0},
                       {"scalar", scalar<double>(0.1)},
                       {"none", zeros<float>({0, 4})},
                       {"a \"name\" \n \u00e9", zeros<float>({1})}};
  const io::Metadata about{{"who", "me \\ you"}};
  io::write_safetensors(dir / "a.safetensors", all, about);
  const auto back = io::read_safetensors(dir / "a.safetensors");
  REQUIRE(back.size() == all.size());
  for (const auto& [name, y] : all) {
    INFO(name);
    REQUIRE(back.contains(name));
    CHECK(same_bits(y, back.at(name)));
  }
  io::SafetensorsFile f(dir / "a.safetensors");
  CHECK(f.metadata() == about);
  CHECK(f.read<int32_t>("i32").to_vector() == std::vector<int32_t>{7, -7, 1});
  CHECK(check::missing(check::error_of([&] { f.read<float>("f64"); }), {"float64 cpu [2, 2]", "float32"}) == "");
  CHECK(check::missing(check::error_of([&] { f.read("weight"); }), {"no such tensor", "weight", "11 tensors", "safetensors_test"}) == "");
  for (const auto& [name, e] : f.entries()) CHECK(e.begin % static_cast<uint64_t>(size_of(all.at(name).dtype())) == 0);
  io::write_safetensors(dir / "empty.safetensors", {});
  CHECK(io::read_safetensors(dir / "empty.safetensors").empty());
  CHECK(check::missing(check::error_of([&] { io::write_safetensors(dir / "b", {{"view", x.t()}}); }), {"view", "contiguous"}) == "");
}

TEST_CASE("a file as the reference library writes it", "[io]") {
  const TempDir dir;
  std::string header = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[],"data_offsets":[8,12]},)"
                       R"("a\u00e9\ud83d\ude00":{"shape":[2],"dtype":"F32","data_offsets":[0,8]}}   )";
  const float values[] = {1, 2, 3};
  std::string bytes = file_of(header, 0);
  bytes.append(reinterpret_cast<const char*>(values), 12);
  write_bytes(dir / "a", bytes);
  const auto all = io::read_safetensors(dir / "a");
  CHECK(all.at("a\u00e9\U0001f600").as<float, Cpu>().to_vector() == std::vector<float>{1, 2});
  CHECK(all.at("b").as<float, Cpu>().item() == 3);
}

TEST_CASE("damaged headers are named", "[io]") {
  const TempDir dir;
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return "{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape + "],\"data_offsets\":[" + offsets + "]}";
  };
  struct Damage {
    std::string header;
    std::size_t data;
    std::vector<std::string> parts;
  };
  const std::string a = "{\"a\":", x = entry("F32", "2", "0,8");
  for (const Damage& d : std::vector<Damage>{
           {a + x + "}", 7, {"do not fit", "7 bytes", "offset"}},
           {a + x + "}", 9, {"no tensor", "the end of the file"}},
           {a + x + ",\"a\":" + x + "}", 8, {"\"a\" occurs twice"}},
           {a + entry("F33", "2", "0,8") + "}", 8, {"unknown dtype", "F33"}},
           {a + entry("F32", "3", "0,8") + "}", 8, {"has 8 bytes", "12 for F32 [3]"}},
           {a + entry("F32", "4294967296,4294967296", "0,8") + "}", 8, {"too large"}},
           {a + entry("F32", "1,1,1,1,1,1,1,1,2", "0,8") + "}", 8, {"at most 8 dimensions"}},
           {a + entry("F32", "2", "8,0") + "}", 8, {"do not fit"}},
           {a + entry("F32", "2", "0,99999999999999999999") + "}", 8, {"below 2^63"}},
           {a + entry("F32", "-2", "0,8") + "}", 8, {"non-negative integer"}},
           {a + entry("F32", "02", "0,8") + "}", 8, {"non-negative integer"}},
           {a + entry("F32", "2", "4,12") + "}", 12, {"after a gap", "offset"}},
           {a + x + ",\"b\":" + entry("F32", "1", "4,8") + "}", 8, {"inside another tensor"}},
           {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, {"incomplete"}},
           {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":1}}", 8, {"unknown key", "more"}},
           {a + x + "} 7", 8, {"the end of the header"}},
           {a + x, 8, {"the header is damaged", "its end"}},
           {"{\"__metadata__\":{\"k\":1}}", 0, {"the header is damaged", "expected  '\"'"}},
           {"{\"\\ud800\":" + x + "}", 8, {"surrogate"}},
           {a + entry("BOOL", "8", "0,8") + "}", 8, {"no error"}}}) {
    INFO(d.header);
    CHECK(check::missing(error_of_file(dir, file_of(d.header, d.data)), d.parts) == "");
  }
  CHECK(check::missing(error_of_file(dir, "abc"), {"x.safetensors", "3 of 3", "8 bytes"}) == "");
  CHECK(check::missing(error_of_file(dir, std::string(8, '\xff') + "{}"), {"0 of 10", "2 to 2 bytes"}) == "");
  CHECK(check::missing(error_of_file(dir, file_of(a + entry("U16", "4", "0,8") + "}", 8)), {"no such dtype", "U16", "BF16"}) == "");
  auto flags = file_of(a + entry("BOOL", "8", "0,8") + "}", 8);
  flags.back() = 2;
  CHECK(check::missing(error_of_file(dir, flags), {"boolean", "is 2", "0 or 1"}) == "");
}

// Truncation at every length, and every bit flipped: an error each time, or the same tensors when only our own check sums'
// key was hit, which other readers would not know either.
TEST_CASE("every truncation and every flipped bit is noticed", "[io]") {
  const TempDir dir;
  const io::NamedTensors all{{"w", check::uniform<float>({3})}, {"n", Tensor<int64_t>{5}}, {"m", zeros<float>({2}) > 0}};
  io::write_safetensors(dir / "good", all, {{"k", "v"}});
  const std::string good = bytes_of(dir / "good");
  for (std::size_t n = 0; n < good.size(); ++n)
    CHECK(check::missing(error_of_file(dir, good.substr(0, n)), {"read_safetensors", "x.safetensors", "offset", "expected"}) == "");
  const std::size_t key = good.find("gradus.crc32");
  int unnoticed = 0;
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    const std::string error = error_of_file(dir, bad);
    if (error != "no error") {
      if (!check::contains(error, "x.safetensors") || !check::contains(error, "offset")) FAIL_CHECK("bit " << bit << ": " << error);
      continue;
    }
    ++unnoticed;
    INFO("bit " << bit);
    CHECK((bit / 8 >= key && bit / 8 < key + 12));
    for (const auto& [name, x] : io::read_safetensors(dir / "x.safetensors")) CHECK(same_bits(x, all.at(name)));
  }
  CHECK(unnoticed <= 12 * 8);
}
