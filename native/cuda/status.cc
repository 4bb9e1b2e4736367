#include "status.h"

#include <sstream>
#include <string>

#include "../core/error.h"

namespace fpdt::cuda {
namespace {

// After one of these no call on the device succeeds again in this process: its context is lost, with all that lay in its memory.
bool is_sticky(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorContained:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
    case cudaErrorExternalDevice: return true;
    default: return false;
  }
}

// What to try, where there is something.
const char* advice(cudaError_t status) {
  switch (status) {
    case cudaErrorNoKernelImageForDevice: return "; this build has no code for this GPU, see Device.list() for what it needs";
    case cudaErrorInsufficientDriver: return "; update the NVIDIA driver, see Device.list() for the version that is needed";
    case cudaErrorNoDevice: return "; see Device.list() for the reason";
    case cudaErrorDevicesUnavailable: return "; another process has the GPU for itself (compute mode): end it, or take another GPU";
    case cudaErrorSystemDriverMismatch: return "; the driver's library and its kernel module have different versions: restart the machine";
    case cudaErrorLaunchOutOfResources: return "; the kernel needs more registers or shared memory than this GPU has";
    default: return "";
  }
}

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) [[likely]] return;
  std::ostringstream text;
  text << what << ": " << cudaGetErrorString(status) << " (" << cudaGetErrorName(status) << ")";
  if (is_sticky(status)) {
    text << "; the GPU's context in this process is lost, and with it all that was in its memory: restart the kernel (its executor process starts anew, Jupyter "
            "goes on). The op that caused it ran before this was noticed: with CUDA_LAUNCH_BLOCKING=1 in the environment it is the op that is named";
    throw Error("device_lost", text.str());
  }
  cudaGetLastError();  // so that the next check_launch does not find this error again
  if (status == cudaErrorMemoryAllocation) {
    size_t free = 0, total = 0;
    if (cudaMemGetInfo(&free, &total) == cudaSuccess) text << "; the GPU has " << free << " bytes free of " << total;
    text << ": use a smaller chunk, close other programs on the GPU, or take a larger one";
    throw Error("out_of_memory", text.str());
  }
  text << advice(status);
  throw Error("native", text.str());
}

void check_launch(const char* op) { check(cudaGetLastError(), op); }

}  // namespace fpdt::cuda
