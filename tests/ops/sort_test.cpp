#include <cmath>
#include <limits>

#include <gradus/ops/sort.hpp>
#include <gradus/ops/spatial.hpp>

#include "ops/recorded_case.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::uniform;
using Values = std::vector<double>;
using Ints = std::vector<int64_t>;

TEST_CASE("sort: values and positions along either dimension") {
  const Double x{{3, 1, 2}, {1, 5, 1}};
  const auto r = sort(x);
  CHECK(r.values.to_vector() == Values{1, 2, 3, 1, 1, 5});
  CHECK(r.index.to_vector() == Ints{1, 2, 0, 0, 2, 1});
  CHECK(sort(x, 0).values.to_vector() == Values{1, 1, 1, 3, 5, 2});
  CHECK(argsort(x, 1, true).to_vector() == Ints{0, 2, 1, 1, 0, 2});
  CHECK(sort(Tensor<int64_t>{4, -1, 3}).values.to_vector() == Ints{-1, 3, 4});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(argsort(Double{nan, 1, -1}).to_vector() == Ints{2, 1, 0});
}

TEST_CASE("topk, kth_value, median: values and positions") {
  const Double x{{3, 1, 2, 9}, {1, 5, 1, 0}};
  const auto top = topk(x, 2);
  CHECK(top.values.to_vector() == Values{9, 3, 5, 1});
  CHECK(top.index.to_vector() == Ints{3, 0, 1, 0});
  CHECK(topk(x, 1, 0, false).values.to_vector() == Values{1, 1, 1, 0});
  CHECK(topk(x, 0).values.shape() == Shape{2, 0});
  CHECK(kth_value(x, 2).values.to_vector() == Values{2, 1});
  CHECK(kth_value(x, 1, 0, true).values.shape() == Shape{1, 4});
  CHECK(median(x, 1).values.to_vector() == Values{2, 1});
  CHECK(median(x, 1).index.to_vector() == Ints{2, 0});
  CHECK(median(x).item() == 1);
}

TEST_CASE("sort: recorded outputs and gradients") {
  const auto cases = check::recorded_cases("sort.json", {"sort", "topk", "kthvalue", "argsort"});
  REQUIRE(cases.size() == 11);
  for (const auto& c : cases) {
    INFO(c.name);
    CHECK(check::recorded_difference(c, [&](const List& x) -> Double {
            const int dim = static_cast<int>(c.attrs.at("dim").template get<int64_t>());
            const bool descending = c.attrs.value("descending", false);
            if (c.op == "sort") return sort(x[0], dim, descending).values;
            if (c.op == "argsort") return argsort(x[0], dim, descending).to<double>();
            const int64_t k = c.attrs.at("k").template get<int64_t>();
            return c.op == "topk" ? topk(x[0], k, dim, c.attrs.value("largest", true)).values : kth_value(x[0], k, dim).values;
          }) == "");
  }
}

TEST_CASE("quantile: linear between neighbours") {
  const Double x{4., 1, 3, 2};
  CHECK(quantile(x, 0.5, 0).item() == 2.5);
  CHECK(quantile(x, 0, 0).item() == 1);
  CHECK(quantile(x, 1, 0).item() == 4);
  CHECK(quantile(x, 0.9, 0).item() == Approx(3.7));
  CHECK(quantile(x, Values{0.25, 0.75}, 0).to_vector() == Values{1.75, 3.25});
  CHECK(std::isnan(quantile(Double{1, std::nan(""), 0}, 0.1, 0).item()));
}

TEST_CASE("sort: first and second derivatives") {
  const Double x = uniform({2, 5, 3});
  for (int dim = 0; dim < 3; ++dim) {
    check::gradients([dim](const Double& a) { return mul(sort(a, dim).values, sort(a, dim, true).values); }, x);
    check::gradients([dim](const Double& a) { return square(topk(a, 2, dim).values); }, x);
    check::gradients([dim](const Double& a) { return square(kth_value(a, 2, dim).values); }, x);
    check::gradients([dim](const Double& a) { return square(median(a, dim, true).values); }, x);
    check::gradients([dim](const Double& a) { return square(quantile(a, 0.3, dim)); }, x);
  }
  CHECK_FALSE(sort(check::leaf(x)).index.requires_grad());
}

TEST_CASE("unique: values, inverse and counts") {
  const auto u = unique(Tensor<int64_t>{{3, 1}, {3, 7}});
  CHECK(u.values.to_vector() == Ints{1, 3, 7});
  CHECK(u.inverse.to_vector() == Ints{1, 0, 1, 2});
  CHECK(u.inverse.shape() == Shape{2, 2});
  CHECK(u.counts.to_vector() == Ints{1, 2, 1});
  CHECK(unique(Double(Shape{0})).values.numel() == 0);
}

TEST_CASE("searchsorted, bincount, histogram") {
  const Double edges{1., 2, 2, 4};
  CHECK(searchsorted(edges, Double{{0, 2}, {3, 9}}).to_vector() == Ints{0, 1, 3, 4});
  CHECK(searchsorted(edges, Double{2., 4}, true).to_vector() == Ints{3, 4});
  CHECK(searchsorted(Double{{1, 2}, {5, 6}}, Double{1.5, 1.5}.reshape({2, 1})).to_vector() == Ints{1, 0});
  const Tensor<int64_t> x{0, 3, 3, 1};
  CHECK(bincount(x).to_vector() == Ints{1, 1, 0, 2});
  CHECK(bincount(x, 6).numel() == 6);
  CHECK(bincount(x, Double{1., 2, 3, 4}).to_vector() == Values{1, 4, 0, 5});
  check::gradients([&](const Double& w) { return bincount(x, square(w)); }, Double{1., 2, 3, 4});
  CHECK(histogram(Double{0, 0.5, 1, 2, 3, -1, std::nan("")}, 2, 0, 2).to_vector() == Ints{2, 2});
}

TEST_CASE("quantile: what lies between two elements") {
  const Double x{4., 1, 3, 2};
  const auto at = [&](double q, Interpolation i) { return quantile(x, q, 0, false, i).item(); };
  CHECK(at(0.4, Interpolation::lower) == 2);      // position 1.2
  CHECK(at(0.4, Interpolation::higher) == 3);
  CHECK(at(0.4, Interpolation::nearest) == 2);
  CHECK(at(0.5, Interpolation::nearest) == 3);    // position 1.5, to the even one
  CHECK(at(0.4, Interpolation::midpoint) == 2.5);
  CHECK(at(1, Interpolation::midpoint) == 4);
}

TEST_CASE("unique slices, in lexicographic order") {
  const Tensor<int64_t> x{{2, 1}, {1, 5}, {2, 1}, {1, -3}};
  const auto rows = unique(x, 0);
  CHECK(rows.values.to_vector() == Ints{1, -3, 1, 5, 2, 1});
  CHECK(rows.inverse.to_vector() == Ints{2, 1, 2, 0});
  CHECK(rows.counts.to_vector() == Ints{1, 1, 2});
  CHECK(check::difference(index_select(rows.values, 0, rows.inverse), x, 0, 0) == "");
  const auto columns = unique(transpose(x, 0, 1), 1);
  CHECK(check::difference(columns.values, transpose(rows.values, 0, 1).clone(), 0, 0) == "");
  const double nan = std::nan("");
  CHECK(unique(Double{{nan, 1}, {nan, 1}, {0, nan}}, 0).counts.to_vector() == Ints{1, 2});
}

TEST_CASE("histogram between edges, with weights, as a density") {
  const Double edges{0., 1, 4}, x{-1., 0, 1, 3, 4, 4.5};
  CHECK(histogram(x, edges).counts.to_vector() == Values{1, 3});
  const Double w{9., 1, 2, 3, 4, 9};
  CHECK(histogram(x, edges, {.weights = w}).counts.to_vector() == Values{1, 9});
  const auto d = histogram(x, edges, {.weights = w, .density = true}).counts;
  CHECK(d.to_vector() == Values{0.1, 0.3});
  CHECK(histogram(x, 2, 0, 4, HistogramOptions<double, Cpu>{}).edges.to_vector() == Values{0, 2, 4});
  check::gradients([&](const Double& v) { return histogram(x, edges, {.weights = square(v), .density = true}).counts; }, w);
  CHECK(check::missing(check::error_of([&] { histogram(x, edges, {.weights = edges}); }), {"histogram: the weights do not match", "weights of x's shape"}) == "");
}

TEST_CASE("repeat_interleave with a count for each position") {
  const Double x{{1, 2, 3}, {4, 5, 6}};
  CHECK(repeat_interleave(x, Tensor<int64_t>{2, 0, 1}, 1).to_vector() == Values{1, 1, 3, 4, 4, 6});
  CHECK(repeat_interleave(x, Tensor<int64_t>{0, 0}, 0).shape() == Shape{0, 3});
  check::gradients([](const Double& v) { return square(repeat_interleave(v, Tensor<int64_t>{2, 0, 1}, 1)); }, x);
  CHECK(check::missing(check::error_of([&] { repeat_interleave(x, Tensor<int64_t>{1, -1}, 0); }),
                       {"repeat_interleave: the counts do not match", "2 counts >= 0", "sort_test.cpp:"}) == "");
}

TEST_CASE("sort: error texts") {
  const Double x = uniform({2, 3});
  CHECK(check::missing(check::error_of([&] { topk(x, 4); }), {"gradus: topk: k is out of range", "0 <= k <= 3", "sort_test.cpp:"}) == "");
  CHECK(check::missing(check::error_of([&] { kth_value(x, 0); }), {"kth_value: k is out of range", "1 <= k <= 3"}) == "");
  CHECK(check::missing(check::error_of([&] { quantile(x, 1.5, 0); }), {"quantile: q is out of range"}) == "");
  CHECK(check::missing(check::error_of([&] { searchsorted(x, uniform({3, 2})); }), {"searchsorted: the rows do not match"}) == "");
  CHECK(check::missing(check::error_of([&] { bincount(Tensor<int64_t>{1, -2}); }), {"bincount: a negative element", "element 1 is -2"}) == "");
  CHECK(check::missing(check::error_of([&] { histogram(x, 0, 0, 1); }), {"histogram: no bins"}) == "");
}
