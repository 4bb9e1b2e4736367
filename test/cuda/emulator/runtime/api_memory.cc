// Memory: allocation, copies, memset, what a pointer is.
//
// A copy between a device and pageable host memory is staged, as CUDA does it: an asynchronous one to the device takes its source before it returns, one
// from the device returns when it is done. Ranges are checked against allocations when the call is made.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "runtime.h"

using namespace emulator;
using namespace emulator::runtime;

namespace {

// Rows of bytes somewhere: `height` rows of `width` bytes, `pitch` apart.
struct Rows {
  uint64_t address;
  uint64_t pitch, width, height;
  uint64_t bytes() const { return height ? (height - 1) * pitch + width : 0; }   // from the first to the last
};

// Where bytes are for the emulator.
struct Backing {
  const Allocation* allocation;   // nullptr: pageable host memory
  std::byte* bytes;
  std::shared_ptr<WrittenBytes> written;
  uint64_t written_at = 0;        // of the first byte in `written`
  bool on_device() const { return allocation && allocation->place == Place::device; }
  std::string where() const {
    if (!allocation) return "pageable memory";
    return allocation->place == Place::device ? "device " + std::to_string(allocation->device) : "pinned memory";
  }
};

// nullopt, and a note, where they run past their allocation.
std::optional<Backing> find(Call& call, const char* name, const Rows& rows) {
  Memory& memory = call.runtime.memory;
  const Allocation* allocation = memory.find(rows.address);
  if (!allocation) {
    if (memory.overlapping(rows.address, rows.address + rows.bytes())) {
      call.runtime.note(std::string(name) + ": begins before an allocation and runs into it");
      return std::nullopt;
    }
    return Backing{nullptr, reinterpret_cast<std::byte*>(rows.address), nullptr};
  }
  const uint64_t at = rows.address - allocation->region.address;
  if (rows.bytes() > allocation->region.bytes - at) {
    call.runtime.note(std::string(name) + ": " + std::to_string(rows.bytes()) + " bytes from byte " + std::to_string(at) + " on run past the end of an allocation of " +
                      std::to_string(allocation->region.bytes) + " bytes");
    return std::nullopt;
  }
  return Backing{allocation, allocation->region.backing + at, allocation->written, at};
}

std::vector<Interval> intervals(const Rows& rows) {
  if (rows.width == rows.pitch || rows.height == 1) return {{rows.address, rows.address + rows.width * rows.height}};
  std::vector<Interval> list;
  for (uint64_t row = 0; row < rows.height; ++row) list.push_back({rows.address + row * rows.pitch, rows.address + row * rows.pitch + rows.width});
  return list;
}

void mark(const Backing& backing, const Rows& rows) {
  if (!backing.written) return;
  for (uint64_t row = 0; row < rows.height; ++row) backing.written->mark(backing.written_at + row * rows.pitch, rows.width);
}

void shorten(Rows& rows) { rows.height > 1 ? rows.height = (rows.height + 1) / 2 : rows.width = (rows.width + 1) / 2; }

std::string size_words(const Rows& rows) {
  return std::to_string(rows.width) + (rows.height > 1 ? " x " + std::to_string(rows.height) : "") + " bytes";
}

bool fits(cudaMemcpyKind kind, const Backing& to, const Backing& from) {
  const auto may_be_device = [](const Backing& backing) { return backing.allocation != nullptr; };   // pinned memory is both
  switch (kind) {
    case cudaMemcpyDefault: return true;
    case cudaMemcpyHostToHost: return !to.on_device() && !from.on_device();
    case cudaMemcpyHostToDevice: return may_be_device(to) && !from.on_device();
    case cudaMemcpyDeviceToHost: return !to.on_device() && may_be_device(from);
    case cudaMemcpyDeviceToDevice: return may_be_device(to) && may_be_device(from);
  }
  return false;
}

cudaError_t copy(Call& call, const char* name, Rows to, Rows from, cudaMemcpyKind kind, cudaStream_t handle, bool asynchronous) {
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
  if (to.width > to.pitch || from.width > from.pitch) return cudaErrorInvalidPitchValue;
  Stream* stream = call.runtime.stream(handle);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (!to.width || !to.height) return cudaSuccess;
  if (call.is_planted("swap")) {
    std::swap(to, from);
    kind = cudaMemcpyDefault;
  }
  if (call.is_planted("shorten")) {
    shorten(to);
    shorten(from);
  }
  const std::optional<Backing> target = find(call, name, to), source = find(call, name, from);
  if (!target || !source) return cudaErrorInvalidValue;
  if (!fits(kind, *target, *source)) {
    call.runtime.note(std::string(name) + ": the direction given is not that from " + source->where() + " to " + target->where());
    return cudaErrorInvalidValue;
  }
  const bool pageable = !target->allocation || !source->allocation;
  if (asynchronous && pageable) ++call.runtime.pageable_copies;

  std::shared_ptr<std::vector<std::byte>> staged;
  if (!source->allocation && asynchronous) {
    staged = std::make_shared<std::vector<std::byte>>(from.width * from.height);
    for (uint64_t row = 0; row < from.height; ++row) std::memcpy(staged->data() + row * from.width, source->bytes + row * from.pitch, from.width);
  }
  Touched touched;
  if (source->allocation) touched.read = intervals(from);
  if (target->allocation) touched.written = intervals(to);
  const auto op = call.runtime.issue(*stream, Op::Kind::work, std::string(name) + " of " + size_words(to) + " from " + source->where() + " to " + target->where(),
                                     [=, target = *target, source = *source, touched = std::move(touched)] {
                                       const std::byte* first = staged ? staged->data() : source.bytes;
                                       const uint64_t pitch = staged ? from.width : from.pitch;
                                       for (uint64_t row = 0; row < to.height; ++row) std::memmove(target.bytes + row * to.pitch, first + row * pitch, to.width);
                                       mark(target, to);
                                       return touched;
                                     });
  op->late = call.is_planted("late") && asynchronous && target->allocation;
  if (!asynchronous || !target->allocation) return call.runtime.wait(call.lock, {op}, call.device);
  return cudaSuccess;
}

Rows line(const void* address, size_t bytes) { return {reinterpret_cast<uint64_t>(address), bytes, bytes, 1}; }
Rows lines(const void* address, size_t pitch, size_t width, size_t height) { return {reinterpret_cast<uint64_t>(address), pitch, width, height}; }

cudaError_t set(Call& call, const char* name, Rows rows, int value, cudaStream_t handle) {
  if (rows.width > rows.pitch) return cudaErrorInvalidPitchValue;
  Stream* stream = call.runtime.stream(handle);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (!rows.width || !rows.height) return cudaSuccess;
  if (call.is_planted("shorten")) shorten(rows);
  const std::optional<Backing> target = find(call, name, rows);
  if (!target || !target->allocation) return cudaErrorInvalidValue;
  const std::string label = std::string(name) + " of " + size_words(rows) + " of " + target->where();
  const auto op = call.runtime.issue(*stream, Op::Kind::work, label, [=, target = *target, on_device = target->on_device()] {
    for (uint64_t row = 0; row < rows.height; ++row) {
      if (on_device) fill(target.bytes + row * rows.pitch, value, rows.width);
      else std::memset(target.bytes + row * rows.pitch, value, rows.width);
    }
    mark(target, rows);
    return Touched{{}, intervals(rows)};
  });
  op->late = call.is_planted("late");
  return cudaSuccess;
}

cudaError_t allocate_device(Call& call, void** out, size_t bytes) {
  if (!out) return cudaErrorInvalidValue;
  *out = nullptr;
  if (!bytes) return cudaSuccess;
  const Allocation* allocation = call.runtime.memory.allocate_device(call.device, bytes, call.runtime.config.checks.initialised);
  if (!allocation) return cudaErrorMemoryAllocation;
  *out = reinterpret_cast<void*>(allocation->region.address);
  return cudaSuccess;
}

cudaError_t allocate_pinned(Call& call, void** out, size_t bytes) {
  if (!out) return cudaErrorInvalidValue;
  *out = nullptr;
  if (!bytes) return cudaSuccess;
  const Allocation* allocation = call.runtime.memory.allocate_pinned(call.device, bytes);
  if (!allocation) return cudaErrorMemoryAllocation;
  *out = reinterpret_cast<void*>(allocation->region.address);
  return cudaSuccess;
}

// Whether the system has memory at all of these addresses.
bool is_mapped(const void* begin, size_t bytes) {
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t first = reinterpret_cast<uint64_t>(begin) / page * page, end = reinterpret_cast<uint64_t>(begin) + bytes;
  std::vector<unsigned char> resident(std::min<uint64_t>(4096, (end - first + page - 1) / page));
  for (uint64_t at = first; at < end; at += resident.size() * page)
    if (mincore(reinterpret_cast<void*>(at), std::min(resident.size() * page, end - at), resident.data()) != 0) return false;
  return true;
}

// Freeing waits for the devices, as CUDA's does.
cudaError_t release(Call& call, const void* pointer, Place place, cudaError_t unknown) {
  if (!pointer) return cudaSuccess;
  const auto address = reinterpret_cast<uint64_t>(pointer);
  const auto known = [&] {
    const Allocation* allocation = call.runtime.memory.find(address);
    return allocation && allocation->region.address == address && allocation->place == place ? allocation : nullptr;
  };
  if (!known()) return unknown;
  const cudaError_t error = call.runtime.wait(call.lock, call.runtime.scheduler.tails(-1), call.device);
  call.runtime.scheduler.finish_late(call.lock);
  const Allocation* allocation = known();   // the lock was given away while waiting
  if (!allocation) return unknown;
  call.runtime.order.forget(address, allocation->end());
  call.runtime.memory.release(address);
  return error;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return call("cudaMalloc", a_live_device, [&](Call& call) { return allocate_device(call, pointer, bytes); });
}
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) {
  return call("cudaMallocAsync", a_live_device, [&](Call& call) { return allocate_device(call, pointer, bytes); });
}
cudaError_t cudaMallocPitch(void** pointer, size_t* pitch, size_t width, size_t height) {
  return call("cudaMallocPitch", a_live_device, [&](Call& call) {
    *pitch = (width + 511) / 512 * 512;
    return allocate_device(call, pointer, *pitch * height);
  });
}
cudaError_t cudaFree(void* pointer) {
  return call("cudaFree", a_live_device, [&](Call& call) { return release(call, pointer, Place::device, cudaErrorInvalidValue); });
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) {
  return call("cudaFreeAsync", a_live_device, [&](Call& call) { return release(call, pointer, Place::device, cudaErrorInvalidValue); });
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return call("cudaMallocHost", a_live_device, [&](Call& call) { return allocate_pinned(call, pointer, bytes); });
}
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  return call("cudaHostAlloc", a_live_device, [&](Call& call) { return allocate_pinned(call, pointer, bytes); });
}
cudaError_t cudaFreeHost(void* pointer) {
  return call("cudaFreeHost", a_live_device, [&](Call& call) { return release(call, pointer, Place::pinned, cudaErrorInvalidValue); });
}
// With unified addressing it is mapped and portable, whatever the flags say, and at the same address (canUseHostPointerForRegisteredMem).
cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned flags) {
  constexpr unsigned kFlags = cudaHostRegisterPortable | cudaHostRegisterMapped | cudaHostRegisterIoMemory | cudaHostRegisterReadOnly;
  return call("cudaHostRegister", a_live_device, [&](Call& call) -> cudaError_t {
    if (!pointer || !bytes || flags & ~kFlags) return cudaErrorInvalidValue;
    if (!is_mapped(pointer, bytes)) {
      call.runtime.note("cudaHostRegister: of " + std::to_string(bytes) + " bytes some are no memory of this process");
      return cudaErrorInvalidValue;
    }
    const auto address = reinterpret_cast<uint64_t>(pointer);
    if (const Allocation* other = call.runtime.memory.overlapping(address, address + bytes))
      return other->place == Place::device ? cudaErrorInvalidValue : cudaErrorHostMemoryAlreadyRegistered;
    call.runtime.memory.register_host(call.device, pointer, bytes);
    return cudaSuccess;
  });
}
cudaError_t cudaHostUnregister(void* pointer) {
  return call("cudaHostUnregister", a_live_device, [&](Call& call) -> cudaError_t {
    return pointer ? release(call, pointer, Place::registered, cudaErrorHostMemoryNotRegistered) : cudaErrorInvalidValue;
  });
}
cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned flags) {
  return call("cudaHostGetDevicePointer", a_live_device, [&](Call& call) -> cudaError_t {
    const Allocation* allocation = call.runtime.memory.find(reinterpret_cast<uint64_t>(host));
    if (flags || !allocation || allocation->place == Place::device) return cudaErrorInvalidValue;
    *device = host;
    return cudaSuccess;
  });
}
cudaError_t cudaHostGetFlags(unsigned* flags, void* host) {
  return call("cudaHostGetFlags", a_live_device, [&](Call& call) -> cudaError_t {
    const Allocation* allocation = call.runtime.memory.find(reinterpret_cast<uint64_t>(host));
    if (!allocation || allocation->place != Place::pinned) return cudaErrorInvalidValue;
    *flags = cudaHostAllocMapped | cudaHostAllocPortable;
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return call("cudaMemGetInfo", a_live_device, [&](Call& call) {
    *total = call.runtime.memory.total(call.device);
    *free = *total - std::min<uint64_t>(*total, call.runtime.memory.used(call.device));
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return call("cudaPointerGetAttributes", a_live_device, [&](Call& call) {
    *attributes = {};
    const Allocation* allocation = call.runtime.memory.find(reinterpret_cast<uint64_t>(pointer));
    attributes->type = !allocation ? cudaMemoryTypeUnregistered : allocation->place == Place::device ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
    attributes->device = allocation ? allocation->device : cudaInvalidDeviceId;
    attributes->devicePointer = allocation ? const_cast<void*>(pointer) : nullptr;
    attributes->hostPointer = allocation && allocation->place == Place::device ? nullptr : const_cast<void*>(pointer);
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return call("cudaMemcpy", a_live_device, [&](Call& call) { return copy(call, "cudaMemcpy", line(to, bytes), line(from, bytes), kind, nullptr, false); });
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return call("cudaMemcpyAsync", a_live_device, [&](Call& call) { return copy(call, "cudaMemcpyAsync", line(to, bytes), line(from, bytes), kind, stream, true); });
}
cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height, cudaMemcpyKind kind) {
  return call("cudaMemcpy2D", a_live_device, [&](Call& call) {
    return copy(call, "cudaMemcpy2D", lines(to, to_pitch, width, height), lines(from, from_pitch, width, height), kind, nullptr, false);
  });
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return call("cudaMemcpy2DAsync", a_live_device, [&](Call& call) {
    return copy(call, "cudaMemcpy2DAsync", lines(to, to_pitch, width, height), lines(from, from_pitch, width, height), kind, stream, true);
  });
}
cudaError_t cudaMemcpyPeer(void* to, int, const void* from, int, size_t bytes) {
  return call("cudaMemcpyPeer", a_live_device, [&](Call& call) { return copy(call, "cudaMemcpyPeer", line(to, bytes), line(from, bytes), cudaMemcpyDefault, nullptr, false); });
}
cudaError_t cudaMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device, size_t bytes, cudaStream_t stream) {
  return call("cudaMemcpyPeerAsync", a_live_device, [&](Call& call) -> cudaError_t {
    const auto on = [&](const void* pointer, int device) {
      const Allocation* allocation = call.runtime.memory.find(reinterpret_cast<uint64_t>(pointer));
      return allocation && allocation->place == Place::device && allocation->device == device;
    };
    if (bytes && (!on(to, to_device) || !on(from, from_device))) return cudaErrorInvalidValue;
    return copy(call, "cudaMemcpyPeerAsync", line(to, bytes), line(from, bytes), cudaMemcpyDefault, stream, true);
  });
}

cudaError_t cudaMemset(void* pointer, int value, size_t bytes) {
  return call("cudaMemset", a_live_device, [&](Call& call) { return set(call, "cudaMemset", line(pointer, bytes), value, nullptr); });
}
cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t stream) {
  return call("cudaMemsetAsync", a_live_device, [&](Call& call) { return set(call, "cudaMemsetAsync", line(pointer, bytes), value, stream); });
}
cudaError_t cudaMemset2D(void* pointer, size_t pitch, int value, size_t width, size_t height) {
  return call("cudaMemset2D", a_live_device, [&](Call& call) { return set(call, "cudaMemset2D", lines(pointer, pitch, width, height), value, nullptr); });
}
cudaError_t cudaMemset2DAsync(void* pointer, size_t pitch, int value, size_t width, size_t height, cudaStream_t stream) {
  return call("cudaMemset2DAsync", a_live_device, [&](Call& call) { return set(call, "cudaMemset2DAsync", lines(pointer, pitch, width, height), value, stream); });
}

// ---- variables of modules
static cudaError_t symbol_address(Call& call, const void* symbol, PlacedVariable* place) {
  const HostVariable* variable = call.runtime.modules.variable(symbol);
  if (!variable) return cudaErrorInvalidSymbol;
  Runtime& runtime = call.runtime;
  try {
    runtime.modules.load(*variable->binary, call.device, runtime.config.devices[static_cast<size_t>(call.device)], runtime.memory, runtime.planted_texts);
  } catch (const Fault& fault) {
    runtime.note(fault.what());
    return fault.kind == "launch" ? cudaErrorNoKernelImageForDevice : cudaErrorInvalidPtx;
  }
  *place = runtime.modules.place_of(*variable->binary, call.device, variable->name);
  return place->address ? cudaSuccess : cudaErrorInvalidSymbol;
}

cudaError_t cudaGetSymbolAddress(void** pointer, const void* symbol) {
  return call("cudaGetSymbolAddress", a_live_device, [&](Call& call) {
    PlacedVariable place{};
    const cudaError_t error = symbol_address(call, symbol, &place);
    *pointer = reinterpret_cast<void*>(place.address);
    return error;
  });
}
cudaError_t cudaGetSymbolSize(size_t* bytes, const void* symbol) {
  return call("cudaGetSymbolSize", a_live_device, [&](Call& call) -> cudaError_t {
    const HostVariable* variable = call.runtime.modules.variable(symbol);
    if (!variable) return cudaErrorInvalidSymbol;
    *bytes = variable->bytes;
    return cudaSuccess;
  });
}

static cudaError_t copy_symbol(const char* name, const void* symbol, size_t offset, const void* other, size_t bytes, bool to_symbol, cudaMemcpyKind kind, cudaStream_t stream,
                               bool asynchronous) {
  return call(name, a_live_device, [&](Call& call) -> cudaError_t {
    PlacedVariable place{};
    if (const cudaError_t error = symbol_address(call, symbol, &place); error != cudaSuccess) return error;
    if (offset > place.bytes || bytes > place.bytes - offset) return cudaErrorInvalidValue;
    const Rows own = {place.address + offset, bytes, bytes, 1};
    return to_symbol ? copy(call, name, own, line(other, bytes), kind, stream, asynchronous) : copy(call, name, line(other, bytes), own, kind, stream, asynchronous);
  });
}
cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  return copy_symbol("cudaMemcpyToSymbol", symbol, offset, from, bytes, true, kind, nullptr, false);
}
cudaError_t cudaMemcpyFromSymbol(void* to, const void* symbol, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  return copy_symbol("cudaMemcpyFromSymbol", symbol, offset, to, bytes, false, kind, nullptr, false);
}
cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* from, size_t bytes, size_t offset, cudaMemcpyKind kind, cudaStream_t stream) {
  return copy_symbol("cudaMemcpyToSymbolAsync", symbol, offset, from, bytes, true, kind, stream, true);
}
cudaError_t cudaMemcpyFromSymbolAsync(void* to, const void* symbol, size_t bytes, size_t offset, cudaMemcpyKind kind, cudaStream_t stream) {
  return copy_symbol("cudaMemcpyFromSymbolAsync", symbol, offset, to, bytes, false, kind, stream, true);
}

}  // extern "C"
