// The backends of this build. The only file that is compiled otherwise where nvcc was not found.
#include "backends.h"

#include "arguments.h"
#if FPDT_CUDA
#include "../cuda/devices.h"
#include "../cuda/usage.h"
#endif

namespace fpdt::addon {
namespace {

std::string text(const Napi::Object& options, const char* name) {
  const Napi::Value value = options.Get(name);
  if (value.IsUndefined()) return "";
  if (!value.IsString()) throw Error("argument", std::string(name) + " must be a string");
  return value.As<Napi::String>().Utf8Value();
}

void refuse(const Napi::Object& options, const std::string& backend, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (!options.Get(name).IsUndefined()) throw Error("argument", std::string(name) + " is no option of backend '" + backend + "'");
}

std::shared_ptr<Backend> make_cpu(const Napi::Object& options) {
  refuse(options, "cpu", {"devices"});
  const Napi::Value threads = options.Get("threads");
  return make_cpu_backend(threads.IsUndefined() ? 0 : static_cast<int>(integer(threads, "threads", 1, 1024)), text(options, "path"), text(options, "diskFolder"));
}

#if FPDT_CUDA

std::shared_ptr<Backend> make_cuda(const Napi::Object& options) {
  refuse(options, "cuda", {"threads", "path"});
  constexpr int64_t kMostDevices = 1024;
  std::vector<int> devices;  // empty: the first that can be used
  const Napi::Value given = options.Get("devices");
  if (!given.IsUndefined()) {
    if (!given.IsArray() || given.As<Napi::Array>().Length() == 0) throw Error("argument", "devices must be an array of at least one index");
    const auto indices = given.As<Napi::Array>();
    for (uint32_t i = 0; i < indices.Length(); i++) devices.push_back(static_cast<int>(integer(indices.Get(i), "an index of devices", 0, kMostDevices - 1)));
  }
  return make_cuda_backend(devices, text(options, "diskFolder"));
}

#else

constexpr const char* kNoCuda = "This build has no CUDA backend: " FPDT_CUDA_WORDS
                                ". Install CUDA's compiler (NVIDIA's toolkit, or from PyPI nvidia-cuda-nvcc, nvidia-nvvm, nvidia-cuda-crt, nvidia-cuda-runtime,"
                                " nvidia-cuda-cccl and nvidia-nvtx into .venv) and run `npm run build:native`.";

#endif

Napi::Value number_or_null(Napi::Env env, auto value) { return value ? Napi::Value(Napi::Number::New(env, static_cast<double>(*value))) : env.Null(); }

}  // namespace

std::shared_ptr<Backend> make_backend(const Napi::Object& options) {
  const std::string name = text(options, "backend");
  if (name == "cpu") return make_cpu(options);
#if FPDT_CUDA
  if (name == "cuda") return make_cuda(options);
#else
  if (name == "cuda") throw Error("native", kNoCuda);
#endif
  throw Error("native", "backend '" + name + "' is not in this build, which has 'cpu'" + (FPDT_CUDA ? " and 'cuda'" : ""));
}

Napi::Object cuda_devices(Napi::Env env) {
  Napi::Object result = Napi::Object::New(env);
  Napi::Array devices = Napi::Array::New(env);
#if FPDT_CUDA
  const cuda::Listing listing = cuda::list();
  for (const cuda::Gpu& gpu : listing.gpus) {
    const cuda::Usage usage = cuda::usage(gpu.index);
    Napi::Object device = Napi::Object::New(env);
    device.Set("index", gpu.index);
    device.Set("name", gpu.name);
    device.Set("capability", std::to_string(gpu.capability / 10) + "." + std::to_string(gpu.capability % 10));
    device.Set("memoryBytes", static_cast<double>(gpu.memory_bytes));
    device.Set("freeBytes", number_or_null(env, usage.free_bytes));
    device.Set("processes", number_or_null(env, usage.processes));
    device.Set("usable", gpu.refused.empty());
    device.Set("reason", gpu.refused);
    devices[devices.Length()] = device;
  }
  result.Set("built", true);
  result.Set("available", listing.none.empty());
  result.Set("reason", listing.none);
#else
  result.Set("built", false);
  result.Set("available", false);
  result.Set("reason", kNoCuda);
#endif
  result.Set("devices", devices);
  return result;
}

}  // namespace fpdt::addon
