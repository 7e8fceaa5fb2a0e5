// Everything that a run consists of, saved and resumed in one call, bit for bit.
//
//   training::Checkpoint run(args.out / "checkpoint.safetensors");
//   run("model", net)("optimizer", opt)("random", generator())("data", loader)("step", step)("best", best);
//   if (run.load()) bar.resume_at(step);                  // false: there is no file, the run begins
//   app::catch_interrupt();
//   for (; step < steps; ++step) {
//     ...
//     if (run.save_every(60)) break;                      // after Ctrl-C: saved, and the loop ends
//   }
//
// A thing can be a module, whatever has state_dict() and load_state_dict() (optimisers, averages, meters, loaders), a tensor, a
// Generator, a number, a text, or a std::vector of numbers. The file is a safetensors file of tensors "<thing>.<path>" and is
// replaced atomically: a process that is killed at any moment leaves the last whole checkpoint.
#pragma once
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gradus/app/progress.hpp>
#include <gradus/core/config.hpp>
#include <gradus/core/random.hpp>
#include <gradus/io/safetensors.hpp>
#include <gradus/nn/module.hpp>

namespace gradus::training {

/// What has state that a checkpoint can hold.
template <class X>
concept Stateful = requires(X& x, const nn::StateDict& dict, Where at) {
  { x.state_dict() } -> std::convertible_to<nn::StateDict>;
  x.load_state_dict(dict, at);
};

namespace detail {
/// The tensor in host memory, contiguous.
inline AnyTensor to_host(const AnyTensor& x, Where at) {
  return io::detail::with_dtype(x.dtype(), [&](auto v) -> AnyTensor {
    using T = decltype(v);
    const NoGrad guard;
#ifdef GRADUS_WITH_CUDA
    if (x.device() == DeviceKind::cuda) return to_device<Cpu>(x.as<T, Cuda>(at).detach(), at).contiguous(at);
#endif
    return x.as<T, Cpu>(at).detach().contiguous(at);
  });
}
/// A host state for a module on D.
template <class T, class D>
nn::StateDict on_device(const nn::StateDict& host, Where at) {
  if constexpr (std::is_same_v<D, Cpu>) {
    return host;
  } else {
    nn::StateDict there;
    for (const auto& [path, x] : host) there[path] = to_device<D>(x.template as<T, Cpu>(at), at);
    return there;
  }
}
inline const AnyTensor& only(const nn::StateDict& dict, const std::string& name, Where at) {
  const auto found = dict.find("");
  if (dict.size() != 1 || found == dict.end())
    fail("Checkpoint", "a thing has another form in the file", {{"thing", name}, {"entries", std::to_string(dict.size())}},
         "one tensor \"" + name + "\"", at);
  return found->second;
}

/// The state of a thing as tensors by path; "" is the path of a thing that is one tensor.
template <class X>
nn::StateDict state_of(X& x, Where at) {
  if constexpr (Stateful<X>) return x.state_dict();
  else if constexpr (nn::Module<X>) return nn::state_dict(x);
  else if constexpr (AnyTensorType<X>) return {{"", x}};
  else if constexpr (std::is_same_v<X, Generator>)
    return {{"", from_vector(std::vector<int64_t>{static_cast<int64_t>(x.seed), static_cast<int64_t>(x.next)}, at)}};
  else if constexpr (std::is_floating_point_v<X>) return {{"", scalar<double>(x, at)}};
  else if constexpr (std::is_integral_v<X>) return {{"", from_vector(std::vector<int64_t>{static_cast<int64_t>(x)}, Shape{}, at)}};
  else if constexpr (std::is_same_v<X, std::string>)
    return {{"", from_vector(std::vector<uint8_t>(x.begin(), x.end()), Shape{static_cast<int64_t>(x.size())}, at)}};
  else return {{"", from_vector(x, Shape{static_cast<int64_t>(x.size())}, at)}};  // std::vector of an element type
}
template <class X>
void restore(X& x, const std::string& name, const nn::StateDict& dict, Where at) {
  if constexpr (Stateful<X>) {
    x.load_state_dict(dict, at);
  } else if constexpr (nn::Module<X>) {
    nn::load_state_dict(x, on_device<nn::element_of<X>, nn::device_type_of<X>>(dict, at), at);
  } else {
    const AnyTensor& from = only(dict, name, at);
    if constexpr (AnyTensorType<X>) {
      const NoGrad guard;
      x.copy_(to_device<typename X::device_type>(from.as<typename X::value_type, Cpu>(at), at), at);
    } else if constexpr (std::is_same_v<X, Generator>) {
      const auto v = from.as<int64_t, Cpu>(at).to_vector();
      if (v.size() != 2) fail("Checkpoint", "not a generator", {{name, describe(from)}}, "int64 [2]: seed and stream", at);
      x = {static_cast<uint64_t>(v[0]), static_cast<uint64_t>(v[1])};
    } else if constexpr (std::is_floating_point_v<X>) {
      x = static_cast<X>(from.as<double, Cpu>(at).item(at));
    } else if constexpr (std::is_integral_v<X>) {
      x = static_cast<X>(from.as<int64_t, Cpu>(at).item(at));
    } else if constexpr (std::is_same_v<X, std::string>) {
      const auto v = from.as<uint8_t, Cpu>(at).to_vector();
      x.assign(v.begin(), v.end());
    } else {
      x = from.as<typename X::value_type, Cpu>(at).to_vector();
    }
  }
}
}  // namespace detail

class Checkpoint {
 public:
  explicit Checkpoint(std::filesystem::path path) : path_(std::move(path)), saved_(Clock::now()) {}

  /// Adds a thing under a name. It is referred to, not copied: it must outlive the checkpoint.
  template <class X>
  Checkpoint& operator()(const std::string& name, X& x, Where at = Where::current()) {
    static_assert(!std::is_const_v<X>, "gradus: a checkpoint restores what it saves: not a const object");
    for (const auto& t : things_)
      if (t.name == name || name.starts_with(t.name + ".") || t.name.starts_with(name + "."))
        fail("Checkpoint", "two things with one name", {{"first", t.name}, {"second", name}}, "names of which none begins another",
             at);
    things_.push_back({name, [&x](Where w) { return detail::state_of(x, w); },
                       [&x, name](const nn::StateDict& dict, Where w) { detail::restore(x, name, dict, w); }});
    return *this;
  }

  /// For several processes, each of which calls save() and load() at the same steps, since a state may have to be gathered: only
  /// one of them `writes`, and agree(v) says on all of them whether v holds on any (dist::share() does this).
  Checkpoint& shared(bool writes, std::function<bool(bool)> agree) {
    writes_ = writes, agree_ = std::move(agree);
    return *this;
  }

  void save(Where at = Where::current()) {
    io::NamedTensors all;
    for (const auto& t : things_)
      for (const auto& [path, x] : t.state(at)) all[path.empty() ? t.name : t.name + "." + path] = detail::to_host(x, at);
    if (writes_) io::write_safetensors(path_, all, {{"format", "gradus checkpoint"}, {"version", GRADUS_VERSION_STRING}}, at);
    saved_ = Clock::now();
  }

  /// Restores everything; false when there is no file. The whole file is read and checked before anything is changed.
  bool load(Where at = Where::current()) {
    if (writes_) remove_remains();
    std::error_code ec;
    if (!std::filesystem::exists(path_, ec)) return false;
    const io::NamedTensors all = io::read_safetensors(path_, at);
    std::vector<nn::StateDict> parts(things_.size());
    for (const auto& [name, x] : all) {
      std::size_t k = 0;
      while (k < things_.size() && name != things_[k].name && !name.starts_with(things_[k].name + ".")) ++k;
      if (k == things_.size())
        fail("Checkpoint::load", "the file has something that the run has not",
             {{"file", path_.string()}, {name, describe(x)}, {"the run", names()}}, "the things that were saved", at);
      parts[k][name == things_[k].name ? "" : name.substr(things_[k].name.size() + 1)] = x;
    }
    for (std::size_t k = 0; k < things_.size(); ++k) things_[k].restore(parts[k], at);
    saved_ = Clock::now();
    return true;
  }

  /// Saves when `seconds` have passed since the last time, and after Ctrl-C (app::catch_interrupt()). True after Ctrl-C.
  bool save_every(double seconds, Where at = Where::current()) {
    const bool stop = agree_ ? agree_(app::interrupted()) : app::interrupted();
    const bool due = std::chrono::duration<double>(Clock::now() - saved_).count() >= seconds;
    if (stop || (agree_ ? agree_(due) : due)) save(at);
    return stop;
  }

  const std::filesystem::path& path() const { return path_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Thing {
    std::string name;
    std::function<nn::StateDict(Where)> state;
    std::function<void(const nn::StateDict&, Where)> restore;
  };
  std::string names() const {
    std::string s;
    for (const auto& t : things_) s += (s.empty() ? "" : ", ") + t.name;
    return s;
  }
  /// Temporary files of processes that were killed while they wrote.
  void remove_remains() const {
    std::error_code ec;
    const auto directory = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
    const std::string start = path_.filename().string() + ".tmp";
    for (const auto& entry : std::filesystem::directory_iterator(directory, ec)) {
      const std::string file = entry.path().filename().string();
      if (!file.starts_with(start)) continue;
      const std::string pid = file.substr(start.size());
      if (pid.empty() || pid.size() > 9 || pid.find_first_not_of("0123456789") != pid.npos) continue;
      if (::kill(static_cast<pid_t>(std::stol(pid)), 0) != 0 && errno == ESRCH) std::filesystem::remove(entry.path(), ec);
    }
  }
  std::filesystem::path path_;
  Clock::time_point saved_;
  std::vector<Thing> things_;
  bool writes_ = true;
  std::function<bool(bool)> agree_;
};

/// The parameters and buffers of a module as a safetensors file, and back.
template <nn::Module M>
void save_module(const std::filesystem::path& path, M& net, Where at = Where::current()) {
  io::NamedTensors all;
  for (const auto& [name, x] : nn::state_dict(net)) all[name] = detail::to_host(x, at);
  io::write_safetensors(path, all, {}, at);
}
template <nn::Module M>
void load_module(const std::filesystem::path& path, M& net, Where at = Where::current()) {
  nn::load_state_dict(net, detail::on_device<nn::element_of<M>, nn::device_type_of<M>>(io::read_safetensors(path, at), at), at);
}

}  // namespace gradus::training
