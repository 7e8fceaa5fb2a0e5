// Modules one after the other, of any types; the net's type does not grow with its depth.
//
//   nn::Sequential<float> net{nn::Linear{784, 128}, nn::ReLU{}, nn::Linear{128, 10}};
//   auto logits = net(x);
//
// An error inside says where: "at train.cpp:61, in 2:Linear"; the number is the one in parameter paths, e.g. "2.weight".
#pragma once
#include <functional>
#include <memory>

#include <gradus/nn/module.hpp>

namespace gradus::nn {

/// Any module from Tensor<T, D> to Tensor<T, D>. Copies share the module, and its hooks.
template <class T = float, class D = Cpu>
class AnyModule {
 public:
  using value_type = T;
  using device_type = D;

  AnyModule() = default;
  template <class M>
  requires(!std::same_as<std::remove_cvref_t<M>, AnyModule>) AnyModule(M&& m)
      : held_(std::make_shared<Held<std::remove_cvref_t<M>>>(std::forward<M>(m))) {}

  Tensor<T, D> forward(const Tensor<T, D>& x0, Where at = Where::current()) const {
    Tensor<T, D> x = x0;
    for (const auto& [id, hook] : held_->before)
      if (auto other = hook(x); other.defined()) x = other;
    Tensor<T, D> y = held_->forward(x, at);
    for (const auto& [id, hook] : held_->after)
      if (auto other = hook(x, y); other.defined()) y = other;
    return y;
  }
  /// hook(x) runs before the module; what it returns, if defined, takes x's place. Gives a number for remove_hook.
  int before_forward(std::function<Tensor<T, D>(const Tensor<T, D>&)> hook) {
    held_->before.emplace_back(++held_->hooks, std::move(hook));
    return held_->hooks;
  }
  /// hook(x, y) runs after it; what it returns, if defined, takes y's place. For gradients: register_hook(y, ...) inside.
  int after_forward(std::function<Tensor<T, D>(const Tensor<T, D>&, const Tensor<T, D>&)> hook) {
    held_->after.emplace_back(++held_->hooks, std::move(hook));
    return held_->hooks;
  }
  void remove_hook(int id) {
    std::erase_if(held_->before, [id](const auto& h) { return h.first == id; });
    std::erase_if(held_->after, [id](const auto& h) { return h.first == id; });
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(Visitor& v) { held_->visit(v); }
  std::string module_type() const { return held_->type(); }
  std::string about() const { return held_->about(); }
  /// The module inside. Throws when it is not an M.
  template <class M>
  M& as(Where at = Where::current()) const {
    if (auto* held = dynamic_cast<Held<M>*>(held_.get())) return held->m;
    fail("as", "the module is another one", {{"module", module_type()}}, detail::type_name(typeid(M)), at);
  }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual Tensor<T, D> forward(const Tensor<T, D>& x, Where at) = 0;
    virtual void visit(Visitor& v) = 0;
    virtual std::string type() const = 0;
    virtual std::string about() const = 0;
    int hooks = 0;
    std::vector<std::pair<int, std::function<Tensor<T, D>(const Tensor<T, D>&)>>> before;
    std::vector<std::pair<int, std::function<Tensor<T, D>(const Tensor<T, D>&, const Tensor<T, D>&)>>> after;
  };
  template <class M>
  struct Held final : Base {
    M m;
    template <class A>
    explicit Held(A&& a) : m(std::forward<A>(a)) {}
    Tensor<T, D> forward(const Tensor<T, D>& x, Where at) override {
      if constexpr (requires { m.forward(x, at); }) return m.forward(x, at);
      else if constexpr (requires { m.forward(x); }) return m.forward(x);
      else if constexpr (requires { m(x, at); }) return m(x, at);
      else return m(x);
    }
    void visit(Visitor& v) override {
      if constexpr (Module<M>) m.visit(v);
    }
    std::string type() const override {
      if constexpr (requires { m.module_type(); }) return m.module_type();
      else return detail::type_name(typeid(M));
    }
    std::string about() const override {
      if constexpr (requires { m.about(); }) return m.about();
      else return "";
    }
  };
  std::shared_ptr<Base> held_;
};

/// Any module with the call signature R(A...), as Any<std::pair<Tensor<>, Tensor<>>(const Tensor<>&, const Tensor<bool>&)>;
/// std::vector<Any<...>> is a list of such. Copies share the module.
template <class F>
class Any;
template <class R, class... A>
class Any<R(A...)> {
 public:
  Any() = default;
  template <class M>
  requires(!std::same_as<std::remove_cvref_t<M>, Any>) Any(M&& m)
      : held_(std::make_shared<Held<std::remove_cvref_t<M>>>(std::forward<M>(m))) {}

  R forward(A... a) const { return held_->forward(std::forward<A>(a)...); }
  R operator()(A... a) const { return held_->forward(std::forward<A>(a)...); }
  void visit(Visitor& v) { held_->visit(v); }
  std::string module_type() const { return held_->type(); }
  std::string about() const { return held_->about(); }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual R forward(A... a) = 0;
    virtual void visit(Visitor& v) = 0;
    virtual std::string type() const = 0;
    virtual std::string about() const = 0;
  };
  template <class M>
  struct Held final : Base {
    M m;
    template <class X>
    explicit Held(X&& x) : m(std::forward<X>(x)) {}
    R forward(A... a) override {
      if constexpr (requires { m.forward(std::forward<A>(a)...); }) return m.forward(std::forward<A>(a)...);
      else return m(std::forward<A>(a)...);
    }
    void visit(Visitor& v) override {
      if constexpr (Module<M>) m.visit(v);
    }
    std::string type() const override {
      if constexpr (requires { m.module_type(); }) return m.module_type();
      else return detail::type_name(typeid(M));
    }
    std::string about() const override {
      if constexpr (requires { m.about(); }) return m.about();
      else return "";
    }
  };
  std::shared_ptr<Base> held_;
};

template <class T = float, class D = Cpu>
class Sequential {
 public:
  using value_type = T;
  using device_type = D;

  Sequential() = default;
  Sequential(const Sequential&) = default;
  /// Modules, or functions from tensor to tensor.
  template <class... M>
  requires(sizeof...(M) > 0 && !(sizeof...(M) == 1 && (std::same_as<std::remove_cvref_t<M>, Sequential> &&
                                                       ...))) explicit Sequential(M&&... modules) {
    (add(std::forward<M>(modules)), ...);
  }
  Sequential& add(AnyModule<T, D> m) {
    labels_.push_back(std::to_string(modules_.size()) + ":" + m.module_type());
    modules_.push_back(std::move(m));
    return *this;
  }

  Tensor<T, D> forward(Tensor<T, D> x, Where at = Where::current()) const {
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      const ModulePath here(labels_[i].c_str());
      x = modules_[i].forward(x, at);
    }
    return x;
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) {
    for (std::size_t i = 0; i < modules_.size(); ++i) f(std::to_string(i), modules_[i]);
  }

  std::size_t size() const { return modules_.size(); }
  /// Module i; net.at<nn::Linear<>>(0).weight reaches inside.
  AnyModule<T, D>& operator[](std::size_t i) { return checked(i); }
  template <class M>
  M& at(std::size_t i, Where where = Where::current()) {
    return checked(i, where).template as<M>(where);
  }

 private:
  AnyModule<T, D>& checked(std::size_t i, Where at = Where::current()) {
    if (i >= modules_.size())
      fail("Sequential", "no such module", {{"index", std::to_string(i)}}, "an index below " + std::to_string(modules_.size()),
           at);
    return modules_[i];
  }
  std::vector<AnyModule<T, D>> modules_;
  std::vector<std::string> labels_;
};

}  // namespace gradus::nn
