// What is printed of the settings, and that the pages made of the table are the ones in the source tree.
#include "config/render.h"

#include <fstream>
#include <sstream>

#include "config/checks.h"
#include "config/schema.h"
#include "config/sources.h"
#include "gmock/gmock.h"
#include "metrics/log.h"
#include "nlohmann/json.hpp"
#include "tests/config/loading.h"

namespace mptd::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string ReadSource(const std::string& path) {
  std::ifstream file(std::string(MPTD_SOURCE_DIR) + "/" + path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string Printed(Sources sources) { return LoadGood(std::move(sources)).print.value_or(""); }

TEST(RenderTest, TheDocumentationIsInStep) {
  EXPECT_EQ(Printed({{"--print-config-docs"}, {}, {}}), ReadSource("docs/CONFIGURATION.md"))
      << "run: mptd --print-config-docs > docs/CONFIGURATION.md";
}

TEST(RenderTest, TheExampleIsInStep) {
  EXPECT_EQ(Printed({{"--print-config-example"}, {}, {}}), ReadSource("config/mptd.example.yaml"))
      << "run: mptd --print-config-example > config/mptd.example.yaml";
}

TEST(RenderTest, EveryKeyIsDocumented) {
  const std::string docs = ReadSource("docs/CONFIGURATION.md");
  const std::string help = Printed({{"--help"}, {}, {}});
  for (const Key& key : Keys()) {
    const std::string name(key.name);
    EXPECT_THAT(docs, HasSubstr("### `" + name + "`\n\n" + std::string(key.help) + "\n"));
    EXPECT_THAT(docs, HasSubstr("`" + VariableName(name) + "`"));
    EXPECT_THAT(help, HasSubstr("\n  --" + name + " "));
    EXPECT_THAT(help, HasSubstr("\n" + std::string(key.section()) + ": "));
  }
}

TEST(RenderTest, HelpFitsTheScreen) {
  std::istringstream help(Printed({{"--help"}, {}, {}}));
  for (std::string line; std::getline(help, line);) EXPECT_LE(line.size(), 120u) << line;
}

TEST(RenderTest, TheExampleSetsEveryKeyToItsDefault) {
  std::istringstream example(ReadSource("config/mptd.example.yaml"));
  std::string yaml;
  for (std::string line; std::getline(example, line);) {
    // "  # key: value", but not "  # Some sentence: like this."
    const size_t colon = line.find(": ");
    const bool setting =
        line.starts_with("  # ") && colon != std::string::npos &&
        line.substr(4, colon - 4).find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string::npos;
    yaml += (setting ? "  " + line.substr(4) : line) + "\n";
  }
  const Loaded loaded = LoadGood({{}, {}, yaml});
  const Loaded defaults = LoadGood({});
  ASSERT_EQ(loaded.entries.size(), defaults.entries.size());
  for (size_t i = 0; i < loaded.entries.size(); ++i) {
    EXPECT_EQ(loaded.entries[i].source, Source::kFile) << loaded.entries[i].key;
    EXPECT_EQ(loaded.entries[i].value, defaults.entries[i].value) << loaded.entries[i].key;
  }
}

TEST(RenderTest, PrintConfigSaysWhereEachValueComesFrom) {
  const std::string printed =
      Printed({{"--print-config", "--data-dir=/var/lib/mptd"},
               {"MPTD_CACHE_ROW_CACHE_BYTES=65536KiB"},
               "persistence:\n  mode: sync\nserver:\n  listen: [\"127.0.0.1:1\", \"unix:/run/m,n\"]\n"});
  EXPECT_THAT(printed, HasSubstr("server:\n  data_dir: /var/lib/mptd  # flag --data-dir\n"));
  EXPECT_THAT(printed, HasSubstr("\n  listen: [127.0.0.1:1, \"unix:/run/m,n\"]  # file FILE:4:11\n"));
  EXPECT_THAT(printed, HasSubstr("\npersistence:\n  mode: sync  # file FILE:2:9\n"));
  EXPECT_THAT(printed, HasSubstr("\n  row_cache_bytes: 64MiB  # environment MPTD_CACHE_ROW_CACHE_BYTES\n"));
  EXPECT_THAT(printed, HasSubstr("\n  batch_size: 1000  # default\n"));
}

TEST(RenderTest, WhatIsPrintedCanBeReadAgain) {
  const std::vector<std::string> flags = {"--data-dir=- a: #\n\"b\"\xc3\xa4 ",
                                          "--listen=[::1]:5,unix:/a b",
                                          "--logging.file=null",
                                          "--logging.module_levels=rpc=debug,engine=off",
                                          "--pruning.enable_pruning=false",
                                          "--persistence.batch_timeout_ms=7",
                                          "--server.default_deadline=0",
                                          "--http-listen=off"};
  const Loaded first = LoadGood({flags, {}, {}});
  std::vector<std::string> print = flags;
  print.emplace_back("--print-config=yaml");
  const Loaded second = LoadGood({{}, {}, Printed({print, {}, {}})});
  ASSERT_EQ(first.entries.size(), second.entries.size());
  for (size_t i = 0; i < first.entries.size(); ++i) EXPECT_EQ(first.entries[i].value, second.entries[i].value);
  EXPECT_EQ(second.settings.server.data_dir, "- a: #\n\"b\"\xc3\xa4 ");
  EXPECT_EQ(second.settings.logging.file, "null");
}

TEST(RenderTest, PrintConfigAsJsonHasTypes) {
  const auto json = nlohmann::json::parse(
      Printed({{"--print-config=json", "--log.level=debug"}, {"MPTD_PRUNING_ENABLE_PRUNING=false"}, {}}));
  EXPECT_EQ(json.size(), Keys().size());
  EXPECT_EQ(json["logging.level"], (nlohmann::json{{"value", "debug"}, {"source", "flag"}, {"where", "--log.level"}}));
  EXPECT_EQ(json["pruning.enable_pruning"]["value"], false);
  EXPECT_EQ(json["pruning.enable_pruning"]["source"], "environment");
  EXPECT_EQ(json["persistence.batch_size"], (nlohmann::json{{"value", 1000}, {"source", "default"}}));
  EXPECT_EQ(json["server.listen"]["value"], nlohmann::json::array({"127.0.0.1:7300"}));
  EXPECT_EQ(json["cache.node_cache_bytes"]["value"], "640MiB");
}

TEST(RenderTest, PrintConfigKnowsTwoFormats) {
  EXPECT_THAT(Problems({{"--print-config=xml"}, {}, {}}),
              ElementsAre("flag --print-config: \"xml\" is not one of yaml, json"));
}

// config and metrics do not know each other, but they speak of the same levels and modules.
TEST(RenderTest, LevelsAndModulesAreThoseOfTheLog) {
  ASSERT_EQ(std::size(kLogModules), mptd::kLogModules);
  for (size_t i = 0; i < std::size(kLogModules); ++i) {
    EXPECT_EQ(ParseLogModule(kLogModules[i]), static_cast<LogModule>(i)) << kLogModules[i];
  }
  ASSERT_EQ(std::size(kLogLevels), static_cast<size_t>(LogLevel::kOff) + 1);
  for (size_t i = 0; i < std::size(kLogLevels); ++i) {
    EXPECT_EQ(ParseLogLevel(kLogLevels[i]), static_cast<LogLevel>(i)) << kLogLevels[i];
  }
  for (const std::string_view format : kLogFormats) {
    LogOptions options;
    options.format = std::string(format);
    options.capture = [](std::string_view) {};
    EXPECT_TRUE(Logger::Open(options).ok()) << format;
  }
}

}  // namespace
}  // namespace mptd::config
