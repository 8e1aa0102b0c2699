#include "bench/measure.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>

namespace mptd::bench {
namespace {

std::string ProcFile(int process_id, std::string_view name) {
  return "/proc/" + std::to_string(process_id) + "/" + std::string(name);
}

// The number behind "key:" in a file of lines; 0 when it is not there.
uint64_t NumberAfter(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    uint64_t value = 0;
    if (word == key && file >> value) return value;
  }
  return 0;
}

}  // namespace

double Latencies::Percentile(double p) const {
  if (values_.empty()) return 0;
  std::vector<double> sorted = values_;
  const auto at = sorted.begin() + static_cast<ptrdiff_t>(static_cast<double>(sorted.size() - 1) * p);
  std::nth_element(sorted.begin(), at, sorted.end());
  return *at;
}

uint64_t PeakMemoryBytes(int process_id) { return NumberAfter(ProcFile(process_id, "status"), "VmHWM:") * 1024; }

void ResetPeakMemory(int process_id) { std::ofstream(ProcFile(process_id, "clear_refs")) << "5"; }

uint64_t WrittenBytes(int process_id) { return NumberAfter(ProcFile(process_id, "io"), "write_bytes:"); }

double CpuSeconds(int process_id) {
  std::ifstream file(ProcFile(process_id, "stat"));
  std::string line;
  std::getline(file, line);
  // The name stands in brackets and may hold anything; after it, user and system time are the 12th and 13th word.
  std::istringstream words(line.substr(line.rfind(')') + 1));
  std::string word;
  double ticks = 0;
  for (int i = 1; i <= 13 && words >> word; ++i) {
    if (i >= 12) ticks += std::stod(word);
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

uint64_t DiskBytes(const std::string& dir) {
  uint64_t bytes = 0;
  std::error_code error;
  for (auto it = std::filesystem::recursive_directory_iterator(dir, error);
       it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    struct stat info;
    if (lstat(it->path().c_str(), &info) == 0 && S_ISREG(info.st_mode))
      bytes += static_cast<uint64_t>(info.st_blocks) * 512;
  }
  return bytes;
}

std::string DescribeCpu() {
  std::ifstream file("/proc/cpuinfo");
  std::string model = "unknown CPU";
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  }
  return model + ", " + std::to_string(std::thread::hardware_concurrency()) + " cores";
}

}  // namespace mptd::bench
