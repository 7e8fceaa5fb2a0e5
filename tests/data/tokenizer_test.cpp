#include <fstream>

#include <gradus/data/tokenizer_json.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;

namespace {
const std::string here = std::string(GRADUS_TESTS_DIR) + "/recorded/tokenizers/";
nlohmann::json recorded(const std::string& file) { return nlohmann::json::parse(io::read_text(here + file)); }
template <class T>
void agree(const T& tokenizer, const nlohmann::json& cases, bool special_decoded) {
  REQUIRE(cases.size() == 20);
  for (const auto& c : cases) {
    const auto text = c.at("text").get<std::string>();
    INFO(text);
    const auto ids = tokenizer.encode(text);
    CHECK(ids == c.at("ids").get<std::vector<int64_t>>());
    CHECK(tokenizer.decode(ids, special_decoded) == c.at("decoded").get<std::string>());
  }
}
}  // namespace

TEST_CASE("byte-level BPE encodes as the package tokenizers does", "[data]") {
  const auto t = data::bpe_from_json(here + "bpe.json");
  const auto all = recorded("encodings.json");   // by name: a loop over .at() of a temporary outlives it
  agree(t, all.at("bpe"), false);
  REQUIRE(all.at("bpe").size() == 20);
  for (const auto& c : all.at("bpe")) {
    const auto text = c.at("text").get<std::string>();
    CHECK(t.decode(t.encode(text)) == text);
    CHECK(t.decode(t.encode(text, false)) == text);
  }
  const std::string any_bytes("\xff\xfe\x80 \xc3(\xf0\x9f", 8);  // no UTF-8 at all
  CHECK(t.decode(t.encode(any_bytes)) == any_bytes);
  CHECK(t.encode("<|im_end|>").size() == 1);
  CHECK(t.encode("<|im_end|>", false).size() > 1);
}

TEST_CASE("WordPiece encodes as the package tokenizers does", "[data]") {
  const auto t = data::wordpiece_from_json(here + "wordpiece.json");
  agree(t, recorded("encodings.json").at("wordpiece"), false);
  const TempDir dir;
  std::ofstream out(dir / "vocab.txt");
  for (const auto& token : t.vocabulary_of().tokens) out << token << "\n";
  out.close();
  agree(data::WordPieceTokenizer::from_vocab(dir / "vocab.txt"), recorded("encodings.json").at("wordpiece"), false);
}

TEST_CASE("GPT-2's pieces", "[data]") {
  using P = std::vector<std::string_view>;
  CHECK(data::gpt2_pieces("I'll  go 42!") == P{"I", "'ll", " ", " go", " 42", "!"});
  CHECK(data::gpt2_pieces("go 42", true) == P{"go", " ", "4", "2"});
  CHECK(data::gpt2_pieces("a \n b  ") == P{"a", " \n", " b", "  "});
  CHECK(data::gpt2_pieces("").empty());
}

TEST_CASE("tokenizers: errors name the file and what was expected", "[data]") {
  using check::missing;
  const auto bpe = data::bpe_from_json(here + "bpe.json");
  CHECK(missing(check::error_of([&] { data::wordpiece_from_json(here + "bpe.json"); }), {"bpe.json", "BPE", "WordPiece"}) ==
        "");
  const std::vector<int64_t> ids{400};
  CHECK(missing(check::error_of([&] { bpe.decode(ids); }), {"decode", "400", "[0, "}) == "");
  CHECK(missing(check::error_of([&] { data::WordPieceTokenizer(data::vocabulary({"a"})); }), {"[UNK]", "1 tokens"}) == "");
  CHECK(missing(check::error_of([&] { data::vocabulary({"a", "a"}); }), {"twice", "id        1"}) == "");
  CHECK(missing(check::error_of([&] {
                  data::BpeTokenizer(data::vocabulary({"a"}), {{"a", "b"}});
                }),
                {"merge", "0: a b"}) == "");
  const TempDir dir;
  std::ofstream(dir / "t.json") << "{\"model\": {\"type\": \"BPE\"}}";
  CHECK(missing(check::error_of([&] { data::bpe_from_json(dir / "t.json"); }), {"t.json", "merges"}) == "");
  std::ofstream(dir / "t.json") << "{\"mod";
  CHECK(missing(check::error_of([&] { data::bpe_from_json(dir / "t.json"); }), {"t.json", "damaged"}) == "");
}
