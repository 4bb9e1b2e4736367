// Races between the blocks of one launch, through global memory: two blocks touch a byte, one of them writes, not both by atomics or other strong
// accesses of scope gpu or sys, and no chain of release and acquire orders them.
//
// A release (st.release, atom.release, or a fence before a relaxed write) leaves at the word it writes what its *thread* knows to be done: what it did
// itself, what the barriers of its block (ThreadOrder) and its own acquires told it. An acquire (or a relaxed read before a fence) of that word gives it to
// the thread that reads; barriers hand it on within the block. An atomic adds to what is left at a word, a store takes its place.
//
// Not seen: order by scope .cluster (launches have none larger than a block); what a kernel without any release could have done with one is no question, so there
// blocks count as one agent each, and of more than eight blocks that read a byte eight are known, of which any write of another block meets one.
// Races within a block are ThreadRaces' business: a write is taken to come after all that its block did to the byte.
#pragma once
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "../machine/machine.h"
#include "order.h"

namespace emulator {

// What is known of one other block: all of its generations before this one, and of this one intervals of threads (order.h).
struct KnownBlock {
  uint32_t generation = 0;
  std::map<uint32_t, uint32_t> threads;
};
// Shared between threads that know the same, hence never changed; nullptr: nothing.
using Knowledge = std::shared_ptr<const std::unordered_map<uint64_t, KnownBlock>>;

// What all blocks of a launch share: they take turns on one host thread.
class LaunchRaces {
 public:
  std::unordered_map<uint64_t, Knowledge> released;    // by word of 4 bytes

  struct Record {
    uint32_t block, generation, clock;
    Mask lanes;
    uint32_t line;
    uint16_t bytes;  // bit i: byte i of the granule
    uint8_t warp;
    AccessKind kind : 7;
    bool strong : 1;
  };
  using Granule = std::vector<Record>;  // of 16 bytes
  Granule& granule(uint64_t number);

 private:
  static constexpr uint64_t kPage = 1024;
  struct Page {
    Granule granules[kPage];
  };
  std::unordered_map<uint64_t, std::unique_ptr<Page>> pages_;
  uint64_t last_number_ = 0;
  Page* last_page_ = nullptr;
};

class BlockRaces : public Observer {
 public:
  explicit BlockRaces(std::shared_ptr<LaunchRaces> launch) : launch_(std::move(launch)) {}
  void begin_block(const KernelShape& kernel, uint64_t block, uint32_t threads, uint32_t) override;
  void access(const Access& access) override;
  void barrier(std::span<const uint32_t> threads) override;
  void warp_barrier(uint32_t warp, Mask lanes) override;
  void fence(uint32_t warp, Mask lanes) override;

 private:
  struct Thread {
    Knowledge known;    // of other blocks
    Knowledge read;     // found by relaxed reads: known from the next fence on
    Knowledge fenced;   // known at the last fence, the own block included: released by relaxed writes
  };
  void touch(LaunchRaces::Granule&, const Access&, uint32_t lane, uint16_t bytes, uint64_t address, bool strong);
  void meet(std::span<const uint32_t> threads);
  Knowledge joined(const Knowledge& a, const Knowledge& b);
  Knowledge with_own(uint32_t thread);   // what it knows, of its own block, too
  bool knows(const Thread& thread, const LaunchRaces::Record& record) const;

  std::shared_ptr<LaunchRaces> launch_;
  bool releases_ = false;   // the kernel
  uint64_t block_ = 0;
  ThreadOrder order_;
  std::vector<Thread> threads_;
  bool told_ = false;   // some thread of the block knows of others
  struct {
    Knowledge a, b, both;
  } last_;   // lanes of a warp mostly join the same
};

}  // namespace emulator
