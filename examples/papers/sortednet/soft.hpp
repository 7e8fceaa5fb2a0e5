// Sorted fine-tuning of a language model (Kavehzadeh et al. 2023): depths d in D of one decoder share its last norm and head.
//
//   h_0 = E[token] + P[place],  h_l = block_l(h_{l-1}),  logits_d = head(LN(h_d))
//   SoFT      L = mean over d in D of CE(logits_d, next token), all in one pass; or one d a step, drawn uniformly
//   standard  L = CE(logits_dmax, next token)
//
// Tokens are bytes. A decoder of depth d is the first d blocks with the same norm and head, nothing is copied.
#pragma once
#include <filesystem>
#include <set>

#include <gradus/data/windows.hpp>
#include <gradus/io/file.hpp>

#include "model.hpp"

namespace sortednet {

struct DecoderConfig {
  int64_t C = 64, layers = 4, heads = 4, context = 64;
  std::vector<int64_t> exits{1, 2, 3, 4};  ///< D, ascending; the last one is `layers`
};

template <class T = float, class D = Cpu>
struct Decoder {
  using value_type = T;
  using device_type = D;
  DecoderConfig config;
  Tensor<T, D> E, P;  // [256, C], [context, C]
  std::vector<nn::TransformerBlock<T, D>> blocks;
  nn::LayerNorm<T, D> norm;
  nn::Linear<T, D> head;

  explicit Decoder(const DecoderConfig& c)
      : config(c),
        E(parameter<T, D>({256, c.C}, 0.02 * 0.02)),
        P(parameter<T, D>({c.context, c.C}, 0.02 * 0.02)),
        norm(c.C),
        head(c.C, 256, false) {
    nn::BlockOptions o;
    o.attention.causal = true;
    for (int64_t l = 0; l < c.layers; ++l) blocks.emplace_back(c.C, c.heads, o);
  }
  /// ids [B, T] -> logits [B T, 256] at each of the depths (ascending); blocks behind the last of them are not run.
  std::vector<Tensor<T, D>> operator()(const Tensor<int64_t, D>& ids, const std::vector<int64_t>& depths) const {
    std::vector<Tensor<T, D>> at;
    auto h = embedding(E, ids) + prefix(P, {ids.size(1), -1});
    for (int64_t l = 1; l <= depths.back(); ++l) {
      h = blocks[static_cast<std::size_t>(l - 1)](h);
      if (l == depths[at.size()]) at.push_back(head(norm(h)).reshape({-1, 256}));
    }
    return at;
  }
  void visit(auto&& f) { f("E", E), f("P", P), f("blocks", blocks), f("norm", norm), f("head", head); }
};

enum class Tuning { standard, all, sample };

template <class T, class D>
Tensor<T, D> tuning_loss(const Decoder<T, D>& net, Tuning t, const Tensor<int64_t, D>& ids, const Tensor<int64_t, D>& next,
                         data::Draws& draws) {
  const auto& exits = net.config.exits;
  std::vector<int64_t> depths = exits;
  if (t == Tuning::standard) depths = {exits.back()};
  if (t == Tuning::sample) depths = {exits[static_cast<std::size_t>(draws.below(static_cast<int64_t>(exits.size())))]};
  Tensor<T, D> sum;
  for (const auto& logits : net(ids, depths)) {
    const auto ce = cross_entropy(logits, next.reshape({-1}));
    sum = sum.defined() ? sum + ce : ce;
  }
  return sum * (1.0 / static_cast<double>(depths.size()));
}

/// Bits per byte at each exit, over windows that lie side by side.
template <class T, class D>
std::vector<double> bits_per_byte(const Decoder<T, D>& net, const data::TokenWindows& text, int64_t batch = 32) {
  const NoGrad guard;
  std::vector<double> bits(net.config.exits.size(), 0.0);
  for (int64_t b = 0; b < text.size(); b += batch) {
    std::vector<int64_t> index;
    for (int64_t i = b; i < std::min(b + batch, text.size()); ++i) index.push_back(i);
    const auto [ids, next] = text.batch(index);
    const auto logits = net(ids.template to<D>(), net.config.exits);
    const auto t = next.template to<D>().reshape({-1});
    for (std::size_t k = 0; k < bits.size(); ++k)
      bits[k] += static_cast<double>(cross_entropy(logits[k], t).item()) * static_cast<double>(index.size());
  }
  for (double& v : bits) v /= std::log(2.0) * static_cast<double>(text.size());
  return bits;
}

/// A text's bytes; the last tenth is for validation.
struct Text {
  std::vector<int64_t> train, validation;
};
inline Text split(const std::string& bytes) {
  std::vector<int64_t> ids;
  for (const char c : bytes) ids.push_back(static_cast<int64_t>(static_cast<unsigned char>(c)));
  const auto cut = ids.begin() + static_cast<std::ptrdiff_t>(ids.size() - ids.size() / 10);
  return {{ids.begin(), cut}, {cut, ids.end()}};
}
/// The licences that a Debian system keeps, by name, one after the other; empty where there are none.
inline std::string licences(const std::filesystem::path& dir = "/usr/share/common-licenses") {
  std::set<std::filesystem::path> files;
  std::error_code none;
  for (const auto& f : std::filesystem::directory_iterator(dir, none))
    if (f.is_regular_file() && !f.is_symlink()) files.insert(f.path());
  std::string all;
  for (const auto& f : files) all += io::read_text(f);
  return all;
}

}  // namespace sortednet
