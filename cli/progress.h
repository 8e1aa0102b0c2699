// One line of progress on a terminal, redrawn in place. (Debian has no C++ library for this; `indicators` and
// `progressbar` are not packaged, and it is forty lines.) Not synchronised: one thread updates it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "cli/terminal.h"

namespace mptd::cli {

class Progress {
 public:
  // Draws only when standard error is a terminal. `terminal` outlives this object.
  explicit Progress(Terminal& terminal);
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `fraction` is how much is done (0 to 1), absent when nobody knows. At most ten drawings a second, so call it
  // freely.
  void Update(std::optional<double> fraction, std::string_view text);
  // Takes the line away, so that something else can be printed.
  void Clear();

 private:
  Terminal& terminal_;
  const bool enabled_;
  const absl::Time start_;
  absl::Time last_drawn_ = absl::InfinitePast();
  bool drawn_ = false;
};

// "[=====>     ]  50 %  text  12s left" without the colours and cursor movements, at most 79 columns.
std::string ProgressLine(std::optional<double> fraction, std::string_view text, absl::Duration elapsed);

}  // namespace mptd::cli
