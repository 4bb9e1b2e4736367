// What the attention kernels share: the decoded call. attention.cc decodes and chooses among attention_{forward,backward}.cu (tensor cores: bf16,
// head size 64 or 128) and attention_any.cu (f32, every other head size).
//
// Letters as in schedule/values.ts: C rows of the q chunk, H query heads, G kv heads, D head size. Layouts: q, dO (C, H, D) T;
// k, v (columns, G, D) T; dq (C, H, D) f32; dk, dv (columns, G, D) f32; lse, delta (H, C) f32. The running state is one f32 block: acc (C, H, D), then
// max (H, C), then sum (H, C): o = acc / sum, lse = ln 2 (max + log2 sum). max is the base-2 exponent to which acc and sum are relative: a score (times
// log2 e) that the row has met, not always its largest. A row that has met no key has acc = 0, max = -infinity, sum = 0.
#pragma once
#include <cstdint>

#include "kernels.h"

namespace fpdt::cuda {

// The mask, by positions in the chunks: row i sees key j where from(i) <= j <= i + shift, with from(i) = starts[i] - kv_start, or 0 without documents.
struct Attention {
  int rows, columns, heads, kv_heads;
  int shift;              // position of the first row minus that of the first key, clamped to [-rows, columns], beyond which nothing changes
  const int32_t* starts;  // (C) position of the first token of each row's document, or null. Any value: it is data
  int64_t kv_start;
  const void *q, *k, *v;
};
struct Attend : Attention {
  float *acc, *max, *sum;
  bool first;  // the state holds garbage: begin it
};
struct AttendBackward : Attention {
  const void* dout;
  const float *lse, *delta;
  float *dq, *dk, *dv;
  bool first_q, first_kv;  // dq, or dk and dv, hold garbage: write them
  uint32_t* order;         // workspace of order_words(rows, heads) words
};

// Sums of a row, a key, a shift and a tile stay within int. A chunk of so many rows would not fit any device.
inline constexpr int64_t kMostAttentionRows = (1 << 30) - 256;

// attention_forward.cu, attention_backward.cu: bf16, head size 64 or 128.
void attend_on_tensor_cores(const Attend& a, int head_size, const Launch& launch);
void attend_backward_on_tensor_cores(const AttendBackward& a, int head_size, const Launch& launch);
// Of the workspace: a counter for every 64 rows of a head, the number of the next block, and a word that nobody reads.
inline constexpr int kOrderRows = 64;
constexpr int64_t order_words(int64_t rows, int64_t heads) { return heads * ((rows + kOrderRows - 1) / kOrderRows) + 2; }

// attention_any.cu: every head size, bf16 and f32.
void attend_any(const KernelCall& call, const Launch& launch);
void attend_backward_any(const KernelCall& call, const Launch& launch);

}  // namespace fpdt::cuda
