#include "core/keccak.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "core/hex.h"
#include "gtest/gtest.h"

namespace mptd {
namespace {

std::vector<KeccakImpl> SupportedImpls() {
  std::vector<KeccakImpl> impls;
  for (const KeccakImpl impl : {KeccakImpl::kScalar, KeccakImpl::kAvx2, KeccakImpl::kAvx512}) {
    if (KeccakImplSupported(impl)) impls.push_back(impl);
  }
  return impls;
}

Bytes Input(size_t size) {
  Bytes out(size, 0);
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>(i * 7 + size);
  return out;
}

std::vector<Hash> HashAll(KeccakImpl impl, const std::vector<BytesView>& inputs) {
  std::vector<Hash> hashes(inputs.size());
  std::vector<KeccakJob> jobs;
  for (size_t i = 0; i < inputs.size(); ++i) jobs.push_back({inputs[i], hashes[i].bytes.data()});
  Keccak256BatchWith(impl, jobs);
  return hashes;
}

// One of each implementation's batch with just this input.
void ExpectHash(BytesView input, const Hash& expected) {
  EXPECT_EQ(ToHex(Keccak256(input)), ToHex(expected)) << input.size() << " bytes";
  for (const KeccakImpl impl : SupportedImpls()) {
    EXPECT_EQ(ToHex(HashAll(impl, {input})[0]), ToHex(expected))
        << KeccakImplName(impl) << ", " << input.size() << " bytes";
  }
}

// All inputs in one batch, each compared with the scalar implementation of that input alone.
void ExpectBatchAgrees(KeccakImpl impl, const std::vector<BytesView>& inputs) {
  const std::vector<Hash> hashes = HashAll(impl, inputs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    ASSERT_EQ(ToHex(hashes[i]), ToHex(HashAll(KeccakImpl::kScalar, {inputs[i]})[0]))
        << KeccakImplName(impl) << ", input " << i << " of " << inputs.size() << ", " << inputs[i].size() << " bytes";
  }
}

uint64_t Seed() {
  const char* given = std::getenv("MPTD_TEST_SEED");  // NOLINT(concurrency-mt-unsafe): one thread
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("MPTD_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

// Random bytes, of which tests take pieces as inputs: at any alignment, and overlapping.
Bytes RandomBytes(size_t size, std::mt19937_64& random) {
  Bytes out(size, 0);
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

TEST(KeccakTest, WellKnownHashes) {
  ExpectHash("", HashFromHex("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470").value());
  ExpectHash("abc", HashFromHex("4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45").value());
  // Yellow Paper, section 4.1 and appendix D.
  ExpectHash("", kEmptyCodeHash);
  ExpectHash("\x80", kEmptyRoot);
}

// Sizes around the ends of words, vectors and blocks, the size of a full branch node (532), and long ones.
// Made with PyCryptodome 4.4.0 (`from Crypto.Hash import keccak; keccak.new(digest_bits=256)`), of the bytes
// `(i * 7 + size) % 256`.
TEST(KeccakTest, AgreesWithPyCryptodome) {
  const struct {
    size_t size;
    const char* hash;
  } kVectors[] = {
      {1, "5fe7f977e71dba2ea1a68e21057beebb9be2ac30c6410aa38d4f3fbe41dcffd2"},
      {7, "1ceda151e21262ae35aed0f8e3ad898e7ccd45ff03d25508e25e5701bc31c989"},
      {8, "66d6ac686bbe637cb6cf3e4deb8a1bb6aec0163cbbbd2c22747069455e660457"},
      {9, "c53f0080e65849581b3d6565207057d911e42e70134a6aefa8270a86ba8f0a38"},
      {20, "80e77bdbe249a4e9b50ba82cc601373e1e7d8ea815d14342c13c816a55d39833"},
      {31, "f2edf8e57f5f8acb78dac9a80285ed8d829840361fdc4d99698e7ab6685d82ea"},
      {32, "75ddc22689ac5cfab91ff4f11af7f47658c89f63dcb005c00824017d8081c7e8"},
      {33, "c6054684b0825b997510f120321a58f8488803992923926fcda6db5405ec35c9"},
      {64, "d432c602ee561dfffe10aa1a7df28751b7990fcb5ba7a66055452fd680beb44c"},
      {110, "462a911e59643fdf42e23138e2a0a2f44997b78505fccf923651827a52f4e282"},
      {127, "360624fdc6aaf93c47d59120537140e83f396adf69a00f1f5a2d0be944be6ad0"},
      {128, "341903dfc532312b44e06a38076b6339ff973201b69d4ba6bbde1158906e8413"},
      {134, "8884d266ac61dea6a59234e679bb56fd1bf116a05634f2e8de1b7224302bc122"},
      {135, "8ab570337c9a3a773c3605160ca58e3f0546d92d217c908669cc4f35a31933bc"},
      {136, "16b30a6be318a7acbcba7a2194789f628abf68dfbbf55a4d840f22f6a4d29efd"},
      {137, "6a7e8293441d51be41bf4994995b35981f90c07866c7fd0465f405e2b7a8f8dd"},
      {143, "44155d1cbe1b42fdc2d7da57823137461f4589a7e86cfe5e429c55cb55a258ae"},
      {144, "fe052a68a78768cd738644a394394460e6bc3dfa6fbf82581c63531d1bcda736"},
      {271, "bb02bca6be57f42d131406260c6f1a81fd9922af8bd1c96d78f454b19ae10add"},
      {272, "443464c0c3ac8036d14a6f8647fc93b592d514adefbe88683cbbda3b4b2c4553"},
      {273, "73d5960773e36742ead7c872d84d535f35e75b9517ccb1023491276013f88890"},
      {407, "8d761ff83dde45e5088e430b4f011a7453de7a7b38036650ea43cf3620d9b294"},
      {408, "199ffed10ac2e6d847e422e9f64113fd5384a21320d7c6be84f82defd3863007"},
      {409, "75f85e42c02aa11926f03992928953060a37a8c5fc0f0370ab0dc8047752703b"},
      {532, "da25fc5fe170cc693eabbbbbcad27cb03fbaa90fae8f0d642e1bc57412f86895"},
      {543, "c08921c8686320b160eb7353e2e0535c0bedac7238c670ea5c14859e6fc9f669"},
      {544, "4efb209b06e4e099a629a9c0f6272750615569aaf0c90fc19814218272f3d0aa"},
      {545, "8e6de1903b5a1c81f88175d92e496c49561414b4995cce624770c0009fa43982"},
      {1088, "5876f6178197fdbd73b23fba2271f59f2beb7d3eb3166bedc53619af41e9978a"},
      {4096, "6e8e59a43f8d57c8c233464330056609579a3cfeb41fc1b5d83e58ad787c8246"},
      {100000, "bbf22db1d505833f729b37526468c3713691dad1dec026f8593fa456d8cdc49d"},
  };
  for (const auto& v : kVectors) ExpectHash(Input(v.size), HashFromHex(v.hash).value());
}

TEST(KeccakTest, BlocksCountsThePadding) {
  EXPECT_EQ(KeccakBlocks(0), 1);
  EXPECT_EQ(KeccakBlocks(135), 1);
  EXPECT_EQ(KeccakBlocks(136), 2);
  EXPECT_EQ(KeccakBlocks(271), 2);
  EXPECT_EQ(KeccakBlocks(272), 3);
}

TEST(KeccakTest, EverySizeInOneBatch) {
  std::mt19937_64 random(Seed());
  const Bytes bytes = RandomBytes(4000, random);
  std::vector<BytesView> inputs;
  for (size_t size = 0; size <= 1200; ++size) inputs.push_back(BytesView(bytes).substr(random() % 2800, size));
  for (const KeccakImpl impl : SupportedImpls()) {
    ExpectBatchAgrees(impl, inputs);
    std::shuffle(inputs.begin(), inputs.end(), random);
    ExpectBatchAgrees(impl, inputs);
  }
}

TEST(KeccakTest, EverySizeInAllLanes) {
  std::mt19937_64 random(Seed());
  const Bytes bytes = RandomBytes(4000, random);
  for (size_t size = 0; size <= 600; ++size) {
    std::vector<BytesView> inputs;
    for (size_t lane = 0; lane < 12; ++lane) inputs.push_back(BytesView(bytes).substr(random() % 3400, size));
    for (const KeccakImpl impl : SupportedImpls()) ExpectBatchAgrees(impl, inputs);
  }
}

TEST(KeccakTest, MixedSizesInBatchesOfAnyNumber) {
  std::mt19937_64 random(Seed());
  const Bytes bytes = RandomBytes(20'000, random);
  const auto any = [&] { return random() % 1200; };
  const auto leaf_or_branch = [&] { return random() % 3 == 0 ? 100 + random() % 20 : 83 + 32 * (random() % 15); };
  const auto mostly_short = [&] { return random() % 10 == 0 ? random() % 15'000 : random() % 136; };
  for (size_t count = 0; count <= 40; ++count) {
    for (int round = 0; round < 9; ++round) {
      std::vector<BytesView> inputs;
      for (size_t i = 0; i < count; ++i) {
        const size_t size = round % 3 == 0 ? any() : round % 3 == 1 ? leaf_or_branch() : mostly_short();
        inputs.push_back(BytesView(bytes).substr(random() % 5000, size));
      }
      for (const KeccakImpl impl : SupportedImpls()) ExpectBatchAgrees(impl, inputs);
    }
  }
}

// More permutations than there are classes in the counting sort.
TEST(KeccakTest, LongInputsAmongShortOnes) {
  std::mt19937_64 random(Seed());
  const Bytes bytes = RandomBytes(1 << 20, random);
  const BytesView all = bytes;
  const std::vector<BytesView> inputs = {all.substr(0, 100),   all,
                                         all.substr(0, 1500),  all.substr(1, 1087),
                                         all.substr(7, 1088),  all.substr(0, 0),
                                         all.substr(3, 70000), all.substr(5, 1500),
                                         all.substr(9, 1224),  all.substr(0, 532)};
  for (const KeccakImpl impl : SupportedImpls()) ExpectBatchAgrees(impl, inputs);
}

TEST(KeccakTest, TheSameInputTwice) {
  const Bytes input = Input(300);
  for (const KeccakImpl impl : SupportedImpls()) ExpectBatchAgrees(impl, std::vector<BytesView>(11, input));
}

TEST(KeccakTest, BatchUsesTheBestImplementation) {
  ASSERT_TRUE(KeccakImplSupported(BestKeccakImpl()));
  EXPECT_TRUE(KeccakImplSupported(KeccakImpl::kScalar));
  EXPECT_EQ(BestKeccakImpl(), SupportedImpls().back());
  const Bytes first = Input(110);
  const Bytes second = Input(532);
  Hash hashes[2];
  KeccakJob jobs[2] = {{first, hashes[0].bytes.data()}, {second, hashes[1].bytes.data()}};
  Keccak256Batch(jobs);
  EXPECT_EQ(hashes[0], Keccak256(first));
  EXPECT_EQ(hashes[1], Keccak256(second));
  Keccak256Batch({});
}

TEST(KeccakTest, ImplementationsHaveNames) {
  EXPECT_EQ(KeccakImplName(KeccakImpl::kScalar), "scalar");
  EXPECT_EQ(KeccakImplName(KeccakImpl::kAvx2), "avx2");
  EXPECT_EQ(KeccakImplName(KeccakImpl::kAvx512), "avx512");
}

TEST(KeccakTest, WritesThirtyTwoBytesAtAnyAddress) {
  constexpr size_t kStride = 37;
  constexpr char kUntouched = 0x5a;
  for (const KeccakImpl impl : SupportedImpls()) {
    for (size_t count = 1; count <= 20; ++count) {
      Bytes outputs(kStride * count + 1, kUntouched);
      std::vector<Bytes> inputs;
      for (size_t i = 0; i < count; ++i) inputs.push_back(Input(i * 29));
      std::vector<KeccakJob> jobs;
      for (size_t i = 0; i < count; ++i) {
        jobs.push_back({inputs[i], reinterpret_cast<uint8_t*>(outputs.data()) + 1 + i * kStride});
      }
      Keccak256BatchWith(impl, jobs);
      EXPECT_EQ(outputs[0], kUntouched);
      for (size_t i = 0; i < count; ++i) {
        const BytesView output = BytesView(outputs).substr(1 + i * kStride, kStride);
        EXPECT_EQ(ToHex(output.substr(0, 32)), ToHex(Keccak256(inputs[i])));
        EXPECT_EQ(output.substr(32), Bytes(kStride - 32, kUntouched));
      }
    }
  }
}

TEST(KeccakTest, ReordersJobsButKeepsThem) {
  std::mt19937_64 random(Seed());
  const Bytes bytes = Input(3000);
  for (const KeccakImpl impl : SupportedImpls()) {
    std::vector<Hash> hashes(100);
    std::vector<KeccakJob> jobs;
    jobs.reserve(hashes.size());
    for (Hash& hash : hashes) jobs.push_back({BytesView(bytes).substr(0, random() % 3000), hash.bytes.data()});
    std::vector<KeccakJob> after = jobs;
    Keccak256BatchWith(impl, after);
    const auto by_output = [](const KeccakJob& a, const KeccakJob& b) { return a.output < b.output; };
    std::sort(after.begin(), after.end(), by_output);
    for (size_t i = 0; i < jobs.size(); ++i) {
      EXPECT_EQ(after[i].output, jobs[i].output);
      EXPECT_EQ(after[i].input.size(), jobs[i].input.size());
    }
  }
}

// A readable page between two that are not, so that a read outside of an input is a crash. (Sanitizers do not see what
// vector instructions read.)
class GuardedPage {
 public:
  GuardedPage() : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    void* const p = mmap(nullptr, 3 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) std::abort();
    base_ = static_cast<char*>(p);
    if (mprotect(base_ + page_, page_, PROT_READ | PROT_WRITE) != 0) std::abort();
    for (size_t i = 0; i < page_; ++i) base_[page_ + i] = static_cast<char>(i * 31);
  }
  GuardedPage(const GuardedPage&) = delete;
  GuardedPage& operator=(const GuardedPage&) = delete;
  ~GuardedPage() { munmap(base_, 3 * page_); }

  BytesView First(size_t size) const { return {base_ + page_, size}; }
  BytesView Last(size_t size) const { return {base_ + 2 * page_ - size, size}; }

 private:
  size_t page_;
  char* base_ = nullptr;
};

TEST(KeccakTest, ReadsNothingOutsideOfItsInputs) {
  const GuardedPage page;
  for (const KeccakImpl impl : SupportedImpls()) {
    for (size_t size = 0; size <= 700; ++size) {
      ExpectBatchAgrees(impl, std::vector<BytesView>(8, page.Last(size)));
      ExpectBatchAgrees(impl,
                        {page.First(size), page.Last(size), page.Last(size / 2), page.First(size / 3), BytesView()});
    }
  }
}

}  // namespace
}  // namespace mptd
