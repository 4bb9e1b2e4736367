#pragma once
#include <napi.h>

#include <memory>

#include "../core/executor.h"

namespace fpdt::addon {

// A loaded program as JavaScript holds it. Documented, with all its errors, in native/index.ts.
class ExecutorObject : public Napi::ObjectWrap<ExecutorObject> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Value make(Napi::Env env, std::shared_ptr<Backend> backend, Program program, const Budgets& budgets);
  explicit ExecutorObject(const Napi::CallbackInfo& info);
  ~ExecutorObject();

  // Ends a run at the next entry boundary, joins the lanes and gives the arenas back. Idempotent.
  void shut();
  const std::shared_ptr<Backend>& backend() const { return backend_; }

  // Made on the environment's thread, the constructor of TSFN's callback: settles the promise of a run.
  static void settle(napi_env env, napi_value, void*, void* completion);

 private:
  struct Completion;

  Napi::Value run(const Napi::CallbackInfo& info);
  void cancel(const Napi::CallbackInfo& info);
  void reset(const Napi::CallbackInfo& info);
  Napi::Value take_spans(const Napi::CallbackInfo& info);
  Napi::Value origin_ns(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  void write(const Napi::CallbackInfo& info);
  Napi::Value first_not_finite(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  void poison(const Napi::CallbackInfo& info);
  Napi::Value touched(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  Executor& executor() const;

  std::shared_ptr<Backend> backend_;
  std::unique_ptr<Executor> executor_;  // empty once closed
};

}  // namespace fpdt::addon
