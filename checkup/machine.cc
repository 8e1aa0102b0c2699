#include "checkup/machine.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "checkup/disk_probe.h"
#include "metrics/metrics.h"
#include "storage/posix_error.h"
#include "storage/secret_key.h"

namespace mptd::checkup {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::string ReadWord(const std::string& path) { return std::string(absl::StripAsciiWhitespace(ReadFile(path))); }

std::optional<uint64_t> ReadNumber(const std::string& path) {
  uint64_t number = 0;
  if (!absl::SimpleAtoi(ReadWord(path), &number)) return std::nullopt;
  return number;
}

// A field of /proc/meminfo, which counts in KiB; 0 when it is not there.
uint64_t MeminfoBytes(const std::string& meminfo, const std::string& field) {
  const size_t at = meminfo.find("\n" + field + ":");
  if (at == std::string::npos) return 0;
  const size_t begin = at + field.size() + 2;
  uint64_t kilobytes = 0;
  const std::string line = meminfo.substr(begin, meminfo.find(" kB", begin) - begin);
  return absl::SimpleAtoi(line, &kilobytes) ? kilobytes << 10 : 0;
}

MemoryReading ReadMemory() {
  const std::string meminfo = "\n" + ReadFile("/proc/meminfo");
  return {.limit_bytes = MemoryLimitBytes(),
          .available_bytes = MeminfoBytes(meminfo, "MemAvailable"),
          .swap_bytes = MeminfoBytes(meminfo, "SwapTotal")};
}

FileLimits ReadFileLimits() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  return {.soft = limit.rlim_cur, .hard = limit.rlim_max};
}

absl::StatusOr<DiskSpace> ReadSpace(const std::string& dir) {
  struct statvfs found {};
  if (::statvfs(dir.c_str(), &found) != 0) return storage::PosixError("examining the disk of", dir, errno);
  return DiskSpace{.free_bytes = static_cast<uint64_t>(found.f_bavail) * found.f_frsize,
                   .total_bytes = static_cast<uint64_t>(found.f_blocks) * found.f_frsize,
                   .free_files = found.f_favail,
                   .total_files = found.f_files};
}

ClockReading ReadClock() {
  ClockReading out;
  out.source = ReadWord("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  timex state{};  // no modes: nothing is set
  const int result = adjtimex(&state);
  if (result < 0) {
    out.synchronised = storage::PosixError("asking for the state of", "the clock", errno);
    return out;
  }
  out.synchronised = result != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
  out.max_error = absl::Microseconds(state.maxerror);
  return out;
}

KernelReading ReadKernel() {
  KernelReading out;
  out.swappiness = ReadNumber("/proc/sys/vm/swappiness");
  out.overcommit_memory = ReadNumber("/proc/sys/vm/overcommit_memory");
  // 0 when the limit is set in bytes instead.
  out.dirty_ratio = ReadNumber("/proc/sys/vm/dirty_ratio");
  out.dirty_background_ratio = ReadNumber("/proc/sys/vm/dirty_background_ratio");
  // "always [madvise] never"
  const std::string pages = ReadFile("/sys/kernel/mm/transparent_hugepage/enabled");
  const size_t open = pages.find('[');
  const size_t close = pages.find(']');
  if (open != std::string::npos && close != std::string::npos && open < close) {
    out.transparent_huge_pages = pages.substr(open + 1, close - open - 1);
  }
  return out;
}

std::vector<ListenReading> ReadListen(const config::Settings& settings) {
  std::vector<ListenReading> out;
  for (const std::string& address : settings.server.listen) out.push_back({address, CanListen(address)});
  const std::string& admin = settings.server.admin_listen;
  if (!admin.empty()) out.push_back({admin, CanListen(admin)});
  const std::string& http = settings.server.http_listen;
  if (http != "off") out.push_back({http, CanListen(http)});
  return out;
}

// Whether the file or folder `path` (`what`), or when it is not there the folder that it would be made in, can be
// written.
absl::Status ReadWritable(std::string_view what, const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    if (::access(path.c_str(), W_OK) == 0) return absl::OkStatus();
    return storage::PosixError(absl::StrFormat("writing %s", what), path, errno);
  }
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const std::string dir = folder.empty() ? "." : folder.string();
  if (::access(dir.c_str(), W_OK | X_OK) == 0) return absl::OkStatus();
  return storage::PosixError(absl::StrFormat("making %s in", what), dir, errno);
}

}  // namespace

Readings ReadMachine(const config::Settings& settings) {
  Readings out;
  out.folder = ReadFolder(settings.server.data_dir);
  out.sync = MeasureSync(out.folder.path);
  out.space = ReadSpace(out.folder.path);
  out.memory = ReadMemory();
  out.files = ReadFileLimits();
  out.listen = ReadListen(settings);
  out.clock = ReadClock();
  out.cpu = {.keccak = BestKeccakImpl(), .threads = std::thread::hardware_concurrency()};
  out.kernel = ReadKernel();
  out.now = absl::Now();
  const config::Settings::Security& security = settings.security;
  out.tls = tls::ReadTlsFiles({.certificate = security.tls_cert_file,
                               .key = security.tls_key_file,
                               .client_ca = security.tls_client_ca_file,
                               .revocation_lists = security.tls_crl_file},
                              out.now);
  out.log_file = ReadWritable("the log file", settings.logging.file);
  out.audit_file = ReadWritable("the audit log", security.audit_file);
  out.backup_dir = ReadWritable("the folder of backups", settings.backup.dir);
  const storage::KeySource key = {.file = security.encryption_key_file,
                                  .environment = security.encryption_key_env,
                                  .command = security.encryption_key_command};
  if (!key.empty()) out.master_key = storage::ReadMasterKey(key).status();
  out.data = ReadData(settings.server.data_dir, key);
  return out;
}

}  // namespace mptd::checkup
