#include "server/health_service.h"

#include <utility>

namespace mptd {
namespace {

// What a watch keeps of a name. Those that are known are shorter, so that what is cut off cannot make one of them.
constexpr size_t kLongestName = 128;

}  // namespace

// One call of Watch. The service holds it until OnDone. Its methods come from gRPC's threads and from whoever changes a
// status, all at once.
class HealthService::Watcher final : public grpc::ServerWriteReactor<Response> {
 public:
  Watcher(HealthService& service, std::string name) : service_(service), name_(std::move(name)) {}

  // Ends the call, unless something has ended it.
  void End(const grpc::Status& status) {
    {
      const MutexLock lock(mutex_);
      if (!end_.has_value()) end_ = status;
    }
    Advance();
  }

  // Sends what the service says now, unless the client has it, or something is on its way: then OnWriteDone looks
  // again.
  void Advance() {
    std::optional<grpc::Status> end;
    {
      const MutexLock lock(mutex_);
      if (writing_ || finished_) return;
      const std::optional<Response::ServingStatus> now = service_.Now(name_);
      if (!now.has_value() && !end_.has_value()) {
        end_ = grpc::Status(grpc::StatusCode::UNAVAILABLE, "the daemon is shutting down");
      }
      if (!end_.has_value()) {
        if (now == told_) return;
        told_ = now;
        message_.set_status(*now);
        writing_ = true;
      } else {
        finished_ = true;
        end = end_;
      }
    }
    if (end.has_value()) {
      Finish(*end);
    } else {
      StartWrite(&message_);
    }
  }

  void OnWriteDone(bool ok) override {
    {
      const MutexLock lock(mutex_);
      writing_ = false;
      if (!ok && !end_.has_value()) end_ = grpc::Status::CANCELLED;
    }
    Advance();
  }
  void OnCancel() override { End(grpc::Status::CANCELLED); }
  void OnDone() override { service_.Remove(this); }

 private:
  HealthService& service_;
  const std::string name_;
  Response message_;  // gRPC's while writing_
  Mutex mutex_;
  std::optional<Response::ServingStatus> told_ ABSL_GUARDED_BY(mutex_);
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

HealthService::HealthService(const std::vector<std::string>& names) {
  for (const std::string& name : names) services_[name] = Response::SERVING;
}

HealthService::~HealthService() {
  const MutexLock lock(mutex_);
  while (!watchers_.empty()) gone_.wait(mutex_);
}

void HealthService::Set(std::string_view name, bool serving) {
  const Response::ServingStatus status = serving ? Response::SERVING : Response::NOT_SERVING;
  {
    const MutexLock lock(mutex_);
    const auto found = services_.find(name);
    if (found == services_.end() || std::exchange(found->second, status) == status) return;
  }
  TellAll();
}

void HealthService::EndWatches() {
  {
    const MutexLock lock(mutex_);
    ended_ = true;
  }
  TellAll();
}

void HealthService::TellAll() {
  std::vector<std::shared_ptr<Watcher>> watchers;
  {
    const MutexLock lock(mutex_);
    for (const auto& entry : watchers_) watchers.push_back(entry.second);
  }
  for (const auto& watcher : watchers) watcher->Advance();
}

std::optional<HealthService::Response::ServingStatus> HealthService::Now(const std::string& name) const {
  const MutexLock lock(mutex_);
  if (ended_) return std::nullopt;
  const auto found = services_.find(name);
  return found == services_.end() ? Response::SERVICE_UNKNOWN : found->second;
}

bool HealthService::Add(const std::shared_ptr<Watcher>& watcher) {
  const MutexLock lock(mutex_);
  const bool room = watchers_.size() < kMaxWatches;
  watchers_.emplace(watcher.get(), watcher);
  return room;
}

void HealthService::Remove(Watcher* watcher) {
  std::shared_ptr<Watcher> last;  // goes without the lock, and after it
  const MutexLock lock(mutex_);
  const auto found = watchers_.find(watcher);
  last = std::move(found->second);
  watchers_.erase(found);
  gone_.notify_all();
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context, const Request* request,
                                               Response* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const MutexLock lock(mutex_);
  const auto found = services_.find(request->service());
  if (found == services_.end()) {
    reactor->Finish(grpc::Status(grpc::StatusCode::NOT_FOUND, "service name unknown"));
  } else {
    response->set_status(found->second);
    reactor->Finish(grpc::Status::OK);
  }
  return reactor;
}

grpc::ServerWriteReactor<HealthService::Response>* HealthService::Watch(grpc::CallbackServerContext* /*context*/,
                                                                        const Request* request) {
  const auto watcher = std::make_shared<Watcher>(*this, request->service().substr(0, kLongestName));
  if (Add(watcher)) {
    watcher->Advance();
  } else {
    watcher->End(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many watches are open; ask with Check"));
  }
  return watcher.get();
}

}  // namespace mptd
