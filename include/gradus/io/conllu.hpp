// CoNLL-U, the treebanks of Universal Dependencies (universaldependencies.org/format.html): sentences of words with lemmas, tags,
// features and a dependency tree.
//
//   for (const auto& s : io::read_conllu("en_ewt-ud-train.conllu")) use(s.forms(), s.heads(), s.column(&io::ConlluToken::upos));
//   io::ConlluReader in("large.conllu.gz");                    // one sentence in memory at a time
//   for (io::ConlluSentence s; in.next(s);) out << s.str();    // byte for byte what was read, but for \r
//
//   file     = *sentence;  sentence = *("#" comment LF) 1*(token LF) LF
//   token    = ID FORM LEMMA UPOS XPOS FEATS HEAD DEPREL DEPS MISC, separated by tabs; "_" is no value
//   ID       = n of a word, n-m of a multiword token before its words, n.k of an empty node behind word n
//
// Checked: ten fields that are not empty, the order of IDs, heads that exist, and that heads form a tree with one root. .gz files are
// inflated on the way.
#pragma once
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gradus/io/json.hpp>
#include <gradus/io/lines.hpp>

namespace gradus::io {

enum class ConlluKind { word, multiword, empty };

struct ConlluToken {
  ConlluKind kind = ConlluKind::word;
  int64_t id = 0;    ///< of a word, from 1; the first word of a multiword token; the word before an empty node, 0 at the start
  int64_t last = 0;  ///< the last word of a multiword token; the k of an empty node
  std::string form, lemma, upos, xpos, feats;
  int64_t head = -1;  ///< of a word: the id of its head, 0 for the root; -1: none
  std::string deprel, deps, misc;

  /// A feature's value, "" where it has none: feature("Case") of Case=Nom|Number=Sing is "Nom". The same for MISC by `in`.
  std::string feature(std::string_view name, std::string ConlluToken::*in = &ConlluToken::feats) const {
    const std::string_view all = this->*in;
    for (std::size_t i = 0; i < all.size();) {
      const std::size_t end = std::min(all.find('|', i), all.size());
      const std::string_view one = all.substr(i, end - i);
      if (one.substr(0, name.size()) == name && one.substr(name.size(), 1) == "=") return std::string(one.substr(name.size() + 1));
      i = end + 1;
    }
    return "";
  }
  std::string id_text() const {
    if (kind == ConlluKind::word) return std::to_string(id);
    return std::to_string(id) + (kind == ConlluKind::multiword ? "-" : ".") + std::to_string(last);
  }
};

struct ConlluSentence {
  std::vector<std::string> comments;  ///< whole lines with their #
  std::vector<ConlluToken> tokens;    ///< in the file's order
  int64_t line = 0;                   ///< of the first token, from 1

  /// The value of a comment "# key = value"; "" where there is none.
  std::string comment(std::string_view key) const {
    for (const std::string& c : comments) {
      std::string_view s(c);
      const auto trim = [&] { s.remove_prefix(std::min(s.find_first_not_of(" \t"), s.size())); };
      s.remove_prefix(1), trim();
      if (s.substr(0, key.size()) != key) continue;
      s.remove_prefix(key.size()), trim();
      if (s.substr(0, 1) != "=") continue;
      s.remove_prefix(1), trim();
      return std::string(s);
    }
    return "";
  }
  std::string sent_id() const { return comment("sent_id"); }
  std::string text() const { return comment("text"); }
  /// One field of each word: column(&ConlluToken::upos). Multiword tokens and empty nodes are no words.
  template <class V>
  std::vector<V> column(V ConlluToken::*field) const {
    std::vector<V> v;
    for (const auto& t : tokens)
      if (t.kind == ConlluKind::word) v.push_back(t.*field);
    return v;
  }
  std::vector<std::string> forms() const { return column(&ConlluToken::form); }
  /// heads()[i] is the head of word i + 1, counted from 1; 0 is the root.
  std::vector<int64_t> heads() const { return column(&ConlluToken::head); }
  /// As in a file, with the empty line behind it.
  std::string str() const {
    std::string s;
    for (const auto& c : comments) s += c + "\n";
    for (const auto& t : tokens) {
      s += t.id_text();
      for (const std::string* f : {&t.form, &t.lemma, &t.upos, &t.xpos, &t.feats}) s += "\t" + *f;
      s += "\t" + (t.head < 0 ? "_" : std::to_string(t.head));
      for (const std::string* f : {&t.deprel, &t.deps, &t.misc}) s += "\t" + *f;
      s += "\n";
    }
    return s + "\n";
  }
};

struct ConlluOptions {
  bool tree = true;  ///< every word has a head, one word has head 0, and no word is above itself; off: files without syntax
};

/// Reads a file's sentences one after another.
class ConlluReader {
 public:
  explicit ConlluReader(const std::filesystem::path& path, ConlluOptions options = {}, Where at = Where::current())
      : in_(path, "read_conllu", std::size_t{1} << 24, at), options_(options), at_(at) {}

  /// The next sentence; false at the end of the file.
  bool next(ConlluSentence& s) {
    s = {};
    words_ = covered_ = empties_ = 0;
    while (in_.next(line_)) {
      if (in_.line() == 1 && line_.compare(0, 4, "   #") == 0) line_.erase(0, 3);      // behind a byte order mark
      if (!line_.empty() && line_.back() == '\r') line_.pop_back();
      if (line_.empty()) {
        if (s.tokens.empty() && s.comments.empty()) continue;
        if (s.tokens.empty()) bad("comments without a sentence", "a token after them", 1);
        return finish(s);
      }
      if (line_[0] == '#') {
        if (!s.tokens.empty()) bad("a comment inside a sentence", "comments before its first token", 1);
        s.comments.push_back(line_);
        continue;
      }
      if (s.tokens.empty()) s.line = in_.line();
      s.tokens.push_back(token());
    }
    line_.clear();
    if (s.tokens.empty() && s.comments.empty()) return false;
    bad("the file ends inside a sentence", "an empty line behind each sentence", 1);
  }

 private:
  [[noreturn]] void bad(const std::string& problem, const std::string& expected, std::size_t column) const { bad_at(problem, expected, column, in_.line(), line_); }
  [[noreturn]] void bad_at(const std::string& problem, const std::string& expected, std::size_t column, int64_t line, const std::string& found) const {
    fail("read_conllu", problem,
         {{"file", in_.file()}, {"line", std::to_string(line)}, {"column", std::to_string(column)},
          {"found", '"' + json_escape(found.substr(std::min(column - 1, found.size()), 40)) + '"'}}, expected, at_);
  }
  static bool whole(std::string_view s, int64_t& v) {
    const auto r = std::from_chars(s.data(), s.data() + s.size(), v);
    return r.ec == std::errc() && r.ptr == s.data() + s.size() && v >= 0 && v < 1000000000;
  }

  ConlluToken token() {
    static constexpr const char* names[] = {"ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC"};
    std::string_view field[10];
    std::size_t place[10] = {}, n = 0, i = 0;
    const std::string_view all = line_;
    for (;; ++n) {
      const std::size_t end = std::min(all.find('\t', i), all.size());
      if (n < 10) {
        field[n] = all.substr(i, end - i), place[n] = i + 1;
        if (end == i) bad(std::string("an empty ") + names[n], "_ where there is no value", i + 1);
      }
      if (end == all.size()) break;
      i = end + 1;
    }
    if (n + 1 != 10) bad("a line of " + std::to_string(n + 1) + " fields", "ten fields, separated by tabs", 1);
    ConlluToken t;
    const std::size_t mark = field[0].find_first_of("-.");
    t.kind = mark == std::string_view::npos ? ConlluKind::word : field[0][mark] == '-' ? ConlluKind::multiword : ConlluKind::empty;
    if (!whole(field[0].substr(0, mark), t.id) || (t.kind != ConlluKind::word && !whole(field[0].substr(mark + 1), t.last)))
      bad("an ID that is none", "1, 1-2 or 1.1", 1);
    switch (t.kind) {
      case ConlluKind::word:
        if (t.id != words_ + 1) bad("word " + std::to_string(t.id) + " out of order", "word " + std::to_string(words_ + 1), 1);
        ++words_, empties_ = 0;
        break;
      case ConlluKind::multiword:
        if (t.id != words_ + 1 || t.last <= t.id || t.id <= covered_)
          bad("a multiword token out of place", "n-m before its word n = " + std::to_string(words_ + 1) + ", m above n, none over another", 1);
        covered_ = t.last;
        break;
      case ConlluKind::empty:
        if (t.id != words_ || t.last != empties_ + 1)
          bad("an empty node out of order", std::to_string(words_) + "." + std::to_string(empties_ + 1), 1);
        ++empties_;
        break;
    }
    t.form = field[1], t.lemma = field[2], t.upos = field[3], t.xpos = field[4], t.feats = field[5];
    if (field[6] != "_" && (t.kind != ConlluKind::word || !whole(field[6], t.head)))
      bad("a HEAD that is none", t.kind == ConlluKind::word ? "the ID of a word, 0 or _" : "_: only words have heads", place[6]);
    if (t.kind == ConlluKind::word && options_.tree && t.head < 0) bad("a word without a HEAD", "the ID of a word or 0 (ConlluOptions::tree)", place[6]);
    t.deprel = field[7], t.deps = field[8], t.misc = field[9];
    return t;
  }
  bool finish(const ConlluSentence& s) {
    const auto wrong = [&](const ConlluToken& t, const std::string& problem, const std::string& expected) {
      const auto row = static_cast<int64_t>(&t - s.tokens.data());
      bad_at(problem, expected, 1, s.line + row, t.id_text() + " " + t.form);
    };
    if (covered_ > words_) wrong(s.tokens.back(), "a multiword token reaches beyond the sentence", "words up to " + std::to_string(covered_));
    const std::vector<int64_t> heads = s.heads();
    int64_t roots = 0;
    for (const auto& t : s.tokens) {
      if (t.head > words_) wrong(t, "HEAD " + std::to_string(t.head) + " does not exist", "0 to " + std::to_string(words_));
      roots += t.head == 0;
      if (options_.tree && roots > 1) wrong(t, "a second root", "one word with HEAD 0");
    }
    if (!options_.tree) return true;
    // From each word upwards; words below the root of an earlier walk are done. A walk that meets itself is a cycle.
    std::vector<int64_t> walk(heads.size(), -1);
    for (std::size_t i = 0; i < heads.size(); ++i) {
      auto at = static_cast<int64_t>(i);
      while (at >= 0 && walk[static_cast<std::size_t>(at)] < 0)
        walk[static_cast<std::size_t>(at)] = static_cast<int64_t>(i), at = heads[static_cast<std::size_t>(at)] - 1;
      if (at >= 0 && walk[static_cast<std::size_t>(at)] == static_cast<int64_t>(i))
        for (const auto& t : s.tokens)
          if (t.kind == ConlluKind::word && t.id == at + 1) wrong(t, "a cycle of heads", "a tree: every word below the one with HEAD 0");
    }
    return true;
  }

  LineReader in_;
  ConlluOptions options_;
  Where at_;
  std::string line_;
  int64_t words_ = 0, covered_ = 0, empties_ = 0;
};

/// All sentences of a file.
inline std::vector<ConlluSentence> read_conllu(const std::filesystem::path& path, ConlluOptions options = {}, Where at = Where::current()) {
  ConlluReader in(path, options, at);
  std::vector<ConlluSentence> all;
  for (ConlluSentence s; in.next(s);) all.push_back(std::move(s));
  return all;
}

}  // namespace gradus::io
