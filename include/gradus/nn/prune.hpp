// Pruning by size: masks that stay, over a list of weights.
//
//   nn::MagnitudePruning<> pruning(weights);
//   pruning.prune(0.5);               // the smaller half of the survivors goes, over all weights together
//   opt.step(), pruning.apply();      // after every step: w *= mask
//
// Iterative magnitude pruning trains, prunes, puts the survivors back to where they started, and repeats. Han, Pool, Tran,
// Dally, NeurIPS 2015; Frankle & Carbin, "The lottery ticket hypothesis", ICLR 2019.
#pragma once
#include <cmath>
#include <vector>

#include <gradus/nn/module.hpp>
#include <gradus/ops/index.hpp>
#include <gradus/ops/sort.hpp>
#include <gradus/ops/view.hpp>

namespace gradus::nn {

template <class T = float, class D = Cpu>
class MagnitudePruning {
 public:
  explicit MagnitudePruning(std::vector<Tensor<T, D>> weights, Where at = Where::current()) : weights_(std::move(weights)) {
    if (weights_.empty()) fail("MagnitudePruning", "no weights", {}, "at least one tensor", at);
    for (const auto& w : weights_) masks_.push_back(ones<T, D>(w.shape(), at)), total_ += w.numel();
  }
  /// Removes the round(share * survivors) survivors of the smallest |w|; of equal ones those that come first.
  void prune(double share, Where at = Where::current()) {
    if (!(share >= 0 && share <= 1))
      fail("MagnitudePruning::prune", "not a share", {{"share", std::to_string(share)}}, "0 <= share <= 1", at);
    const NoGrad guard;
    std::vector<Tensor<T, D>> sizes;  // -1 where a weight is gone, so that it stays gone
    for (std::size_t i = 0; i < weights_.size(); ++i)
      sizes.push_back(gradus::reshape(where(equal(masks_[i], 0, at), -1.0, abs(weights_[i].detach(), at), at), {-1}, at));
    removed_ += std::llround(share * static_cast<double>(total_ - removed_));
    const auto order = argsort(cat(sizes, 0, at), 0, false, at);
    const auto kept = narrow(order, 0, removed_, total_ - removed_, 1, at);
    const auto mask = index_add(zeros<T, D>({total_}, at), 0, kept, ones<T, D>({total_ - removed_}, at), at);
    int64_t begin = 0;
    for (auto& m : masks_) {
      m = contiguous(gradus::reshape(narrow(mask, 0, begin, m.numel(), 1, at), m.shape(), at), at);
      begin += m.numel();
    }
    apply(at);
  }
  /// w *= mask, for each weight.
  void apply(Where at = Where::current()) {
    const NoGrad guard;
    for (std::size_t i = 0; i < weights_.size(); ++i) weights_[i].copy_(mul(weights_[i].detach(), masks_[i], at), at);
  }
  /// The share of weights that are left.
  double remaining() const { return static_cast<double>(total_ - removed_) / static_cast<double>(total_); }
  const std::vector<Tensor<T, D>>& masks() const { return masks_; }  ///< 1 and 0, in the weights' shapes

 private:
  std::vector<Tensor<T, D>> weights_, masks_;
  int64_t total_ = 0, removed_ = 0;
};

}  // namespace gradus::nn
