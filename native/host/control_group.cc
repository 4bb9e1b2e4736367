#include "control_group.h"

#include <algorithm>
#include <fstream>
#include <string>

#include "named_numbers.h"

namespace fpdt::host {
namespace {

namespace fs = std::filesystem;

template <class T>
std::optional<T> number_in(const fs::path& file) {
  T number;
  if (std::ifstream(file) >> number) return number;
  return std::nullopt;  // no such file, or "max"
}

template <class T>
void lower(std::optional<T>& limit, std::optional<T> other) {
  if (other) limit = std::min(limit.value_or(*other), *other);
}

// What the two versions call the same things.
struct Files {
  const char *limit, *used, *active_files, *inactive_files;
};
constexpr Files kFirst{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_active_file", "total_inactive_file"};
constexpr Files kSecond{"memory.max", "memory.current", "active_file", "inactive_file"};

void read_memory(ControlGroupLimits& limits, const fs::path& group, const Files& files) {
  const auto limit = number_in<size_t>(group / files.limit), used = number_in<size_t>(group / files.used);
  lower(limits.memory_bytes, limit);
  if (!limit || !used) return;
  const size_t cache = sum_of(group / "memory.stat", {files.active_files, files.inactive_files}).value_or(0);
  lower(limits.free_memory_bytes, std::optional(*limit - std::min(*limit, *used - std::min(*used, cache))));
}

void read_cores(ControlGroupLimits& limits, double quota, double period) {
  if (quota > 0 && period > 0) lower(limits.cores, std::optional(quota / period));
}

}  // namespace

ControlGroupLimits control_group_limits(const fs::path& membership, const fs::path& root) {
  ControlGroupLimits limits;
  // Calls read(group) for the group at `path` below `mounted`, and for all above it.
  const auto upward = [](const fs::path& mounted, const fs::path& path, auto read) {
    for (fs::path at = path.relative_path();; at = at.parent_path()) {
      read(mounted / at);
      if (at.empty()) return;
    }
  };
  std::ifstream lines(membership);
  // number:controllers:path, of version 2 without controllers.
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",", path = line.substr(second + 1);
    const auto has = [&](const char* name) { return controllers.find("," + std::string(name) + ",") != std::string::npos; };
    if (controllers == ",,") {
      upward(root, path, [&](const fs::path& group) {
        read_memory(limits, group, kSecond);
        double quota, period;
        if (std::ifstream(group / "cpu.max") >> quota >> period) read_cores(limits, quota, period);
      });
    }
    if (has("memory")) upward(root / "memory", path, [&](const fs::path& group) { read_memory(limits, group, kFirst); });
    if (has("cpu")) {
      upward(root / "cpu", path, [&](const fs::path& group) {
        read_cores(limits, number_in<double>(group / "cpu.cfs_quota_us").value_or(-1), number_in<double>(group / "cpu.cfs_period_us").value_or(0));
      });
    }
  }
  return limits;
}

}  // namespace fpdt::host
