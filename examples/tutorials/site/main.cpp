// Pages from tutorials: tutorial_site SOURCE.cpp PROGRAM FOLDER [--write]
//
// Runs PROGRAM FOLDER, compares what it prints with the lines of SOURCE that begin with //> and writes FOLDER/<name>.html:
//
//   //| prose: paragraphs, # headings, - lists, `code`, **bold**, [text](link), ![caption](picture that the program wrote)
//   //> a line that the program prints here
//   everything else is code
//
// A difference is an error, so a page shows what the program does. A program that lacks a file exits with 77: no page, and 77
// again. What differs from run to run (times) goes to the standard error. --write puts what was printed into SOURCE instead.
//
// tutorial_site --index FOLDER PAGE...: FOLDER/index.html with a link to each page.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include <sys/wait.h>

#include <gradus/app/svg.hpp>
#include <gradus/io/base64.hpp>

namespace {
namespace fs = std::filesystem;
using Lines = std::vector<std::string>;

Lines lines_of(std::istream& in) {
  Lines lines;
  for (std::string s; std::getline(in, s);) lines.push_back(s);
  return lines;
}
std::string bytes_of(const fs::path& p) {
  std::ostringstream s;
  s << std::ifstream(p, std::ios::binary).rdbuf();
  return s.str();
}
bool begins(const std::string& s, const char* with) { return s.rfind(with, 0) == 0; }

struct Piece {
  enum Kind { prose, code, output } kind;
  Lines lines;
};
std::string without_indent(const std::string& s) { return s.substr(std::min(s.find_first_not_of(' '), s.size())); }
/// The text after //| or //>, and which it is.
bool marked(const std::string& line, Piece::Kind& kind, std::string& text) {
  const std::string s = without_indent(line);
  if (!begins(s, "//|") && !begins(s, "//>")) return false;
  kind = s[2] == '|' ? Piece::prose : Piece::output;
  text = s.size() > 4 ? s.substr(4) : "";
  return true;
}
std::vector<Piece> pieces_of(const Lines& source) {
  std::vector<Piece> pieces;
  for (const std::string& line : source) {
    Piece::Kind kind = Piece::code;
    std::string text = line;
    marked(line, kind, text);
    if (pieces.empty() || pieces.back().kind != kind) pieces.push_back({kind, {}});
    pieces.back().lines.push_back(text);
  }
  return pieces;
}

const fs::path* folder = nullptr;                // where the pictures are

std::string inline_markup(const std::string& text) {
  std::string s = gradus::app::escape_html(text);
  s = std::regex_replace(s, std::regex("`([^`]+)`"), "<code>$1</code>");
  s = std::regex_replace(s, std::regex("\\*\\*([^*]+)\\*\\*"), "<b>$1</b>");
  return std::regex_replace(s, std::regex("\\[([^\\]]+)\\]\\(([^)]+)\\)"), "<a href=\"$2\">$1</a>");
}
std::string picture(const std::string& caption, const std::string& file) {
  const fs::path p = *folder / file;
  if (!fs::exists(p)) throw std::runtime_error("the program did not write " + file);
  const std::string bytes = bytes_of(p);
  std::string s = "<figure>";
  if (p.extension() == ".svg") s += bytes.substr(bytes.find("<svg"));
  else s += "<img src=\"data:image/png;base64," + gradus::io::base64({reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()}) + "\" alt=\"" + gradus::app::escape_html(caption) + "\">";
  return s + "<figcaption>" + inline_markup(caption) + "</figcaption></figure>\n";
}
std::string prose(const Lines& lines) {
  std::string s, paragraph;
  bool list = false;
  const auto end = [&] {
    if (!paragraph.empty()) s += "<p>" + inline_markup(paragraph) + "</p>\n";
    paragraph.clear();
  };
  for (const std::string& line : lines) {
    std::smatch m;
    const bool item = begins(line, "- ");
    if (!item && list && !begins(line, "  ")) s += "</li></ul>\n", list = false;
    if (line.empty()) end();
    else if (std::regex_match(line, m, std::regex("(#+) (.*)"))) end(), s += "<h" + std::to_string(m[1].length()) + ">" + inline_markup(m[2]) + "</h" + std::to_string(m[1].length()) + ">\n";
    else if (std::regex_match(line, m, std::regex("!\\[(.*)\\]\\((.*)\\)"))) end(), s += picture(m[1], m[2]);
    else if (item) end(), s += std::string(list ? "</li>" : "<ul>") + "<li>" + inline_markup(line.substr(2)), list = true;
    else if (list) s += " " + inline_markup(without_indent(line));
    else paragraph += (paragraph.empty() ? "" : " ") + line;
  }
  end();
  return s + (list ? "</li></ul>\n" : "");
}
std::string code(Lines lines) {
  while (!lines.empty() && without_indent(lines.front()).empty()) lines.erase(lines.begin());
  while (!lines.empty() && without_indent(lines.back()).empty()) lines.pop_back();
  if (lines.empty()) return "";
  std::size_t indent = 99;
  for (const std::string& line : lines)
    if (!without_indent(line).empty()) indent = std::min(indent, line.size() - without_indent(line).size());
  for (std::string& line : lines) line.erase(0, std::min(indent, line.size()));
  std::string s;
  static const std::regex words("\\b(auto|const|int|double|float|bool|void|struct|template|class|return|for|if|else|using|namespace|include|static|constexpr|typename|override|final|true|false)\\b(?![^<]*>)");
  for (const std::string& line : lines) {
    const auto comment = line.find("//");
    std::string left = gradus::app::escape_html(line.substr(0, comment));
    left = std::regex_replace(left, words, "<b>$1</b>");
    s += left + (comment == line.npos ? "" : "<i>" + gradus::app::escape_html(line.substr(comment)) + "</i>") + "\n";
  }
  return "<pre class=\"code\">" + s + "</pre>\n";
}

constexpr const char* kStyle = R"(
:root { --bg:#fff; --soft:#f4f6f8; --ink:#1d2733; --muted:#5d6b7a; --line:#d9dfe5; --accent:#2a6fc9; --key:#8a3a9b; --out:#16704f; }
@media (prefers-color-scheme: dark) { :root { --bg:#12171d; --soft:#1d252d; --ink:#e4e9ee; --muted:#9aa8b6; --line:#35414d; --accent:#6ea8ef; --key:#d79ae6; --out:#5cc9a0; } }
body { margin: 0; background: var(--bg); color: var(--ink); font: 17px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 36px 24px 60px; }
h1 { font-size: 32px; line-height: 1.2; margin: 0 0 12px; } h2 { font-size: 22px; margin: 38px 0 8px; }
a { color: var(--accent); } p { max-width: 72ch; }
code { background: var(--soft); border-radius: 4px; padding: 1px 5px; font-size: 90%; }
pre { font: 14px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; padding: 12px 16px; border-radius: 8px; overflow-x: auto; margin: 10px 0; }
pre.code { background: var(--soft); } pre.code b { color: var(--key); font-weight: 600; } pre.code i { color: var(--muted); }
pre.out { border-left: 4px solid var(--out); color: var(--out); margin-top: -4px; border-radius: 0 8px 8px 0; }
figure { margin: 16px 0; } figure svg, figure img { max-width: 100%; height: auto; } figcaption { color: var(--muted); font-size: 14px; }
table { border-collapse: collapse; } td, th { text-align: left; padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); }
footer { margin-top: 40px; padding-top: 10px; border-top: 1px solid var(--line); color: var(--muted); font-size: 14px; }
)";
std::string page(const std::string& title, const std::string& body) {
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>" +
         gradus::app::escape_html(title) + "</title><style>" + kStyle + "</style></head><body><main>\n" + body + "</main></body></html>\n";
}
std::string title_of(const Lines& source) {
  for (const std::string& line : source)
    if (begins(line, "//| # ")) return line.substr(6);
  throw std::runtime_error("no title: a line that begins with //| #");
}

int index(const fs::path& out, const std::vector<std::string>& sources) {
  std::string list = "<h1>gradus</h1><p>Tensors and automatic differentiation in C++20: a header to include, gradients to step through.</p>\n<h2>Tutorials</h2><ol style=\"list-style:none;padding:0\">\n";
  for (const std::string& s : sources) {
    std::ifstream in(s);
    list += "<li><a href=\"" + fs::path(s).stem().string() + ".html\">" + fs::path(s).stem().string().substr(0, 2) + " &nbsp;" + inline_markup(title_of(lines_of(in))) + "</a></li>\n";
  }
  list += "</ol>\n";
  if (fs::exists(out / "api" / "index.html")) list += "<h2>Reference</h2><p><a href=\"api/index.html\">All public headers</a></p>\n";
  std::ofstream(out / "index.html") << page("gradus", list);
  return 0;
}

int tutorial(const fs::path& source_file, const std::string& program, const fs::path& out, bool write) {
  fs::create_directories(out);
  folder = &out;
  std::ifstream in(source_file);
  const Lines source = lines_of(in);
  if (source.empty()) throw std::runtime_error("cannot read " + source_file.string());

  FILE* pipe = ::popen(("'" + program + "' '" + out.string() + "'").c_str(), "r");
  if (!pipe) throw std::runtime_error("cannot run " + program);
  std::string text;
  for (int c; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  if (const int status = ::pclose(pipe)) {
    std::cout << text;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {   // ctest's number for "skipped": the program said what it lacks
      std::cout << "not run, and no page\n";
      return 77;
    }
    throw std::runtime_error(program + " failed, status " + std::to_string(status));
  }
  std::istringstream stream(text);
  const Lines printed = lines_of(stream);

  const std::vector<Piece> pieces = pieces_of(source);
  Lines expected;
  for (const Piece& p : pieces)
    if (p.kind == Piece::output) expected.insert(expected.end(), p.lines.begin(), p.lines.end());
  if (write) {
    Lines fresh;
    std::size_t used = 0;
    const std::regex marker(".*//> @(\\d+)");
    for (const std::string& line : source) {
      std::smatch m;
      if (std::regex_match(line, m, marker)) {         // "//> @3": three printed lines go here
        const std::string indent = line.substr(0, line.find("//>"));
        for (int k = std::stoi(m[1]); k-- > 0 && used < printed.size();) fresh.push_back(indent + "//> " + printed[used++]);
        continue;
      }
      Piece::Kind kind;
      std::string t;
      if (marked(line, kind, t) && kind == Piece::output && used < printed.size()) fresh.push_back(line.substr(0, line.find("//>")) + "//> " + printed[used++]);
      else fresh.push_back(line);
    }
    std::ofstream o(source_file);
    for (const std::string& line : fresh) o << line << "\n";
    if (used != printed.size()) {
      std::cout << "lines that have no //> yet:\n";
      for (; used < printed.size(); ++used) std::cout << printed[used] << "\n";
    }
    return 0;
  }
  for (std::size_t k = 0; k < std::max(expected.size(), printed.size()); ++k) {
    const std::string e = k < expected.size() ? expected[k] : "(nothing)", p = k < printed.size() ? printed[k] : "(nothing)";
    if (e == p) continue;
    std::cout << "line " << k + 1 << " of the output differs\n  " << source_file.filename().string() << " says: " << e << "\n  printed:  " << p << "\n";
    return 1;
  }

  std::string body;
  for (const Piece& p : pieces) {
    if (p.kind == Piece::prose) body += prose(p.lines);
    else if (p.kind == Piece::code) body += code(p.lines);
    else {
      body += "<pre class=\"out\">";
      for (const std::string& s : p.lines) body += gradus::app::escape_html(s) + "\n";
      body += "</pre>\n";
    }
  }
  body += "<footer>This page is made from <code>examples/tutorials/" + source_file.filename().string() + "</code>, and the output in it is what that program prints.</footer>\n";
  std::ofstream o(out / (source_file.stem().string() + ".html"));
  o << page(title_of(source), body);
  return o ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> a(argv + 1, argv + argc);
  try {
    if (a.size() >= 2 && a[0] == "--index") return index(a[1], {a.begin() + 2, a.end()});
    if (a.size() == 3 || (a.size() == 4 && a[3] == "--write")) return tutorial(a[0], a[1], a[2], a.size() == 4);
  } catch (const std::exception& e) {
    std::cerr << "tutorial_site: " << e.what() << "\n";
    return 1;
  }
  std::cerr << "usage: tutorial_site SOURCE.cpp PROGRAM FOLDER [--write] | --index FOLDER SOURCE.cpp...\n";
  return 2;
}
