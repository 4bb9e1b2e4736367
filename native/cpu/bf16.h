// bf16 is the upper half of an f32: widening is exact, narrowing rounds to nearest, ties to even.
#pragma once
#include <bit>
#include <cstdint>

namespace fpdt::cpu {

struct bf16 {
  uint16_t bits;
};

[[gnu::always_inline]] inline float to_f32(bf16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }
[[gnu::always_inline]] inline float to_f32(float x) { return x; }

// No branch, so that loops of it vectorise. A NaN keeps its sign and becomes quiet: rounding alone could carry it to infinity.
[[gnu::always_inline]] inline bf16 to_bf16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
  const uint32_t kept = (bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : rounded;
  return {static_cast<uint16_t>(kept >> 16)};
}

// to<T>(x): x in the compute dtype T.
template <class T> T to(float x);
template <> [[gnu::always_inline]] inline float to<float>(float x) { return x; }
template <> [[gnu::always_inline]] inline bf16 to<bf16>(float x) { return to_bf16(x); }

}  // namespace fpdt::cpu
