//| # A language model
//|
//| SmolLM2-135M-Instruct, thirty layers of the parts that the attention page takes to pieces, answers questions here. Its weights
//| come from a GGUF file: `third_party/install.sh --with smollm2` fetches it (98 MB). Without the file this program says so and
//| ends. With words after the first argument it answers those instead: `tutorial_13_language_model . "Why is the sky blue?"`
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <gradus.hpp>
#include <gradus/data/tokenizer.hpp>
#include <gradus/models/llama.hpp>

using namespace gradus;

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

int main(int argc, char** argv) {
  const char* home = std::getenv("HOME");
  const std::string path = std::string(home ? home : "/root") + "/.cache/gradus/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) {
    std::printf("no model here; third_party/install.sh --with smollm2 fetches it\n");
    return 77;
  }

  //| ## A file
  //| The file says what the model is. Its matrices are of 4 bits an element; reading them makes floats.
  const io::GgufFile file(path);
  const auto model = models::Llama::from_gguf(file);
  const auto tokenizer = data::BpeTokenizer::from_gguf(file);
  const auto& c = model.config;
  std::printf("%ld layers of width %ld, %ld heads over %ld, %ld tokens\n", static_cast<long>(c.layers), static_cast<long>(c.width),
              static_cast<long>(c.heads), static_cast<long>(c.kv_heads), static_cast<long>(c.vocabulary));
  //> 30 layers of width 576, 9 heads over 3, 49152 tokens

  //| ## A turn of a chat
  //| The model was taught on turns between marks, which are single tokens. What a user types is encoded with `special` off, so
  //| that nobody writes a mark. Every token is printed as it is made; the stream ends with the mark of the turn's end.
  const auto ask = [&](const std::string& question, const models::Sampling& sampling) {
    auto ids = tokenizer.encode("<|im_start|>user\n");
    for (const int64_t id : tokenizer.encode(question, false)) ids.push_back(id);
    for (const int64_t id : tokenizer.encode("<|im_end|>\n<|im_start|>assistant\n")) ids.push_back(id);
    const double begin = seconds();
    double first = 0;
    const auto answer = model.generate(ids, 120, sampling, tokenizer.vocabulary_of().id("<|im_end|>"), [&](int64_t id) {
      if (first == 0) first = seconds();
      std::fputs(tokenizer.decode({&id, 1}).c_str(), stdout);
      std::fflush(stdout);
      return true;
    });
    std::printf("\n");
    // Times differ from run to run, so they are not on the page.
    if (answer.size() > 1)
      std::fprintf(stderr, "%zu tokens read in %.2f s, then %.1f tokens/s\n", ids.size(), first - begin,
                   static_cast<double>(answer.size() - 1) / (seconds() - first));
  };
  if (argc > 2) {
    models::Sampling sampling;
    sampling.temperature = 0.7, sampling.top_k = 40;
    for (int i = 2; i < argc; ++i) ask(argv[i], sampling);
    return 0;
  }
  ask("What is the capital of France?", {});
  //> The capital of France is Paris.

  //| Each token costs one pass over 134 million weights, of which a cache of keys and values saves the part that the earlier
  //| tokens had. A core that reads 540 MB in 22 ms makes 45 tokens a second.

  //| ## What it finds likely
  //| `log_likelihoods` gives log p of each token after those before it: a measure of how well a text is foreseen.
  double likely[2];
  int k = 0;
  for (const char* text : {"The cat sat on the mat.", "The mat cat the on sat."}) {
    double sum = 0;
    for (const double p : model.log_likelihoods(tokenizer.encode(text))) sum += p;
    likely[k++] = sum;
  }
  std::printf("the sentence is likelier than its words in disorder: %s\n", likely[0] > likely[1] ? "yes" : "no");
  //> the sentence is likelier than its words in disorder: yes
}
