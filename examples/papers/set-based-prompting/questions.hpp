// Questions with k options: from WordNet's nouns, or from the authors' files.
#pragma once
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <gradus/io/file.hpp>

namespace sbp {

struct Question {
  std::string before, after;         // A and D; D without spaces at its end: they belong to what follows
  std::vector<std::string> options;  // texts; the right one is somewhere among them
  std::size_t label = 0;             // which one
  std::string prompt() const {       // with the authors' marks
    std::string s = before + "<|start_2d|>";
    for (std::size_t i = 0; i < options.size(); ++i) s += (i ? "<|split_2d|>" : "") + quoted(i);
    return s + "<|end_2d|>" + after;
  }
  std::string quoted(std::size_t i) const { return " \"" + options[i] + "\""; }
};

struct Synset {
  std::string lemma, gloss;
  int file = 0;  // the lexicographer's file: animals, foods, ...
};
/// One line of WordNet's data.noun (wndb(5WN)); without a lemma where it is no synset or its gloss does not serve as a question.
inline Synset read_synset(const std::string& line) {
  Synset s;
  const auto bar = line.find(" | ");
  if (line.empty() || line[0] == ' ' || bar == line.npos) return s;
  std::istringstream in(line);
  std::string offset, type, count, lemma;
  in >> offset >> s.file >> type >> count >> lemma;
  std::replace(lemma.begin(), lemma.end(), '_', ' ');
  s.gloss = line.substr(bar + 3, line.find(';', bar) - bar - 3);
  while (!s.gloss.empty() && s.gloss.back() == ' ') s.gloss.pop_back();
  const auto lower = [](std::string t) {
    for (char& c : t) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return t;
  };
  const auto words = std::count(s.gloss.begin(), s.gloss.end(), ' ') + 1;
  const bool plain = lemma.size() > 2 && lemma.find_first_of(" \"'.-0123456789") == lemma.npos && lower(lemma) == lemma;
  if (plain && words >= 4 && words <= 14 && lower(s.gloss).find(lemma) == std::string::npos && s.gloss.find('"') == s.gloss.npos)
    s.lemma = lemma;
  return s;
}
/// n questions, the same for the same seed: the gloss of a synset, its lemma, and lemmas of the same lexicographer's file.
inline std::vector<Question> wordnet_questions(const std::filesystem::path& directory, std::size_t n, std::size_t k, uint64_t seed) {
  std::map<int, std::vector<Synset>> files;
  std::istringstream in(gradus::io::read_text(directory / "data.noun"));
  for (std::string line; std::getline(in, line);)
    if (Synset s = read_synset(line); !s.lemma.empty()) files[s.file].push_back(std::move(s));
  std::mt19937_64 random(seed + 1);
  std::vector<const std::vector<Synset>*> usable;
  for (const auto& [file, list] : files)
    if (file > 3 && list.size() >= 50) usable.push_back(&list);  // file 3: the most general words
  std::vector<Question> out;
  while (out.size() < n && !usable.empty()) {
    const auto& list = *usable[random() % usable.size()];
    const Synset& right = list[random() % list.size()];
    Question q{"Which word means: " + right.gloss + "? Options:", " Answer:", {right.lemma}, 0};
    while (q.options.size() < k)
      if (const auto& other = list[random() % list.size()].lemma; std::find(q.options.begin(), q.options.end(), other) == q.options.end())
        q.options.push_back(other);
    q.label = random() % k;
    std::swap(q.options[0], q.options[q.label]);
    out.push_back(std::move(q));
  }
  return out;
}
/// The authors' CSQA and MMLU files: a line {"prompt": with marks, "prompt_metadata": {"label", "incorrect_answers"}}.
inline std::vector<Question> jsonl_questions(const std::filesystem::path& path, std::size_t n) {
  std::vector<Question> out;
  std::istringstream in(gradus::io::read_text(path));
  for (std::string line; out.size() < n && std::getline(in, line);) {
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const auto j = nlohmann::json::parse(line);
    const std::string text = j.at("prompt"), right = j.at("prompt_metadata").at("label");
    const auto b = text.find("<|start_2d|>"), e = text.find("<|end_2d|>");
    if (b == text.npos || e == text.npos || e < b) throw std::runtime_error(path.string() + ": a prompt without its marks");
    Question q{text.substr(0, b), text.substr(e + 10), {}, 0};
    while (!q.before.empty() && q.before.back() == ' ') q.before.pop_back();
    while (!q.after.empty() && q.after.back() == ' ') q.after.pop_back();
    std::string inner = text.substr(b + 12, e - b - 12) + "<|split_2d|>";
    for (auto s = inner.find("<|split_2d|>"); s != inner.npos; s = inner.find("<|split_2d|>")) {
      std::string option = inner.substr(0, s);
      inner.erase(0, s + 12);
      const auto first = option.find_first_not_of(" \""), last = option.find_last_not_of(" \"");
      if (first == option.npos) continue;
      q.options.push_back(option.substr(first, last - first + 1));
    }
    const auto at = std::find(q.options.begin(), q.options.end(), right);
    if (at == q.options.end()) throw std::runtime_error(path.string() + ": the label is no option: " + right);
    q.label = static_cast<std::size_t>(at - q.options.begin());
    out.push_back(std::move(q));
  }
  return out;
}

}  // namespace sbp
