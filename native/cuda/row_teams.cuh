// Ops whose rows have statistics: a row is the work of a team, one warp or the whole block, and a team reads its row as often as it needs it:
// the first time from memory, then from L1, where the rows of a multiprocessor's teams fit (16 KiB a row of 8192 bf16).
#pragma once
#include "column_sums.cuh"

namespace fpdt::cuda {

// Thread and team within a block of kBlock threads that is cut into teams of kTeam.
template <int kTeam, int kBlock>
struct Team {
  static_assert(kTeam == kWarp || kTeam == kBlock);
  static constexpr int kTeams = kBlock / kTeam;
  __device__ static int thread() { return threadIdx.x % kTeam; }
  __device__ static int index() { return threadIdx.x / kTeam; }

  // In every thread of the team. `shared` has room for kWarp of them.
  template <class X>
  __device__ static X sum(X x, X* shared) {
    if constexpr (kTeam == kWarp)
      return warp_sum(x);
    else
      return block_sum(x, shared);
  }
  // Two sums in one reduction.
  __device__ static float2 sum(float2 x, float2* shared) {
    const auto both = [](float2 y) { return make_float2(warp_sum(y.x), warp_sum(y.y)); };
    if constexpr (kTeam == kWarp)
      return both(x);
    else
      return block_reduce(x, shared, make_float2(0, 0), both);
  }
};

inline constexpr int64_t kWarpVectors = 256;  // up to so many vectors a row, a warp is enough: 8 a lane

// Forward: body(team), a constant, with as many blocks as rows need.
template <class Body>
void with_team(int64_t rows, int64_t vectors, Body&& body) {
  if (vectors <= kWarpVectors)
    body(std::integral_constant<int, kWarp>{}, static_cast<unsigned>(tiles_of(rows, kThreads / kWarp)));
  else
    body(std::integral_constant<int, kThreads>{}, static_cast<unsigned>(rows));
}

// ------------------------------------------------------------------------------------------------------------------------ backward
// A block has a slice of rows (column_sums.cuh), for each of its teams a line in shared memory that holds the sums of all columns over a
// group of rows, and adds the lines to the slice's sums in the workspace at the group's end. Where not even one line fits, lines are the
// workspace itself.
// A multiprocessor has one slice or two in all, so kernels take the registers that one block may have: __launch_bounds__(kSliceThreads, 1).
inline constexpr int kSliceThreads = 512;
enum class Lines { team, block, workspace };  // a line for each warp; one for the block; none in shared memory

// Calls row(row, line, fresh) for the slice's rows, each by its team: it adds numbers to the columns of `line`, or writes them where `fresh`.
template <Lines kLines, class Row>
__device__ __forceinline__ void sum_slice(float* partial, float* lines, int64_t rows, int64_t columns, Row&& row_sums) {
  constexpr int kTeam = kLines == Lines::team ? kWarp : kSliceThreads;
  using Teams = Team<kTeam, kSliceThreads>;
  const int64_t begin = slice_start(rows, blockIdx.x, gridDim.x), end = slice_start(rows, blockIdx.x + 1, gridDim.x);
  float* total = partial + blockIdx.x * columns;
  if constexpr (kLines == Lines::workspace) {
    for (int64_t row = begin; row < end; row++) row_sums(row, total, row == begin);
  } else {
    float* line = lines + Teams::index() * columns;
    for (int64_t group = begin; group < end; group += kGroupRows) {
      const int64_t group_end = end < group + kGroupRows ? end : group + kGroupRows;
      for (int64_t row = group + Teams::index(); row < group_end; row += Teams::kTeams) row_sums(row, line, row < group + Teams::kTeams);
      __syncthreads();
      const int filled = group_end - group < Teams::kTeams ? static_cast<int>(group_end - group) : Teams::kTeams;
      for (int64_t column = threadIdx.x; column < columns; column += kSliceThreads) {
        float sum = 0;
        for (int team = 0; team < filled; team++) sum += lines[team * columns + column];
        total[column] = group == begin ? sum : total[column] + sum;
      }
      __syncthreads();
    }
  }
}

// Bytes of a block's shared memory that lines may have: the rest is left for what reductions keep there.
inline int shared_for_lines(const Launch& launch) { return launch.shared_per_block - 1024; }

// body(lines, bytes of shared memory) for the most lines that fit.
template <class Body>
void with_lines(int64_t width, int64_t columns, const Launch& launch, Body&& body) {
  constexpr int64_t kWarpColumns = 1024;
  const int64_t line = sizeof(float) * columns, room = shared_for_lines(launch);
  if (width <= kWarpColumns && kSliceThreads / kWarp * line <= room)
    body(std::integral_constant<Lines, Lines::team>{}, static_cast<int>(kSliceThreads / kWarp * line));
  else if (line <= room)
    body(std::integral_constant<Lines, Lines::block>{}, static_cast<int>(line));
  else
    body(std::integral_constant<Lines, Lines::workspace>{}, 0);
}

// A block may have more than 48 KiB of shared memory, of lines and of reductions together, only where its kernel says so. What is said is all that a GPU
// allows, not `bytes`: ranks that share a GPU share what is said, and launch rows of different widths at the same time.
template <class Function>
void allow_shared(Function* function, int bytes, const Launch& launch, const char* name) {
  constexpr int kAlways = 32 << 10;  // and no reduction keeps 16 KiB
  if (bytes > kAlways) check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_for_lines(launch)), name);
}

// line[0 .. N) += x, or = x.
template <int N>
__device__ __forceinline__ void add_to(float* line, const float (&x)[N], bool fresh) {
  float sum[N];
  if (fresh) {
    write(line, x);
  } else {
    read(line, sum);
#pragma unroll
    for (int i = 0; i < N; i++) sum[i] += x[i];
    write(line, sum);
  }
}

}  // namespace fpdt::cuda
