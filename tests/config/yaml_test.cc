// What is refused in a file, and where it is said to stand.
#include "gmock/gmock.h"
#include "tests/config/loading.h"

namespace mptd::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

std::vector<std::string> ProblemsOf(const std::string& yaml) { return Problems({{}, {}, yaml}); }

TEST(YamlTest, EmptyFilesAndSectionsAreFine) {
  EXPECT_THAT(ProblemsOf(""), IsEmpty());
  EXPECT_THAT(ProblemsOf("# nothing\n"), IsEmpty());
  EXPECT_THAT(ProblemsOf("---\n"), IsEmpty());
  EXPECT_THAT(ProblemsOf("server:\n  # data_dir: x\ncache:\n"), IsEmpty());
}

TEST(YamlTest, TextMayLookLikeAnythingElse) {
  const Loaded loaded = LoadGood({{}, {}, "server:\n  data_dir: 123\n  http_listen: off\n  genesis: \"\"\n"});
  EXPECT_EQ(loaded.settings.server.data_dir, "123");
  EXPECT_EQ(loaded.settings.server.http_listen, "off");
}

TEST(YamlTest, UnknownKeysAreRefusedWithTheNearestName) {
  EXPECT_THAT(ProblemsOf("persistence:\n  mode: sync\n  bath_size: 5\n"),
              ElementsAre("FILE:3:3: persistence.bath_size: there is no such setting; did you mean "
                          "persistence.batch_size?"));
  EXPECT_THAT(ProblemsOf("persistense:\n  mode: sync\n"),
              ElementsAre("FILE:1:1: persistense: there is no such section; did you mean persistence?"));
  EXPECT_THAT(ProblemsOf("server:\n  mode: sync\n"),
              ElementsAre("FILE:2:3: server.mode: there is no such setting; did you mean persistence.mode?"));
  EXPECT_THAT(ProblemsOf("mode: sync\n"),
              ElementsAre("FILE:1:1: mode: there is no such section; did you mean persistence.mode?"));
  EXPECT_THAT(ProblemsOf("persistence.mode: sync\n"),
              ElementsAre("FILE:1:1: persistence.mode: write persistence: and below it, indented, mode:"));
  EXPECT_THAT(ProblemsOf("tree:\n  enable_extensions: true\n"),
              ElementsAre("FILE:1:1: tree: there is no such section; did you mean trie?"));
}

TEST(YamlTest, RepeatedKeysAreRefused) {
  EXPECT_THAT(ProblemsOf("persistence:\n  mode: sync\n  batch_size: 1\n  mode: async\n"),
              ElementsAre("FILE:4:3: persistence.mode: is already set at FILE:2:3"));
  EXPECT_THAT(ProblemsOf("cache: {}\nserver: {}\ncache: {}\n"),
              ElementsAre("FILE:3:1: cache: is already set at FILE:1:1"));
}

TEST(YamlTest, WrongTypesAreRefused) {
  EXPECT_THAT(ProblemsOf("persistence: {mode: [sync]}\n"),
              ElementsAre("FILE:1:21: persistence.mode: needs a single value, not a list or a mapping"));
  EXPECT_THAT(ProblemsOf("persistence:\n  batch_size: {a: 1}\n"),
              ElementsAre("FILE:2:15: persistence.batch_size: needs a single value, not a list or a mapping"));
  EXPECT_THAT(
      ProblemsOf("persistence:\n  batch_size: \"12\"\n"),
      ElementsAre("FILE:2:15: persistence.batch_size: \"12\" is text because of the quotes; write it without them"));
  EXPECT_THAT(ProblemsOf("pruning:\n  enable_pruning: 'true'\n"),
              ElementsAre("FILE:2:19: pruning.enable_pruning: \"true\" is text because of the quotes; write it without "
                          "them"));
  EXPECT_THAT(
      ProblemsOf("server:\n  listen: 127.0.0.1:1\n"),
      ElementsAre("FILE:2:11: server.listen: is a list; write its elements in brackets, or below it, each after a "
                  "dash"));
  EXPECT_THAT(ProblemsOf("server:\n  listen:\n    - [a]\n"),
              ElementsAre("FILE:3:7: server.listen: an element of the list is not a single value"));
  EXPECT_THAT(ProblemsOf("server:\n  data_dir:\n"),
              ElementsAre("FILE:2:3: server.data_dir: has no value; write \"\" for an empty one"));
  EXPECT_THAT(ProblemsOf("server: 5\n"),
              ElementsAre("FILE:1:9: server: is a section; its settings are written below it, indented"));
  EXPECT_THAT(ProblemsOf("- a\n"),
              ElementsAre("FILE:1:1: the file must consist of sections with settings (a YAML mapping)"));
  EXPECT_THAT(ProblemsOf("? [a]\n: b\n"), ElementsAre("FILE:1:3: the name of a setting or section is expected here"));
}

TEST(YamlTest, EveryElementOfAListIsChecked) {
  EXPECT_THAT(ProblemsOf("server:\n  listen:\n    - localhost\n    - 127.0.0.1:1\n    - 127.0.0.1:99999\n"),
              ElementsAre("FILE:3:7: server.listen: \"localhost\" has no port; write host:port or unix:/path",
                          "FILE:5:7: server.listen: \"127.0.0.1:99999\" does not end in a port (0 to 65535); write "
                          "host:port or unix:/path"));
  EXPECT_THAT(ProblemsOf("server: {listen: []}\n"), ElementsAre("FILE:1:18: server.listen: needs at least 1"));
}

TEST(YamlTest, SyntaxErrorsSayWhere) {
  EXPECT_THAT(ProblemsOf("server:\n  listen: [a\nb: c\n"), ElementsAre(MatchesRegex("FILE:[23]:[0-9]+: .+")));
  EXPECT_THAT(ProblemsOf("server:\n\tlisten: a\n"), ElementsAre(MatchesRegex("FILE:2:[0-9]+: .+")));
  EXPECT_THAT(ProblemsOf("server: {}\n---\nserver: {}\n"), ElementsAre("FILE: has 2 YAML documents; one is expected"));
  EXPECT_THAT(ProblemsOf("server: *nowhere\n"), ElementsAre(HasSubstr("FILE:1:")));
}

TEST(YamlTest, FilesThatCannotBeReadAreRefused) {
  EXPECT_THAT(Problems({{"--config", "/nowhere/mptd.yaml"}, {}, {}}),
              ElementsAre("/nowhere/mptd.yaml: cannot be read: No such file or directory"));
  EXPECT_THAT(Problems({{}, {"MPTD_CONFIG=/"}, {}}), ElementsAre("/: cannot be read: Is a directory"));
  EXPECT_THAT(ProblemsOf(std::string((1 << 20) + 1, '#')),
              ElementsAre("FILE: is not a file of settings: it is longer than 1 MiB"));
}

// Whatever a file contains, it is refused or taken, never the end of the program.
TEST(YamlTest, StrangeFilesAreSurvived) {
  EXPECT_THAT(ProblemsOf(std::string(100'000, '[')), testing::SizeIs(1));
  EXPECT_THAT(ProblemsOf(std::string("\0\x01\xff\xfe", 4)), testing::Not(IsEmpty()));
  EXPECT_THAT(ProblemsOf("a: &a [*a]\n"), testing::SizeIs(1));
  EXPECT_THAT(ProblemsOf("server: &s\n  genesis: mainnet\ncache: *s\n"),
              ElementsAre(HasSubstr("cache.genesis: there is no such setting")));
}

}  // namespace
}  // namespace mptd::config
