// A process that applies blocks is killed at any moment, also while it recovers from the kill before. The next one must
// find all that was acknowledged, and nothing that was never sent. The process that kills has no threads: engines live
// in its children. MPTD_TEST_SEED repeats a run as far as the moments of the kills allow.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "absl/time/clock.h"
#include "core/hex.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

struct Block {
  BlockInfo info;
  model::NaiveState state;
};
using Chain = std::vector<std::shared_ptr<const Block>>;  // what is served, oldest first

constexpr uint64_t kKeepBlocks = 30;

// What operation `index` does to a chain: always the same.
class Operation {
 public:
  enum class Kind { kApply, kReorganize, kRollback, kFlush };

  Operation(uint64_t seed, uint64_t index, const Chain& chain) : maker_(seed * 1000003 + index) {
    const uint64_t roll = maker_.Below(12);
    const uint64_t reach = chain.size();
    keep_ = chain.size();
    if (roll == 0) kind = Kind::kFlush;
    if (chain.size() < 3) return;
    if (roll == 1) kind = Kind::kRollback;
    if (roll == 2 || roll == 3) kind = Kind::kReorganize;
    if (kind == Kind::kRollback || kind == Kind::kReorganize) {
      keep_ -= 1 + maker_.Below(maker_.Below(3) == 0 ? reach - 1 : std::min<uint64_t>(reach - 1, 4));
    }
  }

  // Does it, and says what the engine answered.
  absl::StatusOr<BlockInfo> Do(StateEngine& engine, const Chain& chain) {
    if (kind == Kind::kFlush) return engine.Flush();
    if (kind == Kind::kRollback) return engine.RollbackTo(chain[keep_ - 1]->info.number);
    absl::StatusOr<ApplyResult> result = engine.Apply(MakeBlock(chain));
    if (!result.ok()) return result.status();
    return result->block;
  }

  void DoToModel(Chain& chain) {
    if (kind == Kind::kFlush) return;
    if (kind == Kind::kRollback) return chain.resize(keep_);
    const BlockChanges changes = MakeBlock(chain);
    chain.resize(keep_);
    auto block = std::make_shared<Block>();
    if (!chain.empty()) block->state = chain.back()->state;
    ApplyToModel(block->state, changes);
    block->info = {changes.number, changes.hash, changes.parent_hash, block->state.Root()};
    chain.push_back(std::move(block));
    if (chain.size() > kKeepBlocks + 1) chain.erase(chain.begin());
  }

  Kind kind = Kind::kApply;

 private:
  BlockChanges MakeBlock(const Chain& chain) {
    BlockMaker maker = maker_;  // the same however often it is asked
    BlockChanges block = maker.Make(keep_ == 0 ? std::nullopt : std::optional<BlockInfo>(chain[keep_ - 1]->info));
    block.reorganize = kind == Kind::kReorganize;
    return block;
  }

  BlockMaker maker_;
  size_t keep_ = 0;
};

struct Message {
  enum Kind : uint64_t { kRecovered, kBegun, kDone } kind;
  uint64_t operation;
  uint64_t durable_number;
  Hash root;
};

// The state that a child inherits, and what it may find on disk: the chain after any operation of a range.
struct Plan {
  uint64_t seed = 0;
  EngineOptions options;
  uint64_t first = 0;                     // the oldest operation that may be the last one found
  std::vector<Chain> chains = {Chain()};  // after operation first, first + 1, … the last begun

  uint64_t last() const { return first + chains.size() - 1; }
};

[[noreturn]] void Die(const std::string& why) {
  std::printf("child: %s\n", why.c_str());
  std::fflush(stdout);
  ::_exit(1);
}

void Send(int fd, const Message& message) {
  if (::write(fd, &message, sizeof message) != static_cast<ssize_t>(sizeof message)) ::_exit(2);
}

// Finds out which operation the folder is at, and that everything is as after that one.
uint64_t CheckRecovered(StateEngine& engine, const Plan& plan) {
  const StateViewPtr head = engine.View(LatestBlock{}).value();
  const EngineStatus status = engine.Status();
  uint64_t at = plan.last();
  const auto fits = [&](const Chain& chain) {
    return chain.empty() ? !status.has_blocks : status.has_blocks && chain.back()->info == head->block();
  };
  while (!fits(plan.chains[at - plan.first])) {
    if (at == plan.first) {
      Die("the head is block " + std::to_string(head->block().number) + ", root " + ToHex(head->block().state_root) +
          ", after none of operations " + std::to_string(plan.first) + " to " + std::to_string(plan.last()));
    }
    --at;
  }
  const Chain& chain = plan.chains[at - plan.first];
  if (chain.empty()) return at;
  ExpectState(*head, chain.back()->state);
  if (status.oldest_served_number > chain.front()->info.number) Die("too few blocks are served");
  BlockMaker random(plan.seed + at);
  for (int i = 0; i < 3; ++i) {
    const Block& block = *chain[random.Below(chain.size())];
    const uint64_t number = block.info.number;
    absl::StatusOr<StateViewPtr> view = engine.View(number);
    if (!view.ok()) Die("block " + std::to_string(number) + ": " + view.status().ToString());
    if ((*view)->block() != block.info) Die("block " + std::to_string(number) + " is another");
    ExpectState(**view, block.state);
  }
  const absl::StatusOr<VerifyReport> report = engine.Verify({});
  if (!report.ok()) Die(report.status().ToString());
  if (!report->difference.empty()) Die(report->difference);
  if (::testing::Test::HasFailure()) Die("the recovered state is wrong");
  return at;
}

// The child's life: recover, check, then apply until killed, or `operations` more.
[[noreturn]] void Live(const Plan& plan, int fd, uint64_t operations) {
  absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(plan.options);
  if (!engine.ok()) Die(engine.status().ToString());
  uint64_t at = CheckRecovered(**engine, plan);
  Send(fd, {Message::kRecovered, at, 0, {}});
  Chain chain = plan.chains[at - plan.first];
  while (operations-- > 0) {
    Operation operation(plan.seed, ++at, chain);
    Send(fd, {Message::kBegun, at, 0, {}});
    absl::StatusOr<BlockInfo> done = operation.Do(**engine, chain);
    if (!done.ok()) Die("operation " + std::to_string(at) + ": " + done.status().ToString());
    operation.DoToModel(chain);
    if (!chain.empty() && *done != chain.back()->info) Die("operation " + std::to_string(at) + " gave another block");
    Send(fd, {Message::kDone, at, (*engine)->Status().durable_number, done->state_root});
  }
  engine->reset();
  ::_exit(0);
}

class Killer {
 public:
  Killer(uint64_t seed, EngineOptions options) : random_(seed) {
    plan_.seed = seed;
    plan_.options = std::move(options);
    plan_.options.data_dir = dir_.path() + "/data";
  }

  void Round() {
    int fds[2];
    ASSERT_EQ(::pipe(fds), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(fds[0]);
      Live(plan_, fds[1], UINT64_MAX);
    }
    ::close(fds[1]);
    std::vector<Message> messages;
    const bool while_recovering = random_.Below(4) == 0;
    if (!while_recovering) Receive(fds[0], messages, 600'000, 1);
    Receive(fds[0], messages, static_cast<int>(random_.Below(while_recovering ? 60 : 150)), SIZE_MAX);
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child gave up with status " << WEXITSTATUS(status);
    Receive(fds[0], messages, 0, SIZE_MAX);
    ::close(fds[0]);
    ASSERT_TRUE(while_recovering || !messages.empty()) << "the child did not recover";
    ASSERT_NO_FATAL_FAILURE(Learn(messages));
  }

  // The last child ends by itself; then the folder is read once more.
  void Finish() {
    for (const uint64_t operations : {20, 0}) {
      int fds[2];
      ASSERT_EQ(::pipe(fds), 0);
      const pid_t child = ::fork();
      ASSERT_GE(child, 0);
      if (child == 0) Live(plan_, fds[1], operations);
      ::close(fds[1]);
      std::vector<Message> messages;
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
      Receive(fds[0], messages, 0, SIZE_MAX);
      ::close(fds[0]);
      ASSERT_NO_FATAL_FAILURE(Learn(messages));
    }
    std::printf("%llu operations, %llu survived the kill that interrupted them, %zu blocks\n",
                static_cast<unsigned long long>(plan_.last()), static_cast<unsigned long long>(survived_),
                plan_.chains.back().size());
  }

 private:
  // Until there are `count`, or `milliseconds` have passed, or the child has gone.
  static void Receive(int fd, std::vector<Message>& messages, int milliseconds, size_t count) {
    const absl::Time deadline = absl::Now() + absl::Milliseconds(milliseconds);
    while (messages.size() < count) {
      const int left = static_cast<int>(std::max<int64_t>(0, absl::ToInt64Milliseconds(deadline - absl::Now())));
      pollfd poll{fd, POLLIN, 0};
      if (::poll(&poll, 1, left) != 1 || (poll.revents & POLLIN) == 0) return;
      Message message;
      if (::read(fd, &message, sizeof message) != static_cast<ssize_t>(sizeof message)) return;
      messages.push_back(message);
    }
  }

  // What may be on disk now, from what the child has said.
  void Learn(const std::vector<Message>& messages) {
    for (const Message& message : messages) {
      switch (message.kind) {
        case Message::kRecovered: {
          ASSERT_LE(message.operation, plan_.last());
          survived_ += message.operation == plan_.last() && interrupted_;
          plan_.chains = {plan_.chains[message.operation - plan_.first]};
          plan_.first = message.operation;
          interrupted_ = false;
          break;
        }
        case Message::kBegun: {
          ASSERT_EQ(message.operation, plan_.last() + 1);
          Chain chain = plan_.chains.back();
          Operation(plan_.seed, message.operation, chain).DoToModel(chain);
          plan_.chains.push_back(std::move(chain));
          interrupted_ = true;
          break;
        }
        case Message::kDone: {
          ASSERT_EQ(message.operation, plan_.last());
          interrupted_ = false;
          const Chain& chain = plan_.chains.back();
          if (!chain.empty()) {
            ASSERT_EQ(message.root, chain.back()->info.state_root);
            ASSERT_LE(message.durable_number, chain.back()->info.number);
            ASSERT_TRUE(plan_.options.durability != Durability::kSync ||
                        message.durable_number == chain.back()->info.number);
          }
          // A killed process loses nothing that it has acknowledged, in any mode: the log is with the operating system.
          plan_.chains.erase(plan_.chains.begin(), plan_.chains.end() - 1);
          plan_.first = message.operation;
          break;
        }
      }
    }
  }

  TempDir dir_;
  BlockMaker random_;
  Plan plan_;
  bool interrupted_ = false;
  uint64_t survived_ = 0;
};

void KillOften(Durability mode, uint64_t history_memory) {
  const char* given = std::getenv("MPTD_TEST_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "MPTD_TEST_SEED=" << seed);
  EngineOptions options;
  options.durability = mode;
  options.batch_timeout = absl::Milliseconds(5);
  options.keep_blocks = kKeepBlocks;
  options.prune_interval_blocks = 5;
  options.flush_blocks = 9;
  options.flush_interval = absl::Milliseconds(30);
  options.log_segment_bytes = 64u << 10;
  options.block_cache_bytes = 4u << 20;
  options.row_cache_bytes = 64u << 10;
  options.node_cache_bytes = 64u << 10;
  options.history_memory_bytes = history_memory;
  Killer killer(seed, options);
  for (int round = 0; round < Scaled(25); ++round) {
    ASSERT_NO_FATAL_FAILURE(killer.Round()) << "round " << round;
  }
  ASSERT_NO_FATAL_FAILURE(killer.Finish());
}

TEST(Kill, Synced) { KillOften(Durability::kSync, 16u << 20); }
TEST(Kill, Batched) { KillOften(Durability::kBatched, 16u << 20); }
TEST(Kill, Asynchronous) { KillOften(Durability::kAsync, 16u << 20); }
TEST(Kill, HistoryOnDisk) { KillOften(Durability::kBatched, 1); }

}  // namespace
}  // namespace mptd::testing
