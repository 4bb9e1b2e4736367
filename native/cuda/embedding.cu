// Token embedding, with learned positions where there are any, and its backward: of the position table too, which is a table like the other.
#include "elementwise.cuh"
#include "sort_rows.cuh"

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

// Equal tokens add to the same row of dtable, in the order of rows to the bit. So rows are sorted by their token (sort_rows.cuh), and a *run* of rows with
// the same token is added by one warp for some of the columns, in order. A run belongs to the tile of 32 places in which it begins; it is long where it goes on
// behind the tile that follows. Long runs are added apart from the others, with a column a lane and more rows on their way: their time is that of one
// row after the other. All rows of one token, the worst there can be: 32 rows of 64 bytes on their way in each of width / 32 warps.
constexpr int kTile = kWarp, kReach = 2 * kTile;
constexpr int kWarps = kThreads / kWarp;
constexpr int kAhead = 8, kLongAhead = 32;  // rows of dx on their way in a warp

template <class T>
struct Addition {
  float* dtable;
  const T* dx;
  SortedRows sorted;
  int64_t width;

  // A run from lane `from` of the tile at `tile` on, which lies up to lane `to` there; where that is the tile's end it may go on. `row`: of each lane's place.
  template <int N, int kOnTheWay>
  __device__ void run(int64_t tile, unsigned row, unsigned token, int from, int to, int64_t column) const {
    const bool is_column = column < width;
    const int64_t own = is_column ? column : 0;  // who has no column goes along with the others
    const int lane = threadIdx.x;
    float* const sums = dtable + token * width + own;
    float sum[N] = {};
    if (is_column) read(sums, sum);
    for (;;) {
      const bool goes_on = to == kTile;
      bool is_same = false;
      unsigned next = 0;  // the following tile is looked up while this one is added
      if (goes_on) {
        tile += kTile;
        if (tile + lane < sorted.count) {
          next = sorted.rows[tile + lane];
          is_same = sorted.tokens.of(next) == token;
        }
      }
      for (int first = from; first < to; first += kOnTheWay) {
        float value[kOnTheWay][N];
#pragma unroll
        for (int i = 0; i < kOnTheWay; i++) {
          const int64_t at = __shfl_sync(kAllLanes, row, first + i);
          if (first + i < to) read(dx + at * width + own, value[i]);
        }
#pragma unroll
        for (int i = 0; i < kOnTheWay; i++)
          if (first + i < to)
#pragma unroll
            for (int j = 0; j < N; j++) sum[j] += value[i][j];
      }
      if (!goes_on) break;
      row = next, from = 0, to = __popc(__ballot_sync(kAllLanes, is_same));
    }
    if (is_column) write(sums, sum);
  }
};

// First of a warp's columns; blocks along y take further ones.
__device__ int64_t first_column(int columns) { return (static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y) * kWarp * columns + threadIdx.x * columns; }

// A block a tile: all runs that begin there but a long one.
template <int N, class T>
__global__ void __launch_bounds__(kThreads, 3) add_runs(Addition<T> add) {  // with more blocks on a multiprocessor it would spill
  const SortedRows& sorted = add.sorted;
  const int lane = threadIdx.x;
  const int64_t tile = static_cast<int64_t>(blockIdx.x) * kTile, place = tile + lane, column = first_column(N);
  const unsigned row = place < sorted.count ? sorted.rows[place] : 0;
  const unsigned token = place < sorted.count ? sorted.tokens.of(row) : kNoToken;
  unsigned before = __shfl_up_sync(kAllLanes, token, 1);
  if (lane == 0) before = sorted.token(tile - 1);
  const unsigned starts = __ballot_sync(kAllLanes, token != before);
  const bool is_last_long = sorted.token(tile + kReach) == __shfl_sync(kAllLanes, token, kTile - 1);
  for (unsigned left = starts; left; left &= left - 1) {
    const int from = __ffs(left) - 1;
    const unsigned behind = starts & (0xfffffffeu << from), own = __shfl_sync(kAllLanes, token, from);
    const int to = behind ? __ffs(behind) - 1 : kTile;
    if (own >= sorted.tokens.limit || (to == kTile && is_last_long)) continue;
    add.template run<N, kAhead>(tile, row, own, from, to, column);
  }
}

// A block 32 tiles: the long runs that begin there.
template <class T>
__global__ void __launch_bounds__(kThreads) add_long_runs(Addition<T> add) {
  const SortedRows& sorted = add.sorted;
  const int lane = threadIdx.x;
  const int64_t tiles = static_cast<int64_t>(blockIdx.x) * kWarp * kTile, tile = tiles + lane * kTile, column = first_column(1);
  const unsigned last = sorted.token(tile + kTile - 1);
  const bool begins = last < sorted.tokens.limit && sorted.token(tile + kReach) == last && sorted.token(tile - 1) != last;
  for (unsigned left = __ballot_sync(kAllLanes, begins); left; left &= left - 1) {
    const int64_t found = tiles + (__ffs(left) - 1) * kTile;
    const unsigned row = sorted.rows[found + lane], token = sorted.tokens.of(row), own = __shfl_sync(kAllLanes, token, kTile - 1);
    add.template run<1, kLongAhead>(found, row, own, __ffs(__ballot_sync(kAllLanes, token == own)) - 1, kTile, column);
  }
}

struct RunGrid {
  dim3 blocks, threads;
  RunGrid(int64_t places, int64_t each, int64_t width, int columns) {
    const int64_t warps = tiles_of(width, kWarp * columns);
    threads = dim3(kWarp, static_cast<unsigned>(std::min<int64_t>(kWarps, warps)));
    blocks = dim3(static_cast<unsigned>(tiles_of(places, each)), static_cast<unsigned>(tiles_of(warps, threads.y)));
  }
};

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
  const SortedRows sorted = sort_rows("embedBackward", call, launch, call.as<const int32_t>(2), rows, vocabulary);
  if (call.integer(3)) check(cudaMemsetAsync(dtable, 0, sizeof(float) * vocabulary * width, launch.stream), "embedBackward");
  with_dtype(call.integer(4), [&](auto t) {
    using T = decltype(t);
    const Addition<T> add{dtable, call.as<const T>(1), sorted, width};
    constexpr int kN = kVector<T, float>;
    with_vectors<kN>(vectors_fit<kN>(dtable, width) && vectors_fit<kN>(add.dx, width), [&](auto n) {
      const RunGrid grid(rows, kTile, width, n);
      add_runs<n><<<grid.blocks, grid.threads, 0, launch.stream>>>(add);
    });
    if (rows > kReach) {
      const RunGrid grid(rows, kWarp * kTile, width, 1);
      add_long_runs<<<grid.blocks, grid.threads, 0, launch.stream>>>(add);
    }
    check_launch("embedBackward");
  });
}

}  // namespace fpdt::cuda
