// What goes between processes.
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gradus/dist/data_parallel.hpp>
#include <gradus/dist/sharded.hpp>
#include <gradus/nn.hpp>
#include <gradus/ops.hpp>
#include <gradus/training/meters.hpp>

#include "dist/world.hpp"
#include "support/check.hpp"

using namespace gradus;

TEMPLATE_TEST_CASE("all_reduce sums over the ranks", "", float, double, int64_t, int32_t, uint8_t) {
  const int P = world().size(), r = world().rank();
  for (const int64_t n : {0, 1, 2, 3, 17, 1000}) {
    auto x = zeros<TestType>({n});
    for (int64_t i = 0; i < n; ++i) x.data()[i] = static_cast<TestType>(i % 7 + r + 1);
    world().all_reduce(x);
    for (int64_t i = 0; i < n; ++i) REQUIRE(x.data()[i] == static_cast<TestType>((i % 7) * P + P * (P + 1) / 2));
  }
}

TEST_CASE("all_reduce gives all ranks the sum in the order of the ranks, to the bit") {
  const int P = world().size();
  manual_seed(3);
  std::vector<Tensor<float>> all;
  for (int k = 0; k < P; ++k) all.push_back(randn({4099}) * std::pow(10.0f, static_cast<float>(k)));
  auto expected = clone(all[0]);
  for (int k = 1; k < P; ++k) expected = expected + all[static_cast<std::size_t>(k)];
  const auto x = clone(all[static_cast<std::size_t>(world().rank())]);
  world().all_reduce(x);
  CHECK(x.to_vector() == expected.to_vector());
  CHECK(same_everywhere(x));
}

TEST_CASE("all_reduce: minimum, maximum, NaN") {
  const int P = world().size(), r = world().rank();
  auto x = Tensor<float>{static_cast<float>(r), r == P - 1 ? std::numeric_limits<float>::quiet_NaN() : 1.f};
  auto y = clone(x);
  world().all_reduce(x, dist::Reduce::max);
  world().all_reduce(y, dist::Reduce::min);
  CHECK(x(0).item() == static_cast<float>(P - 1));
  CHECK(y(0).item() == 0);
  CHECK(std::isnan(x(1).item()));
  CHECK(std::isnan(y(1).item()));
}

TEST_CASE("all_reduce: views, bf16, bool; the written tensor's version moves") {
  const int P = world().size();
  auto x = ones({4, 6});
  world().all_reduce(transpose(x, 0, 1)(slice(1, 3)));
  CHECK(sum(x).item() == Approx(24 - 8 + 8 * P));
  const auto h = full<bf16>({5}, 1.5);
  world().all_reduce(h);
  CHECK(h.to<float>()(4).item() == 1.5f * static_cast<float>(P));
  const auto w = randn({3}).requires_grad_();
  const auto y = exp(w.clone());
  world().all_reduce(y);
  CHECK_THROWS_WITH(sum(y).backward(),
                    Catch::Contains("was changed") || Catch::Contains("overwritten") || Catch::Contains("written"));
}

TEST_CASE("broadcast and all_gather") {
  const int P = world().size(), r = world().rank();
  for (int root = 0; root < P; ++root) {
    const auto x = full<double>({2, 3}, r);
    world().broadcast(x, root);
    CHECK(amax(x).item() == root);
    CHECK(amin(x).item() == root);
    CHECK(world().broadcast("from " + std::to_string(r), root) == "from " + std::to_string(root));
  }
  const auto y = world().all_gather(full<int64_t>({r + 1, 2}, r));  // rank r has r + 1 rows
  REQUIRE(y.shape() == Shape{P * (P + 1) / 2, 2});
  for (int k = 0, row = 0; k < P; ++k)
    for (int j = 0; j <= k; ++j, ++row) CHECK(y(row, 1).item() == k);
  CHECK(world().all_gather(full<float>({r == 0 ? 0 : 1, 3}, r)).size(0) == P - 1);  // also of nothing
  if (P > 1) {
    const std::string text = check::error_of([&] { world().all_gather(zeros({1, r == 1 ? 3 : 2})); });
    CHECK_THAT(text, Catch::Contains("ranks differ") && Catch::Contains("rank 1"));
  }
}

TEST_CASE("numbers") {
  const int P = world().size(), r = world().rank();
  CHECK(world().sum(r + 0.5) == Approx(P * (P - 1) / 2 + 0.5 * P));
  CHECK(world().mean(static_cast<double>(r)) == Approx((P - 1) / 2.0));
  CHECK(world().max(static_cast<double>(r)) == P - 1);
  CHECK(world().min(static_cast<double>(r)) == 0);
  CHECK(world().sum(int64_t{1}) == P);
  CHECK(world().any(r == P - 1));
  CHECK_FALSE(world().any(false));
  CHECK(world().all(true));
  CHECK(world().all(r > 0) == false);
  const auto list = world().gather(int64_t{10} * r);
  for (int k = 0; k < P; ++k) CHECK(list[static_cast<std::size_t>(k)] == 10 * k);
  world().barrier();
}

TEST_CASE("started sums go on while their callers compute, in any number") {
  const int P = world().size();
  std::vector<std::vector<float>> data(20, std::vector<float>(1001, 1.f));
  std::vector<dist::Pending> pending;
  for (auto& d : data) pending.push_back(world().start_all_reduce(d.data(), 1001, dist::Reduce::sum, "a test"));
  for (auto& p : pending) p.wait();
  for (const auto& d : data) CHECK(d[500] == static_cast<float>(P));
}

TEST_CASE("parts of a batch follow each other and differ by one at most") {
  for (const int64_t n : {0, 1, 5, 16, 17}) {
    int64_t end = 0;
    for (int k = 0; k < 4; ++k) {
      const auto p = data::part_of(n, k, 4);
      CHECK(p.begin == end);
      CHECK((p.size() == n / 4 || p.size() == n / 4 + 1));
      end = p.end;
    }
    CHECK(end == n);
  }
  CHECK_THROWS_WITH(data::part_of(3, 2, 2), Catch::Contains("no such part"));
}

TEST_CASE("random numbers of ranks differ, and those of rank 0 are what they were") {
  manual_seed(11);
  const auto alone = rand({64});
  manual_seed(11);
  world().fork_random();
  const auto x = rand({64});
  const auto of_root = clone(x);
  world().broadcast(of_root);
  CHECK(of_root.to_vector() == alone.to_vector());
  if (world().rank() > 0) CHECK(x.to_vector() != alone.to_vector());
}

TEST_CASE("a meter becomes that of all ranks") {
  const int P = world().size(), r = world().rank();
  training::Mean mean;
  mean.add(r, r + 1);
  dist::all_reduce(world(), mean);
  double sum = 0;
  for (int k = 0; k < P; ++k) sum += k * (k + 1);
  CHECK(mean.value() == Approx(sum / (P * (P + 1) / 2)));
  training::Confusion confusion(3);
  confusion.add(one_hot(Tensor<int64_t>{0, 1, 2, 0}, 3), Tensor<int64_t>{0, 1, 2, r % 3});
  dist::all_reduce(world(), confusion);
  int good = 0;
  for (int k = 0; k < P; ++k) good += 3 + (k % 3 == 0);
  CHECK(confusion.accuracy() == Approx(good / (4.0 * P)));
}

TEST_CASE("states are shared out evenly, and gathered") {
  const auto owner = dist::share_out({100, 1, 50, 49, 1}, 2);
  CHECK(owner[0] == 0);
  CHECK(owner[2] == 1);
  CHECK(owner[3] == 1);
  const int r = world().rank();
  nn::StateDict own;
  own["of." + std::to_string(r)] = full<float>({r + 1}, r);
  own["common"] = scalar<int64_t>(r);
  const auto all = dist::gather_state(world(), own);
  CHECK(all.size() == static_cast<std::size_t>(world().size()) + 1);
  CHECK(all.at("common").as<int64_t, Cpu>().item() == 0);
  for (int k = 0; k < world().size(); ++k) {
    const auto x = all.at("of." + std::to_string(k)).as<float, Cpu>();
    CHECK(x.shape() == Shape{k + 1});
    CHECK(amax(x).item() == static_cast<float>(k));
  }
}
