// Every mistake in bugs.cu is reported, with the line that carries its mark, under each order of threads that must show it.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "bugs.hpp"
#include "cuda/emulation/checks.hpp"
#include "cuda/emulation/memory.hpp"
#include "support/catch.hpp"

using namespace emulation_test;
namespace emu = gradus::emu;

namespace {

/// "bugs.cu:42" of the line with the mark.
std::string line_of(const std::string& mark) {
  std::ifstream in(GRADUS_BUGS_FILE);
  std::string text;
  for (int n = 1; std::getline(in, text); ++n)
    if (text.ends_with("// mark: " + mark)) return "bugs.cu:" + std::to_string(n);
  FAIL("no line with the mark " << mark);
  return "";
}

std::string report_of(const std::string& bug) {
  try {
    run_bug(bug);
  } catch (const gradus::Error& e) {
    return e.what();
  }
  return "nothing was reported";
}

bool says_one_of(const std::string& report, std::string texts) {
  for (std::size_t bar; (bar = texts.find('|')) != std::string::npos; texts.erase(0, bar + 1))
    if (report.find(texts.substr(0, bar)) != std::string::npos) return true;
  return report.find(texts) != std::string::npos;
}

struct Expected {
  const char* bug;
  const char* mark;        // null: no line of a kernel
  const char* says;        // or, behind a bar, what it says under orders in which nobody has written yet
  int check = 1;
  bool strict = false;
};

const std::vector<Expected> all = {
    {"missing_barrier_raw", "missing_barrier_raw", "race on s[|read before it was written: s["},
    {"missing_barrier_war", "missing_barrier_war", "race on s["},
    {"barrier_in_branch", "barrier_in_branch", "barrier divergence"},
    {"early_return", "early_return", "24 threads ended before a barrier that 40 wait at", 1, true},
    {"missing_syncwarp", "missing_syncwarp", "without __syncwarp()|read before it was written: s["},
    {"uninitialised_shared", "uninitialised_shared", "read before it was written: s[63]"},
    {"uninitialised_object", "uninitialised_object", "read before it was written: s[63]"},
    {"shared_out_of_bounds", "shared_out_of_bounds", "shared memory out of bounds"},
    {"stale_between_blocks", "stale_between_blocks", "read before it was written"},
    {"plain_histogram", "plain_histogram", "race on bins[3]"},
    {"wrong_mask", "wrong_mask", "wait for each other"},
    {"not_in_mask", "not_in_mask", "is not in the mask it gives, 0x0000ffff"},
    {"inactive_lane", "inactive_lane", "which is not in the mask 0x0000ffff"},
    {"ended_lane", "ended_lane", "which has ended"},
    {"different_masks", "different_masks", "with different masks"},
    {"warp_op_against_barrier", "warp_op_against_barrier", "wait for each other"},
    {"global_out_of_bounds", "global_out_of_bounds", "0 bytes behind the end of an allocation of 1024 bytes"},
    {"copy_plain_after_free", "copy_plain", "device memory used after it was freed"},
    {"copy_plain_from_host", "copy_plain", "memory that is not on the device"},
    {"misaligned", "misaligned", "16-byte access at an address that is not a multiple"},
    {"misaligned_cast", "misaligned_cast", "an address that is not a multiple"},
    {"accumulate_across_blocks", "accumulate_across_blocks", "different blocks, whose order is not defined", 2},
    {"previous_block", "previous_block", "different blocks, whose order is not defined", 2},
    {"unfenced_last_block", "unfenced_last_block", "different blocks, whose order is not defined", 2},
    {"neighbour_in_place", "neighbour_in_place", "race on device memory", 2},
    {"host_struct", "host_struct", "memory that is not on the device"},
    {"wait_off_by_one", "wait_off_by_one", "before the copy_async16 that fills it was waited for"},
    {"wait_without_barrier", "wait_without_barrier", "race on s[|read before it was written: s[|was waited for"},
    {"much_static_shared", "much_static_shared", "shared arrays of 52000 bytes"},
    {"too_many_threads", nullptr, "block     (1025, 1, 1)"},
    {"much_dynamic_shared", nullptr, "shared    204800 bytes"},
    {"endless_recursion", nullptr, "the stack of a thread is full"},
};

bool checked() {
  if (!emu::check_flags.instrumented) WARN("kernels of this build are not checked: another sanitizer is in use");
  return emu::check_flags.instrumented;
}

const char* policies[] = {"forward", "reverse", "random", "warp-lag", "prio"};

}  // namespace

TEST_CASE("each mistake is reported with its line under every schedule") {
  if (!checked()) return;
  for (const Expected& e : all) {
    const std::string line = e.mark ? line_of(e.mark) : std::string();
    for (const char* policy : policies) {
      const Schedule s(policy, 7);
      emu::options().check = e.check, emu::options().strict = e.strict;
      const std::string report = report_of(e.bug);
      emu::options().check = 1, emu::options().strict = false;
      INFO(e.bug << ", " << policy << "\n" << report);
      CHECK(says_one_of(report, e.says));
      CHECK(report.find(line) != std::string::npos);
      if (!e.mark) continue;
      CHECK(report.find("kernel    ") != std::string::npos);
      CHECK(report.find("launched at bugs.cu:") != std::string::npos);
      CHECK(report.find("GRADUS_EMU_SEED=7 GRADUS_EMU_SCHED=" + std::string(policy)) != std::string::npos);
    }
  }
}

TEST_CASE("a report names both places, the array element, block and threads") {
  if (!checked()) return;
  const Schedule late("reverse");
  const std::string report = report_of("neighbour_after_write");
  INFO(report);
  const std::string write = line_of("neighbour_after_write, written"), other = line_of("neighbour_after_write");
  CHECK(report.find("write     " + write + " by thread (") != std::string::npos);
  CHECK(report.find("read      " + other + " by thread (") != std::string::npos);
  CHECK(report.find("between   no __syncthreads()") != std::string::npos);
  CHECK(report.find("race on pair[1]") != std::string::npos);
  CHECK(report.find("kernel    emulation_test::neighbour_after_write") != std::string::npos);
  CHECK(report.find("block     (0, 0, 0), thread (") != std::string::npos);
}

TEST_CASE("an error ends the launch and leaves the device usable") {
  for (int i = 0; i < 3; ++i) {
    CHECK(report_of("barrier_in_branch").find("barrier divergence") != std::string::npos);
    CHECK(reverse_block({1, 2, 3, 4}) == Floats{4, 3, 2, 1});
  }
}

TEST_CASE("no blocks: the driver's error, and nothing to do for launch()") {
  CHECK(driver_error_of_empty_grid() == cudaErrorInvalidConfiguration);
  CHECK(scale({}, 2).empty());
}

TEST_CASE("leaks are listed by the line that allocated; a second free is an error") {
  const std::size_t before = emu::live_allocations().size();
  void* p = leaked_allocation();
  CHECK(emu::live_allocations().size() == before + 1);
  CHECK(emu::leak_report().find("1234 bytes in 1 allocations made at " + line_of("leaked_allocation")) != std::string::npos);
  free_device(p);
  CHECK(emu::live_allocations().size() == before);
  CHECK(free_twice() == cudaErrorInvalidValue);
}

TEST_CASE("a copy beyond the end of an allocation is an error") {
  std::string report;
  try {
    copy_beyond_the_end();
  } catch (const gradus::Error& e) {
    report = e.what();
  }
  INFO(report);
  CHECK(report.find("the destination of a copy of 64 bytes is not inside one live allocation") != std::string::npos);
  CHECK(report.find("an allocation of 32 bytes made at device_memory.cuh:") != std::string::npos);
  CHECK(report.find(line_of("copy_beyond_the_end")) != std::string::npos);
}

#if !defined(__SANITIZE_ADDRESS__)          // which has its own handler for faults
TEST_CASE("host code that reads device memory is stopped, with a word why") {
  scale({1, 2, 3, 4}, 1);                    // the device has been used
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    signal(SIGABRT, SIG_DFL);
    _exit(host_reads_device() == 2 ? 0 : 1);
  }
  close(ends[1]);
  std::string text;
  char buffer[512];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  INFO(text);
  CHECK(WIFSIGNALED(status));
  CHECK(text.find("gradus: host code uses device memory") != std::string::npos);
  CHECK(text.find("allocated at device_memory.cuh:") != std::string::npos);
}
#endif
