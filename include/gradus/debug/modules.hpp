// Which module each recorded op belongs to. A module is a plain struct that knows no name, so it is concluded from
//
//   the parameters     an op that uses "blocks.0.attn.q.weight" belongs to blocks.0.attn.q,
//   the call           as do the ops of the same call (a layer hands its caller's line to all of its ops),
//   the function       Block::forward also calls blocks.0.ln1 and blocks.0.ln2: its other ops belong to blocks.0,
//   the neighbours     helpers belong to what the op before and the op after have in common,
//   nn::Sequential     which names the module that runs.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <gradus/debug/recorder.hpp>

namespace gradus::debug {

namespace detail {

inline std::string path_parent(const std::string& path) {
  const auto dot = path.rfind('.');
  return dot == path.npos ? "" : path.substr(0, dot);
}
inline std::size_t path_depth(const std::string& path) {
  return path.empty() ? 0 : static_cast<std::size_t>(std::count(path.begin(), path.end(), '.')) + 1;
}
/// The first n parts of a path.
inline std::string path_prefix(const std::string& path, std::size_t n) {
  std::size_t end = 0;
  for (std::size_t i = 0; i <= path.size() && n > 0; ++i)
    if (i == path.size() || path[i] == '.') end = i, --n;
  return path.substr(0, end);
}
/// What two paths have in common: "a.b" for "a.b.c" and "a.b.d".
inline std::string path_common(const std::string& a, const std::string& b) {
  std::size_t end = 0;
  for (std::size_t i = 0; i <= std::min(a.size(), b.size()); ++i) {
    const bool stop_a = i == a.size() || a[i] == '.', stop_b = i == b.size() || b[i] == '.';
    if (stop_a && stop_b) end = i;
    if (i == a.size() || i == b.size() || a[i] != b[i]) break;
  }
  return a.substr(0, end);
}
/// "2" for the labels "2:ReLU", "1.0" for "1:Sequential.0:Linear".
inline std::string path_of_labels(const std::string& labels) {
  std::string s;
  for (std::size_t i = 0; i < labels.size();) {
    const auto end = std::min(labels.find('.', i), labels.size());
    const std::string part = labels.substr(i, end - i);
    s += (s.empty() ? "" : ".") + part.substr(0, part.find(':'));
    i = end + 1;
  }
  return s;
}
inline bool path_ends_with(const std::string& s, const std::string& end) {
  return s == end || (s.size() > end.size() && s.compare(s.size() - end.size() - 1, end.size() + 1, "." + end) == 0);
}
inline bool same_call(const RecordedOp& a, const RecordedOp& b) {
  return a.at.line() == b.at.line() && a.at.column() == b.at.column() && a.labels == b.labels &&
         std::string_view(a.at.file_name()) == b.at.file_name();
}

class ModuleFinder {
 public:
  ModuleFinder(std::vector<RecordedOp>& ops, const std::vector<Source>& sources) : ops_(ops), sources_(sources), found_(ops.size()), known_(ops.size(), 0) {}
  void run() {
    by_parameters();
    by_call();
    by_sequential_call();
    by_function();
    by_neighbours();
    by_sequential();
    for (std::size_t k = 0; k < ops_.size(); ++k) ops_[k].module = found_[k];
  }

 private:
  std::vector<RecordedOp>& ops_;
  const std::vector<Source>& sources_;
  std::vector<std::string> found_;
  std::vector<char> known_, own_;

  void set(std::size_t k, const std::string& module) { found_[k] = known_[k] ? path_common(found_[k], module) : module, known_[k] = 1; }
  void by_parameters() {
    for (std::size_t k = 0; k < ops_.size(); ++k)
      for (const Use& u : ops_[k].inputs) {
        if (u.source < 0) continue;
        const Source& s = sources_[static_cast<std::size_t>(u.source)];
        if (s.leaf && !s.name.empty()) set(k, path_parent(s.name));
      }
    own_ = known_;
  }
  /// Along the edges of one call, until nothing changes; a call has few ops.
  void by_call() {
    for (bool more = true; more;) {
      more = false;
      for (std::size_t k = 0; k < ops_.size(); ++k)
        for (const Use& u : ops_[k].inputs) {
          if (u.op < 0) continue;
          const auto p = static_cast<std::size_t>(u.op);
          if (known_[p] == known_[k] || !same_call(ops_[k], ops_[p])) continue;
          const std::size_t to = known_[p] ? k : p, from = known_[p] ? p : k;
          set(to, found_[from]), more = true;
        }
    }
  }
  /// "tail" for an op that is in tail.0 and says "0:Linear" of itself: the module of the Sequential that runs it.
  std::string outside(std::size_t k) const {
    const std::string inside = path_of_labels(ops_[k].labels);
    if (inside.empty() || !path_ends_with(found_[k], inside)) return found_[k];
    return found_[k].size() == inside.size() ? "" : found_[k].substr(0, found_[k].size() - inside.size() - 1);
  }
  /// A ReLU in a Sequential stands beside its linear layers, which have parameters.
  void by_sequential_call() {
    const auto n = static_cast<std::ptrdiff_t>(ops_.size());
    const std::vector<char> before = known_;
    for (std::ptrdiff_t k = 0; k < n; ++k) {
      const RecordedOp& op = ops_[static_cast<std::size_t>(k)];
      if (op.labels.empty() || before[static_cast<std::size_t>(k)]) continue;
      const std::string inside = path_of_labels(op.labels);
      for (std::ptrdiff_t distance = 1; distance < n; ++distance) {
        std::ptrdiff_t j = k - distance;
        const auto beside = [&](std::ptrdiff_t i) {
          if (i < 0 || i >= n || !before[static_cast<std::size_t>(i)]) return false;
          const RecordedOp& o = ops_[static_cast<std::size_t>(i)];
          return !o.labels.empty() && o.at.line() == op.at.line() && o.at.column() == op.at.column() &&
                 path_ends_with(found_[static_cast<std::size_t>(i)], path_of_labels(o.labels));
        };
        if (!beside(j)) j = k + distance;
        if (!beside(j)) continue;
        const std::string out = outside(static_cast<std::size_t>(j));
        set(static_cast<std::size_t>(k), out.empty() ? inside : out + "." + inside);
        break;
      }
    }
  }
  void by_function() {
    std::map<std::string, std::vector<std::size_t>> functions;
    for (std::size_t k = 0; k < ops_.size(); ++k)
      if (!ops_[k].second) functions[std::string(ops_[k].at.file_name()) + " " + ops_[k].at.function_name()].push_back(k);
    const std::vector<char> before = known_;
    for (const auto& [name, all] : functions) {
      std::vector<std::size_t> anchors;
      for (const std::size_t k : all)
        if (before[k]) anchors.push_back(k);
      if (anchors.empty()) continue;
      // How deep the function's own module is: what neighbouring calls in one run of the function share, the deepest of these.
      std::size_t depth = 0;
      bool several = false;
      for (std::size_t i = 0; i + 1 < anchors.size(); ++i) {
        const std::string a = outside(anchors[i]), b = outside(anchors[i + 1]);
        if (a == b) continue;
        several = true, depth = std::max(depth, path_depth(path_common(a, b)));
      }
      if (!several) {                                // one module: a call of a layer, or the function's own parameters
        const bool layer = anchors.size() > 1 && same_call(ops_[anchors[0]], ops_[anchors[1]]);
        depth = path_depth(outside(anchors[0])) - (layer && !outside(anchors[0]).empty() && ops_[anchors[0]].labels.empty() ? 1 : 0);
      }
      for (const std::size_t k : all) {
        if (before[k]) continue;
        const auto next = std::upper_bound(anchors.begin(), anchors.end(), k);
        // Lines grow within one run of a function.
        bool use_next = next == anchors.begin();
        if (!use_next && next != anchors.end())
          use_next = ops_[k].at.line() < ops_[*(next - 1)].at.line() && ops_[k].at.line() <= ops_[*next].at.line();
        set(k, path_prefix(found_[use_next ? *next : *(next - 1)], depth));
      }
    }
  }
  void by_neighbours() {
    const std::size_t n = ops_.size();
    std::vector<std::string> after(n);
    std::vector<char> has_after(n, 0);
    for (std::size_t k = n; k-- > 0;)
      for (const Use& u : ops_[k].inputs) {
        if (u.op < 0 || !(known_[k] || has_after[k])) continue;
        const auto p = static_cast<std::size_t>(u.op);
        const std::string& s = known_[k] ? found_[k] : after[k];
        after[p] = has_after[p] ? path_common(after[p], s) : s, has_after[p] = 1;
      }
    for (std::size_t k = 0; k < n; ++k) {
      if (known_[k]) continue;
      int latest = -1;
      for (const Use& u : ops_[k].inputs) latest = std::max(latest, u.op);
      const bool has_before = latest >= 0 && known_[static_cast<std::size_t>(latest)];
      const std::string before = has_before ? found_[static_cast<std::size_t>(latest)] : "";
      if (has_before && has_after[k]) set(k, path_common(before, after[k]));
      else if (has_before) set(k, path_parent(before));
      else if (has_after[k]) set(k, path_parent(after[k]));
    }
  }
  void by_sequential() {
    for (std::size_t k = 0; k < ops_.size(); ++k) {
      const std::string inside = path_of_labels(ops_[k].labels);
      std::string& m = found_[k];
      if (own_[k] || inside.empty() || path_ends_with(m, inside)) continue;
      const std::string last = inside.substr(inside.rfind('.') == inside.npos ? 0 : inside.rfind('.') + 1);
      m = m.empty() || inside.rfind(m + ".", 0) == 0 ? inside : m + "." + last;
    }
  }
};

}  // namespace detail

inline void Recorder::infer_modules() { detail::ModuleFinder(ops, sources).run(); }

}  // namespace gradus::debug
