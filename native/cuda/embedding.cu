// Token embedding, with learned positions where there are any, and its backward: of the position table too, which is a table like the other.
#include "elementwise.cuh"

namespace fpdt::cuda {

namespace {

// A token or position that is in no table is reported, and its row of x is zero.
template <class H, class T>
struct Embed {
  H* x;
  const int32_t* tokens;
  const T* table;
  const int32_t* positions;
  const T* position_table;  // absent with `positions`
  int64_t width, vocabulary, table_rows;
  Fault* fault;

  __device__ bool known(int64_t row, int64_t column, int64_t index, int64_t limit, unsigned what) const {
    if (index >= 0 && index < limit) return true;
    if (column == 0) report(fault, what, row, index, limit);
    return false;
  }
  template <int N>
  __device__ void at(int64_t row, int64_t column) const {
    constexpr unsigned kEmbed = static_cast<unsigned>(Kernel::embed);
    float value[N] = {};
    const int64_t token = tokens[row];
    if (known(row, column, token, vocabulary, kEmbed)) {
      read(table + token * width + column, value);
      if (position_table) {
        const int64_t position = positions[row];
        float added[N] = {};
        if (known(row, column, position, table_rows, kEmbed | kPositionFault)) read(position_table + position * width + column, added);
#pragma unroll
        for (int i = 0; i < N; i++) value[i] += added[i];
      }
    }
    write(x + row * width + column, value);
  }
};

// Equal tokens add to the same row of dtable, in order of t to the bit. The block of the first row of a token does all rows of it; the
// blocks of the others find an earlier one, mostly near (tokens repeat), and leave. Costs without a workspace: every distinct token reads
// all tokens once, 4 bytes each and from L2 (64K rows of 30K distinct tokens: 8 GB, beside 2 GB of dx and dtable at width 4096); and
// one block adds all rows of the most frequent token.
template <int N, class T>
__global__ void __launch_bounds__(kThreads) embed_backward(float* dtable, const T* dx, const int32_t* tokens, int64_t rows, int64_t width,
                                                           int64_t vocabulary, Fault* fault) {
  constexpr int kWarps = kThreads / kWarp, kEach = 4;
  const int64_t own = blockIdx.x;
  const int64_t token = tokens[own];
  if (token < 0 || token >= vocabulary) {
    if (threadIdx.x == 0) report(fault, static_cast<unsigned>(Kernel::embedBackward), own, token, vocabulary);
    return;
  }
  // The nearest first; tiles begin at multiples of their size, where sectors begin.
  constexpr int64_t kTile = kThreads * kEach;
  for (int64_t tile = own / kTile * kTile; tile >= 0; tile -= kTile) {
    bool same = false;
#pragma unroll
    for (int i = 0; i < kEach; i++) {
      const int64_t row = tile + i * kThreads + threadIdx.x;
      same |= row < own && tokens[row] == token;
    }
    if (__syncthreads_or(same)) return;
  }

  __shared__ int64_t found[kThreads];  // rows of this token among 256 rows, in order
  __shared__ int counts[kWarps];
  float* sums = dtable + token * width;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  for (int64_t from = own / kThreads * kThreads; from < rows; from += kThreads) {
    const int64_t row = from + threadIdx.x;
    const bool same = row >= own && row < rows && tokens[row] == token;
    const unsigned lanes = __ballot_sync(kAllLanes, same);
    if (!__syncthreads_or(same)) continue;  // and all have done with `found`
    if (lane == 0) counts[warp] = __popc(lanes);
    __syncthreads();
    int place = __popc(lanes & ((1u << lane) - 1)), count = 0;
#pragma unroll
    for (int w = 0; w < kWarps; w++) {
      if (w < warp) place += counts[w];
      count += counts[w];
    }
    if (same) found[place] = row;
    __syncthreads();
    for (int64_t column = static_cast<int64_t>(threadIdx.x) * N; column < width; column += kThreads * N) {
      float sum[N];
      read(sums + column, sum);
#pragma unroll 4
      for (int i = 0; i < count; i++) {
        float value[N];
        read(dx + found[i] * width + column, value);
#pragma unroll
        for (int j = 0; j < N; j++) sum[j] += value[j];
      }
      write(sums + column, sum);
    }
  }
}

}  // namespace

void embed(const KernelCall& call, const Launch& launch) {
  const int64_t rows = call.integer(0), width = call.integer(1), vocabulary = call.integer(2), table_rows = call.integer(3);
  with_hidden(call.integer(5), call.integer(4), [&](auto t, auto h) {
    using T = decltype(t);
    using H = decltype(h);
    constexpr int kN = kVector<T, H>;
    const Embed<H, T> op{call.as<H>(0),    call.as<const int32_t>(1), call.as<const T>(2), call.as<const int32_t>(3),
                         table_rows ? call.as<const T>(4) : nullptr, width,                vocabulary, table_rows, launch.fault};
    with_vectors<kN>(vectors_fit<kN>(op.x, width) && vectors_fit<kN>(op.table, width) && vectors_fit<kN>(op.position_table, width),
                     [&](auto n) { launch_rowwise<n>("embed", op, rows, width, launch); });
  });
}

void embedBackward(const KernelCall& call, const Launch& launch) {
  const int64_t rows = call.integer(0), width = call.integer(1), vocabulary = call.integer(2);
  float* dtable = call.as<float>(0);
  if (call.integer(3)) check(cudaMemsetAsync(dtable, 0, sizeof(float) * vocabulary * width, launch.stream), "embedBackward");
  with_dtype(call.integer(4), [&](auto t) {
    using T = decltype(t);
    const T* dx = call.as<const T>(1);
    constexpr int kN = kVector<T, float>;
    with_vectors<kN>(vectors_fit<kN>(dtable, width) && vectors_fit<kN>(dx, width), [&](auto n) {
      embed_backward<n><<<static_cast<unsigned>(rows), kThreads, 0, launch.stream>>>(dtable, dx, call.as<const int32_t>(2), rows, width, vocabulary, launch.fault);
      check_launch("embedBackward");
    });
  });
}

}  // namespace fpdt::cuda
