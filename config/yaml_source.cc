#include <cerrno>
#include <fstream>
#include <map>
#include <system_error>

#include "absl/strings/str_format.h"
#include "config/sources.h"
#include "yaml-cpp/yaml.h"

namespace mptd::config {
namespace {

// Longer than any file of settings; keeps a wrong --config from being read into memory.
constexpr size_t kMaxFileBytes = size_t{1} << 20;

// The one name at the top that is no section.
constexpr std::string_view kPreset = "preset";

std::string Where(const std::string& path, const YAML::Mark& mark) {
  return mark.is_null() ? path : absl::StrFormat("%s:%d:%d", path, mark.line + 1, mark.column + 1);
}

// One walk over one file.
class Reader {
 public:
  Reader(const std::string& path, SourceContents& contents) : path_(path), contents_(contents) {}

  void ReadDocument(const YAML::Node& root) {
    if (!root.IsDefined() || root.IsNull()) return;
    if (!root.IsMap()) return Problem(root, "", "the file must consist of sections with settings (a YAML mapping)");
    std::map<std::string, std::string> seen;
    for (const auto& entry : root) {
      const std::string name = NameOf(entry.first);
      if (name.empty() || IsRepeated(entry.first, name, seen)) continue;
      if (name == kPreset) {
        ReadPreset(entry.second);
      } else {
        ReadSection(name, entry.first, entry.second);
      }
    }
  }

 private:
  std::string Where(const YAML::Node& node) const { return config::Where(path_, node.Mark()); }

  void Problem(const YAML::Node& node, std::string_view key, std::string_view what) {
    contents_.problems.push_back(absl::StrFormat("%s: %s%s%s", Where(node), key, key.empty() ? "" : ": ", what));
  }

  // The text of a mapping's key; empty after telling that it has none.
  std::string NameOf(const YAML::Node& node) {
    if (node.IsScalar() && !node.Scalar().empty()) return node.Scalar();
    Problem(node, "", "the name of a setting or section is expected here");
    return "";
  }

  bool IsRepeated(const YAML::Node& node, const std::string& name, std::map<std::string, std::string>& seen) {
    const auto [first, is_new] = seen.emplace(name, Where(node));
    if (!is_new) Problem(node, name, absl::StrFormat("is already set at %s", first->second));
    return !is_new;
  }

  void ReadPreset(const YAML::Node& node) {
    if (!node.IsScalar()) return Problem(node, kPreset, "needs the name of a preset");
    contents_.preset = {node.Scalar(), Where(node)};
  }

  void ReadSection(const std::string& section, const YAML::Node& name_node, const YAML::Node& node) {
    if (SectionHelp(section).empty()) return UnknownSection(section, name_node);
    if (node.IsNull()) return;  // all of its settings may be commented out
    if (!node.IsMap()) return Problem(node, section, "is a section; its settings are written below it, indented");
    std::map<std::string, std::string> seen;
    for (const auto& entry : node) {
      const std::string leaf = NameOf(entry.first);
      if (leaf.empty()) continue;
      const std::string name = absl::StrFormat("%s.%s", section, leaf);
      if (IsRepeated(entry.first, name, seen)) continue;
      const Key* key = FindKey(name);
      if (key != nullptr) {
        ReadKey(*key, entry.first, entry.second);
      } else {
        std::vector<std::string_view> known;
        for (const Key& k : Keys()) known.push_back(k.name);
        Problem(entry.first, name, absl::StrFormat("there is no such setting%s", SuggestKey(name, known)));
      }
    }
  }

  void UnknownSection(const std::string& section, const YAML::Node& node) {
    if (const Key* key = FindKey(section); key != nullptr) {
      return Problem(node, section,
                     absl::StrFormat("write %s: and below it, indented, %s:", key->section(), key->leaf()));
    }
    std::vector<std::string_view> known = {kPreset};
    for (const Key& key : Keys()) {
      if (known.empty() || known.back() != key.section()) known.push_back(key.section());
    }
    // A key of a section that stands at the top is more likely a lost indentation than another section.
    const std::string in_section = SuggestKey(section, {});
    Problem(
        node, section,
        absl::StrFormat("there is no such section%s", in_section.empty() ? SuggestKey(section, known) : in_section));
  }

  void ReadKey(const Key& key, const YAML::Node& name_node, const YAML::Node& node) {
    Assignment assignment{&key, {}, Source::kFile, Where(node)};
    if (key.kind == Kind::kList) {
      if (!node.IsSequence()) {
        return Problem(node.IsNull() ? name_node : node, key.name,
                       "is a list; write its elements in brackets, or below it, each after a dash");
      }
      for (const YAML::Node& element : node) {
        if (!element.IsScalar()) return Problem(element, key.name, "an element of the list is not a single value");
        assignment.texts.push_back({element.Scalar(), Where(element)});
      }
    } else {
      if (node.IsNull()) return Problem(name_node, key.name, "has no value; write \"\" for an empty one");
      if (!node.IsScalar()) return Problem(node, key.name, "needs a single value, not a list or a mapping");
      const bool quoted = node.Tag() == "!";
      if (quoted && (key.kind == Kind::kBool || key.kind == Kind::kUnsigned)) {
        return Problem(node, key.name,
                       absl::StrFormat("\"%s\" is text because of the quotes; write it without them", node.Scalar()));
      }
      assignment.texts.push_back({node.Scalar(), assignment.where});
    }
    contents_.assignments.push_back(std::move(assignment));
  }

  const std::string& path_;
  SourceContents& contents_;
};

// The file's text, or nothing after telling why not.
std::string ReadFile(const std::string& path, SourceContents& contents) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) {
    text.resize(kMaxFileBytes + 1);
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(file.gcount()));
  }
  if (!file.is_open() || file.bad() || (file.fail() && !file.eof())) {
    contents.problems.push_back(
        absl::StrFormat("%s: cannot be read: %s", path, std::generic_category().message(errno)));
  } else if (text.size() > kMaxFileBytes) {
    contents.problems.push_back(absl::StrFormat("%s: is not a file of settings: it is longer than 1 MiB", path));
  }
  return text;
}

}  // namespace

SourceContents ReadYaml(const std::string& path) {
  SourceContents contents;
  const std::string text = ReadFile(path, contents);
  if (!contents.problems.empty()) return contents;
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) {
      contents.problems.push_back(
          absl::StrFormat("%s: has %d YAML documents; one is expected", path, documents.size()));
    } else if (!documents.empty()) {
      Reader(path, contents).ReadDocument(documents.front());
    }
  } catch (const YAML::Exception& error) {
    contents.problems.push_back(absl::StrFormat("%s: %s", Where(path, error.mark), error.msg));
  }
  return contents;
}

}  // namespace mptd::config
