// e^x in f32 without a branch or a call, so that loops of it vectorise on every path. Relative error at most 2e-7
// (test/backend/activation.test.ts); 0 below the normal numbers, infinity above, NaN stays NaN.
#pragma once
#include <bit>
#include <cstdint>
#include <limits>

#include "dispatch.h"

namespace fpdt::cpu {

INLINE inline float exp_f32(float x) {
  // x = n ln 2 + r, |r| <= ln 2 / 2; e^x = 2^n e^r. Adding 1.5 * 2^23 rounds to an integer, which stands in the low bits.
  const float clamped = x < -87.3f ? -87.3f : x > 88.3f ? 88.3f : x;
  const float shifted = clamped * 1.44269504f + 12582912.f;
  const float n = shifted - 12582912.f;
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts, the first exact in the product
  // Cephes expf: minimax for e^r = 1 + r + r^2 p(r).
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.f;
  const uint32_t power = (std::bit_cast<uint32_t>(shifted) - 0x4b400000u + 127u) << 23;
  const float e = p * std::bit_cast<float>(power);
  return x < -87.3f ? 0.f : x > 88.72f ? std::numeric_limits<float>::infinity() : e;
}

}  // namespace fpdt::cpu
