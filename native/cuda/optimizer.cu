// What happens to gradients and parameters at the end of a step: zero, squaredNorm, clip, adamW.
#include <cmath>

#include "../core/error.h"
#include "elementwise.cuh"

namespace fpdt::cuda {

namespace {

constexpr int64_t kTile = 4096, kMostPartials = 1024;  // kernel/src/plan/cuda-workspace.ts states the same sum
constexpr int kSumThreads = 1024;

struct AdamW {
  float *master, *m, *v;
  bf16* weight;  // absent when the model computes in f32: then the master is the weight
  const float *gradient, *scale;
  int64_t decayed;             // the first element here that decays
  float beta1, beta2, gain1, gain2;  // gain = 1 - beta, formed in f64: 1 - 0.999f is off by 1e-5
  float eps, decay, rate, inverse_correction1, inverse_correction2;

  template <int N>
  __device__ void at(int64_t i) const {
    const float by = *scale;
    if (by == 0) return;  // the step was not finite: parameters and state keep their last good values
    float w[N], first[N], second[N], g[N];
    read(master + i, w);
    read(m + i, first);
    read(v + i, second);
    read(gradient + i, g);
#pragma unroll
    for (int j = 0; j < N; j++) {
      g[j] *= by;
      first[j] = beta1 * first[j] + gain1 * g[j];
      second[j] = beta2 * second[j] + gain2 * (g[j] * g[j]);
      const float direction = first[j] * inverse_correction1 / (sqrtf(second[j] * inverse_correction2) + eps);
      w[j] -= rate * (direction + (i + j >= decayed ? decay : 0.f) * w[j]);
    }
    write(master + i, w);
    write(m + i, first);
    write(v + i, second);
    if (weight) write(weight + i, w);
  }
};

// Block b adds elements b * 256 * N + ..., then those a grid further: which, depends on `count` alone.
template <int N>
__global__ void __launch_bounds__(kThreads) sum_of_squares(double* partial, const float* x, int64_t count) {
  __shared__ double sums[kWarp];
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x, threads = static_cast<int64_t>(gridDim.x) * kThreads;
  const int64_t vectors = count / N;
  double sum = 0;
#pragma unroll 4
  for (int64_t i = thread; i < vectors; i += threads) {
    float v[N];
    read(x + i * N, v);
#pragma unroll
    for (int j = 0; j < N; j++) sum += static_cast<double>(v[j]) * v[j];
  }
  if constexpr (N > 1)
    if (const int64_t i = vectors * N + thread; i < count) sum += static_cast<double>(x[i]) * x[i];
  sum = block_sum(sum, sums);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kSumThreads) add_partials(double* total, const double* partial, int64_t count, bool first) {
  __shared__ double sums[kWarp];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kSumThreads) sum += partial[i];
  sum = block_sum(sum, sums);
  if (threadIdx.x == 0) *total = (first ? 0 : *total) + sum;
}

__global__ void __launch_bounds__(1) clip_scale(float* scale, const double* sum, const double* loss, double max_norm) {
  const bool usable = isfinite(*sum) && isfinite(*loss);
  *scale = usable ? static_cast<float>(fmin(1.0, max_norm / sqrt(*sum))) : 0.f;
}

}  // namespace

void zero(const KernelCall& call, const Launch& launch) { check(cudaMemsetAsync(call.operand(0), 0, call.integer(0), launch.stream), "zero"); }

void squaredNorm(const KernelCall& call, const Launch& launch) {
  const int64_t count = call.integer(0);
  const float* gradient = call.as<const float>(1);
  const int64_t partials = std::min(kMostPartials, tiles_of(count, kTile));
  FPDT_CHECK(call.workspace_bytes >= sizeof(double) * partials, "squaredNorm workspace of " << call.workspace_bytes << " bytes");
  double* partial = static_cast<double*>(call.workspace);
  constexpr int kN = kVector<float>;
  with_vectors<kN>(vectors_fit<kN>(gradient, kN), [&](auto n) {
    sum_of_squares<n><<<static_cast<unsigned>(partials), kThreads, 0, launch.stream>>>(partial, gradient, count);
    check_launch("squaredNorm");
  });
  add_partials<<<1, kSumThreads, 0, launch.stream>>>(call.as<double>(0), partial, partials, call.integer(1));
  check_launch("squaredNorm");
}

void clip(const KernelCall& call, const Launch& launch) {
  clip_scale<<<1, 1, 0, launch.stream>>>(call.as<float>(0), call.as<const double>(1), call.as<const double>(2), call.number(0));
  check_launch("clip");
}

void adamW(const KernelCall& call, const Launch& launch) {
  const int64_t count = call.integer(0);
  // In f64, where these whole numbers are exact and their product cannot overflow.
  const double begin = call.rank * call.number(6) + call.number(7);
  const AdamW op{.master = call.as<float>(0),
                 .m = call.as<float>(1),
                 .v = call.as<float>(2),
                 .weight = call.as<bf16>(3),
                 .gradient = call.as<const float>(4),
                 .scale = call.as<const float>(5),
                 .decayed = static_cast<int64_t>(std::clamp(call.number(5) - begin, 0.0, static_cast<double>(count))),
                 .beta1 = static_cast<float>(call.number(1)),
                 .beta2 = static_cast<float>(call.number(2)),
                 .gain1 = static_cast<float>(1 - call.number(1)),
                 .gain2 = static_cast<float>(1 - call.number(2)),
                 .eps = static_cast<float>(call.number(3)),
                 .decay = static_cast<float>(call.number(4)),
                 .rate = static_cast<float>(call.step[0]),
                 .inverse_correction1 = static_cast<float>(1 / call.step[1]),
                 .inverse_correction2 = static_cast<float>(1 / call.step[2])};
  constexpr int kN = kVector<float>;
  const bool fit = vectors_fit<kN>(op.master, kN) && vectors_fit<kN>(op.m, kN) && vectors_fit<kN>(op.v, kN) && vectors_fit<kN>(op.gradient, kN) &&
                   vectors_fit<kN>(op.weight, kN);
  with_vectors<kN>(fit, [&](auto n) { launch_elementwise<n>("adamW", op, count, launch); });
}

}  // namespace fpdt::cuda
