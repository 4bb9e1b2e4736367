// Arenas of device and host tier: anonymous mappings, so that pages cost nothing until they are touched and read as zero. The
// disk tier's are in host/disk.cc.
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "../core/error.h"
#include "parts.h"

namespace fpdt::cpu {
namespace {

class MappedArena final : public Arena {
 public:
  MappedArena(void* data, size_t bytes) : data_(data), bytes_(bytes) {}
  ~MappedArena() override { munmap(data_, bytes_); }
  std::byte* data() override { return static_cast<std::byte*>(data_); }
  size_t bytes() const override { return bytes_; }

 private:
  void* data_;
  size_t bytes_;
};

}  // namespace

std::unique_ptr<Arena> map_arena(size_t bytes) {
  FPDT_CHECK(bytes > 0, "an arena of no bytes");
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) throw Error("out_of_memory", "mapping an arena of " + std::to_string(bytes) + " bytes failed: " + std::strerror(errno));
  madvise(data, bytes, MADV_HUGEPAGE);  // advice alone: a kernel without huge pages gives small ones
  return std::make_unique<MappedArena>(data, bytes);
}

}  // namespace fpdt::cpu
