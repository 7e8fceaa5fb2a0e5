// The list that masks are taken down to, or read from, while a function runs (ops/mask.hpp).
#pragma once
#include <utility>
#include <vector>

#include <gradus/tensor/tensor.hpp>

namespace gradus {

/// Masks in the order in which a function drew them: tensors of its element type, which broadcast to what they mask.
using Masks = std::vector<AnyTensor>;

namespace detail {

/// What track_dropout_mask and use_dropout_mask put beside the thread while their function runs.
struct MaskTape {
  bool replay = false;
  Masks masks;
  std::size_t next = 0;
};
inline thread_local constinit MaskTape* mask_tape = nullptr;

/// Sets the tape for a scope.
class MaskTapeScope {
 public:
  explicit MaskTapeScope(MaskTape* tape) : before_(std::exchange(mask_tape, tape)) {}
  ~MaskTapeScope() { mask_tape = before_; }
  MaskTapeScope(const MaskTapeScope&) = delete;

 private:
  MaskTape* before_;
};

}  // namespace detail

}  // namespace gradus
