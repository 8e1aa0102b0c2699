// Keys for tests.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>

#include "storage/data_keys.h"

namespace mptd::storage {

// A master key of 32 equal bytes.
inline SecretKey MasterOf(uint8_t byte) {
  std::array<uint8_t, kKeyBytes> bytes;
  bytes.fill(byte);
  absl::StatusOr<SecretKey> key = SecretKey::Copy(bytes);
  EXPECT_TRUE(key.ok()) << key.status();
  return *std::move(key);
}

// New data keys in a folder that is there.
inline std::shared_ptr<DataKeys> NewKeys(const std::string& dir, LogFileSystem* files = nullptr) {
  auto keys = DataKeys::Create(dir, MasterOf(1), files);
  EXPECT_TRUE(keys.ok()) << keys.status();
  return keys.ok() ? *std::move(keys) : nullptr;
}

}  // namespace mptd::storage
