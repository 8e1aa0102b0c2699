#include "server/state_events.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/account.h"
#include "core/decimal.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "core/rlp.h"

namespace mptd {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(10);
// The lines of a larger block would push all others out of the log's queue.
constexpr size_t kMostAccounts = 1000;

U256 BalanceOf(const StateView& view, const Address& address) {
  const absl::StatusOr<std::optional<Account>> account = view.GetAccount(address);
  return account.ok() && account->has_value() ? (*account)->balance : U256{};
}

bool Less(const U256& a, const U256& b) { return std::memcmp(a.be.data(), b.be.data(), a.be.size()) < 0; }

// `a` - `b`, which is not above `a`.
U256 Minus(const U256& a, const U256& b) {
  U256 out;
  int borrow = 0;
  for (size_t i = a.be.size(); i-- > 0;) {
    const int digit = static_cast<int>(a.be[i]) - static_cast<int>(b.be[i]) - borrow;
    borrow = digit < 0 ? 1 : 0;
    out.be[i] = static_cast<uint8_t>(digit + 256 * borrow);
  }
  return out;
}

std::string Wei(const U256& value) { return ToDecimal(value.minimal()); }

std::string Delta(const U256& before, const U256& after) {
  return Less(after, before) ? "-" + Wei(Minus(before, after)) : Wei(Minus(after, before));
}

// Whether the nodes prove that `key` has the value `expected`, empty for none, in the trie with that root.
absl::Status VerifyLeaf(ProofNodes& nodes, const Hash& root, const Hash& key, const Bytes& expected) {
  const absl::StatusOr<std::optional<Bytes>> leaf = nodes.Find(root, key.view());
  if (!leaf.ok()) return leaf.status();
  if (leaf->value_or(Bytes()) == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat("the key %s is stated as %s but proved as %s", ToHex(key),
                                                    ToHex(expected), ToHex(leaf->value_or(Bytes()))));
}

absl::Status VerifyEntry(ProofNodes& nodes, const Hash& state_root, const ProofTargetSpec& target,
                         const MultiProof::Entry& entry) {
  Bytes leaf;
  if (entry.account.has_value()) AppendAccountRlp(leaf, *entry.account);
  absl::Status status = VerifyLeaf(nodes, state_root, Keccak256(target.address.view()), leaf);
  const Hash& storage_root = entry.account.has_value() ? entry.account->storage_root : kEmptyRoot;
  for (size_t i = 0; status.ok() && i < target.slots.size(); ++i) {
    Bytes value;
    if (!entry.values[i].IsZero()) rlp::AppendString(value, entry.values[i].minimal());
    status = VerifyLeaf(nodes, storage_root, Keccak256(target.slots[i].view()), value);
  }
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrFormat("account %s: %s", ToHex(target.address), status.message()));
}

absl::Status VerifyMultiProof(const Hash& state_root, std::span<const ProofTargetSpec> targets,
                              const MultiProof& proof) {
  ProofNodes nodes(proof.nodes);
  for (size_t i = 0; i < targets.size(); ++i) {
    if (absl::Status s = VerifyEntry(nodes, state_root, targets[i], proof.entries[i]); !s.ok()) return s;
  }
  return nodes.AllUsed();
}

constexpr std::string_view kCaches[] = {"accounts", "slots", "nodes"};
static_assert(std::size(kCaches) == kCacheKinds);

}  // namespace

StateEvents::Transition::Transition(const StateEvents& events, const BlockChanges& block)
    : events_(events), enabled_(events.enabled()), number_(block.number) {
  if (!enabled_) return;
  events_.log_.Debug(LogModule::kEngine, "state_transition_started",
                     {{"block", number_}, {"accounts", block.changes.size()}, {"reorganize", block.reorganize}});
  const absl::StatusOr<StateViewPtr> parent = events_.engine_.View(LatestBlock{});
  if (!parent.ok()) return;
  for (size_t i = 0; i < std::min(kMostAccounts, block.changes.size()); ++i) {
    const Address& address = block.changes[i].address;
    touched_.push_back({address, BalanceOf(**parent, address)});
  }
}

void StateEvents::Transition::LogAccounts() const {
  const absl::StatusOr<StateViewPtr> view = events_.engine_.View(BlockSelector(number_));
  if (!view.ok()) return;
  for (const auto& [address, before] : touched_) {
    const U256 after = BalanceOf(**view, address);
    events_.log_.Debug(LogModule::kEngine, "account_updated",
                       {{"block", number_},
                        {"address", ToHex(address)},
                        {"old_balance", Wei(before)},
                        {"new_balance", Wei(after)},
                        {"delta", Delta(before, after)}});
  }
}

void StateEvents::Transition::Applied(const ApplyResult& result) const {
  if (!enabled_) return;
  if (!result.already_applied) {
    LogAccounts();
    events_.log_.Debug(LogModule::kEngine, "trie_node_updated", {{"block", number_}, {"nodes", result.nodes_hashed}});
  }
  const EngineStatus status = events_.engine_.Status();
  events_.log_.Debug(LogModule::kEngine, "persistence_queued",
                     {{"block", number_}, {"queue_blocks", status.queue_blocks}, {"queue_bytes", status.queue_bytes}});
  events_.log_.Debug(LogModule::kEngine, "state_transition_completed",
                     {{"block", number_},
                      {"already_applied", result.already_applied},
                      {"durable", result.durable},
                      {"duration_ms", absl::Now() - begin_}});
}

void StateEvents::Transition::Refused(const absl::Status& status) const {
  if (!enabled_) return;
  events_.log_.Debug(LogModule::kEngine, "state_transition_refused",
                     {{"block", number_},
                      {"code", absl::StatusCodeToString(status.code())},
                      {"message", status.message()},
                      {"duration_ms", absl::Now() - begin_}});
}

void StateEvents::ProofGenerated(uint64_t block, const ProofSize& size, absl::Duration duration) const {
  if (!enabled()) return;
  log_.Debug(LogModule::kEngine, "proof_generated",
             {{"block", block},
              {"accounts", size.accounts},
              {"slots", size.slots},
              {"nodes", size.nodes},
              {"bytes", size.bytes},
              {"duration_ms", duration}});
}

void StateEvents::VerifyProof(const BlockInfo& block, const AccountProof& proof) const {
  if (!enabled()) return;
  const absl::Time begin = absl::Now();
  const absl::Status verified = VerifyAccountProof(block.state_root, proof);
  ProofVerified(block, verified, absl::Now() - begin);
}

void StateEvents::VerifyProof(const BlockInfo& block, std::span<const ProofTargetSpec> targets,
                              const MultiProof& proof) const {
  if (!enabled()) return;
  const absl::Time begin = absl::Now();
  const absl::Status verified = VerifyMultiProof(block.state_root, targets, proof);
  ProofVerified(block, verified, absl::Now() - begin);
}

void StateEvents::ProofVerified(const BlockInfo& block, const absl::Status& verified, absl::Duration duration) const {
  log_.Log(
      verified.ok() ? LogLevel::kDebug : LogLevel::kError, LogModule::kEngine, "proof_verified",
      {{"block", block.number}, {"valid", verified.ok()}, {"reason", verified.message()}, {"duration_ms", duration}});
}

void StateEvents::Regularly(absl::Time now) {
  if (!enabled()) return;
  const std::lock_guard lock(mutex_);
  if (now < next_lines_) return;
  next_lines_ = now + kInterval;
  const EngineStatistics statistics = engine_.Statistics();
  const uint64_t nodes = statistics.counts.nodes();
  const uint64_t nodes_before = std::exchange(last_nodes_, nodes).value_or(nodes);
  if (nodes > nodes_before) {
    log_.Debug(LogModule::kEngine, "trie_node_created", {{"nodes", nodes - nodes_before}, {"total_nodes", nodes}});
  }
  const auto& lookups = statistics.lookups;
  const auto before = std::exchange(last_lookups_, lookups);
  CacheLookups all;
  for (size_t i = 0; i < kCacheKinds; ++i) {
    const uint64_t hits = lookups[i].hits - before[i].hits;
    const uint64_t misses = lookups[i].misses - before[i].misses;
    all.hits += hits;
    all.misses += misses;
    if (hits != 0) log_.Debug(LogModule::kEngine, "cache_hit", {{"cache", kCaches[i]}, {"lookups", hits}});
    if (misses != 0) log_.Debug(LogModule::kEngine, "cache_miss", {{"cache", kCaches[i]}, {"lookups", misses}});
  }
  const uint64_t sum = all.hits + all.misses;
  log_.Debug(LogModule::kEngine, "cache_performance",
             {{"cache_hits", all.hits},
              {"cache_misses", all.misses},
              {"hit_rate", sum == 0 ? 0.0 : static_cast<double>(all.hits) / static_cast<double>(sum)}});
}

}  // namespace mptd
