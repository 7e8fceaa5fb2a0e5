// main() of every test program. A filter that selects nothing is a failure, not a success.
#define CATCH_CONFIG_RUNNER
#include "support/catch.hpp"

int main(int argc, char** argv) {
  Catch::Session session;
  if (const int bad = session.applyCommandLine(argc, argv)) return bad;
  const int failed = session.run();
  if (failed == 0 && session.config().testSpec().hasFilters()) {
    // Version 2 returns 0 when a filter matches no test case; version 3 reports it itself.
#ifndef CATCH_VERSION_MAJOR
#define CATCH_VERSION_MAJOR 2
#endif
#if CATCH_VERSION_MAJOR < 3
    const auto& config = session.config();
    if (Catch::filterTests(Catch::getAllTestCasesSorted(config), config.testSpec(), config).empty()) {
      Catch::cerr() << "no test case matches the filter\n";
      return 4;
    }
#endif
  }
  return failed;
}
