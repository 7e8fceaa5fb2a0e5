// DEFLATE decoder (RFC 1951), about twice as fast as zlib's on picture data: 64-bit bit buffer, up to three literals a
// refill, 11-bit tables with one more level, copies by words. Damaged data gives an error text, never a stray access:
// output goes to a fixed buffer, every distance is checked, a table entry exists for every bit pattern.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>

namespace gradus::io {

/// Bits from a stream of bytes that arrives in blocks, least significant bit first. The source is asked for the next
/// block when one is used up: `bool next(const uint8_t*& begin, const uint8_t*& end)`, false at the end of the file.
template <class Source>
class BitReader {
 public:
  explicit BitReader(Source& source) : source_(&source) {}

  /// At least 56 bits afterwards, less only at the end of the file. Bits above count_ may hold a part of the next byte;
  /// or-ing that byte in again later changes nothing.
  void refill() {
    if constexpr (std::endian::native == std::endian::little) {
      if (end_ - in_ >= 8) {
        uint64_t word;
        std::memcpy(&word, in_, 8);
        bits_ |= word << count_;
        in_ += (63 - count_) >> 3;
        count_ |= 56;
        return;
      }
    }
    *this = refilled_by_bytes(*this);
  }
  uint64_t peek() const { return bits_; }
  unsigned count() const { return count_; }
  void drop(unsigned n) {
    bits_ >>= n;
    count_ -= n;
  }
  /// n <= 32 bits; false when the file ends before.
  bool take(unsigned n, uint32_t& value) {
    if (count_ < n) refill();
    if (count_ < n) return false;
    value = static_cast<uint32_t>(bits_ & ((uint64_t{1} << n) - 1));
    drop(n);
    return true;
  }
  void align() { drop(count_ & 7); }
  /// Whole bytes from an aligned position; returns how many there were.
  std::size_t bytes(uint8_t* to, std::size_t n) {
    std::size_t done = 0;
    for (; done < n && count_ >= 8; ++done, drop(8)) to[done] = static_cast<uint8_t>(bits_);
    if (done == n) return done;
    bits_ = 0;
    while (done < n) {
      if (in_ == end_ && !next_block()) break;
      const std::size_t k = std::min(n - done, static_cast<std::size_t>(end_ - in_));
      std::memcpy(to + done, in_, k);
      in_ += k;
      done += k;
    }
    return done;
  }
  /// True when nothing is left; from an aligned position.
  bool at_end() {
    if (count_ < 8) refill();
    return count_ == 0;
  }
  /// Bytes of the file used so far, the current one included.
  uint64_t offset() const { return block_offset_ + static_cast<uint64_t>(in_ - begin_) - count_ / 8; }

 private:
  // By value, so that the address of a local reader never escapes and the inner loop keeps it in registers.
  static BitReader refilled_by_bytes(BitReader b) {
    while (b.count_ <= 55) {
      if (b.in_ == b.end_ && !b.next_block()) break;
      b.bits_ |= uint64_t{*b.in_++} << b.count_;
      b.count_ += 8;
    }
    return b;
  }
  bool next_block() {
    block_offset_ += static_cast<uint64_t>(end_ - begin_);
    if (!source_->next(begin_, end_)) end_ = begin_;
    in_ = begin_;
    return in_ != end_;
  }
  Source* source_;
  const uint8_t *begin_ = nullptr, *in_ = nullptr, *end_ = nullptr;
  uint64_t bits_ = 0, block_offset_ = 0;
  unsigned count_ = 0;
};

namespace detail {

/// What a bit pattern means. `total` bits are dropped, the code's own `code` bits and the extra ones:
/// value = base + (extra bits). A link's base is the place of the second table, its `code` the width of that table.
struct InflateEntry {
  enum Kind : uint8_t { literal, copy, end_of_block, link, invalid };
  uint16_t base;
  uint8_t total;
  uint8_t code_and_kind;  // code in the low 4 bits, kind above
  Kind kind() const { return static_cast<Kind>(code_and_kind >> 4); }
  unsigned code() const { return code_and_kind & 15u; }
};

/// Table for canonical Huffman codes of at most 15 bits; first level `P` bits wide.
template <int P, int Symbols>
struct InflateTable {
  // A second table is as wide as the longest code needs; at most one for each symbol.
  InflateEntry entries[(1 << P) + (P < 15 ? Symbols << (15 - P) : 0)];

  /// `meaning(symbol)` gives base, extra bits (in total) and kind. False for a set of lengths that is no code.
  template <class Meaning>
  bool build(const uint8_t* lengths, int n, bool may_be_single, Meaning meaning) {
    uint16_t count[16] = {}, next[16] = {};
    for (int s = 0; s < n; ++s) ++count[lengths[s]];
    int longest = 15;
    while (longest > 0 && count[longest] == 0) --longest;
    int left = 1, used = 0;  // left: free code words of the current length
    for (int l = 1; l <= 15; ++l) {
      left = 2 * left - count[l];
      if (left < 0) return false;
      used += count[l];
      if (l < 15) next[l + 1] = static_cast<uint16_t>((next[l] + count[l]) << 1);
    }
    // Incomplete codes are allowed for one symbol of one bit, or no symbol at all (RFC 1951, 3.2.7).
    if (left > 0 && !(may_be_single && (used == 0 || (used == 1 && longest == 1)))) return false;
    std::fill(entries, entries + (1 << P), InflateEntry{0, 1, InflateEntry::invalid << 4});
    const int width = longest > P ? longest - P : 0;
    int end = 1 << P;
    for (int s = 0; s < n; ++s) {
      const int l = lengths[s];
      if (l == 0) continue;
      unsigned code = next[l]++, reversed = 0;
      for (int i = 0; i < l; ++i, code >>= 1) reversed = reversed << 1 | (code & 1u);
      InflateEntry e = meaning(s);
      const int own = l <= P ? l : l - P;
      e.total = static_cast<uint8_t>(e.total + own);
      e.code_and_kind = static_cast<uint8_t>((e.code_and_kind & 0xf0) | own);
      if (l <= P) {
        for (unsigned i = reversed; i < (1u << P); i += 1u << l) entries[i] = e;
        continue;
      }
      InflateEntry& first = entries[reversed & ((1u << P) - 1)];
      if (first.kind() != InflateEntry::link) {
        first = {static_cast<uint16_t>(end), P, static_cast<uint8_t>(InflateEntry::link << 4 | width)};
        std::fill(entries + end, entries + end + (1 << width), InflateEntry{0, 1, InflateEntry::invalid << 4});
        end += 1 << width;
      }
      for (unsigned i = reversed >> P; i < (1u << width); i += 1u << own) entries[first.base + i] = e;
    }
    return true;
  }
};

}  // namespace detail

/// Inflates one DEFLATE stream after another out of `bits` into its own buffer.
template <class Source>
class Inflate {
 public:
  explicit Inflate(BitReader<Source>& bits) : bits_(bits), buffer_(new uint8_t[kBuffer]) {}

  /// Begins a new stream: earlier bytes can no longer be referred to.
  void start() {
    state_ = State::header;
    last_block_ = false;
    history_ = fresh_ = out_;
  }
  /// Decodes until the buffer is full or the stream ends. Null when all is well, else what is wrong with the data.
  const char* run() {
    const std::size_t keep = std::min<std::size_t>(kHistory, out_ - history_);
    if (out_ + kMargin > kBuffer / 2) {
      std::memmove(buffer_.get(), buffer_.get() + out_ - keep, keep);
      out_ = keep;
      history_ = 0;
    }
    fresh_ = out_;
    while (state_ != State::done && out_ < kBuffer - kMargin) {
      const char* wrong = state_ == State::header ? header() : state_ == State::stored ? stored() : codes();
      if (wrong) return wrong;
    }
    return nullptr;
  }
  bool done() const { return state_ == State::done; }
  /// What the last run() has made.
  const uint8_t* data() const { return buffer_.get() + fresh_; }
  std::size_t size() const { return out_ - fresh_; }

 private:
  using Entry = detail::InflateEntry;
  enum class State { header, stored, codes, done };
  static constexpr std::size_t kHistory = 32768, kMargin = 258 + 16 + 3, kBuffer = (1u << 19) + kMargin;
  static constexpr const char* kCut = "the compressed data ends too early";

  const char* header() {
    uint32_t v = 0;
    if (last_block_) {
      state_ = State::done;
      return nullptr;
    }
    if (!bits_.take(3, v)) return kCut;
    last_block_ = v & 1;
    if (v >> 1 == 0) {
      uint32_t n = 0, complement = 0;
      bits_.align();
      if (!bits_.take(16, n) || !bits_.take(16, complement)) return kCut;
      if (n != (~complement & 0xffffu)) return "a stored block's length and its complement differ";
      stored_left_ = n;
      state_ = State::stored;
      return nullptr;
    }
    if (v >> 1 == 3) return "unknown block type 3";
    uint8_t lengths[320] = {};
    uint32_t nlit = 288, ndist = 32;
    if (v >> 1 == 1) {
      for (int s = 0; s < 288; ++s) lengths[s] = s < 144 ? 8 : s < 256 ? 9 : s < 280 ? 7 : 8;
      std::fill(lengths + 288, lengths + 320, uint8_t{5});
    } else if (const char* wrong = read_lengths(lengths, nlit, ndist)) {
      return wrong;
    }
    const bool good = litlen_.build(lengths, static_cast<int>(nlit), true, [](int s) { return litlen_meaning(s); }) &&
                      dist_.build(lengths + nlit, static_cast<int>(ndist), true, [](int s) { return dist_meaning(s); });
    if (!good) return "a set of Huffman code lengths is over-subscribed or incomplete";
    state_ = State::codes;
    return nullptr;
  }

  // Section 3.2.7: the lengths of both codes, themselves run-length and Huffman coded.
  const char* read_lengths(uint8_t* lengths, uint32_t& nlit, uint32_t& ndist) {
    constexpr uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint32_t ncode = 0, v = 0;
    if (!bits_.take(5, nlit) || !bits_.take(5, ndist) || !bits_.take(4, ncode)) return kCut;
    nlit += 257;
    ndist += 1;
    if (nlit > 286 || ndist > 30) return "too many length or distance symbols";
    uint8_t code_lengths[19] = {};
    for (uint32_t i = 0; i < ncode + 4; ++i) {
      if (!bits_.take(3, v)) return kCut;
      code_lengths[order[i]] = static_cast<uint8_t>(v);
    }
    const auto meaning = [](int s) { return Entry{static_cast<uint16_t>(s), 0, Entry::literal << 4}; };
    if (!lengths_.build(code_lengths, 19, false, meaning))
      return "the code of the code lengths is over-subscribed or incomplete";
    const uint32_t n = nlit + ndist;
    for (uint32_t i = 0; i < n;) {
      bits_.refill();
      const Entry e = lengths_.entries[bits_.peek() & 127];
      if (e.kind() == Entry::invalid) return "a code length is not in the code";
      if (e.total > bits_.count()) return kCut;
      bits_.drop(e.total);
      if (e.base < 16) {
        lengths[i++] = static_cast<uint8_t>(e.base);
        continue;
      }
      if (e.base == 16 && i == 0) return "a code length repeats nothing";
      if (!bits_.take(e.base == 16 ? 2 : e.base == 17 ? 3 : 7, v)) return kCut;
      const uint32_t times = v + (e.base == 18 ? 11 : 3);
      if (i + times > n) return "a run of code lengths is too long";
      const uint8_t value = e.base == 16 ? lengths[i - 1] : uint8_t{0};
      for (uint32_t k = 0; k < times; ++k) lengths[i++] = value;
    }
    return lengths[256] == 0 ? "a block has no end code" : nullptr;
  }

  const char* stored() {
    const std::size_t want = std::min<std::size_t>(stored_left_, kBuffer - kMargin - out_);
    const std::size_t got = bits_.bytes(buffer_.get() + out_, want);
    out_ += got;
    stored_left_ -= got;
    if (stored_left_ == 0) state_ = State::header;
    return got < want ? kCut : nullptr;
  }

  const char* codes() {
    uint8_t* out = buffer_.get() + out_;
    uint8_t* const limit = buffer_.get() + kBuffer - kMargin;
    const uint8_t* const history = buffer_.get() + history_;
    BitReader<Source> bits = bits_;  // a local copy, which stays in registers
    const auto leave = [&](const char* wrong) {
      bits_ = bits;
      out_ = static_cast<std::size_t>(out - buffer_.get());
      return wrong;
    };
    while (out < limit) {
      bits.refill();
      Entry e = litlen_.entries[bits.peek() & 2047];
      if (bits.count() >= 56) {  // three literals of at most 15 bits leave 11: look at the next, refill before using it
        for (int i = 0; i < 3 && e.kind() == Entry::literal; ++i) {
          *out++ = static_cast<uint8_t>(e.base);
          bits.drop(e.total);
          e = litlen_.entries[bits.peek() & 2047];
        }
        if (e.kind() == Entry::literal) continue;
        bits.refill();
      }
      if (e.kind() == Entry::link) {
        if (bits.count() < 11) return leave(kCut);
        bits.drop(11);
        e = litlen_.entries[e.base + (bits.peek() & ((1u << e.code()) - 1))];
      }
      if (e.total > bits.count()) return leave(kCut);
      const uint64_t saved = bits.peek();
      bits.drop(e.total);
      if (e.kind() == Entry::literal) {
        *out++ = static_cast<uint8_t>(e.base);
        continue;
      }
      if (e.kind() == Entry::end_of_block) {
        state_ = State::header;
        return leave(nullptr);
      }
      if (e.kind() == Entry::invalid) return leave("a bit pattern is not in the code of literals and lengths");
      const std::size_t length = e.base + ((saved & ((1u << e.total) - 1)) >> e.code());

      // 56 bits hold a length (15 + 5) and a distance (15 + 13).
      Entry d = dist_.entries[bits.peek() & 511];
      if (d.kind() == Entry::link) {
        if (bits.count() < 9) return leave(kCut);
        bits.drop(9);
        d = dist_.entries[d.base + (bits.peek() & ((1u << d.code()) - 1))];
      }
      if (d.kind() == Entry::invalid) return leave(bits.count() < 15 ? kCut : "a bit pattern is not in the code of distances");
      if (d.total > bits.count()) return leave(kCut);
      const std::size_t distance = d.base + ((bits.peek() & ((1u << d.total) - 1)) >> d.code());
      bits.drop(d.total);
      if (distance > static_cast<std::size_t>(out - history)) return leave("a distance points before the first byte");

      const uint8_t* from = out - distance;
      uint8_t* const end = out + length;
      if (distance >= 8) {
        do {  // may write up to 7 bytes too many, into the margin
          std::memcpy(out, from, 8);
          out += 8;
          from += 8;
        } while (out < end);
        out = end;
      } else if (distance == 1) {
        std::memset(out, *from, length);
        out = end;
      } else {
        while (out < end) *out++ = *from++;
      }
    }
    return leave(nullptr);
  }

  static Entry litlen_meaning(int s) {
    constexpr uint16_t base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                   31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    constexpr uint8_t extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    if (s < 256) return {static_cast<uint16_t>(s), 0, Entry::literal << 4};
    if (s == 256) return {0, 0, Entry::end_of_block << 4};
    if (s > 285) return {0, 0, Entry::invalid << 4};
    return {base[s - 257], extra[s - 257], Entry::copy << 4};
  }
  static Entry dist_meaning(int s) {
    constexpr uint16_t base[30] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
                                   193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    if (s > 29) return {0, 0, Entry::invalid << 4};
    return {base[s], static_cast<uint8_t>(s < 4 ? 0 : s / 2 - 1), Entry::copy << 4};
  }

  BitReader<Source>& bits_;
  std::unique_ptr<uint8_t[]> buffer_;
  std::size_t out_ = 0, fresh_ = 0, history_ = 0, stored_left_ = 0;
  State state_ = State::header;
  bool last_block_ = false;
  detail::InflateTable<11, 288> litlen_;
  detail::InflateTable<9, 32> dist_;
  detail::InflateTable<7, 19> lengths_;
};

}  // namespace gradus::io
