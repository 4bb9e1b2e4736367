// One decoded instruction: a function that does it for all lanes at once, and where its operands lie.
#pragma once
#include <cstdint>

#include "machine.h"

namespace emulator {

struct Warp;
struct Instruction;
using Execute = void (*)(Warp&, const Instruction&, Mask);

// An operand is a byte offset into the warp's register file, or with kConstant into the kernel's constants. A slot holds 32 lanes: 128 bytes of 8- to
// 32-bit registers (narrow ones zero-extended), 256 of 64-bit ones, and 4 of a predicate, which is a Mask. Offset 0 is a slot that nobody reads ("_").
inline constexpr uint32_t kConstant = 0x80000000;
inline constexpr uint32_t kNone = 0xffffffff;

inline constexpr uint8_t kMeetsAnywhere = 1;  // variant of bar.warp.sync: lanes may meet at different places

enum class Flow : uint8_t {
  plain,           // does its work and goes on
  branch,          // to target
  branch_indexed,  // to one of table `target`, by a
  leave,           // exit
  together,        // waits for the lanes of `members` (or, kNone, for the whole warp), then as plain
  barrier,         // of the block: see barriers.h
  yield,           // as plain, then lets others run
};

struct Instruction {
  Execute execute = nullptr;
  uint32_t d = 0, a = 0, b = 0, c = 0;  // result and sources
  uint32_t guard = kNone;               // predicate
  uint32_t members = kNone;             // mask of a .sync instruction
  uint32_t line = 0;                    // of the PTX text
  uint32_t target = 0;                  // pc, or number of a table of them
  int64_t offset = 0;                   // of an address, or another constant
  const uint32_t* list = nullptr;       // more operands
  Flow flow = Flow::plain;
  bool guard_negated = false;
  uint8_t variant = 0;  // what else the function wants to know
  uint8_t count = 1;    // of vector elements
  uint32_t extra = 0;
};

}  // namespace emulator
