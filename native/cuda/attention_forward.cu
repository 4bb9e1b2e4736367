// `attend` on tensor cores: one q chunk meets one kv chunk, bf16 in, f32 state, head size 64 or 128.
//
// A block of four warps takes 128 rows of one head; a warp takes 32 of them, so that each k or v fragment read from shared memory feeds two row tiles.
// Key tiles of 64 pass through a ring of three buffers in the order k0 v0 k1 v1 ...: one is used, one has landed, one is in flight, and one barrier a
// tile is enough. The layout in which scores come out of s = q k' is that in which p v wants its left operand, so p never leaves the registers.
//
// The maximum of a row only keeps 2^x in range, and any reference near it gives the same quotient. So a tile is taken in one of two ways:
//   careful  masks, takes the maximum, rescales what was summed: for tiles that some row of the warp does not see, or that may be the first it sees
//   plain    trusts the reference and looks at the sums, which it needs anyway: one too large, or NaN, and the warp takes the tile again carefully
// Nearly all tiles are plain, and maxima, their shuffles and the rescaling (a quarter of the instructions for D = 64) are not on their way from scores to p.
// A plain tile is whole, seen by every row of the warp, and lies behind the tile of the first key that any of these rows sees (keys_from): each row
// has met a key in this very call, whatever its document, and so has a reference.
#include "attention.h"
#include "../core/error.h"
#include "status.h"
#include "tile.cuh"

#include <cmath>
#include <type_traits>

namespace fpdt::cuda {
namespace {

constexpr int kQTile = 128, kKTile = 64, kThreads = 128, kWarpRows = 32;
template <int D>
constexpr int kBegins = (kQTile + 3 * kKTile) * kRowBytes<D>;  // behind q and the ring: where the document of each row begins, then keys_from, plain and tiles of each warp
template <int D>
constexpr int kShared = kBegins<D> + (kQTile + kThreads / 32 * 3) * 4;
// On this architecture the compiler needs two registers more for D = 128 than on others; there a copy forms its addresses anew (tile.cuh).
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ / 100 == 10
constexpr bool kShortOfRegisters = true;
#else
constexpr bool kShortOfRegisters = false;
#endif
constexpr float kSumLimit = 1e12f;  // far from overflow, and no sum of 2^29 keys near their reference

struct Arguments {
  Attend a;
  float scale;  // of scores, in units of log2
};

// Where the document of a row begins in the kv chunk; `columns` when behind it.
__device__ __forceinline__ int document_from(const Attention& a, int row) {
  const int64_t from = a.starts[row] - a.kv_start;
  return static_cast<int>(min(max(from, int64_t{0}), int64_t{a.columns}));
}

template <int D>
__global__ void __launch_bounds__(kThreads, 2) attend_kernel(const Arguments arguments) {
  constexpr int kTileBytes = kKTile * kRowBytes<D>, kBlocks = D / 16, kKeyTiles = kKTile / 8, kOutTiles = D / 8;
  constexpr bool kQInRegisters = D == 64;  // D = 128 has no registers left for it
  extern __shared__ __align__(1024) char shared[];
  const Attend& a = arguments.a;
  const float scale = arguments.scale;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int q0 = (gridDim.x - 1 - blockIdx.x) * kQTile, head = blockIdx.y;  // causal: the rows with most work start first
  const int last_row = min(q0 + kQTile, a.rows) - 1;
  const uint32_t q_tile = shared_address(shared), ring = q_tile + kQTile * kRowBytes<D>;

  // Tiles [first, tiles) are seen by some row of the block. Of them, those in (keys_from, plain) are plain for this warp.
  int* const begins = reinterpret_cast<int*>(shared + kBegins<D>);
  int first = 0, keys_from = 0;
  if (a.starts) {
    const int begin = document_from(a, min(q0 + static_cast<int>(threadIdx.x), last_row));
    begins[threadIdx.x] = begin;
    keys_from = __reduce_max_sync(kAllLanes, begin) / kKTile;
    __syncthreads();
    first = a.columns;
#pragma unroll
    for (int i = 0; i < kQTile / 32; i++) first = min(first, begins[i * 32 + lane]);
    first = __reduce_min_sync(kAllLanes, first) / kKTile;
  } else {
    begins[threadIdx.x] = 0;
  }
  const int keys = min(a.columns, last_row + a.shift + 1), common = min(a.columns, q0 + warp * kWarpRows + a.shift + 1);
  const int tiles = keys > 0 ? ceil_div(keys, kKTile) : 0;
  // A plain tile fetches the next one unchecked, so the last whole one of the chunk is left to the careful step too.
  const int plain = min(common > 0 ? common / kKTile : 0, a.columns / kKTile - 1);
  // Read again where they are wanted, which is rare: they are not worth registers.
  volatile int* const cold = begins + kQTile;
  if (lane == 0) cold[warp * 3] = keys_from, cold[warp * 3 + 1] = plain, cold[warp * 3 + 2] = tiles;
  auto cold_keys_from = [&] { return cold[thread_again() / 32 * 3]; };
  auto cold_plain = [&] { return cold[thread_again() / 32 * 3 + 1]; };
  auto cold_tiles = [&] { return cold[thread_again() / 32 * 3 + 2]; };
  __syncwarp();
  if (first >= tiles && !a.first) return;  // nothing seen: the state stays, bit for bit

  const int kv_head = head / (a.heads / a.kv_heads), first_key = first * kKTile;
  TileCopy<D, kKTile, kThreads, kShortOfRegisters && D == 128> copy_k(a.k, a.kv_heads, kv_head, first_key), copy_v(a.v, a.kv_heads, kv_head, first_key);
  TileCopy<D, kQTile, kThreads>(a.q, a.heads, head, q0)(q_tile, a.rows - q0);
  if (first < tiles) copy_k(ring, a.columns - first_key);
  copy_commit();
  if (first < tiles) copy_v(ring + kTileBytes, a.columns - first_key);
  copy_commit();

  // acc[t][n] is rows 16t.. and columns 8n.. of the warp's part; element e of it is row lane / 4 + e / 2 * 8, column lane % 4 * 2 + e % 2.
  // Row r of a thread is t = r / 2, e / 2 = r % 2. sum is this thread's share only; it is added up over the four threads of a row at the end.
  float acc[2][kOutTiles][4], top[4], sum[4];
  const int row0 = q0 + warp * kWarpRows + lane / 4;
  auto row = [&](int r) { return row0 + r / 2 * 16 + r % 2 * 8; };
#pragma unroll
  for (int r = 0; r < 4; r++) {
    const bool load = !a.first && row(r) < a.rows;
    const int64_t at = int64_t{head} * a.rows + row(r);
    top[r] = load ? a.max[at] : -INFINITY;
    sum[r] = load && lane % 4 == 0 ? a.sum[at] : 0.f;
    const float* from = a.acc + (int64_t{row(r)} * a.heads + head) * D + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < kOutTiles; n++) {
      const float2 x = load ? *reinterpret_cast<const float2*>(from + n * 8) : make_float2(0.f, 0.f);
      acc[r / 2][n][r % 2 * 2] = x.x, acc[r / 2][n][r % 2 * 2 + 1] = x.y;
    }
  }

  const uint32_t q_lane = q_tile + warp * kWarpRows * kRowBytes<D> + lane_offset<D>(Walk::kDownFirst, lane);
  const uint32_t k_lane = lane_offset<D>(Walk::kRightFirst, lane), v_lane = lane_offset<D>(Walk::kDownFirst, lane);
  uint32_t q_frag[kQInRegisters ? kBlocks : 1][2][4];
  if (kQInRegisters) {
    copy_wait<1>();
    __syncthreads();
#pragma unroll
    for (int b = 0; b < kBlocks; b++)
#pragma unroll
      for (int t = 0; t < 2; t++) load_matrices(q_frag[b][t], block_at<D>(q_lane, 16 * t, b));
  }

  uint32_t k_buffer = ring, v_buffer = ring + kTileBytes, next_buffer = ring + 2 * kTileBytes;
  auto enter = [&](int j, auto careful) {
    copy_wait<1>();
    __syncthreads();  // k_j is here for all, and all are done with v_{j-1}, whose buffer takes k_{j+1}
    if (!decltype(careful)::value)
      copy_k.whole(next_buffer);
    else if (j + 1 < cold_tiles())
      copy_k(next_buffer, a.columns - (j + 1) * kKTile);
    copy_commit();
  };
  // False: a plain tile was left undone, because its scores are too far above the reference; or a careful one holds a NaN, and so will the next.
  auto tile_step = [&](int j, auto careful) {
    constexpr bool kCareful = decltype(careful)::value;
    uint32_t p[2][kKTile / 16][4];
    bool all_fit = true;
    constexpr int kAtOnce = kCareful ? 1 : 2;  // row tiles that share a k fragment; a careful step has no registers for two
#pragma unroll
    for (int t0 = 0; t0 < 2; t0 += kAtOnce) {
      if (t0 != 0 && hidden(t0) != t0) return false;  // never; a branch keeps the compiler from working on both row tiles at once
      float score[kAtOnce][kKeyTiles][4] = {};
#pragma unroll
      for (int b = 0; b < kBlocks; b++) {
        uint32_t aq[2][4];
#pragma unroll
        for (int t = t0; t < t0 + kAtOnce; t++)
          if (!kQInRegisters) load_matrices(aq[t], block_at<D>(q_lane, 16 * t, b));
#pragma unroll
        for (int n = 0; n < kKeyTiles; n += 2) {
          uint32_t bk[4];
          load_matrices(bk, block_at<D>(k_buffer + k_lane, n * 8, b));
#pragma unroll
          for (int t = t0; t < t0 + kAtOnce; t++) {
            mma(score[t - t0][n], kQInRegisters ? q_frag[kQInRegisters ? b : 0][t] : aq[t], bk[0], bk[1]);
            mma(score[t - t0][n + 1], kQInRegisters ? q_frag[kQInRegisters ? b : 0][t] : aq[t], bk[2], bk[3]);
          }
        }
      }
      auto at = [&](int r, int n, int e) -> float& { return score[r / 2 - t0][n][r % 2 * 2 + e]; };
      const int thread = kCareful ? thread_again() : 0, row0 = kCareful ? (gridDim.x - 1 - block_x_again()) * kQTile : 0, from = j * kKTile + thread % 4 * 2;
      float new_sum[4];
      bool fits = true;
#pragma unroll
      for (int r = 2 * t0; r < 2 * (t0 + kAtOnce); r++) {
        if (kCareful) {
          const int i = thread / 32 * kWarpRows + thread % 32 / 4 + r / 2 * 16 + r % 2 * 8;
          const int begin = begins[i] - from, limit = min(a.columns - 1 - from, row0 + i + a.shift - from);
          float m = -INFINITY;
#pragma unroll
          for (int n = 0; n < kKeyTiles; n++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
              if (n * 8 + e < begin || n * 8 + e > limit) at(r, n, e) = -INFINITY;
              m = fmaxf(m, at(r, n, e));
            }
          m = fmaxf(m, __shfl_xor_sync(kAllLanes, m, 1));
          m = fmaxf(m, __shfl_xor_sync(kAllLanes, m, 2));
          m = fmaxf(top[r], m * scale);
          const float shrink = m == -INFINITY ? 0.f : exp2_fast(top[r] - m);  // nothing seen yet: acc and sum are 0 anyway
          top[r] = m;
          sum[r] *= shrink;
#pragma unroll
          for (int n = 0; n < kOutTiles; n++) acc[r / 2][n][r % 2 * 2] *= shrink, acc[r / 2][n][r % 2 * 2 + 1] *= shrink;
        }
        const float minus_top = kCareful && top[r] == -INFINITY ? 0.f : -top[r];
        new_sum[r] = sum[r];
        uint32_t signs = 0;  // of p, which has none
#pragma unroll
        for (int n = 0; n < kKeyTiles; n++) {
          const float x = exp2_fast(fmaf(at(r, n, 0), scale, minus_top)), y = exp2_fast(fmaf(at(r, n, 1), scale, minus_top));
          new_sum[r] += x + y;
          signs |= p[r / 2][n / 2][n % 2 * 2 + r % 2] = pack(x, y);  // the layout of a result is that of a left operand
        }
        fits = fits && new_sum[r] < kSumLimit;
        if (kCareful) fits = fits && static_cast<int>(signs) >= 0;  // so p is rounded before the vote: else it is held in f32 beyond it, and spills
        if (kCareful || r == 3) fits = __all_sync(kAllLanes, fits);  // careful: row by row, for the same reason
      }
      all_fit = all_fit && fits;
      if (!kCareful && !fits) return false;
#pragma unroll
      for (int r = 2 * t0; r < 2 * (t0 + kAtOnce); r++) sum[r] = new_sum[r];
    }

    copy_wait<1>();
    __syncthreads();  // v_j is here for all, and all are done with k_j, whose buffer takes v_{j+1}
    if (!kCareful)
      copy_v.whole(k_buffer);
    else if (j + 1 < cold_tiles())
      copy_v(k_buffer, a.columns - (j + 1) * kKTile);
    copy_commit();
#pragma unroll
    for (int b = 0; b < kKTile / 16; b++)
#pragma unroll
      for (int n = 0; n < kOutTiles; n += 2) {
        uint32_t bv[4];
        load_matrices_transposed(bv, block_at<D>(v_buffer + v_lane, b * 16, n / 2));
#pragma unroll
        for (int t = 0; t < 2; t++) {
          mma(acc[t][n], p[t][b], bv[0], bv[1]);
          mma(acc[t][n + 1], p[t][b], bv[2], bv[3]);
        }
      }
    const uint32_t free_buffer = v_buffer;
    v_buffer = k_buffer, k_buffer = next_buffer, next_buffer = free_buffer;
    return all_fit;
  };
  // Warps may take one tile in different ways: both pass the same two barriers and fetch the same pieces.
  bool entered = false;
  for (int j = first; j < cold_tiles(); j++) {
    if (!entered) enter(j, std::true_type{});
    const bool fits = tile_step(j, std::true_type{});
    entered = false;
    if (fits && j >= cold_keys_from())
      while (j + 1 < cold_plain() && !entered) {
        enter(j + 1, std::false_type{});
        if (tile_step(j + 1, std::false_type{}))
          j++;
        else
          entered = true;
      }
  }

  // Where to, computed again: it was known at the start, and would have cost registers all the way.
  const int own_head = block_y_again(), thread = thread_again();
  const int own_row0 = (gridDim.x - 1 - block_x_again()) * kQTile + thread / 32 * kWarpRows + thread % 32 / 4, own_lane = thread % 32;
#pragma unroll
  for (int r = 0; r < 4; r++) {
    const int own_row = own_row0 + r / 2 * 16 + r % 2 * 8;
    sum[r] += __shfl_xor_sync(kAllLanes, sum[r], 1);
    sum[r] += __shfl_xor_sync(kAllLanes, sum[r], 2);
    if (own_row >= a.rows) continue;
    const int64_t at = int64_t{own_head} * a.rows + own_row;
    if (own_lane % 4 == 0) a.max[at] = top[r], a.sum[at] = sum[r];
    float* to = a.acc + (int64_t{own_row} * a.heads + own_head) * D + own_lane % 4 * 2;  // four lanes fill a 32-byte sector
#pragma unroll
    for (int n = 0; n < kOutTiles; n++) *reinterpret_cast<float2*>(to + n * 8) = make_float2(acc[r / 2][n][r % 2 * 2], acc[r / 2][n][r % 2 * 2 + 1]);
  }
}

template <int D>
void start(const Attend& a, const Launch& launch) {
  FPDT_CHECK(a.heads <= 65535, a.heads << " heads are more than a grid takes");
  FPDT_CHECK(kShared<D> <= launch.shared_per_block, "attend needs " << kShared<D> << " bytes of shared memory in a block, the device has " << launch.shared_per_block);
  check(cudaFuncSetAttribute(attend_kernel<D>, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared<D>), "attend");
  const Arguments arguments{a, static_cast<float>(M_LOG2E / std::sqrt(double{D}))};  // rounded once: a large score is off by as much
  attend_kernel<D><<<dim3(ceil_div(a.rows, kQTile), a.heads), kThreads, kShared<D>, launch.stream>>>(arguments);
  check_launch("attend");
}

}  // namespace

void attend_on_tensor_cores(const Attend& a, int head_size, const Launch& launch) { head_size == 64 ? start<64>(a, launch) : start<128>(a, launch); }

}  // namespace fpdt::cuda
