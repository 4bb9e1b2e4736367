#include "race.h"

#include <algorithm>
#include <bit>
#include <sstream>

namespace emulator {
namespace {

const char* verb(AccessKind kind) { return kind == AccessKind::read ? "read" : kind == AccessKind::write ? "write" : "atomic"; }

}  // namespace

void ThreadRaces::Granule::add(const Record& record) {
  if (count < 4) {
    first[count] = record;
  } else {
    if (!more) more = std::make_unique<std::vector<Record>>();
    more->push_back(record);
  }
  ++count;
}

void ThreadRaces::Granule::remove(uint32_t i) {
  at(i) = at(count - 1);
  if (--count >= 4) more->pop_back();
}

void ThreadRaces::begin_block(const KernelShape&, uint64_t block, uint32_t threads, uint32_t shared_bytes) {
  order_.begin(threads);
  block_ = block;
  const size_t granules = (size_t{shared_bytes} + 15) / 16;
  if (shared_.size() < granules) shared_.resize(granules);
  if (copies_) {  // a block may end with copies that nobody waited for
    for (Granule& granule : shared_) granule.pending_bytes = 0;
    copies_ = false;
  }
}

ThreadRaces::Granule& ThreadRaces::global_granule(uint64_t number) {
  if (number / kPage != last_number_ || !last_page_) {
    std::unique_ptr<Page>& page = pages_[number / kPage];
    if (!page) page = std::make_unique<Page>();
    last_number_ = number / kPage;
    last_page_ = page.get();
  }
  return last_page_->granules[number % kPage];
}

void ThreadRaces::access(const Access& access) {
  if (access.space == Space::local) return;
  for (Mask left = access.lanes; left; left &= left - 1) {
    const uint32_t lane = std::countr_zero(left);
    const uint64_t begin = access.address[lane], end = begin + access.bytes;
    for (uint64_t number = begin / 16; number * 16 < end; ++number) {
      uint16_t bytes = 0xffff;
      if (number * 16 < begin) bytes &= 0xffff << (begin - number * 16);
      if (number * 16 + 16 > end) bytes &= 0xffff >> (number * 16 + 16 - end);
      if (access.space == Space::shared) {
        if (number >= shared_.size()) shared_.resize(number + 1);
        touch(shared_[number], access, lane, bytes, number * 16);
      } else {
        touch(global_granule(number), access, lane, bytes, number * 16);
      }
    }
  }
}

void ThreadRaces::touch(Granule& granule, const Access& access, uint32_t lane, uint16_t bytes, uint64_t address) {
  const uint32_t thread = access.warp * kLanes + lane;
  const bool shared_write = access.space == Space::shared && access.kind == AccessKind::write;
  if (granule.pending_bytes & bytes) {
    const bool its_wait = shared_write && !access.asynchronous && granule.pending_thread == thread && granule.pending_line == access.line;
    if (!its_wait) {
      report(access, address + std::countr_zero(static_cast<uint16_t>(granule.pending_bytes & bytes)),
             access.kind == AccessKind::read ? "read during an asynchronous copy" : "write during an asynchronous copy", thread, granule.pending_thread,
             granule.pending_line, "the cp.async of the second has not been waited for");
    }
    granule.pending_bytes &= ~bytes;
  }
  if (granule.generation != order_.generation()) {
    granule.generation = order_.generation();
    granule.count = 0;
    if (granule.more) granule.more->clear();
  }
  const bool strong = access.order != Order::weak || access.kind == AccessKind::atomic;
  const Record record{order_.now(thread), Mask{1} << lane, access.line, bytes, static_cast<uint8_t>(access.warp), access.kind, strong};
  uint32_t mine = ~0u;  // of other lanes of this instruction: this one joins them
  for (uint32_t i = 0; i < granule.count;) {
    Record& other = granule.at(i);
    const uint16_t overlap = other.bytes & bytes;
    bool gone = false;
    if (overlap) {
      const bool both_read = other.kind == AccessKind::read && access.kind == AccessKind::read;
      const bool both_atomic = other.kind == AccessKind::atomic && access.kind == AccessKind::atomic;
      // Global memory only: in shared memory a volatile store and load of two lanes mean warp-synchronous code.
      const bool both_strong = access.space == Space::global && other.strong && strong;
      if (!both_read && !both_atomic && !both_strong) {
        const Mask racing = order_.unordered(granule.generation, other.clock, other.warp, other.lanes, thread);
        if (racing) {
          const std::string what = std::string(verb(access.kind)) + " after " + verb(other.kind);
          report(access, address + std::countr_zero(overlap), what.c_str(), thread, other.warp * kLanes + std::countr_zero(racing), other.line,
                 other.warp == access.warp ? "no bar.warp.sync or barrier between them" : "no barrier between them");
        }
        if (access.kind != AccessKind::read) {  // ordered before this write: who is ordered after this one is ordered after that, too
          other.bytes &= ~bytes;
          gone = other.bytes == 0;
        }
      } else if (other.like(record)) {
        if (other.clock == record.clock && other.line == record.line) {
          mine = i;
        } else {
          other.lanes &= ~record.lanes;  // the lane's newer record stands for its older ones
          gone = other.lanes == 0;
        }
      }
    }
    if (!gone) {
      ++i;
      continue;
    }
    granule.remove(i);
    if (mine == granule.count) mine = i;
  }
  if (access.asynchronous && shared_write) {
    copies_ = true;
    granule.pending_bytes |= bytes;
    granule.pending_thread = static_cast<uint16_t>(thread);
    granule.pending_line = access.line;
  } else if (mine != ~0u) {
    granule.at(mine).lanes |= record.lanes;
  } else {
    granule.add(record);
  }
}

void ThreadRaces::report(const Access& access, uint64_t address, const char* what, uint32_t thread, uint32_t other, uint32_t other_line, const char* why) const {
  std::ostringstream text;
  text << (access.space == Space::shared ? "shared" : "global") << "-memory race (" << what << ") in kernel " << access.kernel->name << ", block " << block_ << ", at ";
  if (access.space == Space::shared) {
    text << "offset " << address;
  } else {
    text << "address 0x" << std::hex << address << std::dec;
  }
  text << ": thread " << thread << " (PTX line " << access.line << ") after thread " << other << " (PTX line " << other_line << "): " << why;
  throw Fault("race", text.str());
}

}  // namespace emulator
