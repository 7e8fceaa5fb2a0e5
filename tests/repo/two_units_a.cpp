// Two files of one program include everything: whatever a header defines without `inline` is defined twice.
#include <gradus.hpp>

double from_b(const gradus::Tensor<double>& x);

int main() {
  const auto x = gradus::full<double>({2, 3}, 2.0);
  const double here = gradus::sum(x * x).item();
  return here == 24.0 && from_b(x) == 24.0 ? 0 : 1;
}
