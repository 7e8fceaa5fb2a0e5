// Recurrent layers: gradients, padding, sequences against single steps. tests/recorded compares them with PyTorch.
#include <gradus/nn/rnn.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

TEST_CASE("a sequence is its steps") {
  manual_seed(1);
  nn::LSTM<double> net(2, 3);
  const auto x = check::uniform({2, 4, 2});
  nn::CellState<double, Cpu> s;
  const auto y = net(x);
  for (int64_t t = 0; t < 4; ++t) {
    s = net.cells[0].forward(select(x, 1, t), s);
    CHECK(check::difference(select(y, 1, t), s.h, 1e-12, 1e-13) == "");
  }
}

TEST_CASE("gradients of the cells") {
  manual_seed(2);
  const auto check_cell = [](auto cell) {
    check::gradients(
        [&](const List& v) {
          auto c = cell;
          c.weight_ih = v[3], c.weight_hh = v[4], c.bias_hh = v[5];
          const auto s = c.forward(v[0], {v[1], v[2]});
          return List{s.h, s.s};
        },
        List{check::uniform({2, 2}), check::uniform({2, 2}, -1, 1, 2), check::uniform({2, 2}, -1, 1, 3), cell.weight_ih,
             cell.weight_hh, cell.bias_hh});
  };
  check_cell(nn::RNNCell<double>(2, 2));
  check_cell(nn::LSTMCell<double>(2, 2));
  check_cell(nn::GRUCell<double>(2, 2));
}

TEST_CASE("padding changes nothing") {
  manual_seed(3);
  nn::GRU<double> net(2, 3, {.layers = 2, .bidirectional = true});
  const auto x = check::uniform({2, 5, 2});
  Tensor<bool> valid(Shape{2, 5});
  for (int64_t t = 0; t < 10; ++t) valid.data()[t] = t < 5 || t < 8;  // lengths 5 and 3
  const auto r = net.forward(x, {}, valid);
  const auto alone = net.forward(narrow(narrow(x, 0, 1, 1), 1, 0, 3));
  CHECK(check::difference(narrow(narrow(r.y, 0, 1, 1), 1, 0, 3), alone.y) == "");
  CHECK(amax(abs(narrow(narrow(r.y, 0, 1, 1), 1, 3, 2))).item() == 0);
  for (std::size_t k = 0; k < 4; ++k) CHECK(check::difference(narrow(r.last[k].h, 0, 1, 1), alone.last[k].h) == "");
}

TEST_CASE("layers, dropout between them, errors") {
  manual_seed(4);
  nn::RNN<double> net(2, 3, {.layers = 2, .dropout = 0.5});
  const auto x = check::uniform({1, 3, 2});
  CHECK(net(x).to_vector() != net(x).to_vector());
  nn::eval(net);
  CHECK(net(x).to_vector() == net(x).to_vector());
  CHECK(nn::named_parameters(net)[4].first == "cells.1.weight_ih");
  CHECK(check::contains(nn::summary(net), "RNN(2 -> 3, 2 layers)"));
  CHECK(check::missing(check::error_of([&] { net(check::uniform({1, 3, 4})); }), {"x [B, T, 2]", "rnn_test.cpp"}) == "");
  CHECK(net(zeros<double>({2, 0, 2})).shape() == Shape{2, 0, 3});
}
