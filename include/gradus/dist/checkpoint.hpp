// A checkpoint of several processes: one file, written by rank 0, from which any number of ranks can go on.
//
//   training::Checkpoint run(path);
//   run("model", net)("optimizer", opt)("random", generator())("data", loader)("step", step);
//   dist::share(run, world);
//   manual_seed(seed);
//   run.load();
//   world.fork_random();                    // each rank its own masks, from the state of rank 0
//   ... if (run.save_every(60)) break;      // all ranks at the same step, also after Ctrl-C
#pragma once
#include <gradus/dist/group.hpp>
#include <gradus/training/checkpoint.hpp>

namespace gradus::dist {

inline training::Checkpoint& share(training::Checkpoint& run, Group& group) {
  return run.shared(group.is_root(), [&group](bool v) { return group.any(v); });
}

}  // namespace gradus::dist
