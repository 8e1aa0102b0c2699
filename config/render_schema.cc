// The JSON schema of the YAML file, made of the table.
#include <string>

#include "absl/strings/numbers.h"
#include "config/presets.h"
#include "config/render.h"
#include "config/schema.h"
#include "config/values.h"
#include "nlohmann/json.hpp"

namespace mptd::config {
namespace {

using Json = nlohmann::ordered_json;

// What a plain YAML scalar is read as.
Json Literal(const std::string& text) {
  const Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_number() || value.is_boolean() ? value : Json(text);
}

Json Number(const Key& key) { return {{"type", "integer"}, {"minimum", key.min}, {"maximum", key.max}}; }

Json Text(const char* pattern) { return {{"type", "string"}, {"pattern", pattern}}; }

Json Choices(const Key& key) {
  Json values = Json::array();
  // What looks like a number or a truth value may be written as one: a file with 1.3 in it has no text there.
  for (const std::string_view choice : key.choices) {
    const Json literal = Literal(std::string(choice));
    values.push_back(literal);
    if (!literal.is_string() && !IsFixed(key)) values.emplace_back(std::string(choice));
  }
  return {{"enum", std::move(values)}};
}

Json TypeOf(const Key& key) {
  switch (key.kind) {
    case Kind::kBool:
      return {{"type", "boolean"}};
    case Kind::kUnsigned:
      return Number(key);
    case Kind::kBytes:
      return {{"anyOf", Json::array({Number(key), Text("^[0-9]+(KiB|MiB|GiB|TiB)$")})}};
    case Kind::kDuration: {
      Json forms = Json::array({Text("^[0-9]+(ms|s|m|h)$")});
      if (key.unit == "ms") {
        forms.push_back(Number(key));
      } else if (key.min == 0) {
        forms.push_back({{"const", 0}});
      }
      return {{"anyOf", std::move(forms)}};
    }
    case Kind::kEnum:
      return Choices(key);
    case Kind::kString:
      return {{"type", "string"}};
    case Kind::kList:
      break;
  }
  return {{"type", "array"}, {"items", {{"type", "string"}}}, {"minItems", key.min}, {"maxItems", key.max}};
}

Json DefaultOf(const Key& key) {
  const std::vector<std::string> value = FormatValue(key, Settings());
  switch (key.kind) {
    case Kind::kList:
      return value;
    case Kind::kString:
      return value.front();
    case Kind::kEnum:
      return IsFixed(key) ? Literal(value.front()) : Json(value.front());
    default:
      return Literal(value.front());
  }
}

Json SchemaOf(const Key& key) {
  Json schema = {{"description", std::string(key.help)}};
  schema.update(TypeOf(key));
  schema["default"] = DefaultOf(key);
  if (!key.unit.empty()) schema["x-unit"] = std::string(key.unit);
  if (const std::string range = FormatRange(key); !range.empty()) schema["x-range"] = range;
  schema["x-runtime"] = key.runtime;
  return schema;
}

Json PresetSchema() {
  Json names = Json::array();
  for (const Preset& preset : Presets()) names.push_back(std::string(preset.name));
  return {{"description", "Settings for one purpose, which all others win over."}, {"enum", std::move(names)}};
}

}  // namespace

std::string RenderSchema() {
  Json sections = {{"preset", PresetSchema()}};
  for (const Key& key : Keys()) {
    const std::string section(key.section());
    if (!sections.contains(section)) {
      sections[section] = {{"description", std::string(SectionHelp(section))},
                           {"type", {"object", "null"}},  // all of its settings may be commented out
                           {"additionalProperties", false},
                           {"properties", Json::object()}};
    }
    sections[section]["properties"][std::string(key.leaf())] = SchemaOf(key);
  }
  const Json schema = {{"$schema", "http://json-schema.org/draft-07/schema#"},
                       {"title", "Settings of mptd"},
                       {"type", {"object", "null"}},
                       {"additionalProperties", false},
                       {"properties", std::move(sections)}};
  return schema.dump(2) + "\n";
}

}  // namespace mptd::config
