// Learning rates over time: plain functions of the epoch or step, to be given to set_lr().
#pragma once
#include <cmath>
#include <cstdint>
#include <initializer_list>

namespace gradus::optim {

/// lr * factor^floor(epoch / every)
inline double step_lr(double lr, int64_t epoch, int64_t every, double factor = 0.1) {
  return lr * std::pow(factor, static_cast<double>(epoch / every));
}
/// lr * factor for each milestone that is reached.
inline double multi_step_lr(double lr, int64_t epoch, std::initializer_list<int64_t> milestones, double factor = 0.1) {
  for (const int64_t m : milestones) lr *= epoch >= m ? factor : 1;
  return lr;
}
/// From lr at step 0 to `end` at step `total` along half a cosine, after a linear rise over `warmup` steps. Loshchilov & Hutter
/// 2017.
inline double cosine_lr(double lr, int64_t step, int64_t total, int64_t warmup = 0, double end = 0) {
  if (step < warmup) return lr * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (step >= total) return end;
  const double part = static_cast<double>(step - warmup) / static_cast<double>(total - warmup);
  return end + (lr - end) * 0.5 * (1 + std::cos(3.14159265358979323846 * part));
}

}  // namespace gradus::optim
