// Little-endian, length-prefixed fields in byte strings, for the records that we alone write and read.
// Values; each belongs to one thread.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "core/types.h"

namespace mptd {

class ByteWriter {
 public:
  explicit ByteWriter(Bytes& out) : out_(out) {}

  void U8(uint8_t v) { out_.push_back(static_cast<char>(v)); }
  void U16(uint16_t v) { Raw(&v, sizeof v); }
  void U32(uint32_t v) { Raw(&v, sizeof v); }
  void U64(uint64_t v) { Raw(&v, sizeof v); }
  template <size_t N>
  void Fixed(const FixedBytes<N>& v) {
    out_.append(v.view());
  }
  void Append(BytesView v) { out_.append(v); }
  void Short(BytesView v) {  // at most 255 bytes
    U8(static_cast<uint8_t>(v.size()));
    out_.append(v);
  }
  void Long(BytesView v) {
    U32(static_cast<uint32_t>(v.size()));
    out_.append(v);
  }

 private:
  static_assert(std::endian::native == std::endian::little);
  void Raw(const void* p, size_t n) { out_.append(static_cast<const char*>(p), n); }
  Bytes& out_;
};

// Every read past the end sets failed() and gives zeros; check once at the end.
class ByteReader {
 public:
  explicit ByteReader(BytesView in) : in_(in) {}

  uint8_t U8() { return Raw<uint8_t>(); }
  uint16_t U16() { return Raw<uint16_t>(); }
  uint32_t U32() { return Raw<uint32_t>(); }
  uint64_t U64() { return Raw<uint64_t>(); }
  template <typename F>
  F Fixed() {
    const BytesView v = Take(F::kSize);
    return failed_ ? F{} : F::FromView(v);
  }
  BytesView Short() { return Take(U8()); }
  BytesView Long() { return Take(U32()); }
  BytesView Take(size_t n) {
    if (failed_ || in_.size() < n) {
      failed_ = true;
      in_ = {};
      return {};
    }
    const BytesView v = in_.substr(0, n);
    in_.remove_prefix(n);
    return v;
  }
  // A count of items of at least `item_size` bytes each; fails when they cannot all be there.
  uint32_t Count(size_t item_size) {
    const uint32_t n = U32();
    if (n > in_.size() / item_size) failed_ = true;
    return failed_ ? 0 : n;
  }
  bool failed() const { return failed_; }
  bool done() const { return !failed_ && in_.empty(); }

 private:
  template <typename T>
  T Raw() {
    T v{};
    const BytesView bytes = Take(sizeof(T));
    if (!failed_) std::memcpy(&v, bytes.data(), sizeof v);
    return v;
  }
  BytesView in_;
  bool failed_ = false;
};

}  // namespace mptd
