// Any text as settings: a YAML file, flags or variables, as the first byte says, the latter two one a line. What is
// accepted has a value for every key, and its own YAML, loaded again, gives the same values.
#include <string>
#include <vector>

#include "config/config.h"
#include "config/schema.h"
#include "tests/fuzz/file_in_memory.h"
#include "tests/fuzz/fuzzing.h"

namespace {

using mptd::config::Entry;
using mptd::fuzz::FileInMemory;
using mptd::fuzz::Require;

absl::StatusOr<mptd::config::Loaded> Load(std::vector<std::string> flags, const std::vector<std::string>& variables) {
  std::vector<const char*> argv = {"mptd"};
  for (const std::string& flag : flags) argv.push_back(flag.c_str());
  std::vector<const char*> environment;
  for (const std::string& variable : variables) environment.push_back(variable.c_str());
  environment.push_back(nullptr);
  return mptd::config::Load(static_cast<int>(argv.size()), argv.data(), environment.data(), "fuzz");
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    // As a command line would have it. Other files than the input's own are not to be read.
    std::string line = text.substr(begin, end - begin);
    line = line.substr(0, line.find('\0'));
    if (line.find("onfig") == std::string::npos && line.find("ONFIG") == std::string::npos) out.push_back(line);
    begin = end + 1;
  }
  return out;
}

void TryAgain(const std::vector<Entry>& entries, const std::string& yaml) {
  const FileInMemory file(yaml);
  const auto again = Load({"--config", file.path()}, {});
  Require(again.ok() && again->entries.size() == entries.size());
  for (size_t i = 0; i < entries.size(); ++i) Require(again->entries[i].value == entries[i].value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const mptd::Bytes text = mptd::fuzz::Copy(data + 1, size - 1);
  const FileInMemory file(text);
  std::vector<std::string> flags = {"--print-config"};
  if (data[0] % 3 == 0) flags.insert(flags.end(), {"--config", file.path()});
  std::vector<std::string> variables;
  if (data[0] % 3 == 1) variables = Lines(text);
  if (data[0] % 3 == 2) {
    for (std::string& line : Lines(text)) flags.push_back(std::move(line));
  }
  const auto loaded = Load(flags, variables);
  if (!loaded.ok()) {
    Require(absl::IsInvalidArgument(loaded.status()) && !loaded.status().message().empty());
    return 0;
  }
  if (loaded->entries.empty()) {  // --help and its like
    Require(loaded->print.has_value());
    return 0;
  }
  Require(loaded->entries.size() == mptd::config::Keys().size());
  if (loaded->print.has_value() && loaded->print->find("server:") != std::string::npos) {
    TryAgain(loaded->entries, *loaded->print);
  }
  return 0;
}
