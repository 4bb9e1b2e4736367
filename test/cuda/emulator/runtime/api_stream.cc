// Streams and events, host functions.
#include "runtime.h"

using namespace emulator;
using namespace emulator::runtime;

namespace {

cudaError_t make_stream(Call& call, cudaStream_t* out, unsigned flags, int priority) {
  if (!out || flags > cudaStreamNonBlocking) return cudaErrorInvalidValue;
  *out = reinterpret_cast<cudaStream_t>(call.runtime.scheduler.make_stream(call.device, flags, priority));
  return cudaSuccess;
}

cudaError_t make_event(Call& call, cudaEvent_t* out, unsigned flags) {
  if (!out || flags > (cudaEventBlockingSync | cudaEventDisableTiming | cudaEventInterprocess)) return cudaErrorInvalidValue;
  auto event = std::make_unique<Event>(Event{call.device, flags, nullptr});
  *out = reinterpret_cast<cudaEvent_t>(event.get());
  call.runtime.events[event.get()] = std::move(event);
  return cudaSuccess;
}

cudaError_t record(Call& call, cudaEvent_t handle, cudaStream_t on) {
  Event* event = call.runtime.event(handle);
  Stream* stream = call.runtime.stream(on);
  if (!event || !stream || event->device != stream->device) return cudaErrorInvalidResourceHandle;
  event->record = call.runtime.issue(*stream, Op::Kind::marker, "an event's record", {});
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return call("cudaStreamCreate", a_live_device, [&](Call& call) { return make_stream(call, stream, cudaStreamDefault, 0); });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return call("cudaStreamCreateWithFlags", a_live_device, [&](Call& call) { return make_stream(call, stream, flags, 0); });
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return call("cudaStreamCreateWithPriority", a_live_device, [&](Call& call) { return make_stream(call, stream, flags, priority); });
}
// The work that is queued is done all the same.
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return call("cudaStreamDestroy", a_live_device, [&](Call& call) -> cudaError_t {
    Stream* stream = call.runtime.stream(handle);
    if (!handle || !stream || stream == call.runtime.devices[static_cast<size_t>(stream->device)].legacy) return cudaErrorInvalidResourceHandle;
    stream->live = false;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority) {
  return call("cudaStreamGetPriority", a_live_device, [&](Call& call) -> cudaError_t {
    const Stream* stream = call.runtime.stream(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    *priority = stream->priority;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned* flags) {
  return call("cudaStreamGetFlags", a_live_device, [&](Call& call) -> cudaError_t {
    const Stream* stream = call.runtime.stream(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    *flags = stream->flags;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* device) {
  return call("cudaStreamGetDevice", a_live_device, [&](Call& call) -> cudaError_t {
    const Stream* stream = call.runtime.stream(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    *device = stream->device;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return call("cudaStreamSynchronize", a_live_device, [&](Call& call) -> cudaError_t {
    Stream* stream = call.runtime.stream(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    return stream->last ? call.runtime.wait(call.lock, {stream->last}, stream->device) : cudaSuccess;
  });
}
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return call("cudaStreamQuery", a_live_device, [&](Call& call) -> cudaError_t {
    Stream* stream = call.runtime.stream(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (stream->last && !call.runtime.scheduler.query(call.lock, std::shared_ptr<Op>(stream->last))) return cudaErrorNotReady;
    return call.runtime.devices[static_cast<size_t>(stream->device)].lost;
  });
}

// Refers to the event's most recent record at the time of this call; none: there is nothing to wait for.
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t waited, unsigned flags) {
  return call("cudaStreamWaitEvent", a_live_device, [&](Call& call) -> cudaError_t {
    Stream* stream = call.runtime.stream(handle);
    const Event* event = call.runtime.event(waited);
    if (!stream || !event) return cudaErrorInvalidResourceHandle;
    if (flags > cudaEventWaitExternal) return cudaErrorInvalidValue;
    if (!(event->flags & cudaEventDisableTiming)) ++call.runtime.timed_waits;
    if (event->record) call.runtime.issue(*stream, Op::Kind::marker, "a wait for an event", {}, {event->record});
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return call("cudaEventCreate", a_live_device, [&](Call& call) { return make_event(call, event, cudaEventDefault); });
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call("cudaEventCreateWithFlags", a_live_device, [&](Call& call) { return make_event(call, event, flags); });
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call("cudaEventDestroy", a_live_device, [&](Call& call) { return call.runtime.events.erase(event) ? cudaSuccess : cudaErrorInvalidResourceHandle; });
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call("cudaEventRecord", a_live_device, [&](Call& call) { return record(call, event, stream); });
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return call("cudaEventRecordWithFlags", a_live_device, [&](Call& call) { return record(call, event, stream); });
}
cudaError_t cudaEventQuery(cudaEvent_t handle) {
  return call("cudaEventQuery", a_live_device, [&](Call& call) -> cudaError_t {
    Event* event = call.runtime.event(handle);
    if (!event) return cudaErrorInvalidResourceHandle;
    if (event->record && !call.runtime.scheduler.query(call.lock, std::shared_ptr<Op>(event->record))) return cudaErrorNotReady;
    return call.runtime.devices[static_cast<size_t>(call.device)].lost;
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  return call("cudaEventSynchronize", a_live_device, [&](Call& call) -> cudaError_t {
    Event* event = call.runtime.event(handle);
    if (!event) return cudaErrorInvalidResourceHandle;
    return event->record ? call.runtime.wait(call.lock, {event->record}, event->device) : cudaSuccess;
  });
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  return call("cudaEventElapsedTime", a_live_device, [&](Call& call) -> cudaError_t {
    const Event *first = call.runtime.event(start), *second = call.runtime.event(end);
    if (!first || !second || !first->record || !second->record || first->device != second->device) return cudaErrorInvalidResourceHandle;
    if ((first->flags | second->flags) & cudaEventDisableTiming) return cudaErrorInvalidResourceHandle;
    if (!first->record->done || !second->record->done) return cudaErrorNotReady;
    *ms = static_cast<float>((second->record->end_ns - first->record->end_ns) * call.runtime.devices[static_cast<size_t>(first->device)].rate * 1e-6);
    return cudaSuccess;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  return call("cudaLaunchHostFunc", a_live_device, [&](Call& call) -> cudaError_t {
    Stream* stream = call.runtime.stream(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    call.runtime.issue(*stream, Op::Kind::host_function, "a host function", [function, data] {
      in_host_function() = true;
      function(data);
      in_host_function() = false;
      return Touched{};
    });
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  return call("cudaStreamIsCapturing", a_live_device, [&](Call&) {
    *status = cudaStreamCaptureStatusNone;
    return cudaSuccess;
  });
}

}  // extern "C"
