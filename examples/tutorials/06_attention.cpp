//| # Attention three ways
//|
//| For queries `q` [B, nh, T, hs], keys `k` and values `v` [B, nh, S, hs], attention is `softmax(q kᵀ / √hs) v`. The same numbers can
//| be computed as the formula says, holding all `T × S` weights; in chunks of keys; or in one fused kernel that holds a tile.
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/app/plot.hpp>
#include <gradus/io/file.hpp>

using namespace gradus;

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  manual_seed(4);
  constexpr int64_t B = 2, nh = 2, T = 48, hs = 8;
  const auto q = randn<double>({B, nh, T, hs}), k = randn<double>({B, nh, T, hs}), v = randn<double>({B, nh, T, hs});

  //| ## The formula, by hand
  //| Causal: query `t` sees keys `s ≤ t`. What it must not see gets the score −∞, whose weight is 0.
  const auto by_hand = [&](const Tensor<double>& Q, const Tensor<double>& K, const Tensor<double>& V) {
    const auto scores = matmul(Q, transpose(K, 2, 3)) * (1 / std::sqrt(static_cast<double>(hs)));
    const auto allowed = tril(ones<double>({T, T})) != 0.0;
    return matmul(softmax(where(allowed, scores, -INFINITY)), V);
  };
  const auto y = by_hand(q, k, v);

  //| ## The three forms of the library
  const auto attend = [&](AttentionForm form, const Tensor<double>& Q, const Tensor<double>& K, const Tensor<double>& V) {
    AttentionOptions<double, Cpu> o;
    o.causal = true, o.form = form;
    return scaled_dot_product_attention(Q, K, V, o);
  };
  const std::vector<std::pair<const char*, AttentionForm>> forms{
      {"formula", AttentionForm::formula}, {"chunked", AttentionForm::chunked}, {"flash", AttentionForm::flash}};
  for (const auto& [name, form] : forms) {
    const double difference = amax(abs(attend(form, q, k, v) - y)).item();
    std::printf("%-8s differs from the formula by hand by less than 1e-12: %s\n", name, difference < 1e-12 ? "yes" : "no");
  }
  //> formula  differs from the formula by hand by less than 1e-12: yes
  //> chunked  differs from the formula by hand by less than 1e-12: yes
  //> flash    differs from the formula by hand by less than 1e-12: yes

  //| ## And their gradients
  //| A backward pass through each, with the same random direction.
  const auto direction = randn<double>({B, nh, T, hs});
  const auto gradient = [&](auto f) {
    auto leaf = k.clone().requires_grad_();
    sum(f(q, leaf, v) * direction).backward();
    return leaf.grad();
  };
  const auto dk = gradient(by_hand);
  for (const auto& [name, form] : forms) {
    const auto f = form;
    const auto g = gradient([&](const auto& Q, const auto& K, const auto& V) { return attend(f, Q, K, V); });
    std::printf("%-8s dL/dk agrees to 1e-12: %s\n", name, amax(abs(g - dk)).item() < 1e-12 ? "yes" : "no");
  }
  //> formula  dL/dk agrees to 1e-12: yes
  //> chunked  dL/dk agrees to 1e-12: yes
  //> flash    dL/dk agrees to 1e-12: yes

  //| ## What a head looks at
  //| The weights of one head as a picture: row `t` is a probability over the keys that it may see.
  AttentionOptions<double, Cpu> causal;
  causal.causal = true;
  const auto P = attention_probabilities(q * 2.0, k, causal);
  std::printf("rows sum to 1: %s\n", amax(abs(sum(P, {-1}) - 1.0)).item() < 1e-12 ? "yes" : "no");
  //> rows sum to 1: yes
  const auto head = P(0, 0, all, all).contiguous();
  const app::Heatmap map{.title = "Weights of head 0", .x_label = "key", .y_label = "query",
                         .rows = T, .columns = T, .values = head.to_vector()};
  io::write_atomically(folder + "/06_weights.svg", map.svg(true));
  //| ![Causal attention: nothing above the diagonal.](06_weights.svg)

  //| ## Memory
  //| What a step holds grows with `T²` for the formula and with `T` for the fused kernel. Measured on this small example, forward and
  //| backward, the bytes at the peak beyond what lived before:
  for (const auto& [name, form] : forms) {
    const auto f = form;
    if (f == AttentionForm::chunked) continue;
    auto leaf = k.clone().requires_grad_();
    reset_peak_memory();
    const int64_t before = memory_stats().live;
    sum(attend(f, q, leaf, v)).backward();
    const int64_t peak = memory_stats().peak - before, weights = B * nh * T * T * 8;
    std::printf("%-8s holds the weights: %s\n", name, peak > 2 * weights ? "yes" : "no");
  }
  //> formula  holds the weights: yes
  //> flash    holds the weights: no

  //| [Next](07_rectified_flow.html): rectified flow.
}
