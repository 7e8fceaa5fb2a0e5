// The formulas of the ops in print: y of a, b, c (x when there is one input), and the chain-rule term of each input.
#pragma once
#include <string>
#include <string_view>

namespace gradus::debug {

struct Formula {
  const char* op;            ///< node's name without "Node", or the function of a UnaryNode
  const char* value;         ///< "y = a b"
  const char* terms[3];      ///< of the inputs, "da = dy bᵀ"; null after the last
};

inline constexpr Formula kFormulas[] = {
    {"Add", "y = a + b", {"da = dy", "db = dy"}},
    {"Sub", "y = a − b", {"da = dy", "db = −dy"}},
    {"Mul", "y = a ⊙ b", {"da = dy ⊙ b", "db = dy ⊙ a"}},
    {"Div", "y = a / b", {"da = dy / b", "db = −dy ⊙ y / b"}},
    {"Pow", "y = a^b", {"da = dy ⊙ b a^(b−1)", "db = dy ⊙ y ln a"}},
    {"Affine", "y = s x + t   (s, t numbers)", {"dx = s dy"}},
    {"Extreme", "y = max(a, b) or min(a, b)", {"da = dy where a wins, half of it where equal", "db = dy where b wins"}},
    {"Where", "y = c ? a : b", {"da = dy where c", "db = dy where not c"}},
    {"Mod", "y = a − b ⌊a / b⌋", {"da = dy", "db = −dy ⌊a / b⌋"}},
    {"Atan2", "y = atan2(a, b)", {"da = dy b / (a² + b²)", "db = −dy a / (a² + b²)"}},
    {"Hypot", "y = √(a² + b²)", {"da = dy a / y", "db = dy b / y"}},
    {"Matmul", "y = a b", {"da = dy bᵀ", "db = aᵀ dy"}},
    {"Sum", "y = Σ x   over some dimensions", {"dx = dy, copied along them"}},
    {"Prod", "y = Π x", {"dx = dy y / x"}},
    {"Extremum", "y = max x or min x   along a dimension", {"dx = dy where the extremum is, 0 elsewhere"}},
    {"Softmax", "y_c = exp(x_c) / Σ_k exp(x_k)", {"dx_c = y_c (dy_c − Σ_k dy_k y_k)"}},
    {"LogSoftmax", "y_c = x_c − log Σ_k exp(x_k)", {"dx_c = dy_c − exp(y_c) Σ_k dy_k"}},
    {"CrossEntropy", "y_i = −log softmax(x_i)[class of i]", {"dx_ic = dy_i (softmax(x_i)_c − [c is the class])"}},
    {"LayerNorm", "y = w x̂ + b,  x̂ = (x − mean x) / √(var x + ε)",
     {"dx = (g − mean g − x̂ mean(g x̂)) / σ,  g = w dy", "dw = Σ dy x̂", "db = Σ dy"}},
    {"RmsNorm", "y = w x / √(mean x² + ε)", {"dx = (g − x̂ mean(g x̂)) / rms,  g = w dy", "dw = Σ dy x̂"}},
    {"BatchNorm", "y = w x̂ + b,  x̂ = (x − mean x) / √(var x + ε)  over the batch",
     {"dx = (g − mean g − x̂ mean(g x̂)) / σ,  g = w dy", "dw = Σ dy x̂", "db = Σ dy"}},
    {"Conv", "y = x ∗ w + b", {"dx = dy ∗ w turned around", "dw = x ∗ dy", "db = Σ dy"}},
    {"MaxPool", "y = max x  in each window", {"dx = dy where the maximum was"}},
    {"AvgPool", "y = mean x  in each window", {"dx = dy / size, spread over the window"}},
    {"Attention", "y = softmax(q kᵀ / √d + mask) v,  P the weights",
     {"dq = dS k / √d,  dS = P ⊙ (dP − Σ dP P),  dP = dy vᵀ", "dk = dSᵀ q / √d", "dv = Pᵀ dy"}},
    {"Dropout", "y = m ⊙ x / (1 − p),  m a random mask of 0 and 1", {"dx = m ⊙ dy / (1 − p)"}},
    {"IndexSelect", "y_i = x[index_i]", {"dx[index_i] += dy_i"}},
    {"IndexAdd", "y = x,  y[index_i] += s_i", {"dx = dy", "ds_i = dy[index_i]"}},
    {"Gather", "y_i = x[index_i] along a dimension", {"dx[index_i] += dy_i"}},
    {"ScatterAdd", "y = x,  y[index_i] += s_i", {"dx = dy", "ds_i = dy[index_i]"}},
    {"Reshape", "y = x in another shape", {"dx = dy in the old shape"}},
    {"Permute", "y = x with its dimensions permuted (transposed)", {"dx = dy permuted back"}},
    {"Expand", "y = x repeated along dimensions of extent 1", {"dx = Σ dy along them"}},
    {"Slice", "y = a part of x", {"dx = dy there, 0 elsewhere"}},
    {"Diagonal", "y = the diagonal of x", {"dx = dy on the diagonal, 0 elsewhere"}},
    {"AsStrided", "y = x seen with other strides", {"dx = dy at the places it saw"}},
    {"Cat", "y = a, b, ... one after the other", {"da = its part of dy", "db = its part of dy", "dc = its part of dy"}},
    {"Pad", "y = x with a border", {"dx = dy without the border"}},
    {"Flip", "y = x mirrored", {"dx = dy mirrored"}},
    {"Clone", "y = a copy of x", {"dx = dy"}},
    {"Cast", "y = x in another number format", {"dx = dy in the old one"}},
    {"Transfer", "y = x on another device", {"dx = dy back there"}},
    {"Cumsum", "y_i = Σ_{k ≤ i} x_k", {"dx_i = Σ_{k ≥ i} dy_k"}},
    {"Checkpoint", "y = f(x), computed again in backward", {"dx = f′(x)ᵀ dy"}},
    {"Inverse", "y = x⁻¹", {"dx = −yᵀ dy yᵀ"}},
    {"Solve", "y = a⁻¹ b", {"da = −db yᵀ", "db = a⁻ᵀ dy"}},
    {"Det", "y = det x", {"dx = dy y x⁻ᵀ"}},
    {"Neg", "y = −x", {"dx = −dy"}},
    {"Abs", "y = |x|", {"dx = dy sign(x)"}},
    {"Exp", "y = exp(x)", {"dx = dy y"}},
    {"Expm1", "y = exp(x) − 1", {"dx = dy (y + 1)"}},
    {"Log", "y = log x", {"dx = dy / x"}},
    {"Log1p", "y = log(1 + x)", {"dx = dy / (1 + x)"}},
    {"Sqrt", "y = √x", {"dx = dy / (2 y)"}},
    {"Rsqrt", "y = 1 / √x", {"dx = −dy y³ / 2"}},
    {"Square", "y = x²", {"dx = dy · 2 x"}},
    {"Reciprocal", "y = 1 / x", {"dx = −dy y²"}},
    {"Sin", "y = sin x", {"dx = dy cos x"}},
    {"Cos", "y = cos x", {"dx = −dy sin x"}},
    {"Tanh", "y = tanh x", {"dx = dy (1 − y²)"}},
    {"Erf", "y = erf x", {"dx = dy 2/√π exp(−x²)"}},
    {"Sigmoid", "y = 1 / (1 + exp(−x))", {"dx = dy y (1 − y)"}},
    {"LogSigmoid", "y = log σ(x)", {"dx = dy σ(−x)"}},
    {"Softplus", "y = log(1 + exp(x))", {"dx = dy σ(x)"}},
    {"Relu", "y = max(x, 0)", {"dx = dy where x > 0"}},
    {"LeakyRelu", "y = x where x > 0, s x elsewhere", {"dx = dy where x > 0, s dy elsewhere"}},
    {"Gelu", "y = x Φ(x)", {"dx = dy (Φ(x) + x φ(x))"}},
    {"GeluTanh", "y = x σ(1.596 x + 0.0714 x³)", {"dx = dy dy/dx"}},
    {"Silu", "y = x σ(x)", {"dx = dy (σ + x σ (1 − σ)),  σ = σ(x)"}},
    {"Clamp", "y = x, kept between lo and hi", {"dx = dy where lo ≤ x ≤ hi"}},
    {"PowScalar", "y = x^e", {"dx = dy e x^(e−1)"}},
};

/// The formula of a node by its name ("SoftmaxNode", "UnaryNode<Exp>"); null for ops that are not in the list.
inline const Formula* formula_of(std::string_view node) {
  if (const auto open = node.find('<'); open != node.npos) node = node.substr(open + 1, node.rfind('>') - open - 1);
  else if (node.ends_with("Node")) node.remove_suffix(4);
  for (const Formula& f : kFormulas)
    if (node == f.op) return &f;
  return nullptr;
}
/// "softmax" for "SoftmaxNode", "exp" for "UnaryNode<Exp>", "cross_entropy" for "CrossEntropyNode": the name in print.
inline std::string op_name(std::string_view node) {
  if (const auto open = node.find('<'); open != node.npos) node = node.substr(open + 1, node.rfind('>') - open - 1);
  else if (node.ends_with("Node")) node.remove_suffix(4);
  std::string s;
  for (std::size_t i = 0; i < node.size(); ++i) {
    const char c = node[i];
    const bool upper = c >= 'A' && c <= 'Z';
    if (upper && i && !(node[i - 1] >= 'A' && node[i - 1] <= 'Z')) s += '_';
    s += upper ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return s;
}

}  // namespace gradus::debug
