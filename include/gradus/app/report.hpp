// OUT/report.html: one page that holds everything it shows, opened from disk, readable in light and dark.
//
//   app::Report r("Multi-Sample Dropout");
//   r.citation("H. Inoue, 2019", "https://arxiv.org/abs/1905.09788").claim("Several dropout masks a step train faster.");
//   r.key("test error, M = 8", "16.2 %", "M = 1: 17.4 %");
//   r.table(m.table(), "Mean ± standard deviation over 3 seeds");
//   r.plot(curve, "loss").images(mistakes, "mistakes").plot(confusion_matrix(counts, names), "confusion");
//   r.run(m, args.command).write(args.out);      // also loss.svg, mistakes.png, confusion.svg
#pragma once
#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gradus/app/image_grid.hpp>
#include <gradus/app/metrics.hpp>
#include <gradus/app/plot.hpp>
#include <gradus/app/svg.hpp>
#include <gradus/app/table.hpp>
#include <gradus/io/base64.hpp>
#include <gradus/io/file.hpp>

namespace gradus::app {

namespace detail {
inline constexpr const char* kPageStyle = R"(
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); line-height: 1.55; font-size: 16px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 28px 24px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -.01em; }
h2 { font-size: 20px; margin: 40px 0 12px; padding-bottom: 6px; border-bottom: 1px solid var(--line); }
p { margin: 10px 0; max-width: 75ch; }
a { color: var(--accent); }
.citation { color: var(--muted); margin: 0; }
.claim { margin: 18px 0 0; padding: 12px 18px; border-left: 4px solid var(--accent); background: var(--soft);
  border-radius: 0 8px 8px 0; max-width: none; }
.claim b { display: block; font-size: 12px; text-transform: uppercase; letter-spacing: .06em; color: var(--muted); }
.keys { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 14px; margin: 22px 0; }
.key { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 18px; }
.key .label { color: var(--muted); font-size: 14px; }
.key .value { font-size: 27px; font-weight: 600; line-height: 1.3; font-variant-numeric: tabular-nums; }
.key .note { color: var(--muted); font-size: 13px; }
.wide { overflow-x: auto; margin: 16px 0; }
table { border-collapse: collapse; font-size: 15px; font-variant-numeric: tabular-nums; }
caption { caption-side: top; text-align: left; color: var(--muted); font-size: 14px; padding: 0 0 8px; }
th, td { padding: 7px 16px 7px 10px; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-size: 13px; color: var(--muted); font-weight: 600; border-bottom: 2px solid var(--line); }
td.number, th.number { text-align: right; }
tbody tr:hover { background: var(--soft); }
td.name { white-space: normal; }
.pill { display: inline-block; padding: 1px 12px; border-radius: 99px; font-size: 13px; font-weight: 600; }
.pill.good { color: var(--good); background: var(--goodbg); }
.pill.bad { color: var(--bad); background: var(--badbg); }
.figures { display: flex; flex-wrap: wrap; gap: 18px; margin: 16px 0; }
.figures > figure { flex: 1 1 460px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 8px;
  min-width: 0; }
figure svg { display: block; width: 100%; height: auto; max-height: 640px; }
figure > figcaption { color: var(--muted); font-size: 14px; padding: 4px 10px 6px; }
.pictures { padding: 14px 18px; margin: 16px 0; overflow-x: auto; }
.pictures h3 { font-size: 15px; margin: 0 0 12px; }
.pictures > figcaption { padding: 10px 0 0; }
.grid { display: grid; gap: 14px 10px; justify-content: start; justify-items: center; align-items: start; }
.grid div { text-align: center; font-size: 12px; line-height: 1.3; color: var(--muted); max-width: 130px;
  overflow-wrap: anywhere; white-space: pre-line; }
.grid .head { align-self: end; font-weight: 600; }
.grid .side { align-self: center; justify-self: end; text-align: right; font-weight: 600; padding-right: 6px; }
.grid img { display: block; margin: 0 auto 5px; border-radius: 4px; outline: 1px solid var(--line); }
.grid img.sharp { image-rendering: pixelated; }
.grid img.good { outline: 2px solid var(--good); }
.grid img.bad { outline: 2px solid var(--bad); }
footer { margin-top: 44px; padding-top: 14px; border-top: 1px solid var(--line); color: var(--muted); font-size: 13px; }
footer code { display: block; white-space: pre-wrap; overflow-wrap: anywhere; background: var(--soft); color: var(--ink);
  padding: 10px 14px; border-radius: 8px; font-size: 13px; }
footer dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 12px 0; }
footer dt { font-weight: 600; } footer dd { margin: 0; overflow-wrap: anywhere; }
@media print { main { padding: 0; max-width: none; } h2 { break-after: avoid;
  } figure, .wide, .key { break-inside: avoid; } })";
}  // namespace detail

class Report {
 public:
  explicit Report(std::string title) : title_(std::move(title)) {}

  /// Authors, year, venue; an http(s) address becomes a link.
  Report& citation(std::string_view text, std::string_view url = {}) {
    const bool link = url.rfind("https://", 0) == 0 || url.rfind("http://", 0) == 0;
    top_ += "<p class=\"citation\">" + escape_html(text);
    if (link) top_ += " · <a href=\"" + escape_html(url) + "\">" + escape_html(url) + "</a>";
    else if (!url.empty()) top_ += " · " + escape_html(url);
    top_ += "</p>\n";
    return *this;
  }
  /// What the paper says that this run tries to show.
  Report& claim(std::string_view text) {
    top_ += "<p class=\"claim\"><b>Claim</b>" + escape_html(text) + "</p>\n";
    return *this;
  }
  /// A large figure at the top of the page.
  Report& key(std::string_view label, std::string_view value, std::string_view note = {}) {
    keys_ += "<div class=\"key\"><div class=\"label\">" + escape_html(label) + "</div><div class=\"value\">" +
             escape_html(value) + "</div><div class=\"note\">" + escape_html(note) + "</div></div>\n";
    return *this;
  }
  Report& heading(std::string_view text) { return block("<h2>" + escape_html(text) + "</h2>\n"); }
  /// A paragraph; an empty line begins another.
  Report& text(std::string_view s) {
    std::string html;
    for (std::size_t b = 0; b < s.size();) {
      const std::size_t e = std::min(s.find("\n\n", b), s.size());
      html += "<p>" + escape_html(s.substr(b, e - b)) + "</p>\n";
      b = e + 2;
    }
    return block(html);
  }
  Report& table(const Table& t, std::string_view caption = {}) { return block(table_html(t, caption)); }

  /// A Plot, Bars or Heatmap; also written as OUT/<file>.svg. Drawings that follow each other share a row.
  template <class Drawing>
  Report& plot(const Drawing& drawing, std::string_view file) {
    if (!in_figures_) body_ += "<div class=\"figures\">\n";
    in_figures_ = true;
    body_ += "<figure>\n" + drawing.svg();
    if (!drawing.note.empty()) body_ += "<figcaption>" + escape_html(drawing.note) + "</figcaption>\n";
    body_ += "</figure>\n";
    const std::string svg = drawing.svg(true);
    files_.emplace_back(safe_name(file) + ".svg", std::vector<uint8_t>(svg.begin(), svg.end()));
    return *this;
  }
  /// Pictures with captions; all of them together are also written as OUT/<file>.png.
  Report& images(const ImageGrid& grid, std::string_view file) {
    std::string html = "<figure class=\"pictures\">\n";
    if (!grid.title.empty()) html += "<h3>" + escape_html(grid.title) + "</h3>\n";
    const std::size_t columns = std::max<std::size_t>(1, std::min(grid.columns, grid.items.size()));
    const bool sides = !grid.row_names.empty();
    html += "<div class=\"grid\" style=\"grid-template-columns:" + std::string(sides ? "max-content " : "") + "repeat(" +
            std::to_string(columns) + ",auto)\">\n";
    if (!grid.column_names.empty()) {
      if (sides) html += "<div></div>";
      for (std::size_t c = 0; c < columns; ++c)
        html += "<div class=\"head\">" + (c < grid.column_names.size() ? escape_html(grid.column_names[c]) : "") + "</div>\n";
    }
    for (std::size_t k = 0; k < grid.items.size(); ++k) {
      const ImageGrid::Item& item = grid.items[k];
      if (sides && k % columns == 0)
        html += "<div class=\"side\">" + (k / columns < grid.row_names.size() ? escape_html(grid.row_names[k / columns]) : "") +
                "</div>\n";
      // Small pictures are enlarged by a whole factor, so that each of their pixels stays a square.
      const int scale = std::max(1, grid.cell / std::max(1, item.image.height));
      const char* mark = item.mark == ImageGrid::good ? " good" : item.mark == ImageGrid::bad ? " bad" : "";
      html += "<div><img class=\"" + std::string(scale > 1 ? "sharp" : "") + mark + "\" width=\"" +
              std::to_string(item.image.width * scale) + "\" height=\"" + std::to_string(item.image.height * scale) +
              "\" alt=\"" + escape_html(item.caption) + "\" src=\"data:image/png;base64," +
              io::base64(io::encode_png(item.image)) + "\">" + escape_html(item.caption) + "</div>\n";
    }
    html += "</div>\n";
    if (!grid.note.empty()) html += "<figcaption>" + escape_html(grid.note) + "</figcaption>\n";
    files_.emplace_back(safe_name(file) + ".png", io::encode_png(grid.composed()));
    return block(html + "</figure>\n");
  }
  /// The checks, and at the bottom how the page was made.
  Report& run(const Metrics& m, std::string_view command) {
    std::size_t good = 0;
    for (const Check& c : m.checks()) good += c.ok;
    if (!m.checks().empty()) {
      checks_ = "<h2>Checks</h2>\n<p><span class=\"pill " + std::string(m.ok() ? "good" : "bad") + "\">" +
                std::to_string(good) + " of " + std::to_string(m.checks().size()) + " hold</span></p>\n";
      checks_ +=
          "<div class=\"wide\"><table><thead><tr><th>check</th><th "
          "class=\"number\">value</th><th>expected</th><th></th></tr></thead><tbody>\n";
      for (const Check& c : m.checks())
        checks_ += "<tr><td class=\"name\">" + escape_html(c.name) + "</td><td class=\"number\">" + figure(c.value) +
                   "</td><td>" + escape_html(c.op) + " " + plain(c.bound) + "</td><td><span class=\"pill " +
                   (c.ok ? "good\">ok" : "bad\">failed") + "</span></td></tr>\n";
      checks_ += "</tbody></table></div>\n";
    }
    std::string seeds;
    for (const uint64_t s : m.seeds()) seeds += (seeds.empty() ? "" : ", ") + std::to_string(s);
    NamedTexts facts{{"setting", m.setting()},
                     {"seeds", seeds},
                     {"started", m.started()},
                     {"took", duration_text(m.seconds())},
                     {"peak memory", plain(std::round(peak_rss_mb())) + " MB"}};
    for (auto& v : versions()) facts.push_back(std::move(v));
    foot_ = "<footer>\n<code>" + escape_html(command) + "</code>\n<dl>";
    for (const auto& [name, value] : facts) foot_ += "<dt>" + escape_html(name) + "</dt><dd>" + escape_html(value) + "</dd>";
    foot_ += "</dl>\n</footer>\n";
    return *this;
  }

  std::string html() const {
    std::string s =
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light "
        "dark\">\n"
        "<link rel=\"icon\" href=\"data:,\">\n<title>" +
        escape_html(title_) + "</title>\n<style>";
    s += detail::kColours;
    s += detail::kSvgStyle;
    s += detail::kPageStyle;
    s += "\n</style>\n</head>\n<body>\n<main>\n<h1>" + escape_html(title_) + "</h1>\n" + top_;
    if (!keys_.empty()) s += "<div class=\"keys\">\n" + keys_ + "</div>\n";
    s += body_ + (in_figures_ ? "</div>\n" : "") + checks_ + foot_;
    return s + "</main>\n</body>\n</html>\n";
  }
  /// Writes DIR/report.html and the drawings and pictures beside it; returns the page's path.
  std::filesystem::path write(const std::filesystem::path& dir, Where at = Where::current()) const {
    for (const auto& [name, bytes] : files_) io::write_atomically(dir / name, bytes, at);
    const std::filesystem::path path = dir / "report.html";
    io::write_atomically(path, html(), at);
    return path;
  }

 private:
  Report& block(const std::string& html) {
    if (in_figures_) body_ += "</div>\n";
    in_figures_ = false;
    body_ += html;
    return *this;
  }
  static std::string table_html(const Table& t, std::string_view caption) {
    std::string s = "<div class=\"wide\"><table>";
    if (!caption.empty()) s += "<caption>" + escape_html(caption) + "</caption>";
    const auto cell = [&](const char* tag, std::size_t c, const std::string& text, const std::string& link = {}) {
      s += std::string("<") + tag + (t.numeric(c) ? " class=\"number\">" : ">");
      s += link.empty() ? escape_html(text) : "<a href=\"" + escape_html(link) + "\">" + escape_html(text) + "</a>";
      s += std::string("</") + tag + ">";
    };
    s += "<thead><tr>";
    for (std::size_t c = 0; c < t.columns.size(); ++c) cell("th", c, t.columns[c]);
    s += "</tr></thead><tbody>\n";
    for (std::size_t i = 0; i < t.rows.size(); ++i) {
      s += "<tr>";
      for (std::size_t c = 0; c < t.rows[i].size(); ++c)
        cell("td", c, t.rows[i][c], c == 0 && i < t.links.size() ? t.links[i] : std::string());
      s += "</tr>\n";
    }
    return s + "</tbody></table></div>\n";
  }
  // Letters, digits, '-', '_' and '.' inside: the name can be no path.
  static std::string safe_name(std::string_view file) {
    std::string s;
    for (const char c : file) {
      const bool inner = c == '-' || c == '_' || (c == '.' && !s.empty());
      s += (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || inner ? c : '-';
    }
    return s.empty() ? "figure" : s;
  }

  std::string title_, top_, keys_, body_, checks_, foot_;
  std::vector<std::pair<std::string, std::vector<uint8_t>>> files_;
  bool in_figures_ = false;
};

}  // namespace gradus::app
