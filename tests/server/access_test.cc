// The gate: every method of both services, every role, every way to be refused, and what the audit log says of it.
#include "server/access.h"

#include <google/protobuf/empty.pb.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <grpcpp/impl/codegen/rpc_method.h>
#include <jwt.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "security/audit_verify.h"
#include "tests/server/test_daemon.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSecretHex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

class AccessTest : public testing::DaemonTest {
 protected:
  AccessTest() {
    std::string name = (std::filesystem::temp_directory_path() / "mptd-access-XXXXXX").string();
    dir_ = mkdtemp(name.data());
    std::ofstream(dir_ + "/secret") << kSecretHex;
    chmod((dir_ + "/secret").c_str(), 0600);
  }
  ~AccessTest() override {
    daemon_.reset();
    std::filesystem::remove_all(dir_);
  }

  void UseRoles() {
    options_.runtime.access.jwt_secret_file = dir_ + "/secret";
    options_.runtime.access.roles = {"secret:id=r -> reader", "secret:id=w -> writer", "secret:id=o -> operator",
                                     "secret:id=a -> admin"};
  }
  void UseAudit() { options_.audit.file = dir_ + "/audit.log"; }

  // "" for no id.
  static std::string Token(const std::string& id, int64_t skew = 0, const std::string& jti = "") {
    jwt_t* jwt = nullptr;
    jwt_new(&jwt);
    const std::string key = absl::HexStringToBytes(kSecretHex);
    jwt_set_alg(jwt, JWT_ALG_HS256, reinterpret_cast<const unsigned char*>(key.data()), static_cast<int>(key.size()));
    jwt_add_grant_int(jwt, "iat", absl::ToUnixSeconds(absl::Now()) + skew);
    if (!id.empty()) jwt_add_grant(jwt, "id", id.c_str());
    if (!jti.empty()) jwt_add_grant(jwt, "jti", jti.c_str());
    char* text = jwt_encode_str(jwt);
    std::string out = text;
    std::free(text);
    jwt_free(jwt);
    return out;
  }

  // Any method, with an empty message: streams take it, too, for it is the same on the wire.
  grpc::Status CallByName(const std::string& method, const std::string& authorization = "") {
    google::protobuf::Empty request;
    google::protobuf::Empty response;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(2));
    context.AddMetadata("x-request-id", "test-call");
    if (!authorization.empty()) context.AddMetadata("authorization", authorization);
    const grpc::internal::RpcMethod rpc(method.c_str(), grpc::internal::RpcMethod::NORMAL_RPC);
    return grpc::internal::BlockingUnaryCall<google::protobuf::Empty, google::protobuf::Empty>(
        channel_.get(), rpc, &context, request, &response);
  }
  grpc::StatusCode Code(const std::string& method, const std::string& id) {
    return CallByName(method, "Bearer " + Token(id)).error_code();
  }

  static std::vector<const google::protobuf::MethodDescriptor*> AllMethods() {
    std::vector<const google::protobuf::MethodDescriptor*> out;
    const auto* pool = google::protobuf::DescriptorPool::generated_pool();
    for (const char* name : {"mptd.v1.StateService", "mptd.v1.AdminService"}) {
      const auto* service = pool->FindServiceByName(name);
      for (int i = 0; service != nullptr && i < service->method_count(); ++i) out.push_back(service->method(i));
    }
    return out;
  }
  static std::string PathOf(const google::protobuf::MethodDescriptor& method) {
    return absl::StrCat("/", method.service()->full_name(), "/", method.name());
  }
  static const MethodAccess* RowOf(const std::string& name) {
    for (size_t i = 0; i < kMethodNames.size(); ++i) {
      if (kMethodNames[i] == name) return &kMethodAccess[i];
    }
    return nullptr;
  }

  std::string AuditText() const {
    std::ostringstream out;
    out << std::ifstream(dir_ + "/audit.log").rdbuf();
    return out.str();
  }
  size_t AuditLines(const std::string& part) const {
    const std::vector<std::string> lines = absl::StrSplit(AuditText(), '\n');
    return static_cast<size_t>(std::count_if(
        lines.begin(), lines.end(), [&](const std::string& line) { return line.find(part) != std::string::npos; }));
  }

  std::string dir_;
};

TEST_F(AccessTest, EveryMethodHasARow) {
  const auto methods = AllMethods();
  EXPECT_EQ(methods.size(), kMethodAccess.size());
  for (const auto* method : methods) EXPECT_NE(RowOf(method->name()), nullptr) << method->full_name();
}

TEST_F(AccessTest, TheDocumentedTableIsTheOneInTheCode) {
  std::ifstream file(std::string(MPTD_SOURCE_DIR) + "/docs/SECURITY.md");
  std::stringstream text;
  text << file.rdbuf();
  for (const auto* method : AllMethods()) {
    const MethodAccess& row = *RowOf(method->name());
    const char* audited = row.audited == Audited::kNo ? "no" : row.audited == Audited::kCall ? "a call" : "a block";
    const std::string roles = row.needs == security::Permission::kRead ? "any role" : RolesWith(row.needs);
    const std::string line = absl::StrCat("| `", method->name(), "` | ", roles, " | ", audited, " |");
    EXPECT_THAT(text.str(), HasSubstr(line));
  }
}

TEST_F(AccessTest, WhoeverIsNobodyIsRefusedByEveryMethodAndAudited) {
  UseRoles();
  UseAudit();
  // So full that nobody else would be let in: who may not call is told that, and takes no place.
  options_.limits.max_concurrent_calls = 0;
  options_.limits.caller.streams = 0;
  options_.limits.caller.pinned_views = 0;
  options_.limits.caller.root_calls = 0;
  Start();
  for (const auto* method : AllMethods()) {
    const grpc::Status status = CallByName(PathOf(*method));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << method->name() << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr("neither a token nor a client certificate"));
    EXPECT_EQ(AuditLines(absl::StrCat("\"event\":\"refused\",\"caller\":\"ipv4:127.0.0.1\",\"method\":\"",
                                      method->name(), "\",\"code\":\"UNAUTHENTICATED\"")),
              1u);
  }
  EXPECT_EQ(engine_->flushes(), 0);
  EXPECT_EQ(AuditLines("\"request_id\":\"test-call\""), kMethodAccess.size());
  EXPECT_THAT(daemon_->RenderMetrics(),
              HasSubstr(absl::StrCat("mptd_refused_calls_total{reason=\"authentication\"} ", kMethodAccess.size())));
}

TEST_F(AccessTest, EveryMethodAsksForItsRole) {
  UseRoles();
  Start();
  for (const auto* method : AllMethods()) {
    const MethodAccess& row = *RowOf(method->name());
    for (const auto& [id, role] : {std::pair("r", security::Role::kReader), std::pair("w", security::Role::kWriter),
                                   std::pair("o", security::Role::kOperator), std::pair("a", security::Role::kAdmin)}) {
      // Streams, of which one message would be read only, and a checkpoint are left out where they would be let in.
      security::Permissions permissions;
      permissions.Add(role);
      const bool may = permissions.Has(row.needs);
      if (may && (method->server_streaming() || method->name() == "Checkpoint")) continue;
      const grpc::Status status = CallByName(PathOf(*method), "Bearer " + Token(id));
      EXPECT_EQ(status.error_code() == grpc::StatusCode::PERMISSION_DENIED, !may) << method->name() << " as " << id;
      EXPECT_NE(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
      if (!may) {
        EXPECT_THAT(status.error_message(), HasSubstr(absl::StrCat("secret:id=", id, " has no role for ",
                                                                   method->name(), ", which takes the role ")));
        EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).reason(), "PERMISSION_DENIED");
      }
    }
  }
}

TEST_F(AccessTest, BadTokensAreRefusedAndNeverShown) {
  UseRoles();
  UseAudit();
  Start();
  const std::string path = "/mptd.v1.StateService/GetStateRoot";
  const std::string good = Token("r");
  EXPECT_EQ(Code(path, "r"), grpc::StatusCode::OK);
  EXPECT_EQ(CallByName(path, "bearer " + good).error_code(), grpc::StatusCode::OK) << "schemes have no case";
  EXPECT_EQ(Code(path, "x"), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(Code(path, ""), grpc::StatusCode::PERMISSION_DENIED);
  for (const std::string& bad : std::vector<std::string>{"Bearer " + good + "x", "Bearer", "Bearer ", "Basic abc", good,
                                                         "Bearer " + Token("r", -120), "Bearer " + Token("r", 120)}) {
    EXPECT_EQ(CallByName(path, bad).error_code(), grpc::StatusCode::UNAUTHENTICATED) << bad;
  }
  const std::string once = "Bearer " + Token("r", 0, "once");
  EXPECT_EQ(CallByName(path, once).error_code(), grpc::StatusCode::OK);
  const grpc::Status again = CallByName(path, once);
  EXPECT_EQ(again.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(again.error_message(), HasSubstr("was used before"));
  EXPECT_EQ(AuditLines("\"event\":\"refused\""), 10u);
  EXPECT_THAT(AuditText(), Not(HasSubstr(good.substr(0, 30))));
  EXPECT_THAT(AuditText(), Not(HasSubstr(good.substr(good.size() - 20))));
}

TEST_F(AccessTest, WithoutRolesEverybodyMayDoEverything) {
  Start();
  ApplyTo(2);
  EXPECT_EQ(CallByName("/mptd.v1.AdminService/Flush").error_code(), grpc::StatusCode::OK);
  EXPECT_EQ(CallByName("/mptd.v1.StateService/GetStateRoot", "Bearer whatever").error_code(), grpc::StatusCode::OK);
}

TEST_F(AccessTest, CallsAreLimitedByCaller) {
  UseRoles();
  UseAudit();
  options_.runtime.access.rates = {.reads_per_second = 2, .writes_per_second = 0};
  Start();
  const std::string path = "/mptd.v1.StateService/GetStateRoot";
  // The test may be slow, and the bucket fills while it is; so many calls take far more than two a second.
  int refused = 0;
  grpc::Status last;
  for (int i = 0; i < 1000 && refused == 0; ++i) {
    const grpc::Status status = CallByName(path, "Bearer " + Token("r"));
    if (status.ok()) continue;
    ++refused;
    last = status;
  }
  ASSERT_EQ(refused, 1);
  EXPECT_EQ(last.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(last.error_message(), HasSubstr("security.max_reads_per_second"));
  EXPECT_GT(DetailOf<google::rpc::RetryInfo>(last).retry_delay().nanos(), 0);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(last).metadata().at("limit"), "max_reads_per_second");
  EXPECT_THAT(daemon_->RenderMetrics(), HasSubstr("mptd_limit_refusals_total{limit=\"max_reads_per_second\"} 1"));
  EXPECT_EQ(AuditLines("\"caller\":\"secret:id=r\",\"method\":\"GetStateRoot\",\"code\":\"RESOURCE_EXHAUSTED\""), 1u);
  EXPECT_EQ(Code(path, "w"), grpc::StatusCode::OK) << "another caller has a bucket of its own";
}

TEST_F(AccessTest, BlocksOfAStreamAreLimitedToo) {
  options_.runtime.access.rates = {.reads_per_second = 0, .writes_per_second = 2};
  Start();
  grpc::ClientContext context;
  const auto stream = state_->ApplyStateChangesStream(&context);
  pb::ApplyStateChangesStreamRequest request;
  for (uint64_t n = 1; n <= 1000; ++n) {
    *request.mutable_block() = BlockRequest(n);
    if (!stream->Write(request)) break;
  }
  stream->WritesDone();
  pb::ApplyStateChangesStreamResponse response;
  uint64_t applied = 0;
  while (stream->Read(&response)) applied = response.result().block().number();
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_GE(applied, 1u);
  EXPECT_LT(applied, 1000u);
}

TEST_F(AccessTest, ChangesAreAuditedWithTheirCaller) {
  UseRoles();
  UseAudit();
  Start();
  const auto with = [](grpc::ClientContext& context, const std::string& id) {
    context.AddMetadata("authorization", "Bearer " + Token(id));
    context.AddMetadata("x-request-id", "change-" + id);
  };
  for (uint64_t n = 1; n <= 2; ++n) {
    for (int twice = 0; twice < 2; ++twice) {
      grpc::ClientContext context;
      with(context, "w");
      pb::ApplyStateChangesResponse response;
      ASSERT_TRUE(state_->ApplyStateChanges(&context, BlockRequest(n), &response).ok());
      EXPECT_EQ(response.already_applied(), twice == 1);
    }
  }
  {
    grpc::ClientContext context;
    with(context, "w");
    pb::RollbackToRequest request;
    request.mutable_block()->set_number(1);
    pb::RollbackToResponse response;
    ASSERT_TRUE(state_->RollbackTo(&context, request, &response).ok());
  }
  EXPECT_EQ(Code("/mptd.v1.AdminService/Flush", "o"), grpc::StatusCode::OK);
  EXPECT_EQ(Code("/mptd.v1.StateService/GetStateRoot", "r"), grpc::StatusCode::OK);
  grpc::ClientContext context;
  with(context, "r");
  pb::GetStatusResponse status;
  ASSERT_TRUE(admin_->GetStatus(&context, {}, &status).ok());
  daemon_.reset();
  EXPECT_EQ(AuditLines("\"event\":\"started\""), 1u);
  EXPECT_EQ(AuditLines("\"event\":\"block_applied\",\"caller\":\"secret:id=w\",\"method\":\"ApplyStateChanges\""), 2u);
  EXPECT_EQ(AuditLines("\"event\":\"rolled_back\",\"caller\":\"secret:id=w\",\"method\":\"RollbackTo\",\"block\":1"),
            1u);
  EXPECT_EQ(AuditLines("\"event\":\"call\",\"caller\":\"secret:id=o\",\"method\":\"Flush\""), 1u);
  EXPECT_EQ(AuditLines("\"request_id\":\"change-w\""), 3u);
  EXPECT_EQ(AuditLines("\"event\":\"stopped\""), 1u);
  EXPECT_EQ(AuditLines("GetStateRoot"), 0u);
  const std::string files[] = {options_.audit.file};
  const auto report = security::VerifyAudit(files, status.audit_head());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->lines, status.audit_lines() + 1);
}

TEST_F(AccessTest, ChangesWaitForAnAuditLogThatCannotBeWritten) {
  UseAudit();
  std::atomic<bool> full{false};
  options_.audit.write = [&full](int fd, const void* data, size_t size) -> ssize_t {
    if (!full) return write(fd, data, size);
    errno = ENOSPC;
    return -1;
  };
  Start();
  ApplyTo(1);
  full = true;
  pb::ApplyStateChangesResponse response;
  // The one whose line cannot be written is done by then; the next is refused.
  ASSERT_TRUE(Call(&pb::StateService::Stub::ApplyStateChanges, BlockRequest(2), &response).ok());
  const grpc::Status refused = Call(&pb::StateService::Stub::ApplyStateChanges, BlockRequest(3), &response);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(refused.error_message(), HasSubstr("security.audit_required"));
  EXPECT_EQ(CallByName("/mptd.v1.StateService/GetStateRoot").error_code(), grpc::StatusCode::OK);
  EXPECT_THAT(daemon_->RenderMetrics(), Not(HasSubstr("mptd_audit_waiting_lines 0")));
  full = false;
  EXPECT_TRUE(Call(&pb::StateService::Stub::ApplyStateChanges, BlockRequest(3), &response).ok());
  EXPECT_EQ(AuditLines("\"event\":\"block_applied\""), 3u) << "none is missing";
  daemon_.reset();
}

TEST_F(AccessTest, UsersOfAUnixSocketAreKnownByTheKernel) {
  const std::string socket = "unix:" + dir_ + "/socket";
  for (const bool me : {true, false}) {
    options_.grpc.listen = {socket};
    options_.runtime.access.roles = {absl::StrCat("unix:uid=", getuid() + (me ? 0 : 1), " -> writer")};
    Start();
    EXPECT_EQ(CallByName("/mptd.v1.StateService/GetStateRoot").error_code(),
              me ? grpc::StatusCode::OK : grpc::StatusCode::UNAUTHENTICATED);
    const grpc::Status flush = CallByName("/mptd.v1.AdminService/Flush");
    EXPECT_EQ(flush.error_code(), me ? grpc::StatusCode::PERMISSION_DENIED : grpc::StatusCode::UNAUTHENTICATED);
    if (me) {
      EXPECT_THAT(flush.error_message(), HasSubstr(absl::StrCat("unix:uid=", getuid(), " has no role")));
      ApplyTo(2);
    }
    struct stat info {};
    ASSERT_EQ(stat((dir_ + "/socket").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0660u);
    channel_.reset();
    daemon_.reset();
    EXPECT_FALSE(std::filesystem::exists(dir_ + "/socket"));
  }
}

TEST_F(AccessTest, RolesChangeWithoutARestart) {
  UseRoles();
  RuntimeSettings next = options_.runtime;
  next.access.roles = {"secret:id=r -> writer"};
  options_.load_settings = [&next]() -> absl::StatusOr<RuntimeSettings> { return next; };
  Start();
  EXPECT_EQ(Code("/mptd.v1.StateService/GetStateRoot", "a"), grpc::StatusCode::OK);
  ASSERT_TRUE(daemon_->ReloadConfig().ok());
  EXPECT_EQ(Code("/mptd.v1.StateService/GetStateRoot", "a"), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(Code("/mptd.v1.StateService/GetStateRoot", "r"), grpc::StatusCode::OK);
  // Settings that cannot be used change nothing.
  for (const std::vector<std::string>& bad :
       {std::vector<std::string>{}, std::vector<std::string>{"cert:CN=x -> reader"},
        std::vector<std::string>{"secret -> reader", "unix:uid=1 -> reader"}}) {
    next.access.roles = bad;
    if (bad.empty()) next.access.jwt_secret_file.clear();
    EXPECT_EQ(daemon_->ReloadConfig().status().code(), absl::StatusCode::kFailedPrecondition);
    next.access.jwt_secret_file = dir_ + "/secret";
    EXPECT_EQ(Code("/mptd.v1.StateService/GetStateRoot", "r"), grpc::StatusCode::OK);
  }
}

TEST_F(AccessTest, SettingsThatDoNotFitTogetherDoNotStart) {
  const auto why = [this](const std::function<void(AccessOptions&)>& set) {
    AccessOptions options;
    set(options);
    return std::string(AccessControl::Open(options, nullptr, nullptr, *log_).status().message());
  };
  EXPECT_EQ(why([](AccessOptions&) {}), "");
  EXPECT_THAT(why([this](AccessOptions& o) { o.jwt_secret_file = dir_ + "/secret"; }), HasSubstr("need each other"));
  EXPECT_THAT(why([](AccessOptions& o) { o.roles = {"secret -> reader"}; }), HasSubstr("need each other"));
  EXPECT_THAT(why([](AccessOptions& o) { o.roles = {"jwt:sub=x -> reader"}; }), HasSubstr("need each other"));
  EXPECT_THAT(why([](AccessOptions& o) {
                o.jwt_public_key_file = "x";
                o.roles = {"jwt:sub=x -> reader"};
              }),
              HasSubstr("needs security.jwt_audience"));
  EXPECT_THAT(why([this](AccessOptions& o) {
                o.jwt_secret_file = dir_ + "/absent";
                o.roles = {"secret -> reader"};
              }),
              HasSubstr("No such file"));
}

TEST(PeerCredentialsTest, ANumberIsNeverUsedForTwoUsers) {
  PeerCredentials peers;
  const auto connect = [&peers](bool known, std::vector<int>& ends) {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ends.push_back(pair[1]);
    const auto adopted = peers.Adopt(pair[0], [known](const UnixPeer&) { return known; });
    EXPECT_TRUE(adopted.ok()) << adopted.status();
    return *adopted;
  };
  const auto name = [](int fd) { return absl::StrCat("fd:", fd); };
  std::vector<int> ends;
  const int mine = connect(true, ends);
  ASSERT_TRUE(peers.Find(name(mine)).has_value());
  EXPECT_EQ(peers.Find(name(mine))->uid, getuid());
  close(mine);
  // The kernel gives the number again; somebody who is not known must not get it.
  for (int i = 0; i < 3; ++i) {
    const int other = connect(false, ends);
    EXPECT_NE(other, mine);
    EXPECT_FALSE(peers.Find(name(other)).has_value());
    EXPECT_TRUE(peers.Find(name(mine)).has_value()) << "a call that is late still is of the same user";
    close(other);
    const int again = connect(true, ends);
    EXPECT_TRUE(peers.Find(name(again)).has_value());
    EXPECT_NE(again, other);
    close(again);
  }
  for (const char* odd : {"", "fd:", "fd:-1", "fd:99999999", "fd:x", "unix:", "ipv4:127.0.0.1:1"}) {
    EXPECT_FALSE(peers.Find(odd).has_value()) << odd;
  }
  for (const int fd : ends) close(fd);
}

}  // namespace
}  // namespace mptd
