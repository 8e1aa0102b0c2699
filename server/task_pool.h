// A fixed number of threads that run tasks in the order given. Safe from any thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "server/mutex.h"

namespace mptd {

class TaskPool {
 public:
  using Task = absl::AnyInvocable<void()>;

  // `name` is that of the threads (at most 15 bytes); `max_waiting` bounds the tasks that no thread has begun.
  TaskPool(const std::string& name, size_t threads, size_t max_waiting);
  // As Stop.
  ~TaskPool();
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  // False, and `task` is not taken, when too many are waiting.
  bool TrySubmit(Task& task);
  // For tasks whose number is bounded elsewhere, such as one a stream.
  void Submit(Task task);
  // Runs all tasks that have been submitted, then ends the threads. Nothing may be submitted afterwards.
  void Stop();

  size_t waiting() const;

 private:
  void Run();

  const size_t max_waiting_;
  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // written by the constructor and Stop only
};

}  // namespace mptd
