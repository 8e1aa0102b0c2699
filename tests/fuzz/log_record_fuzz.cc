// Any bytes as the payload of a change log record. What is taken is written again in a form that stays as it is.
#include <variant>

#include "core/engine/change_codec.h"
#include "tests/fuzz/fuzzing.h"

namespace {

using mptd::fuzz::Require;

mptd::Bytes Encode(const mptd::LogRecord& record) {
  if (const auto* rollback = std::get_if<mptd::LoggedRollback>(&record)) return mptd::EncodeLogRollback(*rollback);
  const auto& logged = std::get<mptd::LoggedBlock>(record);
  return mptd::EncodeLogBlock(logged.block, logged.state_root, mptd::EncodeChanges(logged.block));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const mptd::Bytes input = mptd::fuzz::Copy(data, size);
  const auto record = mptd::DecodeLogRecord(input);
  if (!record.ok()) {
    Require(absl::IsDataLoss(record.status()));
    return 0;
  }
  // Sorted from here on; quantities without leading zeros.
  const mptd::Bytes written = Encode(*record);
  const auto again = mptd::DecodeLogRecord(written);
  Require(again.ok() && again->index() == record->index() && written.size() <= input.size());
  // Accounts and slots that come twice have no order of their own.
  Require(Encode(*again).size() == written.size());
  return 0;
}
