// From the addresses of an instruction to bytes of the emulator: bounds, alignment, spaces.
#pragma once
#include "decode.h"
#include "lanes.h"

namespace emulator {

// Spaces that an instruction can name. `generic` finds out for each lane.
enum class Where : uint8_t { generic, global, shared, local, parameter };

inline constexpr uint8_t kWideAddress = 0x80;  // of Instruction::variant: the base is a 64-bit register

struct Reached {
  uint64_t address[kLanes];  // as the program has it
  std::byte* at[kLanes];
};

// The bytes that each lane of m touches: `bytes` of them, at a multiple of `alignment`. Base and offset of the address are i.a and i.offset unless said.
// Faults where they may not be touched; tells the observer, if there is one.
struct Touch {
  uint32_t bytes, alignment;
  AccessKind kind;
  bool asynchronous = false;
  Order order = Order::weak;
  bool within_block = false;
};
template <Where kWhere>
void reach(Warp& w, const Instruction& i, Mask m, const Touch& touch, Reached& r);
void reach_from(Warp& w, const Instruction& i, Mask m, Where where, uint32_t base, bool wide, int64_t offset, const Touch& touch, Reached& r);

// Tells of a cp.async that has landed. `address`: in shared memory an offset.
void observe(Warp& w, const Instruction& i, Mask m, Space space, const uint64_t* address, const Touch& touch);

// Takes ".global", ".shared::cta" ... away; `names_parameters` for ld.param and st.param.
Where take_space(Decoder& d);
// Caches and evictions: no meaning for values.
void take_hints(Decoder& d);
void put_address(Instruction& i, const Address& a);

}  // namespace emulator
