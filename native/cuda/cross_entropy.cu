// Cross entropy of rows of logits and its gradient, in place. A block has a row. It reads it twice, once for the maximum and the sum
// together (each thread turns its sum over to a new maximum when it meets one), once for the gradient: a row of 128K f32 is 512 KiB, more
// than shared memory or registers of a block hold, and the second reading comes from L2 where that holds the rows in flight.
#include <math_constants.h>

#include "../core/error.h"
#include "elementwise.cuh"

namespace fpdt::cuda {

namespace {

constexpr int kMostThreads = 512, kSumThreads = 1024;

// A row of T at the first byte of a row of f32: tile by tile, a tile being N elements a thread. What a tile writes lies before what later
// tiles are read from, and within a tile all have read before the first writes. Threads read one tile ahead, so a barrier a tile is enough.
template <int N, class T>
__device__ __forceinline__ void write_gradient(float* logits, int64_t width, float most, float scale, int64_t label, double sum, double inverse_valid) {
  T* gradient = reinterpret_cast<T*>(logits);
  const int64_t tile = static_cast<int64_t>(blockDim.x) * N, own = static_cast<int64_t>(threadIdx.x) * N;
  float ahead[N] = {};
  if (own < width) read(logits + own, ahead);
  for (int64_t from = 0; from < width; from += tile) {
    const int64_t i = from + own;
    float x[N];
#pragma unroll
    for (int j = 0; j < N; j++) x[j] = ahead[j];
    if (i + tile < width) read(logits + i + tile, ahead);
    if constexpr (sizeof(T) < sizeof(float)) __syncthreads();
    if (i < width) {
#pragma unroll
      for (int j = 0; j < N; j++) {
        const float e = expf(x[j] - most);
        // At the label 1 is subtracted, in f64: in f32 a probability near 1 would leave nothing.
        x[j] = i + j == label ? static_cast<float>((e / sum - 1) * inverse_valid) : e * scale;
      }
      write(gradient + i, x);
    }
  }
}

template <int N, class T>
__global__ void __launch_bounds__(kMostThreads) row_losses(double* losses, float* logits, const int32_t* labels, int64_t width, double inverse_valid,
                                                           Fault* fault) {
  __shared__ float maxima[kWarp];
  __shared__ double sums[kWarp];
  __shared__ float shared_scale;
  const int64_t row = blockIdx.x;
  logits += row * width;
  const int64_t label = labels[row], step = static_cast<int64_t>(blockDim.x) * N;
  if (label < 0 || label >= width) {
    if (threadIdx.x == 0) {
      losses[row] = 0;
      if (label != -1) report(fault, static_cast<unsigned>(Kernel::crossEntropy), row, label, width);
    }
    T* gradient = reinterpret_cast<T*>(logits);
    const float nothing[N] = {};
    for (int64_t i = static_cast<int64_t>(threadIdx.x) * N; i < width; i += step) write(gradient + i, nothing);
    return;
  }
  const float labelled = logits[label];  // before it is written over: barriers follow

  float most = -CUDART_INF_F, sum = 0;  // of this thread: sum of e^(x - most)
#pragma unroll 2
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * N; i < width; i += step) {
    float x[N], part = 0;
    read(logits + i, x);
    float larger = most;
#pragma unroll
    for (int j = 0; j < N; j++) larger = fmaxf(larger, x[j]);  // passes over a NaN, which the sum then meets
    const float about = larger == -CUDART_INF_F ? 0 : larger;  // nothing but -inf so far: e^-inf, not e^(-inf + inf)
#pragma unroll
    for (int j = 0; j < N; j++) part += expf(x[j] - about);
    sum = sum * expf(most - about) + part;
    most = larger;
  }
  const float row_most = block_max(most, maxima);
  const float about = row_most == -CUDART_INF_F ? 0 : row_most;
  const double row_sum = block_sum(static_cast<double>(sum * expf(most - about)), sums);
  if (threadIdx.x == 0) {
    losses[row] = (log(row_sum) + (static_cast<double>(row_most) - labelled)) * inverse_valid;
    shared_scale = static_cast<float>(inverse_valid / row_sum);  // one f64 division a row: it is slow
  }
  __syncthreads();
  write_gradient<N, T>(logits, width, row_most, shared_scale, label, row_sum, inverse_valid);
}

__global__ void __launch_bounds__(kSumThreads) add_losses(double* loss, const double* losses, int64_t rows, bool first) {
  __shared__ double sums[kWarp];
  double sum = 0;
#pragma unroll 4
  for (int64_t row = threadIdx.x; row < rows; row += kSumThreads) sum += losses[row];
  sum = block_sum(sum, sums);
  if (threadIdx.x == 0) *loss = (first ? 0 : *loss) + sum;
}

}  // namespace

void crossEntropy(const KernelCall& call, const Launch& launch) {
  const int64_t rows = call.integer(0), vocabulary = call.integer(1);
  float* logits = call.as<float>(0);
  FPDT_CHECK(call.workspace_bytes >= sizeof(double) * rows, "crossEntropy workspace of " << call.workspace_bytes << " bytes");
  double* losses = static_cast<double*>(call.workspace);
  with_dtype(call.integer(3), [&](auto t) {
    using T = decltype(t);
    constexpr int kN = kVector<float>;
    with_vectors<kN>(vectors_fit<kN>(logits, vocabulary), [&](auto n) {
      constexpr int kLeastThreads = 64;
      const int threads = power_of_two_from(tiles_of(vocabulary, 4 * n), kLeastThreads, kMostThreads);  // 4 accesses a thread, or more
      row_losses<n, T><<<static_cast<unsigned>(rows), threads, 0, launch.stream>>>(losses, logits, call.as<const int32_t>(2), vocabulary, call.step[3],
                                                                                   launch.fault);
      check_launch("crossEntropy");
    });
  });
  add_losses<<<1, kSumThreads, 0, launch.stream>>>(call.as<double>(1), losses, rows, call.integer(2));
  check_launch("crossEntropy");
}

}  // namespace fpdt::cuda
