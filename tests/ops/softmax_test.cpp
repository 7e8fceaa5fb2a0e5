// softmax, log_softmax, the normalisations and the classification losses: properties, two derivatives, fused against composed.
#include <gradus.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;

TEST_CASE("softmax: rows sum to 1, shifts do not matter, large inputs do not overflow") {
  for (const Shape& shape : {Shape{1}, Shape{3, 1}, Shape{2, 33}, Shape{0, 4}, Shape{2, 3, 5}}) {
    const Double x = check::uniform(shape, -3, 3);
    const Double y = softmax(x);
    Shape ones_shape = shape;
    ones_shape.n -= 1;
    CHECK(check::difference(sum(y, {-1}), ones<double>(ones_shape)) == "");
    CHECK(check::difference(softmax(x + 1000), y, 1e-10, 1e-13) == "");
    CHECK(check::difference(exp(log_softmax(x)), y) == "");
  }
  const Double x = check::uniform({3, 4});
  CHECK(check::difference(softmax(x, 0), softmax(x.t()).t().contiguous()) == "");
  CHECK(check::missing(check::error_of([] { softmax(scalar(2.0)); }), {"softmax", "float64 cpu []", "at least 1 dimension"}) == "");
}

TEST_CASE("softmax and log_softmax: first and second derivatives") {
  for (const int dim : {0, 1, -1}) {
    check::gradients([dim](const Double& x) { return softmax(x, dim); }, check::uniform({3, 4}));
    check::gradients([dim](const Double& x) { return log_softmax(x, dim); }, check::uniform({3, 4}));
  }
}

TEST_CASE("layer_norm and rms_norm: statistics, derivatives, fused equal to composed") {
  const Double x = check::uniform({4, 6}), w = check::uniform({6}, 0.5, 2, 2), b = check::uniform({6}, -1, 1, 3);
  const Double y = layer_norm(x, Double(), Double(), 0);
  CHECK(check::difference(mean(y, {1}), zeros<double>({4}), 0, 1e-12) == "");
  CHECK(check::difference(var(y, {1}, 0), ones<double>({4}), 1e-10, 0) == "");
  check::gradients([](const List& t) { return layer_norm(t[0], t[1], t[2]); }, List{x, w, b});
  check::gradients([](const Double& t) { return layer_norm(t); }, x);
  check::gradients([](const List& t) { return rms_norm(t[0], t[1]); }, List{x, w});
  check::gradients([](const List& t) { return group_norm(t[0], 2, t[1], t[2]); }, List{check::uniform({2, 4, 3}), check::uniform({4}), check::uniform({4}, -1, 1, 2)});
  CHECK(check::missing(check::error_of([&] { layer_norm(x, zeros<double>({5})); }), {"layer_norm", "float64 cpu [5]", "shape [6]"}) == "");
}

TEST_CASE("batch_norm: training and evaluation, running statistics, derivatives") {
  const Double x = check::uniform({3, 2, 4}), w = check::uniform({2}, 0.5, 2, 2), b = check::uniform({2}, -1, 1, 3);
  const Double rm = zeros<double>({2}), rv = ones<double>({2});
  const Double y = batch_norm(x, w, b, rm, rv, true, 0.1);
  const Double mu = mean(x, {0, 2}), s2 = var(x, {0, 2}, 1);
  CHECK(check::difference(rm, mu * 0.1) == "");
  CHECK(check::difference(rv, s2 * 0.1 + 0.9) == "");
  CHECK(check::difference(mean(y, {0, 2}), b, 1e-10, 1e-10) == "");
  check::gradients([](const List& t) { return batch_norm(t[0], t[1], t[2], Double(), Double(), true); }, List{x, w, b});
  check::gradients([&](const List& t) { return batch_norm(t[0], t[1], t[2], rm, rv, false); }, List{x, w, b});
  CHECK(check::missing(check::error_of([&] { batch_norm(x, w, b, Double(), Double(), false); }), {"batch_norm", "running statistics"}) == "");
}

TEST_CASE("cross_entropy: value, derivatives with weights, smoothing and ignored rows") {
  using Options = CrossEntropyOptions<double, Cpu>;
  const Double x = check::uniform({4, 3}, -2, 2), w = check::uniform({3}, 0.5, 2, 2);
  const Tensor<int64_t> t{2, 0, -100, 1};
  const Double logp = log_softmax(x);
  CHECK(cross_entropy(x, t).item() == Approx(-(logp(0, 2).item() + logp(1, 0).item() + logp(3, 1).item()) / 3));
  for (const Options& o : {Options{}, Options{.label_smoothing = 0.2}, Options{.weight = w}, Options{.weight = w, .label_smoothing = 0.2}}) {
    check::gradients([&](const Double& v) { return cross_entropy(v, t, o); }, x);
    Options none = o;
    none.reduction = Reduction::none;
    check::gradients([&](const Double& v) { return cross_entropy(v, t, none); }, x);
  }
  check::gradients([&](const List& v) { return cross_entropy(v[0], v[1]); }, List{x, softmax(check::uniform({4, 3}, -1, 1, 7))});
  const Double q = softmax(check::uniform({4, 3}, -1, 1, 7));  // constant targets: fused
  for (const Options& o : {Options{}, Options{.label_smoothing = 0.2}, Options{.weight = w}, Options{.weight = w, .label_smoothing = 0.2}}) {
    Options none = o;
    none.reduction = Reduction::none;
    check::gradients([&](const Double& v) { return cross_entropy(v, q, o); }, x);
    check::gradients([&](const Double& v) { return cross_entropy(v, q, none); }, x);
    const auto composed = cross_entropy(x, check::leaf(q), none);
    CHECK(check::difference(cross_entropy(x, q, none), composed.detach()) == "");
    const Double a = check::leaf(x), b = check::leaf(x);
    cross_entropy(a, q, o).backward(), cross_entropy(b, check::leaf(q), o).backward();
    CHECK(check::difference(a.grad(), b.grad()) == "");
#if GRADUS_WITH_CUDA
    const auto d = x.to<Cuda>().requires_grad_();
    cross_entropy(d, q.to<Cuda>(), {.weight = o.weight.defined() ? o.weight.to<Cuda>() : Tensor<double, Cuda>(),
                                    .label_smoothing = o.label_smoothing}).backward();
    CHECK(check::difference(d.grad().to<Cpu>(), a.grad()) == "");
#endif
  }
  CHECK(check::missing(check::error_of([&] { cross_entropy(x, q, {.weight = check::uniform({2})}); }), {"one weight a class", "[2]"}) == "");
  const Tensor<int64_t> valid{2, 0, 1, 1};
  CHECK(cross_entropy(x, one_hot<double>(valid, 3)).item() == Approx(cross_entropy(x, valid).item()));
  CHECK(nll_loss(logp, t).item() == Approx(cross_entropy(x, t).item()));
  CHECK(check::missing(check::error_of([&] { cross_entropy(x, Tensor<int64_t>{0, 1, 2, 3}); }), {"element 3 is 3", "[0, 3)", "-100", "softmax_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] { cross_entropy(x, Tensor<int64_t>{0, 1}); }), {"shapes do not match", "int64 cpu [2]"}) == "");
}
