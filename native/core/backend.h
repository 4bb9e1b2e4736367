// The device contract: all that the executor and the addon know of a device. The CPU fills it
// (native/cpu); nothing in it supposes that a device computes on the caller's threads, or in memory that the host can read.
//
// A backend owns streams and memory. A *stream* is an ordered queue of one rank; what is put on two streams is ordered only
// by events. `run`, `copy`, `spill`, `load` and `exchange` may return before the work is done (a GPU's) or after (CPU): the
// executor assumes neither and orders by events alone. One host thread drives one stream; a stream is not used from two threads at once.
//
// Errors: every function may throw fpdt::Error (core/error.h) with the call, the value and what to try. Nothing here aborts. "device_lost" says that
// something issued earlier has ended the device: every call throws it from then on.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels.h"

namespace fpdt {

// The order of STREAMS in trace/schema.ts.
enum class StreamKind : uint8_t { compute = 0, fetch = 1, offload = 2, collective = 3, load = 4, spill = 5 };
// The order of TIERS in trace/schema.ts.
enum class Tier : uint8_t { device = 0, host = 1, disk = 2 };

// What an arena's bytes lie in: memory; a disk, past the page cache; or a disk behind it, where transfers are partly of memory.
enum class Medium : uint8_t { memory = 0, disk = 1, cached_disk = 2 };

// A block of bytes of one tier, allocated once and given out by offsets of the plan. Freed by its destructor.
class Arena {
 public:
  virtual ~Arena() = default;
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  // First byte; nullptr on the disk tier. Device arenas need not be readable by the host: use Backend::read and write.
  virtual std::byte* data() = 0;
  virtual size_t bytes() const = 0;
  virtual Medium medium() const { return Medium::memory; }
};

// What an event is for. A device orders streams faster by events that need not keep a time, so what other streams wait for is one of order alone.
enum class EventUse : uint8_t { order, time };

// A point in a stream. `time_ns`, of an event of time, is valid once the event has happened (after Stream::synchronize on it), on one clock for
// all streams of a backend: CLOCK_MONOTONIC.
class Event {
 public:
  virtual ~Event() = default;
  virtual double time_ns() const = 0;
};

// allReduce is for sums, not tensors: a stream keeps its result aside in a block of this many f64.
inline constexpr int kAllReduceElements = 1024;

// One collective as one rank sees it: the same operand of every rank, so that a rank may read its peers' memory.
struct Exchange {
  uint16_t code;                                   // OPCODES of plan/program.ts: 110 .. 113
  int rank;
  int ranks;
  std::span<void* const* const> operands;          // operands[r] = pointers of rank r, in program order
  std::span<const double> parameters;              // COLLECTIVE_PARAMETERS of plan/program.ts
};

class Stream {
 public:
  virtual ~Stream() = default;
  virtual std::unique_ptr<Event> make_event(EventUse use) = 0;
  virtual void record(Event& event) = 0;
  // Records `event` when the next piece of work really begins: on the CPU when the pool has turned to this rank, so
  // that the time a rank waits for its turn is not counted as work.
  virtual void begin(Event& event) { record(event); }
  // Later work on this stream begins after `event`, which must have been recorded already.
  virtual void wait(const Event& event) = 0;
  // The host waits until everything up to `event` on this stream is done. Throws what went wrong in it, where the work itself finds out.
  virtual void synchronize(const Event& event) = 0;
  // Whether `synchronize` would return at once.
  virtual bool is_done(const Event&) { return true; }
  virtual void run(const KernelCall& call) = 0;
  // Between device and host, either way; both pointers belong to the same rank. Host memory is pinned where that exists.
  virtual void copy(void* to, const void* from, size_t bytes) = 0;
  // Between host memory and bytes `at` .. `at + bytes` of a disk arena of the same rank. Throw Error "disk" with the system's reason.
  virtual void spill(Arena& disk, size_t at, const void* from, size_t bytes) = 0;
  virtual void load(void* to, const Arena& disk, size_t at, size_t bytes) = 0;
  // This rank's part of a collective. Called when every rank has reached it and events order the peers' memory before it.
  // reduceScatter and allReduce sum in rank order. allReduce: every rank computes the sum of all ranks' *inputs*; the executor calls
  // `exchange` with phase 0 (read peers, keep the result aside) and, after a rendezvous, phase 1 (write it): only allReduce uses phase 1.
  virtual void exchange(const Exchange& what, int phase) = 0;
};

struct DeviceInfo {
  std::string backend;   // "cpu" or "cuda"
  std::string name;      // the processor or the GPUs, in words
  std::string path;      // instruction path in use: "avx512bf16", "avx2" or "scalar"; "sm_80" and so on, of the oldest GPU
  int threads;           // of the compute pool (CPU); 1 otherwise
  size_t memory_bytes;   // of the whole machine (CPU), or of the smallest GPU
  std::string disk_folder;  // where arenas of the disk tier lie; "" = there is no disk tier
  int devices = 1;          // rank r runs on device r % devices
  size_t free_bytes = 0;    // of the GPU that has least; 0 = not known (CPU)
  size_t host_bytes = 0;    // of the machine where that is other memory than the device's; 0 = the tiers share memory_bytes
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual DeviceInfo info() const = 0;
  // Zero-filled. A GPU's memory, the host's pinned memory and disk space are taken at once; a CPU's memory page by page, as it is first touched.
  // Throws Error "out_of_memory" or, on the disk tier, "disk_full" naming the bytes asked for.
  virtual std::unique_ptr<Arena> allocate(Tier tier, size_t bytes, int rank) = 0;
  // Number of `allocate` calls since creation: must not grow during a step.
  virtual uint64_t allocations() const = 0;
  virtual std::unique_ptr<Stream> make_stream(StreamKind kind, int rank) = 0;
  // How many entries of a stream may be issued before the first of them is done: 1 on the CPU (issued = done).
  virtual int issue_ahead() const = 0;
  // Synchronous transfers between an arena and ordinary memory, for set-up, inspection and checkpoints.
  virtual void read(void* to, const Arena& from, size_t offset, size_t bytes) = 0;
  virtual void write(Arena& to, size_t offset, const void* from, size_t bytes) = 0;
  virtual double now_ns() const = 0;  // the clock of Event::time_ns
};

// threads 0 = as many as the process may use; path "" = the best this processor has, else one of DeviceInfo::path (tests force it);
// disk_folder "" = $TMPDIR, or /tmp: where arenas of the disk tier lie.
std::unique_ptr<Backend> make_cpu_backend(int threads, const std::string& path, const std::string& disk_folder);

// devices: CUDA's numbers of GPUs, rank r on devices[r % n]; empty = the first that can be used. Throws Error "native" with the reason where one cannot be used,
// or where two of them cannot read each other's memory. In builds with CUDA alone.
std::unique_ptr<Backend> make_cuda_backend(const std::vector<int>& devices, const std::string& disk_folder);

}  // namespace fpdt
