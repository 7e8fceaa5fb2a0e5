// Products of matrices and their relatives against PyTorch.
#include <gradus/ops/einsum.hpp>
#include <gradus/ops/extra.hpp>

#include "recorded/table.hpp"

using namespace gradus;
using recorded::Args, recorded::Names, recorded::Results, recorded::Table;

namespace {

Table table() {
  return {
      {"matmul", [](const Args& x) { return matmul(x[0], x[1]); }},
      {"einsum", [](const Args& x) { return einsum(x.c.attr("equation", ""), x.list); }},
      {"outer", [](const Args& x) { return outer(x[0], x[1]); }},
      {"addmm", [](const Args& x) { return addmm(x[0], x[1], x[2], x.number("beta", 1), x.number("alpha", 1)); }},
      {"bmm", [](const Args& x) { return bmm(x[0], x[1]); }},
      {"baddbmm", [](const Args& x) { return baddbmm(x[0], x[1], x[2], x.number("beta", 1), x.number("alpha", 1)); }},
      {"linear", [](const Args& x) { return linear(x[0], x[1], x.get("bias")); }},
      {"bilinear", [](const Args& x) { return bilinear(x[0], x[1], x[2], x.get("bias")); }},
      {"kron", [](const Args& x) { return kron(x[0], x[1]); }},
      {"cross", [](const Args& x) { return cross(x[0], x[1], x.dim()); }},
      {"cdist", [](const Args& x) { return cdist(x[0], x[1], x.number("p", 2)); }},
  };
}

}  // namespace

TEST_CASE("products of matrices give the recorded values and gradients") {
  const auto r = recorded::run({"matmul.json"}, table());
  CHECK(r.differences == Names{});
  CHECK(r.missing == Names{});
  CHECK(r.ran == 37);
}
