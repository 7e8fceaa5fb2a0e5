// Batches in an order that a checkpoint can hold, made ahead of time by threads.
//
//   data::Loader loader(set.size(), {.batch = 64, .seed = 1, .threads = 2},
//                       [&](const data::BatchPlan& plan) { return make(set, plan.index, plan.stream); });
//   run("data", loader);                                  // training::Checkpoint: epoch and place
//   for (; loader.epoch() < 10;)
//     for (auto& batch : loader) { ...; if (run.save_every(60)) return; }       // the rest of the epoch
//
// What a batch holds is a function of (seed, epoch, number of the batch): make() has to use the plan's indices and stream and
// nothing else that is random. The number of threads changes nothing but the time.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gradus/data/part.hpp>
#include <gradus/data/samplers.hpp>
#include <gradus/ops/create.hpp>
#include <gradus/tensor/tensor.hpp>

namespace gradus::data {

struct LoaderOptions {
  int64_t batch = 100;
  bool shuffle = true;
  uint64_t seed = 0;
  bool drop_last = false;  ///< leave out a last batch that is not full
  int threads = 0;         ///< that make batches ahead; 0: made when asked for
  int64_t ahead = 4;       ///< batches that may wait
  int64_t part = 0;        ///< of each batch only this of so many `parts`: of a process among several
  int64_t parts = 1;
};

/// What a batch is made from.
struct BatchPlan {
  int64_t epoch = 0, number = 0;  ///< the batch's number in its epoch
  std::vector<int64_t> index;     ///< the samples
  RandomStream stream;            ///< of the epoch; sample i draws from index i (data::Draws)
};

namespace detail {
/// Threads that run make(plan) for plans in order and hand the results out in order.
template <class B>
class Prefetch {
 public:
  using Make = std::function<B(const BatchPlan&)>;
  Prefetch(Make make, std::vector<BatchPlan> plans, int threads, int64_t ahead)
      : make_(std::move(make)), plans_(std::move(plans)), done_(plans_.size()), ahead_(static_cast<std::size_t>(ahead)) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  ~Prefetch() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    for (auto& t : threads_) t.join();
  }
  Prefetch(const Prefetch&) = delete;
  bool empty() const { return taken_ == plans_.size(); }
  B next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_[taken_].ready; });
    Result r = std::move(done_[taken_]);
    done_[taken_++] = {};
    lock.unlock();
    changed_.notify_all();
    if (r.error) std::rethrow_exception(r.error);
    return std::move(*r.batch);
  }

 private:
  struct Result {
    bool ready = false;
    std::optional<B> batch;
    std::exception_ptr error;
  };
  void work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || begun_ == plans_.size() || begun_ < taken_ + ahead_; });
      if (stop_ || begun_ == plans_.size()) return;
      const std::size_t k = begun_++;
      lock.unlock();
      Result r;
      try {
        r.batch.emplace(make_(plans_[k]));
      } catch (...) {
        r.error = std::current_exception();
      }
      r.ready = true;
      lock.lock();
      done_[k] = std::move(r);
      lock.unlock();
      changed_.notify_all();
    }
  }
  Make make_;
  std::vector<BatchPlan> plans_;
  std::vector<Result> done_;
  std::size_t ahead_, begun_ = 0, taken_ = 0;
  bool stop_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::thread> threads_;
};
}  // namespace detail

/// B: what make() returns.
template <class B>
class Loader {
 public:
  using Make = std::function<B(const BatchPlan&)>;

  /// Over samples 0 ... n - 1.
  Loader(int64_t n, LoaderOptions o, Make make, Where at = Where::current())
      : Loader(n, o, std::move(make), nullptr, at) {}
  /// Over the samples that order(epoch) lists: for data::class_balanced, data::weighted and the like.
  Loader(std::function<std::vector<int64_t>(int64_t epoch)> order, LoaderOptions o, Make make, Where at = Where::current())
      : Loader(0, o, std::move(make), std::move(order), at) {}

  const LoaderOptions& options() const { return o_; }
  int64_t epoch() const { return epoch_; }
  /// The batch of this epoch that comes next.
  int64_t next_batch() const { return next_; }
  /// Batches of the current epoch.
  int64_t size() { return batches_of(order().size()); }
  /// Goes to a batch of an epoch.
  void seek(int64_t epoch, int64_t batch = 0) {
    ahead_.reset(), order_of_ = -1;
    epoch_ = epoch, next_ = batch;
  }

  struct End {};
  class Iterator {
   public:
    using value_type = B;
    using difference_type = std::ptrdiff_t;
    explicit Iterator(Loader* l) : loader_(l) { advance(); }
    B& operator*() { return *batch_; }
    B* operator->() { return &*batch_; }
    Iterator& operator++() {
      advance();
      return *this;
    }
    bool operator==(End) const { return !batch_; }

   private:
    void advance() {
      batch_.reset();
      batch_ = loader_->take();
    }
    Loader* loader_;
    std::optional<B> batch_;
  };
  /// The rest of the current epoch; at its end the loader stands at the beginning of the next one.
  Iterator begin() { return Iterator(this); }
  End end() const { return {}; }

  std::map<std::string, AnyTensor> state_dict() const {
    return {{"", from_vector(std::vector<int64_t>{static_cast<int64_t>(o_.seed), epoch_, next_})}};
  }
  void load_state_dict(const std::map<std::string, AnyTensor>& dict, Where at = Where::current()) {
    const auto found = dict.find("");
    if (dict.size() != 1 || found == dict.end() || found->second.numel() != 3)
      fail("Loader", "not the state of a loader", {}, "one tensor int64 [3]: seed, epoch, batch", at);
    const auto v = found->second.as<int64_t, Cpu>(at).to_vector();
    if (v[0] != static_cast<int64_t>(o_.seed))
      fail("Loader", "the state is of another order", {{"its seed", std::to_string(v[0])}, {"seed", std::to_string(o_.seed)}}, "the same seed", at);
    seek(v[1], v[2]);
  }

 private:
  Loader(int64_t n, LoaderOptions o, Make make, std::function<std::vector<int64_t>(int64_t)> order, Where at)
      : n_(n), o_(o), make_(std::move(make)), at_(at), order_from_(std::move(order)) {
    if (n < 0 || o.batch < 1 || o.threads < 0 || o.ahead < 1 || o.parts < 1 || o.part < 0 || o.part >= o.parts)
      fail("Loader", "options out of range",
           {{"samples", std::to_string(n)}, {"batch", std::to_string(o.batch)}, {"threads", std::to_string(o.threads)}, {"ahead", std::to_string(o.ahead)},
            {"part", std::to_string(o.part) + " of " + std::to_string(o.parts)}},
           "samples >= 0, batch >= 1, threads >= 0, ahead >= 1, 0 <= part < parts", at);
  }
  int64_t batches_of(std::size_t samples) const {
    return (static_cast<int64_t>(samples) + (o_.drop_last ? 0 : o_.batch - 1)) / o_.batch;
  }
  const std::vector<int64_t>& order() {
    if (order_of_ == epoch_) return order_;
    if (order_from_) {
      order_ = order_from_(epoch_);
    } else {
      order_.resize(static_cast<std::size_t>(n_));
      if (o_.shuffle) kernels::random_permutation(Cpu{}, order_.data(), n_, {o_.seed, static_cast<uint64_t>(epoch_)});
      else
        for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<int64_t>(i);
    }
    order_of_ = epoch_;
    return order_;
  }
  BatchPlan plan(int64_t number) {
    const auto& all = order();
    const int64_t first = number * o_.batch, count = std::min(o_.batch, static_cast<int64_t>(all.size()) - first);
    const Part own = part_of_batch("Loader", count, o_.part, o_.parts, at_);
    return {epoch_, number, {all.begin() + first + own.begin, all.begin() + first + own.end},
            {o_.seed, static_cast<uint64_t>(epoch_)}};
  }
  /// The next batch; nothing at the end of an epoch, which begins the next one.
  std::optional<B> take() {
    if (next_ >= size()) {
      ahead_.reset();
      ++epoch_, next_ = 0;
      return std::nullopt;
    }
    if (o_.threads == 0) return make_(plan(next_++));
    if (!ahead_) {
      std::vector<BatchPlan> plans;
      for (int64_t b = next_; b < size(); ++b) plans.push_back(plan(b));
      ahead_ = std::make_unique<detail::Prefetch<B>>(make_, std::move(plans), o_.threads, o_.ahead);
    }
    ++next_;
    return ahead_->next();
  }

  int64_t n_;
  LoaderOptions o_;
  Make make_;
  Where at_;
  std::function<std::vector<int64_t>(int64_t)> order_from_;
  std::vector<int64_t> order_;
  int64_t order_of_ = -1, epoch_ = 0, next_ = 0;
  std::unique_ptr<detail::Prefetch<B>> ahead_;
};
template <class F>
Loader(int64_t, LoaderOptions, F, Where = {}) -> Loader<std::invoke_result_t<F&, const BatchPlan&>>;

}  // namespace gradus::data
