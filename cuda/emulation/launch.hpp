// How a kernel starts on the emulated device: arguments are copied into a parameter block, as the driver does.
#pragma once
#include <cstring>
#include <source_location>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <gradus/core/error.hpp>

#include "runtime_api.hpp"

namespace gradus::emu {

/// What went wrong in a kernel. what() has the kernel, both places, block, thread and the seed that repeats it.
class Error : public gradus::Error {
 public:
  using gradus::Error::Error;
};

struct LaunchInfo {
  const void* kernel = nullptr;        // for its name
  void (*body)(const void* parameters) = nullptr;
  const void* parameters = nullptr;
  std::size_t parameter_bytes = 0;
  dim3 grid{}, block{};
  std::size_t shared = 0;
  cudaStream_t stream = nullptr;
  const char* op = "";
  std::source_location at{};
  bool cooperative = false;
};
/// The error of a launch that did not start; what goes wrong inside the kernel is thrown as Error.
cudaError_t launch_or_queue(const LaunchInfo& info);
cudaError_t check_launch(const LaunchInfo& info);
cudaError_t run(const LaunchInfo& info);

template <class... P, class... A> cudaError_t launch_kernel(void (*kernel)(P...), LaunchInfo info, A&&... args) {
  static_assert((std::is_trivially_copyable_v<P> && ...), "gradus: kernel arguments are copied as bytes: pass trivially copyable ones");
  struct Block {
    void (*kernel)(P...);
    std::tuple<P...> args;
  } block{kernel, {static_cast<P>(std::forward<A>(args))...}};
  info.kernel = reinterpret_cast<const void*>(kernel);
  info.parameters = &block;
  info.parameter_bytes = sizeof block;
  info.body = [](const void* parameters) {
    const Block& b = *static_cast<const Block*>(parameters);
    std::apply(b.kernel, b.args);
  };
  return launch_or_queue(info);
}

}  // namespace gradus::emu
