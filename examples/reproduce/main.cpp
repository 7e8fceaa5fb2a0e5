// All papers, one after the other, and one table of what holds: reproduce --all --quick
//
// Each paper is its own program and process. Its output goes to OUT/<slug>/log.txt, its figures are read from the
// OUT/<slug>/metrics.json that it writes. What has run in this setting since the program was built is not run again, so
// that an interrupted command goes on where it was (--again runs it all).
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include <gradus/app/args.hpp>
#include <gradus/app/finish.hpp>
#include <gradus/app/metrics.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/app/report.hpp>
#include <gradus/app/table.hpp>
#include <gradus/core/error.hpp>
#include <gradus/io/file.hpp>

namespace {
namespace fs = std::filesystem;
using namespace gradus;
using nlohmann::json;

struct Options {
  std::vector<std::string> slugs;
  bool all = false, again = false;
  std::string bin;
  double limit = 0;  ///< seconds a paper may take; 0: any
};

struct Outcome {
  std::string slug;
  int status = 0;             ///< exit code, or 128 + the signal
  bool kept = false;          ///< its figures are those of an earlier run
  std::optional<json> found;  ///< its metrics.json
};

constexpr const char* kPrefix = "example_";

std::string program_of(const Options& o, std::string slug) {
  std::replace(slug.begin(), slug.end(), '-', '_');
  return (fs::path(o.bin) / (kPrefix + slug)).string();
}

std::vector<std::string> slugs_in(const std::string& bin) {
  std::vector<std::string> list;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(bin, missing)) {
    std::string name = entry.path().filename().string();
    if (name.rfind(kPrefix, 0) != 0) continue;
    name.erase(0, std::strlen(kPrefix));
    std::replace(name.begin(), name.end(), '_', '-');
    list.push_back(name);
  }
  std::sort(list.begin(), list.end());
  return list;
}

/// The figures in DIR, if they are of this setting and seed and newer than `than`.
std::optional<json> figures(const fs::path& dir, const app::Args& args, fs::file_time_type than) {
  const fs::path path = dir / "metrics.json";
  std::error_code none;
  const auto written = fs::last_write_time(path, none);
  if (none || written < than) return std::nullopt;
  json j = json::parse(std::ifstream(path), nullptr, false);
  if (j.is_discarded() || !j.is_object() || !j.contains("checks") || j.value("setting", "") != app::name_of(args.setting))
    return std::nullopt;
  const auto seeds = j.value("seeds", std::vector<uint64_t>{});
  if (seeds.empty() || seeds.front() != args.seed || (args.seeds_given && seeds != args.seed_list())) return std::nullopt;
  return j;
}

std::vector<std::string> command_of(const Options& o, const app::Args& args, const std::string& slug) {
  std::vector<std::string> words{program_of(o, slug), "--check", "--out", (fs::path(args.out) / slug).string()};
  if (args.setting != app::Setting::normal) words.push_back(std::string("--") + app::name_of(args.setting));
  const auto add = [&](const char* name, const std::string& value) { words.insert(words.end(), {name, value}); };
  if (!args.data.empty()) add("--data", args.data);
  if (args.device != "cpu") add("--device", args.device);
  if (args.seed != 0) add("--seed", std::to_string(args.seed));
  if (args.seeds_given) add("--seeds", std::to_string(args.seeds));
  add("--threads", std::to_string(args.threads));
  return words;
}

/// Runs a program with its output in `log`; `waiting` is called ten times a second. Exit code, or 128 + the signal.
template <class F>
int run_program(std::vector<std::string> words, const fs::path& log, double limit, F&& waiting) {
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  pid_t child = 0;
  const int error = ::posix_spawn(&child, argv[0], &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0)
    fail("reproduce", "cannot start a program", {{"program", words[0]}, {"error", std::strerror(error)}}, "an executable",
         Where::current());
  const auto start = std::chrono::steady_clock::now();
  bool told = false;
  for (;;) {
    int state = 0;
    const pid_t ended = ::waitpid(child, &state, WNOHANG);
    if (ended == child) return WIFSIGNALED(state) ? 128 + WTERMSIG(state) : WEXITSTATUS(state);
    if (ended < 0 && errno != EINTR)
      fail("reproduce", "lost a program", {{"program", words[0]}}, "its exit code", Where::current());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (!told && (app::interrupted() || (limit > 0 && seconds > limit))) {  // it saves what it has, then ends
      ::kill(child, SIGTERM);
      told = true;
    }
    waiting(seconds);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

std::string last_lines(const fs::path& log, std::size_t count) {
  std::ifstream in(log);
  std::vector<std::string> lines;
  for (std::string s; std::getline(in, s);) lines.push_back("    " + s);
  std::string text;
  for (std::size_t i = lines.size() > count ? lines.size() - count : 0; i < lines.size(); ++i) text += lines[i] + "\n";
  return text;
}

std::string state_of(const Outcome& o) {
  if (o.status > 128) return std::string("ended by signal: ") + ::strsignal(o.status - 128);
  if (!o.found) return "no figures, exit code " + std::to_string(o.status);
  std::size_t good = 0;
  const json& checks = (*o.found)["checks"];
  for (const json& c : checks) good += c.value("ok", false);
  if (o.status > 1) return "exit code " + std::to_string(o.status);
  if (checks.empty()) return "ran; states nothing in this setting";
  return std::to_string(good) + " of " + std::to_string(checks.size()) + " hold";
}

int reproduce(const app::Args& args, Options& o) {
  const auto known = slugs_in(o.bin);
  if (known.empty())
    fail("reproduce", "no example is built", {{"--bin", o.bin}}, "a folder with example_<slug> programs", Where::current());
  if (o.all) o.slugs = known;
  for (const std::string& s : o.slugs)
    if (!std::binary_search(known.begin(), known.end(), s)) {
      std::string names;
      for (const std::string& k : known) names += (names.empty() ? "" : ", ") + k;
      fail("reproduce", "there is no such example", {{"given", s}}, names, Where::current());
    }
  if (o.slugs.empty()) fail("reproduce", "nothing to run", {}, "--all, or names of examples", Where::current());

  app::catch_interrupt();
  std::vector<Outcome> outcomes;
  {
    app::Progress bar(static_cast<int64_t>(o.slugs.size()), "papers");
    for (const std::string& slug : o.slugs) {
      if (app::interrupted()) break;
      const fs::path dir = fs::path(args.out) / slug;
      fs::create_directories(dir);
      Outcome out;
      out.slug = slug;
      bar.suffix(slug);
      if (!o.again) out.found = figures(dir, args, fs::last_write_time(program_of(o, slug)));
      out.kept = out.found.has_value();
      if (!out.kept) {
        const auto before = fs::file_time_type::clock::now() - std::chrono::seconds(1);
        out.status = run_program(command_of(o, args, slug), dir / "log.txt", o.limit, [&](double seconds) {
          bar.suffix(slug + " " + app::duration_text(seconds));
          bar.step(int64_t{0});
        });
        if (app::interrupted()) break;
        out.found = figures(dir, args, before);
        if (!out.found || out.status > 1)
          std::cerr << "\n"
                    << slug << ": " << state_of(out) << "; the end of " << (dir / "log.txt").string() << ":\n"
                    << last_lines(dir / "log.txt", 12);
      }
      outcomes.push_back(std::move(out));
      bar.step();
    }
  }

  app::Metrics metrics("reproduce", app::name_of(args.setting), args.seed_list());
  app::Table papers, failed;
  papers.columns = {"paper", "checks", "seeds", "minutes", "peak MB", ""};
  failed.columns = {"paper", "check that does not hold", "value", "", "bound"};
  std::size_t whole = 0;
  for (const Outcome& out : outcomes) {
    const bool ended = out.found && out.status <= 1;
    metrics.check(out.slug + ": runs to its end", ended);
    bool all_hold = ended;
    if (out.found) {
      metrics.add(out.slug, "seconds", out.found->value("seconds", NAN));
      metrics.add(out.slug, "peak MB", out.found->value("peak_rss_mb", NAN));
      for (const json& c : (*out.found)["checks"]) {
        const auto number = [&](const char* key) { return c[key].is_number() ? c[key].get<double>() : NAN; };
        const std::string name = c.value("name", ""), op = c.value("op", "==");
        if (metrics.check(out.slug + ": " + name, number("value"), op, number("bound"))) continue;
        all_hold = false;
        failed.row({out.slug, name, app::figure(number("value")), op, app::plain(number("bound"))});
      }
    }
    whole += all_hold;
    const auto cell = [&](const char* key, double unit) {
      return out.found ? app::figure(out.found->value(key, NAN) / unit, 3) : std::string("-");
    };
    papers.links.push_back(fs::exists(fs::path(args.out) / out.slug / "report.html") ? out.slug + "/report.html" : "");
    papers.row({out.slug, state_of(out), out.found ? std::to_string((*out.found)["seeds"].size()) : "-", cell("seconds", 60),
                cell("peak_rss_mb", 1), out.kept ? "of an earlier run" : ""});
  }
  std::cout << papers;
  if (!failed.rows.empty()) std::cout << "\n" << failed;

  app::Report report("Papers rebuilt with gradus");
  report.key("papers of which all statements hold", std::to_string(whole) + " of " + std::to_string(outcomes.size()),
             std::string(app::name_of(args.setting)) + " setting");
  report.table(papers, "Each name opens the paper's own page.");
  if (!failed.rows.empty())
    report.heading("What does not hold").text("Each paper's README says why, and which statement does.").table(failed);
  if (outcomes.size() < o.slugs.size())
    report.text(std::to_string(o.slugs.size() - outcomes.size()) + " of them were not run: interrupted.");
  return app::finish(report, metrics, args);
}
}  // namespace

int main(int argc, char** argv) {
  Options o;
  o.bin = (fs::path(argv[0]).parent_path() / ".").string();
  app::Args args =
      app::parse_args(argc, argv, {"reproduce", "Runs papers one after the other and writes one table of what holds"},
                      {.check = true}, [&](CLI::App& cli) {
                        cli.add_option("SLUG", o.slugs, "examples to run");
                        cli.add_flag("--all", o.all, "all of them");
                        cli.add_flag("--again", o.again, "also those that have run in this setting since they were built");
                        cli.add_option("--limit", o.limit, "minutes a paper may take; 0: any")->check(CLI::NonNegativeNumber);
                        cli.add_option("--bin", o.bin, "folder of the programs")->type_name("DIR");
                      });
  o.limit *= 60;
  return app::run([&] { return reproduce(args, o); });
}
