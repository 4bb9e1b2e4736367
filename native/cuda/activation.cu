// SwiGLU, elementwise over rows of gate and up side by side, and GELU in its tanh form; and their backward.
#include "elementwise.cuh"

namespace fpdt::cuda {

namespace {

template <class T>
struct SwiGlu {
  T* out;
  const T* gate_up;
  int64_t width;

  template <int N>
  __device__ void at(int64_t row, int64_t column) const {
    const T* gate = gate_up + 2 * row * width + column;
    float g[N], u[N];
    read(gate, g);
    read(gate + width, u);
#pragma unroll
    for (int i = 0; i < N; i++) g[i] = g[i] / (1.f + expf(-g[i])) * u[i];
    write(out + row * width + column, g);
  }
};

// silu(g) = g s with s = sigmoid(g), so silu′(g) = s (1 + g (1 - s)).
template <class T>
struct SwiGluBackward {
  T* dgate_up;
  const T *dout, *gate_up;
  int64_t width;

  template <int N>
  __device__ void at(int64_t row, int64_t column) const {
    const int64_t gate = 2 * row * width + column;
    float g[N], u[N], d[N];
    read(gate_up + gate, g);
    read(gate_up + gate + width, u);
    read(dout + row * width + column, d);
#pragma unroll
    for (int i = 0; i < N; i++) {
      const float s = sigmoid(g[i]), dgate = d[i] * u[i] * (s * (1 + g[i] * (1 - s)));
      u[i] = d[i] * (g[i] * s);
      g[i] = dgate;
    }
    write(dgate_up + gate, g);
    write(dgate_up + gate + width, u);
  }
};

// 1 + tanh(u) = 2 sigmoid(2u), so GELU is a s with s = sigmoid(z), z = 2u = 2 √(2/π) (a + 0.044715 a³). Of z only e^-|z| is
// formed: it neither overflows nor cancels, so s is as good in its left tail as in its right, where 1 + tanh(u) has lost all.
struct GeluAt {
  float s;      // sigmoid(z)
  float slope;  // a sigmoid′(z) dz/da; the derivative of GELU is s + slope
};
__device__ __forceinline__ GeluAt gelu_at(float a) {
  constexpr float k1 = 1.5957691216f, k3 = 0.0713548163f;  // 2 √(2/π), and that times 0.044715
  // Beyond 16 e^-|z| is 0, and a³ could overflow. Not fminf and fmaxf, which would lose a NaN.
  const float c = a < -16.f ? -16.f : a > 16.f ? 16.f : a;
  const float z = c * (k1 + k3 * (c * c));
  const float t = expf(-fabsf(z)), r = 1 / (1 + t);
  return {c < 0 ? t * r : r, c * (k1 + 3 * k3 * (c * c)) * (t * r * r)};
}

template <class T>
struct Gelu {
  T* out;
  const T* up;

  template <int N>
  __device__ void at(int64_t i) const {
    float a[N];
    read(up + i, a);
#pragma unroll
    for (int j = 0; j < N; j++) a[j] *= gelu_at(a[j]).s;
    write(out + i, a);
  }
};

template <class T>
struct GeluBackward {
  T* dup;
  const T *dout, *up;

  template <int N>
  __device__ void at(int64_t i) const {
    float a[N], d[N];
    read(up + i, a);
    read(dout + i, d);
#pragma unroll
    for (int j = 0; j < N; j++) {
      const GeluAt g = gelu_at(a[j]);
      d[j] *= g.s + g.slope;
    }
    write(dup + i, d);
  }
};

}  // namespace

void swiglu(const KernelCall& call, const Launch& launch) {
  const int64_t rows = call.integer(0), width = call.integer(1);
  with_dtype(call.integer(2), [&](auto t) {
    using T = decltype(t);
    constexpr int kN = kVector<T>;
    const SwiGlu<T> op{call.as<T>(0), call.as<const T>(1), width};
    with_vectors<kN>(vectors_fit<kN>(op.out, width) && vectors_fit<kN>(op.gate_up, width),
                     [&](auto n) { launch_rowwise<n>("swiglu", op, rows, width, launch); });
  });
}

void swigluBackward(const KernelCall& call, const Launch& launch) {
  const int64_t rows = call.integer(0), width = call.integer(1);
  with_dtype(call.integer(2), [&](auto t) {
    using T = decltype(t);
    constexpr int kN = kVector<T>;
    const SwiGluBackward<T> op{call.as<T>(0), call.as<const T>(1), call.as<const T>(2), width};
    with_vectors<kN>(vectors_fit<kN>(op.dgate_up, width) && vectors_fit<kN>(op.dout, width) && vectors_fit<kN>(op.gate_up, width),
                     [&](auto n) { launch_rowwise<n>("swigluBackward", op, rows, width, launch); });
  });
}

void gelu(const KernelCall& call, const Launch& launch) {
  with_dtype(call.integer(2), [&](auto t) {
    using T = decltype(t);
    constexpr int kN = kVector<T>;
    const Gelu<T> op{call.as<T>(0), call.as<const T>(1)};
    with_vectors<kN>(vectors_fit<kN>(op.out, kN) && vectors_fit<kN>(op.up, kN),
                     [&](auto n) { launch_elementwise<n>("gelu", op, call.integer(0) * call.integer(1), launch); });
  });
}

void geluBackward(const KernelCall& call, const Launch& launch) {
  with_dtype(call.integer(2), [&](auto t) {
    using T = decltype(t);
    constexpr int kN = kVector<T>;
    const GeluBackward<T> op{call.as<T>(0), call.as<const T>(1), call.as<const T>(2)};
    with_vectors<kN>(vectors_fit<kN>(op.dup, kN) && vectors_fit<kN>(op.dout, kN) && vectors_fit<kN>(op.up, kN),
                     [&](auto n) { launch_elementwise<n>("geluBackward", op, call.integer(0) * call.integer(1), launch); });
  });
}

}  // namespace fpdt::cuda
