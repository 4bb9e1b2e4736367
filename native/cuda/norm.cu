// RMSNorm and its backward. Statistics are f32 and not kept: the backward forms them again from x.
#include "row_teams.cuh"

namespace fpdt::cuda {

namespace {

template <int kTeam, int N, class T, class H>
__global__ void __launch_bounds__(kThreads) norm_rows(T* out, const H* x, const T* weight, int64_t rows, int64_t width, float eps) {
  using Teams = Team<kTeam, kThreads>;
  __shared__ float shared[kWarp];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * Teams::kTeams + Teams::index();
  if (row >= rows) return;
  x += row * width, out += row * width;
  const int64_t begin = static_cast<int64_t>(Teams::thread()) * N;
  float squares = 0;
#pragma unroll 4
  for (int64_t i = begin; i < width; i += kTeam * N) {
    float v[N];
    read(x + i, v);
#pragma unroll
    for (int j = 0; j < N; j++) squares += v[j] * v[j];
  }
  const float inverse = 1 / sqrtf(Teams::sum(squares, shared) / static_cast<float>(width) + eps);
#pragma unroll 2
  for (int64_t i = begin; i < width; i += kTeam * N) {
    float v[N], w[N];
    read(x + i, v);
    read(weight + i, w);
#pragma unroll
    for (int j = 0; j < N; j++) v[j] = v[j] * inverse * w[j];
    write(out + i, v);
  }
}

// out = x r w with r = (mean(x²) + eps)^-1/2, so dx = r w dout - x r³ mean(w dout x) and dw = dout x r.
template <Lines kLines, int N, class T, class H>
__global__ void __launch_bounds__(kSliceThreads, 1) norm_slice_backward(H* dx, float* partial, const T* dout, const H* x, const T* weight, const H* residual,
                                                                     int64_t rows, int64_t width, float eps) {
  constexpr int kTeam = kLines == Lines::team ? kWarp : kSliceThreads;
  using Teams = Team<kTeam, kSliceThreads>;
  extern __shared__ __align__(16) float lines[];
  __shared__ float2 shared[kWarp];
  const int64_t begin = static_cast<int64_t>(Teams::thread()) * N;
  sum_slice<kLines>(partial, lines, rows, width, [&](int64_t row, float* line, bool fresh) {
    const int64_t at = row * width;
    float2 sums = {0, 0};  // of x², of w dout x
#pragma unroll 2
    for (int64_t i = begin; i < width; i += kTeam * N) {
      float v[N], g[N], w[N];
      read(x + at + i, v);
      read(dout + at + i, g);
      read(weight + i, w);
#pragma unroll
      for (int j = 0; j < N; j++) sums.x += v[j] * v[j], sums.y += w[j] * g[j] * v[j];
    }
    sums = Teams::sum(sums, shared);
    const float inverse = 1 / sqrtf(sums.x / static_cast<float>(width) + eps);
    const float along_x = inverse * inverse * inverse * (sums.y / static_cast<float>(width));
    for (int64_t i = begin; i < width; i += kTeam * N) {
      float v[N], g[N], w[N], d[N];
      read(x + at + i, v);
      read(dout + at + i, g);
      read(weight + i, w);
      read((residual ? residual : x) + at + i, d);  // a load on a condition would be taken apart into elements
#pragma unroll
      for (int j = 0; j < N; j++) {
        d[j] = (residual ? d[j] : 0.f) + inverse * w[j] * g[j] - v[j] * along_x;
        g[j] *= v[j] * inverse;
      }
      write(dx + at + i, d);
      add_to(line + i, g, fresh);
    }
  });
}

}  // namespace

void norm(const KernelCall& call, const Launch& launch) {
  const int64_t rows = call.integer(0), width = call.integer(1);
  const float eps = static_cast<float>(call.number(2));
  with_hidden(call.integer(4), call.integer(3), [&](auto t, auto h) {
    using T = decltype(t);
    using H = decltype(h);
    T* out = call.as<T>(0);
    const H* x = call.as<const H>(1);
    const T* weight = call.as<const T>(2);
    constexpr int kN = kVector<T, H>;
    with_vectors<kN>(vectors_fit<kN>(out, width) && vectors_fit<kN>(x, width) && vectors_fit<kN>(weight, width), [&](auto n) {
      with_team(rows, tiles_of(width, static_cast<int>(n)), [&](auto team, unsigned blocks) {
        norm_rows<team, n><<<blocks, kThreads, 0, launch.stream>>>(out, x, weight, rows, width, eps);
        check_launch("norm");
      });
    });
  });
}

void normBackward(const KernelCall& call, const Launch& launch) {
  const int64_t rows = call.integer(0), width = call.integer(1);
  const float eps = static_cast<float>(call.number(2));
  const ColumnSums sums(call, rows, width);
  with_hidden(call.integer(5), call.integer(4), [&](auto t, auto h) {
    using T = decltype(t);
    using H = decltype(h);
    H* dx = call.as<H>(0);
    const T *dout = call.as<const T>(2), *weight = call.as<const T>(4);
    const H *x = call.as<const H>(3), *residual = call.as<const H>(5);
    constexpr int kN = kVector<float>;  // that of the lines
    const bool fit = vectors_fit<kN>(dx, width) && vectors_fit<kN>(dout, width) && vectors_fit<kN>(x, width) && vectors_fit<kN>(weight, width) &&
                     vectors_fit<kN>(residual, width);
    with_vectors<kN>(fit, [&](auto n) {
      with_lines(width, width, launch, [&](auto lines, int bytes) {
        const auto kernel = norm_slice_backward<lines, n, T, H>;
        allow_shared(kernel, bytes, launch, "normBackward");
        kernel<<<sums.slices, kSliceThreads, bytes, launch.stream>>>(dx, sums.partial, dout, x, weight, residual, rows, width, eps);
        check_launch("normBackward");
      });
    });
  });
  store_sums("normBackward", call.as<float>(1), sums, 0, width, call.integer(3), launch);
}

}  // namespace fpdt::cuda
