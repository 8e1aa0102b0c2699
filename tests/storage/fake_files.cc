#include "tests/storage/fake_files.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace mptd::storage {
namespace {

// What a slow disk takes for one operation.
constexpr std::chrono::milliseconds kDelay(5);

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

}  // namespace

class FakeFile final : public LogFile {
 public:
  FakeFile(FakeFiles& files, std::shared_ptr<FakeFiles::Inode> inode, uint64_t generation)
      : files_(files), inode_(std::move(inode)), generation_(generation) {}

  absl::Status Write(uint64_t offset, std::span<const std::string_view> parts) override {
    return files_.Write(inode_, generation_, offset, parts);
  }
  absl::Status Read(uint64_t offset, uint64_t count, std::string* bytes) const override {
    return files_.Read(inode_, generation_, offset, count, bytes);
  }
  absl::Status Sync() override { return files_.Sync(inode_, generation_); }
  absl::StatusOr<uint64_t> Size() const override {
    std::string bytes;
    if (absl::Status status = files_.Read(inode_, generation_, 0, UINT64_MAX, &bytes); !status.ok()) return status;
    return bytes.size();
  }

 private:
  FakeFiles& files_;
  const std::shared_ptr<FakeFiles::Inode> inode_;
  const uint64_t generation_;
};

void FakeFiles::Arm(uint64_t at, Fault fault, Counted counted) {
  MutexLock lock(mutex_);
  operations_ = 0;
  armed_at_ = at;
  fault_ = fault;
  counted_ = counted;
}

uint64_t FakeFiles::operations() const {
  MutexLock lock(mutex_);
  return operations_;
}

Fault FakeFiles::Next(Effect effect) {
  const Counted left_out = effect == Effect::kReads ? Counted::kNoReads : Counted::kReads;
  if (counted_ == left_out) return Crashed() ? Fault::kCrash : Fault::kNone;
  ++operations_;
  const bool lasting = fault_ == Fault::kCrash || fault_ == Fault::kNoSpaceStays;
  if (fault_ == Fault::kNone || operations_ < armed_at_ || (operations_ > armed_at_ && !lasting)) return Fault::kNone;
  if (fault_ != Fault::kDelay) return fault_;
  const uint64_t generation = generation_;
  mutex_.unlock();
  std::this_thread::sleep_for(kDelay);
  mutex_.lock();
  return generation == generation_ ? Fault::kNone : Fault::kCrash;
}

absl::Status FakeFiles::Failure(Fault fault, const std::string& path) {
  if (fault == Fault::kNoSpace || fault == Fault::kNoSpaceStays) {
    return absl::ResourceExhaustedError(path + ": No space left on device");
  }
  return absl::UnavailableError(path + ": Input/output error");
}

void FakeFiles::OnceAfterSync(std::function<void()> call) {
  MutexLock lock(mutex_);
  after_sync_ = std::move(call);
  after_sync_of_ = std::this_thread::get_id();
}

void FakeFiles::Change(NameChange change) {
  change.apply(names_);
  pending_.push_back(std::move(change));
}

uint64_t FakeFiles::UsedBytes() const {
  std::set<const Inode*> seen;
  uint64_t sum = 0;
  for (const auto& [path, inode] : names_) {
    if (seen.insert(inode.get()).second) sum += inode->content.size();
  }
  return sum;
}

void FakeFiles::SetCapacity(uint64_t bytes) {
  MutexLock lock(mutex_);
  capacity_ = bytes;
}

uint64_t FakeFiles::FreeBytes(const std::string& /*dir*/) {
  MutexLock lock(mutex_);
  if (capacity_ == UINT64_MAX) return capacity_;
  return capacity_ - std::min(capacity_, UsedBytes());
}

std::vector<std::string> FakeFiles::Paths() const {
  MutexLock lock(mutex_);
  std::vector<std::string> paths;
  for (const auto& [path, inode] : names_) paths.push_back(path);
  return paths;
}

FakeFiles::Kind FakeFiles::KindOf(const std::string& path) const {
  MutexLock lock(mutex_);
  if (names_.contains(path)) return Kind::kFile;
  return dirs_.contains(path) ? Kind::kDir : Kind::kAbsent;
}

absl::StatusOr<uint64_t> FakeFiles::SizeOf(const std::string& path) const {
  MutexLock lock(mutex_);
  const auto found = names_.find(path);
  if (found == names_.end()) return absl::NotFoundError(path);
  return found->second->content.size();
}

void FakeFiles::WriteBack(Inode& inode, bool all) {
  // Growth first: a file whose new size was lost ends where it did before.
  const size_t old = inode.durable.size();
  if (old < inode.content.size()) {
    const bool in_order = !all && growth_ == Growth::kInOrder;
    size_t size = all || random_.OneIn(2) ? inode.content.size() : old;
    if (in_order) size = old + random_.Below(size - old + 1);
    inode.durable.resize(size, '\0');
    if (in_order) inode.durable.replace(old, size - old, inode.content, old, size - old);
  }
  for (const size_t sector : inode.dirty) {
    if (!all && random_.OneIn(2)) continue;
    const size_t begin = sector * kSector;
    if (begin >= inode.durable.size()) continue;
    const size_t end = std::min({begin + kSector, inode.content.size(), inode.durable.size()});
    if (begin < end) inode.durable.replace(begin, end - begin, inode.content, begin, end - begin);
  }
}

void FakeFiles::Restart(PowerCut cut) {
  MutexLock lock(mutex_);
  ++generation_;
  fault_ = Fault::kNone;
  if (cut != PowerCut::kKeepAll) LosePower(cut);
}

void FakeFiles::LosePower(PowerCut cut) {
  const size_t kept = cut == PowerCut::kDropAll ? 0 : random_.Below(pending_.size() + 1);
  for (size_t i = 0; i < kept; ++i) {
    if (!pending_[i].removal || !random_.OneIn(3)) pending_[i].apply(durable_names_);
  }
  pending_.clear();
  names_ = durable_names_;
  for (const auto& [path, inode] : names_) {
    if (cut == PowerCut::kRandom) WriteBack(*inode, false);
    inode->content = inode->durable;
    inode->dirty.clear();
  }
}

std::string FakeFiles::Content(const std::string& path) const {
  MutexLock lock(mutex_);
  const auto found = names_.find(path);
  return found == names_.end() ? std::string() : found->second->content;
}

void FakeFiles::Overwrite(const std::string& path, const std::string& content) {
  MutexLock lock(mutex_);
  Inode& inode = *names_.at(path);
  inode.content = content;
  inode.durable = content;
  inode.dirty.clear();
}

absl::StatusOr<std::unique_ptr<LogFile>> FakeFiles::Open(const std::string& path, Mode mode) {
  MutexLock lock(mutex_);
  const Fault fault = Next(mode == Mode::kRead ? Effect::kReads : Effect::kWrites);
  if (Fails(fault) || (Full(fault) && mode == Mode::kCreate)) return Failure(fault, path);
  const auto found = names_.find(path);
  if (mode != Mode::kCreate) {
    if (found == names_.end()) return absl::NotFoundError(path);
    return std::make_unique<FakeFile>(*this, found->second, generation_);
  }
  auto inode = std::make_shared<Inode>();
  Change({ParentOf(path), [path, inode](Names& names) { names[path] = inode; }, false});
  return std::make_unique<FakeFile>(*this, inode, generation_);
}

absl::Status FakeFiles::Rename(const std::string& from, const std::string& to) {
  MutexLock lock(mutex_);
  if (const Fault fault = Next(Effect::kWrites); Fails(fault) || fault == Fault::kNoSpace) return Failure(fault, from);
  if (!names_.contains(from)) return absl::NotFoundError(from);
  Change({ParentOf(to),
          [from, to](Names& names) {
            if (!names.contains(from)) return;
            names[to] = names[from];
            names.erase(from);
          },
          false});
  return absl::OkStatus();
}

absl::Status FakeFiles::Link(const std::string& from, const std::string& to) {
  MutexLock lock(mutex_);
  if (const Fault fault = Next(Effect::kWrites); Fails(fault) || fault == Fault::kNoSpace) return Failure(fault, from);
  const auto found = names_.find(from);
  if (found == names_.end()) return absl::NotFoundError(from);
  Change({ParentOf(to), [to, inode = found->second](Names& names) { names[to] = inode; }, false});
  return absl::OkStatus();
}

absl::Status FakeFiles::Remove(const std::string& path) {
  MutexLock lock(mutex_);
  if (const Fault fault = Next(Effect::kWrites); Fails(fault) || fault == Fault::kNoSpace) return Failure(fault, path);
  if (!names_.contains(path)) return absl::NotFoundError(path);
  Change({ParentOf(path), [path](Names& names) { names.erase(path); }, true});
  return absl::OkStatus();
}

absl::Status FakeFiles::SyncDir(const std::string& dir) {
  MutexLock lock(mutex_);
  if (const Fault fault = Next(Effect::kWrites); Fails(fault)) return Failure(fault, dir);
  std::vector<NameChange> others;
  for (NameChange& change : pending_) {
    if (change.dir == dir) {
      change.apply(durable_names_);
    } else {
      others.push_back(std::move(change));
    }
  }
  pending_ = std::move(others);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FakeFiles::List(const std::string& dir) {
  MutexLock lock(mutex_);
  if (const Fault fault = Next(Effect::kReads); Fails(fault) || fault == Fault::kNoSpace) return Failure(fault, dir);
  std::vector<std::string> names;
  for (const auto& [path, inode] : names_) {
    if (ParentOf(path) == dir) names.push_back(path.substr(dir.size() + 1));
  }
  for (const std::string& path : dirs_) {
    if (ParentOf(path) == dir) names.push_back(path.substr(dir.size() + 1));
  }
  return names;
}

absl::Status FakeFiles::MakeDir(const std::string& dir) {
  MutexLock lock(mutex_);
  if (const Fault fault = Next(Effect::kWrites); Fails(fault) || fault == Fault::kNoSpace) return Failure(fault, dir);
  dirs_.insert(dir);
  return absl::OkStatus();
}

absl::Status FakeFiles::RemoveDir(const std::string& dir) {
  MutexLock lock(mutex_);
  if (const Fault fault = Next(Effect::kWrites); Fails(fault)) return Failure(fault, dir);
  return dirs_.erase(dir) > 0 ? absl::OkStatus() : absl::NotFoundError(dir);
}

absl::Status FakeFiles::Write(const std::shared_ptr<Inode>& inode, uint64_t generation, uint64_t offset,
                              std::span<const std::string_view> parts) {
  MutexLock lock(mutex_);
  if (generation != generation_) return Failure(Fault::kError, "a file of a dead process");
  const bool gone = Crashed();
  Fault fault = Next(Effect::kWrites);
  if (gone) return Failure(Fault::kCrash, "a file");
  std::string bytes;
  for (const std::string_view part : parts) bytes.append(part);
  const size_t before = inode->content.size();
  const bool grows = offset + bytes.size() > before;
  const bool over = grows && capacity_ != UINT64_MAX && UsedBytes() + offset + bytes.size() - before > capacity_;
  if (fault == Fault::kNone && over) fault = Fault::kNoSpace;
  const bool fails = Full(fault) ? grows : fault != Fault::kNone;
  if (fault == Fault::kError) bytes.clear();
  const bool torn = fault == Fault::kTornWrite;
  if (fails && !torn) bytes.resize(random_.Below(bytes.size() + 1));
  for (size_t done = 0; done < bytes.size();) {
    const size_t at = offset + done;
    const size_t count = std::min(kSector - at % kSector, bytes.size() - done);
    if (!torn || random_.OneIn(2)) {
      if (inode->content.size() < at + count) inode->content.resize(at + count, '\0');
      inode->content.replace(at, count, bytes, done, count);
      inode->dirty.insert(at / kSector);
    }
    done += count;
  }
  return fails ? Failure(fault, "a file") : absl::OkStatus();
}

absl::Status FakeFiles::Sync(const std::shared_ptr<Inode>& inode, uint64_t generation) {
  std::function<void()> call;
  {
    MutexLock lock(mutex_);
    if (generation != generation_) return Failure(Fault::kError, "a file of a dead process");
    const Fault fault = Next(Effect::kWrites);
    const bool fails = Fails(fault);
    if (fault == Fault::kCrash) return Failure(fault, "a file");  // what was to be written still may be
    WriteBack(*inode, !fails);
    inode->dirty.clear();
    if (fails) return Failure(fault, "a file");
    if (after_sync_of_ == std::this_thread::get_id()) call = std::exchange(after_sync_, nullptr);
  }
  if (call) call();
  return absl::OkStatus();
}

absl::Status FakeFiles::Read(const std::shared_ptr<Inode>& inode, uint64_t generation, uint64_t offset, uint64_t count,
                             std::string* bytes) {
  MutexLock lock(mutex_);
  if (generation != generation_) return Failure(Fault::kError, "a file of a dead process");
  if (const Fault fault = Next(Effect::kReads); Fails(fault)) return Failure(fault, "a file");
  *bytes = offset < inode->content.size() ? inode->content.substr(offset, count) : std::string();
  return absl::OkStatus();
}

}  // namespace mptd::storage
