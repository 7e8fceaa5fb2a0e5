// Who holds memory, and when: by kind, by op and by the line that made it, through a step.
//
//   debug::MemoryTimeline m;                  // as long as it lives
//   auto loss = net.loss(x, y);
//   loss.backward();
//   std::puts(m.str().c_str());               // the peak, and who held what then
//   m.write_svg("memory.svg");
//
// Kinds: parameters; gradients of parameters; results of recorded ops (views count with what they show); gradients on their way;
// and the rest: what lived before, data, temporaries, and values that ops keep besides results. Views share memory and are
// counted once. One thread is watched, the one that made the timeline.
#pragma once
#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <gradus/debug/formulas.hpp>
#include <gradus/debug/values.hpp>

namespace gradus::debug {

enum class MemoryKind { parameter, parameter_gradient, result, gradient, rest };
inline constexpr const char* name_of(MemoryKind k) {
  constexpr const char* names[] = {"parameters", "their gradients", "results", "gradients on their way", "rest"};
  return names[static_cast<int>(k)];
}

class MemoryTimeline : public Observer {
 public:
  /// The moment after an op or a node.
  struct Moment {
    std::string what;                        ///< "softmax", "softmax backward"
    int op = -1;                             ///< the number of the recorded op; -1: a leaf
    int64_t live = 0;
    std::array<int64_t, 5> by_kind{};
  };
  /// A block of memory, from moment `born` until before moment `died` (the number of moments while it lives).
  struct Block {
    MemoryKind kind = MemoryKind::rest;
    int op = -1;                             ///< whose result or gradient it is; -1 for parameters
    std::string name;
    int64_t bytes = 0;
    std::size_t born = 0, died = 0;
    bool alive = true;
  };

  MemoryTimeline() : start_(gradus::detail::live_bytes.live) {}
  ~MemoryTimeline() override {
    for (auto& [storage, watch] : watched_)
      if (storage->deleter == &ended) storage->deleter = nullptr, storage->context = nullptr;
  }

  void recorded(Node& node, const AnyTensor& y, std::span<const AnyTensor* const> inputs) override {
    for (const AnyTensor* x : inputs)
      if (x->defined() && x->requires_grad() && x->is_leaf()) watch(*x, MemoryKind::parameter, -1, x->name());
    const int op = static_cast<int>(names_.size());
    names_.push_back(node.name());
    places_.push_back(node.at);
    number_[&node] = op;
    watch(y, MemoryKind::result, op, op_name(node.name()));
    moment(op_name(node.name()), op);
  }
  void sent(Node& node, int, const AnyTensor& g) override { watch(g, MemoryKind::gradient, op_of(node), op_name(node.name())); }
  void after_backward(Node& node) override {
    if (const AnyTensor leaf = node.target(); leaf.defined() && leaf.any_grad().defined()) watch(leaf.any_grad(), MemoryKind::parameter_gradient, -1, leaf.name());
    moment(node.target().defined() ? "gradient of " + (node.target().name().empty() ? "a leaf" : node.target().name()) : op_name(node.name()) + " backward", op_of(node));
  }

  const std::vector<Moment>& moments() const { return moments_; }
  const std::vector<Block>& blocks() const { return blocks_; }
  /// The moment with the most live bytes.
  std::size_t peak() const {
    std::size_t p = 0;
    for (std::size_t i = 1; i < moments_.size(); ++i)
      if (moments_[i].live > moments_[p].live) p = i;
    return p;
  }
  /// Who held memory at a moment: (holder, bytes), the largest first.
  std::vector<std::pair<std::string, int64_t>> holders(std::size_t at) const {
    std::map<std::string, int64_t> sums;
    for (const Block& b : blocks_)
      if (b.born <= at && (b.alive || at < b.died))
        sums[std::string(name_of(kind_at(b, at))) + (b.name.empty() ? "" : ": " + b.name) + (b.op >= 0 ? ", " + short_place(places_[static_cast<std::size_t>(b.op)]) : "")] += b.bytes;
    if (at < moments_.size()) sums["rest"] += moments_[at].by_kind[4];
    std::vector<std::pair<std::string, int64_t>> list(sums.begin(), sums.end());
    std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
    return list;
  }
  std::string str(std::size_t most = 12) const {
    if (moments_.empty()) return "nothing was recorded\n";
    const std::size_t p = peak();
    const Moment& m = moments_[p];
    std::string s = "peak " + short_count(static_cast<double>(m.live), "B") + " after " + m.what + (m.op >= 0 ? " at " + short_place(places_[static_cast<std::size_t>(m.op)]) : "") +
                    ", moment " + std::to_string(p + 1) + " of " + std::to_string(moments_.size()) + "; " + short_count(static_cast<double>(start_), "B") + " lived before\n";
    std::vector<std::vector<std::string>> kinds{{"kind", "bytes", "share"}};
    for (int k = 0; k < 5; ++k)
      kinds.push_back({name_of(static_cast<MemoryKind>(k)), std::to_string(m.by_kind[static_cast<std::size_t>(k)]),
                       short_number(100.0 * static_cast<double>(m.by_kind[static_cast<std::size_t>(k)]) / static_cast<double>(std::max<int64_t>(1, m.live)), 3) + " %"});
    s += text_table(kinds);
    std::vector<std::vector<std::string>> who{{"held at the peak", "bytes"}};
    const auto list = holders(p);
    for (std::size_t i = 0; i < std::min(list.size(), most); ++i) who.push_back({list[i].first, std::to_string(list[i].second)});
    if (list.size() > most) who.push_back({"and " + std::to_string(list.size() - most) + " smaller ones", ""});
    return s + text_table(who);
  }
  /// The kinds as stacked areas over the moments of the step.
  std::string svg() const {
    constexpr double W = 900, H = 300, left = 70, top = 16;
    const char* colours[] = {"#16906a", "#3dbd93", "#2a6fc9", "#d9661f", "#b4bec8"};
    std::string s = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"990\" height=\"372\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
    if (moments_.empty()) return s + "</svg>\n";
    double most = 1;
    for (const Moment& m : moments_) most = std::max(most, static_cast<double>(m.live));
    const auto X = [&](std::size_t i) { return short_number(left + W * static_cast<double>(i) / static_cast<double>(std::max<std::size_t>(1, moments_.size() - 1)), 6); };
    const auto Y = [&](double v) { return short_number(top + H * (1 - v / most), 6); };
    std::vector<double> below(moments_.size(), 0);
    for (int k : {4, 0, 1, 2, 3}) {
      std::string up, down;
      for (std::size_t i = 0; i < moments_.size(); ++i) {
        down = X(i) + "," + Y(below[i]) + " " + down;
        below[i] += static_cast<double>(moments_[i].by_kind[static_cast<std::size_t>(k)]);
        up += X(i) + "," + Y(below[i]) + " ";
      }
      s += "<polygon fill=\"" + std::string(colours[k]) + "\" points=\"" + up + down + "\"/>\n";
    }
    const std::size_t p = peak();
    s += "<path d=\"M" + X(p) + " " + Y(most) + "V316\" stroke=\"#1b2530\" stroke-dasharray=\"4 3\"/>\n<text x=\"" + X(p) + "\" y=\"332\" text-anchor=\"middle\">peak: " + moments_[p].what + "</text>\n";
    for (int k = 0; k <= 4; ++k)
      s += "<text x=\"64\" y=\"" + short_number(top + H * (1 - k / 4.0) + 4, 6) + "\" text-anchor=\"end\">" + short_count(most * k / 4.0, "B") + "</text>\n<path d=\"M70 " + short_number(top + H * (1 - k / 4.0), 6) +
           "H970\" stroke=\"#0001\"/>\n";
    double x = left;
    for (int k = 0; k < 5; ++k) {
      const std::string text = name_of(static_cast<MemoryKind>(k));
      s += "<rect x=\"" + short_number(x) + "\" y=\"346\" width=\"12\" height=\"12\" fill=\"" + colours[k] + "\"/><text x=\"" + short_number(x + 17) + "\" y=\"356\">" + text + "</text>\n";
      x += 34 + 7 * static_cast<double>(text.size());
    }
    return s + "</svg>\n";
  }
  void write_svg(const std::string& path, Where at = Where::current()) const {
    std::ofstream out(path, std::ios::binary);
    out << svg();
    out.close();
    if (!out) fail("write_svg", "cannot write", {{"path", path}}, "a folder that exists and can be written to", at);
  }

 private:
  struct Watch {
    MemoryTimeline* owner;
    Storage* storage;
    std::size_t block;
  };
  int64_t start_;
  std::array<int64_t, 5> now_{};                     // bytes alive by kind
  std::vector<Moment> moments_;
  std::vector<Block> blocks_;
  std::vector<std::pair<std::size_t, std::pair<std::size_t, MemoryKind>>> changes_;
  std::vector<std::string> names_;
  std::vector<Where> places_;
  std::unordered_map<const Node*, int> number_;
  std::unordered_map<Storage*, std::unique_ptr<Watch>> watched_;

  int op_of(const Node& n) const {
    const auto found = number_.find(&n);
    return found == number_.end() ? -1 : found->second;
  }
  MemoryKind kind_at(const Block& b, std::size_t at) const {   // a gradient on its way that became a parameter's
    MemoryKind k = b.kind;
    for (const auto& [when, change] : changes_)
      if (&blocks_[change.first] == &b && when > at) return change.second;
    return k;
  }
  void watch(const AnyTensor& x, MemoryKind kind, int op, const std::string& name) {
    Storage* s = x.impl()->storage;
    const auto found = watched_.find(s);
    if (found != watched_.end()) {
      Block& b = blocks_[found->second->block];
      if (kind == MemoryKind::parameter_gradient && b.kind == MemoryKind::gradient) {
        changes_.push_back({moments_.size(), {found->second->block, b.kind}});
        now_[static_cast<std::size_t>(b.kind)] -= b.bytes, now_[static_cast<std::size_t>(kind)] += b.bytes;
        b.kind = kind, b.name = name, b.op = -1;
      }
      return;
    }
    if (!s->owns() || s->deleter) return;
    now_[static_cast<std::size_t>(kind)] += static_cast<int64_t>(s->bytes);
    blocks_.push_back({kind, op, name, static_cast<int64_t>(s->bytes), moments_.size(), 0, true});
    auto w = std::make_unique<Watch>(Watch{this, s, blocks_.size() - 1});
    s->deleter = &ended, s->context = w.get();
    watched_[s] = std::move(w);
  }
  static void ended(void* context) {
    auto* w = static_cast<Watch*>(context);
    Block& b = w->owner->blocks_[w->block];
    w->owner->now_[static_cast<std::size_t>(b.kind)] -= b.bytes;
    b.alive = false, b.died = w->owner->moments_.size();
    w->owner->watched_.erase(w->storage);            // w is gone
  }
  void moment(const std::string& what, int op) {
    Moment m{what, op, gradus::detail::live_bytes.live, {}};
    m.by_kind = now_;
    m.by_kind[4] = m.live - now_[0] - now_[1] - now_[2] - now_[3];
    moments_.push_back(m);
  }
};

}  // namespace gradus::debug
