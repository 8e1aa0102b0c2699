// The built program as people and scripts use it: offline verification, completion scripts, pipes.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/support.h"

namespace mptd::cli {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Every `step`th of a file of proofs.
std::vector<json> Some(const std::string& name, size_t step) {
  std::vector<json> out;
  const json all = TestData(name);
  for (size_t i = 0; i < all.size(); i += step) out.push_back(all[i]);
  return out;
}

std::string VerifyCommand(const json& proof, const std::string& rest) {
  return "$MPTCTL verify --root " + proof["state_root"].get<std::string>() + " " + rest;
}

TEST(VerifyTest, GoodProofsFromStandardInput) {
  for (const json& proof : Some("proofs.json.gz", 9)) {
    const Ran ran = RunShell(VerifyCommand(proof, "-"), proof["result"].dump());
    EXPECT_EQ(ran.code, 0) << proof["name"] << ran.err;
    EXPECT_THAT(ran.out, StartsWith("proved against the state root " + proof["state_root"].get<std::string>()));
    EXPECT_EQ(ran.err, "");
  }
}

TEST(VerifyTest, BadProofsSayWhatIsWrong) {
  for (const json& proof : Some("bad_proofs.json.gz", 45)) {
    const Ran ran = RunShell(VerifyCommand(proof, "-"), proof["result"].dump());
    EXPECT_EQ(ran.code, 1) << proof["name"];
    EXPECT_EQ(ran.out, "") << proof["name"];
    EXPECT_THAT(ran.err, StartsWith("mptctl: not proved: ")) << proof["name"];
  }
}

TEST(VerifyTest, FilesJsonRpcAnswersAndPrograms) {
  const json proof = Some("proofs.json.gz", 1000).front();
  const TempDir dir;
  const std::string plain = dir.Write("plain.json", proof["result"].dump(2));
  const json answer = {{"jsonrpc", "2.0"}, {"id", 1}, {"result", proof["result"]}};
  const std::string wrapped = dir.Write("answer.json", answer.dump());
  EXPECT_EQ(RunShell(VerifyCommand(proof, plain)).code, 0);
  EXPECT_EQ(RunShell(VerifyCommand(proof, wrapped)).code, 0);
  EXPECT_EQ(RunShell("gzip -c " + plain + " | " + VerifyCommand(proof, "-")).code, 0);
  const Ran ran = RunShell(VerifyCommand(proof, wrapped + " -o json"));
  const json out = json::parse(ran.out);
  EXPECT_EQ(out["ok"], true);
  EXPECT_EQ(out["address"], proof["result"]["address"]);
  EXPECT_EQ(out["balance"], proof["result"]["balance"]);
  const Ran wrong_root = RunShell("$MPTCTL verify -o json --root 0x" + std::string(64, '1') + " " + plain);
  EXPECT_EQ(wrong_root.code, 1);
  EXPECT_EQ(json::parse(wrong_root.out)["ok"], false);
}

TEST(VerifyTest, WhatIsNoProofProvesNothing) {
  const std::string command = "$MPTCTL verify --root 0x" + std::string(64, '1') + " -";
  for (const char* text : {"", "{", "[]", "{}", "null", "{\"result\": null}", "{\"address\": 1, \"address\": 2}"}) {
    EXPECT_EQ(RunShell(command, text).code, 1) << text;
  }
  EXPECT_THAT(RunShell(command, R"({"jsonrpc": "2.0", "error": {"code": -32000, "message": "missing trie node"}})").err,
              HasSubstr("missing trie node"));
  EXPECT_EQ(RunShell("$MPTCTL verify --root 0x" + std::string(64, '1') + " /nonexistent").code, 2);
  EXPECT_EQ(RunShell("$MPTCTL verify --root 0x12 -", "{}").code, 2);
  EXPECT_EQ(RunShell("$MPTCTL verify -", "{}").code, 2);
}

TEST(CompletionTest, BashTakesItAndCompletes) {
  const std::string complete = R"(set -u; source <($MPTCTL completion bash)
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _mptctl; echo "${COMPREPLY[*]}"; }
try mptctl ro
try mptctl -o j
try mptctl completion z
try mptctl apply --re
try mptctl --at 3 accounts --li
try mptctl proof --out
)";
  const Ran ran = RunShell(complete);
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(ran.out, "root rollback rotate-key\njson\nzsh\n--reorganize\n--limit\n--output\n");
}

TEST(CompletionTest, EveryShellHasAScript) {
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const Ran ran = RunShell("$MPTCTL completion " + shell);
    EXPECT_EQ(ran.code, 0);
    EXPECT_THAT(ran.out, AllOf(HasSubstr("mptctl"), HasSubstr("multiproof"), HasSubstr("keep-empty-accounts")))
        << shell;
    const Ran parsed = RunShell("if command -v " + shell + " > /dev/null; then $MPTCTL completion " + shell + " | " +
                                shell + " -n; fi");
    EXPECT_EQ(parsed.code, 0) << shell << parsed.err;
  }
}

TEST(ProcessTest, AClosedPipeIsNoError) {
  const Ran ran =
      RunShell("set -o pipefail; $MPTCTL --help | true; for i in 1 2 3; do $MPTCTL completion zsh | head -1; done");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
}

TEST(ProcessTest, AFullDiskIsOne) {
  const Ran ran = RunShell("$MPTCTL version > /dev/full");
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.err, HasSubstr("cannot write the answer: No space left on device"));
}

TEST(ProcessTest, TheServerComesFromTheEnvironment) {
  const Ran ran = RunShell("MPTCTL_SERVER=127.0.0.1:2 $MPTCTL status");
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.err, HasSubstr("cannot reach mptd at 127.0.0.1:2 (Connection refused)"));
  EXPECT_THAT(RunShell("MPTCTL_SERVER=127.0.0.1:2 $MPTCTL -s 127.0.0.1:3 status").err, HasSubstr("127.0.0.1:3"));
}

TEST(ProcessTest, Version) {
  EXPECT_THAT(RunShell("$MPTCTL version").out, StartsWith("mptctl "));
  EXPECT_EQ(RunShell("$MPTCTL --version").out, RunShell("$MPTCTL version").out);
}

}  // namespace
}  // namespace mptd::cli
