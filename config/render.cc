#include "config/render.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "config/presets.h"
#include "config/schema.h"
#include "config/sources.h"
#include "config/values.h"
#include "nlohmann/json.hpp"

namespace mptd::config {
namespace {

constexpr size_t kLineWidth = 100;

constexpr std::string_view kUsage = R"(mptd: holds Ethereum's state in a Merkle Patricia Trie and serves it over gRPC.

Usage: mptd [--config FILE] [--KEY VALUE | --KEY=VALUE]...
       mptd check [OPTION]... [--config FILE] [--KEY VALUE]...  is this machine fit for these settings?
       mptd import --number N [OPTION]... FILE                begin with the state in FILE: mptd import --help

A flag wins over an environment variable (persistence.mode is MPTD_PERSISTENCE_MODE), that over the YAML file that
--config or MPTD_CONFIG names (mode: below persistence:), and that over the default. The elements of a list are
separated by commas, or the flag is repeated.

  --config FILE          the YAML file to read
  --check-config         say whether the configuration is valid, and exit
  --preset NAME          settings for one purpose, which all others win over (MPTD_PRESET, or preset: in the file)
  --print-config[=json]  print every setting and where it comes from, as YAML or JSON, and exit
  --print-config-schema  print a JSON schema of the YAML file, for editors and checks, and exit
  --version              print the version, and exit
  -h, --help             print this, and exit
)";

constexpr std::string_view kDocsHead = R"(# Configuration of mptd

<!-- Made by `mptd --print-config-docs` from the table in config/schema.cc; a test compares them. -->

Every setting is given in one of five ways. The first that has it wins:

1. a flag: `--persistence.mode sync` or `--persistence.mode=sync`;
2. an environment variable: `MPTD_PERSISTENCE_MODE=sync`;
3. the YAML file named by `--config FILE` or `MPTD_CONFIG` (`--config` wins):
   `persistence:` and below it, indented, `mode: sync`;
4. a preset (below): `--preset low_memory`, `MPTD_PRESET=low_memory`, or `preset: low_memory` at the top of the file;
5. its default.

`config/mptd.example.yaml` is a file with every setting at its default, to copy from.

- Sizes are bytes, or a number followed by `KiB`, `MiB`, `GiB` or `TiB`: `512MiB`.
- Durations are a number followed by `ms`, `s`, `m` or `h`: `30s`. Where the key ends in `_ms`, a number alone is milliseconds.
- A list is a YAML list; in a variable its elements are separated by commas, and a flag may also be repeated.
- Relative paths are relative to the folder that the daemon is started in.
- A key, flag or variable beginning with `MPTD_` that is not listed here is refused, as are values that do not fit,
  keys that stand twice, and values of the wrong type; the message says where. Every value is checked, also when another
  source wins. The variables that Kubernetes makes for a service called mptd (`MPTD_SERVICE_HOST`, `MPTD_PORT`, ...) are
  ignored.

`mptd --check-config` says whether the configuration is valid (exit code 0, else 1), `mptd --print-config` prints every
value and where it comes from (`--print-config=json` for programs; `mptctl config` asks a running daemon), `mptd --help` lists
the settings. `mptd --print-config-schema` prints a JSON schema of the file, for editors and checks before a roll-out.

All settings take effect when the daemon starts; those marked so can also be changed while it runs: change the file, then
send SIGHUP, or run `mptctl reload-config` (`AdminService.ReloadConfig`). The answer and the log (`config_reloaded`) name what took
effect and what waits for a restart. A file with an error changes nothing; the error is in the answer and the log
(`config_refused`). Flags and variables are those that the daemon was started with, and still win.
)";

constexpr std::string_view kPresetsHead = R"(
## Presets

A preset sets several settings at once; whatever is set anywhere else wins over it. `mptd --preset low_memory --print-config` shows
what comes of it.
)";

constexpr std::string_view kExampleHead =
    R"(# Settings of mptd, each with its default. Copy this file, and remove the "# " before those that you change.
# Made by `mptd --print-config-example`. docs/CONFIGURATION.md says more; `mptd --config FILE --check-config` checks a file.
)";

// Lines of at most kLineWidth columns, each after `indent`.
std::string Wrap(std::string_view text, std::string_view indent) {
  std::string out;
  size_t column = 0;
  for (const auto word : absl::StrSplit(std::string(text), ' ')) {
    if (column != 0 && column + 1 + word.size() > kLineWidth) {
      out.push_back('\n');
      column = 0;
    }
    out.append(column == 0 ? indent : " ");
    column += (column == 0 ? indent.size() : 1) + word.size();
    out.append(word.data(), word.size());
  }
  out.push_back('\n');
  return out;
}

// Whether YAML reads a plain scalar as just this text, in a list as well.
bool IsPlain(const std::string& text) {
  constexpr std::string_view kSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=-+";
  if (text.empty() || text.find_first_not_of(kSafe) != std::string::npos) return false;
  if (text.front() == '-' || text.front() == ':' || text.front() == '=' || text.back() == ':') return false;
  const std::string lower = absl::AsciiStrToLower(text);
  return lower != "null";
}

std::string YamlScalar(const std::string& text) {
  if (IsPlain(text)) return text;
  // JSON's strings are YAML's as well.
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string YamlValue(const Key& key, const Settings& settings) {
  const std::vector<std::string> value = FormatValue(key, settings);
  if (key.kind != Kind::kList) return YamlScalar(value.front());
  std::vector<std::string> elements;
  elements.reserve(value.size());
  for (const std::string& element : value) elements.push_back(YamlScalar(element));
  return absl::StrFormat("[%s]", absl::StrJoin(elements, ", "));
}

// A comment ends with its line, whatever a file's name contains.
std::string CommentText(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return out;
}

nlohmann::ordered_json JsonValue(const Key& key, const Settings& settings) {
  const std::vector<std::string> value = FormatValue(key, settings);
  switch (key.kind) {
    case Kind::kBool:
      return value.front() == "true";
    case Kind::kUnsigned: {
      uint64_t number = 0;
      if (absl::SimpleAtoi(value.front(), &number)) return number;
      return value.front();
    }
    case Kind::kList:
      return value;
    default:
      return value.front();
  }
}

// "Default: 16MiB. Allowed: 1MiB to 1GiB."
std::string DefaultAndRange(const Key& key) {
  const std::string value = FormatLine(key, Settings());
  const std::string range = key.kind == Kind::kBool || key.kind == Kind::kList ? "" : FormatRange(key);
  return absl::StrFormat("Default: %s.%s", value.empty() ? "empty" : value,
                         range.empty() ? "" : absl::StrFormat(" Allowed: %s.", range));
}

template <typename OnSection, typename OnKey>
void ForEachKey(OnSection on_section, OnKey on_key) {
  std::string_view section;
  for (const Key& key : Keys()) {
    if (key.section() != section) {
      section = key.section();
      on_section(section);
    }
    on_key(key);
  }
}

void AppendKeyDocs(const Key& key, std::string& out) {
  absl::StrAppendFormat(&out, "\n### `%s`\n\n%s\n\n", key.name, key.help);
  const std::string value = FormatLine(key, Settings());
  absl::StrAppendFormat(&out, "- default: %s\n", value.empty() ? "empty" : absl::StrFormat("`%s`", value));
  const std::string range = FormatRange(key);
  absl::StrAppendFormat(&out, "- type: %s%s%s\n", KindName(key.kind), range.empty() ? "" : ", ", range);
  absl::StrAppendFormat(&out, "- flag: `--%s`", key.name);
  if (!key.alias.empty()) absl::StrAppendFormat(&out, " or `--%s`", key.alias);
  absl::StrAppendFormat(&out, "\n- variable: `%s`", VariableName(key.name));
  if (!key.alias.empty()) absl::StrAppendFormat(&out, " or `%s`", VariableName(key.alias));
  if (key.runtime) out += "\n- can be changed while the daemon runs";
  out += "\n";
}

void AppendPresetDocs(std::string& out) {
  out += kPresetsHead;
  for (const Preset& preset : Presets()) {
    absl::StrAppendFormat(&out, "\n### `%s`\n\n%s\n\n", preset.name, preset.help);
    for (const PresetSetting& setting : preset.settings) {
      absl::StrAppendFormat(&out, "- `%s`: `%s`\n", setting.key, setting.value);
    }
  }
}

}  // namespace

std::string RenderHelp() {
  std::string out(kUsage);
  ForEachKey(
      [&](std::string_view section) { absl::StrAppendFormat(&out, "\n%s: %s\n", section, SectionHelp(section)); },
      [&](const Key& key) {
        absl::StrAppendFormat(&out, "\n  --%s %s", key.name, absl::AsciiStrToUpper(std::string(KindName(key.kind))));
        if (!key.alias.empty()) absl::StrAppendFormat(&out, "  (or --%s)", key.alias);
        out += "\n" + Wrap(key.help, "      ") + Wrap(DefaultAndRange(key), "      ");
      });
  return out;
}

std::string RenderYaml(const Loaded& loaded) {
  std::string out;
  if (!loaded.preset.empty()) absl::StrAppendFormat(&out, "preset: %s\n", loaded.preset);
  size_t next = 0;
  ForEachKey(
      [&](std::string_view section) { absl::StrAppendFormat(&out, "%s%s:\n", out.empty() ? "" : "\n", section); },
      [&](const Key& key) {
        const Entry& entry = loaded.entries.at(next++);
        absl::StrAppendFormat(&out, "  %s: %s  # %s\n", key.leaf(), YamlValue(key, loaded.settings),
                              CommentText(Origin(entry)));
      });
  return out;
}

std::string RenderJson(const Loaded& loaded) {
  nlohmann::ordered_json out;
  size_t next = 0;
  for (const Key& key : Keys()) {
    const Entry& entry = loaded.entries.at(next++);
    nlohmann::ordered_json& object = out[std::string(key.name)];
    object["value"] = JsonValue(key, loaded.settings);
    object["source"] = std::string(Name(entry.source));
    if (!entry.where.empty()) object["where"] = entry.where;
  }
  return out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string RenderDocs() {
  std::string out(kDocsHead);
  AppendPresetDocs(out);
  ForEachKey(
      [&](std::string_view section) { absl::StrAppendFormat(&out, "\n## %s\n\n%s\n", section, SectionHelp(section)); },
      [&](const Key& key) { AppendKeyDocs(key, out); });
  return out;
}

std::string RenderExample() {
  std::string out(kExampleHead);
  out += "\n# The first is a preset that the others win over: low_latency, high_throughput, low_memory or archival.\n";
  out += "# preset: low_memory\n";
  ForEachKey([&](std::string_view section) { absl::StrAppendFormat(&out, "\n%s:\n", section); },
             [&](const Key& key) {
               out += "\n" + Wrap(key.help, "  # ");
               const std::string range = FormatRange(key);
               if (!range.empty() && key.kind != Kind::kBool)
                 out += Wrap(absl::StrFormat("Allowed: %s.", range), "  # ");
               absl::StrAppendFormat(&out, "  # %s: %s\n", key.leaf(), YamlValue(key, Settings()));
             });
  return out;
}

}  // namespace mptd::config
