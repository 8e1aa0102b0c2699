// A program that is started for a run and ends with it. Used by one thread.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mptd::bench {

class ChildProcess {
 public:
  // `words`: the program's path and its arguments. It is killed should this process die.
  static absl::StatusOr<ChildProcess> Start(const std::vector<std::string>& words);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();  // kills it

  int id() const { return id_; }
  // False once it has ended.
  bool Running();
  // Asks it to end with SIGTERM and waits. INTERNAL when its exit code is not 0, DEADLINE_EXCEEDED when it does not
  // end.
  absl::Status Stop(absl::Duration patience);

 private:
  explicit ChildProcess(int id) : id_(id) {}
  void Kill();

  int id_ = 0;  // 0: none, or it has ended
  int exit_status_ = 0;
};

// A TCP port of the loopback that nobody uses just now.
absl::StatusOr<int> FreePort();

}  // namespace mptd::bench
