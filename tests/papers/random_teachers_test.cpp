// The networks, the student's start, the distillation and the probes of the example on random teachers.
#include "random-teachers/plan.hpp"

#include "support/check.hpp"

using namespace rt;

namespace {
NetOptions small(bool norm = false) { return {.hidden = 12, .bottleneck = 6, .out = 20, .norm = norm}; }
const Distillation kShort{.epochs = 2, .batch = 16};

Tensor<int64_t> turns(int64_t n, int64_t classes, int64_t first = 0) {  // 0, 1, ..., classes - 1, 0, ...
  std::vector<int64_t> y;
  for (int64_t i = 0; i < n; ++i) y.push_back((i + first) % classes);
  return from_vector(y);
}
template <class D>
Samples<D> pictures(int64_t n) {
  manual_seed(3);
  return {randn<float>({n, 1, 32, 32}).to<D>(), turns(n, 10).to<D>()};
}
template <class D>
std::vector<float> values(Net<D>& net) {
  return nn::parameter_vector(net).template to<Cpu>().to_vector();
}
template <class D>
void train(Net<D>& teacher, Net<D>& student, const Tensor<float, D>& x, const Distillation& o = kShort) {
  distil(
      teacher, student, x, o, 9, [](int64_t) { return true; }, [] {});
}

template <class D>
void start() {
  Net<D> teacher(small(), 1), other(small(), 2);
  const auto T = values(teacher), O = values(other);
  for (const double alpha : {0.0, 0.3, 1.0}) {
    Net<D> student = student_near(teacher, other, alpha);
    const auto S = values(student);
    const double s = std::sqrt(alpha * alpha + (1 - alpha) * (1 - alpha));
    if (alpha == 0) CHECK(S == T);
    if (alpha == 1) CHECK(S == O);
    for (std::size_t i = 0; i < S.size(); i += 97)
      CHECK(static_cast<double>(S[i]) ==
            Approx((1 - alpha) / s * static_cast<double>(T[i]) + alpha / s * static_cast<double>(O[i]))
                .epsilon(1e-5)
                .margin(1e-8));
    const auto kernel = nn::parameters(student.encoder)[8];  // 64 x 32 x 3 x 3, deviation sqrt(2 / (64 9)) for every alpha
    CHECK(kernel.shape() == Shape{64, 32, 3, 3});
    CHECK(static_cast<double>(stddev(kernel).item()) == Approx(std::sqrt(2.0 / 576)).epsilon(0.03));
    nn::init::constant(student.head.V, 5);  // tensors of its own
    CHECK(values(teacher) == T);
  }
}

template <class D>
void frozen(int64_t n, const std::vector<bool>& norms) {
  for (const bool norm : norms) {
    const auto s = pictures<D>(n);
    Net<D> teacher(small(norm), 1), other(small(norm), 2);
    const auto state = nn::clone_state(teacher);
    Net<D> a = student_near(teacher, other, 0.5), b = a.copy();
    const auto began = values(a);
    train(teacher, a, s.x);
    for (const auto& [path, x] : nn::state_dict(teacher))  // parameters and running statistics
      CHECK(x.template as<float, D>().template to<Cpu>().to_vector() ==
            state.at(path).template as<float, D>().template to<Cpu>().to_vector());
    CHECK(values(a) != began);
    train(teacher, b, s.x);
    CHECK(values(a) == values(b));  // a function of the pictures and the seed: there are no labels to read
  }
}

template <class D>
void head() {
  manual_seed(4);
  const auto h = randn<float>({5, 64}).to<D>();
  Head<D> normed(small());
  const auto cosines = normed.forward(h).template to<Cpu>();
  CHECK(cosines.shape() == Shape{5, 20});
  CHECK(amax(abs(cosines)).item() <= 1 + 1e-5f);
  nn::init::set(normed.V, normed.V.detach() * 7.0);
  CHECK(check::difference(normed.forward(h).template to<Cpu>(), cosines, 1e-4, 1e-5) == "");  // only the rows' directions count
  Head<D> plain = normed;
  plain.rownorm = false;
  const auto row = norm(normed.V, 2, {1}).template to<Cpu>();
  CHECK(check::difference(plain.forward(h).template to<Cpu>(), cosines * row, 1e-4, 1e-5) == "");
}

template <class D>
void learns() {
  const auto s = pictures<D>(48);
  Net<D> teacher(small(), 1), other(small(), 2);
  Net<D> student = student_near(teacher, other, 1);
  CHECK(kl(teacher, teacher, s.x) == Approx(0).margin(1e-6));
  const double before = kl(teacher, student, s.x);
  train(teacher, student, s.x, {.epochs = 6, .batch = 16});
  CHECK(kl(teacher, student, s.x) < 0.8 * before);
  Net<D> features = student_near(teacher, other, 1);
  const auto apart = [&] {
    return no_grad([&] { return mse_loss(embed(features.encoder, s.x), embed(teacher.encoder, s.x)).item(); });
  };
  const float far = apart();
  const auto heads = nn::parameter_vector(features.head).template to<Cpu>().to_vector();
  train(teacher, features, s.x, {.epochs = 4, .batch = 16, .lr = 0.02, .sgd = true, .mse = true});
  CHECK(apart() < far);
  CHECK(nn::parameter_vector(features.head).template to<Cpu>().to_vector() == heads);
}

template <class D>
void probes() {
  manual_seed(6);
  const auto y = turns(200, 4).to<D>();
  const auto x = one_hot<float>(y, 4) + randn<float>({200, 4}).to<D>() * 0.05;
  const Samples<D> s{x, y};
  CHECK(nearest_neighbours(s, s, 4, 5) == 1);
  CHECK(linear_probe(s, s, 4, 800) == 1);
  CHECK(linear_probe(s, s, 4, 20) == linear_probe(s, s, 4, 20));
  CHECK(nearest_neighbours<D>({x, y}, {x, turns(200, 4, 1).to<D>()}, 4, 5) == 0);
  const auto [a, b] = standardised(x * 100.0 + 3.0, x);
  CHECK(amax(abs(mean(a, {0}))).item() < 1e-4f);
  CHECK(check::difference(stddev(a, {0}, 0).template to<Cpu>(), ones<float>({4}), 1e-4, 1e-4) == "");
  const auto [c, d] =
      standardised(zeros<float, D>({5, 2}) + 1.0, ones<float, D>({5, 2}) * 3.0);  // constant features: divided by 1
  CHECK(amax(abs(c)).item() == 0);
  CHECK(amin(d).item() == 2);
}

template <class D>
void weights() {
  const auto s = pictures<D>(40);
  const Task<D> task{s, s, 10};
  const NetOptions o = small();
  Net<D> net(o, 1);
  int steps = 0;
  const auto count = [&] { return ++steps, true; };
  const Path p = linear_path(o, net.encoder, task, {.epochs = 1, .batch = 20}, 0, count);
  CHECK(p.at == std::vector<double>{0, 0.25, 0.5, 0.75, 1});
  CHECK(p.barrier() >= 0);
  CHECK(steps == 4);
  const Tickets t = lottery(o, net.encoder, task, {.epochs = 1, .batch = 20}, 3, 0, count);
  CHECK(t.remaining == std::vector<double>{1, 0.5, 0.25});
  CHECK(t.accuracy.size() == 3);
}
}  // namespace

TEST_CASE("random-teachers: a student starts between its teacher and another network, with the same variance", "[papers]") {
  start<Cpu>();
#if GRADUS_WITH_CUDA
  start<Cuda>();
#endif
}
TEST_CASE("random-teachers: the teacher stays bit for bit, and a student is a function of the pictures alone", "[papers]") {
  frozen<Cpu>(32, {false, true});
#if GRADUS_WITH_CUDA
  frozen<Cuda>(8, {true});  // the emulated device takes a second for each picture
#endif
}
TEST_CASE("random-teachers: logits are cosines", "[papers]") {
  head<Cpu>();
#if GRADUS_WITH_CUDA
  head<Cuda>();
#endif
}
TEST_CASE("random-teachers: KL and the distance of features fall (host alone: minutes on the emulated device)", "[papers]") {
  learns<Cpu>();
}
TEST_CASE("random-teachers: probes tell classes apart, and say the same twice", "[papers]") {
  probes<Cpu>();
#if GRADUS_WITH_CUDA
  probes<Cuda>();
#endif
}
TEST_CASE("random-teachers: paths have five points, tickets halve what is left (host alone: minutes on the emulated device)",
          "[papers]") {
  weights<Cpu>();
}

TEST_CASE("random-teachers: a student of alpha 0 is moved by rounding alone", "[papers]") {
  const auto s = pictures<Cpu>(64);
  Net<Cpu> teacher(small(), 1);
  Net<Cpu> other(small(), 2), student = student_near(teacher, other, 0), far = student_near(teacher, other, 1);
  const auto p_T = no_grad([&] { return softmax(teacher.forward(s.x)); });
  const auto largest = [&](Net<Cpu>& net) {
    cross_entropy(net.forward(s.x), p_T).backward();
    double most = 0;
    for (const auto& w : nn::parameters(net)) most = std::max(most, static_cast<double>(amax(abs(w.grad())).item()));
    nn::zero_grad(net);
    return most;
  };
  CHECK(largest(student) > 0);
  CHECK(largest(student) < 1e-3 * largest(far));
  train(teacher, student, s.x);
  CHECK(values(student) != values(teacher));
}

TEST_CASE("random-teachers: the plane goes through its three points", "[papers]") {
  manual_seed(8);
  const auto o = randn<float>({50}), p = randn<float>({50}), q = randn<float>({50});
  const Plane<Cpu> plane(o, p, q);
  CHECK(sum(plane.u * plane.v).item() == Approx(0).margin(1e-4));
  CHECK(sum(square(plane.u)).item() == Approx(50).epsilon(1e-4));
  for (const auto& [k, x] : {std::pair{0, o}, {1, p}, {2, q}})
    CHECK(
        check::difference(plane.at(plane.corner[static_cast<std::size_t>(k)][0], plane.corner[static_cast<std::size_t>(k)][1]),
                          x, 1e-4, 1e-4) == "");
}

TEST_CASE("random-teachers: classes of a set, counted from 0", "[papers]") {
  const auto upper = pictures<Cpu>(30).classes(5, 10);
  CHECK(upper.size() == 15);
  CHECK(upper.x.shape() == Shape{15, 1, 32, 32});
  CHECK(upper.y.to_vector() == std::vector<int64_t>{0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4});
}

TEST_CASE("random-teachers: the paper's networks", "[papers]") {
  app::Args args;
  args.setting = app::Setting::paper;
  Plan p = plan_of(args, {});
  Net<Cpu> vgg(p.net, 0);
  CHECK(nn::parameter_count(vgg.encoder) == 9220480);  // the eight convolutions of VGG11 with their biases
  CHECK(nn::parameter_count(vgg.head) == 512 * 2048 + 2048 + 2048 * 2048 + 2048 + 2048 * 256 + 256 + 256 * 65536);
  p.net.arch = Arch::resnet18;
  p.net.out = 64;
  Net<Cpu> resnet(p.net, 0);
  CHECK(nn::parameter_count(resnet.encoder) == 11168832);  // 11,173,962 of ResNet18 for CIFAR-10 less the classifier's 5130
  const NoGrad guard;
  for (Net<Cpu>* net : {&vgg, &resnet}) {
    nn::eval(*net);
    const auto h = net->encoder(randn({1, 3, 32, 32}));
    CHECK(h.shape() == Shape{1, 512});
    CHECK(net->head(h).size(1) == net->options.out);
  }
}
