// gradus: tensors and reverse-mode gradients. This header has everything but the layers (gradus/nn.hpp), the optimisers
// (gradus/optim.hpp), data, files and reports.
//
//   auto x = gradus::randn({8, 3});
//   x.requires_grad_();
//   gradus::sum(gradus::tanh(x) * 2).backward();
//   x.grad();                                      // dL/dx
#pragma once
#include <gradus/ops.hpp>
