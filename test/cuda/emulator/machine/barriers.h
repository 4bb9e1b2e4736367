// bar.sync and bar.red: a barrier opens when all threads of the block that still live have come, or as many as the instruction says.
#pragma once
#include <cstdint>
#include <vector>

#include "instruction.h"

namespace emulator {

struct RunningBlock;
struct Warp;

enum class BarrierKind : uint8_t { sync, red_and, red_or, red_popc };

struct Barrier {
  struct Arrival {
    uint32_t warp;
    Mask lanes;
  };
  std::vector<Arrival> arrivals;
  uint32_t expected = 0;  // threads; 0: all that live
  uint32_t arrived = 0;
  uint32_t holds = 0;     // threads whose predicate held, of `asked`
  uint32_t asked = 0;
};

// The lanes of one group come to the barrier of instruction i. They have been marked as waiting before.
void arrive(Warp& w, const Instruction& i, Mask lanes);
// Opens barriers that wait for nobody any more, since threads have left.
void threads_left(RunningBlock& block);

}  // namespace emulator
