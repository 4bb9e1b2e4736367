// The CPU fills core/backend.h: one compute pool for all ranks, streams that are the threads driving them, arenas that are
// mappings. The device arena is ordinary memory with a budget: it plays the part of HBM.
#include "../core/backend.h"

#include <atomic>
#include <cstring>

#include "../core/error.h"
#include "machine.h"
#include "parts.h"

namespace fpdt {
namespace {

class CpuBackend final : public Backend {
 public:
  CpuBackend(int threads, const std::string& path)
      : path_(cpu::choose_path(path)), pool_(std::make_shared<cpu::Pool>(threads > 0 ? threads : cpu::usable_threads())) {}

  DeviceInfo info() const override {
    return {.backend = "cpu", .name = cpu::processor_name(), .path = cpu::path_name(path_), .threads = pool_->threads(), .memory_bytes = cpu::usable_memory()};
  }
  std::unique_ptr<Arena> allocate(Tier tier, size_t bytes, int) override {
    allocations_++;
    return cpu::map_arena(tier, bytes);
  }
  uint64_t allocations() const override { return allocations_; }
  std::unique_ptr<Stream> make_stream(StreamKind, int) override { return cpu::make_stream(pool_, path_); }
  int issue_ahead() const override { return 1; }
  void read(void* to, const Arena& from, size_t offset, size_t bytes) override {
    check(from, offset, bytes);
    std::memcpy(to, const_cast<Arena&>(from).data() + offset, bytes);
  }
  void write(Arena& to, size_t offset, const void* from, size_t bytes) override {
    check(to, offset, bytes);
    std::memcpy(to.data() + offset, from, bytes);
  }
  double now_ns() const override { return cpu::monotonic_ns(); }

 private:
  static void check(const Arena& arena, size_t offset, size_t bytes) {
    FPDT_CHECK(offset <= arena.bytes() && bytes <= arena.bytes() - offset, "bytes " << offset << " .. " << offset + bytes << " of an arena of " << arena.bytes());
  }

  const cpu::Path path_;
  const std::shared_ptr<cpu::Pool> pool_;
  std::atomic<uint64_t> allocations_{0};
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int threads, const std::string& path) { return std::make_unique<CpuBackend>(threads, path); }

}  // namespace fpdt
