// The arithmetic of tiles.hpp: the last lane to come assembles the matrices from all fragments.
#include "tiles.hpp"

#include <cstring>

#include "checks.hpp"

namespace gradus::emu {
namespace {

float element(unsigned pair, int which, bool is_half) {
  const auto bits = static_cast<uint16_t>(pair >> (16 * which));
  if (is_half) return static_cast<float>(std::bit_cast<half>(bits));
  return static_cast<float>(std::bit_cast<bf16>(bits));
}

void multiply(Thread* const* lanes) {
  float A[16][16], B[16][8], C[16][8];
  for (int lane = 0; lane < kWarp; ++lane) {
    const auto& in = *static_cast<const MmaInput*>(lanes[lane]->op->in);
    const int g = lane / 4, t = lane % 4;
    for (int e = 0; e < 2; ++e) {
      A[g][2 * t + e] = element(in.a[0], e, in.half);
      A[g + 8][2 * t + e] = element(in.a[1], e, in.half);
      A[g][2 * t + 8 + e] = element(in.a[2], e, in.half);
      A[g + 8][2 * t + 8 + e] = element(in.a[3], e, in.half);
      B[2 * t + e][g] = element(in.b[0], e, in.half);
      B[2 * t + 8 + e][g] = element(in.b[1], e, in.half);
      C[g][2 * t + e] = in.c[e];
      C[g + 8][2 * t + e] = in.c[2 + e];
    }
  }
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      float sum = C[m][n];                                  // products of 16-bit floats are exact in float
      for (int k = 0; k < 16; ++k) sum += A[m][k] * B[k][n];
      C[m][n] = sum;
    }
  for (int lane = 0; lane < kWarp; ++lane) {
    const int g = lane / 4, t = lane % 4;
    const float d[4] = {C[g][2 * t], C[g][2 * t + 1], C[g + 8][2 * t], C[g + 8][2 * t + 1]};
    std::memcpy(lanes[lane]->op->out, d, sizeof d);
  }
}

void load(Thread* const* lanes) {
  uint16_t matrix[4][8][8];
  for (int lane = 0; lane < kWarp; ++lane) {
    const WarpOp& op = *lanes[lane]->op;
    const auto& in = *static_cast<const LdsmInput*>(op.in);
    check_access(*lanes[lane], in.row, 16, Kind::read, Place::of(op.at), 16);
    std::memcpy(matrix[lane / 8][lane % 8], in.row, 16);
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    const WarpOp& op = *lanes[lane]->op;
    unsigned r[4];
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      const uint16_t low = op.arg ? matrix[i][2 * t][g] : matrix[i][g][2 * t];
      const uint16_t high = op.arg ? matrix[i][2 * t + 1][g] : matrix[i][g][2 * t + 1];
      r[i] = static_cast<unsigned>(high) << 16 | low;
    }
    std::memcpy(op.out, r, sizeof r);
  }
}

}  // namespace

void compute_tile(Thread* const* lanes, unsigned mask) {
  const int first = std::countr_zero(mask);
  const WarpOp& op = *lanes[first]->op;
  if (mask != 0xffffffffu) fail_thread("a matrix instruction needs all 32 lanes of the warp\n  at        " + place(op.at));
  if (op.kind == WarpKind::mma) multiply(lanes);
  else load(lanes);
}

}  // namespace gradus::emu
