// Fashion-MNIST: 60,000 + 10,000 pictures of 28 x 28 in ten classes. Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747.
#pragma once
#include <gradus/data/batches.hpp>

namespace gradus::data {

/// The set from `dir`, or from the usual places when it is empty (data/mnist.hpp).
inline MnistLike fashion_mnist(const std::string& dir = {}, Where at = Where::current()) { return load_mnist_like(dir, "fashion-mnist", at); }

}  // namespace gradus::data
