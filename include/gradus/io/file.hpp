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

/// Writes a temporary file beside `path` and renames it, so that `path` holds the old bytes or all of the new ones,
/// also when the process is killed in between. Missing parent directories are made.
inline void write_atomically(const std::filesystem::path& path, std::span<const uint8_t> bytes, Where at = Where::current()) {
  namespace fs = std::filesystem;
  std::error_code ec;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), ec);
  const fs::path temporary = path.string() + ".tmp" + std::to_string(::getpid());
  const auto failed = [&](const char* what) {
    const std::string reason = std::strerror(errno);
    fs::remove(temporary, ec);
    fail("write file", what, {{"file", path.string()}, {"reason", reason}},
         "a directory that can be written to, with free space", at);
  };
  File f(std::fopen(temporary.c_str(), "wb"));
  if (!f) failed("cannot create the file");
  if (!bytes.empty() && std::fwrite(bytes.data(), 1, bytes.size(), f.get()) != bytes.size()) failed("writing failed");
  if (std::fflush(f.get()) != 0 || ::fsync(::fileno(f.get())) != 0) failed("writing failed");
  f.reset();
  if (std::rename(temporary.c_str(), path.c_str()) != 0) failed("cannot rename the finished file");
}

inline void write_atomically(const std::filesystem::path& path, std::string_view text, Where at = Where::current()) {
  write_atomically(path, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()), at);
}

}  // namespace gradus::io
