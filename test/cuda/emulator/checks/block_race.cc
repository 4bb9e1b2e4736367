#include "block_race.h"

#include <algorithm>
#include <bit>
#include <sstream>

namespace emulator {

void LaunchRaces::join(Clock& into, const Clock& from) {
  for (const auto& [block, clock] : from) {
    uint32_t& known = into[block];
    known = std::max(known, clock);
  }
}

void LaunchRaces::fence(uint64_t number) {
  const std::lock_guard lock(mutex_);
  Block& block = blocks_[number];
  join(block.known, block.read);
  block.fenced = block.known;
  block.fenced[number] = block.now++;
}

LaunchRaces::Word& LaunchRaces::word(uint64_t number) {
  if (number / kPageWords != last_number_ || !last_page_) {
    std::unique_ptr<Page>& page = pages_[number / kPageWords];
    if (!page) page = std::make_unique<Page>();
    last_number_ = number / kPageWords;
    last_page_ = page.get();
  }
  return last_page_->words[number % kPageWords];
}

void LaunchRaces::access(const Access& access) {
  const std::lock_guard lock(mutex_);
  Block& block = blocks_[access.block];
  const bool strong = access.order != Order::weak || access.kind == AccessKind::atomic;
  const bool acquires = access.order == Order::acquire || access.order == Order::both;
  const bool releases = access.order == Order::release || access.order == Order::both;
  for (Mask left = access.lanes; left; left &= left - 1) {
    const uint32_t lane = std::countr_zero(left);
    const uint64_t begin = access.address[lane], end = begin + access.bytes;
    if (strong && access.kind != AccessKind::write) {
      const auto released = released_.find(begin / 4);
      if (released != released_.end()) join(acquires ? block.known : block.read, released->second);
    }
    for (uint64_t number = begin / 4; number * 4 < end; ++number) {
      uint8_t bytes = 0xf;
      if (number * 4 < begin) bytes &= 0xf << (begin - number * 4);
      if (number * 4 + 4 > end) bytes &= 0xf >> (number * 4 + 4 - end);
      touch(word(number), block, access, lane, bytes, number * 4);
    }
    if (strong && access.kind != AccessKind::read) {
      if (releases) {
        Clock& released = released_[begin / 4];
        join(released, block.known);
        released[access.block] = block.now++;
      } else if (!block.fenced.empty()) {
        join(released_[begin / 4], block.fenced);
      }
    }
  }
}

void LaunchRaces::touch(Word& word, Block& block, const Access& access, uint32_t lane, uint8_t bytes, uint64_t address) {
  const bool strong = access.order != Order::weak || access.kind == AccessKind::atomic;
  size_t reads = 0;
  for (size_t i = 0; i < word.size();) {
    Record& record = word[i];
    const uint8_t overlap = record.bytes & bytes;
    if (!overlap) {
      ++i;
      continue;
    }
    const bool both_read = record.kind == AccessKind::read && access.kind == AccessKind::read;
    if (record.block == access.block) {
      // The newer record of the block stands for its older one, unless that excludes more: a write more than a read, a weak access more than a strong.
      if (record.bytes == bytes && record.kind == access.kind && record.strong == strong) {
        record.clock = block.now;
        record.line = access.line;
        return;
      }
    } else if (!both_read && !(record.strong && strong)) {
      const auto known = block.known.find(record.block);
      if (known == block.known.end() || known->second < record.clock) {
        static constexpr const char* kVerbs[] = {"read", "write", "atomic"};
        std::ostringstream text;
        text << "global-memory race (" << kVerbs[static_cast<int>(access.kind)] << " after " << kVerbs[static_cast<int>(record.kind)] << ") in kernel "
             << access.kernel->name << ", at address 0x" << std::hex << address + std::countr_zero(overlap) << std::dec << ": block " << access.block << ", thread "
             << access.warp * kLanes + lane << " (PTX line " << access.line << ") after block " << record.block << " (PTX line " << record.line
             << "): no release and acquire order the blocks";
        throw Fault("race", text.str());
      }
      if (access.kind == AccessKind::write) {  // ordered before this write
        record.bytes &= ~bytes;
        if (!record.bytes) {
          word[i] = word.back();
          word.pop_back();
          continue;
        }
      }
    } else if (both_read) {
      ++reads;
    }
    ++i;
  }
  if (access.kind == AccessKind::read && !strong && reads >= 8 && released_.empty()) return;
  word.push_back({static_cast<uint32_t>(access.block), block.now, access.line, bytes, access.kind, strong});
}

}  // namespace emulator
