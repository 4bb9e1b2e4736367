// 2^x and log2 x of a float in double precision, without calls and branches, so that a loop over lanes is vectorised. Both are right to less than 2^-50
// before they are rounded to float once.
#pragma once
#include <bit>
#include <cstdint>
#include <limits>

namespace emulator {

// 2^x = 2^n e^(f ln 2), n whole and |f| <= 1/2: the Taylor series of e^y for |y| <= 0.347 ends at y^13 / 13! with a rest below 2^-57.
inline float exp2_of(float x) {
  const double bounded = x < -160.f ? -160.0 : x > 160.f ? 160.0 : static_cast<double>(x);  // beyond, the float is 0 or infinite
  constexpr double kRound = 6755399441055744.0;                                           // 1.5 × 2^52: adding it rounds to a whole number
  const double shifted = bounded + kRound;
  const int64_t n = static_cast<int64_t>(std::bit_cast<uint64_t>(shifted) - std::bit_cast<uint64_t>(kRound));
  const double y = (bounded - (shifted - kRound)) * 0.693147180559945309417;
  double p = 1.0 / 6227020800;
  p = p * y + 1.0 / 479001600;
  p = p * y + 1.0 / 39916800;
  p = p * y + 1.0 / 3628800;
  p = p * y + 1.0 / 362880;
  p = p * y + 1.0 / 40320;
  p = p * y + 1.0 / 5040;
  p = p * y + 1.0 / 720;
  p = p * y + 1.0 / 120;
  p = p * y + 1.0 / 24;
  p = p * y + 1.0 / 6;
  p = p * y + 0.5;
  p = p * y + 1;
  p = p * y + 1;
  const float result = static_cast<float>(p * std::bit_cast<double>(static_cast<uint64_t>(n + 1023) << 52));
  return x != x ? x : result;
}

// x = 2^e m with m in [√½, √2): log2 x = e + 2 atanh(s) / ln 2, s = (m - 1) / (m + 1), |s| <= 0.172: the series ends at s^21 with a rest below 2^-58.
inline float log2_of(float x) {
  const double wide = static_cast<double>(x);  // subnormal floats are normal doubles
  const uint64_t bits = std::bit_cast<uint64_t>(wide);
  const uint64_t shifted = bits - 0x3fe6a09e667f3bcdull;  // of √½
  const int64_t e = static_cast<int64_t>(shifted) >> 52;
  const double m = std::bit_cast<double>(bits - (static_cast<uint64_t>(e) << 52));
  const double s = (m - 1) / (m + 1), z = s * s;
  double p = 1.0 / 21;
  p = p * z + 1.0 / 19;
  p = p * z + 1.0 / 17;
  p = p * z + 1.0 / 15;
  p = p * z + 1.0 / 13;
  p = p * z + 1.0 / 11;
  p = p * z + 1.0 / 9;
  p = p * z + 1.0 / 7;
  p = p * z + 1.0 / 5;
  p = p * z + 1.0 / 3;
  p = p * z + 1;
  // e as a double by the same trick as above
  const double whole = std::bit_cast<double>(static_cast<uint64_t>(e) + 0x4338000000000000ull) - 6755399441055744.0;
  float result = static_cast<float>(whole + 2.88539008177792681472 * (s * p));
  result = x == 0 ? -std::numeric_limits<float>::infinity() : result;
  result = x < 0 ? std::numeric_limits<float>::quiet_NaN() : result;
  result = x == std::numeric_limits<float>::infinity() ? x : result;
  return x != x ? x : result;
}

}  // namespace emulator
