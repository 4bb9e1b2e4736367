#pragma once
#include <napi.h>

#include <memory>

#include "../core/backend.h"
#include "call.h"

namespace fpdt::addon {

// A backend as JavaScript holds it. Documented, with all its errors, in native/index.ts.
class DeviceObject : public Napi::ObjectWrap<DeviceObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // new Device(options): see make_backend.
  explicit DeviceObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value allocations(const Napi::CallbackInfo& info);
  Napi::Value now_ns(const Napi::CallbackInfo& info);
  Napi::Value load(const Napi::CallbackInfo& info);
  void call(const Napi::CallbackInfo& info);
  Napi::Value time(const Napi::CallbackInfo& info);
  Napi::Value time_copy(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  Backend& backend() const;

  std::shared_ptr<Backend> backend_;  // empty once closed
  std::unique_ptr<Caller> caller_;    // made by the first `call`
};

}  // namespace fpdt::addon
