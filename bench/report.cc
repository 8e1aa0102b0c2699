#include "bench/report.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace mptd::bench {
namespace {

// Three significant digits, and thousands apart: 0.00123, 1.23, 12.3, 123, 12,345.
std::string Readable(double value) {
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size < 100) {
    const int digits = std::max(0, 2 - static_cast<int>(std::floor(std::log10(size))));
    return absl::StrFormat("%.*f", std::min(digits, 6), value);
  }
  const std::string digits = absl::StrFormat("%.0f", size);
  std::string out(value < 0 ? "-" : "");
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out.push_back(',');
    out.push_back(digits[i]);
  }
  return out;
}

}  // namespace

void Report::Add(std::string_view name, std::string_view text, std::string_view unit, double value) {
  figures_.push_back({std::string(name), std::string(text), std::string(unit), value});
}

void Report::Add(std::string_view name, std::string_view text, std::string_view value) {
  figures_.push_back({std::string(name), std::string(text), "", std::string(value)});
}

void Report::AddSeries(std::string_view name, const std::vector<double>& values) {
  std::vector<double> rounded = values;
  for (double& value : rounded) value = std::round(value * 1e4) / 1e4;
  figures_.push_back({std::string(name), "", "", std::move(rounded)});
}

std::string Report::Table() const {
  size_t width = 0;
  for (const Figure& figure : figures_) width = std::max(width, figure.text.size());
  std::string out;
  for (const Figure& figure : figures_) {
    if (const auto* number = std::get_if<double>(&figure.value)) {
      absl::StrAppendFormat(&out, "%-*s  %12s %s\n", width, figure.text, Readable(*number), figure.unit);
    } else if (const auto* text = std::get_if<std::string>(&figure.value)) {
      absl::StrAppendFormat(&out, "%-*s  %s\n", width, figure.text, *text);
    }
  }
  return out;
}

std::string Report::Json() const {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const Figure& figure : figures_) {
    std::visit([&](const auto& value) { out[figure.name] = value; }, figure.value);
  }
  return out.dump();
}

}  // namespace mptd::bench
