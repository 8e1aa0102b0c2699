// Any bytes through the RLP reader and the decoders above it. RLP is canonical: what is accepted is written back as it
// was.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "core/account.h"
#include "core/rlp.h"

namespace {

using mptd::Bytes;
using mptd::BytesView;

void Require(bool holds) {
  if (!holds) std::abort();
}

// Valid input only, at most 1024 lists deep.
Bytes Rewrite(const mptd::rlp::Item& item) {
  Bytes out;
  if (!item.is_list) {
    mptd::rlp::AppendString(out, item.payload);
    Require(out.size() == mptd::rlp::StringSize(item.payload));
    return out;
  }
  Bytes payload;
  for (BytesView rest = item.payload; !rest.empty();) payload += Rewrite(mptd::rlp::Read(rest).value());
  mptd::rlp::AppendListHeader(out, payload.size());
  Require(out.size() == mptd::rlp::HeaderSize(payload.size()));
  return out + payload;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes input(data, data + size);  // a copy of its own, so that reads outside are seen
  if (mptd::rlp::Validate(input).ok()) {
    const mptd::rlp::Item item = mptd::rlp::ReadOnly(input).value();
    Require(Rewrite(item) == input);
    if (const auto number = mptd::rlp::ToUint(item); number.ok()) {
      Bytes again;
      mptd::rlp::AppendUint(again, *number);
      Require(again == input);
    }
  }
  if (const auto account = mptd::DecodeAccountRlp(input); account.ok()) {
    Bytes again;
    mptd::AppendAccountRlp(again, *account);
    Require(again == input);
  }
  if (const auto account = mptd::DecodeSlimAccount(input); account.ok()) {
    Require(mptd::SlimAccount(*account) == input);
  }
  return 0;
}
