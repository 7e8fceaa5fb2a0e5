// What a reader of files does with any bytes: it gives what is in them or throws gradus::Error, and nothing else. libFuzzer makes the
// bytes (README.md); built without it, the program replays the files of a corpus.
//
//   GRADUS_FUZZ=npy fuzz_readers corpus/npy        the reader is named by the environment
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <unistd.h>

#include <gradus.hpp>
#include <gradus/data/cifar.hpp>
#include <gradus/data/tokenizer.hpp>
#include <gradus/data/tokenizer_json.hpp>
#include <gradus/io/arff.hpp>
#include <gradus/io/conllu.hpp>
#include <gradus/io/csv.hpp>
#include <gradus/io/gguf.hpp>
#include <gradus/io/idx.hpp>
#include <gradus/io/image_file.hpp>
#include <gradus/io/jsonl.hpp>
#include <gradus/io/nifti.hpp>
#include <gradus/io/npy.hpp>
#include <gradus/io/npz.hpp>
#include <gradus/io/safetensors.hpp>
#include <gradus/io/text.hpp>

namespace {
using namespace gradus;
namespace fs = std::filesystem;
using Reader = std::function<void(const fs::path&)>;

/// A reader looks at the ending of some files.
struct Format {
  const char* ending;
  Reader read;
};

const std::map<std::string, Format>& formats() {
  static const std::map<std::string, Format> all{
      {"npy", {".npy", [](const fs::path& p) { io::read_npy(p); }}},
      {"npz", {".npz", [](const fs::path& p) { io::read_npz(p); }}},
      {"safetensors", {".safetensors", [](const fs::path& p) { io::read_safetensors(p); }}},
      {"gguf",
       {".gguf",
        [](const fs::path& p) {
          const io::GgufFile f(p);
          for (const auto& [name, entry] : f.entries()) f.read(name);
        }}},
      {"gguf_tokenizer", {".gguf", [](const fs::path& p) { data::BpeTokenizer::from_gguf(io::GgufFile(p)).encode("A b, 12"); }}},
      {"idx", {".idx", [](const fs::path& p) { io::read_idx(p); }}},
      {"idx_gz", {".gz", [](const fs::path& p) { io::read_idx(p); }}},
      {"nifti", {".nii", [](const fs::path& p) { io::read_nifti<float>(p); }}},
      {"nifti_gz", {".nii.gz", [](const fs::path& p) { io::read_nifti<float>(p); }}},
      {"image", {".png", [](const fs::path& p) { io::read_image(p); }}},
      {"csv", {".csv", [](const fs::path& p) { io::read_csv(p); }}},
      {"jsonl", {".jsonl", [](const fs::path& p) { io::read_jsonl(p); }}},
      {"arff", {".arff", [](const fs::path& p) { io::read_arff(p); }}},
      {"conllu", {".conllu", [](const fs::path& p) { io::read_conllu(p); }}},
      {"text", {".txt", [](const fs::path& p) { io::read_utf8(p); }}},
      {"bpe_json", {".json", [](const fs::path& p) { data::bpe_from_json(p).encode("A b, 12"); }}},
      {"wordpiece_json", {".json", [](const fs::path& p) { data::wordpiece_from_json(p).encode("A b, 12"); }}},
      {"vocab", {".txt", [](const fs::path& p) { data::WordPieceTokenizer::from_vocab(p).encode("A b, 12"); }}},
  };
  return all;
}

const Format& chosen() {
  const char* name = std::getenv("GRADUS_FUZZ");
  const auto found = formats().find(name ? name : "");
  if (found == formats().end()) {
    std::fprintf(stderr, "GRADUS_FUZZ has to name a format:");
    for (const auto& [known, format] : formats()) std::fprintf(stderr, " %s", known.c_str());
    std::fprintf(stderr, "\n");
    std::exit(2);
  }
  return found->second;
}

void read(const Format& format, const fs::path& path) {
  try {
    format.read(path);
  } catch (const Error&) {  // what it is for; anything else is a bug, and ends the program
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, std::size_t n) {
  static const Format& format = chosen();
  static const fs::path path = fs::path(fs::exists("/dev/shm") ? "/dev/shm" : "/tmp") /
                               ("gradus_fuzz_" + std::to_string(::getpid()) + format.ending);
  static const bool removed_later = [] { return std::atexit([] { fs::remove(path); }) == 0; }();
  static_cast<void>(removed_later);
  {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(bytes), static_cast<std::streamsize>(n));
  }
  read(format, path);
  return 0;
}

#ifndef GRADUS_FUZZER
/// fuzz_readers CORPUS: each file of CORPUS/<format>/ through its reader.
int main(int argc, char** argv) {
  int files = 0;
  for (const auto& [name, format] : formats()) {
    const fs::path folder = fs::path(argc > 1 ? argv[1] : "corpus") / name;
    if (!fs::exists(folder)) continue;
    ::setenv("GRADUS_FUZZ", name.c_str(), 1);
    for (const auto& entry : fs::directory_iterator(folder)) {
      const fs::path copy = fs::temp_directory_path() / ("gradus_replay_" + std::to_string(::getpid()) + format.ending);
      fs::copy_file(entry.path(), copy, fs::copy_options::overwrite_existing);
      read(format, copy);
      fs::remove(copy);
      ++files;
    }
  }
  std::printf("%d files read\n", files);
  return files > 0 ? 0 : 1;
}
#endif
