// Forward declarations: for headers that name tensors and do not use them.
//
//   #include <gradus/fwd.hpp>
//   namespace gradus { void plot(const Tensor<float>&); }
//
// The defaults of Tensor's template arguments are in tensor/tensor.hpp: write them out where only this header is included,
// Tensor<float, Cpu>, or use the names below.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>
#include <gradus/core/dtype.hpp>

namespace gradus {

template <Element T, class D> class Tensor;
class AnyTensor;
struct Shape;
struct TensorImpl;
struct Storage;
struct Node;
class SavedBase;
template <class T, class D> class Saved;
struct BackwardOptions;
struct GradOptions;
class Error;

using FloatTensor = Tensor<float, Cpu>;
using DoubleTensor = Tensor<double, Cpu>;
using IndexTensor = Tensor<int64_t, Cpu>;
using MaskTensor = Tensor<bool, Cpu>;

}  // namespace gradus
