// The oldest version of TLS that this process speaks.
#pragma once

#include "absl/status/status.h"

namespace mptd::tls {

// No TLS before 1.3 for every context that is made from here on, by whichever library: gRPC 1.51 has no option for it
// (it speaks 1.2 and 1.3), so it is said in OpenSSL's own configuration, which overrules. Called once, before other
// threads use TLS.
absl::Status RequireTls13();

}  // namespace mptd::tls
