// Tensor-core tiles: mma.sync m16n8k16 with bf16 or half inputs and float accumulation, and ldmatrix.
//
// Fragments are what the PTX manual lists under "Matrix Fragments for mma.m16n8k16": with g = lane / 4 and t = lane % 4,
//   A (16 x 16)  a[0]: row g,     columns 2t, 2t+1     a[1]: row g + 8, the same columns
//                a[2]: row g,     columns 2t+8, 2t+9   a[3]: row g + 8
//   B (16 x 8)   b[0]: rows 2t, 2t+1 of column g       b[1]: rows 2t+8, 2t+9
//   C, D (16 x 8) c[0], c[1]: row g, columns 2t, 2t+1  c[2], c[3]: row g + 8
#pragma once
#include <gradus/core/dtype.hpp>

#include "device.hpp"

namespace gradus {
namespace emu {

struct MmaInput {
  unsigned a[4], b[2];
  float c[4];
  bool half;
};
struct LdsmInput {
  const void* row;
  bool transposed;
};

}  // namespace emu

/// D = A B + C over the warp; all 32 lanes call it.
template <class T>
void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4], GRADUS_EMU_AT) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, half>);
  emu::MmaInput in{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {c[0], c[1], c[2], c[3]}, std::is_same_v<T, half>};
  emu::WarpOp op{emu::WarpKind::mma, 0xffffffffu, sizeof in, &in, d, 0, 32, at};
  emu::warp_collective(op);
}
/// Four 8 x 8 matrices of 16-bit elements from shared memory: lane i gives the address of row i % 8 of matrix i / 8, and gets
/// elements 2t, 2t+1 of row g of each matrix (transposed: of column g).
inline void ldsm_x4(unsigned (&r)[4], const void* row, GRADUS_EMU_AT) {
  emu::LdsmInput in{row, false};
  emu::WarpOp op{emu::WarpKind::ldsm, 0xffffffffu, sizeof in, &in, r, 0, 32, at};
  emu::warp_collective(op);
}
inline void ldsm_x4_trans(unsigned (&r)[4], const void* row, GRADUS_EMU_AT) {
  emu::LdsmInput in{row, true};
  emu::WarpOp op{emu::WarpKind::ldsm, 0xffffffffu, sizeof in, &in, r, 1, 32, at};
  emu::warp_collective(op);
}

}  // namespace gradus
