// cuda/index.cu against cpu/index.cpp, each kernel. Everything is exact, sums too: their order is that of the index.
#include <gradus/kernels/index.hpp>

#include "kernels/on_device.hpp"

using namespace kernel_test;
namespace k = gradus::kernels;

namespace {
struct Extents {
  int64_t O, R, I, J;
};
constexpr Extents shapes[] = {{1, 7, 1, 33}, {2, 5, 3, 40}, {1, 3, 70, 9}, {1, 50, 1, 3000}, {2, 4, 3, 0}, {0, 4, 3, 2}};

Host<int64_t> indices(int64_t n, int64_t R) { return values<int64_t>(n, 21, 0, static_cast<double>(R)); }
}  // namespace

TEST_CASE("find_out_of_range finds the first") {
  auto index = values<int64_t>(5000, 3, -3, 8);
  for (const int64_t bad : {int64_t{-1}, int64_t{4999}, int64_t{3000}, int64_t{0}}) {
    if (bad >= 0) index[static_cast<std::size_t>(bad)] = bad % 2 ? -4 : 8;
    const OnDevice<int64_t> dev(index);
    CHECK(k::find_out_of_range(Cuda{}, dev, 5000, -3, 8) == bad);
  }
  CHECK(k::find_out_of_range(Cuda{}, nullptr, 0, 0, 1) == -1);
}

TEST_CASE("gather, index_select, take") {
  for_types<float, double, bf16, half, int64_t, int32_t, uint8_t, bool>([](auto zero) {
    using T = decltype(zero);
    for (const auto [O, R, I, J] : shapes) {
      const auto x = values<T>(O * R * I, 1, 0, 2);
      const auto index = indices(O * J * I, R), row = indices(J, R);
      const auto ptr = [](auto& v) { return reinterpret_cast<std::conditional_t<std::is_const_v<std::remove_reference_t<decltype(v)>>, const T*, T*>>(v.data()); };
      const OnDevice<T> dev_x(x), dev_y(O * J * I);
      const OnDevice<int64_t> dev_index(index), dev_row(row);
      Host<T> y(index.size());
      k::gather(Cpu{}, ptr(x), index.data(), ptr(y), O, R, I, J);
      k::gather<T>(Cuda{}, dev_x, dev_index, dev_y, O, R, I, J);
      CHECK(difference(dev_y.host(), y, 0) == "");
      k::index_select(Cpu{}, ptr(x), row.data(), ptr(y), O, R, I, J);
      k::index_select<T>(Cuda{}, dev_x, dev_row, dev_y, O, R, I, J);
      CHECK(difference(dev_y.host(), y, 0) == "");
      k::take(Cpu{}, ptr(x), index.data(), ptr(y), O * J * I);
      k::take<T>(Cuda{}, dev_x, dev_index, dev_y, O * J * I);
      CHECK(difference(dev_y.host(), y, 0) == "");
    }
  });
}

TEST_CASE("scatters: repeated destinations in the order of the index") {
  for_types<float, bf16, half, int32_t>([](auto zero) {
    using T = decltype(zero);
    for (const auto [O, R, I, J] : shapes) {
      const auto start = values<T>(O * R * I, 1, 0, 3), src = values<T>(O * J * I, 2, -3, 5);
      const auto index = indices(O * J * I, R);
      const OnDevice<T> dev_src(src);
      const OnDevice<int64_t> dev_index(index);
      const bool schedules = std::is_same_v<T, float> && J == 40;
      Host<T> y = start;
      k::scatter(Cpu{}, y.data(), index.data(), src.data(), O, R, I, J);
      same_on_device<T>("scatter", y, 0, schedules, [&](T* out) { k::scatter<T>(Cuda{}, out, dev_index, dev_src, O, R, I, J); }, &start);
      y = start;
      k::scatter_add(Cpu{}, y.data(), index.data(), src.data(), O, R, I, J);
      same_on_device<T>("scatter_add", y, 0, schedules, [&](T* out) { k::scatter_add<T>(Cuda{}, out, dev_index, dev_src, O, R, I, J); }, &start);
      y = start;
      k::scatter_amax(Cpu{}, y.data(), index.data(), src.data(), O, R, I, J);
      same_on_device<T>("scatter_amax", y, 0, schedules, [&](T* out) { k::scatter_amax<T>(Cuda{}, out, dev_index, dev_src, O, R, I, J); }, &start);
      y = start;
      k::scatter_amin(Cpu{}, y.data(), index.data(), src.data(), O, R, I, J);
      same_on_device<T>("scatter_amin", y, 0, false, [&](T* out) { k::scatter_amin<T>(Cuda{}, out, dev_index, dev_src, O, R, I, J); }, &start);
    }
  });
}

TEST_CASE("index_add and put: the gradient of an embedding table, bit for bit") {
  for_types<float, double, bf16, half, int64_t>([](auto zero) {
    using T = decltype(zero);
    for (const auto [O, R, I, J] : shapes) {
      const auto start = values<T>(O * R * I, 1, 0, 3), src = values<T>(O * J * I, 2, -3, 5);
      const auto row = indices(J, R), at = indices(J, O * R * I);
      const OnDevice<T> dev_src(src);
      const OnDevice<int64_t> dev_row(row), dev_at(at);
      const bool schedules = std::is_same_v<T, float> && J == 40;
      Host<T> y = start;
      k::index_add(Cpu{}, y.data(), row.data(), src.data(), O, R, I, J);
      same_on_device<T>("index_add", y, 0, schedules, [&](T* out) { k::index_add<T>(Cuda{}, out, dev_row, dev_src, O, R, I, J); }, &start);
      if (O * R * I == 0) continue;
      y = start;
      k::put(Cpu{}, y.data(), at.data(), src.data(), J);
      same_on_device<T>("put", y, 0, schedules, [&](T* out) { k::put<T>(Cuda{}, out, dev_at, dev_src, J); }, &start);
    }
  });
}

TEST_CASE("NaN wins in scatter_amax") {
  const Host<float> start{1, 2, 3}, src{5, std::numeric_limits<float>::quiet_NaN(), 7, 1};
  const Host<int64_t> index{0, 0, 0, 2};
  const OnDevice<float> dev_src(src);
  const OnDevice<int64_t> dev_index(index);
  Host<float> y = start;
  k::scatter_amax(Cpu{}, y.data(), index.data(), src.data(), 1, 3, 1, 4);
  same_on_device<float>("scatter_amax", y, 0, false, [&](float* out) { k::scatter_amax<float>(Cuda{}, out, dev_index, dev_src, 1, 3, 1, 4); }, &start);
}

TEST_CASE("count_nonzero, nonzero, masked_select, masked_expand") {
  for_types<float, half, int64_t, bool>([](auto zero) {
    using T = decltype(zero);
    for (const int64_t rows : {0, 1, 90}) {
      const int64_t shape[] = {rows, 7, 5}, n = rows * 35;
      auto x = values<T>(n, 6, 0, 2);
      for (std::size_t i = 0; i < x.size(); i += 2) x[i] = static_cast<typename Host<T>::value_type>(0);
      const auto mask = values<bool>(n, 8, 0, 2);
      const T* host_x = reinterpret_cast<const T*>(x.data());
      const bool* host_mask = reinterpret_cast<const bool*>(mask.data());
      const OnDevice<T> dev_x(x);
      const OnDevice<bool> dev_mask(mask);
      const int64_t count = k::count_nonzero(Cpu{}, host_x, n), chosen = k::count_nonzero(Cpu{}, host_mask, n);
      CHECK(k::count_nonzero<T>(Cuda{}, dev_x, n) == count);
      const bool schedules = std::is_same_v<T, float> && rows == 90;
      Host<int64_t> where(static_cast<std::size_t>(count * 3));
      k::nonzero(Cpu{}, host_x, where.data(), shape, 3);
      same_on_device<int64_t>("masked_select", where, 0, schedules, [&](int64_t* out) { k::nonzero<T>(Cuda{}, dev_x, out, shape, 3); });
      Host<T> y(static_cast<std::size_t>(chosen)), wide(x.size());
      k::masked_select(Cpu{}, host_x, host_mask, reinterpret_cast<T*>(y.data()), n);
      same_on_device<T>("masked_select", y, 0, schedules, [&](T* out) { k::masked_select<T>(Cuda{}, dev_x, dev_mask, out, n); });
      const OnDevice<T> dev_y(y);
      k::masked_expand(Cpu{}, reinterpret_cast<const T*>(y.data()), host_mask, reinterpret_cast<T*>(wide.data()), n);
      same_on_device<T>("masked_select", wide, 0, schedules, [&](T* out) { k::masked_expand<T>(Cuda{}, dev_y, dev_mask, out, n); });
    }
  });
}
