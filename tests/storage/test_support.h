// What the tests of storage share: a folder of their own, seeded randomness, and a model of a store.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "storage/kv_store.h"

namespace mptd::storage {

// A fresh folder, removed with all that is in it.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "mptd-storage-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

// A generator whose seed is printed, and can be given in MPTD_TEST_SEED to repeat a failure.
class Random {
 public:
  Random() : Random(FromEnvironment()) {}
  explicit Random(uint64_t seed) : seed_(seed), engine_(seed) {}

  uint64_t seed() const { return seed_; }
  // 0 <= result < below.
  uint64_t Below(uint64_t below) { return engine_() % below; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  std::string Bytes(size_t count) {
    std::string bytes(count, '\0');
    for (char& byte : bytes) byte = static_cast<char>(engine_());
    return bytes;
  }

 private:
  static uint64_t FromEnvironment() {
    const char* given = std::getenv("MPTD_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  }

  uint64_t seed_;
  std::mt19937_64 engine_;
};

using ModelTable = std::map<std::string, std::string, std::less<>>;

// What a store must hold, in the plainest form.
struct ModelStore {
  std::array<ModelTable, kTableCount> tables;

  ModelTable& operator[](Table table) { return tables[static_cast<size_t>(table)]; }
  const ModelTable& operator[](Table table) const { return tables[static_cast<size_t>(table)]; }

  void Apply(const std::vector<TableBatch>& batches) {
    for (const TableBatch& batch : batches) {
      ModelTable& rows = (*this)[batch.table];
      for (const auto& [first, last] : batch.delete_ranges) {
        if (first < last) rows.erase(rows.lower_bound(first), rows.lower_bound(last));
      }
      for (const Row& row : batch.rows) {
        if (row.value) {
          rows.insert_or_assign(std::string(row.key), std::string(*row.value));
        } else {
          rows.erase(std::string(row.key));
        }
      }
    }
  }
};

inline ModelTable ReadAll(Iterator& iterator) {
  ModelTable rows;
  std::string last;
  bool first = true;
  for (iterator.Seek(""); iterator.Valid(); iterator.Next()) {
    EXPECT_TRUE(first || last < iterator.key());
    first = false;
    last = std::string(iterator.key());
    rows.emplace(iterator.key(), iterator.value());
  }
  EXPECT_TRUE(iterator.status().ok()) << iterator.status();
  return rows;
}

inline ModelTable ReadAll(const KeyValueStore& store, Table table) { return ReadAll(*store.NewIterator(table)); }

inline absl::Status IngestAll(KeyValueStore& store, std::vector<TableBatch> batches) { return store.Ingest(batches); }

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline void WriteFile(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace mptd::storage
