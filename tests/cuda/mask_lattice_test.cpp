// Masks, alignments and transport: the kernels of the device against those of the host, on the same inputs.
#include <gradus/kernels/lattice.hpp>
#include <gradus/kernels/transport.hpp>
#include <gradus/ops/dropout.hpp>

#include "support/cuda.hpp"

using namespace gradus;
using check::Double, check::List;

namespace {
const RandomStream stream{5, 8};
}  // namespace

TEST_CASE("masks of the device are the host's bit for bit") {
  for (const int64_t n : {0, 1, 5, 1001}) {
    CHECK(check::unequal(keep<Cuda>(stream, {n}, Shape{}, 0.3), keep<Cpu>(stream, {n}, Shape{}, 0.3)) == "");
    const auto p = check::uniform({n}, -0.2, 1.2);
    CHECK(check::unequal(keep(stream, {n}, Shape{}, p.to<Cuda>()), keep(stream, {n}, Shape{}, p)) == "");
  }
  const auto x = check::uniform<float>({6, 5, 4});
  for (const auto& shared : {Shape{}, Shape{-1}, Shape{0}, Shape{1, 2}}) {
    const Outcome o{1.7, 0.3, -2};
    const auto device = drop(x.to<Cuda>(), Bernoulli{0.4, shared}, o, stream);
    const auto host = drop(x, Bernoulli{0.4, shared}, o, stream);
    CHECK(check::unequal(device == -2.0f, host == -2.0f) == "");
    CHECK(check::distant(device, host, 1e-6, 1e-6) == "");        // scale x + shift is one rounding or two
  }
  CHECK(check::unequal(drop(x.to<bf16>().to<Cuda>(), Bernoulli{0.4, {1}}, {1.7}, stream),
                       drop(x.to<bf16>(), Bernoulli{0.4, {1}}, {1.7}, stream)) == "");
  CHECK(check::on_both(
            [](const auto& x) {
              return drop(x[0], Bernoulli{0.4, {0}}, {1.7, 0.3, -2}, stream) * x[0];
            },
            List{check::uniform({4, 5})}) == "");
  CHECK(check::on_both(
            [](const auto& x) {
              return noise(x[0], NormalFactor{1, 0.5}, stream) * x[0];
            },
            List{check::uniform({4, 5})}) == "");
}

namespace {
/// Every result of f on both devices: f(D) gives a list of doubles.
template <class F>
std::string kernels_differ(F f) {
  const auto host = f(Cpu{});
  const auto device = f(Cuda{});
  for (std::size_t i = 0; i < host.size(); ++i)
    if (const auto d = check::distant(device[i], host[i], 1e-12, 1e-12); !d.empty())
      return "result " + std::to_string(i) + ": " + d;
  return "";
}
}  // namespace

TEST_CASE("CTC on the device, with an impossible and an empty target") {
  const int64_t T = 7, N = 4, S = 3, L = 2 * S + 1;
  const auto x = check::uniform({T, N, L}, -3, 0), g = check::uniform({N}, 0.5, 1.5, 2);
  const auto skip = check::uniform({N, L}, 0, 1, 3) > 0.5;
  const Tensor<int64_t> times{7, 5, 1, 4}, labels{3, 2, 3, 0};
  const auto run = [&]<class D>(D) {
    const auto xd = x.to<D>(), gd = g.to<D>();
    const auto sd = skip.to<D>();
    const auto td = times.to<D>(), ld = labels.to<D>();
    auto loss = zeros<double, D>({N}), alpha = zeros<double, D>({N, T, L}), dx = zeros<double, D>({T, N, L});
    kernels::ctc_fwd<double>(D{}, xd.data(), sd.data(), td.data(), ld.data(), loss.data(), alpha.data(), T, N, L);
    kernels::ctc_bwd<double>(D{}, xd.data(), sd.data(), td.data(), ld.data(), loss.data(), alpha.data(), gd.data(), dx.data(),
                             T, N, L);
    return std::vector<Tensor<double, D>>{loss, dx};
  };
  CHECK(kernels_differ(run) == "");
  CHECK(run(Cpu{})[0].to_vector()[2] == std::numeric_limits<double>::infinity());
}

TEST_CASE("the transducer on the device") {
  const int64_t N = 3, T = 6, U = 5;
  const auto b = check::uniform({N, T, U}, -3, 0), e = check::uniform({N, T, U}, -3, 0, 2),
             g = check::uniform({N}, 0.5, 1.5, 3);
  const Tensor<int64_t> times{6, 1, 4}, labels{4, 2, 0};
  CHECK(kernels_differ([&]<class D>(D) {
          const auto bd = b.to<D>(), ed = e.to<D>(), gd = g.to<D>();
          const auto td = times.to<D>(), ld = labels.to<D>();
          auto loss = zeros<double, D>({N}), alpha = zeros<double, D>({N, T, U}), db = zeros<double, D>({N, T, U}),
               de = zeros<double, D>({N, T, U});
          kernels::transducer_fwd<double>(D{}, bd.data(), ed.data(), td.data(), ld.data(), loss.data(), alpha.data(), N, T, U);
          kernels::transducer_bwd<double>(D{}, bd.data(), ed.data(), td.data(), ld.data(), loss.data(), alpha.data(), gd.data(),
                                          db.data(), de.data(), N, T, U);
          return std::vector<Tensor<double, D>>{loss, db, de};
        }) == "");
}

TEST_CASE("Sinkhorn and assignment on the device") {
  const auto C = check::uniform({2, 5, 4}, 0, 1), a = full<double>({2, 5}, 0.2), b = full<double>({2, 4}, 0.25);
  CHECK(kernels_differ([&]<class D>(D) {
          const auto Cd = C.to<D>(), ad = a.to<D>(), bd = b.to<D>();
          auto plan = zeros<double, D>({2, 5, 4});
          kernels::sinkhorn<double>(D{}, Cd.data(), ad.data(), bd.data(), plan.data(), 2, 5, 4, 0.1, 2000, 1e-14);
          return std::vector<Tensor<double, D>>{plan};
        }) == "");
  const auto square_costs = check::uniform({40, 6, 6}, -1, 1, 2);
  const auto columns = [&]<class D>(D) {
    const auto Cd = square_costs.to<D>();
    Tensor<int64_t, D> c(Shape{40, 6});
    kernels::assignment<double>(D{}, Cd.data(), c.data(), 40, 6);
    return c;
  };
  CHECK(check::unequal(columns(Cuda{}), columns(Cpu{})) == "");
}
