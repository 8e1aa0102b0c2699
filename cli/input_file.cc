#include "cli/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "absl/strings/str_format.h"

namespace mptd::cli {
namespace {

constexpr size_t kBufferSize = size_t{256} << 10;

absl::Status CannotRead(std::string_view name, std::string_view why) {
  return absl::NotFoundError(absl::StrFormat("cannot read %s: %s", name, why));
}

}  // namespace

absl::StatusOr<std::unique_ptr<InputFile>> InputFile::Open(const std::string& path) {
  const bool standard_input = path == "-";
  const std::string name = standard_input ? "standard input" : path;
  const int fd = standard_input ? dup(STDIN_FILENO) : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return CannotRead(name, std::generic_category().message(errno));
  struct stat info = {};
  const bool known = fstat(fd, &info) == 0;
  if (known && S_ISDIR(info.st_mode)) {
    close(fd);
    return CannotRead(name, "it is a folder");
  }
  gzFile file = gzdopen(fd, "rb");  // passes data that is not gzip'd through as it is
  if (file == nullptr) {
    close(fd);
    return CannotRead(name, "out of memory");
  }
  gzbuffer(file, kBufferSize);
  const size_t size = known && S_ISREG(info.st_mode) ? static_cast<size_t>(info.st_size) : 0;
  return std::unique_ptr<InputFile>(new InputFile(name, file, size));
}

InputFile::InputFile(std::string name, gzFile file, size_t file_size)
    : name_(std::move(name)), file_(file), file_size_(file_size), buffer_(kBufferSize) {}

InputFile::int_type InputFile::underflow() {
  if (gptr() < egptr()) return traits_type::to_int_type(*gptr());
  Line();  // counts what is about to be overwritten
  const int got = gzread(file_.get(), buffer_.data(), static_cast<unsigned>(buffer_.size()));
  file_read_.store(static_cast<size_t>(std::max<z_off_t>(gzoffset(file_.get()), 0)), std::memory_order_relaxed);
  // A short read before an error is delivered first; the error comes back at the next call.
  if (got <= 0) {
    int error = Z_OK;
    std::string text = gzerror(file_.get(), &error);
    if (error == Z_ERRNO) text = std::generic_category().message(errno);
    if (error == Z_BUF_ERROR) text = "the gzip data is cut off";
    if (error != Z_OK && error != Z_STREAM_END) read_status_ = CannotRead(name_, text);
    return traits_type::eof();
  }
  setg(buffer_.data(), buffer_.data(), buffer_.data() + got);
  counted_to_ = buffer_.data();
  return traits_type::to_int_type(*gptr());
}

size_t InputFile::Line() {
  if (counted_to_ != nullptr && gptr() > counted_to_) {
    lines_ += static_cast<size_t>(std::count(counted_to_, static_cast<const char*>(gptr()), '\n'));
    counted_to_ = gptr();
  }
  return lines_ + 1;
}

std::optional<double> InputFile::FractionRead() const {
  if (file_size_ == 0) return std::nullopt;
  return static_cast<double>(file_read_.load(std::memory_order_relaxed)) / static_cast<double>(file_size_);
}

absl::StatusOr<std::string> InputFile::ReadAll() {
  std::string out;
  while (underflow() != traits_type::eof()) {
    out.append(gptr(), egptr());
    setg(eback(), egptr(), egptr());
  }
  if (!read_status_.ok()) return read_status_;
  return out;
}

}  // namespace mptd::cli
