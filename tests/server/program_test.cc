// The program itself: what it writes, how it exits. Needs the built mptd.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mptd/v1/state.grpc.pb.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// The daemon takes variables that start with MPTD_ for settings, and those of the tests are none.
std::vector<char*> EnvironmentOfTheDaemon() {
  std::vector<char*> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with("MPTD_")) variables.push_back(*variable);
  }
  variables.push_back(nullptr);
  return variables;
}

class ProgramTest : public ::testing::Test {
 protected:
  struct Process {
    pid_t pid = -1;
    std::string errors;  // the file of its standard error
  };

  ProgramTest() {
    std::string name = ::testing::TempDir() + "mptd-XXXXXX";
    dir_ = mkdtemp(name.data());
  }
  ~ProgramTest() override {
    for (const Process& process : running_) {
      kill(process.pid, SIGKILL);
      waitpid(process.pid, nullptr, 0);
    }
    std::filesystem::remove_all(dir_);
  }

  Process Spawn(std::vector<std::string> flags) {
    const char* bin = std::getenv("MPTD_BIN");
    flags.insert(flags.begin(), std::string(bin == nullptr ? "bin" : bin) + "/mptd");
    Process out;
    out.errors = dir_ + "/stderr" + std::to_string(spawned_++);
    std::vector<char*> argv;
    for (std::string& flag : flags) argv.push_back(flag.data());
    argv.push_back(nullptr);
    std::vector<char*> environment = EnvironmentOfTheDaemon();
    out.pid = fork();
    if (out.pid == 0) {
      const int errors = open(out.errors.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
      const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
      dup2(null, 1);
      dup2(errors, 2);
      execve(argv[0], argv.data(), environment.data());
      _exit(127);
    }
    running_.push_back(out);
    return out;
  }
  int Wait(const Process& process) {
    int status = 0;
    EXPECT_EQ(waitpid(process.pid, &status, 0), process.pid);
    std::erase_if(running_, [&](const Process& p) { return p.pid == process.pid; });
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  // Runs to the end: the exit code, and what was written to standard error but for the log.
  std::pair<int, std::string> Run(const std::vector<std::string>& flags) {
    const Process process = Spawn(flags);
    const int code = Wait(process);
    std::istringstream lines(ReadFile(process.errors));
    std::string said;
    for (std::string line; std::getline(lines, line);) {
      if (line.find(" info ") == std::string::npos) said += line + "\n";
    }
    return {code, said};
  }
  // Flags of a daemon of its own on the folder `name`.
  std::vector<std::string> Flags(const std::string& name, std::vector<std::string> more = {}) const {
    more.insert(more.end(), {"--data-dir=" + dir_ + "/" + name, "--http-listen=127.0.0.1:0"});
    const bool listens = std::any_of(more.begin(), more.end(), [](const auto& f) { return f.starts_with("--listen"); });
    if (!listens) more.push_back("--listen=127.0.0.1:0");
    return more;
  }
  // The address in the line that says where it listens.
  static std::string AddressOf(const Process& process) {
    for (const absl::Time end = absl::Now() + absl::Seconds(60); absl::Now() < end;) {
      const std::string text = ReadFile(process.errors);
      const size_t at = text.find("listening grpc=");
      const size_t blank = text.find(' ', at == std::string::npos ? 0 : at + 15);
      if (at != std::string::npos && blank != std::string::npos) return text.substr(at + 15, blank - at - 15);
      absl::SleepFor(absl::Milliseconds(10));
    }
    ADD_FAILURE() << "does not listen: " << ReadFile(process.errors);
    return "";
  }
  static grpc::Status Head(const std::string& address, v1::Block* head) {
    const auto stub = v1::StateService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    v1::GetBlockResponse response;
    const grpc::Status status = stub->GetBlock(&context, {}, &response);
    *head = response.block();
    return status;
  }

  std::string dir_;
  std::vector<Process> running_;
  int spawned_ = 0;
};

TEST_F(ProgramTest, WrongFlagsAreOneSentenceAndTwo) {
  const auto [code, said] = Run({"--no-such-flag=1"});
  EXPECT_EQ(code, 2);
  EXPECT_THAT(said, MatchesRegex("mptd: [^\n]*no-such-flag[^\n]*\n"));
}

TEST_F(ProgramTest, VersionAndHelpSucceed) {
  EXPECT_EQ(Run({"--version"}).first, 0);
  EXPECT_EQ(Run({"--help"}).first, 0);
}

TEST_F(ProgramTest, AStopIsCleanAndStateStays) {
  Process daemon = Spawn(Flags("data"));
  const std::string address = AddressOf(daemon);
  EXPECT_FALSE(address.ends_with(":0")) << address;
  {
    const auto stub = v1::StateService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    v1::ApplyStateChangesRequest request;
    request.set_number(1);
    request.add_changes()->set_address(std::string(20, 'a'));
    request.mutable_changes(0)->set_nonce(1);
    grpc::ClientContext context;
    v1::ApplyStateChangesResponse response;
    const grpc::Status status = stub->ApplyStateChanges(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  for (const int signal : {SIGTERM, SIGINT}) {
    kill(daemon.pid, signal);
    EXPECT_EQ(Wait(daemon), 0);
    EXPECT_THAT(ReadFile(daemon.errors), HasSubstr("server stopped"));
    daemon = Spawn(Flags("data"));
    v1::Block head;
    const grpc::Status status = Head(AddressOf(daemon), &head);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(head.number(), 1u);
    EXPECT_TRUE(head.durable());
  }
}

TEST_F(ProgramTest, ASecondDaemonOnTheFolder) {
  const Process daemon = Spawn(Flags("data"));
  AddressOf(daemon);
  const auto [code, said] = Run(Flags("data"));
  EXPECT_EQ(code, 1);
  EXPECT_THAT(said, MatchesRegex("mptd: [^\n]*" + std::to_string(daemon.pid) + "[^\n]*\n"));
}

TEST_F(ProgramTest, APortInUse) {
  const Process daemon = Spawn(Flags("data"));
  const std::string address = AddressOf(daemon);
  const auto [code, said] = Run(Flags("other", {"--listen=" + address}));
  EXPECT_EQ(code, 1);
  EXPECT_EQ(said, "mptd: cannot listen on " + address + ": the address is in use by another process\n");
}

TEST_F(ProgramTest, AFolderThatCannotBe) {
  std::ofstream(dir_ + "/file") << "not a folder";
  const auto [code, said] = Run(Flags("file"));
  EXPECT_EQ(code, 1);
  EXPECT_THAT(said, MatchesRegex("mptd: [^\n]+\n"));
}

TEST_F(ProgramTest, TheGenesisIsKept) {
  const Process daemon = Spawn(Flags("data", {"--genesis=sepolia"}));
  v1::Block head;
  ASSERT_TRUE(Head(AddressOf(daemon), &head).ok());
  EXPECT_EQ(head.number(), 0u);
  EXPECT_EQ(head.state_root().substr(0, 2), "\x5e\xb6");  // as in Sepolia's genesis header
  EXPECT_TRUE(head.durable());
  kill(daemon.pid, SIGTERM);
  EXPECT_EQ(Wait(daemon), 0);

  const auto [code, said] = Run(Flags("data", {"--genesis=hoodi"}));
  EXPECT_EQ(code, 1);
  EXPECT_THAT(said, MatchesRegex("mptd: [^\n]*another genesis[^\n]*0x5eb6[^\n]*hoodi[^\n]*0x[^\n]*\n"));
  const Process again = Spawn(Flags("data", {"--genesis=sepolia"}));
  EXPECT_FALSE(AddressOf(again).empty());
}

TEST_F(ProgramTest, TheLogFileIsOpenedAnew) {
  const std::string log = dir_ + "/mptd.log";
  const Process daemon = Spawn(Flags("data", {"--logging.file=" + log}));
  const auto wait_for = [&](const std::string& path, const std::string& what) {
    for (const absl::Time end = absl::Now() + absl::Seconds(60); absl::Now() < end;) {
      if (ReadFile(path).find(what) != std::string::npos) return true;
      absl::SleepFor(absl::Milliseconds(10));
    }
    return false;
  };
  ASSERT_TRUE(wait_for(log, "listening"));
  std::filesystem::rename(log, log + ".1");
  kill(daemon.pid, SIGHUP);
  EXPECT_TRUE(wait_for(log, "log_reopened"));
  kill(daemon.pid, SIGTERM);
  EXPECT_EQ(Wait(daemon), 0);
  EXPECT_THAT(ReadFile(log), HasSubstr("stopped"));
  EXPECT_EQ(ReadFile(daemon.errors), "");
}

}  // namespace
}  // namespace mptd
