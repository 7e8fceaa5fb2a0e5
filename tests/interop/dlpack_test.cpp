#include <gradus/interop/dlpack.hpp>
#include <gradus/ops/view.hpp>

#include "support/check.hpp"
#include "support/contains.hpp"

using namespace gradus;

namespace {
template <class T, class Managed>
void there_and_back(uint8_t code, uint8_t bits) {
  const Tensor<T> x = cast<T>(arange<int64_t>(0, 12).reshape({3, 4}));
  Managed* m = to_dlpack<Managed>(x.t());
  const auto& t = m->dl_tensor;
  CHECK(t.data == x.data());
  CHECK((t.device.device_type == dlpack::cpu && t.device.device_id == 0));
  CHECK((t.ndim == 2 && t.shape[0] == 4 && t.shape[1] == 3 && t.strides[0] == 1 && t.strides[1] == 4));
  CHECK((t.dtype.code == code && t.dtype.bits == bits && t.dtype.lanes == 1 && t.byte_offset == 0));
  const Tensor<T> y = from_dlpack<T>(m);
  CHECK(y.shape() == Shape{4, 3});
  CHECK(y.data() == x.data());
  CHECK(cast<float>(y).to_vector() == cast<float>(x.t()).to_vector());
}

/// What another library gives: counts how often it is released.
struct Foreign {
  std::vector<float> values{0, 1, 2, 3, 4, 5, 6, 7};
  int64_t shape[2] = {2, 3}, strides[2] = {4, 1};
  int released = 0;
  dlpack::ManagedTensorVersioned m{{1, 0},
                                   this,
                                   [](dlpack::ManagedTensorVersioned* m) { ++static_cast<Foreign*>(m->manager_ctx)->released; },
                                   0,
                                   {values.data(), {dlpack::cpu, 0}, 2, {dlpack::floating, 32, 1}, shape, strides, 4}};
};
}  // namespace

TEST_CASE("dlpack: every dtype there and back, strides and memory as they are") {
  there_and_back<float, dlpack::ManagedTensor>(2, 32);
  there_and_back<double, dlpack::ManagedTensorVersioned>(2, 64);
  there_and_back<half, dlpack::ManagedTensor>(2, 16);
  there_and_back<bf16, dlpack::ManagedTensor>(4, 16);
  there_and_back<int64_t, dlpack::ManagedTensorVersioned>(0, 64);
  there_and_back<int32_t, dlpack::ManagedTensor>(0, 32);
  there_and_back<uint8_t, dlpack::ManagedTensor>(1, 8);
  there_and_back<bool, dlpack::ManagedTensor>(6, 8);
  auto* scalar = to_dlpack(full<float>({}, 3));
  CHECK(scalar->dl_tensor.ndim == 0);
  CHECK(from_dlpack<float>(scalar).item() == 3);
}

TEST_CASE("dlpack: memory lives until the other side lets go, and writes are seen") {
  const int64_t before = memory_stats().live;
  dlpack::ManagedTensor* m = nullptr;
  {
    const auto x = zeros<float>({1000});
    m = to_dlpack(x);
  }
  CHECK(memory_stats().live >= before + 4000);
  static_cast<float*>(m->dl_tensor.data)[7] = 5;
  m->deleter(m);
  CHECK(memory_stats().live == before);
}

TEST_CASE("dlpack: another library's tensor is taken over, with its offset and strides, and released once") {
  Foreign f;
  {
    auto x = from_dlpack<float>(&f.m);
    CHECK(check::difference(x, {2, 3}, {1, 2, 3, 5, 6, 7}) == "");
    const auto view = select(x, 0, 1);
    x = {};
    CHECK(f.released == 0);
    CHECK(view.to_vector() == std::vector<float>{5, 6, 7});
  }
  CHECK(f.released == 1);
  Foreign rows;
  rows.m.dl_tensor.strides = nullptr;  // row-major
  CHECK(check::difference(from_dlpack<float>(&rows.m), {2, 3}, {1, 2, 3, 4, 5, 6}) == "");
  Foreign leaf;
  auto y = from_dlpack<float>(&leaf.m);  // gradients work as usual
  y.requires_grad_();
  CHECK(check::difference(grad(sum(y * y), y), {2, 3}, {2, 4, 6, 10, 12, 14}) == "");
}

TEST_CASE("dlpack: what cannot be exchanged is refused, and released") {
  const auto refused = [](auto change, const char* what, const char* given) {
    Foreign f;
    change(f.m);
    CHECK_THROWS_WITH(from_dlpack<float>(&f.m), contains(std::string("from_dlpack: ") + what) && contains(given));
    CHECK(f.released == 1);
  };
  using M = dlpack::ManagedTensorVersioned;
  refused([](M& m) { m.dl_tensor.dtype.bits = 64; }, "other elements", "float64");
  refused([](M& m) { m.dl_tensor.dtype = {dlpack::floating, 32, 4}; }, "other elements", "float32 x 4");
  refused([](M& m) { m.dl_tensor.dtype.code = 5; }, "other elements", "complex32");
  refused([](M& m) { m.dl_tensor.device.device_type = dlpack::cuda; }, "memory of another device", "2");
  refused([](M& m) { m.version.major = 2; }, "another version of the exchange", "2.0");
  refused([](M& m) { m.flags = 1; }, "the memory is read only", "float32");
  refused([](M& m) { m.dl_tensor.ndim = 9; }, "too many dimensions", "9");
  refused([](M& m) { m.dl_tensor.byte_offset = 3; }, "the elements are not aligned", "float32");
  CHECK_THROWS_WITH(from_dlpack<float>(static_cast<dlpack::ManagedTensor*>(nullptr)), contains("from_dlpack: no tensor"));
  auto w = zeros<float>({3});
  w.requires_grad_();
  CHECK_THROWS_WITH(to_dlpack(w), contains("to_dlpack: the other library would not see the gradients") && contains("detach"));
  CHECK_NOTHROW(from_dlpack<float>(to_dlpack(w.detach())));
}

#if defined(GRADUS_CUDA_EMULATED)
TEST_CASE("dlpack: the emulated device's memory stays here") {
  CHECK_THROWS_WITH(to_dlpack(zeros<float, Cuda>({3})), contains("to_dlpack: the emulated device's memory"));
}
#elif GRADUS_WITH_CUDA
TEST_CASE("dlpack: device memory there and back") {
  const auto x = arange<int64_t, Cuda>(0, 6).reshape({2, 3});
  auto* m = to_dlpack(x);
  CHECK(m->dl_tensor.device.device_type == dlpack::cuda);
  const auto y = from_dlpack<int64_t, Cuda>(m);
  CHECK(y.data() == x.data());
  CHECK((y + 1).to<Cpu>().to_vector() == std::vector<int64_t>{1, 2, 3, 4, 5, 6});
}
#endif
