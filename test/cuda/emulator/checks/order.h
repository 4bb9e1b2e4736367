// What happens before what among the threads of a block: vector clocks, joined by barriers.
//
// Thread t counts its own intervals between barriers, now(t). A barrier makes every thread that met know of all intervals that any of them knew of, and
// begins a new interval for each. A barrier that all threads of the block meet orders all before all after: it only begins a new *generation*, in which
// nobody knows anything, and moments of older generations precede everything. So the table of who knows what is written only for barriers of fewer threads.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "../machine/machine.h"

namespace emulator {

class ThreadOrder {
 public:
  void begin(uint32_t threads);
  void barrier(std::span<const uint32_t> threads);
  void warp_barrier(uint32_t warp, Mask lanes);

  // A thread begins a new interval by itself: what it does from here on is not known to those who know what it did before.
  void step(uint32_t thread);

  uint32_t generation() const { return generation_; }
  uint32_t now(uint32_t thread) const { return now_[thread]; }
  // Of this generation: f(thread, interval) for all that `thread` knows to be done, its own included.
  template <class Visit>
  void each_known(uint32_t thread, Visit visit) const {
    visit(thread, now_[thread]);
    if (!dirty_[thread / kLanes]) return;
    const uint32_t* known = known_.data() + size_t{thread} * columns_;
    for (uint32_t other = 0; other < columns_; ++other) {
      if (known[other] && other != thread) visit(other, known[other]);
    }
  }
  // Of `lanes` of a warp at their interval `clock` of `generation`: those whose doings `thread` does not know to be done.
  Mask unordered(uint32_t generation, uint32_t clock, uint32_t warp, Mask lanes, uint32_t thread) const;

 private:
  uint32_t* row(uint32_t thread) { return known_.data() + size_t{thread} * columns_; }
  void join(std::span<const uint32_t> threads, uint32_t first_column, uint32_t columns);

  uint32_t threads_ = 0, columns_ = 0;  // columns: threads rounded up to whole warps
  uint32_t generation_ = 0;             // never goes back, also from block to block: what stands in a shadow of an earlier block precedes
  bool across_warps_ = false;           // a barrier of this generation joined threads of several warps
  std::vector<uint32_t> now_;
  std::vector<uint32_t> warp_clock_;    // highest now of a warp: lanes that meet go on with the same number, so one record can stand for all of them
  std::vector<uint32_t> known_;         // [thread][thread]: highest interval of the second that the first knows to be done
  std::vector<bool> dirty_;             // warps that have a row, now or clock other than at the start of a generation
  std::vector<uint32_t> joined_;
};

}  // namespace emulator
