// Tensors and Eigen matrices share memory, at any strides, as long as somebody needs it.
#include <gradus/interop/eigen.hpp>
#include <gradus/ops/index.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

TEST_CASE("an Eigen map of a tensor is the tensor's memory") {
  const Double x = check::uniform({3, 4});
  auto m = as_eigen(x);
  CHECK((m.rows() == 3 && m.cols() == 4 && m.data() == x.data()));
  m(1, 2) = 7;
  CHECK(x(1, 2).item() == 7);
  const auto t = as_eigen(transpose(x, 0, 1));
  CHECK((t.rows() == 4 && t.cols() == 3 && t(2, 1) == 7));
  const auto column = as_eigen(select(x, 1, 2));
  CHECK((column.rows() == 3 && column.cols() == 1 && column(1, 0) == 7));
  CHECK(as_eigen(scalar<double>(5))(0, 0) == 5);
  CHECK(check::missing(check::error_of([] { as_eigen(zeros<double>({2, 2, 2})); }), {"as_eigen: more than 2 dimensions", "eigen_test.cpp"}) == "");
}

TEST_CASE("a tensor over an Eigen matrix is the matrix's memory, column-major or not") {
  Eigen::MatrixXd m = Eigen::MatrixXd::Random(3, 4);
  const Double x = borrow_eigen(m);
  CHECK(x.shape() == Shape{3, 4});
  CHECK(x.strides() == Shape{1, 3});
  CHECK(x(2, 1).item() == m(2, 1));
  x(0, all).fill_(4);
  CHECK((m.row(0).array() == 4).all());
  Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> r = m;
  CHECK(check::difference(borrow_eigen(r), x, 0, 0) == "");
  CHECK(borrow_eigen(r).is_contiguous());
  Eigen::VectorXf v = Eigen::VectorXf::LinSpaced(5, 0, 4);
  CHECK(borrow_eigen(v).to_vector() == std::vector<float>{0, 1, 2, 3, 4});
  auto block = m.block(1, 1, 2, 2);
  CHECK(borrow_eigen(block)(1, 0).item() == m(2, 1));
}

TEST_CASE("gradients flow through a tensor over foreign memory") {
  Eigen::MatrixXd m = Eigen::MatrixXd::Random(3, 3);
  auto x = borrow_eigen(m);
  x.requires_grad_();
  sum(square(x)).backward();
  CHECK(as_eigen(x.grad()).isApprox(2 * m));
}

TEST_CASE("an adopted matrix lives as long as its tensors") {
  Double row;
  {
    Eigen::MatrixXd m = Eigen::MatrixXd::Constant(100, 200, 3);
    const double* data = m.data();
    const auto x = adopt_eigen(std::move(m));
    CHECK(x.data() == data);
    row = select(x, 0, 5);
  }
  CHECK(sum(row).item() == 600);
}
