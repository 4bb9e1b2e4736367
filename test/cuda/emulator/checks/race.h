// Races between the threads of a block, through shared and through global memory: two threads touch a byte, one of them writes, and no barrier
// stands between them. Exact for the order in which this run went: what is reported is a race in every run that takes these branches, also where
// the result came out right. Lanes of a warp are threads like others: without bar.warp.sync nothing orders them.
//
// A shadow granule stands for 16 bytes. It keeps the last writes and the reads since, as records of (warp, lanes, interval) of order.h; what is
// ordered before a new write is forgotten, so there are few. cp.async is a writer of its own from its issue to its wait: until then nobody may
// touch its bytes, not even the thread that issued it. Atomics do not race with atomics.
//
// Not seen: threads of one block that order themselves through atomics in memory (a lock between warps, say); they are reported. A write
// to what a cp.async still reads, where one barrier orders it after the copy's issue and another before the copy's wait.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "../machine/machine.h"
#include "order.h"

namespace emulator {

class ThreadRaces : public Observer {
 public:
  void begin_block(const KernelShape&, uint64_t block, uint32_t threads, uint32_t shared_bytes) override;
  void access(const Access&) override;
  void barrier(std::span<const uint32_t> threads) override { order_.barrier(threads); }
  void warp_barrier(uint32_t warp, Mask lanes) override { order_.warp_barrier(warp, lanes); }

 private:
  struct Record {
    uint32_t clock;
    Mask lanes;
    uint32_t line;
    uint16_t bytes;  // bit i: byte i of the granule
    uint8_t warp;
    AccessKind kind : 7;
    bool strong : 1;  // not Order::weak
    bool like(const Record& other) const { return bytes == other.bytes && warp == other.warp && kind == other.kind && strong == other.strong; }
  };
  struct Granule {
    uint32_t generation = 0;     // of all records; records of an older one are as good as gone
    uint32_t pending_line = 0;   // of a cp.async under way, which stays through barriers
    uint16_t pending_bytes = 0;
    uint16_t pending_thread = 0;
    uint32_t count = 0;
    Record first[4];
    std::unique_ptr<std::vector<Record>> more;  // beyond those
    Record& at(uint32_t i) { return i < 4 ? first[i] : (*more)[i - 4]; }
    void add(const Record&);
    void remove(uint32_t i);     // the last one comes to its place
  };
  static constexpr uint64_t kPage = 256;
  struct Page {
    Granule granules[kPage];
  };

  Granule& global_granule(uint64_t number);
  void touch(Granule&, const Access&, uint32_t lane, uint16_t bytes, uint64_t address);
  [[noreturn]] void report(const Access&, uint64_t address, const char* what, uint32_t thread, uint32_t other, uint32_t other_line, const char* why) const;

  ThreadOrder order_;
  std::vector<Granule> shared_;
  bool copies_ = false;  // a cp.async was issued in this block
  uint64_t block_ = 0;
  std::unordered_map<uint64_t, std::unique_ptr<Page>> pages_;
  uint64_t last_number_ = ~uint64_t{0};
  Page* last_page_ = nullptr;
};

}  // namespace emulator
