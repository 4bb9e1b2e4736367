// a b + c of floats, rounded towards zero, down or up (.rz, .rm, .rp), without touching the host's rounding mode: the exact value is a double and what that
// lost, both rounded to nearest; the float next to it follows from the sign of the remainder.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace emulator {

enum class Rounding : uint8_t { nearest, zero, down, up };

// The next float, up or down.
inline float step(float x, bool up) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const bool negative = (bits & 0x80000000) != 0;
  const uint32_t zero = up ? 0x00000001 : 0x80000001;
  return std::bit_cast<float>((bits & 0x7fffffff) == 0 ? zero : bits + (negative == up ? ~0u : 1u));
}

template <Rounding R>
inline float fused_towards(float a, float b, float c) {
  const double product = static_cast<double>(a) * b, addend = c;  // 48 bits: exact
  const double sum = product + addend, back = sum - product, lost = (product - (sum - back)) + (addend - back);
  const float near = static_cast<float>(sum);
  const double difference = sum - static_cast<double>(near);  // exact, and if not zero larger than what the sum lost
  const double rest = difference != 0 ? difference : lost;
  if constexpr (R == Rounding::down) {
    if (sum == 0 && lost == 0) return std::signbit(product) || std::signbit(addend) ? -0.f : 0.f;  // x - x is -0 when rounding down
    return rest < 0 ? step(near, false) : near;
  } else if constexpr (R == Rounding::up) {
    return rest > 0 ? step(near, true) : near;
  } else {
    return sum > 0 ? (rest < 0 ? step(near, false) : near) : (rest > 0 ? step(near, true) : near);
  }
}

}  // namespace emulator
