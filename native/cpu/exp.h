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
  constexpr float kLeast = -87.3f, kMost = 88.7228317f;  // kMost: the last f32 whose e^x is one
  const float clamped = x < kLeast ? kLeast : x > kMost ? kMost : x;
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
  // Added to the exponent of p: 2^n would be no f32 for n = 128, where p < 1.
  const float e = std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(shifted) << 23));
  const float above = x + std::numeric_limits<float>::infinity();  // or NaN
  return x <= kMost ? (x < kLeast ? 0.f : e) : above;
}

}  // namespace fpdt::cpu
