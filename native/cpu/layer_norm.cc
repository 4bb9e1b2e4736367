// LayerNorm and its backward. A mean far larger than the spread costs no digits: it is summed in f64, and the spread about it in a
// second pass. Statistics are not kept: the backward forms them again from x.
#include <algorithm>
#include <cmath>

#include "column_sums.h"

namespace fpdt::cpu {

namespace {

constexpr long kTileRows = 16;

struct Statistics {
  float mean, rest;  // their sum is the mean: one f32 would round it
  float inverse;     // 1 / σ

  INLINE float centred(float x) const { return (x - mean) - rest; }
  INLINE float normed(float x) const { return centred(x) * inverse; }
};

template <class H>
INLINE inline Statistics statistics(const H* x, long width, double eps) {
  double sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
  for (long i = 0; i < width; i++) sum += to_f32(x[i]);
  const float mean = sum / width;
  Statistics s{mean, static_cast<float>(sum / width - mean), 0};
#pragma omp simd reduction(+ : squares)
  for (long i = 0; i < width; i++) {
    const double d = s.centred(to_f32(x[i]));
    squares += d * d;
  }
  s.inverse = 1 / std::sqrt(squares / width + eps);
  return s;
}

template <class T, class H>
INLINE inline void layer_norm_row(T* __restrict out, const H* __restrict x, const T* __restrict weight, const T* __restrict bias,
                                  long width, double eps) {
  const Statistics s = statistics(x, width, eps);
  for (long i = 0; i < width; i++) out[i] = to<T>(s.normed(to_f32(x[i])) * to_f32(weight[i]) + to_f32(bias[i]));
}

// out = n w + b with n = (x - mean) / σ, so with g = w dout: dx = (g - mean(g) - n mean(g n)) / σ, dw = dout n and db = dout.
template <class T, class H>
INLINE inline void layer_norm_row_backward(H* __restrict dx, float* __restrict dweight, float* __restrict dbias, const T* __restrict dout,
                                           const H* __restrict x, const T* __restrict weight, const H* __restrict residual, long width,
                                           double eps) {
  const Statistics s = statistics(x, width, eps);
  float sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
  for (long i = 0; i < width; i++) {
    const float g = to_f32(weight[i]) * to_f32(dout[i]);
    sum += g;
    dot += g * s.normed(to_f32(x[i]));
  }
  const float along_one = sum / width, along_n = dot / width;
  for (long i = 0; i < width; i++) {
    const float d = to_f32(dout[i]), n = s.normed(to_f32(x[i]));
    dweight[i] += d * n;
    dbias[i] += d;
    dx[i] = to<H>((residual ? to_f32(residual[i]) : 0.f) + s.inverse * (to_f32(weight[i]) * d - along_one - n * along_n));
  }
}

}  // namespace

void layerNorm(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), width = call.integer(1);
  const double eps = call.number(2);
  with_hidden(call.integer(4), call.integer(3), [&](auto t, auto h) {
    using T = decltype(t);
    using H = decltype(h);
    T* out = call.as<T>(0);
    const H* x = call.as<H>(1);
    const T *weight = call.as<T>(2), *bias = call.as<T>(3);
    pool.for_each(tiles_of(rows, kTileRows), [&](int, long tile) {
      with_path(path, [&]() INLINE {
        for (long r = tile * kTileRows; r < std::min(rows, (tile + 1) * kTileRows); r++)
          layer_norm_row(out + r * width, x + r * width, weight, bias, width, eps);
      });
    });
  });
}

void layerNormBackward(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), width = call.integer(1);
  const double eps = call.number(2);
  const bool first = call.integer(3);
  ColumnSums sums(call, pool, rows, 2 * width);  // of dweight, then of dbias
  with_hidden(call.integer(5), call.integer(4), [&](auto t, auto h) {
    using T = decltype(t);
    using H = decltype(h);
    H* dx = call.as<H>(0);
    const T *dout = call.as<T>(3), *weight = call.as<T>(5);
    const H *x = call.as<H>(4), *residual = call.as<H>(6);
    sums.add(pool, path, [=](long from, long to, float* line) INLINE {
      for (long r = from; r < to; r++)
        layer_norm_row_backward(dx + r * width, line, line + width, dout + r * width, x + r * width, weight,
                                residual ? residual + r * width : nullptr, width, eps);
    });
  });
  sums.store(pool, call.as<float>(1), 0, width, first);
  sums.store(pool, call.as<float>(2), width, width, first);
}

}  // namespace fpdt::cpu
