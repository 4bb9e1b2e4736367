#include "banks.h"

#include <algorithm>
#include <bit>

namespace emulator {

SiteCount Banks::count(const Access& access) {
  const uint32_t group = access.bytes <= 4 ? 32 : access.bytes == 8 ? 16 : 8;
  SiteCount result{.instructions = 1};
  for (uint32_t begin = 0; begin < kLanes; begin += group) {
    const Mask in_group = group == 32 ? ~Mask{0} : ((Mask{1} << group) - 1) << begin;
    Mask left = access.lanes & in_group;
    if (!left) continue;
    uint64_t words[kLanes * 4];
    size_t count = 0;
    for (; left; left &= left - 1) {
      const uint64_t first = access.address[std::countr_zero(left)];
      for (uint64_t word = first / 4; word * 4 < first + access.bytes; ++word) words[count++] = word;
    }
    std::sort(words, words + count);
    count = std::unique(words, words + count) - words;
    uint32_t in_bank[32] = {};
    for (size_t i = 0; i < count; ++i) ++in_bank[words[i] % 32];
    result.taken += *std::max_element(in_bank, in_bank + 32);
    result.fewest += (count + 31) / 32;
  }
  return result;
}

void Banks::access(const Access& access) {
  if (access.space != Space::shared) return;
  // A cp.async is counted where it is issued, not again where it is waited for.
  auto& site = sites_[access.line];
  if (access.kind == AccessKind::write && access.asynchronous) site.asynchronous = true;
  if (site.asynchronous && !access.asynchronous) return;
  site += count(access);
}

}  // namespace emulator
