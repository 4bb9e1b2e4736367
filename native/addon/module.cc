// Exports of the addon, and how an environment ends.
#include <napi.h>

#include "../core/extents.h"
#include "../core/kernels.h"
#include "../core/memory.h"
#include "../core/program.h"
#include "arguments.h"
#include "backends.h"
#include "device.h"
#include "environment.h"
#include "executor.h"

namespace fpdt::addon {
namespace {

// Threads must not outlive the environment: they would call into a function of it that is gone.
void leave(void* data) {
  const std::set<ExecutorObject*> open = static_cast<Environment*>(data)->open;
  for (ExecutorObject* executor : open) executor->shut();
}

Napi::Array kernel_table(Napi::Env env) {
  Napi::Array rows = Napi::Array::New(env);
  for (const KernelInfo& info : kKernels) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("name", info.name);
    row.Set("code", static_cast<double>(info.kernel));
    row.Set("operands", info.operands);
    row.Set("written", info.written);
    row.Set("parameters", info.parameters);
    rows[rows.Length()] = row;
  }
  return rows;
}

Napi::Object opcode_table(Napi::Env env) {
  Napi::Object table = Napi::Object::New(env);
  for (uint16_t code : {opcode::offload, opcode::fetch, opcode::spill, opcode::load, opcode::allToAll, opcode::gather, opcode::reduceScatter, opcode::allReduce}) {
    table.Set(op_name(code), static_cast<double>(code));
  }
  return table;
}

// names[i] is that of the enumerator with value i.
template <class Enum>
Napi::Array enum_names(Napi::Env env, int count, const char* (*name)(Enum)) {
  Napi::Array names = Napi::Array::New(env);
  for (int i = 0; i < count; i++) names[i] = Napi::String::New(env, name(static_cast<Enum>(i)));
  return names;
}

Napi::Value extents_of(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto code = static_cast<uint16_t>(integer(info[0], "kernel", 0, UINT16_MAX));
    const KernelInfo* kernel = find_kernel(code);
    if (!kernel) throw Error("argument", "no kernel has code " + std::to_string(code));
    Napi::Array rows = Napi::Array::New(env);
    for (const Extent& extent : kernel_extents(*kernel, items<double>(info[1], "parameters"))) {
      Napi::Object row = Napi::Object::New(env);
      row.Set("bytes", extent.bytes);
      row.Set("optional", extent.optional);
      rows[rows.Length()] = row;
    }
    return rows;
  });
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  auto* environment = new Environment;
  env.SetInstanceData(environment);
  const Napi::Function device = DeviceObject::define(env), executor = ExecutorObject::define(env);
  environment->device = Napi::Persistent(device);
  environment->executor = Napi::Persistent(executor);

  const napi_status status = napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "fpdt run"), 0, 1, nullptr, nullptr, nullptr,
                                                             ExecutorObject::settle, &environment->finished);
  if (status != napi_ok) throw Napi::Error::New(env, "the addon could not make its completion queue");
  napi_unref_threadsafe_function(env, environment->finished);
  // Hooks run last in, first out: this one after the queue was made, so that lanes are joined while it still exists.
  napi_add_env_cleanup_hook(env, leave, environment);

  exports.Set("Device", device);
  exports.Set("kernels", kernel_table(env));
  exports.Set("opcodes", opcode_table(env));
  exports.Set("streams", enum_names(env, kStreams, stream_name));
  exports.Set("tiers", enum_names(env, kTiers, tier_name));
  exports.Set("cudaDevices", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { return guarded(info.Env(), [&] { return cuda_devices(info.Env()); }); }, "cudaDevices"));
  exports.Set("kernelExtents", Napi::Function::New(env, extents_of, "kernelExtents"));
  return exports;
}

}  // namespace
}  // namespace fpdt::addon

static Napi::Object initialize(Napi::Env env, Napi::Object exports) { return fpdt::addon::initialize(env, exports); }
NODE_API_MODULE(fpdt, initialize)
