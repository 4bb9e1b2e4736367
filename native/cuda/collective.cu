// The sums of collectives, read directly from the memory of peers: in rank order whichever rank comes first, so every rank and every run has the same
// bits, and those of cpu/collective.cc.
#include <algorithm>

#include "../core/program.h"
#include "numeric.cuh"
#include "parts.h"
#include "status.h"

namespace fpdt::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 256;  // two or three a multiprocessor keep a link between GPUs busy; more would only take room from the attention beside it

template <class T>
struct Sources {
  const T* rank[kMostRanks];
};

// Roughly: to[g, row, i] = (add ? itself : 0) + sum over r < group of from[g * group + r][row, i]. One thread: N neighbours of a row, of which x counts those
// of a row; y of a block and z of the grid count rows, y of the grid groups.
// from: (rows, width) at from_stride, of every rank. Traffic: (group + 1 + add) * rows * width elements a group, nothing twice.
template <class T, int N>
__global__ void __launch_bounds__(kThreads) sum_kernel(T* to, Sources<T> from, int64_t rows, int64_t width, int64_t to_stride, int64_t from_stride, int group, bool add) {
  const int first = blockIdx.y * group;
  const int64_t first_column = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * N, columns = int64_t{gridDim.x} * blockDim.x * N;
  for (int64_t row = int64_t{blockIdx.z} * blockDim.y + threadIdx.y; row < rows; row += int64_t{gridDim.z} * blockDim.y) {
    for (int64_t column = first_column; column < width; column += columns) {
      float sum[N], next[N];
      load(from.rank[first] + row * from_stride + column, sum);
      for (int r = 1; r < group; r++) {
        load(from.rank[first + r] + row * from_stride + column, next);
#pragma unroll
        for (int i = 0; i < N; i++) sum[i] += next[i];
      }
      T* const out = to + blockIdx.y * width + row * to_stride + column;
      if (add) {
        load(out, next);
#pragma unroll
        for (int i = 0; i < N; i++) sum[i] = next[i] + sum[i];
      }
      store(out, sum);
    }
  }
}

// One element a thread, kAllReduceElements at most. Begins at +0 as the CPU does: -0 alone becomes 0.
__global__ void __launch_bounds__(kThreads) sum_f64_kernel(double* to, Sources<double> from, int ranks, int64_t count) {
  const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (i >= count) return;
  double sum = 0;
  for (int r = 0; r < ranks; r++) sum += from.rank[r][i];
  to[i] = sum;
}

template <class T, int N>
void launch(const RankSum& sum, const Sources<T>& from, cudaStream_t stream) {
  const int64_t vectors = sum.width / N;
  int across = kThreads;  // threads of a row
  while (across / 2 >= vectors) across /= 2;
  const int down = kThreads / across;
  const int64_t wide = std::min(tiles_of(vectors, across), kMostBlocks), deep = std::min(tiles_of(sum.rows, down), kMostBlocks / wide);
  const dim3 grid(static_cast<unsigned>(wide), static_cast<unsigned>(sum.groups), static_cast<unsigned>(deep));
  sum_kernel<T, N><<<grid, dim3(across, down), 0, stream>>>(static_cast<T*>(sum.to), from, sum.rows, sum.width, sum.to_stride, sum.from_stride, sum.group, sum.add);
}

template <class T>
void sum_as(const RankSum& sum, cudaStream_t stream) {
  constexpr int kVector = 16 / sizeof(T);
  Sources<T> from{};
  bool wide = vectors_fit<kVector>(static_cast<const T*>(sum.to), sum.width) && sum.to_stride % kVector == 0 && sum.from_stride % kVector == 0;
  for (int i = 0; i < sum.groups * sum.group; i++) {
    from.rank[i] = static_cast<const T*>(sum.from[i]);
    wide = wide && vectors_fit<kVector>(from.rank[i], sum.width);
  }
  wide ? launch<T, kVector>(sum, from, stream) : launch<T, 1>(sum, from, stream);
}

}  // namespace

void sum_ranks(const RankSum& sum, cudaStream_t stream) {
  if (sum.rows * sum.width == 0) return;
  with_dtype(sum.bf16, [&](auto t) { sum_as<decltype(t)>(sum, stream); });
  check_launch("the sums of a collective");
}

void sum_ranks(double* to, const double* const* from, int ranks, int64_t count, cudaStream_t stream) {
  if (count == 0) return;
  Sources<double> sources{};
  for (int r = 0; r < ranks; r++) sources.rank[r] = from[r];
  sum_f64_kernel<<<static_cast<unsigned>(tiles_of(count, kThreads)), kThreads, 0, stream>>>(to, sources, ranks, count);
  check_launch("the sums of an allReduce");
}

}  // namespace fpdt::cuda
