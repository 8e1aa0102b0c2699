// Presets, and what follows from limits.max_memory_bytes.
#include "config/presets.h"

#include "config/memory.h"
#include "config/schema.h"
#include "config/values.h"
#include "gmock/gmock.h"
#include "tests/config/loading.h"

namespace mptd::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(PresetTest, EverySettingOfEveryPresetIsAKeyWithAnAllowedValueOtherThanItsDefault) {
  for (const Preset& preset : Presets()) {
    EXPECT_EQ(FindPreset(preset.name), &preset);
    size_t changed = 0;
    for (const PresetSetting& setting : preset.settings) {
      const Key* key = FindKey(setting.key);
      ASSERT_NE(key, nullptr) << preset.name << ": " << setting.key;
      Settings settings;
      EXPECT_EQ(SetScalar(*key, setting.value, settings), "") << preset.name << ": " << setting.key;
      if (FormatLine(*key, settings) != FormatLine(*key, Settings())) ++changed;
    }
    EXPECT_GE(changed, 2u) << preset.name;
  }
}

TEST(PresetTest, EverySourceCanNameOneAndAllLoad) {
  for (const Preset& preset : Presets()) {
    const std::string name(preset.name);
    EXPECT_EQ(LoadGood({{"--preset", name}, {}, {}}).preset, name);
    EXPECT_EQ(LoadGood({{}, {"MPTD_PRESET=" + name}, {}}).preset, name);
    const Loaded loaded = LoadGood({{}, {}, "preset: " + name + "\n"});
    EXPECT_EQ(loaded.preset, name);
    for (const PresetSetting& setting : preset.settings) {
      const Entry entry = EntryOf(loaded, std::string(setting.key));
      EXPECT_EQ(Origin(entry), "preset " + name) << setting.key;
      EXPECT_EQ(entry.value, setting.value) << name;
    }
  }
}

TEST(PresetTest, AFlagNamesItBeforeAVariableAndThatBeforeTheFile) {
  EXPECT_EQ(LoadGood({{}, {"MPTD_PRESET=archival"}, "preset: low_memory\n"}).preset, "archival");
  EXPECT_EQ(LoadGood({{"--preset=low_latency"}, {"MPTD_PRESET=archival"}, "preset: low_memory\n"}).preset,
            "low_latency");
}

TEST(PresetTest, WhatIsSetAnywhereWinsOverIt) {
  const Loaded loaded = LoadGood({{"--preset=low_latency"}, {}, "persistence:\n  mode: sync\n"});
  EXPECT_EQ(loaded.settings.persistence.mode, PersistenceMode::kSync);
  EXPECT_EQ(Origin(EntryOf(loaded, "persistence.mode")), "file FILE:2:9");
  EXPECT_EQ(Origin(EntryOf(loaded, "cache.row_cache_bytes")), "preset low_latency");
}

TEST(PresetTest, AnUnknownOneIsRefusedWhereItStands) {
  constexpr char kNames[] = "is not one of low_latency, high_throughput, low_memory, archival";
  EXPECT_THAT(Problems({{}, {}, "preset: low_memry\n"}),
              ElementsAre("FILE:1:9: preset: \"low_memry\" " + std::string(kNames) + "; did you mean low_memory?"));
  EXPECT_THAT(Problems({{"--preset=", "--config=/dev/null"}, {}, {}}),
              ElementsAre("--preset: preset: \"\" " + std::string(kNames)));
  EXPECT_THAT(Problems({{"--preset=a", "--preset=archival"}, {}, {}}),
              testing::Contains(HasSubstr("given more than once")));
  EXPECT_THAT(Problems({{}, {}, "preset: [low_memory]\n"}),
              ElementsAre("FILE:1:9: preset: needs the name of a preset"));
}

TEST(PresetTest, ThePrintedConfigurationSaysIt) {
  const std::string printed = LoadGood({{"--preset=low_memory", "--print-config"}, {}, {}}).print.value_or("");
  EXPECT_TRUE(printed.starts_with("preset: low_memory\n")) << printed;
  EXPECT_THAT(printed, HasSubstr("\n  max_memory_bytes: 512MiB  # preset low_memory\n"));
  EXPECT_THAT(printed, HasSubstr("  # derived limits.max_memory_bytes\n"));
  const Loaded again = LoadGood({{}, {}, printed});
  EXPECT_EQ(again.settings.limits.max_memory_bytes, uint64_t{512} << 20);
}

TEST(MemoryTest, WhatNobodyHasSetIsAPartOfTheLimit) {
  const Loaded loaded = LoadGood({{"--max-memory=1000MiB", "--cache.row_cache_bytes=5MiB"}, {}, {}});
  for (const MemoryShare& share : MemoryShares()) {
    const Entry entry = EntryOf(loaded, std::string(share.key));
    if (share.key == "cache.row_cache_bytes") {
      EXPECT_EQ(entry.value, "5MiB");
      EXPECT_EQ(entry.source, Source::kFlag);
    } else {
      EXPECT_EQ(entry.value, std::to_string(10 * share.percent) + "MiB") << share.key;
      EXPECT_EQ(Origin(entry), "derived limits.max_memory_bytes");
    }
  }
}

TEST(MemoryTest, ALimitThatCannotBeKeptIsRefused) {
  EXPECT_THAT(Problems({{"--max-memory=127MiB"}, {}, {}}),
              ElementsAre("flag --max-memory: is too small: at least 128MiB, or 0 for no limit"));
  EXPECT_THAT(
      Problems({{"--cache.node_cache_bytes=1GiB"}, {}, "limits:\n  max_memory_bytes: 1GiB\n"}),
      ElementsAre(testing::StartsWith(
          "FILE:2:21: limits.max_memory_bytes: is too small for the caches and the queue, which together take")));
  LoadGood({{"--max-memory=128MiB"}, {}, {}});
  LoadGood({{"--max-memory=0"}, {}, {}});
}

}  // namespace
}  // namespace mptd::config
