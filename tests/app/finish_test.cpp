#include <filesystem>
#include <sstream>

#include <gradus/app/finish.hpp>

#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/temp_dir.hpp"

using namespace gradus::app;

TEST_CASE("finish writes page and figures, and gives the exit code") {
  const TempDir dir;
  for (const double value : {1.0, 3.0})
    for (const bool enforced : {false, true}) {
      Args args;
      args.out = (dir / "out").string(), args.check = enforced, args.command = "example --check";
      Metrics metrics("a", "quick", {0});
      metrics.check("value", value, "<=", 2);
      Report report("A");
      std::ostringstream said;
      CHECK(finish(report, metrics, args, said) == (enforced && value > 2 ? 1 : 0));
      CHECK(said.str() == "wrote " + args.out + "/report.html and " + args.out + "/metrics.json\n");
      CHECK(std::filesystem::exists(dir.path / "out" / "report.html"));
      CHECK(std::filesystem::exists(dir.path / "out" / "metrics.json"));
    }
}
