// How limits.max_memory_bytes is divided among what the settings say of memory. Pure functions; safe from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "config/config.h"

namespace mptd::config {

// Below this the program itself, its threads and its requests have no room.
inline constexpr uint64_t kLeastMemoryBytes = uint64_t{128} << 20;

struct MemoryShare {
  std::string_view key;
  uint64_t percent;  // of limits.max_memory_bytes, when nobody has set the key
};
// The rest is for the process itself: requests, replies, and what its allocator has not given back yet.
std::span<const MemoryShare> MemoryShares();

// As it would be written on the command line, in whole MiB.
std::string ShareOf(const MemoryShare& share, uint64_t max_memory_bytes);

// Why the settings cannot keep limits.max_memory_bytes; empty when they can, or when there is no limit.
std::string CheckMemory(const Settings& settings);

}  // namespace mptd::config
