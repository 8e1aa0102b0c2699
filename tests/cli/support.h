// What the tests of mptctl share: its commands run in this process or as a process, files, the project's vectors.
#pragma once

#include <string>
#include <vector>

#include "cli/session.h"
#include "nlohmann/json.hpp"

namespace mptd::cli {

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

// RunMptctl in this process; `answer` is what is typed when `terminal` says that there is one.
Ran RunHere(const std::vector<std::string>& args, const std::string& answer = "", bool terminal = false);

// A shell command line with $MPTCTL naming the built program, `input` on its standard input.
Ran RunShell(const std::string& command, const std::string& input = "");

// Removed with everything in it at the end of its life.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  // Writes a file and returns its path.
  std::string Write(const std::string& name, const std::string& content) const;

 private:
  std::string path_;
};

std::string ReadFile(const std::string& path);

// tests/testdata/`name`, a path and its parsed content (.gz or not).
std::string TestDataPath(const std::string& name);
nlohmann::json TestData(const std::string& name);

// The raw bytes of 0x-hex, which must be right.
std::string Raw(const std::string& hex);

}  // namespace mptd::cli
