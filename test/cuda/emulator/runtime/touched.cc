#include "touched.h"

#include <algorithm>
#include <bit>
#include <cstdio>

#include "../checks/words.h"

namespace emulator::runtime {
namespace {

constexpr uint64_t kPage = ByteSet::kPageBytes;

std::string range_text(uint64_t begin, uint64_t end) {
  char text[64];
  std::snprintf(text, sizeof text, "%llu bytes at 0x%llx", static_cast<unsigned long long>(end - begin), static_cast<unsigned long long>(begin));
  return text;
}

void append(std::vector<Interval>& list, uint64_t begin, uint64_t end) {
  if (!list.empty() && list.back().end == begin) list.back().end = end;
  else list.push_back({begin, end});
}

// Runs of ones of a word, as intervals from `base`.
void append_runs(std::vector<Interval>& list, uint64_t base, uint64_t word) {
  while (word) {
    const int begin = std::countr_zero(word);
    const int length = std::countr_one(word >> begin);
    append(list, base + static_cast<uint64_t>(begin), base + static_cast<uint64_t>(begin + length));
    if (begin + length == 64) break;
    word &= ~uint64_t{0} << (begin + length);
  }
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------- sets of bytes
ByteSet::Page& ByteSet::page(uint64_t number) {
  Cached& cached = cache_[number % 64];
  if (cached.number != number) {
    auto& slot = pages_[number];
    if (!slot) slot = std::make_unique<Page>();
    cached = {number, slot.get()};
  }
  return *cached.page;
}

void ByteSet::add(uint64_t address, uint64_t bytes) {
  const uint64_t end = address + bytes;
  while (address < end) {
    const uint64_t number = address / kPage, to = std::min(end, (number + 1) * kPage);
    Page& target = page(number);
    each_word(address - number * kPage, to - number * kPage, [&](uint64_t word, uint64_t mask) { target.bits[word] |= mask; });
    address = to;
  }
}

std::vector<Interval> ByteSet::intervals() const {
  std::vector<uint64_t> numbers;
  numbers.reserve(pages_.size());
  for (const auto& [number, page] : pages_) numbers.push_back(number);
  std::sort(numbers.begin(), numbers.end());
  std::vector<Interval> list;
  for (const uint64_t number : numbers) {
    const Page& page = *pages_.at(number);
    for (uint64_t word = 0; word < kPage / 64; ++word) append_runs(list, number * kPage + word * 64, page.bits[word]);
  }
  return list;
}

// ---------------------------------------------------------------------------------------------------------------- of one kernel
class KernelTouched::Gather final : public Observer {
 public:
  Gather(KernelTouched& all, std::unique_ptr<Observer> other) : all_(all), other_(std::move(other)) {}

  void begin_block(const KernelShape& kernel, uint64_t block, uint32_t threads, uint32_t shared_bytes) override {
    if (other_) other_->begin_block(kernel, block, threads, shared_bytes);
  }
  void barrier(std::span<const uint32_t> threads) override {
    if (other_) other_->barrier(threads);
  }
  void warp_barrier(uint32_t warp, Mask lanes) override {
    if (other_) other_->warp_barrier(warp, lanes);
  }
  void fence(uint32_t warp, Mask lanes) override {
    if (other_) other_->fence(warp, lanes);
  }
  void end_block() override {
    if (other_) other_->end_block();
  }
  void access(const Access& access) override {
    if (other_) other_->access(access);
    if (access.space != Space::global) return;
    if (access.kind != AccessKind::write) gather(all_.read_, access);
    if (access.kind != AccessKind::read) gather(all_.written_, access);
  }

 private:
  static void gather(ByteSet& set, const Access& access) {
    if (access.lanes == ~Mask{0}) {   // most often lane after lane: one stretch
      bool together = true;
      for (uint64_t lane = 0; lane < kLanes; ++lane) together &= access.address[lane] == access.address[0] + lane * access.bytes;
      if (together) return set.add(access.address[0], uint64_t{kLanes} * access.bytes);
    }
    for (Mask lanes = access.lanes; lanes; lanes &= lanes - 1) set.add(access.address[std::countr_zero(lanes)], access.bytes);
  }

  KernelTouched& all_;
  std::unique_ptr<Observer> other_;
};

std::unique_ptr<Observer> KernelTouched::observer(std::unique_ptr<Observer> other) { return std::make_unique<Gather>(*this, std::move(other)); }

// ---------------------------------------------------------------------------------------------------------------- between ops
void join(Clock& clock, const Clock& other) {
  if (clock.size() < other.size()) clock.resize(other.size());
  for (size_t i = 0; i < other.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}

namespace {

bool before(const OpName& op, const Clock& clock) { return op.stream < clock.size() && op.sequence <= clock[op.stream]; }
bool same(const OpName& a, const OpName& b) { return a.stream == b.stream && a.sequence == b.sequence && a.label == b.label; }
bool same(const std::vector<OpName>& a, const std::vector<OpName>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const OpName& x, const OpName& y) { return same(x, y); });
}

}  // namespace

// Makes `at` the beginning of a cell if it lies inside one; the first cell that begins at or after it.
StreamOrder::Cells::iterator StreamOrder::split(uint64_t at) {
  auto next = cells_.lower_bound(at);
  if (next != cells_.begin()) {
    auto cell = std::prev(next);
    if (cell->second.end > at) {
      Cell upper = cell->second;
      cell->second.end = at;
      next = cells_.emplace_hint(next, at, std::move(upper));
    }
  }
  return next;
}

template <class Visit>
void StreamOrder::visit(const Interval& interval, Visit visit) {
  split(interval.end);
  auto cell = split(interval.begin);
  uint64_t at = interval.begin;
  while (at < interval.end) {
    if (cell == cells_.end() || cell->first > at) {   // bytes of which nothing is known
      const uint64_t to = cell == cells_.end() ? interval.end : std::min(interval.end, cell->first);
      cell = cells_.emplace_hint(cell, at, Cell{to, {}, {}});
    }
    visit(cell->first, cell->second);
    at = cell->second.end;
    ++cell;
  }
}

void StreamOrder::merge(uint64_t begin, uint64_t end) {
  auto cell = cells_.lower_bound(begin);
  if (cell != cells_.begin()) --cell;
  while (cell != cells_.end() && cell->first <= end) {
    auto next = std::next(cell);
    if (next == cells_.end()) return;
    if (cell->second.end == next->first && same(cell->second.write, next->second.write) && same(cell->second.reads, next->second.reads)) {
      cell->second.end = next->second.end;
      cells_.erase(next);
    } else {
      cell = next;
    }
  }
}

void StreamOrder::add(const OpName& op, const Clock& clock, const Touched& touched, std::vector<std::string>& unordered) {
  const auto report = [&](const OpName& other, bool other_wrote, bool wrote, uint64_t begin, uint64_t end) {
    std::string text = "unordered: " + *other.label + (other_wrote ? " (writes) and " : " (reads) and ") + *op.label + (wrote ? " (writes)" : " (reads)");
    // One line for a pair of ops, with the first bytes on which they meet.
    for (const std::string& said : unordered) {
      if (said.compare(0, text.size(), text) == 0) return;
    }
    unordered.push_back(text + " touch " + range_text(begin, end) + ", and nothing orders them");
  };
  for (const Interval& interval : touched.read) {
    visit(interval, [&](uint64_t begin, Cell& cell) {
      if (cell.write.label && !before(cell.write, clock)) report(cell.write, true, false, begin, cell.end);
      // Readers that come before this one need not be kept: who is ordered after this one is ordered after them.
      std::erase_if(cell.reads, [&](const OpName& read) { return before(read, clock); });
      cell.reads.push_back(op);
    });
    merge(interval.begin, interval.end);
  }
  for (const Interval& interval : touched.written) {
    visit(interval, [&](uint64_t begin, Cell& cell) {
      if (cell.write.label && !before(cell.write, clock)) report(cell.write, true, true, begin, cell.end);
      for (const OpName& read : cell.reads) {
        if (!same(read, op) && !before(read, clock)) report(read, false, true, begin, cell.end);
      }
      cell.write = op;
      cell.reads.clear();
    });
    merge(interval.begin, interval.end);
  }
}

void StreamOrder::forget(uint64_t begin, uint64_t end) {
  split(end);
  for (auto cell = split(begin); cell != cells_.end() && cell->first < end;) cell = cells_.erase(cell);
}

}  // namespace emulator::runtime
