// A text file line by line, inflated on the way when it is gzip; one line in memory at a time.
#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <gradus/io/gzip.hpp>

namespace gradus::io {

/// Lines end in \n; a last line without an end counts. A byte order mark becomes three blanks, so that columns stay what they are.
class LineReader {
 public:
  /// `op` is the name that errors carry. A line of more than `max_line` bytes is an error: a file without line ends would fill the
  /// memory.
  LineReader(const std::filesystem::path& path, std::string op, std::size_t max_line = std::size_t{1} << 28, Where at = Where::current())
      : in_(path, op, at), op_(std::move(op)), max_line_(max_line), at_(at), block_(1 << 16) {}

  /// The next line without \n (a \r before it stays); false at the end of the file.
  bool next(std::string& line) {
    line.clear();
    for (bool any = false;;) {
      if (i_ == n_) {
        i_ = 0, n_ = in_.read(block_.data(), block_.size());
        if (n_ == 0) return any && begun(line);
      }
      any = true;
      const auto begin = block_.begin() + static_cast<std::ptrdiff_t>(i_), end = block_.begin() + static_cast<std::ptrdiff_t>(n_);
      const auto stop = std::find(begin, end, uint8_t{'\n'});
      line.append(begin, stop);
      i_ = static_cast<std::size_t>(stop - block_.begin());
      if (line.size() > max_line_)
        fail(op_, "a line is too long", {{"file", file()}, {"line", std::to_string(line_ + 1)}},
             "at most " + std::to_string(max_line_) + " bytes (max_line)", at_);
      if (stop == end) continue;
      ++i_;
      return begun(line);
    }
  }
  /// The number of the last line, from 1.
  int64_t line() const { return line_; }
  std::string file() const { return in_.path().string(); }

 private:
  bool begun(std::string& line) {
    if (++line_ == 1 && line.compare(0, 3, "\xef\xbb\xbf") == 0) line.replace(0, 3, "   ");
    return true;
  }

  ByteReader in_;
  std::string op_;
  std::size_t max_line_;
  Where at_;
  std::vector<uint8_t> block_;
  std::size_t i_ = 0, n_ = 0;
  int64_t line_ = 0;
};

}  // namespace gradus::io
