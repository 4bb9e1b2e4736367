// Which slot of the register file holds which virtual register when. PTX names each value anew, thousands of them; what a warp really needs at a time is a
// hundred or two, and a file of that size stays in the nearest caches.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace emulator {

enum class RegisterClass : uint8_t { predicate, word, wide };  // 4, 128, 256 bytes

// Uses and definitions of one instruction, as numbers of virtual registers; where control may go next, as numbers of instructions.
struct Flowing {
  std::vector<uint32_t> uses, definitions, next;
  bool conditional = false;  // guarded: a definition leaves other lanes their old value
};

struct Slots {
  std::vector<uint32_t> offset;  // of each virtual register
  uint32_t bytes;                // of the file
};

// `preset`: registers that hold a value from the start. The first `reserved` bytes stay free.
Slots allocate(std::span<const Flowing> code, std::span<const RegisterClass> registers, std::span<const uint32_t> preset, uint32_t reserved);

}  // namespace emulator
