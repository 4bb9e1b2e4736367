// Chunk attention with AVX-512 bf16 dot products (vdpbf16ps), head size 64 or 128: what forward and backward share.
//
// Every score product is computed TRANSPOSED: rows are kv positions, vector lanes are q positions. Row max, row sum, lse and
// delta are then plain lane-wise vectors (no horizontal reduction), and two neighbouring kv rows convert straight into the
// [pair][lane] layout vdpbf16ps wants, so no score tile is ever transposed, forward or backward.
//
// Two register tiles do all seven products: 8 kv rows x 48 q lanes (s, dP) and 6 rows x 64 columns (PV, dv, dk, dq). K, V, q
// and dO are packed tile by tile into the scratch of a thread, so the workspace does not grow with the chunk.
//
// Include with AVX-512 BF16 as the target.
#pragma once
#include "attention_items.h"
#include "attention_pack.h"
#include "simd_avx512.h"
#include "simd_exp2.h"

namespace fpdt::cpu::avx512bf16 {
namespace {

constexpr int kTile = 192;  // rows of a tile: multiple of 8 (score blocks), 6 (row groups) and kPanel
static_assert(kPanel == 48 && kTile % kPanel == 0);

// s[R][C] += A * B over Steps bf16 pairs; advances a and b. A is read as broadcast dwords (one pair each) with compile-time
// strides, B as [pair][16 * C] dwords. 8x3 and 6x4 both keep 24 accumulators: enough independent chains for two dot products
// a cycle, with 11 or 10 loads per 24 products, well below the two loads a cycle the core can do.
template <int R, int C, int RowStride, int PairStride, int Steps>
INLINE static inline void dot_step(__m512 (&s)[R][C], const uint32_t*& a, const uint32_t*& b) {
#pragma GCC unroll 4
  for (int k = 0; k < Steps; k++, a += PairStride, b += 16 * C) {
    __m512bh bb[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) bb[c] = (__m512bh)_mm512_load_si512(b + 16 * c);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const __m512bh aa = (__m512bh)_mm512_set1_epi32(a[r * RowStride]);
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) s[r][c] = _mm512_dpbf16_ps(s[r][c], aa, bb[c]);
    }
  }
}

// 6x64 block of an f32 tile with rows of D: out += A * B.
template <int D, int RowStride, int PairStride>
INLINE static inline void dot_into(float* out, const uint32_t* a, const uint32_t* b, long pairs) {
  __m512 s[6][4];
#pragma GCC unroll 8
  for (int r = 0; r < 6; r++)
#pragma GCC unroll 8
    for (int c = 0; c < 4; c++) s[r][c] = _mm512_load_ps(out + r * D + 16 * c);
  for (long k = 0; k < pairs; k++) dot_step<6, 4, RowStride, PairStride, 1>(s, a, b);
#pragma GCC unroll 8
  for (int r = 0; r < 6; r++)
#pragma GCC unroll 8
    for (int c = 0; c < 4; c++) _mm512_store_ps(out + r * D + 16 * c, s[r][c]);
}

using Block = __m512[3][8];  // 8 kv rows x 48 q lanes of scores, [vector][row]

// out = A (8 rows of D values) * one packed panel, with work(v, r) called twelve times between the products. Half of the
// instructions of an exponential run on pipes the dot products leave idle, but only when both are close enough for the
// out-of-order window to mix them: hence the weave. The accumulators must stay in a local array whose every index is constant
// after unrolling; one variable index anywhere and gcc keeps all 24 in memory, at half the speed.
template <int D, class Work>
INLINE static inline void score_block(Block& out, const uint32_t* a, const uint32_t* b, Work work) {
  __m512 s[8][3];
#pragma GCC unroll 8
  for (int r = 0; r < 8; r++)
#pragma GCC unroll 3
    for (int v = 0; v < 3; v++) s[r][v] = _mm512_setzero_ps();
  for (int v = 0; v < 3; v++)
    for (int r = 0; r < 8; r += 2) {
      dot_step<8, 3, D / 2, 1, D / 32>(s, a, b);
      work(v, r);
    }
  for (int k = 0; k < 4; k++) dot_step<8, 3, D / 2, 1, D / 32>(s, a, b);
#pragma GCC unroll 8
  for (int r = 0; r < 8; r++)
#pragma GCC unroll 3
    for (int v = 0; v < 3; v++) out[v][r] = s[r][v];
}
constexpr auto kNoWork = [](int, int) {};

// 2^t, relative error 3e-6 (the result is rounded to bf16, 4e-3). scalef saturates to 0 and inf, so no clamp is needed on
// either side; an exponent formed by integer shifts would wrap, and a lazy reference could not be trusted.
INLINE static inline __m512 exp2_bf16(__m512 t) {
  const __m512 n = _mm512_roundscale_ps(t, 0), f = _mm512_sub_ps(t, n);
  __m512 p = _mm512_set1_ps(0.0095701f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.05591786f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24024745f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69312181f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.99999926f));
  return _mm512_scalef_ps(p, n);
}

// Two neighbouring rows to bf16 pairs: dword lane i = (low[i], high[i]).
INLINE static inline __m512i pair_rows(__m512 low, __m512 high) {
  const __m512i interleave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                              5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// Lanes of vector v that see kv row j: the row of lane i sees [from[i], limit[i]).
INLINE static inline __mmask16 seen(const int* from, const int* limit, int v, long j) {
  const __m512i row = _mm512_set1_epi32((int)j);
  const __mmask16 begun = _mm512_cmple_epi32_mask(_mm512_load_si512(from + 16 * v), row);
  return _mm512_mask_cmpgt_epi32_mask(begun, _mm512_load_si512(limit + 16 * v), row);
}

// Fetches rows [r, r + n) of a tensor into L2: its rows lie far apart, which the hardware does not foresee.
template <int D>
INLINE static inline void fetch_rows(const bf16* x, long stride, long r, long n, long end) {
  for (long last = std::min(r + n, end); r < last; r++)
    for (int d = 0; d < D; d += 32) _mm_prefetch((const char*)(x + r * stride + d), _MM_HINT_T1);
}

// The same of sums, to be written.
template <int D>
INLINE static inline void fetch_sums(const float* x, long stride, long r, long n, long end) {
  for (long last = std::min(r + n, end); r < last; r++)
    for (int d = 0; d < D; d += 16) __builtin_prefetch(x + r * stride + d, 1, 2);
}

// ---- products under a mask. A pair that does not see each other has weight 0, but 0 times a NaN or an infinity is NaN: where a
// product may meet such a row of B for a pair that is not to see it, `add_seen` takes its place. B is what pack_pairs made.
template <int D>
bool rows_finite(const uint32_t* b, long from, long to) {
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  __m512i largest[2] = {};
  for (int d = 0; d < D; d += 64)
    for (long i = from / 2 * 64; i < (to + 1) / 2 * 64; i += 32)
      for (int half = 0; half < 2; half++) {
        const __m512i x = _mm512_load_si512(b + d * (kTile / 2) + i + 16 * half);
        largest[half] = _mm512_max_epu16(largest[half], _mm512_and_si512(x, exponent));
      }
  return _mm512_cmpeq_epi16_mask(_mm512_max_epu16(largest[0], largest[1]), exponent) == 0;
}
// Of kv rows [j, j + n), of which b begins with row j (even), those that not all of `view` see. Not inlined: the products around it need the registers.
template <int D>
[[gnu::noinline]] bool masked_rows_finite(const View& view, const uint32_t* b, long j, long n) {
  const auto [from, to] = view.seen_by_all(j, n);
  return rows_finite<D>(b, 0, from) && rows_finite<D>(b, to, n);
}
// out[r] += weight(r, k) * row k of B for the pairs with sees(r, k), one after the other: rare, and slow.
template <int D, class Weight, class Sees>
[[gnu::noinline]] void add_seen(float* out, long rows, const uint32_t* b, long n, Weight weight, Sees sees) {
  for (long r = 0; r < rows; r++)
    for (long k = 0; k < n; k++) {
      if (!sees(r, k)) continue;
      const __m512 w = _mm512_set1_ps(to_f32(weight(r, k)));
      for (int d = 0; d < D; d += 16) {
        const __m512i pair = _mm512_load_si512(b + d / 64 * (kTile / 2) * 64 + k / 2 * 64 + d % 64);
        const __m512i x = k % 2 ? _mm512_and_si512(pair, _mm512_set1_epi32(0xffff0000)) : _mm512_slli_epi32(pair, 16);
        _mm512_store_ps(out + r * D + d, _mm512_fmadd_ps(w, (__m512)x, _mm512_load_ps(out + r * D + d)));
      }
    }
}

}  // namespace
}  // namespace fpdt::cpu::avx512bf16
