// Which blocks of a file the daemon has already, so that an import that was cut off can go on. Not synchronised.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "mptd/v1/admin.pb.h"
#include "mptd/v1/state.pb.h"

namespace mptd::cli {

// Fed with a file's blocks in order. Blocks up to the daemon's head are skipped until the first one that has to be
// sent; a block with `reorganize` always has to be, because only the daemon knows whether it happened.
class ResumeFilter {
 public:
  explicit ResumeFilter(const v1::GetStatusResponse& status) : head_(status.head()), skipping_(status.has_blocks()) {}

  // True to send the block, false to skip it. FAILED_PRECONDITION when the file's block at the head's number is another
  // one than the head, and no reorganisation in the file explains that.
  absl::StatusOr<bool> Wants(const v1::ApplyStateChangesRequest& block);
  // At the end of the file: the same error when it has not been given yet.
  absl::Status Finish() const { return mismatch_; }

  uint64_t skipped() const { return skipped_; }

 private:
  absl::Status Compare(const v1::ApplyStateChangesRequest& block) const;

  const v1::Block head_;
  bool skipping_;
  uint64_t skipped_ = 0;
  absl::Status mismatch_;
};

}  // namespace mptd::cli
