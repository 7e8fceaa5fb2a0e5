// The part of cooperative groups that kernels use: the block, tiles of a warp, the grid of a cooperative launch.
#pragma once
#include "device.hpp"

namespace cooperative_groups {

class thread_block {
 public:
  void sync(GRADUS_EMU_AT) const { __syncthreads(at); }
  unsigned thread_rank() const { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }
  unsigned size() const { return blockDim.x * blockDim.y * blockDim.z; }
  unsigned num_threads() const { return size(); }
  dim3 group_index() const { return blockIdx; }
  dim3 thread_index() const { return threadIdx; }
};
inline thread_block this_thread_block() { return {}; }

/// N neighbouring lanes, N a power of two up to 32.
template <unsigned N> class thread_block_tile {
  static_assert(N >= 1 && N <= 32 && (N & (N - 1)) == 0);

 public:
  unsigned thread_rank() const { return rank_ % N; }
  unsigned size() const { return N; }
  unsigned num_threads() const { return N; }
  unsigned meta_group_rank() const { return rank_ / N; }
  unsigned meta_group_size() const { return (this_thread_block().size() + N - 1) / N; }
  void sync(GRADUS_EMU_AT) const { __syncwarp(mask(), at); }
  template <class T> T shfl(T v, int lane, GRADUS_EMU_AT) const { return __shfl_sync(mask(), v, lane, N, at); }
  template <class T> T shfl_up(T v, unsigned d, GRADUS_EMU_AT) const { return __shfl_up_sync(mask(), v, d, N, at); }
  template <class T> T shfl_down(T v, unsigned d, GRADUS_EMU_AT) const { return __shfl_down_sync(mask(), v, d, N, at); }
  template <class T> T shfl_xor(T v, int x, GRADUS_EMU_AT) const { return __shfl_xor_sync(mask(), v, x, N, at); }
  int any(int p, GRADUS_EMU_AT) const { return __any_sync(mask(), p, at); }
  int all(int p, GRADUS_EMU_AT) const { return __all_sync(mask(), p, at); }
  unsigned ballot(int p, GRADUS_EMU_AT) const { return __ballot_sync(mask(), p, at) >> first(); }

 private:
  unsigned rank_ = this_thread_block().thread_rank();
  unsigned first() const { return rank_ % 32 / N * N; }
  unsigned mask() const { return (N == 32 ? ~0u : (1u << N) - 1) << first(); }
};
template <unsigned N> thread_block_tile<N> tiled_partition(const thread_block&) { return {}; }

class grid_group {
 public:
  void sync(GRADUS_EMU_AT) const { gradus::emu::grid_barrier(at); }
  bool is_valid() const { return true; }
  unsigned long long block_rank() const { return blockIdx.x + static_cast<unsigned long long>(gridDim.x) * (blockIdx.y + gridDim.y * blockIdx.z); }
  unsigned long long thread_rank() const { return block_rank() * this_thread_block().size() + this_thread_block().thread_rank(); }
  unsigned long long size() const { return static_cast<unsigned long long>(gridDim.x) * gridDim.y * gridDim.z * this_thread_block().size(); }
};
inline grid_group this_grid() { return {}; }

}  // namespace cooperative_groups
