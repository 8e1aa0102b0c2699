#include "server/http_server.h"

#include <array>
#include <atomic>
#include <chrono>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "civetweb.h"
#include "server/listen_address.h"

namespace mptd {
namespace {

// More than what is bounded by AtMost takes, so that clients who send slowly leave some, too. They cost little but the
// address space of their stacks.
constexpr char kThreads[] = "16";

// civetweb's threads have stacks of 100 KiB, which is little for what metrics do: they read and sort. So a request is
// answered on a thread of its own, with a stack of the usual size.
HttpResponse RunApart(const HttpServer::Handler& handler, const char* query) {
  HttpResponse response;
  try {
    std::thread([&] { response = handler(query); }).join();
  } catch (const std::system_error&) {
    return {.status = 503, .body = "no thread can be had\n"};
  }
  return response;
}

}  // namespace

HttpServer::Handler AtMost(int count, HttpServer::Handler handler) {
  return [count, handler = std::move(handler),
          running = std::make_shared<std::atomic<int>>(0)](const std::string& query) {
    HttpResponse response = {.status = 503, .body = "as many of these are being answered as may; try again later\n"};
    if (running->fetch_add(1) < count) response = handler(query);
    running->fetch_sub(1);
    return response;
  };
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address,
                                                              std::map<std::string, Handler> handlers) {
  const absl::StatusOr<std::vector<std::string>> resolved = ResolveListenAddress(address);
  if (!resolved.ok()) return resolved.status();
  // With port 0, each address would get a port of its own.
  const std::vector<std::string> listen =
      address.ends_with(":0") ? std::vector<std::string>{resolved->front()} : *resolved;

  std::unique_ptr<HttpServer> server(new HttpServer(std::move(handlers)));
  const std::string ports = absl::StrJoin(listen, ",");
  const std::array<const char*, 9> options = {
      "listening_ports", ports.c_str(),       "num_threads", kThreads, "request_timeout_ms",
      "10000",           "enable_keep_alive", "no",          nullptr};
  mg_callbacks callbacks{};
  callbacks.begin_request = &HttpServer::OnRequest;
  callbacks.log_message = &HttpServer::OnLog;
  mg_init_library(0);
  // civetweb wants an array that it could change, and does not.
  server->context_ = mg_start(&callbacks, server.get(), const_cast<const char**>(options.data()));
  if (server->context_ == nullptr) {
    return absl::FailedPreconditionError(absl::StrFormat("cannot listen on %s: %s", address, server->error_));
  }
  std::array<mg_server_port, 64> chosen{};
  const int count = mg_get_server_ports(server->context_, static_cast<int>(chosen.size()), chosen.data());
  for (int i = 0; i < count && static_cast<size_t>(i) < listen.size(); ++i) {
    const std::string& one = listen[static_cast<size_t>(i)];
    server->addresses_.push_back(
        absl::StrFormat("%s:%d", one.substr(0, one.rfind(':')), chosen[static_cast<size_t>(i)].port));
  }
  return server;
}

HttpServer::~HttpServer() {
  if (context_ != nullptr) {
    // civetweb looks up from waiting for connections every two seconds, unless there is one.
    std::atomic<bool> stopped{false};
    std::thread poker([this, &stopped] {
      while (!stopped) {
        for (const std::string& address : addresses_) PokeListener(address);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
    mg_stop(context_);
    stopped = true;
    poker.join();
  }
  mg_exit_library();
}

int HttpServer::OnRequest(mg_connection* connection) {
  return static_cast<const HttpServer*>(mg_get_user_data(mg_get_context(connection)))->Answer(connection);
}

int HttpServer::OnLog(const mg_connection* connection, const char* message) {
  // Of interest only while starting, in the thread that starts; what goes wrong with a single request is the peer's
  // affair.
  mg_context* context = connection == nullptr ? nullptr : mg_get_context(connection);
  if (auto* server = context == nullptr ? nullptr : static_cast<HttpServer*>(mg_get_user_data(context));
      server != nullptr && server->context_ == nullptr) {
    server->error_ = message;
  }
  return 1;
}

int HttpServer::Answer(mg_connection* connection) const {
  const mg_request_info* request = mg_get_request_info(connection);
  const std::string_view method = request->request_method;
  const auto handler = handlers_.find(request->local_uri);
  HttpResponse response;
  if (handler == handlers_.end()) {
    response = {.status = 404, .body = "not found\n"};
  } else if (method != "GET" && method != "HEAD") {
    response = {.status = 405, .body = "only GET is answered here\n"};
  } else {
    response = RunApart(handler->second, request->query_string == nullptr ? "" : request->query_string);
  }
  mg_printf(connection,
            "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
            "Connection: close\r\n\r\n",
            response.status, mg_get_response_code_text(connection, response.status), response.content_type.c_str(),
            response.body.size());
  if (method != "HEAD") mg_write(connection, response.body.data(), response.body.size());
  return response.status;
}

}  // namespace mptd
