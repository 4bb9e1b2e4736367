#include "race.h"

#include <algorithm>
#include <bit>
#include <sstream>

namespace emulator {
namespace {

const char* verb(AccessKind kind) { return kind == AccessKind::read ? "read" : kind == AccessKind::write ? "write" : "atomic"; }

}  // namespace

void ThreadRaces::Word::add(const Record& record) {
  if (count < 2) {
    first[count] = record;
  } else {
    if (!more) more = std::make_unique<std::vector<Record>>();
    more->push_back(record);
  }
  ++count;
}

void ThreadRaces::Word::remove(uint32_t i) {
  at(i) = at(count - 1);
  if (--count >= 2) more->pop_back();
}

void ThreadRaces::begin_block(const KernelShape&, uint64_t block, uint32_t threads, uint32_t shared_bytes) {
  order_.begin(threads);
  block_ = block;
  const size_t words = (size_t{shared_bytes} + 3) / 4;
  if (shared_.size() < words) shared_.resize(words);
  if (copies_) {  // a block may end with copies that nobody waited for
    for (Word& word : shared_) word.pending_bytes = 0;
    copies_ = false;
  }
}

ThreadRaces::Word& ThreadRaces::global_word(uint64_t number) {
  if (number / kPageWords != last_number_ || !last_page_) {
    std::unique_ptr<Page>& page = pages_[number / kPageWords];
    if (!page) page = std::make_unique<Page>();
    last_number_ = number / kPageWords;
    last_page_ = page.get();
  }
  return last_page_->words[number % kPageWords];
}

void ThreadRaces::access(const Access& access) {
  if (access.space == Space::local) return;
  for (Mask left = access.lanes; left; left &= left - 1) {
    const uint32_t lane = std::countr_zero(left);
    const uint64_t begin = access.address[lane], end = begin + access.bytes;
    for (uint64_t number = begin / 4; number * 4 < end; ++number) {
      uint8_t bytes = 0xf;
      if (number * 4 < begin) bytes &= 0xf << (begin - number * 4);
      if (number * 4 + 4 > end) bytes &= 0xf >> (number * 4 + 4 - end);
      if (access.space == Space::shared) {
        if (number >= shared_.size()) shared_.resize(number + 1);
        touch(shared_[number], access, lane, bytes, number * 4);
      } else {
        touch(global_word(number), access, lane, bytes, number * 4);
      }
    }
  }
}

void ThreadRaces::touch(Word& word, const Access& access, uint32_t lane, uint8_t bytes, uint64_t address) {
  const uint32_t thread = access.warp * kLanes + lane;
  const bool shared_write = access.space == Space::shared && access.kind == AccessKind::write;
  const bool issue = access.asynchronous && shared_write;
  if (word.pending_bytes & bytes) {
    const bool its_wait = shared_write && !access.asynchronous && word.pending_thread == thread && word.pending_line == access.line;
    if (!its_wait) {
      report(access, address, access.kind == AccessKind::read ? "read during an asynchronous copy" : "write during an asynchronous copy", thread, word.pending_thread,
             word.pending_line, "the cp.async of the second has not been waited for");
    }
    word.pending_bytes &= ~bytes;
  }
  if (word.generation != order_.generation()) {
    word.generation = order_.generation();
    word.count = 0;
    if (word.more) word.more->clear();
  }
  const bool strong = access.order != Order::weak || access.kind == AccessKind::atomic;
  const uint32_t clock = order_.now(thread);
  bool recorded = false;
  for (uint32_t i = 0; i < word.count;) {
    Record& record = word.at(i);
    const uint8_t overlap = record.bytes & bytes;
    if (!overlap) {
      ++i;
      continue;
    }
    const bool both_read = record.kind == AccessKind::read && access.kind == AccessKind::read;
    const bool both_atomic = record.kind == AccessKind::atomic && access.kind == AccessKind::atomic;
    // Global memory only: in shared memory a volatile store and load of two lanes mean warp-synchronous code.
    const bool both_strong = access.space == Space::global && record.strong && strong;
    if (!both_read && !both_atomic && !both_strong) {
      const Mask racing = order_.unordered(word.generation, record.clock, record.warp, record.lanes, thread);
      if (racing) {
        const std::string what = std::string(verb(access.kind)) + " after " + verb(record.kind);
        report(access, address + std::countr_zero(overlap), what.c_str(), thread, record.warp * kLanes + std::countr_zero(racing), record.line,
               record.warp == access.warp ? "no bar.warp.sync or barrier between them" : "no barrier between them");
      }
      if (access.kind != AccessKind::read) {  // ordered before this write: who is ordered after this one is ordered after that, too
        record.bytes &= ~bytes;
        if (!record.bytes) {
          word.remove(i);
          continue;
        }
      }
    } else if (record.kind == access.kind && record.bytes == bytes && record.warp == access.warp && record.strong == strong) {
      if (record.clock == clock && record.line == access.line) {
        recorded = true;
      } else {
        record.lanes &= ~(Mask{1} << lane);  // the lane's newer record stands for its older ones
        if (!record.lanes) {
          word.remove(i);
          continue;
        }
      }
    }
    ++i;
  }
  if (issue) {
    copies_ = true;
    word.pending_bytes |= bytes;
    word.pending_thread = thread;
    word.pending_line = access.line;
    return;
  }
  if (recorded) {  // by another lane of this instruction; records may have moved since
    for (uint32_t i = 0; i < word.count; ++i) {
      Record& record = word.at(i);
      if (record.kind == access.kind && record.bytes == bytes && record.warp == access.warp && record.strong == strong && record.clock == clock && record.line == access.line) {
        record.lanes |= Mask{1} << lane;
        return;
      }
    }
  }
  word.add({clock, Mask{1} << lane, access.line, static_cast<uint16_t>(access.warp), bytes, strong, access.kind});
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
