#include <gradus/debug/record.hpp>
#include <gradus/debug/graph.hpp>
#include <gradus/ops/elementwise.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/softmax.hpp>

#include <fstream>
#include <sstream>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;
using check::missing;

namespace {
std::string text_of(const std::filesystem::path& p) {
  std::ostringstream s;
  s << std::ifstream(p).rdbuf();
  return s.str();
}
struct Two {
  Tensor<double> w{{1, 2}, {3, 4}}, x{{1, -1}, {0.5, 2}};
  Two() {
    w.set_name("fc.w</script>");
    w.requires_grad_();
  }
  Tensor<double> loss() const { return sum(square(softmax(matmul(x, w)))); }
};
}  // namespace

TEST_CASE("the page holds ops, places, values, gradients and formulas, and no address of a network") {
  const TempDir dir;
  Two net;
  const auto loss = debug::record([&] { return net.loss(); }, (dir / "step.html").string(), "a step");
  CHECK(net.w.grad().defined());
  const std::string page = text_of(dir / "step.html");
  CHECK(missing(page, {"\"title\":\"a step\"", "{\"n\":\"MatmulNode\",\"title\":\"matmul\",\"m\":\"fc\",\"f\":\"record_test.cpp\"", "\"r\":[1,2.5,4,5.4772,0,0]",
                       "\"x\":[1,2,3,4]", "sum(square(softmax(matmul(x, w))))", "dx_c = y_c (dy_c", "\"SoftmaxNode\":{\"y\":", "fc.w\\u003c/script>", "ArrowRight"}) == "");
  CHECK(page.find("http://") == std::string::npos);
  CHECK(page.find("https://") == std::string::npos);
  CHECK(page.find("</script>", page.find("application/json")) == page.find("</script><script>"));   // the name did not end the data
}

TEST_CASE("a recorder made before the forward pass, and what is said without one") {
  const TempDir dir;
  Two net;
  const auto early = net.loss();
  CHECK(missing(check::error_of([&] { debug::record(early, "x.html"); }), {"record: the forward pass was not recorded", "debug::Recorder made before the forward pass"}) == "");
  debug::Recorder r;
  CHECK(missing(check::error_of([&] { debug::write_page(r, "x.html"); }), {"nothing was recorded"}) == "");
  const auto loss = net.loss();
  debug::record(loss, (dir / "a.html").string());
  CHECK(r.visits.size() == 5);
  CHECK(missing(check::error_of([&] { debug::record(loss, (dir / "no" / "a.html").string()); }), {"record: cannot write the page"}) == "");
}

TEST_CASE("large tensors become pictures whose cells are the largest values of their blocks") {
  auto x = zeros<double>({100, 50});
  x.data()[0] = -7, x.data()[4999] = std::nan("");
  const auto s = debug::Snapshot::of(x, 100, 32);
  CHECK(s.values.empty());
  CHECK((s.rows == 32 && s.columns == 32));
  CHECK(s.picture.front() == -7);
  CHECK(std::isnan(s.picture.back()));
  CHECK((s.range.nan == 1 && s.range.first_nan == 4999 && s.range.min == -7));
  const auto t = debug::Snapshot::of(transpose(x, 0, 1), 10000, 4);      // not contiguous
  CHECK((t.values[0] == -7 && std::isnan(t.values[4999]) && t.shape == Shape{50, 100}));
}

TEST_CASE("every formula names its op once, and op names are those of the functions") {
  std::set<std::string> seen;
  for (const auto& f : debug::kFormulas) CHECK(seen.insert(f.op).second);
  CHECK(debug::op_name("UnaryNode<Exp>") == "exp");
  CHECK(debug::op_name("CrossEntropyNode") == "cross_entropy");
  CHECK(debug::op_name("IndexSelectNode") == "index_select");
  CHECK(std::string(debug::formula_of("UnaryNode<Tanh>")->terms[0]) == "dx = dy (1 − y²)");
  CHECK(debug::formula_of("NoSuchNode") == nullptr);
}

TEST_CASE("the graph as text, DOT and SVG") {
  const TempDir dir;
  Two net;
  net.w.set_name("fc.w");
  const auto loss = net.loss();
  CHECK(missing(debug::Graph::of(loss).text(), {"#0  SumNode            []      record_test.cpp:", "<- #1\n", "#3  MatmulNode", "<- - #4\n", "#4  fc.w"}) == "");
  CHECK(missing(debug::Graph::of(loss).dot(), {"digraph gradus", "n1 -> n0;", "n4 [label=\"fc.w\\n[2, 2]\"", "UnaryNode<Square>"}) == "");
  debug::write_graph(loss, (dir / "g.svg").string());
  const std::string svg = text_of(dir / "g.svg");
  CHECK(missing(svg, {"<svg xmlns=", "UnaryNode&lt;Square&gt;", ">fc.w</text>", "</svg>"}) == "");
  CHECK(missing(check::error_of([&] { debug::write_graph(loss, "g.gif"); }), {"an ending that is not known", ".svg, .dot or .txt"}) == "");
  CHECK(missing(check::error_of([&] { debug::Graph::of(net.x); }), {"no graph behind this tensor", "float64 cpu [2, 2]"}) == "");
}
