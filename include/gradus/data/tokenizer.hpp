// Tokenizers: byte-level BPE (GPT-2, Radford et al. 2019; SmolLM) and WordPiece (BERT, Devlin et al. 2019).
//
// Byte-level BPE: the text is cut into pieces, every byte of a piece becomes a token, and the pair of neighbours that comes
// first in the list of merges is joined until no pair is in it. No text is unknown, and decode(encode(text)) == text. GPT-2's
// pieces are
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// written out by hand; with `single_digits` each \p{N} is cut out first. WordPiece: clean, lower case, no accents, words and
// punctuation apart, then the longest pieces of the vocabulary from the left.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <gradus/data/unicode_tables.hpp>
#include <gradus/io/file.hpp>
#include <gradus/io/gguf.hpp>

namespace gradus::data {

namespace unicode {

inline bool in(std::span<const Range> table, uint32_t c) {
  const auto r = std::upper_bound(table.begin(), table.end(), c, [](uint32_t v, const Range& x) { return v < x.first; });
  return r != table.begin() && c <= (r - 1)->last;
}
inline bool is_letter(uint32_t c) { return c < 128 ? (c | 32) - 'a' < 26 : in(kLetters, c); }
inline bool is_number(uint32_t c) { return c < 128 ? c - '0' < 10 : in(kNumbers, c); }
inline bool is_space(uint32_t c) {
  return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}
inline uint32_t lower(uint32_t c) {
  const auto r =
      std::upper_bound(std::begin(kLower), std::end(kLower), c, [](uint32_t v, const Lower& x) { return v < x.first; });
  if (r == std::begin(kLower)) return c;
  const Lower& l = *(r - 1);
  const bool hit = l.step ? c <= l.last && (c - l.first) % l.step == 0 : c == l.first;
  return hit ? static_cast<uint32_t>(static_cast<int32_t>(c) + l.difference) : c;
}

/// The character at s[i], and i moved behind it. A byte that is no UTF-8 is 0xfffd, one byte long.
inline uint32_t next(std::string_view s, std::size_t& i) {
  const auto b = [&](std::size_t k) { return static_cast<uint8_t>(s[k]); };
  const uint32_t c = b(i++);
  const int more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : -1;
  if (more <= 0) return more == 0 ? c : 0xfffd;
  uint32_t v = c & (0x3fu >> more);
  if (s.size() - i < static_cast<std::size_t>(more)) return 0xfffd;
  for (int k = 0; k < more; ++k) {
    const uint32_t d = b(i + static_cast<std::size_t>(k));
    if ((d & 0xc0) != 0x80) return 0xfffd;
    v = v << 6 | (d & 63);
  }
  if ((more == 2 && v < 0x800) || (more == 3 && (v < 0x10000 || v > 0x10ffff)) || (v >= 0xd800 && v < 0xe000)) return 0xfffd;
  i += static_cast<std::size_t>(more);
  return v;
}
inline void append(std::string& s, uint32_t c) {
  const auto byte = [&](uint32_t v) { s += static_cast<char>(v); };
  if (c < 0x80) return byte(c);
  if (c < 0x800) byte(0xc0 | c >> 6);
  else if (c < 0x10000) byte(0xe0 | c >> 12), byte(0x80 | (c >> 6 & 63));
  else byte(0xf0 | c >> 18), byte(0x80 | (c >> 12 & 63)), byte(0x80 | (c >> 6 & 63));
  byte(0x80 | (c & 63));
}

}  // namespace unicode

/// The pieces GPT-2's pattern cuts a text into; they join to the text.
inline std::vector<std::string_view> gpt2_pieces(std::string_view s, bool single_digits = false) {
  using namespace unicode;
  std::vector<std::string_view> out;
  const auto cut = [&](std::string_view p) {  // no further than p: what follows it is the end of a text to the pattern
    for (std::size_t i = 0; i < p.size();) {
      const std::size_t begin = i;
      if (p[i] == '\'') {
        std::size_t n = 0;
        for (const std::string_view end : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
          if (n == 0 && p.substr(i).starts_with(end)) n = end.size();
        if (n > 0) {
          out.push_back(p.substr(i, n));
          i += n;
          continue;
        }
      }
      const auto kind = [](uint32_t c) { return is_letter(c) ? 1 : is_number(c) ? 2 : is_space(c) ? 0 : 3; };
      std::size_t after = i;
      int k = kind(next(p, after));
      if (p[i] == ' ' && after < p.size()) {  // the blank that a run of one kind may begin with
        std::size_t second = after;
        if (const int k2 = kind(next(p, second)); k2 != 0) k = k2, after = second;
      }
      std::size_t last = i;  // where the last character of the run begins
      for (i = after; i < p.size();) {
        std::size_t j = i;
        if (kind(next(p, j)) != k) break;
        last = i, i = j;
      }
      // \s+(?!\S): a run of blanks before a word leaves its last one to the word.
      if (k == 0 && i < p.size() && last > begin) i = last;
      out.push_back(p.substr(begin, i - begin));
    }
  };
  if (!single_digits) return cut(s), out;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < s.size();) {
    const std::size_t at = i;
    if (!is_number(next(s, i))) continue;
    cut(s.substr(begin, at - begin));
    cut(s.substr(at, i - at));
    begin = i;
  }
  cut(s.substr(begin));
  return out;
}

/// What every tokenizer has: the tokens by number, and those that stand for no text.
struct Vocabulary {
  std::vector<std::string> tokens;
  std::unordered_map<std::string, int64_t> ids;
  std::vector<std::pair<std::string, int64_t>> special;  ///< longest first

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  /// The number of a token; an error when there is none.
  int64_t id(const std::string& token, Where at = Where::current()) const {
    const auto found = ids.find(token);
    if (found == ids.end())
      fail("Vocabulary", "no such token", {{"token", token}}, "one of " + std::to_string(size()) + " tokens", at);
    return found->second;
  }
  bool is_special(int64_t id) const {
    return std::any_of(special.begin(), special.end(), [&](const auto& s) { return s.second == id; });
  }
  void add_special(std::string text, int64_t id) {
    special.emplace_back(std::move(text), id);
    std::stable_sort(special.begin(), special.end(),
                     [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  }
  const std::string& at(int64_t id, Where where) const {
    if (id < 0 || id >= size())
      fail("decode", "no such token", {{"id", std::to_string(id)}}, "a number in [0, " + std::to_string(size()) + ")", where);
    return tokens[static_cast<std::size_t>(id)];
  }
  /// Calls text(part) for what lies between special tokens and token(id) for those.
  template <class F, class G>
  void split(std::string_view s, bool with_special, F text, G token) const {
    std::size_t begin = 0;
    for (std::size_t i = 0; with_special && i < s.size();) {
      const auto hit = std::find_if(special.begin(), special.end(),
                                    [&](const auto& t) { return !t.first.empty() && s.substr(i).starts_with(t.first); });
      if (hit == special.end()) {
        ++i;
        continue;
      }
      if (i > begin) text(s.substr(begin, i - begin));
      token(hit->second);
      begin = i += hit->first.size();
    }
    if (begin < s.size()) text(s.substr(begin));
  }
};
inline Vocabulary vocabulary(std::vector<std::string> tokens, Where at = Where::current()) {
  Vocabulary v;
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if (!v.ids.emplace(tokens[i], static_cast<int64_t>(i)).second)
      fail("vocabulary", "a token occurs twice", {{"token", tokens[i]}, {"id", std::to_string(i)}}, "different tokens", at);
  v.tokens = std::move(tokens);
  return v;
}

/// Byte-level BPE.
class BpeTokenizer {
 public:
  /// `merges` in order of preference, as pairs of tokens in GPT-2's alphabet, where a blank is U+0120 and so on.
  BpeTokenizer(Vocabulary v, const std::vector<std::pair<std::string, std::string>>& merges, bool single_digits = false,
               Where at = Where::current())
      : vocabulary_(std::move(v)), single_digits_(single_digits) {
    for (int b = 0, extra = 256; b < 256; ++b) {  // printable bytes stand for themselves, others for U+0100 and on
      const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      const auto c = static_cast<uint32_t>(printable ? b : extra++);
      std::string s;
      unicode::append(s, c);
      byte_of_[c] = static_cast<uint8_t>(b);
      const auto found = vocabulary_.ids.find(s);
      byte_id_[b] = found == vocabulary_.ids.end() ? -1 : found->second;
    }
    int64_t rank = 0;
    for (const auto& [a, b] : merges) {
      const auto known = [&](const std::string& t) {
        const auto found = vocabulary_.ids.find(t);
        if (found == vocabulary_.ids.end())
          fail("BpeTokenizer", "a merge makes or joins a token that is not in the vocabulary",
               {{"merge", std::to_string(rank) + ": " + a + " " + b}, {"token", t}}, "tokens of the vocabulary", at);
        return found->second;
      };
      const auto left = known(a), right = known(b);
      merges_.emplace(key(left, right), std::pair(rank, known(a + b)));
      ++rank;
    }
  }
  /// From the metadata of a model: "tokenizer.ggml.tokens", "merges", "token_type" (3: control) and "pre".
  static BpeTokenizer from_gguf(const io::GgufFile& f, Where at = Where::current()) {
    if (const auto& model = f.get<std::string>("tokenizer.ggml.model", at); model != "gpt2")
      fail("BpeTokenizer", "a tokenizer of another kind", {{"file", f.path()}, {"tokenizer.ggml.model", model}}, "gpt2", at);
    const std::string pre = f.has("tokenizer.ggml.pre") ? f.get<std::string>("tokenizer.ggml.pre", at) : "gpt-2";
    if (pre != "gpt-2" && pre != "smollm" && pre != "default")
      fail("BpeTokenizer", "pieces are cut by another pattern", {{"file", f.path()}, {"tokenizer.ggml.pre", pre}},
           "gpt-2 or smollm", at);
    Vocabulary v = vocabulary(f.get<std::vector<std::string>>("tokenizer.ggml.tokens", at), at);
    if (f.has("tokenizer.ggml.token_type")) {
      const auto& types = f.get<std::vector<int64_t>>("tokenizer.ggml.token_type", at);
      for (std::size_t i = 0; i < std::min(types.size(), v.tokens.size()); ++i)
        if (types[i] == 3) v.special.emplace_back(v.tokens[i], static_cast<int64_t>(i));
      std::stable_sort(v.special.begin(), v.special.end(),
                       [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
    }
    std::vector<std::pair<std::string, std::string>> merges;
    for (const auto& m : f.get<std::vector<std::string>>("tokenizer.ggml.merges", at)) {
      const auto blank = m.find(' ', 1);
      if (blank == m.npos)
        fail("BpeTokenizer", "a merge without a blank", {{"file", f.path()}, {"merge", m}}, "two tokens", at);
      merges.emplace_back(m.substr(0, blank), m.substr(blank + 1));
    }
    return BpeTokenizer(std::move(v), merges, pre == "smollm", at);
  }

  const Vocabulary& vocabulary_of() const { return vocabulary_; }

  /// Tokens of a text. Special tokens in it are found, or, without `special`, spelt out like any text (what users type).
  std::vector<int64_t> encode(std::string_view text, bool special = true, Where at = Where::current()) const {
    std::vector<int64_t> out;
    vocabulary_.split(
        text, special,
        [&](std::string_view part) {
          for (const std::string_view piece : gpt2_pieces(part, single_digits_)) encode_piece(piece, out, at);
        },
        [&](int64_t id) { out.push_back(id); });
    return out;
  }
  /// The text of tokens; bytes that are no whole character (in the middle of a generated one) come as they are.
  std::string decode(std::span<const int64_t> ids, bool special = true, Where at = Where::current()) const {
    std::string out;
    for (const int64_t id : ids) {
      const std::string& t = vocabulary_.at(id, at);
      if (vocabulary_.is_special(id)) {
        if (special) out += t;
        continue;
      }
      for (std::size_t i = 0; i < t.size();) {
        const uint32_t c = unicode::next(t, i);
        const auto byte = byte_of_.find(c);
        if (byte != byte_of_.end()) out += static_cast<char>(byte->second);
        else unicode::append(out, c);
      }
    }
    return out;
  }

 private:
  static uint64_t key(int64_t a, int64_t b) { return static_cast<uint64_t>(a) << 32 | static_cast<uint64_t>(b); }
  void encode_piece(std::string_view piece, std::vector<int64_t>& out, Where at) const {
    std::vector<int64_t> t;
    for (const char c : piece) {
      t.push_back(byte_id_[static_cast<uint8_t>(c)]);
      if (t.back() < 0)
        fail("encode", "a byte that the vocabulary has not", {{"byte", std::to_string(static_cast<uint8_t>(c))}},
             "a vocabulary of all bytes", at);
    }
    while (t.size() > 1) {
      std::pair<int64_t, int64_t> best{std::numeric_limits<int64_t>::max(), 0};
      std::size_t where = 0;
      for (std::size_t i = 0; i + 1 < t.size(); ++i)
        if (const auto m = merges_.find(key(t[i], t[i + 1])); m != merges_.end() && m->second.first < best.first)
          best = m->second, where = i;
      if (best.first == std::numeric_limits<int64_t>::max()) break;
      t[where] = best.second;
      t.erase(t.begin() + static_cast<std::ptrdiff_t>(where) + 1);
    }
    out.insert(out.end(), t.begin(), t.end());
  }

  Vocabulary vocabulary_;
  bool single_digits_;
  int64_t byte_id_[256];
  std::unordered_map<uint32_t, uint8_t> byte_of_;
  std::unordered_map<uint64_t, std::pair<int64_t, int64_t>> merges_;  // pair: rank and what it becomes
};

/// WordPiece with BERT's normalisation. [CLS] and [SEP] are put around a text.
class WordPieceTokenizer {
 public:
  explicit WordPieceTokenizer(Vocabulary v, bool lower_case = true, Where at = Where::current())
      : vocabulary_(std::move(v)), lower_case_(lower_case) {
    unknown_ = vocabulary_.id("[UNK]", at), cls_ = vocabulary_.id("[CLS]", at), sep_ = vocabulary_.id("[SEP]", at);
    if (vocabulary_.special.empty())
      for (const char* t : {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"})
        if (const auto found = vocabulary_.ids.find(t); found != vocabulary_.ids.end())
          vocabulary_.add_special(t, found->second);
  }
  /// vocab.txt: a token a line, numbered from 0.
  static WordPieceTokenizer from_vocab(const std::filesystem::path& path, bool lower_case = true, Where at = Where::current()) {
    const std::string s = io::read_text(path, at);
    std::vector<std::string> tokens;
    for (std::size_t i = 0; i < s.size();) {
      std::size_t end = s.find('\n', i);
      if (end == s.npos) end = s.size();
      tokens.push_back(s.substr(i, end - i - (end > i && s[end - 1] == '\r')));
      i = end + 1;
    }
    return WordPieceTokenizer(vocabulary(std::move(tokens), at), lower_case, at);
  }

  const Vocabulary& vocabulary_of() const { return vocabulary_; }

  /// [CLS], the text, [SEP]; without `special` the text alone, in which "[CLS]" is found all the same.
  std::vector<int64_t> encode(std::string_view text, bool special = true) const {
    std::vector<int64_t> out;
    if (special) out.push_back(cls_);
    vocabulary_.split(
        text, true, [&](std::string_view part) { words(normalise(part), out); }, [&](int64_t id) { out.push_back(id); });
    if (special) out.push_back(sep_);
    return out;
  }
  /// Words with blanks between them, none before punctuation as English has it; accents and capitals are gone.
  std::string decode(std::span<const int64_t> ids, bool special = false, Where at = Where::current()) const {
    std::string out;
    bool first = true;
    for (const int64_t id : ids) {
      std::string t = vocabulary_.at(id, at);
      if (!special && vocabulary_.is_special(id)) continue;
      if (!first) t = t.starts_with("##") ? t.substr(2) : " " + t;
      first = false;
      for (const auto& [from, to] : {std::pair(" .", "."),
                                     {" ?", "?"},
                                     {" !", "!"},
                                     {" ,", ","},
                                     {" ' ", "'"},
                                     {" n't", "n't"},
                                     {" 'm", "'m"},
                                     {" 's", "'s"},
                                     {" 've", "'ve"},
                                     {" 're", "'re"}})
        for (std::size_t i; (i = t.find(from)) != t.npos;) t.replace(i, std::string_view(from).size(), to);
      out += t;
    }
    return out;
  }

 private:
  std::u32string normalise(std::string_view text) const {
    using namespace unicode;
    std::u32string out;
    const auto put = [&](uint32_t c) {
      if (lower_case_ && in(kMarks, c)) return;
      out += static_cast<char32_t>(lower_case_ ? lower(c) : c);
    };
    for (std::size_t i = 0; i < text.size();) {
      const uint32_t c = next(text, i);
      if (is_space(c)) {
        out += U' ';
        continue;
      }
      if (c == 0 || c == 0xfffd || in(kControls, c)) continue;
      const bool ideograph = (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2ceaf) ||
                             (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
      if (ideograph) out += U' ';
      const auto s = std::lower_bound(std::begin(kStripped), std::end(kStripped), c,
                                      [](const Stripped& x, uint32_t v) { return x.from < v; });
      if (lower_case_ && c >= 0xac00 && c <= 0xd7a3) {  // Hangul, Unicode section 3.12
        const uint32_t n = c - 0xac00;
        put(0x1100 + n / 588), put(0x1161 + n % 588 / 28);
        if (n % 28) put(0x11a7 + n % 28);
      } else if (lower_case_ && s != std::end(kStripped) && s->from == c) {
        for (const uint32_t d : s->to)
          if (d) put(d);
      } else {
        put(c);
      }
      if (ideograph) out += U' ';
    }
    return out;
  }
  void words(const std::u32string& s, std::vector<int64_t>& out) const {
    const auto punctuation = [](uint32_t c) {
      return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126) ||
             unicode::in(unicode::kPunctuation, c);
    };
    for (std::size_t i = 0; i < s.size();) {
      if (s[i] == U' ') {
        ++i;
        continue;
      }
      const std::size_t begin = i++;
      if (!punctuation(s[begin]))
        while (i < s.size() && s[i] != U' ' && !punctuation(s[i])) ++i;
      word(std::u32string_view(s).substr(begin, i - begin), out);
    }
  }
  void word(std::u32string_view w, std::vector<int64_t>& out) const {
    const std::size_t before = out.size();
    for (std::size_t i = 0; i < w.size() && w.size() <= 100;) {
      std::size_t n = w.size() - i;
      for (; n > 0; --n) {
        std::string piece = i > 0 ? "##" : "";
        for (const char32_t c : w.substr(i, n)) unicode::append(piece, c);
        if (const auto found = vocabulary_.ids.find(piece); found != vocabulary_.ids.end()) {
          out.push_back(found->second);
          break;
        }
      }
      if (n == 0) {
        out.resize(before);
        break;
      }
      i += n;
    }
    if (out.size() == before) out.push_back(unknown_);
  }

  Vocabulary vocabulary_;
  bool lower_case_;
  int64_t unknown_ = 0, cls_ = 0, sep_ = 0;
};

}  // namespace gradus::data
