//| # From PyTorch to gradus
//|
//| The names are the field's, so most code translates word by word. What differs is where Python has run-time types and C++ has
//| compile-time ones. Every line of this page runs; `include/gradus/FROM_PYTORCH.md` has 320 names side by side.
#include <cstdio>
#include <iostream>

#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

using namespace gradus;

//| ## Modules
//| `class Net(nn.Module)` becomes a struct; `visit` stands for the registration that Python does behind your back.
struct Net {
  nn::Linear<> fc1{4, 8}, fc2{8, 3};                                     // self.fc1 = nn.Linear(4, 8)
  Tensor<> forward(const Tensor<>& x) const { return fc2(relu(fc1(x))); }  // def forward(self, x)
  void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2); }
};

int main() {
  manual_seed(0);                                   // torch.manual_seed(0)

  //| ## Tensors
  const auto x = randn({2, 4});                     // x = torch.randn(2, 4)
  const auto z = zeros<double>({3});                // z = torch.zeros(3, dtype=torch.float64)
  const auto i = arange<int64_t>(0, 6).reshape({2, 3});  // i = torch.arange(6).reshape(2, 3)
  std::cout << i(all, 1) << " " << i(0, slice(1)) << "\n";   // i[:, 1], i[0, 1:]
  std::cout << i(i > 3) << "\n";                    // i[i > 3]
  std::cout << z.to<float>().shape().str() << " " << x.size(-1) << " " << x.numel() << "\n";  // z.float().shape, x.size(-1), x.numel()
  //> tensor([1, 4], int64 cpu [2]) tensor([1, 2], int64 cpu [2])
  //> tensor([4, 5], int64 cpu [2])
  //> [3] 4 8

  //| ## Ops
  const auto s = softmax(x, -1);                    // s = torch.softmax(x, -1)
  const auto m = matmul(x, transpose(x, 0, 1));     // m = x @ x.T
  const auto e = einsum("ij,kj->ik", std::vector<Tensor<>>{x, x});  // e = torch.einsum("ij,kj->ik", x, x)
  std::printf("%d %d\n", sum(abs(m - e)).item() < 1e-5f, amax(abs(sum(s, {-1}) - 1.0f)).item() < 1e-6f);
  //> 1 1

  //| ## Gradients
  auto w = ones<float>({3}).requires_grad_();       // w = torch.ones(3, requires_grad=True)
  sum(square(w) * 2.0f).backward();                 // (w ** 2 * 2).sum().backward()
  std::cout << w.grad() << "\n";                    // print(w.grad)
  const auto g = grad(sum(exp(w)), w, {.create_graph = true});   // torch.autograd.grad(w.exp().sum(), w, create_graph=True)
  const auto constant = no_grad([&] { return w * 2.0f; });       // with torch.no_grad(): ...
  std::printf("%d %d %d\n", g.requires_grad(), constant.requires_grad(), w.detach().requires_grad());
  //> tensor([4., 4., 4.], float32 cpu [3])
  //> 1 0 0

  //| ## A step
  Net net;                                          // net = Net()
  optim::AdamW adam{net, {.lr = 1e-3}};             // adam = torch.optim.AdamW(net.parameters(), lr=1e-3)
  const Tensor<int64_t> classes{0, 2};
  const auto loss = cross_entropy(net.forward(x), classes);      // F.cross_entropy(net(x), classes)
  adam.zero_grad();
  loss.backward();
  adam.step();
  std::printf("%lld parameters\n", static_cast<long long>(nn::parameter_count(net)));
  const auto state = nn::state_dict(net);           // state = net.state_dict()
  for (const auto& [name, t] : state) std::printf("%s %s\n", name.c_str(), t.shape().str().c_str());
  nn::load_state_dict(net, state);                  // net.load_state_dict(state)
  //> 67 parameters
  //> fc1.bias [8]
  //> fc1.weight [8, 4]
  //> fc2.bias [3]
  //> fc2.weight [3, 8]

  //| ## What differs
  //| - Element type and device are in the type: `Tensor<double, Cuda>`. Adding a float to a double tensor does not compile; `x.to<double>()`
  //|   converts, visibly.
  //| - `x(i, all)` instead of `x[i, :]`; `slice(a, b, step)` instead of `a:b:step`; `newaxis` instead of `None`.
  //| - Ops are functions: `relu(x)`, `reshape(x, {2, 3})`; a few are members too.
  //| - In-place writes are `+=`, `copy_`, `fill_`; overwriting what a backward pass needs is an error that names both lines.
  //| - A parameter that the loss does not reach is an error in `grad()`, and `debug::explain` says where the path ends.
  //| - Random numbers do not depend on threads or devices. A dropout mask is made again in backward, not stored.
  //| - `p` in dropout drops, as in PyTorch.
}
