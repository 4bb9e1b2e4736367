#pragma once
#include <span>
#include <vector>

#include "../core/backend.h"
#include "../core/extents.h"

namespace fpdt::addon {

// How long one kernel takes on memory of the device: ns of each of `repeats` runs, between events of its stream, after one that is not counted.
// patterns[i] is repeated until operand i is as large as its extent; no bytes: not given. The data is real: a GPU is faster on zeros.
std::vector<double> time_kernel(Backend& backend, std::span<const std::span<const std::byte>> patterns, std::span<const Extent> extents, size_t workspace_bytes, KernelCall call,
                                int repeats);
// The same of a copy of so many bytes from the host to the device, or back.
std::vector<double> time_copy(Backend& backend, bool to_device, size_t bytes, int rank, int repeats);

}  // namespace fpdt::addon
