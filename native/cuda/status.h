// CUDA's return codes as fpdt::Error: the call that failed, in words, and what to try.
#pragma once
#include <cuda_runtime_api.h>

namespace fpdt::cuda {

// Throws Error unless `status` is cudaSuccess: "out_of_memory" where memory is missing, else "native". `what` names the call or the op.
// A sticky error (the context is lost: illegal address, assert, launch time-out ...) says that the executor must be started anew.
void check(cudaError_t status, const char* what);
// After a launch: check(cudaGetLastError(), op).
void check_launch(const char* op);

}  // namespace fpdt::cuda
