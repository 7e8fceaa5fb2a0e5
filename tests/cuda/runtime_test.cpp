// Copies, counters, memory, streams, errors.
#include <gradus.hpp>

#include "support/cuda.hpp"

using namespace gradus;
using check::Double;
using check::error_of;
using check::missing;

TEST_CASE("copies carry values, shapes and gradients") {
  const auto x = check::uniform({4, 6});
  const auto view = x(slice(0, 4, 2), slice(1, 5)).t();          // not contiguous
  CHECK(check::unequal(view.to<Cuda>(), view) == "");
  CHECK(check::unequal(x.to<Cuda>()(slice(0, 4, 2), slice(1, 5)).t(), view) == "");
  CHECK(x.to<Cuda>().to<Cuda>().shape() == x.shape());
  CHECK(check::unequal(Double(Shape{0, 3}).to<Cuda>(), Double(Shape{0, 3})) == "");
  CHECK(check::unequal(scalar(2.5).to<Cuda>(), scalar(2.5)) == "");

  auto leaf = check::leaf(x);
  const auto y = (leaf.to<Cuda>() * 3).to<Cpu>();                // through the device and back
  y.backward(ones_like(y));
  CHECK(check::difference(leaf.grad(), full_like(x, 3)) == "");
  CHECK(describe(x.to<Cuda>()) == "float64 cuda [4, 6]");
  CHECK(str(from_vector<float>({1, 2}).to<Cuda>()) == "tensor([1., 2.], float32 cuda [2])");
}

TEST_CASE("tensors from numbers") {
  CHECK(check::unequal(Tensor<float, Cuda>{1., 2, 3}, Tensor<float>{1., 2, 3}) == "");
  CHECK(check::unequal(Tensor<bool, Cuda>{{true, false}, {false, true}}, Tensor<bool>{{true, false}, {false, true}}) == "");
  CHECK(check::unequal(arange<int64_t, Cuda>(2, 11, 3), arange<int64_t>(2, 11, 3)) == "");
  CHECK(check::unequal(linspace<double, Cuda>(-1, 2, 7), linspace<double>(-1, 2, 7)) == "");
  CHECK(check::unequal(eye<float, Cuda>(3, 5), eye<float>(3, 5)) == "");
  CHECK(check::unequal(tril(ones<float, Cuda>({3, 4}), 1), tril(ones<float>({3, 4}), 1)) == "");
  CHECK(check::unequal(full<half, Cuda>({5}, 1.5), full<half>({5}, 1.5)) == "");
}

TEST_CASE("every copy, wait and launch is counted") {
  const auto x = check::uniform<float>({100});
  reset_stats();
  const auto d = x.to<Cuda>();
  CHECK(stats().to_device == 1);
  CHECK(stats().to_device_bytes == 400);
  CHECK(stats().launches == 0);
  const auto y = d * 2 + 1;
  CHECK(stats().launches == 2);
  CHECK(stats().synchronizations == 0);                          // nothing waits until a value is asked for
  CHECK(y(slice(0, 1)).item() == Approx(2 * x.data()[0] + 1));
  CHECK(stats().to_host == 1);
  CHECK(stats().to_host_bytes == 4);
  CHECK(stats().synchronizations == 1);
  CHECK(stats().contiguous_copies == 0);
  (void)y.reshape({10, 10}).t().contiguous();
  (void)y.to<double>();
  CHECK(stats().contiguous_copies == 1);
  CHECK(stats().conversions == 1);
}

TEST_CASE("copies longer than the staging buffers") {
  const auto x = check::uniform<float>({(int64_t{9} << 20) / 4 + 3});     // 9 MiB and a bit: three pieces
  CHECK(check::unequal(x.to<Cuda>(), x) == "");
}

TEST_CASE("the caching allocator reuses, joins, and gives back") {
  empty_cache(Cuda{});
  cuda::set_caching(true);
  const int64_t live = memory_stats(Cuda{}).live;
  void* first = nullptr;
  {
    const Tensor<float, Cuda> a(Shape{1000}), b(Shape{1000});
    first = a.data();
    CHECK(memory_stats(Cuda{}).live == live + 2 * 4096);         // 4000 bytes in steps of 512
    CHECK(memory_stats(Cuda{}).from_system >= int64_t{2} << 20);
  }
  CHECK(memory_stats(Cuda{}).live == live);
  CHECK(Tensor<float, Cuda>(Shape{2000}).data() == first);            // the two blocks became one again
  {
    Tensor<float, Cuda> a(Shape{1000}), b(Shape{1000}), c(Shape{1000});
    b = {};                                                      // a hole between a and c
    const auto m = memory_stats(Cuda{});
    CHECK(m.fragmentation() > 0);
    CHECK(m.largest_free < m.cached);
    CHECK(check::contains(memory_report(Cuda{}), "fragmented"));
  }
  reset_peak_memory(Cuda{});
  { const Tensor<float, Cuda> big(Shape{1 << 20}); }
  CHECK(memory_stats(Cuda{}).peak >= live + (int64_t{4} << 20));
  empty_cache(Cuda{});
  CHECK(memory_stats(Cuda{}).cached == 0);
  cuda::set_caching(cuda::device_info().emulated ? false : true);
}

TEST_CASE("out of memory says what was asked for, by whom, and what there is") {
  const Tensor<float, Cuda> kept(Shape{1000});
  set_memory_limit(Cuda{}, memory_stats(Cuda{}).from_system + (int64_t{1} << 20));
  const auto text = error_of([] { Tensor<float, Cuda> x(Shape{1024, 4096}); });
  set_memory_limit(Cuda{}, 0);
  CHECK(missing(text, {"allocation: the device is out of memory", "16.8 MB", "float32 cuda [1024, 4096]", "live", "peak",
                       "cached", "limit", "set_memory_limit", "runtime_test.cpp:"}) == "");
  CHECK(missing(error_of([] { Tensor<float, Cuda> x(Shape{-1}); }), {"allocation", "extents >= 0"}) == "");
  const Tensor<float, Cuda> afterwards(Shape{1024, 4096});            // the limit is gone
  CHECK(afterwards.numel() == 1024 * 4096);
}

TEST_CASE("streams and events order work") {
  const auto x = check::uniform<float>({1000}).to<Cuda>();
  cuda::Event ready, done;
  Tensor<float, Cuda> y;
  {
    const cuda::Stream side;
    ready.record();
    {
      const cuda::StreamGuard guard(side);
      ready.wait();
      y = x * 2 + 1;
      done.record();
    }
    done.wait();
    const auto z = y * 3;
    CHECK(check::unequal(z, (x.to<Cpu>() * 2 + 1) * 3) == "");
    side.synchronize();
    done.synchronize();
    CHECK(done.elapsed_since(ready) >= 0);
  }
  CHECK(check::unequal(y, x.to<Cpu>() * 2 + 1) == "");           // its stream is gone, the tensor is not
  cuda::synchronize();
}

TEST_CASE("devices are counted, and chosen before their first use") {
  REQUIRE(cuda::device_count() >= 1);
  CHECK(cuda::unavailable_reason() == "");
  CHECK(cuda::device_info().arch >= 70);
  const Tensor<float, Cuda> used(Shape{1});
  cuda::select_device(0);                                        // the one that is selected
  CHECK(missing(error_of([] { cuda::select_device(99); }), {"no such device", "99"}) == "");
}

TEST_CASE("index arithmetic passes 2^31") {
  // Two rows 2^31 elements apart in one index space, of which only the rows exist: the expansion of one element.
  const auto one = full<float, Cuda>({1, 1}, 3);
  const auto wide = expand(one, {int64_t{3} << 20, 1 << 11});    // 6.4e9 elements, 4 bytes of memory
  CHECK(wide.numel() > int64_t{1} << 32);
  const auto corner = wide(slice((int64_t{3} << 20) - 1, int64_t{3} << 20), slice((1 << 11) - 2, 1 << 11));
  CHECK(check::unequal(corner * 2, full<float>({1, 2}, 6)) == "");
}

TEST_CASE("kernels are chosen by name") {
  CHECK(missing(error_of([] { select_kernel("pointwise", "fastest"); }), {"select_kernel", "\"reference\"", "\"packed\""}) ==
        "");
  CHECK(missing(error_of([] { select_kernel("no such op", ""); }), {"no such op", "pointwise"}) == "");
}
