#include "device.h"

#include "../core/extents.h"
#include "arguments.h"
#include "backends.h"
#include "environment.h"
#include "executor.h"
#include "program.h"

namespace fpdt::addon {

Napi::Function DeviceObject::define(Napi::Env env) {
  return DefineClass(env, "Device",
                     {InstanceMethod<&DeviceObject::info>("info"), InstanceMethod<&DeviceObject::allocations>("allocations"), InstanceMethod<&DeviceObject::now_ns>("nowNs"),
                      InstanceMethod<&DeviceObject::load>("load"), InstanceMethod<&DeviceObject::call>("call"), InstanceMethod<&DeviceObject::close>("close")});
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

// call(kernel, parameters, operands, workspaceBytes, rank, step): one kernel on ordinary memory, on this thread.
void DeviceObject::call(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    backend();
    const auto code = static_cast<uint16_t>(integer(info[0], "kernel", 0, UINT16_MAX));
    const KernelInfo* kernel = find_kernel(code);
    if (!kernel) throw Error("argument", "kernel " + std::to_string(code) + " does not exist");
    const std::span<const double> parameters = items<double>(info[1], "parameters");
    const std::vector<Extent> extents = kernel_extents(*kernel, parameters);

    if (!info[2].IsArray()) throw Error("argument", "operands must be an array");
    const auto given = info[2].As<Napi::Array>();
    if (given.Length() != extents.size()) {
      throw Error("argument", std::string(kernel->name) + " takes " + std::to_string(extents.size()) + " operands, got " + std::to_string(given.Length()));
    }
    std::vector<std::span<std::byte>> operands;
    for (uint32_t i = 0; i < extents.size(); i++) {
      const std::string name = std::string(kernel->name) + ": operand " + std::to_string(i);
      const Napi::Value value = given.Get(i);
      if (value.IsNull() && extents[i].optional) {
        operands.emplace_back();
        continue;
      }
      const std::span<std::byte> memory = bytes(value, name.c_str());
      if (static_cast<double>(memory.size()) < extents[i].bytes) {
        std::ostringstream text;
        text << name << " has " << memory.size() << " bytes; its numbers say " << extents[i].bytes;
        throw Error("shape", text.str());
      }
      operands.push_back(memory);
    }

    const auto workspace_bytes = static_cast<size_t>(integer(info[3], "workspaceBytes", 0, int64_t{1} << 40));
    const std::span<const double> step = items<double>(info[5], "step");
    if (step.size() != kStepParameters) throw Error("shape", "step has " + std::to_string(step.size()) + " numbers; it needs 4");
    if (!caller_) caller_ = std::make_unique<Caller>(backend_);
    caller_->run(*kernel, operands, extents, workspace_bytes,
                 {.kernel = kernel->kernel,
                  .operands = {},
                  .parameters = parameters,
                  .workspace = nullptr,
                  .workspace_bytes = 0,
                  .step = step,
                  .rank = static_cast<int>(integer(info[4], "rank", 0, kMostRanks - 1))});
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
