// The state of a block that runs: warps with their register files, shared memory, barriers.
#pragma once
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <deque>
#include <vector>

#include "../ptx/module.h"
#include "barriers.h"
#include "instruction.h"

namespace emulator {

// Windows of generic addresses, and of parameters in param space. Runtimes give device memory addresses below all of them.
inline constexpr uint64_t kSharedWindow = uint64_t{1} << 60;
inline constexpr uint64_t kLocalWindow = uint64_t{1} << 61;
inline constexpr uint64_t kParameterWindow = uint64_t{1} << 62;
inline constexpr uint64_t kCallParameters = uint64_t{1} << 24;  // param-space addresses from here on lie in local memory: .param variables of calls

// xorshift64*: a few bits of disorder, the same for the same seed.
struct Random {
  uint64_t state;
  explicit Random(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du) {
    for (int i = 0; i < 4; i++) next();
  }
  uint64_t next() {
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return state * 0x2545f4914f6cdd1du >> 16;
  }
  uint64_t below(uint64_t n) { return next() % n; }
};

// Lanes that stand at the same place.
struct Group {
  enum State : uint8_t { ready, together, barrier };  // `together`: waits for more lanes; `barrier`: for other warps
  uint32_t pc;
  Mask lanes;
  State state;
};

// cp.async: copies that were issued and have not landed.
struct PendingCopies {
  Mask lanes;
  uint32_t bytes, line;
  std::array<uint32_t, kLanes> group;         // number of the lane's group that holds it
  std::array<uint32_t, kLanes> to;            // offset in shared memory
  std::array<uint32_t, kLanes> valid;         // bytes that are copied; the others become zero
  std::array<const std::byte*, kLanes> from;
  std::array<uint64_t, kLanes> from_address;  // as the program has it
};

struct RunningBlock;
struct Warp {
  std::byte* bases[2];  // register file, constants
  RunningBlock* block;
  std::byte* local;     // [lane][Kernel::local_bytes]
  uint32_t number;
  Mask exists, live;    // threads of the block; those that have not left
  const Region* region[2];  // those used last, the latest first
  std::vector<Group> groups;
  uint32_t pc;           // of the instruction that is being done, for faults
  uint32_t patience, spins;
  bool parked;           // no group can go on before a barrier opens
  std::deque<PendingCopies> copies;
  std::array<uint32_t, kLanes> copy_group;  // number of the open group of each lane
};

struct RunningBlock {
  const Kernel* kernel;
  const LaunchConfig* config;
  const std::byte* parameters;
  uint32_t parameter_bytes;
  const AddressSpace* memory;
  const Options* options;
  Observer* observer = nullptr;
  std::byte* shared = nullptr;
  uint32_t shared_bytes = 0;
  uint64_t number = 0;
  uint32_t id[3] = {0, 0, 0};
  uint32_t threads = 0;
  std::vector<Warp> warps;
  std::array<Barrier, 16> barriers;
  Random random{0};
  uint64_t instructions = 0;
};

// Where and what: "kernel k, block (0,0,0), thread (3,0,0), PTX line 17: ld.global.f32 ...: why".
[[noreturn]] void fault(const Warp& w, const Instruction& i, int lane, const char* kind, const std::string& why);

// The operand as an array of 32 values.
inline const std::byte* source_bytes(const Warp& w, uint32_t operand) { return w.bases[operand >> 31] + (operand & ~kConstant); }
inline std::byte* result_bytes(const Warp& w, uint32_t operand) { return w.bases[0] + operand; }
inline Mask read_predicate(const Warp& w, uint32_t operand) {
  Mask m;
  std::memcpy(&m, source_bytes(w, operand), 4);
  return m;
}
inline void write_predicate(Warp& w, uint32_t operand, Mask lanes, Mask value) {
  Mask m;
  std::memcpy(&m, result_bytes(w, operand), 4);
  m = (m & ~lanes) | (value & lanes);
  std::memcpy(result_bytes(w, operand), &m, 4);
}

}  // namespace emulator
