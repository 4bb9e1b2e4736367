// How many bytes a kernel or a collective touches of each operand, told from its numbers: what lets a program, or a direct
// call, with operands too small for its numbers be refused before it runs. Knows nothing of where operands lie.
#pragma once
#include <span>
#include <vector>

#include "kernels.h"

namespace fpdt {

struct Extent {
  double bytes;           // from the operand's first byte on; a whole number below 2^53
  bool optional = false;  // may be absent
};

// One extent per operand of kKernels (without the workspace), in order. `numbers` has KernelInfo::parameters entries.
// Throws Error "shape" when a number cannot be (not whole, not positive, heads that kvHeads does not divide).
std::vector<Extent> kernel_extents(const KernelInfo& kernel, std::span<const double> numbers);

// The same for a collective (code 110 .. 113 of plan/program.ts) on one of `ranks` ranks; also checks the count of numbers.
std::vector<Extent> collective_extents(uint16_t code, int ranks, std::span<const double> numbers);

// The kernel's row in kKernels, or nullptr.
const KernelInfo* find_kernel(uint16_t code);

}  // namespace fpdt
