// A finding while it is written: what several looks at one thing have shown. Used by one thread.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "checkup/finding.h"

namespace mptd::checkup {

inline std::string Text(const absl::Status& status) { return std::string(status.message()); }

class Notes {
 public:
  explicit Notes(std::string name) { finding_.name = std::move(name); }

  void Measured(std::string_view text) { Append(finding_.measured, text); }
  void Expected(std::string_view text) { Append(finding_.expected, text); }
  // The worst outcome stays.
  void Wrong(Outcome outcome, std::string_view advice) {
    finding_.outcome = std::max(finding_.outcome, outcome);
    Append(finding_.advice, advice);
  }

  Finding Take() { return std::move(finding_); }
  // When nothing could be said.
  Finding Skip(std::string_view why) {
    Measured(why);
    finding_.outcome = Outcome::kSkipped;
    return Take();
  }

 private:
  static void Append(std::string& to, std::string_view text) {
    if (!to.empty()) to += "; ";
    to += text;
  }

  Finding finding_;
};

}  // namespace mptd::checkup
