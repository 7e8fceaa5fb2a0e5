// The table of bank conflicts and sectors, and streams that do their work late.
#include <fstream>

#include "cuda/emulation/checks.hpp"
#include "cuda/emulation/lint.hpp"
#include "lint.hpp"
#include "support/catch.hpp"

namespace emu = gradus::emu;

namespace {

std::string lint_place(const std::string& mark) {
  std::ifstream in(GRADUS_LINT_FILE);
  std::string text;
  for (int n = 1; std::getline(in, text); ++n)
    if (text.ends_with("// mark: " + mark)) return "lint.cu:" + std::to_string(n);
  return "no such mark";
}
emu::LintLine lint_line(const std::string& mark, bool shared, emu::Kind kind) {
  for (const emu::LintLine& l : emu::lint_lines())
    if (l.place == lint_place(mark) && l.shared == shared && l.kind == kind) return l;
  FAIL("no line for " << mark << " in\n" << emu::lint_table());
  return {};
}

}  // namespace

TEST_CASE("lint counts passes over the banks and sectors of device memory") {
  if (!emu::check_flags.instrumented) return;
  emu::lint_reset();
  emu::options().lint = true;
  emulation_test::run_patterns();
  emu::options().lint = false;
  const auto rows = lint_line("rows", true, emu::Kind::write), columns = lint_line("columns", true, emu::Kind::read);
  CHECK(rows.requests == 32);
  CHECK(rows.passes == 32);                 // neighbours: one pass each
  CHECK(columns.requests == 32);
  CHECK(columns.passes == 32 * 32);         // all lanes in one bank
  const auto dense = lint_line("rows", false, emu::Kind::read), strided = lint_line("strided", false, emu::Kind::read);
  CHECK(dense.passes == 32 * 4);            // 128 bytes are four sectors
  CHECK(strided.passes == 32);              // one for each lane
  CHECK(strided.best == 4);
  // A copy reads device memory and writes shared memory at one line: 32 and 16 lanes read 16 bytes, all write them.
  const auto from = lint_line("copy", false, emu::Kind::read), to = lint_line("copy", true, emu::Kind::write);
  CHECK(from.requests == 2);
  CHECK(from.passes == 16 + 8);
  CHECK(to.requests == 2);
  CHECK(to.passes == 2 * 4);
  const std::string table = emu::lint_table();
  INFO(table);
  CHECK(table.find(lint_place("columns")) != std::string::npos);
  CHECK(table.find("32.00") != std::string::npos);
}

TEST_CASE("late streams show a host that does not wait") {
  CHECK(emulation_test::read_after_launch(true) == 7);
  emu::options().lazy = true;
  const float waited = emulation_test::read_after_launch(true), hurried = emulation_test::read_after_launch(false);
  emu::options().lazy = false;
  CHECK(waited == 7);
  CHECK(hurried == -1);
}
