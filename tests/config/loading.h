// Loads settings from flags, variables and a file that a test writes down. Not for use from several threads at once.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "gtest/gtest.h"

namespace mptd::config {

// A file that is removed with the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text, const std::string& suffix = "settings.yaml")
      : path_(testing::TempDir() + "mptd-" + std::to_string(getpid()) + "-" + suffix) {
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

struct Sources {
  std::vector<std::string> flags;
  std::vector<std::string> variables;
  std::optional<std::string> yaml;
};

// Problems name the file as FILE.
struct Outcome {
  absl::StatusOr<Loaded> loaded;
  std::vector<std::string> problems;
};

inline std::vector<const char*> Pointers(const std::vector<std::string>& words) {
  std::vector<const char*> pointers;
  for (const std::string& word : words) pointers.push_back(word.c_str());
  pointers.push_back(nullptr);
  return pointers;
}

inline std::string ReplaceAll(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

inline Outcome LoadFrom(Sources sources) {
  std::optional<TemporaryFile> file;
  std::vector<std::string> words = {"mptd"};
  if (sources.yaml) {
    file.emplace(*sources.yaml);
    words.push_back("--config=" + file->path());
  }
  words.insert(words.end(), sources.flags.begin(), sources.flags.end());
  const std::vector<const char*> argv = Pointers(words);
  const std::vector<const char*> environment = Pointers(sources.variables);
  Outcome outcome{Load(static_cast<int>(words.size()), argv.data(), environment.data(), "1.2.3"), {}};
  if (!outcome.loaded.ok()) {
    std::string message(outcome.loaded.status().message().data(), outcome.loaded.status().message().size());
    if (file) message = ReplaceAll(message, file->path(), "FILE");
    size_t begin = 0;
    for (size_t end = message.find('\n'); end != std::string::npos; end = message.find('\n', begin)) {
      outcome.problems.push_back(message.substr(begin, end - begin));
      begin = end + 1;
    }
    outcome.problems.push_back(message.substr(begin));
  } else if (file) {
    for (Entry& entry : outcome.loaded->entries) entry.where = ReplaceAll(entry.where, file->path(), "FILE");
    if (outcome.loaded->print) outcome.loaded->print = ReplaceAll(*outcome.loaded->print, file->path(), "FILE");
  }
  return outcome;
}

// The settings; fails the test when they are refused.
inline Loaded LoadGood(Sources sources) {
  Outcome outcome = LoadFrom(std::move(sources));
  EXPECT_TRUE(outcome.loaded.ok()) << outcome.loaded.status();
  return outcome.loaded.ok() ? *outcome.loaded : Loaded();
}

inline std::vector<std::string> Problems(Sources sources) { return LoadFrom(std::move(sources)).problems; }

inline Entry EntryOf(const Loaded& loaded, const std::string& key) {
  for (const Entry& entry : loaded.entries) {
    if (entry.key == key) return entry;
  }
  ADD_FAILURE() << "no entry for " << key;
  return {};
}

}  // namespace mptd::config
