//| # From the naive kernel to a tuned one
//|
//| What makes a kernel fast can be counted before it is timed: how many **sectors** of 32 bytes it moves between the device's memory and
//| its registers, and how many **passes** over the 32 banks of shared memory its warps need. The emulated device counts both. This page
//| runs every step of two ladders of `bench/ladders` and prints the counts; `./gradus gpu` adds the times on a machine with a GPU.
#include <cstdio>
#include <string>

#include <gradus.hpp>
#include <gradus/core/accesses.hpp>

#include "bench/ladders/gemm.hpp"
#include "bench/ladders/rows.hpp"

using namespace gradus;

//| ## Counting
//| Every access of a warp at a line is a request. In device memory it takes as many sectors as it touches; in shared memory as many passes
//| as the busiest bank has different words. `cuda::count_accesses` does this for kernels of your own, line by line.
struct Count {
  std::size_t sectors = 0, passes = 0;
};
template <class F> Count count(F launch) {
  Count c;
  for (const auto& line : cuda::count_accesses(launch)) (line.shared ? c.passes : c.sectors) += line.passes;
  return c;
}
void print(const std::string& step, Count c, int64_t bytes) {
  const double least = static_cast<double>(bytes) / 32;
  std::printf("%-10s %9zu sectors, %5.1f times the least  %9zu passes\n", step.c_str(), c.sectors,
              static_cast<double>(c.sectors) / least, c.passes);
}

int main() {
  if (!cuda::device_info().emulated) return 77;   // a GPU counts in its profiler

  //| ## A matrix product
  //| 128 x 128 by 128 x 128 in float: at the least, each number of A, B and C is moved once.
  const int64_t n = 128;
  const auto a = randn<float, Cuda>({n, n}), b = randn<float, Cuda>({n, n});
  auto c = zeros<float, Cuda>({n, n});
  for (const std::string& step : ladders::gemm_steps())
    print(step, count([&] { ladders::gemm(step, a.data(), b.data(), c.data(), n, n, n); }), 3 * n * n * 4);
  //> naive        2179072 sectors, 354.7 times the least          0 passes
  //> coalesced     329728 sectors,  53.7 times the least          0 passes
  //> tile           18432 sectors,   3.0 times the least     135168 passes
  //> column         10240 sectors,   1.7 times the least      75776 passes
  //> square         20480 sectors,   3.3 times the least      50176 passes
  //> vector          6144 sectors,   1.0 times the least      17408 passes
  //> prefetch        6144 sectors,   1.0 times the least      17408 passes

  //| - `naive` and `coalesced` do the same arithmetic; only which thread has which element differs.
  //| - `tile` fetches a number once for 32 x 32 elements of C, and pays in shared memory: two reads for each product.
  //| - `column` and `square` keep more sums in registers: 9 reads serve 8 products, then 16 serve 64. `square` writes C in single numbers that
  //|   lie 32 bytes apart, a sector each.
  //| - `vector` moves 16 bytes at a time, without bank conflicts. What `prefetch` wins, waiting less, is not in these counts.

  //| ## On tensor cores
  //| The same in bf16, half the bytes. Every fragment that a warp takes from shared memory lies in eight rows below one another; where the
  //| rows start decides whether these are eight passes or one.
  const auto ha = a.to<bf16>(), hb = b.to<bf16>();
  auto hc = c.to<bf16>();
  for (const std::string& step : ladders::gemm_bf16_steps())
    print(step, count([&] { ladders::gemm(step, ha.data(), hb.data(), hc.data(), n, n, n); }), 3 * n * n * 2);
  //> mma             4096 sectors,   1.3 times the least       8704 passes
  //> ldmatrix        4096 sectors,   1.3 times the least       8704 passes
  //> swizzled        4096 sectors,   1.3 times the least       1536 passes
  //> pipelined       4096 sectors,   1.3 times the least       1536 passes
  //> grouped         4096 sectors,   1.3 times the least       1536 passes

  //| ## Softmax
  //| 64 rows of 1024: a read and a write of each element are the least.
  const auto x = randn<float, Cuda>({64, 1024});
  auto y = zeros<float, Cuda>({64, 1024});
  for (const std::string& step : ladders::softmax_steps())
    print(step, count([&] { ladders::softmax(step, x.data(), y.data(), 64, 1024); }), 2 * 64 * 1024 * 4);
  //> naive         262144 sectors,  16.0 times the least          0 passes
  //> shared         32768 sectors,   2.0 times the least       6656 passes
  //> warp           32768 sectors,   2.0 times the least          0 passes
  //> online         24576 sectors,   1.5 times the least          0 passes
  //> vector         24576 sectors,   1.5 times the least          0 passes
  //> registers      16384 sectors,   1.0 times the least          0 passes

  //| A cache hides some of the repeated reads, and a count says nothing of latencies: the ladder's pages (`bench/ladders/*.md`) say what
  //| limits each step, `bench/gpu/registers.sh` what the compiler makes of it, and times are measured, never guessed.
  //| [Next](10_second_derivatives.html): derivatives of derivatives.
}
