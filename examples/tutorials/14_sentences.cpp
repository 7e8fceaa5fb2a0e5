//| # Sentences that mean the same
//|
//| MiniLM-L6 turns a sentence into 384 numbers so that sentences of like meaning point the same way.
//| `third_party/install.sh --with minilm` fetches its weights (91 MB); without them this program says so and ends.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/data/tokenizer.hpp>
#include <gradus/models/bert.hpp>

using namespace gradus;

int main() {
  const char* home = std::getenv("HOME");
  const std::filesystem::path folder = std::string(home ? home : "/root") + "/.cache/gradus/minilm";
  if (!std::filesystem::exists(folder / "model.safetensors") || !std::filesystem::exists(folder / "vocab.txt")) {
    std::printf("no model here; third_party/install.sh --with minilm fetches it\n");
    return 77;
  }
  //| ## From words to numbers
  //| The tokenizer cuts words into pieces it knows, between two marks.
  const auto tokenizer = data::WordPieceTokenizer::from_vocab(folder / "vocab.txt");
  const auto model = models::Bert::from_safetensors(folder / "model.safetensors");
  for (const int64_t id : tokenizer.encode("Gradients, unbelievably!"))
    std::printf("%s ", tokenizer.vocabulary_of().tokens[static_cast<std::size_t>(id)].c_str());
  std::printf("\n");
  //> [CLS] gradient ##s , un ##bel ##ie ##va ##bly ! [SEP] 

  //| ## Which is nearest?
  //| The embeddings have length 1, so their products are cosines: one matrix product compares all with all.
  const std::vector<std::string> known{"A man is playing a guitar.", "The stock market fell sharply today.", "She is cooking dinner for her family."};
  const std::vector<std::string> asked{"Someone makes music on an instrument.", "Share prices dropped.", "A woman prepares a meal."};
  const auto embed = [&](const std::vector<std::string>& sentences) {
    std::vector<std::vector<int64_t>> ids;
    for (const auto& s : sentences) ids.push_back(tokenizer.encode(s));
    return model.embed(ids);
  };
  const auto cosine = matmul(embed(asked), embed(known).t());
  for (int64_t i = 0; i < 3; ++i) {
    const float* row = cosine.data() + 3 * i;
    const auto best = static_cast<std::size_t>(std::max_element(row, row + 3) - row);
    std::printf("%s -> %s (%.2f)\n", asked[static_cast<std::size_t>(i)].c_str(), known[best].c_str(), static_cast<double>(row[best]));
  }
  //> Someone makes music on an instrument. -> A man is playing a guitar. (0.60)
  //> Share prices dropped. -> The stock market fell sharply today. (0.61)
  //> A woman prepares a meal. -> She is cooking dinner for her family. (0.62)

  //| Sentences in a batch share the work of reading the weights; shorter ones are padded, which changes nothing.
  const std::vector<std::string> many(32, known[0]);
  embed(many);
  const auto begin = std::chrono::steady_clock::now();
  embed(many);
  const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::fprintf(stderr, "%.0f sentences/s in batches of 32\n", 32 / s);
}
