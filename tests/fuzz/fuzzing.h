// What the libFuzzer entries share. One thread, as libFuzzer calls them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "core/types.h"

namespace mptd::fuzz {

// Ends the run; libFuzzer keeps the input.
inline void Require(bool holds) {
  if (!holds) std::abort();
}

// A copy of its own, so that reads outside of it are seen.
inline Bytes Copy(const uint8_t* data, size_t size) { return {data, data + size}; }

// Takes what an input is made of off its front; nothing is left at its end, and then all is zero.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}
  explicit Input(BytesView bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const auto out = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return out;
  }
  // 0 <= result < below <= 256.
  size_t Below(size_t below) { return Byte() % below; }
  size_t TwoBytes() {
    const size_t high = Byte();
    return high << 8 | Byte();
  }
  // Fewer at the end.
  BytesView Take(size_t count) {
    const BytesView out = rest_.substr(0, count);
    rest_.remove_prefix(out.size());
    return out;
  }
  BytesView rest() const { return rest_; }

 private:
  BytesView rest_;
};

}  // namespace mptd::fuzz
