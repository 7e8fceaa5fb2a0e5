#include <sstream>

#include <gradus/app/args.hpp>

#include "support/catch.hpp"
#include "support/contains.hpp"

using namespace gradus::app;

namespace {

struct Outcome {
  Args args;
  std::optional<int> code;
  std::string out, err;
  int copies = 8;
};

Outcome read(std::vector<const char*> words, Args defaults = {.seeds = 3}) {
  Outcome o;
  o.args = defaults;
  words.insert(words.begin(), "prog");
  std::ostringstream out, err;
  o.code = read_args(
      o.args, static_cast<int>(words.size()), words.data(), {"my-paper", "What it shows"},
      [&](CLI::App& cli) { cli.add_option("--M", o.copies, "dropout samples")->check(CLI::PositiveNumber); }, out, err);
  o.out = out.str();
  o.err = err.str();
  return o;
}

}  // namespace

TEST_CASE("args: defaults") {
  const int threads = gradus::num_threads();
  const Outcome o = read({});
  REQUIRE_FALSE(o.code);
  CHECK(o.args.setting == Setting::normal);
  CHECK(o.args.out == "out/my-paper");
  CHECK(o.args.data.empty());
  CHECK(o.args.device == "cpu");
  CHECK(o.args.seed_list() == std::vector<uint64_t>{0, 1, 2});
  CHECK_FALSE(o.args.seeds_given);
  CHECK(o.args.threads == threads);
  CHECK_FALSE(o.args.check);
  CHECK(std::string(name_of(o.args.setting)) == "default");
}

TEST_CASE("args: every option") {
  const int threads = gradus::num_threads();
  const Outcome o = read({"--quick", "--data", "/my data", "--device", "cuda", "--seed=7", "--seeds", "2", "--threads", "1",
                          "--out", "o", "--check", "--M", "4"});
  REQUIRE_FALSE(o.code);
  CHECK(o.args.setting == Setting::quick);
  CHECK(o.args.data == "/my data");
  CHECK(o.args.device == "cuda");
  CHECK(o.args.seed_list() == std::vector<uint64_t>{7, 8});
  CHECK(o.args.seeds_given);
  CHECK(gradus::num_threads() == 1);
  CHECK(o.args.out == "o");
  CHECK(o.args.check);
  CHECK(o.copies == 4);
  CHECK_THAT(o.args.command, contains("--data '/my data'") && contains("prog --quick"));
  gradus::set_num_threads(threads);
}

TEST_CASE("args: the setting picks values") {
  CHECK(read({"--smoke"}).args.pick(1, 2, 3, 4) == 1);
  CHECK(read({"--quick"}).args.pick(1, 2, 3, 4) == 2);
  CHECK(read({}).args.pick(1, 2, 3, 4) == 3);
  CHECK(read({"--paper"}).args.pick(1, 2, 3, 4) == 4);
}

TEST_CASE("args: a wrong command line is explained and ends with 2") {
  const auto wrong = [](std::vector<const char*> words) {
    const Outcome o = read(std::move(words));
    CHECK(o.code == 2);
    CHECK(o.out.empty());
    CHECK_THAT(o.err, contains("my-paper: ") && contains("--help lists the options"));
    return o.err;
  };
  CHECK_THAT(wrong({"--qiuck"}), contains("--qiuck: did you mean --quick?"));
  CHECK_THAT(wrong({"--thread=3"}), contains("did you mean --threads?"));
  CHECK_THAT(wrong({"--something-else"}), contains("--something-else") && !contains("did you mean"));
  CHECK_THAT(wrong({"stray"}), contains("stray"));
  CHECK_THAT(wrong({"--quick", "--paper"}), contains("--paper") && contains("--quick") && contains("excludes"));
  CHECK_THAT(wrong({"--device", "tpu"}), contains("tpu") && contains("cuda"));
  CHECK_THAT(wrong({"--seed", "x"}), contains("--seed"));
  CHECK_THAT(wrong({"--seed", "-1"}), contains("--seed"));
  CHECK_THAT(wrong({"--seeds", "0"}), contains("--seeds"));
  CHECK_THAT(wrong({"--out"}), contains("--out"));
  CHECK_THAT(wrong({"--M", "-2"}), contains("--M"));
}

TEST_CASE("args: help and version") {
  const Outcome help = read({"--help"});
  CHECK(help.code == 0);
  for (const char* name : {"What it shows", "--quick", "--paper", "--smoke", "--data", "--device", "--seed", "--seeds",
                           "--threads", "--out", "--check", "--M"})
    CHECK_THAT(help.out, contains(name));
  CHECK(read({"--version"}).code == 0);
  CHECK_THAT(read({"--version"}).out, contains("gradus " GRADUS_VERSION_STRING));
}

TEST_CASE("args: run turns an error into exit code 1") {
  CHECK(run([] { return 5; }) == 5);
  std::ostringstream err;
  std::streambuf* const old = std::cerr.rdbuf(err.rdbuf());
  const int code = run([]() -> int { throw std::runtime_error("what went wrong"); });
  std::cerr.rdbuf(old);
  CHECK(code == 1);
  CHECK(err.str() == "what went wrong\n");
}

TEST_CASE("args: a device is a type") {
  const auto name = [](auto device) { return std::is_same_v<decltype(device), gradus::Cpu> ? 1 : 2; };
  CHECK(on_device({.device = "cpu"}, name) == 1);
  if constexpr (gradus::kWithCuda) {
    CHECK(on_device({.device = "cuda"}, name) == 2);
  } else {
    CHECK_THROWS_WITH(on_device({.device = "cuda"}, name), contains("this build has no such device") && contains("args_test.cpp"));
  }
  CHECK_THROWS_WITH(on_device({.device = "tpu"}, name), contains("tpu") && contains("cpu; cuda in a build with GRADUS_CUDA="));
}
