// gradus_bench: one JSON line a case, or, with --benchmark_* options, the same cases through Google Benchmark.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <regex>

#include <gradus.hpp>

#include "harness.hpp"

std::vector<bench::Case>& bench::cases() {
  static std::vector<Case> all;
  return all;
}

namespace {

struct Options {
  std::string pattern, dtype, device = "cpu", json;
  int threads = 1, reps = 15;
  double sample_ms = 20, warmup_s = 0.3;
  bool list = false, force = false;
};

[[noreturn]] void usage(const std::string& problem) {
  std::fprintf(stderr, "gradus_bench: %s\n  --case REGEX  --dtype f32|f64  --device cpu  --threads N  --reps R  --min-sample-ms M  --warmup-s S\n"
               "  --json FILE  --list  --force  or any --benchmark_* option of Google Benchmark\n", problem.c_str());
  std::exit(2);
}

double status_mb(const char* key) {   // "VmRSS:" or "VmHWM:" of this process
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key)) return std::atof(line.c_str() + std::strlen(key)) / 1024;
  return 0;
}
long preemptions() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return u.ru_nivcsw;
}
double seconds(const std::function<void()>& f, int n) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < n; ++i) f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string measure(const bench::Case& c, const Options& o) {
  if (std::ofstream clear("/proc/self/clear_refs"); clear) clear << 5;      // resets the peak
  const double base_mb = status_mb("VmRSS:");
  const bench::Work w = c.make();
  double spent = 0;
  int calls = 0;
  while (calls < 2 || spent < o.warmup_s) spent += seconds(w.call, 1), ++calls;
  const int inner = std::max(1, static_cast<int>(o.sample_ms * 1e-3 / (spent / calls)));
  const long before = preemptions();
  std::vector<double> us;
  for (int r = 0; r < o.reps; ++r) us.push_back(seconds(w.call, inner) / inner / w.ops * 1e6);
  const long preempted = preemptions() - before;
  std::sort(us.begin(), us.end());
  const auto quantile = [&](double q) {
    const double at = q * static_cast<double>(us.size() - 1);
    const auto i = static_cast<std::size_t>(at);
    return i + 1 < us.size() ? us[i] + (at - static_cast<double>(i)) * (us[i + 1] - us[i]) : us[i];
  };
  const double median = quantile(0.5), per_second = median * w.ops * 1e-6;
  char text[1024];
  std::snprintf(text, sizeof text,
                "{\"case\": \"%s\", \"shape\": \"%s\", \"dtype\": \"%s\", \"device\": \"%s\", \"threads\": %d, \"impl\": \"gradus\", "
                "\"version\": \"%s\", \"unit\": \"%s\", \"median_us\": %.6g, \"min_us\": %.6g, \"p90_us\": %.6g, \"spread\": %.4f, "
                "\"preempted\": %ld, \"reps\": %d, \"inner\": %d, \"flops\": %.17g, \"gflops\": %.4g, \"bytes\": %.17g, \"gbs\": %.4g, "
                "\"base_rss_mb\": %.1f, \"peak_rss_mb\": %.1f}",
                c.name.c_str(), c.shape.c_str(), c.dtype.c_str(), c.device, o.threads, GRADUS_VERSION_STRING, w.unit, median, us[0], quantile(0.9),
                (quantile(0.75) - quantile(0.25)) / median, preempted, o.reps, inner, w.flops, w.flops / per_second * 1e-9, w.bytes,
                w.bytes / per_second * 1e-9, base_mb, status_mb("VmHWM:"));
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  std::vector<char*> google{argv[0]};
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) usage(a + " needs a value");
      return argv[++i];
    };
    if (a.starts_with("--benchmark_")) google.push_back(argv[i]);
    else if (a == "--case") o.pattern = value();
    else if (a == "--dtype") o.dtype = value();
    else if (a == "--device") o.device = value();
    else if (a == "--threads") o.threads = std::atoi(value().c_str());
    else if (a == "--reps") o.reps = std::atoi(value().c_str());
    else if (a == "--min-sample-ms") o.sample_ms = std::atof(value().c_str());
    else if (a == "--warmup-s") o.warmup_s = std::atof(value().c_str());
    else if (a == "--json") o.json = value();
    else if (a == "--list") o.list = true;
    else if (a == "--force") o.force = true;
    else usage("unknown option " + a);
  }
  if (o.device != "cpu") usage("no device " + o.device + "; there is: cpu");
  if (o.threads < 1 || o.reps < 1 || !(o.sample_ms > 0)) usage("--threads and --reps need 1 or more, --min-sample-ms more than 0");
#ifndef __OPTIMIZE__
  if (!o.force) usage("built without optimisation; its times mean nothing (--force prints them all the same)");
#endif
  gradus::set_num_threads(o.threads);
  if (google.size() > 1) {
    for (const auto& c : bench::cases())
      benchmark::RegisterBenchmark((c.name + "/" + c.shape + "/" + c.dtype).c_str(), [&c](benchmark::State& state) {
        const bench::Work w = c.make();
        for (auto _ : state) w.call();
        state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(w.ops));
        if (w.bytes > 0) state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(w.bytes));
        if (w.flops > 0) state.counters["flops"] = benchmark::Counter(w.flops, benchmark::Counter::kIsIterationInvariantRate);
      });
    int n = static_cast<int>(google.size());
    benchmark::Initialize(&n, google.data());
    benchmark::RunSpecifiedBenchmarks();
    return 0;
  }
  // "name/shape" in full chooses that case; anything else is searched for as a regular expression.
  std::vector<const bench::Case*> chosen;
  for (const auto& c : bench::cases())
    if ((o.dtype.empty() || c.dtype == o.dtype) && c.name + "/" + c.shape == o.pattern) chosen.push_back(&c);
  if (chosen.empty()) {
    try {
      const std::regex re(o.pattern);
      for (const auto& c : bench::cases())
        if ((o.dtype.empty() || c.dtype == o.dtype) && std::regex_search(c.name + "/" + c.shape, re)) chosen.push_back(&c);
    } catch (const std::regex_error& e) {
      usage("--case '" + o.pattern + "' is not a regular expression: " + e.what());
    }
  }
  std::ofstream file;
  if (!o.json.empty()) {
    file.open(o.json);
    if (!file) usage("cannot write " + o.json);
  }
  for (const auto* c : chosen) {
    const std::string line = o.list ? c->name + "/" + c->shape + " " + c->dtype : measure(*c, o);
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
    if (file.is_open()) file << line << "\n";
  }
  return 0;
}
