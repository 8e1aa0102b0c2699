// Writes the inputs that fuzzing starts from: make_seeds FOLDER gives FOLDER/<entry>/<name>. They are made of the
// project's test vectors and by its own encoders, so they follow its formats and none of them is kept as a file.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "config/config.h"
#include "core/account.h"
#include "core/engine/change_codec.h"
#include "core/engine/undo_record.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "core/rlp.h"
#include "core/trie/branch_record.h"
#include "requests.pb.h"
#include "storage/kv_store.h"
#include "tests/engine/engine_testing.h"
#include "tests/model/testdata.h"

namespace mptd::fuzz {
namespace {

using testing::AddressOf;
using testing::SlotOf;

class Folder {
 public:
  explicit Folder(std::filesystem::path path) : path_(std::move(path)) {}

  void Write(const std::string& entry, const std::string& name, BytesView content) {
    std::filesystem::create_directories(path_ / entry);
    std::ofstream(path_ / entry / name, std::ios::binary) << content;
  }

 private:
  const std::filesystem::path path_;
};

void AppendSized(Bytes& out, BytesView piece) {
  out.push_back(static_cast<char>(piece.size() >> 8));
  out.push_back(static_cast<char>(piece.size()));
  out.append(piece);
}

// As JSON, and as the chain of nodes that proof_verifier_fuzz takes: of each node its size and where in it the next
// one's hash stands.
void WriteProofs(Folder& folder) {
  constexpr size_t kMost = 12;
  size_t count = 0;
  for (const nlohmann::json& vector : model::LoadJson("proofs.json.gz")) {
    const nlohmann::json& result = vector["result"];
    const std::string json = result.dump();
    if (json.size() > 12'000 || ++count > kMost) continue;
    const std::string name = std::to_string(count);
    folder.Write("proof_verifier_fuzz", "json-" + name, json);
    std::vector<Bytes> nodes;
    for (const nlohmann::json& node : result["accountProof"]) nodes.push_back(model::BytesOf(node));
    Bytes chain = "n";
    chain += Keccak256(model::BytesOf(result["address"])).view();
    for (size_t i = 0; i < nodes.size(); ++i) {
      const size_t place = i + 1 < nodes.size() ? nodes[i].find(Keccak256(nodes[i + 1]).view()) : 0xffff;
      chain.push_back(static_cast<char>(nodes[i].size() >> 8));
      chain.push_back(static_cast<char>(nodes[i].size()));
      chain.push_back(static_cast<char>(place >> 8));
      chain.push_back(static_cast<char>(place));
      chain += nodes[i];
      folder.Write("rlp_fuzz", "node-" + name + "-" + std::to_string(i), nodes[i]);
    }
    folder.Write("proof_verifier_fuzz", "nodes-" + name, chain);
  }
}

void WriteRlp(Folder& folder) {
  const nlohmann::json vectors = model::LoadJson("rlp/rlptest.json");
  for (const auto& [name, vector] : vectors.items()) {
    const Bytes bytes = model::BytesOf(vector["out"]);
    if (bytes.size() < 2000) folder.Write("rlp_fuzz", name, bytes);
  }
  Account account{.nonce = 7, .balance = U256::FromUint64(1000), .storage_root = SlotOf(1), .code_hash = SlotOf(2)};
  Bytes rlp;
  AppendAccountRlp(rlp, account);
  folder.Write("rlp_fuzz", "account", rlp);
  folder.Write("rlp_fuzz", "slim", SlimAccount(account));
}

void WriteGenesis(Folder& folder) {
  folder.Write("genesis_fuzz", "geth",
               R"({"config":{"chainId":1},"nonce":"0x1","timestamp":"0x0","gasLimit":"0x1388","difficulty":"0x1",)"
               R"("number":"0x0","alloc":{"0000000000000000000000000000000000000001":{"balance":"0x1","nonce":"0x2",)"
               R"("code":"0x6001","storage":{"0x01":"0x02"}},"0x00000000000000000000000000000000000000ff":)"
               R"({"balance":"1000"}}})");
  folder.Write("genesis_fuzz", "accounts",
               R"({"name":"small","state_root":")" + ToHex(kEmptyRoot) +
                   R"(","accounts":{"0x0000000000000000000000000000000000000001":{"balance":"0x1","nonce":"0x0",)"
                   R"("code":"0x","storage":{}}}})");
}

// --- The engine's records.

std::vector<BlockChanges> SomeBlocks() {
  std::vector<BlockChanges> out;
  testing::BlockMaker maker(1);
  std::optional<BlockInfo> parent;
  for (int i = 0; i < 6; ++i) {
    BlockChanges& block = out.emplace_back(maker.Make(parent));
    parent = BlockInfo{block.number, block.hash, block.parent_hash, kEmptyRoot};
  }
  return out;
}

void WriteLogRecords(Folder& folder) {
  size_t count = 0;
  for (const BlockChanges& block : SomeBlocks()) {
    const Bytes record = EncodeLogBlock(block, SlotOf(block.number), EncodeChanges(block));
    folder.Write("log_record_fuzz", "block-" + std::to_string(++count), record);
  }
  folder.Write("log_record_fuzz", "rollback", EncodeLogRollback({.number = 3, .state_root = SlotOf(3)}));
}

// Undo records and branches of a real chain.
void WriteRows(Folder& folder) {
  testing::TempDir dir;
  EngineOptions options;
  options.data_dir = dir.path() + "/data";
  {
    testing::TwinChain chain(options);
    for (const BlockChanges& block : SomeBlocks()) chain.Apply(block.changes);
  }
  const testing::AllTables tables = testing::ReadTables(options.data_dir);
  for (const auto& [key, row] : tables[static_cast<size_t>(storage::Table::kHistory)]) {
    folder.Write("undo_record_fuzz", std::to_string(BlockNumberOf(key)), row);
    const absl::StatusOr<UndoRecord> undo = DecodeUndo(row);
    Bytes entries = "\1";
    for (const UndoRow& branch : undo->account_nodes) {
      if (entries.size() < 1000) AppendSized(entries, *branch.value);
    }
    folder.Write("branch_record_fuzz", "undo-" + std::to_string(BlockNumberOf(key)), entries);
  }
  size_t count = 0;
  for (const storage::Table table : {storage::Table::kAccountNodes, storage::Table::kSlotNodes}) {
    for (const auto& [key, row] : tables[static_cast<size_t>(table)]) {
      if (++count % 4 == 1) folder.Write("branch_record_fuzz", "row-" + std::to_string(count), '\0' + row);
    }
  }
}

// What change_log_fuzz makes segments of; see there.
void WriteLogs(Folder& folder) {
  const auto record = [](std::string payload) {
    return std::string("\3\0", 2) + static_cast<char>(payload.size()) + payload;
  };
  const std::string end(3, '\0');  // of a segment, undamaged
  const std::string segment = std::string("\1\7", 2) + record("one") + record("two") + end;
  folder.Write("change_log_fuzz", "one-segment", std::string("\1\0", 2) + segment);
  folder.Write("change_log_fuzz", "three-segments", std::string("\1\0", 2) + segment + segment + segment);
  folder.Write("change_log_fuzz", "torn", std::string("\1\0", 2) + segment + std::string("\1\7\3\1\2xx\1\5torn!", 13));
}

// --- What people write.

void WriteConfig(Folder& folder) {
  const char* const argv[] = {"mptd", "--print-config"};
  const char* const environment[] = {nullptr};
  const auto loaded = config::Load(2, argv, environment, "seeds");
  folder.Write("config_fuzz", "yaml", '\0' + loaded->print.value());
  folder.Write("config_fuzz", "yaml-short", '\0' + std::string("server:\n  listen: [\"127.0.0.1:0\", unix:/tmp/s]\n"));
  folder.Write("config_fuzz", "variables", "\1MPTD_PERSISTENCE_MODE=sync\nMPTD_CACHE_ROW_CACHE_BYTES=12MiB\n");
  folder.Write("config_fuzz", "flags",
               "\2--persistence.mode=sync\n--limits.max_memory_bytes\n1GiB\n--preset=low_memory");
}

model::NaiveAccount SomeAccount() {
  model::NaiveAccount account;
  account.nonce = 7;
  account.balance = U256::FromUint64(1000);
  account.code = Bytes("\x60\x01", 2);
  account.storage[SlotOf(1)] = U256::FromUint64(2);
  return account;
}

void WriteDumps(Folder& folder) {
  const model::NaiveAccount account = SomeAccount();
  const Account committed = model::Commit(account);
  const std::string begin = "{\"root\":\"" + ToHex(SlotOf(1)) + "\"}\n{\"balance\":\"1000\",\"nonce\":7,\"root\":\"" +
                            ToHex(committed.storage_root) + "\",\"codeHash\":\"" + ToHex(committed.code_hash) +
                            "\",\"code\":\"0x6001\",\"storage\":{\"";
  const std::string key = ToHex(Keccak256(AddressOf(1).view()));
  folder.Write(
      "geth_dump_fuzz", "dump",
      begin + ToHex(SlotOf(1)) + "\":\"02\"},\"address\":\"" + ToHex(AddressOf(1)) + "\",\"key\":\"" + key + "\"}\n");
  folder.Write("geth_dump_fuzz", "snapshot",
               begin + ToHex(Keccak256(SlotOf(1).view())) + "\":\"02\"},\"key\":\"" + key + "\"}\n");
}

void WriteChanges(Folder& folder) {
  const std::string block = R"({"number":1,"hash":")" + ToHex(SlotOf(5)) + R"(","reorganize":true,"changes":{")" +
                            ToHex(AddressOf(1)) +
                            R"(":{"nonce":"0x1","balance":"1000","code":"0x6001","reset_storage":true,"storage":{")" +
                            ToHex(SlotOf(1)) + R"(":"0x2"}},")" + ToHex(AddressOf(2)) + R"(":{"delete":true}}})";
  folder.Write("changes_json_fuzz", "block", block);
  folder.Write("changes_json_fuzz", "blocks", "{\"blocks\":[" + block + "," + block + "]}");
  folder.Write("changes_json_fuzz", "lines", block + "\n" + block + "\n");
  folder.Write("changes_json_fuzz", "genesis", R"({"alloc":{"01":{"balance":"0x1","storage":{"0x1":"0x2"}}}})");
}

// --- What programs send.

void WriteSessions(Folder& folder) {
  Session session;
  auto* apply = session.add_calls();
  apply->set_on_head(true);
  auto* change = apply->mutable_apply()->add_changes();
  change->set_address(std::string(AddressOf(3).view()));
  change->set_nonce(9);
  change->set_balance("\1");
  auto* slot = change->add_slots();
  slot->set_key(std::string(SlotOf(1).view()));
  slot->set_value("\2");
  auto* proof = session.add_calls()->mutable_proof();
  proof->set_address(std::string(AddressOf(3).view()));
  proof->add_slots(std::string(SlotOf(1).view()));
  session.add_calls()->mutable_roll_back()->mutable_block()->set_number(4);
  session.add_calls()->mutable_accounts()->add_addresses(std::string(AddressOf(2).view()));
  session.add_calls()->mutable_code()->set_address(std::string(AddressOf(6).view()));
  session.add_calls()->mutable_multi_proof()->add_targets()->set_address(std::string(AddressOf(5).view()));
  session.add_calls()->mutable_block()->mutable_block()->set_latest(true);
  folder.Write("request_fuzz", "session", session.SerializeAsString());
  for (const Call& call : session.calls()) {
    Session one;
    *one.add_calls() = call;
    folder.Write("request_fuzz", "call-" + std::to_string(call.request_case()), one.SerializeAsString());
  }
}

// Bytes choose the operations, so any will do.
void WriteOperations(Folder& folder) {
  testing::BlockMaker maker(2);
  for (int i = 0; i < 4; ++i) {
    Bytes bytes(150, '\0');
    for (char& byte : bytes) byte = static_cast<char>(maker.Below(256));
    folder.Write("model_fuzz", std::to_string(i), bytes);
  }
}

void WriteAll(Folder& folder) {
  WriteProofs(folder);
  WriteRlp(folder);
  WriteGenesis(folder);
  WriteLogRecords(folder);
  WriteRows(folder);
  WriteLogs(folder);
  WriteConfig(folder);
  WriteDumps(folder);
  WriteChanges(folder);
  WriteSessions(folder);
  WriteOperations(folder);
}

}  // namespace
}  // namespace mptd::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: make_seeds FOLDER\n", stderr);
    return 2;
  }
  mptd::fuzz::Folder folder(argv[1]);
  mptd::fuzz::WriteAll(folder);
  return 0;
}
