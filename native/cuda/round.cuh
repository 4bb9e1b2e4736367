// f32 to T over a flat range.
#pragma once
#include "elementwise.cuh"

namespace fpdt::cuda {

// As native/cpu/bf16.h, bit for bit: a NaN keeps its sign and the upper bits of its number, where cvt.rn.bf16.f32 would make every NaN
// the same.
__device__ __forceinline__ unsigned short round_keeping_nan(float x) {
  const unsigned bits = __float_as_uint(x);
  const unsigned rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  const unsigned kept = (bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : rounded;
  return static_cast<unsigned short>(kept >> 16);
}

struct Round {
  bf16* out;
  const float* x;

  template <int N>
  __device__ void at(int64_t i) const {
    float v[N];
    read(x + i, v);
    if constexpr (N == 1) {
      out[i] = __ushort_as_bfloat16(round_keeping_nan(v[0]));
    } else {
      unsigned w[N / 2];
#pragma unroll
      for (int j = 0; j < N; j += 2) w[j / 2] = round_keeping_nan(v[j]) | static_cast<unsigned>(round_keeping_nan(v[j + 1])) << 16;
      write_words(out + i, w);
    }
  }
};

inline void launch_round(const char* name, bf16* out, const float* x, int64_t count, const Launch& launch) {
  constexpr int kN = kVector<float>;
  with_vectors<kN>(vectors_fit<kN>(out, kN) && vectors_fit<kN>(x, kN), [&](auto n) { launch_elementwise<n>(name, Round{out, x}, count, launch); });
}
// Where T is f32 nothing is rounded.
inline void launch_round(const char* name, float* out, const float* x, int64_t count, const Launch& launch) {
  if (out != x) check(cudaMemcpyAsync(out, x, sizeof(float) * count, cudaMemcpyDeviceToDevice, launch.stream), name);
}

}  // namespace fpdt::cuda
