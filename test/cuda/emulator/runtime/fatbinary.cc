#include "fatbinary.h"

#include <fatbinary_section.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "../machine/machine.h"

namespace emulator {
namespace {

// Not documented by NVIDIA; read off what nvcc 13.0 writes (the same since CUDA 7 but for the meaning of the compression flags).
constexpr uint32_t kContainerMagic = 0xba55ed50;
struct Container {
  uint32_t magic;
  uint16_t version;
  uint16_t header_bytes;
  uint64_t bytes;   // of all entries
};
constexpr uint16_t kPtx = 1;
struct Entry {
  uint16_t kind;            // 1: PTX, 2: SASS
  uint16_t version;
  uint32_t header_bytes;
  uint64_t bytes;           // of the payload, padded
  uint32_t compressed_bytes;
  uint32_t options;
  uint16_t minor, major;    // of the PTX language
  uint32_t architecture;    // 80 for compute_80
  uint32_t name_at, name_bytes;
  uint64_t flags;
};
static_assert(sizeof(Entry) == 48);
constexpr uint64_t kCompressed = 0x2000 | 0x8000;   // LZ4 (to CUDA 12), Zstandard

template <class Header>
Header header_at(const std::byte* at) {
  Header header;
  std::memcpy(&header, at, sizeof header);
  return header;
}

}  // namespace

std::string embedded_ptx(const void* wrapper, int capability) {
  const auto* section = static_cast<const __fatBinC_Wrapper_t*>(wrapper);
  if (section->magic != FATBINC_MAGIC) throw Fault("launch", "the registered binary is no fat binary of nvcc");
  const auto* at = reinterpret_cast<const std::byte*>(section->data);
  const auto container = header_at<Container>(at);
  if (container.magic != kContainerMagic) throw Fault("launch", "the fat binary begins with another magic number than nvcc's");
  at += container.header_bytes;
  const std::byte* const end = at + container.bytes;

  std::string held;
  std::string_view best;
  uint32_t best_architecture = 0;
  bool compressed = false;
  while (at < end) {
    const auto entry = header_at<Entry>(at);
    const bool is_ptx = entry.kind == kPtx;
    held += std::string(held.empty() ? "" : ", ") + (is_ptx ? "compute_" : "sm_") + std::to_string(entry.architecture) + (entry.flags & kCompressed ? " (compressed)" : "");
    if (is_ptx && static_cast<int>(entry.architecture) <= capability && entry.architecture > best_architecture) {
      best_architecture = entry.architecture;
      compressed = entry.flags & kCompressed;
      const auto* text = reinterpret_cast<const char*>(at + entry.header_bytes);
      best = std::string_view(text, strnlen(text, entry.bytes));
    }
    at += entry.header_bytes + entry.bytes;
  }
  if (!best_architecture) throw Fault("launch", "no PTX for a device of compute capability " + std::to_string(capability) + " in the fat binary: it holds " + held);
  if (compressed) throw Fault("launch", "the PTX in the fat binary is compressed; compile with -Xfatbin -compress=false");
  return std::string(best);
}

}  // namespace emulator
