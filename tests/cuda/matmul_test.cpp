// Products: layouts, batches, dtypes, and the kernels against each other.
#include <gradus.hpp>

#include "support/cuda.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::on_both;
using check::uniform;

TEST_CASE("products of matrices, vectors and batches, with both derivatives") {
  for (const auto& variant : kernel_variants("gemm")) {
    INFO(variant);
    const KernelScope scope("gemm", variant);
    const auto product = [](const auto& v) { return matmul(v[0], v[1]); };
    CHECK(on_both(product, List{uniform({5, 7}), uniform({7, 3}, -1, 1, 2)}) == "");
    CHECK(on_both(product, List{uniform({40, 33}), uniform({33, 50}, -1, 1, 2)}) == "");            // more than a tile
    CHECK(on_both(product, List{uniform({2, 3, 4, 5}), uniform({3, 5, 2}, -1, 1, 2)}) == "");       // a batch that broadcasts
    CHECK(on_both([](const auto& v) { return matmul(v[0].t(), v[1].t()); }, List{uniform({7, 5}), uniform({3, 7}, -1, 1, 2)}) ==
          "");
    CHECK(on_both([](const auto& v) { return matmul(v[0](all, slice(1, 6)), v[1](slice(2, 7), all)); },
                  List{uniform({4, 8}), uniform({9, 3}, -1, 1, 2)}) == "");  // rows longer than what is used
    CHECK(check::unequal(matmul(zeros<float, Cuda>({3, 0}), zeros<float, Cuda>({0, 2})), zeros<float>({3, 2})) == "");
    CHECK(matmul(zeros<float, Cuda>({0, 4}), zeros<float, Cuda>({4, 2})).numel() == 0);
  }
}

TEST_CASE("products of every dtype") {
  const auto a = uniform<float>({19, 23}), b = uniform<float>({23, 17}, -1, 1, 2);
  for (const auto& variant : kernel_variants("gemm")) {
    INFO(variant);
    const KernelScope scope("gemm", variant);
    CHECK(check::distant(matmul(a.to<Cuda>(), b.to<Cuda>()), matmul(a, b), 1e-5, 1e-6) == "");
    CHECK(check::distant(matmul(a.to<bf16>().to<Cuda>(), b.to<bf16>().to<Cuda>()), matmul(a.to<bf16>(), b.to<bf16>()), 8e-3,
                         1e-3) == "");
    CHECK(check::distant(matmul(a.to<half>().to<Cuda>(), b.to<half>().to<Cuda>()), matmul(a.to<half>(), b.to<half>()), 1e-3,
                         1e-3) == "");
    const auto i = (a * 10).to<int64_t>(), j = (b * 10).to<int64_t>();
    CHECK(check::unequal(matmul(i.to<Cuda>(), j.to<Cuda>()), matmul(i, j)) == "");
    CHECK(check::unequal(matmul(i.to<int32_t>().to<Cuda>(), j.to<int32_t>().to<Cuda>()),
                         matmul(i.to<int32_t>(), j.to<int32_t>())) == "");
  }
}
