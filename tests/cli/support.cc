#include "tests/cli/support.h"

#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/app.h"
#include "cli/input_file.h"
#include "core/hex.h"

namespace mptd::cli {

namespace {
std::string Environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}
}  // namespace

Ran RunHere(const std::vector<std::string>& args, const std::string& answer, bool terminal) {
  std::istringstream in(answer);
  std::ostringstream out;
  std::ostringstream err;
  Terminal streams({.in = &in, .out = &out, .err = &err, .in_is_terminal = terminal, .err_is_terminal = terminal});
  const ExitCode code = RunMptctl(args, streams);
  return {.code = static_cast<int>(code), .out = out.str(), .err = err.str()};
}

Ran RunShell(const std::string& command, const std::string& input) {
  const TempDir dir;
  const std::string in = dir.Write("in", input);
  const std::string script = dir.Write("script", command);
  const std::string program = Environment("MPTD_BIN", "build/dev/bin") + "/mptctl";
  const std::string line = "MPTCTL='" + program + "' bash '" + script + "' < '" + in + "' > '" + dir.path() +
                           "/out' 2> '" + dir.path() + "/err'";
  const int status = std::system(line.c_str());
  return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .out = ReadFile(dir.path() + "/out"),
          .err = ReadFile(dir.path() + "/err")};
}

TempDir::TempDir() {
  std::string pattern = std::filesystem::temp_directory_path() / "mptctl-test-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) std::abort();
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::Write(const std::string& name, const std::string& content) const {
  const std::string path = path_ + "/" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

std::string TestDataPath(const std::string& name) {
  return Environment("MPTD_TESTDATA", "tests/testdata") + "/" + name;
}

nlohmann::json TestData(const std::string& name) {
  return nlohmann::json::parse(InputFile::Open(TestDataPath(name)).value()->ReadAll().value());
}

std::string Raw(const std::string& hex) { return FromHex(hex).value(); }

}  // namespace mptd::cli
