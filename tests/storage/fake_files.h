// A disk in memory that can fail at any operation and lose power. It is the change log's LogFileSystem, and through
// fake_table_files.h RocksDB's FileSystem too, so that both can be on one disk, with one count of operations.
//
// What a power cut leaves: every 512-byte sector that was written since its file's last sync either reaches the disk or
// does not, each for itself, and so does the growth of the file; changes of names since the last SyncDir of their
// folder reach it up to some point, and removals before that point may be lost each for itself. Folders are there at
// once. A sync that fails leaves the written bytes readable and forgets that they were to be written, as Linux does.
// Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "storage/log_file.h"
#include "storage/mutex.h"
#include "tests/storage/test_support.h"

namespace mptd::storage {

enum class Fault : uint8_t {
  kNone,
  kError,         // the operation fails and does nothing
  kShortWrite,    // a write does a part of its work and fails; other operations fail
  kTornWrite,     // as kShortWrite, and the part is any of the write's sectors
  kNoSpace,       // a write that grows a file, or makes one, finds the disk full after a part of it
  kNoSpaceStays,  // as kNoSpace, and so do all later ones until Heal
  kDelay,         // the operation takes its time; others go past it
  kCrash,         // this and every later operation fails: the process is gone
};

// What is counted and can fail at its number. Whatever is not counted still fails after a crash.
enum class Counted : uint8_t { kAll, kNoReads, kReads };

enum class PowerCut : uint8_t {
  kKeepAll,  // only the process died
  kDropAll,  // nothing that was not synced is there
  kRandom,   // any part of it is
};

class FakeFiles final : public LogFileSystem {
 public:
  // How a file grows on the disk when it is not synced. kInOrder: what is there of the new part is written, as with
  // ext4, XFS and Btrfs, which note a file's size when the data is there; RocksDB counts on it. kAnyOrder: its sectors
  // are on the disk or not, each for itself.
  enum class Growth : uint8_t { kAnyOrder, kInOrder };

  explicit FakeFiles(uint64_t seed, Growth growth = Growth::kAnyOrder) : growth_(growth), random_(seed) {}

  // The `at`-th operation from now on, counted from 1, meets `fault`.
  void Arm(uint64_t at, Fault fault, Counted counted = Counted::kAll);
  void Heal() { Arm(0, Fault::kNone); }
  uint64_t operations() const;  // since the last Arm
  // Called once, by the next Sync of a file on the thread that calls this, when all is written and before it returns.
  // Other threads' syncs leave it alone.
  void OnceAfterSync(std::function<void()> call);
  // What a new process finds. Files that are still open belong to the old one and fail.
  void Restart(PowerCut cut);

  // The bytes that a reader sees; "" when there is no such file.
  std::string Content(const std::string& path) const;
  // Changes both what is read and what is on the disk.
  void Overwrite(const std::string& path, const std::string& content);
  // All files, in order.
  std::vector<std::string> Paths() const;

  // What all files together may take; more is a full disk, without any fault.
  void SetCapacity(uint64_t bytes);

  absl::StatusOr<std::unique_ptr<LogFile>> Open(const std::string& path, Mode mode) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status SyncDir(const std::string& dir) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& dir) override;
  absl::Status MakeDir(const std::string& dir) override;
  uint64_t FreeBytes(const std::string& dir) override;

  // What RocksDB wants besides.
  enum class Kind : uint8_t { kAbsent, kFile, kDir };
  Kind KindOf(const std::string& path) const;
  absl::StatusOr<uint64_t> SizeOf(const std::string& path) const;
  // Another name for the same file, in the place of any that had that name.
  absl::Status Link(const std::string& from, const std::string& to);
  absl::Status RemoveDir(const std::string& dir);

 private:
  friend class FakeFile;
  static constexpr size_t kSector = 512;

  struct Inode {
    std::string content;  // what is read
    std::string durable;  // what is on the disk
    std::set<size_t> dirty;
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;
  struct NameChange {
    std::string dir;
    std::function<void(Names&)> apply;
    bool removal;
  };
  enum class Effect : uint8_t { kReads, kWrites };

  // The fault that the operation beginning now meets.
  Fault Next(Effect effect) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Crashed() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return fault_ == Fault::kCrash && operations_ >= armed_at_;
  }
  uint64_t UsedBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A write or a sync that fails, and one whose disk is full.
  static bool Fails(Fault fault) { return fault != Fault::kNone && !Full(fault); }
  static bool Full(Fault fault) { return fault == Fault::kNoSpace || fault == Fault::kNoSpaceStays; }
  static absl::Status Failure(Fault fault, const std::string& path);
  void Change(NameChange change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LosePower(PowerCut cut) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteBack(Inode& inode, bool all) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Write(const std::shared_ptr<Inode>& inode, uint64_t generation, uint64_t offset,
                     std::span<const std::string_view> parts);
  absl::Status Sync(const std::shared_ptr<Inode>& inode, uint64_t generation);
  absl::Status Read(const std::shared_ptr<Inode>& inode, uint64_t generation, uint64_t offset, uint64_t count,
                    std::string* bytes);

  const Growth growth_;
  mutable Mutex mutex_;
  Random random_ ABSL_GUARDED_BY(mutex_);
  uint64_t operations_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t armed_at_ ABSL_GUARDED_BY(mutex_) = 0;
  Fault fault_ ABSL_GUARDED_BY(mutex_) = Fault::kNone;
  Counted counted_ ABSL_GUARDED_BY(mutex_) = Counted::kAll;
  uint64_t capacity_ ABSL_GUARDED_BY(mutex_) = UINT64_MAX;
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 1;
  Names names_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> dirs_ ABSL_GUARDED_BY(mutex_);
  Names durable_names_ ABSL_GUARDED_BY(mutex_);
  std::vector<NameChange> pending_ ABSL_GUARDED_BY(mutex_);  // in order
  std::function<void()> after_sync_ ABSL_GUARDED_BY(mutex_);
  std::thread::id after_sync_of_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mptd::storage
