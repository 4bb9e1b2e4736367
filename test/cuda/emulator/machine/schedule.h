// Runs the groups of lanes of a warp, and the warps of a block in turns.
#pragma once
#include "warp.h"

namespace emulator {

// A block on its way, in steps, so that others can run between them.
class BlockSteps {
 public:
  void begin(RunningBlock& block);
  // A turn of each of some warps; false when all threads have come to their end.
  bool step();

 private:
  RunningBlock* block_ = nullptr;
  std::vector<uint32_t> turns_;  // warps that have not finished
  size_t at_ = 0;
};

}  // namespace emulator
