// Eight f32 lanes: the operations that attention_f32.h is written in. Include with AVX2 and FMA as the target.
#pragma once
#include <immintrin.h>

#include "dispatch.h"

namespace fpdt::cpu {
namespace {

struct Avx2 {
  using Vector = __m256;
  static constexpr int width = 8;
  static constexpr int product_vectors = 2;  // 6 x 2 accumulators, 2 columns and a broadcast: 15 of 16 registers

  INLINE static Vector zero() { return _mm256_setzero_ps(); }
  INLINE static Vector all(float x) { return _mm256_set1_ps(x); }
  INLINE static Vector load(const float* p) { return _mm256_load_ps(p); }
  INLINE static Vector load_unaligned(const float* p) { return _mm256_loadu_ps(p); }
  INLINE static Vector load_unaligned(const bf16* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
  }
  INLINE static void store(float* p, Vector x) { _mm256_store_ps(p, x); }
  INLINE static void store_unaligned(float* p, Vector x) { _mm256_storeu_ps(p, x); }
  INLINE static Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
  INLINE static Vector sub(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
  INLINE static Vector mul(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
  INLINE static Vector fmadd(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
  INLINE static Vector fmsub(Vector a, Vector b, Vector c) { return _mm256_fmsub_ps(a, b, c); }
  INLINE static Vector max(Vector a, Vector b) { return _mm256_max_ps(a, b); }  // a NaN in b stays
  INLINE static bool any_above(Vector a, Vector b) { return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)) != 0; }
  // x where from <= j < limit, else `otherwise`.
  INLINE static Vector where_within(const int* from, const int* limit, int j, Vector x, Vector otherwise) {
    const __m256i at = _mm256_set1_epi32(j);
    const __m256i before = _mm256_cmpgt_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(from)), at);
    const __m256i open = _mm256_cmpgt_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(limit)), at);
    return _mm256_blendv_ps(otherwise, x, _mm256_castsi256_ps(_mm256_andnot_si256(before, open)));
  }
  // t split into a whole number n and the rest, |rest| <= 1/2; p * 2^n follows. The clamp makes 2^n saturate to 0 and inf
  // where the integer exponent would wrap; a NaN passes both.
  INLINE static Vector clamp_exponent(Vector t) { return _mm256_min_ps(all(128), _mm256_max_ps(all(-127), t)); }
  INLINE static Vector round(Vector t) { return _mm256_round_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  INLINE static Vector scale_exponent(Vector p, Vector n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
  }
};

}  // namespace
}  // namespace fpdt::cpu
