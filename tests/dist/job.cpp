// A job of several processes for job.sh: what happens when one of them goes wrong, and how the job goes on.
//
//   dist_job MODE FILE STEPS: trains with a checkpoint in FILE and prints a number that depends on every bit of the parameters.
//     train    nothing else
//     throw    rank 1 fails with an error at step 5
//     die      rank 1 is killed at step 5
//     hang     rank 1 stops at step 5
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <unistd.h>

#include <gradus/dist.hpp>
#include <gradus/nn.hpp>
#include <gradus/ops.hpp>
#include <gradus/optim.hpp>

using namespace gradus;

int main(int argc, char** argv) {
  return dist::run(argc, argv, [&](dist::Group& world) {
    const std::string mode = argc > 1 ? argv[1] : "train", file = argc > 2 ? argv[2] : "job.safetensors";
    const int64_t steps = argc > 3 ? std::atoll(argv[3]) : 10;
    manual_seed(3);
    nn::Sequential<double> net(nn::Linear<double>(6, 16), nn::GELU(), nn::Linear<double>(16, 16), nn::GELU(),
                               nn::Linear<double>(16, 2));
    dist::Sharded<optim::AdamW<double>> opt(net, world, {.lr = 0.01});
    dist::DataParallel parallel(net, world, {.owners = opt.owners()});
    int64_t step = 0;
    training::Checkpoint run(file);
    run("model", net)("optimizer", opt)("random", generator())("step", step);
    dist::share(run, world);
    if (run.load() && world.is_root()) std::printf("goes on at step %lld\n", static_cast<long long>(step));
    app::catch_interrupt();
    for (; step < steps; ++step) {
      if (world.rank() == 1 && step == 5) {
        if (mode == "throw") matmul(zeros({2, 3}), zeros({2, 3}));
        if (mode == "die") std::raise(SIGKILL);
        if (mode == "hang") ::sleep(60);
      }
      const auto part = world.part(12);
      manual_seed(1000 + static_cast<uint64_t>(step));
      const auto x = narrow(randn<double>({12, 6}), 0, part.begin, part.size());
      parallel.weight(static_cast<double>(part.size()));
      opt.zero_grad();
      mse_loss(net(x), narrow(square(x), 1, 0, 2)).backward();
      parallel.finish();
      opt.step();
      if (step % 2 == 1) {
        ++step, run.save(), --step;
      }
    }
    const auto all = nn::parameters(net);
    double value = 0;
    for (const auto& p : all) value += sum(sin(p * 1e3)).item();
    if (world.is_root()) std::printf("result %.12f\n", value);
    return 0;
  });
}
