// Rows of one table on their way from the thread that makes them to the one that writes them. A value.
#pragma once

#include <cstdint>
#include <vector>

#include "core/types.h"
#include "storage/kv_store.h"

namespace mptd {

struct RowPiece {
  // A key in `bytes`, and its value behind it.
  struct Place {
    uint32_t begin;
    uint32_t key_size;
    uint32_t value_size;
  };

  storage::Table table = storage::Table::kMeta;
  Bytes bytes;
  std::vector<Place> places;
  bool sorted = true;

  BytesView key(const Place& place) const { return BytesView(bytes).substr(place.begin, place.key_size); }
  BytesView value(const Place& place) const {
    return BytesView(bytes).substr(place.begin + place.key_size, place.value_size);
  }
};

}  // namespace mptd
