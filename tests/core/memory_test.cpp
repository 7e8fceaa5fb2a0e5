// The caching allocator: what is taken comes back, at every size, and figures are those of the tensors.
#include <cstring>
#include <thread>

#include <gradus/core/memory.hpp>
#include <gradus/core/parallel.hpp>

#include "support/check.hpp"

using namespace gradus;

TEST_CASE("size classes hold what they are asked for and waste at most a quarter above 1 KiB") {
  std::size_t wrong = 0;
  for (std::size_t n = 1; n <= detail::kLargestSmall; ++n) {
    const int c = detail::small_class(n);
    const std::size_t size = detail::class_bytes(c);
    wrong += c < 0 || c >= detail::kSmallClasses || size < n || (c > 0 && detail::class_bytes(c - 1) >= n);
    wrong += n > 1024 && size > n + n / 4 + 64;
  }
  CHECK(wrong == 0);
}

TEST_CASE("live bytes return to where they were") {
  const int64_t before = memory_stats().live;
  {
    std::vector<Tensor<float>> kept;
    for (int64_t n : {0, 1, 15, 1000, 16384, 16385, 300000, 3000000}) {
      kept.emplace_back(Shape{n});
      std::memset(kept.back().data(), 1, static_cast<std::size_t>(n) * 4);   // all of it can be written
      CHECK(reinterpret_cast<uintptr_t>(kept.back().data()) % 64 == 0);
    }
    CHECK(memory_stats().live - before == 4 * (1 + 15 + 1000 + 16384 + 16385 + 300000 + 3000000));
  }
  CHECK(memory_stats().live == before);
}

TEST_CASE("a view keeps the memory of its base, a handle shares it") {
  const int64_t before = memory_stats().live;
  Tensor<float> view;
  {
    const Tensor<float> x(Shape{1000}), same = x;
    CHECK(memory_stats().live == before + 4000);
    view = narrow(x, 0, 10, 5);
  }
  CHECK(memory_stats().live == before + 4000);
  view = {};
  CHECK(memory_stats().live == before);
}

TEST_CASE("peak is the largest since it was reset") {
  reset_peak_memory();
  const int64_t before = memory_stats().live;
  { const Tensor<float> x(Shape{5000}); }
  CHECK(memory_stats().peak >= before + 20000);
  reset_peak_memory();
  CHECK(memory_stats().peak == memory_stats().live);
}

TEST_CASE("a freed large block is used again, and empty_cache gives it back") {
  empty_cache();
  const float* first;
  {
    const Tensor<float> x(Shape{500000});
    first = x.data();
  }
  {
    const Tensor<float> x(Shape{500000});
    CHECK(x.data() == first);
  }
  CHECK(memory_stats().cached > 0);
  empty_cache();
  CHECK(memory_stats().cached == 0);
}

TEST_CASE("tensors may be freed by another thread than the one that made them") {
  const int64_t before = memory_stats().live;
  for (int round = 0; round < 20; ++round) {
    std::vector<Tensor<float>> made;
    for (int i = 0; i < 200; ++i) made.push_back(Tensor<float>(Shape{i}));
    std::thread([taken = std::move(made)]() mutable { taken.clear(); }).join();
  }
  CHECK(memory_stats().live == before);
}

TEST_CASE("traced memory is counted for each operator and calling line") {
  trace_memory(true);
  const auto x = zeros<float>({1000});
  auto y = exp(x);
  const int line = __LINE__ - 1;
  for (int i = 0; i < 3; ++i) exp(x);
  const std::string here = "memory_test.cpp:" + std::to_string(line);
  MemoryOfOp found;
  for (const auto& op : memory_by_op())
    if (op.op == "exp" && op.where.ends_with(here)) found = op;
  CHECK((found.live == 4000 && found.peak == 4000 && found.allocations == 1));
  const auto report = memory_report();
  CHECK(check::missing(report, {"cpu: ", " live, ", "exp at ", here}) == "");
  y = {};
  for (const auto& op : memory_by_op())
    if (op.op == "exp") CHECK(op.live == 0);
  trace_memory(false);
  const auto untraced = exp(x);
  for (const auto& op : memory_by_op()) CHECK(op.live <= 4000);
  trace_memory(true);              // starts anew
  CHECK(memory_by_op().empty());
  trace_memory(false);
}

TEST_CASE("impossible sizes are errors that say so") {
  const auto text = check::error_of([] { Tensor<float>(Shape{int64_t{1} << 40, int64_t{1} << 40}); });
  CHECK(check::missing(text, {"cannot allocate", "float32", "memory_test.cpp"}) == "");
  CHECK(check::contains(check::error_of([] { Tensor<float>(Shape{-1}); }), "extents >= 0"));
}

TEST_CASE("parallel_for covers every index once, at any number of threads, and passes on exceptions") {
  const int threads = num_threads();
  for (int t : {1, 2, 3, 7}) {
    set_num_threads(t);
    for (int64_t n : {0, 1, 10, 1000}) {
      std::vector<int> hits(static_cast<std::size_t>(n));
      parallel_for(n, 3, [&](int64_t b, int64_t e) {
        for (int64_t i = b; i < e; ++i) ++hits[static_cast<std::size_t>(i)];
      });
      CHECK(std::all_of(hits.begin(), hits.end(), [](int h) { return h == 1; }));
    }
    CHECK_THROWS_AS(parallel_for(100, 1, [](int64_t, int64_t) { fail("op", "problem", {}, "", Where{}); }), Error);
  }
  set_num_threads(threads);
}
