// Rotary position embedding (RoFormer, arXiv 2104.09864), halves paired as in Llama: element m of a head turns with element
// m + D/2 by the angle position * frequencies[m], and both are multiplied by `magnitude`.
//
// An angle in f32 is off by 0.04 rad at a million tokens, so angles are formed in f64 and rounded after cosine and sine. f64
// cosines of every token would cost more than the rotation: they are taken once per 64 tokens, and tokens between turn on by
// complex products, in f64. The 64 are counted from position 0, so a token's angle does not depend on how chunks are cut.
//
// Far out the angle's own rounding shows, 1e-4 rad at 2^40. What is meant is the angle as rounded, so a token is turned on by what
// its rounded angle exceeds the one it was turned to. The compiler must not fuse that product and difference, which would leave the
// rounding out: CMakeLists.txt builds this file with -ffp-contract=off.
#include <algorithm>
#include <cmath>

#include "../core/error.h"
#include "dispatch.h"

namespace fpdt::cpu {
namespace {

constexpr long kStretch = 64;     // tokens between two exact cosines
constexpr int kMaxHeadSize = 1024;

struct Shape {
  long rows;
  int heads, kv_heads, head_size;
  long start;
  double magnitude;
  explicit Shape(const KernelCall& call)
      : rows(call.integer(0)), heads(static_cast<int>(call.integer(1))), kv_heads(static_cast<int>(call.integer(2))),
        head_size(static_cast<int>(call.integer(3))), start(call.integer(4)), magnitude(call.number(5)) {
    FPDT_CHECK(head_size % 2 == 0 && head_size <= kMaxHeadSize,
               "a head of " << head_size << " elements cannot be rotated; it must be even and at most " << kMaxHeadSize);
  }
};

// Calls f(row, cosine, sine) for each row; cosine and sine have head_size / 2 elements.
template <class F>
void for_each_token(Pool& pool, Path path, const Shape& s, const double* frequencies, F f) {
  const int half = s.head_size / 2;
  const long first = s.start / kStretch, last = (s.start + s.rows + kStretch - 1) / kStretch;
  pool.for_each(last - first, [&](int, long item) {
    double real[kMaxHeadSize / 2], imaginary[kMaxHeadSize / 2], step_real[kMaxHeadSize / 2], step_imaginary[kMaxHeadSize / 2];
    const long base = (first + item) * kStretch;
    for (int m = 0; m < half; m++) {
      real[m] = std::cos(base * frequencies[m]), imaginary[m] = std::sin(base * frequencies[m]);
      step_real[m] = std::cos(frequencies[m]), step_imaginary[m] = std::sin(frequencies[m]);
    }
    with_path(path, [&] INLINE {
      float cosine[kMaxHeadSize / 2], sine[kMaxHeadSize / 2];
      for (long row = base - s.start; row < std::min(s.rows, base - s.start + kStretch); row++) {
        if (row >= 0) {
          const double from = static_cast<double>(base), position = static_cast<double>(s.start + row), turns = position - from;
          for (int m = 0; m < half; m++) {
            const double rest = (position * frequencies[m] - from * frequencies[m]) - turns * frequencies[m];
            cosine[m] = static_cast<float>(s.magnitude * (real[m] - rest * imaginary[m]));
            sine[m] = static_cast<float>(s.magnitude * (imaginary[m] + rest * real[m]));
          }
          f(row, cosine, sine);
        }
        for (int m = 0; m < half; m++) {
          const double turned = real[m] * step_real[m] - imaginary[m] * step_imaginary[m];
          imaginary[m] = real[m] * step_imaginary[m] + imaginary[m] * step_real[m];
          real[m] = turned;
        }
      }
    });
  });
}

// Turns the heads of one token; `direction` -1 turns back. `to_row` may be `from_row`.
template <class To, class From>
INLINE inline void turn(To* to_row, const From* from_row, int heads, int half, const float* cosine, const float* sine,
                        float direction) {
  for (int h = 0; h < heads; h++, to_row += 2 * half, from_row += 2 * half)
#pragma GCC ivdep
    for (int m = 0; m < half; m++) {
      const float a = to_f32(from_row[m]), b = to_f32(from_row[half + m]), s = direction * sine[m];
      to_row[m] = to<To>(a * cosine[m] - b * s);
      to_row[half + m] = to<To>(b * cosine[m] + a * s);
    }
}

template <class T>
void rotary_as(const KernelCall& call, Pool& pool, Path path) {
  const Shape s(call);
  const long q_width = static_cast<long>(s.heads) * s.head_size, kv_width = static_cast<long>(s.kv_heads) * s.head_size;
  T *q = call.as<T>(0), *k = call.as<T>(1);
  for_each_token(pool, path, s, call.as<const double>(2), [=](long row, const float* cosine, const float* sine) INLINE {
    turn(q + row * q_width, q + row * q_width, s.heads, s.head_size / 2, cosine, sine, 1);
    turn(k + row * kv_width, k + row * kv_width, s.kv_heads, s.head_size / 2, cosine, sine, 1);
  });
}

template <class T>
INLINE inline void round_to(T* __restrict out, const float* __restrict in, long count) {
  for (long i = 0; i < count; i++) out[i] = to<T>(in[i]);
}
template <class T>
void round_to(T* out, const float* in, long count, Pool& pool, Path path) {
  constexpr long kElements = 1 << 15;
  pool.for_each(tiles_of(count, kElements), [&](int, long tile) {
    const long from = tile * kElements, elements = std::min(kElements, count - from);
    with_path(path, [&] INLINE { round_to(out + from, in + from, elements); });
  });
}

template <class T>
void rotary_backward_as(const KernelCall& call, Pool& pool, Path path) {
  const Shape s(call);
  const long q_width = static_cast<long>(s.heads) * s.head_size, kv_width = static_cast<long>(s.kv_heads) * s.head_size;
  T *dq_out = call.as<T>(0), *dk_out = call.as<T>(1), *dv_out = call.as<T>(2);
  const float *dq = call.as<const float>(3), *dk = call.as<const float>(4), *dv = call.as<const float>(5);
  round_to(dv_out, dv, s.rows * kv_width, pool, path);
  const double* frequencies = call.as<const double>(6);
  if (!frequencies) {  // learned positions
    round_to(dq_out, dq, s.rows * q_width, pool, path);
    round_to(dk_out, dk, s.rows * kv_width, pool, path);
    return;
  }
  for_each_token(pool, path, s, frequencies, [=](long row, const float* cosine, const float* sine) INLINE {
    turn(dq_out + row * q_width, dq + row * q_width, s.heads, s.head_size / 2, cosine, sine, -1);
    turn(dk_out + row * kv_width, dk + row * kv_width, s.kv_heads, s.head_size / 2, cosine, sine, -1);
  });
}

}  // namespace

void rotary(const KernelCall& call, Pool& pool, Path path) {
  (call.integer(6) ? rotary_as<bf16> : rotary_as<float>)(call, pool, path);
}
void rotaryBackward(const KernelCall& call, Pool& pool, Path path) {
  (call.integer(6) ? rotary_backward_as<bf16> : rotary_backward_as<float>)(call, pool, path);
}

}  // namespace fpdt::cpu
