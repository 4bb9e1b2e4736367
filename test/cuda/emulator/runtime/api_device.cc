// Devices: their number, properties and attributes, which one a thread uses, peers, versions, limits.
#include <cuda_profiler_api.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "runtime.h"

using namespace emulator;
using namespace emulator::runtime;

namespace {

constexpr int kRegisters = 65536, kThreadsPerBlock = 1024, kL2Bytes = 40 << 20, kBusBits = 5120;

bool is_device(const Call& call, int device) { return device >= 0 && static_cast<size_t>(device) < call.runtime.devices.size(); }
const DeviceConfig& config_of(const Call& call, int device) { return call.runtime.config.devices[static_cast<size_t>(device)]; }

// Resident threads of a multiprocessor: the programming guide's table of compute capabilities.
int threads_per_multiprocessor(const DeviceConfig& device) {
  const int capability = 10 * device.major + device.minor;
  if (capability == 75) return 1024;
  return capability == 86 || capability == 87 || capability == 89 || device.major == 12 ? 1536 : 2048;
}
int blocks_per_multiprocessor(const DeviceConfig& device) {
  const int capability = 10 * device.major + device.minor;
  if (capability == 89 || device.major == 12) return 24;
  return capability == 75 || capability == 86 || capability == 87 ? 16 : 32;
}

}  // namespace

extern "C" {

cudaError_t cudaDriverGetVersion(int* version) {
  return call("cudaDriverGetVersion", nothing, [&](Call& call) {
    *version = call.runtime.config.driver;
    return cudaSuccess;
  });
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  return call("cudaRuntimeGetVersion", nothing, [&](Call&) {
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return call("cudaGetDeviceCount", a_device, [&](Call& call) {
    *count = static_cast<int>(call.runtime.devices.size());
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return call("cudaSetDevice", a_device, [&](Call& call) -> cudaError_t {
    if (!is_device(call, device)) return cudaErrorInvalidDevice;
    current_device() = device;
    return call.runtime.devices[static_cast<size_t>(device)].lost;
  });
}

cudaError_t cudaInitDevice(int device, unsigned, unsigned) {
  return call("cudaInitDevice", a_device, [&](Call& call) { return is_device(call, device) ? cudaSuccess : cudaErrorInvalidDevice; });
}

cudaError_t cudaGetDevice(int* device) {
  return call("cudaGetDevice", a_device, [&](Call& call) {
    *device = call.device;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDeviceFlags(unsigned) {
  return call("cudaSetDeviceFlags", a_device, [](Call&) { return cudaSuccess; });
}
cudaError_t cudaGetDeviceFlags(unsigned* flags) {
  return call("cudaGetDeviceFlags", a_device, [&](Call&) {
    *flags = cudaDeviceMapHost;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call("cudaGetDeviceProperties", a_device, [&](Call& call) -> cudaError_t {
    if (!is_device(call, device)) return cudaErrorInvalidDevice;
    const DeviceConfig& config = config_of(call, device);
    cudaDeviceProp& p = *properties;
    std::memset(&p, 0, sizeof p);
    std::snprintf(p.name, sizeof p.name, "%s", config.name.c_str());
    std::snprintf(p.uuid.bytes, sizeof p.uuid.bytes, "emulated-%d", device);
    p.totalGlobalMem = config.memory;
    p.sharedMemPerBlock = static_cast<size_t>(config.shared_per_block);
    p.sharedMemPerBlockOptin = static_cast<size_t>(config.shared_per_block_optin);
    p.sharedMemPerMultiprocessor = static_cast<size_t>(config.shared_per_multiprocessor);
    p.reservedSharedMemPerBlock = 1024;
    p.regsPerBlock = p.regsPerMultiprocessor = kRegisters;
    p.warpSize = 32;
    p.memPitch = 0x7fffffff;
    p.maxThreadsPerBlock = kThreadsPerBlock;
    p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
    p.maxThreadsDim[2] = 64;
    p.maxGridSize[0] = 0x7fffffff;
    p.maxGridSize[1] = p.maxGridSize[2] = 65535;
    p.totalConstMem = 65536;
    p.major = config.major;
    p.minor = config.minor;
    p.textureAlignment = 512;
    p.multiProcessorCount = config.multiprocessors;
    p.canMapHostMemory = p.concurrentKernels = p.unifiedAddressing = p.streamPrioritiesSupported = p.computePreemptionSupported = p.hostRegisterSupported = 1;
    p.globalL1CacheSupported = p.localL1CacheSupported = p.canUseHostPointerForRegisteredMem = p.memoryPoolsSupported = 1;
    p.pciBusID = device + 1;
    p.asyncEngineCount = 2;
    p.memoryBusWidth = kBusBits;
    p.l2CacheSize = kL2Bytes;
    p.maxThreadsPerMultiProcessor = threads_per_multiprocessor(config);
    p.maxBlocksPerMultiProcessor = blocks_per_multiprocessor(config);
    p.hostNumaId = -1;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return call("cudaDeviceGetAttribute", a_device, [&](Call& call) -> cudaError_t {
    if (!is_device(call, device)) return cudaErrorInvalidDevice;
    const DeviceConfig& config = config_of(call, device);
    switch (attribute) {
      case cudaDevAttrMaxThreadsPerBlock: *value = kThreadsPerBlock; break;
      case cudaDevAttrMaxBlockDimX: case cudaDevAttrMaxBlockDimY: *value = 1024; break;
      case cudaDevAttrMaxBlockDimZ: *value = 64; break;
      case cudaDevAttrMaxGridDimX: *value = 0x7fffffff; break;
      case cudaDevAttrMaxGridDimY: case cudaDevAttrMaxGridDimZ: *value = 65535; break;
      case cudaDevAttrMaxSharedMemoryPerBlock: *value = config.shared_per_block; break;
      case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = config.shared_per_block_optin; break;
      case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = config.shared_per_multiprocessor; break;
      case cudaDevAttrReservedSharedMemoryPerBlock: *value = 1024; break;
      case cudaDevAttrTotalConstantMemory: *value = 65536; break;
      case cudaDevAttrWarpSize: *value = 32; break;
      case cudaDevAttrMaxRegistersPerBlock: case cudaDevAttrMaxRegistersPerMultiprocessor: *value = kRegisters; break;
      case cudaDevAttrClockRate: *value = 1410000; break;
      case cudaDevAttrMemoryClockRate: *value = 1215000; break;
      case cudaDevAttrGlobalMemoryBusWidth: *value = kBusBits; break;
      case cudaDevAttrL2CacheSize: *value = kL2Bytes; break;
      case cudaDevAttrMultiProcessorCount: *value = config.multiprocessors; break;
      case cudaDevAttrMaxThreadsPerMultiProcessor: *value = threads_per_multiprocessor(config); break;
      case cudaDevAttrMaxBlocksPerMultiprocessor: *value = blocks_per_multiprocessor(config); break;
      case cudaDevAttrComputeCapabilityMajor: *value = config.major; break;
      case cudaDevAttrComputeCapabilityMinor: *value = config.minor; break;
      case cudaDevAttrAsyncEngineCount: *value = 2; break;
      case cudaDevAttrPciBusId: *value = device + 1; break;
      case cudaDevAttrCanMapHostMemory: case cudaDevAttrConcurrentKernels: case cudaDevAttrUnifiedAddressing: case cudaDevAttrStreamPrioritiesSupported:
      case cudaDevAttrComputePreemptionSupported: case cudaDevAttrHostRegisterSupported: case cudaDevAttrMemoryPoolsSupported:
      case cudaDevAttrCanUseHostPointerForRegisteredMem: *value = 1; break;
      case cudaDevAttrGpuOverlap: *value = 1; break;
      case cudaDevAttrPciDeviceId: case cudaDevAttrPciDomainId: case cudaDevAttrIntegrated: case cudaDevAttrKernelExecTimeout: case cudaDevAttrComputeMode:
      case cudaDevAttrEccEnabled: case cudaDevAttrTccDriver: case cudaDevAttrManagedMemory: case cudaDevAttrIsMultiGpuBoard: case cudaDevAttrHostNativeAtomicSupported:
      case cudaDevAttrPageableMemoryAccess: case cudaDevAttrConcurrentManagedAccess: case cudaDevAttrCooperativeLaunch: *value = 0; break;
      default: return cudaErrorInvalidValue;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int bytes, int device) {
  return call("cudaDeviceGetPCIBusId", a_device, [&](Call& call) -> cudaError_t {
    if (!is_device(call, device)) return cudaErrorInvalidDevice;
    std::snprintf(text, static_cast<size_t>(std::max(bytes, 0)), "0000:%02X:00.0", device + 1);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return call("cudaDeviceGetStreamPriorityRange", a_device, [&](Call&) {
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call("cudaDeviceSynchronize", a_live_device, [&](Call& call) {
    const cudaError_t error = call.runtime.wait(call.lock, call.runtime.scheduler.tails(call.device), call.device);
    call.runtime.scheduler.finish_late(call.lock);
    return error;
  });
}

// Frees what the device's memory holds, as the end of its context does. A lost device lives again, as it does not on a GPU of one process: that needs a new one.
cudaError_t cudaDeviceReset() {
  return call("cudaDeviceReset", a_device, [&](Call& call) {
    Runtime& runtime = call.runtime;
    runtime.wait(call.lock, runtime.scheduler.tails(-1), call.device);
    runtime.scheduler.finish_late(call.lock);
    runtime.modules.unload(runtime.memory);
    for (const Allocation* allocation : runtime.memory.all()) {
      if (allocation->device != call.device) continue;
      runtime.order.forget(allocation->region.address, allocation->end());
      runtime.memory.release(allocation->region.address);
    }
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSetLimit(cudaLimit, size_t) {
  return call("cudaDeviceSetLimit", a_live_device, [](Call&) { return cudaSuccess; });
}
cudaError_t cudaDeviceGetLimit(size_t* value, cudaLimit limit) {
  return call("cudaDeviceGetLimit", a_live_device, [&](Call&) -> cudaError_t {
    switch (limit) {
      case cudaLimitStackSize: *value = 1024; return cudaSuccess;
      case cudaLimitPrintfFifoSize: *value = 1 << 20; return cudaSuccess;
      case cudaLimitMallocHeapSize: *value = 8 << 20; return cudaSuccess;
      default: return cudaErrorUnsupportedLimit;
    }
  });
}
cudaError_t cudaDeviceSetCacheConfig(cudaFuncCache) {
  return call("cudaDeviceSetCacheConfig", a_live_device, [](Call&) { return cudaSuccess; });
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  return call("cudaDeviceCanAccessPeer", a_device, [&](Call& call) -> cudaError_t {
    if (!is_device(call, device) || !is_device(call, peer)) return cudaErrorInvalidDevice;
    *can = device != peer && config_of(call, device).peer && config_of(call, peer).peer;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetP2PAttribute(int* value, cudaDeviceP2PAttr attribute, int device, int peer) {
  return call("cudaDeviceGetP2PAttribute", a_device, [&](Call& call) -> cudaError_t {
    if (!is_device(call, device) || !is_device(call, peer) || device == peer) return cudaErrorInvalidDevice;
    const bool can = config_of(call, device).peer && config_of(call, peer).peer;
    *value = attribute == cudaDevP2PAttrPerformanceRank || attribute == cudaDevP2PAttrCudaArrayAccessSupported ? 0 : can;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
  return call("cudaDeviceEnablePeerAccess", a_live_device, [&](Call& call) -> cudaError_t {
    if (flags) return cudaErrorInvalidValue;
    if (!is_device(call, peer) || peer == call.device) return cudaErrorInvalidDevice;
    if (!config_of(call, peer).peer || !config_of(call, call.device).peer) return cudaErrorPeerAccessUnsupported;
    if (call.runtime.memory.peer(call.device, peer)) return cudaErrorPeerAccessAlreadyEnabled;
    call.runtime.memory.set_peer(call.device, peer, true);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceDisablePeerAccess(int peer) {
  return call("cudaDeviceDisablePeerAccess", a_live_device, [&](Call& call) -> cudaError_t {
    if (!is_device(call, peer)) return cudaErrorInvalidDevice;
    if (!call.runtime.memory.peer(call.device, peer)) return cudaErrorPeerAccessNotEnabled;
    call.runtime.memory.set_peer(call.device, peer, false);
    return cudaSuccess;
  });
}

cudaError_t cudaProfilerStart() {
  return call("cudaProfilerStart", a_live_device, [](Call&) { return cudaSuccess; });
}
cudaError_t cudaProfilerStop() {
  return call("cudaProfilerStop", a_live_device, [](Call&) { return cudaSuccess; });
}

}  // extern "C"
