// The command line that every example understands, on CLI11.
//
//   int main(int argc, char** argv) {
//     int copies = 8;
//     const app::Args args = app::parse_args(argc, argv, {"multi-sample-dropout", "Inoue 2019: M masks a step"}, {.seeds = 3},
//         [&](CLI::App& cli) { cli.add_option("--M", copies, "dropout samples a step")->check(CLI::PositiveNumber); });
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <gradus/core/config.hpp>
#include <gradus/core/device.hpp>
#include <gradus/core/error.hpp>
#include <gradus/core/parallel.hpp>

namespace gradus::app {

/// How much to run: smoke takes seconds and proves only that all of it runs, quick minutes, paper the paper's own setting.
enum class Setting { smoke, quick, normal, paper };

inline const char* name_of(Setting s) {
  constexpr const char* names[] = {"smoke", "quick", "default", "paper"};
  return names[static_cast<int>(s)];
}

struct Args {
  Setting setting = Setting::normal;
  std::string data = {};  ///< --data: where data files are; empty: the usual places
  std::string device = "cpu";
  uint64_t seed = 0;         ///< the first seed
  int seeds = 1;             ///< how many, from `seed` on
  int threads = 0;           ///< 0: OMP_NUM_THREADS or all cores
  std::string out = {};      ///< --out, or out/<slug>
  bool check = false;        ///< exit code 1 when a check fails
  bool seeds_given = false;  ///< --seeds was on the command line
  std::string command = {};  ///< the whole command line, for the report

  /// The value for the setting asked for; `normal` when nothing was.
  template <class T>
  T pick(T smoke, T quick, T normal, T paper) const {
    return setting == Setting::smoke ? smoke : setting == Setting::quick ? quick : setting == Setting::paper ? paper : normal;
  }
  std::vector<uint64_t> seed_list() const {
    std::vector<uint64_t> list;
    for (int k = 0; k < seeds; ++k) list.push_back(seed + static_cast<uint64_t>(k));
    return list;
  }
};

struct Program {
  std::string slug, about;
};

namespace detail {
// Edit distance, for "did you mean".
inline std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}
inline std::string nearest_option(const CLI::App& cli, const std::string& wrong) {
  std::string best;
  std::size_t best_distance = 3;  // further away is no misspelling
  for (const CLI::Option* o : cli.get_options())
    for (const std::string& name : o->get_lnames())
      if (const std::size_t d = distance("--" + name, wrong.substr(0, wrong.find('='))); d < best_distance) {
        best_distance = d;
        best = "--" + name;
      }
  return best;
}
inline std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_of(" \t\n\"'\\$`*?;&|<>()#~") == std::string::npos;
  if (plain) return word;
  std::string s = "'";
  for (const char c : word) c == '\'' ? s += "'\\''" : s += c;
  return s + "'";
}
}  // namespace detail

/// Reads the command line into `args`, whose values on entry are the defaults. Empty when the program should go on, else its
/// exit code: 0 after --help and --version, 2 after a wrong command line, which is explained on `err`.
inline std::optional<int> read_args(Args& args, int argc, const char* const* argv, const Program& program,
                                    const std::function<void(CLI::App&)>& extra = {}, std::ostream& out = std::cout,
                                    std::ostream& err = std::cerr) {
  CLI::App cli(program.about, program.slug);
  bool smoke = false, quick = false, paper = false;
  const std::string size = "How much to run (one of; the default lies between quick and paper)";
  auto* q = cli.add_flag("--quick", quick, "minutes: a small setting that still shows the effect")->group(size);
  auto* p = cli.add_flag("--paper", paper, "the paper's own setting, as far as the data allows")->group(size);
  auto* s = cli.add_flag("--smoke", smoke, "seconds: proves only that all of it runs")->group(size);
  q->excludes(p)->excludes(s);
  p->excludes(s);
  const std::string common = "Options of every example";
  cli.add_option("--data", args.data, "directory of the data files")->type_name("DIR")->group(common);
  cli.add_option("--device", args.device, "cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->group(common)
      ->capture_default_str();
  cli.add_option("--seed", args.seed, "first random seed")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N")
      ->group(common)
      ->capture_default_str();
  auto* seeds = cli.add_option("--seeds", args.seeds, "how many seeds to run")
                    ->type_name("K")
                    ->check(CLI::Range(1, 10000))
                    ->group(common);
  seeds->capture_default_str();
  cli.add_option("--threads", args.threads, "CPU threads; 0: all cores")
      ->type_name("N")
      ->check(CLI::Range(0, 4096))
      ->group(common);
  if (args.out.empty()) args.out = "out/" + program.slug;
  cli.add_option("--out", args.out, "directory for results")->type_name("DIR")->group(common)->capture_default_str();
  cli.add_flag("--check", args.check, "exit with 1 when a check of the results fails")->group(common);
  cli.set_version_flag("--version", "gradus " GRADUS_VERSION_STRING);
  cli.get_option("--help")->group(common);
  cli.get_option("--version")->group(common);
  if (extra) extra(cli);

  try {
    cli.parse(argc, argv);
  } catch (const CLI::Success& e) {  // --help, --version
    cli.exit(e, out, err);
    return 0;
  } catch (const CLI::ParseError& e) {
    err << program.slug << ": " << e.what() << "\n";
    for (const std::string& wrong : cli.remaining())
      if (const std::string near = detail::nearest_option(cli, wrong); !near.empty())
        err << "  " << wrong << ": did you mean " << near << "?\n";
    err << "  " << program.slug << " --help lists the options\n";
    return 2;
  }
  args.setting = smoke ? Setting::smoke : quick ? Setting::quick : paper ? Setting::paper : Setting::normal;
  args.seeds_given = seeds->count() > 0;
  args.command.clear();
  for (int i = 0; i < argc; ++i) args.command += (i ? " " : "") + detail::quoted(argv[i]);
  if (args.threads > 0) set_num_threads(args.threads);
  else args.threads = num_threads();
  return std::nullopt;
}

/// read_args for main(): ends the process after --help or a wrong command line.
inline Args parse_args(int argc, const char* const* argv, const Program& program, Args defaults = {},
                       const std::function<void(CLI::App&)>& extra = {}) {
  if (const auto code = read_args(defaults, argc, argv, program, extra)) std::exit(*code);
  return defaults;
}

/// body(D{}) with the device D of --device; a device that this build lacks is an error.
///   return app::on_device(args, [&]<class D>(D) { return reproduce<D>(args, options); });
template <class F>
int on_device(const Args& args, F&& body, Where at = Where::current()) {
  if constexpr (kWithCuda) {
    if (args.device == "cuda") return body(Cuda{});
  }
  if (args.device != "cpu")
    fail("--device", "this build has no such device", {{"device", args.device}},
         "cpu; cuda in a build with GRADUS_CUDA=ON or EMULATED", at);
  return body(Cpu{});
}

/// The body of main(): an error is printed in full and becomes exit code 1.
///   int main(int argc, char** argv) { return app::run([&] { ... return metrics.exit_code(args.check); }); }
template <class F>
int run(F&& body) {
  try {
    return body();
  } catch (const std::exception& e) {
    std::cout.flush();
    std::cerr << e.what() << std::endl;
    return 1;
  }
}

}  // namespace gradus::app
