// main() of the tests of several processes: every rank runs all cases; a rank that fails one ends the job, since the others
// would wait for it.
#define CATCH_CONFIG_RUNNER
#include "support/catch.hpp"

#include "dist/world.hpp"

namespace {
gradus::dist::Group* all = nullptr;
}
gradus::dist::Group& world() { return *all; }

int main(int argc, char** argv) {
  return gradus::dist::run(argc, argv, [&](gradus::dist::Group& group) {
    all = &group;
    Catch::Session session;
    if (const int bad = session.applyCommandLine(argc, argv)) return bad;
    const int failed = session.run();
    if (failed != 0)
      throw std::runtime_error("rank " + std::to_string(group.rank()) + " has failed " + std::to_string(failed) + " tests");
    return 0;
  });
}
