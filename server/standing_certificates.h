// The connections of TLS that have made a call, each with the certificate that let it in. TLS looks at a certificate
// once, when a connection begins; connections last for days, and a certificate may be revoked or expire meanwhile. Here
// it is judged again: at a call, when the CAs or revocation lists were read anew or some seconds have passed since the
// last time, and in Review for connections that make no calls, such as those of long streams.
//
// Safe from any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "server/mutex.h"
#include "tls/peer_verifier.h"

namespace mptd {

// The certificate that the caller has shown, for people; empty without one.
std::string CertificateOf(const grpc::ServerContextBase& context);

class StandingCertificates {
 public:
  // What decides from here on; null: all that TLS has let in is good.
  void SetVerifier(std::shared_ptr<const tls::PeerVerifier> verifier);

  // Of a call. UNAUTHENTICATED: the certificate of its connection is not good any more, and why.
  absl::Status Check(const grpc::ServerContextBase& context, absl::Time now);

  // Whether the connection, by its OwnConnection::peer, has made a call.
  bool Knows(const std::string& peer) const;

  struct Expelled {
    std::string peer;         // as OwnConnection has it
    std::string certificate;  // for people
    absl::Status why;
  };
  // To be called now and then with the connections that are open. Forgets the others, and returns those whose
  // certificate is not good any more, for the caller to end; they are forgotten, too.
  std::vector<Expelled> Review(const absl::flat_hash_set<std::string>& open, absl::Time now);

 private:
  struct Standing {
    std::string leaf;   // PEM; empty without a certificate
    std::string chain;  // what the caller sent besides
    std::shared_ptr<const tls::PeerVerifier> judged_by;
    absl::Time judged = absl::InfinitePast();
    absl::Status verdict;
    int missed = 0;  // reviews in which the connection was not among the open ones
  };

  static bool IsStale(const Standing& standing, const std::shared_ptr<const tls::PeerVerifier>& verifier,
                      absl::Time now);
  // Judges and remembers.
  absl::Status Judge(const std::string& peer, const Standing& standing, absl::Time now);

  mutable Mutex mutex_;
  std::shared_ptr<const tls::PeerVerifier> verifier_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Standing> standing_ ABSL_GUARDED_BY(mutex_);  // by OwnConnection::peer
};

}  // namespace mptd
