// A training of several processes is that of one, up to the rounding of sums.
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <gradus/data/loader.hpp>
#include <gradus/dist.hpp>
#include <gradus/nn.hpp>
#include <gradus/ops.hpp>
#include <gradus/optim.hpp>

#include "dist/world.hpp"
#include "support/check.hpp"

using namespace gradus;

namespace {
template <class T, class D = Cpu>
struct Net {
  using value_type = T;
  using device_type = D;
  nn::Linear<T, D> fc1{5, 9}, fc2{9, 9}, fc3{9, 3};
  Tensor<T, D> forward(const Tensor<T, D>& x) const { return fc3(tanh(fc2(tanh(fc1(x))))); }
  void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2), f("fc3", fc3); }
};

struct Setting {
  int64_t batch = 12;
  dist::DataParallelOptions options = {};
  int accumulate = 1;
  bool shard_gradients = false;
};

template <class T, class D>
Tensor<T, D> batch_of(int64_t step, int64_t n) {
  const Tensor<T> x = map([](auto v) { return v * 2.0 - 1.0; },
                          [&] {
                            manual_seed(100 + static_cast<uint64_t>(step));
                            return rand<T>({n, 5});
                          }());
  return to_device<D>(x);
}
template <class T, class D>
Tensor<T, D> loss_of(const Net<T, D>& net, const Tensor<T, D>& x) {
  return mse_loss(net.forward(x), narrow(square(x), 1, 0, 3));
}

template <class T, class D>
std::vector<double> values(Net<T, D>& net) {
  std::vector<double> v;
  for (const auto& p : nn::parameters(net)) {
    const auto of = cast<double>(p.detach().template to<Cpu>()).contiguous().to_vector();
    v.insert(v.end(), of.begin(), of.end());
  }
  return v;
}
double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double d = 0;
  for (std::size_t i = 0; i < a.size(); ++i) d = std::max(d, std::fabs(a[i] - b[i]));
  return d;
}

constexpr int kSteps = 6;

template <class Opt, class T = typename Opt::value_type, class D = typename Opt::device_type>
std::vector<double> alone(const Setting& s, decltype(Opt::options) o) {
  manual_seed(1);
  Net<T, D> net;
  Opt opt(net, o);
  for (int step = 0; step < kSteps; ++step) {
    opt.zero_grad();
    for (int k = 0; k < s.accumulate; ++k) loss_of(net, batch_of<T, D>(step * s.accumulate + k, s.batch)).backward();
    opt.step();
  }
  return values(net);
}

/// One step's gradients on this rank's part of the batch, and their means.
template <class T, class D>
void gradients(dist::DataParallel<T, D>& parallel, Net<T, D>& net, const Setting& s, int step) {
  for (int k = 0; k < s.accumulate; ++k) {
    const auto part = world().part(s.batch);
    parallel.weight(static_cast<double>(part.size()));
    const auto x = narrow(batch_of<T, D>(step * s.accumulate + k, s.batch), 0, part.begin, part.size());
    if (k + 1 < s.accumulate) parallel.no_sync([&] { loss_of(net, x).backward(); });
    else loss_of(net, x).backward();
  }
  parallel.finish();
}

template <class Opt, class T = typename Opt::value_type, class D = typename Opt::device_type>
std::vector<double> together(const Setting& s, decltype(Opt::options) o) {
  manual_seed(1 + static_cast<uint64_t>(world().rank()));  // rank 0 has the parameters that count
  Net<T, D> net;
  dist::DataParallel parallel(net, world(), s.options);
  Opt opt(net, o);
  for (int step = 0; step < kSteps; ++step) {
    opt.zero_grad();
    gradients(parallel, net, s, step);
    opt.step();
  }
  return values(net);
}

template <class Opt, class T = typename Opt::value_type, class D = typename Opt::device_type>
std::vector<double> sharded(Setting s, decltype(Opt::options) o) {
  manual_seed(1 + static_cast<uint64_t>(world().rank()));
  Net<T, D> net;
  dist::Sharded<Opt> opt(net, world(), o);
  if (s.shard_gradients) s.options.owners = opt.owners();
  dist::DataParallel parallel(net, world(), s.options);
  const auto params = nn::parameters(net);
  for (int step = 0; step < kSteps; ++step) {
    opt.zero_grad();
    gradients(parallel, net, s, step);
    for (std::size_t i = 0; i < params.size(); ++i)
      CHECK(params[i].grad().defined() == (!s.shard_gradients || opt.owners()[i] == world().rank()));
    opt.step();
  }
  return values(net);
}
}  // namespace

TEST_CASE("N ranks train as one does with the whole batch") {
  for (const int64_t batch : {12, 7, 4}) {  // 7 and 4 do not go up evenly in 2, 3 and 4
    INFO("batch " << batch << ", " << world().size() << " ranks");
    const Setting s{.batch = batch};
    const auto sgd = together<optim::Sgd<double>>(s, {.lr = 0.1, .momentum = 0.9});
    CHECK(largest_difference(sgd, alone<optim::Sgd<double>>(s, {.lr = 0.1, .momentum = 0.9})) < 1e-13);
    CHECK(same_everywhere(from_vector(sgd)));
    const auto adam = together<optim::AdamW<double>>(s, {.lr = 0.01});
    CHECK(largest_difference(adam, alone<optim::AdamW<double>>(s, {.lr = 0.01})) < 1e-11);
    const auto f = together<optim::Sgd<float>>(s, {.lr = 0.1, .momentum = 0.9});
    CHECK(largest_difference(f, alone<optim::Sgd<float>>(s, {.lr = 0.1, .momentum = 0.9})) < 2e-6);
    CHECK(same_everywhere(from_vector(f)));
  }
}

TEST_CASE("two runs of as many ranks agree to the bit, whatever the buckets") {
  const auto first = together<optim::AdamW<float>>({}, {.lr = 0.01});
  CHECK(together<optim::AdamW<float>>({}, {.lr = 0.01}) == first);
  CHECK(together<optim::AdamW<float>>({.options = {.bucket_bytes = 1}}, {.lr = 0.01}) == first);  // a bucket a tensor
  CHECK(together<optim::AdamW<float>>({.options = {.bucket_bytes = 200}}, {.lr = 0.01}) == first);
}

TEST_CASE("several backward() a step") {
  const Setting s{.accumulate = 3};
  CHECK(largest_difference(together<optim::Sgd<double>>(s, {.lr = 0.1}), alone<optim::Sgd<double>>(s, {.lr = 0.1})) < 1e-13);
}

TEST_CASE("shared-out states and gradients change nothing") {
  const auto whole = together<optim::AdamW<float>>({}, {.lr = 0.01});
  CHECK(sharded<optim::AdamW<float>>({}, {.lr = 0.01}) == whole);                         // ZeRO 1
  CHECK(sharded<optim::AdamW<float>>({.shard_gradients = true}, {.lr = 0.01}) == whole);  // ZeRO 2
  CHECK(sharded<optim::AdamW<float>>({.options = {.bucket_bytes = 100}, .shard_gradients = true}, {.lr = 0.01}) == whole);
  CHECK(sharded<optim::Muon<float>>({}, {.lr = 0.01}) == together<optim::Muon<float>>({}, {.lr = 0.01}));
}

TEST_CASE("the norm that is clipped is that of all gradients") {
  manual_seed(1);
  Net<double> net;
  dist::Sharded<optim::Sgd<double>> opt(net, world(), {.lr = 0.1});
  dist::DataParallel parallel(net, world(), {.owners = opt.owners()});
  gradients(parallel, net, {}, 0);
  const double norm = opt.clip_grad_norm(1e-3);
  manual_seed(1);
  Net<double> other;
  loss_of(other, batch_of<double, Cpu>(0, 12)).backward();
  CHECK(norm == Approx(optim::clip_grad_norm(nn::parameters(other), 1e-3)).epsilon(1e-12));
  for (std::size_t i = 0; i < opt.owners().size(); ++i)
    if (opt.owners()[i] == world().rank())
      CHECK(allclose(nn::parameters(net)[i].grad(), nn::parameters(other)[i].grad(), 1e-10, 1e-16));
}

TEST_CASE("each rank keeps its share of the states; their whole goes on with one rank or with others") {
  manual_seed(1);
  Net<double> net;
  dist::Sharded<optim::AdamW<double>> opt(net, world(), {.lr = 0.01});
  dist::DataParallel parallel(net, world());
  for (int step = 0; step < 3; ++step) opt.zero_grad(), gradients(parallel, net, {}, step), opt.step();
  CHECK(world().sum(opt.share()) == Approx(1));
  int64_t own = 0;
  for (const auto& [name, x] : opt.local().state_dict())
    if (name.ends_with("exp_avg")) own += x.numel();
  CHECK(static_cast<double>(own) / static_cast<double>(nn::parameter_count(net)) == Approx(opt.share()));

  const auto states = opt.state_dict();
  manual_seed(2);
  Net<double> other;
  optim::AdamW<double> whole(other, {.lr = 0.5});
  nn::load_state_dict(other, nn::state_dict(net));
  whole.load_state_dict(states);
  CHECK(whole.lr() == 0.01);
  dist::Sharded<optim::AdamW<double>> again(net, world(), {.lr = 0.5});
  again.load_state_dict(states);
  for (int step = 3; step < 6; ++step) {
    again.zero_grad(), gradients(parallel, net, {}, step), again.step();
    whole.zero_grad(), loss_of(other, batch_of<double, Cpu>(step, 12)).backward(), whole.step();
  }
  CHECK(largest_difference(values(net), values(other)) < 1e-11);
}

TEST_CASE("batch normalisation over the batches of all ranks is that of the whole batch") {
  const auto part = world().part(10);
  manual_seed(4);
  const auto x = randn<double>({10, 3, 4, 4}), dy = randn<double>({10, 3, 4, 4});
  nn::BatchNorm2d<double> whole(3);
  auto xw = clone(x).requires_grad_();
  sum(whole(xw) * dy).backward();
  nn::SyncBatchNorm<2, double> shared(3, {}, dist::sum_over<double>(world()));
  auto xs = clone(narrow(x, 0, part.begin, part.size())).requires_grad_();
  const auto y = shared(xs);
  sum(y * narrow(dy, 0, part.begin, part.size())).backward();
  CHECK(allclose(xs.grad(), narrow(xw.grad(), 0, part.begin, part.size()), 1e-9, 1e-12));
  CHECK(allclose(shared.running_mean, whole.running_mean, 1e-12, 1e-14));
  CHECK(allclose(shared.running_var, whole.running_var, 1e-12, 1e-14));
  const auto dweight = clone(shared.weight.grad());
  world().all_reduce(dweight);
  CHECK(allclose(dweight, whole.weight.grad(), 1e-10, 1e-12));
}

TEST_CASE("loaders give each rank its part of the same batches") {
  const int P = world().size();
  const data::LoaderOptions common{.batch = 12, .seed = 5};
  const auto make = [](const data::BatchPlan& plan) { return plan.index; };
  auto mine = common;
  mine.part = world().rank(), mine.parts = P;
  data::Loader<std::vector<int64_t>> whole(48, common, make), part(48, mine, make);
  while (whole.epoch() < 2) {
    auto w = whole.begin();
    for (const auto& own : part) {
      const auto joined = world().all_gather(from_vector(own)).to_vector();
      CHECK(joined == *w);
      ++w;
    }
    for (; w != whole.end(); ++w) FAIL("the parts are fewer");
  }
  data::Loader<std::vector<int64_t>> uneven(13, {.batch = 12, .part = 0, .parts = 2}, make);
  CHECK_THROWS_WITH(
      [&] {
        for ([[maybe_unused]] const auto& own : uneven) {
        }
      }(),
      Catch::Contains("fewer samples than there are parts"));
}

TEST_CASE("mistakes are told on every rank") {
  manual_seed(1);
  Net<float> net;
  if (world().size() > 1) {
    nn::Linear<float> other(4, world().rank() == 1 ? 3 : 2);
    CHECK_THAT(check::error_of([&] { dist::DataParallel parallel(other, world()); }),
               Catch::Contains("ranks differ in the module") && Catch::Contains("rank 1"));
  }
  {
    dist::DataParallel parallel(net, world());
    sum(net.fc1(zeros({1, 5}))).backward();
    CHECK_THAT(check::error_of([&] { parallel.finish(); }),
               Catch::Contains("no gradient on this rank") && Catch::Contains("fc2"));
  }
  {
    dist::DataParallel parallel(net, world(), {.allow_unused = true});
    sum(net.fc1(ones({1, 5}))).backward();
    parallel.finish();
    CHECK(amax(abs(net.fc3.weight.grad())).item() == 0);
    CHECK(net.fc1.bias.grad()(0).item() == 1);
  }
  {
    dist::DataParallel parallel(net, world());
    sum(net.forward(ones({1, 5}))).backward();
    CHECK_THAT(check::error_of([&] {
                 sum(net.forward(ones({1, 5}))).backward();
               }),
               Catch::Contains("a second backward() before finish()"));
    nn::zero_grad(net);
    parallel.finish();
  }
  {
    dist::DataParallel parallel(net, world());
    parallel.weight(0);
    sum(net.forward(ones({1, 5}))).backward();
    CHECK_THAT(check::error_of([&] { parallel.finish(); }), Catch::Contains("no rank has samples"));
    CHECK_THROWS_WITH(parallel.weight(-1), Catch::Contains("not a weight"));
  }
  nn::Linear<float> one(2, 2, false);
  if (world().size() > 1)
    CHECK_THAT(check::error_of([&] { dist::Sharded<optim::AdamW<float>> opt(one, world()); }),
               Catch::Contains("fewer parameters than ranks"));
}

#if GRADUS_WITH_CUDA
TEST_CASE("N ranks with a device each train as one process on the host does") {
  const Setting s{.batch = 7};
  const auto there = together<optim::Sgd<double, Cuda>>(s, {.lr = 0.1});
  CHECK(largest_difference(there, alone<optim::Sgd<double>>(s, {.lr = 0.1})) < 1e-12);
  CHECK(same_everywhere(from_vector(there)));
}
#endif
