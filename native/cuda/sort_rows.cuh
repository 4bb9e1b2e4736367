// Rows in the order of their tokens, and rows of equal tokens in their own order: a stable radix sort of row numbers, 8 bits of the token a pass, from the
// lowest on. Rows are cut into tiles, and a pass is three launches:
//
//   histogram        how often each digit occurs in a tile               counts[tile][digit]
//   exclusive scan   how often in the tiles before, and in all           counts[tile][digit], totals[digit]
//   scatter          a row goes behind all rows of lower digits, those of its digit in tiles before, and those before it in its tile
//
// A place is a matter of counts alone: the same order in every run. Tokens are not moved along: they are few bytes, looked up where they are.
#pragma once
#include <bit>

#include "../core/error.h"
#include "elementwise.cuh"

namespace fpdt::cuda {

inline constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
inline constexpr int64_t kSortRows = 1024;  // of a tile
inline constexpr unsigned kNoToken = 0xffffffff;
static_assert(kDigits == kThreads, "a thread takes a digit");

// What rows are sorted by: their token, or `limit` where that is in no vocabulary, so that these rows come last.
struct Tokens {
  const int32_t* tokens;
  unsigned limit;
  __device__ bool is_known(int32_t token) const { return static_cast<unsigned>(token) < limit; }
  __device__ unsigned of(int64_t row) const { return is_known(tokens[row]) ? static_cast<unsigned>(tokens[row]) : limit; }
};

struct SortedRows {
  const unsigned* rows;
  Tokens tokens;
  int64_t count;
  // Of the row at a place, kNoToken where there is none.
  __device__ unsigned token(int64_t place) const { return place >= 0 && place < count ? tokens.of(rows[place]) : kNoToken; }
};

// In the first pass rows are where they are numbered: `from` is nullptr, and tokens that cannot be are reported as faults of `kernel`.
static __global__ void __launch_bounds__(kThreads) digit_histograms(unsigned* counts, const unsigned* from, Tokens tokens, int64_t rows, int shift, unsigned kernel,
                                                                    Fault* fault) {
  __shared__ unsigned found[kDigits];
  found[threadIdx.x] = 0;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < kSortRows; i += kThreads) {
    const int64_t place = blockIdx.x * kSortRows + i;
    if (place >= rows) break;
    const int64_t row = from ? from[place] : place;
    if (!from && !tokens.is_known(tokens.tokens[row])) report(fault, kernel, row, tokens.tokens[row], tokens.limit);
    atomicAdd(&found[tokens.of(row) >> shift & (kDigits - 1)], 1u);
  }
  __syncthreads();
  counts[static_cast<int64_t>(blockIdx.x) * kDigits + threadIdx.x] = found[threadIdx.x];
}

// A block takes 8 digits, which is a sector of each tile's counts; a thread one digit of a part of the tiles.
inline constexpr int kSectorDigits = 8;
static __global__ void __launch_bounds__(kThreads) scan_histograms(unsigned* counts, unsigned* totals, int64_t tiles) {
  constexpr int kParts = kThreads / kSectorDigits;
  __shared__ unsigned sums[kParts][kSectorDigits];
  const int own = threadIdx.x % kSectorDigits, part = threadIdx.x / kSectorDigits;
  const int digit = blockIdx.x * kSectorDigits + own;
  const int64_t begin = tiles * part / kParts, end = tiles * (part + 1) / kParts;
  unsigned sum = 0;
#pragma unroll 8
  for (int64_t tile = begin; tile < end; tile++) sum += counts[tile * kDigits + digit];
  sums[part][own] = sum;
  __syncthreads();
  unsigned before = 0;
  for (int p = 0; p < part; p++) before += sums[p][own];
  if (part == kParts - 1) totals[digit] = before + sum;
#pragma unroll 8
  for (int64_t tile = begin; tile < end; tile++) {
    const unsigned count = counts[tile * kDigits + digit];
    counts[tile * kDigits + digit] = before;
    before += count;
  }
}

// A warp takes a part of the tile, 32 rows at a time.
static __global__ void __launch_bounds__(kThreads) scatter_rows(unsigned* to, const unsigned* from, const unsigned* counts, const unsigned* totals, Tokens tokens,
                                                                int64_t rows, int shift) {
  constexpr int kWarps = kThreads / kWarp, kSteps = kSortRows / kThreads;
  __shared__ unsigned places[kWarps][kDigits];  // rows of a digit so far in a warp's part; then where they begin
  __shared__ unsigned sums[kWarps];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t start = blockIdx.x * kSortRows + static_cast<int64_t>(warp) * kSteps * kWarp + lane;
  for (int digit = lane; digit < kDigits; digit += kWarp) places[warp][digit] = 0;
  __syncwarp();

  unsigned row[kSteps], digit[kSteps], rank[kSteps];  // rank: among the rows of its digit in the warp's part
#pragma unroll
  for (int step = 0; step < kSteps; step++) {
    const int64_t place = start + step * kWarp;
    const bool is_row = place < rows;
    row[step] = !is_row ? 0 : from ? from[place] : static_cast<unsigned>(place);
    digit[step] = is_row ? tokens.of(row[step]) >> shift & (kDigits - 1) : 0;
    unsigned equals = __ballot_sync(kAllLanes, is_row);  // lanes with this digit
#pragma unroll
    for (int bit = 0; bit < kDigitBits; bit++) {
      const bool is_set = digit[step] >> bit & 1;
      const unsigned set = __ballot_sync(kAllLanes, is_set);
      equals &= is_set ? set : ~set;
    }
    rank[step] = places[warp][digit[step]] + __popc(equals & ((1u << lane) - 1));
    __syncwarp();
    if (is_row && equals >> lane == 1) places[warp][digit[step]] = rank[step] + 1;  // the last lane of them
    __syncwarp();
  }
  __syncthreads();

  // Thread d: where digit d begins in each warp's part of this tile.
  const unsigned total = totals[threadIdx.x];
  unsigned sum = total;
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const unsigned lower = __shfl_up_sync(kAllLanes, sum, step);
    if (lane >= step) sum += lower;
  }
  if (lane == kWarp - 1) sums[warp] = sum;
  __syncthreads();
  unsigned before = sum - total + counts[static_cast<int64_t>(blockIdx.x) * kDigits + threadIdx.x];
  for (int w = 0; w < warp; w++) before += sums[w];
#pragma unroll
  for (int w = 0; w < kWarps; w++) {
    const unsigned count = places[w][threadIdx.x];
    places[w][threadIdx.x] = before;
    before += count;
  }
  __syncthreads();
#pragma unroll
  for (int step = 0; step < kSteps; step++)
    if (start + step * kWarp < rows) to[places[warp][digit[step]] + rank[step]] = row[step];
}

// Sorts within the call's workspace; the result lies there. kernel/src/plan/cuda-workspace.ts states the same bytes.
inline SortedRows sort_rows(const char* name, const KernelCall& call, const Launch& launch, const int32_t* tokens, int64_t rows, int64_t vocabulary) {
  const int64_t tiles = tiles_of(rows, kSortRows), list = tiles_of(rows, kSectorDigits) * kSectorDigits;  // of whole sectors
  const size_t bytes = sizeof(unsigned) * (kDigits * (tiles + 1) + 2 * list);
  FPDT_CHECK(call.workspace_bytes >= bytes, name << " in a workspace of " << call.workspace_bytes << " bytes, " << bytes << " needed");
  FPDT_CHECK(rows <= INT32_MAX && vocabulary <= INT32_MAX, name << " of " << rows << " rows and " << vocabulary << " tokens, " << INT32_MAX << " are the most");
  unsigned *counts = static_cast<unsigned*>(call.workspace), *totals = counts + kDigits * tiles;
  unsigned *from = nullptr, *to = totals + kDigits, *other = to + list;
  const Tokens keys{tokens, static_cast<unsigned>(vocabulary)};
  const auto blocks = static_cast<unsigned>(tiles);
  for (int shift = 0; shift < std::bit_width(keys.limit); shift += kDigitBits) {
    digit_histograms<<<blocks, kThreads, 0, launch.stream>>>(counts, from, keys, rows, shift, static_cast<unsigned>(call.kernel), launch.fault);
    scan_histograms<<<kDigits / kSectorDigits, kThreads, 0, launch.stream>>>(counts, totals, tiles);
    scatter_rows<<<blocks, kThreads, 0, launch.stream>>>(to, from, counts, totals, keys, rows, shift);
    check_launch(name);
    from = to;
    std::swap(to, other);
  }
  return {from, keys, rows};
}

}  // namespace fpdt::cuda
