#include "usage.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdio>
#include <string>

namespace fpdt::cuda {
namespace {

// The slice of NVML that is asked, as nvml.h has it: libnvidia-ml comes with the driver and is opened where there is one.
struct NvmlMemory {
  unsigned long long total, free, used;
};
constexpr int kNvmlSuccess = 0, kNvmlTooSmall = 7;

class Nvml {
 public:
  Nvml() : library_(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {
    int (*initialize)() = nullptr;
    ready_ = library_ && bind("nvmlInit_v2", initialize) && bind("nvmlDeviceGetHandleByUUID", by_uuid) && bind("nvmlDeviceGetMemoryInfo", memory) &&
             bind("nvmlDeviceGetComputeRunningProcesses_v3", processes) && initialize() == kNvmlSuccess;
  }
  bool ready() const { return ready_; }

  int (*by_uuid)(const char*, void**) = nullptr;
  int (*memory)(void*, NvmlMemory*) = nullptr;
  int (*processes)(void*, unsigned* count, void* infos) = nullptr;

 private:
  template <class Function>
  bool bind(const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library_, name));
    return function != nullptr;
  }
  void* library_;
  bool ready_ = false;
};

// "GPU-01234567-89ab-cdef-0123-456789abcdef"
std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU";
  for (int i = 0; i < 16; i++) {
    char byte[4];
    std::snprintf(byte, sizeof byte, "%02x", static_cast<unsigned char>(uuid.bytes[i]));
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += byte;
  }
  return text;
}

}  // namespace

Usage usage(int device) {
  static Nvml nvml;
  Usage found;
  cudaDeviceProp properties;
  if (!nvml.ready() || cudaGetDeviceProperties(&properties, device) != cudaSuccess) {
    cudaGetLastError();
    return found;
  }
  void* handle = nullptr;
  if (nvml.by_uuid(uuid_text(properties.uuid).c_str(), &handle) != kNvmlSuccess) return found;
  NvmlMemory memory{};
  if (nvml.memory(handle, &memory) == kNvmlSuccess) found.free_bytes = memory.free;
  unsigned count = 0;  // asked with no room for them: the count comes back, with "too small" where it is not 0
  const int status = nvml.processes(handle, &count, nullptr);
  if (status == kNvmlSuccess || status == kNvmlTooSmall) found.processes = static_cast<int>(count);
  return found;
}

}  // namespace fpdt::cuda
