// The handle: Tensor<T, D> is a counted reference to a TensorImpl; copying shares, clone() copies.
//
// AnyTensor is the same handle without the types, for code that treats all tensors alike.
#pragma once
#include <concepts>
#include <initializer_list>
#include <span>
#include <type_traits>
#include <vector>

#include <gradus/core/cuda.hpp>
#include <gradus/tensor/impl.hpp>

namespace gradus {

template <Element T = float, class D = Cpu> class Tensor;
struct BackwardOptions;
struct Index;
template <class T, class D> Tensor<T, D> reshape(const Tensor<T, D>& x, Shape shape, Where at = Where::current());
template <class T, class D> Tensor<T, D> contiguous(const Tensor<T, D>& x, Where at = Where::current());
template <class T, class D> Tensor<T, D> clone(const Tensor<T, D>& x, Where at = Where::current());
template <class U, class T, class D> Tensor<U, D> cast(const Tensor<T, D>& x, Where at = Where::current());
template <Device E, class T, class D> Tensor<T, E> to_device(const Tensor<T, D>& x, Where at = Where::current());

namespace detail {
/// What asking an undefined tensor for anything ends in; `op` is the function that asked.
[[noreturn, gnu::cold]] inline void fail_undefined(const char* op, const char* what, Where at = Where{}) {
  std::string_view name = op;
  if (!name.starts_with("operator")) name = name.substr(0, name.find('<'));   // exp, not exp<float, gradus::Cpu>
  fail(name, "an undefined tensor", {{"asked for", what}}, "a tensor that was given a value: Tensor<T> x; alone has no shape and no elements", at);
}
#if defined(__GNUC__)
#define GRADUS_CALLER __builtin_FUNCTION()
#else
#define GRADUS_CALLER "Tensor"
#endif
}  // namespace detail

/// A tensor of any dtype on any device. An undefined one (default-constructed) has no properties: asking for them is an error
/// that names the function that asked.
class AnyTensor {
 public:
  AnyTensor() = default;
  explicit AnyTensor(Ref<TensorImpl> impl) : impl_(std::move(impl)) {}

  bool defined() const { return static_cast<bool>(impl_); }
  TensorImpl* impl() const { return impl_.get(); }
  const Ref<TensorImpl>& ref() const { return impl_; }
  DType dtype(const char* op = GRADUS_CALLER) const { return checked(op, "its dtype").dtype; }
  DeviceKind device(const char* op = GRADUS_CALLER) const { return checked(op, "its device").device; }
  const Shape& shape(const char* op = GRADUS_CALLER) const { return checked(op, "its shape").shape; }
  const Shape& strides(const char* op = GRADUS_CALLER) const { return checked(op, "its strides").strides; }
  int rank(const char* op = GRADUS_CALLER) const { return checked(op, "its rank").shape.n; }
  int64_t numel(const char* op = GRADUS_CALLER) const { return checked(op, "its number of elements").numel; }
  bool is_contiguous(const char* op = GRADUS_CALLER) const { return checked(op, "its layout").contiguous; }
  bool is_view(const char* op = GRADUS_CALLER) const { return checked(op, "its base").base != nullptr; }
  uint32_t version(const char* op = GRADUS_CALLER) const { return checked(op, "its version").storage->version; }
  bool requires_grad() const { return impl_ && impl_->requires_grad; }
  bool is_leaf(const char* op = GRADUS_CALLER) const { return checked(op, "its history").grad_fn == nullptr; }
  Node* grad_fn(const char* op = GRADUS_CALLER) const { return checked(op, "its history").grad_fn; }
  bool is_same(const AnyTensor& o) const { return impl_ == o.impl_; }
  bool shares_storage(const AnyTensor& o) const { return impl_->storage == o.impl_->storage; }
  AnyTensor any_grad() const { return AnyTensor(Ref<TensorImpl>(impl_->grad)); }

  /// Extent of a dimension; negative counts from the end.
  int64_t size(int dim, Where at = Where::current()) const {
    if (!impl_) detail::fail_undefined("size", "its extents", at);
    const int d = dim < 0 ? dim + rank() : dim;
    if (d < 0 || d >= rank())
      fail("size", "no such dimension", {{"x", describe(*this)}, {"dim", std::to_string(dim)}},
           "a dimension in [" + std::to_string(-rank()) + ", " + std::to_string(rank()) + ")", at);
    return impl_->shape[d];
  }

  /// The typed handle to the same tensor. Throws when T or D is not what it holds.
  template <class T, class D> Tensor<T, D> as(Where at = Where::current()) const;
  template <class T, class D> bool is() const { return impl_ && impl_->dtype == dtype_of<T> && impl_->device == device_of<D>; }

  /// A name for error texts, graphs and files.
  void set_name(std::string name) {
    if (!impl_->extra) impl_->extra = new TensorExtra;
    impl_->extra->name = std::move(name);
  }
  std::string name() const { return impl_->extra ? impl_->extra->name : std::string(); }

  friend std::string describe(const AnyTensor& x) {
    if (!x.defined()) return "undefined tensor";
    std::string s = gradus::describe(x.dtype(), x.device(), x.shape());
    if (x.impl_->extra && !x.impl_->extra->name.empty()) s += " \"" + x.impl_->extra->name + "\"";
    return s;
  }

 protected:
  const TensorImpl& checked(const char* op, const char* what) const {
    if (!impl_) [[unlikely]] detail::fail_undefined(op, what);
    return *impl_;
  }
  Ref<TensorImpl> impl_;
};

namespace detail {
/// Remembers who wrote, so that a saved value that was overwritten can say where.
inline void mark_written(const AnyTensor& x, Where at) {
  ++x.impl()->storage->version;
  x.impl()->storage->writer = at;
}

/// A tensor that shares `x`'s memory with another shape; no history.
inline Ref<TensorImpl> alias(const AnyTensor& x, const Shape& shape, const Shape& strides, int64_t offset) {
  TensorImpl* t = TensorImpl::make();
  t->dtype = x.dtype(), t->device = x.device();
  t->shape = shape, t->strides = strides, t->numel = shape.numel();
  t->contiguous = gradus::is_contiguous(shape, strides);
  t->storage = x.impl()->storage;
  count_up(t->storage->refs);
  t->data = static_cast<char*>(x.impl()->data) + offset * size_of(x.dtype());
  return Ref<TensorImpl>::adopt(t);
}

[[noreturn]] inline void fail_size(const Shape& shape, DType t, Where at) {
  fail("allocation", "cannot allocate", {{"shape", shape.str()}, {"dtype", name_of(t)}, {"memory", memory_report()}},
       "extents >= 0, fewer than 2^62 bytes, and enough memory", at);
}

template <class T, class D> Ref<TensorImpl> allocate(const Shape& shape, Where at, const char* op) {
  int64_t n = 1;
  bool bad = false;
  for (int i = 0; i < shape.n; ++i) bad |= shape.v[i] < 0 || __builtin_mul_overflow(n, shape.v[i], &n);
  if (bad || n > (int64_t{1} << 62) / static_cast<int64_t>(sizeof(T))) fail_size(shape, dtype_of<T>, at);
  const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(T);
  Ref<Storage> storage;
  if constexpr (std::is_same_v<D, Cuda>) {
    device_context = {at, dtype_of<T>, shape};
    void* p = device_alloc(bytes, at);
    try {
      storage = Ref<Storage>::adopt(Storage::wrap(p, bytes, [](void* block) { device_free(block); }, p));
    } catch (...) {
      device_free(p);
      throw;
    }
    storage->device = DeviceKind::cuda;
  } else {
    try {
      storage = Ref<Storage>::adopt(Storage::make(bytes));
    } catch (const std::bad_alloc&) {
      fail_size(shape, dtype_of<T>, at);
    }
  }
  if (memory_traced) storage->traced = trace_allocation(op, at.file_name(), at.line(), static_cast<int64_t>(bytes));
  TensorImpl* t = TensorImpl::make();
  t->dtype = dtype_of<T>, t->device = device_of<D>;
  t->shape = shape, t->strides = contiguous_strides(shape), t->numel = n;
  t->data = storage->data, t->storage = storage.release();
  return Ref<TensorImpl>::adopt(t);
}
}  // namespace detail

/// A scalar operand together with the place where it was written: lets `x * 2` know the user's line.
struct ScalarArg {
  double value;
  Where at;
  template <class S>
    requires std::is_arithmetic_v<S>
  ScalarArg(S v, Where at = Where::current()) : value(static_cast<double>(v)), at(at) {}
};
/// A tensor operand together with the place where it was written: lets `x + y` know the user's line.
template <class T, class D> struct TensorArg {
  const Tensor<T, D>& x;
  Where at;
  TensorArg(const Tensor<T, D>& x, Where at = Where::current()) : x(x), at(at) {
    if (!x.defined()) [[unlikely]] detail::fail_undefined("an operator", "its values", at);
  }
};

/// A tensor of T on device D. Shapes are run-time values of at most 8 dimensions.
///
///     Tensor<float> x = randn({128, 784});     // a handle: copies share memory
///     auto y = x(slice(0, 8), all);            // a view: no copy
template <Element T, class D> class Tensor : public AnyTensor {
  static_assert(is_built<D>, "gradus: Tensor<T, Cuda> needs a build with GRADUS_CUDA=ON (a GPU and the CUDA toolkit) or EMULATED "
                             "(neither), linked, not header-only");

 public:
  using value_type = T;
  using device_type = D;

  Tensor() = default;
  explicit Tensor(Ref<TensorImpl> impl) : AnyTensor(std::move(impl)) {}
  /// Not initialised. Write the word Shape: Tensor<float>(Shape{2, 3}); a bare {2, 3} is a list of values. `op` is what memory
  /// figures are kept under.
  explicit Tensor(const Shape& shape, Where at = Where::current(), const char* op = GRADUS_CALLER)
      : AnyTensor(detail::allocate<T, D>(shape, at, op)) {}
  /// A vector or a matrix from literals: Tensor<float>{{1, 2}, {3, 4}}.
  Tensor(std::initializer_list<T> values, Where at = Where::current());
  /// A list of integers for a floating vector reads like a shape: it works, with a warning.
  template <std::integral I>
    requires(is_floating<T> && !std::is_same_v<I, bool>)
  [[deprecated("gradus: {2, 3} makes the values 2 and 3. Write Tensor<T>(Shape{2, 3}) for a shape, Tensor<T>{2., 3.} for values")]]
  Tensor(std::initializer_list<I> values, Where at = Where::current());
  Tensor(std::initializer_list<std::initializer_list<T>> rows, Where at = Where::current());
  Tensor(const Tensor&) = default;
  Tensor(Tensor&&) = default;

  /// Makes this handle refer to what `o` refers to.
  Tensor& operator=(const Tensor& o) & = default;
  Tensor& operator=(Tensor&& o) & = default;
  /// `x(0, all) = y`, `x(mask) = 0`: writes into the tensor.
  Tensor& operator=(TensorArg<T, D> o) && { return copy_(o.x, o.at); }
  Tensor& operator=(ScalarArg v) && { return fill_(v.value, v.at); }

  /// The first element, in the memory of D: for a Cuda tensor a device pointer, which the host must not follow.
  T* data(const char* op = GRADUS_CALLER) const { return static_cast<T*>(checked(op, "its elements").data); }
  std::span<T> span() const
    requires std::is_same_v<D, Cpu>
  {
    return {data(), static_cast<std::size_t>(numel())};
  }

  /// The single value of a one-element tensor; on Cuda a copy that waits for the device.
  T item(Where at = Where::current()) const;
  /// The values, in row-major order; on Cuda a copy that waits for the device.
  std::vector<T> to_vector() const;

  // -- gradients: autograd/engine.hpp --------------------------------------------------------------------------
  Tensor& requires_grad_(bool on = true, Where at = Where::current());
  /// The gradient that backward() left here; undefined before.
  Tensor grad() const { return Tensor(Ref<TensorImpl>(impl_->grad)); }
  void set_grad(const Tensor& g) const {
    Ref<TensorImpl> old = Ref<TensorImpl>::adopt(impl_->grad);
    impl_->grad = Ref<TensorImpl>(g.ref()).release();
  }
  void zero_grad() const { set_grad({}); }
  /// Gradients of this one-element tensor with respect to every leaf behind it, added to their grad().
  void backward(Where at = Where::current()) const;
  void backward(const BackwardOptions& options, Where at = Where::current()) const;
  void backward(const Tensor& gradient, Where at = Where::current()) const;
  /// Shares the values, forgets the history.
  Tensor detach() const { return Tensor(detail::alias(*this, shape(), strides(), 0)); }

  // -- views and copies: ops/view.hpp --------------------------------------------------------------------------
  Tensor operator()(const Index& a) const;
  Tensor operator()(const Index& a, const Index& b) const;
  Tensor operator()(const Index& a, const Index& b, const Index& c) const;
  Tensor operator()(const Index& a, const Index& b, const Index& c, const Index& d) const;
  Tensor operator()(const Index& a, const Index& b, const Index& c, const Index& d, const Index& e) const;
  Tensor operator()(const Index& a, const Index& b, const Index& c, const Index& d, const Index& e, const Index& f) const;
  Tensor reshape(Shape shape, Where at = Where::current()) const { return gradus::reshape(*this, shape, at); }
  Tensor t(Where at = Where::current()) const { return transpose(*this, 0, 1, at); }
  Tensor contiguous(Where at = Where::current()) const { return gradus::contiguous(*this, at); }
  Tensor clone(Where at = Where::current()) const { return gradus::clone(*this, at); }
  template <class U>
    requires Element<U>
  Tensor<U, D> to(Where at = Where::current()) const {
    return gradus::cast<U>(*this, at);
  }
  /// A copy on the other device: x.to<Cuda>(), x.to<Cpu>(); x itself when it is there already. Differentiable.
  template <class E>
    requires Device<E>
  Tensor<T, E> to(Where at = Where::current()) const {
    return gradus::to_device<E>(*this, at);
  }

  // -- writing -------------------------------------------------------------------------------------------------
  Tensor& copy_(const Tensor& o, Where at = Where::current());
  Tensor& fill_(double v, Where at = Where::current());
  Tensor& zero_(Where at = Where::current()) { return fill_(0, at); }
  Tensor& operator+=(TensorArg<T, D> b) { return add_(*this, b.x, b.at); }
  Tensor& operator-=(TensorArg<T, D> b) { return sub_(*this, b.x, b.at); }
  Tensor& operator*=(TensorArg<T, D> b) { return mul_(*this, b.x, b.at); }
  Tensor& operator/=(TensorArg<T, D> b) { return div_(*this, b.x, b.at); }
  Tensor& operator+=(ScalarArg b) { return add_(*this, b.value, b.at); }
  Tensor& operator-=(ScalarArg b) { return add_(*this, -b.value, b.at); }
  Tensor& operator*=(ScalarArg b) { return mul_(*this, b.value, b.at); }
  Tensor& operator/=(ScalarArg b) { return mul_(*this, 1 / b.value, b.at); }

  friend Tensor operator+(const Tensor& a, TensorArg<T, D> b) { return add(a, b.x, b.at); }
  friend Tensor operator-(const Tensor& a, TensorArg<T, D> b) { return sub(a, b.x, b.at); }
  friend Tensor operator*(const Tensor& a, TensorArg<T, D> b) { return mul(a, b.x, b.at); }
  friend Tensor operator/(const Tensor& a, TensorArg<T, D> b) { return div(a, b.x, b.at); }
  friend Tensor operator+(const Tensor& a, ScalarArg b) { return add(a, b.value, b.at); }
  friend Tensor operator-(const Tensor& a, ScalarArg b) { return sub(a, b.value, b.at); }
  friend Tensor operator*(const Tensor& a, ScalarArg b) { return mul(a, b.value, b.at); }
  friend Tensor operator/(const Tensor& a, ScalarArg b) { return div(a, b.value, b.at); }
  friend Tensor operator+(ScalarArg a, const Tensor& b) { return add(b, a.value, a.at); }
  friend Tensor operator-(ScalarArg a, const Tensor& b) { return sub(a.value, b, a.at); }
  friend Tensor operator*(ScalarArg a, const Tensor& b) { return mul(b, a.value, a.at); }
  friend Tensor operator/(ScalarArg a, const Tensor& b) { return div(a.value, b, a.at); }
  friend Tensor operator-(TensorArg<T, D> a) { return neg(a.x, a.at); }

  friend Tensor<bool, D> operator==(const Tensor& a, TensorArg<T, D> b) { return equal(a, b.x, b.at); }
  friend Tensor<bool, D> operator!=(const Tensor& a, TensorArg<T, D> b) { return not_equal(a, b.x, b.at); }
  friend Tensor<bool, D> operator<(const Tensor& a, TensorArg<T, D> b) { return less(a, b.x, b.at); }
  friend Tensor<bool, D> operator<=(const Tensor& a, TensorArg<T, D> b) { return less_equal(a, b.x, b.at); }
  friend Tensor<bool, D> operator>(const Tensor& a, TensorArg<T, D> b) { return less(b.x, a, b.at); }
  friend Tensor<bool, D> operator>=(const Tensor& a, TensorArg<T, D> b) { return less_equal(b.x, a, b.at); }
  friend Tensor<bool, D> operator==(const Tensor& a, ScalarArg b) { return equal(a, b.value, b.at); }
  friend Tensor<bool, D> operator!=(const Tensor& a, ScalarArg b) { return not_equal(a, b.value, b.at); }
  friend Tensor<bool, D> operator<(const Tensor& a, ScalarArg b) { return less(a, b.value, b.at); }
  friend Tensor<bool, D> operator<=(const Tensor& a, ScalarArg b) { return less_equal(a, b.value, b.at); }
  friend Tensor<bool, D> operator>(const Tensor& a, ScalarArg b) { return greater(a, b.value, b.at); }
  friend Tensor<bool, D> operator>=(const Tensor& a, ScalarArg b) { return greater_equal(a, b.value, b.at); }
};

/// What a function that takes any tensor of elements T on D accepts.
template <class X> concept AnyTensorType = std::derived_from<std::remove_cvref_t<X>, AnyTensor>;

template <class T, class D> Tensor<T, D> AnyTensor::as(Where at) const {
  if (!defined()) return {};
  if (!is<T, D>())
    fail("as", "wrong dtype or device", {{"x", describe(*this)}},
         std::string(name_of(dtype_of<T>)) + " " + name_of(device_of<D>), at);
  return Tensor<T, D>(impl_);
}

/// An uninitialised tensor of x's shape.
template <class T, class D> Tensor<T, D> empty_like(const Tensor<T, D>& x, Where at = Where::current()) {
  return Tensor<T, D>(x.shape(), at);
}

}  // namespace gradus
