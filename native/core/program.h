// The flat program: twin of kernel/src/plan/program.ts, where every field is explained. The tags that only spans carry
// (kind, phase, layer, flops, ...) stay in TypeScript; a span names its entry.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backend.h"

namespace fpdt {

namespace opcode {  // OPCODES
inline constexpr uint16_t offload = 100, fetch = 101, spill = 102, load = 103;
inline constexpr uint16_t allToAll = 110, gather = 111, reduceScatter = 112, allReduce = 113;
}  // namespace opcode

inline constexpr uint8_t kNoTier = 0xff;  // NO_TIER
inline constexpr int kTiers = 3;
inline constexpr int kStreams = 6;       // of StreamKind
inline constexpr int kStepParameters = 4;  // STEP_PARAMETERS
inline constexpr int kMostRanks = 64;      // in one process

struct Program {
  int ranks = 0;
  uint32_t length = 0;
  std::vector<uint32_t> op;
  std::vector<uint16_t> code;
  std::vector<uint8_t> stream;

  std::vector<uint32_t> operand_start;
  std::vector<uint8_t> operand_tier;
  std::vector<double> operand_offset, operand_bytes;

  std::vector<uint32_t> parameter_start;
  std::vector<double> parameters;

  std::vector<uint32_t> wait_start, wait_entry;

  std::array<double, kTiers> arena_bytes{};  // by Tier

  std::span<const double> numbers(uint32_t entry) const {
    return std::span(parameters).subspan(parameter_start[entry], parameter_start[entry + 1] - parameter_start[entry]);
  }
  std::span<const uint32_t> waits(uint32_t entry) const {
    return std::span(wait_entry).subspan(wait_start[entry], wait_start[entry + 1] - wait_start[entry]);
  }
  uint32_t operands(uint32_t entry) const { return operand_start[entry + 1] - operand_start[entry]; }
};

inline bool is_collective(uint16_t code) { return code >= opcode::allToAll && code <= opcode::allReduce; }
// Name of a kernel, copy or collective: "attend", "fetch", "allToAll".
const char* op_name(uint16_t code);
const char* stream_name(StreamKind stream);
// "entry 12 (attend, op 40)": how an error names a place of the program.
std::string entry_name(const Program& program, uint32_t entry);

// Refuses every program that could touch memory outside its arenas, wait for ever or race with itself (order.h), whatever its
// arrays hold: throws Error "program" or "shape" with the entry.
void validate(const Program& program);

}  // namespace fpdt
