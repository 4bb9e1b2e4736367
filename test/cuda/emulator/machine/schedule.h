// Runs the groups of lanes of a warp, and the warps of a block in turns.
#pragma once
#include "warp.h"

namespace emulator {

// Every thread of the block to its end. `stop`: another worker has failed.
void run_block(RunningBlock& block, const std::atomic<bool>& stop);

}  // namespace emulator
