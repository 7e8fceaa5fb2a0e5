//| # A training on two processes
//|
//| A network that is trained by several processes, each with a part of every batch, gets the parameters that one process with the
//| whole batch would give it. This page trains a small GPT on two processes of this machine; on a cluster the program is the
//| same, started by `mpirun` or `srun`.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/data/loader.hpp>
#include <gradus/data/windows.hpp>
#include <gradus/dist.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>
#include <gradus/training/meters.hpp>

using namespace gradus;

//| ## The model
//| Two blocks of causal attention over bytes.
constexpr int64_t kLength = 32, kWidth = 48, kBatch = 16, kSteps = 60;

struct Gpt {
  nn::Embedding<> bytes{256, kWidth};
  nn::LearnedPosition<> position{kLength, kWidth};
  nn::TransformerBlock<> first{kWidth, 4, {.attention = {.causal = true}}}, second{kWidth, 4, {.attention = {.causal = true}}};
  nn::LayerNorm<> norm{kWidth};
  nn::Linear<> head{kWidth, 256};
  Tensor<> forward(const Tensor<int64_t>& ids) const { return head(norm(second(first(position(bytes(ids)))))); }
  void visit(auto&& f) {
    f("bytes", bytes), f("position", position), f("first", first), f("second", second), f("norm", norm), f("head", head);
  }
};
Tensor<> loss_of(const Gpt& gpt, const data::TokenBatch& b) {
  return cross_entropy(gpt.forward(b.inputs).reshape({-1, 256}), b.targets.reshape({-1}));
}
std::vector<int64_t> text() {
  std::string s;
  for (int i = 0; i < 120; ++i)
    s += "process " + std::to_string(i % 10) + " adds its gradient to those of the others, and all of them take the same step. ";
  return {s.begin(), s.end()};
}

//| ## The training
//| `parallel` starts every rank with the parameters of rank 0 and averages gradients, bucket by bucket, while backward still runs.
//| `Sharded` gives the moments of each parameter to one rank alone, so that the memory for them falls with the number of
//| ranks (ZeRO). The loader cuts its part out of each batch. All that is new against one process is in these lines.
std::vector<double> train(dist::Group& world, Gpt& gpt) {
  const data::TokenWindows windows(text(), kLength, 7);
  data::Loader loader(windows.size(), {.batch = kBatch, .seed = 1, .drop_last = true, .part = world.rank(), .parts = world.size()},
                      [&](const data::BatchPlan& plan) { return windows.batch(plan.index); });
  dist::Sharded<optim::AdamW<>> opt(gpt, world, {.lr = 3e-3});
  dist::DataParallel parallel(gpt, world, {.owners = opt.owners()});
  std::vector<double> losses;
  while (static_cast<int64_t>(losses.size()) < kSteps)
    for (const auto& part : loader) {
      if (static_cast<int64_t>(losses.size()) == kSteps) break;
      opt.zero_grad();
      const auto loss = loss_of(gpt, part);
      loss.backward();
      parallel.finish();
      opt.clip_grad_norm(1);
      opt.step();
      losses.push_back(world.mean(static_cast<double>(loss.item())));   // of the whole batch, the same on both
    }
  return losses;
}

int main(int argc, char** argv) {
  return dist::run(argc, argv, [&](dist::Group& world) {
    const bool root = world.is_root();       // the one that prints
    const auto processes = world.gather(int64_t{::getpid()});
    if (root) std::printf("%d ranks, each a process of its own: %s\n", world.size(), processes[0] != processes[1] ? "yes" : "no");
    //> 2 ranks, each a process of its own: yes

    manual_seed(1);
    Gpt gpt;
    const auto losses = train(world, gpt);
    if (root) std::printf("loss below a third of its start: %s\n", losses.back() < losses.front() / 3 ? "yes" : "no");
    //> loss below a third of its start: yes

    //| ## The same as one process
    //| `MPI_COMM_SELF` is a group of one: each rank trains the network once more, alone, on whole batches. What differs is the order in
    //| which sums are taken.
    dist::Group self(MPI_COMM_SELF);
    manual_seed(1);
    Gpt alone;
    const auto expected = train(self, alone);
    double largest = 0;
    for (std::size_t i = 0; i < losses.size(); ++i) largest = std::max(largest, std::fabs(losses[i] - expected[i]));
    if (root) std::printf("largest difference of the losses below 0.002: %s\n", largest < 2e-3 ? "yes" : "no");
    //> largest difference of the losses below 0.002: yes

    //| ## To the bit
    //| Sums are taken in the order of the ranks, so all ranks hold the same bits, and a second run gives them again.
    manual_seed(1);
    Gpt again;
    train(world, again);
    bool same = true;
    const auto a = nn::parameters(gpt), b = nn::parameters(again);
    for (std::size_t i = 0; i < a.size(); ++i) {
      const auto of_root = clone(a[i].detach());
      world.broadcast(of_root);
      same = same && of_root.to_vector() == a[i].to_vector() && b[i].to_vector() == a[i].to_vector();
    }
    const bool everywhere = world.all(same);
    if (root) std::printf("the same bits on both ranks and in both runs: %s\n", everywhere ? "yes" : "no");
    //> the same bits on both ranks and in both runs: yes

    //| ## When something goes wrong
    //| A rank that throws ends the job with its message and its rank; one that is killed is named by `mpirun`; one that does not come
    //| is waited for `GRADUS_DIST_TIMEOUT` seconds. With `dist::share(run, world)` a `training::Checkpoint` is one file from which any number of
    //| ranks goes on: `include/gradus/dist/README.md`.
    training::Mean mean;
    mean.add(losses.back());
    dist::all_reduce(world, mean);
    if (root) std::printf("weight of the meter of both: %g\n", mean.weight());
    //> weight of the meter of both: 2
    return 0;
  }, {.processes = 2});      // started alone, the program starts two of itself
}
