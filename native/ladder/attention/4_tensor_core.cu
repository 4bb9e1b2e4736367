// Lesson 4: let the tensor cores multiply.
//
// A tensor core multiplies small matrices whole. The instruction mma.m16n8k16 does C += A B with A 16 x 16 and B 16 x 8 in bf16 and C 16 x 8 in f32: 2048
// multiply-adds for a warp, in one instruction. An A100 does 312 TFLOP/s so, sixteen times what lesson 3 can reach. Both products of attention become such
// matrices: S = Q K' and O += P V. Nothing else changes: the same tiles, the same online softmax.
//
// The price is that a matrix is spread over the registers of a warp in a fixed way, and data must arrive there. Of the 16 x 8 result, lane l holds
// columns 2 (l % 4) and 2 (l % 4) + 1 of rows l / 4 and l / 4 + 8:
//
//              columns 0 1   2 3   4 5   6 7
//     row 0          l 0    l 1    l 2    l 3
//     row 1          l 4    l 5    l 6    l 7        so a row belongs to four lanes, and its maximum takes two shuffles, as in lesson 3
//     ...
//     row 7          l 28   l 29   l 30   l 31
//     row 8          l 0    l 1    l 2    l 3
//
// Two facts make attention fit so well:
//
//   1. The operand A wants its 16 x 16 numbers exactly where two results side by side leave theirs. So the scores of 16 rows and 16 keys become, after
//      softmax and rounding to bf16, the left operand of P V: p never leaves the registers (lesson 3 took it through shared memory).
//   2. ldmatrix reads 8 x 8 blocks from shared memory into just this layout, and can transpose on the way: S needs K with D across, P V needs V with
//      keys across, and both lie in shared memory as they lie in global memory.
//
// A block is four warps; each has 16 of its 64 rows. Rows in shared memory are 16 bytes longer than they need be, so that the eight rows that ldmatrix reads
// at once are in different banks. Head sizes up to 64 and up to 128 are padded to that with zeros.
//
// The kernel that ships (native/cuda/attention_forward.cu) is this lesson and four more: cp.async fetches the next tiles while this one is worked on; a
// warp has 32 rows, so that a fragment of k or v serves two products; the maximum is left alone while sums stay in range; nothing is computed twice
// that an xor or an addition can continue. Its loop is 28 % (D = 64) and 40 % (D = 128) tensor instructions on sm_80 (native/cuda/FIGURES.md).
//
// Launch: <<<dim3(ceil(rows / 64), heads), 128>>>. D up to 128. Tensors as in lesson 1.
#include <cuda_bf16.h>

#include <cstdint>

constexpr int kThreads = 128, kRows = 64, kKeys = 32, kMostHead = 128;

// Four 8 x 8 blocks: lane l gives the address of row l % 8 of block l / 8.
__device__ void load_blocks(uint32_t (&r)[4], const __nv_bfloat16* row) {
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}
__device__ void load_blocks_transposed(uint32_t (&r)[4], const __nv_bfloat16* row) {
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}
__device__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ uint32_t pair(float low, float high) {
  const __nv_bfloat162 x = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&x);
}
__device__ float over_row(float x, bool largest) {  // the four lanes of a row
  for (int lane = 1; lane < 4; lane *= 2) {
    const float y = __shfl_xor_sync(~0u, x, lane);
    x = largest ? fmaxf(x, y) : x + y;
  }
  return x;
}

template <int D>
constexpr int kPitch = D + 8;  // numbers of a row in shared memory

// Rows of a head, 16 bytes at a time where all rows begin at a multiple of that (kWhole), zeros for what is not there.
template <int D, bool kWhole>
__device__ void copy(__nv_bfloat16* tile, int tile_rows, const __nv_bfloat16* from, size_t stride, int count, int head_size) {
  for (int i = threadIdx.x; i < tile_rows * (D / 8); i += kThreads) {
    const int row = i / (D / 8), d = i % (D / 8) * 8;
    uint4* const to = reinterpret_cast<uint4*>(tile + row * kPitch<D> + d);
    if (kWhole) {
      *to = row < count && d < head_size ? *reinterpret_cast<const uint4*>(from + row * stride + d) : uint4{0, 0, 0, 0};
    } else {
      float x[8];
      for (int e = 0; e < 8; e++) x[e] = row < count && d + e < head_size ? __bfloat162float(from[row * stride + d + e]) : 0;
      *to = {pair(x[0], x[1]), pair(x[2], x[3]), pair(x[4], x[5]), pair(x[6], x[7])};
    }
  }
}

template <int D, bool kWhole>
__device__ void attend_padded(__nv_bfloat16* shared, int rows, int columns, int heads, int head_size, int q_start, int kv_start, int first,
                              const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v, float* acc, float* max, float* sum) {
  __nv_bfloat16 *q_tile = shared, *k_tile = q_tile + kRows * kPitch<D>, *v_tile = k_tile + kKeys * kPitch<D>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, row0 = blockIdx.x * kRows, head = blockIdx.y;
  const size_t stride = size_t(heads) * head_size;
  q += row0 * stride + size_t(head) * head_size, k += size_t(head) * head_size, v += size_t(head) * head_size;
  acc += row0 * stride + size_t(head) * head_size, max += size_t(head) * rows + row0, sum += size_t(head) * rows + row0;
  const int most = min(columns, q_start + min(rows, row0 + kRows) - kv_start);  // keys that any row of the block sees
  const float scale = 1.44269504f / sqrtf(head_size);

  // Row r (0 or 1) of a lane: which one of the block, and how many keys it sees.
  int own[2], seen[2];
  float top[2], total[2], o[D / 8][4];
#pragma unroll
  for (int r = 0; r < 2; r++) {
    own[r] = warp * 16 + lane / 4 + r * 8;
    const bool load = !first && row0 + own[r] < rows;
    seen[r] = min(columns, q_start + row0 + own[r] + 1 - kv_start);
    top[r] = load ? max[own[r]] : -INFINITY;
    total[r] = load ? sum[own[r]] : 0;
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int d = n * 8 + lane % 4 * 2 + e;
        o[n][r * 2 + e] = load && d < head_size ? acc[own[r] * stride + d] : 0;
      }
  }
  copy<D, kWhole>(q_tile, kRows, q, stride, rows - row0, head_size);

  for (int key0 = 0; key0 < most; key0 += kKeys) {
    __syncthreads();  // all are done with the tile before
    copy<D, kWhole>(k_tile, kKeys, k + key0 * stride, stride, columns - key0, head_size);
    copy<D, kWhole>(v_tile, kKeys, v + key0 * stride, stride, columns - key0, head_size);
    __syncthreads();

    float s[kKeys / 8][4] = {};
#pragma unroll
    for (int b = 0; b < D / 16; b++) {
      uint32_t left[4];  // blocks: rows 0-7, rows 8-15, and both again 8 columns to the right
      load_blocks(left, q_tile + (warp * 16 + lane % 16) * kPitch<D> + b * 16 + lane / 16 * 8);
#pragma unroll
      for (int n = 0; n < kKeys / 8; n += 2) {
        uint32_t right[4];  // keys 0-7 and the same 8 columns to the right, then keys 8-15
        load_blocks(right, k_tile + (n * 8 + lane / 16 * 8 + lane % 8) * kPitch<D> + b * 16 + lane / 8 % 2 * 8);
        multiply_add(s[n], left, right[0], right[1]);
        multiply_add(s[n + 1], left, right[2], right[3]);
      }
    }

    uint32_t p[kKeys / 16][4];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float highest = top[r];
#pragma unroll
      for (int n = 0; n < kKeys / 8; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          float& x = s[n][r * 2 + e];
          x = key0 + n * 8 + lane % 4 * 2 + e < seen[r] ? x * scale : -INFINITY;
          highest = fmaxf(highest, x);
        }
      highest = over_row(highest, true);
      const float shrink = highest == top[r] ? 1 : exp2f(top[r] - highest), reference = highest == -INFINITY ? 0 : highest;
      float tile_sum = 0;
#pragma unroll
      for (int n = 0; n < kKeys / 8; n++) {
        const float x = exp2f(s[n][r * 2] - reference), y = exp2f(s[n][r * 2 + 1] - reference);
        tile_sum += x + y;
        p[n / 2][n % 2 * 2 + r] = pair(x, y);  // fact 1: a result is a left operand
      }
      total[r] = total[r] * shrink + over_row(tile_sum, false), top[r] = highest;
#pragma unroll
      for (int n = 0; n < D / 8; n++) o[n][r * 2] *= shrink, o[n][r * 2 + 1] *= shrink;
    }

#pragma unroll
    for (int b = 0; b < kKeys / 16; b++)
#pragma unroll
      for (int n = 0; n < D / 8; n += 2) {
        uint32_t right[4];  // fact 2: transposed on the way
        load_blocks_transposed(right, v_tile + (b * 16 + lane % 16) * kPitch<D> + n * 8 + lane / 16 * 8);
        multiply_add(o[n], p[b], right[0], right[1]);
        multiply_add(o[n + 1], p[b], right[2], right[3]);
      }
  }

  __syncwarp();  // all lanes have read the state of their rows, before one writes it
#pragma unroll
  for (int r = 0; r < 2; r++) {
    if (row0 + own[r] >= rows) continue;
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
      for (int e = 0; e < 2; e++)
        if (const int d = n * 8 + lane % 4 * 2 + e; d < head_size) acc[own[r] * stride + d] = o[n][r * 2 + e];
    if (lane % 4 == 0) max[own[r]] = top[r], sum[own[r]] = total[r];
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    attend(int rows, int columns, int heads, int head_size, int q_start, int kv_start, int first,
           const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v, float* acc, float* max, float* sum) {
  __shared__ __align__(16) __nv_bfloat16 shared[(kRows + 2 * kKeys) * kPitch<kMostHead>];
  const bool whole = head_size % 8 == 0 && (reinterpret_cast<uintptr_t>(q) | reinterpret_cast<uintptr_t>(k) | reinterpret_cast<uintptr_t>(v)) % 16 == 0;
  auto run = [&](auto attend) { attend(shared, rows, columns, heads, head_size, q_start, kv_start, first, q, k, v, acc, max, sum); };
  if (head_size <= 64) whole ? run([](auto... x) { attend_padded<64, true>(x...); }) : run([](auto... x) { attend_padded<64, false>(x...); });
  else whole ? run([](auto... x) { attend_padded<128, true>(x...); }) : run([](auto... x) { attend_padded<128, false>(x...); });
}
