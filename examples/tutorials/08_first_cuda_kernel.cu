//| # Your first CUDA kernel, without a GPU
//|
//| A kernel is a function that thousands of threads run at once. gradus compiles the same `.cu` file with nvcc for a GPU and with g++ for
//| an **emulated device**, which checks every access of every thread: what on a GPU is now and then a wrong number is an error
//| with two line numbers here. This page is made on that device.
#include <cstdio>
#include <iostream>
#include <regex>

#include <gradus.hpp>

#include "cuda/kernel.cuh"

using namespace gradus;

//| ## A thread for each element
//| `__global__` marks what the device runs. Threads come in blocks; block and thread have numbers, and from these each thread finds the
//| element that is its own. The last block may be longer than the array.
__global__ void axpy(float a, const float* x, float* y, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) y[i] += a * x[i];
}

//| ## Threads that work together
//| The sum of 256 numbers: the threads of a block put them into **shared memory**, and halve their number until one is left. This kernel
//| has a mistake that a GPU may not show for weeks.
__global__ void block_sum_wrong(const float* x, float* y) {
  GRADUS_SHARED(float, s, [256]);
  const int t = static_cast<int>(threadIdx.x);
  s[t] = x[t];
  __syncthreads();
  for (int half = 128; half > 0; half /= 2)
    if (t < half) s[t] += s[t + half];
  if (t == 0) *y = s[0];
}

//| The right one waits after each round: no thread passes `__syncthreads()` before all have come to it.
__global__ void block_sum(const float* x, float* y) {
  GRADUS_SHARED(float, s, [256]);
  const int t = static_cast<int>(threadIdx.x);
  s[t] = x[t];
  __syncthreads();
  for (int half = 128; half > 0; half /= 2) {
    if (t < half) s[t] += s[t + half];
    __syncthreads();
  }
  if (t == 0) *y = s[0];
}

//| ## An op with a gradient
//| A kernel becomes part of autograd as any function does: a node that says what goes back. The gradient of a sum is the same number for
//| every element, which `expand` gives without a kernel.
struct BlockSumNode final : Node {
  Shape shape;
  void backward(const AnyTensor& g) override { accumulate(0, expand(g.as<float, Cuda>(), shape)); }
};
Tensor<float, Cuda> sum_of_256(const Tensor<float, Cuda>& x, Where at = Where::current()) {
  Tensor<float, Cuda> y(Shape{});
  launch(block_sum, {"block_sum", 1, 256}, x.data(), y.data());
  if (detail::wants_grad(x)) detail::record<BlockSumNode>(y, at, x).shape = x.shape();
  return y;
}

/// Without what differs from run to run: addresses, and the allocator's line.
void print_report(const std::exception& e) {
  std::cout << std::regex_replace(e.what(), std::regex("0x[0-9a-f]+| made at \\S+"), "...") << "\n";
}

int main() {
  if (!cuda::device_info().emulated) return 77;   // on a GPU the mistakes below are undefined, not errors

  //| ## Running them
  //| `launch` names the op, the blocks and the threads of a block. A tensor on `Cuda` is memory of the device; `to<Cpu>()` brings it back.
  const auto x = arange<float, Cuda>(1000);
  auto y = ones<float, Cuda>({1000});
  launch(axpy, {"axpy", 4, 256}, 2.0f, x.data(), y.data(), 1000);
  std::cout << y.to<Cpu>()(slice(0, 6)) << "\n";
  //> tensor([ 1.,  3.,  5.,  7.,  9., 11.], float32 cpu [6])

  const auto z = arange<float, Cuda>(256).requires_grad_();
  const auto sum = sum_of_256(z);
  sum.backward();
  std::cout << sum.item() << "\n" << z.grad().to<Cpu>()(slice(0, 6)) << "\n";
  //> 32640
  //> tensor([1., 1., 1., 1., 1., 1.], float32 cpu [6])

  //| ## The mistake, found
  Tensor<float, Cuda> total(Shape{});
  try {
    launch(block_sum_wrong, {"block_sum", 1, 256}, z.data(), total.data());
  } catch (const std::exception& e) {
    print_report(e);
  }
  //> gradus: block_sum: race on s[1]
  //>   read      08_first_cuda_kernel.cu:33 by thread (0, 0, 0)
  //>   write     08_first_cuda_kernel.cu:33 by thread (1, 0, 0)
  //>   between   lanes of one warp, without __syncwarp() or __syncthreads()
  //>   kernel    block_sum_wrong launched at 08_first_cuda_kernel.cu:90
  //>   block     (0, 0, 0), thread (1, 0, 0)
  //>   again     GRADUS_EMU_SEED=0 GRADUS_EMU_SCHED=forward
  //| Thread 0 has gone through all its rounds and reads `s[1]` in the last one, before thread 1 has added anything to it: nothing orders the
  //| two. The last line repeats the run exactly, whatever the order of threads was.
  //|
  //| An index that leaves the array is found at the element, not as a crash later:
  try {
    launch(axpy, {"axpy", 4, 256}, 2.0f, x.data(), y.data(), 1024);
  } catch (const std::exception& e) {
    print_report(e);
  }
  //> gradus: axpy: device memory out of bounds
  //>   read      08_first_cuda_kernel.cu:21, 4 bytes
  //>   address   ..., 0 bytes behind the end of an allocation of 4000 bytes...
  //>   kernel    axpy launched at 08_first_cuda_kernel.cu:106
  //>   block     (3, 0, 0), thread (232, 0, 0)
  //>   again     GRADUS_EMU_SEED=0 GRADUS_EMU_SCHED=forward

  //| ## In the debugger
  //| `gdb` stops in one thread of one block, with its own variables, and shows where the others wait:
  //|
  //| - `source cuda/emulation/gdb/gradus_emu.py`
  //| - `gradus break block_sum:b0:t17`, then `run`: stops on the kernel's first line in thread 17 of block 0
  //| - `next`, `print t`, `print s[16]`: step on, look at shared memory
  //| - `gradus threads`: which thread is at which line, and who waits at the barrier
  //| - `gradus bt 5`: the stack of thread 5, which waits
  //|
  //| With `GRADUS_EMU_BACKEND=threads` every CUDA thread is a thread of the host, and gdb's own `info threads` lists them.
  //| `GRADUS_EMU_SCHED=reverse` runs the threads in another order; `cuda/README.md` lists the rest. [Next](09_naive_to_tuned.html): fast kernels.
}
