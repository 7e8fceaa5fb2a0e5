// Recurrent nets with PyTorch's parameters give PyTorch's outputs, states and gradients.
#include <gradus/nn/rnn.hpp>

#include "recorded/table.hpp"

using namespace gradus;
using namespace gradus::recorded;

namespace {

template <class Cell>
Results run_recurrent(const Args& x) {
  const std::string name = x.c.name;
  const bool deep = check::contains(name, "deep"), packed = check::contains(name, "packed"), both = deep || packed;
  nn::Recurrent<Cell> net(2, x.get("weight_hh_l0").size(1), {.layers = deep ? 2 : 1, .bidirectional = both});
  for (std::size_t k = 0; k < net.cells.size(); ++k) {
    const std::string end = both ? "_l" + std::to_string(k / 2) + (k % 2 ? "_reverse" : "") : "_l" + std::to_string(k);
    auto& c = net.cells[k];
    c.weight_ih = x.get("weight_ih" + end), c.weight_hh = x.get("weight_hh" + end);
    c.bias_ih = x.get("bias_ih" + end), c.bias_hh = x.get("bias_hh" + end);
    if constexpr (Cell::kGates == 1) c.relu_units = check::contains(name, "relu");
  }
  std::vector<nn::CellState<double, Cpu>> start;
  if (x.get("h").defined()) start.push_back({squeeze(x.get("h"), 0), x.get("c").defined() ? squeeze(x.get("c"), 0) : Double()});
  Tensor<bool> valid;
  if (packed) valid = Tensor<bool>{{true, false, false}, {true, true, true}};
  const auto r = net.forward(x.get("input"), start, valid);
  std::vector<Double> h, s;
  for (const auto& state : r.last) h.push_back(state.h), s.push_back(state.s);
  if constexpr (Cell::kGates == 4) return Results(r.y, stack(h, 0), stack(s, 0));
  else return Results(r.y, stack(h, 0));
}

}  // namespace

TEST_CASE("recurrent nets are PyTorch's") {
  const Report r = run({"recurrent.json"}, {{"rnn", run_recurrent<nn::RNNCell<double>>},
                                            {"lstm", run_recurrent<nn::LSTMCell<double>>},
                                            {"gru", run_recurrent<nn::GRUCell<double>>}});
  CHECK(r.ran == 8);
  CHECK(r.missing == Names{});
  CHECK(r.differences == Names{});
}
