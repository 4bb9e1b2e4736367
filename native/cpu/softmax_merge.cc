// What surrounds `attend`: `finish` turns a running state into output and lse, `merge` joins two finished parts that saw
// different kv rows, `delta` is the row sum that the backward pass needs. Rows are tokens; statistics are (H, C), heads first.
#include <algorithm>
#include <cmath>

#include "attention.h"
#include "dispatch.h"

namespace fpdt::cpu {
namespace {

constexpr long kRows = 64;  // tokens of an item

// Calls f(head, row) for every row of every head. Tokens outermost, as the large tensors lie.
template <class F>
void for_each_row(Pool& pool, Path path, long rows, long heads, F f) {
  pool.for_each((rows + kRows - 1) / kRows, [&](int, long item) {
    with_path(path, [&] INLINE {
      for (long row = item * kRows; row < std::min(rows, (item + 1) * kRows); row++)
        for (long h = 0; h < heads; h++) f(h, row);
    });
  });
}

template <class T>
void finish_as(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), heads = call.integer(1), D = call.integer(2);
  T* o = call.as<T>(0);
  float* lse = call.as<float>(1);
  const float *acc = call.as<const float>(2), *m = acc + rows * heads * D, *l = m + heads * rows;
  for_each_row(pool, path, rows, heads, [=](long h, long row) INLINE {
    const long s = h * rows + row, at = (row * heads + h) * D;
    // Not `sum > 0`: a NaN must come through. A row that saw nothing gives 0 and -inf.
    const bool nothing = l[s] == 0;
    const float inverse = nothing ? 0 : 1 / l[s];
    lse[s] = nothing ? -INFINITY : static_cast<float>(m[s] * M_LN2 + std::log(static_cast<double>(l[s])));
    for (long d = 0; d < D; d++) o[at + d] = to<T>(acc[at + d] * inverse);
  });
}

template <class T>
void delta_as(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), heads = call.integer(1), D = call.integer(2);
  float* delta = call.as<float>(0);
  const T *dout = call.as<const T>(1), *o = call.as<const T>(2);
  for_each_row(pool, path, rows, heads, [=](long h, long row) INLINE {
    const long at = (row * heads + h) * D;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (long d = 0; d < D; d++) sum += to_f32(dout[at + d]) * to_f32(o[at + d]);
    delta[h * rows + row] = sum;
  });
}

}  // namespace

void finish(const KernelCall& call, Pool& pool, Path path) {
  (call.integer(3) ? finish_as<bf16> : finish_as<float>)(call, pool, path);
}

void merge(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), heads = call.integer(1), D = call.integer(2);
  float *o = call.as<float>(0), *lse = call.as<float>(1);
  const float *o_b = call.as<const float>(2), *lse_b = call.as<const float>(3);
  for_each_row(pool, path, rows, heads, [=](long h, long row) INLINE {
    const long s = h * rows + row, at = (row * heads + h) * D;
    if (lse_b[s] == -INFINITY) return;  // and -inf - -inf is not formed
    const float difference = lse_b[s] - lse[s];  // +inf where only b saw anything: the weight is 1
    const float weight = 1 / (1 + std::exp(-difference)), keep = 1 / (1 + std::exp(difference));
    // lse - logsigmoid(lse - lseB), with the exponential of what is not positive
    lse[s] = std::max(lse[s], lse_b[s]) + std::log1p(std::exp(-std::abs(difference)));
    for (long d = 0; d < D; d++) o[at + d] = keep * o[at + d] + weight * o_b[at + d];
  });
}

void delta(const KernelCall& call, Pool& pool, Path path) {
  (call.integer(3) ? delta_as<bf16> : delta_as<float>)(call, pool, path);
}

}  // namespace fpdt::cpu
