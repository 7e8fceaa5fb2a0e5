#include <limits>

#include <nlohmann/json.hpp>

#include <gradus/io/json.hpp>

#include "support/catch.hpp"

using gradus::io::json_escape;
using gradus::io::JsonWriter;

TEST_CASE("json: nested values parse as what was written, keys in order") {
  JsonWriter j;
  j.object()
      .key("b")
      .value(1)
      .key("a")
      .value("x")
      .key("list")
      .array()
      .value(true)
      .value(2.5)
      .object()
      .end()
      .array()
      .end()
      .end();
  j.key("numbers")
      .numbers(std::vector<double>{1, 0.1, 1e300, NAN, INFINITY})
      .key("big")
      .value(UINT64_MAX)
      .key("none")
      .object()
      .end()
      .end();
  const auto v = nlohmann::ordered_json::parse(j.str());
  CHECK(v.begin().key() == "b");
  CHECK(v["b"] == 1);
  CHECK(v["a"] == "x");
  CHECK(v["list"].size() == 4);
  CHECK(v["list"][0] == true);
  CHECK(v["numbers"][1].get<double>() == 0.1);
  CHECK(v["numbers"][2].get<double>() == 1e300);
  CHECK(v["numbers"][3].is_null());
  CHECK(v["numbers"][4].is_null());
  CHECK(v["big"].get<uint64_t>() == UINT64_MAX);
  CHECK(v["none"].empty());
}

TEST_CASE("json: any bytes become text that parses") {
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b) {
      const std::string s{static_cast<char>(a), static_cast<char>(b), 'z'};
      REQUIRE_NOTHROW(nlohmann::json::parse('"' + json_escape(s) + '"'));
    }
  CHECK(nlohmann::json::parse('"' + json_escape("\"\\\n\t\x01 ± → 😀") + '"') == "\"\\\n\t\x01 ± → 😀");
  CHECK(json_escape("\xc0\xaf") == "\xef\xbf\xbd\xef\xbf\xbd");                  // overlong
  CHECK(json_escape("\xed\xa0\x80").find("\xed") == std::string::npos);          // a surrogate
  CHECK(json_escape("\xf0\x9f\x98") == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");  // cut off
}

TEST_CASE("json: a double reads back as itself") {
  for (const double v : {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 123456789.0})
    CHECK(nlohmann::json::parse(gradus::io::json_number(v)).get<double>() == v);
}
