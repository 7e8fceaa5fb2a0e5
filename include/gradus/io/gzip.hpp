// A file as a stream of bytes, inflated on the way when it is gzip (RFC 1952), one member or several.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <zlib.h>

#include <gradus/core/error.hpp>
#include <gradus/io/file.hpp>
#include <gradus/io/inflate.hpp>

namespace gradus::io {

/// Reads a file front to back; whether it is gzip is seen from its first two bytes, not from its name.
class ByteReader {
 public:
  /// `op` is the name that errors carry, e.g. "read_idx".
  ByteReader(const std::filesystem::path& path, std::string op, Where at = Where::current())
      : path_(path),
        op_(std::move(op)),
        at_(at),
        source_{open_for_reading(path, at), std::vector<uint8_t>(kBlock)},
        bits_(source_) {
    std::error_code ec;
    file_size_ = std::filesystem::file_size(path, ec);
    uint8_t magic[2] = {};
    const std::size_t n = std::fread(magic, 1, 2, source_.file.get());
    std::rewind(source_.file.get());
    if (n == 2 && magic[0] == 0x1f && magic[1] == 0x8b) {
      inflate_ = std::make_unique<Inflate<Source>>(bits_);
      begin_member();
    }
  }
  ByteReader(const ByteReader&) = delete;

  bool compressed() const { return inflate_ != nullptr; }
  const std::filesystem::path& path() const { return path_; }
  /// Bytes handed out so far.
  uint64_t offset() const { return offset_; }
  /// An upper bound of the bytes still to come: DEFLATE makes at most 1032 bytes out of one.
  uint64_t at_most_left() const {
    if (!compressed()) return file_size_ - std::min(file_size_, offset_);
    const uint64_t used = std::min(file_size_, bits_.offset());
    return left_ + (file_size_ - used + 9) * 1032 + (1u << 16);
  }
  /// Up to n bytes; fewer only at the end.
  std::size_t read(uint8_t* to, std::size_t n) {
    std::size_t done = 0;
    if (!compressed()) done = bits_.bytes(to, n);
    while (compressed() && done < n) {
      if (left_ == 0 && !produce()) break;
      const std::size_t k = std::min(n - done, left_);
      std::memcpy(to + done, fresh_, k);
      fresh_ += k;
      left_ -= k;
      done += k;
    }
    offset_ += done;
    return done;
  }

  /// Throws the error `problem` about this file at the current offset.
  [[noreturn]] void damaged(const std::string& problem, const std::string& expected, uint64_t offset) const {
    fail(op_, problem,
         {{"file", path_.string()},
          {"offset", std::to_string(offset) + (compressed() ? " of the inflated data" : " of " + std::to_string(file_size_))}},
         expected, at_);
  }

 private:
  static constexpr std::size_t kBlock = 1 << 17;
  struct Source {
    File file;
    std::vector<uint8_t> block;
    bool next(const uint8_t*& begin, const uint8_t*& end) {
      const std::size_t n = std::fread(block.data(), 1, block.size(), file.get());
      begin = block.data();
      end = begin + n;
      return n > 0;
    }
  };

  [[noreturn]] void damaged_gzip(const std::string& problem, const std::string& expected) const {
    fail(op_, problem,
         {{"file", path_.string()},
          {"offset", std::to_string(bits_.offset()) + " of " + std::to_string(file_size_) + " (gzip)"}},
         expected, at_);
  }
  void header_bytes(uint8_t* to, std::size_t n) {
    if (bits_.bytes(to, n) != n) damaged_gzip("the gzip header ends too early", "a whole gzip file");
  }
  void begin_member() {
    uint8_t h[10], b[2];
    header_bytes(h, 10);
    if (h[0] != 0x1f || h[1] != 0x8b)
      damaged_gzip("bytes after the end of the gzip data", "the end of the file, or another gzip member (1f 8b)");
    if (h[2] != 8 || (h[3] & 0xe0))
      damaged_gzip("a gzip header with an unknown method or flags", "method 8 (deflate), flags below 0x20");
    if (h[3] & 4) {  // extra field
      header_bytes(b, 2);
      std::vector<uint8_t> skipped(b[0] | std::size_t{b[1]} << 8);
      header_bytes(skipped.data(), skipped.size());
    }
    for (int text = (h[3] >> 3 & 1) + (h[3] >> 4 & 1); text > 0; --text)  // file name, comment
      do header_bytes(b, 1);
      while (b[0] != 0);
    if (h[3] & 2) header_bytes(b, 2);  // CRC of the header
    inflate_->start();
    crc_ = 0;  // of no bytes
    length_ = 0;
  }
  // The next piece of inflated data; false at the end of the file.
  bool produce() {
    while (!ended_) {
      if (inflate_->done()) {
        bits_.align();
        uint8_t t[8];
        if (bits_.bytes(t, 8) != 8) damaged_gzip("the gzip data ends before its check sum", "8 more bytes: CRC-32 and length");
        const auto u32 = [&t](int i) {
          return t[i] | uint32_t{t[i + 1]} << 8 | uint32_t{t[i + 2]} << 16 | uint32_t{t[i + 3]} << 24;
        };
        if (u32(0) != crc_) damaged_gzip("the check sum (CRC-32) of the inflated data is wrong", "undamaged data");
        if (u32(4) != static_cast<uint32_t>(length_))
          damaged_gzip("the length in the gzip trailer is wrong", std::to_string(length_) + ", got " + std::to_string(u32(4)));
        if (bits_.at_end()) {
          if (std::ferror(source_.file.get())) damaged_gzip("reading failed", "a file that can be read");
          ended_ = true;
          return false;
        }
        begin_member();
      }
      if (const char* wrong = inflate_->run())
        damaged_gzip(std::string("corrupt gzip data: ") + wrong, "an undamaged gzip file");
      fresh_ = inflate_->data();
      left_ = inflate_->size();
      crc_ = static_cast<uint32_t>(crc32(crc_, fresh_, static_cast<uInt>(left_)));
      length_ += left_;
      if (left_ > 0) return true;
    }
    return false;
  }

  std::filesystem::path path_;
  std::string op_;
  Where at_;
  Source source_;
  BitReader<Source> bits_;
  std::unique_ptr<Inflate<Source>> inflate_;
  uint64_t file_size_ = 0, offset_ = 0, length_ = 0;
  const uint8_t* fresh_ = nullptr;
  std::size_t left_ = 0;
  uint32_t crc_ = 0;
  bool ended_ = false;
};

}  // namespace gradus::io
