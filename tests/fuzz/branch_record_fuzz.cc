// Any bytes as a branch's row and as the undo entries of one: pieces, each with its size in front. What is taken as a
// row is what would be written, in both of its forms, and can be replaced and rebuilt.
#include "core/trie/branch_record.h"
#include "tests/fuzz/fuzzing.h"

namespace {

using mptd::Bytes;
using mptd::BytesView;
using mptd::fuzz::Input;
using mptd::fuzz::Require;

void TryRow(BytesView row) {
  const auto value = mptd::DecodeBranchRecord(row);
  const auto decoded = mptd::DecodeBranchNode(row);
  Require(value.ok() == decoded.ok());
  if (!value.ok()) {
    Require(absl::IsDataLoss(value.status()) && absl::IsDataLoss(decoded.status()));
    return;
  }
  const mptd::BranchNode& node = **decoded;
  Bytes of_value;
  Bytes of_node;
  mptd::AppendBranchRecord(of_value, *value);
  mptd::AppendBranchRecord(of_node, node);
  Require(of_value == of_node);
  const auto again = mptd::DecodeBranchRecord(of_value);
  Require(again.ok());
  Bytes rlp_of_value;
  Bytes rlp_of_node;
  mptd::AppendBranchRlp(rlp_of_value, *value);
  mptd::AppendBranchRlp(rlp_of_node, node);
  Require(rlp_of_value == rlp_of_node);
  // All of it replaced, and nothing left of it: the entry alone gives it back.
  Bytes undo;
  mptd::AppendReplaced(undo, node, 0xffff);
  Require(undo.size() <= mptd::kMaxUndoBytes);
  mptd::BranchRebuilder rebuilder;
  const auto complete = rebuilder.Add(undo);
  Require(complete.ok() && *complete && rebuilder.result() != nullptr);
  Bytes rebuilt;
  mptd::AppendBranchRecord(rebuilt, *rebuilder.result());
  Require(rebuilt == of_value);
}

void TryRebuild(Input& input) {
  mptd::BranchRebuilder rebuilder;
  while (!input.empty() && !rebuilder.complete()) {
    const Bytes entry(input.Take(input.TwoBytes() % 1024));
    if (input.empty()) {
      const auto now = mptd::DecodeBranchRecord(entry);
      if (!rebuilder.AddCurrent(now.ok() ? &*now : nullptr).ok()) return;
    } else if (!rebuilder.Add(entry).ok()) {
      return;
    }
  }
  if (!rebuilder.complete() || rebuilder.result() == nullptr) return;
  Bytes record;
  mptd::AppendBranchRecord(record, *rebuilder.result());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  if (input.Below(2) == 0) {
    TryRow(Bytes(input.rest()));
  } else {
    TryRebuild(input);
  }
  return 0;
}
