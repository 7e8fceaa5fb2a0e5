#include <nlohmann/json.hpp>

#include <gradus/app/metrics.hpp>

#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;
using namespace gradus::app;

TEST_CASE("metrics: the file has everything, in order") {
  TempDir dir;
  Metrics m("multi-sample-dropout", "quick", {4, 5});
  m.add("M = 8 \"x\"", "error", 16.5);
  m.add("M = 1", "error", 17.25);
  m.add("M = 8 \"x\"", "error", 15.5);
  m.add("M = 1", "error", NAN);
  m.add("M = 1", "loss", 0.25);
  CHECK(m.check("ratio", 0.7, "<=", 0.8));
  CHECK_FALSE(m.check("too slow", 2, "<", 1.4));
  const auto path = m.write(dir / "deep/er");
  const auto j = nlohmann::ordered_json::parse(io::read_text(path));
  CHECK(j["paper"] == "multi-sample-dropout");
  CHECK(j["setting"] == "quick");
  CHECK(j["seeds"] == std::vector<int>{4, 5});
  CHECK(j["metrics"].begin().key() == "M = 8 \"x\"");
  CHECK(j["metrics"]["M = 8 \"x\""]["error"] == std::vector<double>{16.5, 15.5});
  CHECK(j["metrics"]["M = 1"]["error"][1].is_null());
  CHECK(j["metrics"]["M = 1"]["loss"] == std::vector<double>{0.25});
  REQUIRE(j["checks"].size() == 2);
  CHECK(j["checks"][0] ==
        nlohmann::ordered_json::parse(R"({"name": "ratio", "value": 0.7, "op": "<=", "bound": 0.8, "ok": true})"));
  CHECK(j["checks"][1]["ok"] == false);
  CHECK(j["seconds"].get<double>() >= 0);
  CHECK(j["peak_rss_mb"].get<double>() > 1);
  for (const char* key : {"gradus", "compiler", "flags", "cpu", "threads"})
    CHECK_FALSE(j["versions"][key].get<std::string>().empty());
  CHECK(j["versions"]["gradus"] == GRADUS_VERSION_STRING);
}

TEST_CASE("metrics: checks and the exit code") {
  Metrics m("p", "default", {0});
  CHECK(m.exit_code(true) == 0);
  CHECK(m.check("a", 1, "<", 2));
  CHECK(m.check("b", 2, "<=", 2));
  CHECK(m.check("c", 3, ">", 2));
  CHECK(m.check("d", 2, ">=", 2));
  CHECK(m.check("e", 2, "==", 2));
  CHECK(m.check("f", 1, "!=", 2));
  CHECK(m.check("g", true));
  CHECK(m.exit_code(true) == 0);
  CHECK_FALSE(m.check("nan", NAN, "!=", 2));
  CHECK_FALSE(m.check("nan", NAN, "<", 2));
  CHECK_FALSE(m.check("h", 2, "<", 2));
  CHECK(m.exit_code(true) == 1);
  CHECK(m.exit_code(false) == 0);
  CHECK_THAT(error_text<Error>([&] { m.check("i", 1, "=", 1); }),
             contains("unknown comparison") && contains("<, <=") && contains("metrics_test.cpp:"));
}

TEST_CASE("metrics: table of means over seeds, columns aligned") {
  Metrics m("p", "default", {0, 1, 2});
  for (const double v : {16.0, 17.0, 18.0}) m.add("dropout", "error", v);
  m.add("a longer name", "time", 1234.5);
  const std::string s = m.table().text();
  CHECK(s ==
        "method              error  time\n"
        "─────────────  ──────────  ────\n"
        "dropout        17.0 ± 1.0     -\n"
        "a longer name           -  1234\n");
  const MeanStd r = m.mean("dropout", "error");
  CHECK(r.mean == 17);
  CHECK(r.std == 1);
  CHECK(m.values("dropout", "none").empty());
  CHECK(std::isnan(mean_std({}).mean));
}

TEST_CASE("figures: digits that mean something") {
  CHECK(figure(0.5) == "0.5000");
  CHECK(figure(12.3456) == "12.35");
  CHECK(figure(8) == "8");
  CHECK(figure(-0.0) == "0");
  CHECK(figure(123456.7) == "123457");
  CHECK(figure(1.5e-7) == "1.500e-07");
  CHECK(figure(0.012345) == "0.01235");
  CHECK(figure(NAN) == "nan");
  CHECK(figure(-INFINITY) == "-inf");
  CHECK(figure(MeanStd{16.234, 0.412, 3}) == "16.23 ± 0.41");
  CHECK(figure(MeanStd{1199.7, 87, 3}) == "1200 ± 87");
  CHECK(figure(MeanStd{3, 0, 3}) == "3");
  CHECK(plain(0.8) == "0.8");
  CHECK(plain(-0.0) == "0");
}
