#include "block_race.h"

#include <algorithm>
#include <bit>
#include <sstream>

namespace emulator {
namespace {

void join(KnownBlock& into, const KnownBlock& from) {
  if (from.generation < into.generation) return;
  if (from.generation > into.generation) {
    into = from;
    return;
  }
  for (const auto& [thread, clock] : from.threads) {
    uint32_t& known = into.threads[thread];
    known = std::max(known, clock);
  }
}

}  // namespace

LaunchRaces::Granule& LaunchRaces::granule(uint64_t number) {
  if (number / kPage != last_number_ || !last_page_) {
    std::unique_ptr<Page>& page = pages_[number / kPage];
    if (!page) page = std::make_unique<Page>();
    last_number_ = number / kPage;
    last_page_ = page.get();
  }
  return last_page_->granules[number % kPage];
}

Knowledge BlockRaces::joined(const Knowledge& a, const Knowledge& b) {
  if (!b || a == b) return a;
  if (!a) return b;
  if (last_.a == a && last_.b == b) return last_.both;
  auto both = std::make_shared<std::unordered_map<uint64_t, KnownBlock>>(*a);
  for (const auto& [block, known] : *b) join((*both)[block], known);
  last_ = {a, b, both};
  return both;
}

Knowledge BlockRaces::with_own(uint32_t thread) {
  const Knowledge& known = threads_[thread].known;
  auto all = known ? std::make_shared<std::unordered_map<uint64_t, KnownBlock>>(*known) : std::make_shared<std::unordered_map<uint64_t, KnownBlock>>();
  KnownBlock& own = (*all)[block_];
  own = {order_.generation(), {}};
  order_.each_known(thread, [&](uint32_t other, uint32_t clock) { own.threads[other] = clock; });
  return all;
}

void BlockRaces::begin_block(const KernelShape& kernel, uint64_t block, uint32_t threads, uint32_t) {
  block_ = block;
  releases_ = kernel.releases;
  if (!releases_) return;
  order_.begin(threads);
  threads_.assign((threads + kLanes - 1) / kLanes * kLanes, {});
  told_ = false;
}

void BlockRaces::meet(std::span<const uint32_t> threads) {
  if (!told_) return;
  Knowledge all;
  for (const uint32_t thread : threads) all = joined(all, threads_[thread].known);
  for (const uint32_t thread : threads) threads_[thread].known = all;
}
void BlockRaces::barrier(std::span<const uint32_t> threads) {
  if (!releases_) return;
  order_.barrier(threads);
  meet(threads);
}
void BlockRaces::warp_barrier(uint32_t warp, Mask lanes) {
  if (!releases_) return;
  order_.warp_barrier(warp, lanes);
  uint32_t threads[kLanes];
  uint32_t count = 0;
  for (Mask left = lanes; left; left &= left - 1) threads[count++] = warp * kLanes + std::countr_zero(left);
  meet({threads, count});
}
void BlockRaces::fence(uint32_t warp, Mask lanes) {
  for (Mask left = lanes; left; left &= left - 1) {
    const uint32_t number = warp * kLanes + std::countr_zero(left);
    Thread& thread = threads_[number];
    thread.known = joined(thread.known, thread.read);
    thread.fenced = with_own(number);
    order_.step(number);
  }
}

void BlockRaces::access(const Access& access) {
  if (access.space != Space::global) return;
  const bool strong = !access.within_block && (access.order != Order::weak || access.kind == AccessKind::atomic);
  const bool acquires = access.order == Order::acquire || access.order == Order::both;
  const bool releases = access.order == Order::release || access.order == Order::both;
  for (Mask left = access.lanes; left; left &= left - 1) {
    const uint32_t lane = std::countr_zero(left), number = access.warp * kLanes + lane;
    const uint64_t begin = access.address[lane], end = begin + access.bytes;
    if (releases_ && strong && access.kind != AccessKind::write) {
      const auto found = launch_->released.find(begin / 4);
      if (found != launch_->released.end()) {
        Knowledge& into = acquires ? threads_[number].known : threads_[number].read;
        into = joined(into, found->second);
        told_ = true;
      }
    }
    for (uint64_t granule = begin / 16; granule * 16 < end; ++granule) {
      uint16_t bytes = 0xffff;
      if (granule * 16 < begin) bytes &= 0xffff << (begin - granule * 16);
      if (granule * 16 + 16 > end) bytes &= 0xffff >> (granule * 16 + 16 - end);
      touch(launch_->granule(granule), access, lane, bytes, granule * 16, strong);
    }
    if (releases_ && strong && access.kind != AccessKind::read) {
      Knowledge left_there = releases ? with_own(number) : threads_[number].fenced;
      if (releases) order_.step(number);
      Knowledge& released = launch_->released[begin / 4];
      released = access.kind == AccessKind::atomic ? joined(released, left_there) : left_there;
    }
  }
}

bool BlockRaces::knows(const Thread& thread, const LaunchRaces::Record& record) const {
  if (!thread.known) return false;
  const auto found = thread.known->find(record.block);
  if (found == thread.known->end() || found->second.generation < record.generation) return false;
  if (found->second.generation > record.generation) return true;
  for (Mask left = record.lanes; left; left &= left - 1) {
    const auto clock = found->second.threads.find(record.warp * kLanes + std::countr_zero(left));
    if (clock == found->second.threads.end() || clock->second < record.clock) return false;
  }
  return true;
}

void BlockRaces::touch(LaunchRaces::Granule& granule, const Access& access, uint32_t lane, uint16_t bytes, uint64_t address, bool strong) {
  const uint32_t number = access.warp * kLanes + lane;
  LaunchRaces::Record record{static_cast<uint32_t>(access.block), 0, 0, 1, access.line, bytes, 0, access.kind, strong};
  if (releases_) {
    record.generation = order_.generation(), record.clock = order_.now(number);
    record.lanes = Mask{1} << lane, record.warp = static_cast<uint8_t>(access.warp);
  }
  size_t reads = 0;
  size_t mine = ~size_t{0};  // the record that this one joins
  for (size_t i = 0; i < granule.size();) {
    LaunchRaces::Record& other = granule[i];
    const uint16_t overlap = other.bytes & bytes;
    const bool alike = other.kind == record.kind && other.strong == strong;
    if (other.block == record.block) {
      if (alike && other.generation == record.generation && other.warp == record.warp && other.clock == record.clock && (other.bytes == bytes || other.lanes == record.lanes)) {
        if (mine == ~size_t{0}) mine = i;
      } else if (alike && other.generation == record.generation && other.warp == record.warp && other.bytes == bytes) {
        other.lanes &= ~record.lanes;  // the lane's newer record stands for its older one
      } else if ((alike && other.generation != record.generation) || (access.kind == AccessKind::write && !strong)) {
        // Who knows of this one knows of all older generations. And who is not ordered after this write races with it, whatever else there was.
        other.bytes &= ~bytes;
      }
    } else if (overlap) {
      const bool both_read = other.kind == AccessKind::read && access.kind == AccessKind::read;
      if (!both_read && !(other.strong && strong)) {
        if (!releases_ || !knows(threads_[number], other)) {
          static constexpr const char* kVerbs[] = {"read", "write", "atomic"};
          std::ostringstream text;
          text << "global-memory race (" << kVerbs[static_cast<int>(access.kind)] << " after " << kVerbs[static_cast<int>(other.kind)] << ") in kernel "
               << access.kernel->name << ", at address 0x" << std::hex << address + std::countr_zero(overlap) << std::dec << ": block " << access.block << ", thread "
               << number << " (PTX line " << access.line << ") after block " << other.block << " (PTX line " << other.line
               << "): no release and acquire order the blocks";
          throw Fault("race", text.str());
        }
        if (access.kind == AccessKind::write && !strong) other.bytes &= ~bytes;  // ordered before this write
      } else if (both_read && overlap == bytes) {
        ++reads;
      }
    }
    if (other.bytes && other.lanes) {
      ++i;
      continue;
    }
    if (mine == granule.size() - 1) mine = i;
    granule[i] = granule.back();
    granule.pop_back();
  }
  if (mine != ~size_t{0}) {
    // Same bytes, another lane; or the same lane, other bytes.
    granule[mine].bytes |= bytes;
    granule[mine].lanes |= record.lanes;
    granule[mine].line = access.line;
    return;
  }
  if (!releases_ && access.kind == AccessKind::read && !strong && reads >= 8) return;
  granule.push_back(record);
}

}  // namespace emulator
