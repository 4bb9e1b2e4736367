// How much of a GPU's memory is in use, and by how many processes: of a GPU that is shared, nobody can know more.
#pragma once
#include <cstddef>
#include <optional>

namespace fpdt::cuda {

struct Usage {
  std::optional<size_t> free_bytes;   // nullopt: not known
  std::optional<int> processes;       // that compute on it, this one included; nullopt: not known
};

// By the driver's management library (NVML): makes no context and takes no memory. Never throws.
Usage usage(int device);

}  // namespace fpdt::cuda
