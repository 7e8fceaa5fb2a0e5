// NumPy's .npz files: a ZIP archive (PKWARE APPNOTE 6.3.9) with one .npy member for each array, stored or deflated.
//
// Read from the central directory at the end, ZIP64 included; each member's check sum (CRC-32) is compared, so a flipped bit in
// the elements is an error. Members whose name does not end in .npy are passed over.
#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <zlib.h>

#include <gradus/io/crc32.hpp>
#include <gradus/io/file.hpp>
#include <gradus/io/inflate.hpp>
#include <gradus/io/npy.hpp>

namespace gradus::io {

/// How write_npz packs.
struct NpzOptions {
  bool compress = false;  ///< deflate, as numpy.savez_compressed does
  bool fortran_order = false;
};

namespace detail {

class ZipReader {
 public:
  struct Member {
    std::string name;
    uint32_t method = 0, crc = 0;
    uint64_t packed = 0, size = 0, local = 0;
    std::size_t entry = 0;  ///< where the central directory speaks of it
  };

  ZipReader(std::span<const uint8_t> bytes, NpySource source) : b_(bytes), source_(std::move(source)) {
    if (b_.size() < 22) bad("the file is too short for a ZIP archive", "at least 22 bytes", b_.size());
    std::size_t end = b_.size() - 22;
    const std::size_t first = end > 65535 ? end - 65535 : 0;
    while (get(end, 4) != 0x06054b50 || end + 22 + get(end + 20, 2) != b_.size()) {
      if (end == first)
        bad("no end of a ZIP archive: the file is cut off or not an archive", "the bytes 50 4b 05 06 near the end", b_.size());
      --end;
    }
    uint64_t count = get(end + 10, 2), size = get(end + 12, 4), begin = get(end + 16, 4);
    if (get(end + 4, 4) != 0 || get(end + 8, 2) != count) bad("the archive has several parts", "one part", end + 4);
    std::size_t limit = end;
    if (end >= 20 && get(end - 20, 4) == 0x07064b50) {
      const uint64_t e = get(end - 12, 8);
      if (e > b_.size() - 56 || b_.size() < 56 || get(e, 4) != 0x06064b50)
        bad("the ZIP64 end is not where it should be", "50 4b 06 06", end - 12);
      count = get(e + 32, 8), size = get(e + 40, 8), begin = get(e + 48, 8);
      limit = e;
    }
    if (begin > limit || size != limit - begin)
      bad("the central directory would be " + std::to_string(size) + " bytes from " + std::to_string(begin),
          "an end at " + std::to_string(limit), end + 12);
    if (count > size / 46)
      bad("the archive would have " + std::to_string(count) + " members", "at most " + std::to_string(size / 46), end + 10);
    std::size_t p = begin;
    for (uint64_t k = 0; k < count; ++k) p = central(p, limit);
    if (p != limit) bad("bytes after the last member of the central directory", "its end", p);
  }

  const std::vector<Member>& members() const { return members_; }

  /// The unpacked bytes of a member.
  std::vector<uint8_t> read(const Member& m) const {
    if (m.local > b_.size() || b_.size() - m.local < 30 || get(m.local, 4) != 0x04034b50)
      bad("no member \"" + m.name + "\" where the central directory says", "the bytes 50 4b 03 04", m.local);
    if (get(m.local + 6, 2) & 1) bad("the member \"" + m.name + "\" is encrypted", "no encryption", m.local + 6);
    const uint64_t name = get(m.local + 26, 2), data = m.local + 30 + name + get(m.local + 28, 2);
    if (data > b_.size() || m.packed > b_.size() - data)
      bad("the member \"" + m.name + "\" ends after the file", std::to_string(m.packed) + " bytes", data);
    if (name != m.name.size() || std::memcmp(b_.data() + m.local + 30, m.name.data(), name) != 0)
      bad("the member's own name differs from the central directory's", "\"" + m.name + "\"", m.local + 30);
    if (get(m.local + 8, 2) != m.method) bad("two packing methods for one member", std::to_string(m.method), m.local + 8);
    std::vector<uint8_t> out;
    if (m.method == 0) {
      if (m.packed != m.size) bad("a stored member with two sizes", std::to_string(m.packed) + " bytes", m.entry + 24);
      out.assign(b_.begin() + static_cast<std::ptrdiff_t>(data), b_.begin() + static_cast<std::ptrdiff_t>(data + m.packed));
    } else if (m.method == 8) {
      // DEFLATE makes at most 1032 bytes out of one: a flipped size cannot ask for all memory.
      if (m.size / 1032 > m.packed + 9)
        bad("the member \"" + m.name + "\" would have " + std::to_string(m.size) + " bytes",
            "what " + std::to_string(m.packed) + " can hold", m.entry + 24);
      Block block{b_.subspan(data, m.packed)};
      BitReader<Block> bits(block);
      Inflate<Block> inflate(bits);
      inflate.start();
      while (!inflate.done()) {
        if (const char* wrong = inflate.run())
          bad("member \"" + m.name + "\": " + wrong, "a DEFLATE stream", data + bits.offset());
        if (inflate.size() > m.size - out.size())
          bad("member \"" + m.name + "\" unpacks to more", std::to_string(m.size) + " bytes", data);
        out.insert(out.end(), inflate.data(), inflate.data() + inflate.size());
      }
      if (out.size() != m.size)
        bad("member \"" + m.name + "\" unpacks to " + std::to_string(out.size()) + " bytes", std::to_string(m.size) + " bytes",
            data);
    } else {
      bad("member \"" + m.name + "\" is packed by method " + std::to_string(m.method), "0 (stored) or 8 (deflate)",
          m.entry + 10);
    }
    if (const uint32_t crc = crc32_of(out.data(), out.size()); crc != m.crc)
      bad("the check sum (CRC-32) of \"" + m.name + "\" is " + hex8(crc), hex8(m.crc), data);
    return out;
  }

 private:
  struct Block {
    std::span<const uint8_t> bytes;
    bool given = false;
    bool next(const uint8_t*& begin, const uint8_t*& end) {
      if (given || bytes.empty()) return false;
      given = true;
      begin = bytes.data(), end = begin + bytes.size();
      return true;
    }
  };
  [[noreturn]] void bad(const std::string& problem, const std::string& expected, uint64_t offset) const {
    source_.damaged(problem, expected, offset, b_.size());
  }
  uint64_t get(std::size_t i, std::size_t n) const {
    uint64_t v = 0;
    while (n-- > 0) v = v << 8 | b_[i + n];
    return v;
  }
  std::size_t central(std::size_t p, std::size_t limit) {
    if (limit - p < 46 || get(p, 4) != 0x02014b50) bad("the central directory is damaged", "the bytes 50 4b 01 02", p);
    Member m;
    m.entry = p;
    m.method = static_cast<uint32_t>(get(p + 10, 2)), m.crc = static_cast<uint32_t>(get(p + 16, 4));
    m.packed = get(p + 20, 4), m.size = get(p + 24, 4), m.local = get(p + 42, 4);
    const std::size_t name = get(p + 28, 2), extra = get(p + 30, 2), comment = get(p + 32, 2);
    if (limit - p - 46 < name + extra + comment) bad("the central directory ends inside a member", "its name and more", p + 28);
    m.name.assign(reinterpret_cast<const char*>(b_.data()) + p + 46, name);
    for (std::size_t i = p + 46 + name, end = i + extra;
         end - i >= 4;) {  // ZIP64: what did not fit into 32 bits, in this order
      const std::size_t id = get(i, 2), n = get(i + 2, 2);
      if (n > end - i - 4) bad("an extra field ends after its member", std::to_string(end - i - 4) + " bytes", i + 2);
      std::size_t q = i + 4;
      for (uint64_t* v : {&m.size, &m.packed, &m.local})
        if (id == 1 && *v == 0xffffffffu && i + 4 + n - q >= 8) *v = get(q, 8), q += 8;
      i += 4 + n;
    }
    members_.push_back(std::move(m));
    return p + 46 + name + extra + comment;
  }

  std::span<const uint8_t> b_;
  NpySource source_;
  std::vector<Member> members_;
};

}  // namespace detail

/// The arrays of an .npz file by name, without ".npy".
inline NamedTensors read_npz(const std::filesystem::path& path, Where at = Where::current()) {
  const std::string s = read_text(path, at);
  const detail::ZipReader zip(std::span(reinterpret_cast<const uint8_t*>(s.data()), s.size()), {"read_npz", path.string(), at});
  NamedTensors out;
  for (const auto& m : zip.members()) {
    if (!m.name.ends_with(".npy")) continue;
    const std::string name = m.name.substr(0, m.name.size() - 4);
    AnyTensor x = detail::parse_npy(zip.read(m), {"read_npz", path.string() + ", member " + m.name, at});
    x.set_name(name);
    if (!out.emplace(name, x).second)
      fail("read_npz", "two arrays of one name", {{"file", path.string()}, {"offset", std::to_string(m.entry)}, {"name", name}},
           "different names", at);
  }
  return out;
}

/// Writes an archive that numpy.load reads. Arrays and archive have to stay below 4 GiB.
inline void write_npz(const std::filesystem::path& path, const NamedTensors& tensors, const NpzOptions& o = {},
                      Where at = Where::current()) {
  AtomicFile f(path, at);
  std::vector<uint8_t> head, directory;
  uint64_t offset = 0;
  const auto put = [](std::vector<uint8_t>& to, uint64_t v, int n) {
    for (int i = 0; i < n; ++i) to.push_back(static_cast<uint8_t>(v >> (8 * i)));
  };
  for (const auto& [key, x] : tensors) {
    const std::string name = key + ".npy";
    const auto bytes = detail::npy_bytes(x, {o.fortran_order}, "write_npz", path.string() + ", array " + key, at);
    std::vector<uint8_t> packed;
    if (bytes.size() >= 0xffffffffu || offset + bytes.size() >= 0xff000000u || name.size() > 65535 || tensors.size() > 65535)
      fail("write_npz", "too large for an archive without ZIP64",
           {{"file", path.string()}, {"array", key}, {"bytes", std::to_string(bytes.size())}},
           "less than 4 GiB and 65536 arrays; write_safetensors has no such limit", at);
    if (o.compress) {
      z_stream z{};
      if (deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        fail("write_npz", "zlib could not start", {}, "", at);
      packed.resize(deflateBound(&z, static_cast<uLong>(bytes.size())));
      z.next_in = const_cast<Bytef*>(bytes.data()), z.avail_in = static_cast<uInt>(bytes.size());
      z.next_out = packed.data(), z.avail_out = static_cast<uInt>(packed.size());
      const bool done = deflate(&z, Z_FINISH) == Z_STREAM_END;
      packed.resize(z.total_out);
      deflateEnd(&z);
      if (!done) fail("write_npz", "zlib could not compress", {{"array", key}}, "", at);
    }
    const auto& data = o.compress ? packed : bytes;
    std::vector<uint8_t> common;                                                    // what both headers have in common
    put(common, 20, 2), put(common, 0x800, 2), put(common, o.compress ? 8 : 0, 2);  // 0x800: the name is UTF-8
    put(common, 0, 2), put(common, 0x21, 2);                                        // midnight, 1 January 1980
    put(common, crc32_of(bytes.data(), bytes.size()), 4), put(common, data.size(), 4), put(common, bytes.size(), 4);
    put(common, name.size(), 2), put(common, 0, 2);
    head.clear();
    put(head, 0x04034b50, 4);
    head.insert(head.end(), common.begin(), common.end());
    head.insert(head.end(), name.begin(), name.end());
    put(directory, 0x02014b50, 4), put(directory, 20, 2);
    directory.insert(directory.end(), common.begin(), common.end());
    put(directory, 0, 6), put(directory, 0, 4), put(directory, offset, 4);
    directory.insert(directory.end(), name.begin(), name.end());
    f.write(head.data(), head.size());
    f.write(data.data(), data.size());
    offset += head.size() + data.size();
  }
  const std::size_t size = directory.size();
  put(directory, 0x06054b50, 4), put(directory, 0, 4), put(directory, tensors.size(), 2), put(directory, tensors.size(), 2);
  put(directory, size, 4), put(directory, offset, 4), put(directory, 0, 2);
  f.write(directory.data(), directory.size());
  f.commit();
}

}  // namespace gradus::io
