// Joining, cutting, padding, views, indexing and sorting against PyTorch.
#include <gradus/ops/extra.hpp>
#include <gradus/ops/scatter.hpp>
#include <gradus/ops/sort.hpp>
#include <gradus/ops/unfold.hpp>

#include "recorded/table.hpp"

using namespace gradus;
using recorded::Args, recorded::Double, recorded::Names, recorded::Results, recorded::Table;

namespace {

Results run_split(const Args& x) {
  const auto& sizes = x.c.attrs.at("split_size_or_sections");
  if (sizes.is_array()) return split(x[0], sizes.get<std::vector<int64_t>>(), x.dim());
  return split(x[0], sizes.get<int64_t>(), x.dim());
}
/// PyTorch's list has (before, after) of the last dimension first.
Results run_pad(const Args& x) {
  const auto p = x.c.ints("pad");
  Shape before, after;
  for (std::size_t i = p.size(); i >= 2; i -= 2) before.push_back(p[i - 2]), after.push_back(p[i - 1]);
  const std::string mode = x.c.attr("mode", "constant");
  if (mode == "constant") return pad(x[0], before, after, x.number("value", 0));
  return pad(x[0], before, after,
             mode == "reflect"    ? PadMode::reflect
             : mode == "circular" ? PadMode::circular
                                  : PadMode::replicate);
}
Results run_roll(const Args& x) {
  const auto shifts = x.c.ints("shifts"), dims = x.c.ints("dims");
  if (dims.empty()) return gradus::reshape(roll(gradus::reshape(x[0], {-1}), shifts[0], 0), x[0].shape());
  Double y = x[0];
  for (std::size_t i = 0; i < dims.size(); ++i) y = roll(y, shifts[i], static_cast<int>(dims[i]));
  return y;
}
Results run_repeat_interleave(const Args& x) {
  if (x.size() > 1) return repeat_interleave(x[0], x.integers("repeats"), x.dim());
  if (!x.c.has("dim")) return repeat_interleave(gradus::reshape(x[0], {-1}), x.dim("repeats"), 0);
  return repeat_interleave(x[0], x.dim("repeats"), x.dim());
}
Results run_diagonal(const Args& x) {
  Shape dims;
  const int a = x.dim("dim1"), b = x.dim("dim2");
  for (int i = 0; i < x[0].rank(); ++i)
    if (i != a && i != b) dims.push_back(i);
  dims.push_back(a), dims.push_back(b);
  return diagonal(permute(x[0], dims), x.dim("offset"));
}
Results run_movedim(const Args& x) {
  const auto from = x.c.ints("source"), to = x.c.ints("destination");
  Shape dims{-1, -1, -1};
  for (std::size_t i = 0; i < from.size(); ++i) dims[static_cast<int>(to[i])] = from[i];
  for (int d = 0; d < 3; ++d)
    if (dims[d] < 0) dims[d] = 3 - from[0] - from[1];
  return permute(x[0], dims);
}

UnfoldOptions windows(const Args& x) {
  return {.stride = x.c.ints("stride", {1}), .padding = x.c.ints("padding", {0}), .dilation = x.c.ints("dilation", {1})};
}

Table shape_table() {
  return {
      {"cat", [](const Args& x) { return cat(x.list, x.dim()); }},
      {"stack", [](const Args& x) { return stack(x.list, x.dim()); }},
      {"split", run_split},
      {"chunk", [](const Args& x) { return chunk(x[0], x.dim("chunks"), x.dim()); }},
      {"unbind", [](const Args& x) { return unbind(x[0], x.dim()); }},
      {"pad", run_pad},
      {"flip", [](const Args& x) { return flip(x[0], x.c.ints("dims")); }},
      {"roll", run_roll},
      {"repeat", [](const Args& x) { return repeat(x[0], x.c.ints("repeats")); }},
      {"tile", [](const Args& x) { return repeat(x[0], x.c.ints("dims")); }},
      {"repeat_interleave", run_repeat_interleave},
      {"unfold", [](const Args& x) { return unfold(x[0], x.c.ints("kernel_size"), windows(x)); }},
      {"fold", [](const Args& x) { return fold(x[0], x.c.ints("output_size"), x.c.ints("kernel_size"), windows(x)); }},
      {"tensor_unfold", [](const Args& x) { return sliding_windows(x[0], x.dim("dimension"), x.dim("size"), x.dim("step")); }},
      {"tril", [](const Args& x) { return tril(x[0], x.dim("diagonal")); }},
      {"triu", [](const Args& x) { return triu(x[0], x.dim("diagonal")); }},
      {"diag", [](const Args& x) { return diag(x[0], x.dim("diagonal", 0)); }},
      {"diagonal", run_diagonal},
      {"diag_embed", [](const Args& x) { return diag_embed(x[0]); }},
      {"trace", [](const Args& x) { return trace(x[0]); }},
      {"transpose", [](const Args& x) { return transpose(x[0], x.dim("dim0"), x.dim("dim1")); }},
      {"permute", [](const Args& x) { return permute(x[0], x.c.ints("dims")); }},
      {"movedim", run_movedim},
      {"expand", [](const Args& x) { return expand(x[0], x.c.ints("size")); }},
      {"reshape", [](const Args& x) { return gradus::reshape(x[0], x.c.ints("shape")); }},
      {"reshape_transposed", [](const Args& x) { return gradus::reshape(x[0].t(), x.c.ints("shape")); }},
      {"flatten", [](const Args& x) { return gradus::flatten(x[0], x.dim("start_dim"), x.dim("end_dim")); }},
      {"squeeze", [](const Args& x) { return squeeze(x[0], x.dim()); }},
      {"unsqueeze", [](const Args& x) { return unsqueeze(x[0], x.dim()); }},
      {"rot90", [](const Args& x) { return rot90(x[0], x.dim("k")); }},
      {"pixel_shuffle", [](const Args& x) { return pixel_shuffle(x[0], x.dim("upscale_factor")); }},
      {"pixel_unshuffle", [](const Args& x) { return pixel_unshuffle(x[0], x.dim("downscale_factor")); }},
      {"diff", [](const Args& x) { return diff(x[0], x.dim("n"), x.dim()); }},
  };
}

/// One item of an index: an integer, {"slice": [start, stop, step]}, "...", null, or the name of an input.
Index item(const Args& x, const nlohmann::json& j) {
  if (j.is_null()) return newaxis;
  if (j.is_number()) return j.get<int64_t>();
  if (j.is_object()) {
    const auto part = [&](int i, int64_t otherwise) {
      return j.at("slice")[i].is_null() ? otherwise : j.at("slice")[i].get<int64_t>();
    };
    return slice(part(0, 0), part(1, Slice::kOpen), part(2, 1));
  }
  const auto name = j.get<std::string>();
  if (name == "...") return ellipsis;
  if (x.c.at(name).dtype == "bool") return x.mask(name);
  return x.integers(name);
}
Results run_index(const Args& x) {
  const auto& list = x.c.attrs.at("index");
  const Index first = item(x, list[0]);
  if (list.size() == 1) return x[0](first);
  if (list.size() == 2) return x[0](first, item(x, list[1]));
  return x[0](first, item(x, list[1]), item(x, list[2]));
}
Results run_take_along(const Args& x) {
  const auto i = x.integers("indices");
  Shape shape = x[0].shape();
  shape[x.dim()] = i.shape()[x.dim()];
  return gather(x[0], x.dim(), contiguous(expand(i, shape)));
}
Results run_scatter(const Args& x) {
  if (x.c.has("value")) return scatter(x[0], x.dim(), x.integers("index"), x.number("value", 0));
  return scatter(x[0], x.dim(), x.integers("index"), x.get("src"));
}
Results run_scatter_reduce(const Args& x) {
  const std::map<std::string, Reduce> kinds{
      {"sum", Reduce::sum}, {"mean", Reduce::mean}, {"prod", Reduce::prod}, {"amax", Reduce::amax}, {"amin", Reduce::amin}};
  return scatter_reduce(x[0], x.dim(), x.integers("index"), x.get("src"), kinds.at(x.c.attr("reduce", "")), x.flag("include_self", true));
}

Table index_table() {
  return {
      {"gather", [](const Args& x) { return gather(x[0], x.dim(), x.integers("index")); }},
      {"scatter", run_scatter},
      {"scatter_add", [](const Args& x) { return scatter_add(x[0], x.dim(), x.integers("index"), x.get("src")); }},
      {"scatter_reduce", run_scatter_reduce},
      {"index_select", [](const Args& x) { return index_select(x[0], x.dim(), x.integers("index")); }},
      {"index_add",
       [](const Args& x) { return index_add(x[0], x.dim(), x.integers("index"), mul(x.get("source"), x.number("alpha", 1))); }},
      {"index_copy", [](const Args& x) { return index_copy(x[0], x.dim(), x.integers("index"), x.get("source")); }},
      {"index_fill", [](const Args& x) { return index_fill(x[0], x.dim(), x.integers("index"), x.number("value", 0)); }},
      {"take_along_dim", run_take_along},
      {"masked_fill", [](const Args& x) { return masked_fill(x[0], x.mask("mask"), x.number("value", 0)); }},
      {"masked_select", [](const Args& x) { return masked_select(x[0], contiguous(expand(x.mask("mask"), x[0].shape()))); }},
      {"nonzero", [](const Args& x) { return nonzero(not_equal(x[0], 0)); }},
      {"index", run_index},
  };
}

}  // namespace

TEST_CASE("functions that move elements give the recorded values and gradients") {
  const auto r = recorded::run({"shape.json"}, shape_table());
  CHECK(r.differences == Names{});
  CHECK(r.missing == Names{});
  CHECK(r.ran == 59);
}

TEST_CASE("indexing gives the recorded values and gradients") {
  const auto r = recorded::run({"index.json"}, index_table());
  CHECK(r.differences == Names{});
  CHECK(r.missing == Names{});
  CHECK(r.ran == 39);
}
