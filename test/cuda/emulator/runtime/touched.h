// Which bytes an op read and wrote, and what that means between ops: the order checker of streams.
//
// Every op has a vector clock: for each stream, how many of its ops are known to be done before this one begins. The stream's own order, event waits and
// host waits join clocks. Two ops that touch the same byte, one of them writing, must be ordered by their clocks; else they may overlap or change places on
// a GPU, whatever this run's order was.
//
// What a thread of the host issues comes after what that thread has waited for, and after what others had told it by then (host.h). A query orders nothing.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "../machine/machine.h"

namespace emulator::runtime {

struct Interval {
  uint64_t begin, end;   // addresses, end exclusive
};
struct Touched {
  std::vector<Interval> read, written;   // each sorted and disjoint
};

// Sets of byte addresses, a bit a byte, in pages: what a kernel touches is gathered here while it runs.
class ByteSet {
 public:
  static constexpr uint64_t kPageBytes = 4096;
  struct Page {
    uint64_t bits[kPageBytes / 64] = {};
  };
  void add(uint64_t address, uint64_t bytes);
  std::vector<Interval> intervals() const;

 private:
  Page& page(uint64_t number);
  std::unordered_map<uint64_t, std::unique_ptr<Page>> pages_;
  struct Cached {
    uint64_t number = ~uint64_t{0};
    Page* page = nullptr;
  };
  Cached cache_[64];
};

// Gathers the global accesses of one launch, from the observers of its blocks, which take turns on one host thread and which it outlives. Each tells `other`
// (may be nullptr) all that it is told.
class KernelTouched {
 public:
  std::unique_ptr<Observer> observer(std::unique_ptr<Observer> other);
  Touched take() const { return {read_.intervals(), written_.intervals()}; }

 private:
  class Gather;
  ByteSet read_, written_;
};

using Clock = std::vector<uint32_t>;   // [stream's ordinal]: its ops that are done before
void join(Clock& clock, const Clock& other);

// One op as the checker knows it.
struct OpName {
  uint32_t stream = 0;     // ordinal
  uint32_t sequence = 0;   // of the op on that stream, from 1
  const std::string* label = nullptr;
};

class StreamOrder {
 public:
  // Records what an op touched, when it has run, and says what was not ordered before it. Ops come in some order that respects theirs.
  void add(const OpName& op, const Clock& clock, const Touched& touched, std::vector<std::string>& unordered);
  void forget(uint64_t begin, uint64_t end);   // memory that was freed

 private:
  // What was last done to the bytes [key, end).
  struct Cell {
    uint64_t end;
    OpName write;                // label nullptr: none
    std::vector<OpName> reads;   // since; at most one a stream
  };
  using Cells = std::map<uint64_t, Cell>;
  Cells::iterator split(uint64_t at);
  template <class Visit>
  void visit(const Interval& interval, Visit visit);
  void merge(uint64_t begin, uint64_t end);

  Cells cells_;
};

}  // namespace emulator::runtime
