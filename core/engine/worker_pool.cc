#include "core/engine/worker_pool.h"
#include "storage/thread_name.h"

namespace mptd {

WorkerPool::WorkerPool(int threads) {
  for (int i = 1; i < threads; ++i)
    workers_.emplace_back([this] {
      storage::NameThisThread("mptd-worker");
      Work();
    });
}

WorkerPool::~WorkerPool() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  for (std::thread& worker : workers_) worker.join();
}

void WorkerPool::Run(int count, const std::function<void(int)>& task) {
  if (workers_.empty() || count <= 1) {
    for (int i = 0; i < count; ++i) task(i);
    return;
  }
  absl::MutexLock lock(&mutex_);
  task_ = &task;
  count_ = count;
  next_ = 0;
  while (next_ < count_) {
    const int mine = next_++;
    mutex_.Unlock();
    task(mine);
    mutex_.Lock();
  }
  mutex_.Await(absl::Condition(this, &WorkerPool::Idle));
  task_ = nullptr;
  count_ = next_ = 0;
}

void WorkerPool::Work() {
  absl::MutexLock lock(&mutex_);
  while (true) {
    mutex_.Await(absl::Condition(this, &WorkerPool::Ready));
    if (stopping_) return;
    const std::function<void(int)>* task = task_;
    const int mine = next_++;
    ++running_;
    mutex_.Unlock();
    (*task)(mine);
    mutex_.Lock();
    --running_;
  }
}

}  // namespace mptd
