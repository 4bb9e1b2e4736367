#include "host.h"

#include <atomic>
#include <mutex>
#include <unordered_map>

namespace emulator::runtime {
namespace {

std::atomic<bool> tells = false;

// What is known at places, by address. A place that is gone leaves it to the next one at its address, where it is long past.
struct Known {
  std::mutex mutex;
  std::unordered_map<const void*, Clock> at;
};
Known& known() {
  static Known& all = *new Known;   // threads may outlive what is destroyed at the end of the process
  return all;
}

}  // namespace

Clock& host_clock() {
  static thread_local Clock clock;
  return clock;
}
bool host_tells_order() { return tells.load(std::memory_order_relaxed); }

}  // namespace emulator::runtime

using namespace emulator::runtime;

extern "C" {

void __wrap_annotate_happens_before(const void* place) {
  tells.store(true, std::memory_order_relaxed);
  if (host_clock().empty()) return;
  Known& all = known();
  const std::lock_guard lock(all.mutex);
  join(all.at[place], host_clock());
}
void __wrap_annotate_happens_after(const void* place) {
  tells.store(true, std::memory_order_relaxed);
  Known& all = known();
  const std::lock_guard lock(all.mutex);
  if (const auto at = all.at.find(place); at != all.at.end()) join(host_clock(), at->second);
}
void __wrap_annotate_forget() {
  tells.store(true, std::memory_order_relaxed);
  host_clock().clear();
}

}  // extern "C"
