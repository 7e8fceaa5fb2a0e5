#include <fstream>

#include <gradus/io/conllu.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;
using io::ConlluToken;

namespace {
std::vector<io::ConlluSentence> parse(const std::string& s, io::ConlluOptions o = {}) {
  TempDir dir;
  std::ofstream(dir / "t.conllu", std::ios::binary) << s;
  return io::read_conllu(dir / "t.conllu", o);
}
template <class F>
std::string lacks(F&& f, const std::vector<std::string>& parts) {
  return check::missing(check::error_of(f), parts);
}
/// "1 2" is word 1 with head 2.
std::string sentence(const std::vector<std::string>& rows) {
  std::string s;
  for (const auto& r : rows) {
    const auto blank = r.find(' ');
    s += r.substr(0, blank) + "\tw\t_\t_\t_\t_\t" + r.substr(blank + 1) + "\t_\t_\t_\n";
  }
  return s + "\n";
}
const std::string spanish =
    "# sent_id = panc0.s4\n# text = Vámonos al mar\n"
    "1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "1\tVamos\tir\tVERB\t_\tMood=Imp|Number=Plur\t0\troot\t0:root\tGloss=let's go\n"
    "2\tnos\tnosotros\tPRON\t_\tCase=Acc|PronType=Prs\t1\tobj\t_\t_\n"
    "3-4\tal\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No\n"
    "3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_\n"
    "4\tel\tel\tDET\t_\tDefinite=Def\t5\tdet\t_\t_\n"
    "5\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\t_\n"
    "5.1\tx\t_\t_\t_\t_\t_\t_\t1:dep\t_\n\n";
}  // namespace

TEST_CASE("conllu: words, multiword tokens, empty nodes, comments, features", "[io]") {
  const auto all = parse(spanish + "\n" + sentence({"1 0"}));
  REQUIRE(all.size() == 2);
  const auto& s = all[0];
  CHECK(s.sent_id() == "panc0.s4");
  CHECK(s.text() == "Vámonos al mar");
  CHECK(s.comment("sent") == "");
  CHECK(s.forms() == std::vector<std::string>{"Vamos", "nos", "a", "el", "mar"});
  CHECK(s.heads() == std::vector<int64_t>{0, 1, 5, 5, 1});
  CHECK(s.column(&ConlluToken::upos) == std::vector<std::string>{"VERB", "PRON", "ADP", "DET", "NOUN"});
  CHECK(s.tokens[0].kind == io::ConlluKind::multiword);
  CHECK(s.tokens[0].last == 2);
  CHECK(s.tokens[1].feature("Number") == "Plur");
  CHECK(s.tokens[1].feature("Num") == "");
  CHECK(s.tokens[1].feature("Gloss", &ConlluToken::misc) == "let's go");
  CHECK(s.tokens[7].kind == io::ConlluKind::empty);
  CHECK(s.tokens[7].id_text() == "5.1");
  CHECK(s.line == 3);
  CHECK(s.str() == spanish);
  CHECK(all[1].line == 13);
  CHECK(parse("").empty());
}

TEST_CASE("conllu: carriage returns, a byte order mark, files without syntax", "[io]") {
  std::string dos = "\xef\xbb\xbf";
  for (const char c : spanish) dos += c == '\n' ? "\r\n" : std::string(1, c);
  CHECK(parse(dos)[0].str() == spanish);
  const std::string bare = sentence({"1 _", "2 _"});
  CHECK(parse(bare, {.tree = false})[0].str() == bare);
  CHECK(lacks([&] { parse(bare); }, {"a word without a HEAD", "line      1", "ConlluOptions::tree"}) == "");
}

TEST_CASE("conllu: errors name file, line, column, found, expected", "[io]") {
  CHECK(lacks([] { parse("1\tw\t_\n\n"); }, {"t.conllu", "line      1", "a line of 3 fields", "ten fields"}) == "");
  CHECK(lacks([] { parse("1\t\t_\t_\t_\t_\t0\t_\t_\t_\n\n"); }, {"an empty FORM", "column    3"}) == "");
  CHECK(lacks([] { parse(sentence({"1 0", "3 1"})); }, {"line      2", "word 3 out of order", "word 2"}) == "");
  CHECK(lacks([] { parse(sentence({"x 0"})); }, {"an ID that is none", "1, 1-2 or 1.1"}) == "");
  CHECK(lacks([] { parse(sentence({"1 0", "1-2 _", "2 1"})); }, {"a multiword token out of place"}) == "");
  CHECK(lacks([] { parse(sentence({"1-3 _", "1 0", "2 1"})); }, {"beyond the sentence", "words up to 3"}) == "");
  CHECK(lacks([] { parse(sentence({"1 0", "1.2 _"})); }, {"an empty node out of order", "1.1"}) == "");
  CHECK(lacks([] { parse(sentence({"1 0", "1.1 1"})); }, {"a HEAD that is none", "only words have heads"}) == "");
  CHECK(lacks([] { parse(sentence({"1 a"})); }, {"a HEAD that is none", "column    13"}) == "");
  CHECK(lacks([] { parse(sentence({"1 0", "2 3"})); }, {"line      2", "HEAD 3 does not exist", "0 to 2", "2 w"}) == "");
  CHECK(lacks([] { parse(sentence({"1 0", "2 0"})); }, {"line      2", "a second root"}) == "");
  CHECK(lacks([] { parse(sentence({"1 0", "2 3", "3 4", "4 2"})); }, {"a cycle of heads", "2 w"}) == "");
  CHECK(lacks([] { parse(sentence({"1 1"})); }, {"a cycle of heads"}) == "");
  CHECK(lacks([] { parse("# a\n\n"); }, {"comments without a sentence"}) == "");
  CHECK(lacks([] { parse("1\tw\t_\t_\t_\t_\t0\t_\t_\t_\n# a\n\n"); }, {"line      2", "a comment inside a sentence"}) == "");
  CHECK(lacks([] { parse("1\tw\t_\t_\t_\t_\t0\t_\t_\t_\n"); }, {"ends inside a sentence", "an empty line"}) == "");
}

TEST_CASE("conllu: cut and changed files give an error or sentences, never a crash", "[io]") {
  int errors = 0, read = 0;
  const auto attempt = [&](const std::string& s) {
    try {
      for (const auto& x : parse(s)) x.str();
      ++read;
    } catch (const Error&) {
      ++errors;
    }
  };
  for (std::size_t n = 0; n < spanish.size(); ++n) attempt(spanish.substr(0, n));
  for (std::size_t i = 0; i < spanish.size(); ++i)
    for (const char c : {'\0', '\t', '\n', '-', '.', '9', '#', '\xff'}) {
      std::string s = spanish;
      s[i] = c;
      attempt(s);
    }
  CHECK(errors > 500);
  CHECK(read > 500);
}
