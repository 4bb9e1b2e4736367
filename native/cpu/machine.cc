#include "machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string_view>

namespace fpdt::cpu {

int usable_threads() {
  cpu_set_t set;
  int threads = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  // A container's share is often a quota, not a mask: more threads than it grants would only be throttled.
  double quota, period;
  if (std::ifstream("/sys/fs/cgroup/cpu.max") >> quota >> period && period > 0) threads = std::min(threads, static_cast<int>(std::ceil(quota / period)));
  return std::max(threads, 1);
}

size_t usable_memory() {
  size_t bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (size_t limit; std::ifstream("/sys/fs/cgroup/memory.max") >> limit) bytes = std::min(bytes, limit);
  return bytes;
}

namespace {

// The sum of the named numbers in a file of lines "name number"; nullopt where it has none of them.
std::optional<size_t> sum_of(const char* file, std::initializer_list<std::string_view> names) {
  std::optional<size_t> sum;
  std::ifstream lines(file);
  std::string name;
  for (size_t number; lines >> name >> number; lines.ignore(std::numeric_limits<std::streamsize>::max(), '\n'))
    if (std::ranges::count(names, name)) sum = sum.value_or(0) + number;
  return sum;
}

}  // namespace

size_t free_memory() {
  size_t bytes = usable_memory();
  if (const auto kilobytes = sum_of("/proc/meminfo", {"MemAvailable:"})) bytes = std::min(bytes, *kilobytes * 1024);
  size_t limit, used;
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> limit && std::ifstream("/sys/fs/cgroup/memory.current") >> used) {
    const size_t cache = sum_of("/sys/fs/cgroup/memory.stat", {"active_file", "inactive_file"}).value_or(0);  // given up for what is asked
    bytes = std::min(bytes, limit - std::min(limit, used - std::min(used, cache)));
  }
  return bytes;
}

std::string processor_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

}  // namespace fpdt::cpu
