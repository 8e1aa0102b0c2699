// Whether audit logs are as they were written, without a daemon. Reads the files, nothing else; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "security/audit_chain.h"

namespace mptd::security {

struct AuditReport {
  uint64_t lines = 0;
  uint64_t torn = 0;       // places where a crash or a full disk has left a part of a line, and the chain says so
  uint64_t first_seq = 0;  // more than 1: older lines are in files that were not given
  AuditHead head;
  uint64_t after_expected = 0;  // lines behind the one that was expected
};

// The files are parts of one chain, the oldest first. `expect_last` is the hash of a line that must be among them, as
// the daemon has told it; empty: nobody knows what the last line is, and lines that were cut off the end are not
// missed. DATA_LOSS: "file:line: what is wrong" of the first line that is; FAILED_PRECONDITION: a file cannot be read.
absl::StatusOr<AuditReport> VerifyAudit(std::span<const std::string> files, const std::string& expect_last);

}  // namespace mptd::security
