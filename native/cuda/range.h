// Names of ops on the timeline of a profiler (Nsight Systems): NVTX, headers alone. Without a profiler in the process a range costs a test of a pointer.
#pragma once
#include <nvtx3/nvToolsExt.h>

namespace fpdt::cuda {

class Range {
 public:
  explicit Range(const char* name) { nvtxRangePushA(name); }
  ~Range() { nvtxRangePop(); }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
};

}  // namespace fpdt::cuda
