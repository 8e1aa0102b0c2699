#include "cli/progress.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "cli/values.h"

namespace mptd::cli {

Progress::Progress(Terminal& terminal)
    : terminal_(terminal), enabled_(terminal.err_is_terminal()), start_(absl::Now()) {}

void Progress::Update(std::optional<double> fraction, std::string_view text) {
  if (!enabled_) return;
  const absl::Time now = absl::Now();
  if (now - last_drawn_ < absl::Milliseconds(100)) return;
  last_drawn_ = now;
  drawn_ = true;
  terminal_.Note("\r" + ProgressLine(fraction, text, now - start_) + "\x1b[K");
}

void Progress::Clear() {
  if (!drawn_) return;
  terminal_.Note("\r\x1b[K");
  drawn_ = false;
}

std::string ProgressLine(std::optional<double> fraction, std::string_view text, absl::Duration elapsed) {
  constexpr size_t kColumns = 79;
  constexpr int kBar = 20;
  std::string out;
  if (fraction.has_value()) {
    const double done = std::clamp(*fraction, 0.0, 1.0);
    const int filled = static_cast<int>(done * kBar);
    std::string bar(static_cast<size_t>(filled), '=');
    if (filled < kBar) bar += '>';
    bar.resize(kBar, ' ');
    out = absl::StrFormat("[%s] %3.0f %%  %s", bar, done * 100, text);
    if (done > 0.01 && done < 1 && elapsed > absl::Seconds(2)) {
      const double left = absl::ToDoubleSeconds(elapsed) * (1 - done) / done;
      out += "  " + UptimeText(static_cast<uint64_t>(left)) + " left";
    }
  } else {
    out = std::string(text);
  }
  if (out.size() > kColumns) out.resize(kColumns);
  return out;
}

}  // namespace mptd::cli
