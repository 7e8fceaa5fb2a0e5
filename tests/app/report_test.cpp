#include <cstdlib>
#include <random>
#include <regex>

#include <gradus/app/report.hpp>

#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;
using namespace gradus::app;

namespace {

// Every tag is closed, in order; returns the first that is not, or "".
std::string unbalanced(const std::string& html) {
  const std::regex tag("<(/?)([a-zA-Z0-9]+)([^<>]*)>");
  std::vector<std::string> open;
  for (std::sregex_iterator it(html.begin(), html.end(), tag), end; it != end; ++it) {
    const std::string name = (*it)[2], rest = (*it)[3];
    if (name == "img" || name == "meta" || name == "link" || (!rest.empty() && rest.back() == '/')) continue;
    if ((*it)[1].length() == 0) open.push_back(name);
    else if (open.empty() || open.back() != name) return "</" + name + ">";
    else open.pop_back();
  }
  return open.empty() ? "" : "<" + open.back() + ">";
}
std::size_t count(const std::string& s, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = s.find(part); at != s.npos; at = s.find(part, at + part.size())) ++n;
  return n;
}

}  // namespace

TEST_CASE("escape: markup, control characters and bytes that are no UTF-8") {
  CHECK(escape_html("a<b> & \"c\" 'd'") == "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
  CHECK(escape_html("± → 😀") == "± → 😀");
  CHECK(escape_html(std::string("\x01\0x\xff\xe2\x82", 6)) == "  x???");
}

TEST_CASE("axis: ticks at round values inside the range") {
  std::mt19937 g(1);
  std::uniform_real_distribution<double> U(-1, 1);
  for (int trial = 0; trial < 2000; ++trial) {
    const double scale = std::pow(10, 12 * U(g)), a = U(g) * scale, b = U(g) * scale;
    const auto axis = app::detail::Axis::fit(std::min(a, b), std::max(a, b), false, 5, trial % 2);
    INFO(a << " " << b);
    CHECK(axis.ticks.size() >= 2);
    CHECK(axis.ticks.size() <= 12);
    for (const auto& t : axis.ticks) {
      CHECK(axis.place(t.value) >= -1e-6);
      CHECK(axis.place(t.value) <= 1 + 1e-6);
    }
  }
  const auto text_of = [](const app::detail::Axis& a) {
    std::string s;
    for (const auto& t : a.ticks) s += t.text + " ";
    return s;
  };
  CHECK(text_of(app::detail::Axis::fit(0, 1, false, 5, false)) == "0.0 0.2 0.4 0.6 0.8 1.0 ");
  CHECK(text_of(app::detail::Axis::fit(-1, 1, false, 4, false)) == "−1.0 −0.5 0.0 0.5 1.0 ");
  CHECK(text_of(app::detail::Axis::fit(0, 1000, false, 4, false)) == "0 250 500 750 1000 ");
  CHECK(app::detail::Axis::fit(5, 5, false, 5, true).ticks.size() >= 2);
  CHECK(app::detail::Axis::fit(INFINITY, -INFINITY, false, 5, true).ticks.size() >= 2);
  CHECK(app::detail::Axis::fit(INFINITY, -INFINITY, true, 5, true).ticks.size() >= 2);
  CHECK_THAT(text_of(app::detail::Axis::fit(1e-6, 10, true, 8, false)),
             contains("1e-6") && contains("1e-4") && contains("10 "));
}

TEST_CASE("plot: what cannot be drawn is left out, never written as nan") {
  const std::vector<double> x{0, 1, 2, 3, 4};
  Plot p{.title = "T <&>", .x_label = "step", .y_label = "loss", .log_x = true, .log_y = true};
  p.line("a", x, {1, NAN, 2, -1, 4})
      .band("b", x, {1, 2, 3, 4, 5}, {0, 1, 2, NAN, 4}, {2, 3, 4, 5, INFINITY})
      .points("c", x, {0, 0, 0, 0, 0});
  p.dashed("d", {}, {}).seeds("e", x, {{1, 2}, {3, 4, 5}}).reference(NAN, "paper").reference(2, "paper");
  for (const bool alone : {false, true}) {
    const std::string s = p.svg(alone);
    CHECK(unbalanced(s) == "");
    CHECK(s.find("nan\"") == s.npos);
    CHECK(s.find("inf\"") == s.npos);
    CHECK(s.find(" nan") == s.npos);
    CHECK_THAT(s, contains("T &lt;&amp;&gt;") && contains("<title>") && contains("class=\"band\""));
    CHECK((s.find("<style>") != s.npos) == alone);
  }
  CHECK(unbalanced(Plot{}.svg()) == "");
  CHECK(unbalanced(Bars{}.svg()) == "");
  CHECK(unbalanced(Heatmap{}.svg()) == "");
}

TEST_CASE("plot: mean and band over seeds, also when one stopped early") {
  Plot p;
  p.seeds("m", {0, 1, 2}, {{1, 2, 3}, {3, 6}});
  const Plot::Series& s = p.series[0];
  CHECK(s.y == std::vector<double>{2, 4, 3});
  CHECK(s.lo == std::vector<double>{1, 2, 3});
  CHECK(s.hi == std::vector<double>{3, 6, 3});
}

TEST_CASE("plot: a long curve is thinned and keeps its peaks") {
  std::vector<double> y(100000, 0.0);
  y[54321] = 7;
  y[12345] = -7;
  const auto keep = app::detail::thinned(y);
  CHECK(keep.size() < 700);
  CHECK(std::is_sorted(keep.begin(), keep.end()));
  CHECK(std::count(keep.begin(), keep.end(), 54321) == 1);
  CHECK(std::count(keep.begin(), keep.end(), 12345) == 1);
  CHECK(keep.front() == 0);
  CHECK(keep.back() == y.size() - 1);
}

TEST_CASE("report: one page without anything from outside, and the drawings beside it") {
  TempDir dir;
  Metrics m("p", "quick", {0, 1});
  m.add("<M>", "error & co", 1.5);
  m.check("good <one>", 1, "<=", 2);
  m.check("bad one", 3, "<=", 2);
  Report r("Title <script>alert(1)</script>");
  r.citation("A. & B., 2020", "https://example.org/?a=1&b=2").claim("x < y").key("k<", "v<", "n<");
  r.heading("H<").text("one\n\ntwo <b>").table(m.table(), "caption <");
  Plot p{.title = "loss"};
  p.line("a", {0, 1}, {1, 2});
  Bars b{.groups = {"g"}};
  b.add("s", {1}, {0.5});
  r.plot(p, "loss").plot(b, "../bars").plot(confusion_matrix({5, 1, 0, 4}, {"cat", "dog"}), "confusion");
  ImageGrid grid{.title = "G<", .columns = 2, .column_names = {"c0"}, .row_names = {"r0"}};
  for (int k = 0; k < 3; ++k)
    grid.add(io::Image(28, 28, 1, static_cast<uint8_t>(80 * k)), "true <" + std::to_string(k), ImageGrid::bad);
  r.images(grid, "mistakes").run(m, "prog --out '<x>'");
  CHECK(r.write(dir / "o") == dir / "o/report.html");
  const std::string html = io::read_text(dir / "o/report.html");
  CHECK(unbalanced(html) == "");
  CHECK(html.find("<script") == html.npos);
  CHECK(count(html, "src=\"data:image/png;base64,iVBOR") == 3);
  CHECK(count(html, "<img") == 3);
  CHECK(count(html, "<svg") == 3);
  CHECK(count(html, "src=") == 3);
  CHECK(html.find("@import") == html.npos);
  CHECK(html.find("url(") == html.npos);
  for (const char* text :
       {"Title &lt;script&gt;", "https://example.org/?a=1&amp;b=2", "x &lt; y", "k&lt;", "H&lt;", "<p>two &lt;b&gt;</p>",
        "&lt;M&gt;", "error &amp; co", "caption &lt;", "true &lt;2", "1 of 2 hold", "pill good\">ok", "pill bad\">failed",
        "good &lt;one&gt;", "prog --out &#39;&lt;x&gt;&#39;", "compiler", "peak memory"})
    CHECK_THAT(html, contains(text));
  for (const char* file : {"loss.svg", "-.-bars.svg", "confusion.svg", "mistakes.png"})
    CHECK(std::filesystem::file_size(dir / "o" / file) > 100);
  CHECK_THAT(io::read_text(dir / "o/loss.svg"),
             contains("xmlns=\"http://www.w3.org/2000/svg\"") && contains("prefers-color-scheme: dark"));
  const Report no_link = Report("t").citation("c", "javascript:alert(1)");
  CHECK(no_link.html().find("href=\"javascript") == std::string::npos);
}

TEST_CASE("report: a browser shows every picture and logs no error, where there is one") {
  const char* browser = std::getenv("GRADUS_BROWSER");
  const std::string program = browser ? browser : "chromium";
  if (std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) != 0) {
    WARN(program << " is not installed: the page was not opened");
    return;
  }
  TempDir dir;
  Report r("Browser");
  Plot p{.title = "loss", .log_y = true};
  p.seeds("a", {0, 1, 2}, {{1, 2, 3}, {2, 3, 4}});
  ImageGrid grid;
  for (int k = 0; k < 5; ++k) grid.add(io::Image(9, 7, k % 4 + 1, 99), "n");
  r.plot(p, "p").images(grid, "g").write(dir.path);
  // A page around the page: it looks at the report's pictures and writes what it finds into its own text.
  io::write_atomically(
      dir / "test.html",
      std::string_view(
          "<!DOCTYPE html><iframe id=f src=report.html width=800 height=800></iframe><pre id=o>waiting</pre><script>"
          "f.onload = () => { const d = f.contentDocument, i = [...d.images], r = "
          "d.querySelector('svg').getBoundingClientRect();"
          "o.textContent = 'images ' + i.length + ' shown ' + i.filter(e => e.complete && e.naturalWidth === 9).length + ' svg "
          "' + (r.width > 100 && r.height > 100) }"
          "</script>"));
  const std::string command =
      "HOME=" + dir.path.string() + " timeout 60 " + program +
      " --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --allow-file-access-from-files --enable-logging=stderr "
      "--virtual-time-budget=5000 --dump-dom file://" +
      (dir / "test.html").string() + " >" + (dir / "dom").string() + " 2>" + (dir / "log").string();
  const int code = std::system(command.c_str());
  const std::string dom = io::read_text(dir / "dom"), log = io::read_text(dir / "log");
  INFO("exit status " << code << "\n" << log.substr(0, 2000));
  CHECK_THAT(dom, contains("images 5 shown 5 svg true"));
  CHECK(log.find("CONSOLE") == log.npos);
}
