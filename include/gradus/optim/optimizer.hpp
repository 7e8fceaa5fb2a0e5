// What optimisers share: parameters with their paths, groups with their own options, states by PyTorch's names, the check that
// each parameter got a gradient, and state_dict() for checkpoints.
//
//   optim::AdamW opt(net, {.lr = 1e-3, .weight_decay = 0.1});
//   opt.group("*.bias").weight_decay = 0;       // parameters by path, `*` stands for any text
//   opt.group("head.*").lr_scale = 10;          // steps are lr * lr_scale; set_lr() sets the lr of all groups
//   ...
//   opt.zero_grad();
//   loss.backward();
//   opt.step();
#pragma once
#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <gradus/kernels/optim.hpp>
#include <gradus/nn/module.hpp>

namespace gradus::optim {

namespace detail {
/// The checks of options: `op` is the optimiser.
inline void check_in(const char* op, const char* option, double v, double lo, double hi, Where at) {
  if (!(v >= lo && v <= hi))
    fail(op, "an option is out of range", {{option, std::to_string(v)}},
         "a number in [" + std::to_string(lo) + ", " + (std::isinf(hi) ? "infinity)" : std::to_string(hi) + "]"), at);
}
inline void check_positive(const char* op, const char* option, double v, Where at) {
  if (!(v > 0) || !std::isfinite(v)) fail(op, "an option is out of range", {{option, std::to_string(v)}}, "a number > 0", at);
}
inline void check_not_negative(const char* op, const char* option, double v, Where at) {
  if (!(v >= 0) || !std::isfinite(v))
    fail(op, "an option is out of range", {{option, std::to_string(v)}}, "a finite number >= 0", at);
}
/// A decay rate of an average: 0 <= beta < 1.
inline void check_beta(const char* op, const char* option, double b, Where at) {
  if (!(b >= 0 && b < 1)) fail(op, "a decay rate is out of range", {{option, std::to_string(b)}}, "0 <= beta < 1", at);
}
inline void check_lr(const char* op, double lr, Where at) {
  if (!(lr >= 0) || !std::isfinite(lr))
    fail(op, "not a learning rate", {{"lr", std::to_string(lr)}}, "a finite number >= 0", at);
}

/// Whether `text` matches `pattern`, in which each `*` stands for any text.
inline bool matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = pattern.npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') star = p++, mark = t;
    else if (p < pattern.size() && pattern[p] == text[t]) ++p, ++t;
    else if (star != pattern.npos) p = star + 1, t = ++mark;
    else return false;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

/// Writes the values of `from`, a host tensor or one on D, into `to`, which has the same dtype and shape.
template <class U, class D>
void assign(Tensor<U, D> to, const AnyTensor& from, Where at) {
  const NoGrad guard;
  if (from.device() == device_of<D>) to.copy_(from.as<U, D>(at), at);
  else to.copy_(to_device<D>(from.as<U, Cpu>(at), at), at);
}
}  // namespace detail

/// The states an element-wise step uses, in the order of its kernel; -1: none.
struct Slots {
  int s0 = -1, s1 = -1, s2 = -1, s3 = -1;
};

template <class T, class D>
class OptimizerBase {
 public:
  using value_type = T;
  using device_type = D;
  using Params = std::vector<Tensor<T, D>>;
  using Compute = Tensor<compute_t<T>, D>;  ///< states, and what steps compute in

  virtual ~OptimizerBase() = default;

  void zero_grad() const {
    for (const auto& p : params_) p.zero_grad();
  }
  const Params& params() const { return params_; }
  /// The path of a parameter, "fc1.weight"; its number where it has none.
  const std::string& path(std::size_t i) const { return paths_[i]; }
  /// How many steps parameter i has made: one without a gradient makes none.
  int64_t steps(std::size_t i) const { return steps_[i]; }

  /// Parameters' states as "<path>.<state>" under PyTorch's names ("exp_avg", "momentum_buffer", ...), "<path>.step", the
  /// learning rates, and what an optimiser keeps besides. The tensors are the optimiser's own, not copies.
  nn::StateDict state_dict() {
    nn::StateDict dict;
    for (std::size_t i = 0; i < params_.size(); ++i) {
      dict[paths_[i] + ".step"] = scalar<int64_t>(steps_[i]);
      for (const auto& s : states_)
        if (i < s.of.size() && s.of[i].defined()) dict[paths_[i] + "." + s.name] = s.of[i];
      for (const auto& v : numbers_) dict[paths_[i] + "." + v.name] = scalar<double>(v.of[i]);
    }
    for (const auto& v : values_) dict[v.first] = scalar<double>(v.second);
    const auto lrs = group_lrs();
    for (std::size_t k = 0; k < lrs.size(); ++k) dict[lr_name(k)] = scalar<double>(*lrs[k]);
    save_more(dict);
    return dict;
  }
  /// Every parameter's step must be there, names, dtypes and shapes must fit, and nothing may be left over.
  void load_state_dict(const nn::StateDict& dict, Where at = Where::current()) {
    std::size_t used = 0;
    const auto need = [&](const std::string& name) -> const AnyTensor& {
      const auto found = dict.find(name);
      if (found == dict.end())
        fail("load_state_dict", "an entry of the optimiser is missing", {{"optimiser", op_}}, "\"" + name + "\"", at);
      return ++used, found->second;
    };
    for (std::size_t i = 0; i < params_.size(); ++i) {
      steps_[i] = need(paths_[i] + ".step").template as<int64_t, Cpu>(at).item();
      for (auto& s : states_) {
        s.of.resize(params_.size());
        const auto found = dict.find(paths_[i] + "." + s.name);
        if (found == dict.end()) {
          s.of[i] = {};
          continue;
        }
        ++used;
        const AnyTensor& from = found->second;
        if (from.dtype() != dtype_of<compute_t<T>> || (s.like_param && !(from.shape() == params_[i].shape())))
          fail("load_state_dict", "a state does not fit", {{found->first, describe(from)}, {"parameter", describe(params_[i])}},
               std::string(name_of(dtype_of<compute_t<T>>)) + " of the parameter's shape", at);
        if (!s.of[i].defined() || !(s.of[i].shape() == from.shape())) s.of[i] = Compute(from.shape(), at);
        detail::assign(s.of[i], from, at);
      }
      for (auto& v : numbers_) v.of[i] = need(paths_[i] + "." + v.name).template as<double, Cpu>(at).item();
    }
    for (auto& v : values_) v.second = need(v.first).template as<double, Cpu>(at).item();
    const auto lrs = group_lrs();
    for (std::size_t k = 0; k < lrs.size(); ++k) *lrs[k] = need(lr_name(k)).template as<double, Cpu>(at).item();
    used += load_more(dict, at);
    if (used == dict.size()) return;
    const auto own = state_dict();
    for (const auto& [name, x] : dict)
      if (!own.contains(name))
        fail("load_state_dict", "the optimiser has no such state", {{"optimiser", op_}, {name, describe(x)}},
             "the states of the same optimiser with the same groups", at);
  }

 protected:
  using Refs = std::vector<kernels::ParamRef<T>>;
  using Members = std::vector<std::size_t>;

  OptimizerBase(const char* op, Params params, Where at) : params_(std::move(params)), op_(op), steps_(params_.size(), 0) {
    if (params_.empty()) fail(op, "no parameters", {}, "at least one tensor", at);
    std::unordered_set<const TensorImpl*> seen;
    std::unordered_set<std::string> names;
    for (std::size_t i = 0; i < params_.size(); ++i) {
      const auto& p = params_[i];
      if (!p.defined() || !p.requires_grad() || !p.is_leaf() || !p.is_contiguous())
        fail(op, "not a parameter", {{label(i), describe(p)}}, "a contiguous leaf that requires a gradient", at);
      if (!seen.insert(p.impl()).second) fail(op, "a parameter is listed twice", {{label(i), describe(p)}}, "each once", at);
      paths_.push_back(p.name().empty() || !names.insert(p.name()).second ? std::to_string(i) : p.name());
    }
  }
  OptimizerBase(OptimizerBase&&) = default;

  // -- states -----------------------------------------------------------------------------------------------------------
  /// Registers a state: one tensor for each parameter, zeros of its shape unless `like_param` is false.
  int slot(const char* name, bool like_param = true) {
    states_.push_back({name, like_param, {}});
    return static_cast<int>(states_.size()) - 1;
  }
  Compute& state(int slot, std::size_t i) {
    auto& of = states_[static_cast<std::size_t>(slot)].of;
    if (of.size() < params_.size()) of.resize(params_.size());
    return of[i];
  }
  /// The state, zeros at first.
  Compute& state_or_zeros(int slot, std::size_t i, Where at) { return state_or_zeros(slot, i, params_[i].shape(), at); }
  Compute& state_or_zeros(int slot, std::size_t i, const Shape& shape, Where at) {
    Compute& s = state(slot, i);
    if (!s.defined()) s = zeros<compute_t<T>, D>(shape, at);
    return s;
  }
  /// Registers a number that each parameter has.
  int number_slot(const char* name, double first) {
    numbers_.push_back({name, std::vector<double>(params_.size(), first)});
    return static_cast<int>(numbers_.size()) - 1;
  }
  double& number(int slot, std::size_t i) { return numbers_[static_cast<std::size_t>(slot)].of[i]; }
  /// Registers a number of the whole optimiser.
  int value_slot(const char* name, double first) {
    values_.emplace_back(name, first);
    return static_cast<int>(values_.size()) - 1;
  }
  double& value(int slot) { return values_[static_cast<std::size_t>(slot)].second; }
  virtual std::vector<double*> group_lrs() = 0;
  /// Entries that only the derived optimiser knows; load_more says how many it took.
  virtual void save_more(nn::StateDict&) {}
  virtual std::size_t load_more(const nn::StateDict&, Where) { return 0; }

  // -- one step ---------------------------------------------------------------------------------------------------------
  /// While a step is made: an error, of memory that has run out, puts the counts of steps back and lets the gradients go. Where all
  /// parameters share one group and the step is one kernel, nothing has been written then; an optimiser composed of operators, or with
  /// several groups, may have stepped some of its parameters.
  class Unless {
   public:
    explicit Unless(OptimizerBase& o) : o_(o), steps_(o.steps_) {}
    ~Unless() {
      if (!done_) o_.steps_.swap(steps_);
      o_.grads_.clear();
    }
    Unless(const Unless&) = delete;
    void done() { done_ = true; }

   private:
    OptimizerBase& o_;
    std::vector<int64_t> steps_;
    bool done_ = false;
  };
  /// Checks the gradients before anything is changed, then counts the step of each parameter that has one.
  void begin_step(bool allow_missing, Where at) {
    for (std::size_t i = 0; i < params_.size(); ++i) {
      if (params_[i].impl()->grad || allow_missing) continue;
      const bool named = !params_[i].name().empty();
      fail(op_, "step() without a gradient", {{named ? params_[i].name() : label(i), describe(params_[i])}},
           "backward() of a loss that depends on it, or allow_missing_grad = true", at);
    }
    grads_.assign(params_.size(), {});
    const NoGrad guard;
    for (std::size_t i = 0; i < params_.size(); ++i) {
      if (!params_[i].impl()->grad) continue;
      grads_[i] = params_[i].grad().detach().contiguous(at);  // kept alive while the kernels read it
      ++steps_[i];
    }
  }
  /// f(refs, who, t) once for the members that make their t-th step and agree in key(i).
  template <class F, class Key>
  void by_time(const Members& members, Slots slots, Where at, F f, Key key) {
    std::vector<char> done(members.size(), 0);  // f may change keys
    for (std::size_t first = 0; first < members.size(); ++first) {
      const std::size_t i = members[first];
      if (!grads_[i].defined() || done[first]) continue;
      const std::pair<int64_t, double> now{steps_[i], key(i)};
      refs_.clear();
      who_.clear();
      for (std::size_t j = first; j < members.size(); ++j) {
        const std::size_t k = members[j];
        if (!grads_[k].defined() || done[j] || std::pair(steps_[k], key(k)) != now) continue;
        done[j] = 1;
        const auto data = [&](int s) { return s < 0 ? nullptr : state_or_zeros(s, k, at).data(); };
        refs_.push_back({params_[k].data(), grads_[k].data(), data(slots.s0), data(slots.s1), data(slots.s2), params_[k].numel(),
                         data(slots.s3)});
        who_.push_back(k);
        gradus::detail::mark_written(params_[k], at);  // a graph that saved the old value must not be used any more
      }
      f(refs_, who_, now.first);
    }
  }
  static std::string label(std::size_t i) { return "parameter " + std::to_string(i); }
  static std::string lr_name(std::size_t k) { return k == 0 ? "lr" : "lr." + std::to_string(k); }

  struct StateOf {
    std::string name;
    bool like_param;
    std::vector<Compute> of;
  };
  struct NumberOf {
    std::string name;
    std::vector<double> of;
  };
  Params params_;
  const char* op_;
  std::vector<std::string> paths_;
  std::vector<int64_t> steps_;
  std::vector<StateOf> states_;
  std::vector<NumberOf> numbers_;
  std::vector<std::pair<std::string, double>> values_;
  std::vector<Tensor<T, D>> grads_;  // of the step that is being made
  Refs refs_;
  Members who_;
};

/// Some parameters with options of their own.
template <class O>
struct Group : O {
  double lr_scale = 1;  ///< the step is lr * lr_scale
  std::vector<std::size_t> members;
};

/// O: the options, an aggregate with at least `lr` and `allow_missing_grad`, the optimiser's `name`, and check(at).
template <class T, class D, class O>
class Optimizer : public OptimizerBase<T, D> {
 public:
  using Base = OptimizerBase<T, D>;
  using typename Base::Compute;

  O options;  ///< of the parameters that are in no group

  explicit Optimizer(std::vector<Tensor<T, D>> params, O o = {}, Where at = Where::current())
      : Base(O::name, std::move(params), at), options(std::move(o)), rest_(this->params_.size()) {
    for (std::size_t i = 0; i < rest_.size(); ++i) rest_[i] = i;
    check(options, at);
  }
  /// The module's parameters that require gradients: frozen ones are left out.
  template <nn::Module M>
  explicit Optimizer(M& net, O o = {}, Where at = Where::current()) : Optimizer(not_frozen(net, at), std::move(o), at) {}

  double lr() const { return options.lr; }
  /// For all groups.
  void set_lr(double lr, Where at = Where::current()) {
    detail::check_lr(O::name, lr, at);
    options.lr = lr;
    for (auto& g : groups_) g.lr = lr;
  }

  /// Moves the parameters for which pick(path, tensor) holds into a new group, which starts with the common options.
  template <class F>
  requires std::predicate<F&, const std::string&, const Tensor<T, D>&>
  Group<O>& group(F pick, Where at = Where::current()) {
    Group<O> g{options, 1, {}};
    for (std::size_t i = 0; i < this->params_.size(); ++i) {
      if (!pick(this->paths_[i], this->params_[i])) continue;
      std::erase(rest_, i);
      for (auto& other : groups_) std::erase(other.members, i);
      g.members.push_back(i);
    }
    if (g.members.empty()) {
      std::string some;
      for (std::size_t i = 0; i < std::min<std::size_t>(4, this->paths_.size()); ++i)
        some += (i ? ", \"" : "\"") + this->paths_[i] + "\"";
      fail(O::name, "a group without parameters", {{"paths", some + (this->paths_.size() > 4 ? ", ..." : "")}},
           "a condition that some path fulfils", at);
    }
    return groups_.emplace_back(std::move(g));
  }
  Group<O>& group(std::string_view pattern, Where at = Where::current()) {
    return group([&](const std::string& path, const Tensor<T, D>&) { return detail::matches(pattern, path); }, at);
  }
  Group<O>& group(const char* pattern, Where at = Where::current()) { return group(std::string_view(pattern), at); }
  std::deque<Group<O>>& groups() { return groups_; }

 protected:
  /// f(options, lr, members) for each group.
  template <class F>
  void each_group(F f) {
    f(options, options.lr, rest_);
    for (auto& g : groups_) f(static_cast<const O&>(g), g.lr * g.lr_scale, g.members);
  }
  void begin(Where at) {
    each_group([&](const O& o, double, const auto&) { check(o, at); });
    Base::begin_step(options.allow_missing_grad, at);
  }
  /// f(options, lr, refs, who, t): one kernel call for all parameters of a group that make their t-th step;
  /// slots(options): the states. key(i): parameters with different keys are not put together.
  template <class S, class F, class Key>
  void update(S slots, Where at, F f, Key key) {
    typename Base::Unless undo(*this);
    begin(at);
    each_group([&](const O& o, double lr, const auto& members) {
      this->by_time(
          members, slots(o), at, [&](const auto& refs, const auto& who, int64_t t) { f(o, lr, refs, who, t); }, key);
    });
    undo.done();
  }
  template <class S, class F>
  void update(S slots, Where at, F f) {
    update(slots, at, f, [](std::size_t) { return 0.0; });
  }
  /// The step is an element-wise rule: make(options, lr, t) for the t-th step.
  template <class Make>
  void fused(Slots slots, Where at, Make make) {
    update([&](const O&) { return slots; }, at, [&](const O& o, double lr, const auto& refs, const auto&, int64_t t) {
      const auto rule = make(o, lr, t);
      kernels::fused_step<std::remove_const_t<decltype(rule)>, T>(D{}, refs.data(), static_cast<int64_t>(refs.size()), rule);
    });
  }
  /// The step is composed of operators: f(options, lr, i, p, g, t) writes the new values into p.
  template <class F>
  void each(Where at, F f) {
    typename Base::Unless undo(*this);
    begin(at);
    const NoGrad guard;
    each_group([&](const O& o, double lr, const auto& members) {
      for (const std::size_t i : members) {
        if (!this->grads_[i].defined()) continue;
        Compute p = cast<compute_t<T>>(this->params_[i].detach(), at), g = cast<compute_t<T>>(this->grads_[i], at);
        f(o, lr, i, p, g, this->steps_[i]);
        if constexpr (!std::is_same_v<T, compute_t<T>>) this->params_[i].copy_(cast<T>(p, at), at);
        else gradus::detail::mark_written(this->params_[i], at);
      }
    });
    undo.done();
  }
  std::vector<double*> group_lrs() override {
    std::vector<double*> l{&options.lr};
    for (auto& g : groups_) l.push_back(&g.lr);
    return l;
  }

 private:
  template <class M>
  static std::vector<Tensor<T, D>> not_frozen(M& net, Where at) {
    auto params = nn::parameters(net, at);
    std::erase_if(params, [](const auto& p) { return !p.requires_grad(); });
    return params;
  }
  static void check(const O& o, Where at) {
    detail::check_lr(O::name, o.lr, at);
    o.check(at);
  }
  std::vector<std::size_t> rest_;
  std::deque<Group<O>> groups_;
};

}  // namespace gradus::optim
