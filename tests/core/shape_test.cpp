// Shape: the short inline list of extents.
#include <gradus/core/error.hpp>
#include <gradus/core/shape.hpp>

#include "support/catch.hpp"

using gradus::Shape;

TEST_CASE("a shape is a value") {
  const Shape s{2, 3, 4};
  CHECK(s.rank() == 3);
  CHECK(s.numel() == 24);
  CHECK(s.back() == 4);
  CHECK(s.str() == "[2, 3, 4]");
  Shape t = s;
  t[1] = 5;
  CHECK(s[1] == 3);
  CHECK(t.str() == "[2, 5, 4]");
  CHECK(!(s == t));
  CHECK(s == Shape(std::vector<int64_t>{2, 3, 4}));
}

TEST_CASE("the empty shape is a scalar, an extent of 0 an empty tensor") {
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{}.str() == "[]");
  CHECK(Shape{3, 0, 2}.numel() == 0);
  CHECK(!(Shape{} == Shape{1}));
}

TEST_CASE("insert, erase, push_back, contains") {
  Shape s{2, 4};
  s.insert(1, 3);
  CHECK(s == Shape{2, 3, 4});
  s.insert(0, 1);
  s.insert(4, 5);
  CHECK(s == Shape{1, 2, 3, 4, 5});
  s.erase(0);
  s.erase(3);
  CHECK(s == Shape{2, 3, 4});
  s.push_back(7);
  CHECK(s.contains(7));
  CHECK(!s.contains(8));
}

TEST_CASE("eight dimensions fit, nine are an error") {
  Shape s{1, 2, 3, 4, 5, 6, 7, 8};
  CHECK(s.numel() == 40320);
  CHECK_THROWS_AS(s.push_back(9), gradus::Error);
  CHECK_THROWS_AS(Shape({1, 2, 3, 4, 5, 6, 7, 8, 9}), gradus::Error);
}
