// A directory that lives as long as the object.
#pragma once
#include <filesystem>
#include <string>
#include <system_error>

#include <stdlib.h>

struct TempDir {
  std::filesystem::path path;
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "gradus_test_XXXXXX").string();
    path = ::mkdtemp(name.data()) ? name : "";
  }
  ~TempDir() {
    std::error_code ec;
    std::filesystem::remove_all(path, ec);
  }
  TempDir(const TempDir&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path / name; }
};

/// The text of the gradus::Error that `f` throws, or "" when it throws none.
template <class Error, class F>
std::string error_text(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}
