// Kernels: what nvcc's host objects call to register and launch them, and what can be asked of them.
#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "runtime.h"

using namespace emulator;
using namespace emulator::runtime;

namespace {

struct PushedCall {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
std::vector<PushedCall>& pushed_calls() {
  static thread_local std::vector<PushedCall> calls;
  return calls;
}

std::string readable(const std::string& mangled) {
  int status = 0;
  char* text = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
  const std::string name = status == 0 ? text : mangled;
  std::free(text);
  return name;
}

const DeviceConfig& config_of(Call& call) { return call.runtime.config.devices[static_cast<size_t>(call.device)]; }

// A kernel of a loaded module.
struct Found {
  Function* function;
  std::shared_ptr<Module> module;
  const Kernel* kernel;
  const KernelShape* shape;
};

cudaError_t find(Call& call, const void* stub, Found* found) {
  found->function = call.runtime.modules.function(stub);
  if (!found->function) return cudaErrorInvalidDeviceFunction;
  try {
    found->module = call.runtime.modules.load(*found->function->binary, call.device, config_of(call), call.runtime.memory, call.runtime.planted_texts);
  } catch (const Fault& fault) {
    call.runtime.faults.push_back(fault.kind + ": " + fault.what());
    call.runtime.note(found->function->name + ": " + fault.what());
    return fault.kind == "launch" ? cudaErrorNoKernelImageForDevice : cudaErrorInvalidPtx;
  }
  found->kernel = found->module->find(found->function->name);
  if (!found->kernel) return cudaErrorInvalidDeviceFunction;
  found->shape = &found->module->shape(*found->kernel);
  return cudaSuccess;
}

// Bytes: what was asked for by cudaFuncSetAttribute, else what static shared memory leaves of the usual limit.
size_t most_dynamic_shared(const Found& found, const DeviceConfig& config, int device) {
  const auto allowed = found.function->dynamic_shared.find(device);
  if (allowed != found.function->dynamic_shared.end()) return static_cast<size_t>(allowed->second);
  return static_cast<size_t>(std::max<int64_t>(0, config.shared_per_block - int64_t{found.shape->static_shared_bytes}));
}

cudaError_t launch_kernel(Call& call, const void* stub, dim3 grid, dim3 block, void** arguments, size_t shared, cudaStream_t handle) {
  Found found;
  if (const cudaError_t error = find(call, stub, &found); error != cudaSuccess) return error;
  Runtime& runtime = call.runtime;
  Stream* stream = runtime.stream(handle);
  if (!stream || stream->device != call.device) return cudaErrorInvalidResourceHandle;

  const KernelShape& shape = *found.shape;
  const DeviceConfig& device = config_of(call);
  const Dim3 blocks{grid.x, grid.y, grid.z}, threads{block.x, block.y, block.z};
  if (!blocks.count() || !threads.count() || threads.count() > 1024 || block.x > 1024 || block.y > 1024 || block.z > 64) return cudaErrorInvalidConfiguration;
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) return cudaErrorInvalidConfiguration;
  if (threads.count() > shape.most_threads) {
    runtime.note(readable(shape.name) + ": " + std::to_string(threads.count()) + " threads of a block are more than its launch bounds allow, " +
                 std::to_string(shape.most_threads));
    return cudaErrorInvalidValue;
  }
  const size_t most = most_dynamic_shared(found, device, call.device);
  if (shared > most || shape.static_shared_bytes > static_cast<size_t>(device.shared_per_block)) {
    runtime.note(readable(shape.name) + ": " + std::to_string(shared) + " bytes of dynamic shared memory; " + std::to_string(most) +
                 " are allowed (cudaFuncSetAttribute allows more)");
    return cudaErrorInvalidValue;
  }

  std::vector<std::byte> parameters(shape.parameter_bytes);
  for (size_t i = 0; i < shape.offsets.size(); ++i) std::memcpy(parameters.data() + shape.offsets[i], arguments[i], shape.sizes[i]);

  ++runtime.launches[readable(shape.name)];
  const LaunchConfig config{blocks, threads, static_cast<uint32_t>(shared)};
  Options options;
  options.seed = runtime.config.seed ? runtime.config.seed * 1000003 + ++runtime.seeded_launches : 0;   // another order for each launch
  options.resident_blocks = runtime.config.resident_blocks;
  options.most_instructions = runtime.config.most_instructions;
  const bool watch = runtime.config.checks.order;
  auto body = [found, config, options, watch, &runtime, device = call.device, parameters = std::move(parameters)]() mutable {
    KernelTouched touched;
    std::shared_ptr<const View> view;
    {
      std::lock_guard guard(runtime.mutex);
      view = runtime.memory.view(device);
      options.observe = runtime.observe(watch ? &touched : nullptr);
    }
    emulator::launch(*found.module, *found.kernel, config, parameters, *view, options);
    options.observe = nullptr;
    return touched.take();
  };
  const auto op = runtime.issue(*stream, Op::Kind::work, readable(shape.name), std::move(body));
  op->late = call.is_planted("late");
  return cudaSuccess;
}

}  // namespace

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  Runtime& runtime = Runtime::get();
  Lock lock(runtime.mutex);
  return reinterpret_cast<void**>(runtime.modules.add(wrapper));
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void** handle) {
  Runtime& runtime = Runtime::get();
  Lock lock(runtime.mutex);
  runtime.modules.remove(reinterpret_cast<Binary*>(handle));
}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterFunction(void** handle, const char* stub, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*, int*) {
  Runtime& runtime = Runtime::get();
  Lock lock(runtime.mutex);
  runtime.modules.add_function(reinterpret_cast<Binary*>(handle), stub, name);
}
void __cudaRegisterVar(void** handle, char* shadow, char*, const char* name, int, size_t bytes, int constant, int) {
  Runtime& runtime = Runtime::get();
  Lock lock(runtime.mutex);
  runtime.modules.add_variable(reinterpret_cast<Binary*>(handle), shadow, name, bytes, constant != 0);
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st* stream) {
  pushed_calls().push_back({grid, block, shared, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  if (pushed_calls().empty()) return cudaErrorMissingConfiguration;
  const PushedCall call = pushed_calls().back();
  pushed_calls().pop_back();
  *grid = call.grid;
  *block = call.block;
  *shared = call.shared;
  *static_cast<cudaStream_t*>(stream) = call.stream;
  return cudaSuccess;
}

// A kernel's handle is its stub.
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* stub) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(stub));
  return cudaSuccess;
}
cudaError_t cudaGetKernel(cudaKernel_t* kernel, const void* stub) { return __cudaGetKernel(kernel, stub); }

cudaError_t cudaLaunchKernel(const void* stub, dim3 grid, dim3 block, void** arguments, size_t shared, cudaStream_t stream) {
  return call("cudaLaunchKernel", a_live_device, [&](Call& call) { return launch_kernel(call, stub, grid, block, arguments, shared, stream); });
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t shared, cudaStream_t stream) {
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, arguments, shared, stream);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* stub, void** arguments) {
  return call("cudaLaunchKernelExC", a_live_device, [&](Call& call) -> cudaError_t {
    for (unsigned i = 0; i < config->numAttrs; ++i) {
      const cudaLaunchAttributeID id = config->attrs[i].id;
      if (id == cudaLaunchAttributeIgnore || id == cudaLaunchAttributePriority || id == cudaLaunchAttributeAccessPolicyWindow) continue;
      call.runtime.note("cudaLaunchKernelExC: launch attribute " + std::to_string(id) + " is not emulated");
      return cudaErrorNotSupported;
    }
    return launch_kernel(call, stub, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes, config->stream);
  });
}

cudaError_t cudaFuncSetAttribute(const void* stub, cudaFuncAttribute attribute, int value) {
  return call("cudaFuncSetAttribute", a_live_device, [&](Call& call) -> cudaError_t {
    Found found;
    if (const cudaError_t error = find(call, stub, &found); error != cudaSuccess) return error;
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return value >= -1 && value <= 100 ? cudaSuccess : cudaErrorInvalidValue;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaErrorInvalidValue;
    if (value < 0 || value > config_of(call).shared_per_block_optin - static_cast<int>(found.shape->static_shared_bytes)) return cudaErrorInvalidValue;
    found.function->dynamic_shared[call.device] = value;
    return cudaSuccess;
  });
}
cudaError_t cudaFuncSetCacheConfig(const void*, cudaFuncCache) {
  return call("cudaFuncSetCacheConfig", a_live_device, [](Call&) { return cudaSuccess; });
}
cudaError_t cudaFuncGetName(const char** name, const void* stub) {
  return call("cudaFuncGetName", a_live_device, [&](Call& call) -> cudaError_t {
    Function* function = call.runtime.modules.function(stub);
    if (!function) return cudaErrorInvalidDeviceFunction;
    *name = function->name.c_str();
    return cudaSuccess;
  });
}
// Registers and spills are ptxas's to say: 0 here.
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* stub) {
  return call("cudaFuncGetAttributes", a_live_device, [&](Call& call) -> cudaError_t {
    Found found;
    if (const cudaError_t error = find(call, stub, &found); error != cudaSuccess) return error;
    *attributes = {};
    attributes->sharedSizeBytes = found.shape->static_shared_bytes;
    attributes->maxThreadsPerBlock = static_cast<int>(std::min<uint32_t>(found.shape->most_threads, 1024));
    attributes->maxDynamicSharedSizeBytes = static_cast<int>(most_dynamic_shared(found, config_of(call), call.device));
    attributes->ptxVersion = attributes->binaryVersion = 10 * config_of(call).major + config_of(call).minor;
    return cudaSuccess;
  });
}

// By threads and shared memory alone, with no word on registers.
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* stub, int threads, size_t shared, unsigned) {
  return call("cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags", a_live_device, [&](Call& call) -> cudaError_t {
    Found found;
    if (const cudaError_t error = find(call, stub, &found); error != cudaSuccess) return error;
    if (threads <= 0 || threads > 1024) return cudaErrorInvalidValue;
    const size_t bytes = shared + found.shape->static_shared_bytes + 1024;   // the system takes 1 KiB of each block's
    *blocks = std::min({32, 2048 / ((threads + 31) / 32 * 32), static_cast<int>(static_cast<size_t>(config_of(call).shared_per_multiprocessor) / bytes)});
    return cudaSuccess;
  });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* stub, int threads, size_t shared) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, stub, threads, shared, 0);
}

}  // extern "C"
