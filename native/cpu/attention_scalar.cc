// Chunk attention in plain loops, for every shape and every machine. Backward computes each score twice, once for dq by rows
// and once for dk and dv by kv rows, so that no two items write the same row.
#include <cmath>

#include "attention.h"

namespace fpdt::cpu::scalar {
namespace {

template <class T>
float dot(const T* a, const T* b, int D) {
  double sum = 0;  // in f32, scores in the thousands were off by 17 units of 2^-24, D being 256
  for (int d = 0; d < D; d++) sum += double{to_f32(a[d])} * to_f32(b[d]);
  return static_cast<float>(sum);
}
template <class T>
void add_scaled(float* out, float x, const T* row, int D) {
  for (int d = 0; d < D; d++) out[d] += x * to_f32(row[d]);
}

template <class T>
void forward_row(const Attend& a, int h, long row) {
  const int D = a.head_size, limit = a.limit(row);
  const long at = (row * a.heads + h) * D, stride = static_cast<long>(a.kv_heads) * D;
  const T* q = static_cast<const T*>(a.q) + at;
  const T *k = static_cast<const T*>(a.k) + h / a.group() * D, *v = static_cast<const T*>(a.v) + h / a.group() * D;
  float *acc = a.acc + at, &m = a.m[h * a.rows + row], &l = a.l[h * a.rows + row];
  if (a.first) m = kUnset, l = 0, std::fill(acc, acc + D, 0.f);
  const float scale = a.log2_scale();
  for (int j = a.from(row); j < limit; j++) {
    const float s = dot(q, k + j * stride, D) * scale;
    if (!(s <= m)) {  // a NaN comes in here and stays
      const float f = std::exp2(m - s);
      for (int d = 0; d < D; d++) acc[d] *= f;
      l *= f, m = s;
    }
    const float p = std::exp2(s - m);
    l += p;
    add_scaled(acc, p, v + j * stride, D);
  }
}

template <class T>
struct Rows {  // of q head h and its kv head, in the tensors of a backward call
  const AttendBackward& a;
  const int h, D = a.head_size;
  long q_at(long i) const { return (i * a.heads + h) * D; }
  long kv_at(long j) const { return (j * a.kv_heads + h / a.group()) * D; }
  const T* q(long i) const { return static_cast<const T*>(a.q) + q_at(i); }
  const T* o(long i) const { return static_cast<const T*>(a.dout) + q_at(i); }
  const T* k(long j) const { return static_cast<const T*>(a.k) + kv_at(j); }
  const T* v(long j) const { return static_cast<const T*>(a.v) + kv_at(j); }
  float p(long i, long j) const { return std::exp(dot(q(i), k(j), D) * a.scale() - a.lse[h * a.rows + i]); }
  float ds(long i, long j, float p) const { return p * (dot(o(i), v(j), D) - a.delta[h * a.rows + i]) * a.scale(); }
};

template <class T>
void query_gradient(const AttendBackward& a, int h, long i) {
  const Rows<T> rows{a, h};
  float* dq = a.dq + rows.q_at(i);
  if (a.first_q) std::fill(dq, dq + a.head_size, 0.f);
  for (long j = a.from(i); j < a.limit(i); j++) add_scaled(dq, rows.ds(i, j, rows.p(i, j)), rows.k(j), a.head_size);
}

template <class T>
void key_gradient(const AttendBackward& a, int kv_head, long j) {
  const long at = (j * a.kv_heads + kv_head) * a.head_size;
  float *dk = a.dk + at, *dv = a.dv + at;
  if (a.first_kv) std::fill(dk, dk + a.head_size, 0.f), std::fill(dv, dv + a.head_size, 0.f);
  for (int h = kv_head * a.group(); h < (kv_head + 1) * a.group(); h++) {
    const Rows<T> rows{a, h};
    for (long i = std::max(0L, a.kv_start + j - a.q_start); i < a.rows; i++) {
      if (j < a.from(i)) continue;
      const float p = rows.p(i, j);
      add_scaled(dv, p, rows.o(i), a.head_size);
      add_scaled(dk, rows.ds(i, j, p), rows.q(i), a.head_size);
    }
  }
}

}  // namespace

void attend(const Attend& a, Pool& pool) {
  pool.for_each(a.heads * a.rows, [&](int, long i) {
    (a.is_bf16 ? forward_row<bf16> : forward_row<float>)(a, static_cast<int>(i / a.rows), i % a.rows);
  });
}
void attend_backward(const AttendBackward& a, Pool& pool) {
  pool.for_each(a.heads * a.rows, [&](int, long i) {
    (a.is_bf16 ? query_gradient<bf16> : query_gradient<float>)(a, static_cast<int>(i / a.rows), i % a.rows);
  });
  pool.for_each(a.kv_heads * a.columns, [&](int, long i) {
    (a.is_bf16 ? key_gradient<bf16> : key_gradient<float>)(a, static_cast<int>(i / a.columns), i % a.columns);
  });
}

}  // namespace fpdt::cpu::scalar
