// Chunk attention for what the tensor-core kernels do not take: f32, and every head size from 1 up. All arithmetic is f32 (no tf32), exponentials are
// those of the full-precision library.
//
// A block of 256 threads works on tiles of 64 x 64 scores, a thread on 4 x 4 of them: rows 4 y + i and columns x + 16 j, with x = thread % 16 and
// y = thread / 16. Two products make up every kernel here:
//   scores(a, b)    s = a b'     64 rows of `a` against 64 rows of `b`, over the head size in slices of 16
//   add_product(p)  acc += p v   the tile p in shared memory against 64 rows of `v`, of which a thread holds 4 rows and kColumns / 16 columns
// Forward owns query rows. Backward is a kernel for each output: dq owns query rows, dk and dv own key rows. Each computes the scores that it needs, which
// makes eight products where five would do; in return no two blocks write the same number, so the bits do not depend on the order of blocks, and one
// accumulator is all that a thread holds.
//
// A head wider than kColumns is done kColumns at a time, scores anew each time. Any head size is right, those up to 128 do nothing twice.
#include <cmath>
#include <type_traits>

#include "../core/error.h"
#include "attention.h"
#include "numeric.cuh"
#include "status.h"

namespace fpdt::cuda {
namespace {

constexpr int kTile = 64, kSlice = 16, kThreads = 256, kAcross = 16, kEach = 4;
template <int kColumns>
constexpr int kBlocks = kColumns == 64 ? 2 : 1;  // on a multiprocessor: 128 registers hold the sums of 64 columns, not those of 128
constexpr int kPitch = kTile + 4;  // of p in shared memory: rows 4 apart begin 16 banks apart, so the 2 x 16 lanes of a warp write 32 banks

// ------------------------------------------------------------------------------------------------------------------------- calls
// Letters as in schedule/values.ts: C rows of the q chunk, H query heads, G kv heads, D head size. Layouts: q, dO (C, H, D) T; k, v (columns, G, D) T;
// dq (C, H, D), dk, dv (columns, G, D), lse, delta (H, C) f32.
struct Sizes {
  int rows, columns, heads, kv_heads, head_size;
  int64_t q_start, kv_start;  // positions of the first rows in the sequence
  const int32_t* starts;      // (C) position of the first token of a row's document, or null: 0
  bool vectors;               // all tensors can be read and written four elements at a time

  __host__ __device__ int group() const { return heads / kv_heads; }
};
// The keys of the chunk that a row sees are [from, to), which may be empty. Starts are data: any must be safe.
struct alignas(8) Seen {  // one access to shared memory
  int from, to;
  __device__ bool has(int key) const { return from <= key && key < to; }
  __device__ bool any(int begin) const { return max(from, begin) < min(to, begin + kTile); }  // of a tile of keys
};
// What is known of the 64 query rows of a tile, in shared memory: registers are for sums.
struct Queries {
  Seen seen[kTile];
  float lse[kTile], delta[kTile];
};
__device__ Seen seen_by(const Sizes& s, int row) {
  if (row >= s.rows) return {0, 0};
  const int64_t columns = s.columns, to = s.q_start + row + 1 - s.kv_start, from = s.starts ? s.starts[row] - s.kv_start : 0;
  return {static_cast<int>(min(max(from, int64_t{0}), columns)), static_cast<int>(min(max(to, int64_t{0}), columns))};
}

// Hides that a value does not change: what follows from it is computed anew where it is needed, not kept in registers across the loop between.
__device__ __forceinline__ int hidden(int x) {
  asm volatile("" : "+r"(x));
  return x;
}

// Rows of one head of a tensor, from the first row of a tile on: `count` of them are in the tensor.
template <class T>
struct Rows {
  const T* first;
  int64_t stride;
  int count;
};
template <class T>
__device__ Rows<T> rows_of(const T* tensor, int heads, int head, int head_size, int row, int rows) {
  const int64_t stride = static_cast<int64_t>(heads) * head_size;
  return {tensor + row * stride + static_cast<int64_t>(head) * head_size, stride, rows - row};
}

// ---------------------------------------------------------------------------------------------------------------------- products
template <int kColumns>
struct Shared {
  float a[kTile * kSlice], b[kTile * kSlice];  // slices of the two factors of the scores, swizzled: see at()
  float p[kTile * kPitch];
  float v[kSlice * kColumns];
};

// Where the four elements 4 * piece .. of a row of a slice stand. A row is 16 banks long; the xor makes any 8 rows at one piece (as scores() reads) and
// any 2 rows with all pieces (as load_slice() writes) fall into all 32 banks once.
__device__ __forceinline__ int at(int row, int piece) { return row * kSlice + ((piece ^ (row >> 1 & 3)) * 4); }

// Four elements of a row from `d` on, zeros where the row or the head has ended.
template <class T>
__device__ __forceinline__ float4 load_four(const Rows<T>& rows, int row, int d, int head_size, bool vectors) {
  float x[4] = {};
  if (row < rows.count && d < head_size) {
    const T* from = rows.first + row * rows.stride + d;
    if (vectors) {
      load<4>(from, x);
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++)
        if (d + i < head_size) x[i] = to_f32(from[i]);
    }
  }
  return make_float4(x[0], x[1], x[2], x[3]);
}
template <class T>
__device__ __forceinline__ void load_slice(float* slice, const Rows<T>& rows, int d0, const Sizes& s) {
  const int row = threadIdx.x / 4, piece = threadIdx.x % 4;
  *reinterpret_cast<float4*>(slice + at(row, piece)) = load_four(rows, row, d0 + piece * 4, s.head_size, s.vectors);
}

__device__ __forceinline__ float dot(float4 a, float4 b, float sum) { return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum)))); }

// out = a b', this thread's 4 x 4. Every slice is summed by itself and then added: a sum of D products in one chain is off by up to D roundings of its
// size, which in scores of thousands is more than a softmax bears (test/backend/attention.test.ts); this one by about 16 + D / 16.
template <int kColumns, class T>
__device__ __forceinline__ void scores(float (&out)[kEach][kEach], Shared<kColumns>& shared, const Rows<T>& a, const Rows<T>& b, const Sizes& s) {
  const int x = threadIdx.x % kAcross, y = threadIdx.x / kAcross;
#pragma unroll
  for (int i = 0; i < kEach; i++)
#pragma unroll
    for (int j = 0; j < kEach; j++) out[i][j] = 0;
  for (int d0 = 0; d0 < s.head_size; d0 += kSlice) {
    __syncthreads();  // all are done with the slices before
    load_slice(shared.a, a, d0, s);
    load_slice(shared.b, b, d0, s);
    __syncthreads();
    float part[kEach][kEach] = {};
#pragma unroll 1  // 64 multiply-adds are enough to hide loads behind; more of them at once would not fit the registers
    for (int piece = 0; piece < kSlice / 4; piece++) {
      float4 left[kEach];
#pragma unroll
      for (int i = 0; i < kEach; i++) left[i] = *reinterpret_cast<const float4*>(shared.a + at(y * kEach + i, piece));
#pragma unroll
      for (int j = 0; j < kEach; j++) {
        const float4 right = *reinterpret_cast<const float4*>(shared.b + at(x + kAcross * j, piece));
#pragma unroll
        for (int i = 0; i < kEach; i++) part[i][j] = dot(left[i], right, part[i][j]);
      }
    }
#pragma unroll
    for (int i = 0; i < kEach; i++)
#pragma unroll
      for (int j = 0; j < kEach; j++) out[i][j] += part[i][j];
  }
}

// A thread's share of 64 rows x kColumns of an output: its rows are those of its scores, element c of a row is column 64 (c / 4) + 4 x + c % 4.
template <int kColumns>
using Accumulator = float[kEach][kColumns / kAcross];

// This thread's element i, j of the tile p. The scores of a tile come before it, and with them a barrier behind the product that read the tile before.
template <int kColumns>
__device__ __forceinline__ float& own(Shared<kColumns>& shared, int i, int j) {
  return shared.p[(threadIdx.x / kAcross * kEach + i) * kPitch + threadIdx.x % kAcross + kAcross * j];
}
// acc += p v over columns c0 .. of v, where all threads have set their elements of p.
template <int kColumns, class T>
__device__ __forceinline__ void add_product(Accumulator<kColumns>& acc, Shared<kColumns>& shared, const Rows<T>& v, int c0, const Sizes& s) {
  constexpr int kPieces = kColumns / 4;
  const int x = threadIdx.x % kAcross, y = threadIdx.x / kAcross;
  for (int key0 = 0; key0 < min(v.count, kTile); key0 += kSlice) {
    if (key0 > 0) __syncthreads();
#pragma unroll
    for (int n = 0; n < kSlice * kPieces / kThreads; n++) {
      const int row = n * (kThreads / kPieces) + threadIdx.x / kPieces, piece = threadIdx.x % kPieces;
      *reinterpret_cast<float4*>(shared.v + row * kColumns + piece * 4) = load_four(v, key0 + row, c0 + piece * 4, s.head_size, s.vectors);
    }
    __syncthreads();
#pragma unroll 1
    for (int k = 0; k < kSlice; k += 4) {
      float left[kEach][4];
#pragma unroll
      for (int i = 0; i < kEach; i++) load<4>(shared.p + (y * kEach + i) * kPitch + key0 + k, left[i]);
#pragma unroll
      for (int e = 0; e < 4; e++)
#pragma unroll
        for (int c = 0; c < kColumns / kAcross; c += 4) {
          float right[4];
          load<4>(shared.v + (k + e) * kColumns + c / 4 * kTile + x * 4, right);
#pragma unroll
          for (int i = 0; i < kEach; i++)
#pragma unroll
            for (int n = 0; n < 4; n++) acc[i][c + n] = fmaf(left[i][e], right[n], acc[i][c + n]);
        }
    }
  }
}

// Calls f(row of the tile, element of the head, i, c, n) for all of the accumulator that is in the tensor, where n (a constant as a type) elements from i, c on are
// neighbours there: 4, so that memory is read and written in whole sectors, or 1 where rows do not allow it.
template <int kColumns, class F>
__device__ __forceinline__ void for_each_own(int rows, int c0, const Sizes& s, F f) {
  const int thread = hidden(threadIdx.x), row0 = thread / kAcross * kEach, d0 = c0 + thread % kAcross * 4;
#pragma unroll
  for (int i = 0; i < kEach; i++)
#pragma unroll
    for (int c = 0; c < kColumns / kAcross; c += 4) {
      const int row = row0 + i, d = d0 + c / 4 * kTile;
      if (row >= rows || d >= s.head_size) continue;
      if (s.vectors) {
        f(row, d, i, c, std::integral_constant<int, 4>{});
      } else {
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (d + e < s.head_size) f(row, d + e, i, c + e, std::integral_constant<int, 1>{});
      }
    }
}
// out = or += acc, for rows of one head of an f32 tensor.
template <int kColumns>
__device__ void write(float* first_row, int64_t stride, int rows, int c0, const Sizes& s, const Accumulator<kColumns>& acc, bool first) {
  for_each_own<kColumns>(rows, c0, s, [&](int row, int d, int i, int c, auto count) {
    constexpr int n = decltype(count)::value;
    float x[n] = {};
    if (!first) load<n>(first_row + row * stride + d, x);
#pragma unroll
    for (int e = 0; e < n; e++) x[e] += acc[i][c + e];
    store<n>(first_row + row * stride + d, x);
  });
}

// ----------------------------------------------------------------------------------------------------------------------- forward
// The state: acc (C, H, D), max and sum (H, C), with acc and sum relative to 2^max. max is -inf where a row has seen nothing.
template <class T>
struct Forward {
  Sizes s;
  const T *q, *k, *v;
  float *acc, *max, *sum;
  bool first;        // the state holds garbage: begin it
  float log2_scale;  // log2(e) / sqrt(D)
};

// Of 16 lanes, which hold one row of a tile.
__device__ __forceinline__ float row_max(float x) {
#pragma unroll
  for (int lane = kAcross / 2; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, lane));
  return x;
}
__device__ __forceinline__ float row_sum(float x) {
#pragma unroll
  for (int lane = kAcross / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(kAllLanes, x, lane);
  return x;
}

template <class T, int kColumns>
__global__ void __launch_bounds__(kThreads, kBlocks<kColumns>) attend_kernel(const Forward<T> a) {
  __shared__ Shared<kColumns> shared;
  __shared__ Seen seen[kTile];
  const Sizes& s = a.s;
  const int x = threadIdx.x % kAcross, y = threadIdx.x / kAcross;
  const int head = blockIdx.y, kv_head = head / s.group(), D = s.head_size;
  const int row0 = (gridDim.x - 1 - blockIdx.x) * kTile;  // the last rows see most keys: they start first
  const Rows<T> q = rows_of(a.q, s.heads, head, D, row0, s.rows);
  const int64_t statistics = static_cast<int64_t>(head) * s.rows + row0, output = (static_cast<int64_t>(row0) * s.heads + head) * D;
  if (threadIdx.x < kTile) seen[threadIdx.x] = seen_by(s, row0 + threadIdx.x);
  __syncthreads();
  const int keys = seen_by(s, min(row0 + kTile, s.rows) - 1).to;  // no row of the tile sees more

  float top[kEach], sum[kEach];
  for (int c0 = 0; c0 < D; c0 += kColumns) {
#pragma unroll
    for (int i = 0; i < kEach; i++) {
      const int row = y * kEach + i;
      const bool load = !a.first && row < q.count;
      top[i] = load ? a.max[statistics + row] : -INFINITY;
      sum[i] = load ? a.sum[statistics + row] : 0;
    }
    Accumulator<kColumns> acc = {};
    if (!a.first)
      for_each_own<kColumns>(q.count, c0, s, [&](int row, int d, int i, int c, auto count) {
        constexpr int n = decltype(count)::value;
        float before[n];
        load<n>(a.acc + output + row * q.stride + d, before);
#pragma unroll
        for (int e = 0; e < n; e++) acc[i][c + e] = before[e];
      });

#pragma unroll 1
    for (int key0 = 0; key0 < keys; key0 += kTile) {
      if (!__syncthreads_or(seen[threadIdx.x % kTile].any(key0))) continue;
      float p[kEach][kEach];
      scores(p, shared, q, rows_of(a.k, s.kv_heads, kv_head, D, key0, s.columns), s);
#pragma unroll
      for (int i = 0; i < kEach; i++) {
        const Seen sees = seen[y * kEach + i];
        float highest = top[i];
#pragma unroll
        for (int j = 0; j < kEach; j++) {
          p[i][j] = sees.has(key0 + x + kAcross * j) ? p[i][j] * a.log2_scale : -INFINITY;
          highest = fmaxf(highest, p[i][j]);  // passes over a NaN, which then comes out of exp2
        }
        highest = row_max(highest);
        // Where nothing has been seen yet, -inf - -inf must not be formed: acc and sum are 0, and masked scores give 0.
        const float reference = highest == -INFINITY ? 0 : highest;
        const float shrink = top[i] == highest ? 1 : exp2f(top[i] - reference);
        float tile_sum = 0;
#pragma unroll
        for (int j = 0; j < kEach; j++) tile_sum += own(shared, i, j) = exp2f(p[i][j] - reference);
        sum[i] = sum[i] * shrink + row_sum(tile_sum), top[i] = highest;
#pragma unroll
        for (int c = 0; c < kColumns / kAcross; c++) acc[i][c] *= shrink;
      }
      add_product(acc, shared, rows_of(a.v, s.kv_heads, kv_head, D, key0, s.columns), c0, s);
    }
    // What a row that sees nothing had stays as it is, to the bit (-0 + 0 would be +0).
    for_each_own<kColumns>(q.count, c0, s, [&](int row, int d, int i, int c, auto count) {
      constexpr int n = decltype(count)::value;
      const bool sees = seen[row].from < seen[row].to;
      float after[n];
#pragma unroll
      for (int e = 0; e < n; e++) after[e] = sees ? acc[i][c + e] : 0;
      if (a.first || sees) store<n>(a.acc + output + row * q.stride + d, after);
    });
  }
  if (x > 0) return;
#pragma unroll
  for (int i = 0; i < kEach; i++)
    if (const int row = y * kEach + i; row < q.count && (a.first || seen[row].from < seen[row].to))
      a.max[statistics + row] = top[i], a.sum[statistics + row] = sum[i];
}

// ---------------------------------------------------------------------------------------------------------------------- backward
template <class T>
struct Backward {
  Sizes s;
  const T *q, *k, *v, *dout;
  const float *lse, *delta;
  float *dq, *dk, *dv;
  bool first_q, first_kv;  // dq, or dk and dv, hold garbage: write them
  float scale;             // 1 / sqrt(D)

  // p = e^(s / sqrt(D) - lse); the product and the difference are rounded once. ds = p (dp - delta) / sqrt(D).
  __device__ float p(float score, float lse) const { return expf(fmaf(score, scale, -lse)); }
  __device__ float ds(float p, float dp, float delta) const { return p * (dp - delta) * scale; }
};

template <class T>
__device__ __forceinline__ void load_queries(Queries& queries, const Backward<T>& a, int head, int row0) {
  if (threadIdx.x >= kTile) return;
  const int row = row0 + threadIdx.x;
  const int64_t statistic = static_cast<int64_t>(head) * a.s.rows + row;
  queries.seen[threadIdx.x] = seen_by(a.s, row);
  queries.lse[threadIdx.x] = row < a.s.rows ? a.lse[statistic] : 0;
  queries.delta[threadIdx.x] = row < a.s.rows ? a.delta[statistic] : 0;
}

// dq += ds k: a block has 64 query rows and goes over the keys.
template <class T, int kColumns>
__global__ void __launch_bounds__(kThreads, kBlocks<kColumns>) query_gradient_kernel(const Backward<T> a) {
  __shared__ Shared<kColumns> shared;
  __shared__ Queries queries;
  const Sizes& s = a.s;
  const int x = threadIdx.x % kAcross, y = threadIdx.x / kAcross;
  const int head = blockIdx.y, kv_head = head / s.group(), D = s.head_size;
  const int row0 = (gridDim.x - 1 - blockIdx.x) * kTile;
  const Rows<T> q = rows_of(a.q, s.heads, head, D, row0, s.rows);
  load_queries(queries, a, head, row0);
  __syncthreads();
  const int keys = seen_by(s, min(row0 + kTile, s.rows) - 1).to;

  for (int c0 = 0; c0 < D; c0 += kColumns) {
    Accumulator<kColumns> dq = {};
#pragma unroll 1
    for (int key0 = 0; key0 < keys; key0 += kTile) {
      if (!__syncthreads_or(queries.seen[threadIdx.x % kTile].any(key0))) continue;
      const Rows<T> k = rows_of(a.k, s.kv_heads, kv_head, D, key0, s.columns);
      float score[kEach][kEach], dp[kEach][kEach];
      scores(score, shared, q, k, s);
      scores(dp, shared, rows_of(a.dout, s.heads, head, D, row0, s.rows), rows_of(a.v, s.kv_heads, kv_head, D, key0, s.columns), s);
#pragma unroll
      for (int i = 0; i < kEach; i++) {
        const int row = y * kEach + i;
#pragma unroll
        for (int j = 0; j < kEach; j++)
          own(shared, i, j) = queries.seen[row].has(key0 + x + kAcross * j) ? a.ds(a.p(score[i][j], queries.lse[row]), dp[i][j], queries.delta[row]) : 0;
      }
      add_product(dq, shared, k, c0, s);
    }
    write<kColumns>(a.dq + (static_cast<int64_t>(row0) * s.heads + head) * D, q.stride, q.count, c0, s, dq, a.first_q);
  }
}

// dv += p' dO or dk += ds' q: a block has 64 key rows and goes over the queries of all heads of the group. Tiles are transposed: keys down.
struct Keys {};
struct Values {};
template <class T, int kColumns, class Of>
__global__ void __launch_bounds__(kThreads, kBlocks<kColumns>) key_gradient_kernel(const Backward<T> a) {
  constexpr bool kOfValues = std::is_same_v<Of, Values>;
  __shared__ Shared<kColumns> shared;
  __shared__ Queries queries;
  const Sizes& s = a.s;
  const int x = threadIdx.x % kAcross, y = threadIdx.x / kAcross;
  const int kv_head = blockIdx.y, D = s.head_size, key0 = blockIdx.x * kTile;
  const Rows<T> k = rows_of(a.k, s.kv_heads, kv_head, D, key0, s.columns);
  // Rows before the first that may see a key of the tile are passed over by whole tiles.
  const int first_row = static_cast<int>(min(max(s.kv_start + key0 - s.q_start, int64_t{0}), int64_t{s.rows})) / kTile * kTile;

  for (int c0 = 0; c0 < D; c0 += kColumns) {
    Accumulator<kColumns> gradient = {};
    for (int head = kv_head * s.group(); head < (kv_head + 1) * s.group(); head++)
#pragma unroll 1
      for (int row0 = first_row; row0 < s.rows; row0 += kTile) {
        __syncthreads();  // all are done with the queries before
        load_queries(queries, a, head, row0);
        __syncthreads();
        if (!__syncthreads_or(queries.seen[threadIdx.x % kTile].any(key0))) continue;
        const Rows<T> q = rows_of(a.q, s.heads, head, D, row0, s.rows), dout = rows_of(a.dout, s.heads, head, D, row0, s.rows);
        float product[kEach][kEach];
        scores(product, shared, k, q, s);
#pragma unroll
        for (int j = 0; j < kEach; j++) {
          const int row = x + kAcross * j;
#pragma unroll
          for (int i = 0; i < kEach; i++) own(shared, i, j) = queries.seen[row].has(key0 + y * kEach + i) ? a.p(product[i][j], queries.lse[row]) : 0;
        }
        if constexpr (kOfValues) {
          add_product(gradient, shared, dout, c0, s);
        } else {
          scores(product, shared, rows_of(a.v, s.kv_heads, kv_head, D, key0, s.columns), dout, s);
#pragma unroll
          for (int j = 0; j < kEach; j++) {
            const int row = x + kAcross * j;
#pragma unroll
            for (int i = 0; i < kEach; i++)
              own(shared, i, j) = queries.seen[row].has(key0 + y * kEach + i) ? a.ds(own(shared, i, j), product[i][j], queries.delta[row]) : 0;
          }
          add_product(gradient, shared, q, c0, s);
        }
      }
    float* const out = kOfValues ? a.dv : a.dk;
    write<kColumns>(out + (static_cast<int64_t>(key0) * s.kv_heads + kv_head) * D, k.stride, k.count, c0, s, gradient, a.first_kv);
  }
}

// ------------------------------------------------------------------------------------------------------------------------- hosts
// The numbers both calls begin with: attentionNames of schedule/kernels.ts.
Sizes sizes_of(const KernelCall& call, const void* starts) {
  Sizes s{};
  s.rows = static_cast<int>(call.integer(0)), s.columns = static_cast<int>(call.integer(1));
  s.heads = static_cast<int>(call.integer(2)), s.kv_heads = static_cast<int>(call.integer(3)), s.head_size = static_cast<int>(call.integer(4));
  s.q_start = call.integer(5), s.kv_start = call.integer(6), s.starts = static_cast<const int32_t*>(starts);
  FPDT_CHECK(s.kv_heads > 0 && s.heads % s.kv_heads == 0, s.heads << " heads do not share " << s.kv_heads << " kv heads evenly");
  return s;
}
template <class... T>
bool vectors_fit(const Sizes& s, const T*... tensors) {
  return (cuda::vectors_fit<4>(tensors, s.head_size) && ...);
}
unsigned tiles(int rows) { return static_cast<unsigned>(tiles_of(rows, kTile)); }

template <class T, int kColumns>
void launch(const Forward<T>& a, const Launch& launch) {
  attend_kernel<T, kColumns><<<dim3(tiles(a.s.rows), a.s.heads), kThreads, 0, launch.stream>>>(a);
  check_launch("attend");
}
template <class T, int kColumns>
void launch(const Backward<T>& a, const Launch& launch) {
  query_gradient_kernel<T, kColumns><<<dim3(tiles(a.s.rows), a.s.heads), kThreads, 0, launch.stream>>>(a);
  check_launch("attendBackward, dq");
  const dim3 keys(tiles(a.s.columns), a.s.kv_heads);
  key_gradient_kernel<T, kColumns, Keys><<<keys, kThreads, 0, launch.stream>>>(a);
  check_launch("attendBackward, dk");
  key_gradient_kernel<T, kColumns, Values><<<keys, kThreads, 0, launch.stream>>>(a);
  check_launch("attendBackward, dv");
}
}  // namespace

void attend_any(const KernelCall& call, const Launch& where) {
  with_dtype(call.integer(7) != 0, [&](auto t) {
    using T = decltype(t);
    Forward<T> a{};
    a.s = sizes_of(call, call.operand(4));
    a.q = call.as<const T>(1), a.k = call.as<const T>(2), a.v = call.as<const T>(3);
    const int64_t statistics = static_cast<int64_t>(a.s.heads) * a.s.rows;
    a.acc = call.as<float>(0), a.max = a.acc + statistics * a.s.head_size, a.sum = a.max + statistics;
    a.first = call.integer(8) != 0;
    a.log2_scale = static_cast<float>(M_LOG2E / std::sqrt(static_cast<double>(a.s.head_size)));
    a.s.vectors = vectors_fit(a.s, a.q, a.k, a.v, a.acc);
    a.s.head_size <= 64 ? launch<T, 64>(a, where) : launch<T, 128>(a, where);
  });
}

void attend_backward_any(const KernelCall& call, const Launch& where) {
  with_dtype(call.integer(7) != 0, [&](auto t) {
    using T = decltype(t);
    Backward<T> a{};
    a.s = sizes_of(call, call.operand(9));
    a.dq = call.as<float>(0), a.dk = call.as<float>(1), a.dv = call.as<float>(2);
    a.q = call.as<const T>(3), a.k = call.as<const T>(4), a.v = call.as<const T>(5), a.dout = call.as<const T>(6);
    a.lse = call.as<const float>(7), a.delta = call.as<const float>(8);
    a.first_q = call.integer(8) != 0, a.first_kv = call.integer(9) != 0;
    a.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(a.s.head_size)));
    a.s.vectors = vectors_fit(a.s, a.q, a.k, a.v, a.dout, a.dq, a.dk, a.dv);
    a.s.head_size <= 64 ? launch<T, 64>(a, where) : launch<T, 128>(a, where);
  });
}

}  // namespace fpdt::cuda
