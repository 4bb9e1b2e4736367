#include "sectors.h"

#include <algorithm>
#include <bit>

namespace emulator {

SiteCount Sectors::count(const Access& access) {
  struct Touched {
    uint64_t sector;
    uint32_t bytes;  // bit i: byte i of the sector
  } touched[kLanes * 2];
  size_t count = 0;
  for (Mask left = access.lanes; left; left &= left - 1) {
    const uint64_t begin = access.address[std::countr_zero(left)], end = begin + access.bytes;
    for (uint64_t sector = begin / 32; sector * 32 < end; ++sector) {
      const uint64_t from = std::max(begin, sector * 32) - sector * 32, to = std::min(end, sector * 32 + 32) - sector * 32;
      touched[count++] = {sector, static_cast<uint32_t>(((uint64_t{1} << to) - 1) & ~((uint64_t{1} << from) - 1))};
    }
  }
  std::sort(touched, touched + count, [](const Touched& a, const Touched& b) { return a.sector < b.sector; });
  SiteCount result{.instructions = 1};
  uint64_t bytes = 0;
  for (size_t i = 0; i < count;) {
    const uint64_t sector = touched[i].sector;
    uint32_t all = 0;
    for (; i < count && touched[i].sector == sector; ++i) all |= touched[i].bytes;
    bytes += std::popcount(all);
    ++result.taken;
  }
  result.fewest = (bytes + 31) / 32;
  return result;
}

void Sectors::access(const Access& access) {
  if (access.space != Space::global) return;
  // A cp.async is counted where it is issued, not again where it is waited for.
  auto& site = sites_[access.line];
  if (access.asynchronous) site.asynchronous = true;
  if (site.asynchronous && !access.asynchronous) return;
  site += count(access);
}

}  // namespace emulator
