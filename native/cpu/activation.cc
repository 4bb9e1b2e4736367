// SwiGLU and its backward, elementwise over rows of gate and up side by side.
#include <algorithm>

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

}  // namespace fpdt::cpu
