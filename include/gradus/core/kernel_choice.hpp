// Which of several kernels for one operation runs.
//
// A CUDA operation has a reference kernel that reads as its formula and kernels tuned for a regime, such as short rows.
// The library chooses by shape; a test, a benchmark or a reader who steps through the reference chooses by name:
//
//   select_kernel("softmax_bwd", "warp");      every call of softmax_bwd from now on, on all threads
//   select_kernel("softmax_bwd", "");          the library chooses again
//   KernelScope scope("softmax_bwd", "warp");  until the end of the block
#pragma once
#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include <gradus/core/error.hpp>

namespace gradus {

namespace detail {
/// The choices of a program form a list; a choice has static lifetime and enters it when its file is linked.
struct KernelChoiceEntry {
  const char* op;
  std::vector<const char*> variants;
  std::atomic<int> chosen{-1};   // -1: by shape
  KernelChoiceEntry* next;
  static KernelChoiceEntry*& first() {
    static KernelChoiceEntry* head = nullptr;
    return head;
  }
  KernelChoiceEntry(const char* op, std::initializer_list<const char*> variants) : op(op), variants(variants), next(first()) {
    first() = this;
  }
  KernelChoiceEntry(const KernelChoiceEntry&) = delete;
};

inline std::string quoted_list(const std::vector<const char*>& names) {
  std::string text;
  for (const char* n : names) text += (text.empty() ? "\"" : ", \"") + std::string(n) + "\"";
  return text;
}
inline KernelChoiceEntry& find_choice(const char* caller, std::string_view op, const Where& at) {
  std::vector<const char*> known;
  for (auto* e = KernelChoiceEntry::first(); e; e = e->next) {
    if (op == e->op) return *e;
    known.push_back(e->op);
  }
  fail(caller, "no such operation has several kernels here", {{"op", std::string(op)}},
       known.empty() ? "a program linked with device kernels (GRADUS_CUDA=ON or EMULATED)" : "one of " + quoted_list(known), at);
}
}  // namespace detail

/// One operation's kernels; By is an enum whose values are the positions in `variants`. Make it a static object.
template <class By> class KernelChoice {
 public:
  KernelChoice(const char* op, std::initializer_list<const char*> variants) : entry_(op, variants) {}
  /// The kernel chosen by name, or `by_shape`.
  By or_else(By by_shape) const {
    const int c = entry_.chosen.load(std::memory_order_relaxed);
    return c < 0 ? by_shape : static_cast<By>(c);
  }

 private:
  detail::KernelChoiceEntry entry_;
};

/// Operations that have several kernels in this program.
inline std::vector<std::string> kernel_choices() {
  std::vector<std::string> names;
  for (auto* e = detail::KernelChoiceEntry::first(); e; e = e->next) names.emplace_back(e->op);
  return names;
}
/// Names of op's kernels, the reference first. An unknown op is an error that lists the known ones.
inline std::vector<std::string> kernel_variants(std::string_view op, Where at = Where::current()) {
  const auto& e = detail::find_choice("kernel_variants", op, at);
  return {e.variants.begin(), e.variants.end()};
}
/// Runs `variant` for every call of `op` from now on; "" lets the library choose by shape, as at the start.
inline void select_kernel(std::string_view op, std::string_view variant, Where at = Where::current()) {
  auto& e = detail::find_choice("select_kernel", op, at);
  int chosen = variant.empty() ? -1 : -2;
  for (std::size_t i = 0; i < e.variants.size(); ++i)
    if (variant == e.variants[i]) chosen = static_cast<int>(i);
  if (chosen == -2)
    fail("select_kernel", "no such kernel", {{"op", std::string(op)}, {"kernel", std::string(variant)}},
         "one of " + detail::quoted_list(e.variants) + ", or \"\"", at);
  e.chosen.store(chosen, std::memory_order_relaxed);
}
/// The kernel that select_kernel chose, "" when the library chooses.
inline std::string selected_kernel(std::string_view op, Where at = Where::current()) {
  const auto& e = detail::find_choice("selected_kernel", op, at);
  const int c = e.chosen.load(std::memory_order_relaxed);
  return c < 0 ? "" : e.variants[static_cast<std::size_t>(c)];
}

/// select_kernel until the end of the block, then what was chosen before.
class KernelScope {
 public:
  KernelScope(std::string_view op, std::string_view variant, Where at = Where::current())
      : op_(op), before_(selected_kernel(op, at)) {
    select_kernel(op, variant, at);
  }
  ~KernelScope() { select_kernel(op_, before_); }
  KernelScope(const KernelScope&) = delete;

 private:
  std::string op_, before_;
};

}  // namespace gradus
