// Whole files: read at once, written so that a reader never sees half of one.
#pragma once
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <gradus/core/error.hpp>

namespace gradus::io {

struct CloseFile {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

inline File open_for_reading(const std::filesystem::path& path, Where at = Where::current()) {
  std::error_code ignored;
  // fopen opens a directory gladly and fails only on the first read, with a text that misleads.
  const bool directory = std::filesystem::is_directory(path, ignored);
  File f(directory ? nullptr : std::fopen(path.c_str(), "rb"));
  if (!f) {
    const std::string reason = directory ? "it is a directory" : std::strerror(errno);
    fail("read file", "cannot open the file", {{"file", path.string()}, {"reason", reason}}, "a file that can be read", at);
  }
  return f;
}

inline std::string read_text(const std::filesystem::path& path, Where at = Where::current()) {
  File f = open_for_reading(path, at);
  std::string s;
  char block[1 << 16];
  while (const std::size_t n = std::fread(block, 1, sizeof block, f.get())) s.append(block, n);
  if (std::ferror(f.get()))
    fail("read file", "reading failed",
         {{"file", path.string()}, {"offset", std::to_string(s.size())}, {"reason", std::strerror(errno)}}, "", at);
  return s;
}

/// A file that is written beside `path` and renamed by commit(), so that `path` holds the old bytes or all of the new ones,
/// also when the process is killed in between. Missing parent directories are made.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path, Where at = Where::current())
      : path_(path), temporary_(path.string() + ".tmp" + std::to_string(::getpid())), at_(at) {
    std::error_code ec;
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), ec);
    file_.reset(std::fopen(temporary_.c_str(), "wb"));
    if (!file_) failed("cannot create the file");
  }
  AtomicFile(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (!file_) return;
    file_.reset();
    std::error_code ec;
    std::filesystem::remove(temporary_, ec);
  }
  void write(const void* data, std::size_t n) {
    if (n > 0 && std::fwrite(data, 1, n, file_.get()) != n) failed("writing failed");
  }
  void commit() {
    if (std::fflush(file_.get()) != 0 || ::fsync(::fileno(file_.get())) != 0) failed("writing failed");
    file_.reset();
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0) failed("cannot rename the finished file");
    // The new name survives a power failure once the directory is on disk too; a system that refuses has no way to say so.
    const std::filesystem::path directory = path_.has_parent_path() ? path_.parent_path() : ".";
    if (const int d = ::open(directory.c_str(), O_RDONLY); d >= 0) ::fsync(d), ::close(d);
  }

 private:
  [[noreturn]] void failed(const char* what) {
    const std::string reason = std::strerror(errno);
    file_.reset();
    std::error_code ec;
    std::filesystem::remove(temporary_, ec);
    fail("write file", what, {{"file", path_.string()}, {"reason", reason}},
         "a directory that can be written to, with free space", at_);
  }
  std::filesystem::path path_, temporary_;
  Where at_;
  File file_;
};

/// All bytes at once, by way of AtomicFile.
inline void write_atomically(const std::filesystem::path& path, std::span<const uint8_t> bytes, Where at = Where::current()) {
  AtomicFile f(path, at);
  f.write(bytes.data(), bytes.size());
  f.commit();
}

inline void write_atomically(const std::filesystem::path& path, std::string_view text, Where at = Where::current()) {
  write_atomically(path, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()), at);
}

}  // namespace gradus::io
