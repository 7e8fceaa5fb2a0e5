// What is exact about the NASNet example: the schedule, the masks, the controller's probabilities and gradients, and the cells
// that decisions stand for. The networks themselves: tests/models/nasnet_test.cpp.
#include "nasnet/draw.hpp"
#include "nasnet/plan.hpp"

#include <set>

#include "support/catch.hpp"
#include "support/check.hpp"

using namespace nasnet;

namespace {
template <class D>
void exact_properties() {
  constexpr bool host = std::is_same_v<D, Cpu>;
  manual_seed(0);
  const DropDeviation off = drop_deviation<D>(host ? 20 : 5, 0.6, 20000);
  CHECK((off.dropped <= 4 && off.mean <= 4));
  CHECK(changed_in_evaluation<D>(1) == 0);

  // One fate a sample: all of a picture, in all channels, is kept or dropped.
  nn::ScheduledDropPath drop(4, 5, 0.5);
  drop.set_step(1, 1);
  const auto x = full<float, D>({64, 3, 2, 2}, 1.5);
  const auto y = drop(x).to_vector();
  std::set<float> values;
  for (std::size_t n = 0; n < 64; ++n) {
    for (std::size_t i = 0; i < 12; ++i)
      if (y[12 * n + i] != y[12 * n]) FAIL("sample " << n);
    values.insert(y[12 * n]);
  }
  CHECK(values == std::set<float>{0, 3});

  // The probabilities of the policy: those of the decisions one by one, and they sum to one over all choices of a step.
  manual_seed(2);
  Controller<D> controller(1, 7);
  CHECK(controller.sizes == std::vector<int64_t>{2, 2, 13, 13, 2, 2, 2, 13, 13, 2});
  const auto a = controller.sample(3);
  const auto w = controller.score(a);
  std::vector<double> logp(3, 0), entropy(3, 0);
  controller.walk(3, [&](std::size_t k, const Tensor<float, D>& l) {
    const auto v = l.detach().to_vector();
    std::vector<int64_t> column;
    for (std::size_t i = 0; i < 3; ++i) {
      const std::size_t n = v.size() / 3;
      double sum = 0;
      for (std::size_t c = 0; c < n; ++c) {
        const double q = static_cast<double>(v[i * n + c]);
        sum += std::exp(q), entropy[i] -= q * std::exp(q);
      }
      CHECK(sum == Approx(1).margin(1e-5));
      logp[i] += static_cast<double>(v[i * n + static_cast<std::size_t>(a[i][k])]), column.push_back(a[i][k]);
    }
    return from_vector(column).template to<D>();
  });
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(w.logp.to_vector()[i] == Approx(logp[i]).margin(1e-4));
    CHECK(w.entropy.to_vector()[i] == Approx(entropy[i]).margin(1e-4));
  }
  // A step of PPO makes what was better than the baseline more likely, the rest less.
  Ppo<D> ppo(controller, {.lr = 1e-2});
  ppo.baseline = 0.5;
  ppo.learn({a[0], a[1]}, {1, 0});
  const auto after = controller.score(a).logp.to_vector();
  CHECK(after[0] - logp[0] > after[1] - logp[1]);
  CHECK(ppo.baseline == Approx(0.5));
}
}  // namespace

TEST_CASE("nasnet example: drop path, policy and PPO", "[papers]") { exact_properties<Cpu>(); }

#if GRADUS_WITH_CUDA
TEST_CASE("nasnet example: drop path, policy and PPO on the device", "[papers]") { exact_properties<Cuda>(); }
#endif

TEST_CASE("nasnet example: decisions and cells", "[papers]") {
  CHECK(choices(5).size() == 50);
  CHECK(uniform_share(5) == Approx(0.246769).margin(1e-6));
  //                             states, ops, join    states, ops, join
  const Cells c = cells_of({0, 1, 11, 10, 0, 2, 0, 4, 0, 1, 1, 1, 12, 6, 0, 0, 0, 5, 8, 0});
  CHECK(c.normal.blocks.size() == 2);
  CHECK((c.normal.blocks[0].left_op == CellOp::sep_5x5 && c.normal.blocks[0].right_op == CellOp::sep_3x3));
  CHECK((c.normal.blocks[1].left == 2 && c.normal.blocks[1].right == 0 && c.normal.blocks[1].concat));
  CHECK(c.normal.outputs == std::vector<int>{3});
  CHECK(c.reduction.outputs == std::vector<int>{2, 3});
  for (uint64_t k = 0; k < 200; ++k) {
    const Decisions a = random_decisions(5, 3, k);
    const auto n = choices(5);
    for (std::size_t i = 0; i < a.size(); ++i)
      if (a[i] < 0 || a[i] >= n[i]) FAIL("decision " << i);
  }
  // Any architecture can be built, runs and takes a gradient.
  for (uint64_t k = 0; k < 6; ++k) {
    const Cells cells = cells_of(random_decisions(5, 9, k));
    manual_seed(k);
    Net<Cpu> net(
        {.normal = cells.normal, .reduction = cells.reduction, .normal_cells = 1, .filters = 2, .stem = 6, .channels = 1});
    const auto y = net(randn({3, 1, 13, 12}));
    CHECK(y.shape() == Shape{3, 10});
    sum(square(y)).backward();
    CHECK(std::isfinite(sum(square(net.conv.weight.grad())).item()));
    CHECK(CellDrawing{"cell", "", cells.normal}.svg(true).find("s6") != std::string::npos);
  }
}

TEST_CASE("nasnet example: the networks of --paper", "[papers]") {
  app::Args args;
  args.setting = app::Setting::paper;
  for (const auto& [name, parameters, side] :
       std::vector<std::tuple<std::string, int64_t, int64_t>>{{"cifar", 3346538, 32}, {"mobile", 5289978, 224}}) {
    Options o;
    o.net = name;
    Plan p = make_plan(args, o);
    CHECK(p.side == side);
    CHECK(p.net.aux_side == side);
    const Net<Cpu> with(p.net);
    CHECK(with.aux.size() == 1);
    p.net.aux_side = 0;
    Net<Cpu> net(p.net);
    CHECK(nn::parameter_count(net) == parameters);
  }
  args.setting = app::Setting::normal;
  Net<Cpu> small(make_plan(args, {}).net);
  CHECK(nn::parameter_count(small) == 71938);
}
