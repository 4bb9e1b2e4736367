// Which GPUs this machine has, and why one cannot be used: answers on every machine, also where there is no driver.
#pragma once
#include <string>
#include <vector>

namespace fpdt::cuda {

inline constexpr int kOldestCapability = 80;  // bf16 mma and cp.async begin there

struct Gpu {
  int index;               // of CUDA, in this process
  std::string name;
  int capability;          // 80 = sm_80; 0 where it could not be asked
  size_t memory_bytes;
  int multiprocessors;
  std::string refused;     // why it cannot be used, a sentence; "" = it can
};

struct Listing {
  std::vector<Gpu> gpus;
  std::string none;        // why none of them, or none at all, can be used, a sentence; "" = one can
  int driver;              // version of CUDA that the driver has, 13000 = 13.0; 0 = no driver
  int runtime;             // version that this build needs a driver for
};

// Makes no context on any GPU, takes no memory of it, and never throws for what it finds.
Listing list();

}  // namespace fpdt::cuda
