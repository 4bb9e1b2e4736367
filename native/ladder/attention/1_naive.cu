// Lesson 1: attention as the textbook has it.
//
// Attention asks, for every query row, how much of every value row belongs into its output:
//
//     s[j] = q . k[j] / sqrt(D)          how well key j answers the query
//     p[j] = e^s[j] / sum_i e^s[i]       softmax: all p are positive and add up to 1
//     o    = sum_j p[j] v[j]
//
// and a causal mask: the row at position t of the text sees the keys at positions 0 .. t. Two things make this awkward for a machine.
//
// First, e^s overflows where s is large, so the largest s is subtracted everywhere; that changes no p. But the largest is known only when all scores have
// been seen. So there are three walks over the keys: the largest, the sum, the output. Scores are kept nowhere (a row of a text of a million tokens has a
// million of them), so every walk computes them again.
//
// Second, FPDT never has all keys at hand. The text lies in chunks, most of them in host memory, and one launch sees one chunk of queries and one of keys.
// What a query row must remember between two chunks of keys are three things, its state:
//
//     max     the largest score so far, times log2 e: sum and acc are relative to 2^max, so that nothing overflows
//     sum     sum of 2^(s - max) over the keys seen so far
//     acc     sum of 2^(s - max) v over them
//
// When all chunks have passed, o = acc / sum. If a later chunk has a larger score, acc and sum shrink by 2^(old max - new max): that is all.
// Exponentials are of base 2 because the GPU has an instruction for that; log2 e goes into the scale of the scores.
//
// Here a thread takes one query row of one head, and all it needs it reads from global memory, where it also keeps acc. Neighbouring threads read the same
// key at the same time, which is good, and rows of q and acc that lie heads * D numbers apart, which is bad: each of the 32 threads of a warp touches
// another 32-byte sector, and uses 2 or 4 bytes of it. Lesson 2 walks once instead of three times.
//
// Launch: <<<dim3(ceil(rows / 64), heads), 64>>>. Tensors: q (rows, heads, D), k, v (columns, heads, D); acc (rows, heads, D), max, sum (heads, rows).
#include <cuda_bf16.h>

constexpr int kThreads = 64;

// Score of a row and a key, in powers of two.
__device__ float score(const __nv_bfloat16* q, const __nv_bfloat16* k, int head_size) {
  float dot = 0;
  for (int d = 0; d < head_size; d++) dot += __bfloat162float(q[d]) * __bfloat162float(k[d]);
  return dot * 1.44269504f / sqrtf(head_size);
}

extern "C" __global__ void __launch_bounds__(kThreads)
    attend(int rows, int columns, int heads, int head_size, int q_start, int kv_start, int first,  // first: the state holds nothing yet
           const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v, float* acc, float* max, float* sum) {
  const int row = blockIdx.x * kThreads + threadIdx.x, head = blockIdx.y;
  if (row >= rows) return;
  q += (size_t(row) * heads + head) * head_size;
  acc += (size_t(row) * heads + head) * head_size;
  const size_t statistic = size_t(head) * rows + row, stride = size_t(heads) * head_size;
  k += size_t(head) * head_size, v += size_t(head) * head_size;
  const int seen = min(columns, q_start + row + 1 - kv_start);  // keys of this chunk that the row sees; none, if not above 0

  const float before = first ? -INFINITY : max[statistic];
  float top = before;
  for (int j = 0; j < seen; j++) top = fmaxf(top, score(q, k + j * stride, head_size));

  const float shrink = top == before ? 1 : exp2f(before - top);  // 0 where nothing was there before
  float total = first ? 0 : sum[statistic] * shrink;
  for (int j = 0; j < seen; j++) total += exp2f(score(q, k + j * stride, head_size) - top);

  for (int d = 0; d < head_size; d++) acc[d] = first ? 0 : acc[d] * shrink;
  for (int j = 0; j < seen; j++) {
    const float p = exp2f(score(q, k + j * stride, head_size) - top);
    for (int d = 0; d < head_size; d++) acc[d] += p * __bfloat162float(v[j * stride + d]);
  }
  max[statistic] = top, sum[statistic] = total;
}
