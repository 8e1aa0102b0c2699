// Keccak-256 of 8 or 4 inputs at once: one instruction a rotation and one a step of chi. Four cost little more than
// half of eight, so the narrow kernel takes the remainder of a batch, and even a single input, where it beats scalar
// code.
#include "core/keccak_internal.h"

#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
// GCC 12 warns about its own intrinsics: https://gcc.gnu.org/bugzilla/show_bug.cgi?id=105593
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

namespace mptd::keccak_internal {
namespace {

// Truth tables of vpternlogq.
constexpr int kXorXor = 0x96;  // a ^ b ^ c
constexpr int kChi = 0xd2;     // a ^ (~b & c)

int64_t Signed(uint64_t word) { return static_cast<int64_t>(word); }

struct Ops8 {
  using V = __m512i;
  static constexpr size_t kLanes = 8;

  static V Xor(V a, V b) { return _mm512_xor_si512(a, b); }
  static V Xor5(V a, V b, V c, V d, V e) {
    return _mm512_ternarylogic_epi64(_mm512_ternarylogic_epi64(a, b, c, kXorXor), d, e, kXorXor);
  }
  template <int n>
  static V Rol(V a) {
    return _mm512_rol_epi64(a, n);
  }
  static V Chi(V a, V b, V c) { return _mm512_ternarylogic_epi64(a, b, c, kChi); }
  static V Broadcast(uint64_t word) { return _mm512_set1_epi64(Signed(word)); }

  static V LoadRow(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static V LoadPartialRow(const uint8_t* p, uint64_t words, uint64_t tail_at, uint64_t tail) {
    const V row = _mm512_maskz_loadu_epi64(static_cast<__mmask8>(words), p);
    return _mm512_mask_set1_epi64(row, static_cast<__mmask8>(tail_at), Signed(tail));
  }
  static void Transpose(V (&rows)[8]) {
    V pairs[8];  // [2i] has the even words of rows 2i and 2i + 1, [2i + 1] the odd ones
    for (size_t i = 0; i < 8; i += 2) {
      pairs[i] = _mm512_unpacklo_epi64(rows[i], rows[i + 1]);
      pairs[i + 1] = _mm512_unpackhi_epi64(rows[i], rows[i + 1]);
    }
    for (size_t odd = 0; odd < 2; ++odd) {
      const V low04 = _mm512_shuffle_i64x2(pairs[odd], pairs[odd + 2], 0x88);
      const V low26 = _mm512_shuffle_i64x2(pairs[odd], pairs[odd + 2], 0xdd);
      const V high04 = _mm512_shuffle_i64x2(pairs[odd + 4], pairs[odd + 6], 0x88);
      const V high26 = _mm512_shuffle_i64x2(pairs[odd + 4], pairs[odd + 6], 0xdd);
      rows[odd] = _mm512_shuffle_i64x2(low04, high04, 0x88);
      rows[odd + 2] = _mm512_shuffle_i64x2(low26, high26, 0x88);
      rows[odd + 4] = _mm512_shuffle_i64x2(low04, high04, 0xdd);
      rows[odd + 6] = _mm512_shuffle_i64x2(low26, high26, 0xdd);
    }
  }
  static V LastWords(const Block (&b)[8]) {
    return _mm512_set_epi64(Signed(b[7].last_word), Signed(b[6].last_word), Signed(b[5].last_word),
                            Signed(b[4].last_word), Signed(b[3].last_word), Signed(b[2].last_word),
                            Signed(b[1].last_word), Signed(b[0].last_word));
  }
  static void StoreDigests(const V (&state)[25], uint8_t* const (&outputs)[8]) {
    for (size_t word = 0; word < 4; word += 2) {
      const V even = _mm512_unpacklo_epi64(state[word], state[word + 1]);
      const V odd = _mm512_unpackhi_epi64(state[word], state[word + 1]);
      StoreQuarters(even, odd, outputs, 8 * word);
    }
  }

 private:
  // Two words of each lane: `even` has them for lanes 0, 2, 4, 6 and `odd` for the others.
  static void StoreQuarters(V even, V odd, uint8_t* const (&outputs)[8], size_t at) {
    StoreQuarter<0>(even, outputs[0] + at);
    StoreQuarter<1>(even, outputs[2] + at);
    StoreQuarter<2>(even, outputs[4] + at);
    StoreQuarter<3>(even, outputs[6] + at);
    StoreQuarter<0>(odd, outputs[1] + at);
    StoreQuarter<1>(odd, outputs[3] + at);
    StoreQuarter<2>(odd, outputs[5] + at);
    StoreQuarter<3>(odd, outputs[7] + at);
  }
  template <int quarter>
  static void StoreQuarter(V v, uint8_t* output) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(output), _mm512_extracti32x4_epi32(v, quarter));
  }
};

struct Ops4 {
  using V = __m256i;
  static constexpr size_t kLanes = 4;

  static V Xor(V a, V b) { return _mm256_xor_si256(a, b); }
  static V Xor5(V a, V b, V c, V d, V e) {
    return _mm256_ternarylogic_epi64(_mm256_ternarylogic_epi64(a, b, c, kXorXor), d, e, kXorXor);
  }
  template <int n>
  static V Rol(V a) {
    return _mm256_rol_epi64(a, n);
  }
  static V Chi(V a, V b, V c) { return _mm256_ternarylogic_epi64(a, b, c, kChi); }
  static V Broadcast(uint64_t word) { return _mm256_set1_epi64x(Signed(word)); }

  static V LoadRow(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const V*>(p)); }
  static V LoadPartialRow(const uint8_t* p, uint64_t words, uint64_t tail_at, uint64_t tail) {
    const V row = _mm256_maskz_loadu_epi64(static_cast<__mmask8>(words), p);
    return _mm256_mask_set1_epi64(row, static_cast<__mmask8>(tail_at), Signed(tail));
  }
  static void Transpose(V (&rows)[4]) {
    const V even01 = _mm256_unpacklo_epi64(rows[0], rows[1]);
    const V odd01 = _mm256_unpackhi_epi64(rows[0], rows[1]);
    const V even23 = _mm256_unpacklo_epi64(rows[2], rows[3]);
    const V odd23 = _mm256_unpackhi_epi64(rows[2], rows[3]);
    rows[0] = _mm256_permute2x128_si256(even01, even23, 0x20);
    rows[1] = _mm256_permute2x128_si256(odd01, odd23, 0x20);
    rows[2] = _mm256_permute2x128_si256(even01, even23, 0x31);
    rows[3] = _mm256_permute2x128_si256(odd01, odd23, 0x31);
  }
  static V LastWords(const Block (&b)[4]) {
    return _mm256_set_epi64x(Signed(b[3].last_word), Signed(b[2].last_word), Signed(b[1].last_word),
                             Signed(b[0].last_word));
  }
  static void StoreDigests(const V (&state)[25], uint8_t* const (&outputs)[4]) {
    V rows[4] = {state[0], state[1], state[2], state[3]};
    Transpose(rows);
    for (size_t lane = 0; lane < 4; ++lane) _mm256_storeu_si256(reinterpret_cast<V*>(outputs[lane]), rows[lane]);
  }
};

}  // namespace

void HashLanesAvx512x8(const Lane* lanes, size_t count) { HashLanes<Ops8>(lanes, count); }
void HashLanesAvx512x4(const Lane* lanes, size_t count) { HashLanes<Ops4>(lanes, count); }

}  // namespace mptd::keccak_internal

#endif
