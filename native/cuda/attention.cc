// `attend` and `attendBackward`: the call decoded, and the kernel chosen by dtype and head size.
#include "attention.h"

#include <algorithm>

#include "../core/error.h"

namespace fpdt::cuda {
namespace {

bool takes_tensor_cores(const KernelCall& call) {
  const int64_t head_size = call.integer(4);
  const bool is_bf16 = call.integer(7) != 0;
  return is_bf16 && (head_size == 64 || head_size == 128) && std::max(call.integer(0), call.integer(1)) <= kMostAttentionRows;
}

// The numbers both calls begin with: attentionNames of schedule/kernels.ts.
Attention decode(const KernelCall& call, const void* q, const void* k, const void* v, const int32_t* starts) {
  Attention a{};
  const int64_t rows = call.integer(0), columns = call.integer(1), q_start = call.integer(5);
  a.rows = static_cast<int>(rows), a.columns = static_cast<int>(columns);
  a.heads = static_cast<int>(call.integer(2)), a.kv_heads = static_cast<int>(call.integer(3));
  a.kv_start = call.integer(6), a.shift = static_cast<int>(std::clamp(q_start - a.kv_start, -rows, columns));
  a.q = q, a.k = k, a.v = v, a.starts = starts;
  FPDT_CHECK(a.kv_heads > 0 && a.heads % a.kv_heads == 0, a.heads << " heads do not share " << a.kv_heads << " kv heads evenly");
  return a;
}

}  // namespace

void attend(const KernelCall& call, const Launch& launch) {
  if (!takes_tensor_cores(call)) return attend_any(call, launch);
  const int head_size = static_cast<int>(call.integer(4));
  Attend a{};
  static_cast<Attention&>(a) = decode(call, call.operand(1), call.operand(2), call.operand(3), call.as<const int32_t>(4));
  const int64_t statistics = int64_t{a.heads} * a.rows;
  a.acc = call.as<float>(0), a.max = a.acc + statistics * head_size, a.sum = a.max + statistics;
  a.first = call.integer(8) != 0;
  attend_on_tensor_cores(a, head_size, launch);
}

void attendBackward(const KernelCall& call, const Launch& launch) {
  if (!takes_tensor_cores(call)) return attend_backward_any(call, launch);
  AttendBackward a{};
  static_cast<Attention&>(a) = decode(call, call.operand(3), call.operand(4), call.operand(5), call.as<const int32_t>(9));
  a.dq = call.as<float>(0), a.dk = call.as<float>(1), a.dv = call.as<float>(2);
  a.dout = call.operand(6), a.lse = call.as<const float>(7), a.delta = call.as<const float>(8);
  a.first_q = call.integer(8) != 0, a.first_kv = call.integer(9) != 0;
  const size_t need = order_words(a.rows, a.heads) * sizeof(uint32_t);
  FPDT_CHECK(call.workspace_bytes >= need, "attendBackward needs a workspace of " << need << " bytes or more, but was given " << call.workspace_bytes
                                           << "; plan/cuda-workspace.ts must not be below it");
  a.order = static_cast<uint32_t*>(call.workspace);
  attend_backward_on_tensor_cores(a, static_cast<int>(call.integer(4)), launch);
}

}  // namespace fpdt::cuda
