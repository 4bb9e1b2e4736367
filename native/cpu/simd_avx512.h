// Sixteen f32 lanes: simd_avx2.h, twice as wide. Include with AVX-512 F, BW, DQ and VL as the target.
#pragma once
#include <immintrin.h>

#include "dispatch.h"

namespace fpdt::cpu {
namespace {

struct Avx512 {
  using Vector = __m512;
  static constexpr int width = 16;
  static constexpr int product_vectors = 4;  // 6 x 4 accumulators, 4 columns and a broadcast: 29 of 32 registers

  INLINE static Vector zero() { return _mm512_setzero_ps(); }
  INLINE static Vector all(float x) { return _mm512_set1_ps(x); }
  INLINE static Vector load(const float* p) { return _mm512_load_ps(p); }
  INLINE static Vector load_unaligned(const float* p) { return _mm512_loadu_ps(p); }
  INLINE static Vector load_unaligned(const bf16* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
  }
  INLINE static void store(float* p, Vector x) { _mm512_store_ps(p, x); }
  INLINE static void store_unaligned(float* p, Vector x) { _mm512_storeu_ps(p, x); }
  INLINE static Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
  INLINE static Vector sub(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
  INLINE static Vector mul(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
  INLINE static Vector fmadd(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
  INLINE static Vector fmsub(Vector a, Vector b, Vector c) { return _mm512_fmsub_ps(a, b, c); }
  INLINE static Vector max(Vector a, Vector b) { return _mm512_max_ps(a, b); }
  INLINE static bool any_above(Vector a, Vector b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) != 0; }
  INLINE static Vector where_within(const int* from, const int* limit, int j, Vector x, Vector otherwise) {
    const __m512i at = _mm512_set1_epi32(j);
    const __mmask16 begun = _mm512_cmple_epi32_mask(_mm512_load_si512(from), at);
    return _mm512_mask_mov_ps(otherwise, _mm512_mask_cmpgt_epi32_mask(begun, _mm512_load_si512(limit), at), x);
  }
  INLINE static Vector clamp_exponent(Vector t) { return t; }  // scalef saturates by itself
  INLINE static Vector round(Vector t) { return _mm512_roundscale_ps(t, 0); }
  INLINE static Vector scale_exponent(Vector p, Vector n) { return _mm512_scalef_ps(p, n); }
};

}  // namespace
}  // namespace fpdt::cpu
