// Tiles of bf16 in shared memory: how they lie, how a warp reads them as matrices, how a block fills them from a tensor (rows, heads, D).
//
// A tile is rows of D bf16. The 16-byte piece p of row r stands at piece p ^ (r & 7), so the eight rows that one ldmatrix phase reads at the same p lie
// in eight different groups of four banks. Tiles start at multiples of 1024 bytes, hence the xor may be applied to whole addresses.
#pragma once
#include "instructions.cuh"

namespace fpdt::cuda {

template <int D>
constexpr int kRowBytes = 2 * D;

// The two ways in which the 32 lanes address the four 8x8 matrices of a 16x16 block: the second matrix is below the first, or to its right.
// Not one order for all: an mma takes its right operand from two registers that are neighbours, and moves would cost more than the register saved.
enum class Walk { kDownFirst, kRightFirst };
template <int D>
__device__ __forceinline__ uint32_t lane_offset(Walk walk, int lane) {
  const int row = walk == Walk::kDownFirst ? lane & 15 : (lane & 7) + (lane >> 4) * 8, half = walk == Walk::kDownFirst ? lane >> 4 : lane >> 3 & 1;
  return row * kRowBytes<D> + ((half ^ (lane & 7)) * 16);
}
// Address of the 16x16 block at (row, 16 * block); row is a multiple of 16 and known to the compiler, so this costs one xor per value of block % 4.
template <int D>
__device__ __forceinline__ uint32_t block_at(uint32_t lane_base, int row, int block) {
  return (lane_base ^ ((block & 3) * 32)) + (block >> 2) * 128 + row * kRowBytes<D>;
}

// Starts the copy of the next kRows rows of one head; each call goes on where the one before stopped, so an address costs one addition per piece.
// Eight (D = 64) or sixteen lanes take one row, so global reads and shared writes are whole lines.
// kAnew: the lane's part of both addresses is formed anew each time rather than kept, for a kernel that has no two registers left.
template <int D, int kRows, int kThreads, bool kAnew = false>
struct TileCopy {
  static constexpr int kPieces = D / 8, kRowsAtOnce = kThreads / kPieces, kTimes = kRows / kRowsAtOnce;
  static_assert(kRowsAtOnce % 8 == 0 && kRows % kRowsAtOnce == 0, "the swizzle must be the same in every pass");

  const char* from;  // the same for all threads, so that it can live in uniform registers
  int heads;
  uint32_t kept_from, kept_to;

  __device__ __forceinline__ uint32_t from_of(int thread) const { return (thread / kPieces * heads * D + thread % kPieces * 8) * 2; }
  static __device__ __forceinline__ uint32_t to_of(int thread) {
    const int row = thread / kPieces, piece = thread % kPieces;
    return row * kRowBytes<D> + ((piece ^ (row & 7)) * 16);
  }
  __device__ __forceinline__ uint32_t lane_from() const { return kAnew ? from_of(thread_again()) : kept_from; }
  __device__ __forceinline__ uint32_t lane_to() const { return kAnew ? to_of(thread_again()) : kept_to; }

  __device__ TileCopy(const void* tensor, int heads, int head, int first_row = 0) : heads(heads) {
    from = static_cast<const char*>(tensor) + (int64_t{first_row} * heads + head) * kRowBytes<D>;
    kept_from = from_of(threadIdx.x), kept_to = to_of(threadIdx.x);
  }
  // Rows from rows_left on are outside the tensor and become zeros.
  __device__ __forceinline__ void operator()(uint32_t tile, int rows_left) {
    const int row = thread_again() / kPieces;
    const uint32_t to = tile + lane_to(), lane = lane_from();
    const int64_t step = int64_t{hidden(heads)} * (kRowsAtOnce * kRowBytes<D>);
#pragma unroll 1  // rare, and its addresses would cost registers that the careful steps need
    for (int i = 0; i < kTimes; i++, from += step) copy16(to + i * kRowsAtOnce * kRowBytes<D>, from + lane, row + i * kRowsAtOnce < rows_left);
  }
  // All rows are inside the tensor.
  __device__ __forceinline__ void whole(uint32_t tile) {
    const int64_t step = int64_t{heads} * (kRowsAtOnce * kRowBytes<D>);  // bytes between the rows of two passes
    const uint32_t to = tile + lane_to();
    const char* p = from + lane_from();
#pragma unroll
    for (int i = 0; i < kTimes; i++, p += step) copy16(to + i * kRowsAtOnce * kRowBytes<D>, p);
    from += kTimes * step;
  }
};

}  // namespace fpdt::cuda
