#include <fstream>

#include <gradus/io/npz.hpp>
#include <gradus/ops/create.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;

namespace {
void write_bytes(const std::filesystem::path& p, const std::string& s) { std::ofstream(p, std::ios::binary) << s; }
bool same_bits(const AnyTensor& a, const AnyTensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.impl()->data, b.impl()->data, static_cast<std::size_t>(a.numel() * size_of(a.dtype()))) == 0;
}
/// A file of version `v` with this literal and these elements.
std::string npy(const std::string& literal, const std::string& elements, char v = 1) {
  std::string s = std::string("\x93NUMPY") + v + '\0';
  for (std::size_t i = 0; i < (v == 1 ? 2u : 4u); ++i) s += static_cast<char>(literal.size() >> (8 * i));
  return s + literal + elements;
}
std::string header(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}
io::NamedTensors all_dtypes() {
  const auto x = check::uniform<float>({3, 5}, -9, 9);
  return {{"f32", x},
          {"f64", check::uniform({2, 3, 2})},
          {"bf16", cast<bf16>(x)},
          {"f16", cast<half>(x)},
          {"i64", Tensor<int64_t>{-1, int64_t{1} << 60}},
          {"i32", Tensor<int32_t>{7, -7, 1}},
          {"u8", Tensor<uint8_t>{255}},
          {"flags", x > 0},
          {"scalar", scalar<double>(0.1)},
          {"none", zeros<float>({0, 4})},
          {"a/b \u00e9", zeros<float>({1})}};
}
}  // namespace

TEST_CASE("npy: every dtype comes back bit for bit, in both orders", "[io]") {
  const TempDir dir;
  for (const auto& [name, x] : all_dtypes())
    for (const bool fortran : {false, true}) {
      INFO(name);
      io::write_npy(dir / "x.npy", x, {.fortran_order = fortran});
      CHECK(same_bits(x, io::read_npy(dir / "x.npy")));
      CHECK(io::read_text(dir / "x.npy").find('\n') % 64 == 63);
    }
  CHECK(check::missing(check::error_of([&] { io::read_npy<double>(dir / "x.npy"); }), {"uint8 cpu [1]", "float64"}) == "");
  CHECK(check::missing(check::error_of([&] {
                         io::write_npy(dir / "y.npy", zeros({2, 3}).t());
                       }),
                       {"y.npy", "contiguous"}) == "");
}

TEST_CASE("npy: versions, byte order, Fortran order and types of other widths", "[io]") {
  const TempDir dir;
  const auto read = [&](const std::string& bytes) {
    write_bytes(dir / "x.npy", bytes);
    return io::read_npy(dir / "x.npy");
  };
  using namespace std::string_literals;
  for (const char v : {'\1', '\2', '\3'})
    CHECK(read(npy(header("<i4", "(2,)"), "\1\0\0\0\xff\xff\xff\xff"s, v)).as<int32_t, Cpu>().to_vector() ==
          std::vector<int32_t>{1, -1});
  CHECK(read(npy(header(">i4", "(1,)"), "\1\2\3\4")).as<int32_t, Cpu>().item() == 0x01020304);
  CHECK(read(npy(header(">f4", "()"), "\x3f\x80\0\0"s)).as<float, Cpu>().item() == 1);
  CHECK(read(npy(header("|u1", "(2, 3)", "True"), "\1\4\2\5\3\6")).as<uint8_t, Cpu>().to_vector() ==
        std::vector<uint8_t>{1, 2, 3, 4, 5, 6});
  CHECK(read(npy(header("|i1", "(2,)"), "\xff\x7f")).as<int32_t, Cpu>().to_vector() == std::vector<int32_t>{-1, 127});
  CHECK(read(npy(header("<i2", "(1,)"), "\xfe\xff")).as<int32_t, Cpu>().item() == -2);
  CHECK(read(npy(header("<u2", "(1,)"), "\xfe\xff")).as<int32_t, Cpu>().item() == 65534);
  CHECK(read(npy(header("<u4", "(1,)"), "\xfe\xff\xff\xff")).as<int64_t, Cpu>().item() == 4294967294);
  CHECK(
      read(npy("{\"shape\":(1L,),\"fortran_order\":False,\"descr\":\"<u8\"}", "\5\0\0\0\0\0\0\0"s)).as<int64_t, Cpu>().item() ==
      5);
}

TEST_CASE("npy: errors name file, offset and expectation", "[io]") {
  const TempDir dir;
  const auto error = [&](const std::string& bytes) {
    write_bytes(dir / "x.npy", bytes);
    return check::error_of([&] { io::read_npy(dir / "x.npy"); });
  };
  CHECK(check::missing(error("PK"), {"read_npy", "x.npy", "offset    0 of 2", "93 4e 55"}) == "");
  CHECK(check::missing(error(npy(header("<f4", "(2,)"), "1234567")), {"7 bytes", "8 bytes: shape [2], 4 each"}) == "");
  CHECK(check::missing(error(npy(header("<f4", "(2,)"), "123456789")), {"9 bytes", "8 bytes"}) == "");
  CHECK(check::missing(error(npy(header("<c8", "(2,)"), "")), {"'<c8'", "f2, f4, f8"}) == "");
  CHECK(check::missing(error(npy("{'descr': [('a', '<f4')], ", "")), {"records"}) == "");
  CHECK(check::missing(error(npy(header("<f4", "(-2,)"), "")), {"-2", "an extent"}) == "");
  CHECK(check::missing(error(npy(header("<f4", "(0, 4611686018427387904, 4)"), "")), {"too many elements", "2^58"}) == "");
  CHECK(check::missing(error(npy(header("<f4", "(1,1,1,1,1,1,1,1,1)"), "1234")), {"too many dimensions", "at most 8"}) == "");
  CHECK(check::missing(error(npy("{'descr': '<f4', 'descr': '<f4'}", "")), {"once"}) == "");
  CHECK(check::missing(error(npy(header("|b1", "(1,)"), "\3")), {"a boolean is 3", "0 or 1"}) == "");
  CHECK(check::missing(error(npy(header("<u8", "(1,)"), "\xff\xff\xff\xff\xff\xff\xff\xff")),
                       {"18446744073709551615", "2^63 - 1"}) == "");
  CHECK(check::missing(error(npy(header("<f4", "(1,)"), "1234", 4)), {"version 4.0", "1.0, 2.0 or 3.0"}) == "");
}

TEST_CASE("npz: stored and deflated archives come back bit for bit", "[io]") {
  const TempDir dir;
  const auto all = all_dtypes();
  for (const bool compress : {false, true})
    for (const bool fortran : {false, true}) {
      io::write_npz(dir / "x.npz", all, {.compress = compress, .fortran_order = fortran});
      const auto back = io::read_npz(dir / "x.npz");
      REQUIRE(back.size() == all.size());
      for (const auto& [name, x] : all) CHECK(same_bits(x, back.at(name)));
    }
  const auto big = zeros<float>({300000});  // several buffers of the decoder
  io::write_npz(dir / "big.npz", {{"big", big}}, {.compress = true});
  CHECK(same_bits(big, io::read_npz(dir / "big.npz").at("big")));
  CHECK(std::filesystem::file_size(dir / "big.npz") < 5000);
  io::write_npz(dir / "none.npz", {});
  CHECK(io::read_npz(dir / "none.npz").empty());
}

TEST_CASE("npy and npz: cut off at every byte and with every bit flipped, an error or a tensor, never a crash", "[io]") {
  const TempDir dir;
  const io::NamedTensors two{{"a", check::uniform<float>({3, 2})}, {"b", Tensor<int64_t>{1, 2, 3}}};
  io::write_npy(dir / "x.npy", two.at("a"));
  io::write_npz(dir / "s.npz", two);
  io::write_npz(dir / "d.npz", two, {.compress = true});
  for (const std::string name : {"x.npy", "s.npz", "d.npz"}) {
    INFO(name);
    const std::string whole = io::read_text(dir / name);
    const auto bytes = [](const std::string& s) { return std::span(reinterpret_cast<const uint8_t*>(s.data()), s.size()); };
    const auto read = [&](const std::string& s) {
      const io::detail::NpySource source{"read", "x", Where::current()};
      if (name == "x.npy") {
        io::detail::parse_npy(bytes(s), source);
        return;
      }
      const io::detail::ZipReader zip(bytes(s), source);
      for (const auto& m : zip.members()) io::detail::parse_npy(zip.read(m), source);
    };
    std::size_t silent = 0, unlike = 0;
    for (std::size_t n = 0; n < whole.size(); ++n) {
      const std::string e = check::error_of([&] { read(std::string(whole.data(), n)); });
      silent += e == "no error";
      unlike += e != "no error" && check::missing(e, {"file", "offset", "expected"}) != "";
    }
    CHECK(silent == 0);
    for (std::size_t i = 0; i < whole.size(); ++i)
      for (int bit = 0; bit < 8; ++bit) {
        std::string s = whole;
        s[i] = static_cast<char>(s[i] ^ (1 << bit));
        const std::string e = check::error_of([&] { read(s); });
        unlike += e != "no error" && check::missing(e, {"file", "offset", "expected"}) != "";
      }
    CHECK(unlike == 0);
  }
}

TEST_CASE("npz: an archive that NumPy wrote", "[io]") {
  const auto all = io::read_npz(std::string(GRADUS_TESTS_DIR) + "/recorded/numpy/numpy.npz");
  REQUIRE(all.size() == 8);
  CHECK(all.at("f32").as<float, Cpu>().to_vector() == std::vector<float>{0, 0.25, 0.5, 0.75, 1, 1.25});
  const auto f = all.at("fortran").as<double, Cpu>();
  CHECK(f.shape() == Shape{2, 3, 4});
  for (std::size_t i = 0; i < 24; ++i) CHECK(f.data()[i] == static_cast<double>(i));
  CHECK(all.at("big_endian").as<int32_t, Cpu>().to_vector() == std::vector<int32_t>{1, -2});
  CHECK(all.at("half").as<half, Cpu>().to<float>().to_vector() == std::vector<float>{0.5f, 65504});
  CHECK(all.at("i8").as<int32_t, Cpu>().to_vector() == std::vector<int32_t>{-128, 127});
  CHECK(all.at("flags").as<bool, Cpu>().to_vector() == std::vector<bool>{true, false});
  CHECK(all.at("scalar").as<int64_t, Cpu>().item() == -7);
  CHECK(all.at("none").shape() == Shape{0, 3});
}
