#include "runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "control.h"

namespace emulator::runtime {
namespace {

// The clocks of two GPUs differ by some tens of millionths.
double clock_rate(uint64_t seed, size_t device) { return 1 + 1e-6 * (static_cast<double>((seed * 2654435761u + device * 40503u + 7) % 81) - 40); }

// The machine knows only that an address is none of the device's own.
std::string foreign_memory(const std::string& message, int device, const Memory& memory) {
  const size_t at = message.find(" at 0x");
  if (at == std::string::npos) return "";
  const Allocation* allocation = memory.find(std::strtoull(message.c_str() + at + 4, nullptr, 16));
  if (!allocation || allocation->place != Place::device || allocation->device == device) return "";
  return "; it is memory of device " + std::to_string(allocation->device) + ", to which device " + std::to_string(device) + " has no access (cudaDeviceEnablePeerAccess)";
}

}  // namespace

int& current_device() {
  static thread_local int device = 0;
  return device;
}
cudaError_t& last_error() {
  static thread_local cudaError_t error = cudaSuccess;
  return error;
}
bool& in_host_function() {
  static thread_local bool inside = false;
  return inside;
}

cudaError_t error_of(const Fault& fault) {
  if (fault.kind == "illegal address" || fault.kind == "shared memory") return cudaErrorIllegalAddress;
  if (fault.kind == "misaligned address") return cudaErrorMisalignedAddress;
  if (fault.kind == "assert") return cudaErrorAssert;
  if (fault.kind == "deadlock") return cudaErrorLaunchTimeout;
  if (fault.kind == "unknown instruction") return cudaErrorIllegalInstruction;
  return cudaErrorLaunchFailure;   // trap, and what only an emulator sees: races, bytes that nobody wrote
}

Runtime& Runtime::get() {
  static Runtime* runtime = new Runtime;
  return *runtime;
}

Runtime::Runtime() {
  scheduler.is_void = [this](const Op& op) { return devices[static_cast<size_t>(op.stream->device)].lost != cudaSuccess; };
  scheduler.on_done = [this](const Op& op, const Touched& touched) {
    if (config.checks.order && op.kind == Op::Kind::work && !op.late) {
      const size_t before = unordered.size();
      order.add(op.name, op.clock, touched, unordered);
      for (size_t i = before; i < unordered.size(); ++i) std::fprintf(stderr, "emulator: %s\n", unordered[i].c_str());
    }
  };
  scheduler.on_fault = [this](const Op& op, const Fault& fault) {
    const int device = op.stream->device;
    devices[static_cast<size_t>(device)].lost = error_of(fault);
    const std::string text = fault.kind + ": " + fault.what() + foreign_memory(fault.what(), device, memory) + " (" + *op.name.label + ")";
    faults.push_back(text);
    std::fprintf(stderr, "emulator: %s\n", text.c_str());
  };
  configure(config);
  if (const char* text = std::getenv("FPDT_EMULATOR")) configure_from_environment(*this, text);
}

void Runtime::configure(const Config& next) {
  memory.set_devices(next.devices);
  if (next.devices.size() != devices.size()) {
    for (size_t i = next.devices.size(); i < devices.size(); ++i) devices[i].legacy->live = false;
    devices.resize(next.devices.size());
    for (size_t i = 0; i < devices.size(); ++i) {
      if (!devices[i].legacy) devices[i].legacy = scheduler.make_stream(static_cast<int>(i), cudaStreamDefault, 0);
    }
  }
  for (size_t i = 0; i < devices.size(); ++i) devices[i].rate = clock_rate(next.seed, i);
  if (!next.checks.initialised) memory.untrack();
  const CheckSettings& on = next.checks;
  if (checks) take_counts();
  checks = std::make_shared<Checks>(CheckOptions{.races = on.race, .initialised = on.initialised, .banks = on.banks, .sectors = on.sectors, .written = written_lookup()});
  config = next;
  scheduler.configure(config.seed, config.effective_policy());
}

void Runtime::reset(Lock& lock) {
  scheduler.wait(lock, scheduler.tails(-1));
  scheduler.finish_late(lock);
  for (Device& device : devices) device.lost = cudaSuccess;
  calls.clear();
  launches.clear();
  faults.clear();
  unordered.clear();
  notes.clear();
  default_stream_ops = pageable_copies = timed_waits = seeded_launches = 0;
  take_counts();
  banks.clear();
  sectors.clear();
  memory.reset_peaks();
  planted_calls.clear();
  if (!planted_texts.empty()) {
    planted_texts.clear();
    modules.unload(memory);
  }
  last_error() = cudaSuccess;
}

void Runtime::take_counts() {
  for (const auto& [site, count] : checks->take_banks()) banks[site] += count;
  for (const auto& [site, count] : checks->take_sectors()) sectors[site] += count;
}

void Runtime::note(const std::string& text) {
  constexpr size_t kMost = 1000;
  if (notes.size() < kMost) notes.push_back(text);
  std::fprintf(stderr, "emulator: %s\n", text.c_str());
}

Stream* Runtime::stream(cudaStream_t handle) {
  const auto device = static_cast<size_t>(current_device());
  if (!handle || handle == cudaStreamLegacy) return devices[device].legacy;
  if (handle == cudaStreamPerThread) {
    static thread_local std::map<size_t, Stream*> own;
    Stream*& stream = own[device];
    if (!stream) stream = scheduler.make_stream(static_cast<int>(device), cudaStreamDefault, 0);
    return stream;
  }
  for (const auto& stream : scheduler.streams()) {
    if (reinterpret_cast<cudaStream_t>(stream.get()) == handle) return stream->live ? stream.get() : nullptr;
  }
  return nullptr;
}

Event* Runtime::event(cudaEvent_t handle) {
  const auto at = events.find(handle);
  return at == events.end() ? nullptr : at->second.get();
}

std::shared_ptr<Op> Runtime::issue(Stream& stream, Op::Kind kind, const std::string& label, std::function<Touched()> body, std::vector<std::shared_ptr<Op>> after) {
  Stream* legacy = devices[static_cast<size_t>(stream.device)].legacy;
  if (&stream == legacy) {
    if (kind == Op::Kind::work) ++default_stream_ops;
    for (const auto& other : scheduler.streams()) {
      if (other.get() != legacy && other->device == stream.device && !(other->flags & cudaStreamNonBlocking) && other->last) after.push_back(other->last);
    }
  } else if (!(stream.flags & cudaStreamNonBlocking) && legacy->last) {
    after.push_back(legacy->last);
  }
  return scheduler.issue(stream, kind, label, std::move(body), std::move(after));
}

cudaError_t Runtime::wait(Lock& lock, const std::vector<std::shared_ptr<Op>>& ops, int device) {
  scheduler.wait(lock, ops);
  return devices[static_cast<size_t>(device)].lost;
}

std::function<std::unique_ptr<Observer>()> Runtime::observe(KernelTouched* touched) {
  auto others = checks->launch();
  if (!touched) return others;
  return [touched, others, kept = checks] { return touched->observer(others ? others() : nullptr); };
}

// Asked by kernels while they run, outside the lock: of the allocations as they were when the launch began no one is freed meanwhile.
std::function<Written(uint64_t)> Runtime::written_lookup() {
  return [this](uint64_t address) -> Written {
    static thread_local struct {
      uint64_t begin = 0, end = 0;
      std::weak_ptr<WrittenBytes> written;
    } cached;
    if (address >= cached.begin && address < cached.end) {
      if (const auto written = cached.written.lock()) return {written.get(), cached.begin};
    }
    std::lock_guard guard(mutex);
    const Allocation* allocation = memory.find(address);
    if (!allocation || !allocation->written) return {};
    cached = {allocation->region.address, allocation->end(), allocation->written};
    return {allocation->written.get(), allocation->region.address};
  };
}

cudaError_t call(const char* name, Needs needs, const std::function<cudaError_t(Call&)>& body) {
  Runtime& runtime = Runtime::get();
  Lock lock(runtime.mutex);
  ++runtime.calls[name];
  const auto result = [&]() -> cudaError_t {
    if (in_host_function()) return cudaErrorNotPermitted;
    if (static_cast<size_t>(current_device()) >= runtime.devices.size()) current_device() = 0;
    Call call{runtime, lock, current_device()};
    for (PlantedCall& planted : runtime.planted_calls) {
      if (planted.call != name || ++planted.seen != planted.nth) continue;
      planted.used = true;
      if (planted.what == "drop") return cudaSuccess;
      if (planted.what == "fail") {
        const std::string words = name;
        for (const char* allocates : {"Alloc", "Malloc", "HostRegister"})
          if (words.find(allocates) != std::string::npos) return cudaErrorMemoryAllocation;
        if (words.find("Launch") == std::string::npos) return cudaErrorUnknown;
        return runtime.devices.empty() ? cudaErrorNoDevice : runtime.devices[static_cast<size_t>(call.device)].lost = cudaErrorLaunchFailure;
      }
      call.planted = &planted.what;
    }
    if (needs >= a_driver && runtime.config.driver / 1000 < CUDART_VERSION / 1000) return cudaErrorInsufficientDriver;
    if (needs >= a_device && runtime.devices.empty()) return cudaErrorNoDevice;
    if (needs >= a_live_device) {
      if (const cudaError_t lost = runtime.devices[static_cast<size_t>(call.device)].lost; lost != cudaSuccess) return lost;
    }
    const cudaError_t error = body(call);
    if (!runtime.devices.empty() && needs == a_live_device) runtime.scheduler.advance(lock);
    return error;
  }();
  if (result != cudaSuccess) last_error() = result;
  return result;
}

}  // namespace emulator::runtime
