#include "devices.h"

#include <cuda_runtime_api.h>

#include <cstdlib>

namespace fpdt::cuda {
namespace {

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

std::string in_words(cudaError_t status) { return std::string(cudaGetErrorString(status)) + " (" + cudaGetErrorName(status) + ")"; }

Gpu ask(int index) {
  Gpu gpu{index, "GPU " + std::to_string(index), 0, 0, 0, ""};
  cudaDeviceProp properties;
  if (const cudaError_t status = cudaGetDeviceProperties(&properties, index); status != cudaSuccess) {
    cudaGetLastError();
    gpu.refused = "the driver does not answer for it: " + in_words(status) + ".";
    return gpu;
  }
  gpu.name = properties.name;
  gpu.capability = properties.major * 10 + properties.minor;
  gpu.memory_bytes = properties.totalGlobalMem;
  gpu.multiprocessors = properties.multiProcessorCount;
  if (gpu.capability < kOldestCapability) {
    gpu.refused = "it is of compute capability " + std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                  "; bf16 tensor cores and asynchronous copies, which the kernels use, begin at 8.0 (A100, RTX 30 and later).";
  }
  return gpu;
}

std::string why_none(cudaError_t status, const Listing& listing) {
  switch (status) {
    case cudaErrorInsufficientDriver:
      if (listing.driver == 0) return "No NVIDIA driver was found: on a machine with an NVIDIA GPU install its driver, in a container pass the GPU on (docker run --gpus all).";
      return "The NVIDIA driver has CUDA " + version(listing.driver) + "; this build needs " + version(listing.runtime) + ": update the driver.";
    case cudaErrorNoDevice:
      return "There is an NVIDIA driver but no GPU: see nvidia-smi, and CUDA_VISIBLE_DEVICES if it is set.";
    case cudaErrorSystemDriverMismatch:
      return "The NVIDIA driver's library and its kernel module have different versions: restart the machine.";
    default: return "The NVIDIA driver does not answer: " + in_words(status) + ".";
  }
}

// A GPU takes the streams of a process from 8 hardware queues by default, and streams of one queue wait for one another although nothing orders them. A
// rank has six streams and a GPU two of its own, so two ranks on a GPU have 14 already; 32 queues is the most. The driver reads this once, when CUDA starts.
void ask_for_queues() {
  static const int asked = setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);  // what the user has set stays
  static_cast<void>(asked);
}

}  // namespace

Listing list() {
  ask_for_queues();  // before any other call: all that uses CUDA lists first
  Listing listing{{}, "", 0, 0};
  cudaRuntimeGetVersion(&listing.runtime);
  if (cudaDriverGetVersion(&listing.driver) != cudaSuccess) listing.driver = 0;
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    cudaGetLastError();
    listing.none = why_none(status == cudaSuccess ? cudaErrorNoDevice : status, listing);
    return listing;
  }
  bool usable = false;
  for (int index = 0; index < count; index++) {
    listing.gpus.push_back(ask(index));
    usable = usable || listing.gpus.back().refused.empty();
  }
  if (!usable) listing.none = "None of the GPUs can be used: " + listing.gpus.front().name + ": " + listing.gpus.front().refused;
  return listing;
}

}  // namespace fpdt::cuda
