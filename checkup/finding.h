// What a look at a machine or at a running daemon has found, and how it is told: as a table for people, as JSON for
// programs, as an exit code. Pure functions on plain values; safe from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mptd::checkup {

// From good to bad; the numbers order them and are not shown to anyone.
enum class Outcome : uint8_t { kSkipped, kOk, kWarning, kFailed };
std::string_view Name(Outcome outcome);  // "skipped", "ok", "warning", "failed"

struct Finding {
  std::string name;  // "disk_speed"; scripts know it
  Outcome outcome = Outcome::kOk;
  std::string measured = {};  // of what was skipped: why
  std::string expected = {};
  std::string advice = {};  // what to do; empty when there is nothing to do
};

// kOk of nothing.
Outcome Worst(std::span<const Finding> findings);
// 0: all is well, 1: a warning, 2: something failed.
int ExitCodeOf(Outcome worst);

// A line each; what was expected and what to do stand below where not all is well. The last line counts.
std::string Table(std::span<const Finding> findings);
// {"result", "checks": [{"name", "result", "measured", "expected", "advice"}]}, one line.
std::string Json(std::span<const Finding> findings);

std::string SizeText(uint64_t bytes);  // "512 B", "1.5 MiB"

}  // namespace mptd::checkup
