// Text to typed values and back, as the table says. Pure functions but for what a key's check looks at; safe from any
// thread as long as nobody else uses the same Settings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/schema.h"

namespace mptd::config {

// Sets a key that is not a list. Says what is wrong with the text, and then has changed nothing; empty when it is set.
std::string SetScalar(const Key& key, std::string_view text, Settings& settings);

// The same for a list, all of its elements at once. Elements are checked by key.check alone, before.
std::string SetList(const Key& key, std::vector<std::string> elements, Settings& settings);

// The value as SetScalar would take it; of a list the elements.
std::vector<std::string> FormatValue(const Key& key, const Settings& settings);
// The same on one line, the elements of a list separated by commas.
std::string FormatLine(const Key& key, const Settings& settings);

// What is allowed, for people: "1 to 1000 blocks", "sync, batched or async". Empty when anything is.
std::string FormatRange(const Key& key);
// "bool", "number", "size", "duration", "word", "text", "list".
std::string_view KindName(Kind kind);

}  // namespace mptd::config
