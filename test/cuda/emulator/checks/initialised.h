// Bytes read that nobody wrote: of a block's shared memory, and of device memory that its owner keeps a WrittenBytes for.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "../machine/machine.h"

namespace emulator {

// Which bytes of an allocation have been written. The runtime marks what copies and memset write, the observer what kernels write; from any thread.
class WrittenBytes {
 public:
  explicit WrittenBytes(uint64_t bytes) : words_((bytes + 63) / 64), bits_(new std::atomic<uint64_t>[words_]()), bytes_(bytes) {}
  void mark(uint64_t offset, uint64_t bytes);
  // What lies there is as good as never written: memory given back to an allocator.
  void forget(uint64_t offset, uint64_t bytes);
  // Offset of the first byte from `offset` on that nobody wrote, or offset + bytes.
  uint64_t first_unwritten(uint64_t offset, uint64_t bytes) const;

 private:
  uint64_t words_;
  std::unique_ptr<std::atomic<uint64_t>[]> bits_;
  uint64_t bytes_;
};

// The bytes of the allocation that holds an address, and where it begins; {nullptr, 0} where it is not known.
struct Written {
  WrittenBytes* bytes = nullptr;
  uint64_t begin = 0;
};
using FindWritten = std::function<Written(uint64_t address)>;

class Initialised : public Observer {
 public:
  // `find` empty: shared memory only.
  explicit Initialised(FindWritten find) : find_(std::move(find)) {}
  void begin_block(const KernelShape&, uint64_t block, uint32_t threads, uint32_t shared_bytes) override;
  void access(const Access&) override;

 private:
  [[noreturn]] void report(const Access&, uint32_t lane, uint64_t address) const;

  FindWritten find_;
  uint64_t block_ = 0;
  std::vector<uint8_t> shared_;  // 1: written
};

}  // namespace emulator
