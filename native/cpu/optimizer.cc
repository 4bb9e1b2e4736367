// What happens to gradients and parameters at the end of a step: zero, squaredNorm, clip, adamW.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../core/error.h"
#include "dispatch.h"

namespace fpdt::cpu {

namespace {

constexpr long kTile = 16384;
constexpr long kMostTiles = 1024;  // bounds squaredNorm's partial sums

struct AdamW {
  float beta1, beta2, gain1, gain2;  // gain = 1 - beta, formed in f64: 1 - 0.999f is off by 1e-5
  float eps, decay, rate, inverse_correction1, inverse_correction2, scale;
};

INLINE inline void update(const AdamW& o, float* __restrict master, float* __restrict m, float* __restrict v,
                          const float* __restrict gradient, long count, float decay) {
  for (long i = 0; i < count; i++) {
    const float g = gradient[i] * o.scale;
    m[i] = o.beta1 * m[i] + o.gain1 * g;
    v[i] = o.beta2 * v[i] + o.gain2 * (g * g);
    const float direction = m[i] * o.inverse_correction1 / (std::sqrt(v[i] * o.inverse_correction2) + o.eps);
    master[i] -= o.rate * (direction + decay * master[i]);
  }
}

INLINE inline double sum_of_squares(const float* x, long count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (long i = 0; i < count; i++) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

}  // namespace

void zero(const KernelCall& call, Pool& pool, Path) {
  const long bytes = call.integer(0);
  constexpr long kTileBytes = 1 << 18;
  pool.for_each(tiles_of(bytes, kTileBytes), [&](int, long tile) {
    std::memset(call.as<char>(0) + tile * kTileBytes, 0, std::min(kTileBytes, bytes - tile * kTileBytes));
  });
}

void squaredNorm(const KernelCall& call, Pool& pool, Path path) {
  const long count = call.integer(0);
  const bool first = call.integer(1);
  double* sum = call.as<double>(0);
  const float* gradient = call.as<const float>(1);
  const long size = std::max(kTile, tiles_of(count, kMostTiles)), tiles = tiles_of(count, size);
  FPDT_CHECK(call.workspace_bytes >= sizeof(double) * tiles, "squaredNorm workspace of " << call.workspace_bytes << " bytes");
  double* partial = static_cast<double*>(call.workspace);
  pool.for_each(tiles, [&](int, long tile) {
    const long from = tile * size;
    with_path(path, [&]() INLINE { partial[tile] = sum_of_squares(gradient + from, std::min(size, count - from)); });
  });
  double total = first ? 0 : *sum;
  for (long tile = 0; tile < tiles; tile++) total += partial[tile];
  *sum = total;
}

void clip(const KernelCall& call, Pool&, Path) {
  const double max_norm = call.number(0), sum = *call.as<const double>(1), loss = *call.as<const double>(2);
  const bool usable = std::isfinite(sum) && std::isfinite(loss);
  *call.as<float>(0) = usable ? static_cast<float>(std::min(1.0, max_norm / std::sqrt(sum))) : 0.f;
}

void adamW(const KernelCall& call, Pool& pool, Path path) {
  const long count = call.integer(0);
  const float scale = *call.as<const float>(5);
  if (scale == 0) return;  // the step was not finite: parameters and state keep their last good values
  const AdamW o{.beta1 = static_cast<float>(call.number(1)),
                .beta2 = static_cast<float>(call.number(2)),
                .gain1 = static_cast<float>(1 - call.number(1)),
                .gain2 = static_cast<float>(1 - call.number(2)),
                .eps = static_cast<float>(call.number(3)),
                .decay = static_cast<float>(call.number(4)),
                .rate = static_cast<float>(call.step[0]),
                .inverse_correction1 = static_cast<float>(1 / call.step[1]),
                .inverse_correction2 = static_cast<float>(1 / call.step[2]),
                .scale = scale};
  float *master = call.as<float>(0), *m = call.as<float>(1), *v = call.as<float>(2);
  bf16* weight = call.as<bf16>(3);  // absent when the model computes in f32: then the master is the weight
  const float* gradient = call.as<const float>(4);
  // The first element here that decays. In f64, where these whole numbers are exact and their product cannot overflow.
  const double begin = call.rank * call.number(6) + call.number(7);
  const long decayed = static_cast<long>(std::clamp(call.number(5) - begin, 0.0, static_cast<double>(count)));
  pool.for_each(tiles_of(count, kTile), [&](int, long tile) {
    const long from = tile * kTile, to = std::min(count, from + kTile), middle = std::clamp(decayed, from, to);
    with_path(path, [&]() INLINE {
      update(o, master + from, m + from, v + from, gradient + from, middle - from, 0);
      update(o, master + middle, m + middle, v + middle, gradient + middle, to - middle, o.decay);
      if (weight)
        for (long i = from; i < to; i++) weight[i] = to_bf16(master[i]);
    });
  });
}

}  // namespace fpdt::cpu
