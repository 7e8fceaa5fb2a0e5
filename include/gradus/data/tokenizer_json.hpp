// Tokenizers from Hugging Face's tokenizer.json. Apart from tokenizer.hpp because it needs nlohmann-json.
#pragma once
#include <nlohmann/json.hpp>

#include <gradus/data/tokenizer.hpp>

namespace gradus::data {

namespace detail {

inline nlohmann::json tokenizer_json(const std::filesystem::path& path, const char* model, Where at) {
  try {
    auto j = nlohmann::json::parse(io::read_text(path, at));
    if (const std::string type = j.at("model").value("type", "BPE"); type != model)
      fail("tokenizer_json", "a model of another kind", {{"file", path.string()}, {"model.type", type}}, model, at);
    return j;
  } catch (const nlohmann::json::exception& e) {
    fail("tokenizer_json", "the file is damaged", {{"file", path.string()}, {"reason", e.what()}}, "a tokenizer.json", at);
  }
}
inline Vocabulary json_vocabulary(const nlohmann::json& j, Where at) {
  std::map<int64_t, std::string> by_id;
  for (const auto& [token, id] : j.at("model").at("vocab").items()) by_id[id.get<int64_t>()] = token;
  for (const auto& t : j.at("added_tokens")) by_id[t.at("id").get<int64_t>()] = t.at("content").get<std::string>();
  std::vector<std::string> tokens;
  for (const auto& [id, token] : by_id) {
    if (id != static_cast<int64_t>(tokens.size()))
      fail("tokenizer_json", "a gap in the tokens' numbers", {{"token", token}, {"id", std::to_string(id)}},
           std::to_string(tokens.size()), at);
    tokens.push_back(token);
  }
  Vocabulary v = vocabulary(std::move(tokens), at);
  for (const auto& t : j.at("added_tokens")) v.add_special(t.at("content").get<std::string>(), t.at("id").get<int64_t>());
  return v;
}
/// f(json) with errors of the JSON library as errors of the file.
template <class F>
auto read_tokenizer(const std::filesystem::path& path, const char* model, Where at, F f) {
  const auto j = tokenizer_json(path, model, at);
  try {
    return f(j);
  } catch (const nlohmann::json::exception& e) {
    fail("tokenizer_json", "a part is missing or of another type", {{"file", path.string()}, {"reason", e.what()}},
         "a tokenizer.json", at);
  }
}

}  // namespace detail

/// A byte-level BPE model; its pre_tokenizer has to be ByteLevel, after Digits with individual digits or not.
inline BpeTokenizer bpe_from_json(const std::filesystem::path& path, Where at = Where::current()) {
  return detail::read_tokenizer(path, "BPE", at, [&](const nlohmann::json& j) {
    std::vector<std::pair<std::string, std::string>> merges;
    for (const auto& m : j.at("model").at("merges")) {  // "a b", since 2024 also ["a", "b"]
      if (m.is_array()) {
        merges.emplace_back(m.at(0).get<std::string>(), m.at(1).get<std::string>());
        continue;
      }
      const auto s = m.get<std::string>();
      const auto blank = s.find(' ', 1);
      if (blank == s.npos)
        fail("tokenizer_json", "a merge without a blank", {{"file", path.string()}, {"merge", s}}, "two tokens", at);
      merges.emplace_back(s.substr(0, blank), s.substr(blank + 1));
    }
    bool digits = false, bytes = false;
    const nlohmann::json& pre = j.at("pre_tokenizer");
    const nlohmann::json parts =
        pre.is_object() && pre.value("type", "") == "Sequence" ? pre.at("pretokenizers") : nlohmann::json::array({pre});
    for (const auto& p : parts) {
      const std::string type = p.is_object() ? p.value("type", "") : "none";
      if (type == "ByteLevel" && !p.value("add_prefix_space", false) && p.value("use_regex", true)) bytes = true;
      else if (type == "Digits" && p.value("individual_digits", false) && !bytes) digits = true;
      else
        fail("tokenizer_json", "pieces are cut another way", {{"file", path.string()}, {"pre_tokenizer", pre.dump()}},
             "ByteLevel without add_prefix_space, after Digits with individual_digits or not", at);
    }
    return BpeTokenizer(detail::json_vocabulary(j, at), merges, digits, at);
  });
}

/// A WordPiece model with BertNormalizer.
inline WordPieceTokenizer wordpiece_from_json(const std::filesystem::path& path, Where at = Where::current()) {
  return detail::read_tokenizer(path, "WordPiece", at, [&](const nlohmann::json& j) {
    const auto& n = j.at("normalizer");
    if (n.value("type", "") != "BertNormalizer")
      fail("tokenizer_json", "another normalisation", {{"file", path.string()}, {"normalizer", n.dump()}}, "BertNormalizer",
           at);
    return WordPieceTokenizer(detail::json_vocabulary(j, at), n.value("lowercase", true), at);
  });
}

}  // namespace gradus::data
