#include "initialised.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <sstream>

#include "words.h"

namespace emulator {

void WrittenBytes::mark(uint64_t offset, uint64_t bytes) {
  each_word(offset, std::min(offset + bytes, bytes_), [&](uint64_t word, uint64_t mask) {
    if ((bits_[word].load(std::memory_order_relaxed) & mask) != mask) bits_[word].fetch_or(mask, std::memory_order_relaxed);
  });
}

void WrittenBytes::forget(uint64_t offset, uint64_t bytes) {
  each_word(offset, std::min(offset + bytes, bytes_), [&](uint64_t word, uint64_t mask) {
    bits_[word].fetch_and(~mask, std::memory_order_relaxed);
  });
}

uint64_t WrittenBytes::first_unwritten(uint64_t offset, uint64_t bytes) const {
  uint64_t first = offset + bytes;
  each_word(offset, std::min(offset + bytes, bytes_), [&](uint64_t word, uint64_t mask) {
    const uint64_t missing = ~bits_[word].load(std::memory_order_relaxed) & mask;
    if (missing) first = word * 64 + std::countr_zero(missing);
    return !missing;
  });
  return first;
}

void Initialised::begin_block(const KernelShape&, uint64_t block, uint32_t, uint32_t shared_bytes) {
  block_ = block;
  shared_.assign(shared_bytes, 0);
}

void Initialised::access(const Access& access) {
  if (access.space == Space::local) return;
  const bool reads = access.kind != AccessKind::write;
  const bool writes = access.kind != AccessKind::read && !access.asynchronous;
  for (Mask left = access.lanes; left; left &= left - 1) {
    const uint32_t lane = std::countr_zero(left);
    const uint64_t begin = access.address[lane];
    if (access.space == Space::shared) {
      if (begin + access.bytes > shared_.size()) shared_.resize(begin + access.bytes);
      if (reads) {
        const void* missing = std::memchr(shared_.data() + begin, 0, access.bytes);
        if (missing) report(access, lane, static_cast<const uint8_t*>(missing) - shared_.data());
      }
      if (writes) std::memset(shared_.data() + begin, 1, access.bytes);
    } else if (find_) {
      const Written written = find_(begin);
      if (!written.bytes) continue;
      const uint64_t offset = begin - written.begin;
      if (reads) {
        const uint64_t missing = written.bytes->first_unwritten(offset, access.bytes);
        if (missing < offset + access.bytes) report(access, lane, written.begin + missing);
      }
      if (writes) written.bytes->mark(offset, access.bytes);
    }
  }
}

void Initialised::report(const Access& access, uint32_t lane, uint64_t address) const {
  std::ostringstream text;
  text << "uninitialised " << (access.space == Space::shared ? "shared" : "global") << " memory read in kernel " << access.kernel->name << ", block " << block_
       << ", thread " << access.warp * kLanes + lane << ", PTX line " << access.line << ": nobody wrote the byte at ";
  if (access.space == Space::shared) {
    text << "offset " << address;
  } else {
    text << "address 0x" << std::hex << address;
  }
  throw Fault("uninitialised", text.str());
}

}  // namespace emulator
