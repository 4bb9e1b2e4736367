#pragma once
#include <napi.h>

#include <memory>

#include "../core/backend.h"

namespace fpdt::addon {

// The backend that options of JavaScript name: { backend: 'cpu', threads, path, diskFolder } or { backend: 'cuda', devices, diskFolder }.
// Throws Error "native" for one that this build or this machine has not, "argument" for options that cannot be.
std::shared_ptr<Backend> make_backend(const Napi::Object& options);

// What this machine has for the CUDA backend, in the shape of CudaDevices of native/index.ts. Never throws for what it finds.
Napi::Object cuda_devices(Napi::Env env);

}  // namespace fpdt::addon
