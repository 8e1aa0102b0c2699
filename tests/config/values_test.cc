// Every type of value: what is taken, what is refused, and how it is written again.
#include "config/values.h"

#include "config/checks.h"
#include "gmock/gmock.h"
#include "tests/config/loading.h"

namespace mptd::config {
namespace {

std::string Set(std::string_view name, std::string_view text, Settings& settings) {
  return SetScalar(*FindKey(name), text, settings);
}

std::string Refusal(std::string_view name, std::string_view text) {
  Settings settings;
  const std::string before = FormatLine(*FindKey(name), settings);
  const std::string problem = Set(name, text, settings);
  EXPECT_EQ(FormatLine(*FindKey(name), settings), before) << "changed in spite of: " << problem;
  return problem;
}

std::string Again(std::string_view name, std::string_view text) {
  Settings settings;
  EXPECT_EQ(Set(name, text, settings), "");
  return FormatLine(*FindKey(name), settings);
}

TEST(ValuesTest, Truth) {
  Settings settings;
  EXPECT_EQ(Set("persistence.enable_compression", "true", settings), "");
  EXPECT_TRUE(settings.persistence.enable_compression);
  EXPECT_EQ(Set("persistence.enable_compression", "false", settings), "");
  EXPECT_FALSE(settings.persistence.enable_compression);
  for (const char* text : {"", "True", "yes", "1", "true "}) {
    EXPECT_EQ(Refusal("pruning.enable_pruning", text), "is not a truth value; write true or false") << text;
  }
}

TEST(ValuesTest, Numbers) {
  Settings settings;
  EXPECT_EQ(Set("persistence.batch_size", "17", settings), "");
  EXPECT_EQ(settings.persistence.batch_size, 17u);
  for (const char* text : {"", "-1", "+1", "1.5", "1e3", "0x10", "1_000", "12 ", " 12", "ten", "1KiB"}) {
    EXPECT_EQ(Refusal("persistence.batch_size", text), "is not a whole number") << text;
  }
  EXPECT_EQ(Refusal("persistence.batch_size", "0"), "is too small: at least 1");
  EXPECT_EQ(Refusal("performance.worker_threads", "1025"), "is too large: at most 1024");
  EXPECT_EQ(Refusal("performance.worker_threads", "18446744073709551616"), "is too large: at most 1024");
  EXPECT_EQ(Again("performance.worker_threads", "1024"), "1024");
  EXPECT_EQ(Again("performance.worker_threads", "0"), "0");
}

TEST(ValuesTest, Sizes) {
  Settings settings;
  EXPECT_EQ(Set("cache.node_cache_bytes", "3GiB", settings), "");
  EXPECT_EQ(settings.cache.node_cache_bytes, uint64_t{3} << 30);
  EXPECT_EQ(Set("cache.node_cache_bytes", "1048577", settings), "");
  EXPECT_EQ(settings.cache.node_cache_bytes, 1048577u);
  EXPECT_EQ(Again("cache.node_cache_bytes", "1048577"), "1048577");
  EXPECT_EQ(Again("cache.node_cache_bytes", "2048KiB"), "2MiB");
  EXPECT_EQ(Again("cache.node_cache_bytes", "1536MiB"), "1536MiB");
  EXPECT_EQ(Again("cache.node_cache_bytes", "1TiB"), "1TiB");
  for (const char* text : {"", "1MB", "1mib", "1 MiB", "1.5GiB", "MiB", "-1MiB", "1M"}) {
    EXPECT_EQ(Refusal("cache.node_cache_bytes", text),
              "is not a size; write a number of bytes, or a number followed by KiB, MiB, GiB or TiB")
        << text;
  }
  EXPECT_EQ(Refusal("cache.node_cache_bytes", "1048575"), "is too small: at least 1MiB");
  EXPECT_EQ(Refusal("cache.node_cache_bytes", "2TiB"), "is too large: at most 1TiB");
  EXPECT_EQ(Refusal("cache.node_cache_bytes", "18446744073709551615TiB"), "is too large: at most 1TiB");
}

TEST(ValuesTest, Durations) {
  Settings settings;
  EXPECT_EQ(Set("persistence.flush_interval", "1500ms", settings), "");
  EXPECT_EQ(settings.persistence.flush_interval, absl::Milliseconds(1500));
  EXPECT_EQ(Set("persistence.flush_interval", "2m", settings), "");
  EXPECT_EQ(settings.persistence.flush_interval, absl::Minutes(2));
  EXPECT_EQ(Again("persistence.flush_interval", "1500ms"), "1500ms");
  EXPECT_EQ(Again("persistence.flush_interval", "60s"), "1m");
  EXPECT_EQ(Again("persistence.flush_interval", "60m"), "1h");
  EXPECT_EQ(Again("server.shutdown_grace", "0"), "0s");
  for (const char* text : {"", "5", "5 s", "5sec", "1.5s", "-5s", "s", "1h30m"}) {
    EXPECT_EQ(Refusal("persistence.flush_interval", text),
              "is not a duration; write a number followed by ms, s, m or h")
        << text;
  }
  EXPECT_EQ(Refusal("persistence.flush_interval", "99ms"), "is too small: at least 100ms");
  EXPECT_EQ(Refusal("persistence.flush_interval", "61m"), "is too large: at most 1h");
  EXPECT_EQ(Refusal("persistence.flush_interval", "18446744073709551615h"), "is too large: at most 1h");
}

TEST(ValuesTest, DurationsNamedInMillisecondsNeedNoUnit) {
  Settings settings;
  EXPECT_EQ(Set("persistence.batch_timeout_ms", "250", settings), "");
  EXPECT_EQ(settings.persistence.batch_timeout_ms, absl::Milliseconds(250));
  EXPECT_EQ(Set("persistence.batch_timeout_ms", "2s", settings), "");
  EXPECT_EQ(settings.persistence.batch_timeout_ms, absl::Seconds(2));
  EXPECT_EQ(Again("persistence.batch_timeout_ms", "2s"), "2000");
  EXPECT_EQ(Refusal("persistence.batch_timeout_ms", "0"), "is too small: at least 1");
  EXPECT_EQ(Refusal("persistence.batch_timeout_ms", "x"),
            "is not a duration; write a number of milliseconds, or a number followed by ms, s, m or h");
}

TEST(ValuesTest, Words) {
  for (const auto& [text, mode] : {std::pair("sync", PersistenceMode::kSync),
                                   {"batched", PersistenceMode::kBatched},
                                   {"async", PersistenceMode::kAsync}}) {
    Settings settings;
    EXPECT_EQ(Set("persistence.mode", text, settings), "");
    EXPECT_EQ(settings.persistence.mode, mode);
    EXPECT_EQ(Name(mode), text);
  }
  for (const auto& [text, algorithm] : {std::pair("none", Compression::kNone),
                                        {"snappy", Compression::kSnappy},
                                        {"lz4", Compression::kLz4},
                                        {"zstd", Compression::kZstd}}) {
    Settings settings;
    EXPECT_EQ(Set("persistence.compression_algo", text, settings), "");
    EXPECT_EQ(settings.persistence.compression_algo, algorithm);
    EXPECT_EQ(Name(algorithm), text);
  }
  Settings settings;
  EXPECT_EQ(Set("logging.level", "critical", settings), "");
  EXPECT_EQ(settings.logging.level, "critical");
  EXPECT_EQ(Again("logging.format", "json"), "json");
  EXPECT_EQ(Refusal("persistence.mode", ""), "is not one of sync, batched, async");
  EXPECT_EQ(Refusal("persistence.mode", "Sync"), "is not one of sync, batched, async; did you mean sync?");
  EXPECT_EQ(Refusal("logging.format", "jason"), "is not one of text, json; did you mean json?");
}

TEST(ValuesTest, Lists) {
  Settings settings;
  const Key& key = *FindKey("server.listen");
  EXPECT_EQ(SetList(key, {"a:1", "b:2"}, settings), "");
  EXPECT_EQ(FormatLine(key, settings), "a:1,b:2");
  EXPECT_EQ(SetList(key, {}, settings), "needs at least 1");
  EXPECT_EQ(SetList(key, std::vector<std::string>(65, "a:1"), settings), "has 65 elements: at most 64");
  EXPECT_EQ(FormatLine(key, settings), "a:1,b:2");
}

TEST(ChecksTest, ListenAddresses) {
  for (const char* text : {"127.0.0.1:7300", "localhost:0", "mptd-0.mptd:65535", "[::]:1", "[fe80::1]:7300",
                           "unix:/run/m", "0.0.0.0:007"}) {
    EXPECT_EQ(CheckListenAddress(text), "") << text;
  }
  EXPECT_EQ(CheckListenAddress(""), "has no port; write host:port or unix:/path");
  EXPECT_EQ(CheckListenAddress("localhost"), "has no port; write host:port or unix:/path");
  for (const char* text : {"a:", "a:x", "a:65536", "a:123456", "a:-1"}) {
    EXPECT_EQ(CheckListenAddress(text), "does not end in a port (0 to 65535); write host:port or unix:/path") << text;
  }
  EXPECT_EQ(CheckListenAddress(":7300"), "has no host; write 0.0.0.0 for all addresses of this machine");
  EXPECT_EQ(CheckListenAddress("::1:7300"), "is an IPv6 address without brackets; write [address]:port");
  EXPECT_EQ(CheckListenAddress("[]:1"), "is not an IPv6 address in brackets");
  EXPECT_EQ(CheckListenAddress("[localhost]:1"), "is not an IPv6 address in brackets");
  EXPECT_EQ(CheckListenAddress("http//a:1"), "is not an address; write host:port or unix:/path");
  EXPECT_EQ(CheckListenAddress("unix:mptd.sock"), "needs an absolute path: unix:/path");
  EXPECT_EQ(CheckListenAddress("unix:/" + std::string(106, 'x')), "");
  EXPECT_EQ(CheckListenAddress("unix:/" + std::string(107, 'x')),
            "is too long for a socket: at most 107 bytes of path");
}

TEST(ChecksTest, HttpAddresses) {
  EXPECT_EQ(CheckHttpAddress("off"), "");
  EXPECT_EQ(CheckHttpAddress("0.0.0.0:7301"), "");
  EXPECT_EQ(CheckHttpAddress("unix:/run/m"), "does not end in a port (0 to 65535); write host:port or off");
  EXPECT_EQ(CheckHttpAddress(""), "has no port; write host:port or off");
}

TEST(ChecksTest, Genesis) {
  for (const char* text : {"", "mainnet", "sepolia", "holesky", "hoodi"}) EXPECT_EQ(CheckGenesis(text), "") << text;
  const TemporaryFile file("{}", "genesis.json");
  EXPECT_EQ(CheckGenesis(file.path()), "");
  EXPECT_EQ(CheckGenesis("mainet"), "is neither mainnet, sepolia, holesky, hoodi nor a file; did you mean mainnet?");
  EXPECT_EQ(CheckGenesis("/nowhere/genesis.json"), "is neither mainnet, sepolia, holesky, hoodi nor a file");
  EXPECT_EQ(CheckGenesis("/"), "is a folder, not a file");
}

TEST(ChecksTest, ModuleLevels) {
  EXPECT_EQ(CheckModuleLevel("rpc=debug"), "");
  EXPECT_EQ(CheckModuleLevel("rpc"), "is not module=level");
  EXPECT_EQ(CheckModuleLevel("rcp=debug"), "names no module; did you mean rpc?");
  EXPECT_EQ(CheckModuleLevel("rpc=dbug"), "names no level; did you mean debug?");
  EXPECT_EQ(CheckModuleLevel("="), "names no module");
}

TEST(ChecksTest, TheDataFolderIsNamed) { EXPECT_EQ(Refusal("server.data_dir", ""), "must not be empty"); }

}  // namespace
}  // namespace mptd::config
