#include "storage/secret_key.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/strings/str_format.h"
#include "storage/posix_error.h"

namespace mptd::storage {
namespace {

constexpr size_t kPageBytes = 4096;
// More than any form of a key takes.
constexpr size_t kMaxText = 256;

// What was read from a source. Wiped, like the key that it holds.
struct Text {
  std::array<char, kMaxText> bytes{};
  size_t size = 0;

  Text() = default;
  ~Text() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  std::string_view view() const { return {bytes.data(), size}; }
};

absl::Status ReadText(int descriptor, const std::string& name, Text& text) {
  while (text.size < text.bytes.size()) {
    const ssize_t got = ::read(descriptor, text.bytes.data() + text.size, text.bytes.size() - text.size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return PosixError("reading", name, errno);
    if (got == 0) break;
    text.size += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

int Digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

absl::StatusOr<SecretKey> ParseKey(std::string_view text, bool may_be_raw, const std::string& where) {
  KeyBuffer key;
  if (may_be_raw && text.size() == kKeyBytes) {
    std::memcpy(key.bytes().data(), text.data(), kKeyBytes);
    return SecretKey::Copy(key.bytes());
  }
  constexpr std::string_view kBlank = " \t\r\n";
  std::string_view digits = text.substr(std::min(text.find_first_not_of(kBlank), text.size()));
  digits = digits.substr(0, digits.find_last_not_of(kBlank) + 1);
  bool good = digits.size() == 2 * kKeyBytes;
  for (size_t i = 0; good && i < kKeyBytes; ++i) {
    const int high = Digit(digits[2 * i]);
    const int low = Digit(digits[2 * i + 1]);
    good = high >= 0 && low >= 0;
    if (good) key.bytes()[i] = static_cast<uint8_t>(high << 4 | low);
  }
  if (good) return SecretKey::Copy(key.bytes());
  return absl::FailedPreconditionError(absl::StrFormat(
      "%s holds no encryption key: %s64 hexadecimal digits are expected (openssl rand -hex 32 makes them)", where,
      may_be_raw ? "32 bytes or " : ""));
}

absl::StatusOr<SecretKey> ReadFromFile(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    return absl::FailedPreconditionError(PosixError("opening the encryption key file", path, errno).message());
  }
  struct stat found {};
  Text text;
  absl::Status status;
  if (::fstat(descriptor, &found) != 0) {
    status = PosixError("examining", path, errno);
  } else if (S_ISREG(found.st_mode) && (found.st_mode & 077) != 0) {
    status = absl::FailedPreconditionError(absl::StrFormat(
        "the encryption key file %s may be used by others (mode %04o); chmod 0600 it", path, found.st_mode & 07777));
  } else {
    status = ReadText(descriptor, path, text);
  }
  ::close(descriptor);
  if (!status.ok()) return status;
  return ParseKey(text.view(), /*may_be_raw=*/true, absl::StrFormat("the file %s", path));
}

absl::StatusOr<SecretKey> ReadFromEnvironment(const std::string& name) {
  // Nothing in this program changes its variables.
  const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe)
  if (value == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrFormat("the variable %s, which is to hold the encryption key, is not set", name));
  }
  return ParseKey(value, /*may_be_raw=*/false, absl::StrFormat("the variable %s", name));
}

absl::StatusOr<SecretKey> ReadFromCommand(const std::string& command) {
  const std::string name = "the output of the encryption key's command";
  FILE* const pipe = ::popen(command.c_str(), "re");
  if (pipe == nullptr) return PosixError("running", "the encryption key's command", errno);
  Text text;
  const absl::Status status = ReadText(::fileno(pipe), name, text);
  const int ended = ::pclose(pipe);
  if (!status.ok()) return status;
  if (!WIFEXITED(ended) || WEXITSTATUS(ended) != 0) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "the command that is to print the encryption key failed (%s %d)", WIFEXITED(ended) ? "exit status" : "signal",
        WIFEXITED(ended) ? WEXITSTATUS(ended) : WTERMSIG(ended)));
  }
  return ParseKey(text.view(), /*may_be_raw=*/true, name);
}

}  // namespace

KeyBuffer::~KeyBuffer() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

absl::StatusOr<SecretKey> SecretKey::Make() {
  void* const page = ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return absl::ResourceExhaustedError("no memory for an encryption key");
  // Where the system refuses these, the key works all the same.
  (void)::madvise(page, kPageBytes, MADV_DONTDUMP);
  (void)::mlock(page, kPageBytes);
  return SecretKey(static_cast<uint8_t*>(page));
}

absl::StatusOr<SecretKey> SecretKey::Copy(std::span<const uint8_t, kKeyBytes> bytes) {
  absl::StatusOr<SecretKey> key = Make();
  if (key.ok()) std::memcpy(key->page_, bytes.data(), kKeyBytes);
  return key;
}

absl::StatusOr<SecretKey> SecretKey::Random() {
  absl::StatusOr<SecretKey> key = Make();
  if (key.ok() && RAND_priv_bytes(key->page_, kKeyBytes) != 1) {
    return absl::UnavailableError("the system has no random bytes for an encryption key");
  }
  return key;
}

SecretKey::~SecretKey() {
  if (page_ == nullptr) return;
  OPENSSL_cleanse(page_, kKeyBytes);
  (void)::munmap(page_, kPageBytes);
}

std::string SecretKey::Id() const {
  constexpr std::string_view kPurpose = "mptd key id";
  std::array<uint8_t, kPurpose.size() + kKeyBytes> text{};
  std::memcpy(text.data(), kPurpose.data(), kPurpose.size());
  std::memcpy(text.data() + kPurpose.size(), page_, kKeyBytes);
  std::array<uint8_t, SHA256_DIGEST_LENGTH> hash{};
  SHA256(text.data(), text.size(), hash.data());
  OPENSSL_cleanse(text.data(), text.size());
  std::string id;
  for (size_t i = 0; i < 8; ++i) id += absl::StrFormat("%02x", hash[i]);
  return id;
}

absl::StatusOr<SecretKey> ReadMasterKey(const KeySource& source) {
  const int named = !source.file.empty() + !source.environment.empty() + !source.command.empty();
  if (named != 1) {
    return absl::InvalidArgumentError("the encryption key comes from exactly one of a file, a variable and a command");
  }
  if (!source.file.empty()) return ReadFromFile(source.file);
  if (!source.environment.empty()) return ReadFromEnvironment(source.environment);
  return ReadFromCommand(source.command);
}

}  // namespace mptd::storage
