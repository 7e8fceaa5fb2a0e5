// Host vectors on the device and back, for the kernels of this folder.
#pragma once
#include <utility>
#include <vector>

#include "cuda/platform.cuh"

namespace emulation_test {
using gradus::launch, gradus::load16, gradus::store16, gradus::copy_async16, gradus::copy_async_commit, gradus::copy_async_wait;

template <class T> class OnDevice {
 public:
  explicit OnDevice(std::size_t n) : n_(n) { cudaMalloc(&p_, n * sizeof(T)); }
  explicit OnDevice(const std::vector<T>& host) : OnDevice(host.size()) {
    cudaMemcpy(p_, host.data(), n_ * sizeof(T), cudaMemcpyHostToDevice);
  }
  ~OnDevice() { cudaFree(p_); }
  OnDevice(const OnDevice&) = delete;
  operator T*() const { return p_; }
  std::vector<T> host() const {
    std::vector<T> v(n_);
    cudaMemcpy(v.data(), p_, n_ * sizeof(T), cudaMemcpyDeviceToHost);
    return v;
  }

 private:
  T* p_ = nullptr;
  std::size_t n_;
};

}  // namespace emulation_test
