// Commands against a daemon of canned answers: what is asked, what is printed, how they end.
#include <algorithm>
#include <sstream>

#include "cli/values.h"
#include "core/hex.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "tests/cli/stub_daemon.h"
#include "tests/cli/support.h"

namespace mptd::cli {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const std::string kAddress = "0x" + std::string(40, 'a');
const std::string kOther = "0x" + std::string(40, 'b');

class CallsTest : public ::testing::Test {
 protected:
  Ran Run(std::vector<std::string> args, const std::string& answer = "", bool terminal = false) {
    args.insert(args.begin(), {"--server", daemon_.address(), "--timeout", "10m"});  // a busy machine is slow
    daemon_.HandOver();
    Ran ran = RunHere(args, answer, terminal);
    daemon_.HandOver();
    return ran;
  }
  // The answer of a command that must succeed.
  std::string Out(std::vector<std::string> args) {
    const Ran ran = Run(std::move(args));
    EXPECT_EQ(ran.code, 0) << ran.err;
    return ran.out;
  }
  json Json(std::vector<std::string> args) {
    args.insert(args.end(), {"-o", "json"});
    return json::parse(Out(std::move(args)));
  }
  std::vector<json> JsonLines(std::vector<std::string> args) {
    args.insert(args.end(), {"-o", "json"});
    std::istringstream lines(Out(std::move(args)));
    std::vector<json> out;
    for (std::string line; std::getline(lines, line);) out.push_back(json::parse(line));
    return out;
  }

  TempDir dir_;
  StubDaemon daemon_;
};

std::string HashHex(uint64_t last) { return ToHex(std::string(31, '\0') + static_cast<char>(last)); }

TEST_F(CallsTest, RootIsOneLine) {
  EXPECT_EQ(Out({"root"}), HashHex(0x8a) + "\n");
  EXPECT_EQ(Out({"root", "--at", "3"}), HashHex(0x83) + "\n");
  EXPECT_EQ(Out({"--at", "3", "root"}), HashHex(0x83) + "\n") << "global options stand anywhere";
  EXPECT_EQ(Json({"root"})["state_root"], HashHex(0x8a));
}

TEST_F(CallsTest, BlocksAreFoundByEveryReference) {
  for (const std::string& at :
       {std::string("4"), HashHex(4), HashHex(0x84), "hash:" + HashHex(4), "root:" + HashHex(0x84)}) {
    EXPECT_EQ(Json({"block", "--at", at})["number"], 4) << at;
    EXPECT_EQ(Json({"block", at})["number"], 4) << at;
  }
  EXPECT_EQ(Json({"block"}), (json{{"number", 10},
                                   {"hash", HashHex(10)},
                                   {"parent_hash", HashHex(9)},
                                   {"state_root", HashHex(0x8a)},
                                   {"durable", true}}));
  EXPECT_THAT(Out({"block", "0"}), AllOf(HasSubstr("parent hash  -\n"), HasSubstr("durable      yes\n")));
}

TEST_F(CallsTest, AnUnknownHashIsTriedAsBothAndRefused) {
  const Ran ran = Run({"root", "--at", HashHex(0x7f)});
  EXPECT_EQ(ran.code, 3);
  EXPECT_EQ(ran.err, "mptctl: no served block has the hash or the state root " + HashHex(0x7f) +
                         "; `mptctl status` shows the head and the served blocks\n");
  const Ran only_hash = Run({"root", "--at", "hash:" + HashHex(0x84)});
  EXPECT_EQ(only_hash.code, 3);
  EXPECT_THAT(only_hash.err, HasSubstr("refused (NOT_FOUND): no such block"));
}

TEST_F(CallsTest, AccountForPeopleAndPrograms) {
  EXPECT_THAT(Out({"account", kAddress}),
              AllOf(HasSubstr("nonce         7\n"), HasSubstr("balance       1500000000000000000 wei (1.5 ether)\n"),
                    HasSubstr("at            block 10 0x")));
  json account = Json({"account", kAddress, "--at", "4"});
  EXPECT_EQ(account["block"]["number"], 4);
  account.erase("block");
  EXPECT_EQ(account, (json{{"address", kAddress},
                           {"exists", true},
                           {"nonce", "0x7"},
                           {"balance", "0x14d1120d7b160000"},
                           {"storage_root", ToHex(std::string(32, '\x01'))},
                           {"code_hash", ToHex(std::string(32, '\x02'))}}));
  EXPECT_THAT(Out({"account", kOther}), HasSubstr("exists   no\n"));
  EXPECT_EQ(Json({"account", kOther})["exists"], false);
}

TEST_F(CallsTest, SeveralAccountsAreATable) {
  const std::string table = Out({"account", kAddress, kOther});
  EXPECT_THAT(table,
              AllOf(StartsWith("ADDRESS "), HasSubstr(kOther + "      -      -                    -  no account\n")));
  const json accounts = Json({"account", kAddress, kOther})["accounts"];
  ASSERT_EQ(accounts.size(), 2U);
  EXPECT_EQ(accounts[1], (json{{"address", kOther}, {"exists", false}}));
}

TEST_F(CallsTest, StorageAndCode) {
  EXPECT_THAT(Out({"storage", kAddress, "0", "0x1f"}),
              AllOf(HasSubstr("0x0    0 (not set)\n"), HasSubstr("1f  0x1f   31\n")));
  EXPECT_EQ(Json({"storage", kAddress, "31"})["slots"],
            json::parse(R"([{"key": ")" + HashHex(31) + R"(", "value": "0x1f"}])"));
  EXPECT_EQ(Json({"code", kAddress})["code"], "0x6001");
  EXPECT_EQ(Json({"code", ToHex(std::string(32, '\x02'))})["code"], "0x6001");
  EXPECT_THAT(daemon_.state.asked, HasSubstr("code_hash"));
  EXPECT_THAT(Out({"code", kOther}), HasSubstr("no such account"));
  EXPECT_THAT(Out({"code", HashHex(1)}), HasSubstr("no such code"));
  EXPECT_EQ(Json({"code", kOther})["code"], nullptr);
}

// An answer of eth_getProof as the daemon would send it.
v1::GetProofResponse ProofResponse(const json& object, const std::string& root) {
  v1::GetProofResponse out;
  *out.mutable_block() = StubBlock(4);
  out.mutable_block()->set_state_root(Raw(root));
  out.set_address(Raw(object["address"]));
  for (const auto& node : object["accountProof"]) out.add_account_proof(Raw(node));
  out.set_nonce(std::stoull(object["nonce"].get<std::string>(), nullptr, 16));
  out.set_balance(QuantityBytes(object["balance"].get<std::string>()).value());
  out.set_storage_root(Raw(object["storageHash"]));
  out.set_code_hash(Raw(object["codeHash"]));
  out.set_exists(true);
  for (const auto& slot : object["storageProof"]) {
    v1::StorageProof& entry = *out.add_storage_proofs();
    entry.set_key(SlotBytes(slot["key"].get<std::string>()).value());
    entry.set_value(QuantityBytes(slot["value"].get<std::string>()).value());
    for (const auto& node : slot["proof"]) entry.add_proof(Raw(node));
  }
  return out;
}

TEST_F(CallsTest, ProofsAreWhatEthGetProofAnswers) {
  int compared = 0;
  const json chain = TestData("geth_chain.json.gz");
  for (const json& block : chain["blocks"]) {
    for (const json& object : block["proofs"]) {
      if (compared == 40) return;
      if (object["storageProof"].empty() && compared % 2 == 1) continue;  // half of them with slots
      daemon_.state.proof = ProofResponse(object, block["state_root"]);
      json expected = object;
      for (json& slot : expected["storageProof"])
        slot["key"] = ToHex(SlotBytes(slot["key"].get<std::string>()).value());
      EXPECT_EQ(Json({"proof", object["address"], "0"}), expected);
      EXPECT_THAT(Out({"proof", object["address"]}),
                  AllOf(HasSubstr("\nproved\n"), HasSubstr(block["state_root"].get<std::string>())));
      ++compared;
    }
  }
  FAIL() << "fewer proofs than expected: " << compared;
}

TEST_F(CallsTest, AProofOfTheDaemonThatDoesNotHoldIsANo) {
  const json block = TestData("geth_chain.json.gz")["blocks"][1];
  daemon_.state.proof = ProofResponse(block["proofs"][0], block["state_root"]);
  daemon_.state.proof.mutable_block()->set_state_root(std::string(32, '\x01'));
  const Ran ran = Run({"proof", block["proofs"][0]["address"]});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("not proved: account proof: node 0"));
  daemon_.state.proof.set_code_hash("short");
  EXPECT_EQ(Run({"proof", block["proofs"][0]["address"]}).code, 3);
}

TEST_F(CallsTest, MultiProof) {
  const json out = Json({"multiproof", kAddress + ":0x1,2", kOther});
  EXPECT_EQ(out["nodes"], (json{"0x8001", "0x800203"}));
  ASSERT_EQ(out["accounts"].size(), 2U);
  EXPECT_EQ(out["accounts"][0]["slots"], json::parse(R"([{"key": ")" + HashHex(1) + R"(", "value": "0x1"}, {"key": ")" +
                                                     HashHex(2) + R"(", "value": "0x2"}])"));
  EXPECT_EQ(out["accounts"][1]["exists"], false);
  EXPECT_THAT(Out({"multiproof", kAddress + ":0x1"}), HasSubstr("2 nodes, 5 B"));
  EXPECT_EQ(Run({"multiproof", kAddress + ":"}).code, 2);
}

TEST_F(CallsTest, BlocksFollowOrEnd) {
  const std::vector<json> lines = JsonLines({"blocks", "--from", "8"});
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0]["number"], 8);
  EXPECT_EQ(lines[2]["rolled_back"], false);
  EXPECT_EQ(lines[3]["rolled_back"], true);
  EXPECT_FALSE(daemon_.state.asked_blocks.stop_at_head());
  const std::string table = Out({"blocks", "--no-follow"});
  EXPECT_EQ(daemon_.state.asked_blocks.from_number(), 3U) << "not below the oldest served block";
  EXPECT_TRUE(daemon_.state.asked_blocks.stop_at_head());
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 9) << table;
  EXPECT_THAT(Out({"blocks"}), HasSubstr("rolled back to here"));
  EXPECT_FALSE(daemon_.state.asked_blocks.has_from_number());
}

TEST_F(CallsTest, ListingsArePagedAndSayWhereToGoOn) {
  EXPECT_EQ(JsonLines({"accounts", "--page-size", "10"}).size(), 25U);
  EXPECT_EQ(daemon_.state.pages_sent, 3);
  const Ran some = Run({"accounts", "--limit", "12", "--page-size", "10", "--at", "4"});
  EXPECT_EQ(some.code, 0);
  EXPECT_EQ(std::count(some.out.begin(), some.out.end(), '\n'), 13) << some.out;
  EXPECT_EQ(some.err, "more: --at 4 --start " + HashHex(12) + "\n");
  EXPECT_EQ(JsonLines({"accounts", "--start", HashHex(12)}).size(), 13U);
  const Ran all = Run({"accounts", "--limit", "25"});
  EXPECT_THAT(all.err, IsEmpty());
  const Ran page = Run({"slots", kAddress, "--limit", "5"});
  EXPECT_EQ(page.err, "more: --at 10 --start " + HashHex(5) + "\n");
  const std::vector<json> slots = JsonLines({"slots", kAddress});
  ASSERT_EQ(slots.size(), 25U);
  EXPECT_EQ(slots[3], (json{{"key", HashHex(3)}, {"value", "0x5"}}));
  const json account = JsonLines({"accounts", "--limit", "1"})[0];
  EXPECT_EQ(account["key"], HashHex(0));
  EXPECT_EQ(account["nonce"], "0x7");
  EXPECT_EQ(Run({"accounts", "--page-size", "0"}).code, 2);
}

TEST_F(CallsTest, ApplyShowsEveryBlock) {
  const std::string file = dir_.Write("b.jsonl", R"({"number": 11, "changes": {}})"
                                                 "\n"
                                                 R"({"number": 12, "changes": {")" +
                                                     kAddress + R"(": {}}})");
  const std::vector<json> lines = JsonLines({"apply", file});
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[1]["number"], 12);
  EXPECT_EQ(lines[1]["accounts_changed"], 1);
  EXPECT_EQ(daemon_.state.applied.size(), 2U);
  EXPECT_THAT(Out({"apply", file}), AllOf(HasSubstr("BLOCK"), HasSubstr("1,234")));
}

TEST_F(CallsTest, ApplyStopsAtTheFirstRefusedBlock) {
  daemon_.state.refuse_from = 12;
  const std::string file = dir_.Write("b.jsonl", R"([{"number": 11, "changes": {}},
    {"number": 12, "changes": {}}, {"number": 13, "changes": {}}])");
  const Ran ran = Run({"apply", file});
  EXPECT_EQ(ran.code, 3);
  EXPECT_EQ(ran.err, "mptctl: block 12 (" + file +
                         ":2: [1]): refused (FAILED_PRECONDITION): expected root 0x01, the changes give 0x02; "
                         "`mptctl status` shows the head and the served blocks\n");
  EXPECT_EQ(daemon_.state.applied.size(), 1U);
}

TEST_F(CallsTest, BadInputIsAUsageError) {
  EXPECT_EQ(Run({"apply", dir_.Write("bad", "{")}).code, 2);
  EXPECT_EQ(Run({"apply", dir_.Write("empty", "")}).code, 2);
  EXPECT_EQ(Run({"apply", dir_.path() + "/none"}).code, 2);
  EXPECT_EQ(Run({"import", dir_.Write("bad", "[{]")}).code, 2);
  EXPECT_EQ(Run({"import", dir_.Write("empty", "[]")}).code, 2);
  EXPECT_THAT(daemon_.state.applied, IsEmpty());
}

TEST_F(CallsTest, ImportSendsAChainAndSumsUp) {
  daemon_.admin.has_blocks = false;
  const json out = Json({"import", TestDataPath("geth_chain.json.gz")});
  EXPECT_EQ(out["applied"], 152);
  EXPECT_EQ(out["skipped"], 0);
  EXPECT_EQ(out["accounts_changed"], 17824);
  ASSERT_EQ(daemon_.state.applied.size(), 152U);
  EXPECT_TRUE(daemon_.state.applied[151].has_expected_root());
  EXPECT_EQ(daemon_.state.applied[151].number(), 151U);
  EXPECT_THAT(Out({"import", "--no-check", TestDataPath("geth_chain.json.gz")}),
              StartsWith("152 blocks applied (17,824 accounts"));
  EXPECT_FALSE(daemon_.state.applied.back().has_expected_root());
}

TEST_F(CallsTest, ImportGoesOnWhereItWasCutOff) {
  std::string lines;
  for (int i = 0; i < 15; ++i)
    lines += R"({"number": )" + std::to_string(i) + R"(, "hash": ")" + HashHex(static_cast<uint64_t>(i)) +
             R"(", "changes": {}})"
             "\n";
  const std::string file = dir_.Write("b.jsonl", lines);
  const json out = Json({"import", file});
  EXPECT_EQ(out["applied"], 4);
  EXPECT_EQ(out["skipped"], 11);
  EXPECT_EQ(daemon_.state.applied.front().number(), 11U);
  daemon_.state.head = 14;
  EXPECT_EQ(Out({"import", file}), "0 blocks applied, 15 were there already\n");
  const Ran other =
      Run({"import", dir_.Write("other", R"({"number": 14, "hash": ")" + HashHex(99) + R"(", "changes": {}})")});
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.err, HasSubstr("another chain"));
}

TEST_F(CallsTest, ImportNamesTheRefusedBlockAndEndsThoughMuchIsInFlight) {
  daemon_.state.refuse_from = 20;
  std::string lines;
  const std::string code = "0x" + std::string(20000, '6');
  for (int i = 11; i < 400; ++i) {
    lines +=
        R"({"number": )" + std::to_string(i) + R"(, "changes": {")" + kAddress + R"(": {"code": ")" + code + "\"}}}\n";
  }
  const Ran ran = Run({"import", dir_.Write("b.jsonl", lines)}, "", /*terminal=*/true);
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("block 20 ("), HasSubstr("b.jsonl:10): refused (FAILED_PRECONDITION)"),
                             HasSubstr("goes on from here")));
  EXPECT_THAT(ran.out, StartsWith("9 blocks applied"));
}

TEST_F(CallsTest, ImportAppliesWhatStandsBeforeABrokenLine) {
  const std::string file = dir_.Write("b.jsonl", R"({"number": 11, "changes": {}})"
                                                 "\n{\"number\": 12, oops");
  const Ran ran = Run({"import", file});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("b.jsonl:2: not valid JSON here"));
  EXPECT_EQ(daemon_.state.applied.size(), 1U);
}

TEST_F(CallsTest, ComputeRootComparesWithTheInput) {
  const std::string root = ToHex(daemon_.state.computed_root);
  const std::string plain = dir_.Write("c", "{\"" + kAddress + "\": {\"nonce\": 1}}");
  EXPECT_EQ(Out({"compute-root", plain, "--at", "4"}), root + "\n");
  EXPECT_THAT(daemon_.state.asked, HasSubstr("number: 4"));
  const std::string wrong = dir_.Write("d", R"({"state_root": ")" + HashHex(1) + R"(", "changes": {}})");
  const Ran ran = Run({"compute-root", wrong});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.out, root + "\n");
  EXPECT_THAT(ran.err, HasSubstr("the input expects the root " + HashHex(1)));
  EXPECT_EQ(Run({"compute-root", wrong, "--no-check"}).code, 0);
  EXPECT_EQ(Run({"compute-root", dir_.Write("e", "7")}).code, 2);
}

TEST_F(CallsTest, RollbackAsksOnATerminalOnly) {
  EXPECT_EQ(Json({"rollback", "--to", "4"})["number"], 4);
  daemon_.state.asked.clear();
  const Ran no = Run({"rollback", "--to", "4"}, "n\n", /*terminal=*/true);
  EXPECT_EQ(no.code, 1);
  EXPECT_THAT(no.err, HasSubstr("6 blocks will be undone. [y/N]"));
  EXPECT_EQ(daemon_.state.asked, "");
  EXPECT_EQ(Run({"rollback", "--to", "4"}, "", true).code, 1) << "end of input is a no";
  EXPECT_EQ(Run({"rollback", "--to", "4"}, "Yes\n", true).code, 0);
  EXPECT_THAT(daemon_.state.asked, HasSubstr("number: 4"));
  const Ran sure = Run({"rollback", "--to", HashHex(0x84), "--yes"}, "", true);
  EXPECT_EQ(sure.code, 0);
  EXPECT_THAT(sure.err, IsEmpty());
  EXPECT_TRUE(daemon_.state.asked_block.has_state_root());
}

TEST_F(CallsTest, StatusWithAndWithoutBlocks) {
  EXPECT_THAT(Out({"status"}), AllOf(HasSubstr("mptd 9.9.9, format 3"), HasSubstr("served       blocks 3 to 10\n"),
                                     HasSubstr("health       level 2 of 3: queue degraded: it is full\n"),
                                     HasSubstr("queue        2 blocks, 3.0 MiB\n")));
  const json status = Json({"status"});
  EXPECT_EQ(status["head"]["number"], 10);
  EXPECT_EQ(status["durable_number"], 9);
  EXPECT_EQ(status["queue_bytes"], 3 << 20);
  EXPECT_EQ(status["health"]["level"], 2);
  EXPECT_EQ(status["health"]["checks"][1]["reason"], "it is full");
  daemon_.admin.has_blocks = false;
  EXPECT_THAT(Out({"status"}), HasSubstr("none yet"));
  EXPECT_EQ(Json({"status"})["head"], nullptr);
}

TEST_F(CallsTest, Metrics) {
  EXPECT_THAT(Out({"metrics"}), AllOf(HasSubstr("health      Healthy, up "), HasSubstr("1,234 accounts"),
                                      HasSubstr("accounts 75.0 % hits"), ContainsRegex("lookup .* 1\\.500 .* 2,000 "),
                                      ContainsRegex("flush +7\\.250 ")));
  const json metrics = Json({"metrics"});
  EXPECT_THAT(metrics["trie"]["state_root"].get<std::string>(), StartsWith("0x4242"));
  EXPECT_EQ(metrics["trie"]["total_accounts"], 1234);
  EXPECT_EQ(metrics["performance"]["lookup_latency_ms"]["p999"], 1.5);
  EXPECT_EQ(metrics["cache"]["account_cache_hit_rate"], 0.75);
  EXPECT_EQ(metrics["persistence"]["persistence_latency_ms"]["p50"], 7.25);
  EXPECT_EQ(metrics["health"]["health_level"], "Healthy");
}

TEST_F(CallsTest, AdminCommands) {
  EXPECT_THAT(Out({"flush"}), StartsWith("flushed up to block 10 0x"));
  EXPECT_EQ(Json({"flush"})["number"], 10);
  EXPECT_THAT(Out({"checkpoint", "/backup/x"}), StartsWith("/backup/x holds block 10"));
  EXPECT_EQ(Run({"checkpoint", "backup"}).code, 2);
  EXPECT_EQ(Json({"checkpoint", "create", "/backup/x", "--verify"})["files"], 12);
  EXPECT_EQ(Run({"checkpoint", "create", "backup"}).code, 2);
  EXPECT_EQ(Run({"checkpoint"}).code, 2);
  EXPECT_EQ(Run({"checkpoint", "list", "/backup", "/surplus"}).code, 2);
  EXPECT_EQ(Run({"checkpoint", "list", dir_.path() + "/none"}).code, 2);
  EXPECT_EQ(Json({"checkpoint", "list", dir_.path()}), json::array());
  EXPECT_THAT(Run({"checkpoint", "verify", dir_.path()}).err, HasSubstr("is not a checkpoint"));
  EXPECT_EQ(Out({"prune", "--keep", "128"}), "dropped the history of 1,500 blocks; block 128 is the oldest served\n");
  EXPECT_EQ(Run({"prune"}).code, 2);
  EXPECT_EQ(Out({"rotate-key"}),
            "master key 0123456789abcdef wraps 1 data key; new files are encrypted with number 1\n");
  EXPECT_EQ(Json({"rotate-key", "--data-key"})["data_keys"], json({1, 2}));
  EXPECT_EQ(Run({"rotate-key", "--rewrite"}).code, 3);
  EXPECT_EQ(Out({"log-level", "debug", "--module", "storage"}), "the log level of storage is now debug, it was info\n");
  EXPECT_EQ(daemon_.admin.asked, "level: \"debug\" module: \"storage\"");
  EXPECT_EQ(Run({"log-level", "loud"}).code, 2);
}

TEST_F(CallsTest, ConfigSaysWhereValuesComeFrom) {
  EXPECT_EQ(Out({"config"}),
            "KEY                         VALUE    SOURCE   WHERE               CHANGES BY\n"
            "persistence.mode            batched  flag     --persistence.mode  restart\n"
            "logging.level               debug    file     mptd.yaml:3:10      reload\n"
            "pruning.keep_recent_states  128      default  -                   reload\n");
  const json entries = Json({"config"});
  EXPECT_EQ(entries[1], (json{{"key", "logging.level"},
                              {"value", "debug"},
                              {"source", "file"},
                              {"where", "mptd.yaml:3:10"},
                              {"runtime", true}}));
  EXPECT_EQ(entries[0]["runtime"], false);
}

TEST_F(CallsTest, ReloadConfigSaysWhatChanged) {
  EXPECT_EQ(Out({"reload-config"}), "3 settings, all as before\n");
  daemon_.admin.reloaded.add_changed("logging.level");
  daemon_.admin.reloaded.add_restart_needed("persistence.mode");
  EXPECT_EQ(Out({"reload-config"}),
            "KEY               IN EFFECT  NEW VALUE\n"
            "logging.level     debug      taken\n"
            "persistence.mode  batched    waits for a restart\n"
            "1 other setting is as before\n");
  EXPECT_EQ(Json({"reload-config"}), (json{{"changed", {"logging.level"}},
                                           {"restart_needed", {"persistence.mode"}},
                                           {"unchanged", {"pruning.keep_recent_states"}}}));
}

TEST_F(CallsTest, ReloadConfigSaysWhatIsWrong) {
  daemon_.admin.settings_problems = "mptd.yaml:2: not a number\nmptd.yaml:7: unknown";
  const Ran ran = Run({"reload-config"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("refused (INVALID_ARGUMENT): mptd.yaml:2: not a number mptd.yaml:7: unknown"));
  EXPECT_EQ(Run({"reload-config", "now"}).code, 2);
}

TEST_F(CallsTest, CheckSaysYesOrNo) {
  EXPECT_THAT(Out({"check"}), HasSubstr("is whole: 1,000 accounts"));
  EXPECT_EQ(Json({"check"})["ok"], true);
  daemon_.admin.whole = false;
  const Ran ran = Run({"check"}, "", /*terminal=*/true);
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("account_nodes 0x12: expected 0x01, found 0x02"));
  EXPECT_THAT(ran.err, HasSubstr("checking: "));
  const Ran program = Run({"check", "-o", "json"});
  EXPECT_EQ(program.code, 1);
  EXPECT_EQ(json::parse(program.out)["ok"], false);
}

TEST_F(CallsTest, Health) {
  EXPECT_EQ(Out({"health"}), "SERVING\n");
  EXPECT_EQ(Run({"health", "no.such.Service"}).code, 1);
  daemon_.SetServing(false);
  const Ran ran = Run({"health"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.out, "NOT_SERVING\n");
}

TEST_F(CallsTest, RefusalsComeWithTheirDetails) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  info.set_reason("NOT_SERVED");
  details.add_details()->PackFrom(info);
  daemon_.state.refuse =
      grpc::Status(grpc::StatusCode::OUT_OF_RANGE, "blocks 3 to 10 are served", details.SerializeAsString());
  const Ran ran = Run({"account", kAddress, "--at", "1"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, StartsWith("mptctl: refused (OUT_OF_RANGE, NOT_SERVED): blocks 3 to 10 are served; "));
}

TEST_F(CallsTest, LargeMessagesPass) {
  const std::string code = "0x" + std::string(20 << 20, '6');
  const std::string file =
      dir_.Write("large", R"({"number": 11, "changes": {")" + kAddress + R"(": {"code": ")" + code + "\"}}}");
  EXPECT_EQ(Run({"apply", file}).code, 0);
  EXPECT_EQ(daemon_.state.applied.back().changes(0).code().size(), size_t{10} << 20);
}

TEST(ArgumentsTest, MistakesAreUsageErrorsInOneLine) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "A subcommand is required"},
      {{"acount"}, "there is no command \"acount\""},
      {{"account"}, "ADDRESS is required; see `mptctl account --help`"},
      {{"account", "0x12"}, "\"0x12\" is not an address"},
      {{"storage", kAddress}, "SLOT is required"},
      {{"storage", kAddress, "x"}, "\"x\" is not a slot"},
      {{"code", "0x1234"}, "neither an address (20 bytes) nor a hash (32 bytes)"},
      {{"root", "extra"}, "extra"},
      {{"root", "--at", "newest"}, "\"newest\" names no block"},
      {{"status", "--at", "4"}, "--at means nothing to `status`"},
      {{"status", "-o", "xml"}, "xml"},
      {{"status", "--timeout", "soon"}, "\"soon\" is not a time"},
      {{"--server", "http://x", "status"}, "has a scheme"},
      {{"rollback"}, "--to is required"},
      {{"verify", "file"}, "--root is required"},
      {{"completion", "tcsh"}, "tcsh"},
  };
  for (const auto& [args, message] : cases) {
    const Ran ran = RunHere(args);
    EXPECT_EQ(ran.code, 2) << message;
    EXPECT_EQ(ran.out, "") << message;
    EXPECT_THAT(ran.err, AllOf(StartsWith("mptctl: "), HasSubstr(message)));
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  }
}

TEST(ArgumentsTest, EveryCommandHasHelpWithAnExample) {
  const std::string help = RunHere({"--help"}).out;
  for (const char* name :
       {"status", "apply",      "import",     "root",    "account",   "storage",       "code",
        "proof",  "multiproof", "verify",     "block",   "blocks",    "rollback",      "compute-root",
        "flush",  "checkpoint", "prune",      "check",   "log-level", "config",        "accounts",
        "slots",  "health",     "completion", "version", "metrics",   "reload-config", "rotate-key"}) {
    EXPECT_THAT(help, HasSubstr("\n  " + std::string(name) + " "));
    const Ran ran = RunHere({name, "--help"});
    EXPECT_EQ(ran.code, 0) << name;
    EXPECT_THAT(ran.out, AllOf(HasSubstr("Examples:"), HasSubstr("mptctl " + std::string(name)))) << name;
  }
  EXPECT_THAT(help, HasSubstr("Examples:"));
}

TEST(UnreachableTest, SaysHowToStartADaemon) {
  const Ran ran = RunHere({"--server", "127.0.0.1:1", "status"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("cannot reach mptd at 127.0.0.1:1"),
                             HasSubstr("mptd --data-dir ./mptd-data --listen 127.0.0.1:1")));
  const Ran unix_socket = RunHere({"-s", "unix:/nonexistent/mptd.sock", "root"});
  EXPECT_EQ(unix_socket.code, 3);
  EXPECT_THAT(unix_socket.err, HasSubstr("cannot reach mptd at unix:/nonexistent/mptd.sock"));
}

}  // namespace
}  // namespace mptd::cli
