// Keccak-f[1600] and the sponge around it, written once for every vector width, and the kernels that core/keccak.cc
// schedules. Pure functions; safe from any thread.
//
// Files compiled with -mavx2 or -mavx512f include this header, so it must not define code that the linker could share
// with a CPU without them: it holds plain types and data, and templates whose parameter `Ops` is a type in the
// including file's anonymous namespace, so that every instance belongs to that file alone. For the same reason it
// includes no header with inline functions and uses nothing from std.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mptd::keccak_internal {

inline constexpr size_t kRateBytes = 136;
inline constexpr size_t kRateWords = kRateBytes / 8;
inline constexpr uint64_t kAllWords = (uint64_t{1} << kRateWords) - 1;  // one bit a word of a block
inline constexpr uint64_t kLastWord = uint64_t{1} << (kRateWords - 1);  // the bit of the last
inline constexpr uint64_t kFinalBit = uint64_t{1} << 63;                // the padding's end, in the last word

inline constexpr uint64_t kRoundConstants[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000, 0x000000000000808b,
    0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008a, 0x0000000000000088,
    0x0000000080008009, 0x000000008000000a, 0x000000008000808b, 0x800000000000008b, 0x8000000000008089,
    0x8000000000008003, 0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008};

// One input and where its 32-byte hash goes. `data` is never null, not even for an empty input.
struct Lane {
  const uint8_t* data;
  size_t size;
  uint8_t* output;
};

// A kernel hashes `count` lanes at once, 1 <= count <= its width. The lanes may differ in their number of permutations:
// all run as long as the longest.
using Kernel = void (*)(const Lane* lanes, size_t count);

// Only to be called on a CPU that has the instructions. Where the target is not x86-64 they do not exist.
void HashLanesAvx2x4(const Lane* lanes, size_t count);
void HashLanesAvx512x4(const Lane* lanes, size_t count);
void HashLanesAvx512x8(const Lane* lanes, size_t count);

// What a type `Ops` provides. V is a vector of kLanes 64-bit words, the same word of each lane's state.
//   Xor(a, b), Xor5(a, b, c, d, e), Rol<n>(a), Chi(a, b, c) = a ^ (~b & c), Broadcast(word)
// and, except in scalar code, what it takes to absorb and squeeze:
//   LoadRow(p): kLanes consecutive words of one lane's input
//   LoadPartialRow(p, words, tail_at, tail): word i where bit i of `words` is set, `tail` where bit i of `tail_at` is
//     set, else zero. No byte of an unset word is read; bits from kLanes on are ignored.
//   Transpose(rows): turns kLanes rows, one a lane, into kLanes vectors, one a word position
//   LastWords(blocks): the vector of the blocks' last_word
//   StoreDigests(state, outputs): words 0..3 of each lane's state to the 32 bytes at outputs[lane]

// One round, from `a` to `e`: a plane of chi once its five inputs and those of the next plane are rotated. Measured and
// rejected, on Zen 4: other distances, folding d into a three-way exclusive or (five instructions less, but more
// registers), summing the next round's columns on the way; and assembly that spills no register, for 4 % at most.
template <class Ops>
[[gnu::always_inline]] inline void Round(const typename Ops::V (&a)[25], typename Ops::V (&e)[25], uint64_t constant) {
  using V = typename Ops::V;
  const V c0 = Ops::Xor5(a[0], a[5], a[10], a[15], a[20]);
  const V c1 = Ops::Xor5(a[1], a[6], a[11], a[16], a[21]);
  const V c2 = Ops::Xor5(a[2], a[7], a[12], a[17], a[22]);
  const V c3 = Ops::Xor5(a[3], a[8], a[13], a[18], a[23]);
  const V c4 = Ops::Xor5(a[4], a[9], a[14], a[19], a[24]);
  const V d0 = Ops::Xor(c4, Ops::template Rol<1>(c1));
  const V d1 = Ops::Xor(c0, Ops::template Rol<1>(c2));
  const V d2 = Ops::Xor(c1, Ops::template Rol<1>(c3));
  const V d3 = Ops::Xor(c2, Ops::template Rol<1>(c4));
  const V d4 = Ops::Xor(c3, Ops::template Rol<1>(c0));
  const V b00 = Ops::Xor(a[0], d0);
  const V b01 = Ops::template Rol<44>(Ops::Xor(a[6], d1));
  const V b02 = Ops::template Rol<43>(Ops::Xor(a[12], d2));
  const V b03 = Ops::template Rol<21>(Ops::Xor(a[18], d3));
  const V b04 = Ops::template Rol<14>(Ops::Xor(a[24], d4));
  const V b10 = Ops::template Rol<28>(Ops::Xor(a[3], d3));
  const V b11 = Ops::template Rol<20>(Ops::Xor(a[9], d4));
  const V b12 = Ops::template Rol<3>(Ops::Xor(a[10], d0));
  const V b13 = Ops::template Rol<45>(Ops::Xor(a[16], d1));
  const V b14 = Ops::template Rol<61>(Ops::Xor(a[22], d2));
  e[0] = Ops::Xor(Ops::Chi(b00, b01, b02), Ops::Broadcast(constant));
  e[1] = Ops::Chi(b01, b02, b03);
  e[2] = Ops::Chi(b02, b03, b04);
  e[3] = Ops::Chi(b03, b04, b00);
  e[4] = Ops::Chi(b04, b00, b01);
  const V b20 = Ops::template Rol<1>(Ops::Xor(a[1], d1));
  const V b21 = Ops::template Rol<6>(Ops::Xor(a[7], d2));
  const V b22 = Ops::template Rol<25>(Ops::Xor(a[13], d3));
  const V b23 = Ops::template Rol<8>(Ops::Xor(a[19], d4));
  const V b24 = Ops::template Rol<18>(Ops::Xor(a[20], d0));
  e[5] = Ops::Chi(b10, b11, b12);
  e[6] = Ops::Chi(b11, b12, b13);
  e[7] = Ops::Chi(b12, b13, b14);
  e[8] = Ops::Chi(b13, b14, b10);
  e[9] = Ops::Chi(b14, b10, b11);
  const V b30 = Ops::template Rol<27>(Ops::Xor(a[4], d4));
  const V b31 = Ops::template Rol<36>(Ops::Xor(a[5], d0));
  const V b32 = Ops::template Rol<10>(Ops::Xor(a[11], d1));
  const V b33 = Ops::template Rol<15>(Ops::Xor(a[17], d2));
  const V b34 = Ops::template Rol<56>(Ops::Xor(a[23], d3));
  e[10] = Ops::Chi(b20, b21, b22);
  e[11] = Ops::Chi(b21, b22, b23);
  e[12] = Ops::Chi(b22, b23, b24);
  e[13] = Ops::Chi(b23, b24, b20);
  e[14] = Ops::Chi(b24, b20, b21);
  const V b40 = Ops::template Rol<62>(Ops::Xor(a[2], d2));
  const V b41 = Ops::template Rol<55>(Ops::Xor(a[8], d3));
  const V b42 = Ops::template Rol<39>(Ops::Xor(a[14], d4));
  const V b43 = Ops::template Rol<41>(Ops::Xor(a[15], d0));
  const V b44 = Ops::template Rol<2>(Ops::Xor(a[21], d1));
  e[15] = Ops::Chi(b30, b31, b32);
  e[16] = Ops::Chi(b31, b32, b33);
  e[17] = Ops::Chi(b32, b33, b34);
  e[18] = Ops::Chi(b33, b34, b30);
  e[19] = Ops::Chi(b34, b30, b31);
  e[20] = Ops::Chi(b40, b41, b42);
  e[21] = Ops::Chi(b41, b42, b43);
  e[22] = Ops::Chi(b42, b43, b44);
  e[23] = Ops::Chi(b43, b44, b40);
  e[24] = Ops::Chi(b44, b40, b41);
}

template <class Ops>
[[gnu::always_inline]] inline void Permute(typename Ops::V (&a)[25]) {
  typename Ops::V e[25];
  for (int round = 0; round < 24; round += 2) {
    Round<Ops>(a, e, kRoundConstants[round]);
    Round<Ops>(e, a, kRoundConstants[round + 1]);
  }
}

// What a lane absorbs in one permutation. Word i comes from `data` where bit i of `words` is set; where bit i of
// `tail_at` is set it is `tail`, the word in which the input ends; else it is zero.
struct Block {
  const uint8_t* data;
  uint64_t words;
  uint64_t tail_at;
  uint64_t tail;
  uint64_t last_word;  // the last word as it is to be absorbed; the others are loaded in rows
};

template <class Ops>
[[gnu::always_inline]] inline uint64_t LoadWord(const uint8_t* p) {
  uint64_t word;
  __builtin_memcpy(&word, p, sizeof(word));
  return word;
}

// The last size % 8 bytes of an input as a little-endian word, with the padding's first bit behind them.
template <class Ops>
[[gnu::always_inline]] inline uint64_t TailWord(const uint8_t* data, size_t size) {
  const size_t rest = size % 8;
  uint64_t word = 0;
  if (size >= 8) {
    word = LoadWord<Ops>(data + size - 8) >> 1 >> (63 - 8 * rest);
  } else {
    for (size_t i = 0; i < rest; ++i) word |= static_cast<uint64_t>(data[i]) << (8 * i);
  }
  return word | uint64_t{1} << (8 * rest);
}

// The lane's block at `offset`. A lane that is done absorbs zeros.
template <class Ops>
[[gnu::always_inline]] inline Block BlockAt(const Lane& lane, size_t offset) {
  if (offset > lane.size) return {lane.data, 0, 0, 0, 0};
  const uint8_t* const data = lane.data + offset;
  const size_t rest = lane.size - offset;
  if (rest >= kRateBytes) return {data, kAllWords, 0, 0, LoadWord<Ops>(data + kRateBytes - 8)};
  const uint64_t tail_at = uint64_t{1} << (rest / 8);
  const uint64_t tail = TailWord<Ops>(lane.data, lane.size);
  const uint64_t last_word = tail_at == kLastWord ? tail : 0;
  return {data, tail_at - 1, tail_at, tail, last_word ^ kFinalBit};
}

// Absorbs words [at, 16) of the blocks. It recurses instead of looping so that each index is a constant from the start
// and the state stays in registers.
template <class Ops, size_t at>
[[gnu::always_inline]] inline void AbsorbRows(const Block (&blocks)[Ops::kLanes], bool all_full,
                                              typename Ops::V (&state)[25]) {
  typename Ops::V rows[Ops::kLanes];
  if (all_full) {
    for (size_t lane = 0; lane < Ops::kLanes; ++lane) rows[lane] = Ops::LoadRow(blocks[lane].data + 8 * at);
  } else {
    for (size_t lane = 0; lane < Ops::kLanes; ++lane) {
      const Block& block = blocks[lane];
      rows[lane] = Ops::LoadPartialRow(block.data + 8 * at, block.words >> at, block.tail_at >> at, block.tail);
    }
  }
  Ops::Transpose(rows);
  for (size_t i = 0; i < Ops::kLanes; ++i) state[at + i] = Ops::Xor(state[at + i], rows[i]);
  if constexpr (at + Ops::kLanes < kRateWords - 1) AbsorbRows<Ops, at + Ops::kLanes>(blocks, all_full, state);
}

template <class Ops>
[[gnu::always_inline]] inline void Absorb(const Lane (&lanes)[Ops::kLanes], size_t offset,
                                          typename Ops::V (&state)[25]) {
  Block blocks[Ops::kLanes];
  bool all_full = true;
  for (size_t lane = 0; lane < Ops::kLanes; ++lane) {
    blocks[lane] = BlockAt<Ops>(lanes[lane], offset);
    all_full &= blocks[lane].words == kAllWords;
  }
  AbsorbRows<Ops, 0>(blocks, all_full, state);
  state[kRateWords - 1] = Ops::Xor(state[kRateWords - 1], Ops::LastWords(blocks));
}

// Hands out the hashes of the lanes whose last block began at `offset`.
template <class Ops>
[[gnu::always_inline]] inline void StoreFinished(const Lane (&lanes)[Ops::kLanes], size_t offset,
                                                 const typename Ops::V (&state)[25]) {
  uint8_t unfinished[32];
  uint8_t* outputs[Ops::kLanes];
  bool any = false;
  for (size_t lane = 0; lane < Ops::kLanes; ++lane) {
    const size_t size = lanes[lane].size;
    const bool finished = offset <= size && size - offset < kRateBytes;
    outputs[lane] = finished ? lanes[lane].output : unfinished;
    any |= finished;
  }
  if (any) Ops::StoreDigests(state, outputs);
}

// The body of every Kernel. Lanes that are not used hash the first input once more, to the same place.
template <class Ops>
[[gnu::always_inline]] inline void HashLanes(const Lane* inputs, size_t count) {
  Lane lanes[Ops::kLanes];
  size_t longest = 0;
  for (size_t lane = 0; lane < Ops::kLanes; ++lane) {
    lanes[lane] = inputs[lane < count ? lane : 0];
    if (lanes[lane].size > longest) longest = lanes[lane].size;
  }
  typename Ops::V state[25];
#pragma GCC unroll 25
  for (size_t i = 0; i < 25; ++i) state[i] = Ops::Broadcast(0);
  for (size_t offset = 0; offset <= longest; offset += kRateBytes) {
    Absorb<Ops>(lanes, offset, state);
    Permute<Ops>(state);
    StoreFinished<Ops>(lanes, offset, state);
  }
}

}  // namespace mptd::keccak_internal
