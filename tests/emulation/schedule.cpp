#include <cstring>
#include <stdexcept>

#include "cuda/emulation/engine.hpp"
#include "kernels.hpp"

namespace emulation_test {

Schedule::Schedule(const std::string& policy, uint64_t seed, int workers) {
  auto& o = gradus::emu::options();
  saved_policy_ = gradus::emu::name_of(o.policy), saved_seed_ = o.seed, saved_workers_ = o.workers;
  o.policy = gradus::emu::policy_named(policy), o.seed = seed, o.workers = workers;
}
Schedule::~Schedule() {
  auto& o = gradus::emu::options();
  o.policy = gradus::emu::policy_named(saved_policy_), o.seed = saved_seed_, o.workers = saved_workers_;
}

}  // namespace emulation_test
