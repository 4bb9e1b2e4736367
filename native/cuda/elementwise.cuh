// How elementwise ops run: over a flat range, or over rows and columns where the row matters. Both take an Op with a member
// `template <int N> __device__ void at(...)` that does N neighbouring elements, so one body serves vectors and the odd rest.
#pragma once
#include <algorithm>
#include <type_traits>

#include "kernels.h"
#include "numeric.cuh"
#include "status.h"

namespace fpdt::cuda {

inline constexpr int kThreads = 256;

// N elements in one access of 4, 8 or 16 bytes; one element where N is 1. Through words, never through a struct of elements: the compiler takes
// such a struct apart where the access is conditional, and a warp then fetches every sector once for each element (test/cuda/coalescing.test.ts).
template <int kBytes>
using Words = std::conditional_t<kBytes == 16, uint4, std::conditional_t<kBytes == 8, uint2, uint1>>;
template <int N, class T>
__device__ __forceinline__ void read(const T* from, float (&x)[N]) {
  if constexpr (N == 1) {
    x[0] = to_f32(*from);
  } else {
    constexpr int kCount = N * sizeof(T) / 4;
    const auto words = *reinterpret_cast<const Words<4 * kCount>*>(from);
    unsigned w[kCount];
    w[0] = words.x;
    if constexpr (kCount > 1) w[1] = words.y;
    if constexpr (kCount > 2) w[2] = words.z, w[3] = words.w;
#pragma unroll
    for (int i = 0; i < N; i++) {
      if constexpr (sizeof(T) == 4)
        x[i] = __uint_as_float(w[i]);
      else  // bf16 is the upper half of an f32
        x[i] = __uint_as_float(i % 2 ? w[i / 2] & 0xffff0000u : w[i / 2] << 16);
    }
  }
}
template <int N, class T>
__device__ __forceinline__ void write_words(T* out, const unsigned (&w)[N]) {
  Words<4 * N> words;
  words.x = w[0];
  if constexpr (N > 1) words.y = w[1];
  if constexpr (N > 2) words.z = w[2], words.w = w[3];
  *reinterpret_cast<Words<4 * N>*>(out) = words;
}
template <int N, class T>
__device__ __forceinline__ void write(T* out, const float (&x)[N]) {
  if constexpr (N == 1) {
    *out = to<T>(x[0]);
  } else {
    unsigned w[N * sizeof(T) / 4];
#pragma unroll
    for (int i = 0; i < N; i++) {
      if constexpr (sizeof(T) == 4)
        w[i] = __float_as_uint(x[i]);
      else if (i % 2 == 0)
        w[i / 2] = __bfloat16_as_ushort(to<T>(x[i])) | static_cast<unsigned>(__bfloat16_as_ushort(to<T>(x[i + 1]))) << 16;
    }
    write_words(out, w);
  }
}

// Elements of the widest of several dtypes in 16 bytes: narrower ones are then accessed 8 bytes a thread, still whole sectors a warp.
template <class... T>
inline constexpr int kVector = 16 / std::max({sizeof(T)...});

// body(N) with N = kN where vectors fit, else 1, as a constant.
template <int kN, class Body>
void with_vectors(bool fit, Body&& body) {
  fit ? body(std::integral_constant<int, kN>{}) : body(std::integral_constant<int, 1>{});
}

inline int power_of_two_from(int64_t n, int least, int most) {
  int power = least;
  while (power < n && power < most) power *= 2;
  return power;
}

// -------------------------------------------------------------------------------------------------------------------- flat ranges
// op.at<N>(i) for elements i .. i + N - 1 of 0 .. count - 1, and op.at<1> for those that fill no vector.
template <int N, class Op>
__global__ void __launch_bounds__(kThreads) elementwise(Op op, int64_t count) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x, threads = static_cast<int64_t>(gridDim.x) * kThreads;
  const int64_t vectors = count / N;
  for (int64_t i = thread; i < vectors; i += threads) op.template at<N>(i * N);
  if constexpr (N > 1)
    if (thread < count - vectors * N) op.template at<1>(vectors * N + thread);
}
template <int N, class Op>
void launch_elementwise(const char* name, const Op& op, int64_t count, const Launch& launch) {
  constexpr int kBlocksEach = 32;  // of a multiprocessor: enough waves that the last one is short beside the others
  const int64_t blocks = std::clamp<int64_t>(tiles_of(count, static_cast<int64_t>(N) * kThreads), 1, static_cast<int64_t>(kBlocksEach) * launch.multiprocessors);
  elementwise<N><<<static_cast<unsigned>(blocks), kThreads, 0, launch.stream>>>(op, count);
  check_launch(name);
}

// --------------------------------------------------------------------------------------------------------------- rows and columns
// op.at<N>(row, column) for elements column .. column + N - 1 of each row. A block is `lanes` columns by 256 / lanes rows: no division.
template <int N, class Op>
__global__ void __launch_bounds__(kThreads) rowwise(Op op, int64_t rows, int64_t width) {
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (column >= width) return;
  const int64_t step = static_cast<int64_t>(gridDim.y) * blockDim.y;
  for (int64_t row = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows; row += step) op.template at<N>(row, column);
}
struct RowGrid {
  dim3 blocks, threads;
  RowGrid(int64_t rows, int64_t vectors, unsigned layers = 1) {
    constexpr int64_t kMost = 65535;  // blocks along y; rows beyond are taken in strides
    const int lanes = power_of_two_from(vectors, 1, kThreads);
    threads = dim3(lanes, kThreads / lanes);
    blocks = dim3(static_cast<unsigned>(tiles_of(vectors, lanes)), static_cast<unsigned>(std::min(kMost, tiles_of(rows, kThreads / lanes))), layers);
  }
};
template <int N, class Op>
void launch_rowwise(const char* name, const Op& op, int64_t rows, int64_t width, const Launch& launch) {
  const RowGrid grid(rows, tiles_of(width, N));
  rowwise<N><<<grid.blocks, grid.threads, 0, launch.stream>>>(op, rows, width);
  check_launch(name);
}

// ------------------------------------------------------------------------------------------------------------------------- faults
// The first one stays; `what` is the kernel's number (kernels.h, Fault).
__device__ inline void report(Fault* fault, unsigned what, int64_t row, int64_t value, int64_t limit) {
  if (atomicCAS(&fault->set, 0u, what) != 0) return;
  fault->row = row;
  fault->value = value;
  fault->limit = limit;
}

}  // namespace fpdt::cuda
