// A file or standard input, plain or gzip'd, as a stream that knows its line and how much of the file it has read.
// One thread reads; FractionRead may be called from another.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <streambuf>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "zlib.h"

namespace mptd::cli {

class InputFile final : public std::streambuf {
 public:
  // "-" is standard input. NOT_FOUND or another error that names the file.
  static absl::StatusOr<std::unique_ptr<InputFile>> Open(const std::string& path);

  // "standard input" for "-".
  const std::string& name() const { return name_; }
  // The line of the next character, from 1.
  size_t Line();
  // Why reading ended early (I/O error, damaged or cut gzip data); OK at a true end.
  const absl::Status& read_status() const { return read_status_; }
  // 0 to 1; absent when the size is not known.
  std::optional<double> FractionRead() const;
  // Everything from here to the end.
  absl::StatusOr<std::string> ReadAll();

 private:
  struct Closer {
    void operator()(gzFile file) const { gzclose(file); }
  };

  InputFile(std::string name, gzFile file, size_t file_size);
  int_type underflow() override;

  const std::string name_;
  const std::unique_ptr<gzFile_s, Closer> file_;
  const size_t file_size_;  // 0 when not known
  std::atomic<size_t> file_read_{0};

  std::vector<char> buffer_;
  size_t lines_ = 0;                  // line ends before counted_to_
  const char* counted_to_ = nullptr;  // in buffer_
  absl::Status read_status_;
};

}  // namespace mptd::cli
