// The end of an example: its page and figures are written, and main() gets its exit code.
#pragma once
#include <iostream>

#include <gradus/app/args.hpp>
#include <gradus/app/metrics.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/app/report.hpp>

namespace gradus::app {

/// Writes OUT/report.html and OUT/metrics.json and says where; 130 after Ctrl-C, else 1 when a check is enforced and fails,
/// else 0.
inline int finish(Report& report, const Metrics& metrics, const Args& args, std::ostream& out = std::cout) {
  report.run(metrics, args.command).write(args.out);
  out << "wrote " << args.out << "/report.html and " << metrics.write(args.out).string() << "\n";
  return interrupted() ? 130 : metrics.exit_code(args.check);
}

}  // namespace gradus::app
