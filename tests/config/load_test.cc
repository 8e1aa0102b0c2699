// Where values come from, which of them wins, and what is refused on the command line and in the environment.
#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"
#include "config/config.h"
#include "config/schema.h"
#include "config/sources.h"
#include "config/values.h"
#include "gmock/gmock.h"
#include "tests/config/loading.h"

namespace mptd::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kSyncFile[] = "persistence:\n  mode: sync\n";

TEST(LoadTest, NothingGivenIsTheDefaults) {
  const Loaded loaded = LoadGood({});
  EXPECT_FALSE(loaded.print.has_value());
  const Settings& s = loaded.settings;
  EXPECT_EQ(s.server.data_dir, "./mptd-data");
  EXPECT_THAT(s.server.listen, ElementsAre("127.0.0.1:7300"));
  EXPECT_EQ(s.server.http_listen, "127.0.0.1:7301");
  EXPECT_EQ(s.server.genesis, "");
  EXPECT_EQ(s.persistence.mode, PersistenceMode::kBatched);
  EXPECT_EQ(s.persistence.batch_size, 1000u);
  EXPECT_EQ(s.persistence.batch_timeout_ms, absl::Milliseconds(100));
  EXPECT_TRUE(s.pruning.enable_pruning);
  EXPECT_EQ(s.pruning.keep_recent_states, 128u);
  EXPECT_EQ(s.logging.level, "info");
  ASSERT_EQ(loaded.entries.size(), Keys().size());
  for (const Entry& entry : loaded.entries) {
    EXPECT_EQ(entry.source, Source::kDefault) << entry.key;
    EXPECT_EQ(entry.where, "") << entry.key;
  }
}

// One row a pair of sources, and all of them together.
struct PrecedenceCase {
  const char* name;
  Sources sources;
  PersistenceMode mode;
  Source source;
  const char* where;
};

class PrecedenceTest : public testing::TestWithParam<PrecedenceCase> {};

TEST_P(PrecedenceTest, TheStrongestSourceWins) {
  const Loaded loaded = LoadGood(GetParam().sources);
  EXPECT_EQ(loaded.settings.persistence.mode, GetParam().mode);
  const Entry entry = EntryOf(loaded, "persistence.mode");
  EXPECT_EQ(entry.value, Name(GetParam().mode));
  EXPECT_EQ(entry.source, GetParam().source);
  EXPECT_EQ(entry.where, GetParam().where);
}

INSTANTIATE_TEST_SUITE_P(
    All, PrecedenceTest,
    testing::Values(
        PrecedenceCase{"FileOverDefault", {{}, {}, kSyncFile}, PersistenceMode::kSync, Source::kFile, "FILE:2:9"},
        PrecedenceCase{"VariableOverDefault",
                       {{}, {"MPTD_PERSISTENCE_MODE=sync"}, {}},
                       PersistenceMode::kSync,
                       Source::kEnvironment,
                       "MPTD_PERSISTENCE_MODE"},
        PrecedenceCase{"FlagOverDefault",
                       {{"--persistence.mode", "sync"}, {}, {}},
                       PersistenceMode::kSync,
                       Source::kFlag,
                       "--persistence.mode"},
        PrecedenceCase{"VariableOverFile",
                       {{}, {"MPTD_PERSISTENCE_MODE=async"}, kSyncFile},
                       PersistenceMode::kAsync,
                       Source::kEnvironment,
                       "MPTD_PERSISTENCE_MODE"},
        PrecedenceCase{"FlagOverFile",
                       {{"--persistence.mode=async"}, {}, kSyncFile},
                       PersistenceMode::kAsync,
                       Source::kFlag,
                       "--persistence.mode"},
        PrecedenceCase{"FlagOverVariable",
                       {{"--persistence.mode=async"}, {"MPTD_PERSISTENCE_MODE=sync"}, {}},
                       PersistenceMode::kAsync,
                       Source::kFlag,
                       "--persistence.mode"},
        PrecedenceCase{"FlagOverAll",
                       {{"--persistence.mode=batched"}, {"MPTD_PERSISTENCE_MODE=async"}, kSyncFile},
                       PersistenceMode::kBatched,
                       Source::kFlag,
                       "--persistence.mode"}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(LoadTest, EachKeyTakesItsStrongestSourceAllAtOnce) {
  const Loaded loaded =
      LoadGood({{"--pruning.keep_recent_states", "1"},
                {"MPTD_PRUNING_KEEP_RECENT_STATES=2", "MPTD_PRUNING_PRUNING_INTERVAL_BLOCKS=2", "HOME=/"},
                "pruning: {keep_recent_states: 3, pruning_interval_blocks: 3, enable_pruning: false}\n"});
  EXPECT_EQ(loaded.settings.pruning.keep_recent_states, 1u);
  EXPECT_EQ(loaded.settings.pruning.pruning_interval_blocks, 2u);
  EXPECT_FALSE(loaded.settings.pruning.enable_pruning);
  EXPECT_EQ(EntryOf(loaded, "pruning.keep_recent_states").source, Source::kFlag);
  EXPECT_EQ(EntryOf(loaded, "pruning.pruning_interval_blocks").source, Source::kEnvironment);
  EXPECT_EQ(EntryOf(loaded, "pruning.enable_pruning").source, Source::kFile);
  EXPECT_EQ(EntryOf(loaded, "persistence.batch_size").source, Source::kDefault);
}

TEST(LoadTest, AListReplacesTheWeakerListAsAWhole) {
  const std::string yaml = "server:\n  listen:\n    - 127.0.0.1:1\n    - 127.0.0.1:2\n";
  EXPECT_THAT(LoadGood({{}, {}, yaml}).settings.server.listen, ElementsAre("127.0.0.1:1", "127.0.0.1:2"));
  EXPECT_THAT(LoadGood({{}, {"MPTD_LISTEN=127.0.0.1:3, unix:/run/mptd.sock"}, yaml}).settings.server.listen,
              ElementsAre("127.0.0.1:3", "unix:/run/mptd.sock"));
  EXPECT_THAT(LoadGood({{"--listen", "[::1]:4", "--listen=localhost:5"}, {}, yaml}).settings.server.listen,
              ElementsAre("[::1]:4", "localhost:5"));
  EXPECT_THAT(LoadGood({{"--server.listen=[::1]:4,localhost:5"}, {}, yaml}).settings.server.listen,
              ElementsAre("[::1]:4", "localhost:5"));
}

TEST(LoadTest, AliasesReachTheirKeys) {
  const Loaded flags = LoadGood(
      {{"--data-dir", "/d", "--listen", "[::1]:1", "--http-listen=off", "--genesis", "mainnet", "--log.level", "debug"},
       {},
       {}});
  EXPECT_EQ(flags.settings.server.data_dir, "/d");
  EXPECT_THAT(flags.settings.server.listen, ElementsAre("[::1]:1"));
  EXPECT_EQ(flags.settings.server.http_listen, "off");
  EXPECT_EQ(flags.settings.server.genesis, "mainnet");
  EXPECT_EQ(flags.settings.logging.level, "debug");
  EXPECT_EQ(EntryOf(flags, "logging.level").where, "--log.level");
  const Loaded variables = LoadGood({{}, {"MPTD_DATA_DIR=/d", "MPTD_LOG_LEVEL=warn"}, {}});
  EXPECT_EQ(variables.settings.server.data_dir, "/d");
  EXPECT_EQ(variables.settings.logging.level, "warn");
}

TEST(LoadTest, TheFlagNamesTheFileRatherThanTheVariable) {
  const TemporaryFile file("pruning: {keep_recent_states: 7}\n", "other.yaml");
  const std::string variable = "MPTD_CONFIG=" + file.path();
  EXPECT_EQ(LoadGood({{}, {variable}, {}}).settings.pruning.keep_recent_states, 7u);
  EXPECT_EQ(LoadGood({{}, {variable}, "pruning: {keep_recent_states: 8}\n"}).settings.pruning.keep_recent_states, 8u);
}

TEST(LoadTest, AnEmptyValueIsAValue) {
  EXPECT_EQ(LoadGood({{"--genesis=", "--log.level", "debug"}, {"MPTD_GENESIS=mainnet"}, {}}).settings.server.genesis,
            "");
  EXPECT_EQ(LoadGood({{}, {"MPTD_GENESIS="}, "server: {genesis: mainnet}\n"}).settings.server.genesis, "");
  EXPECT_THAT(Problems({{}, {"MPTD_PERSISTENCE_BATCH_SIZE="}, {}}),
              ElementsAre("environment variable MPTD_PERSISTENCE_BATCH_SIZE: \"\" is not a whole number"));
}

TEST(LoadTest, VariablesOfOthersAreLeftAlone) {
  EXPECT_THAT(Problems({{},
                        {"PATH=/bin", "MPTDX=1", "MPTD", "MPTD_SERVICE_HOST=10.0.0.1", "MPTD_SERVICE_PORT=7300",
                         "MPTD_SERVICE_PORT_GRPC=7300", "MPTD_PORT=tcp://10.0.0.1:7300", "MPTD_PORT_7300_TCP_PORT=7300",
                         "MPTD_HTTP_SERVICE_HOST=10.0.0.2", "MPTD_HTTP_PORT_7301_TCP=tcp://10.0.0.2:7301"},
                        {}}),
              IsEmpty());
}

TEST(LoadTest, UnknownVariablesAreRefused) {
  EXPECT_THAT(
      Problems({{}, {"MPTD_PERSISTENCE_MOD=sync", "MPTD_MODE=sync", "MPTD_ZZZ=1", "MPTD_SERVER_PORT=7300"}, {}}),
      ElementsAre("environment variable MPTD_PERSISTENCE_MOD: there is no such setting; did you mean "
                  "MPTD_PERSISTENCE_MODE?",
                  "environment variable MPTD_MODE: there is no such setting; did you mean MPTD_PERSISTENCE_MODE?",
                  "environment variable MPTD_ZZZ: there is no such setting",
                  "environment variable MPTD_SERVER_PORT: there is no such setting; did you mean MPTD_SERVER_LISTEN?"));
}

TEST(LoadTest, AVariableAndItsAliasTogetherAreRefused) {
  EXPECT_THAT(
      Problems({{}, {"MPTD_DATA_DIR=a", "MPTD_SERVER_DATA_DIR=b"}, {}}),
      ElementsAre("environment variable MPTD_SERVER_DATA_DIR: server.data_dir is already set by MPTD_DATA_DIR"));
}

TEST(LoadTest, UnknownFlagsAreRefused) {
  EXPECT_THAT(
      Problems({{"--persistence.mods=sync", "--mode=sync", "--log-level", "--data_dir=x", "-z", "stray"}, {}, {}}),
      ElementsAre("flag --persistence.mods: there is no such setting; did you mean persistence.mode?",
                  "flag --mode: there is no such setting; did you mean persistence.mode?",
                  "flag --log-level: there is no such setting; did you mean log.level?",
                  "flag --data_dir: there is no such setting; did you mean server.data_dir?",
                  "flag -z: there is no such setting", "argument \"stray\": only flags are expected"));
}

TEST(LoadTest, FlagsNeedOneValueEach) {
  EXPECT_THAT(Problems({{"--data-dir"}, {}, {}}), ElementsAre("flag --data-dir: needs a value"));
  EXPECT_THAT(Problems({{"--data-dir", "--genesis=mainnet"}, {}, {}}),
              ElementsAre("flag --data-dir: needs a value, but --genesis=mainnet follows"));
  EXPECT_THAT(Problems({{"--data-dir", "a", "--server.data_dir", "b"}, {}, {}}),
              ElementsAre("flag --data-dir: server.data_dir is given more than once"));
  EXPECT_THAT(Problems({{"--config", "--check-config"}, {}, {}}),
              ElementsAre("flag --config: needs a value, but --check-config follows"));
  EXPECT_THAT(Problems({{"--config="}, {}, {}}), ElementsAre("flag --config: names no file"));
  EXPECT_THAT(Problems({{"--check-config=yes"}, {}, {}}), ElementsAre("flag --check-config: takes no value"));
}

TEST(LoadTest, AllProblemsAreToldAtOnce) {
  EXPECT_THAT(
      Problems({{"--log.level=loud"}, {"MPTD_PERSISTENCE_MODE=snyc"}, "cache:\n  row_cache_bytes: 1KB\n"}),
      ElementsAre("FILE:2:20: cache.row_cache_bytes: \"1KB\" is not a size; write a number of bytes, or a number "
                  "followed by KiB, MiB, GiB or TiB",
                  "environment variable MPTD_PERSISTENCE_MODE: \"snyc\" is not one of sync, batched, async; did "
                  "you mean sync?",
                  "flag --log.level: \"loud\" is not one of trace, debug, info, warn, error, critical, off"));
}

TEST(LoadTest, AValueThatAnotherOneOverridesIsCheckedAsWell) {
  EXPECT_THAT(Problems({{"--persistence.mode=sync"}, {"MPTD_PERSISTENCE_MODE=fast"}, {}}),
              ElementsAre("environment variable MPTD_PERSISTENCE_MODE: \"fast\" is not one of sync, batched, async"));
}

TEST(LoadTest, ValuesThatContradictEachOtherAreRefused) {
  EXPECT_THAT(
      Problems({{"--persistence.compression_algo=none"}, {}, "persistence: {enable_compression: true}\n"}),
      ElementsAre("FILE:1:35: persistence.enable_compression: is true, but persistence.compression_algo is none; "
                  "write snappy, lz4 or zstd there"));
  EXPECT_THAT(Problems({{"--listen", "[::1]:1", "--listen", "[::1]:1"}, {}, {}}),
              ElementsAre("flag --listen: \"[::1]:1\" is there twice"));
  EXPECT_THAT(Problems({{"--listen=127.0.0.1:0,127.0.0.1:0"}, {}, {}}), IsEmpty());
  EXPECT_THAT(Problems({{}, {"MPTD_LOGGING_MODULE_LEVELS=rpc=debug,rpc=info"}, {}}),
              ElementsAre("environment variable MPTD_LOGGING_MODULE_LEVELS: the module rpc is there twice"));
  for (const std::string dir : {"/d", "/d/", "/d/backups", "/x/../d"}) {
    EXPECT_THAT(Problems({{"--data-dir=/d/", "--backup.dir=" + dir}, {}, {}}),
                ElementsAre("flag --backup.dir: is inside server.data_dir; name a folder outside of it, best on "
                            "another disk"))
        << dir;
  }
  for (const std::string dir : {"/", "/data", "/d2", "/d/../backups"}) {
    EXPECT_EQ(LoadGood({{"--data-dir=/d", "--backup.dir=" + dir}, {}, {}}).settings.backup.dir, dir);
  }
}

TEST(LoadTest, HelpAndVersionAnswerWhateverElseIsWrong) {
  const Loaded version = LoadGood({{"--version", "--nonsense"}, {"MPTD_NONSENSE=1"}, {}});
  EXPECT_EQ(version.print, "mptd 1.2.3\n");
  const Loaded help = LoadGood({{"-h", "--nonsense"}, {}, "not: valid\n"});
  ASSERT_TRUE(help.print.has_value());
  EXPECT_THAT(*help.print, HasSubstr("Usage: mptd"));
  EXPECT_EQ(LoadGood({{"--help"}, {}, {}}).print, help.print);
}

TEST(LoadTest, CheckConfigSaysWhetherItIsValid) {
  EXPECT_EQ(LoadGood({{"--check-config"}, {}, kSyncFile}).print, "The configuration is valid.\n");
  EXPECT_THAT(Problems({{"--check-config"}, {}, "persistence: {mode: fast}\n"}),
              ElementsAre("FILE:1:21: persistence.mode: \"fast\" is not one of sync, batched, async"));
}

TEST(LoadTest, NoArgumentsAtAllAreFine) {
  const absl::StatusOr<Loaded> loaded = Load(0, nullptr, nullptr, "1");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
}

// A list of one item that this key can hold.
std::string OneItem(const Key& key) {
  if (key.name == "server.listen") return "localhost:1";
  return key.name == "security.roles" ? "unix:uid=1 -> reader" : "rpc=debug";
}

// Of these none may be missing while another is there.
std::vector<std::string> TlsFlags() {
  return {"--security.tls_cert_file=a", "--security.tls_key_file=b", "--security.tls_client_ca_file=c",
          "--security.tls_crl_file=d"};
}

// Flags with which any value of `key` is allowed.
std::vector<std::string> FlagsBeside(const Key& key) {
  std::vector<std::string> flags = TlsFlags();
  std::erase_if(flags, [&](const std::string& flag) { return flag.starts_with("--" + std::string(key.name) + "="); });
  return flags;
}

// A value that is allowed and not the default, but for keys that have only one; as FormatLine writes it.
std::string OtherValue(const Key& key, const std::string& standard) {
  if (key.kind == Kind::kBool) return standard == "true" ? "false" : "true";
  if (key.kind == Kind::kEnum)
    return std::string(key.choices[key.choices.front() == standard ? key.choices.size() - 1 : 0]);
  if (key.kind == Kind::kString) return key.name == "server.genesis" ? "hoodi" : "localhost:1";
  if (key.kind == Kind::kList) return OneItem(key);
  if (key.name == "limits.max_memory_bytes") return "64GiB";  // caches and queue have to fit
  Settings settings;
  const std::string unit = key.kind == Kind::kDuration ? "ms" : "";
  EXPECT_EQ(SetScalar(key, std::to_string(key.min + 1) + unit, settings), "") << key.name;
  return FormatLine(key, settings);
}

// What --print-config shows of the entry: its line, found by where the value is from.
std::string PrintedLine(const std::string& printed, const Entry& entry) {
  const size_t end = printed.find("  # " + Origin(entry) + "\n");
  if (end == std::string::npos) return "";
  return printed.substr(printed.rfind('\n', end) + 1, end - printed.rfind('\n', end) - 1);
}

TEST(SchemaTest, EveryKeyTakesAnotherValueFromEverySource) {
  const Loaded defaults = LoadGood({});
  for (const Key& key : Keys()) {
    const std::string name(key.name);
    const std::string value = OtherValue(key, EntryOf(defaults, name).value);
    EXPECT_EQ(value == EntryOf(defaults, name).value, IsFixed(key)) << name;
    const std::string text = key.kind == Kind::kList ? "[\"" + value + "\"]" : "\"" + value + "\"";
    const bool quoted = key.kind == Kind::kString || key.kind == Kind::kList;
    const std::string yaml = absl::StrFormat("%s:\n  %s: %s\n", key.section(), key.leaf(), quoted ? text : value);
    std::vector<std::string> beside = FlagsBeside(key);
    beside.push_back("--print-config");
    std::vector<std::string> flags = beside;
    flags.push_back(absl::StrFormat("--%s=%s", name, value));
    const struct {
      Source source;
      std::string where;
      Sources given;
    } kCases[] = {
        {Source::kFlag, "--" + name, {flags, {}, {}}},
        {Source::kEnvironment, VariableName(name), {beside, {absl::StrFormat("%s=%s", VariableName(name), value)}, {}}},
        {Source::kFile, "FILE:2:" + std::to_string(key.leaf().size() + 5), {beside, {}, yaml}},
    };
    for (const auto& one : kCases) {
      const Loaded loaded = LoadGood(one.given);
      const Entry entry = EntryOf(loaded, name);
      EXPECT_EQ(entry.value, value) << name << " by " << one.where;
      EXPECT_EQ(entry.source, one.source) << name;
      EXPECT_EQ(entry.where, one.where);
      const std::string line = PrintedLine(loaded.print.value_or(""), entry);
      EXPECT_TRUE(line.starts_with("  " + std::string(key.leaf()) + ": ")) << line;
      EXPECT_NE(line.find(value), std::string::npos) << line;
    }
  }
}

// Each key has to reach a field of its own: setting it changes its entry, and no other.
TEST(SchemaTest, NoTwoKeysShareAField) {
  const Loaded defaults = LoadGood({TlsFlags(), {}, {}});
  for (const Key& key : Keys()) {
    if (IsFixed(key)) continue;
    if (key.name == "limits.max_memory_bytes") continue;  // others follow from it: MemoryTest
    std::vector<std::string> flags = FlagsBeside(key);
    flags.push_back("--" + std::string(key.name) + "=" +
                    OtherValue(key, EntryOf(defaults, std::string(key.name)).value));
    const Loaded changed = LoadGood({flags, {}, {}});
    ASSERT_EQ(changed.entries.size(), defaults.entries.size());
    for (size_t i = 0; i < defaults.entries.size(); ++i) {
      const bool differs = changed.entries[i].value != defaults.entries[i].value;
      EXPECT_EQ(differs, defaults.entries[i].key == key.name) << key.name << " and " << defaults.entries[i].key;
    }
  }
}

TEST(SchemaTest, TheTableIsComplete) {
  std::set<std::string> names;
  for (const Key& key : Keys()) {
    EXPECT_EQ(std::count(key.name.begin(), key.name.end(), '.'), 1) << key.name;
    EXPECT_FALSE(SectionHelp(key.section()).empty()) << key.name;
    EXPECT_TRUE(key.help.ends_with('.')) << key.name;
    EXPECT_EQ(FindKey(key.name), &key);
    EXPECT_EQ(key.kind == Kind::kEnum, !key.choices.empty()) << key.name;
    if (key.kind == Kind::kList) {
      EXPECT_NE(key.check, nullptr) << key.name;
    }
    EXPECT_TRUE(names.insert(VariableName(key.name)).second) << key.name;
    if (!key.alias.empty()) {
      EXPECT_TRUE(names.insert(VariableName(key.alias)).second) << key.alias;
    }
  }
  EXPECT_EQ(FindKey("server.nothing"), nullptr);
}

}  // namespace
}  // namespace mptd::config
