// Module machinery: sharing, freezing, hooks, lists, printing, copies to another type, any signature.
#include <gradus/nn/linear.hpp>
#include <gradus/nn/sequential.hpp>

#include "support/check.hpp"

using namespace gradus;

namespace {
struct Tied {
  using value_type = double;
  nn::Embedding<double> table{5, 3};
  nn::Linear<double> body{3, 3};
  nn::TiedLinear<double> head{table};
  Tensor<double> forward(const Tensor<int64_t>& x) { return head(body(table(x))); }
  void visit(auto&& f) { f("table", table), f("body", body), f("head", head); }
};
struct Twice {  // two results
  using value_type = double;
  nn::Linear<double> a{2, 2};
  std::pair<Tensor<double>, Tensor<double>> forward(const Tensor<double>& x) { return {a(x), x + x}; }
  void visit(auto&& f) { f("a", a); }
};
using Pair = std::pair<Tensor<double>, Tensor<double>>;
struct Listed {
  using value_type = double;
  std::vector<nn::Any<Pair(const Tensor<double>&)>> list;
  void visit(auto&& f) { f("list", list); }
};
}  // namespace

TEST_CASE("a tensor that two members share is one parameter") {
  Tied net;
  std::vector<std::string> names;
  for (const auto& [name, x] : nn::named_parameters(net)) names.push_back(name);
  CHECK(names == std::vector<std::string>{"table.weight", "body.weight", "body.bias"});
  CHECK(nn::parameter_count(net) == 5 * 3 + 9 + 3);
  CHECK(nn::state_dict(net).size() == 4);  // files have both names
  const auto index = from_vector<int64_t>({1, 4});
  const auto c = check::uniform({2, 5});
  sum(net.forward(index) * c).backward();
  // Both uses add to one gradient: rows 1 and 4 get the embedding's part besides the head's.
  Tied apart;
  nn::load_state_dict(apart, nn::clone_state(net));
  apart.head.weight = check::leaf(net.table.weight);
  sum(apart.forward(index) * c).backward();
  CHECK(check::difference(net.table.weight.grad(), apart.table.weight.grad() + apart.head.weight.grad()) == "");
  CHECK(check::missing(nn::tree(net),
                       {"head  TiedLinear(3 -> 5, tied)", "weight  float64 cpu [5, 3], shared", "27 parameters"}) == "");
}

TEST_CASE("frozen parameters get no gradient") {
  Tied net;
  CHECK(nn::freeze(net, "body") == 2);
  CHECK(nn::trainable_parameters(net).size() == 1);
  sum(net.forward(from_vector<int64_t>({0, 2}))).backward();
  CHECK_FALSE(net.body.weight.grad().defined());
  CHECK(net.table.weight.grad().defined());
  CHECK(check::contains(nn::summary(net), "12 frozen"));
  CHECK(nn::unfreeze(net) == 4);
  CHECK(check::missing(check::error_of([&] { nn::freeze(net, "bod"); }),
                       {"no parameter has this path", "bod", "body.weight"}) == "");
}

TEST_CASE("hooks see and replace what goes through a module") {
  manual_seed(1);
  nn::Sequential<double> net{nn::Linear<double>{2, 3}, nn::Linear<double>{3, 1}};
  const auto x = check::uniform({4, 2});
  const auto plain = net(x);
  Tensor<double> seen, gradient;
  const int id = net[0].after_forward([&](const Tensor<double>&, const Tensor<double>& y) {
    seen = y;
    if (y.requires_grad()) register_hook(y, [&](const Tensor<double>& g) { gradient = g; });
    return Tensor<double>();
  });
  const int twice = net[1].before_forward([](const Tensor<double>& h) { return h * 2; });
  const auto y = net(x);
  const auto& last = net.at<nn::Linear<double>>(1);
  CHECK(check::difference(y, plain * 2 - last.bias) == "");
  sum(y).backward();
  CHECK(seen.shape() == Shape{4, 3});
  CHECK(check::difference(gradient, expand(last.weight * 2, {4, 3})) == "");
  net[0].remove_hook(id), net[1].remove_hook(twice);
  CHECK(check::difference(net(x), plain) == "");
}

TEST_CASE("modules of any signature, in lists") {
  Listed net;
  net.list.emplace_back(Twice{}), net.list.emplace_back(Twice{});
  const auto x = check::uniform({3, 2});
  CHECK(check::difference(net.list[1](x).second, x * 2) == "");
  CHECK(nn::named_parameters(net)[2].first == "list.1.a.weight");
  CHECK(check::contains(nn::summary(net), "Twice"));
}

TEST_CASE("copies of layers and of states, between types") {
  nn::Linear<float> a(3, 2);
  const nn::Linear<double> wide(a);
  CHECK(check::difference(cast<float>(wide.weight), a.weight, 0, 0) == "");
  CHECK(wide.weight.requires_grad());
  const auto same = nn::to<Cpu>(a);
  CHECK_FALSE(same.weight.shares_storage(a.weight));  // a copy, as on another device
  CHECK(same.weight.to_vector() == a.weight.to_vector());
  nn::Sequential<float> from{nn::Linear<float>{3, 4}, nn::Linear<float>{4, 2}};
  nn::Sequential<double> into{nn::Linear<double>{3, 4}, nn::Linear<double>{4, 2}};
  nn::copy_state(from, into);
  const auto x = check::uniform<float>({2, 3});
  CHECK(check::difference(cast<float>(into(cast<double>(x))), from(x), 1e-5, 1e-6) == "");
  nn::Sequential<double> other{nn::Linear<double>{3, 4}};
  CHECK(check::missing(check::error_of([&] { nn::copy_state(from, other); }), {"copy_state", "different tensors"}) == "");
}
