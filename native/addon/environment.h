// What one JavaScript environment (the main thread, or a worker) holds of us.
#pragma once
#include <napi.h>

#include <set>

namespace fpdt::addon {

class ExecutorObject;

struct Environment {
  Napi::FunctionReference device, executor;  // constructors
  std::set<ExecutorObject*> open;            // executors that still own lanes and arenas
  napi_threadsafe_function finished = nullptr;  // through it a lane's thread tells that a run is over
  int running = 0;                           // runs under way: while there are some, the environment stays alive

  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }
};

}  // namespace fpdt::addon
