#include "machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "control_group.h"
#include "named_numbers.h"

namespace fpdt::host {

int usable_threads() {
  cpu_set_t set;
  int threads = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  // A container's share is often a quota, not a mask: more threads than it grants would only be throttled.
  if (const auto cores = control_group_limits().cores) threads = std::min(threads, static_cast<int>(std::ceil(*cores)));
  return std::max(threads, 1);
}

size_t usable_memory() {
  const size_t bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return std::min(bytes, control_group_limits().memory_bytes.value_or(bytes));
}

size_t free_memory() {
  size_t bytes = usable_memory();
  if (const auto kilobytes = sum_of("/proc/meminfo", {"MemAvailable:"})) bytes = std::min(bytes, *kilobytes * 1024);
  return std::min(bytes, control_group_limits().free_memory_bytes.value_or(bytes));
}

std::string processor_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

}  // namespace fpdt::host
