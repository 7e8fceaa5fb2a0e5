// Training on several processes, each with a part of every batch: gradients are averaged while backward still runs.
//
//   dist::DataParallel parallel(net, world);                  // every rank starts with the parameters of rank 0
//   for (...) {
//     parallel.weight(part.size());                           // parts of unequal size count by their samples
//     opt.zero_grad();
//     loss_of(part).backward();                               // a bucket goes on its way as soon as its gradients are there
//     parallel.finish();                                      // waits, writes the means into grad()
//     opt.step();
//   }
//
// The result is that of one process with the whole batch, up to the rounding of sums. For several backward() a step, all but
// the last belong into no_sync(). Li et al. 2020 (PyTorch Distributed) describe the buckets.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <gradus/autograd/engine.hpp>
#include <gradus/dist/group.hpp>
#include <gradus/nn/module.hpp>

namespace gradus::dist {

/// Every rank's parameters and buffers become those of `root`. An error when the modules differ.
template <nn::Module M>
void broadcast(Group& group, M& net, int root = 0, Where at = Where::current()) {
  using T = nn::element_of<M>;
  using D = nn::device_type_of<M>;
  std::string layout;
  const auto state = nn::state_dict(net);
  for (const auto& [path, x] : state) layout += path + " " + describe(x) + "\n";
  group.check_same("the module: its paths and shapes", static_cast<int64_t>(std::hash<std::string>{}(layout) >> 1), at);
  for (const auto& [path, x] : state) {
    if (x.dtype() == dtype_of<T>) group.broadcast(x.template as<T, D>(at), root, at);
    else if (x.dtype() == DType::i64) group.broadcast(x.template as<int64_t, D>(at), root, at);
    else fail("dist::broadcast", "a buffer of an unusual type", {{path, describe(x)}}, "the module's type or int64", at);
  }
}

struct DataParallelOptions {
  int64_t bucket_bytes = 25 << 20;  ///< gradients that are sent together
  bool allow_unused = false;        ///< a parameter without a gradient on this rank counts as zero instead of being an error
  /// For dist::Sharded: the owner of each parameter, who alone gets its gradient (the others free theirs). Empty: all get all.
  std::vector<int> owners = {};
};

/// What a step cost beyond its own computing.
struct Traffic {
  double waited = 0;    ///< seconds in finish() before the last bucket was there
  int64_t bytes = 0;    ///< gradients sent, of this rank
  int64_t buckets = 0;  ///< messages
};

template <class T = float, class D = Cpu>
class DataParallel {
 public:
  template <nn::Module M>
  DataParallel(M& net, Group& group, DataParallelOptions o = {}, Where at = Where::current())
      : shared_(std::make_shared<Shared>(group, std::move(o))) {
    dist::broadcast(group, net, 0, at);
    Shared& s = *shared_;
    s.params = nn::trainable_parameters(net, at);
    if (s.params.empty()) fail("DataParallel", "no parameters", {}, "a module with at least one that requires a gradient", at);
    if (!s.options.owners.empty() && s.options.owners.size() != s.params.size())
      fail("DataParallel", "the owners do not fit the module",
           {{"owners", std::to_string(s.options.owners.size())}, {"parameters", std::to_string(s.params.size())}},
           "one for each parameter", at);
    s.make_buckets();
    for (std::size_t i = 0; i < s.params.size(); ++i) {
      s.params[i].zero_grad();
      // The hook lives as long as the parameter, the rest as long as this object.
      register_hook(
          s.params[i],
          [i, weak = std::weak_ptr<Shared>(shared_)](const Tensor<T, D>& g) {
            if (const auto alive = weak.lock()) alive->arrived(i, g);
          },
          at);
    }
  }

  /// How much this rank's mean counts in the step that follows: its number of samples. 1 unless told.
  void weight(double w, Where at = Where::current()) {
    if (!(w >= 0) || !std::isfinite(w))
      fail("DataParallel::weight", "not a weight", {{"weight", std::to_string(w)}}, "a finite number >= 0", at);
    shared_->weight = w;
  }
  /// f() without sending: gradients add up in grad() and go with those of the next backward().
  template <class F>
  decltype(auto) no_sync(F&& f) {
    struct Off {
      bool& on;
      explicit Off(bool& on) : on(on) { on = false; }
      ~Off() { on = true; }
    } off(shared_->on);
    return f();
  }
  /// After backward(): the gradients become the means over the ranks, sum_r w_r g_r / sum_r w_r.
  void finish(Where at = Where::current()) { shared_->finish(at); }
  /// Of the last step.
  const Traffic& traffic() const { return shared_->traffic; }

 private:
  using Sum = compute_t<T>;
  struct Bucket {
    std::vector<std::size_t> members;
    std::vector<int64_t> begin;  // of each member in `flat`
    int64_t size = 0;
    int owner = -1;  // -1: all
    std::size_t missing = 0;
    std::vector<Sum> flat;  // the members' gradients times the weight; the weight
    Pending pending;
  };
  struct Shared {
    Shared(Group& group, DataParallelOptions o) : group(group), options(std::move(o)) {}
    ~Shared() {  // memory that is under way has to stay
      for (auto& b : buckets) b.pending.wait();
    }
    Group& group;
    DataParallelOptions options;
    std::vector<Tensor<T, D>> params;
    std::vector<Bucket> buckets;
    std::vector<std::pair<std::size_t, std::size_t>> place;  // of a parameter: its bucket and its number there
    std::vector<char> here;
    std::size_t next = 0;  // buckets go in their order, so that ranks agree
    double weight = 1;
    bool on = true, begun = false;
    Traffic traffic;

    /// Backward meets the last layers first: so do the buckets.
    void make_buckets() {
      place.resize(params.size()), here.assign(params.size(), 0);
      for (std::size_t k = params.size(); k-- > 0;) {
        const int owner = options.owners.empty() ? -1 : options.owners[k];
        const int64_t n = params[k].numel();
        if (buckets.empty() || buckets.back().owner != owner ||
            (buckets.back().size + n) * static_cast<int64_t>(sizeof(Sum)) > options.bucket_bytes) {
          buckets.emplace_back();
          buckets.back().owner = owner;
        }
        Bucket& b = buckets.back();
        place[k] = {buckets.size() - 1, b.members.size()};
        b.members.push_back(k), b.begin.push_back(b.size);
        b.size += n;
      }
      for (auto& b : buckets) b.missing = b.members.size();
    }
    /// Parameter i has its gradient g of this backward().
    void arrived(std::size_t i, const Tensor<T, D>& g) {
      if (!on) return;
      const Where at = Where::current();
      if (here[i])
        fail("DataParallel", "a second backward() before finish()", {{params[i].name(), describe(params[i])}},
             "finish() after each, or no_sync()", at);
      if (!begun) traffic = {}, begun = true;
      const NoGrad guard;
      const auto before = params[i].grad();
      store(i, before.defined() ? add(before.detach(), g.detach(), at) : g.detach(), at);
      launch(at);
    }
    void store(std::size_t i, const Tensor<T, D>& g, Where at) {
      auto& [k, member] = place[i];
      Bucket& b = buckets[k];
      if (b.flat.empty()) b.flat.assign(static_cast<std::size_t>(b.size + 1), Sum(0));
      if (g.defined()) {
        const auto host = cast<Sum>(to_device<Cpu>(g, at), at).contiguous(at);
        const Sum w = static_cast<Sum>(weight), *from = host.data();
        Sum* to = b.flat.data() + b.begin[member];
        for (int64_t j = 0, n = host.numel(); j < n; ++j) to[j] = from[j] * w;
      }
      b.flat.back() = static_cast<Sum>(weight);
      here[i] = 1;
      --b.missing;
    }
    void launch(Where at) {
      for (; next < buckets.size() && buckets[next].missing == 0; ++next) {
        Bucket& b = buckets[next];
        const auto n = static_cast<int64_t>(b.flat.size());
        const std::string what = "the gradients of bucket " + std::to_string(next);
        b.pending = b.owner < 0 ? group.start_all_reduce(b.flat.data(), n, Reduce::sum, what, at)
                                : group.start_reduce(b.flat.data(), n, b.owner, what, at);
        traffic.bytes += n * static_cast<int64_t>(sizeof(Sum)), ++traffic.buckets;
        if (next > 0 && b.owner >= 0) release(next - 1);
      }
    }
    /// Gradients that another rank owns and that are on their way are not needed here.
    void release(std::size_t k) {
      if (buckets[k].owner >= 0 && buckets[k].owner != group.rank())
        for (const std::size_t i : buckets[k].members) params[i].zero_grad();
    }
    void finish(Where at) {
      const NoGrad guard;
      for (std::size_t i = 0; i < params.size(); ++i) {
        if (here[i]) continue;
        if (!options.allow_unused && !params[i].grad().defined()) {
          for (auto& b : buckets) b.pending.wait();
          fail("DataParallel::finish", "a parameter has no gradient on this rank",
               {{params[i].name(), describe(params[i])}, {"rank", std::to_string(group.rank())}},
               "backward() of a loss that depends on it, or allow_unused = true", at);
        }
        store(i, params[i].grad(), at);
      }
      launch(at);
      const auto start = std::chrono::steady_clock::now();
      for (std::size_t k = 0; k < buckets.size(); ++k) {
        Bucket& b = buckets[k];
        b.pending.wait();
        b.pending = {};
        if (b.owner < 0 || b.owner == group.rank()) take(b, at);
        else release(k);
        b.flat = {};
        b.missing = b.members.size();
      }
      traffic.waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      here.assign(params.size(), 0);
      next = 0, begun = false;
    }
    void take(Bucket& b, Where at) {
      const Sum total = b.flat.back();
      if (!(total > 0))
        fail("DataParallel::finish", "no rank has samples",
             {{"sum of the weights", std::to_string(static_cast<double>(total))}}, "a sum > 0", at);
      for (std::size_t m = 0; m < b.members.size(); ++m) {
        const auto& p = params[b.members[m]];
        Tensor<Sum, Cpu> mean(p.shape(), at);
        const Sum* from = b.flat.data() + b.begin[m];
        Sum* to = mean.data();
        for (int64_t j = 0, n = p.numel(); j < n; ++j) to[j] = from[j] / total;
        p.set_grad(to_device<D>(cast<T>(mean, at), at));
      }
    }
  };
  std::shared_ptr<Shared> shared_;
};
template <nn::Module M>
DataParallel(M&, Group&, DataParallelOptions = {}, Where = {}) -> DataParallel<nn::element_of<M>, nn::device_type_of<M>>;

/// The argument of nn::SyncBatchNorm: nn::SyncBatchNorm<2> norm(16, {}, dist::sum_over<>(world)).
template <class T = float, class D = Cpu>
std::function<Tensor<T, D>(const Tensor<T, D>&)> sum_over(Group& group) {
  return [&group](const Tensor<T, D>& x) {
    const auto y = no_grad([&] { return clone(x.detach()); });
    group.all_reduce(y);
    return y;
  };
}

/// For meters whose states add up, as training::Mean and training::Confusion: each rank's becomes that of all.
template <class M>
requires requires(M& m, const nn::StateDict& dict) { dict.at(""), m.load_state_dict(m.state_dict()); }
void all_reduce(Group& group, M& meter, Where at = Where::current()) {
  const nn::StateDict state = meter.state_dict();
  for (const auto& [name, x] : state) {
    if (x.dtype() == DType::f64) group.all_reduce(x.template as<double, Cpu>(at), Reduce::sum, at);
    else group.all_reduce(x.template as<int64_t, Cpu>(at), Reduce::sum, at);
  }
  meter.load_state_dict(state, at);
}

}  // namespace gradus::dist
