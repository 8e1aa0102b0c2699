#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <system_error>

#include "metrics/metrics.h"

namespace mptd {
namespace {

std::string ReadFile(const char* path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// The number at the start of `text`; 0 when there is none.
uint64_t LeadingNumber(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// The fields of /proc/self/stat after the command's name, which may hold blanks: [0] is the state, field 3 of proc(5).
std::vector<std::string> StatFields() {
  const std::string stat = ReadFile("/proc/self/stat");
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream rest(stat.substr(name_end + 1));
  return {std::istream_iterator<std::string>(rest), std::istream_iterator<std::string>()};
}

double OpenFiles() {
  std::error_code error;
  int entries = 0;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end; !error && entry != end;
       entry.increment(error)) {
    ++entries;
  }
  return std::max(0, entries - 1);  // one is the folder that is being read
}

// Seconds since the epoch at which this process started, from its start in ticks after boot.
double StartTime(uint64_t start_ticks, double ticks_per_second) {
  const std::string stat = ReadFile("/proc/stat");
  constexpr std::string_view kBoot = "\nbtime ";
  const size_t at = stat.find(kBoot);
  if (at == std::string::npos) return 0;
  const uint64_t boot = LeadingNumber(std::string_view(stat).substr(at + kBoot.size()));
  return static_cast<double>(boot) + static_cast<double>(start_ticks) / ticks_per_second;
}

}  // namespace

uint64_t ResidentMemoryBytes() {
  const std::string statm = ReadFile("/proc/self/statm");
  const size_t blank = statm.find(' ');
  if (blank == std::string::npos) return 0;
  return LeadingNumber(std::string_view(statm).substr(blank + 1)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t GroupMemoryLimitBytes(std::string_view groups, const std::string& root) {
  // The line of cgroup2 is "0::/system.slice/mptd.service"; in a container of its own it is "0::/".
  constexpr std::string_view kUnified = "0::/";
  size_t at = groups.starts_with(kUnified) ? 0 : groups.find(std::string("\n").append(kUnified));
  std::string_view path;
  if (at != std::string_view::npos) {
    at += at == 0 ? 0 : 1;
    path = groups.substr(at + kUnified.size() - 1);
    path = path.substr(0, path.find('\n'));
  }
  uint64_t least = 0;
  while (true) {
    while (path.ends_with('/')) path.remove_suffix(1);
    // "max" reads as 0: no limit.
    const uint64_t limit = LeadingNumber(ReadFile((root + std::string(path) + "/memory.max").c_str()));
    if (limit != 0 && (least == 0 || limit < least)) least = limit;
    if (path.empty()) return least;
    path = path.substr(0, path.rfind('/'));
  }
}

uint64_t MemoryLimitBytes() {
  const uint64_t machine = static_cast<uint64_t>(std::max(0L, sysconf(_SC_PHYS_PAGES))) *
                           static_cast<uint64_t>(std::max(0L, sysconf(_SC_PAGESIZE)));
  const uint64_t group = GroupMemoryLimitBytes(ReadFile("/proc/self/cgroup"), "/sys/fs/cgroup");
  return group != 0 && (machine == 0 || group < machine) ? group : machine;
}

void WriteProcessMetrics(MetricsWriter& writer) {
  writer.Gauge("process_resident_memory_bytes", "Resident memory size in bytes.",
               static_cast<double>(ResidentMemoryBytes()));
  writer.Gauge("process_open_fds", "Number of open file descriptors.", OpenFiles());
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    writer.Gauge("process_max_fds", "Maximum number of open file descriptors.", static_cast<double>(files.rlim_cur));
  }
  timespec cpu{};
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0) {
    writer.Counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
                   static_cast<double>(cpu.tv_sec) + 1e-9 * static_cast<double>(cpu.tv_nsec));
  }
  // proc(5) numbers: 20 num_threads, 22 starttime, 23 vsize; StatFields starts at 3.
  const std::vector<std::string> stat = StatFields();
  if (stat.size() < 21) return;
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  writer.Gauge("process_threads", "Number of threads.", static_cast<double>(LeadingNumber(stat[17])));
  writer.Gauge("process_start_time_seconds", "Start time of the process since the epoch in seconds.",
               StartTime(LeadingNumber(stat[19]), ticks));
  writer.Gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.",
               static_cast<double>(LeadingNumber(stat[20])));
}

}  // namespace mptd
