#include "backup/manifest.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "backup/files.h"
#include "core/hex.h"
#include "nlohmann/json.hpp"

namespace mptd::backup {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kKind[] = "mptd checkpoint";
constexpr char kTimeFormat[] = "%Y-%m-%dT%H:%M:%SZ";

Json HashOrNull(const std::optional<Hash>& hash) { return hash.has_value() ? Json(ToHex(*hash)) : Json(nullptr); }

std::string WithoutChecksum(Json json) {
  json.erase("sha256");
  return json.dump();
}

// Reads members that must be there; the first one that is not right stays in `problem`.
class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {}

  std::string Text(const char* name) {
    const auto member = json_.find(name);
    if (member != json_.end() && member->is_string()) return member->get<std::string>();
    Complain(name);
    return {};
  }
  uint64_t Number(const char* name) {
    const auto member = json_.find(name);
    if (member != json_.end() && member->is_number_unsigned()) return member->get<uint64_t>();
    Complain(name);
    return 0;
  }
  std::optional<Hash> HashOrNull(const char* name) {
    const auto member = json_.find(name);
    if (member != json_.end() && member->is_null()) return std::nullopt;
    absl::StatusOr<Hash> hash = HashFromHex(Text(name));
    if (!hash.ok()) Complain(name);
    return hash.ok() ? std::optional<Hash>(*hash) : std::nullopt;
  }
  const Json& Array(const char* name) {
    static const auto& none = *new Json(Json::array());
    const auto member = json_.find(name);
    if (member != json_.end() && member->is_array()) return *member;
    Complain(name);
    return none;
  }
  void Complain(const std::string& name) {
    if (problem_.empty()) problem_ = name;
  }
  const std::string& problem() const { return problem_; }

 private:
  const Json& json_;
  std::string problem_;
};

// A path that stays in the checkpoint.
bool IsInside(const std::string& path) {
  const std::vector<std::string> parts = absl::StrSplit(path, '/');
  return path != kManifestName && std::none_of(parts.begin(), parts.end(), [](const std::string& part) {
           return part.empty() || part == "." || part == "..";
         });
}

bool IsSha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

void ReadFiles(Reader& manifest, std::vector<FileEntry>& files) {
  for (const Json& json : manifest.Array("files")) {
    Reader reader(json);
    FileEntry file{.path = reader.Text("path"), .bytes = reader.Number("bytes"), .sha256 = reader.Text("sha256")};
    const bool in_order = files.empty() || files.back().path < file.path;
    if (!reader.problem().empty() || !IsInside(file.path) || !IsSha256(file.sha256) || !in_order) {
      return manifest.Complain(absl::StrFormat("files[%d]", files.size()));
    }
    files.push_back(std::move(file));
  }
}

}  // namespace

uint64_t Manifest::bytes() const {
  uint64_t sum = 0;
  for (const FileEntry& file : files) sum += file.bytes;
  return sum;
}

std::string FormatManifest(const Manifest& manifest) {
  Json files = Json::array();
  for (const FileEntry& file : manifest.files) {
    files.push_back({{"path", file.path}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  Json json = {{"kind", kKind},
               {"version", kManifestVersion},
               {"daemon_version", manifest.daemon_version},
               {"created", absl::FormatTime(kTimeFormat, manifest.created, absl::UTCTimeZone())},
               {"number", manifest.block.number},
               {"hash", HashOrNull(manifest.block.hash)},
               {"parent_hash", HashOrNull(manifest.block.parent_hash)},
               {"state_root", ToHex(manifest.block.state_root)},
               {"genesis_root", HashOrNull(manifest.genesis_root)},
               {"files", std::move(files)}};
  json["sha256"] = Sha256(json.dump());
  return json.dump(2) + "\n";
}

absl::StatusOr<Manifest> ParseManifest(std::string_view text, const std::string& where) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("kind", Json()) != kKind) {
    return absl::DataLossError(absl::StrFormat("%s is not the manifest of a checkpoint, or damaged", where));
  }
  Reader reader(json);
  if (const uint64_t version = reader.Number("version"); version > kManifestVersion) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s: written by a newer mptd (manifest version %d, this program reads up to %d); upgrade",
                        where, version, kManifestVersion));
  }
  Manifest out;
  out.daemon_version = reader.Text("daemon_version");
  if (!absl::ParseTime(kTimeFormat, reader.Text("created"), &out.created, nullptr)) reader.Complain("created");
  out.block.number = reader.Number("number");
  out.block.hash = reader.HashOrNull("hash");
  out.block.parent_hash = reader.HashOrNull("parent_hash");
  const std::optional<Hash> root = reader.HashOrNull("state_root");
  if (root.has_value()) {
    out.block.state_root = *root;
  } else {
    reader.Complain("state_root");
  }
  out.genesis_root = reader.HashOrNull("genesis_root");
  ReadFiles(reader, out.files);
  const std::string checksum = reader.Text("sha256");
  if (!reader.problem().empty()) {
    return absl::DataLossError(absl::StrFormat("%s is damaged: %s is not as it must be", where, reader.problem()));
  }
  if (checksum != Sha256(WithoutChecksum(json))) {
    return absl::DataLossError(absl::StrFormat("%s is damaged: its checksum differs", where));
  }
  return out;
}

absl::StatusOr<Manifest> ReadManifest(const std::string& dir) {
  const std::string path = dir + "/" + kManifestName;
  const absl::StatusOr<std::string> text = ReadWhole(path);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(absl::StrFormat("%s is not a checkpoint: it has no file %s", dir, kManifestName));
  }
  if (!text.ok()) return text.status();
  return ParseManifest(*text, path);
}

absl::Status WriteManifest(const std::string& dir, const Manifest& manifest) {
  return WriteWhole(dir + "/" + kManifestName, FormatManifest(manifest));
}

}  // namespace mptd::backup
