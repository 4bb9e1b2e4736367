// Rotary position embedding (RoFormer, arXiv 2104.09864), halves paired as in Llama: element m of a head turns with element
// m + D/2 by the angle position * frequencies[m], and both are multiplied by `magnitude`.
//
// An angle in f32 is off by 0.04 rad at a million tokens, so angles are formed in f64 and rounded as f64 rounds them. f64 cosines would be
// slow (a consumer GPU has one f64 unit for 64 f32 units) and spill (their reduction of large angles keeps an array). Only what needs f64
// is done in f64: the product and its reduction by multiples of π/2, 9 operations an angle. What is left is below π/4, and its cosine and
// sine are two f32 polynomials. A thread forms the angles of its (row, m) once and turns its element of many heads by them; at 5 heads
// (q and k) of bf16 the f64 operations already take less time than the 40 bytes read and written for an angle, on any GPU from sm_80 on.
#include "../core/error.h"
#include "round.cuh"

namespace fpdt::cuda {

namespace {

struct Turn {
  float cosine, sine;
};

// Of the rounded product position * frequency, |product| < 2^51: test/backend/rotary.test.ts goes to 2^40.
__device__ __forceinline__ Turn turn_of(double position, double frequency, float magnitude) {
  constexpr double kTwoOverPi = 0.63661977236758134, kRounding = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  constexpr double kHalfPi = 1.5707963267948966, kHalfPiRest = 6.123233995736766e-17;
  const double angle = __dmul_rn(position, frequency);  // not fused: what is meant is the angle as rounded
  const double shifted = __fma_rn(angle, kTwoOverPi, kRounding), n = shifted - kRounding;
  const int quadrant = __double2loint(shifted);
  // The first step is exact: n * kHalfPi and the angle are multiples of 2^-52, and their difference is below 1.
  const double rest = __fma_rn(-n, kHalfPiRest, __fma_rn(-n, kHalfPi, angle));
  const float r = static_cast<float>(rest), low = static_cast<float>(rest - static_cast<double>(r)), r2 = r * r;
  // Minimax on |r| <= π/4 of Cephes' sinf and cosf, each good to 1 ulp; `low` is what f32 rounded off r.
  const float p = r + r * r2 * (-1.6666654611e-1f + r2 * (8.3321608736e-3f + r2 * -1.9515295891e-4f));
  const float q = 1.f - 0.5f * r2 + r2 * r2 * (4.166664568298827e-2f + r2 * (-1.388731625493765e-3f + r2 * 2.443315711809948e-5f));
  const float sine = p + q * low, cosine = q - p * low;
  const float c = quadrant & 1 ? sine : cosine, s = quadrant & 1 ? cosine : sine;
  return {magnitude * (((quadrant + 1) & 2) ? -c : c), magnitude * ((quadrant & 2) ? -s : s)};
}

struct Shape {
  int64_t rows;
  int heads, kv_heads, half;
  double start;
  float magnitude;
  explicit Shape(const KernelCall& call)
      : rows(call.integer(0)), heads(static_cast<int>(call.integer(1))), kv_heads(static_cast<int>(call.integer(2))),
        half(static_cast<int>(call.integer(3) / 2)), start(call.number(4)), magnitude(static_cast<float>(call.number(5))) {
    FPDT_CHECK(call.integer(3) % 2 == 0, "a head of " << call.integer(3) << " elements cannot be rotated; it must be even");
  }
};

// A thread has N elements m of a row and turns them in the heads of its layer, q's heads first, then k's. `kDirection` -1 turns back.
// `to_q` may be `from_q`, and `to_k` `from_k`: a thread reads its two elements of a head before it writes them, and no other has them.
template <int N, int kDirection, class To, class From>
__global__ void __launch_bounds__(kThreads) turn_heads(To* to_q, To* to_k, const From* from_q, const From* from_k, const double* frequencies,
                                                       Shape s) {
  constexpr int kAtOnce = 2;  // heads in flight
  const int m = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * N;
  if (m >= s.half) return;
  const int all = s.heads + s.kv_heads, layers = static_cast<int>(gridDim.z);
  const int first = static_cast<int>(static_cast<int64_t>(all) * blockIdx.z / layers), last = static_cast<int>(static_cast<int64_t>(all) * (blockIdx.z + 1) / layers);
  const int64_t step = static_cast<int64_t>(gridDim.y) * blockDim.y;
  for (int64_t row = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; row < s.rows; row += step) {
    float cosine[N], sine[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
      const Turn turn = turn_of(s.start + static_cast<double>(row), frequencies[m + i], s.magnitude);
      cosine[i] = turn.cosine, sine[i] = kDirection * turn.sine;
    }
    for (int head = first; head < last; head += kAtOnce) {
      float a[kAtOnce][N], b[kAtOnce][N];
      const auto place = [&](int h) { return (h < s.heads ? row * s.heads + h : row * s.kv_heads + (h - s.heads)) * 2 * s.half + m; };
#pragma unroll
      for (int j = 0; j < kAtOnce; j++) {
        if (head + j >= last) break;
        const From* from = (head + j < s.heads ? from_q : from_k) + place(head + j);
        read(from, a[j]);
        read(from + s.half, b[j]);
      }
#pragma unroll
      for (int j = 0; j < kAtOnce; j++) {
        if (head + j >= last) break;
        To* to = (head + j < s.heads ? to_q : to_k) + place(head + j);
#pragma unroll
        for (int i = 0; i < N; i++) {
          const float real = a[j][i] * cosine[i] - b[j][i] * sine[i];
          b[j][i] = b[j][i] * cosine[i] + a[j][i] * sine[i];
          a[j][i] = real;
        }
        write(to, a[j]);
        write(to + s.half, b[j]);
      }
    }
  }
}

template <int kDirection, class To, class From>
void launch_turns(const char* name, To* to_q, To* to_k, const From* from_q, const From* from_k, const double* frequencies, const Shape& s, const Launch& launch) {
  constexpr int kN = kVector<To, From>, kLeastHeads = 4;  // a layer has as many heads, so that its angles are worth forming
  const bool fit = vectors_fit<kN>(to_q, s.half) && vectors_fit<kN>(to_k, s.half) && vectors_fit<kN>(from_q, s.half) && vectors_fit<kN>(from_k, s.half);
  with_vectors<kN>(fit, [&](auto n) {
    // Few rows: heads are spread over blocks too, until every multiprocessor has 1024 threads.
    const int64_t threads = s.rows * tiles_of(s.half, static_cast<int>(n)), wanted = tiles_of(static_cast<int64_t>(launch.multiprocessors) * 1024, threads);
    const RowGrid grid(s.rows, tiles_of(s.half, static_cast<int>(n)), static_cast<unsigned>(std::min(wanted, tiles_of(s.heads + s.kv_heads, kLeastHeads))));
    turn_heads<n, kDirection><<<grid.blocks, grid.threads, 0, launch.stream>>>(to_q, to_k, from_q, from_k, frequencies, s);
    check_launch(name);
  });
}

}  // namespace

void rotary(const KernelCall& call, const Launch& launch) {
  with_dtype(call.integer(6), [&](auto t) {
    using T = decltype(t);
    T *q = call.as<T>(0), *k = call.as<T>(1);
    launch_turns<1>("rotary", q, k, static_cast<const T*>(q), static_cast<const T*>(k), call.as<const double>(2), Shape(call), launch);
  });
}

void rotaryBackward(const KernelCall& call, const Launch& launch) {
  const Shape s(call);
  const int64_t q_count = s.rows * s.heads * 2 * s.half, kv_count = s.rows * s.kv_heads * 2 * s.half;
  const double* frequencies = call.as<const double>(6);
  with_dtype(call.integer(6), [&](auto t) {
    using T = decltype(t);
    T *dq_out = call.as<T>(0), *dk_out = call.as<T>(1), *dv_out = call.as<T>(2);
    const float *dq = call.as<const float>(3), *dk = call.as<const float>(4), *dv = call.as<const float>(5);
    launch_round("rotaryBackward", dv_out, dv, kv_count, launch);
    if (frequencies) {
      launch_turns<-1>("rotaryBackward", dq_out, dk_out, dq, dk, frequencies, s, launch);
    } else {  // learned positions
      launch_round("rotaryBackward", dq_out, dq, q_count, launch);
      launch_round("rotaryBackward", dk_out, dk, kv_count, launch);
    }
  });
}

}  // namespace fpdt::cuda
