// The CPU fills core/backend.h: one compute pool for all ranks, streams that are the threads driving them, arenas that are
// mappings or, on the disk tier, files. The device arena is ordinary memory with a budget: it plays the part of HBM.
#include "../core/backend.h"

#include <atomic>
#include <cstring>

#include "../core/error.h"
#include "../host/clock.h"
#include "../host/disk.h"
#include "../host/machine.h"
#include "parts.h"

namespace fpdt {
namespace {

class CpuBackend final : public Backend {
 public:
  CpuBackend(int threads, const std::string& path, const std::string& disk_folder)
      : path_(cpu::choose_path(path)),
        pool_(std::make_shared<cpu::Pool>(threads > 0 ? threads : host::usable_threads())),
        disk_folder_(host::disk_folder(disk_folder)) {}

  DeviceInfo info() const override {
    return {.backend = "cpu",
            .name = host::processor_name(),
            .path = cpu::path_name(path_),
            .threads = pool_->threads(),
            .memory_bytes = host::usable_memory(),
            .disk_folder = disk_folder_};
  }
  std::unique_ptr<Arena> allocate(Tier tier, size_t bytes, int rank) override {
    allocations_++;
    if (tier == Tier::disk) return std::make_unique<host::DiskArena>(disk_folder_, bytes, rank);
    return cpu::map_arena(bytes);
  }
  uint64_t allocations() const override { return allocations_; }
  std::unique_ptr<Stream> make_stream(StreamKind kind, int) override { return cpu::make_stream(kind, pool_, path_); }
  int issue_ahead() const override { return 1; }
  void read(void* to, const Arena& from, size_t offset, size_t bytes) override {
    check(from, offset, bytes);
    if (auto* disk = dynamic_cast<const host::DiskArena*>(&from)) return disk->read(to, offset, bytes);
    std::memcpy(to, const_cast<Arena&>(from).data() + offset, bytes);
  }
  void write(Arena& to, size_t offset, const void* from, size_t bytes) override {
    check(to, offset, bytes);
    if (auto* disk = dynamic_cast<host::DiskArena*>(&to)) return disk->write(from, offset, bytes);
    std::memcpy(to.data() + offset, from, bytes);
  }
  double now_ns() const override { return host::monotonic_ns(); }

 private:
  static void check(const Arena& arena, size_t offset, size_t bytes) {
    FPDT_CHECK(offset <= arena.bytes() && bytes <= arena.bytes() - offset, "bytes " << offset << " .. " << offset + bytes << " of an arena of " << arena.bytes());
  }

  const cpu::Path path_;
  const std::shared_ptr<cpu::Pool> pool_;
  const std::string disk_folder_;
  std::atomic<uint64_t> allocations_{0};
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int threads, const std::string& path, const std::string& disk_folder) {
  return std::make_unique<CpuBackend>(threads, path, disk_folder);
}

}  // namespace fpdt
