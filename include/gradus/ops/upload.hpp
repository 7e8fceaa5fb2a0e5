// Values of the host as a tensor on any device.
#pragma once
#include <gradus/ops/create.hpp>

namespace gradus::detail {

template <class D, class T>
Tensor<T, D> upload(const std::vector<T>& values, const Shape& shape, Where at) {
  const Tensor<T> host = from_vector(values, shape, at);
  if constexpr (std::is_same_v<D, Cpu>) return host;
  else return to_device<D>(host, at);
}

}  // namespace gradus::detail
