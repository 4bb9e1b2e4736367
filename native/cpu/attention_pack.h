// bf16 rows into the layouts that vdpbf16ps reads: a dword is a pair of bf16 that one instruction multiplies and adds.
// Rows beyond `n` up to `pad` become zeros, so no product needs a tail case. Include with AVX-512 BW as the target.
#pragma once
#include <immintrin.h>

#include <cstring>

#include "attention.h"

namespace fpdt::cpu::avx512bf16 {

// [pad][D/2]: a plain copy. Rows of a (C, H, D) tensor are a power of two apart and would share a few cache sets.
static inline void pack_rows(uint32_t* out, const bf16* x, long stride, long n, long pad, int D) {
  for (long r = 0; r < n; r++) std::memcpy(out + r * D / 2, x + r * stride, D * 2);
  std::memset(out + n * D / 2, 0, (pad - n) * D * 2);
}

// [D/64][panel_pairs][64]: each dword is the pair (row 2p, row 2p + 1) of one column. Split into panels of 64 columns: one of
// 128 columns would leave half of every L1 set unused.
static inline void pack_pairs(uint32_t* out, const bf16* x, long stride, long n, long pad, int D, long panel_pairs) {
  alignas(64) uint16_t low_lanes[32], high_lanes[32];
  for (int i = 0; i < 16; i++) {
    low_lanes[2 * i] = i, low_lanes[2 * i + 1] = 32 + i, high_lanes[2 * i] = 16 + i, high_lanes[2 * i + 1] = 48 + i;
  }
  const __m512i low = _mm512_load_si512(low_lanes), high = _mm512_load_si512(high_lanes);
  for (long r = 0; r < pad; r += 2)
    for (int d = 0; d < D; d += 32) {
      const __m512i a = r < n ? _mm512_loadu_si512(x + r * stride + d) : _mm512_setzero_si512();
      const __m512i b = r + 1 < n ? _mm512_loadu_si512(x + (r + 1) * stride + d) : _mm512_setzero_si512();
      uint32_t* o = out + (d / 64) * panel_pairs * 64 + r / 2 * 64 + d % 64;
      _mm512_store_si512(o, _mm512_permutex2var_epi16(a, low, b));
      _mm512_store_si512(o + 16, _mm512_permutex2var_epi16(a, high, b));
    }
}

// [pad/kPanel][D/2][kPanel]: per panel of rows the transpose of its column pairs; pad is a multiple of kPanel.
static inline void pack_transposed(uint32_t* out, const bf16* x, long stride, long n, long pad, int D) {
  for (long r0 = 0; r0 < pad; r0 += 16)
    for (int c0 = 0; c0 < D / 2; c0 += 16) {
      __m512i t[16], u[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; i++)
        t[i] = r0 + i < n ? _mm512_loadu_si512(x + (r0 + i) * stride + 2 * c0) : _mm512_setzero_si512();
#pragma GCC unroll 16
      for (int i = 0; i < 16; i++) {  // 16x16 dwords: 32-bit, 64-bit, then two 128-bit interleaves
        const int a = i & ~1;
        u[i] = i & 1 ? _mm512_unpackhi_epi32(t[a], t[a + 1]) : _mm512_unpacklo_epi32(t[a], t[a + 1]);
      }
#pragma GCC unroll 16
      for (int i = 0; i < 16; i++) {  // t[4g + c]: column c of every 128-bit lane, rows 4g .. 4g + 3
        const int g = i & ~3, c = i & 3, s = g + (c >> 1);
        t[i] = c & 1 ? _mm512_unpackhi_epi64(u[s], u[s + 2]) : _mm512_unpacklo_epi64(u[s], u[s + 2]);
      }
#pragma GCC unroll 16
      for (int i = 0; i < 16; i++) {  // quarter 0, 1: rows 0 .. 7; 2, 3: rows 8 .. 15; the odd ones take lanes 1 and 3
        const int c = i & 3, quarter = i >> 2, g = (quarter >> 1) * 8;
        u[i] = quarter & 1 ? _mm512_shuffle_i32x4(t[g + c], t[g + 4 + c], 0xdd)
                           : _mm512_shuffle_i32x4(t[g + c], t[g + 4 + c], 0x88);
      }
      uint32_t* o = out + r0 / kPanel * (D / 2) * kPanel + r0 % kPanel + c0 * kPanel;
#pragma GCC unroll 16
      for (int i = 0; i < 16; i++) {  // column i = 4 lane + c; lanes 0 and 2 come from the even quarters
        const int c = i & 3, lane = i >> 2, quarter = lane & 1;
        const __m512i v = lane >> 1 ? _mm512_shuffle_i32x4(u[quarter * 4 + c], u[(quarter + 2) * 4 + c], 0xdd)
                                    : _mm512_shuffle_i32x4(u[quarter * 4 + c], u[(quarter + 2) * 4 + c], 0x88);
        _mm512_store_si512(o + i * kPanel, v);
      }
    }
}

}  // namespace fpdt::cpu::avx512bf16
