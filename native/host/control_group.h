// What a container, a batch system or a service manager lets this process have of the machine: limits of Linux control groups.
#pragma once
#include <cstddef>
#include <filesystem>
#include <optional>

namespace fpdt::host {

// Each is the least of all groups that this process is in, from its own up to the one that is seen as the root; nullopt where none sets it.
struct ControlGroupLimits {
  std::optional<size_t> memory_bytes;
  std::optional<size_t> free_memory_bytes;  // of the limit, what no process of the group holds; file caches are given up for what is asked
  std::optional<double> cores;              // by quota: time a second
};

// Groups of version 2 and of version 1 (cgroups(7)). `membership` names this process's groups, `root` is where they are mounted. A container that sees a part of the
// tree alone is named by a path outside of it: folders that are not there are passed over, and the root is its own group.
ControlGroupLimits control_group_limits(const std::filesystem::path& membership = "/proc/self/cgroup", const std::filesystem::path& root = "/sys/fs/cgroup");

}  // namespace fpdt::host
