#include <gradus/training/meters.hpp>

#include "support/check.hpp"

using namespace gradus;
using namespace gradus::training;

TEST_CASE("means, confusion matrices, top-k", "[training]") {
  Mean m;
  CHECK(std::isnan(m.value()));
  m.add(1, 3), m.add(5);
  CHECK(m.value() == 2);
  Mean again;
  again.load_state_dict(m.state_dict());
  CHECK(again.weight() == 4);
  Smooth s(0.5);
  s.add(4);
  CHECK(s.value() == 4);  // corrected for its start
  s.add(1);
  CHECK(s.value() == Approx((0.25 * 4 + 0.5 * 1) / 0.75));
  Confusion c(3);
  c.add(Tensor<float>{{3, 1, 0}, {0, 2, 1}, {0, 5, 1}, {1, 1, 0}}, Tensor<int64_t>{0, 1, 0, 1});
  CHECK((c.count(0, 0) == 1 && c.count(0, 1) == 1 && c.count(1, 1) == 1 && c.count(1, 0) == 1));  // the first of equals
  CHECK(c.accuracy() == 0.5);
  c.add(2, 2);
  CHECK(c.recall(0) == 0.5);
  CHECK(c.precision(1) == 0.5);
  CHECK(c.balanced_accuracy() == Approx(2.0 / 3));
  CHECK(c.f1(2) == 1);
  CHECK(c.macro_f1() == Approx(2.0 / 3));
  Confusion d(3);
  d.load_state_dict(c.state_dict());
  CHECK(d.total() == 5);
  CHECK(check::missing(check::error_of([&] { c.add(3, 0); }), {"Confusion", "out of range", "3", "0 to 2"}) == "");
  CHECK(check::missing(check::error_of([&] { c.add(Tensor<float>{{1, 2}}, Tensor<int64_t>{0}); }), {"Confusion", "[1, 2]", "[N, 3]"}) == "");
  CHECK(top_k_accuracy(Tensor<float>{{3, 1, 2}, {3, 1, 2}}, Tensor<int64_t>{2, 1}, 2) == 0.5);
  CHECK(top_k_accuracy(Tensor<float>{{1, 1, 1}}, Tensor<int64_t>{1}, 1) == 0);
  CHECK(check::missing(check::error_of([&] { top_k_accuracy(Tensor<float>{{1, 2}}, Tensor<int64_t>{0}, 3); }), {"top_k_accuracy", "1 <= k <= C"}) == "");
}

TEST_CASE("expected calibration error", "[training]") {
  const auto row = [](double p) { return static_cast<float>(std::log(p / (1 - p))); };  // two classes: the first has probability p
  const Tensor<float> logits{{row(0.9), 0}, {row(0.9), 0}, {row(0.9), 0}, {row(0.6), 0}};
  // Bin of 0.9: 3 rows, 2 right; bin of 0.6: 1 row, right.
  CHECK(expected_calibration_error(logits, Tensor<int64_t>{0, 0, 1, 0}, 10) == Approx(0.75 * (0.9 - 2.0 / 3) + 0.25 * 0.4).margin(1e-6));
  CHECK(expected_calibration_error(logits, Tensor<int64_t>{0, 0, 1, 0}, 1) == Approx(0.825 - 0.75).margin(1e-6));
  CHECK(expected_calibration_error(Tensor<float>{{100, -100}}, Tensor<int64_t>{0}) == 0);
  CHECK(check::missing(check::error_of([&] { expected_calibration_error(logits, Tensor<int64_t>{0}); }),
                       {"expected_calibration_error", "[4, 2]", "targets [N]"}) == "");
}

TEST_CASE("early stopping", "[training]") {
  EarlyStopping stop({.patience = 2, .min_delta = 0.1});
  CHECK(stop.report(1));
  CHECK_FALSE(stop.report(0.95));  // not by more than min_delta
  CHECK_FALSE(stop.stop());
  CHECK(stop.report(0.5));
  CHECK_FALSE(stop.report(std::nan("")));
  EarlyStopping other({.patience = 2, .min_delta = 0.1});
  other.load_state_dict(stop.state_dict());
  CHECK_FALSE(other.report(0.45));
  CHECK(other.stop());
  CHECK((other.best() == 0.5 && other.best_report() == 2));
  EarlyStopping up({.patience = 1, .maximize = true});
  CHECK(up.report(1));
  CHECK(up.report(2));
  CHECK_FALSE(up.report(2));
  CHECK(up.stop());
  CHECK(check::missing(check::error_of([] { EarlyStopping({.patience = 0}); }), {"EarlyStopping", "patience", "meters_test.cpp"}) == "");
}
