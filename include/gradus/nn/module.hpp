// What a module is: a struct with members, forward(x), and visit(f), which names the members.
//
//   struct Mlp {
//     nn::Linear<> fc1{784, 128}, fc2{128, 10};
//     Tensor<float> forward(const Tensor<float>& x) { return fc2(relu(fc1(x))); }
//     void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2); }
//   };
//
// f takes a parameter (a tensor), a buffer (a tensor and the tag `nn::buffer`: state that is saved, not trained), a switch
// (`bool& training`), a rate (a number and the tag `nn::rate`), a sub-module, or a std::vector of them. Everything here is a
// free function over visit: parameters(net), state_dict(net), train(net), eval(net), freeze(net, "encoder"), summary(net),
// tree(net). A copy of a module shares its tensors, as a copy of a tensor does: `head.weight = embedding.weight` ties two
// layers, and parameters() has that tensor once.
//
// Hooks: Sequential holds its modules as AnyModule, which has before_forward and after_forward; a member that should have hooks
// can be one, `AnyModule<float> fc = nn::Linear{784, 128}`. Gradients have register_hook (autograd/engine.hpp).
//
// Another device: a layer of this library whose last template arguments are <T, D> is moved by to<Cuda>(layer). For any other
// module, write it as a template over D, build it there and take the values: copy_state(cpu_net, cuda_net).
#pragma once
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include <cxxabi.h>

#include <gradus/ops/create.hpp>

namespace gradus::nn {

struct BufferTag {};
/// Marks a tensor as state: f("running_mean", running_mean, nn::buffer).
inline constexpr BufferTag buffer{};
struct RateTag {};
/// Marks a number that schedules change while training: f("p", p, nn::rate) of a dropout.
inline constexpr RateTag rate{};
struct StaysTag {};
/// Marks the switch that keeps a layer random in evaluation: f("monte_carlo", monte_carlo, nn::stays).
inline constexpr StaysTag stays{};

class Visitor;
/// What has members to name.
template <class M>
concept Module = requires(M& m, Visitor& v) {
  m.visit(v);
};

namespace detail {
/// "Linear" of gradus::nn::Linear<float, gradus::Cpu>
inline std::string type_name(const std::type_info& type) {
  int status = 0;
  char* text = abi::__cxa_demangle(type.name(), nullptr, nullptr, &status);
  std::string s = text ? text : type.name();
  std::free(text);
  s = s.substr(0, s.find('<'));
  const auto colon = s.rfind("::");
  return colon == std::string::npos ? s : s.substr(colon + 2);
}
}  // namespace detail

/// Goes through a module and its sub-modules. Types are erased here, so that Sequential can pass it on.
class Visitor {
 public:
  virtual ~Visitor() = default;
  /// A tensor; `path` as in "0.weight".
  virtual void tensor(const std::string& path, AnyTensor& x, bool is_buffer) = 0;
  virtual void flag(const std::string& path, bool& value) { (void)path, (void)value; }
  virtual void number(const std::string& path, double& value) { (void)path, (void)value; }      ///< a rate
  virtual void stays_random(const std::string& path, bool& value) { (void)path, (void)value; }
  /// A module begins and ends; `about` is what it says of itself.
  virtual void enter(const std::string& path, const std::string& type, const std::string& about) {
    (void)path, (void)type, (void)about;
  }
  virtual void leave() {}

  template <class T, class D>
  void operator()(const std::string& name, Tensor<T, D>& x) {
    visit_tensor(name, x, false);
  }
  template <class T, class D>
  void operator()(const std::string& name, Tensor<T, D>& x, BufferTag) {
    visit_tensor(name, x, true);
  }
  void operator()(const std::string& name, bool& value) { flag(path_ + name, value); }
  void operator()(const std::string& name, bool& value, StaysTag) { stays_random(path_ + name, value); }
  void operator()(const std::string& name, double& value, RateTag) { number(path_ + name, value); }
  template <Module M>
  void operator()(const std::string& name, M& m) {
    const std::size_t before = path_.size();
    if constexpr (requires { m.module_type(); }) enter(path_ + name, m.module_type(), m.about());
    else if constexpr (requires { m.about(); }) enter(path_ + name, detail::type_name(typeid(M)), m.about());
    else enter(path_ + name, detail::type_name(typeid(M)), "");
    if (!name.empty()) path_ += name + ".";
    m.visit(*this);
    path_.resize(before);
    leave();
  }
  template <Module M>
  void operator()(const std::string& name, std::vector<M>& list) {
    for (std::size_t i = 0; i < list.size(); ++i) (*this)(name + "." + std::to_string(i), list[i]);
  }

 private:
  void visit_tensor(const std::string& name, AnyTensor& x, bool is_buffer) {
    if (x.defined()) tensor(path_ + name, x, is_buffer);
  }
  std::string path_;
};

namespace detail {
template <class M>
struct ElementOf {
  using type = float;
};
template <class M>
requires requires { typename M::value_type; }
struct ElementOf<M> {
  using type = typename M::value_type;
};
template <class M>
struct DeviceOf {
  using type = Cpu;
};
template <class M>
requires requires { typename M::device_type; }
struct DeviceOf<M> {
  using type = typename M::device_type;
};

template <class F>
struct TensorVisitor final : Visitor {
  F f;
  explicit TensorVisitor(F f) : f(std::move(f)) {}
  void tensor(const std::string& path, AnyTensor& x, bool is_buffer) override { f(path, x, is_buffer); }
};
template <class M, class F>
void each_tensor(M& net, F f) {
  TensorVisitor<F> v(std::move(f));
  v("", net);
}
}  // namespace detail

/// The element type and the device of a module's parameters: its value_type and device_type, float on Cpu without them.
template <class M>
using element_of = typename detail::ElementOf<M>::type;
template <class M>
using device_type_of = typename detail::DeviceOf<M>::type;
template <class M>
using tensor_of = Tensor<element_of<M>, device_type_of<M>>;

/// The parameters with their paths, e.g. "0.weight"; a tensor that two members share comes once, under its first path.
/// Unnamed ones get the path as their name, for error texts.
template <Module M>
std::vector<std::pair<std::string, tensor_of<M>>> named_parameters(M& net, Where at = Where::current()) {
  std::vector<std::pair<std::string, tensor_of<M>>> list;
  std::set<const TensorImpl*> seen;
  detail::each_tensor(net, [&](const std::string& path, AnyTensor& x, bool is_buffer) {
    if (is_buffer || !seen.insert(x.impl()).second) return;
    if (x.name().empty()) x.set_name(path);
    if (!x.template is<element_of<M>, device_type_of<M>>())
      fail("parameters", "a parameter has another dtype or device than the module says", {{path, describe(x)}},
           "its type in the module's value_type and device_type (float and Cpu without them)", at);
    list.emplace_back(path, x.template as<element_of<M>, device_type_of<M>>(at));
  });
  return list;
}
template <Module M>
std::vector<tensor_of<M>> parameters(M& net, Where at = Where::current()) {
  std::vector<tensor_of<M>> list;
  for (auto& [path, x] : named_parameters(net, at)) list.push_back(x);
  return list;
}
/// Those that require gradients: what an optimiser should get when parts are frozen.
template <Module M>
std::vector<tensor_of<M>> trainable_parameters(M& net, Where at = Where::current()) {
  std::vector<tensor_of<M>> list;
  for (auto& [path, x] : named_parameters(net, at))
    if (x.requires_grad()) list.push_back(x);
  return list;
}
/// How many numbers the parameters have, shared ones counted once.
template <Module M>
int64_t parameter_count(M& net) {
  int64_t n = 0;
  std::set<const TensorImpl*> seen;
  detail::each_tensor(net, [&](const std::string&, AnyTensor& x, bool is_buffer) {
    if (!is_buffer && seen.insert(x.impl()).second) n += x.numel();
  });
  return n;
}
/// Switches gradients of the parameters under a path ("encoder", "encoder.0.weight"; "": all) on or off; gives how many
/// tensors.
template <Module M>
int64_t set_trainable(M& net, const std::string& prefix, bool on, Where at = Where::current()) {
  int64_t n = 0;
  std::string paths;
  detail::each_tensor(net, [&](const std::string& path, AnyTensor& x, bool is_buffer) {
    if (is_buffer) return;
    paths += (paths.empty() ? "" : ", ") + path;
    if (!prefix.empty() && path != prefix && path.rfind(prefix + ".", 0) != 0) return;
    if (!x.is_leaf()) fail("set_trainable", "not a leaf", {{path, describe(x)}}, "a tensor that no op made", at);
    x.impl()->requires_grad = on;
    ++n;
  });
  if (n == 0) fail("set_trainable", "no parameter has this path", {{"prefix", prefix}}, "one of: " + paths, at);
  return n;
}
template <Module M>
int64_t freeze(M& net, const std::string& prefix = "", Where at = Where::current()) {
  return set_trainable(net, prefix, false, at);
}
template <Module M>
int64_t unfreeze(M& net, const std::string& prefix = "", Where at = Where::current()) {
  return set_trainable(net, prefix, true, at);
}
template <Module M>
void zero_grad(M& net, Where at = Where::current()) {
  for (const auto& x : parameters(net, at)) x.zero_grad();
}

/// Parameters and buffers by path; the tensors are the module's own, not copies.
using StateDict = std::map<std::string, AnyTensor>;
template <Module M>
StateDict state_dict(M& net) {
  StateDict state;
  detail::each_tensor(net, [&](const std::string& path, AnyTensor& x, bool) { state[path] = x; });
  return state;
}
/// Copies values into the module's tensors. Paths, dtypes and shapes must match, in both directions.
template <Module M>
void load_state_dict(M& net, const StateDict& state, Where at = Where::current()) {
  std::size_t used = 0;
  const NoGrad guard;
  detail::each_tensor(net, [&](const std::string& path, AnyTensor& x, bool) {
    const auto found = state.find(path);
    if (found == state.end())
      fail("load_state_dict", "a tensor is missing", {{path, describe(x)}}, "an entry \"" + path + "\"", at);
    const AnyTensor& y = found->second;
    if (y.dtype() != x.dtype() || y.device() != x.device() || !(y.shape() == x.shape()))
      fail("load_state_dict", "a tensor does not fit", {{"module", describe(x)}, {"state", describe(y)}, {"path", path}},
           "the module's dtype, device and shape", at);
    x.template as<element_of<M>, device_type_of<M>>(at).copy_(y.template as<element_of<M>, device_type_of<M>>(at), at);
    ++used;
  });
  if (used != state.size()) {
    const StateDict own = state_dict(net);
    for (const auto& [path, y] : state)
      if (!own.contains(path))
        fail("load_state_dict", "the module has no such tensor", {{path, describe(y)}}, "only the module's paths", at);
  }
}
/// A copy of the values, for load_state_dict later.
template <Module M>
StateDict clone_state(M& net, Where at = Where::current()) {
  StateDict state = state_dict(net);
  const NoGrad guard;
  for (auto& [path, x] : state) x = x.template as<element_of<M>, device_type_of<M>>(at).clone(at);
  return state;
}

/// The values of one module in another of equal structure, of any floating dtype, on any device.
template <Module From, Module To>
void copy_state(From& from, To& to, Where at = Where::current()) {
  using T = element_of<To>;
  using D = device_type_of<To>;
  const StateDict state = state_dict(from);
  std::size_t used = 0;
  const NoGrad guard;
  detail::each_tensor(to, [&](const std::string& path, AnyTensor& x, bool) {
    const auto found = state.find(path);
    if (found == state.end() || !(found->second.shape() == x.shape()))
      fail("copy_state", "no tensor of this path and shape", {{path, describe(x)}}, "modules of equal structure", at);
    const auto y = found->second.template as<element_of<From>, device_type_of<From>>(at);
    x.template as<T, D>(at).copy_(to_device<D>(cast<T>(y, at), at), at);
    ++used;
  });
  if (used != state.size())
    fail("copy_state", "the modules have different tensors",
         {{"from", std::to_string(state.size()) + " tensors"}, {"to", std::to_string(used)}}, "modules of equal structure", at);
}

namespace detail {
template <class M, class E>
struct OnDevice;
template <template <class, class> class M, class T, class D, class E>
struct OnDevice<M<T, D>, E> {
  using type = M<T, E>;
};
template <template <int, class, class> class M, int N, class T, class D, class E>
struct OnDevice<M<N, T, D>, E> {
  using type = M<N, T, E>;
};
}  // namespace detail

/// A copy of a parameter or buffer as T on D, undefined when x is; what converting constructors of layers use.
template <class T, class D, class U, class E>
Tensor<T, D> converted(const Tensor<U, E>& x, Where at = Where::current()) {
  if (!x.defined()) return {};
  const NoGrad guard;
  Tensor<T, D> y = clone(to_device<D>(cast<T>(x, at), at), at);
  if (!x.name().empty()) y.set_name(x.name());
  y.requires_grad_(x.requires_grad(), at);
  return y;
}
/// A copy of a layer on device E, as to<Cuda>(layer). The layer has a constructor from itself with other <T, D>.
template <class E, Module M>
auto to(const M& layer, Where at = Where::current()) {
  using R = typename detail::OnDevice<M, E>::type;
  static_assert(std::is_constructible_v<R, const M&, Where>,
                "gradus: this module cannot be moved; build it on the device and use copy_state(from, to)");
  return R(layer, at);
}

namespace detail {
struct TrainingVisitor final : Visitor {
  bool on;
  explicit TrainingVisitor(bool on) : on(on) {}
  void tensor(const std::string&, AnyTensor&, bool) override {}
  void flag(const std::string&, bool& value) override { value = on; }
};
struct SummaryVisitor final : Visitor {
  struct Row {
    std::size_t depth;
    std::string name, text;
    int64_t own = 0;
  };
  bool tensors;  // a line for each tensor too
  std::vector<Row> rows;
  std::vector<std::size_t> open;  // rows of the modules that have begun
  std::set<const TensorImpl*> seen;
  int64_t trained = 0, frozen = 0, state = 0;
  explicit SummaryVisitor(bool tensors) : tensors(tensors) {}
  void tensor(const std::string& path, AnyTensor& x, bool is_buffer) override {
    const bool shared = !seen.insert(x.impl()).second;
    if (tensors)
      rows.push_back({open.size(), path.substr(path.rfind('.') == std::string::npos ? 0 : path.rfind('.') + 1),
                      gradus::describe(x.dtype(), x.device(), x.shape()) + (shared              ? ", shared"
                                                                            : is_buffer         ? ", state"
                                                                            : x.requires_grad() ? ""
                                                                                                : ", frozen")});
    if (shared) return;
    (is_buffer ? state : x.requires_grad() ? trained : frozen) += x.numel();
    if (!is_buffer)
      for (const std::size_t r : open) rows[r].own += x.numel();
  }
  void enter(const std::string& path, const std::string& type, const std::string& about) override {
    const auto dot = path.rfind('.');
    rows.push_back(
        {open.size(), dot == std::string::npos ? path : path.substr(dot + 1), type + (about.empty() ? "" : "(" + about + ")")});
    open.push_back(rows.size() - 1);
  }
  void leave() override { open.pop_back(); }
};
}  // namespace detail

/// Training: dropout drops, batch norm uses the batch. A module's switches are its `bool training` members.
template <Module M>
void train(M& net, bool on = true) {
  detail::TrainingVisitor v(on);
  v("", net);
}
template <Module M>
void eval(M& net) {
  train(net, false);
}

namespace detail {
template <class M>
std::string summary_text(M& net, bool tensors) {
  SummaryVisitor v(tensors);
  v("", net);
  std::string s;
  std::size_t width = 0;
  const auto head = [](const auto& r) {
    return std::string(2 * r.depth, ' ') + (r.name.empty() ? "" : r.name + "  ") + r.text;
  };
  for (const auto& r : v.rows) width = std::max(width, head(r).size());
  for (const auto& r : v.rows) {
    const std::string h = head(r);
    s += h + (r.own ? std::string(width + 2 - h.size(), ' ') + std::to_string(r.own) : "") + "\n";
  }
  return s + std::to_string(v.trained + v.frozen) + " parameters" +
         (v.frozen ? ", " + std::to_string(v.frozen) + " frozen" : "") +
         (v.state ? ", " + std::to_string(v.state) + " numbers of state" : "") + "\n";
}
}  // namespace detail

/// One line a module with its number of parameters, indented as they nest; shared tensors count where they come first.
template <Module M>
std::string summary(M& net) {
  return detail::summary_text(net, false);
}
/// The same with a line for each tensor: its dtype, device and shape, and whether it is shared, frozen or state.
template <Module M>
std::string tree(M& net) {
  return detail::summary_text(net, true);
}

}  // namespace gradus::nn
