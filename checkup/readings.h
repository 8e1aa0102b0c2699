// What is read of this machine and of the data folder before a daemon starts on them. Plain values, so that tests can
// make any machine up; checks.h judges them, machine.h reads the real ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/engine/stored_state.h"
#include "core/keccak.h"
#include "storage/change_log.h"
#include "tls/tls_files.h"

namespace mptd::checkup {

// How long appending to a file and syncing it takes, as the change log does.
struct SyncTimes {
  size_t samples = 0;
  absl::Duration p50 = {};
  absl::Duration p99 = {};
};

struct DiskSpace {
  uint64_t free_bytes = 0;  // for this user
  uint64_t total_bytes = 0;
  // 0 of total where the file system has no such limit.
  uint64_t free_files = 0;
  uint64_t total_files = 0;
};

struct MemoryReading {
  uint64_t limit_bytes = 0;      // of the machine or the control group; 0 when unknown
  uint64_t available_bytes = 0;  // without taking any from others; 0 when unknown
  uint64_t swap_bytes = 0;
};

struct FileLimits {
  uint64_t soft = 0;
  uint64_t hard = 0;
};

struct ListenReading {
  std::string address = {};
  absl::Status status = {};  // whether it can be listened on
};

struct ClockReading {
  absl::StatusOr<bool> synchronised = false;  // as the kernel says
  absl::Duration max_error = {};
  std::string source = {};  // of the monotonic clock, as "tsc"; empty when unknown
};

struct CpuReading {
  KeccakImpl keccak = KeccakImpl::kScalar;
  unsigned threads = 0;  // 0 when unknown
};

// Absent where the kernel does not say.
struct KernelReading {
  std::optional<uint64_t> swappiness = {};
  std::optional<uint64_t> overcommit_memory = {};
  std::optional<uint64_t> dirty_ratio = {};
  std::optional<uint64_t> dirty_background_ratio = {};
  std::string transparent_huge_pages = {};  // "always", "madvise", "never"
};

// The data folder, or when it is not there the folder that it would be made in.
struct FolderReading {
  std::string path = {};
  bool is_data_dir = false;  // otherwise the one above
  bool exists = false;
  bool is_folder = false;
  bool usable = false;  // by this user: listed, entered and written
  bool others_write = false;
  uint64_t owner = 0;
  uint64_t user = 0;  // who asks
};

struct DataReading {
  absl::Status lock = {};    // FAILED_PRECONDITION when another process has it; the rest has not been read then
  absl::Status format = {};  // NOT_FOUND when there is no data
  absl::Status keys = {};    // why the data cannot be decrypted; the rest has not been read then
  absl::StatusOr<storage::ChangeLogSummary> log = storage::ChangeLogSummary();
  absl::StatusOr<std::optional<StoredState>> state = std::optional<StoredState>();
};

struct Readings {
  absl::StatusOr<SyncTimes> sync = SyncTimes();
  absl::StatusOr<DiskSpace> space = DiskSpace();
  MemoryReading memory;
  FileLimits files;
  std::vector<ListenReading> listen = {};
  ClockReading clock;
  CpuReading cpu;
  KernelReading kernel;
  FolderReading folder;
  // Whether each can be written, or made; OK when there is none.
  absl::Status log_file = {};
  absl::Status audit_file = {};
  absl::Status backup_dir = {};
  // Whether the files of tokens and the master key can be used; OK when there are none.
  absl::Status tokens = {};
  absl::Status master_key = {};
  absl::Time now = absl::UnixEpoch();
  absl::StatusOr<tls::TlsMaterial> tls = tls::TlsMaterial();  // empty without TLS
  DataReading data;
};

}  // namespace mptd::checkup
