// Chunk attention in f32 arithmetic with AVX-512: attention_f32.h for this target.
#ifdef __x86_64__
#include "attention_items.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,fma")
#include "simd_avx512.h"
// The vectors first: the target holds for all that follows.
#include "attention_f32.h"

namespace fpdt::cpu::avx512 {

void attend(const Attend& a, Pool& pool, Carver workspace) { AttentionF32<Avx512>::attend(a, pool, workspace); }
void attend_backward(const AttendBackward& a, Pool& pool, Carver workspace) {
  AttentionF32<Avx512>::attend_backward(a, pool, workspace);
}

}  // namespace fpdt::cpu::avx512
#pragma GCC pop_options
#endif
