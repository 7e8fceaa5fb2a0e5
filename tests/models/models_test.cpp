#include <cmath>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include <gradus/data/tokenizer_json.hpp>
#include <gradus/models/bert.hpp>
#include <gradus/models/llama.hpp>

#include "support/check.hpp"

using namespace gradus;

namespace {
const std::string recorded = std::string(GRADUS_TESTS_DIR) + "/recorded/";
nlohmann::json json(const std::string& file) { return nlohmann::json::parse(io::read_text(recorded + file)); }
/// A file that `third_party/install.sh --with smollm2 --with minilm` fetches; empty, with a warning, when it is not there.
std::string model_file(const std::string& name) {
  const char* home = std::getenv("HOME");
  const std::string path = std::string(home ? home : "/root") + "/.cache/gradus/" + name;
  if (std::filesystem::exists(path)) return path;
  WARN("not run: no " << path << "; third_party/install.sh --with smollm2 --with minilm fetches it");
  return "";
}
models::LlamaConfig small() {
  models::LlamaConfig c;
  c.vocabulary = 11, c.layers = 2, c.width = 16, c.hidden = 24, c.heads = 4, c.kv_heads = 2;
  return c;
}
Tensor<int64_t> row(const std::vector<int64_t>& ids) {
  Tensor<int64_t> x(Shape{1, static_cast<int64_t>(ids.size())});
  std::copy(ids.begin(), ids.end(), x.data());
  return x;
}
/// The largest difference, in parts of the largest value.
double relative(const std::vector<double>& got, const std::vector<double>& want) {
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i)
    worst = std::max(worst, std::abs(got[i] - want[i])), largest = std::max(largest, std::abs(want[i]));
  return worst / largest;
}
}  // namespace

TEST_CASE("Llama: token by token with a cache is what all at once gives; the future is not seen", "[models]") {
  manual_seed(3);
  const models::Llama m(small());
  const std::vector<int64_t> ids{1, 5, 2, 9, 0, 7};
  const NoGrad guard;
  const auto whole = m.forward(row(ids));
  auto cache = m.cache(1, 6);
  for (std::size_t t = 0; t < ids.size(); ++t) {
    const auto one = m.forward(row({ids[t]}), &cache);
    for (std::size_t v = 0; v < 11; ++v) CHECK(std::abs(one.data()[v] - whole.data()[11 * t + v]) < 1e-4f);
  }
  const auto other = m.forward(row({1, 5, 2, 3, 3, 3}));
  for (std::size_t i = 0; i < 33; ++i) CHECK(std::abs(other.data()[i] - whole.data()[i]) < 1e-4f);
  const auto p = m.log_likelihoods(ids);
  REQUIRE(p.size() == 5);
  CHECK(p[0] == Approx(static_cast<double>(log_softmax(whole, -1).data()[5])).epsilon(1e-4));
  CHECK(m.generate(ids, 4).size() == 4);
  models::Sampling warm;
  warm.temperature = 1, warm.seed = 1;
  CHECK(m.generate(ids, 4, warm) == m.generate(ids, 4, warm));
  CHECK(m.generate(ids, 4, {}, m.generate(ids, 4)[0]).empty());
  CHECK(m.generate(ids, 4, {}, -1, [](int64_t) { return false; }).size() == 1);
  CHECK(check::missing(check::error_of([&] { m.generate({}, 1); }), {"generate", "a prompt"}) == "");
  CHECK(check::missing(check::error_of([&] { m.log_likelihoods({1}); }), {"at least 2 tokens"}) == "");
}

TEST_CASE("Llama: given positions and masks, with and without a cache, and other types", "[models]") {
  manual_seed(4);
  const models::BasicLlama<double> m(small());
  const NoGrad guard;
  const auto ids = row({1, 5, 2, 9, 0});
  const auto far = [](const auto& a, const auto& b) { return amax(abs(sub(a, b))).item(); };
  const auto whole = m.forward(ids);
  // Positions count by their differences alone.
  std::vector<Tensor<double>> states;
  CHECK(far(whole, m.forward(ids, {.position = Tensor<double>{70., 71., 72., 73., 74.}, .states = &states})) < 1e-12);
  REQUIRE(states.size() == 2);
  CHECK(far(m.norm.forward(states[1]), m.features(ids)) < 1e-12);
  CHECK(far(whole, m.forward(ids, {.position = Tensor<double>{0., 1., 2., 4., 5.}})) > 1e-3);
  // A token that nobody sees is one that is not there.
  const auto seen = expand(Tensor<bool>{true, true, false, true, true}, {5, 5});
  const auto alone = m.forward(row({1, 5, 9, 0}));
  const auto hidden = m.forward(ids, {.position = Tensor<double>{0., 1., 2., 2., 3.}, .mask = seen});
  CHECK(far(narrow(alone, 1, 2, 2), narrow(hidden, 1, 3, 2)) < 1e-12);
  auto cache = m.cache(1, 5);
  m.forward(row({1, 5, 2}), &cache);
  const auto rest = m.forward(row({9, 0}), {.cache = &cache, .position = Tensor<double>{2., 3.}, .mask = narrow(seen, 0, 3, 2)});
  CHECK(far(narrow(alone, 1, 2, 2), rest) < 1e-12);
  CHECK(far(whole, cast<double>(models::Llama(m).forward(ids))) < 1e-4);
  CHECK(check::missing(check::error_of([&] { m.forward(ids, {.position = Tensor<double>{0., 1.}}); }), {"position", "[5]"}) == "");
  CHECK(check::missing(check::error_of([&] { m.forward(row({1}), {.mask = seen}); }), {"mask", "[1, 1]"}) == "");
}

TEST_CASE("Llama: every weight has a gradient", "[models]") {
  models::Llama m(small());
  sum(square(m.forward(row({1, 2, 3})))).backward();
  for (const auto& [path, x] : nn::named_parameters(m)) {
    INFO(path);
    REQUIRE(x.grad().defined());
    CHECK(amax(abs(x.grad())).item() > 0);
  }
}

TEST_CASE("draw_token: greedy, top k, and frequencies of the softmax", "[models]") {
  const std::vector<float> logits{0, 2, 1, -1};
  CHECK(models::draw_token(logits, {}, 0) == 1);
  models::Sampling s;
  s.temperature = 0.5;
  int count[4] = {};
  for (uint64_t k = 0; k < 20000; ++k) ++count[models::draw_token(logits, s, k)];
  double total = 0;
  for (const float l : logits) total += std::exp(2 * static_cast<double>(l));
  for (std::size_t i = 0; i < 4; ++i) {  // five standard deviations
    const double p = std::exp(2 * static_cast<double>(logits[i])) / total;
    CHECK(std::abs(count[i] / 20000.0 - p) < 5 * std::sqrt(p * (1 - p) / 20000));
  }
  s.temperature = 5, s.top_k = 2, s.seed = 7;
  for (uint64_t k = 0; k < 200; ++k) {
    const auto id = models::draw_token(logits, s, k);
    CHECK((id == 1 || id == 2));
  }
  s.temperature = -1;
  CHECK(check::missing(check::error_of([&] { models::draw_token(logits, s, 0); }), {"temperature", "-1"}) == "");
}

TEST_CASE("Bert: padding changes nothing, embeddings have length 1", "[models]") {
  manual_seed(5);
  models::BertConfig c;
  c.vocabulary = 20, c.layers = 2, c.width = 16, c.hidden = 32, c.heads = 4, c.positions = 12;
  const models::Bert m(c);
  const std::vector<int64_t> a{1, 5, 2}, b{1, 7, 8, 9, 3, 2};
  const auto both = m.embed({a, b}), alone = m.embed({a});
  for (std::size_t i = 0; i < 16; ++i) CHECK(std::abs(both.data()[i] - alone.data()[i]) < 1e-5f);
  CHECK(sum(square(alone)).item() == Approx(1).epsilon(1e-5));
  CHECK(m.embed({}).shape() == Shape{0, 16});
  CHECK(check::missing(check::error_of([&] { m.embed({std::vector<int64_t>(13, 1)}); }), {"[1, 13]", "T <= 12"}) == "");
}

TEST_CASE("SmolLM2-135M: logits of NumPy from the same weights (not run when the model file is absent)", "[models]") {
  const auto path = model_file("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
  if (path.empty()) return;
  const io::GgufFile file(path);
  const auto m = models::Llama::from_gguf(file);
  const auto t = data::BpeTokenizer::from_gguf(file);
  const auto encodings = json("tokenizers/models.json");   // by name: a loop over .at() of a temporary outlives it
  REQUIRE(encodings.at("smollm2").size() == 20);
  for (const auto& c : encodings.at("smollm2")) {
    INFO(c.at("text").dump());
    CHECK(t.encode(c.at("text").get<std::string>()) == c.at("ids").get<std::vector<int64_t>>());
  }
  const auto all = json("models/smollm2.json");
  const NoGrad guard;
  REQUIRE(all.at("cases").size() == 4);
  for (const auto& c : all.at("cases")) {
    const auto ids = c.at("ids").get<std::vector<int64_t>>();
    const auto logits = m.forward(row(ids));
    const float* last = logits.data() + (ids.size() - 1) * static_cast<std::size_t>(m.config.vocabulary);
    std::vector<double> got;
    for (const auto i : c.at("at").get<std::vector<std::size_t>>()) got.push_back(static_cast<double>(last[i]));
    CHECK(relative(got, c.at("logits").get<std::vector<double>>()) < 1e-3);
    double sum = 0;
    for (const double p : m.log_likelihoods(ids)) sum += p;
    CHECK(sum == Approx(c.at("log_likelihood").get<double>()).epsilon(1e-3));
  }
  auto text = all.at("cases")[0].at("ids").get<std::vector<int64_t>>();
  for (const int64_t id : m.generate(text, 8)) text.push_back(id);
  CHECK(text == all.at("greedy").get<std::vector<int64_t>>());
}

TEST_CASE("MiniLM-L6: embeddings of NumPy from the same weights (not run when the model file is absent)", "[models]") {
  const auto path = model_file("minilm/model.safetensors");
  if (path.empty()) return;
  const auto m = models::Bert::from_safetensors(path);
  const auto folder = std::filesystem::path(path).parent_path();
  const auto t = data::WordPieceTokenizer::from_vocab(folder / "vocab.txt");
  const auto u = data::wordpiece_from_json(folder / "tokenizer.json");
  const auto encodings = json("tokenizers/models.json");   // by name: a loop over .at() of a temporary outlives it
  REQUIRE(encodings.at("minilm").size() == 20);
  for (const auto& c : encodings.at("minilm")) {
    const auto text = c.at("text").get<std::string>();
    INFO(text);
    CHECK(t.encode(text) == c.at("ids").get<std::vector<int64_t>>());
    CHECK(u.encode(text) == c.at("ids").get<std::vector<int64_t>>());
  }
  std::vector<std::vector<int64_t>> sequences;
  const auto cases = json("models/minilm.json");
  for (const auto& c : cases) sequences.push_back(t.encode(c.at("text").get<std::string>()));
  const auto e = m.embed(sequences);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const auto want = cases[i].at("embedding").get<std::vector<double>>();
    CHECK(relative(std::vector<double>(e.data() + i * want.size(), e.data() + (i + 1) * want.size()), want) < 1e-3);
  }
}
