// A small HTTP server for operators' tools: metrics and health. Plain GET, no TLS, no bodies.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

struct mg_context;
struct mg_connection;

namespace mptd {

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

class HttpServer {
 public:
  // `query` is what follows the question mark. Handlers are called from several threads at once.
  using Handler = std::function<HttpResponse(const std::string& query)>;

  // Listens on host:port (port 0 takes a free one) and answers the paths of `handlers`, each exactly; other paths are
  // 404. FAILED_PRECONDITION, in one sentence, when the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& address,
                                                           std::map<std::string, Handler> handlers);
  // Returns when no handler is running.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Where it listens, with the port that was chosen.
  const std::vector<std::string>& addresses() const { return addresses_; }

 private:
  explicit HttpServer(std::map<std::string, Handler> handlers) : handlers_(std::move(handlers)) {}

  static int OnRequest(mg_connection* connection);
  static int OnLog(const mg_connection* connection, const char* message);
  int Answer(mg_connection* connection) const;

  const std::map<std::string, Handler> handlers_;
  std::vector<std::string> addresses_;  // constant after Start
  std::string error_;                   // why Start failed, as civetweb says
  mg_context* context_ = nullptr;
};

// The handler with at most `count` of its answers being made at a time; more requests get 503 at once. For what may
// hang, as metrics do with a disk that hangs: it must not take the threads that say that the process is alive.
HttpServer::Handler AtMost(int count, HttpServer::Handler handler);

}  // namespace mptd
