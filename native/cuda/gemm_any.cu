// Products for which cuBLASLt has no algorithm: any size, stride and alignment. Written to be right, not fast: it reads element by element and multiplies in
// f32 without tensor cores. A block makes a tile of C of 64 x 64, a thread 4 x 4 of it, and every sum runs over depth in order.
//
//   bounds: 8 words of shared memory for 16 multiply-adds of a thread, where an SM reads 32 words a cycle and adds 64 or 128: shared memory, at a
//   quarter to a half of the f32 rate.
#include "gemm.h"
#include "numeric.cuh"
#include "status.h"

namespace fpdt::cuda {
namespace {

constexpr int kTile = 64, kDepth = 16, kThreads = 256, kOwn = 4;  // a thread's rows and columns are 16 apart: neighbours read neighbouring words
constexpr int kApart = kTile / kOwn;

template <class T>
struct View {
  const T* data;
  int64_t stride;
  bool transposed;
  __device__ float at(int64_t i, int64_t j) const { return to_f32(transposed ? data[j * stride + i] : data[i * stride + j]); }
};

template <class T, class Out>
__global__ void __launch_bounds__(kThreads, 4) multiply_tiles(View<T> a, View<T> b, Out* c, const Out* added, const Out* bias, int64_t rows, int64_t columns, int64_t depth) {
  __shared__ float a_panel[kDepth][kTile + 1], b_panel[kDepth][kTile + 1];
  const int64_t row_tiles = tiles_of(rows, kTile);
  const int64_t row = blockIdx.x % row_tiles * kTile, column = blockIdx.x / row_tiles * kTile;
  const int own_row = threadIdx.x / kApart, own_column = threadIdx.x % kApart;
  float sum[kOwn][kOwn] = {};

  for (int64_t from = 0; from < depth; from += kDepth) {
    for (int item = threadIdx.x; item < kTile * kDepth; item += kThreads) {
      // Neighbouring threads read neighbouring elements, whichever way the matrix is stored.
      const int ai = a.transposed ? item % kTile : item / kDepth, ak = a.transposed ? item / kTile : item % kDepth;
      a_panel[ak][ai] = row + ai < rows && from + ak < depth ? a.at(row + ai, from + ak) : 0.f;
      const int bj = b.transposed ? item / kDepth : item % kTile, bk = b.transposed ? item % kDepth : item / kTile;
      b_panel[bk][bj] = column + bj < columns && from + bk < depth ? b.at(from + bk, column + bj) : 0.f;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; k++)
#pragma unroll
      for (int i = 0; i < kOwn; i++)
#pragma unroll
        for (int j = 0; j < kOwn; j++) sum[i][j] = fmaf(a_panel[k][own_row + kApart * i], b_panel[k][own_column + kApart * j], sum[i][j]);
    __syncthreads();
  }

  for (int i = 0; i < kOwn; i++)
    for (int j = 0; j < kOwn; j++) {
      const int64_t r = row + own_row + kApart * i, col = column + own_column + kApart * j;
      if (r >= rows || col >= columns) continue;
      const int64_t at = r * columns + col;
      c[at] = to<Out>((added ? to_f32(added[at]) : 0.f) + (bias ? to_f32(bias[col]) : 0.f) + sum[i][j]);
    }
}

template <class T>
__global__ void __launch_bounds__(kThreads) spread(float* c, const float* added, const T* bias, int64_t columns, int64_t count) {
  const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at < count) c[at] = (added ? added[at] : 0.f) + to_f32(bias[at % columns]);
}

}  // namespace

void multiply_any(const Product& p, cudaStream_t stream) {
  // One-dimensional: tiles of a long sequence pass the 65535 of a grid's second dimension.
  const auto blocks = static_cast<unsigned>(tiles_of(p.rows, kTile) * tiles_of(p.columns, kTile));
  with_dtype(p.bf16, [&](auto t) {
    using T = decltype(t);
    with_dtype(p.c_bf16, [&](auto o) {
      using Out = decltype(o);
      const auto view = [](const Matrix& m) { return View<T>{static_cast<const T*>(m.data), m.stride, m.transposed}; };
      multiply_tiles<T, Out><<<blocks, kThreads, 0, stream>>>(view(p.a), view(p.b), static_cast<Out*>(p.c), static_cast<const Out*>(p.added), static_cast<const Out*>(p.bias), p.rows,
                                                              p.columns, p.depth);
    });
  });
  check_launch("a matrix product");
}

void spread_bias(float* c, const float* added, const void* bias, int64_t rows, int64_t columns, cudaStream_t stream) {
  const int64_t count = rows * columns;
  spread<<<static_cast<unsigned>(tiles_of(count, kThreads)), kThreads, 0, stream>>>(c, added, static_cast<const bf16*>(bias), columns, count);
  check_launch("project");
}

}  // namespace fpdt::cuda
