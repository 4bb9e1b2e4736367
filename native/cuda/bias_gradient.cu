// The gradient of a bias: sums of the columns of dout.
#include "column_sums.cuh"

namespace fpdt::cuda {

namespace {

constexpr int kRowThreads = kThreads / kWarp;  // rows a block adds side by side

// Block (x, slice): 32 N columns of a slice. Warp w adds rows w, w + 8, ... of each group, then the warps' sums join in order of w.
template <int N, class T>
__global__ void __launch_bounds__(kThreads) sum_columns(float* partial, const T* dout, int64_t rows, int64_t columns) {
  // Written by lane and read by column = lane * N + i: each row of lanes begins 32 / N banks after the one before, so neither meets a bank twice.
  __shared__ float lines[kRowThreads][N][kWarp + kWarp / N];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * kWarp + lane) * N;
  const int64_t begin = slice_start(rows, blockIdx.y, gridDim.y), end = slice_start(rows, blockIdx.y + 1, gridDim.y);
  float total[N] = {};
  for (int64_t group = begin; group < end; group += kGroupRows * kRowThreads) {
    const int64_t group_end = end < group + kGroupRows * kRowThreads ? end : group + kGroupRows * kRowThreads;
    float sum[N] = {};
    if (column < columns) {
#pragma unroll 4
      for (int64_t row = group + warp; row < group_end; row += kRowThreads) {
        float v[N];
        read(dout + row * columns + column, v);
#pragma unroll
        for (int i = 0; i < N; i++) sum[i] += v[i];
      }
    }
#pragma unroll
    for (int i = 0; i < N; i++) total[i] += sum[i];
  }
#pragma unroll
  for (int i = 0; i < N; i++) lines[warp][i][lane] = total[i];
  __syncthreads();
  const int own = threadIdx.x;
  const int64_t out = static_cast<int64_t>(blockIdx.x) * kWarp * N + own;
  if (own >= kWarp * N || out >= columns) return;
  float sum = 0;
#pragma unroll
  for (int w = 0; w < kRowThreads; w++) sum += lines[w][own % N][own / N];
  partial[blockIdx.y * columns + out] = sum;
}

}  // namespace

void biasGradient(const KernelCall& call, const Launch& launch) {
  const int64_t rows = call.integer(0), outputs = call.integer(1);
  const ColumnSums sums(call, rows, outputs);
  with_dtype(call.integer(3), [&](auto t) {
    using T = decltype(t);
    const T* dout = call.as<const T>(1);
    constexpr int kN = kVector<T>;
    with_vectors<kN>(vectors_fit<kN>(dout, outputs), [&](auto n) {
      const dim3 blocks(static_cast<unsigned>(tiles_of(outputs, kWarp * n)), sums.slices);
      sum_columns<n><<<blocks, kThreads, 0, launch.stream>>>(sums.partial, dout, rows, outputs);
      check_launch("biasGradient");
    });
  });
  store_sums("biasGradient", call.as<float>(0), sums, 0, outputs, call.integer(2), launch);
}

}  // namespace fpdt::cuda
