// An optimiser whose states are shared out: each parameter has an owner, who alone keeps its moments and makes its step, and
// then sends it to the others. Rajbhandari et al. 2020 (ZeRO), stage 1; with the owners given to DataParallel also stage 2,
// where the owner alone keeps the gradient.
//
//   dist::Sharded<optim::AdamW<>> opt(net, world, {.lr = 1e-3});
//   dist::DataParallel parallel(net, world, {.owners = opt.owners()});       // stage 2; without owners: stage 1
//   ... parallel.finish(); opt.clip_grad_norm(1); opt.step();
//
// Whole tensors are shared out, so that optimisers that need matrices work (Muon, Shampoo); one tensor that is larger than all
// others together leaves its owner with more than its share, which share() tells.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gradus/dist/group.hpp>
#include <gradus/io/safetensors.hpp>
#include <gradus/nn/module.hpp>
#include <gradus/optim/clip.hpp>
#include <gradus/training/checkpoint.hpp>

namespace gradus::dist {

/// An owner for each of the sizes, so that ranks have about equal sums: the largest first, each to the rank that has least.
inline std::vector<int> share_out(const std::vector<int64_t>& sizes, int ranks) {
  std::vector<std::size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return sizes[a] > sizes[b]; });
  std::vector<int64_t> load(static_cast<std::size_t>(ranks), 0);
  std::vector<int> owner(sizes.size());
  for (const std::size_t i : order) {
    const auto least = std::min_element(load.begin(), load.end());
    owner[i] = static_cast<int>(least - load.begin());
    *least += std::max<int64_t>(1, sizes[i]);
  }
  return owner;
}

/// The entries of all ranks' dictionaries, on every rank. Where several have an entry, that of the lowest rank counts.
inline nn::StateDict gather_state(Group& group, const nn::StateDict& own, Where at = Where::current()) {
  nn::StateDict all;
  const NoGrad guard;
  for (int r = 0; r < group.size(); ++r) {
    const int64_t count = group.sum(r == group.rank() ? static_cast<int64_t>(own.size()) : int64_t{0}, at);
    auto next = own.begin();
    for (int64_t k = 0; k < count; ++k) {
      std::string name;
      std::vector<int64_t> head;  // dtype, extents
      AnyTensor x;
      if (r == group.rank()) {
        name = next->first, x = next->second, ++next;
        head.push_back(static_cast<int64_t>(x.dtype()));
        for (int i = 0; i < x.rank(); ++i) head.push_back(x.shape()[i]);
      }
      name = group.broadcast(std::move(name), r, at);
      std::string bytes(reinterpret_cast<const char*>(head.data()), head.size() * sizeof(int64_t));
      bytes = group.broadcast(std::move(bytes), r, at);
      head.resize(bytes.size() / sizeof(int64_t));
      std::memcpy(head.data(), bytes.data(), bytes.size());
      const Shape shape(head.data() + 1, head.size() - 1);
      io::detail::with_dtype(static_cast<DType>(head[0]), [&](auto v) {
        using T = decltype(v);
        Tensor<T, Cpu> y(shape, at);
        if (r == group.rank()) y.copy_(training::detail::to_host(x, at).template as<T, Cpu>(at), at);
        group.broadcast(y, r, at);
        all.try_emplace(name, y);
      });
    }
  }
  return all;
}

template <class Opt>
class Sharded {
 public:
  using T = typename Opt::value_type;
  using D = typename Opt::device_type;
  using Options = decltype(Opt::options);

  template <nn::Module M>
  Sharded(M& net, Group& group, Options o = {}, Where at = Where::current())
      : group_(group), params_(nn::trainable_parameters(net, at)) {
    std::vector<int64_t> sizes;
    for (const auto& p : params_) sizes.push_back(p.numel());
    owners_ = share_out(sizes, group.size());
    std::vector<Tensor<T, D>> own;
    for (std::size_t i = 0; i < params_.size(); ++i)
      if (owners_[i] == group.rank()) own.push_back(params_[i]);
    if (static_cast<int>(params_.size()) < group.size())
      fail("Sharded", "fewer parameters than ranks",
           {{"parameters", std::to_string(params_.size())}, {"ranks", std::to_string(group.size())}},
           "one for each rank at least", at);
    local_.emplace(std::move(own), std::move(o), at);
  }

  /// The rank that keeps the states of each of nn::trainable_parameters(net).
  const std::vector<int>& owners() const { return owners_; }
  /// The optimiser of this rank's parameters: its groups, its options. Changes have to be the same on every rank.
  Opt& local() { return *local_; }
  /// This rank's part of all parameters.
  double share() const {
    int64_t own = 0, all = 0;
    for (std::size_t i = 0; i < params_.size(); ++i)
      all += params_[i].numel(), own += owners_[i] == group_.rank() ? params_[i].numel() : 0;
    return static_cast<double>(own) / static_cast<double>(all);
  }

  void zero_grad() const {
    for (const auto& p : params_) p.zero_grad();
  }
  double lr() const { return local_->lr(); }
  void set_lr(double lr, Where at = Where::current()) { local_->set_lr(lr, at); }

  /// Scales the gradients so that the norm of all of them is at most max_norm; the norm before, the same on every rank.
  double clip_grad_norm(double max_norm, Where at = Where::current()) {
    if (!(max_norm > 0)) fail("clip_grad_norm", "not a norm", {{"max_norm", std::to_string(max_norm)}}, "a number > 0", at);
    const NoGrad guard;
    double squares = 0;
    for (std::size_t i = 0; i < params_.size(); ++i)
      if (owners_[i] == group_.rank() && params_[i].grad().defined())
        squares += gradus::sum(square(cast<double>(params_[i].grad().detach(), at), at), {}, false, at).item(at);
    const double norm = std::sqrt(group_.sum(squares, at));
    if (!std::isfinite(norm))
      fail("clip_grad_norm", "the norm of the gradients is not finite", {{"norm", std::to_string(norm)}}, "finite gradients",
           at);
    if (norm > max_norm)
      for (const auto& p : params_)
        if (p.grad().defined()) p.set_grad(mul(p.grad().detach(), max_norm / norm, at));
    return norm;
  }

  /// The owners step, then all get the new parameters.
  void step(Where at = Where::current()) {
    local_->step(at);
    const NoGrad guard;
    for (std::size_t i = 0; i < params_.size(); ++i) group_.broadcast(params_[i], owners_[i], at);
  }

  /// All states, those that other ranks own too: what the optimiser would give that owns everything, and so what any number of
  /// ranks can go on from. Collective.
  nn::StateDict state_dict(Where at = Where::current()) { return gather_state(group_, local_->state_dict(), at); }
  void load_state_dict(const nn::StateDict& dict, Where at = Where::current()) {
    nn::StateDict own;
    for (const auto& [name, x] : dict) {
      bool foreign = false;
      for (std::size_t i = 0; i < params_.size() && !foreign; ++i)
        foreign = owners_[i] != group_.rank() && name.starts_with(params_[i].name() + ".");
      if (!foreign) own[name] = x;
    }
    local_->load_state_dict(own, at);
  }

 private:
  Group& group_;
  std::vector<Tensor<T, D>> params_;
  std::vector<int> owners_;
  std::optional<Opt> local_;
};

}  // namespace gradus::dist
