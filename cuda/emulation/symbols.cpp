// Names for reports: the kernel's function, the source line of an instruction. Only used when something went wrong.
#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "engine.hpp"

namespace gradus::emu {
namespace {

std::string demangled(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

/// The program or library that holds an address, and the address within its file.
struct Object {
  std::string file;
  uintptr_t base = 0;
};
Object object_of(uintptr_t address) {
  struct Search {
    uintptr_t address;
    Object found;
  } search{address, {}};
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        auto& s = *static_cast<Search*>(out);
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& h = info->dlpi_phdr[i];
          if (h.p_type != PT_LOAD || s.address - (info->dlpi_addr + h.p_vaddr) >= h.p_memsz) continue;
          s.found = {info->dlpi_name && *info->dlpi_name ? info->dlpi_name : "/proc/self/exe", info->dlpi_addr};
          return 1;
        }
        return 0;
      },
      &search);
  return search.found;
}

struct Function {
  std::string name;
  uintptr_t begin = 0;
};
/// From the symbol table of the file, which has functions of unnamed namespaces too; dladdr knows exported ones only.
Function function_at(uintptr_t address) {
  const Object object = object_of(address);
  if (object.file.empty()) return {};
  const int file = open(object.file.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  struct stat info{};
  Function best;
  if (fstat(file, &info) == 0 && static_cast<std::size_t>(info.st_size) > sizeof(ElfW(Ehdr))) {
    const auto size = static_cast<std::size_t>(info.st_size);
    void* m = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (m != MAP_FAILED) {
      const auto* bytes = static_cast<const char*>(m);
      const auto& header = *reinterpret_cast<const ElfW(Ehdr)*>(bytes);
      const auto* sections = reinterpret_cast<const ElfW(Shdr)*>(bytes + header.e_shoff);
      for (int i = 0; i < header.e_shnum; ++i) {
        if (sections[i].sh_type != SHT_SYMTAB && sections[i].sh_type != SHT_DYNSYM) continue;
        const auto* symbols = reinterpret_cast<const ElfW(Sym)*>(bytes + sections[i].sh_offset);
        const char* names = bytes + sections[sections[i].sh_link].sh_offset;
        for (std::size_t s = 0; s < sections[i].sh_size / sizeof(ElfW(Sym)); ++s) {
          const auto& symbol = symbols[s];
          const uintptr_t begin = object.base + symbol.st_value;
          if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_value == 0 || address < begin) continue;
          if (address - begin >= (symbol.st_size ? symbol.st_size : 1)) continue;
          best = {demangled(names + symbol.st_name), begin};
        }
      }
      munmap(m, size);
    }
  }
  close(file);
  return best;
}

/// "softmax_rows<float>(float const*, float*, long)" without its namespaces and parameters.
std::string short_name(std::string name) {
  if (name.rfind("void ", 0) == 0) name.erase(0, 5);
  for (const char* drop : {"(anonymous namespace)::", "gradus::kernels::", "gradus::"})
    for (auto at = name.find(drop); at != name.npos; at = name.find(drop)) name.erase(at, std::strlen(drop));
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    depth += name[i] == '<' ? 1 : name[i] == '>' ? -1 : 0;
    if (name[i] == '(' && depth == 0) return name.substr(0, i);
  }
  return name;
}

}  // namespace

std::string symbol_name(const void* address) {
  const Function f = function_at(reinterpret_cast<uintptr_t>(address));
  return f.name.empty() ? "an unnamed kernel" : short_name(f.name);
}

std::string source_line(uintptr_t pc) {
  static std::mutex mutex;
  static std::map<uintptr_t, std::string> known;
  const std::lock_guard lock(mutex);
  auto& text = known[pc];
  if (!text.empty()) return text;
  const Object object = object_of(pc);
  if (!object.file.empty()) {
    char link[4096];
    std::string path = object.file;
    if (const auto n = readlink(path.c_str(), link, sizeof link); n > 0) path.assign(link, static_cast<std::size_t>(n));
    char command[4400];
    std::snprintf(command, sizeof command, "addr2line -e '%s' 0x%zx 2>/dev/null", path.c_str(), static_cast<std::size_t>(pc - object.base));
    if (FILE* pipe = path.find('\'') == path.npos ? popen(command, "r") : nullptr) {
      char line[4096] = "";
      if (std::fgets(line, sizeof line, pipe) && line[0] != '?') {
        text = line;
        text.erase(text.find_last_not_of("\n") + 1);
        if (const auto note = text.find(" (discriminator"); note != text.npos) text.erase(note);
        if (const auto slash = text.rfind('/'); slash != text.npos) text.erase(0, slash + 1);
        if (text.ends_with(":?") || text.ends_with(":0")) text.clear();
      }
      pclose(pipe);
    }
  }
  if (text.empty()) {                                      // no addr2line, or no line table
    const Function f = function_at(pc);
    char number[40];
    std::snprintf(number, sizeof number, "+0x%zx", static_cast<std::size_t>(pc - f.begin));
    text = (f.name.empty() ? "?" : short_name(f.name)) + number;
  }
  return text;
}

std::string Place::text() const {
  return value & kSite ? place(std::bit_cast<Site>(value & ~kSite)) : source_line(value);
}

}  // namespace gradus::emu
