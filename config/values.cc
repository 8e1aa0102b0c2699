#include "config/values.h"

#include <charconv>
#include <iterator>
#include <limits>
#include <optional>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "config/nearest.h"

namespace mptd::config {
namespace {

struct Unit {
  std::string_view name;
  uint64_t size;
};

// Largest first.
constexpr Unit kSizes[] = {
    {"TiB", uint64_t{1} << 40}, {"GiB", uint64_t{1} << 30}, {"MiB", uint64_t{1} << 20}, {"KiB", uint64_t{1} << 10}};
constexpr Unit kMilliseconds[] = {{"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}};

struct Number {
  uint64_t count = 0;
  std::string_view rest;
};

// Digits and what follows them; nullopt without digits. Beyond 64 bits it is the largest number.
std::optional<Number> SplitNumber(std::string_view text) {
  Number number;
  const char* const end = text.data() + text.size();
  const auto [next, error] = std::from_chars(text.data(), end, number.count);
  if (error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) number.count = std::numeric_limits<uint64_t>::max();
  number.rest = std::string_view(next, static_cast<size_t>(end - next));
  return number;
}

uint64_t SaturatingMultiply(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<uint64_t>::max() : product;
}

// `bare` is what a number without a unit is counted in; 0 when it needs one.
std::optional<uint64_t> ParseQuantity(std::string_view text, std::span<const Unit> units, uint64_t bare) {
  const std::optional<Number> number = SplitNumber(text);
  if (!number) return std::nullopt;
  if (number->rest.empty()) {
    if (bare == 0 && number->count != 0) return std::nullopt;
    return SaturatingMultiply(number->count, bare);
  }
  for (const Unit& unit : units) {
    if (number->rest == unit.name) return SaturatingMultiply(number->count, unit.size);
  }
  return std::nullopt;
}

std::string FormatQuantity(uint64_t value, std::span<const Unit> units) {
  for (const Unit& unit : units) {
    if (value != 0 && value % unit.size == 0) return absl::StrFormat("%d%s", value / unit.size, unit.name);
  }
  return absl::StrFormat("%d", value);
}

bool BareMilliseconds(const Key& key) { return key.unit == "ms"; }

std::string FormatBound(const Key& key, uint64_t value) {
  switch (key.kind) {
    case Kind::kBytes:
      return FormatQuantity(value, kSizes);
    case Kind::kDuration:
      if (BareMilliseconds(key)) return absl::StrFormat("%d", value);
      return value == 0 ? "0s" : FormatQuantity(value, kMilliseconds);
    default:
      return absl::StrFormat("%d", value);
  }
}

// The number that stands for the text of an unsigned, a size or a duration (milliseconds); else what is wrong.
std::string ParseNumber(const Key& key, std::string_view text, uint64_t& value) {
  std::optional<uint64_t> parsed;
  std::string_view expected;
  switch (key.kind) {
    case Kind::kBytes:
      parsed = ParseQuantity(text, kSizes, 1);
      expected = "is not a size; write a number of bytes, or a number followed by KiB, MiB, GiB or TiB";
      break;
    case Kind::kDuration:
      parsed = ParseQuantity(text, kMilliseconds, BareMilliseconds(key) ? 1 : 0);
      expected = BareMilliseconds(key)
                     ? "is not a duration; write a number of milliseconds, or a number followed by ms, s, m or h"
                     : "is not a duration; write a number followed by ms, s, m or h";
      break;
    default:
      parsed = ParseQuantity(text, {}, 1);
      expected = "is not a whole number";
  }
  if (!parsed) return std::string(expected);
  if (*parsed < key.min) return absl::StrFormat("is too small: at least %s", FormatBound(key, key.min));
  if (*parsed > key.max) return absl::StrFormat("is too large: at most %s", FormatBound(key, key.max));
  value = *parsed;
  return "";
}

std::string SetChoice(const Key& key, std::string_view text, Settings& settings) {
  for (size_t i = 0; i < key.choices.size(); ++i) {
    if (key.choices[i] == text) {
      std::get<ChoiceRef>(key.field).set(settings, i);
      return "";
    }
  }
  if (IsFixed(key)) return absl::StrFormat("can only be %s", key.choices.front());
  return absl::StrFormat("is not one of %s%s", absl::StrJoin(key.choices, ", ", absl::StreamFormatter()),
                         DidYouMean(text, {key.choices.begin(), key.choices.end()}));
}

template <typename T>
T& At(const Key& key, Settings& settings) {
  return std::get<FieldRef<T>>(key.field)(settings);
}

// Fields are reached through a mutable reference; nothing is written through this one.
template <typename T>
const T& At(const Key& key, const Settings& settings) {
  return std::get<FieldRef<T>>(key.field)(const_cast<Settings&>(settings));
}

}  // namespace

std::string SetScalar(const Key& key, std::string_view text, Settings& settings) {
  uint64_t number = 0;
  std::string problem;
  switch (key.kind) {
    case Kind::kBool:
      if (text != "true" && text != "false") return "is not a truth value; write true or false";
      At<bool>(key, settings) = text == "true";
      return "";
    case Kind::kUnsigned:
    case Kind::kBytes:
      problem = ParseNumber(key, text, number);
      if (problem.empty()) At<uint64_t>(key, settings) = number;
      return problem;
    case Kind::kDuration:
      problem = ParseNumber(key, text, number);
      if (problem.empty()) At<absl::Duration>(key, settings) = absl::Milliseconds(static_cast<int64_t>(number));
      return problem;
    case Kind::kEnum:
      return SetChoice(key, text, settings);
    case Kind::kString:
      if (key.check != nullptr) problem = key.check(text);
      if (problem.empty()) At<std::string>(key, settings) = std::string(text);
      return problem;
    case Kind::kList:
      break;
  }
  return "is a list";
}

std::string SetList(const Key& key, std::vector<std::string> elements, Settings& settings) {
  if (elements.size() < key.min) return absl::StrFormat("needs at least %d", key.min);
  if (elements.size() > key.max) return absl::StrFormat("has %d elements: at most %d", elements.size(), key.max);
  At<std::vector<std::string>>(key, settings) = std::move(elements);
  return "";
}

std::vector<std::string> FormatValue(const Key& key, const Settings& settings) {
  switch (key.kind) {
    case Kind::kBool:
      return {At<bool>(key, settings) ? "true" : "false"};
    case Kind::kUnsigned:
    case Kind::kBytes:
      return {FormatBound(key, At<uint64_t>(key, settings))};
    case Kind::kDuration: {
      const int64_t milliseconds = absl::ToInt64Milliseconds(At<absl::Duration>(key, settings));
      return {FormatBound(key, static_cast<uint64_t>(milliseconds))};
    }
    case Kind::kEnum:
      return {std::string(key.choices[std::get<ChoiceRef>(key.field).get(settings)])};
    case Kind::kString:
      return {At<std::string>(key, settings)};
    case Kind::kList:
      break;
  }
  return At<std::vector<std::string>>(key, settings);
}

std::string FormatLine(const Key& key, const Settings& settings) {
  return absl::StrJoin(FormatValue(key, settings), ",");
}

std::string FormatRange(const Key& key) {
  switch (key.kind) {
    case Kind::kBool:
      return "true or false";
    case Kind::kUnsigned:
    case Kind::kBytes:
    case Kind::kDuration: {
      const std::string_view unit = key.kind == Kind::kBytes ? std::string_view() : key.unit;
      return absl::StrFormat("%s to %s%s%s", FormatBound(key, key.min), FormatBound(key, key.max),
                             unit.empty() ? "" : " ", unit);
    }
    case Kind::kEnum: {
      if (IsFixed(key)) return absl::StrFormat("only %s", key.choices.front());
      const auto last = std::prev(key.choices.end());
      return absl::StrFormat("%s or %s", absl::StrJoin(key.choices.begin(), last, ", ", absl::StreamFormatter()),
                             *last);
    }
    case Kind::kList:
      return absl::StrFormat("%d to %d elements", key.min, key.max);
    case Kind::kString:
      break;
  }
  return "";
}

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kBool:
      return "bool";
    case Kind::kUnsigned:
      return "number";
    case Kind::kBytes:
      return "size";
    case Kind::kDuration:
      return "duration";
    case Kind::kEnum:
      return "word";
    case Kind::kString:
      return "text";
    case Kind::kList:
      break;
  }
  return "list";
}

}  // namespace mptd::config
