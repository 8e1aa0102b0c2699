// Finds what somebody may have meant. Pure functions; safe from any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mptd::config {

// How many letters have to be inserted, removed, replaced or swapped with their neighbour to turn one into the other.
size_t EditDistance(std::string_view a, std::string_view b);

// The candidate nearest to `word`, or one that begins with it, the first of several; empty when none is near enough to
// be worth mentioning.
std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& candidates);

// "; did you mean X?" about the nearest candidate, or nothing.
std::string DidYouMean(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace mptd::config
