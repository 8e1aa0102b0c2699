#include "server/task_pool.h"

#include <pthread.h>

#include <utility>

namespace mptd {

TaskPool::TaskPool(const std::string& name, size_t threads, size_t max_waiting) : max_waiting_(max_waiting) {
  threads_.reserve(threads);
  for (size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { Run(); });
    pthread_setname_np(threads_.back().native_handle(), name.substr(0, 15).c_str());
  }
}

TaskPool::~TaskPool() { Stop(); }

bool TaskPool::TrySubmit(Task& task) {
  {
    const MutexLock lock(mutex_);
    if (stopping_ || tasks_.size() >= max_waiting_) return false;
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
  return true;
}

void TaskPool::Submit(Task task) {
  {
    const MutexLock lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
}

void TaskPool::Stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

size_t TaskPool::waiting() const {
  const MutexLock lock(mutex_);
  return tasks_.size();
}

void TaskPool::Run() {
  while (true) {
    Task task;
    {
      const MutexLock lock(mutex_);
      while (!stopping_ && tasks_.empty()) changed_.wait(mutex_);
      if (tasks_.empty()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace mptd
