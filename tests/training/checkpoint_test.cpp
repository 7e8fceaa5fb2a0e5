// A run that is killed at random moments ends with the same bits as one that is left alone. The killed process is this program
// again, in the hidden case "training child".
#include <cstdio>
#include <cstdlib>

#include <sys/wait.h>
#include <unistd.h>

#include <gradus/nn.hpp>
#include <gradus/ops.hpp>
#include <gradus/optim.hpp>
#include <gradus/training/checkpoint.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;

namespace {
constexpr int64_t kSteps = 40;

/// Trains with dropout and saves after each step; reports each step on descriptor `progress`.
void train_and_save(const std::filesystem::path& path, int progress) {
  manual_seed(5);
  nn::Sequential<float> net{nn::Linear{4, 8}, [](const Tensor<float>& x) { return dropout(tanh(x), 0.3); }, nn::Linear{8, 1}};
  optim::AdamW opt(net, {.lr = 0.01});
  opt.group("*.bias").weight_decay = 0;
  int64_t step = 0;
  std::vector<double> losses;
  double best = 1e9;
  std::string note = "begun";
  training::Checkpoint run(path);
  run("model", net)("optimizer", opt)("random", generator())("step", step)("losses", losses)("best", best)("note", note);
  run.load();
  app::catch_interrupt();
  while (step < kSteps) {
    const auto x = randn<float>({6, 4});
    opt.zero_grad();
    const auto loss = mean(square(net(x) - sum(x, {1}, true)));
    loss.backward();
    opt.set_lr(0.01 * (1 - static_cast<double>(step) / 80));
    opt.step();
    losses.push_back(static_cast<double>(loss.item()));
    best = std::min(best, losses.back());
    note = "step " + std::to_string(step);
    ++step;
    if (run.save_every(0)) return;
    if (progress >= 0 && ::write(progress, "s", 1) != 1) return;
  }
}
/// Starts the hidden case in a new process that writes its steps to *progress.
pid_t start_child(const std::filesystem::path& path, int* progress) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setenv("GRADUS_TEST_CHECKPOINT", path.c_str(), 1);
    ::setenv("GRADUS_TEST_PROGRESS", std::to_string(ends[1]).c_str(), 1);
    ::close(ends[0]);
    if (!std::freopen("/dev/null", "w", stdout)) ::_exit(126);
    ::execl("/proc/self/exe", "test", "training child", nullptr);
    ::_exit(127);
  }
  ::close(ends[1]);
  *progress = ends[0];
  return pid;
}
int status_of(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return status;
}
void same_files(const std::filesystem::path& a, const std::filesystem::path& b) {
  const auto x = io::read_safetensors(a), y = io::read_safetensors(b);
  REQUIRE(x.size() == y.size());
  for (const auto& [name, t] : x) {
    INFO(name);
    REQUIRE(y.contains(name));
    CHECK(std::memcmp(t.impl()->data, y.at(name).impl()->data, static_cast<std::size_t>(t.numel() * size_of(t.dtype()))) == 0);
  }
}
}  // namespace

TEST_CASE("training child", "[.]") {
  if (!std::getenv("GRADUS_TEST_CHECKPOINT")) return;  // not started by start_child()
  train_and_save(std::getenv("GRADUS_TEST_CHECKPOINT"), std::atoi(std::getenv("GRADUS_TEST_PROGRESS")));
}

TEST_CASE("a run that is killed at random moments ends with the same bits", "[training]") {
  const TempDir dir;
  train_and_save(dir / "calm.safetensors", -1);
  int kills = 0;
  for (uint64_t life = 0;; ++life) {
    REQUIRE(life < 60);
    int progress = -1;
    const pid_t pid = start_child(dir / "killed.safetensors", &progress);
    const Philox r(11, 0, life);  // let it make 1 to 6 steps, then strike within a step or while it writes
    char c;
    int64_t seen = 0;
    while (seen < 1 + static_cast<int64_t>(r.w[0] % 6) && ::read(progress, &c, 1) == 1) ++seen;
    ::usleep(r.w[1] % 3000);
    ::kill(pid, SIGKILL);
    const int status = status_of(pid);
    ::close(progress);
    if (WIFEXITED(status)) {
      REQUIRE(WEXITSTATUS(status) == 0);
      break;
    }
    ++kills;
  }
  CHECK(kills >= 3);
  // The child that ended may have been the one that was killed after its last step: the last life finds nothing left to do.
  same_files(dir / "calm.safetensors", dir / "killed.safetensors");
  int files = 0;
  for ([[maybe_unused]] const auto& f : std::filesystem::directory_iterator(dir.path)) ++files;
  CHECK(files == 2);  // no temporary files are left behind
}

TEST_CASE("Ctrl-C saves, and the run goes on from there", "[training]") {
  const TempDir dir;
  train_and_save(dir / "calm.safetensors", -1);
  int progress = -1;
  char c;
  pid_t pid = start_child(dir / "stopped.safetensors", &progress);
  for (int k = 0; k < 3; ++k) REQUIRE(::read(progress, &c, 1) == 1);
  ::kill(pid, SIGINT);
  int status = status_of(pid);
  ::close(progress);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  const int64_t reached = io::SafetensorsFile(dir / "stopped.safetensors").read<int64_t>("step").item();
  CHECK(reached >= 3);
  CHECK(reached < kSteps);
  train_and_save(dir / "stopped.safetensors", -1);
  same_files(dir / "calm.safetensors", dir / "stopped.safetensors");
}

TEST_CASE("a checkpoint of another run is refused", "[training]") {
  const TempDir dir;
  double a = 1.5;
  int64_t n = 3;
  training::Checkpoint one(dir / "c");
  CHECK_FALSE(one.load());
  one("a", a)("n", n).save();
  a = 0, n = 0;
  CHECK(one.load());
  CHECK((a == 1.5 && n == 3));
  training::Checkpoint fewer(dir / "c");
  fewer("a", a);
  CHECK(check::missing(check::error_of([&] { fewer.load(); }), {"something that the run has not", "n", "int64 cpu []", "a"}) == "");
  std::string s;
  training::Checkpoint more(dir / "c");
  more("a", a)("n", n)("s", s);
  CHECK(check::missing(check::error_of([&] { more.load(); }), {"another form", "s", "checkpoint_test.cpp"}) == "");
  training::Checkpoint other(dir / "c");
  other("a", n)("n", a);
  CHECK(check::missing(check::error_of([&] { other.load(); }), {"wrong dtype", "float64"}) == "");
  CHECK(check::missing(check::error_of([&] { other("a.b", s); }), {"two things", "a.b"}) == "");
  nn::Linear<> net{2, 3}, copy{2, 3};
  training::save_module(dir / "net", net);
  training::load_module(dir / "net", copy);
  CHECK(copy.weight.to_vector() == net.weight.to_vector());
  nn::Linear<> larger{3, 3};
  CHECK(check::missing(check::error_of([&] { training::load_module(dir / "net", larger); }), {"does not fit", "[3, 2]", "[3, 3]"}) == "");
}

TEST_CASE("states of an optimiser go by PyTorch's names and come back", "[training]") {
  nn::Sequential<float> net{nn::Linear{3, 2}, nn::Linear{2, 1}};
  const auto run = [&](auto& opt, int steps) {
    for (int k = 0; k < steps; ++k) {
      opt.zero_grad();
      sum(square(net(ones({4, 3})))).backward();
      opt.step();
    }
  };
  optim::Adam opt(net, {.lr = 0.1, .amsgrad = true});
  run(opt, 2);
  auto dict = opt.state_dict();
  for (const char* name : {"0.weight.exp_avg", "1.bias.exp_avg_sq", "0.bias.max_exp_avg_sq", "0.weight.step", "lr"}) {
    INFO(name);
    CHECK(dict.contains(name));
  }
  CHECK(dict.at("0.weight.step").as<int64_t, Cpu>().item() == 2);
  optim::Adam again(net, {.lr = 0.5, .amsgrad = true});
  again.load_state_dict(dict);
  CHECK(again.lr() == 0.1);
  CHECK(again.steps(0) == 2);
  const auto copy = nn::clone_state(net);
  run(opt, 2);
  const auto after = nn::clone_state(net);
  nn::load_state_dict(net, copy);
  run(again, 2);
  CHECK(nn::parameters(net)[0].to_vector() == after.at("0.weight").as<float, Cpu>().to_vector());
  dict["0.weight.other"] = scalar<float>(1);
  CHECK(check::missing(check::error_of([&] { again.load_state_dict(dict); }), {"no such state", "0.weight.other", "Adam"}) == "");
  dict.erase("0.weight.other"), dict.erase("0.weight.step");
  CHECK(check::missing(check::error_of([&] { again.load_state_dict(dict); }), {"missing", "0.weight.step"}) == "");
}
