// Named sets of settings for what a daemon is mostly for. Constant data; safe from any thread.
#pragma once

#include <span>
#include <string_view>

namespace mptd::config {

// A key's value as it would be written on the command line.
struct PresetSetting {
  std::string_view key;
  std::string_view value;
};

struct Preset {
  std::string_view name;
  std::string_view help;  // what it is for and what it costs, as sentences
  std::span<const PresetSetting> settings;
};

std::span<const Preset> Presets();
// Null when there is none of that name.
const Preset* FindPreset(std::string_view name);

}  // namespace mptd::config
