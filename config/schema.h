// The table of all settings: everything that is known of a key, once. Constant data; safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "config/config.h"

namespace mptd::config {

// How a key's text is read. The C++ type of its field follows from it.
enum class Kind : uint8_t { kBool, kUnsigned, kBytes, kDuration, kEnum, kString, kList };

// Reaches a key's field.
template <typename T>
using FieldRef = T& (*)(Settings&);
// The same for an enumeration: by the index of the choice.
struct ChoiceRef {
  size_t (*get)(const Settings&);
  void (*set)(Settings&, size_t);
};
using Field = std::variant<FieldRef<bool>, FieldRef<uint64_t>, FieldRef<absl::Duration>, FieldRef<std::string>,
                           FieldRef<std::vector<std::string>>, ChoiceRef>;

// Says what is wrong with a text, or with an element of a list; empty when nothing is.
using Check = std::string (*)(std::string_view text);

struct Key {
  std::string_view name;        // "section.key"
  std::string_view alias = {};  // a shorter flag without its dashes; may be empty
  Kind kind;
  std::string_view unit = {};  // "bytes", "ms", "blocks", ...; empty when there is none
  Field field;
  uint64_t min = 0;  // of numbers; of durations in milliseconds; of a list's length
  uint64_t max = 0;
  std::span<const std::string_view> choices = {};  // of a kEnum
  Check check = nullptr;                           // of a kString, or of the elements of a kList
  std::string_view help = {};                      // a sentence
  bool runtime = false;                            // can be changed while the daemon runs

  std::string_view section() const { return name.substr(0, name.find('.')); }
  std::string_view leaf() const { return name.substr(name.find('.') + 1); }
};

// Whether the key has but one value, which no field keeps: Ethereum has decided it.
bool IsFixed(const Key& key);

// In the order of documentation; the keys of a section stand together.
std::span<const Key> Keys();
// Null when there is none of that name.
const Key* FindKey(std::string_view name);
// What the settings of a section are about, as a sentence.
std::string_view SectionHelp(std::string_view section);

}  // namespace mptd::config
