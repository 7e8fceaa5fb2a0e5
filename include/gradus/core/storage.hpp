// The memory behind tensors: counted, shared by views, with the version that notices overwriting.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>
#include <gradus/core/error.hpp>
#include <gradus/core/memory.hpp>

namespace gradus {

/// Header of a block of elements. Memory that gradus owns follows the header directly; foreign memory is pointed to.
struct alignas(64) Storage {
  uint32_t refs = 1;
  uint32_t version = 0;           ///< counts writes; a saved value remembers it
  uint32_t saved = 0;             ///< values kept for a backward that lie here
  DeviceKind device = DeviceKind::cpu;
  std::size_t bytes = 0;          ///< of the elements
  void* data = nullptr;
  Where writer = {};              ///< who wrote last
  void (*deleter)(void*) = nullptr;  ///< frees foreign memory; of our own it only tells that it ends
  void* context = nullptr;        ///< given to deleter; keeps foreign memory alive
  detail::TracedOp* traced = nullptr;  ///< who made it, while memory is traced

  static Storage* make(std::size_t bytes) {
    void* block = detail::pool_alloc(sizeof(Storage) + bytes);
    auto* s = new (block) Storage;
    s->bytes = bytes;
    s->data = static_cast<char*>(block) + sizeof(Storage);
    detail::live_bytes.add(static_cast<int64_t>(bytes));
    return s;
  }
  /// Wraps memory that somebody else owns; deleter(context) runs when the last tensor is gone.
  static Storage* wrap(void* data, std::size_t bytes, void (*deleter)(void*), void* context) {
    auto* s = new (detail::pool_alloc(sizeof(Storage))) Storage;
    s->bytes = bytes, s->data = data, s->deleter = deleter, s->context = context;
    return s;
  }
  bool owns() const { return data == this + 1; }
  static void destroy(Storage* s) {
    if (s->traced) detail::trace_free(s->traced, static_cast<int64_t>(s->bytes));
    if (s->owns()) {
      const std::size_t bytes = s->bytes;
      if (s->deleter) [[unlikely]] s->deleter(s->context);   // somebody wants to know (debug/memory.hpp)
      detail::live_bytes.sub(static_cast<int64_t>(bytes));
      detail::pool_free(s, sizeof(Storage) + bytes);
    } else {
      if (s->deleter) s->deleter(s->context);
      detail::pool_free(s, sizeof(Storage));
    }
  }
};

}  // namespace gradus
