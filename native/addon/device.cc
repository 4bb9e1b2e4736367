#include "device.h"

#include <algorithm>
#include <array>

#include "../core/extents.h"
#include "arguments.h"
#include "backends.h"
#include "environment.h"
#include "executor.h"
#include "program.h"
#include "timing.h"

namespace fpdt::addon {

Napi::Function DeviceObject::define(Napi::Env env) {
  return DefineClass(env, "Device",
                     {InstanceMethod<&DeviceObject::info>("info"), InstanceMethod<&DeviceObject::allocations>("allocations"), InstanceMethod<&DeviceObject::now_ns>("nowNs"),
                      InstanceMethod<&DeviceObject::load>("load"), InstanceMethod<&DeviceObject::call>("call"), InstanceMethod<&DeviceObject::time>("time"),
                      InstanceMethod<&DeviceObject::time_copy>("timeCopy"), InstanceMethod<&DeviceObject::close>("close")});
}

DeviceObject::DeviceObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<DeviceObject>(info) {
  guarded(info.Env(), [&] {
    backend_ = make_backend(object(info[0], "options"));
  });
}

Backend& DeviceObject::backend() const {
  if (!backend_) throw Error("closed", "the device is closed: open it again");
  return *backend_;
}

Napi::Value DeviceObject::info(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const DeviceInfo from = backend().info();
    Napi::Object to = Napi::Object::New(info.Env());
    to.Set("backend", from.backend);
    to.Set("name", from.name);
    to.Set("path", from.path);
    to.Set("threads", from.threads);
    to.Set("memoryBytes", static_cast<double>(from.memory_bytes));
    to.Set("devices", from.devices);
    to.Set("freeBytes", static_cast<double>(from.free_bytes));
    to.Set("hostBytes", static_cast<double>(from.host_bytes));
    to.Set("diskFolder", from.disk_folder);
    return to;
  });
}

Napi::Value DeviceObject::allocations(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return Napi::Number::New(info.Env(), static_cast<double>(backend().allocations())); });
}

Napi::Value DeviceObject::now_ns(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return Napi::Number::New(info.Env(), backend().now_ns()); });
}

Napi::Value DeviceObject::load(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    backend();
    return ExecutorObject::make(info.Env(), backend_, read_program(info[0]), read_budgets(info[1]));
  });
}

namespace {

constexpr int64_t kMostWorkspace = int64_t{1} << 40;
constexpr int64_t kMostRepeats = 1000;

// The kernel and numbers that a call of JavaScript begins with.
struct Asked {
  const KernelInfo* kernel;
  std::span<const double> parameters;
  std::vector<Extent> extents;
};

Asked asked(const Napi::CallbackInfo& info) {
  const auto code = static_cast<uint16_t>(integer(info[0], "kernel", 0, UINT16_MAX));
  const KernelInfo* kernel = find_kernel(code);
  if (!kernel) throw Error("argument", "kernel " + std::to_string(code) + " does not exist");
  const std::span<const double> parameters = items<double>(info[1], "parameters");
  return {kernel, parameters, kernel_extents(*kernel, parameters)};
}

// Operands by order; no bytes where an optional one is not given. `whole`: each must be as large as its extent.
std::vector<std::span<std::byte>> operands_of(const Napi::Value& value, const Asked& asked, bool whole) {
  if (!value.IsArray()) throw Error("argument", "operands must be an array");
  const auto given = value.As<Napi::Array>();
  if (given.Length() != asked.extents.size()) {
    throw Error("argument", std::string(asked.kernel->name) + " takes " + std::to_string(asked.extents.size()) + " operands, got " + std::to_string(given.Length()));
  }
  std::vector<std::span<std::byte>> operands;
  for (uint32_t i = 0; i < asked.extents.size(); i++) {
    const std::string name = std::string(asked.kernel->name) + ": operand " + std::to_string(i);
    const Napi::Value operand = given.Get(i);
    if (operand.IsNull() && asked.extents[i].optional) {
      operands.emplace_back();
      continue;
    }
    const std::span<std::byte> memory = bytes(operand, name.c_str());
    if (whole ? static_cast<double>(memory.size()) < asked.extents[i].bytes : memory.empty()) {
      std::ostringstream text;
      text << name << " has " << memory.size() << " bytes; its numbers say " << asked.extents[i].bytes;
      throw Error("shape", text.str());
    }
    operands.push_back(memory);
  }
  return operands;
}

Napi::Float64Array numbers(Napi::Env env, const std::vector<double>& values) {
  Napi::Float64Array array = Napi::Float64Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

}  // namespace

// call(kernel, parameters, operands, workspaceBytes, rank, step): one kernel on ordinary memory, on this thread.
void DeviceObject::call(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    backend();
    const Asked what = asked(info);
    const std::vector<std::span<std::byte>> operands = operands_of(info[2], what, true);
    const auto workspace_bytes = static_cast<size_t>(integer(info[3], "workspaceBytes", 0, kMostWorkspace));
    const std::span<const double> step = items<double>(info[5], "step");
    if (step.size() != kStepParameters) throw Error("shape", "step has " + std::to_string(step.size()) + " numbers; it needs 4");
    if (!caller_) caller_ = std::make_unique<Caller>(backend_);
    caller_->run(*what.kernel, operands, what.extents, workspace_bytes,
                 {.kernel = what.kernel->kernel,
                  .operands = {},
                  .parameters = what.parameters,
                  .workspace = nullptr,
                  .workspace_bytes = 0,
                  .step = step,
                  .rank = static_cast<int>(integer(info[4], "rank", 0, kMostRanks - 1))});
  });
}

// time(kernel, parameters, patterns, workspaceBytes, rank, repeats): how long one kernel takes, on this thread.
Napi::Value DeviceObject::time(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    backend();
    const Asked what = asked(info);
    const std::vector<std::span<std::byte>> given = operands_of(info[2], what, false);
    const std::vector<std::span<const std::byte>> patterns(given.begin(), given.end());
    const std::array<double, kStepParameters> step{};
    const KernelCall call{.kernel = what.kernel->kernel,
                          .operands = {},
                          .parameters = what.parameters,
                          .workspace = nullptr,
                          .workspace_bytes = 0,
                          .step = step,
                          .rank = static_cast<int>(integer(info[4], "rank", 0, kMostRanks - 1))};
    return numbers(info.Env(), time_kernel(backend(), patterns, what.extents, static_cast<size_t>(integer(info[3], "workspaceBytes", 0, kMostWorkspace)), call,
                                           static_cast<int>(integer(info[5], "repeats", 1, kMostRepeats))));
  });
}

// timeCopy(toDevice, bytes, rank, repeats)
Napi::Value DeviceObject::time_copy(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto size = static_cast<size_t>(integer(info[1], "bytes", 1, kMostWorkspace));
    const auto rank = static_cast<int>(integer(info[2], "rank", 0, kMostRanks - 1));
    return numbers(info.Env(), addon::time_copy(backend(), info[0].ToBoolean(), size, rank, static_cast<int>(integer(info[3], "repeats", 1, kMostRepeats))));
  });
}

void DeviceObject::close(const Napi::CallbackInfo& info) {
  if (!backend_) return;
  const std::set<ExecutorObject*> open = Environment::of(info.Env()).open;  // a copy: shut() takes itself out
  for (ExecutorObject* executor : open)
    if (executor->backend() == backend_) executor->shut();
  caller_.reset();
  backend_.reset();
}

}  // namespace fpdt::addon
