// What a run found: figures for each method, metric and seed, and checks against bounds. Written as OUT/metrics.json.
//
//   app::Metrics m("multi-sample-dropout", name_of(args.setting), args.seed_list());
//   m.add("M = 8", "test error %", 16.2);           // once a seed
//   m.check("M = 8 over M = 1, iterations", 0.71, "<=", 0.8);
//   std::cout << m.table();
//   m.write(args.out);
//   return m.exit_code(args.check);
#pragma once
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/resource.h>
#include <sys/utsname.h>

#include <gradus/app/table.hpp>
#include <gradus/core/config.hpp>
#include <gradus/core/error.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/io/file.hpp>
#include <gradus/io/json.hpp>

namespace gradus::app {

/// One condition on a result: `value op bound`.
struct Check {
  std::string name;
  double value;
  std::string op;
  double bound;
  bool ok;
};

using NamedTexts = std::vector<std::pair<std::string, std::string>>;

inline std::string compiler_text() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "g++ " __VERSION__;
#else
  return "unknown";
#endif
}

/// What the compiler was told, as far as it shows; a build may define GRADUS_BUILD_FLAGS to give its own words.
inline std::string flags_text() {
#if defined(GRADUS_BUILD_FLAGS)
  return GRADUS_BUILD_FLAGS;
#else
  std::string s;
  [[maybe_unused]] const auto add = [&s](const char* word) { s += (s.empty() ? "" : " ") + std::string(word); };
#if defined(__OPTIMIZE__)
  add("optimized");
#else
  add("not-optimized");
#endif
#if defined(NDEBUG)
  add("ndebug");
#endif
#if defined(__AVX512F__)
  add("avx512");
#elif defined(__AVX2__)
  add("avx2");
#endif
#if defined(__FMA__)
  add("fma");
#endif
#if defined(_OPENMP)
  add("openmp");
#endif
#if defined(__FAST_MATH__)
  add("fast-math");
#endif
#if GRADUS_ASAN
  add("asan");
#endif
  return s;
#endif
}

inline std::string cpu_name() {
  std::ifstream f("/proc/cpuinfo");
  for (std::string line; std::getline(f, line);)
    if (line.rfind("model name", 0) == 0 || line.rfind("Model", 0) == 0)
      if (const std::size_t colon = line.find(": "); colon != line.npos) return line.substr(colon + 2);
  utsname u{};
  return ::uname(&u) == 0 ? u.machine : "unknown";
}

/// What a figure depends on besides the source: written into metrics.json and under each report.
inline NamedTexts versions() {
  utsname u{};
  const std::string system = ::uname(&u) == 0 ? std::string(u.sysname) + " " + u.release : "unknown";
  return {{"gradus", GRADUS_VERSION_STRING},
          {"compiler", compiler_text()},
          {"flags", flags_text()},
          {"cpu", cpu_name()},
          {"threads", std::to_string(num_threads())},
          {"system", system}};
}

/// The most memory this process has had, in MB of 2^20 bytes.
inline double peak_rss_mb() {
  rusage r{};
  ::getrusage(RUSAGE_SELF, &r);
  return static_cast<double>(r.ru_maxrss) / 1024;  // Linux counts in KiB
}

/// "2026-01-31T12:34:56Z"
inline std::string utc_now() {
  const std::time_t t = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&t, &parts);
  char b[32];
  std::strftime(b, sizeof b, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return b;
}

class Metrics {
 public:
  using Values = std::vector<double>;
  struct Metric {
    std::string name;
    Values values;  // one for each seed, in the order of add()
  };
  struct Method {
    std::string name;
    std::vector<Metric> metrics;
  };

  Metrics(std::string paper, std::string setting, std::vector<uint64_t> seeds)
      : paper_(std::move(paper)),
        setting_(std::move(setting)),
        seeds_(std::move(seeds)),
        start_(std::chrono::steady_clock::now()),
        started_(utc_now()) {}

  /// The next seed's value. Methods and metrics keep the order in which they first appear.
  void add(std::string_view method, std::string_view metric, double value) {
    find(find(methods_, method).metrics, metric).values.push_back(value);
  }
  /// The values so far; empty when there are none.
  Values values(std::string_view method, std::string_view metric) const {
    for (const Method& m : methods_)
      if (m.name == method)
        for (const Metric& k : m.metrics)
          if (k.name == metric) return k.values;
    return {};
  }
  MeanStd mean(std::string_view method, std::string_view metric) const { return mean_std(values(method, metric)); }

  /// Records `value op bound` with op one of < <= > >= == !=; NaN never passes. Says whether it holds.
  bool check(std::string name, double value, std::string_view op, double bound, Where at = Where::current()) {
    bool ok = false;
    if (op == "<") ok = value < bound;
    else if (op == "<=") ok = value <= bound;
    else if (op == ">") ok = value > bound;
    else if (op == ">=") ok = value >= bound;
    else if (op == "==") ok = value == bound;
    else if (op == "!=") ok = value != bound;
    else fail("Metrics::check", "unknown comparison", {{"check", name}, {"op", std::string(op)}}, "<, <=, >, >=, == or !=", at);
    ok = ok && !std::isnan(value) && !std::isnan(bound);
    checks_.push_back({std::move(name), value, std::string(op), bound, ok});
    return ok;
  }
  /// A condition that is no comparison of figures.
  bool check(std::string name, bool holds) { return check(std::move(name), holds ? 1.0 : 0.0, "==", 1.0); }

  bool ok() const {
    for (const Check& c : checks_)
      if (!c.ok) return false;
    return true;
  }
  /// What main() returns: 1 when checks are enforced (--check) and one has failed.
  int exit_code(bool enforce) const { return enforce && !ok() ? 1 : 0; }

  const std::string& paper() const { return paper_; }
  const std::string& setting() const { return setting_; }
  const std::string& started() const { return started_; }
  const std::vector<uint64_t>& seeds() const { return seeds_; }
  const std::vector<Method>& methods() const { return methods_; }
  const std::vector<Check>& checks() const { return checks_; }
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

  /// A row for each method, a column for each metric, mean ± standard deviation over the seeds.
  Table table(int digits = 4) const {
    Table t;
    t.columns.push_back("method");
    for (const Method& m : methods_)
      for (const Metric& k : m.metrics)
        if (std::find(t.columns.begin() + 1, t.columns.end(), k.name) == t.columns.end()) t.columns.push_back(k.name);
    for (const Method& m : methods_) {
      std::vector<std::string> cells{m.name};
      for (std::size_t c = 1; c < t.columns.size(); ++c) {
        const Values v = values(m.name, t.columns[c]);
        cells.push_back(v.empty() ? "-" : figure(mean_std(v), digits));
      }
      t.row(std::move(cells));
    }
    return t;
  }
  Table checks_table() const {
    Table t;
    t.columns = {"check", "value", "", "bound", "result"};
    for (const Check& c : checks_) t.row({c.name, figure(c.value), c.op, plain(c.bound), c.ok ? "ok" : "FAILED"});
    return t;
  }

  std::string json() const {
    io::JsonWriter j;
    j.object().key("paper").value(paper_).key("setting").value(setting_).key("seeds").numbers(seeds_);
    j.key("metrics").object();
    for (const Method& m : methods_) {
      j.key(m.name).object();
      for (const Metric& k : m.metrics) j.key(k.name).numbers(k.values);
      j.end();
    }
    j.end().key("checks").array();
    for (const Check& c : checks_) {
      j.object().key("name").value(c.name).key("value").value(c.value).key("op").value(c.op);
      j.key("bound").value(c.bound).key("ok").value(c.ok).end();
    }
    j.end().key("seconds").value(std::round(seconds() * 1e3) / 1e3);
    j.key("peak_rss_mb").value(std::round(peak_rss_mb() * 10) / 10);
    j.key("started").value(started_).key("versions").object();
    for (const auto& [name, text] : versions()) j.key(name).value(text);
    j.end().end();
    return j.str();
  }
  /// Writes DIR/metrics.json in one step and returns its path. A value that is not finite is null there.
  std::filesystem::path write(const std::filesystem::path& dir, Where at = Where::current()) const {
    const std::filesystem::path path = dir / "metrics.json";
    io::write_atomically(path, json(), at);
    return path;
  }

 private:
  template <class V>
  static typename V::value_type& find(V& list, std::string_view name) {
    for (auto& entry : list)
      if (entry.name == name) return entry;
    list.push_back({std::string(name), {}});
    return list.back();
  }
  std::string paper_, setting_;
  std::vector<uint64_t> seeds_;
  std::vector<Method> methods_;
  std::vector<Check> checks_;
  std::chrono::steady_clock::time_point start_;
  std::string started_;
};

}  // namespace gradus::app
