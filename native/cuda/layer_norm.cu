// LayerNorm and its backward. A mean far larger than the spread costs no digits: it is summed in f64, and the spread about it in a
// second pass. Statistics are not kept: the backward forms them again from x.
#include "row_teams.cuh"

namespace fpdt::cuda {

namespace {

struct Statistics {
  float mean, rest;  // their sum is the mean: one f32 would round it
  float inverse;     // 1 / σ

  __device__ float centred(float x) const { return (x - mean) - rest; }
  __device__ float normed(float x) const { return centred(x) * inverse; }
};

// f64 units are few (one for 64 f32 units on consumer GPUs): squares of a vector are added in f32, which costs them one rounding or two, and
// only their sum is widened.
template <class Teams, int kTeam, int N, class H>
__device__ __forceinline__ Statistics statistics(const H* x, int64_t width, double eps, double* shared) {
  const int64_t begin = static_cast<int64_t>(Teams::thread()) * N;
  double sum = 0, squares = 0;
#pragma unroll 2
  for (int64_t i = begin; i < width; i += kTeam * N) {
    float v[N];
    read(x + i, v);
#pragma unroll
    for (int j = 0; j < N; j++) sum += v[j];
  }
  const double mean = Teams::sum(sum, shared) / static_cast<double>(width);
  Statistics s{static_cast<float>(mean), 0, 0};
  s.rest = static_cast<float>(mean - s.mean);
#pragma unroll 2
  for (int64_t i = begin; i < width; i += kTeam * N) {
    float v[N], part = 0;
    read(x + i, v);
#pragma unroll
    for (int j = 0; j < N; j++) part += s.centred(v[j]) * s.centred(v[j]);
    squares += part;
  }
  s.inverse = static_cast<float>(1 / sqrt(Teams::sum(squares, shared) / static_cast<double>(width) + eps));
  return s;
}

template <int kTeam, int N, class T, class H>
__global__ void __launch_bounds__(kThreads) layer_norm_rows(T* out, const H* x, const T* weight, const T* bias, int64_t rows, int64_t width, double eps) {
  using Teams = Team<kTeam, kThreads>;
  __shared__ double shared[kWarp];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * Teams::kTeams + Teams::index();
  if (row >= rows) return;
  x += row * width, out += row * width;
  const Statistics s = statistics<Teams, kTeam, N>(x, width, eps, shared);
#pragma unroll 2
  for (int64_t i = static_cast<int64_t>(Teams::thread()) * N; i < width; i += kTeam * N) {
    float v[N], w[N], b[N];
    read(x + i, v);
    read(weight + i, w);
    read(bias + i, b);
#pragma unroll
    for (int j = 0; j < N; j++) v[j] = s.normed(v[j]) * w[j] + b[j];
    write(out + i, v);
  }
}

// out = n w + b with n = (x - mean) / σ, so with g = w dout: dx = (g - mean(g) - n mean(g n)) / σ, dw = dout n and db = dout.
// A line has the columns of dweight, then those of dbias.
template <Lines kLines, int N, class T, class H>
__global__ void __launch_bounds__(kSliceThreads, 1) layer_norm_slice_backward(H* dx, float* partial, const T* dout, const H* x, const T* weight,
                                                                           const H* residual, int64_t rows, int64_t width, double eps) {
  constexpr int kTeam = kLines == Lines::team ? kWarp : kSliceThreads;
  using Teams = Team<kTeam, kSliceThreads>;
  extern __shared__ __align__(16) float lines[];
  __shared__ double shared[kWarp];
  __shared__ float2 shared_pairs[kWarp];
  const int64_t begin = static_cast<int64_t>(Teams::thread()) * N;
  sum_slice<kLines>(partial, lines, rows, 2 * width, [&](int64_t row, float* line, bool fresh) {
    const int64_t at = row * width;
    const Statistics s = statistics<Teams, kTeam, N>(x + at, width, eps, shared);
    float2 sums = {0, 0};  // of g, of g n
#pragma unroll 2
    for (int64_t i = begin; i < width; i += kTeam * N) {
      float v[N], d[N], w[N];
      read(x + at + i, v);
      read(dout + at + i, d);
      read(weight + i, w);
#pragma unroll
      for (int j = 0; j < N; j++) {
        const float g = w[j] * d[j];
        sums.x += g, sums.y += g * s.normed(v[j]);
      }
    }
    sums = Teams::sum(sums, shared_pairs);
    const float along_one = sums.x / static_cast<float>(width), along_n = sums.y / static_cast<float>(width);
    for (int64_t i = begin; i < width; i += kTeam * N) {
      float v[N], d[N], w[N], added[N];
      read(x + at + i, v);
      read(dout + at + i, d);
      read(weight + i, w);
      read((residual ? residual : x) + at + i, added);  // a load on a condition would be taken apart into elements
#pragma unroll
      for (int j = 0; j < N; j++) {
        const float n = s.normed(v[j]);
        added[j] = (residual ? added[j] : 0.f) + s.inverse * (w[j] * d[j] - along_one - n * along_n);
        v[j] = d[j] * n;
      }
      write(dx + at + i, added);
      add_to(line + i, v, fresh);
      add_to(line + width + i, d, fresh);
    }
  });
}

}  // namespace

void layerNorm(const KernelCall& call, const Launch& launch) {
  const int64_t rows = call.integer(0), width = call.integer(1);
  const double eps = call.number(2);
  with_hidden(call.integer(4), call.integer(3), [&](auto t, auto h) {
    using T = decltype(t);
    using H = decltype(h);
    T* out = call.as<T>(0);
    const H* x = call.as<const H>(1);
    const T *weight = call.as<const T>(2), *bias = call.as<const T>(3);
    constexpr int kN = kVector<T, H>;
    with_vectors<kN>(vectors_fit<kN>(out, width) && vectors_fit<kN>(x, width) && vectors_fit<kN>(weight, width) && vectors_fit<kN>(bias, width), [&](auto n) {
      with_team(rows, tiles_of(width, static_cast<int>(n)), [&](auto team, unsigned blocks) {
        layer_norm_rows<team, n><<<blocks, kThreads, 0, launch.stream>>>(out, x, weight, bias, rows, width, eps);
        check_launch("layerNorm");
      });
    });
  });
}

void layerNormBackward(const KernelCall& call, const Launch& launch) {
  const int64_t rows = call.integer(0), width = call.integer(1);
  const double eps = call.number(2);
  const bool first = call.integer(3);
  const ColumnSums sums(call, rows, 2 * width);  // of dweight, then of dbias
  with_hidden(call.integer(5), call.integer(4), [&](auto t, auto h) {
    using T = decltype(t);
    using H = decltype(h);
    H* dx = call.as<H>(0);
    const T *dout = call.as<const T>(3), *weight = call.as<const T>(5);
    const H *x = call.as<const H>(4), *residual = call.as<const H>(6);
    constexpr int kN = kVector<float>;  // that of the lines
    const bool fit = vectors_fit<kN>(dx, width) && vectors_fit<kN>(dout, width) && vectors_fit<kN>(x, width) && vectors_fit<kN>(weight, width) &&
                     vectors_fit<kN>(residual, width);
    with_vectors<kN>(fit, [&](auto n) {
      with_lines(width, 2 * width, launch, [&](auto lines, int bytes) {
        const auto kernel = layer_norm_slice_backward<lines, n, T, H>;
        allow_shared(kernel, bytes, launch, "layerNormBackward");
        kernel<<<sums.slices, kSliceThreads, bytes, launch.stream>>>(dx, sums.partial, dout, x, weight, residual, rows, width, eps);
        check_launch("layerNormBackward");
      });
    });
  });
  store_sums("layerNormBackward", call.as<float>(1), sums, 0, width, first, launch);
  store_sums("layerNormBackward", call.as<float>(2), sums, width, width, first, launch);
}

}  // namespace fpdt::cuda
