#include "server/server_tls.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "tls/min_version.h"
#include "tls/peer_verifier.h"

namespace mptd {

class PeerGate {
 public:
  explicit PeerGate(TlsWatch& watch) : watch_(&watch) {}

  void Set(std::shared_ptr<const tls::PeerVerifier> verifier) {
    const MutexLock lock(mutex_);
    verifier_ = std::move(verifier);
  }

  // The watch goes away.
  void Close() {
    const MutexLock lock(watch_mutex_);
    watch_ = nullptr;
  }

  // `leaf` is empty when the caller has shown no certificate.
  grpc::Status Admit(std::string_view leaf, std::string_view chain) {
    const absl::Status status = leaf.empty() ? absl::UnauthenticatedError("the caller has shown no certificate")
                                             : verifier()->Check(leaf, chain);
    if (status.ok()) return grpc::Status::OK;
    ++refused_;
    const MutexLock lock(watch_mutex_);
    if (watch_ != nullptr) watch_->OnRefusedCertificate(leaf, status);
    return {grpc::StatusCode::UNAUTHENTICATED, std::string(status.message())};
  }

  uint64_t refused() const { return refused_; }

 private:
  std::shared_ptr<const tls::PeerVerifier> verifier() const {
    const MutexLock lock(mutex_);
    return verifier_;
  }

  mutable Mutex mutex_;
  std::shared_ptr<const tls::PeerVerifier> verifier_ ABSL_GUARDED_BY(mutex_);  // set before gRPC listens
  Mutex watch_mutex_;  // of its own: who is let in does not wait for the record of who is not
  TlsWatch* watch_ ABSL_GUARDED_BY(watch_mutex_);
  std::atomic<uint64_t> refused_{0};
};

namespace {

using grpc::experimental::ExternalCertificateVerifier;
using grpc::experimental::FileWatcherCertificateProvider;
using grpc::experimental::TlsCustomVerificationCheckRequest;
using grpc::experimental::TlsServerCredentialsOptions;

constexpr auto kPoll = std::chrono::seconds(1);
constexpr unsigned kProviderSeconds = 1;  // how often gRPC looks at the files in memory
// A certificate that is renewed as it should be never gets there.
constexpr double kOldShare = 0.1;

std::string_view View(const grpc::string_ref& text) { return {text.data(), text.size()}; }

// The only one that decides: a chain that gRPC refused by itself would end the connection without a word about it.
class GateVerifier final : public ExternalCertificateVerifier {
 public:
  GateVerifier(std::shared_ptr<PeerGate> gate, bool required) : gate_(std::move(gate)), required_(required) {}

  bool Verify(TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* status) override {
    const std::string_view leaf = View(request->peer_cert());
    if (leaf.empty() && !required_) {
      *status = grpc::Status::OK;
    } else {
      *status = gate_->Admit(leaf, View(request->peer_cert_full_chain()));
    }
    return true;
  }
  void Cancel(TlsCustomVerificationCheckRequest*) override {}

 private:
  const std::shared_ptr<PeerGate> gate_;
  const bool required_;
};

double Seconds(absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); }

std::string Date(absl::Time time) { return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone()); }

}  // namespace

absl::StatusOr<std::unique_ptr<ServerTls>> ServerTls::Open(ServerTlsOptions options, security::AuditLog* audit,
                                                           Logger& log) {
  if (options.tls13_only) {
    if (absl::Status status = tls::RequireTls13(); !status.ok()) return status;
  }
  absl::StatusOr<MemoryFile> identity = MemoryFile::Create();
  if (!identity.ok()) return identity.status();
  absl::StatusOr<MemoryFile> client_ca = MemoryFile::Create();
  if (!client_ca.ok()) return client_ca.status();
  std::unique_ptr<ServerTls> out(
      new ServerTls(std::move(options), *std::move(identity), *std::move(client_ca), audit, log));
  if (absl::Status status = out->Reload(); !status.ok()) return status;
  out->MakeCredentials();
  out->watcher_ = std::thread([tls = out.get()] { tls->Watch(); });
  return out;
}

ServerTls::ServerTls(ServerTlsOptions options, MemoryFile identity, MemoryFile client_ca, security::AuditLog* audit,
                     Logger& log)
    : options_(std::move(options)),
      log_(log),
      watch_(audit, log),
      gate_(std::make_shared<PeerGate>(watch_)),
      identity_(std::move(identity)),
      client_ca_(std::move(client_ca)) {}

ServerTls::~ServerTls() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  if (watcher_.joinable()) watcher_.join();
  credentials_.reset();  // gRPC's thread reads the files in memory until then
  gate_->Close();
}

void ServerTls::MakeCredentials() {
  const bool ask = !options_.files.client_ca.empty();
  std::string identity;
  std::string client_ca;
  {
    const MutexLock lock(mutex_);
    identity = identity_.path();
    if (ask) client_ca = client_ca_.path();
  }
  TlsServerCredentialsOptions options(
      std::make_shared<FileWatcherCertificateProvider>(identity, identity, client_ca, kProviderSeconds));
  options.watch_identity_key_cert_pairs();
  if (ask) {
    options.watch_root_certs();  // whose names callers are told
    options.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
    options.set_certificate_verifier(
        ExternalCertificateVerifier::Create<GateVerifier>(gate_, options_.require_client_certificates));
  }
  credentials_ = grpc::experimental::TlsServerCredentials(options);
}

ServerTls::Stamp ServerTls::ReadStamp() const {
  Stamp out;
  for (const std::string& path :
       {options_.files.certificate, options_.files.key, options_.files.client_ca, options_.files.revocation_lists}) {
    struct stat info {};
    if (path.empty() || stat(path.c_str(), &info) != 0) continue;
    for (const int64_t part : {static_cast<int64_t>(info.st_dev), static_cast<int64_t>(info.st_ino),
                               static_cast<int64_t>(info.st_mtim.tv_sec), static_cast<int64_t>(info.st_mtim.tv_nsec),
                               static_cast<int64_t>(info.st_size), static_cast<int64_t>(info.st_mode)}) {
      out.push_back(part);
    }
  }
  return out;
}

absl::Status ServerTls::Reload() {
  const MutexLock lock(mutex_);
  return ReloadLocked();
}

absl::Status ServerTls::ReloadLocked() {
  seen_ = ReadStamp();
  absl::StatusOr<tls::TlsMaterial> material = tls::ReadTlsFiles(options_.files, absl::Now());
  absl::Status status = material.status();
  if (status.ok()) status = Publish(*material);
  if (!status.ok()) {
    ++failures_;
    problem_ = std::string(status.message());
    log_.Error(LogModule::kServer, "tls_refused", {{"reason", problem_}});
    return status;
  }
  ++reloads_;
  problem_.clear();
  in_force_ = *std::move(material);
  log_.Info(LogModule::kServer, "tls_loaded",
            {{"subject", in_force_.subject},
             {"not_after", Date(in_force_.not_after)},
             {"client_certificates", options_.files.client_ca.empty()       ? "none"
                                     : options_.require_client_certificates ? "require"
                                                                            : "request"}});
  return absl::OkStatus();
}

absl::Status ServerTls::Publish(const tls::TlsMaterial& material) {
  if (!material.client_ca.empty()) {
    absl::StatusOr<tls::PeerVerifier> verifier =
        tls::PeerVerifier::Create(material.client_ca, material.revocation_lists);
    if (!verifier.ok()) return verifier.status();
    if (absl::Status status = client_ca_.Replace(material.client_ca); !status.ok()) return status;
    const auto shared = std::make_shared<const tls::PeerVerifier>(*std::move(verifier));
    gate_->Set(shared);
    watch_.certificates().SetVerifier(shared);
  }
  return identity_.Replace(absl::StrCat(material.key, "\n", material.certificate));
}

void ServerTls::Watch() {
  MutexLock lock(mutex_);
  Stamp before = seen_;
  while (!stopping_) {
    stop_.wait_for(mutex_, kPoll);
    if (stopping_) return;
    // Only what has come to rest: a certificate and its key are two files, and are written one after the other.
    Stamp now = ReadStamp();
    if (now != seen_ && now == before) ReloadLocked().IgnoreError();  // the log says it
    before = std::move(now);
  }
}

HealthFinding ServerTls::Check(absl::Time now) const {
  const MutexLock lock(mutex_);
  const auto degraded = [](std::string reason) { return HealthFinding{HealthState::kDegraded, std::move(reason)}; };
  if (now > in_force_.not_after) {
    return {HealthState::kFailing, absl::StrCat("the certificate has expired at ", Date(in_force_.not_after))};
  }
  if (now > in_force_.next_update) {
    return {HealthState::kFailing, absl::StrCat("a revocation list is out of date since ", Date(in_force_.next_update),
                                                ": callers with certificates are refused")};
  }
  if (!problem_.empty()) return degraded(absl::StrCat("the files are worse than what is in force: ", problem_));
  if (now > in_force_.not_after - kOldShare * (in_force_.not_after - in_force_.not_before)) {
    return degraded(absl::StrCat("the certificate expires at ", Date(in_force_.not_after), " and was not renewed"));
  }
  return {};
}

void ServerTls::Write(MetricsWriter& writer) const {
  const MutexLock lock(mutex_);
  writer.Gauge("mptd_tls_certificate_not_before_seconds", "From when on the certificate in force is valid, since 1970.",
               Seconds(in_force_.not_before));
  writer.Gauge("mptd_tls_certificate_not_after_seconds", "When the certificate in force expires, since 1970.",
               Seconds(in_force_.not_after));
  if (in_force_.next_update != absl::InfiniteFuture()) {
    writer.Gauge("mptd_tls_crl_next_update_seconds", "When the first revocation list is out of date, since 1970.",
                 Seconds(in_force_.next_update));
  }
  writer.Gauge("mptd_tls_files_refused", "1 while the files of TLS are bad and older ones are in force.",
               problem_.empty() ? 0 : 1);
  constexpr char kReloads[] = "mptd_tls_reloads_total";
  constexpr char kReloadsHelp[] = "How often the files of TLS were read, the start included.";
  writer.Counter(kReloads, kReloadsHelp, static_cast<double>(reloads_), {{"result", "ok"}});
  writer.Counter(kReloads, kReloadsHelp, static_cast<double>(failures_), {{"result", "refused"}});
  writer.Counter("mptd_tls_peers_refused_total", "Callers that were refused for their certificate, or for having none.",
                 static_cast<double>(gate_->refused()));
  watch_.Write(writer);
}

}  // namespace mptd
