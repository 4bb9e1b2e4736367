// Numbers in device code: f32 <-> bf16, vectors of several elements, sums and maxima over a warp or a block, and the exponential.
// Every reduction adds in an order that only the number of threads fixes, so the same call gives the same bits in every run.
#pragma once
#include <cuda_bf16.h>

#include <cstddef>
#include <cstdint>

namespace fpdt::cuda {

using bf16 = __nv_bfloat16;

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;
inline constexpr float kLog2e = 1.44269504088896f, kLn2 = 0.693147180559945f;

template <class A, class B>
__host__ __device__ constexpr int64_t tiles_of(A n, B size) {  // how many tiles of `size` cover n
  return (static_cast<int64_t>(n) + size - 1) / size;
}

// -------------------------------------------------------------------------------------------------------------------- f32 and T
__device__ __forceinline__ float to_f32(bf16 x) { return __bfloat162float(x); }  // exact
__device__ __forceinline__ float to_f32(float x) { return x; }

template <class T>
__device__ __forceinline__ T to(float x);
template <>
__device__ __forceinline__ float to<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ bf16 to<bf16>(float x) {  // to nearest, ties to even; NaN stays NaN
  return __float2bfloat16_rn(x);
}

// Host: with_dtype(is_bf16, [&](auto t) { using T = decltype(t); ... });  with_hidden as cpu/dispatch.h: H is T or f32.
template <class Body>
void with_dtype(bool is_bf16, Body&& body) {
  is_bf16 ? body(bf16{}) : body(float{});
}
template <class Body>
void with_hidden(bool is_bf16, bool hidden_f32, Body&& body) {
  if (!is_bf16) return body(float{}, float{});
  hidden_f32 ? body(bf16{}, float{}) : body(bf16{}, bf16{});
}

// ---------------------------------------------------------------------------------------------------------------------- vectors
// N elements of T in one memory instruction of N * sizeof(T) bytes, 16 at most. The address must be a multiple of that.
template <class T, int N>
struct alignas(N * sizeof(T)) Vector {
  static_assert(N * sizeof(T) <= 16 && (N & (N - 1)) == 0, "one load or store");
  T element[N];
};
template <int N, class T>
__device__ __forceinline__ void load(const T* from, float (&x)[N]) {
  const auto v = *reinterpret_cast<const Vector<T, N>*>(from);
#pragma unroll
  for (int i = 0; i < N; i++) x[i] = to_f32(v.element[i]);
}
template <int N, class T>
__device__ __forceinline__ void store(T* out, const float (&x)[N]) {
  Vector<T, N> v;
#pragma unroll
  for (int i = 0; i < N; i++) v.element[i] = to<T>(x[i]);
  *reinterpret_cast<Vector<T, N>*>(out) = v;
}
// Host: may rows of `width` elements of T that begin at `pointer` be read N at a time? A null pointer (optional operand) may.
template <int N, class T>
bool vectors_fit(const T* pointer, int64_t width) {
  return width % N == 0 && reinterpret_cast<uintptr_t>(pointer) % (N * sizeof(T)) == 0;
}

// ------------------------------------------------------------------------------------------------------------------- reductions
// The result is in every lane. x + y of a pair is the same in both, so all lanes hold the same bits. All 32 lanes must come.
template <class X>
__device__ __forceinline__ X warp_sum(X x) {
#pragma unroll
  for (int lane = kWarp / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(kAllLanes, x, lane);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {  // a NaN is passed over, as fmaxf does
#pragma unroll
  for (int lane = kWarp / 2; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, lane));
  return x;
}

// Over the block, whose threads are a multiple of 32 and lie along x; the result is in every thread. `shared` has room for a value of each
// warp (32 at most). It may be used again at once: the first barrier of a call keeps it from the readers of the call before.
template <class X, class Reduce>
__device__ __forceinline__ X block_reduce(X x, X* shared, X nothing, Reduce warp_reduce) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  x = warp_reduce(x);
  __syncthreads();
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  return warp_reduce(lane < warps ? shared[lane] : nothing);
}
template <class X>
__device__ __forceinline__ X block_sum(X x, X* shared) {
  return block_reduce(x, shared, X{0}, [](X y) { return warp_sum(y); });
}
__device__ __forceinline__ float block_max(float x, float* shared) {
  return block_reduce(x, shared, -INFINITY, [](float y) { return warp_max(y); });
}

// ------------------------------------------------------------------------------------------------------------------ exponential
// 2^x by the special function unit: relative error 2^-22 (PTX ISA, ex2), 0 below the normal numbers. For p that is rounded to bf16 next.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// Without -use_fast_math expf and exp2f are good to 1 and 2 units in the last place over the whole range (CUDA programming guide): use those
// where results are f32.
__device__ __forceinline__ float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }  // 0 and 1 far out: expf gives infinity or 0 there

}  // namespace fpdt::cuda
