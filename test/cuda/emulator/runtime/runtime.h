// The state behind the functions: one for the process, under one lock. Each function of CUDA is a call of `api`, which counts it, plants faults in it,
// and refuses it where there is no driver, no device, or a device that is lost.
#pragma once
#include <cuda_runtime_api.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../checks/checks.h"
#include "../machine/machine.h"
#include "config.h"
#include "memory.h"
#include "modules.h"
#include "scheduler.h"
#include "touched.h"

namespace emulator::runtime {

class Runtime {
 public:
  static Runtime& get();   // lives as long as the process: host objects register themselves before main and unregister after it

  std::mutex mutex;
  Config config;
  std::vector<PlantedCall> planted_calls;
  std::vector<PlantedText> planted_texts;
  Memory memory;
  Scheduler scheduler{mutex};
  Modules modules;
  StreamOrder order;
  std::shared_ptr<Checks> checks;

  struct Device {
    cudaError_t lost = cudaSuccess;   // every later call of the device returns it
    Stream* legacy = nullptr;         // the default stream
    double rate = 1;                  // of its clock, against the host's
  };
  std::vector<Device> devices;
  std::map<const void*, std::unique_ptr<Event>> events;   // by handle

  uint64_t seeded_launches = 0;

  // ---- the report
  std::map<std::string, uint64_t> calls, launches;
  std::vector<std::string> faults, unordered, notes;
  uint64_t default_stream_ops = 0;
  uint64_t pageable_copies = 0;   // asynchronous ones
  uint64_t timed_waits = 0;       // of streams, for events that keep their time: correct, and slow
  SiteMap banks, sectors;
  void take_counts();   // from the checks

  // Takes over what `config` says. Throws std::runtime_error where it cannot while things are in use.
  void configure(const Config& next);
  // Forgets faults, lost devices, counts and planted faults; ends all work first.
  void reset(Lock& lock);

  // A sentence for the report and standard error.
  void note(const std::string& text);

  // The stream that a handle means, for calls of this thread's device; nullptr: there is none (any more).
  Stream* stream(cudaStream_t handle);
  Event* event(cudaEvent_t handle);

  // Puts an op on a stream, with the order that the legacy default stream demands.
  std::shared_ptr<Op> issue(Stream& stream, Op::Kind kind, const std::string& label, std::function<Touched()> body, std::vector<std::shared_ptr<Op>> after = {});
  // Waits, and gives the error of a device that was lost on the way.
  cudaError_t wait(Lock& lock, const std::vector<std::shared_ptr<Op>>& ops, int device);

  // The observers of a launch: what it touches goes to `touched` where that is checked; empty when nothing is watched.
  std::function<std::unique_ptr<Observer>()> observe(KernelTouched* touched);
  std::function<Written(uint64_t)> written_lookup();

 private:
  Runtime();
};

// One call of a function of CUDA.
struct Call {
  Runtime& runtime;
  Lock& lock;
  int device;                    // of this thread
  const std::string* planted = nullptr;   // what is planted in it: shorten, swap or late
  bool is_planted(const char* what) const { return planted && *planted == what; }
};

int& current_device();
cudaError_t& last_error();
bool& in_host_function();

enum Needs { nothing, a_driver, a_device, a_live_device };

// Runs `body` under the lock; what it returns becomes the thread's last error, unless it is cudaSuccess.
cudaError_t call(const char* name, Needs needs, const std::function<cudaError_t(Call&)>& body);

cudaError_t error_of(const Fault& fault);

}  // namespace emulator::runtime
