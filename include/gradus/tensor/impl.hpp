// What a tensor is, for every dtype and device alike: one plain struct that the engine, files and debuggers read.
#pragma once
#include <functional>
#include <vector>

#include <gradus/core/storage.hpp>

namespace gradus {

struct Node;
struct TensorExtra;
class AnyTensor;

/// Shape, strides and memory of a tensor, and its place in the gradient graph.
struct TensorImpl {
  static constexpr uint32_t kMagic = 0x64617267;  // "grad" in memory: how a debugger recognises a tensor
  uint32_t magic = kMagic;
  uint32_t refs = 1;
  DType dtype = DType::f32;
  DeviceKind device = DeviceKind::cpu;
  bool requires_grad = false;
  bool contiguous = true;
  bool unrecorded_view = false;    ///< a view taken while recording was off: its base does not learn of recorded writes
  uint32_t output = 0;             ///< which output of grad_fn this is
  uint32_t history = 0;            ///< counts in-place changes of the history (bases of views only)
  uint32_t base_history = 0;       ///< base->history when this view was taken
  void* data = nullptr;            ///< first element
  int64_t numel = 0;
  Storage* storage = nullptr;      ///< owned
  Node* grad_fn = nullptr;         ///< owned; the op that made it, null for a leaf
  Node* accumulator = nullptr;     ///< not owned; a leaf's node in the graph, while a graph uses it
  TensorImpl* grad = nullptr;      ///< owned; a leaf's gradient
  TensorImpl* base = nullptr;      ///< owned; the tensor that this is a view of
  TensorExtra* extra = nullptr;    ///< owned; name and other rare things
  Shape shape, strides;            ///< strides in elements

  TensorImpl() = default;
  TensorImpl(const TensorImpl&) = delete;
  static TensorImpl* make() { return new (detail::pool_alloc(sizeof(TensorImpl))) TensorImpl; }
  static void destroy(TensorImpl* t);
};


/// What few tensors have.
struct TensorExtra {
  std::string name;
  std::vector<std::function<AnyTensor(const AnyTensor&)>> hooks;  // of a leaf
};

/// Strides of a contiguous (row-major) tensor.
inline Shape contiguous_strides(const Shape& shape) {
  Shape s;
  s.n = shape.n;
  int64_t step = 1;
  for (int i = shape.n - 1; i >= 0; --i) s.v[i] = step, step *= shape.v[i];
  return s;
}
inline bool is_contiguous(const Shape& shape, const Shape& strides) {
  int64_t step = 1;
  for (int i = shape.n - 1; i >= 0; --i) {
    if (shape.v[i] == 1) continue;
    if (strides.v[i] != step) return shape.numel() == 0;
    step *= shape.v[i];
  }
  return true;
}

}  // namespace gradus
