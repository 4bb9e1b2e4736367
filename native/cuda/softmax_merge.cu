// What surrounds `attend`: `finish` turns a running state into output and lse, `merge` joins two finished parts that saw different kv rows, `delta` is the
// row sum that the backward pass needs. Rows are tokens; statistics are (H, C), heads first. All three only move memory: a few operations an element.
//
// A row of one head (D elements) belongs to `lanes` neighbouring threads, a power of two up to a warp, which take it kElements at a time: 4 in one
// memory instruction where width and addresses allow, else 1. A block has tokens of one head, whose statistics are neighbours; the blocks of all heads
// follow one another, so that those that run together read one piece of memory.
#include <cmath>

#include "kernels.h"
#include "numeric.cuh"
#include "status.h"

namespace fpdt::cuda {
namespace {

constexpr int kThreadsLog2 = 8, kThreads = 1 << kThreadsLog2;

// Row token * heads + head; its statistics stand at head * rows + token.
struct Shape {
  int64_t rows;  // tokens
  int heads, head_size, lanes, lanes_log2;  // lanes: threads of a row
};
struct Row {
  bool inside;
  int64_t first, statistic;  // where its elements begin, where its statistics stand
  int lane;
};
__device__ __forceinline__ Row own_row(const Shape& s) {
  const int head = blockIdx.x, own = threadIdx.x >> s.lanes_log2;
  const int64_t tile = static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y, token = (tile << (kThreadsLog2 - s.lanes_log2)) + own;
  return {token < s.rows, (token * s.heads + head) * s.head_size, head * s.rows + token, static_cast<int>(threadIdx.x) & (s.lanes - 1)};
}

// state: acc (C, H, D), max (H, C), sum (H, C); acc and sum are relative to 2^max. Not `sum > 0`: a NaN must come through.
template <class T, int kElements>
__global__ void __launch_bounds__(kThreads) finish_kernel(const Shape s, T* __restrict__ o, float* __restrict__ lse, const float* __restrict__ acc,
                                                          const float* __restrict__ max, const float* __restrict__ sum) {
  const Row row = own_row(s);
  if (!row.inside) return;
  const float total = sum[row.statistic];
  const bool nothing = total == 0;
  const float inverse = nothing ? 0 : 1 / total;
  if (row.lane == 0) {
    // ln 2 in two parts, the first with so few bits that its product with max hardly rounds: max reaches 10^4 and more.
    constexpr float kHigh = 0.693359375f, kLow = -2.12194440e-4f;
    const float top = max[row.statistic];
    lse[row.statistic] = nothing ? -INFINITY : fmaf(top, kHigh, fmaf(top, kLow, logf(total)));
  }
  for (int d = row.lane * kElements; d < s.head_size; d += s.lanes * kElements) {
    float x[kElements];
    load<kElements>(acc + row.first + d, x);
#pragma unroll
    for (int i = 0; i < kElements; i++) x[i] = nothing ? 0 : x[i] * inverse;
    store<kElements>(o + row.first + d, x);
  }
}

template <int kElements>
__global__ void __launch_bounds__(kThreads) merge_kernel(const Shape s, float* __restrict__ o, float* lse, const float* __restrict__ o_b,
                                                         const float* __restrict__ lse_b) {
  const Row row = own_row(s);
  const float other = row.inside ? lse_b[row.statistic] : -INFINITY, own = row.inside ? lse[row.statistic] : 0;
  __syncwarp();  // all lanes of a row have read its lse before one of them writes it
  if (other == -INFINITY) return;        // b saw nothing, and -inf - -inf is not formed
  const float difference = other - own;  // +inf where only b saw anything: the weight is 1
  const float weight = sigmoid(difference), keep = sigmoid(-difference);
  // lse - logsigmoid(lse - lseB), with the exponential of what is not positive. A NaN in either comes through the difference.
  if (row.lane == 0) lse[row.statistic] = fmaxf(own, other) + log1pf(expf(-fabsf(difference)));
  for (int d = row.lane * kElements; d < s.head_size; d += s.lanes * kElements) {
    float x[kElements], y[kElements];
    load<kElements>(o + row.first + d, x);
    load<kElements>(o_b + row.first + d, y);
#pragma unroll
    for (int i = 0; i < kElements; i++) x[i] = keep * x[i] + weight * y[i];
    store<kElements>(o + row.first + d, x);
  }
}

template <class T, int kElements>
__global__ void __launch_bounds__(kThreads) delta_kernel(const Shape s, float* __restrict__ delta, const T* __restrict__ dout, const T* __restrict__ o) {
  const Row row = own_row(s);
  float sum = 0;
  if (row.inside)
    for (int d = row.lane * kElements; d < s.head_size; d += s.lanes * kElements) {
      float x[kElements], y[kElements];
      load<kElements>(dout + row.first + d, x);
      load<kElements>(o + row.first + d, y);
#pragma unroll
      for (int i = 0; i < kElements; i++) sum = fmaf(x[i], y[i], sum);
    }
  for (int lane = s.lanes / 2; lane > 0; lane /= 2) sum += __shfl_xor_sync(kAllLanes, sum, lane);
  if (row.inside && row.lane == 0) delta[row.statistic] = sum;
}

Shape shape_of(const KernelCall& call, int elements) {
  Shape s{call.integer(0), static_cast<int>(call.integer(1)), static_cast<int>(call.integer(2)), 1, 0};
  while (s.lanes < kWarp && s.lanes * elements < s.head_size) s.lanes *= 2, s.lanes_log2++;
  return s;
}
// Heads, tiles of tokens, and again tiles: y ends at 65535.
dim3 blocks(const Shape& s) {
  constexpr int64_t kMost = 65535;
  const int64_t tiles = tiles_of(s.rows, kThreads / s.lanes), deep = tiles_of(tiles, kMost);
  return dim3(static_cast<unsigned>(s.heads), static_cast<unsigned>(tiles_of(tiles, deep)), static_cast<unsigned>(deep));
}

// body(std::integral_constant: elements at a time)
template <class Body>
void with_elements(bool four, Body&& body) {
  four ? body(std::integral_constant<int, 4>{}) : body(std::integral_constant<int, 1>{});
}

}  // namespace

void finish(const KernelCall& call, const Launch& launch) {
  with_dtype(call.integer(3) != 0, [&](auto t) {
    using T = decltype(t);
    T* o = call.as<T>(0);
    const float* acc = call.as<const float>(2);
    with_elements(vectors_fit<4>(o, call.integer(2)) && vectors_fit<4>(acc, call.integer(2)), [&](auto elements) {
      const Shape s = shape_of(call, elements);
      const int64_t statistics = s.rows * s.heads;
      const float *max = acc + statistics * s.head_size, *sum = max + statistics;
      finish_kernel<T, elements><<<blocks(s), kThreads, 0, launch.stream>>>(s, o, call.as<float>(1), acc, max, sum);
    });
  });
  check_launch("finish");
}

void merge(const KernelCall& call, const Launch& launch) {
  float* o = call.as<float>(0);
  const float* o_b = call.as<const float>(2);
  with_elements(vectors_fit<4>(o, call.integer(2)) && vectors_fit<4>(o_b, call.integer(2)), [&](auto elements) {
    const Shape s = shape_of(call, elements);
    merge_kernel<elements><<<blocks(s), kThreads, 0, launch.stream>>>(s, o, call.as<float>(1), o_b, call.as<const float>(3));
  });
  check_launch("merge");
}

void delta(const KernelCall& call, const Launch& launch) {
  with_dtype(call.integer(3) != 0, [&](auto t) {
    using T = decltype(t);
    const T *dout = call.as<const T>(1), *o = call.as<const T>(2);
    with_elements(vectors_fit<4>(dout, call.integer(2)) && vectors_fit<4>(o, call.integer(2)), [&](auto elements) {
      const Shape s = shape_of(call, elements);
      delta_kernel<T, elements><<<blocks(s), kThreads, 0, launch.stream>>>(s, call.as<float>(0), dout, o);
    });
  });
  check_launch("delta");
}

}  // namespace fpdt::cuda
