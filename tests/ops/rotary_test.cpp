// Rotary positions and patches: what they promise exactly.
#include <gradus/ops/patch.hpp>
#include <gradus/ops/rotary.hpp>

#include "support/check.hpp"

using namespace gradus;

TEST_CASE("rotary embedding turns pairs by angles that grow with position") {
  for (const auto pairs : {RopePairs::half, RopePairs::adjacent}) {
    const auto table = rope_table<double>(3, 2, 4, 100, pairs);  // positions 3, 4; frequencies 1 and 1/10
    const Tensor<double> x{{1, 2, 3, 4}, {1, 2, 3, 4}};
    const auto y = rope(x, table);
    const int64_t b = pairs == RopePairs::half ? 2 : 1, second = pairs == RopePairs::half ? 1 : 2;
    for (int64_t t = 0; t < 2; ++t) {
      const double w = static_cast<double>(3 + t), a0 = static_cast<double>(1), b0 = static_cast<double>(1 + b);
      CHECK(y(t, 0).item() == Approx(a0 * std::cos(w) - b0 * std::sin(w)));
      CHECK(y(t, b).item() == Approx(a0 * std::sin(w) + b0 * std::cos(w)));
      const double a1 = static_cast<double>(1 + second), b1 = a1 + static_cast<double>(b);
      CHECK(y(t, second).item() == Approx(a1 * std::cos(w / 10) - b1 * std::sin(w / 10)));
    }
    // Products depend on the difference of positions only, and lengths stay.
    const auto q = check::uniform({1, 4}), k = check::uniform({1, 4}, -1, 1, 2);
    const auto at = [&](const Tensor<double>& v, int64_t p) { return rope(v, rope_table<double>(p, 1, 4, 100, pairs)); };
    CHECK(sum(at(q, 5) * at(k, 2)).item() == Approx(sum(at(q, 9) * at(k, 6)).item()));
    CHECK(sum(square(at(q, 7))).item() == Approx(sum(square(q)).item()));
    check::gradients([&](const Tensor<double>& v) { return rope(v, rope_table<double>(0, 3, 4, 100, pairs)); },
                     check::uniform({2, 3, 6}));
  }
}

TEST_CASE("rotary embedding of images, of parts, and its errors") {
  const auto table = rope_table_2d<double>(2, 3, 8);
  CHECK(table.cos.shape() == Shape{6, 4});
  const auto line = rope_table<double>(0, 3, 4, 100);
  CHECK(check::difference(narrow(narrow(table.cos, 0, 3, 3), 1, 2, 2), line.cos) ==
        "");  // second row: columns turn as in a line
  const auto x = check::uniform({3, 6});
  CHECK(check::difference(narrow(rope(x, rope_table<double>(0, 3, 4)), 1, 4, 2), narrow(x, 1, 4, 2), 0, 0) == "");
  CHECK(check::difference(rope_table<double>(0, 5, 4, 10000, RopePairs::half, 2).cos,
                          rope_table<double>(Tensor<double>{0, 0.5, 1, 1.5, 2}, 4).cos) == "");
  CHECK(check::missing(check::error_of([&] { rope(x, rope_table<double>(0, 4, 4)); }),
                       {"the table does not match", "[3, 6]"}) == "");
  CHECK(check::contains(check::error_of([] { rope_table<double>(0, 4, 3); }), "R even"));
}

TEST_CASE("patches and back") {
  const auto x = check::uniform({2, 3, 4, 6});
  for (const auto order : {PatchOrder::channels_last, PatchOrder::channels_first}) {
    const auto tokens = patchify(x, 2, 3, order);
    CHECK(tokens.shape() == Shape{2, 4, 18});
    CHECK(check::difference(unpatchify(tokens, 2, 2, 2, 3, order), x, 0, 0) == "");
  }
  CHECK(patchify(x, 2, 3)(1, 3, 1).item() == x(1, 1, 2, 3).item());  // channel 1 of the last patch's first pixel
  CHECK(patchify(x, 2, 3, PatchOrder::channels_first)(1, 3, 1).item() == x(1, 0, 2, 4).item());
  check::gradients([](const Tensor<double>& v) { return unpatchify(patchify(v, 2, 1), 2, 3, 1, 2); },
                   check::uniform({1, 2, 4, 3}));
  CHECK(check::missing(check::error_of([&] { patchify(x, 3, 3); }), {"patchify", "[2, 3, 4, 6]"}) == "");
  CHECK(check::contains(check::error_of([&] { unpatchify(x, 2, 2, 2, 2); }), "unpatchify"));
}

TEST_CASE("a box of one tensor pasted into another") {
  const auto x = check::uniform({2, 3, 4, 5}), source = check::uniform({2, 3, 4, 5}, -1, 1, 2);
  const auto y = paste_box(x, source, 1, 3, 2, 5);
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t j = 0; j < 5; ++j) CHECK(y(1, 2, i, j).item() == (i >= 1 && i < 3 && j >= 2 ? source : x)(1, 2, i, j).item());
  CHECK(paste_box(x, source, 0, 4, 0, 5).to_vector() == source.to_vector());
  CHECK(paste_box(x, source, 2, 2, 0, 5).to_vector() == x.to_vector());
  check::gradients([](const check::List& v) { return square(paste_box(v[0], v[1], 0, 2, 1, 3)); },
                   check::List{check::uniform({1, 2, 3, 4}), check::uniform({1, 2, 3, 4}, -1, 1, 2)});
  CHECK(check::missing(check::error_of([&] { paste_box(x, source, 1, 5, 0, 5); }),
                       {"paste_box", "1 to 5", "[2, 3, 4, 5]", "y1 <= H"}) == "");
  CHECK(check::contains(check::error_of([&] { paste_box(x, narrow(source, 0, 0, 1), 0, 1, 0, 1); }), "one shape"));
}
