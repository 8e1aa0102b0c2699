// Roles by client certificate, with gRPC's own TLS between a client and the gate: a service that does nothing but ask
// it.
#include <gmock/gmock.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/impl/codegen/rpc_method.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/time/clock.h"
#include "google/protobuf/empty.pb.h"
#include "server/access.h"
#include "server/own_connections.h"
#include "server/standing_certificates.h"
#include "server/status_mapping.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

template <typename Write>
std::string Pem(Write write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), &BIO_free);
  write(bio.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

// A key and a certificate for it; its own issuer when there is none.
struct Identity {
  Identity(const std::string& common_name, const std::string& alternative_names, const Identity* issuer)
      : key(EVP_EC_gen("P-256"), &EVP_PKEY_free), certificate(X509_new(), &X509_free) {
    X509* x = certificate.get();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), issuer == nullptr ? 1 : 2);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1, 0);
    const Identity& signer = issuer == nullptr ? *this : *issuer;
    X509_set_issuer_name(x, X509_get_subject_name(signer.certificate.get()));
    Extend(NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
    if (!alternative_names.empty()) Extend(NID_subject_alt_name, alternative_names);
    X509_sign(x, signer.key.get(), EVP_sha256());
  }
  void Extend(int nid, const std::string& value) const {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
    X509_add_ext(certificate.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  std::string KeyPem() const {
    return Pem([this](BIO* bio) { PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  }
  std::string CertificatePem() const {
    return Pem([this](BIO* bio) { PEM_write_bio_X509(bio, certificate.get()); });
  }

  Key key;
  Certificate certificate;
};

// Ends each call with what the gate says: ABORTED with the caller's name when it is admitted.
class Gate final : public grpc::CallbackGenericService {
 public:
  explicit Gate(AccessControl& access) : access_(access) {}

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    class Reactor final : public grpc::ServerGenericBidiReactor {
     public:
      explicit Reactor(const grpc::Status& status) { Finish(status); }
      void OnDone() override { delete this; }
    };
    const Admission admission = access_.Admit(Method::kGetStateRoot, *context, "");
    if (!admission.status.ok()) return new Reactor(ToGrpcStatus(admission.status));
    return new Reactor(grpc::Status(grpc::StatusCode::ABORTED, admission.caller));
  }

 private:
  AccessControl& access_;
};

class ClientCertificateTest : public ::testing::Test {
 protected:
  void Start(grpc_ssl_client_certificate_request_type request) {
    AccessOptions options;
    options.roles = {"cert:CN=prover -> reader", "cert:SAN=node.example -> writer"};
    access_ = *AccessControl::Open(options, nullptr, &certificates_, *log_);
    gate_ = std::make_unique<Gate>(*access_);
    grpc::SslServerCredentialsOptions tls(request);
    tls.pem_root_certs = ca_.CertificatePem();
    tls.pem_key_cert_pairs.push_back({server_id_.KeyPem(), server_id_.CertificatePem()});
    grpc::ServerBuilder builder;
    builder.RegisterCallbackGenericService(gate_.get());
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(tls), &port_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  ~ClientCertificateTest() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }

  std::shared_ptr<grpc::Channel> ConnectAs(const Identity* identity) const {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = ca_.CertificatePem();
    if (identity != nullptr) {
      tls.pem_private_key = identity->KeyPem();
      tls.pem_cert_chain = identity->CertificatePem();
    }
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetSslTargetNameOverride("mptd.example");
    return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port_), grpc::SslCredentials(tls), arguments);
  }
  static grpc::Status CallBy(grpc::Channel& channel) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(2));
    google::protobuf::Empty empty;
    const grpc::internal::RpcMethod method("/x/y", grpc::internal::RpcMethod::NORMAL_RPC);
    return grpc::internal::BlockingUnaryCall<google::protobuf::Empty, google::protobuf::Empty>(&channel, method,
                                                                                               &context, empty, &empty);
  }
  grpc::Status CallAs(const Identity* identity) const { return CallBy(*ConnectAs(identity)); }
  void Trust(const Identity& ca) {
    certificates_.SetVerifier(std::make_shared<const tls::PeerVerifier>(
        *tls::PeerVerifier::Create(ca.CertificatePem(), /*revocation_lists=*/"")));
  }

  const std::unique_ptr<Logger> log_ = Logger::Silent();
  const Identity ca_{"CA", "", nullptr};
  const Identity server_id_{"server", "DNS:mptd.example", &ca_};
  StandingCertificates certificates_;
  std::unique_ptr<AccessControl> access_;
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

TEST_F(ClientCertificateTest, NamesOfTheCertificateDecide) {
  Start(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  const Identity prover("prover", "", &ca_);
  grpc::Status status = CallAs(&prover);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED) << status.error_message();
  EXPECT_EQ(status.error_message(), "cert:CN=prover");

  const Identity node("node", "DNS:other.example,DNS:node.example", &ca_);
  EXPECT_EQ(CallAs(&node).error_message(), "cert:CN=node");

  for (const auto& [common, alternative] :
       {std::pair("stranger", ""), std::pair("Prover", ""), std::pair("prover2", ""), std::pair("node.example", ""),
        std::pair("x", "DNS:prover")}) {
    const Identity stranger(common, alternative, &ca_);
    status = CallAs(&stranger);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << common << " " << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(std::string("cert:CN=") + common + " has no role"));
  }
}

TEST_F(ClientCertificateTest, NoCertificateOrAnothersCaIsStoppedByTls) {
  Start(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  EXPECT_EQ(CallAs(nullptr).error_code(), grpc::StatusCode::UNAVAILABLE);
  const Identity other_ca("CA", "", nullptr);
  const Identity forged("prover", "", &other_ca);
  EXPECT_EQ(CallAs(&forged).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ClientCertificateTest, WhereItMayBeLeftOutWhoeverDoesIsNobody) {
  Start(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  EXPECT_EQ(CallAs(nullptr).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  const Identity prover("prover", "", &ca_);
  EXPECT_EQ(CallAs(&prover).error_code(), grpc::StatusCode::ABORTED);
}

// The connection stands, and its certificate was good when it began.
TEST_F(ClientCertificateTest, ACertificateThatIsNotGoodAnyMoreIsRefusedAtTheNextCall) {
  Start(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  Trust(ca_);
  const Identity prover("prover", "", &ca_);
  const auto channel = ConnectAs(&prover);
  EXPECT_EQ(CallBy(*channel).error_message(), "cert:CN=prover");
  EXPECT_EQ(CallBy(*channel).error_message(), "cert:CN=prover");
  const Identity other_ca("other", "", nullptr);
  Trust(other_ca);
  const grpc::Status refused = CallBy(*channel);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(refused.error_message(), HasSubstr("CN=prover: "));
  Trust(ca_);
  EXPECT_EQ(CallBy(*channel).error_message(), "cert:CN=prover") << "on the same connection";
}

TEST_F(ClientCertificateTest, AReviewFindsThoseThatMakeNoCallsAndForgetsThoseThatAreGone) {
  Start(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  Trust(ca_);
  const Identity prover("prover", "", &ca_);
  const auto channel = ConnectAs(&prover);
  const auto nobody = ConnectAs(nullptr);
  EXPECT_EQ(CallBy(*channel).error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(CallBy(*nobody).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  absl::flat_hash_set<std::string> open;
  for (const OwnConnection& one : OwnConnections({"127.0.0.1:" + std::to_string(port_)}).Find()) open.insert(one.peer);
  ASSERT_EQ(open.size(), 2u);
  EXPECT_TRUE(certificates_.Review(open, absl::Now()).empty());
  for (const std::string& peer : open) EXPECT_TRUE(certificates_.Knows(peer)) << peer;
  Trust(Identity("other", "", nullptr));
  const auto expelled = certificates_.Review(open, absl::Now());
  ASSERT_EQ(expelled.size(), 1u) << "who has shown none has none to be bad";
  EXPECT_TRUE(open.contains(expelled[0].peer));
  EXPECT_THAT(expelled[0].certificate, HasSubstr("CN=prover, serial 02, issued by CN=CA"));
  EXPECT_TRUE(certificates_.Review(open, absl::Now()).empty()) << "told once";
  for (int i = 0; i < 2; ++i) certificates_.Review({}, absl::Now());
  for (const std::string& peer : open) EXPECT_FALSE(certificates_.Knows(peer)) << peer;
}

}  // namespace
}  // namespace mptd
