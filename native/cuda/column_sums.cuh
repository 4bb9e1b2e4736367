// Sums over rows, one a column: gradients of norms' weights and of biases.
//
// Rows are cut into slices by the shape alone, and a slice is the work of one block. A slice adds rows in f32, but only kGroupRows of them
// before their sum joins the slice's; slices are added in f64 and in their order. No atomics: the same bits in every run.
#pragma once
#include "../core/error.h"
#include "elementwise.cuh"

namespace fpdt::cuda {

inline constexpr int64_t kSliceRows = 16, kMostSlices = 256;  // so many rows a slice, more where that would make more slices; GPUs have up to some 160 multiprocessors
inline constexpr int64_t kGroupRows = 64;                     // added in f32 at a time

// kernel/src/plan/cuda-workspace.ts states the same sum.
struct ColumnSums {
  float* partial;   // (slices, columns)
  int64_t columns;
  int slices;

  ColumnSums(const KernelCall& call, int64_t rows, int64_t columns)
      : partial(static_cast<float*>(call.workspace)), columns(columns), slices(static_cast<int>(std::min(kMostSlices, tiles_of(rows, kSliceRows)))) {
    const size_t bytes = sizeof(float) * slices * columns;
    FPDT_CHECK(call.workspace_bytes >= bytes, "column sums in a workspace of " << call.workspace_bytes << " bytes, " << bytes << " needed");
  }
};

// First row of a slice; that of the next one ends it. No slice is empty.
__device__ __forceinline__ int64_t slice_start(int64_t rows, int slice, int slices) { return rows * slice / slices; }

// The grid is wide rather than deep: a thread's loads do not wait for one another, and neighbours read neighbours.
static __global__ void __launch_bounds__(kThreads) add_slices(float* out, const float* partial, int64_t stride, int slices, int64_t count, bool first) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= count) return;
  double sum = 0;
#pragma unroll 8
  for (int slice = 0; slice < slices; slice++) sum += partial[slice * stride + column];
  out[column] = (first ? 0.f : out[column]) + static_cast<float>(sum);
}

// Sums of `count` columns from `from` on, written to `out` or added to it.
inline void store_sums(const char* name, float* out, const ColumnSums& sums, int64_t from, int64_t count, bool first, const Launch& launch) {
  constexpr int kColumns = 64;
  add_slices<<<static_cast<unsigned>(tiles_of(count, kColumns)), kColumns, 0, launch.stream>>>(out, sums.partial + from, sums.columns, sums.slices, count, first);
  check_launch(name);
}

}  // namespace fpdt::cuda
