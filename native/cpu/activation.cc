// SwiGLU, elementwise over rows of gate and up side by side, and GELU in its tanh form; and their backward.
#include <algorithm>
#include <cmath>

#include "dispatch.h"
#include "exp.h"

namespace fpdt::cpu {

namespace {

constexpr long kTileRows = 16;

template <class T>
INLINE inline void swiglu_row(T* __restrict out, const T* __restrict gate, const T* __restrict up, long width) {
  for (long i = 0; i < width; i++) {
    const float g = to_f32(gate[i]);
    out[i] = to<T>(g / (1 + exp_f32(-g)) * to_f32(up[i]));
  }
}

// silu(g) = g s with s = sigmoid(g), so silu′(g) = s (1 + g (1 - s)).
template <class T>
INLINE inline void swiglu_row_backward(T* __restrict dgate, T* __restrict dup, const T* __restrict dout,
                                       const T* __restrict gate, const T* __restrict up, long width) {
  for (long i = 0; i < width; i++) {
    const float g = to_f32(gate[i]), d = to_f32(dout[i]);
    const float s = 1 / (1 + exp_f32(-g));
    dgate[i] = to<T>(d * to_f32(up[i]) * (s * (1 + g * (1 - s))));
    dup[i] = to<T>(d * (g * s));
  }
}

// 1 + tanh(u) = 2 sigmoid(2u), so GELU is a s with s = sigmoid(z), z = 2u = 2 √(2/π) (a + 0.044715 a³). Of z only e^-|z| is
// formed: it neither overflows nor cancels, so s is as good in its left tail as in its right, where 1 + tanh(u) has lost all.
struct Gelu {
  float s;      // sigmoid(z)
  float slope;  // a sigmoid′(z) dz/da; the derivative of GELU is s + slope
};
INLINE inline Gelu gelu_at(float a) {
  constexpr float k1 = 1.5957691216f, k3 = 0.0713548163f;  // 2 √(2/π), and that times 0.044715
  // Beyond 16 e^-|z| is 0, and a³ could overflow.
  const float c = a < -16.f ? -16.f : a > 16.f ? 16.f : a;
  const float z = c * (k1 + k3 * (c * c));
  const float t = exp_f32(-std::abs(z)), r = 1 / (1 + t);
  return {c < 0 ? t * r : r, c * (k1 + 3 * k3 * (c * c)) * (t * r * r)};
}

template <class T>
INLINE inline void gelu_span(T* __restrict out, const T* __restrict up, long count) {
  for (long i = 0; i < count; i++) out[i] = to<T>(to_f32(up[i]) * gelu_at(to_f32(up[i])).s);
}

template <class T>
INLINE inline void gelu_span_backward(T* __restrict dup, const T* __restrict dout, const T* __restrict up, long count) {
  for (long i = 0; i < count; i++) {
    const Gelu g = gelu_at(to_f32(up[i]));
    dup[i] = to<T>(to_f32(dout[i]) * (g.s + g.slope));
  }
}

constexpr long kTileElements = 1 << 15;
// body(from, count) for spans of elements; it must be INLINE.
template <class Body>
void for_each_span(Pool& pool, Path path, long elements, Body body) {
  pool.for_each(tiles_of(elements, kTileElements), [&](int, long tile) {
    with_path(path, [&]() INLINE { body(tile * kTileElements, std::min(kTileElements, elements - tile * kTileElements)); });
  });
}

}  // namespace

void swiglu(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), width = call.integer(1);
  with_dtype(call.integer(2), [&](auto t) {
    using T = decltype(t);
    T* out = call.as<T>(0);
    const T* gate_up = call.as<T>(1);
    pool.for_each(tiles_of(rows, kTileRows), [&](int, long tile) {
      with_path(path, [&]() INLINE {
        for (long r = tile * kTileRows; r < std::min(rows, (tile + 1) * kTileRows); r++)
          swiglu_row(out + r * width, gate_up + 2 * r * width, gate_up + (2 * r + 1) * width, width);
      });
    });
  });
}

void swigluBackward(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), width = call.integer(1);
  with_dtype(call.integer(2), [&](auto t) {
    using T = decltype(t);
    T* dgate_up = call.as<T>(0);
    const T *dout = call.as<T>(1), *gate_up = call.as<T>(2);
    pool.for_each(tiles_of(rows, kTileRows), [&](int, long tile) {
      with_path(path, [&]() INLINE {
        for (long r = tile * kTileRows; r < std::min(rows, (tile + 1) * kTileRows); r++) {
          const long gate = 2 * r * width, up = gate + width;
          swiglu_row_backward(dgate_up + gate, dgate_up + up, dout + r * width, gate_up + gate, gate_up + up, width);
        }
      });
    });
  });
}

void gelu(const KernelCall& call, Pool& pool, Path path) {
  with_dtype(call.integer(2), [&](auto t) {
    using T = decltype(t);
    T* out = call.as<T>(0);
    const T* up = call.as<T>(1);
    for_each_span(pool, path, call.integer(0) * call.integer(1), [=](long from, long count) INLINE { gelu_span(out + from, up + from, count); });
  });
}

void geluBackward(const KernelCall& call, Pool& pool, Path path) {
  with_dtype(call.integer(2), [&](auto t) {
    using T = decltype(t);
    T* dup = call.as<T>(0);
    const T *dout = call.as<T>(1), *up = call.as<T>(2);
    for_each_span(pool, path, call.integer(0) * call.integer(1),
                  [=](long from, long count) INLINE { gelu_span_backward(dup + from, dout + from, up + from, count); });
  });
}

}  // namespace fpdt::cpu
