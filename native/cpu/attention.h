// What the attention kernels of all paths share: the decoded call and its scratch.
//
// Letters as in schedule/values.ts: C rows of the q chunk, H query heads, G kv heads, D head size. Layouts: q, dO (C, H, D) T;
// k, v (columns, G, D) T; dq (C, H, D) f32; dk, dv (columns, G, D) f32; lse, delta (H, C) f32. The running state is one f32
// buffer: acc (C, H, D), then m (H, C), then l (H, C), with acc and l relative to 2^m. m is a maximum met so far, not always
// the newest, so a state means something only after `finish`.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "../core/error.h"
#include "dispatch.h"

namespace fpdt::cpu {

// -inf as "nothing yet" or "masked" would meet itself, and inf - inf is NaN; so both are finite. kMasked times any scale must
// stay finite too, and still lie far below kUnset.
constexpr float kUnset = -1e30f;   // m of a row that has seen nothing
constexpr float kMasked = -1e36f;  // score of a masked lane
constexpr float kLog2e = 1.44269504088896f;

// What some q rows see of a kv chunk: none of them sees a kv row outside [from, to), all of them see [all_from, all_to). Either
// may be empty (from >= to).
struct View {
  int from, to, all_from, all_to;

  bool sees_any(long begin, long end) const { return begin < to && from < end; }
  bool sees_all(long begin, long end) const { return all_from <= begin && end <= all_to; }
  // Of kv rows [j, j + n) those that all see, counted from j on: [first, second). The others are masked for some of the q rows.
  std::pair<long, long> seen_by_all(long j, long n) const {
    const long first = std::clamp(all_from - j, 0L, n);
    return {first, std::clamp(all_to - j, first, n)};
  }
};

struct Attention {
  long rows, columns;
  int heads, kv_heads, head_size;
  long q_start, kv_start;  // positions of the first rows in the sequence
  bool is_bf16;
  const void *q, *k, *v;
  const int32_t* starts;  // (C) position of the first token of a row's document, or null: 0

  int group() const { return heads / kv_heads; }
  // Of scores, and of scores in units of log2: rounded once, since a large score is off by as much.
  float scale() const { return static_cast<float>(1 / std::sqrt(static_cast<double>(head_size))); }
  float log2_scale() const { return static_cast<float>(M_LOG2E / std::sqrt(static_cast<double>(head_size))); }
  // The mask, by position: `row` sees kv rows [from(row), limit(row)) of the chunk, which may be none. Limits never fall from a
  // row to the next; starts are data, and a kernel must be safe with any.
  int from(long row) const { return starts ? static_cast<int>(std::clamp(starts[row] - kv_start, 0L, columns)) : 0; }
  int limit(long row) const { return static_cast<int>(std::clamp(q_start + row + 1 - kv_start, 0L, columns)); }
  View view(long row, long count) const {
    View view{from(row), limit(row + count - 1), from(row), limit(row)};
    for (long r = row + 1; starts && r < row + count; r++)
      view.from = std::min(view.from, from(r)), view.all_from = std::max(view.all_from, from(r));
    return view;
  }
};
struct Attend : Attention {
  float *acc, *m, *l;
  bool first;  // the state holds garbage: begin it
};
struct AttendBackward : Attention {
  const void* dout;
  const float *lse, *delta;
  float *dq, *dk, *dv;
  bool first_q, first_kv;  // dq, or dk and dv, hold garbage: write them
};

// Gives out 64-byte aligned pieces of a call's workspace. With no memory behind it, it only counts: the same code that lays
// scratch out says how large it is. `plan/cpu-workspace-attention.ts` holds the matching upper bound.
class Carver {
 public:
  Carver() = default;
  Carver(void* base, size_t bytes)
      : counting_(false), base_(reinterpret_cast<uintptr_t>(base)), end_(base_ + bytes), next_(base_) {}
  template <class T>
  T* take(size_t count) {
    const uintptr_t at = (next_ + 63) & ~uintptr_t{63};
    next_ = at + count * sizeof(T);
    FPDT_CHECK(counting_ || next_ <= end_, "attention needs a workspace of " << next_ - base_ << " bytes or more, but was given "
                                           << end_ - base_ << "; plan/cpu-workspace-attention.ts must not be below it");
    return reinterpret_cast<T*>(at);
  }
  size_t bytes() const { return (next_ + 63) & ~size_t{63}; }  // when counting

 private:
  bool counting_ = true;
  uintptr_t base_ = 0, end_ = 0, next_ = 0;
};

// Scratch of every thread, laid out by its constructor Scratch(Carver&, head_size).
template <class Scratch>
class PerThread {
 public:
  PerThread(Carver& carver, int threads, int head_size) : head_size_(head_size), bytes_(count(head_size)) {
    first_ = carver.take<std::byte>(bytes_ * threads);
  }
  Scratch of(int thread) const {
    Carver mine(first_ + bytes_ * thread, bytes_);
    return Scratch(mine, head_size_);
  }

 private:
  static size_t count(int head_size) {
    Carver counting;
    Scratch(counting, head_size);
    return counting.bytes();
  }
  int head_size_;
  size_t bytes_;
  std::byte* first_;
};

#ifdef __x86_64__
namespace avx512bf16 {  // bf16 of head size 64 or 128
void attend(const Attend& a, Pool& pool, Carver workspace);
void attend_backward(const AttendBackward& a, Pool& pool, Carver workspace);
}  // namespace avx512bf16
namespace avx512 {  // any head size that is a multiple of 8, in f32 arithmetic
void attend(const Attend& a, Pool& pool, Carver workspace);
void attend_backward(const AttendBackward& a, Pool& pool, Carver workspace);
}  // namespace avx512
namespace avx2 {  // the same
void attend(const Attend& a, Pool& pool, Carver workspace);
void attend_backward(const AttendBackward& a, Pool& pool, Carver workspace);
}  // namespace avx2
#endif
namespace scalar {  // everything
void attend(const Attend& a, Pool& pool);
void attend_backward(const AttendBackward& a, Pool& pool);
}  // namespace scalar

}  // namespace fpdt::cpu
