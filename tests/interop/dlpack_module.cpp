// What dlpack_numpy.py calls: tensors given to NumPy, and arrays taken from it.
#include <gradus/interop/dlpack.hpp>

#if __has_include(<dlpack/dlpack.h>)
#include <dlpack/dlpack.h>  // DLPack's own structs serve as well as ours
using Managed = DLManagedTensor;
#else
using Managed = gradus::dlpack::ManagedTensor;
#endif
using namespace gradus;

namespace {
Tensor<float>& shared() {
  static Tensor<float> x = from_vector<float>({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {3, 4});
  return x;
}
}  // namespace

extern "C" {
Managed* give_transposed() {
  return to_dlpack<Managed>(wrap(shared().data(), {4, 3}, [] {}, {1, 4}));
}
float first_given() { return shared().data()[0]; }
/// The sum over rows i of (i + 1) times the row's sum; the array is scaled by 2 in place.
double take(Managed* m) {
  const auto x = from_dlpack<double>(m);
  double found = 0;
  for (int64_t i = 0; i < x.size(0); ++i)
    for (int64_t j = 0; j < x.size(1); ++j) {
      double& v = x.data()[i * x.strides()[0] + j * x.strides()[1]];
      found += static_cast<double>(i + 1) * v, v *= 2;
    }
  return found;
}
/// The text of the error, "" for none.
const char* refuse(Managed* m) {
  static std::string text;
  text.clear();
  try {
    from_dlpack<float>(m);
  } catch (const Error& e) {
    text = e.what();
  }
  return text.c_str();
}
int64_t live_bytes() { return memory_stats().live; }
}
