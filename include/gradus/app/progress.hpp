// A progress bar with rate and time left, and Ctrl-C as a flag that a training loop asks for.
//
//   app::catch_interrupt();
//   app::Progress bar(steps, "seed 0");
//   for (int64_t step = 0; step < steps && !app::interrupted(); ++step) {
//     ...
//     bar.step("loss 0.412  accuracy 85.3 %");
//   }
#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <sys/ioctl.h>
#include <unistd.h>

namespace gradus::app {

namespace detail {
inline volatile std::sig_atomic_t interrupt_seen = 0;
inline void on_interrupt(int) { interrupt_seen = 1; }
}  // namespace detail

/// From now on the first Ctrl-C (or SIGTERM, which schedulers send) only sets a flag, so that the loop can save and leave;
/// the second one ends the process.
inline void catch_interrupt() {
  struct sigaction action = {};
  action.sa_handler = detail::on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}
inline bool interrupted() { return detail::interrupt_seen != 0; }
/// For a program that goes on after it has saved.
inline void clear_interrupt() {
  detail::interrupt_seen = 0;
  catch_interrupt();
}

/// Columns a UTF-8 text takes on a terminal, if no character is wide: bytes that continue a character take none.
inline int columns_of(std::string_view s) {
  return static_cast<int>(
      std::count_if(s.begin(), s.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

/// "7 s", "1:05", "2:03:04"
inline std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "?";
  const auto s = static_cast<long long>(std::llround(seconds));
  char buffer[48];
  if (s < 60) std::snprintf(buffer, sizeof buffer, "%lld s", s);
  else if (s < 3600) std::snprintf(buffer, sizeof buffer, "%lld:%02lld", s / 60, s % 60);
  else std::snprintf(buffer, sizeof buffer, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
  return buffer;
}

/// "12.3k/s", "850/s", "3.1 s each": always three figures that mean something.
inline std::string rate_text(double per_second) {
  if (!std::isfinite(per_second) || per_second <= 0) return "-";
  char buffer[48];
  if (per_second >= 1e6) std::snprintf(buffer, sizeof buffer, "%.1fM/s", per_second / 1e6);
  else if (per_second >= 1e4) std::snprintf(buffer, sizeof buffer, "%.1fk/s", per_second / 1e3);
  else if (per_second >= 100) std::snprintf(buffer, sizeof buffer, "%.0f/s", per_second);
  else if (per_second >= 1) std::snprintf(buffer, sizeof buffer, "%.1f/s", per_second);
  else std::snprintf(buffer, sizeof buffer, "%.1f s each", 1 / per_second);
  return buffer;
}

/// On a terminal one line that is drawn anew at most ten times a second; elsewhere (a file, CI) a line every ten seconds.
class Progress {
 public:
  enum class Style { detect, terminal, lines, quiet };

  explicit Progress(int64_t total, std::string label = {}, Style style = Style::detect, std::FILE* out = stderr)
      : total_(std::max<int64_t>(total, 0)), label_(std::move(label)), out_(out), start_(Clock::now()), drawn_(start_) {
    const bool terminal = style == Style::terminal || (style == Style::detect && ::isatty(::fileno(out)) == 1);
    style_ = style == Style::detect ? (terminal ? Style::terminal : Style::lines) : style;
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
      if (const char* v = std::getenv(name); v && *v) {
        const std::string_view locale = v;
        blocks_ = locale.find("UTF-8") != locale.npos || locale.find("utf8") != locale.npos;
        break;
      }
    if (style_ == Style::terminal) draw();
  }
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// One more step is done. A call costs about a clock reading.
  void step(std::string_view suffix) {
    suffix_ = suffix;
    step(1);
  }
  void step(int64_t n = 1) {
    done_ += n;
    const auto now = Clock::now();
    if (style_ == Style::quiet ||
        now - drawn_ < (style_ == Style::terminal ? std::chrono::milliseconds(100) : std::chrono::seconds(10)))
      return;
    draw(now);
  }
  void suffix(std::string_view text) { suffix_ = text; }
  void label(std::string text) { label_ = std::move(text); }
  /// Where a resumed run begins; these steps do not count for the rate.
  void resume_at(int64_t done) { done_ = resumed_ = done; }

  /// Draws the last state and ends the line; later calls do nothing. The destructor calls it.
  void finish() {
    if (finished_) return;
    finished_ = true;
    if (style_ == Style::quiet) return;
    draw();
    if (style_ == Style::terminal) std::fputc('\n', out_);
    std::fflush(out_);
  }
  double elapsed() const { return seconds(Clock::now() - start_); }
  int64_t done() const { return done_; }

  /// The line for `elapsed` seconds on a terminal of `columns`; public so that it can be tested.
  std::string line(double elapsed, int columns) const {
    const double rate = elapsed > 0 ? static_cast<double>(done_ - resumed_) / elapsed : 0;
    const double part = total_ > 0 ? std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_)) : 0;
    std::string head = label_.empty() ? "" : label_ + "  ", tail;
    char percent[16];
    std::snprintf(percent, sizeof percent, " %3d %%", static_cast<int>(100 * part));
    tail += total_ > 0 ? percent : "";
    tail += "  " + std::to_string(done_) + (total_ > 0 ? "/" + std::to_string(total_) : "");
    tail += "  " + rate_text(rate) + "  " + duration_text(elapsed);
    if (total_ > 0 && done_ < total_)
      tail += " + " + (rate > 0 ? duration_text(static_cast<double>(total_ - done_) / rate) : "?");
    if (!suffix_.empty()) tail += "  " + suffix_;
    // The bar takes what the texts leave, up to 30 columns; below 8 it would say nothing.
    const int width = std::min(30, columns - 1 - columns_of(head) - columns_of(tail));
    std::string s = head;
    if (total_ > 0 && width >= 8) s += bar(part, width);
    s += tail;
    return cut(s, columns - 1);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

  std::string bar(double part, int width) const {
    std::string s;
    if (!blocks_) {
      const int full = static_cast<int>(part * (width - 2));
      return "[" + std::string(static_cast<std::size_t>(full), '#') +
             std::string(static_cast<std::size_t>(width - 2 - full), '.') + "]";
    }
    const int full = static_cast<int>(part * width);
    for (int i = 0; i < width; ++i) s += i < full ? "\u2588" : "\u2591";
    return s;
  }
  static std::string cut(const std::string& s, int columns) {
    if (columns_of(s) <= columns) return s;
    std::size_t i = 0;
    for (int c = 0; i < s.size(); ++i)
      if ((static_cast<unsigned char>(s[i]) & 0xc0) != 0x80 && c++ == columns) break;
    return s.substr(0, i);
  }
  void draw(Clock::time_point now = Clock::now()) {
    drawn_ = now;
    int columns = 200;
    if (style_ == Style::terminal) {
      winsize size{};
      columns = ::ioctl(::fileno(out_), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    }
    const std::string s = line(seconds(now - start_), columns);
    if (style_ == Style::terminal) std::fprintf(out_, "\r%s\x1b[K", s.c_str());  // K: clears what a longer line left
    else std::fprintf(out_, "%s\n", s.c_str());
    std::fflush(out_);
  }

  int64_t total_, done_ = 0, resumed_ = 0;
  std::string label_, suffix_;
  std::FILE* out_;
  Style style_ = Style::quiet;
  bool finished_ = false, blocks_ = false;
  Clock::time_point start_, drawn_;
};

}  // namespace gradus::app
