// Counts per instruction of a kernel, gathered from all launches; they may be taken while one goes on.
#pragma once
#include <compare>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

namespace emulator {

struct Site {
  std::string kernel;
  uint32_t line;  // of the PTX text
  auto operator<=>(const Site&) const = default;
};

struct SiteCount {
  uint64_t instructions = 0;  // warp instructions
  uint64_t taken = 0;         // passes or sectors
  uint64_t fewest = 0;        // that there could be
  bool asynchronous = false;  // of a cp.async

  SiteCount& operator+=(const SiteCount& other) {
    instructions += other.instructions;
    taken += other.taken;
    fewest += other.fewest;
    asynchronous |= other.asynchronous;
    return *this;
  }
};

using SiteMap = std::map<Site, SiteCount>;
using LineMap = std::unordered_map<uint32_t, SiteCount>;  // of one kernel

class Sites {
 public:
  void add(const std::string& kernel, const LineMap& counts) {
    const std::lock_guard lock(mutex_);
    for (const auto& [line, count] : counts) total_[{kernel, line}] += count;
  }
  SiteMap take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(total_, {});
  }

 private:
  std::mutex mutex_;
  SiteMap total_;
};

}  // namespace emulator
