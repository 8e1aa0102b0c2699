// Any bytes as a row of the history table. What is taken is written again in a form that stays as it is.
#include "core/engine/undo_record.h"
#include "tests/fuzz/fuzzing.h"

using mptd::fuzz::Require;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const mptd::Bytes input = mptd::fuzz::Copy(data, size);
  const auto header = mptd::DecodeUndoHeader(input);
  const auto record = mptd::DecodeUndo(input);
  if (!record.ok()) {
    Require(absl::IsDataLoss(record.status()));
    return 0;
  }
  Require(header.ok() && header->block == record->header.block && header->sequence == record->header.sequence);
  const mptd::Bytes written = mptd::EncodeUndo(*record);
  const auto again = mptd::DecodeUndo(written);
  Require(again.ok() && written.size() <= input.size() && mptd::EncodeUndo(*again) == written);
  return 0;
}
