// grpc.health.v1: what each service answers, and who is told when it changes.
//
// Not gRPC's own one, because nothing ends a Watch of that: one client that watches would make every shutdown last as
// long as server.shutdown_grace. It also repeats a status that has not changed, and reflection cannot describe it.
// Safe from any thread.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/mutex.h"

namespace mptd {

class HealthService final : public grpc::health::v1::Health::CallbackService {
 public:
  using Request = grpc::health::v1::HealthCheckRequest;
  using Response = grpc::health::v1::HealthCheckResponse;
  // More at the same time are refused with RESOURCE_EXHAUSTED: each takes memory until its client goes.
  static constexpr size_t kMaxWatches = 1024;

  // The services that are known, which serve; there are no others.
  explicit HealthService(const std::vector<std::string>& names);
  // Waits for the last watch; the server must have been shut down.
  ~HealthService() override;

  // Tells whoever watches it, when it is news. A name that is not known is ignored.
  void Set(std::string_view name, bool serving);
  // Ends all watches with UNAVAILABLE, and those that come: the server is about to go.
  void EndWatches();

  // NOT_FOUND for a name that is not known.
  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context, const Request* request,
                                  Response* response) override;
  // Of a name that is not known, SERVICE_UNKNOWN, and the watch stays, as the service's definition has it.
  grpc::ServerWriteReactor<Response>* Watch(grpc::CallbackServerContext* context, const Request* request) override;

 private:
  class Watcher;

  // No value: watches end.
  std::optional<Response::ServingStatus> Now(const std::string& name) const;
  // False: there are too many.
  bool Add(const std::shared_ptr<Watcher>& watcher);
  void Remove(Watcher* watcher);
  // Without the lock: a watcher asks Now.
  void TellAll();

  mutable Mutex mutex_;
  std::condition_variable_any gone_;  // a watcher
  std::map<std::string, Response::ServingStatus, std::less<>> services_ ABSL_GUARDED_BY(mutex_);
  // Those whose calls are not over, by their addresses.
  std::map<Watcher*, std::shared_ptr<Watcher>> watchers_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace mptd
