// RLP and the two encodings of an account.
#include <benchmark/benchmark.h>

#include "bench/workload.h"
#include "core/account.h"
#include "core/rlp.h"

namespace mptd::bench {
namespace {

Account SomeAccount() {
  Account account;
  account.nonce = 300;
  account.balance = BalanceOf(123456789);
  return account;
}

// A branch node with 16 hashes, as proofs have them.
Bytes FullBranch() {
  const Bytes hash(32, 'h');
  Bytes items;
  for (int i = 0; i < 16; ++i) rlp::AppendString(items, hash);
  rlp::AppendString(items, "");
  Bytes out;
  rlp::AppendListHeader(out, items.size());
  return out + items;
}

void BM_AppendAccountRlp(benchmark::State& state) {
  const Account account = SomeAccount();
  Bytes out;
  for (auto _ : state) {
    out.clear();
    AppendAccountRlp(out, account);
    benchmark::DoNotOptimize(out.data());
  }
}

void BM_DecodeAccountRlp(benchmark::State& state) {
  Bytes rlp;
  AppendAccountRlp(rlp, SomeAccount());
  for (auto _ : state) benchmark::DoNotOptimize(DecodeAccountRlp(rlp));
}

void BM_AppendSlimAccount(benchmark::State& state) {
  const Account account = SomeAccount();
  Bytes out;
  for (auto _ : state) {
    out.clear();
    AppendSlimAccount(out, account);
    benchmark::DoNotOptimize(out.data());
  }
}

void BM_DecodeSlimAccount(benchmark::State& state) {
  const Bytes row = SlimAccount(SomeAccount());
  for (auto _ : state) benchmark::DoNotOptimize(DecodeSlimAccount(row));
}

void BM_ReadBranchRlp(benchmark::State& state) {
  const Bytes node = FullBranch();
  for (auto _ : state) {
    absl::StatusOr<rlp::Item> list = rlp::ReadOnly(node);
    BytesView rest = list->payload;
    while (!rest.empty()) benchmark::DoNotOptimize(rlp::Read(rest));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(node.size()));
}

BENCHMARK(BM_AppendAccountRlp);
BENCHMARK(BM_DecodeAccountRlp);
BENCHMARK(BM_AppendSlimAccount);
BENCHMARK(BM_DecodeSlimAccount);
BENCHMARK(BM_ReadBranchRlp);

}  // namespace
}  // namespace mptd::bench
