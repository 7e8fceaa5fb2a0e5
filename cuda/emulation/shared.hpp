// Shared memory: an arena per block that holds 0xFF bytes (NaN) when the block starts, so that stale values of an earlier
// block are never read. An array is found by the address of a static tag, of which each instantiation of a kernel has its own.
#pragma once
#include "device.hpp"

namespace gradus::emu {
template <class T> T& shared_object(const void* key, std::size_t align, const char* name, Site at) {
  static_assert(std::is_trivially_copyable_v<T>, "gradus: objects in shared memory are not constructed: they are trivially copyable");
  using Element = std::remove_all_extents_t<T>;
  constexpr bool padded = std::is_class_v<Element> && alignof(Element) < sizeof(Element);
  static constexpr std::size_t extent[] = {std::extent_v<T, 0>, std::extent_v<T, 1>, std::extent_v<T, 2>, std::extent_v<T, 3>};
  return *static_cast<T*>(shared_array({key, name, sizeof(T), sizeof(Element), std::rank_v<T>, extent, padded}, align, at));
}
}  // namespace gradus::emu

#define GRADUS_EMU_SHARED(align, T, name, ...)                                                             \
  static const char name##_tag = 0;                                                                        \
  auto& name = gradus::emu::shared_object<T __VA_ARGS__>(&name##_tag, align, #name, gradus::emu::Site::current())
/// GRADUS_SHARED(float, tile, [32][33]);  GRADUS_SHARED(int, total);
#define GRADUS_SHARED(T, name, ...) GRADUS_EMU_SHARED(alignof(T), T, name, __VA_ARGS__)
/// The same for an array that load16, store16 or copy_async16 touches: aligned to 16 bytes.
#define GRADUS_SHARED16(T, name, ...) GRADUS_EMU_SHARED(16, T, name, __VA_ARGS__)
/// T* name: the dynamic shared memory of the launch, aligned to 16 bytes.
#define GRADUS_DYN_SHARED(T, name) T* const name = static_cast<T*>(gradus::emu::dynamic_shared(#name, sizeof(T), gradus::emu::Site::current()))
