// `attendBackward` on tensor cores: one q chunk meets one kv chunk, bf16 in, f32 gradients, head size 64 or 128.
//
// One kernel with five products, not two with seven (scores and dp twice): those would cost 40 % more tensor time whatever their share of the loop.
// A block keeps kKeys keys of one kv head, 16 per warp, and meets the query tiles of all heads of the group, kQueries rows at a time. Scores are held
// transposed (keys down, queries across), so that p and ds leave the registers of one product as left operand of the next:
//   s' = k q',  dp' = v dO',  dv += p' dO,  dk += ds' q      and, through shared memory,      dq += ds k
// dk and dv stay in registers over all heads of the group and are written once.
//
// dq is summed over the blocks in global memory in the order of their key tiles, which makes it deterministic: a block adds to a query tile when the
// tile's counter says that all earlier key tiles have. Blocks draw their number (ticket) when they start, so whoever is waited for is running, in whatever
// order the hardware starts blocks: no deadlock. Numbers go over kv heads first: neighbours in a chain are kv_heads apart, and only the first wave waits.
// "I have added" is told at the barrier of the next tile, which exists anyway; the wait stands before the barrier that the product ds k needs anyway.
//
// Factors are folded: log2 e and the scale are one multiply-add; p and ds both carry the scale (through the exponent) and dv is divided by it at the end;
// dp starts at -delta instead of 0.
#include "../core/error.h"
#include "attention.h"
#include "status.h"
#include "tile.cuh"

#include <cmath>
#include <type_traits>

namespace fpdt::cuda {
namespace {

struct Arguments {
  AttendBackward a;
  float scale_log2e, log2_scale, unscale;  // from the host: constants are free operands, registers are not
};

// Shared memory: k, v, two stages of (q, dO), ds, two stages of row statistics, the block's number and what it found about documents.
template <int D, int kKeys, int kQueries>
struct Shared {
  static constexpr int kV = kKeys * kRowBytes<D>, kQ = 2 * kV, kStage = 2 * kQueries * kRowBytes<D>, kDs = kQ + 2 * kStage;
  static constexpr int kDsRow = 128;  // bytes of a row of ds, of which kQueries * 2 are used: so the swizzle is that of D = 64
  static constexpr int kStats = kDs + kKeys * kDsRow, kStatsStage = 2 * kQueries * 8, kBlock = kStats + 2 * kStatsStage, kBytes = kBlock + 48;
};

// What is the same for the whole block and rarely asked: read from shared memory each time (volatile), it takes no register of the plain step.
struct Block {
  int ticket, counters, end_counter, first_tile, end_tile, plain_tile, plain_end;
  int seen, seen_before, hidden;  // of documents, while they are looked at
};
static_assert(sizeof(Block) <= 48);

// Documents, for the keys [k0, k0 + keys): one behind the last row that sees any of them, the same for the keys before k0, and the first row that does
// not see all of them, as far as its document is concerned.
struct Documents {
  int end, end_before, masked;
};
template <int kThreads>
__device__ Documents look_at_documents(const Attention& a, int first_row, int k0, int keys, Block& block) {
  if (threadIdx.x == 0) block.seen = block.seen_before = 0, block.hidden = a.rows;
  __syncthreads();
  int end = 0, end_before = 0, masked = a.rows;
  for (int row = first_row + threadIdx.x; row < a.rows; row += kThreads) {
    const int64_t from = a.starts[row] - a.kv_start - k0;
    if (from < keys) end = row + 1;
    if (from < 0) end_before = row + 1;
    if (from > 0) masked = min(masked, row);
  }
  end = __reduce_max_sync(kAllLanes, end), end_before = __reduce_max_sync(kAllLanes, end_before), masked = __reduce_min_sync(kAllLanes, masked);
  if (threadIdx.x % 32 == 0) atomicMax(&block.seen, end), atomicMax(&block.seen_before, end_before), atomicMin(&block.hidden, masked);
  __syncthreads();
  return {block.seen, block.seen_before, block.hidden};
}

template <int D, int kKeys, int kQueries>
__global__ void __launch_bounds__(kKeys * 2, 256 / (kKeys * 2)) attend_backward_kernel(const Arguments arguments) {
  using Layout = Shared<D, kKeys, kQueries>;
  constexpr int kThreads = kKeys * 2, kBlocks = D / 16, kOutTiles = D / 8;
  constexpr int kDqRows = 16, kDqColumns = D == 64 ? 32 : 64, kDqAcross = D / kDqColumns;  // a warp's part of the dq tile
  static_assert(kThreads / 32 * kDqRows * kDqColumns == kQueries * D);
  constexpr int kPerCounter = kOrderRows / kQueries;  // query tiles that share a counter
  extern __shared__ __align__(1024) char shared[];
  const AttendBackward& a = arguments.a;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int query_tiles = ceil_div(a.rows, kQueries), counters = ceil_div(a.rows, kOrderRows), group = a.heads / a.kv_heads;
  Block& block = *reinterpret_cast<Block*>(shared + Layout::kBlock);
  const volatile Block& cold = block;
  if (threadIdx.x == 0) block.ticket = static_cast<int>(atomicAdd(a.order + int64_t{a.heads} * counters, 1u));
  __syncthreads();
  const int ticket = block.ticket;
  const int key_tile = ticket / a.kv_heads, kv_head = ticket % a.kv_heads, k0 = key_tile * kKeys;
  // This block meets the query tiles [first_tile, end_tile), whole counters, and sees all of those in [plain_tile, plain_end). A plain step also fetches
  // the next tile unchecked, so the last whole one is left to the careful step, as are a tile cut off by the end and the change of heads.
  const int first_tile = max(0, k0 - a.shift) / kOrderRows * kPerCounter;
  const int plain_tile = k0 + kKeys <= a.columns ? ceil_div(max(0, k0 + kKeys - 1 - a.shift), kQueries) : query_tiles;
  int end_tile = query_tiles, plain_end = a.rows / kQueries - 1;
  if (a.starts) {
    const Documents documents = look_at_documents<kThreads>(a, first_tile * kQueries, k0, min(kKeys, a.columns - k0), block);
    const int from = max(first_tile / kPerCounter, ceil_div(documents.end_before, kOrderRows)), to = ceil_div(documents.end, kOrderRows);
    end_tile = min(query_tiles, to * kPerCounter);
    plain_end = min(plain_end, min(documents.masked / kQueries, end_tile - 1));
    // Earlier key tiles have nothing for the query tiles behind theirs: this block is the first there, and counts them as done.
    for (int i = threadIdx.x; i < (to - from) * group; i += kThreads)
      store_release(a.order + int64_t{kv_head * group + i / (to - from)} * counters + from + i % (to - from), key_tile);
  }

  const uint32_t base = shared_address(shared), k_tile = base, ds_tile = base + Layout::kDs;
  uint32_t stage = base + Layout::kQ, other_stage = stage + Layout::kStage;
  char *stats = shared + Layout::kStats, *other_stats = stats + Layout::kStatsStage;
  TileCopy<D, kKeys, kThreads>(a.k, a.kv_heads, kv_head, k0)(k_tile, a.columns - k0);
  TileCopy<D, kKeys, kThreads>(a.v, a.kv_heads, kv_head, k0)(base + Layout::kV, a.columns - k0);
  copy_commit();

  TileCopy<D, kQueries, kThreads> copy_q(a.q, a.heads, 0), copy_g(a.dout, a.heads, 0);
  // Row statistics as the loop wants them: exponents and -delta, each as a pair of columns twice, which is how an accumulator holds them.
  // The first kQueries threads look after the exponents, the next after delta; each loads its value during one step and stores it at the end of it.
  // A warp's 32 values fill every other 8 bytes of 512; its second half takes the other ones first, so that no two lanes meet in a bank.
  const bool has_stat = threadIdx.x < 2 * kQueries, is_delta = threadIdx.x >= kQueries;
  const int column = threadIdx.x % kQueries, stat_to = is_delta * kQueries * 8 + column / 2 * 16 + ((column % 2 * 4) ^ (column / 16 % 2 * 8));
  const int head = kv_head * group;
  const int64_t start = (int64_t{first_tile} * kQueries * a.heads + head) * D;
  // From behind the last tile, in values; computed where it is wanted, which is rare.
  auto to_next_head = [&] { return D - int64_t{cold.end_tile - cold.first_tile} * kQueries * hidden(a.heads) * D; };
  copy_q.from = static_cast<const char*>(a.q) + start * 2, copy_g.from = static_cast<const char*>(a.dout) + start * 2;
  const float* stat_from = (is_delta ? a.delta : a.lse) + int64_t{head} * a.rows + first_tile * kQueries + column;
  auto fetch = [&](uint32_t to, int left, auto careful) {  // copies the next tile and returns its statistic
    if (decltype(careful)::value)
      copy_q(to, left), copy_g(to + kQueries * kRowBytes<D>, left);
    else
      copy_q.whole(to), copy_g.whole(to + kQueries * kRowBytes<D>);
    copy_commit();
    const float x = has_stat && (!decltype(careful)::value || (kPerCounter == 1 ? hidden(threadIdx.x) : thread_again()) % kQueries < left) ? *stat_from : 0.f;
    stat_from += kQueries;
    return x;
  };
  auto store_stat = [&](char* to, float x) {
    float y = is_delta ? -x : fmaf(x, -kLog2e, arguments.log2_scale);
    if (y == INFINITY) y = -INFINITY;  // a row that saw nothing: p = 0
    char* const at = to + stat_to;
    if (has_stat) *reinterpret_cast<float*>(at) = *reinterpret_cast<float*>(reinterpret_cast<uintptr_t>(at) ^ 8) = y;
  };

  if (threadIdx.x == 0) {
    block.first_tile = first_tile, block.end_tile = end_tile, block.plain_tile = plain_tile, block.plain_end = plain_end;
    block.counters = counters, block.end_counter = (head + group) * counters;  // of a head; behind the last of this block's heads
  }
  const bool work = first_tile < end_tile;
  if (work) store_stat(stats, fetch(stage, a.rows - first_tile * kQueries, std::true_type{}));
  copy_wait<0>();
  __syncthreads();
  const uint32_t down = lane_offset<D>(Walk::kDownFirst, lane), right = lane_offset<D>(Walk::kRightFirst, lane);
  const uint32_t k_rows = k_tile + warp * 16 * kRowBytes<D> + down, v_rows = k_rows + Layout::kV;
  float dk[kOutTiles][4] = {}, dv[kOutTiles][4] = {};
  const uint32_t ds_store = ds_tile + (warp * 16 + lane / 4) * Layout::kDsRow + ((lane / 4 & 7) * 16) + lane % 4 * 4;
  const int dq_row = warp / kDqAcross * kDqRows, dq_column = warp % kDqAcross * kDqColumns;
  // Per query tile: its counter, and this thread's first value of dq, which is held transposed (columns down, queries across): so the eight lanes that
  // share lane % 4 fill the eight columns of a 32-byte sector with each addition.
  // announce is the counter of the tile before, which is told one step late, when a barrier has passed anyway; at first it is a word that nobody reads,
  // and -1 when a counter is not done with.
  int counter = head * counters + first_tile / kPerCounter, announce = kPerCounter == 1 ? a.heads * counters + 1 : -1;
  const int64_t dq_pitch = int64_t{a.heads} * D;
  float* dq_to = a.dq + (first_tile * kQueries + dq_row + lane % 4 * 2) * dq_pitch + head * D + dq_column + lane / 4;

  auto step = [&](int tile, auto careful) {
    constexpr bool kCareful = decltype(careful)::value;
    copy_wait<0>();
    __syncthreads();  // this tile is here, and all are done with the one before
    if (threadIdx.x == 0 && (kPerCounter == 1 || announce >= 0)) store_release(a.order + announce, key_tile + 1);
    float stat = 0.f;
    if (!kCareful || tile + 1 < cold.end_tile) {
      stat = fetch(other_stage, a.rows - (tile + 1) * kQueries, careful);
    } else if (counter + cold.counters < cold.end_counter) {  // there is another head
      const int64_t bytes = to_next_head() * 2;
      copy_q.from += bytes, copy_g.from += bytes, stat_from += a.rows - (cold.end_tile - cold.first_tile) * kQueries;
      stat = fetch(other_stage, a.rows - cold.first_tile * kQueries, careful);
    }

    const uint32_t q_tile = stage, g_tile = stage + kQueries * kRowBytes<D>;
    constexpr int kUnroll = kCareful ? 1 : kQueries / 16;  // the careful step is rare and needs registers for its masks
#pragma unroll kUnroll
    for (int c = 0; c < kQueries / 16; c++) {
      float score[2][4] = {}, dp[2][4];
#pragma unroll
      for (int n = 0; n < 2; n++) {
        const float4 x = *reinterpret_cast<const float4*>(stats + (kQueries / 2 + c * 8 + n * 4 + lane % 4) * 16);
        dp[n][0] = x.x, dp[n][1] = x.y, dp[n][2] = x.z, dp[n][3] = x.w;
      }
#pragma unroll
      for (int b = 0; b < kBlocks; b++) {
        uint32_t ka[4], va[4], x[4], y[4];  // holding all of k and v in registers would spill
        load_matrices(ka, block_at<D>(k_rows, 0, b));
        load_matrices(va, block_at<D>(v_rows, 0, b));
        load_matrices(x, block_at<D>(q_tile + right, 16 * c, b));
        load_matrices(y, block_at<D>(g_tile + right, 16 * c, b));
        mma(score[0], ka, x[0], x[1]);
        mma(score[1], ka, x[2], x[3]);
        mma(dp[0], va, y[0], y[1]);
        mma(dp[1], va, y[2], y[3]);
      }
      uint32_t p[4], ds[4];
#pragma unroll
      for (int n = 0; n < 2; n++) {
        const float2 exponent = *reinterpret_cast<const float2*>(stats + (c * 8 + n * 4 + lane % 4) * 16);
        float pf[4];
#pragma unroll
        for (int e = 0; e < 4; e++) {
          pf[e] = exp2_fast(fmaf(score[n][e], arguments.scale_log2e, e % 2 ? exponent.y : exponent.x));
          if (kCareful) {
            const int key = hidden(key_tile) * kKeys + warp * 16 + lane / 4 + e / 2 * 8, query = tile * kQueries + c * 16 + n * 8 + lane % 4 * 2 + e % 2;
            // Where nothing is seen exp2 may have overflowed, and dp may be NaN.
            if (key >= a.columns || key > query + a.shift || (a.starts && query < a.rows && key + a.kv_start < a.starts[query])) pf[e] = dp[n][e] = 0.f;
          }
          dp[n][e] *= pf[e];
        }
#pragma unroll
        for (int r = 0; r < 2; r++) {
          p[n * 2 + r] = pack(pf[2 * r], pf[2 * r + 1]);
          ds[n * 2 + r] = pack(dp[n][2 * r], dp[n][2 * r + 1]);
          asm volatile("st.shared.b32 [%0], %1;" ::"r"((ds_store ^ ((c * 2 + n) * 16)) + r * 8 * Layout::kDsRow), "r"(ds[n * 2 + r]) : "memory");
        }
      }
#pragma unroll
      for (int n = 0; n < kOutTiles; n += 2) {
        uint32_t x[4], y[4];
        load_matrices_transposed(y, block_at<D>(g_tile + down, 16 * c, n / 2));
        load_matrices_transposed(x, block_at<D>(q_tile + down, 16 * c, n / 2));
        mma(dv[n], p, y[0], y[1]);
        mma(dv[n + 1], p, y[2], y[3]);
        mma(dk[n], ds, x[0], x[1]);
        mma(dk[n + 1], ds, x[2], x[3]);
      }
    }
    store_stat(other_stats, stat);
    if (tile % kPerCounter == 0)
      while (!__all_sync(kAllLanes, load_acquire(a.order + counter) == static_cast<uint32_t>(key_tile))) {
      }
    const bool counted = kPerCounter == 1 || tile % kPerCounter == kPerCounter - 1 || (kCareful && tile + 1 == cold.end_tile);
    announce = counted ? counter++ : -1;
    __syncthreads();  // ds is complete, and it is our turn to add to this tile of dq

    // D = 128 has no registers left to hold these through the products above.
    const int thread = D == 64 ? threadIdx.x : thread_again(), own_lane = thread % 32, own_warp = thread / 32;
    const uint32_t ds_from = (ds_tile + lane_offset<64>(Walk::kDownFirst, own_lane)) ^ (own_warp / kDqAcross * kDqRows * 2);
    const int own_column = own_warp % kDqAcross * kDqColumns;
    const uint32_t k_from = ((k_tile + lane_offset<D>(Walk::kRightFirst, own_lane)) ^ (own_column % 64 * 2)) + own_column / 64 * 128;
    float dq[kDqColumns / 16][2][4] = {};
#pragma unroll
    for (int b = 0; b < kKeys / 16; b++) {
      uint32_t y[4];
      load_matrices_transposed(y, block_at<64>(ds_from, 16 * b, 0));
#pragma unroll
      for (int t = 0; t < kDqColumns / 16; t++) {
        uint32_t x[4];
        load_matrices_transposed(x, block_at<D>(k_from, 16 * b, t));
        mma(dq[t][0], x, y[0], y[1]);
        mma(dq[t][1], x, y[2], y[3]);
      }
    }
    // Nobody else adds to this tile now; atomics only spare the wait for a load. One that returns nothing is a single instruction.
#pragma unroll
    for (int r = 0; r < 4; r++) {  // rows 0, 1, 8 and 9 from this thread's first; its pointer walks along, for want of registers for four
      constexpr int kStep[] = {1, 7, 1, kQueries - 9};
      if (!kCareful || tile * kQueries + thread_again() / 32 / kDqAcross * kDqRows + r / 2 * 8 + thread_again() % 4 * 2 + r % 2 < a.rows)
#pragma unroll
        for (int t = 0; t < kDqColumns / 16; t++)
#pragma unroll
          for (int half = 0; half < 2; half++) atomicAdd(dq_to + t * 16 + half * 8, dq[t][r / 2][half * 2 + r % 2]);
      dq_to += kStep[r] * dq_pitch;
    }
    const uint32_t swap = stage;
    stage = other_stage, other_stage = swap;
    char* const swap_stats = stats;
    stats = other_stats, other_stats = swap_stats;
  };
  if (work)
    while (counter < cold.end_counter) {  // for each head
      int tile = cold.first_tile;
      while (tile < cold.end_tile) {
        if (tile >= cold.plain_tile)
          for (; tile < cold.plain_end; tile++) step(tile, std::false_type{});
        step(tile++, std::true_type{});
      }
      counter += cold.counters - ceil_div(cold.end_tile - cold.first_tile, kPerCounter), dq_to += to_next_head();
    }
  __syncthreads();
  if (threadIdx.x == 0 && (kPerCounter == 1 || announce >= 0)) store_release(a.order + announce, key_tile + 1);

  const int own_head = block.ticket % a.kv_heads;  // read again: not worth a register until here
  const int own_k0 = block.ticket / a.kv_heads * kKeys;
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const int row = own_k0 + warp * 16 + r * 8 + lane / 4;
    if (row >= a.columns) continue;
    const int64_t at = (int64_t{row} * a.kv_heads + own_head) * D + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < kOutTiles; n++) {
      float2 *to_k = reinterpret_cast<float2*>(a.dk + at + n * 8), *to_v = reinterpret_cast<float2*>(a.dv + at + n * 8);
      const float2 nothing = make_float2(0.f, 0.f), x = a.first_kv ? nothing : *to_k, y = a.first_kv ? nothing : *to_v;
      *to_k = make_float2(x.x + dk[n][2 * r], x.y + dk[n][2 * r + 1]);
      *to_v = make_float2(fmaf(dv[n][2 * r], arguments.unscale, y.x), fmaf(dv[n][2 * r + 1], arguments.unscale, y.y));
    }
  }
}

template <int D, int kKeys, int kQueries>
void start(const AttendBackward& a, const Launch& launch) {
  constexpr int kBytes = Shared<D, kKeys, kQueries>::kBytes;
  FPDT_CHECK(kBytes <= launch.shared_per_block, "attendBackward needs " << kBytes << " bytes of shared memory in a block, the device has " << launch.shared_per_block);
  check(cudaMemsetAsync(a.order, 0, order_words(a.rows, a.heads) * sizeof(uint32_t), launch.stream), "attendBackward");
  // Rows that see nothing of this chunk must get zeros too, and one way to add is less than two.
  if (a.first_q) check(cudaMemsetAsync(a.dq, 0, sizeof(float) * a.rows * a.heads * D, launch.stream), "attendBackward");
  const auto kernel = attend_backward_kernel<D, kKeys, kQueries>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes), "attendBackward");
  const double root = std::sqrt(double{D});
  const Arguments arguments{a, static_cast<float>(M_LOG2E / root), static_cast<float>(-std::log2(root)), static_cast<float>(root)};
  kernel<<<ceil_div(a.columns, kKeys) * a.kv_heads, kKeys * 2, kBytes, launch.stream>>>(arguments);
  check_launch("attendBackward");
}

}  // namespace

void attend_backward_on_tensor_cores(const AttendBackward& a, int head_size, const Launch& launch) {
  if (head_size == 64) return start<64, 128, 64>(a, launch);
  // 150 KB where a block may have them (sm_80, sm_90, sm_100), else 75 (sm_86, sm_89, sm_120 have 99)
  if (Shared<128, 128, 64>::kBytes <= launch.shared_per_block) return start<128, 128, 64>(a, launch);
  start<128, 64, 32>(a, launch);
}

}  // namespace fpdt::cuda
