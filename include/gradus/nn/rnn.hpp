// Recurrent layers: cells for one step, and sequences of steps through layers, in one direction or both.
//
//   RNN   h' = tanh(W x + b + U h + c), or relu                                                            Elman 1990
//   LSTM  (i, f, g, o) = W x + b + U h + c;  s' = sigmoid(f) s + sigmoid(i) tanh(g);  h' = sigmoid(o) tanh(s')
//                                                       Hochreiter & Schmidhuber 1997 with Gers et al.'s forget gate
//   GRU   (r, z, n) = W x + b;  (r', z', n') = U h + c;  R = sigmoid(r + r'), Z = sigmoid(z + z');
//         h' = (1 - Z) tanh(n + R n') + Z h                                                                Cho et al. 2014
//
// The rows of W [G H, in] and U [G H, H] are in the order of the gates above, which is PyTorch's: its weights can be copied.
// All start uniform in +-1 / sqrt(H). x [B, T, in] -> y [B, T, H] or, of both directions, [B, T, 2 H].
#pragma once
#include <gradus/nn/linear.hpp>
#include <gradus/ops/dropout.hpp>
#include <gradus/ops/unstack.hpp>

namespace gradus::nn {

/// What a cell keeps between steps: h, and the LSTM's memory s; [B, H], undefined: zeros.
template <class T, class D>
struct CellState {
  Tensor<T, D> h, s;
};

/// What the three cells share; Gates times H rows.
template <int Gates, class T, class D>
struct CellWeights {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight_ih, weight_hh, bias_ih, bias_hh;  // W, U, b, c
  CellWeights(const char* name, int64_t in, int64_t hidden, bool with_bias, Where at) {
    if (in < 1 || hidden < 1)
      fail(name, "no features", {{"in", std::to_string(in)}, {"hidden", std::to_string(hidden)}}, "at least 1 of each", at);
    const double H = static_cast<double>(hidden);
    weight_ih = init::fan_in_uniform<T, D>({Gates * hidden, in}, H, at),
    weight_hh = init::fan_in_uniform<T, D>({Gates * hidden, hidden}, H, at);
    if (with_bias)
      bias_ih = init::fan_in_uniform<T, D>({Gates * hidden}, H, at),
      bias_hh = init::fan_in_uniform<T, D>({Gates * hidden}, H, at);
  }
  template <class U, class E>
  CellWeights(const CellWeights<Gates, U, E>& o, Where at)
      : weight_ih(converted<T, D>(o.weight_ih, at)),
        weight_hh(converted<T, D>(o.weight_hh, at)),
        bias_ih(converted<T, D>(o.bias_ih, at)),
        bias_hh(converted<T, D>(o.bias_hh, at)) {}
  int64_t hidden() const { return weight_hh.size(1); }
  /// W x + b: what can be computed for all steps at once.
  Tensor<T, D> project(const Tensor<T, D>& x, Where at) const { return linear(x, weight_ih, bias_ih, at); }
  Tensor<T, D> recur(const Tensor<T, D>& h, Where at) const { return linear(h, weight_hh, bias_hh, at); }
  CellState<T, D> start(int64_t B, Where at) const { return {zeros<T, D>({B, hidden()}, at), zeros<T, D>({B, hidden()}, at)}; }
  void visit(auto&& f) { f("weight_ih", weight_ih), f("weight_hh", weight_hh), f("bias_ih", bias_ih), f("bias_hh", bias_hh); }
  std::string about() const { return std::to_string(weight_ih.size(1)) + " -> " + std::to_string(hidden()); }
};

/// One step of a cell: x [B, in], a state (or none) -> the next state; its h is the output.
template <class Cell, class T, class D>
CellState<T, D> cell_step(const Cell& cell, const Tensor<T, D>& x, const CellState<T, D>& before, Where at) {
  if (x.rank() != 2 || x.shape()[1] != cell.weight_ih.size(1))
    fail(detail::type_name(typeid(Cell)), "the features do not match the weight",
         {{"x", describe(x)}, {"weight_ih", describe(cell.weight_ih)}}, "x [B, " + std::to_string(cell.weight_ih.size(1)) + "]",
         at);
  CellState<T, D> s = cell.start(x.shape()[0], at);
  if (before.h.defined()) s.h = before.h;
  if (before.s.defined()) s.s = before.s;
  return cell.step(cell.project(x, at), s, at);
}

template <class T = float, class D = Cpu>
struct RNNCell : CellWeights<1, T, D> {
  static constexpr int kGates = 1;
  bool relu_units;  // relu instead of tanh
  RNNCell(int64_t in, int64_t hidden, bool with_bias = true, bool relu_units = false, Where at = Where::current())
      : CellWeights<1, T, D>("RNNCell", in, hidden, with_bias, at), relu_units(relu_units) {}
  template <class U, class E>
  explicit RNNCell(const RNNCell<U, E>& o, Where at = Where::current())
      : CellWeights<1, T, D>(o, at), relu_units(o.relu_units) {}
  CellState<T, D> step(const Tensor<T, D>& projected, const CellState<T, D>& s, Where at) const {
    const auto a = add(projected, this->recur(s.h, at), at);
    return {relu_units ? relu(a, at) : gradus::tanh(a, at), s.s};
  }
  CellState<T, D> forward(const Tensor<T, D>& x, const CellState<T, D>& s = {}, Where at = Where::current()) const {
    return cell_step(*this, x, s, at);
  }
};
template <class T = float, class D = Cpu>
struct LSTMCell : CellWeights<4, T, D> {
  static constexpr int kGates = 4;
  LSTMCell(int64_t in, int64_t hidden, bool with_bias = true, Where at = Where::current())
      : CellWeights<4, T, D>("LSTMCell", in, hidden, with_bias, at) {}
  template <class U, class E>
  explicit LSTMCell(const LSTMCell<U, E>& o, Where at = Where::current()) : CellWeights<4, T, D>(o, at) {}
  CellState<T, D> step(const Tensor<T, D>& projected, const CellState<T, D>& before, Where at) const {
    const auto gate = chunk(add(projected, this->recur(before.h, at), at), 4, -1, at);  // i, f, g, o
    const auto s = add(mul(sigmoid(gate[1], at), before.s, at), mul(sigmoid(gate[0], at), gradus::tanh(gate[2], at), at), at);
    return {mul(sigmoid(gate[3], at), gradus::tanh(s, at), at), s};
  }
  CellState<T, D> forward(const Tensor<T, D>& x, const CellState<T, D>& s = {}, Where at = Where::current()) const {
    return cell_step(*this, x, s, at);
  }
};
template <class T = float, class D = Cpu>
struct GRUCell : CellWeights<3, T, D> {
  static constexpr int kGates = 3;
  GRUCell(int64_t in, int64_t hidden, bool with_bias = true, Where at = Where::current())
      : CellWeights<3, T, D>("GRUCell", in, hidden, with_bias, at) {}
  template <class U, class E>
  explicit GRUCell(const GRUCell<U, E>& o, Where at = Where::current()) : CellWeights<3, T, D>(o, at) {}
  CellState<T, D> step(const Tensor<T, D>& projected, const CellState<T, D>& before, Where at) const {
    const auto a = chunk(projected, 3, -1, at), b = chunk(this->recur(before.h, at), 3, -1, at);  // r, z, n
    const auto z = sigmoid(add(a[1], b[1], at), at);
    const auto n = gradus::tanh(add(a[2], mul(sigmoid(add(a[0], b[0], at), at), b[2], at), at), at);
    return {add(n, mul(z, sub(before.h, n, at), at), at), before.s};
  }
  CellState<T, D> forward(const Tensor<T, D>& x, const CellState<T, D>& s = {}, Where at = Where::current()) const {
    return cell_step(*this, x, s, at);
  }
};

struct RecurrentOptions {
  int64_t layers = 1;
  bool bidirectional = false;
  double dropout = 0;  ///< between layers, in training
  bool with_bias = true;
};

/// Cells over time. Cell k of layer l reads the outputs of layer l - 1, both directions side by side.
template <class Cell>
struct Recurrent {
  using value_type = typename Cell::value_type;
  using device_type = typename Cell::device_type;
  using T = value_type;
  using D = device_type;
  std::vector<Cell> cells;  // layer by layer; of both directions: forward, backward
  RecurrentOptions options;
  bool training = true;

  struct Output {
    Tensor<T, D> y;                     ///< [B, T, H] or [B, T, 2 H]
    std::vector<CellState<T, D>> last;  ///< of each cell, after its last step
  };

  Recurrent(int64_t in, int64_t hidden, RecurrentOptions o = {}, Where at = Where::current()) : options(o) {
    gradus::detail::check_probability("Recurrent", o.dropout, at);
    if (o.layers < 1) fail("Recurrent", "no layers", {{"layers", std::to_string(o.layers)}}, "at least 1", at);
    const int64_t directions = o.bidirectional ? 2 : 1;
    for (int64_t l = 0; l < o.layers; ++l)
      for (int64_t d = 0; d < directions; ++d) cells.push_back(make(l ? directions * hidden : in, hidden, at));
  }
  /// x [B, T, in]; `start`: a state for each cell, or none; `valid` [B, T]: false at padding, where the state stays and y is 0.
  /// The backward direction then begins at each sequence's own end.
  Output forward(const Tensor<T, D>& x, const std::vector<CellState<T, D>>& start = {}, const Tensor<bool, D>& valid = {},
                 Where at = Where::current()) const {
    if (x.rank() != 3 || x.shape()[2] != cells[0].weight_ih.size(1))
      fail("Recurrent", "the features do not match the weight",
           {{"x", describe(x)}, {"weight_ih", describe(cells[0].weight_ih)}},
           "x [B, T, " + std::to_string(cells[0].weight_ih.size(1)) + "]", at);
    if (!start.empty() && start.size() != cells.size())
      fail("Recurrent", "not one state a cell", {{"states", std::to_string(start.size())}},
           std::to_string(cells.size()) + " or none", at);
    if (valid.defined() && !(valid.shape() == Shape{x.shape()[0], x.shape()[1]}))
      fail("Recurrent", "the mask does not match", {{"x", describe(x)}, {"valid", describe(valid)}}, "[B, T]", at);
    std::vector<Tensor<bool, D>> mask;
    if (valid.defined())
      for (int64_t t = 0; t < x.shape()[1]; ++t) mask.push_back(narrow(valid, 1, t, 1, 1, at));
    Output r;
    r.y = x;
    const std::size_t directions = options.bidirectional ? 2 : 1;
    for (std::size_t k = 0; k < cells.size(); k += directions) {
      std::vector<Tensor<T, D>> side;
      for (std::size_t d = 0; d < directions; ++d) {
        CellState<T, D> s = cells[k + d].start(x.shape()[0], at);
        if (!start.empty() && start[k + d].h.defined()) s.h = start[k + d].h;
        if (!start.empty() && start[k + d].s.defined()) s.s = start[k + d].s;
        side.push_back(run(cells[k + d], r.y, s, mask, d == 1, at));
        r.last.push_back(s);
      }
      r.y = directions == 1 ? side[0] : cat(side, -1, at);
      if (training && options.dropout > 0 && k + directions < cells.size()) r.y = dropout(r.y, options.dropout, true, at);
    }
    return r;
  }
  /// The outputs alone.
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, {}, {}, at).y; }
  void visit(auto&& f) { f("cells", cells), f("training", training); }
  std::string module_type() const {
    const std::string cell = detail::type_name(typeid(Cell));
    return cell.size() > 4 ? cell.substr(0, cell.size() - 4) : cell;
  }
  std::string about() const {
    return std::to_string(cells[0].weight_ih.size(1)) + " -> " + std::to_string(cells[0].hidden()) +
           (options.layers > 1 ? ", " + std::to_string(options.layers) + " layers" : "") +
           (options.bidirectional ? ", both directions" : "");
  }

 private:
  Cell make(int64_t in, int64_t hidden, Where at) const {
    if constexpr (Cell::kGates == 1) return Cell(in, hidden, options.with_bias, false, at);
    else return Cell(in, hidden, options.with_bias, at);
  }
  static Tensor<T, D> run(const Cell& cell, const Tensor<T, D>& x, CellState<T, D>& s, const std::vector<Tensor<bool, D>>& mask,
                          bool backward, Where at) {
    const auto projected = unstack(cell.project(x, at), 1, at);
    const std::size_t n = projected.size();
    std::vector<Tensor<T, D>> h(n);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t t = backward ? n - 1 - i : i;
      auto next = cell.step(projected[t], s, at);
      h[t] = next.h;
      if (!mask.empty()) {
        h[t] = where(mask[t], next.h, 0.0, at);
        next.h = where(mask[t], next.h, s.h, at), next.s = where(mask[t], next.s, s.s, at);
      }
      s = next;
    }
    return n ? stack(h, 1, at) : zeros<T, D>({x.shape()[0], 0, cell.hidden()}, at);
  }
};
template <class T = float, class D = Cpu>
using RNN = Recurrent<RNNCell<T, D>>;
template <class T = float, class D = Cpu>
using LSTM = Recurrent<LSTMCell<T, D>>;
template <class T = float, class D = Cpu>
using GRU = Recurrent<GRUCell<T, D>>;

}  // namespace gradus::nn
