// The trials of what the engine depends on, and of what it does when that fails.
#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "checkup/folder_check.h"
#include "checkup/trial.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "storage/log_file.h"

namespace mptd::checkup {
namespace {

namespace fs = std::filesystem;
using Shown = absl::StatusOr<std::string>;

// What the specification asks of the two that nothing works without.
constexpr absl::Duration kSlowHash = absl::Microseconds(10);
constexpr absl::Duration kSlowStorage = absl::Milliseconds(200);

// Each implementation that this processor has, in all its lanes, against the known hash of "abc".
absl::Status CheckKeccak() {
  constexpr size_t kLanes = 16;
  const absl::StatusOr<Hash> known = HashFromHex("0x4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
  if (!known.ok()) return known.status();
  for (const KeccakImpl impl : {KeccakImpl::kScalar, KeccakImpl::kAvx2, KeccakImpl::kAvx512}) {
    if (!KeccakImplSupported(impl)) continue;
    std::array<Hash, kLanes> hashes;
    std::vector<KeccakJob> jobs;
    jobs.reserve(kLanes);
    for (Hash& hash : hashes) jobs.push_back({.input = "abc", .output = hash.bytes.data()});
    Keccak256BatchWith(impl, jobs);
    if (std::any_of(hashes.begin(), hashes.end(), [&](const Hash& hash) { return hash != *known; })) {
      return Wrong(absl::StrFormat("CRYPTOGRAPHIC_SIGNING: Keccak-256 with %s gives wrong hashes",
                                   KeccakImplName(impl)));
    }
  }
  return absl::OkStatus();
}

// The fastest of a few, as others may want the processor as well.
absl::Duration MeasureHash() {
  absl::Duration fastest = absl::InfiniteDuration();
  for (int i = 0; i < 100; ++i) {
    const absl::Time begin = absl::Now();
    const Hash hash = Keccak256("dependency_health_check");
    const absl::Duration took = absl::Now() - begin;
    if (!hash.IsZero()) fastest = std::min(fastest, took);
  }
  return fastest;
}

// The fastest of a few blocks that are durable.
absl::StatusOr<absl::Duration> MeasureStorage(const TrialOptions& options) {
  const absl::StatusOr<std::unique_ptr<Trial>> trial =
      Trial::Open(options, "storage", [](EngineOptions& engine) { engine.durability = Durability::kSync; });
  if (!trial.ok()) return trial.status();
  absl::Duration fastest = absl::InfiniteDuration();
  for (uint64_t i = 0; i < 5; ++i) {
    const absl::Time begin = absl::Now();
    if (absl::Status status = (*trial)->Apply({TrialAccount(i)}).status(); !status.ok()) return status;
    fastest = std::min(fastest, absl::Now() - begin);
  }
  return fastest;
}

// The change log's files on a disk that is full when it is told to be.
class FillingDisk : public storage::LogFileSystem {
 public:
  void Fill() { full_ = true; }
  void Empty() { full_ = false; }

  absl::StatusOr<std::unique_ptr<storage::LogFile>> Open(const std::string& path, Mode mode) override {
    if (mode == Mode::kCreate && full_) return Full();
    absl::StatusOr<std::unique_ptr<storage::LogFile>> file = disk_.Open(path, mode);
    if (!file.ok()) return file;
    return std::make_unique<File>(*std::move(file), full_);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override { return disk_.Rename(from, to); }
  absl::Status Remove(const std::string& path) override { return disk_.Remove(path); }
  absl::Status SyncDir(const std::string& dir) override { return disk_.SyncDir(dir); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& dir) override { return disk_.List(dir); }
  absl::Status MakeDir(const std::string& dir) override { return disk_.MakeDir(dir); }
  uint64_t FreeBytes(const std::string& dir) override { return full_ ? 0 : disk_.FreeBytes(dir); }

 private:
  class File : public storage::LogFile {
   public:
    File(std::unique_ptr<storage::LogFile> file, const std::atomic<bool>& full) : file_(std::move(file)), full_(full) {}
    absl::Status Write(uint64_t offset, std::span<const std::string_view> parts) override {
      return full_ ? Full() : file_->Write(offset, parts);
    }
    absl::Status Read(uint64_t offset, uint64_t count, std::string* bytes) const override {
      return file_->Read(offset, count, bytes);
    }
    absl::Status Sync() override { return full_ ? Full() : file_->Sync(); }
    absl::StatusOr<uint64_t> Size() const override { return file_->Size(); }

   private:
    const std::unique_ptr<storage::LogFile> file_;
    const std::atomic<bool>& full_;
  };

  static absl::Status Full() { return absl::ResourceExhaustedError("the disk is full, for a trial"); }

  storage::LogFileSystem& disk_ = *storage::PosixLogFileSystem();
  std::atomic<bool> full_{false};
};

// A disk that fills up: the block is refused, what was acknowledged is still read, and a restart has exactly that.
absl::Status TryFullDisk(const TrialOptions& options) {
  FillingDisk disk;
  const absl::StatusOr<std::unique_ptr<Trial>> trial = Trial::Open(options, "full", [&](EngineOptions& engine) {
    engine.durability = Durability::kSync;
    engine.flush_interval = absl::Hours(1);  // all of it is in the change log, and in memory
    engine.log_files = &disk;
  });
  if (!trial.ok()) return trial.status();
  absl::StatusOr<BlockInfo> last = absl::UnknownError("");
  for (uint64_t i = 0; i < 10; ++i) {
    last = (*trial)->Apply({TrialAccount(i)});
    if (!last.ok()) return last.status();
  }
  disk.Fill();
  if ((*trial)->Apply({TrialAccount(10)}).ok()) return Wrong("a block was acknowledged that a full disk has no room for");
  absl::StatusOr<StateViewPtr> view = (*trial)->Head();
  if (!view.ok()) return Wrong(absl::StrCat("no reads while the disk is full: ", view.status().message()));
  if ((*view)->block() != *last) return Wrong("a block that was refused can be seen");
  view->reset();  // before the engine
  (*trial)->Close();
  disk.Empty();
  if (absl::Status status = (*trial)->Reopen(); !status.ok()) return status;
  const EngineStatus status = (*trial)->engine().Status();
  if (status.has_blocks && status.head == *last) return absl::OkStatus();
  return Wrong(absl::StrFormat("after a full disk and a restart the head is block %d, %d was acknowledged",
                               status.head.number, last->number));
}

// The largest table of a folder that no engine has.
std::string LargestTable(const std::string& dir) {
  std::string largest;
  uintmax_t most = 0;
  std::error_code error;
  for (fs::directory_iterator it(dir + "/db", error); !error && it != fs::directory_iterator(); it.increment(error)) {
    if (it->path().extension() != ".sst") continue;
    const uintmax_t bytes = it->file_size(error);
    if (error || bytes <= most) continue;
    most = bytes;
    largest = it->path();
  }
  return largest;
}

absl::Status FlipBit(const std::string& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(100);
  const int byte = file.get();
  file.seekp(100);
  file.put(static_cast<char>(byte ^ 1));
  file.close();
  return file.good() ? absl::OkStatus() : absl::UnavailableError(absl::StrCat("cannot change ", path));
}

// One bit of a table turns over: the damaged file is named.
absl::Status TryDamage(const TrialOptions& options) {
  const absl::StatusOr<std::unique_ptr<Trial>> trial = Trial::Open(options, "damage");
  if (!trial.ok()) return trial.status();
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < 1000; ++i) changes.push_back(TrialAccount(i));
  if (absl::Status status = (*trial)->Apply(std::move(changes)).status(); !status.ok()) return status;
  if (absl::Status status = (*trial)->Flush(); !status.ok()) return status;
  (*trial)->Close();
  const std::string& dir = (*trial)->options().data_dir;
  const std::string table = LargestTable(dir);
  if (table.empty()) return Wrong("no tables after a flush");
  if (absl::Status status = FlipBit(table); !status.ok()) return status;
  const absl::StatusOr<FolderReport> report = CheckFolder(dir, options.engine.encryption_key);
  if (!report.ok()) return report.status();
  const bool named = std::any_of(report->damage.begin(), report->damage.end(),
                                 [&](const Damage& damage) { return damage.file == table; });
  return named ? absl::OkStatus() : Wrong("a bit was turned over in a table, and nobody noticed");
}

Shown ShowDependencies(const TrialOptions& options, bool& slow) {
  if (absl::Status status = CheckKeccak(); !status.ok()) return status;
  const absl::Duration hash = MeasureHash();
  const absl::StatusOr<absl::Duration> storage = MeasureStorage(options);
  if (!storage.ok()) return storage.status();
  slow = hash > kSlowHash || *storage > kSlowStorage;
  return absl::StrFormat("CRYPTOGRAPHIC_SIGNING: right in every lane, %.2f us a hash; DATA_STORAGE: %.1f ms a block",
                         absl::ToDoubleMicroseconds(hash), absl::ToDoubleMilliseconds(*storage));
}

Shown ShowRecovery(const TrialOptions& options) {
  if (absl::Status status = TryFullDisk(options); !status.ok()) return status;
  if (absl::Status status = TryDamage(options); !status.ok()) return status;
  return "with a full disk no block is acknowledged, reads go on, and a restart has what was acknowledged; a bit that "
         "turns over in a table is noticed";
}

}  // namespace

Finding TryDependencies(const TrialOptions& options) {
  bool slow = false;
  Finding out = ToFinding("dependencies",
                          absl::StrFormat("right hashes in less than %.0f us, durable blocks in less than %.0f ms",
                                          absl::ToDoubleMicroseconds(kSlowHash),
                                          absl::ToDoubleMilliseconds(kSlowStorage)),
                          ShowDependencies(options, slow));
  if (slow) {
    out.outcome = Outcome::kWarning;
    out.advice = "look for what else uses processor and disk (top, iostat); see disk_speed and cpu";
  }
  return out;
}

Finding TryErrorRecovery(const TrialOptions& options) {
  return ToFinding("error_recovery", "a full disk and damage cost nothing that was acknowledged, and are told",
                   ShowRecovery(options));
}

}  // namespace mptd::checkup
