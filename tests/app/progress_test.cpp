#include <csignal>
#include <cstdio>
#include <string>

#include <gradus/app/progress.hpp>

#include "support/catch.hpp"
#include "support/contains.hpp"

using namespace gradus::app;

namespace {

std::string content(std::FILE* f) {
  std::rewind(f);
  std::string s;
  for (int c; (c = std::fgetc(f)) != EOF;) s += static_cast<char>(c);
  std::fclose(f);
  return s;
}

}  // namespace

TEST_CASE("progress: one line at the end where there is no terminal") {
  std::FILE* f = std::tmpfile();
  REQUIRE(f);
  {
    Progress bar(1000, "seed 0", Progress::Style::detect, f);
    for (int i = 0; i < 1000; ++i) bar.step("loss 0.5");
    bar.finish();
    bar.finish();
  }
  const std::string s = content(f);
  CHECK(std::count(s.begin(), s.end(), '\n') == 1);
  CHECK_THAT(s, contains("seed 0") && contains("100 %") && contains("1000/1000") && contains("loss 0.5"));
  CHECK(s.find('\r') == s.npos);
  CHECK(s.find('\x1b') == s.npos);
}

TEST_CASE("progress: a terminal's line is drawn over, quiet says nothing") {
  std::FILE* f = std::tmpfile();
  REQUIRE(f);
  { Progress(10, "x", Progress::Style::terminal, f).step(10); }
  const std::string s = content(f);
  CHECK(s[0] == '\r');
  CHECK_THAT(s, contains("\x1b[K"));
  CHECK(s.back() == '\n');
  f = std::tmpfile();
  REQUIRE(f);
  { Progress(10, "x", Progress::Style::quiet, f).step(10); }
  CHECK(content(f).empty());
}

TEST_CASE("progress: rate, time left and width") {
  std::FILE* f = std::tmpfile();
  REQUIRE(f);
  {
    Progress bar(400, "train", Progress::Style::quiet, f);
    bar.step(100);
    bar.suffix("acc 87.5 %");
    const std::string s = bar.line(50, 100);  // 2 a second, 300 to go
    CHECK_THAT(
        s, contains(" 25 %") && contains("100/400") && contains("2.0/s") && contains("50 s + 2:30") && contains("acc 87.5 %"));
    for (int columns = 10; columns < 150; ++columns) CHECK(columns_of(bar.line(50, columns)) < columns);
    bar.resume_at(200);  // nothing done yet by this process
    CHECK_THAT(bar.line(50, 100), contains("200/400") && contains("+ ?"));
    Progress unknown(0, "", Progress::Style::quiet, f);
    unknown.step(7);
    CHECK_THAT(unknown.line(1, 80), contains("7  7.0/s") && !contains("%"));
  }
  std::fclose(f);
  CHECK(duration_text(7) == "7 s");
  CHECK(duration_text(65) == "1:05");
  CHECK(duration_text(7384) == "2:03:04");
  CHECK(duration_text(NAN) == "?");
  CHECK(rate_text(12345) == "12.3k/s");
  CHECK(rate_text(850) == "850/s");
  CHECK(rate_text(0.25) == "4.0 s each");
  CHECK(rate_text(2.5e6) == "2.5M/s");
  CHECK(rate_text(0) == "-");
}

TEST_CASE("progress: the first Ctrl-C only sets a flag") {
  REQUIRE_FALSE(interrupted());
  catch_interrupt();
  std::raise(SIGINT);
  CHECK(interrupted());
  struct sigaction now {};
  sigaction(SIGINT, nullptr, &now);
  CHECK(now.sa_handler == SIG_DFL);  // a second one would end the process
  clear_interrupt();
  CHECK_FALSE(interrupted());
  std::raise(SIGTERM);
  CHECK(interrupted());
  detail::interrupt_seen = 0;
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}
