// Windows of a long text's tokens, for language models: each token is asked for from those before it.
//
//   const auto ids = data::join_tokens(io::documents(text, "<|endoftext|>"), [&](const std::string& d) { return tokenizer.encode(d); }, end);
//   const data::TokenWindows windows(ids, 256);
//   data::Loader loader(windows.size(), {.batch = 8, .seed = 1}, [&](const data::BatchPlan& plan) { return windows.batch(plan.index); });
//   for (const auto& [inputs, targets] : loader) ...                    // [B, 256] each; targets[b, t] is the token after inputs[b, t]
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include <gradus/tensor/tensor.hpp>

namespace gradus::data {

/// The tokens of documents one after the other, `end` behind each.
template <class Texts, class Encode>
std::vector<int64_t> join_tokens(const Texts& documents, Encode encode, int64_t end) {
  std::vector<int64_t> ids;
  for (const auto& d : documents) {
    const std::vector<int64_t> of = encode(d);
    ids.insert(ids.end(), of.begin(), of.end());
    ids.push_back(end);
  }
  return ids;
}

struct TokenBatch {
  Tensor<int64_t> inputs, targets;  ///< [B, T]
};

class TokenWindows {
 public:
  /// Windows of `length` tokens that begin `stride` apart (0: `length`, so that each token is a target once). What is left at the end
  /// and fills no window is not used.
  TokenWindows(std::vector<int64_t> tokens, int64_t length, int64_t stride = 0, Where at = Where::current())
      : tokens_(std::move(tokens)), length_(length), stride_(stride == 0 ? length : stride) {
    if (length < 1 || stride < 0)
      fail("TokenWindows", "no such windows", {{"length", std::to_string(length)}, {"stride", std::to_string(stride)}}, "a length of 1 or more, a stride of 0 or more", at);
    if (static_cast<int64_t>(tokens_.size()) <= length)
      fail("TokenWindows", "not one window", {{"tokens", std::to_string(tokens_.size())}, {"length", std::to_string(length)}},
           "at least length + 1 tokens: the last one is a target only", at);
  }
  int64_t size() const { return (static_cast<int64_t>(tokens_.size()) - 1 - length_) / stride_ + 1; }
  int64_t length() const { return length_; }
  const std::vector<int64_t>& tokens() const { return tokens_; }

  TokenBatch batch(const std::vector<int64_t>& index, Where at = Where::current()) const {
    const auto n = static_cast<int64_t>(index.size());
    TokenBatch b{Tensor<int64_t>(Shape{n, length_}, at), Tensor<int64_t>(Shape{n, length_}, at)};
    for (int64_t i = 0; i < n; ++i) {
      const int64_t w = index[static_cast<std::size_t>(i)];
      if (w < 0 || w >= size()) fail("TokenWindows", "no such window", {{"index", std::to_string(w)}}, "an index below " + std::to_string(size()), at);
      const int64_t* from = tokens_.data() + w * stride_;
      for (int64_t t = 0; t < length_; ++t) b.inputs.data()[i * length_ + t] = from[t], b.targets.data()[i * length_ + t] = from[t + 1];
    }
    return b;
  }

 private:
  std::vector<int64_t> tokens_;
  int64_t length_, stride_;
};

}  // namespace gradus::data
