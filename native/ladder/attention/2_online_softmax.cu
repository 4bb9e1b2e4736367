// Lesson 2: one walk over the keys instead of three.
//
// The three walks of lesson 1 are there because the largest score must be known first. Must it? The state that FPDT carries from chunk to chunk says no:
// a state relative to one maximum becomes a state relative to a larger one by a factor. What works between two chunks of keys works between two keys.
// So walk once and keep the state as you go; whenever a score exceeds all before it, shrink what has been collected:
//
//     s > max:   acc *= 2^(max - s),  sum *= 2^(max - s),  max = s
//     always:    p = 2^(s - max),  sum += p,  acc += p v
//
// This is online softmax (Milakov and Gimelshein 2018), and all of FlashAttention grows from it: a score is computed once, used once, and forgotten.
// A new maximum is rare: the n-th of n scores in random order is the largest with probability 1 / n, so of 1000 keys about 7 make the row shrink.
//
// Reads of q and k fall to a third, but the multiplications were never the trouble: every thread still fetches every key and value by itself, and acc
// still makes a round trip through global memory for every key. Lesson 3 brings both nearer.
//
// Launch and tensors as in lesson 1.
#include <cuda_bf16.h>

constexpr int kThreads = 64;

__device__ float score(const __nv_bfloat16* q, const __nv_bfloat16* k, int head_size) {
  float dot = 0;
  for (int d = 0; d < head_size; d++) dot += __bfloat162float(q[d]) * __bfloat162float(k[d]);
  return dot * 1.44269504f / sqrtf(head_size);
}

extern "C" __global__ void __launch_bounds__(kThreads)
    attend(int rows, int columns, int heads, int head_size, int q_start, int kv_start, int first,
           const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v, float* acc, float* max, float* sum) {
  const int row = blockIdx.x * kThreads + threadIdx.x, head = blockIdx.y;
  if (row >= rows) return;
  q += (size_t(row) * heads + head) * head_size;
  acc += (size_t(row) * heads + head) * head_size;
  const size_t statistic = size_t(head) * rows + row, stride = size_t(heads) * head_size;
  k += size_t(head) * head_size, v += size_t(head) * head_size;
  const int seen = min(columns, q_start + row + 1 - kv_start);

  float top = first ? -INFINITY : max[statistic], total = first ? 0 : sum[statistic];
  if (first)
    for (int d = 0; d < head_size; d++) acc[d] = 0;
  for (int j = 0; j < seen; j++) {
    const float s = score(q, k + j * stride, head_size);
    if (s > top) {
      const float shrink = exp2f(top - s);  // 0 for the first key of all: 2^-inf
      for (int d = 0; d < head_size; d++) acc[d] *= shrink;
      total *= shrink, top = s;
    }
    const float p = exp2f(s - top);
    total += p;
    for (int d = 0; d < head_size; d++) acc[d] += p * __bfloat162float(v[j * stride + d]);
  }
  max[statistic] = top, sum[statistic] = total;
}
