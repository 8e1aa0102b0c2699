// Branches as bytes: records, undo entries, RLP. The argument is the number of children.
#include <benchmark/benchmark.h>

#include <memory>

#include "bench/rng.h"
#include "core/trie/branch_record.h"

namespace mptd::bench {
namespace {

struct FreeNode {
  void operator()(BranchNode* node) const { BranchNode::Free(node); }
};
using NodePtr = std::unique_ptr<BranchNode, FreeNode>;

// The first `children` nibbles have leaves with random hashes.
NodePtr MakeNode(int children, uint64_t seed) {
  BranchShape shape;
  shape.children = static_cast<uint16_t>((1u << children) - 1);
  NodePtr node(BranchNode::Make(1, "", shape, 0));
  Rng rng(seed);
  for (int i = 0; i < children; ++i) {
    for (int k = 0; k < 32; ++k) node->ref(i)[k] = static_cast<uint8_t>(rng.Next());
  }
  return node;
}

int Children(const benchmark::State& state) { return static_cast<int>(state.range(0)); }

void BM_BranchRecordEncode(benchmark::State& state) {
  const NodePtr node = MakeNode(Children(state), 1);
  Bytes out;
  for (auto _ : state) {
    out.clear();
    AppendBranchRecord(out, *node);
    benchmark::DoNotOptimize(out.data());
  }
}

void BM_BranchRecordDecode(benchmark::State& state) {
  Bytes record;
  AppendBranchRecord(record, *MakeNode(Children(state), 1));
  for (auto _ : state) benchmark::DoNotOptimize(DecodeBranchNode(record));
}

void BM_BranchRlp(benchmark::State& state) {
  const NodePtr node = MakeNode(Children(state), 1);
  Bytes out;
  for (auto _ : state) {
    out.clear();
    AppendBranchRlp(out, *node);
    benchmark::DoNotOptimize(out.data());
  }
}

// One child of the branch has changed.
NodePtr Changed(const NodePtr& node, int children) {
  NodePtr after = MakeNode(children, 1);
  for (int i = 1; i < children; ++i) std::memcpy(after->ref(i), node->ref(i), 32);
  after->ref(0)[0] ^= 1;
  return after;
}

void BM_BranchUndo(benchmark::State& state) {
  const NodePtr before = MakeNode(Children(state), 1);
  const NodePtr after = Changed(before, Children(state));
  Bytes out;
  for (auto _ : state) {
    out.clear();
    AppendBranchUndo(out, before.get(), after.get());
    benchmark::DoNotOptimize(out.data());
  }
}

// The branch as it was 16 changes ago.
void BM_BranchRebuild(benchmark::State& state) {
  const NodePtr before = MakeNode(Children(state), 1);
  const NodePtr after = Changed(before, Children(state));
  const BranchValue now = ToValue(*after);
  Bytes undo;
  AppendBranchUndo(undo, before.get(), after.get());
  for (auto _ : state) {
    BranchRebuilder rebuilder;
    for (int i = 0; i < 16; ++i) benchmark::DoNotOptimize(rebuilder.Add(undo));
    benchmark::DoNotOptimize(rebuilder.AddCurrent(&now));
    benchmark::DoNotOptimize(rebuilder.result());
  }
}

BENCHMARK(BM_BranchRecordEncode)->Arg(2)->Arg(16);
BENCHMARK(BM_BranchRecordDecode)->Arg(2)->Arg(16);
BENCHMARK(BM_BranchRlp)->Arg(2)->Arg(16);
BENCHMARK(BM_BranchUndo)->Arg(2)->Arg(16);
BENCHMARK(BM_BranchRebuild)->Arg(2)->Arg(16);

}  // namespace
}  // namespace mptd::bench
