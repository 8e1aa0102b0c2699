// Reads JSON that may be larger than memory: the blocks of a long list one after another. Stricter than nlohmann's own
// reader (a member that comes twice is refused, numbers keep all their digits), with the line in every message. Not
// synchronised.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "cli/input_file.h"
#include "nlohmann/json.hpp"

namespace mptd::cli {

struct JsonPart {
  enum class Kind {
    kElement,   // of a top-level array, or of the array `blocks` of a top-level object
    kDocument,  // a top-level value; the elements that were handed out before are gone from it
  };
  Kind kind;
  // Numbers that do not fit uint64 exactly are strings with the digits as they were written.
  nlohmann::json value;
  // "blocks.json:12", to stand in front of messages.
  std::string where;
  // "blocks[3]", "[3]" or "": from the top-level value to this one.
  std::string path;
};

// Calls `sink` for every part, in order, until it returns an error, which is then returned. Several top-level values
// may follow each other (JSON lines); empty input has none. INVALID_ARGUMENT names file, line and what is wrong with
// the text.
absl::Status ReadJsonParts(InputFile& input, const std::function<absl::Status(JsonPart)>& sink);

// One JSON value and nothing else.
absl::StatusOr<nlohmann::json> ParseStrictJson(std::string_view text);

}  // namespace mptd::cli
