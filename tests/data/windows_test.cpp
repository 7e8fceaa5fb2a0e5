#include <gradus/data/loader.hpp>
#include <gradus/data/windows.hpp>

#include "support/check.hpp"

using namespace gradus;

TEST_CASE("token windows: inputs, targets one on, strides, what is left over", "[data]") {
  const auto bytes = [](const std::string& s) { return std::vector<int64_t>(s.begin(), s.end()); };
  const auto ids = data::join_tokens(std::vector<std::string>{"abc", "de"}, bytes, 0);
  CHECK(ids == std::vector<int64_t>{'a', 'b', 'c', 0, 'd', 'e', 0});
  const data::TokenWindows w(ids, 2);
  CHECK(w.size() == 3);
  const auto b = w.batch({2, 0});
  CHECK(b.inputs.to_vector() == std::vector<int64_t>{'d', 'e', 'a', 'b'});
  CHECK(b.targets.to_vector() == std::vector<int64_t>{'e', 0, 'b', 'c'});
  CHECK(data::TokenWindows(ids, 4, 1).size() == 3);
  CHECK(data::TokenWindows(ids, 6).size() == 1);
  CHECK(data::TokenWindows(ids, 4).size() == 1);              // two tokens are left over
  CHECK(check::missing(check::error_of([&] { data::TokenWindows(ids, 7); }), {"not one window", "tokens", "7", "length + 1"}) == "");
  CHECK(check::missing(check::error_of([&] { data::TokenWindows(ids, 0); }), {"no such windows", "a length of 1 or more"}) == "");
  CHECK(check::missing(check::error_of([&] { w.batch({3}); }), {"no such window", "index", "3", "below 3"}) == "");
}

TEST_CASE("token windows in a loader: every token is a target once an epoch, in an order of the seed", "[data]") {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i <= 40; ++i) ids.push_back(i);
  const data::TokenWindows w(ids, 4);
  const auto epoch = [&](uint64_t seed) {
    data::Loader loader(w.size(), {.batch = 3, .seed = seed}, [&](const data::BatchPlan& plan) { return w.batch(plan.index); });
    std::vector<int64_t> targets;
    for (const auto& batch : loader)
      for (const int64_t t : batch.targets.to_vector()) targets.push_back(t);
    return targets;
  };
  auto targets = epoch(1);
  CHECK(targets == epoch(1));
  CHECK(targets != epoch(2));
  std::sort(targets.begin(), targets.end());
  ids.erase(ids.begin());
  CHECK(targets == ids);
}
