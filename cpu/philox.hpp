// Philox in blocks of 64 counters, written so that g++ makes vector code of it.
#pragma once
#include <algorithm>
#include <cstdint>

#include <gradus/core/parallel.hpp>
#include <gradus/core/random.hpp>

namespace gradus::kernels::detail {

inline constexpr int kBlockCounters = 64, kBlockWords = 4 * kBlockCounters;

/// word[4 j + k] = word k of counter 64 block + j: the numbers of Philox(s.seed, s.stream, 64 block + j).
inline void philox_block(RandomStream s, uint64_t block, uint32_t* __restrict word) {
  const uint64_t first = block * kBlockCounters;   // the upper half of the index is the same for the whole block
  const uint32_t low = static_cast<uint32_t>(first), high = static_cast<uint32_t>(first >> 32);
  const uint32_t s0 = static_cast<uint32_t>(s.stream), s1 = static_cast<uint32_t>(s.stream >> 32);
  const uint32_t key0 = static_cast<uint32_t>(s.seed), key1 = static_cast<uint32_t>(s.seed >> 32);
  for (uint32_t j = 0; j < kBlockCounters; ++j) {
    uint32_t a = low + j, b = high, c = s0, d = s1, k0 = key0, k1 = key1;
    const auto round = [&] {
      const uint64_t p0 = uint64_t{0xD2511F53u} * a, p1 = uint64_t{0xCD9E8D57u} * c;
      const uint32_t na = static_cast<uint32_t>(p1 >> 32) ^ b ^ k0, nc = static_cast<uint32_t>(p0 >> 32) ^ d ^ k1;
      b = static_cast<uint32_t>(p1), d = static_cast<uint32_t>(p0), a = na, c = nc;
      k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    };
    round(), round(), round(), round(), round(), round(), round(), round(), round(),
        round();  // no inner loop to vectorise over
    word[4 * j] = a, word[4 * j + 1] = b, word[4 * j + 2] = c, word[4 * j + 3] = d;
  }
}

/// f(word, first, count) for the elements [first, first + count) of [0, n); element first + i has the words from
/// word[i * words_each] on.
template <class F> void for_each_word_block(int64_t n, int words_each, RandomStream s, F f) {
  const int64_t per_block = kBlockWords / words_each, blocks = (n + per_block - 1) / per_block;
  parallel_for(blocks, 64, [&](int64_t begin, int64_t end) {
    alignas(64) uint32_t word[kBlockWords];
    for (int64_t k = begin; k < end; ++k) {
      philox_block(s, static_cast<uint64_t>(k), word);
      f(word, k * per_block, std::min(per_block, n - k * per_block));
    }
  });
}

}  // namespace gradus::kernels::detail
