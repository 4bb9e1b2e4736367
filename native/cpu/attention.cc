// `attend` and `attendBackward`: the call decoded, a path chosen by instructions, dtype and head size.
#include "attention.h"

#include <algorithm>

namespace fpdt::cpu {
namespace {

// The numbers both calls begin with: attentionNames of schedule/kernels.ts.
Attention decode(const KernelCall& call, const void* q, const void* k, const void* v, const int32_t* starts) {
  Attention a{};
  a.rows = call.integer(0), a.columns = call.integer(1);
  a.heads = static_cast<int>(call.integer(2)), a.kv_heads = static_cast<int>(call.integer(3));
  a.head_size = static_cast<int>(call.integer(4));
  a.q_start = call.integer(5), a.kv_start = call.integer(6), a.is_bf16 = call.integer(7) != 0;
  a.q = q, a.k = k, a.v = v, a.starts = starts;
  FPDT_CHECK(a.kv_heads > 0 && a.heads % a.kv_heads == 0, a.heads << " heads do not share " << a.kv_heads << " kv heads evenly");
  return a;
}

enum class Kind { scalar, avx2, avx512, avx512bf16 };
Kind choose(const Attention& a, Path path) {
#ifdef __x86_64__
  if (path == Path::avx512bf16 && a.is_bf16 && (a.head_size == 64 || a.head_size == 128)) return Kind::avx512bf16;
  if (path != Path::scalar && a.head_size % 8 == 0) return path == Path::avx2 ? Kind::avx2 : Kind::avx512;
#endif
  return Kind::scalar;
}

}  // namespace

void attend(const KernelCall& call, Pool& pool, Path path) {
  Attend a{};
  static_cast<Attention&>(a) = decode(call, call.operand(1), call.operand(2), call.operand(3), call.as<const int32_t>(4));
  const long statistics = a.heads * a.rows;
  a.acc = call.as<float>(0), a.m = a.acc + statistics * a.head_size, a.l = a.m + statistics;
  a.first = call.integer(8) != 0;
  const Carver workspace(call.workspace, call.workspace_bytes);
  switch (choose(a, path)) {
#ifdef __x86_64__
    case Kind::avx512bf16: return avx512bf16::attend(a, pool, workspace);
    case Kind::avx512: return avx512::attend(a, pool, workspace);
    case Kind::avx2: return avx2::attend(a, pool, workspace);
#endif
    default: return scalar::attend(a, pool);
  }
}

void attendBackward(const KernelCall& call, Pool& pool, Path path) {
  AttendBackward a{};
  static_cast<Attention&>(a) = decode(call, call.operand(3), call.operand(4), call.operand(5), call.as<const int32_t>(9));
  a.dq = call.as<float>(0), a.dk = call.as<float>(1), a.dv = call.as<float>(2);
  a.dout = call.operand(6), a.lse = call.as<const float>(7), a.delta = call.as<const float>(8);
  a.first_q = call.integer(8) != 0, a.first_kv = call.integer(9) != 0;
  const Carver workspace(call.workspace, call.workspace_bytes);
  switch (choose(a, path)) {
#ifdef __x86_64__
    case Kind::avx512bf16: return avx512bf16::attend_backward(a, pool, workspace);
    case Kind::avx512: return avx512::attend_backward(a, pool, workspace);
    case Kind::avx2: return avx2::attend_backward(a, pool, workspace);
#endif
    default: return scalar::attend_backward(a, pool);
  }
}

}  // namespace fpdt::cpu
