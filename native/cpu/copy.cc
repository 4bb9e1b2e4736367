// The copy engines of the CPU: memory is memory, so an offload and a fetch are the same copy. It runs on the stream's own
// thread and so shares cores and memory bandwidth with compute, which is what the timeline then shows.
#include <cstring>

#include "parts.h"

namespace fpdt::cpu {

void copy(void* to, const void* from, size_t bytes) {
  if (bytes) std::memcpy(to, from, bytes);
}

}  // namespace fpdt::cpu
