// Races between the blocks of one launch, through global memory: two blocks touch a byte, one of them writes, not both by atomics or other strong
// accesses, and no chain of release and acquire orders them. A block counts as one agent here: what one of its threads acquires, all have; whether
// the others waited for that thread is the business of ThreadRaces.
//
// A release (st.release, atom.release, or a fence before a relaxed write) leaves what the block knows at the word it writes; an acquire (or a relaxed
// read before a fence) of that word takes it over. Exact where no blocks are ordered; where they are, bytes read by more than eight blocks before
// the first release are known of eight of them.
#pragma once
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "../machine/machine.h"

namespace emulator {

// What all worker threads of a launch share.
class LaunchRaces {
 public:
  void access(const Access&);
  void fence(uint64_t block);

 private:
  using Clock = std::unordered_map<uint64_t, uint32_t>;  // block -> highest interval of it that is known to be done
  struct Record {
    uint32_t block;
    uint32_t clock;
    uint32_t line;
    uint16_t bytes;  // bit i: byte i of the granule
    AccessKind kind;
    bool strong;
  };
  using Granule = std::vector<Record>;  // of 16 bytes
  static constexpr uint64_t kPage = 1024;
  struct Page {
    Granule granules[kPage];
  };
  struct Block {
    uint32_t now = 1;
    Clock known;    // acquired
    Clock read;     // found by relaxed reads: acquired by the next fence
    Clock fenced;   // known at the last fence, and the block's own intervals: released by relaxed writes
  };

  Granule& granule(uint64_t number);
  void touch(Granule&, Block&, const Access&, uint32_t lane, uint16_t bytes, uint64_t address);
  static void join(Clock& into, const Clock& from);

  std::mutex mutex_;
  std::unordered_map<uint64_t, std::unique_ptr<Page>> pages_;
  uint64_t last_number_ = 0;
  Page* last_page_ = nullptr;
  std::unordered_map<uint64_t, Block> blocks_;
  std::unordered_map<uint64_t, Clock> released_;  // by word
};

class BlockRaces : public Observer {
 public:
  explicit BlockRaces(std::shared_ptr<LaunchRaces> launch) : launch_(std::move(launch)) {}
  void begin_block(const KernelShape&, uint64_t block, uint32_t, uint32_t) override { block_ = block; }
  void access(const Access& access) override {
    if (access.space == Space::global) launch_->access(access);
  }
  void fence(uint32_t, Mask) override { launch_->fence(block_); }

 private:
  std::shared_ptr<LaunchRaces> launch_;
  uint64_t block_ = 0;
};

}  // namespace emulator
