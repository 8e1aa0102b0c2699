#include "config/config.h"

#include <filesystem>
#include <map>
#include <set>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "config/exposure.h"
#include "config/memory.h"
#include "config/nearest.h"
#include "config/presets.h"
#include "config/render.h"
#include "config/schema.h"
#include "config/sources.h"
#include "config/values.h"

namespace mptd::config {
namespace {

std::string_view Prefix(Source source) {
  switch (source) {
    case Source::kFlag:
      return "flag ";
    case Source::kEnvironment:
      return "environment variable ";
    case Source::kPreset:
      return "preset ";
    case Source::kFile:
    case Source::kDerived:
    case Source::kDefault:
      break;
  }
  return "";
}

// "mptd.yaml:4:9: persistence.mode: ..."; flags and variables name the key themselves.
std::string Problem(const Assignment& assignment, std::string_view where, std::string_view what) {
  const bool named = assignment.source == Source::kFile || assignment.source == Source::kPreset;
  const std::string key = named ? absl::StrFormat("%s: ", assignment.key->name) : "";
  return absl::StrFormat("%s%s: %s%s", Prefix(assignment.source), where, key, what);
}

std::string ElementProblem(const Assignment& assignment, const Text& text, std::string_view what) {
  return Problem(assignment, text.where, absl::StrFormat("\"%s\" %s", text.text, what));
}

// Everything that Load() gathers.
struct Gathered {
  Settings settings;
  std::map<const Key*, const Assignment*> winners;
  std::string preset;
  std::set<const Key*> derived;  // from limits.max_memory_bytes
  std::vector<std::string> problems;
};

void Apply(const Assignment& assignment, Gathered& gathered) {
  const Key& key = *assignment.key;
  const size_t problems_before = gathered.problems.size();
  if (key.kind != Kind::kList) {
    const Text& text = assignment.texts.front();
    const std::string what = SetScalar(key, text.text, gathered.settings);
    if (!what.empty()) gathered.problems.push_back(ElementProblem(assignment, text, what));
  } else {
    std::vector<std::string> elements;
    for (const Text& text : assignment.texts) {
      const std::string what = key.check(text.text);
      if (!what.empty()) gathered.problems.push_back(ElementProblem(assignment, text, what));
      elements.push_back(text.text);
    }
    const std::string what = SetList(key, std::move(elements), gathered.settings);
    if (!what.empty()) gathered.problems.push_back(Problem(assignment, assignment.where, what));
  }
  if (gathered.problems.size() == problems_before) gathered.winners[&key] = &assignment;
}

void ApplyAll(const SourceContents& contents, Gathered& gathered) {
  gathered.problems.insert(gathered.problems.end(), contents.problems.begin(), contents.problems.end());
  for (const Assignment& assignment : contents.assignments) Apply(assignment, gathered);
}

// The preset's settings, which come before all others. A wrong name is told, wherever it stands.
SourceContents ReadPreset(std::initializer_list<const SourceContents*> strongest_first, Gathered& gathered) {
  SourceContents contents;
  for (const SourceContents* source : strongest_first) {
    if (!source->preset) continue;
    const Text& text = *source->preset;
    const Preset* preset = FindPreset(text.text);
    if (preset == nullptr) {
      std::vector<std::string_view> names;
      for (const Preset& known : Presets()) names.push_back(known.name);
      gathered.problems.push_back(absl::StrFormat("%s: preset: \"%s\" is not one of %s%s", text.where, text.text,
                                                  absl::StrJoin(names, ", ", absl::StreamFormatter()),
                                                  DidYouMean(text.text, names)));
    } else if (gathered.preset.empty()) {
      gathered.preset = text.text;
      for (const PresetSetting& setting : preset->settings) {
        contents.assignments.push_back(
            {FindKey(setting.key), {{std::string(setting.value), text.text}}, Source::kPreset, text.text});
      }
    }
  }
  return contents;
}

// Gives what nobody has set its part of the memory.
void DeriveFromMemory(Gathered& gathered) {
  const uint64_t limit = gathered.settings.limits.max_memory_bytes;
  if (limit == 0) return;
  for (const MemoryShare& share : MemoryShares()) {
    const Key* key = FindKey(share.key);
    if (gathered.winners.contains(key)) continue;
    const std::string what = SetScalar(*key, ShareOf(share, limit), gathered.settings);
    if (what.empty()) gathered.derived.insert(key);
  }
}

// Tells what is wrong with a key's value once all are known. The value is not its default.
void RefuseValue(Gathered& gathered, std::string_view name, std::string_view what) {
  const Assignment& winner = *gathered.winners.at(FindKey(name));
  gathered.problems.push_back(Problem(winner, winner.where, what));
}

// Whether a path is a folder or in it, by the names alone.
bool IsInside(const std::string& path, const std::string& folder) {
  std::error_code error;
  const std::filesystem::path from = std::filesystem::absolute(folder, error).lexically_normal() / "";
  const std::string relative =
      (std::filesystem::absolute(path, error).lexically_normal() / "").lexically_relative(from).string();
  return !error && !relative.starts_with("..");
}

// What no single value can tell.
void CheckTogether(Gathered& gathered) {
  const Settings& settings = gathered.settings;
  if (settings.persistence.enable_compression && settings.persistence.compression_algo == Compression::kNone) {
    RefuseValue(gathered, "persistence.enable_compression",
                "is true, but persistence.compression_algo is none; write snappy, lz4 or zstd there");
  }
  if (const std::string what = CheckMemory(settings); !what.empty()) {
    RefuseValue(gathered, "limits.max_memory_bytes", what);
  }
  for (const auto& [key, what] : CheckExposure(settings)) RefuseValue(gathered, key, what);
  std::set<std::string> addresses;
  for (const std::string& address : settings.server.listen) {
    const bool any_port = address.ends_with(":0");
    if (!any_port && !addresses.insert(address).second) {
      RefuseValue(gathered, "server.listen", absl::StrFormat("\"%s\" is there twice", address));
    }
  }
  if (addresses.contains(settings.server.admin_listen)) {
    RefuseValue(gathered, "server.admin_listen", "is also in server.listen; give AdminService an address of its own");
  }
  if (!settings.backup.dir.empty() && IsInside(settings.backup.dir, settings.server.data_dir)) {
    RefuseValue(gathered, "backup.dir", "is inside server.data_dir; name a folder outside of it, best on another disk");
  }
  std::set<std::string> modules;
  const Settings::Security& security = settings.security;
  if (!security.encryption_key_env.empty() && !security.encryption_key_file.empty()) {
    RefuseValue(gathered, "security.encryption_key_env", "is set beside security.encryption_key_file; keep one");
  }
  if (!security.encryption_key_command.empty() &&
      (!security.encryption_key_file.empty() || !security.encryption_key_env.empty())) {
    RefuseValue(gathered, "security.encryption_key_command", "is set beside another source of the key; keep one");
  }
  for (const std::string& level : settings.logging.module_levels) {
    const std::string module = level.substr(0, level.find('='));
    if (!modules.insert(module).second) {
      RefuseValue(gathered, "logging.module_levels", absl::StrFormat("the module %s is there twice", module));
    }
  }
}

std::vector<Entry> MakeEntries(const Gathered& gathered) {
  std::vector<Entry> entries;
  for (const Key& key : Keys()) {
    Entry entry{std::string(key.name), FormatLine(key, gathered.settings), Source::kDefault, "", key.runtime};
    if (const auto winner = gathered.winners.find(&key); winner != gathered.winners.end()) {
      entry.source = winner->second->source;
      entry.where = winner->second->where;
    } else if (gathered.derived.contains(&key)) {
      entry.source = Source::kDerived;
      entry.where = "limits.max_memory_bytes";
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

absl::Status Refuse(const std::vector<std::string>& problems) {
  return absl::InvalidArgumentError(absl::StrJoin(problems, "\n"));
}

std::optional<std::string> Print(Action action, const Loaded& loaded) {
  switch (action) {
    case Action::kCheck:
      return "The configuration is valid.\n";
    case Action::kPrintYaml:
      return RenderYaml(loaded);
    case Action::kPrintJson:
      return RenderJson(loaded);
    default:
      return std::nullopt;
  }
}

// The answers that do not depend on any setting, so that nothing wrong with one can stand in their way.
std::optional<std::string> PrintAnyway(Action action, std::string_view version) {
  switch (action) {
    case Action::kHelp:
      return RenderHelp();
    case Action::kVersion:
      return absl::StrFormat("mptd %s\n", version);
    case Action::kPrintDocs:
      return RenderDocs();
    case Action::kPrintExample:
      return RenderExample();
    case Action::kPrintSchema:
      return RenderSchema();
    default:
      return std::nullopt;
  }
}

}  // namespace

std::string_view Name(PersistenceMode mode) { return FindKey("persistence.mode")->choices[static_cast<size_t>(mode)]; }

std::string_view Name(Compression algorithm) {
  return FindKey("persistence.compression_algo")->choices[static_cast<size_t>(algorithm)];
}

std::string_view Name(Source source) {
  switch (source) {
    case Source::kDefault:
      return "default";
    case Source::kDerived:
      return "derived";
    case Source::kPreset:
      return "preset";
    case Source::kFile:
      return "file";
    case Source::kEnvironment:
      return "environment";
    case Source::kFlag:
      break;
  }
  return "flag";
}

std::string Origin(const Entry& entry) {
  const std::string source(Name(entry.source));
  return entry.where.empty() ? source : absl::StrFormat("%s %s", source, entry.where);
}

std::string SuggestKey(std::string_view name, const std::vector<std::string_view>& known) {
  // The right key in the wrong section, or in none.
  const size_t dot = name.rfind('.');
  const std::string_view leaf = dot == std::string_view::npos ? name : name.substr(dot + 1);
  for (const Key& key : Keys()) {
    if (key.leaf() == leaf) return absl::StrFormat("; did you mean %s?", key.name);
  }
  return DidYouMean(name, known);
}

absl::StatusOr<Loaded> Load(int argc, const char* const* argv, const char* const* environment,
                            std::string_view version) {
  const Flags flags = ReadFlags(argc, argv);
  Loaded loaded;
  loaded.print = PrintAnyway(flags.action, version);
  if (loaded.print) return loaded;

  const Environment variables = ReadEnvironment(environment);
  const std::string& path = flags.config_file.empty() ? variables.config_file : flags.config_file;
  const SourceContents file = path.empty() ? SourceContents() : ReadYaml(path);

  Gathered gathered;
  const SourceContents preset = ReadPreset({&flags, &variables, &file}, gathered);
  ApplyAll(preset, gathered);
  ApplyAll(file, gathered);
  ApplyAll(variables, gathered);
  ApplyAll(flags, gathered);
  DeriveFromMemory(gathered);
  if (gathered.problems.empty()) CheckTogether(gathered);
  if (!gathered.problems.empty()) return Refuse(gathered.problems);

  loaded.settings = gathered.settings;
  loaded.preset = gathered.preset;
  loaded.entries = MakeEntries(gathered);
  loaded.print = Print(flags.action, loaded);
  return loaded;
}

}  // namespace mptd::config
