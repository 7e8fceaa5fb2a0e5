// Processes that work together, on MPI.
//
//   int main(int argc, char** argv) {
//     return dist::run(argc, argv, [&](dist::Group& world) {
//       const double loss = world.mean(own_loss);                 // the same number on every process
//       if (world.is_root()) std::cout << loss << "\n";
//       return 0;
//     });
//   }
//
//   mpirun -np 4 program          or srun -n 4 program; started alone it is a group of one
//
// Sums are taken in the order of the ranks, whatever the number of elements: every process gets the same bits, and so does
// every run with as many processes. All calls of MPI are made by one thread of their own, so that a sum that has been started
// goes on while the caller computes. Every process has to make the same calls in the same order.
#pragma once
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <mpi.h>
#include <unistd.h>

#include <gradus/core/random.hpp>
#include <gradus/data/part.hpp>
#include <gradus/ops/create.hpp>
#include <gradus/ops/view.hpp>

namespace gradus::dist {

enum class Reduce { sum, min, max };

namespace detail {

/// The thread that talks to MPI: jobs run one after the other in the order in which they were given.
class Worker {
 public:
  Worker() : thread_([this] { work(); }) {}
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  std::future<void> push(std::function<void()> job) {
    std::packaged_task<void()> task(std::move(job));
    auto done = task.get_future();
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(task));
    }
    changed_.notify_all();
    return done;
  }

 private:
  void work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      auto job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::packaged_task<void()>> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

/// MPI from its start to its end.
class Runtime {
 public:
  Runtime(int* argc, char*** argv) {
    int level = 0;
    MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &level);
    if (level < MPI_THREAD_SERIALIZED)
      fail("dist::run", "this MPI cannot be called by a second thread", {{"level", std::to_string(level)}},
           "MPI_THREAD_SERIALIZED", Where::current());
    current() = this;
  }
  ~Runtime() {
    worker_.reset();
    current() = nullptr;
    MPI_Finalize();
  }
  Runtime(const Runtime&) = delete;
  static Runtime*& current() {
    static Runtime* runtime = nullptr;
    return runtime;
  }
  Worker& worker() { return *worker_; }

 private:
  std::unique_ptr<Worker> worker_ = std::make_unique<Worker>();
};

/// Until a started operation is done. Spinning would take the core from the thread that computes, so only a short wait spins.
inline void finish(MPI_Request request) {
  const auto start = std::chrono::steady_clock::now();
  for (int done = 0;;) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done) return;
    if (std::chrono::steady_clock::now() - start > std::chrono::microseconds(20))
      std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}
/// start(&request) begins an operation of MPI.
template <class F>
void complete(F start) {
  MPI_Request request = MPI_REQUEST_NULL;
  start(&request);
  finish(request);
}

inline double patience() {
  const char* text = std::getenv("GRADUS_DIST_TIMEOUT");
  const double seconds = text ? std::atof(text) : 0;
  return seconds > 0 ? seconds : 1800;
}

/// One message has at most this many bytes: MPI counts in int.
inline constexpr int64_t kPiece = int64_t{1} << 28;

template <class T>
void combine(T* to, const T* from, int64_t n, Reduce how) {
  if (how == Reduce::sum) {
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(to[i] + from[i]);
  } else {
    for (int64_t i = 0; i < n; ++i)  // NaN wins, as in maximum() and minimum()
      if (from[i] != from[i] || (how == Reduce::max ? from[i] > to[i] : from[i] < to[i])) to[i] = from[i];
  }
}
}  // namespace detail

/// Something that was started; wait() before its memory is used.
class Pending {
 public:
  Pending() = default;
  Pending(std::future<void> done, std::string what, int rank, int size)
      : done_(std::move(done)), what_(std::move(what)), rank_(rank), size_(size) {}
  bool started() const { return done_.valid(); }
  bool ready() const { return !started() || done_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }
  /// When the others do not come within GRADUS_DIST_TIMEOUT seconds (1800 by default), the job ends with a message.
  void wait() {
    if (!started()) return;
    const double limit = detail::patience();
    if (done_.wait_for(std::chrono::duration<double>(limit)) != std::future_status::ready) {
      std::fprintf(stderr,
                   "gradus: rank %d of %d has waited %g s in %s\n"
                   "  expected: the same call on every rank; one has stopped, or has taken another way\n",
                   rank_, size_, limit, what_.c_str());
      std::fflush(stderr);
      MPI_Abort(MPI_COMM_WORLD, 1);
    }
    done_.get();
  }

 private:
  std::future<void> done_;
  std::string what_;
  int rank_ = 0, size_ = 1;
};

/// Some processes, each with a rank 0 ... size() - 1. Ops on it are collective: each process of the group has to call them.
class Group {
 public:
  explicit Group(MPI_Comm comm = MPI_COMM_WORLD, Where at = Where::current()) : runtime_(detail::Runtime::current()) {
    if (!runtime_) fail("dist::Group", "MPI is not running", {}, "inside dist::run", at);
    do_now("Group", at,
           [this, comm] { MPI_Comm_dup(comm, &comm_), MPI_Comm_rank(comm_, &rank_), MPI_Comm_size(comm_, &size_); });
  }
  /// Those ranks of a group that give the same colour, in their order.
  Group(Group& of, int colour, Where at = Where::current()) : runtime_(of.runtime_) {
    do_now("Group", at, [&, this] {
      MPI_Comm_split(of.comm_, colour, of.rank_, &comm_), MPI_Comm_rank(comm_, &rank_), MPI_Comm_size(comm_, &size_);
    });
  }
  ~Group() {
    if (comm_ != MPI_COMM_NULL) runtime_->worker().push([comm = comm_]() mutable { MPI_Comm_free(&comm); }).wait();
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_root() const { return rank_ == 0; }
  MPI_Comm comm() const { return comm_; }

  /// Returns when all have called it.
  void barrier(Where at = Where::current()) {
    do_now("barrier", at, [this] { detail::complete([this](MPI_Request* r) { MPI_Ibarrier(comm_, r); }); });
  }

  // -- tensors: their values change in place, unrecorded ------------------------------------------------------------------

  /// x becomes the sum (min, max) of all x. Integers wrap; bf16 and half are summed in float.
  template <class T, class D>
  void all_reduce(const Tensor<T, D>& x, Reduce how = Reduce::sum, Where at = Where::current()) {
    on_host(x, at,
            [&](auto* values, int64_t n) { start_all_reduce(values, n, how, "all_reduce of " + describe(x), at).wait(); });
  }
  /// x becomes that of `root`.
  template <class T, class D>
  void broadcast(const Tensor<T, D>& x, int root = 0, Where at = Where::current()) {
    on_host<true>(x, at, [&](auto* values, int64_t n) {
      do_now("broadcast of " + describe(x), at,
             [=, this] { bytes_from(root, values, n * static_cast<int64_t>(sizeof *values)); });
    });
  }
  /// The x of all ranks one after the other along dimension 0, which may differ in its extent there.
  template <class T, class D>
  Tensor<T, D> all_gather(const Tensor<T, D>& x, Where at = Where::current()) {
    if (x.rank() < 1) fail("all_gather", "a tensor of no dimensions", {{"x", describe(x)}}, "at least one", at);
    const NoGrad guard;
    const auto own = to_device<Cpu>(x.detach(), at).contiguous(at);
    Shape shape = x.shape();
    int64_t row = 1;
    for (int i = 1; i < x.rank(); ++i) row *= shape[i];
    check_same("all_gather: the elements of a row of x", row, at);
    const auto rows = gather(x.size(0), at);
    shape[0] = 0;
    for (const int64_t n : rows) shape[0] += n;
    Tensor<T, Cpu> y(shape, at);
    const int64_t width = row * static_cast<int64_t>(sizeof(T));
    auto* to = reinterpret_cast<char*>(y.data());
    const auto* from = reinterpret_cast<const char*>(own.data());
    do_now("all_gather of " + describe(x), at, [&, this] {
      for (int r = 0; r < size_; ++r) {
        const int64_t bytes = rows[static_cast<std::size_t>(r)] * width;
        if (r == rank_) std::copy(from, from + bytes, to);
        bytes_from(r, to, bytes);
        to += bytes;
      }
    });
    return to_device<D>(y, at);
  }

  // -- numbers ------------------------------------------------------------------------------------------------------------

  double sum(double v, Where at = Where::current()) { return reduced(v, Reduce::sum, at); }
  double mean(double v, Where at = Where::current()) { return sum(v, at) / size_; }
  double max(double v, Where at = Where::current()) { return reduced(v, Reduce::max, at); }
  double min(double v, Where at = Where::current()) { return reduced(v, Reduce::min, at); }
  int64_t sum(int64_t v, Where at = Where::current()) { return reduced(v, Reduce::sum, at); }
  int64_t max(int64_t v, Where at = Where::current()) { return reduced(v, Reduce::max, at); }
  bool any(bool v, Where at = Where::current()) { return max(int64_t{v}, at) != 0; }
  bool all(bool v, Where at = Where::current()) { return max(int64_t{!v}, at) == 0; }
  /// What each rank has given, by rank.
  std::vector<int64_t> gather(int64_t v, Where at = Where::current()) {
    std::vector<int64_t> list(static_cast<std::size_t>(size_));
    do_now("gather", at, [&, this] {
      detail::complete(
          [&, this](MPI_Request* q) { MPI_Iallgather(&v, 1, MPI_INT64_T, list.data(), 1, MPI_INT64_T, comm_, q); });
    });
    return list;
  }
  std::string broadcast(std::string text, int root = 0, Where at = Where::current()) {
    do_now("broadcast", at, [&, this] {
      auto n = static_cast<int64_t>(text.size());
      bytes_from(root, &n, sizeof n);
      text.resize(static_cast<std::size_t>(n));
      bytes_from(root, text.data(), n);
    });
    return text;
  }
  /// An error on every rank, which names the first that differs from rank 0, unless all give the same.
  void check_same(const std::string& what, int64_t v, Where at = Where::current()) {
    const auto list = gather(v, at);
    for (std::size_t r = 0; r < list.size(); ++r)
      if (list[r] != list[0])
        fail("dist", "ranks differ in " + what,
             {{"rank 0", std::to_string(list[0])}, {"rank " + std::to_string(r), std::to_string(list[r])}},
             "the same on every rank", at);
  }

  // -- data and random numbers --------------------------------------------------------------------------------------------

  /// This rank's part of n samples.
  data::Part part(int64_t n, Where at = Where::current()) const { return data::part_of(n, rank_, size_, at); }

  /// The calling thread's random numbers go on from where those of rank 0 are, in a stream of each rank's own (rank 0 keeps
  /// its): dropout masks differ between ranks, and are the same in every run. After manual_seed() and the making of the
  /// network, and after a checkpoint was loaded.
  void fork_random(Where at = Where::current()) {
    Generator& g = generator();
    do_now("fork_random", at, [&, this] { bytes_from(0, &g.seed, sizeof g.seed), bytes_from(0, &g.next, sizeof g.next); });
    g.seed += static_cast<uint64_t>(rank_) * 0x9e3779b97f4a7c15u;
  }

  // -- for those who build on it: host memory, started and waited for ------------------------------------------------------

  /// x[0 ... n) of every rank becomes the sum over the ranks, which is taken in their order. x must live until wait().
  template <class T>
  Pending start_all_reduce(T* x, int64_t n, Reduce how, std::string what, Where at = Where::current()) {
    return start(std::move(what), at, [=, this] { all_reduce_now(x, n, how); });
  }
  /// The same, but only `root` gets the sum; the x of the others keeps its values.
  template <class T>
  Pending start_reduce(T* x, int64_t n, int root, std::string what, Where at = Where::current()) {
    return start(std::move(what), at, [=, this] { reduce_now(x, n, root); });
  }
  Pending start_broadcast(void* bytes, int64_t n, int root, std::string what, Where at = Where::current()) {
    return start(std::move(what), at, [=, this] { bytes_from(root, bytes, n); });
  }

 private:
  template <class F>
  Pending start(std::string what, Where at, F job) {
    return {runtime_->worker().push(std::move(job)), std::move(what) + " at " + gradus::describe(at), rank_, size_};
  }
  template <class F>
  void do_now(std::string what, Where at, F job) {
    start(std::move(what), at, std::move(job)).wait();
  }
  template <class V>
  V reduced(V v, Reduce how, Where at) {
    start_all_reduce(&v, 1, how, "all_reduce of a number", at).wait();
    return v;
  }

  /// f(values, n) on the values of x in host memory, which go back into x. `raw`: as bytes, no arithmetic.
  template <bool raw = false, class T, class D, class F>
  static void on_host(const Tensor<T, D>& x, Where at, F f) {
    const NoGrad guard;
    Tensor<T, D> to = x.detach();
    using Sum = std::conditional_t<std::is_same_v<T, bool>, uint8_t, compute_t<T>>;
    if constexpr (std::is_same_v<D, Cpu> && (raw || std::is_same_v<Sum, T>)) {
      if (to.is_contiguous()) {
        f(to.data(), to.numel());
        gradus::detail::mark_written(x, at);
        return;
      }
    }
    if constexpr (raw || std::is_same_v<Sum, T>) {
      const auto host = to_device<Cpu>(to, at).clone(at).contiguous(at);
      f(host.data(), host.numel());
      to.copy_(to_device<D>(host, at), at);
    } else {
      const auto host = cast<Sum>(to_device<Cpu>(to, at), at).contiguous(at);
      f(host.data(), host.numel());
      to.copy_(to_device<D>(cast<T>(host, at), at), at);
    }
  }

  void bytes_from(int root, void* bytes, int64_t n) const {
    for (int64_t done = 0; done < n; done += detail::kPiece)
      detail::complete([=, this](MPI_Request* r) {
        MPI_Ibcast(static_cast<char*>(bytes) + done, static_cast<int>(std::min(detail::kPiece, n - done)), MPI_BYTE, root,
                   comm_, r);
      });
  }
  /// Rank r gets part r of every x and sums it in the order of the ranks; then the parts go to all.
  template <class T>
  void all_reduce_now(T* x, int64_t n, Reduce how) const {
    if (size_ == 1) return;
    const int64_t piece = detail::kPiece / static_cast<int64_t>(sizeof(T));
    std::vector<T> received;
    std::vector<int> counts(static_cast<std::size_t>(size_)), starts(counts), own_counts(counts), own_starts(counts);
    for (int64_t done = 0; done < n; done += piece) {
      const int64_t now = std::min(piece, n - done);
      const auto bytes = [](int64_t elements) { return static_cast<int>(elements * static_cast<int64_t>(sizeof(T))); };
      const int64_t own = data::part_of(now, rank_, size_).size();
      for (int r = 0; r < size_; ++r) {
        const auto part = data::part_of(now, r, size_);
        const auto k = static_cast<std::size_t>(r);
        counts[k] = bytes(part.size()), starts[k] = bytes(part.begin), own_counts[k] = bytes(own),
        own_starts[k] = bytes(r * own);
      }
      received.resize(static_cast<std::size_t>(own * size_));
      detail::complete([&, this](MPI_Request* q) {
        MPI_Ialltoallv(x + done, counts.data(), starts.data(), MPI_BYTE, received.data(), own_counts.data(), own_starts.data(),
                       MPI_BYTE, comm_, q);
      });
      for (int r = 1; r < size_; ++r) detail::combine(received.data(), received.data() + r * own, own, how);
      detail::complete([&, this](MPI_Request* q) {
        MPI_Iallgatherv(received.data(), bytes(own), MPI_BYTE, x + done, counts.data(), starts.data(), MPI_BYTE, comm_, q);
      });
    }
  }
  template <class T>
  void reduce_now(T* x, int64_t n, int root) const {
    if (size_ == 1) return;
    const int64_t piece = detail::kPiece / static_cast<int64_t>(sizeof(T)) / size_;
    std::vector<T> received;
    for (int64_t done = 0; done < n; done += piece) {
      const int64_t now = std::min(piece, n - done);
      const int bytes = static_cast<int>(now * static_cast<int64_t>(sizeof(T)));
      if (rank_ == root) received.resize(static_cast<std::size_t>(now * size_));
      detail::complete([&, this](MPI_Request* q) {
        MPI_Igather(x + done, bytes, MPI_BYTE, received.data(), bytes, MPI_BYTE, root, comm_, q);
      });
      if (rank_ != root) continue;
      for (int r = 1; r < size_; ++r) detail::combine(received.data(), received.data() + r * now, now, Reduce::sum);
      std::copy(received.begin(), received.begin() + now, x + done);
    }
  }

  detail::Runtime* runtime_;
  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
};

struct RunOptions {
  /// Started alone, not by mpirun or srun: start so many processes of this program and become mpirun.
  int processes = 1;
};

namespace detail {
inline bool started_by_launcher() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"})
    if (std::getenv(name)) return true;
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  return tasks && std::atoi(tasks) > 1;
}
inline void become_mpirun(int processes, char** argv, Where at) {
  ::setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 0);            // more processes than cores are the user's wish
  ::setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);  // containers forbid reading another process's memory
  if (::geteuid() == 0) ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0), ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
  const std::string count = std::to_string(processes);
  std::vector<const char*> words{"mpirun", "-np", count.c_str()};
  for (char** word = argv; *word; ++word) words.push_back(*word);
  words.push_back(nullptr);
  ::execvp(words[0], const_cast<char* const*>(words.data()));
  fail("dist::run", "cannot start mpirun", {{"error", std::strerror(errno)}}, "Open MPI, for instance the package openmpi-bin",
       at);
}
}  // namespace detail

/// The body of main(): body(world) between the start and the end of MPI. An error of one rank is printed with its rank and ends
/// the job, since the others would wait for it for ever.
template <class F>
int run(int argc, char** argv, F&& body, RunOptions o = {}, Where at = Where::current()) {
  if (o.processes > 1 && !detail::started_by_launcher()) detail::become_mpirun(o.processes, argv, at);
  detail::Runtime runtime(&argc, &argv);
  int code = 1, rank = 0, size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank), MPI_Comm_size(MPI_COMM_WORLD, &size);
  try {
    Group world;
    code = body(world);
  } catch (const std::exception& e) {
    char host[256] = "?";
    ::gethostname(host, sizeof host - 1);
    std::fflush(stdout);
    std::fprintf(stderr, "gradus: rank %d of %d (process %ld on %s) has failed:\n%s\n", rank, size,
                 static_cast<long>(::getpid()), host, e.what());
    std::fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  return code;
}

}  // namespace gradus::dist
