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

LaunchRaces::Granule& LaunchRaces::granule(uint64_t number) {
  if (number / kPage != last_number_ || !last_page_) {
    std::unique_ptr<Page>& page = pages_[number / kPage];
    if (!page) page = std::make_unique<Page>();
    last_number_ = number / kPage;
    last_page_ = page.get();
  }
  return last_page_->granules[number % kPage];
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
    for (uint64_t number = begin / 16; number * 16 < end; ++number) {
      uint16_t bytes = 0xffff;
      if (number * 16 < begin) bytes &= 0xffff << (begin - number * 16);
      if (number * 16 + 16 > end) bytes &= 0xffff >> (number * 16 + 16 - end);
      touch(granule(number), block, access, lane, bytes, number * 16);
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

void LaunchRaces::touch(Granule& granule, Block& block, const Access& access, uint32_t lane, uint16_t bytes, uint64_t address) {
  const bool strong = access.order != Order::weak || access.kind == AccessKind::atomic;
  size_t reads = 0;
  bool found = false;
  size_t mine = 0;  // where found: the record of this kind and interval of the block
  const auto remove = [&](size_t i) {
    if (found && mine == granule.size() - 1) mine = i;
    granule[i] = granule.back();
    granule.pop_back();
  };
  for (size_t i = 0; i < granule.size();) {
    Record& record = granule[i];
    if (record.block == access.block) {
      bool gone = false;
      if (record.kind == access.kind && record.strong == strong) {
        if (record.clock == block.now) {
          found = true;
          mine = i;
        } else {  // the newer record stands for the older one
          record.bytes &= ~bytes;
          gone = record.bytes == 0;
        }
      }
      if (gone) {
        remove(i);
      } else {
        ++i;
      }
      continue;
    }
    const uint16_t overlap = record.bytes & bytes;
    if (!overlap) {
      ++i;
      continue;
    }
    const bool both_read = record.kind == AccessKind::read && access.kind == AccessKind::read;
    if (!both_read && !(record.strong && strong)) {
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
          remove(i);
          continue;
        }
      }
    } else if (both_read && overlap == bytes) {
      ++reads;
    }
    ++i;
  }
  if (found) {
    granule[mine].bytes |= bytes;
    granule[mine].line = access.line;
    return;
  }
  if (access.kind == AccessKind::read && !strong && reads >= 8 && released_.empty()) return;
  granule.push_back({static_cast<uint32_t>(access.block), block.now, access.line, bytes, access.kind, strong});
}

}  // namespace emulator
