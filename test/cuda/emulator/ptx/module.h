// A kernel ready to run: decoded instructions and what a block of it needs.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "../machine/instruction.h"
#include "../machine/machine.h"

namespace emulator {

// Special registers that stay the same while a warp lives: written once into a slot.
enum class Special : uint8_t {
  tid_x, tid_y, tid_z, ntid_x, ntid_y, ntid_z, ctaid_x, ctaid_y, ctaid_z, nctaid_x, nctaid_y, nctaid_z,
  laneid, warpid, nwarpid, smid, nsmid, gridid,
  lanemask_eq, lanemask_lt, lanemask_le, lanemask_gt, lanemask_ge, dynamic_smem_size, total_smem_size,
};

struct Kernel {
  KernelShape shape;
  std::vector<Instruction> code;
  std::vector<uint32_t> lists;                // operands that Instruction::list points to
  std::vector<std::vector<uint32_t>> tables;  // of brx.idx
  std::vector<uint64_t> constants;            // bytes, 256-aligned from `constant_base`
  std::byte* constant_base = nullptr;
  uint32_t register_bytes = 0;
  uint32_t local_bytes = 0;   // a lane, variables of .local and .param of calls
  uint32_t dynamic_offset = 0;  // where dynamic shared memory begins
  struct Preset {
    Special special;
    uint32_t offset;
  };
  std::vector<Preset> presets;
  struct Relocation {  // a constant that is the address of a variable of the module
    uint32_t offset;
    std::string variable;
    int64_t addend;
  };
  std::vector<Relocation> relocations;
  const std::string* text = nullptr;  // of the module, for words about faults
};

}  // namespace emulator
