// Encrypted files of RocksDB: like a plain file at any offset, and never wrong bytes.
#include "storage/encrypted_fs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "storage/aes_gcm.h"
#include "storage/key_file.h"
#include "storage/sealed_file.h"
#include "tests/storage/key_testing.h"
#include "tests/storage/test_support.h"

namespace mptd::storage {
namespace {

using rocksdb::FileOptions;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

std::string Hex(std::string_view bytes) { return absl::BytesToHexString(std::string(bytes)); }

class EncryptedFsTest : public testing::Test {
 protected:
  std::unique_ptr<rocksdb::FSWritableFile> Create(const std::string& name) {
    std::unique_ptr<rocksdb::FSWritableFile> file;
    IOStatus s = files_.NewWritableFile(dir_ / name, FileOptions(), &file, nullptr);
    EXPECT_TRUE(s.ok()) << s.ToString();
    return file;
  }
  void Write(const std::string& name, const std::string& bytes) {
    const auto file = Create(name);
    ASSERT_TRUE(file->Append(bytes, IOOptions(), nullptr).ok());
    ASSERT_TRUE(file->Sync(IOOptions(), nullptr).ok());
    ASSERT_TRUE(file->Close(IOOptions(), nullptr).ok());
  }
  // All that reading from the beginning gives, and how it ended.
  IOStatus ReadAll(const std::string& name, std::string* bytes, size_t step = 10'000) {
    std::unique_ptr<rocksdb::FSSequentialFile> file;
    bytes->clear();
    if (IOStatus s = files_.NewSequentialFile(dir_ / name, FileOptions(), &file, nullptr); !s.ok()) return s;
    std::string buffer(step, '\0');
    while (true) {
      Slice got;
      if (IOStatus s = file->Read(step, IOOptions(), &got, buffer.data(), nullptr); !s.ok()) return s;
      if (got.empty()) return IOStatus::OK();
      bytes->append(got.data(), got.size());
    }
  }
  IOStatus ReadAt(const std::string& name, uint64_t offset, size_t count, std::string* bytes) {
    std::unique_ptr<rocksdb::FSRandomAccessFile> file;
    bytes->assign(count, '\0');
    if (IOStatus s = files_.NewRandomAccessFile(dir_ / name, FileOptions(), &file, nullptr); !s.ok()) return s;
    Slice got;
    IOStatus s = file->Read(offset, count, IOOptions(), &got, bytes->data(), nullptr);
    bytes->resize(s.ok() ? got.size() : 0);
    return s;
  }

  const TempDir dir_;
  const std::shared_ptr<DataKeys> keys_ = NewKeys(dir_.path());
  EncryptedFileSystem files_{rocksdb::FileSystem::Default(), keys_};
};

// Test cases 14 and 16 of "The Galois/Counter Mode of Operation" (McGrew and Viega).
TEST(AesGcmTest, GivesThePublishedAnswers) {
  const std::array<uint8_t, kKeyBytes> zeros{};
  auto seal = AesGcm::Make(zeros, AesGcm::Use::kSeal);
  ASSERT_TRUE(seal.ok());
  std::string out(32, '\0');
  ASSERT_TRUE(seal->Seal(Nonce{}, {}, std::string(16, '\0'), out.data()));
  EXPECT_EQ(Hex(out), "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");

  const std::string key = absl::HexStringToBytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
  const std::string plain = absl::HexStringToBytes(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
      "ba637b39");
  const std::string covered = absl::HexStringToBytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const std::string nonce_bytes = absl::HexStringToBytes("cafebabefacedbaddecaf888");
  Nonce nonce;
  std::copy(nonce_bytes.begin(), nonce_bytes.end(), nonce.begin());
  std::array<uint8_t, kKeyBytes> key_bytes;
  std::copy(key.begin(), key.end(), key_bytes.begin());
  seal = AesGcm::Make(key_bytes, AesGcm::Use::kSeal);
  ASSERT_TRUE(seal.ok());
  // Twice with one context: what is set up once stays good.
  for (int i = 0; i < 2; ++i) {
    std::string sealed(plain.size() + kTagBytes, '\0');
    ASSERT_TRUE(seal->Seal(nonce, covered, plain, sealed.data()));
    EXPECT_EQ(Hex(sealed),
              "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e63"
              "93ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b");
    auto open = AesGcm::Make(key_bytes, AesGcm::Use::kOpen);
    ASSERT_TRUE(open.ok());
    std::string opened(plain.size(), '\0');
    EXPECT_TRUE(open->Open(nonce, covered, sealed, opened.data()));
    EXPECT_EQ(opened, plain);
    EXPECT_FALSE(open->Open(nonce, covered.substr(1), sealed, opened.data()));
    sealed[3] ^= 1;
    EXPECT_FALSE(open->Open(nonce, covered, sealed, opened.data()));
  }
}

// One block computed by the library's own functions from the master key on, as the formats say.
TEST_F(EncryptedFsTest, ABlockIsWhatTheFormatSays) {
  Write("one.sst", "the quick brown fox");
  const std::string bytes = ReadFile(dir_ / "one.sst");
  ASSERT_EQ(bytes.size(), 64u + 19 + 16);
  EXPECT_EQ(bytes.substr(0, 8), "MPTDENC1");
  EXPECT_EQ(Hex(bytes.substr(8, 8)), "0100000001000000");

  const absl::StatusOr<KeyFile> file = ParseKeyFile(ReadFile(dir_ / "KEYS"), "KEYS");
  ASSERT_TRUE(file.ok());
  const absl::StatusOr<SecretKey> data_key = Unwrap(MasterOf(1), *file, file->keys[0]);
  ASSERT_TRUE(data_key.ok());
  const std::string text = std::string("mptd file") + '\0' + bytes.substr(16, 32);
  std::array<uint8_t, 32> key{};
  unsigned int size = 0;
  ASSERT_NE(HMAC(EVP_sha256(), data_key->bytes().data(), 32, reinterpret_cast<const uint8_t*>(text.data()), text.size(),
                 key.data(), &size),
            nullptr);
  const std::array<uint8_t, 12> nonce{};
  std::string expected(19 + 16, '\0');
  auto* out = reinterpret_cast<uint8_t*>(expected.data());
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  ASSERT_EQ(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nullptr, key.data(), nonce.data()), 1);
  int written = 0;
  ASSERT_EQ(EVP_EncryptUpdate(context, out, &written, reinterpret_cast<const uint8_t*>("the quick brown fox"), 19), 1);
  ASSERT_EQ(EVP_EncryptFinal_ex(context, out + 19, &written), 1);
  ASSERT_EQ(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, out + 19), 1);
  EVP_CIPHER_CTX_free(context);
  EXPECT_EQ(Hex(bytes.substr(64)), Hex(expected));
}

TEST_F(EncryptedFsTest, BlocksReadAsAPlainFileAtAnyOffset) {
  Random random;
  SCOPED_TRACE(absl::StrFormat("MPTD_TEST_SEED=%d", random.seed()));
  for (const size_t size : {0u, 1u, 4095u, 4096u, 4097u, 8192u, 300'000u}) {
    const std::string plain = random.Bytes(size);
    const auto file = Create("a.sst");
    for (size_t done = 0; done < size;) {
      const size_t part = std::min<size_t>(size - done, 1 + random.Below(20'000));
      ASSERT_TRUE(file->Append(Slice(plain.data() + done, part), IOOptions(), nullptr).ok());
      if (random.OneIn(4)) {
        ASSERT_TRUE(file->Flush(IOOptions(), nullptr).ok());
      }
      done += part;
      EXPECT_EQ(file->GetFileSize(IOOptions(), nullptr), done);
    }
    ASSERT_TRUE(file->Close(IOOptions(), nullptr).ok());
    uint64_t bytes = 0;
    ASSERT_TRUE(files_.GetFileSize(dir_ / "a.sst", IOOptions(), &bytes, nullptr).ok());
    EXPECT_EQ(bytes, size);
    std::string read;
    ASSERT_TRUE(ReadAll("a.sst", &read, 1 + random.Below(9000)).ok());
    EXPECT_EQ(read, plain);
    for (int i = 0; i < 200; ++i) {
      const uint64_t offset = random.Below(size + 10);
      const size_t count = random.Below(random.OneIn(4) ? 50'000 : 5000);
      ASSERT_TRUE(ReadAt("a.sst", offset, count, &read).ok());
      ASSERT_EQ(read, offset < size ? plain.substr(offset, count) : "") << offset << " + " << count;
    }
  }
}

TEST_F(EncryptedFsTest, AStreamGrowsBySyncsOfAnyLength) {
  Random random;
  SCOPED_TRACE(absl::StrFormat("MPTD_TEST_SEED=%d", random.seed()));
  const auto file = Create("MANIFEST-000001");
  std::string plain;
  for (int i = 0; i < 60; ++i) {
    const std::string part = random.Bytes(random.OneIn(10) ? random.Below(200'000) : random.Below(100));
    ASSERT_TRUE(file->Append(part, IOOptions(), nullptr).ok());
    plain += part;
    ASSERT_TRUE(file->Sync(IOOptions(), nullptr).ok());
    std::string read;
    ASSERT_TRUE(ReadAll("MANIFEST-000001", &read, 1 + random.Below(70'000)).ok());
    ASSERT_EQ(read, plain) << "a reader sees what was synced";
  }
  std::unique_ptr<rocksdb::FSSequentialFile> reader;
  ASSERT_TRUE(files_.NewSequentialFile(dir_ / "MANIFEST-000001", FileOptions(), &reader, nullptr).ok());
  const size_t skip = random.Below(plain.size());
  ASSERT_TRUE(reader->Skip(skip).ok());
  char byte = 0;
  Slice got;
  ASSERT_TRUE(reader->Read(1, IOOptions(), &got, &byte, nullptr).ok());
  EXPECT_EQ(got.ToString(), plain.substr(skip, 1));
  uint64_t bytes = 0;
  ASSERT_TRUE(files_.GetFileSize(dir_ / "MANIFEST-000001", IOOptions(), &bytes, nullptr).ok());
  EXPECT_EQ(bytes, plain.size());
}

TEST_F(EncryptedFsTest, NoChangedBitIsEverRead) {
  for (const char* name : {"a.sst", "MANIFEST-000001"}) {
    const std::string plain(5000, 'x');
    Write(name, plain);
    const std::string good = ReadFile(dir_ / name);
    for (size_t i = 0; i < good.size(); i += i < 120 || i > good.size() - 40 ? 1 : 61) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
      WriteFile(dir_ / name, bad);
      std::string read;
      IOStatus s = ReadAll(name, &read);
      EXPECT_TRUE(s.IsCorruption()) << name << " " << i;
      EXPECT_EQ(read, plain.substr(0, read.size()));
      if (name[0] != 'a') continue;
      IOStatus at = ReadAt(name, 0, 5000, &read);
      EXPECT_TRUE(at.IsCorruption()) << i << at.ToString();
    }
  }
}

TEST_F(EncryptedFsTest, ACutFileIsAPrefixOrDamaged) {
  Random random;
  const std::string plain = random.Bytes(9000);
  for (const char* name : {"a.sst", "MANIFEST-000001"}) {
    Write(name, plain);
    const std::string good = ReadFile(dir_ / name);
    for (size_t size = 0; size < good.size(); size += size < 200 ? 1 : 37) {
      WriteFile(dir_ / name, good.substr(0, size));
      std::string read;
      IOStatus s = ReadAll(name, &read);
      EXPECT_TRUE(s.ok() || s.IsCorruption()) << s.ToString();
      ASSERT_EQ(read, plain.substr(0, read.size())) << name << " cut to " << size;
      ASSERT_LT(read.size(), plain.size());
    }
    WriteFile(dir_ / name, std::string(200, '\0'));
    std::string read;
    EXPECT_TRUE(ReadAll(name, &read).ok()) << "as a power cut may leave a new file";
    EXPECT_EQ(read, "");
  }
}

TEST_F(EncryptedFsTest, PiecesAndFilesCannotBeExchanged) {
  const std::string plain(3 * kBlockBytes, 'x');
  Write("a.sst", plain);
  Write("b.sst", plain);
  const std::string a = ReadFile(dir_ / "a.sst");
  const std::string b = ReadFile(dir_ / "b.sst");
  std::set<std::string> pieces;
  for (const std::string& file : {a, b}) {
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(pieces.insert(file.substr(kSealedHeaderBytes + i * kSealedBlockBytes, kBlockBytes)).second)
          << "equal bytes are never encrypted to equal bytes";
    }
  }
  std::string moved = a;
  moved.replace(kSealedHeaderBytes, kSealedBlockBytes, a.substr(SealedOffset(kBlockBytes), kSealedBlockBytes));
  WriteFile(dir_ / "a.sst", moved);
  std::string read;
  EXPECT_TRUE(ReadAt("a.sst", 10, 10, &read).IsCorruption());
  EXPECT_TRUE(ReadAt("a.sst", kBlockBytes, 10, &read).ok()) << "where it belongs";
  WriteFile(dir_ / "a.sst", b.substr(0, kSealedHeaderBytes) + a.substr(kSealedHeaderBytes));
  EXPECT_TRUE(ReadAt("a.sst", 10, 10, &read).IsCorruption());
  WriteFile(dir_ / "a.sst", plain);
  EXPECT_TRUE(ReadAt("a.sst", 10, 10, &read).IsCorruption()) << "no file in the clear is taken";
  EXPECT_TRUE(ReadAll("a.sst", &read).IsCorruption());
}

TEST_F(EncryptedFsTest, WhatCannotBeEncryptedIsRefused) {
  const auto file = Create("a.sst");
  ASSERT_TRUE(file->Append("some", IOOptions(), nullptr).ok());
  ASSERT_TRUE(file->Sync(IOOptions(), nullptr).ok());
  EXPECT_TRUE(file->Append("more", IOOptions(), nullptr).IsNotSupported()) << "its block would be sealed twice";
  EXPECT_FALSE(file->Sync(IOOptions(), nullptr).ok()) << "an error is final";
  std::unique_ptr<rocksdb::FSWritableFile> reopened;
  ASSERT_TRUE(files_.ReopenWritableFile(dir_ / "a.sst", FileOptions(), &reopened, nullptr).ok());
  EXPECT_TRUE(reopened->Append("more", IOOptions(), nullptr).IsNotSupported());
  EXPECT_TRUE(reopened->Sync(IOOptions(), nullptr).ok());
  std::unique_ptr<rocksdb::FSRandomRWFile> any;
  EXPECT_TRUE(files_.NewRandomRWFile(dir_ / "b", FileOptions(), &any, nullptr).IsNotSupported());
  std::shared_ptr<rocksdb::Logger> logger;
  EXPECT_TRUE(files_.NewLogger(dir_ / "LOG", IOOptions(), &logger, nullptr).IsNotSupported());
  std::unique_ptr<rocksdb::FSWritableFile> reused;
  EXPECT_TRUE(files_.ReuseWritableFile(dir_ / "c", dir_ / "a.sst", FileOptions(), &reused, nullptr).IsNotSupported());
  Write("CURRENT", "MANIFEST-000001\n");
  std::string bytes;
  EXPECT_TRUE(ReadAt("CURRENT", 0, 8, &bytes).IsNotSupported()) << "it has pieces of any length";
  FileOptions mapped;
  mapped.use_mmap_reads = true;
  std::unique_ptr<rocksdb::FSRandomAccessFile> read;
  EXPECT_TRUE(files_.NewRandomAccessFile(dir_ / "a.sst", mapped, &read, nullptr).IsNotSupported());
}

TEST_F(EncryptedFsTest, OldKeysAreFoundAndSmallFilesRenewed) {
  Write("IDENTITY", "an id");
  Write("a.sst", "rows");
  ASSERT_TRUE(keys_->Rotate(MasterOf(1), /*add_key=*/true).ok());
  Write("b.sst", "rows");
  const auto base = rocksdb::FileSystem::Default();
  EXPECT_EQ(*KeysInUse(*base, dir_.path()), (std::set<uint32_t>{1, 2}));
  std::filesystem::remove(dir_ / "a.sst");
  EXPECT_EQ(*KeysInUse(*base, dir_.path()), (std::set<uint32_t>{1, 2}));
  ASSERT_TRUE(RenewSmallFiles(base, keys_, dir_.path()).ok());
  EXPECT_EQ(*KeysInUse(*base, dir_.path()), (std::set<uint32_t>{2}));
  std::string read;
  ASSERT_TRUE(ReadAll("IDENTITY", &read).ok());
  EXPECT_EQ(read, "an id");
}

}  // namespace
}  // namespace mptd::storage
