#include "storage/encrypted_log.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "storage/aes_gcm.h"
#include "storage/log_format.h"
#include "storage/mutex.h"

namespace mptd::storage {
namespace {

constexpr size_t kSaltAt = 8;
constexpr size_t kCounterAt = kSaltAt + kSaltBytes;
constexpr size_t kPrefixBytes = kCounterAt + 8;
static_assert(kPrefixBytes == 48 && kTagBytes == 16, "these are on disk and never change");

std::string_view View(const uint64_t& lsn) { return {reinterpret_cast<const char*>(&lsn), sizeof(lsn)}; }

absl::StatusOr<AesGcm> Context(const DataKeys& keys, uint32_t number, std::string_view salt, AesGcm::Use use) {
  KeyBuffer key;
  if (absl::Status status = keys.Derive(number, "change log", salt, key.bytes()); !status.ok()) return status;
  return AesGcm::Make(key.bytes(), use);
}

class EncryptedLog final : public ChangeLog {
 public:
  explicit EncryptedLog(std::shared_ptr<const DataKeys> keys) : keys_(std::move(keys)) {}

  absl::Status Open(ChangeLogOptions options, uint64_t after_lsn, const Replay& replay) {
    LogDecryptor decryptor(keys_);
    options.keys = nullptr;
    absl::StatusOr<std::unique_ptr<ChangeLog>> log =
        ChangeLog::Open(options, after_lsn, [&](uint64_t lsn, std::string_view record) {
          const absl::StatusOr<std::string_view> payload = decryptor.Open(lsn, record);
          if (!payload.ok()) {
            return absl::Status(payload.status().code(),
                                absl::StrFormat("%s: %s", options.dir, payload.status().message()));
          }
          return replay ? replay(lsn, *payload) : absl::OkStatus();
        });
    if (!log.ok()) return log.status();
    log_ = *std::move(log);
    MutexLock lock(mutex_);
    // Which of them the records that are there are of is not known of all.
    for (const uint32_t number : keys_->numbers()) last_use_[number] = log_->last_lsn();
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Append(std::string_view payload) override {
    if (payload.size() + kPrefixBytes + kTagBytes > kMaxPayload) {
      return absl::InvalidArgumentError(absl::StrFormat("a change log record of %d bytes; at most %d are possible",
                                                        payload.size(), kMaxPayload - kPrefixBytes - kTagBytes));
    }
    if (!aes_ || key_ != keys_->current()) {
      if (absl::Status status = Begin(); !status.ok()) return status;
    }
    const uint64_t lsn = log_->last_lsn() + 1;
    record_.resize(kPrefixBytes + payload.size() + kTagBytes);
    ++counter_;
    std::memcpy(&record_[kCounterAt], &counter_, sizeof(counter_));
    if (!aes_->Seal(CountingNonce(counter_), View(lsn), payload, &record_[kPrefixBytes])) {
      return absl::ResourceExhaustedError("AES-256-GCM failed to encrypt a change log record");
    }
    absl::StatusOr<uint64_t> appended = log_->Append(record_);
    // One large record must not take its memory for ever.
    if (record_.capacity() > kKeptBytes) std::string(record_.data(), kPrefixBytes).swap(record_);
    if (!appended.ok()) return appended;
    MutexLock lock(mutex_);
    last_use_[key_] = *appended;
    return appended;
  }

  absl::Status Sync() override { return log_->Sync(); }
  absl::Status TruncateThrough(uint64_t lsn) override { return log_->TruncateThrough(lsn); }
  absl::Status RemoveAll() override { return log_->RemoveAll(); }
  uint64_t first_lsn() const override { return log_->first_lsn(); }
  uint64_t last_lsn() const override { return log_->last_lsn(); }
  uint64_t durable_lsn() const override { return log_->durable_lsn(); }
  uint64_t disk_bytes() const override { return log_->disk_bytes(); }

  std::set<uint32_t> KeysInUse() const override {
    const uint64_t first = log_->first_lsn();
    std::set<uint32_t> used;
    MutexLock lock(mutex_);
    for (const auto& [number, last] : last_use_) {
      if (last >= first) used.insert(number);
    }
    return used;
  }

 private:
  static constexpr uint64_t kMaxPayload = kMaxPayloadBytes;
  static constexpr size_t kKeptBytes = size_t{4} << 20;

  absl::Status Begin() {
    const absl::StatusOr<std::string> salt = NewSalt();
    if (!salt.ok()) return salt.status();
    key_ = keys_->current();
    absl::StatusOr<AesGcm> aes = Context(*keys_, key_, *salt, AesGcm::Use::kSeal);
    if (!aes.ok()) return aes.status();
    aes_ = *std::move(aes);
    counter_ = 0;
    record_.assign(kPrefixBytes, '\0');
    std::memcpy(record_.data(), &key_, sizeof(key_));
    std::memcpy(&record_[kSaltAt], salt->data(), kSaltBytes);
    return absl::OkStatus();
  }

  const std::shared_ptr<const DataKeys> keys_;
  std::unique_ptr<ChangeLog> log_;  // constant after Open

  // Used by the writer.
  std::optional<AesGcm> aes_;
  uint32_t key_ = 0;
  uint64_t counter_ = 0;  // the last one that was used with aes_
  std::string record_;    // begins with key and salt

  mutable Mutex mutex_;
  std::map<uint32_t, uint64_t> last_use_ ABSL_GUARDED_BY(mutex_);  // the last record that may be of a data key
};

}  // namespace

struct LogDecryptor::Session {
  std::string begin;  // data key and salt, as in the record
  AesGcm aes;
};

LogDecryptor::LogDecryptor(std::shared_ptr<const DataKeys> keys) : keys_(std::move(keys)) {}
LogDecryptor::~LogDecryptor() = default;

bool LogDecryptor::Knows(std::string_view record) const {
  uint32_t number = 0;
  if (record.size() < sizeof(number)) return true;  // not a record of ours, as Open will say
  std::memcpy(&number, record.data(), sizeof(number));
  const std::vector<uint32_t> known = keys_->numbers();
  return number > known.back() || std::binary_search(known.begin(), known.end(), number);
}

absl::StatusOr<std::string_view> LogDecryptor::Open(uint64_t lsn, std::string_view record) {
  const absl::Status changed = absl::DataLossError(
      absl::StrFormat("record %d of the encrypted change log is damaged, was changed or is not encrypted", lsn));
  if (record.size() < kPrefixBytes + kTagBytes) return changed;
  if (session_ == nullptr || session_->begin != record.substr(0, kCounterAt)) {
    uint32_t number = 0;
    std::memcpy(&number, record.data(), sizeof(number));
    absl::StatusOr<AesGcm> aes = Context(*keys_, number, record.substr(kSaltAt, kSaltBytes), AesGcm::Use::kOpen);
    if (!aes.ok()) {
      return absl::Status(aes.status().code(),
                          absl::StrFormat("record %d of the change log: %s", lsn, aes.status().message()));
    }
    session_ = std::make_unique<Session>(Session{std::string(record.substr(0, kCounterAt)), *std::move(aes)});
  }
  uint64_t counter = 0;
  std::memcpy(&counter, &record[kCounterAt], sizeof(counter));
  const std::string_view sealed = record.substr(kPrefixBytes);
  payload_.resize(sealed.size() - kTagBytes);
  if (!session_->aes.Open(CountingNonce(counter), View(lsn), sealed, payload_.data())) return changed;
  return std::string_view(payload_);
}

absl::StatusOr<std::unique_ptr<ChangeLog>> OpenEncryptedLog(const ChangeLogOptions& options, uint64_t after_lsn,
                                                            const ChangeLog::Replay& replay) {
  auto log = std::make_unique<EncryptedLog>(options.keys);
  if (absl::Status status = log->Open(options, after_lsn, replay); !status.ok()) return status;
  return log;
}

}  // namespace mptd::storage
