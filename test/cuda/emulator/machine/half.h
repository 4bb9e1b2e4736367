// bf16 and f16 as numbers: conversions from and to float, exact and rounded to nearest even.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace emulator {

struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

inline float to_float(float x) { return x; }
inline float to_float(bf16 x) { return std::bit_cast<float>(uint32_t{x.bits} << 16); }
// Exponent moved by 112; subnormals by subtracting 2^-14 from 1.f × 2^-14; infinities and NaN get the rest of the exponent.
inline float to_float(f16 x) {
  const uint32_t magnitude = (x.bits & 0x7fffu) << 13;
  const uint32_t exponent = magnitude & 0x0f800000u;
  const uint32_t normal = magnitude + 0x38000000u + (exponent == 0x0f800000u ? 0x38000000u : 0);
  const float subnormal = std::bit_cast<float>(magnitude + 0x38800000u) - std::bit_cast<float>(0x38800000u);
  const uint32_t bits = exponent == 0 ? std::bit_cast<uint32_t>(subnormal) : normal;
  return std::bit_cast<float>(bits | (x.bits & 0x8000u) << 16);
}

template <class T>
T from_float(float x);
template <>
inline float from_float<float>(float x) { return x; }
template <>
inline bf16 from_float<bf16>(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
  return {static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : rounded >> 16)};
}
template <>
inline f16 from_float<f16>(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  const uint32_t normal = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;  // from 2^-14 to below 65520
  const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000;  // the adder rounds at 2^-24
  const uint32_t finite = magnitude < 0x38800000 ? subnormal : normal;
  const uint32_t value = magnitude > 0x7f800000 ? 0x7fff : magnitude >= 0x477ff000 ? 0x7c00 : finite;
  return {static_cast<uint16_t>(magnitude > 0x7f800000 ? value : value | sign)};
}

// A double as a float whose last bit tells of what was cut off ("round to odd"): rounding it again to 22 bits or fewer is as good as rounding once.
inline float round_to_odd(double x) {
  const float f = static_cast<float>(x);
  if (static_cast<double>(f) == x || x != x) return f;
  uint32_t bits = std::bit_cast<uint32_t>(f);
  if (std::isinf(f) || std::fabs(static_cast<double>(f)) > std::fabs(x)) bits--;  // towards zero
  return std::bit_cast<float>(bits | 1);
}
// a b + c, rounded once to T.
template <class T>
inline T fused(T a, T b, T c) {
  const double product = static_cast<double>(to_float(a)) * to_float(b), addend = to_float(c);
  double sum = product + addend;
  const double back = sum - product, lost = (product - (sum - back)) + (addend - back);  // exactly what the sum lost
  if (lost != 0 && std::isfinite(sum)) {
    uint64_t bits = std::bit_cast<uint64_t>(sum);
    if ((bits & 1) == 0) bits += (lost > 0) == (sum > 0) ? 1 : -1;
    sum = std::bit_cast<double>(bits);
  }
  return from_float<T>(round_to_odd(sum));
}

}  // namespace emulator
