// The tree keeps its shape: which folder may include which, where Eigen may appear, that kernels have a CPU twin.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace {
namespace fs = std::filesystem;

const fs::path root = GRADUS_SOURCE_DIR;

// Folder of include/gradus -> the folders it may include, itself always among them.
const std::map<std::string, std::set<std::string>> arrows = {
    {"core", {}},
    {"kernels", {"core"}},
    {"tensor", {"core", "kernels"}},
    {"autograd", {"core", "kernels", "tensor"}},
    {"ops", {"core", "kernels", "tensor", "autograd"}},
    {"nn", {"core", "tensor", "autograd", "ops"}},
    {"optim", {"core", "kernels", "tensor", "autograd", "ops", "nn"}},  // nn: the parameters of a module
    {"io", {"core", "tensor"}},
    {"data",
     {"core", "kernels", "tensor", "autograd", "ops", "io"}},  // kernels: the random order of batches; ops: the factories
    {"app", {"core", "io"}},                                   // knows no model and no data set
    {"models", {"core", "tensor", "autograd", "ops", "nn", "io", "data"}},                    // whole networks with their files
    {"training", {"core", "tensor", "autograd", "ops", "nn", "optim", "io", "data", "app"}},  // around a loop, never the loop
    {"dist", {"core", "tensor", "autograd", "ops", "nn", "optim", "data", "io", "training"}},
    {"interop", {"core", "tensor", "autograd", "ops"}},
    {"debug", {"core", "kernels", "tensor", "autograd", "ops", "nn", "optim", "io"}},  // included by no header
};

struct Include {
  std::string target;
  int line;
  bool header_only;  // inside #ifdef GRADUS_HEADER_ONLY
};

std::vector<Include> includes_of(const fs::path& file) {
  std::vector<Include> found;
  std::ifstream in(file);
  std::vector<bool> conditions;  // of the open #if blocks: is it the one for header-only use?
  std::string text;
  for (int line = 1; std::getline(in, text); ++line) {
    std::istringstream words(text);
    std::string directive, rest;
    words >> directive >> rest;
    if (directive == "#if" || directive == "#ifdef" || directive == "#ifndef")
      conditions.push_back(directive != "#ifndef" && text.find("GRADUS_HEADER_ONLY") != std::string::npos);
    if (directive == "#endif" && !conditions.empty()) conditions.pop_back();
    if (directive != "#include" || rest.size() < 3) continue;
    bool header_only = false;
    for (const bool c : conditions) header_only = header_only || c;
    found.push_back({rest.substr(1, rest.size() - 2), line, header_only});
  }
  return found;
}

std::vector<fs::path> files(const fs::path& folder, const std::set<std::string>& extensions) {
  std::vector<fs::path> found;
  if (!fs::exists(root / folder)) return found;
  for (const auto& entry : fs::recursive_directory_iterator(root / folder))
    if (entry.is_regular_file() && extensions.count(entry.path().extension().string())) found.push_back(entry.path());
  return found;
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string at(const fs::path& file, int line) { return fs::relative(file, root).string() + ":" + std::to_string(line); }

// "core" for core/shape.hpp or gradus/core/shape.hpp; empty for a file directly in include/gradus.
std::string folder_of(const fs::path& inside) {
  const auto begin = inside.begin();
  return std::distance(begin, inside.end()) > 1 ? begin->string() : std::string();
}

bool starts_with(const std::string& s, const std::string& prefix) { return s.rfind(prefix, 0) == 0; }

}  // namespace

TEST_CASE("include arrows point down") {
  REQUIRE(fs::exists(root / "include/gradus.hpp"));
  for (const fs::path& file : files("include/gradus", {".hpp"})) {
    const std::string folder = folder_of(fs::relative(file, root / "include/gradus"));
    if (folder.empty()) continue;  // umbrellas may include anything
    if (!arrows.count(folder)) FAIL("folder " << folder << " is not in the table of this test");
    for (const Include& i : includes_of(file)) {
      if (!starts_with(i.target, "gradus") || i.header_only) continue;
      INFO(at(file, i.line) << " includes " << i.target);
      REQUIRE(starts_with(i.target, "gradus/"));  // never the umbrella of everything
      const std::string other = folder_of(fs::path(i.target.substr(7)));
      CHECK((other == folder || arrows.at(folder).count(other) == 1));
    }
  }
}

TEST_CASE("nothing includes cpu/ or cuda/ but header-only use") {
  std::vector<fs::path> all = files("include", {".hpp"});
  for (const char* folder : {"examples", "tests", "bench"})
    for (const fs::path& f : files(folder, {".hpp", ".cpp"})) all.push_back(f);
  for (const fs::path& file : all) {
    if (starts_with(fs::relative(file, root).string(), "tests/emulation/")) continue;  // tests the device itself
    for (const Include& i : includes_of(file)) {
      const bool backend = i.target.find("cpu/") != std::string::npos || i.target.find("cuda/") != std::string::npos;
      INFO(at(file, i.line) << " includes " << i.target);
      CHECK((!backend || i.header_only));
    }
  }
}

TEST_CASE("Eigen appears in cpu/ and interop/eigen.hpp only") {
  for (const fs::path& file : files("include", {".hpp"})) {
    if (fs::relative(file, root) == fs::path("include/gradus/interop/eigen.hpp")) continue;
    for (const Include& i : includes_of(file)) {
      INFO(at(file, i.line) << " includes " << i.target);
      CHECK((!starts_with(i.target, "Eigen/") && !starts_with(i.target, "unsupported/")));
    }
  }
}

TEST_CASE("cpu/ knows kernels and core only") {
  for (const fs::path& file : files("cpu", {".cpp", ".hpp"})) {
    if (file.filename() == "gradus.cpp") continue;  // compiles the *_impl.hpp of core and autograd
    for (const Include& i : includes_of(file)) {
      INFO(at(file, i.line) << " includes " << i.target);
      const bool ours = starts_with(i.target, "gradus/");
      CHECK((!ours || starts_with(i.target, "gradus/core/") || starts_with(i.target, "gradus/kernels/")));
    }
  }
}

// A kernel header declares functions that take the device tag; layouts and loops declare none.
TEST_CASE("each kernel header has its definition in cpu/") {
  int twins = 0;
  for (const fs::path& file : files("include/gradus/kernels", {".hpp"})) {
    const std::string text = text_of(file);
    if (text.find("(Cpu,") == std::string::npos && text.find("(Cpu ") == std::string::npos) continue;
    const fs::path twin = root / "cpu" / file.filename().replace_extension(".cpp");
    INFO(fs::relative(file, root) << " declares kernels, " << fs::relative(twin, root) << " should define them");
    CHECK(fs::exists(twin));
    ++twins;
  }
  CHECK(twins > 5);
}

// The same for the device, whose overload is declared on the line below: a kernel without a twin could not be linked.
TEST_CASE("each kernel header that declares Cuda kernels has its definition in cuda/") {
  int twins = 0;
  for (const fs::path& file : files("include/gradus/kernels", {".hpp"})) {
    const std::string text = text_of(file);
    const auto count = [&](const std::string& what) {
      int n = 0;
      for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
      return n;
    };
    if (count("(Cuda,") == 0) continue;
    const fs::path twin = root / "cuda" / file.filename().replace_extension(".cu");
    INFO(fs::relative(file, root) << " declares kernels for Cuda, " << fs::relative(twin, root) << " should define them");
    CHECK(fs::exists(twin));
    CHECK(count("(Cuda,") == count("(Cpu,"));
    ++twins;
  }
  CHECK(twins > 5);
}

TEST_CASE("cuda/ knows kernels and core only, and is the only place of CUDA's headers") {
  for (const char* folder : {"include", "cpu", "cuda", "tests", "examples", "bench"})
    for (const fs::path& file : files(folder, {".cpp", ".hpp", ".cu", ".cuh"})) {
      const bool device = std::string(folder) == "cuda";
      for (const Include& i : includes_of(file)) {
        INFO(at(file, i.line) << " includes " << i.target);
        const bool ours = starts_with(i.target, "gradus/");
        if (device) CHECK((!ours || starts_with(i.target, "gradus/core/") || starts_with(i.target, "gradus/kernels/")));
        else CHECK((!starts_with(i.target, "cuda_") && !starts_with(i.target, "cublas")));
      }
    }
}

TEST_CASE("examples include the library and their own folder") {
  for (const fs::path& file : files("examples/papers", {".hpp", ".cpp"}))
    for (const Include& i : includes_of(file)) {
      INFO(at(file, i.line) << " includes " << i.target);
      CHECK(i.target.find("..") == std::string::npos);
    }
}

TEST_CASE("links of the pages lead to files and headings that are there") {
  // As on the usual hosts: lower case, what is no letter, digit, space or dash left out, spaces to dashes.
  const auto anchor = [](const std::string& heading) {
    std::string a;
    for (const char c : heading)
      if (std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_')
        a += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      else if (c == ' ') a += '-';
    return a;
  };
  const auto has_heading = [&](const fs::path& page, const std::string& wanted) {
    std::istringstream lines(text_of(page));
    for (std::string l; std::getline(lines, l);)
      if (const auto hashes = l.find_first_not_of('#');
          hashes > 0 && hashes != l.npos && l[hashes] == ' ' && anchor(l.substr(hashes + 1)) == wanted)
        return true;
    return false;
  };
  std::vector<fs::path> pages{root / "README.md", root / "CONTRIBUTING.md", root / "CHANGELOG.md"};
  for (const char* folder : {"include", "examples", "tests", "bench", "cuda", "cpu", "third_party"})
    for (const auto& page : files(folder, {".md"})) pages.push_back(page);
  int found = 0;
  for (const fs::path& page : pages) {
    const std::string text = text_of(page);
    for (auto open = text.find("]("); open != text.npos; open = text.find("](", open + 1)) {
      const std::string target = text.substr(open + 2, text.find_first_of(") \n", open + 2) - open - 2);
      if (target.empty() || starts_with(target, "http") || text[text.find_first_of(") \n", open + 2)] != ')') continue;
      const auto hash = target.find('#');
      const fs::path file = hash == 0 ? page : page.parent_path() / target.substr(0, hash);
      INFO(fs::relative(page, root).string() << " links to " << target);
      CHECK(fs::exists(file));
      if (hash != target.npos && fs::is_regular_file(file)) CHECK(has_heading(file, target.substr(hash + 1)));
      ++found;
    }
  }
  CHECK(found > 25);
}

TEST_CASE("no unfinished words, no very long files") {
  std::vector<fs::path> all;
  for (const char* folder : {"include", "cpu", "cuda", "examples", "tests", "bench", "third_party"})
    for (const fs::path& f : files(folder, {".hpp", ".cpp", ".cu", ".cuh", ".py", ".cmake", ".sh", ".md"})) all.push_back(f);
  for (const fs::path& file : all) {
    const std::string text = text_of(file);
    for (const char* word : {"TO"
                             "DO",
                             "FIX"
                             "ME",
                             "XX"
                             "X:"}) {
      INFO(fs::relative(file, root) << " contains " << word);
      CHECK(text.find(word) == std::string::npos);
    }
    if (file.extension() == ".py" || file.extension() == ".md") continue;
    INFO("lines of " << fs::relative(file, root));
    CHECK(std::count(text.begin(), text.end(), '\n') <= 700);
  }
}
