// Lesson 3: fetch once, use 64 times.
//
// In lesson 2 each of the 64 rows of a block reads each key from global memory. An A100 reads 2.0 TB/s from there and does 19.5 TFLOP/s in f32: ten
// operations for every byte, or it starves. A score costs 4 D operations (q . k, then p v) and, read by a row alone, 4 D bytes of k and v: one operation
// a byte. The cure is the oldest of all: bring a tile of keys and values to where all threads of the block can reach it quickly (shared memory, some
// 19 TB/s over all multiprocessors), and let 64 rows use it before it goes. Now a byte from global memory serves 64 operations.
//
// A block has 256 threads for 64 rows, four neighbours for each row, and goes over the keys in tiles of 32:
//
//     all       copy 32 rows of k and of v into shared memory
//     scores    thread `part` of a row takes keys part, part + 4, ...: eight scores
//     softmax   once a tile, not once a key: the four find their common maximum by two shuffles and shrink once
//     output    p goes through shared memory, because each of the four needs all p of the row for its own D / 4 columns of acc, which stay in registers
//
// A barrier stands wherever one thread reads what another has written. And the rows in shared memory are one word longer than they need be: there are
// 32 banks, word i is in bank i % 32, and reads of two words in one bank take turns. Rows of 64 words would put all eight rows that a warp reads into the
// same bank; rows of 65 put them into eight different ones.
//
// What is left to gain is arithmetic: each product is one instruction for one number. Lesson 4 does 2048 products with one.
//
// Launch: <<<dim3(ceil(rows / 64), heads), 256>>>. D up to 128. Tensors as in lesson 1.
#include <cuda_bf16.h>

constexpr int kThreads = 256, kRows = 64, kKeys = 32, kParts = kThreads / kRows, kMostHead = 128;
constexpr int kPairs = kMostHead / 2 + 1;  // words of a row in shared memory

// Rows 0 .. count - 1 of a head, two numbers a word; what is not there is 0, which adds nothing to any score or output.
template <int kCount>
__device__ void copy(__nv_bfloat162 (&tile)[kCount][kPairs], const __nv_bfloat16* from, size_t stride, int count, int head_size) {
  const int pairs = (head_size + 1) / 2;
  for (int i = threadIdx.x; i < kCount * pairs; i += kThreads) {
    const int row = i / pairs, d = i % pairs * 2;
    __nv_bfloat162 both = {__float2bfloat16(0), __float2bfloat16(0)};
    if (row < count) both.x = from[row * stride + d];
    if (row < count && d + 1 < head_size) both.y = from[row * stride + d + 1];
    tile[row][d / 2] = both;
  }
}
__device__ float over_parts(float x, bool largest) {  // of the four threads of a row
  for (int lane = 1; lane < kParts; lane *= 2) {
    const float y = __shfl_xor_sync(~0u, x, lane);
    x = largest ? fmaxf(x, y) : x + y;
  }
  return x;
}

extern "C" __global__ void __launch_bounds__(kThreads)
    attend(int rows, int columns, int heads, int head_size, int q_start, int kv_start, int first,
           const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v, float* acc, float* max, float* sum) {
  __shared__ __nv_bfloat162 q_tile[kRows][kPairs], k_tile[kKeys][kPairs], v_tile[kKeys][kPairs];
  __shared__ float p_tile[kRows][kKeys + 4];  // 8 rows x 4 threads write 32 banks
  const int part = threadIdx.x % kParts, own = threadIdx.x / kParts, row0 = blockIdx.x * kRows, row = row0 + own, head = blockIdx.y;
  const size_t stride = size_t(heads) * head_size, statistic = size_t(head) * rows + row, output = row * stride + size_t(head) * head_size;
  q += row0 * stride + size_t(head) * head_size, k += size_t(head) * head_size, v += size_t(head) * head_size;
  const int pairs = (head_size + 1) / 2, seen = row < rows ? min(columns, q_start + row + 1 - kv_start) : 0;
  const int most = min(columns, q_start + min(rows, row0 + kRows) - kv_start);  // keys that any row of the block sees
  const float scale = 1.44269504f / sqrtf(head_size);

  const bool load = !first && row < rows;
  float top = load ? max[statistic] : -INFINITY, total = load ? sum[statistic] : 0;
  float2 o[kMostHead / 2 / kParts];  // pair i of the thread is pair part + 4 i of the row
#pragma unroll
  for (int i = 0; i < kMostHead / 2 / kParts; i++) {
    const int d = (part + kParts * i) * 2;
    o[i] = {load && d < head_size ? acc[output + d] : 0, load && d + 1 < head_size ? acc[output + d + 1] : 0};
  }
  copy(q_tile, q, stride, rows - row0, head_size);

  for (int key0 = 0; key0 < most; key0 += kKeys) {
    __syncthreads();  // all are done with the tile before
    copy(k_tile, k + key0 * stride, stride, columns - key0, head_size);
    copy(v_tile, v + key0 * stride, stride, columns - key0, head_size);
    __syncthreads();

    float s[kKeys / kParts] = {}, highest = top;
    for (int i = 0; i < pairs; i++) {
      const float2 x = __bfloat1622float2(q_tile[own][i]);
#pragma unroll
      for (int j = 0; j < kKeys / kParts; j++) {
        const float2 y = __bfloat1622float2(k_tile[part + kParts * j][i]);
        s[j] += x.x * y.x + x.y * y.y;
      }
    }
#pragma unroll
    for (int j = 0; j < kKeys / kParts; j++) {
      s[j] = key0 + part + kParts * j < seen ? s[j] * scale : -INFINITY;
      highest = fmaxf(highest, s[j]);
    }
    highest = over_parts(highest, true);
    const float shrink = highest == top ? 1 : exp2f(top - highest);  // equal where the row has seen nothing at all: -inf - -inf is no number
    float tile_sum = 0;
#pragma unroll
    for (int j = 0; j < kKeys / kParts; j++) {
      const float p = highest == -INFINITY ? 0 : exp2f(s[j] - highest);
      p_tile[own][part + kParts * j] = p;
      tile_sum += p;
    }
    total = total * shrink + over_parts(tile_sum, false), top = highest;
    __syncwarp();  // the four threads of a row are of one warp: its p is complete

#pragma unroll
    for (float2& x : o) x.x *= shrink, x.y *= shrink;
    for (int j = 0; j < kKeys; j++) {
      const float p = p_tile[own][j];
#pragma unroll
      for (int i = 0; i < kMostHead / 2 / kParts; i++) {
        if (part + kParts * i >= pairs) break;
        const float2 x = __bfloat1622float2(v_tile[j][part + kParts * i]);
        o[i].x += p * x.x, o[i].y += p * x.y;
      }
    }
  }

  __syncwarp();  // all four have read the state of their row, before one writes it
  if (row >= rows) return;
#pragma unroll
  for (int i = 0; i < kMostHead / 2 / kParts; i++) {
    const int d = (part + kParts * i) * 2;
    if (d < head_size) acc[output + d] = o[i].x;
    if (d + 1 < head_size) acc[output + d + 1] = o[i].y;
  }
  if (part == 0) max[statistic] = top, sum[statistic] = total;
}
