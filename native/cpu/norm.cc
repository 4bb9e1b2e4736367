// RMSNorm and its backward. Statistics are f32 and not kept: the backward forms them again from x.
#include <algorithm>
#include <cmath>

#include "column_sums.h"

namespace fpdt::cpu {

namespace {

constexpr long kTileRows = 16;

template <class H>
INLINE inline float sum_of_squares(const H* x, long width) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (long i = 0; i < width; i++) sum += to_f32(x[i]) * to_f32(x[i]);
  return sum;
}

template <class T, class H>
INLINE inline void norm_row(T* __restrict out, const H* __restrict x, const T* __restrict weight, long width, float eps) {
  const float inverse = 1 / std::sqrt(sum_of_squares(x, width) / width + eps);
  for (long i = 0; i < width; i++) out[i] = to<T>(to_f32(x[i]) * inverse * to_f32(weight[i]));
}

// out = x r w with r = (mean(x²) + eps)^-1/2, so dx = r w dout - x r³ mean(w dout x) and dw = dout x r.
template <class T, class H>
INLINE inline void norm_row_backward(H* __restrict dx, float* __restrict dweight, const T* __restrict dout,
                                     const H* __restrict x, const T* __restrict weight, const H* __restrict residual, long width, float eps) {
  const float inverse = 1 / std::sqrt(sum_of_squares(x, width) / width + eps);
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (long i = 0; i < width; i++) dot += to_f32(weight[i]) * to_f32(dout[i]) * to_f32(x[i]);
  const float along_x = inverse * inverse * inverse * (dot / width);
  for (long i = 0; i < width; i++) {
    const float g = to_f32(dout[i]), v = to_f32(x[i]);
    dweight[i] += g * v * inverse;
    dx[i] = to<H>((residual ? to_f32(residual[i]) : 0.f) + inverse * to_f32(weight[i]) * g - v * along_x);
  }
}

}  // namespace

void norm(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), width = call.integer(1);
  const float eps = call.number(2);
  with_hidden(call.integer(4), call.integer(3), [&](auto t, auto h) {
    using T = decltype(t);
    using H = decltype(h);
    T* out = call.as<T>(0);
    const H* x = call.as<H>(1);
    const T* weight = call.as<T>(2);
    pool.for_each(tiles_of(rows, kTileRows), [&](int, long tile) {
      with_path(path, [&]() INLINE {
        for (long r = tile * kTileRows; r < std::min(rows, (tile + 1) * kTileRows); r++)
          norm_row(out + r * width, x + r * width, weight, width, eps);
      });
    });
  });
}

void normBackward(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), width = call.integer(1);
  const float eps = call.number(2);
  const bool first = call.integer(3);
  ColumnSums sums(call, pool, rows, width);
  with_hidden(call.integer(5), call.integer(4), [&](auto t, auto h) {
    using T = decltype(t);
    using H = decltype(h);
    H* dx = call.as<H>(0);
    const T *dout = call.as<T>(2), *weight = call.as<T>(4);
    const H *x = call.as<H>(3), *residual = call.as<H>(5);
    sums.add(pool, path, [=](long from, long to, float* dweight) INLINE {
      for (long r = from; r < to; r++)
        norm_row_backward(dx + r * width, dweight, dout + r * width, x + r * width, weight,
                          residual ? residual + r * width : nullptr, width, eps);
    });
  });
  sums.store(pool, call.as<float>(1), 0, width, first);
}

}  // namespace fpdt::cpu
