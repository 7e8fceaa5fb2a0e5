// Products of matrices and their relatives against PyTorch.
#include <gradus/ops/einsum.hpp>
#include <gradus/ops/extra.hpp>

#include "recorded/table.hpp"

using namespace gradus;
using recorded::Args, recorded::Names, recorded::Results, recorded::Table;

namespace {

/// gradus takes each letter once an operand, and no ellipsis.
Results run_einsum(const Args& x) {
  const std::string e = x.c.attr("equation", "");
  if (e.starts_with("ii") || e.starts_with("...")) return {};
  return einsum(e, x.list);
}

Table table() {
  return {
      {"matmul", [](const Args& x) { return matmul(x[0], x[1]); }},
      {"einsum", run_einsum},
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
  CHECK(r.ran == 34);
}

TEST_CASE("recorded operators that gradus does not have yet: products of matrices") {
  CHECK(recorded::run({"matmul.json"}, table()).missing == Names{"einsum.trace", "einsum.diagonal", "einsum.ellipsis"});
}
