#include "backup/catalog.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "backup/files.h"
#include "storage/posix_error.h"

namespace mptd::backup {
namespace {

namespace fs = std::filesystem;
using storage::PosixError;

constexpr std::string_view kPrefix = "checkpoint-";
constexpr char kTimeFormat[] = "%E4Y%m%dT%H%M%SZ";  // a plain %Y reads all digits

std::optional<std::string_view> WithoutSuffix(std::string_view name) {
  if (!name.ends_with(kPartialSuffix)) return std::nullopt;
  return name.substr(0, name.size() - std::string_view(kPartialSuffix).size());
}

// The names of the folders in `dir`; links are not followed. A daemon may be making and removing checkpoints there: a
// name that is gone before it is looked at is left out.
absl::StatusOr<std::vector<std::string>> Folders(const std::string& dir) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator it(dir, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const fs::file_status status = it->symlink_status(error);
    if (fs::is_directory(status)) names.push_back(it->path().filename());
    if (status.type() == fs::file_type::not_found) error.clear();  // libstdc++ tells it as an error, too
    if (error) break;
  }
  if (error) return PosixError("listing", dir, error.value());
  std::sort(names.begin(), names.end());
  return names;
}

// nullopt for what has nothing to do with checkpoints.
std::optional<Listed> Examine(const std::string& dir, const std::string& name) {
  const std::string path = dir + "/" + name;
  if (WithoutSuffix(name).has_value()) {
    if (!LooksLikeRemains(path)) return std::nullopt;
    return Listed{.name = name, .state = CheckpointState::kPartial, .manifest = {}, .problem = {}};
  }
  absl::StatusOr<Manifest> manifest = ReadManifest(path);
  if (absl::IsNotFound(manifest.status())) return std::nullopt;
  Listed out{.name = name, .state = CheckpointState::kDamaged, .manifest = {}, .problem = {}};
  if (!manifest.ok()) {
    out.problem = std::string(manifest.status().message());
    return out;
  }
  const absl::StatusOr<std::vector<Difference>> differences = CompareNames(path, *manifest);
  out.manifest = *std::move(manifest);
  if (!differences.ok()) {
    out.problem = std::string(differences.status().message());
  } else if (!differences->empty()) {
    out.problem = absl::StrFormat("%s %s", differences->front().path, differences->front().what);
  } else {
    out.state = CheckpointState::kComplete;
  }
  return out;
}

auto AgeOf(const Listed& listed) {
  return std::make_tuple(!listed.manifest.has_value(), listed.manifest.has_value() ? listed.manifest->block.number : 0,
                         listed.manifest.has_value() ? listed.manifest->created : absl::InfiniteFuture());
}

}  // namespace

std::string CheckpointName(uint64_t number, absl::Time created) {
  return absl::StrFormat("%s%012d-%s", kPrefix, number, absl::FormatTime(kTimeFormat, created, absl::UTCTimeZone()));
}

std::optional<uint64_t> NumberInName(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string_view rest = name.substr(kPrefix.size());
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  const size_t digits = static_cast<size_t>(end - rest.data());
  if (error != std::errc() || digits == rest.size() || rest[digits] != '-') return std::nullopt;
  absl::Time created;
  if (!absl::ParseTime(kTimeFormat, std::string(rest.substr(digits + 1)), &created, nullptr)) return std::nullopt;
  // Nothing but what CheckpointName makes.
  return CheckpointName(number, created) == name ? std::optional<uint64_t>(number) : std::nullopt;
}

absl::StatusOr<std::vector<Listed>> ListCheckpoints(const std::string& dir) {
  const absl::StatusOr<std::vector<std::string>> names = Folders(dir);
  if (!names.ok()) return names.status();
  std::vector<Listed> out;
  for (const std::string& name : *names) {
    if (std::optional<Listed> listed = Examine(dir, name); listed.has_value()) out.push_back(*std::move(listed));
  }
  std::stable_sort(out.begin(), out.end(), [](const Listed& a, const Listed& b) { return AgeOf(a) < AgeOf(b); });
  return out;
}

const Listed* Newest(const std::vector<Listed>& listed) {
  const Listed* newest = nullptr;
  for (const Listed& one : listed) {
    if (one.state != CheckpointState::kComplete) continue;
    if (newest == nullptr || one.manifest->created >= newest->manifest->created) newest = &one;
  }
  return newest;
}

bool LooksLikeRemains(const std::string& path) {
  static constexpr std::string_view kKnown[] = {
      "db", "db.tmp", "FORMAT", "FORMAT.tmp", "CHECKPOINT.json", "CHECKPOINT.json.tmp", "KEYS", "KEYS.tmp"};
  std::error_code error;
  if (!fs::is_directory(fs::symlink_status(path, error))) return false;
  fs::directory_iterator it(path, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename();
    if (std::find(std::begin(kKnown), std::end(kKnown), name) == std::end(kKnown)) return false;
  }
  return !error;
}

absl::Status RemoveTree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return error ? PosixError("removing", path, error.value()) : absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> RemoveRemains(const std::string& dir) {
  const absl::StatusOr<std::vector<std::string>> names = Folders(dir);
  if (!names.ok()) return names.status();
  std::vector<std::string> removed;
  for (const std::string& name : *names) {
    const std::optional<std::string_view> stem = WithoutSuffix(name);
    const std::string path = absl::StrCat(dir, "/", name);
    if (!stem.has_value() || !NumberInName(*stem).has_value() || !LooksLikeRemains(path)) continue;
    if (absl::Status status = RemoveTree(path); !status.ok()) return status;
    removed.push_back(name);
  }
  return removed;
}

absl::StatusOr<std::vector<std::string>> RemoveOldest(const std::string& dir, uint64_t keep) {
  absl::StatusOr<std::vector<Listed>> listed = ListCheckpoints(dir);
  if (!listed.ok()) return listed.status();
  std::erase_if(*listed, [](const Listed& one) {
    return one.state != CheckpointState::kComplete || NumberInName(one.name) != one.manifest->block.number;
  });
  // By age, not by block: after a rollback the newer one may have the lower number.
  std::stable_sort(listed->begin(), listed->end(),
                   [](const Listed& a, const Listed& b) { return a.manifest->created < b.manifest->created; });
  std::vector<std::string> removed;
  for (size_t i = 0; i + keep < listed->size(); ++i) {
    const std::string& name = (*listed)[i].name;
    // Under a name that says so, in case that this is interrupted.
    const std::string path = absl::StrCat(dir, "/", name);
    const std::string going = path + kPartialSuffix;
    if (absl::Status status = MoveDirectory(path, going, /*over_empty=*/false); !status.ok()) return status;
    if (absl::Status status = RemoveTree(going); !status.ok()) return status;
    removed.push_back(name);
  }
  return removed;
}

}  // namespace mptd::backup
