// Clocks, latencies, and what the operating system counts of a process. Plain values and functions for any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace mptd::bench {

class Stopwatch {
 public:
  double Seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }
  double Milliseconds() const { return 1e3 * Seconds(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Times of many calls.
class Latencies {
 public:
  void Reserve(size_t n) { values_.reserve(n); }
  void Add(double value) { values_.push_back(value); }
  void Add(const Latencies& other) { values_.insert(values_.end(), other.values_.begin(), other.values_.end()); }
  size_t size() const { return values_.size(); }
  // The value below which `p` (0 to 1) of the others are; 0 when there is none.
  double Percentile(double p) const;
  const std::vector<double>& values() const { return values_; }

 private:
  std::vector<double> values_;
};

// The most memory that a process has had in RAM since its start or the last ResetPeakMemory.
uint64_t PeakMemoryBytes(int process_id);
void ResetPeakMemory(int process_id);  // does nothing where that is not permitted
// What a process has made the file system write to disk.
uint64_t WrittenBytes(int process_id);
// The time that all threads of a process have been running on a core.
double CpuSeconds(int process_id);
// What the files in a folder take on disk; 0 when it is not there.
uint64_t DiskBytes(const std::string& dir);
// "AMD EPYC ..., 2 cores".
std::string DescribeCpu();

}  // namespace mptd::bench
