#include "order.h"

#include <algorithm>
#include <bit>

namespace emulator {

void ThreadOrder::begin(uint32_t threads) {
  ++generation_;
  across_warps_ = false;
  threads_ = threads;
  const uint32_t warps = (threads + kLanes - 1) / kLanes;
  columns_ = warps * kLanes;
  now_.assign(columns_, 1);
  warp_clock_.assign(warps, 1);
  known_.assign(size_t{columns_} * columns_, 0);
  dirty_.assign(warps, false);
}

void ThreadOrder::barrier(std::span<const uint32_t> threads) {
  if (threads.size() < threads_) {
    across_warps_ = true;
    join(threads, 0, columns_);
    return;
  }
  ++generation_;
  across_warps_ = false;
  for (uint32_t warp = 0; warp < dirty_.size(); ++warp) {
    if (!dirty_[warp]) continue;
    dirty_[warp] = false;
    warp_clock_[warp] = 1;
    std::fill_n(now_.begin() + warp * kLanes, kLanes, 1);
    std::fill_n(row(warp * kLanes), size_t{kLanes} * columns_, 0);
  }
}

void ThreadOrder::step(uint32_t thread) {
  uint32_t& clock = warp_clock_[thread / kLanes];
  now_[thread] = clock = std::max(clock, now_[thread] + 1);
  dirty_[thread / kLanes] = true;
}

void ThreadOrder::warp_barrier(uint32_t warp, Mask lanes) {
  uint32_t threads[kLanes];
  uint32_t count = 0;
  for (Mask left = lanes; left; left &= left - 1) threads[count++] = warp * kLanes + std::countr_zero(left);
  if (across_warps_) {
    join({threads, count}, 0, columns_);
  } else {
    join({threads, count}, warp * kLanes, kLanes);  // nobody of this warp knows of another warp
  }
}

void ThreadOrder::join(std::span<const uint32_t> threads, uint32_t first_column, uint32_t columns) {
  joined_.assign(columns, 0);
  for (const uint32_t thread : threads) {
    const uint32_t* known = row(thread) + first_column;
    for (uint32_t c = 0; c < columns; ++c) joined_[c] = std::max(joined_[c], known[c]);
  }
  for (const uint32_t thread : threads) joined_[thread - first_column] = now_[thread];
  for (const uint32_t thread : threads) {
    std::copy(joined_.begin(), joined_.end(), row(thread) + first_column);
    dirty_[thread / kLanes] = true;
  }
  // One new number for all lanes of a warp that met here; threads of one warp stand together in the list or not, so first raise, then give.
  for (const uint32_t thread : threads) warp_clock_[thread / kLanes] = std::max(warp_clock_[thread / kLanes], now_[thread] + 1);
  for (const uint32_t thread : threads) now_[thread] = warp_clock_[thread / kLanes];
}

Mask ThreadOrder::unordered(uint32_t generation, uint32_t clock, uint32_t warp, Mask lanes, uint32_t thread) const {
  if (generation != generation_) return 0;
  if (thread / kLanes == warp) lanes &= ~(Mask{1} << thread % kLanes);  // program order
  if (!dirty_[thread / kLanes]) return lanes;
  const uint32_t* known = known_.data() + size_t{thread} * columns_ + warp * kLanes;
  Mask seen = 0;
  for (int lane = 0; lane < kLanes; ++lane) seen |= Mask{known[lane] >= clock} << lane;
  return lanes & ~seen;
}

}  // namespace emulator
