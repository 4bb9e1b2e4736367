// A disk arena (native/host/disk.h) that is made with a block of memory as transfers will use it: "ordinary", or "refused", into which the system reads nothing.
// Spills and loads between aligned ordinary memory, and says in words what the arena is and whether all came back.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "../../native/host/disk.h"

int main(int, char** arguments) {
  using namespace fpdt::host;
  const std::string folder = arguments[1], kind = arguments[2];
  constexpr size_t kBytes = 3 * Bounce::kBytes + 5 * kDiskBlock + 100;
  auto* const block = static_cast<std::byte*>(mmap(nullptr, kDiskBlock, kind == "refused" ? PROT_NONE : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  const Bounce bounce;
  auto* const memory = static_cast<unsigned char*>(std::aligned_alloc(kDiskBlock, (kBytes / kDiskBlock + 1) * kDiskBlock));
  for (size_t i = 0; i < kBytes; i++) memory[i] = static_cast<unsigned char>(i * 31 + (i >> 12) * 7);

  DiskArena disk(folder, kBytes, 0, block);
  std::memset(bounce.data(), 1, Bounce::kBytes);
  disk.spill(memory, 0, kBytes, bounce);
  const bool spilt_by_bounce = bounce.data()[0] != std::byte{1};
  std::memset(memory, 0, kBytes);
  disk.load(memory, 0, kBytes, bounce);
  size_t wrong = 0;
  for (size_t i = 0; i < kBytes; i++) wrong += memory[i] != static_cast<unsigned char>(i * 31 + (i >> 12) * 7);
  std::printf("%s %s %zu wrong\n", disk.medium() == fpdt::Medium::disk ? "direct" : "cached", spilt_by_bounce ? "bounced" : "straight", wrong);
}
