// What CUDA has and the emulator has not, refused in words. A function that is not here either is missing when the program is linked or loaded, by its name.
#include "runtime.h"

using namespace emulator;
using namespace emulator::runtime;

namespace {

cudaError_t refused(const char* name, const char* why) {
  return call(name, a_live_device, [&](Call& call) {
    call.runtime.note(std::string(name) + ": " + why);
    return cudaErrorNotSupported;
  });
}

constexpr const char* kGraphs = "stream capture and graphs are not emulated; put the ops on their streams one by one, or test this on a GPU (npm run gpu)";
constexpr const char* kManaged = "managed memory is not emulated; use cudaMalloc or cudaHostAlloc and copies, or test this on a GPU (npm run gpu)";
constexpr const char* kCooperative =
    "cooperative launches are not emulated, blocks of a launch are not all under way at a time; order blocks by counters in memory, or test this on a GPU (npm run gpu)";

}  // namespace

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) { return refused("cudaStreamBeginCapture", kGraphs); }
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*) { return refused("cudaStreamEndCapture", kGraphs); }
cudaError_t cudaGraphInstantiate(cudaGraphExec_t*, cudaGraph_t, unsigned long long) { return refused("cudaGraphInstantiate", kGraphs); }
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) { return refused("cudaGraphLaunch", kGraphs); }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return refused("cudaGraphExecDestroy", kGraphs); }
cudaError_t cudaGraphDestroy(cudaGraph_t) { return refused("cudaGraphDestroy", kGraphs); }
cudaError_t cudaMallocManaged(void**, size_t, unsigned) { return refused("cudaMallocManaged", kManaged); }
cudaError_t cudaLaunchCooperativeKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t) { return refused("cudaLaunchCooperativeKernel", kCooperative); }

}  // extern "C"
